//! What the queue itself costs: jobs admitted, claimed, finished and settled on SQLite or Postgres,
//! with results and attempts written as always. Knows the public ports, and no wire.
//!
//! `cargo bench --bench queue -- [--jobs N] [--in-flight N] [--latency-ms N] [--endpoint URL]
//! [--store FILE or postgres://...] [--only admit|drain] [--budget] [--prompt-bytes N] [--hold-all]`
//!
//! Without an endpoint the calls are answered inside this process, after `--latency-ms`. With one
//! they go through the real SDK to a simulator there (`quarrier simulate`). With `--hold-all` no
//! call is answered before all are in flight, and the memory for each is printed. One JSON line.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use clap::{Parser, ValueEnum};
use quarrier::admit::{Admission, AdmitSettings, Origin, Overrides, ReplyAllow};
use quarrier::budget::Limit;
use quarrier::catalogue::Catalogue;
use quarrier::check;
use quarrier::clock::Clock;
use quarrier::completion::{Api, Completion, StopReason, Usage};
use quarrier::job::{IfOutcomeUnknown, State};
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{CallError, Clocks, GenerateRequest, Provider};
use quarrier::retry::Policy;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{LimitRule, NewJob, Store};
use quarrier::worker::{Worker, WorkerOptions};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// How many jobs one admission takes.
const CHUNK: usize = 500;

/// A limit that never holds anybody back, so that the budget's own work is all that it costs.
const AMPLE: u64 = 1_000_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Put the jobs in and end.
    Admit,
    /// Work off what an earlier `admit` put in.
    Drain,
}

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Jobs.
    #[arg(long, default_value_t = 10_000)]
    jobs: u64,
    /// Calls at the same time.
    #[arg(long, default_value_t = 500)]
    in_flight: u32,
    /// How long a call takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// A simulator; inside this process where absent.
    #[arg(long)]
    endpoint: Option<String>,
    /// The store's file or its `postgres://` address; a temporary file where absent.
    #[arg(long)]
    store: Option<String>,
    /// One part alone, so that what it costs can be told apart.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// A limit on requests and tokens that is never reached.
    #[arg(long)]
    budget: bool,
    /// How much longer a prompt is made.
    #[arg(long, default_value_t = 0)]
    prompt_bytes: usize,
    /// Answer nothing before all jobs are in flight.
    #[arg(long)]
    hold_all: bool,
    /// Cargo passes this to every bench.
    #[arg(long)]
    bench: bool,
}

/// Answers inside this process.
struct Inside {
    latency: Duration,
    waiting: AtomicU64,
    all: Option<u64>,
    go: CancellationToken,
}

#[async_trait]
impl Provider for Inside {
    async fn generate(&self, _: &GenerateRequest) -> Result<Completion, CallError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) + 1 == self.all.unwrap_or(u64::MAX) {
            self.go.cancel();
        }
        if self.all.is_some() {
            self.go.cancelled().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        Ok(Completion {
            text: "a short answer".to_owned(),
            stop: StopReason::EndTurn,
            usage: Usage { input: 20, output: 5, cache_read: 0, cache_write: 0 },
            request_id: Some("inside".to_owned()),
            first_token_ms: None,
            total_ms: 0,
        })
    }

    fn lane_prefix(&self) -> &'static str {
        "inside"
    }

    fn wire_body(&self, _: &GenerateRequest) -> serde_json::Value {
        serde_json::Value::Null
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir()?;
    let clock = Clock::real();
    let store = open(&options, folder.path().join("bench.db"), &clock).await?;
    if options.budget {
        let limit = Limit { requests_per_minute: Some(AMPLE), tokens_per_minute: Some(AMPLE) };
        let rule = LimitRule { pattern: "total".to_owned(), limit, origin: "flag".to_owned() };
        store.seed_limits(vec![rule], "bench/1").await?;
    }
    let admission = Arc::new(Admission::new(admit_settings(), Arc::new(Catalogue::embedded()?)));
    let memory_before = resident_kb()?;

    let began = seconds();
    if options.only != Some(Part::Drain) {
        admit(&*store, &admission, &clock, &options).await?;
    }
    let admitted = seconds();
    if options.only == Some(Part::Admit) {
        return report(&options, (began, admitted, admitted), 0);
    }
    let inside = Inside {
        latency: Duration::from_millis(options.latency_ms),
        waiting: AtomicU64::new(0),
        all: options.hold_all.then_some(options.jobs),
        go: CancellationToken::new(),
    };
    let held = inside.go.clone();
    let provider: Arc<dyn Provider> = match &options.endpoint {
        None => Arc::new(inside),
        Some(endpoint) => Arc::new(bedrock(endpoint).await?),
    };
    let folder = folder.path().join("spool");
    let worker = Worker::new(
        Arc::clone(&store),
        provider,
        admission,
        clock,
        worker_options(options.in_flight, folder),
    );
    let (status, drain) = (worker.status(), CancellationToken::new());
    let work = tokio::spawn({
        let drain = drain.clone();
        async move { worker.run(drain, CancellationToken::new()).await }
    });
    let mut memory_held = 0;
    if options.hold_all {
        held.cancelled().await;
        memory_held = resident_kb()?;
    }
    while status.now().succeeded + status.now().failed < options.jobs {
        status.changed().await;
    }
    let drained = seconds();
    drain.cancel();
    work.await??;

    let succeeded = store.counts(None).await?.states;
    ensure!(succeeded == [(State::Succeeded, options.jobs)], "not all succeeded: {succeeded:?}");
    report(&options, (began, admitted, drained), memory_held.saturating_sub(memory_before))
}

