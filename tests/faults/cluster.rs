//! A Postgres of one scene's own, by `scripts/cluster`: stopped like a power cut, started, followed
//! by a standby, put under another clock. Must not know: tables, workers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use crate::clocks::Steps;

pub(crate) struct Cluster {
    folder: PathBuf,
}

/// Runs `scripts/cluster` and returns what it prints.
fn script(arguments: &[&str], clock: Option<&Steps>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster");
    let mut command = Command::new(script);
    command.args(arguments).envs(clock.map(Steps::environment).unwrap_or_default());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "scripts/cluster {arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

impl Cluster {
    /// One that syncs every commit.
    pub(crate) fn start() -> Self {
        Self { folder: PathBuf::from(script(&["start", "durable"], None)) }
    }

    /// One that follows the server at this address.
    pub(crate) fn standby_of(conninfo: &str) -> Self {
        Self { folder: PathBuf::from(script(&["standby", conninfo], None)) }
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster");
        let stopped = Command::new(script).args(["stop", self.name()]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the cluster in {} was not stopped", self.folder.display());
        }
    }
}
