//! What every test stands on: a store in a temporary folder, admission, and workers that can be
//! drained, stopped or killed. Must not know: what the tests are about.

use std::path::PathBuf;
use std::sync::Arc;

use quarrier::admit::{Admission, AdmitSettings, Origin, Overrides, ReplyAllow};
use quarrier::budget::Limit;
use quarrier::catalogue::Catalogue;
use quarrier::check;
use quarrier::clock::Clock;
use quarrier::completion::Api;
use quarrier::job::{IfOutcomeUnknown, State};
use quarrier::provider::{Clocks, Provider};
use quarrier::retry::Policy;
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{
    AdmitStore as _, Admitted, JobFilter, JobPage, LimitRule, NewJob, ReadStore as _,
    RetentionPolicy, Store,
};
use quarrier::worker::{Status, StatusHandle, Worker, WorkerError, WorkerOptions};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) struct Bed {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) clock: Clock,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(Clock::real(), "scripted").await
    }

    pub(crate) async fn with(clock: Clock, lane_prefix: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("store.db"), &clock).await;
        let catalogue = Arc::new(Catalogue::embedded().unwrap());
        let admission = Arc::new(Admission::new(settings(lane_prefix), catalogue));
        Self { folder, store, admission, clock }
    }

    /// Another process's store: its own connections and its own locks.
    pub(crate) async fn another_store(&self) -> Arc<SqliteStore> {
        open(self.store.path(), &self.clock).await
    }

    pub(crate) fn prepared(&self, document: &Value, origin: Origin) -> NewJob {
        let (text, now) = (document.to_string(), self.clock.now());
        self.admission.prepare(&text, &Overrides::default(), origin, &[], now).unwrap()
    }

    pub(crate) async fn admit(&self, document: Value) -> Uuid {
        let job = self.prepared(&document, Origin::default());
        match self.store.admit(vec![job]).await.unwrap().as_slice() {
            [Admitted::New(id)] => *id,
            other => panic!("not admitted: {other:?}"),
        }
    }

    /// A job with a plain prompt.
    pub(crate) async fn job(&self) -> Uuid {
        self.admit(plain()).await
    }

    /// A job whose answer must be `{"title": TEXT}`.
    pub(crate) async fn structured(&self) -> Uuid {
        self.admit(json!({ "prompt": "Name it.", "max_tokens": 50, "schema": schema() })).await
    }

    pub(crate) async fn limit(&self, pattern: &str, limit: Limit) {
        let rule =
            LimitRule { pattern: pattern.to_owned(), limit, origin: "configuration".to_owned() };
        self.store.seed_limits(vec![rule], "here/1").await.unwrap();
    }

    pub(crate) async fn page(&self, id: Uuid) -> JobPage {
        self.store.job(&id.to_string()).await.unwrap().expect("the job is there")
    }

    pub(crate) async fn state(&self, id: Uuid) -> State {
        self.page(id).await.row.state
    }

    /// The jobs in flight.
    pub(crate) async fn running(&self) -> Vec<Uuid> {
        let state = Some(State::Running);
        let filter = JobFilter { state, rows_max: 1_000, ..JobFilter::default() };
        let rows = self.store.jobs(&filter).await.unwrap();
        rows.into_iter().map(|row| row.job_id).collect()
    }

    /// The store as a program in another language sees it.
    pub(crate) async fn sql(&self, statement: &str) -> u64 {
        let path = format!("sqlite://{}", self.store.path().display());
        let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
        let text = AssertSqlSafe(statement.to_owned());
        let done = sqlx::query(text).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        done.rows_affected()
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        let path = format!("sqlite://{}", self.store.path().display());
        let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
        let text = AssertSqlSafe(query.to_owned());
        let number = sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }

    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// The spool folder's file names, sorted; none where there is no folder.
    pub(crate) fn spooled(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.spool_dir()) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Short waits everywhere; a lease that no busy machine loses.
    pub(crate) fn options(&self) -> WorkerOptions {
        options(self.spool_dir())
    }

    pub(crate) fn worker(
        &self,
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        options: WorkerOptions,
    ) -> Worker {
        Worker::new(store, provider, Arc::clone(&self.admission), self.clock.clone(), options)
    }

    /// A worker at work.
    pub(crate) fn start(&self, provider: Arc<dyn Provider>) -> Running {
        self.start_with(provider, self.options())
    }

    pub(crate) fn start_with(
        &self,
        provider: Arc<dyn Provider>,
        options: WorkerOptions,
    ) -> Running {
        self.start_on(Arc::clone(&self.store) as _, provider, options)
    }

    pub(crate) fn start_on(
        &self,
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        options: WorkerOptions,
    ) -> Running {
        Running::start(self.worker(store, provider, options))
    }

    /// A worker on a store and a runtime of its own, which can be killed.
    pub(crate) async fn start_mortal(
        &self,
        provider: Arc<dyn Provider>,
        options: WorkerOptions,
    ) -> Mortal {
        let store = self.another_store().await;
        let worker = self.worker(Arc::clone(&store) as _, provider, options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            worker.run(CancellationToken::new(), CancellationToken::new()).await
        });
        Mortal { runtime, store }
    }
}

