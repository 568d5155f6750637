//! A server that goes and comes back, as `quarrier health` and a starting process see it: on a cluster
//! of these tests' own. Must not know: what workers do with their calls.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use quarrier::clock::Clock;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{ReadStore as _, StoreError};

use crate::cluster::Database;

/// The longest that anything here may take; what a test waits for comes much sooner.
const DEADLINE_MS: u64 = 90_000;

fn script(args: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster");
    let output = Command::new(path).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A cluster that stops with its test.
struct Cluster(String);

impl Cluster {
    fn start() -> Self {
        Self(script(&["start"]))
    }

    fn url(&self) -> String {
        script(&["url", &self.0])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(&["stop", &self.0]);
    }
}

fn command(dir: &Path, url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
    command
        .args(args)
        .env_clear()
        .env("HOME", dir)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("QUARRIER_STORE__URL", url)
        .env("QUARRIER_WORKER__BEAT_MS", "200")
        .env("QUARRIER_HTTP__LISTEN", "127.0.0.1:0")
        .env("QUARRIER_LOG__FORMAT", "json")
        .current_dir(dir);
    command
}

fn run(dir: &Path, url: &str, args: &[&str]) -> Output {
    command(dir, url, args).output().unwrap()
}

/// A serving process, ended with its test, and its log.
struct Served {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    read: String,
}

impl Served {
    fn start(dir: &Path, url: &str) -> Self {
        let mut serve = command(dir, url, &["serve", "--simulate"]);
        let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log: Some(log), read: String::new() }
    }

    /// Reads its log up to a line that has these words, and returns that.
    fn line(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.log.as_mut().unwrap().read_line(&mut line).unwrap();
            assert!(read > 0, "it has ended without {words}: {}", self.read);
            self.read.push_str(&line);
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Reads the rest of its log, so that it never waits for a reader.
    fn read_on(&mut self) -> JoinHandle<String> {
        let mut log = self.log.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap();
            text
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks until `quarrier health` ends with this code and says these words.
fn until_health(dir: &Path, address: &str, args: &[&str], code: i32, words: &str) {
    let clock = Clock::real();
    let until_ms = clock.now().mono_ms + DEADLINE_MS;
    loop {
        let all = [&["health", "--url", address], args].concat();
        let output = run(dir, "unused.db", &all);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(code) && said.contains(words) {
            return;
        }
        assert!(clock.now().mono_ms < until_ms, "{code} and `{words}` wanted: {said}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_that_is_halted_makes_a_worker_unready_and_one_that_comes_back_makes_it_ready() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let (dir, url) = (folder.path(), cluster.url());
    assert!(run(dir, &url, &["migrate"]).status.success());
    let mut served = Served::start(dir, &url);
    let line = served.line("\"http.listen\":\"");
    let address = line.split("\"http.listen\":\"").nth(1).unwrap().split('"').next().unwrap();
    let address = format!("http://{address}");
    let reader = served.read_on();
    until_health(dir, &address, &["--ready"], 0, "ok (200)");
    for _ in 0..2 {
        script(&["halt", &cluster.0]);
        until_health(dir, &address, &["--ready"], 1, "failing store");
        until_health(dir, &address, &["--ready"], 1, "failing (503)");
        until_health(dir, &address, &[], 0, "ok (200)");
        script(&["resume", &cluster.0]);
        until_health(dir, &address, &["--ready"], 0, "ok (200)");
    }
    assert_eq!(served.child.try_wait().unwrap(), None, "it is the same process all along");
    drop(served);
    let log = reader.join().unwrap();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn a_worker_that_starts_before_its_server_says_why_at_once_and_begins_when_it_comes() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let (dir, url) = (folder.path(), cluster.url());
    assert!(run(dir, &url, &["migrate"]).status.success());
    script(&["halt", &cluster.0]);
    // A command does not wait.
    let listed = run(dir, &url, &["jobs", "list"]);
    let said = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert_eq!(listed.status.code(), Some(2), "{said}");
    assert!(said.contains("connection refused at the socket"), "{said}");
    let mut served = Served::start(dir, &url);
    let line = served.line("connection refused at the socket");
    assert!(line.contains("s more"), "the deadline is named: {line}");
    script(&["resume", &cluster.0]);
    served.line("\"serving\"");
}

#[tokio::test]
async fn each_part_of_an_address_that_is_wrong_is_named() {
    let database = Database::empty().await;
    let refused = async |url: String| {
        let options = PostgresOptions::new(&url, None);
        PostgresStore::open(&options, Clock::real()).await.unwrap_err()
    };
    let url = database.url();
    let error = refused(url.replace("postgres://postgres@", "postgres://nobody_here@")).await;
    let words = error.to_string();
    assert!(matches!(error, StoreError::Refused(_)), "{words}");
    assert!(words.contains("`nobody_here`") && words.contains("store.url"), "{words}");
    let error = refused(url.replace(database.name(), "no_such_jobs")).await;
    let words = error.to_string();
    assert!(matches!(error, StoreError::Refused(_)), "{words}");
    assert!(words.contains("no database `no_such_jobs`") && words.contains("createdb"), "{words}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refused(format!("postgres://me:secret@{free}/jobs")).await;
    let words = error.to_string();
    assert!(matches!(error, StoreError::Transient(_)), "{words}");
    assert!(words.contains(&format!("connection refused at {free}")), "{words}");
    let error = refused("postgres://me:secret@no-such-host.invalid/jobs".to_owned()).await;
    let words = error.to_string();
    assert!(words.contains("no such host `no-such-host.invalid`"), "{words}");
    assert!(!words.contains("secret"), "{words}");
}

/// What the check-up asks a server, on one that somebody holds back.
#[tokio::test]
async fn the_check_up_tells_sizes_connections_and_who_holds_the_oldest_snapshot() {
    let database = Database::with_store().await;
    let options = PostgresOptions::new(&database.url(), Some(false));
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    let mut holder = database.connect().await;
    let hold = "set application_name = 'a report'; begin isolation level repeatable read; \
                select count(*) from quarrier.job";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let health = store.health(1_000).await.unwrap();
    assert!(health.size.bytes > 0, "{:?}", health.size);
    let job = health.size.tables.iter().find(|table| table.name == "job").unwrap();
    assert!(job.index_bytes > 0 && job.dead_rows_max > 0, "{job:?}");
    assert_eq!(health.retention.len(), 2);
    assert!(health.retention.iter().all(|stage| stage.restarted_at.is_none()));
    let server = health.server.unwrap();
    assert!(server.autovacuum && server.hidden == 0, "{server:?}");
    assert!(server.connections >= 2 && server.connections_own >= 1, "{server:?}");
    assert!(server.connections_max > 100, "{server:?}");
    let snapshot = server.snapshot.unwrap();
    assert_eq!(
        (snapshot.kind.as_str(), snapshot.name.as_deref(), snapshot.state.as_deref()),
        ("session", Some("a report"), Some("idle in transaction")),
    );
    assert!(snapshot.age_ms.is_some() && snapshot.pid.is_some());
    let folder = tempfile::tempdir().unwrap();
    let told = run(folder.path(), &database.url(), &["doctor", "--offline", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let checks: Vec<&str> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["check"].as_str())
        .collect();
    for check in
        ["store.size", "store.vacuum", "store.snapshot", "store.connections", "store.retention"]
    {
        assert!(checks.contains(&check), "{check}: {checks:?}");
    }
    fs::remove_dir_all(folder.path()).unwrap();
}
