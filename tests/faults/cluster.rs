//! A Postgres of one scene's own, by `scripts/cluster`: stopped like a power cut, started, followed
//! by a standby, put under another clock. Must not know: tables, workers.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use crate::clocks::Steps;

pub(crate) struct Cluster {
    folder: PathBuf,
    /// Stops it as soon as its standard input ends: when this is dropped, and also when the test's
    /// process is killed, which drops nothing.
    guard: Child,
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster")
}

/// Runs `scripts/cluster` and returns what it prints.
fn script(arguments: &[&str], clock: Option<&Steps>) -> String {
    let mut command = Command::new(script_path());
    command.args(arguments).envs(clock.map(Steps::environment).unwrap_or_default());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "scripts/cluster {arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

impl Cluster {
    /// One that syncs every commit.
    pub(crate) fn start() -> Self {
        Self::guarded(PathBuf::from(script(&["start", "durable"], None)))
    }

    /// One that follows the server at this address.
    pub(crate) fn standby_of(conninfo: &str) -> Self {
        Self::guarded(PathBuf::from(script(&["standby", conninfo], None)))
    }

    fn guarded(folder: PathBuf) -> Self {
        let guard = Command::new("bash")
            .args(["-c", "cat >/dev/null; exec \"$0\" stop \"$1\""])
            .args([script_path(), folder.clone()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends the test's group of processes must not end this one before its work.
            .process_group(0)
            .spawn();
        Self { folder, guard: guard.unwrap() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn name(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        script(&["url", self.name()], None)
    }

    /// Stops it in immediate mode.
    pub(crate) fn halt(&self) {
        script(&["halt", self.name()], None);
    }

    pub(crate) fn resume(&self) {
        script(&["resume", self.name()], None);
    }

    /// Starts it under a clock of the test's own.
    pub(crate) fn resume_under(&self, clock: &Steps) {
        script(&["resume", self.name()], Some(clock));
    }

    pub(crate) fn promote(&self) {
        script(&["promote", self.name()], None);
    }

    /// Puts a pooler before it; its address.
    pub(crate) fn pool(&self) -> String {
        script(&["pool", self.name()], None)
    }

    pub(crate) fn unpool(&self) {
        script(&["unpool", self.name()], None);
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnectOptions::from_str(&self.url()).unwrap().connect().await.unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if !self.guard.wait().is_ok_and(|status| status.success()) {
            eprintln!("the cluster in {} was not stopped", self.folder.display());
        }
    }
}
