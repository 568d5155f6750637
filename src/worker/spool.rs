//! The spool: finishes that the store cannot take, one file a group, until it can (G5).
//! Must not know: why the store cannot.
//!
//! A file is written under another name, synced, and then given its own, so it is whole or not
//! there. Replaying one twice is harmless, because a finish is recorded once.

use std::fs::File;
use std::io::{Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::WorkerError;
use crate::store::Finish;

/// How a spool file's name ends.
const SUFFIX: &str = ".finishes.jsonl";

/// Why a file is put aside instead of removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    /// It holds lines that are no finishes.
    Unreadable,
    /// It holds finishes that the store refuses in any form.
    Refused,
}

/// A folder of finishes.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    /// Files written by this process, and how many of them were there at the last whole replay.
    written: AtomicU64,
    replayed: AtomicU64,
}

impl Spool {
    pub(super) fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max, written: AtomicU64::new(0), replayed: AtomicU64::new(0) }
    }

    /// True while answers that this process has spooled wait for the store.
    pub(super) fn waits(&self) -> bool {
        self.written.load(Ordering::Acquire) != self.replayed.load(Ordering::Acquire)
    }

    /// What a replay hands to `replayed` when it is through; taken before it lists the files, so
    /// that it never stands for a file that it has not seen.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Every file written up to then is stored or put aside.
    pub(super) fn replayed(&self, written: u64) {
        self.replayed.store(written, Ordering::Release);
    }

    /// Makes the folder.
    pub(super) async fn prepare(&self) -> Result<(), WorkerError> {
        let made = tokio::fs::create_dir_all(&self.folder).await;
        made.map_err(|source| {
            let path = self.folder.display().to_string();
            WorkerError::Spool { path, source }
        })
    }

    /// Writes a group, durably.
    pub(super) async fn write(&self, group: &[&Finish]) -> Result<(), Error> {
        let mut text = Vec::new();
        for finish in group {
            serde_json::to_writer(&mut text, finish)?;
            text.push(b'\n');
        }
        let (folder, bytes_max) = (self.folder.clone(), self.bytes_max);
        let written = tokio::task::spawn_blocking(move || write_whole(&folder, bytes_max, &text));
        written.await.map_err(Error::other)??;
        self.written.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The files that wait, oldest first.
    pub(super) async fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.folder.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| is_spool_file(path))
                .collect();
            files.sort();
            Ok(files)
        });
        listed.await.map_err(Error::other)?
    }

    /// The finishes of a file; lines that cannot be read are counted.
    pub(super) async fn read(&self, path: &Path) -> Result<(Vec<Finish>, usize), Error> {
        let bytes = tokio::fs::read(path).await?;
        let mut unreadable = 0;
        let finishes = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .filter_map(|line| {
                let finish = serde_json::from_slice(line).ok();
                unreadable += usize::from(finish.is_none());
                finish
            })
            .collect();
        Ok((finishes, unreadable))
    }

    /// Removes a file that is stored, or puts it aside for a person to look at.
    pub(super) async fn done(&self, path: &Path, aside: Option<Aside>) -> Result<(), Error> {
        match aside {
            None => tokio::fs::remove_file(path).await,
            Some(Aside::Unreadable) => {
                tokio::fs::rename(path, path.with_extension("unreadable")).await
            }
            Some(Aside::Refused) => tokio::fs::rename(path, path.with_extension("refused")).await,
        }
    }
}

/// Whether a file of this name lies in the spool, waiting, unfinished or put aside.
fn is_of_spool(name: &str) -> bool {
    let is_unfinished = Path::new(name).extension().is_some_and(|end| end == "part");
    is_unfinished || name.contains(".finishes.")
}

fn is_spool_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
}

fn write_whole(folder: &Path, bytes_max: u64, text: &[u8]) -> Result<(), Error> {
    let mut held: u64 = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // The folder may be the store's own, and the store is no part of the spool.
        if is_of_spool(&entry.file_name().to_string_lossy()) {
            held = held.saturating_add(entry.metadata()?.len());
        }
    }
    if held.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX)) > bytes_max {
        return Err(Error::new(ErrorKind::StorageFull, "the spool has reached spool_bytes_max"));
    }
    // Version 7 names sort by time.
    let name = Uuid::now_v7().to_string();
    let unfinished = folder.join(format!("{name}.part"));
    let mut file = File::create(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(format!("{name}{SUFFIX}")))?;
    // The name itself must survive a power cut.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_store_in_the_same_folder_takes_none_of_the_spools_room() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("quarrier.db"), [0; 500]).unwrap();
        write_whole(folder.path(), 100, &[b'x'; 60]).unwrap();
        let full = write_whole(folder.path(), 100, &[b'x'; 60]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }
}