/// A worker at work, and the handles that end it.
pub(crate) struct Running {
    pub(crate) worker: Worker,
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    work: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    pub(crate) fn start(worker: Worker) -> Self {
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let work = tokio::spawn({
            let (worker, drain, stop) = (worker.clone(), drain.clone(), stop.clone());
            async move { worker.run(drain, stop).await }
        });
        Self { worker, drain, stop, work }
    }

    pub(crate) fn status(&self) -> StatusHandle {
        self.worker.status()
    }

    pub(crate) fn now(&self) -> Status {
        self.worker.status().now()
    }

    /// Waits until the counts have reached something.
    pub(crate) async fn until(&self, reached: impl Fn(&Status) -> bool) {
        let status = self.status();
        while !reached(&status.now()) {
            // Some counts change without an end: look again now and then.
            let short = std::time::Duration::from_millis(5);
            tokio::select! {
                () = status.changed() => {}
                () = tokio::time::sleep(short) => {}
            }
        }
    }

    /// Waits until so many jobs have ended.
    pub(crate) async fn ended(&self, jobs: u64) {
        self.until(|status| status.succeeded + status.failed + status.other_ends >= jobs).await;
    }

    pub(crate) async fn drained(self) -> Status {
        self.drain.cancel();
        self.work.await.unwrap().unwrap();
        self.worker.status().now()
    }

    pub(crate) async fn stopped(self) -> Status {
        self.stop.cancel();
        self.work.await.unwrap().unwrap();
        self.worker.status().now()
    }
}

/// A worker that can be killed like a process: nothing of it runs to its end.
pub(crate) struct Mortal {
    runtime: Runtime,
    store: Arc<SqliteStore>,
}

impl Mortal {
    /// The system frees its lock.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }

    /// The same where nobody can see its lock: only its beat stands still.
    pub(crate) fn kill_keeping_its_lock(self) -> Arc<SqliteStore> {
        self.runtime.shutdown_background();
        self.store
    }
}

async fn open(path: &std::path::Path, clock: &Clock) -> Arc<SqliteStore> {
    let options =
        SqliteOptions { path: path.to_owned(), busy_timeout_ms: 10_000, simulated: Some(true) };
    Arc::new(SqliteStore::open(&options, clock.clone()).await.unwrap())
}

pub(crate) fn plain() -> Value {
    json!({ "prompt": "Say something.", "max_tokens": 50 })
}

pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": { "title": { "type": "string", "minLength": 3 } },
        "required": ["title"],
        "additionalProperties": false
    })
}

pub(crate) fn settings(lane_prefix: &str) -> AdmitSettings {
    AdmitSettings {
        model: "claude-haiku-4.5".to_owned(),
        temperature: 0.7,
        temperature_structured: 0.2,
        max_tokens: 1_000,
        deadline_ms: 3_600_000,
        queue: "default".to_owned(),
        tenant: "default".to_owned(),
        if_outcome_unknown: IfOutcomeUnknown::Retry,
        document_bytes_max: 1_048_576,
        check: check::Limits::default(),
        api: Api::Converse,
        lane_prefix: lane_prefix.to_owned(),
        seen_ms: 86_400_000,
        profiles: vec!["us".to_owned()],
        families: std::collections::BTreeMap::new(),
        allow_retired: false,
        queues: std::collections::BTreeMap::new(),
        reply_allow: ReplyAllow::default(),
    }
}

fn options(spool_dir: PathBuf) -> WorkerOptions {
    WorkerOptions {
        concurrency: 8,
        claim_scan_max: 100,
        claim_rows_max: 100,
        claim_interval_ms: 1,
        poll_ms: 10,
        send_late_ms_max: 50_000,
        pass_ms_max: 30_000,
        lease_ms: 60_000,
        beat_ms: 50,
        stuck_ms_max: 120_000,
        drain_soft_ms: 50_000,
        drain_hard_ms: 50_000,
        finish_rows_max: 100,
        finish_bytes_max: 33_554_432,
        unsaved_bytes_max: 67_108_864,
        write_rows_max: 100,
        spool_dir,
        spool_bytes_max: 100_000_000,
        stream: true,
        clocks: Clocks { first_token_ms: 50_000, idle_ms: 50_000, total_ms: 50_000 },
        call_ms_base: 50_000,
        call_ms_per_token: 1,
        retention: RetentionPolicy::for_ever(),
        write_ms_max: 50,
        retry: policy(),
        check: check::Limits::default(),
        batch: None,
        cost_micros_max: None,
        log_bodies: false,
    }
}

/// The table's own counts, and no long waits.
pub(crate) fn policy() -> Policy {
    Policy {
        backoff_base_ms: 1,
        unavailable_base_ms: 1,
        model_not_ready_ms_min: 1,
        throttle_base_ms: 1,
        throttled_day_ms: 1,
        paused_ms: 1,
        outage_ms_base: 1,
        outage_ms_max: 20,
        ..Policy::default()
    }
}
