//! One scene: a Postgres of its own with jobs in it, a simulator, workers, and what has struck them
//! so far. Must not know: which fault it is (the scenes do), or what is judged (`judge` does).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::clocks::Steps;
use crate::cluster::Cluster;
use crate::fleet::{Orders, Worker, program};
use crate::simulated::Simulated;

/// High enough for a small run, low enough to bind.
pub(crate) const REQUESTS_PER_MINUTE: u64 = 2_400;

/// Until when a job must be done, unless a scene says otherwise.
const WEEK_S: u64 = 604_800;

/// How large the scenes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// For each change: seconds, with a short lease.
    Small,
    /// `FAULTS=full`: minutes, with the settings that ship.
    Full,
}

impl Size {
    pub(crate) fn asked() -> Self {
        let asked = std::env::var_os("FAULTS");
        if asked.is_some_and(|value| value == "full") { Self::Full } else { Self::Small }
    }

    pub(crate) fn of(self, small: u64, full: u64) -> u64 {
        if self == Self::Small { small } else { full }
    }

    /// A test that waits for longer than this is stuck.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(self.of(180, 900))
    }

    /// Settings of every worker.
    pub(crate) fn settings(self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            // Killed again and again, a job may be unlucky more often than three times.
            ("QUARRIER_RETRY__CRASHES_MAX", "50"),
            ("QUARRIER_LOG__FORMAT", "text"),
        ];
        if self == Self::Small {
            settings.extend([
                ("QUARRIER_WORKER__LEASE_MS", "3000"),
                ("QUARRIER_WORKER__BEAT_MS", "500"),
                ("QUARRIER_STORE__STATEMENT_TIMEOUT_MS", "2000"),
                ("QUARRIER_STORE__LOCK_TIMEOUT_MS", "1000"),
            ]);
        }
        settings.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
    }

    /// A lease whose beat stands still for so long is lost.
    pub(crate) fn lease(self) -> Duration {
        Duration::from_millis(self.of(3_000, 12_000))
    }
}

pub(crate) struct Scene {
    pub(crate) size: Size,
    pub(crate) jobs: u64,
    // Dropped in this order: workers end before what they work on.
    pub(crate) workers: Vec<Worker>,
    pub(crate) simulated: Simulated,
    pub(crate) cluster: Cluster,
    folder: tempfile::TempDir,
    store: String,
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Attempts that were running when something struck.
    pub(crate) struck: HashSet<Uuid>,
    /// When the last fault was over.
    over: Instant,
}

impl Scene {
    /// Jobs in a store, nobody at work yet.
    pub(crate) fn new(size: Size, jobs: u64) -> Self {
        Self::on(Cluster::start(), size, jobs, WEEK_S)
    }

    /// The same with jobs that expire so soon.
    pub(crate) fn with_deadline(size: Size, jobs: u64, deadline_s: u64) -> Self {
        Self::on(Cluster::start(), size, jobs, deadline_s)
    }

    /// The same with the database under a clock of the test's own.
    pub(crate) fn under(size: Size, jobs: u64, clock: &Steps) -> Self {
        let cluster = Cluster::start();
        cluster.halt();
        cluster.resume_under(clock);
        Self::on(cluster, size, jobs, WEEK_S)
    }

    fn on(cluster: Cluster, size: Size, jobs: u64, deadline_s: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = cluster.url();
        let deadline_s = deadline_s.to_string();
        let command = |arguments: &[&str]| command(arguments, folder.path(), &deadline_s);
        command(&["migrate", "--store", &store]);
        let file = folder.path().join("jobs.jsonl");
        write_jobs(&file, jobs);
        let file = file.to_str().unwrap();
        command(&["enqueue", file, "--store", &store, "--simulate"]);
        let simulated = Simulated::start(REQUESTS_PER_MINUTE);
        let (settings, over) = (size.settings(), Instant::now());
        let (workers, struck) = (Vec::new(), HashSet::new());
        Self { size, jobs, workers, simulated, cluster, folder, store, settings, struck, over }
    }

    /// Workers started from now on reach the store so.
    pub(crate) fn reach_by(&mut self, url: String) {
        self.store = url;
    }

    /// Starts so many, and waits until all have calls in flight.
    pub(crate) async fn start_workers(&mut self, count: usize) {
        for _ in 0..count {
            self.start_with(None, None);
        }
        self.until_calls_more(1).await;
    }

