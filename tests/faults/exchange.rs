//! One scene with queues: documents go into one queue, workers take them in, call the simulator and
//! answer into another queue. Keeps what was sent, and what has struck the workers so far.
//! Must not know: which fault it is (the scenes do), or what is judged (`tally` does).

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::fleet::{Orders, Worker, program};
use crate::kept::Kept;
use crate::queues::{Queues, service};
use crate::road::Road;
use crate::scene::{REQUESTS_PER_MINUTE, Size};
use crate::simulated::Simulated;

/// Of so many documents one asks for no answer.
const QUIET_EVERY: u64 = 10;
/// Of so many documents one has no `id`: its message makes it what it is.
const NAMELESS_EVERY: u64 = 3;

/// When messages are deleted, and where their jobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `on_stored`, in Postgres.
    Stored,
    /// `on_finished`, in Postgres.
    Finished,
    /// `on_finished`, in a file.
    File,
}

impl Mode {
    fn ack(self) -> &'static str {
        if self == Self::Stored { "on_stored" } else { "on_finished" }
    }

    /// For the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Stored => "on_stored",
            Self::Finished => "on_finished",
            Self::File => "on_finished, SQLite",
        }
    }

    /// Whether each worker takes messages in: with `on_finished` one process does, and a file has
    /// one process.
    fn workers(self) -> &'static [bool] {
        match self {
            Self::Stored => &[true, true],
            Self::Finished => &[true, false],
            Self::File => &[true],
        }
    }
}

pub(crate) struct Exchange {
    pub(crate) size: Size,
    pub(crate) mode: Mode,
    // Dropped in this order: workers end before what they work on.
    pub(crate) workers: Vec<Worker>,
    /// Which of them take messages in.
    takes_in: Vec<bool>,
    pub(crate) simulated: Simulated,
    pub(crate) kept: Kept,
    pub(crate) road: Road,
    pub(crate) queues: Queues,
    folder: tempfile::TempDir,
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Good documents that were sent, each once or more often.
    pub(crate) sent: u64,
    /// Messages that can come to no job.
    pub(crate) bad: u64,
    /// Every message.
    messages: u64,
    /// Attempts that were running when their worker was struck.
    pub(crate) struck: HashSet<String>,
    /// Answers that were on their way when their sender was struck.
    open_replies: u64,
    /// When the last fault was over.
    over: Instant,
}

impl Exchange {
    /// Queues and a store, nobody at work yet.
    pub(crate) async fn new(mode: Mode) -> Self {
        let size = Size::asked();
        let folder = tempfile::tempdir().unwrap();
        let kept = match mode {
            Mode::Stored | Mode::Finished => Kept::postgres(),
            Mode::File => Kept::file_in(folder.path()),
        };
        migrate(&kept.address(), folder.path());
        let (queues, road) = (Queues::new().await, Road::to(&service()).await);
        let simulated = Simulated::start(REQUESTS_PER_MINUTE);
        let settings = settings(size, mode, &queues, &road);
        let (workers, takes_in) = (Vec::new(), Vec::new());
        let (sent, bad, messages, open_replies) = (0, 0, 0, 0);
        let (struck, over) = (HashSet::new(), Instant::now());
        Self {
            size,
            mode,
            workers,
            takes_in,
            simulated,
            kept,
            road,
            queues,
            folder,
            settings,
            sent,
            bad,
            messages,
            struck,
            open_replies,
            over,
        }
    }

    /// The same with as many workers as the mode has, who do not wait for long.
    pub(crate) async fn start(mode: Mode) -> Self {
        let mut exchange = Self::new(mode).await;
        if exchange.size == Size::Small {
            exchange.settings.extend([
                // A request is given up, and an answer that its sender took along is sent by
                // another, within seconds.
                ("QUARRIER_SQS__TIMEOUT_MS", "2000".to_owned()),
                ("QUARRIER_RELAY__HOLD_MS", "5000".to_owned()),
                ("QUARRIER_RELAY__RETRY_MS_MAX", "2000".to_owned()),
            ]);
        }
        exchange.start_workers();
        exchange
    }

