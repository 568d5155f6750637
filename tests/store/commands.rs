//! The binary itself on a Postgres store: made by one command, worked on by others.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sqlx::{Connection as _, PgConnection};

use crate::cluster::Database;

fn quarrier(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quarrier"))
        .args(args)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", dir)
        .env("TMPDIR", dir)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// What it says where all is well.
fn said(dir: &Path, args: &[&str]) -> String {
    let output = quarrier(dir, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_file_is_worked_through_on_postgres_and_a_second_run_pays_nothing() {
    let database = Database::empty().await;
    let url = database.url();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let lines = (0..20).fold(String::new(), |mut text, line| {
        writeln!(text, r#"{{"id":"line-{line}","prompt":"Say {line}.","max_tokens":50}}"#).unwrap();
        text
    });
    fs::write(dir.join("jobs.jsonl"), lines).unwrap();

    let early = quarrier(dir, &["results", "--out", "all.jsonl", "--store", &url]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("quarrier migrate"), "{early:?}");
    assert!(said(dir, &["migrate", "--store", &url]).starts_with("made postgres://"));
    assert!(said(dir, &["migrate", "--store", &url]).contains("stands at version "));
    assert!(said(dir, &["migrate", "--print"]).contains("\nbegin;"));

    let run = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate", "--store", &url];
    let first = said(dir, &run);
    assert!(first.contains("postgres://"), "{first}");
    let count = || fs::read_to_string(dir.join("out.jsonl")).unwrap().lines().count();
    assert_eq!(count(), 20);
    said(dir, &run);
    assert_eq!(count(), 20);
    said(dir, &["results", "--out", "all.jsonl", "--store", &url]);
    let all = fs::read_to_string(dir.join("all.jsonl")).unwrap();
    assert_eq!(all.lines().count(), 20, "each line has one result");
    assert!(said(dir, &["limits", "--store", &url]).contains("total"));
    let real = quarrier(dir, &["enqueue", "jobs.jsonl", "--store", &url]);
    let words = String::from_utf8_lossy(&real.stderr).into_owned();
    assert!(!real.status.success() && words.contains("simulated"), "{words}");
}

/// A program's rows are jobs to whoever asks, before any worker has seen them.
#[tokio::test]
async fn what_no_worker_has_admitted_is_listed_shown_counted_and_cancelled() {
    let database = Database::with_store().await;
    let url = database.url();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut producer = PgConnection::connect(&url).await.unwrap();
    let document = r#"{"id":"one","prompt":"x","queue":"reports","tenant":"acme"}"#;
    let put = "select quarrier.enqueue($1::text::jsonb)::text from generate_series(1, $2)";
    let id: String =
        sqlx::query_scalar(put).bind(document).bind(1_i32).fetch_one(&mut producer).await.unwrap();
    let plain = sqlx::query(put).bind(r#"{"prompt":"x"}"#).bind(3_i32);
    plain.execute(&mut producer).await.unwrap();
    producer.close().await.unwrap();

    let list = said(dir, &["jobs", "list", "--store", &url]);
    assert_eq!(list.matches("submitted").count(), 4, "{list}");
    assert!(list.contains("none is at work on this store"), "{list}");
    let one = said(dir, &["jobs", "show", "one", "--full", "--store", &url]);
    assert!(one.contains(&id) && one.contains("reports, tenant acme"), "{one}");
    assert!(said(dir, &["explain", &id, "--store", &url]).contains("submitted"));
    let queues = said(dir, &["queues", "--store", &url]);
    assert!(queues.lines().any(|line| line.starts_with("default          3 ")), "{queues}");

    let cancelled = said(dir, &["jobs", "cancel", &id, "--store", &url]);
    assert_eq!(
        cancelled,
        "cancelled: 1 job (1 before any worker had admitted it); left alone: 0\n"
    );
    let one = said(dir, &["jobs", "show", "one", "--store", &url]);
    assert!(one.contains("state     cancelled"), "{one}");
    let filters = ["jobs", "cancel", "--queue", "default", "--yes", "--store", &url];
    assert!(said(dir, &filters).starts_with("cancelled: 3 jobs (3 before"));
    let list = said(dir, &["jobs", "list", "--store", &url]);
    assert_eq!(list.matches(" cancelled ").count(), 4, "{list}");
    let paused = said(dir, &["pause", "--queue", "reprots", "--store", &url]);
    assert!(paused.contains("note: no queue reprots"), "{paused}");
}
