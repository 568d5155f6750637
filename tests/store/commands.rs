//! The binary itself on a Postgres store: made by one command, worked on by others.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::cluster::Database;
use crate::world::NEWEST;

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
    assert!(
        said(dir, &["migrate", "--store", &url]).contains(&format!("stands at version {NEWEST}"))
    );
    assert!(said(dir, &["migrate", "--print"]).starts_with("begin;"));

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
