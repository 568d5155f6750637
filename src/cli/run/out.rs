//! OUT: the file of result lines. It is written anew beside itself and put in place as a whole,
//! then grows by whole lines.
//! Must not know: where results come from.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::result_line::is_result_line;

/// How much of a first line is looked at: a result may be long, its head is not.
const HEAD_BYTES_MAX: u64 = 64 << 20;

/// How every result line begins.
const LINE_BEGIN: &[u8] = b"{\"format_version\":";

/// A file of result lines, held against other processes until dropped.
#[derive(Debug)]
pub(super) struct Out {
    path: PathBuf,
    /// What stands at `path`; its lock says that somebody writes.
    held: File,
    /// The file that is being written beside it, until it takes its place.
    fresh: Option<(PathBuf, File)>,
}

impl Out {
    /// Takes the file into possession. One that holds other things than results, or results of the
    /// other kind, is refused.
    pub(super) fn open(path: &Path, simulated: bool) -> anyhow::Result<Self> {
        let shown = path.display();
        // A link's target is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if path.exists() && !path.metadata().is_ok_and(|found| found.is_file()) {
            bail!("failed to write {shown}: it is no regular file; name a file with --out");
        }
        check_kind(&path, simulated)?;
        let writing = || format!("failed to write {shown}");
        let held =
            OpenOptions::new().create(true).append(true).open(&path).with_context(writing)?;
        lock(&held, &path)?;
        let path = path.canonicalize().with_context(writing)?;
        let beside = beside(&path);
        let fresh = File::create(&beside).with_context(|| {
            format!("failed to write {}, beside which {shown} is made", beside.display())
        })?;
        // The second lock goes with the new file when it takes the old one's place.
        let out = Self { path, held, fresh: Some((beside.clone(), fresh)) };
        if let Some((_, fresh)) = &out.fresh {
            lock(fresh, &beside)?;
        }
        Ok(out)
    }

    /// Appends whole lines, each with its newline, in one write.
    pub(super) fn append(&mut self, lines: &str) -> anyhow::Result<()> {
        let file = match &mut self.fresh {
            Some((_, fresh)) => fresh,
            None => &mut self.held,
        };
        file.write_all(lines.as_bytes())
            .with_context(|| format!("failed to write {}", self.path.display()))
    }

    /// Puts what was written so far in the place of what stood there before.
    pub(super) fn put_in_place(&mut self) -> anyhow::Result<()> {
        let Some((beside, fresh)) = self.fresh.take() else { return Ok(()) };
        let writing = || format!("failed to write {}", self.path.display());
        fresh.sync_all().with_context(writing)?;
        let gone = lines_of(&self.path)?.saturating_sub(lines_of(&beside)?);
        if gone > 0 {
            eprintln!(
                "{} had {gone} more lines, of jobs that this run does not name; their store keeps \
                 them (`quarrier results`)",
                self.path.display()
            );
        }
        std::fs::rename(&beside, &self.path).with_context(writing)?;
        if let Some(folder) = self.path.parent() {
            // Not every file system can sync a folder; the rename stands either way.
            drop(File::open(folder).and_then(|folder| folder.sync_all()));
        }
        self.held = fresh;
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> anyhow::Result<()> {
        self.held.sync_all().with_context(|| format!("failed to write {}", self.path.display()))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if let Some((beside, _)) = self.fresh.take() {
            // What is left over is overwritten by the next run.
            drop(std::fs::remove_file(beside));
        }
    }
}

/// Refuses a file that is not ours, or of the other kind, naming the way out.
pub(super) fn check_kind(path: &Path, simulated: bool) -> anyhow::Result<()> {
    let shown = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("failed to read {shown}")),
    };
    let mut head = Vec::new();
    BufReader::new(file.take(HEAD_BYTES_MAX))
        .read_until(b'\n', &mut head)
        .with_context(|| format!("failed to read {shown}"))?;
    if head.is_empty() {
        return Ok(());
    }
    let is = std::str::from_utf8(&head).ok().and_then(is_result_line);
    // A process that was killed in the middle of its first write leaves a beginning.
    let is = is.or_else(|| torn(&head, simulated));
    match is {
        None => bail!(
            "failed to write {shown}: its first line is no result of quarrier, and it would be \
             overwritten; name another file with --out, or move it away"
        ),
        Some(is) if is != simulated => {
            let (holds, does) = if is { ("simulated", "real") } else { ("real", "simulated") };
            let way_out = if is { "add --simulate" } else { "leave out --simulate" };
            bail!(
                "failed to write {shown}: it holds {holds} results and this command does {does} \
                 work; name another file with --out, or {way_out}"
            )
        }
        Some(_) => Ok(()),
    }
}

/// A first line of ours that was never written to its end holds no result, of whatever kind.
fn torn(head: &[u8], simulated: bool) -> Option<bool> {
    (!head.ends_with(b"\n") && head.starts_with(LINE_BEGIN)).then_some(simulated)
}

fn lock(file: &File, path: &Path) -> anyhow::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => bail!(
            "failed to write {}: another quarrier is writing it; wait for its end, or name another \
             file with --out",
            path.display()
        ),
        // On a file system without locks nothing is known, and nothing is in the way.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// How many lines a file has; none where it is not there.
fn lines_of(path: &Path) -> anyhow::Result<usize> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", path.display()));
        }
    };
    let mut reader = BufReader::new(file);
    let (mut lines, mut line) = (0, Vec::new());
    while reader.read_until(b'\n', &mut line).context("failed to read results")? > 0 {
        lines += 1;
        line.clear();
    }
    Ok(lines)
}

/// Where the new file is written: hidden, beside the old one, so that a rename can put it in place.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.quarrier.part"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("out.jsonl");
        std::fs::write(&path, text).unwrap();
        path
    }

    const SIMULATED: &str = r#"{"format_version":1,"job_id":"00000000-0000-0000-0000-000000000000","state":"succeeded","simulated":true}"#;

    #[test]
    fn what_stood_there_stays_until_the_new_file_is_put_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir, &format!("{SIMULATED}\n"));
        let mut out = Out::open(&path, true).unwrap();
        out.append("one\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{SIMULATED}\n"));
        out.put_in_place().unwrap();
        out.append("two\n").unwrap();
        out.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        drop(out);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_that_ends_early_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir, &format!("{SIMULATED}\n"));
        let mut out = Out::open(&path, true).unwrap();
        out.append("one\n").unwrap();
        drop(out);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{SIMULATED}\n"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_runs_never_write_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let mut first = Out::open(&path, true).unwrap();
        let refused = || Out::open(&path, true).unwrap_err().to_string();
        assert!(refused().contains("another quarrier is writing it"), "{}", refused());
        first.put_in_place().unwrap();
        assert!(refused().contains("another quarrier is writing it"), "{}", refused());
        drop(first);
        Out::open(&path, true).unwrap();
    }

    #[test]
    fn files_that_are_not_ours_or_of_the_other_kind_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir, "{\"prompt\":\"a\"}\n");
        let text = Out::open(&path, true).unwrap_err().to_string();
        assert!(text.contains("no result of quarrier"), "{text}");
        let path = at(&dir, SIMULATED);
        let text = Out::open(&path, false).unwrap_err().to_string();
        assert!(text.contains("holds simulated results and this command does real"), "{text}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), SIMULATED);
        let text = Out::open(dir.path(), false).unwrap_err().to_string();
        assert!(text.contains("no regular file"), "{text}");
    }
}