    pub(crate) fn start_workers(&mut self) {
        for takes_in in self.mode.workers() {
            self.start_worker(*takes_in);
        }
    }

    /// One more.
    pub(crate) fn start_worker(&mut self, takes_in: bool) {
        let folder = self.folder.path().join(format!("worker-{}", self.workers.len()));
        self.takes_in.push(takes_in);
        let worker = self.worker_in(&folder, takes_in);
        self.workers.push(worker);
    }

    fn worker_in(&self, folder: &Path, takes_in: bool) -> Worker {
        let (store, endpoint) = (self.kept.address(), self.simulated.endpoint());
        let mut settings = self.settings.clone();
        if takes_in {
            settings.push(("QUARRIER_SQS__INTAKE", self.queues.jobs.clone()));
        }
        let requests_per_minute = REQUESTS_PER_MINUTE;
        let (store, endpoint) = (store.as_str(), endpoint.as_str());
        let (clock, file_kib_max) = (None, None);
        let orders = Orders { store, endpoint, requests_per_minute, settings, clock, file_kib_max };
        Worker::start(folder, &orders)
    }

    /// Kills one and starts another in its place, with its spool.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.workers[index].kill();
        self.fault_hit(index).await;
        let folder = self.workers[index].folder().to_owned();
        self.workers[index] = self.worker_in(&folder, self.takes_in[index]);
    }

    /// The document of this number; each has its own.
    fn document(&self, number: u64) -> String {
        let mut document = json!({
            "prompt": format!("Grade site {number}."),
            "max_tokens": 60,
            "metadata": { "number": number },
        });
        if !number.is_multiple_of(NAMELESS_EVERY) {
            document["id"] = format!("job-{number}").into();
        }
        if asks(number) {
            document["reply_to"] = self.queues.answers.clone().into();
        }
        document.to_string()
    }

    /// Sends so many further documents.
    pub(crate) async fn send(&mut self, count: u64) {
        let bodies: Vec<String> =
            (self.sent..self.sent + count).map(|number| self.document(number)).collect();
        self.queues.send(&bodies).await;
        self.sent += count;
        self.messages += count;
    }

    /// Sends so many further documents, all with an `id`, each so often.
    pub(crate) async fn send_repeatedly(&mut self, count: u64, times: u64) {
        let mut bodies = Vec::new();
        for number in self.sent..self.sent + count {
            let mut document: serde_json::Value =
                serde_json::from_str(&self.document(number)).unwrap();
            document["id"] = format!("job-{number}").into();
            bodies.extend((0..times).map(|_| document.to_string()));
        }
        self.queues.send(&bodies).await;
        self.sent += count;
        self.messages += count * times;
    }

    /// Sends messages that can come to no job.
    pub(crate) async fn send_bad(&mut self, bodies: &[String]) {
        self.queues.send(bodies).await;
        let count = u64::try_from(bodies.len()).unwrap();
        self.bad += count;
        self.messages += count;
    }

    pub(crate) async fn until(&self, what: &str, reached: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !reached().await {
            assert!(began.elapsed() < self.size.patience(), "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for so many further calls.
    pub(crate) async fn until_calls_more(&self, calls: u64) {
        let target = self.simulated.summary().await.calls + calls;
        let reached = async || self.simulated.summary().await.calls >= target;
        self.until("the workers call", reached).await;
    }

    /// Waits until there are so many jobs.
    pub(crate) async fn until_stored(&self, jobs: u64) {
        let reached = async || self.kept.count("quarrier.job").await >= jobs;
        self.until("messages become jobs", reached).await;
    }

    /// Notes what this worker had in flight as struck.
    pub(crate) async fn fault_hit(&mut self, index: usize) {
        let pid = self.workers[index].pid();
        let query = format!(
            "select cast(job.fence as text) from quarrier.job as job join quarrier.lease as lease \
             on lease.id = job.lease_id where job.state = 'running' and lease.pid = {pid}"
        );
        let running = self.kept.texts(&query).await;
        self.struck.extend(running);
        self.replies_hit().await;
        self.fault_over();
    }

    /// Notes that answers which are on their way may be sent again.
    pub(crate) async fn replies_hit(&mut self) {
        self.open_replies +=
            self.kept.count("quarrier.delivery where state = 'due' and taken").await;
    }

    /// How many answers may have been sent twice: those whose sender was struck, and those of which
    /// a try has failed, which the queue may have heard of all the same.
    pub(crate) async fn replies_again_max(&self) -> u64 {
        let query = "select cast(coalesce(sum(tries - 1), 0) as text) from quarrier.delivery";
        let tries: u64 = self.kept.rows(query).await[0][0].parse().unwrap();
        self.open_replies + tries
    }

    /// Every message that was sent.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Recovery is counted from now on.
    pub(crate) fn fault_over(&mut self) {
        self.over = Instant::now();
    }

    /// Waits until every message that was sent so far is a job, and each attempt that was struck is
    /// accounted for. Says how long that took since the fault was over.
    pub(crate) async fn recovered(&self) -> Duration {
        self.until_stored(self.sent + self.bad).await;
        let query = "select cast(fence as text) from quarrier.job where state = 'running'";
        let none_left = async || self.kept.texts(query).await.is_disjoint(&self.struck);
        self.until("what was struck is accounted for", none_left).await;
        self.over.elapsed()
    }

    /// How long ago the last fault was over.
    pub(crate) fn since_fault(&self) -> Duration {
        self.over.elapsed()
    }

    /// How many messages are gone from the queue, at most.
    pub(crate) async fn gone(&self) -> u64 {
        let mut left = 0;
        // One that comes back while it is counted may be missing from a single count.
        for _ in 0..3 {
            left = left.max(self.queues.left().await.all());
        }
        self.messages - left.min(self.messages)
    }

    /// How many messages may be gone: with a job, or with one that has ended and was answered.
    pub(crate) async fn may_be_gone(&self) -> u64 {
        if self.mode == Mode::Stored {
            return self.kept.count("quarrier.job").await;
        }
        let answered = "quarrier.job as job where job.ended_at is not null and job.id not in \
                        (select job_id from quarrier.delivery where state = 'due')";
        self.kept.count(answered).await
    }

    /// Nothing is deleted that is not safe. Of documents that were sent once.
    pub(crate) async fn expect_nothing_gone_too_early(&self) {
        let gone = self.gone().await;
        let may_be_gone = self.may_be_gone().await;
        assert!(gone <= may_be_gone, "{gone} messages are gone, and {may_be_gone} may be");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A stopped process takes no other signal but the last.
        self.workers.clear();
    }
}

/// Whether the document of this number asks for an answer.
pub(crate) fn asks(number: u64) -> bool {
    number % QUIET_EVERY != QUIET_EVERY - 1
}

/// For how long the workers of a scene hide a message: long enough to be stored, short enough to
/// come back while something is broken.
pub(crate) fn visibility_s(size: Size) -> u64 {
    size.of(10, 30)
}

fn settings(size: Size, mode: Mode, queues: &Queues, road: &Road) -> Vec<(&'static str, String)> {
    let mut settings = size.settings();
    settings.extend([
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("QUARRIER_SQS__REGION", "us-east-1".to_owned()),
        ("QUARRIER_SQS__ENDPOINT", road.url()),
        ("QUARRIER_SQS__ACK", mode.ack().to_owned()),
        ("QUARRIER_SQS__REPLY_ALLOW", queues.answers.clone()),
        ("QUARRIER_SQS__VISIBILITY_S", visibility_s(size).to_string()),
    ]);
    settings
}

/// Makes the store's tables.
fn migrate(store: &str, folder: &Path) {
    let mut command = program();
    command.args(["migrate", "--store", store]).current_dir(folder).stdin(Stdio::null());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "quarrier migrate: {said}");
}
