//! Programs in other languages: they put jobs in within their own transaction, a worker of the real
//! binary does them, and they read the results.
//! Must not know: tables.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::cluster::Database;

/// A worker that ends with its test.
struct Worker(Child);

impl Worker {
    fn start(dir: &Path, url: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_quarrier"))
            .args(["serve", "--simulate", "--store", url])
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", dir)
            .env("TMPDIR", dir)
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Debian's own Python, which knows Debian's modules, even where another stands before it.
fn python() -> &'static str {
    const DEBIANS: &str = "/usr/bin/python3";
    if Path::new(DEBIANS).exists() { DEBIANS } else { "python3" }
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

fn psql(url: &str, script: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", script, url])
        .output()
        .unwrap()
}

#[tokio::test]
async fn psql_puts_a_job_in_and_reads_its_result() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let url = database.url();
    said(&psql(&url, "create table report (number int primary key, job_id uuid)"));
    let script = "begin;
        insert into report values (17, quarrier.enqueue(jsonb_build_object(
            'id', 'report-17', 'prompt', 'Say hello.', 'max_tokens', 50)));
        commit";
    said(&psql(&url, script));
    let lost = psql(&url, "begin; select quarrier.enqueue('{\"prompt\":\"Hi\"}'); rollback");
    assert!(!said(&lost).is_empty(), "it had an id");
    let refused = psql(&url, "select quarrier.enqueue('{\"promt\":\"Hi\"}')");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("$.promt: is no field"), "{words}");
    // What only a worker can tell becomes a job that fails.
    let unknown = "select quarrier.enqueue('{\"prompt\":\"Hi\",\"model\":\"no-such-model\"}')";
    let unknown = said(&psql(&url, unknown));

    let _worker = Worker::start(folder.path(), &url);
    let result = |id: &str| {
        let ask = format!(
            "select state || ' ' || coalesce(error_kind, text) from quarrier.results
                           where job_id = {id}"
        );
        loop {
            let found = said(&psql(&url, &ask));
            if !found.is_empty() {
                return found;
            }
        }
    };
    let done = result("(select job_id from report where number = 17)");
    assert!(done.starts_with("succeeded "), "{done}");
    assert_eq!(result(&format!("'{unknown}'")), "failed rejected");
    assert_eq!(said(&psql(&url, "select count(*) from quarrier.jobs")), "2");
}

#[tokio::test]
async fn an_idle_worker_starts_a_job_as_it_admits_it() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let url = database.url();
    let _worker = Worker::start(folder.path(), &url);
    // Whether it is idle at the first of them is a matter of moments.
    loop {
        let id = said(&psql(&url, "select quarrier.enqueue('{\"prompt\":\"Hi\"}')"));
        let done = format!("select count(*) from quarrier.results where job_id = '{id}'");
        while said(&psql(&url, &done)) == "0" {}
        let is_same = format!(
            "select job.created_at = attempt.started_at and state = 'succeeded'
             from quarrier.job join quarrier.attempt on job_id = id where id = '{id}'"
        );
        if said(&psql(&url, &is_same)) == "t" {
            break;
        }
    }
}

/// The script is the example of docs/store.md, made into a test.
fn psycopg(url: &str, dir: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/producer.py");
    let output = Command::new(python()).args([script, url]).current_dir(dir).output().unwrap();
    assert_eq!(said(&output), "ok");
}

#[tokio::test]
async fn psycopg_puts_jobs_in_and_reads_their_results() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let _worker = Worker::start(folder.path(), &database.url());
    psycopg(&database.url(), folder.path());
}

#[tokio::test]
async fn psycopg_does_the_same_through_a_pooler() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let _worker = Worker::start(folder.path(), &database.url());
    psycopg(&database.pooled_url(), folder.path());
}