    pub(crate) async fn start_worker_under(&mut self, clock: &Steps) {
        self.start_with(Some(clock), None);
        self.until_at_work(self.workers.len() - 1).await;
    }

    /// One for which every disk is full.
    pub(crate) async fn start_confined_worker(&mut self) {
        self.start_with(None, Some(0));
        self.until_at_work(self.workers.len() - 1).await;
    }

    fn start_with(&mut self, clock: Option<&Steps>, file_kib_max: Option<u64>) {
        let folder = self.folder.path().join(format!("worker-{}", self.workers.len()));
        let worker = self.worker_in(&folder, clock, file_kib_max);
        self.workers.push(worker);
    }

    fn worker_in(&self, folder: &Path, clock: Option<&Steps>, kib: Option<u64>) -> Worker {
        let endpoint = self.simulated.endpoint();
        let settings = self.settings.clone();
        let requests_per_minute = REQUESTS_PER_MINUTE;
        let (store, endpoint) = (self.store.as_str(), endpoint.as_str());
        let file_kib_max = kib;
        let orders = Orders { store, endpoint, requests_per_minute, settings, clock, file_kib_max };
        Worker::start(folder, &orders)
    }

    /// A new process in the place of one that is dead, with its spool.
    pub(crate) fn restart(&mut self, index: usize) {
        let folder = self.workers[index].folder().to_owned();
        self.workers[index] = self.worker_in(&folder, None, None);
    }

    /// Waits until this worker runs attempts.
    pub(crate) async fn until_at_work(&self, index: usize) {
        self.until("a worker is at work", async || !self.running_of(index).await.is_empty()).await;
    }

    /// Waits for so many further calls.
    pub(crate) async fn until_calls_more(&self, calls: u64) {
        let target = self.simulated.summary().await.calls + calls;
        let reached = async || self.simulated.summary().await.calls >= target;
        self.until("the workers call", reached).await;
    }

    pub(crate) async fn until(&self, what: &str, reached: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !reached().await {
            assert!(began.elapsed() < self.size.patience(), "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the store counts as running now.
    pub(crate) async fn running(&self) -> HashSet<Uuid> {
        let query = "select fence from quarrier.job where state = 'running'";
        let rows = sqlx::query_scalar(query).fetch_all(&mut self.cluster.connect().await).await;
        rows.unwrap().into_iter().collect()
    }

    /// The same of one worker.
    pub(crate) async fn running_of(&self, index: usize) -> HashSet<Uuid> {
        let query = "select job.fence from quarrier.job join quarrier.lease on lease.id = lease_id \
                     where state = 'running' and pid = $1";
        let pid = i64::from(self.workers[index].pid());
        let rows = sqlx::query_scalar(query).bind(pid);
        rows.fetch_all(&mut self.cluster.connect().await).await.unwrap().into_iter().collect()
    }

    /// Notes everything in flight as struck.
    pub(crate) async fn fault_hits(&mut self) {
        let running = self.running().await;
        self.struck.extend(running);
        self.fault_over();
    }

    /// Notes what this worker had in flight as struck.
    pub(crate) async fn fault_hit(&mut self, index: usize) {
        let running = self.running_of(index).await;
        self.struck.extend(running);
        self.fault_over();
    }

    /// Recovery is counted from now on.
    pub(crate) fn fault_over(&mut self) {
        self.over = Instant::now();
    }

    /// Waits until each attempt that was struck is accounted for: its end recorded, or its job's
    /// next attempt on its way. Says how long that took.
    pub(crate) async fn recovered(&self) -> Duration {
        let none_left = async || self.running().await.is_disjoint(&self.struck);
        self.until("what was struck is accounted for", none_left).await;
        self.over.elapsed()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A stopped process takes no other signal but the last.
        self.workers.clear();
    }
}

/// Runs a command of the real binary to its end.
fn command(arguments: &[&str], folder: &Path, deadline_s: &str) {
    let mut command = program();
    command.args(arguments).env("QUARRIER_JOB__DEADLINE_S", deadline_s);
    let done = command.current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "quarrier {arguments:?}: {said}");
}

fn write_jobs(path: &Path, jobs: u64) {
    let mut text = String::new();
    for number in 0..jobs {
        let prompt = format!("Grade site {number}.");
        writeln!(text, r#"{{"id":"job-{number}","prompt":"{prompt}","max_tokens":60}}"#).unwrap();
    }
    std::fs::write(path, text).unwrap();
}
