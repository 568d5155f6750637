//! How a server is reached that asks for a password and proves itself by a certificate, on a cluster
//! of these tests' own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use futures_util::future::BoxFuture;
use quarrier::clock::Clock;
use quarrier::store::postgres::{Login, LoginAsk, Logins, PostgresOptions, PostgresStore};
use quarrier::store::{ReadStore as _, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A cluster on TCP, with the role `app` and its database `jobs`.
struct Server {
    dir: PathBuf,
    port: String,
}

fn script(args: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster");
    let output = Command::new(path).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Server {
    async fn start() -> Self {
        let dir = script(&["start"]);
        // Made before the rest, so that what fails from here on is stopped too.
        let mut server = Self { dir: dir.clone().into(), port: String::new() };
        server.port = script(&["tls", &dir]);
        server.run("create role app login password 'one'").await;
        server.run("create database jobs owner app").await;
        server
    }

    async fn connect(&self, database: &str) -> PgConnection {
        let (dir, port) = (self.dir.display(), &self.port);
        let url = format!("postgres://postgres@localhost/{database}?host={dir}&port={port}");
        PgConnection::connect(&url).await.unwrap()
    }

    async fn run(&self, statement: &str) {
        let mut connection = self.connect("postgres").await;
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }

    /// What a count of the store's rows comes to.
    async fn count(&self, counted: &str) -> i64 {
        let mut connection = self.connect("jobs").await;
        let query = AssertSqlSafe(format!("select count(*) from quarrier.{counted}"));
        sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
    }

    fn url(&self, user: &str, host: &str, options: &str) -> String {
        format!("postgres://{user}@{host}:{}/jobs?{options}", self.port)
    }

    /// Options that trust the authority of its certificate.
    fn verified(&self) -> String {
        format!("sslmode=verify-full&sslrootcert={}/ca.crt", self.dir.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&["stop", &self.dir.display().to_string()]);
    }
}

async fn standing(url: &str) -> Result<Option<i64>, StoreError> {
    PostgresStore::migration_of(&PostgresOptions::new(url, None)).await
}

#[tokio::test]
async fn only_the_server_that_the_certificate_names_is_trusted() {
    let server = Server::start().await;
    let verified = server.verified();
    assert_eq!(standing(&server.url("app:one", "localhost", &verified)).await, Ok(None));
    let refused =
        async |host: &str, options: &str| match standing(&server.url("app:one", host, options))
            .await
        {
            Err(StoreError::Refused(text)) => text,
            other => panic!("not refused: {other:?}"),
        };
    let text = refused("127.0.0.1", &verified).await;
    assert!(text.contains("name the host as its certificate does"), "{text}");
    assert!(!text.contains("one@"), "no password: {text}");
    let text = refused("localhost", "sslmode=verify-full").await;
    assert!(text.contains("UnknownIssuer") && text.contains("sslrootcert=FILE"), "{text}");
    // An authority alone says nothing about the host.
    let by_ca = verified.replace("verify-full", "verify-ca");
    assert_eq!(standing(&server.url("app:one", "127.0.0.1", &by_ca)).await, Ok(None));
    let plain = refused("localhost", "sslmode=disable").await;
    assert!(plain.contains("pg_hba.conf"), "the server takes nothing without TLS: {plain}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_the_way_out_and_a_running_process_waits_for_the_right_one()
 {
    let server = Server::start().await;
    let url = server.url("app:two", "localhost", &server.verified());
    let error = standing(&url).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("store.url")), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "one").unwrap();
    let read = file.clone();
    let logins = Logins::new("see the file".to_owned(), move |_: LoginAsk| {
        let password = fs::read_to_string(&read).ok();
        let login = Login { password, ..Login::default() };
        let answer: BoxFuture<'static, _> = Box::pin(async { Ok(login) });
        answer
    });
    let url = server.url("app", "localhost", &server.verified());
    let options = PostgresOptions { logins: Some(logins), ..PostgresOptions::new(&url, None) };
    PostgresStore::migrate(&options).await.unwrap();
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'";
    server.run("alter role app password 'two'").await;
    server.run(cut).await;
    let error = loop {
        // The first one meets the cut.
        let error = store.counts(None).await.unwrap_err();
        if error.to_string().contains("see the file") {
            break error;
        }
    };
    assert!(matches!(error, StoreError::Transient(_)), "{error}");
    fs::write(&file, "two").unwrap();
    store.counts(None).await.unwrap();
}

struct Binary<'a> {
    dir: &'a Path,
    env: Vec<(&'static str, String)>,
}

impl Binary<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.dir)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.env.iter().map(|(key, value)| (key, value))).current_dir(self.dir);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        output
    }
}

/// Ended with its test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits for what other processes do; the test runner's own limit ends it.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    while !is_so().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const JOBS: i64 = 100;

#[tokio::test]
async fn a_password_that_changes_in_mid_batch_loses_nothing_and_stops_nobody() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let password = dir.join("password");
    fs::write(&password, "one\n").unwrap();
    fs::write(dir.join("url"), server.url("app", "localhost", &server.verified()) + "\n").unwrap();
    let env = vec![
        ("QUARRIER_STORE__URL_FILE", dir.join("url").display().to_string()),
        ("QUARRIER_STORE__PASSWORD_FILE", password.display().to_string()),
    ];
    let quarrier = Binary { dir, env };
    let lines = (0..JOBS).fold(String::new(), |mut text, line| {
        writeln!(text, r#"{{"id":"line-{line}","prompt":"Say {line}.","max_tokens":50}}"#).unwrap();
        text
    });
    fs::write(dir.join("jobs.jsonl"), lines).unwrap();
    quarrier.run(&["migrate"]);
    quarrier.run(&["enqueue", "jobs.jsonl", "--simulate"]);
    let log = dir.join("log");
    let mut serve = quarrier.command(&["serve", "--simulate", "--concurrency", "4"]);
    serve.args(["--requests-per-minute", "0"]).stdout(Stdio::null());
    let mut worker = Ended(serve.stderr(fs::File::create(&log).unwrap()).spawn().unwrap());

    let done = "job where state = 'succeeded'";
    until(async || server.count(done).await >= 10).await;
    server.run("alter role app password 'two'").await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'";
    server.run(cut).await;
    until(async || {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("password authentication failed") && said.contains("store.password_file")
    })
    .await;
    assert!(server.count(done).await < JOBS, "the batch was not over before");
    fs::write(&password, "two\n").unwrap();
    until(async || server.count(done).await == JOBS).await;
    assert_eq!(server.count("result").await, JOBS);
    assert_eq!(server.count("attempt where outcome = 'completed'").await, JOBS, "paid once each");
    assert!(worker.0.try_wait().unwrap().is_none(), "the same process works on");
}
