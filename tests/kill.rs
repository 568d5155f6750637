//! Real processes of the real binary, killed for real, against a simulator that logs every call.
//! G1 to G5 on one machine: nothing is lost, nothing is recorded twice, and every call paid for is
//! an attempt.
#![cfg(test)]

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::simulator::{Latency, Simulator, SimulatorOptions};
use quarrier::store::ReadStore as _;
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

const JOBS: usize = 400;
const KILLS: u64 = 8;
const CONCURRENCY: u64 = 12;
/// High enough to be done soon, low enough to bind.
const REQUESTS_PER_MINUTE: u64 = 6_000;
/// A test that waits for longer than this is stuck.
const PATIENCE: Duration = Duration::from_mins(2);

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn worker(&self, endpoint: &str) -> Child {
        let out = self.path("out.jsonl");
        Command::new(env!("CARGO_BIN_EXE_quarrier"))
            .arg("run")
            .arg(self.path("jobs.jsonl"))
            .arg("--out")
            .arg(out)
            .args(["--store".as_ref(), self.path("jobs.db").as_os_str()])
            .args(["--simulate", "--endpoint", endpoint])
            .args(["--concurrency", &CONCURRENCY.to_string()])
            .args(["--requests-per-minute", &REQUESTS_PER_MINUTE.to_string()])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

fn write_jobs(path: &Path) {
    let mut text = String::new();
    for number in 0..JOBS {
        let schema = r#"{"type":"object","properties":{"summary":{"type":"string"},"grade":{"enum":["a","b"]}},"required":["summary","grade"]}"#;
        // Every fourth job has no id: its line is its identity.
        let id = if number % 4 == 0 { String::new() } else { format!(r#""id":"job-{number}","#) };
        writeln!(
            text,
            r#"{{{id}"prompt":"Grade site {number}.","max_tokens":200,"schema":{schema}}}"#
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
}

async fn simulator() -> Simulator {
    let options = SimulatorOptions {
        requests_per_minute: Some(REQUESTS_PER_MINUTE),
        latency: Latency { first_token_ms: 40, per_token_us: 200, spread_percent: 50 },
        faults: "http_500=0.02,prose=0.05,cut_stream=0.02".parse().unwrap(),
        call_log_max: 100_000,
        ..SimulatorOptions::default()
    };
    Simulator::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_any_moment_loses_nothing_and_records_nothing_twice() {
    let files = Files { folder: tempfile::tempdir().unwrap() };
    write_jobs(&files.path("jobs.jsonl"));
    let simulator = simulator().await;
    let endpoint = simulator.endpoint_url();
    let mut rng = StdRng::seed_from_u64(7);

    let mut in_flight_at_kills = 0;
    for _ in 0..KILLS {
        let mut worker = files.worker(&endpoint);
        let target = simulator.summary().calls + rng.random_range(1..40);
        let reached = simulator.until(|summary| summary.calls >= target);
        tokio::time::timeout(PATIENCE, reached).await.expect("the worker calls");
        worker.kill().unwrap();
        worker.wait().unwrap();
        // Whatever was in flight is at most this: calls, and a quarter as many answers being saved.
        in_flight_at_kills += CONCURRENCY + CONCURRENCY / 4;
    }
    let mut worker = files.worker(&endpoint);
    let ended = tokio::task::spawn_blocking(move || worker.wait());
    tokio::time::timeout(PATIENCE, ended).await.expect("the worker ends").unwrap().unwrap();

    let counts = verify(&files, &simulator, in_flight_at_kills).await;
    // The figures of the closing note; a test's output is shown with --nocapture.
    eprintln!("{counts}");
    simulator.stop().await;
}

async fn verify(files: &Files, simulator: &Simulator, in_flight_at_kills: u64) -> String {
    let text = std::fs::read_to_string(files.path("out.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: HashSet<&str> = lines.iter().map(|line| line["job_id"].as_str().unwrap()).collect();
    assert_eq!(lines.len(), JOBS, "one line a job");
    assert_eq!(ids.len(), JOBS, "no job twice");

    let options = SqliteOptions {
        path: files.path("jobs.db"),
        busy_timeout_ms: 5_000,
        simulated: Some(true),
    };
    let store = SqliteStore::open(&options, Clock::real()).await.unwrap();
    let states: HashMap<State, u64> =
        store.counts(None).await.unwrap().states.into_iter().collect();
    let jobs = u64::try_from(JOBS).unwrap();
    assert_eq!(states.values().sum::<u64>(), jobs);
    assert!(states.keys().all(|state| state.is_terminal()), "all ended: {states:?}");

    // Every call that reached the provider is an attempt, and no attempt called twice.
    let calls = simulator.calls();
    let mut attempts = 0;
    let mut unknown = 0;
    let mut known: HashSet<(String, String)> = HashSet::new();
    for id in &ids {
        for attempt in store.job(id).await.unwrap().unwrap().attempts {
            let outcome = attempt.outcome.expect("no attempt is left open");
            unknown += u64::from(outcome == "unknown");
            attempts += u64::from(outcome != "not_sent");
            known.insert(((*id).to_owned(), attempt.number.to_string()));
        }
    }
    let mut called: HashSet<(String, String)> = HashSet::new();
    for call in &calls {
        let key = (call.job_id.clone().unwrap(), call.attempt.clone().unwrap());
        assert!(known.contains(&key), "a call without its attempt: {key:?}");
        assert!(called.insert(key.clone()), "an attempt called twice: {key:?}");
    }
    assert!(unknown <= in_flight_at_kills, "{unknown} unknown, {in_flight_at_kills} in flight");
    let summary = simulator.summary();
    assert_eq!(summary.throttled, 0, "the quota held over every restart");
    assert!(summary.worst_window_requests <= REQUESTS_PER_MINUTE);
    format!(
        "kills {KILLS}, jobs {JOBS}, results {}, calls {}, attempts {attempts}, unknown {unknown}, worst window {} of {REQUESTS_PER_MINUTE}",
        lines.len(),
        calls.len(),
        summary.worst_window_requests
    )
}