/// Prints the one line; times in seconds, memory in KB.
fn report(options: &Options, times: (f64, f64, f64), memory_kb: u64) -> anyhow::Result<()> {
    let (began, admitted, drained) = times;
    let rate = |from: f64, to: f64| {
        (f64::from(u32::try_from(options.jobs).unwrap_or(u32::MAX)) / (to - from)).round()
    };
    let line = json!({
        "jobs": options.jobs,
        "in_flight": options.in_flight,
        "latency_ms": options.latency_ms,
        "only": options.only.map(|part| format!("{part:?}").to_lowercase()),
        "budget": options.budget,
        "admit_jobs_per_s": rate(began, admitted),
        "drain_jobs_per_s": rate(admitted, drained),
        "whole_jobs_per_s": rate(began, drained),
        "drain_s": ((drained - admitted) * 1_000.0).round() / 1_000.0,
        "cpu_s": (cpu_seconds() * 1_000.0).round() / 1_000.0,
        "memory_kb_per_call": memory_kb / options.jobs.max(1),
        "resident_mb": resident_kb()? / 1_024,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn open(options: &Options, file: PathBuf, clock: &Clock) -> anyhow::Result<Arc<dyn Store>> {
    let place = options.store.as_deref();
    if let Some(url) = place.filter(|place| place.starts_with("postgres://")) {
        let open = PostgresOptions::new(url, Some(true));
        PostgresStore::migrate(&open).await?;
        return Ok(Arc::new(PostgresStore::open(&open, clock.clone()).await?));
    }
    let path = place.map_or(file, PathBuf::from);
    let open = SqliteOptions { path, busy_timeout_ms: 10_000, simulated: Some(true) };
    Ok(Arc::new(SqliteStore::open(&open, clock.clone()).await?))
}

async fn admit(
    store: &dyn Store,
    admission: &Admission,
    clock: &Clock,
    options: &Options,
) -> anyhow::Result<()> {
    let jobs = options.jobs;
    let filling = "x".repeat(options.prompt_bytes);
    let mut chunk: Vec<NewJob> = Vec::with_capacity(CHUNK);
    for number in 0..jobs {
        let text = json!({
            "id": format!("job-{number}"),
            "model": "claude-haiku-4.5",
            "prompt": format!("Summarise finding {number} in one sentence.{filling}"),
            "max_tokens": 100,
        });
        let job = admission
            .prepare(&text.to_string(), &Overrides::default(), Origin::default(), &[], clock.now())
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        chunk.push(job);
        if chunk.len() == CHUNK || number + 1 == jobs {
            store.admit(std::mem::take(&mut chunk)).await?;
        }
    }
    Ok(())
}

async fn bedrock(endpoint: &str) -> anyhow::Result<Bedrock> {
    let options = BedrockOptions {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        simulated_credentials: true,
        ..BedrockOptions::default()
    };
    Bedrock::connect(&options).await.context("connect")
}

fn admit_settings() -> AdmitSettings {
    AdmitSettings {
        model: "claude-haiku-4.5".to_owned(),
        temperature: 0.7,
        temperature_structured: 0.2,
        max_tokens: 4_096,
        deadline_ms: 3_600_000,
        queue: "default".to_owned(),
        tenant: "default".to_owned(),
        if_outcome_unknown: IfOutcomeUnknown::Retry,
        document_bytes_max: 1_048_576,
        check: check::Limits::default(),
        api: Api::Converse,
        lane_prefix: "inside".to_owned(),
        seen_ms: 86_400_000,
        profiles: vec!["us".to_owned()],
        families: std::collections::BTreeMap::new(),
        allow_retired: false,
        queues: std::collections::BTreeMap::new(),
        reply_allow: ReplyAllow::default(),
    }
}

fn worker_options(in_flight: u32, spool_dir: PathBuf) -> WorkerOptions {
    WorkerOptions {
        concurrency: in_flight,
        claim_scan_max: 500,
        claim_rows_max: 500,
        claim_interval_ms: 25,
        poll_ms: 500,
        send_late_ms_max: 10_000,
        pass_ms_max: 30_000,
        lease_ms: 12_000,
        beat_ms: 3_000,
        stuck_ms_max: 120_000,
        drain_soft_ms: 10_000,
        drain_hard_ms: 10_000,
        finish_rows_max: 500,
        finish_bytes_max: 33_554_432,
        unsaved_bytes_max: 67_108_864,
        write_rows_max: 500,
        retention: quarrier::store::RetentionPolicy::for_ever(),
        write_ms_max: 50,
        spool_dir,
        spool_bytes_max: 1_073_741_824,
        stream: true,
        clocks: Clocks { first_token_ms: 60_000, idle_ms: 60_000, total_ms: 600_000 },
        call_ms_base: 60_000,
        call_ms_per_token: 100,
        retry: Policy::default(),
        check: check::Limits::default(),
        batch: None,
        cost_micros_max: None,
        log_bodies: false,
    }
}

fn seconds() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default().as_secs_f64()
}

fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default().as_secs_f64()
}

/// Resident memory of this process (Linux).
fn resident_kb() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("read VmRSS")
}
