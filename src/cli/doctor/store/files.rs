//! The files around the store: free space, the write-ahead log, the spool.
//! Must not know: what is in them.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::cli::doctor::report::Report;
use crate::cli::doctor::words::{bytes, counted};
use crate::config::Settings;

/// Free space below which a batch may fill the disk.
const FREE_WARNING_BYTES: u64 = 2_000_000_000;
/// Free space below which the next answers may not be stored.
const FREE_ERROR_BYTES: u64 = 100_000_000;
/// A log this long is not being written back.
const WAL_BYTES_MAX: u64 = 500_000_000;
/// A spool fuller than this, in percent, is nearly full.
const SPOOL_WARNING_PERCENT: u64 = 80;
/// How many files of the spool are counted.
const SPOOL_FILES_MAX: usize = 100_000;

/// The folder that a file stands in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How much room there is for the store to grow.
pub(super) fn disk(path: &Path, report: &mut Report) {
    const CHECK: &str = "store.disk";
    let folder = folder_of(path);
    match rustix::fs::statvfs(folder) {
        Ok(found) => free(found.f_bavail.saturating_mul(found.f_frsize), report),
        Err(error) => report.error(
            CHECK,
            format!("the folder {} cannot be read: {error}", folder.display()),
            "make it (`mkdir -p`), or name another file with --store",
        ),
    }
}

pub(super) fn free(free: u64, report: &mut Report) {
    const CHECK: &str = "store.disk";
    let found = format!("{} free", bytes(free));
    let remedy =
        "free some, or move the store; it takes about five times the size of what is put in";
    if free < FREE_ERROR_BYTES {
        report.error(CHECK, format!("only {found}: answers may not be stored"), remedy);
    } else if free < FREE_WARNING_BYTES {
        report.warning(CHECK, format!("only {found}"), remedy);
    } else {
        report.ok(CHECK, found);
    }
}

/// How long the write-ahead log is. It must be looked at before the store is opened, because the
/// last one to close it writes it back.
pub(super) fn wal(path: &Path, report: &mut Report) {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let length = fs::metadata(PathBuf::from(name)).map(|found| found.len()).unwrap_or_default();
    wal_of(length, report);
}

pub(super) fn wal_of(length: u64, report: &mut Report) {
    const CHECK: &str = "store.wal";
    if length > WAL_BYTES_MAX {
        report.warning(
            CHECK,
            format!("the write-ahead log has {}: it is not being written back", bytes(length)),
            "end programs that hold a long read on the store (an open sqlite3 shell, a backup)",
        );
    } else {
        report.ok(CHECK, format!("the write-ahead log has {}", bytes(length)));
    }
}

/// The folder that takes answers while the store cannot.
pub(super) fn spool(settings: &Settings, store: &Path, report: &mut Report) {
    const CHECK: &str = "store.spool";
    let worker = &settings.worker;
    let folder = match worker.spool_dir.as_str() {
        "" => folder_of(store).to_owned(),
        named => PathBuf::from(named),
    };
    let shown = folder.display();
    if !worker.spool_dir.is_empty() && !folder.exists() {
        report.note(CHECK, format!("{shown} is not there yet"), "nothing: a worker makes it");
        return;
    }
    if let Err(error) = try_write(&folder) {
        report.error(
            CHECK,
            format!("{shown} cannot be written: {error}; answers would be lost while the store is unreachable"),
            "give this user the folder to write, or set worker.spool_dir to another",
        );
        return;
    }
    let held = held(&folder);
    let found = format!(
        "{shown} can be written; {} waiting, {} of {}",
        counted(held.waiting, "file"),
        bytes(held.bytes),
        bytes(worker.spool_bytes_max)
    );
    let percent = held.bytes.saturating_mul(100).checked_div(worker.spool_bytes_max).unwrap_or(100);
    if held.bytes >= worker.spool_bytes_max {
        report.error(
            CHECK,
            format!("{found}: it is full"),
            "mend the store, so that a worker can empty it; or raise worker.spool_bytes_max",
        );
    } else if percent >= SPOOL_WARNING_PERCENT {
        report.warning(
            CHECK,
            format!("{found}: it is nearly full"),
            "mend the store, so that a worker can empty it",
        );
    } else if held.waiting > 0 {
        report.note(CHECK, found, "start a worker: it stores them first");
    } else {
        report.ok(CHECK, found);
    }
    if held.aside > 0 {
        report.warning(
            CHECK,
            format!("{} put aside: answers that no store took", counted(held.aside, "file")),
            "look at *.refused and *.unreadable there: each line is a paid answer; delete them afterwards",
        );
    }
}

/// What lies in a spool.
#[derive(Debug, Default)]
struct Held {
    waiting: u64,
    aside: u64,
    bytes: u64,
}

fn held(folder: &Path) -> Held {
    let mut held = Held::default();
    let Ok(entries) = fs::read_dir(folder) else { return held };
    for entry in entries.take(SPOOL_FILES_MAX).filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_waiting = name.ends_with(".finishes.jsonl");
        let is_aside =
            name.ends_with(".finishes.refused") || name.ends_with(".finishes.unreadable");
        held.waiting += u64::from(is_waiting);
        held.aside += u64::from(is_aside);
        if is_waiting || is_aside {
            let length = entry.metadata().map(|found| found.len()).unwrap_or_default();
            held.bytes = held.bytes.saturating_add(length);
        }
    }
    held
}

/// Writes a file and removes it: permissions alone do not tell about a read-only mount.
fn try_write(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".quarrier-doctor-{}", Uuid::now_v7()));
    OpenOptions::new().write(true).create_new(true).open(&file)?;
    fs::remove_file(&file)
}
