//! The worker: claims what fits, calls, checks, finishes, for as long as it is wanted.
//! Must not know: which store or provider it has, where its settings come from, who watches it.
//!
//! The loops share one bench: `claims` takes work, one `attempt` runs each call, the
//! `finisher` commits what came back and has `report` tell of it, `lease` keeps the store's trust and
//! `upkeep` does what any process may do for all (promotion, rescue, the spool). `doors` lets in what
//! others put before the store, `at_once` starts it where nothing else is to be done, `wakes` is told
//! of new work.

mod at_once;
mod attempt;
mod begun;
mod claims;
mod direct;
mod doors;
mod finisher;
mod flight;
mod health;
mod kept;
mod lanes;
mod late;
mod lease;
mod options;
pub(crate) mod pulse;
mod replay;
mod report;
mod request;
mod restore;
mod retention;
mod schemas;
mod spool;
mod status;
mod upkeep;
mod verdict;
mod wakes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SetOnce};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admit::Admission;
use crate::clock::Clock;
use crate::provider::Provider;
use crate::store::{Store, StoreError};

pub use direct::{Begun, Call, Called, Direct, NotCalled};
pub use health::Check;
pub use lease::process_name;
pub use options::WorkerOptions;
pub use request::{CallSettings, Caller, request_for};
pub use status::{Status, StatusHandle, WaitingFor, paused_words};

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The store refuses.
    #[error("use the store: {0}")]
    Store(#[from] StoreError),
    /// The spool folder cannot be used.
    #[error("use the spool folder {path}: {source}")]
    Spool {
        /// The folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The share of the slots, one in so many, that work again while their last answers are saved: so
/// many more answers may be lost with a process, and no more.
const SAVING_SHARE: usize = 4;

/// Who works, and with what.
#[derive(Clone)]
pub struct Worker {
    bench: Arc<Bench>,
}

/// What the loops of one worker share.
struct Bench {
    store: Arc<dyn Store>,
    provider: Arc<dyn Provider>,
    admission: Arc<Admission>,
    clock: Clock,
    options: WorkerOptions,
    status: StatusHandle,
    lease: lease::Lease,
    flight: flight::Flight,
    kept: kept::Kept,
    lanes: lanes::Lanes,
    late: late::Late,
    schemas: schemas::Schemas,
    spool: spool::Spool,
    slots: Arc<Semaphore>,
    /// For calls that are over and not saved yet: who gets one of these frees its slot at once.
    saving: Arc<Semaphore>,
    /// Something may have changed for the claim loop: a slot, a settlement, a new job.
    wake: Notify,
    /// A job was put back for later: upkeep looks anew at when the next one becomes due.
    due: Notify,
    /// Others may have put in work that nobody has admitted yet.
    submitted: Notify,
    /// The worst that claimed calls may still cost, and what finished ones did, in micro-dollars.
    money_micros: AtomicU64,
    /// The finisher holds answers that the store does not take: nothing more is claimed.
    unsaved: AtomicBool,
    /// The bytes of all answers that the finisher holds.
    held_bytes: AtomicUsize,
    /// The claim loop found nothing to do when it looked last: what comes in may run at once.
    idle: AtomicBool,
    /// When each loop came round last.
    pulses: pulse::Pulses,
    /// What asks it to drain; set once the lease is open and the loops have begun.
    drain: SetOnce<CancellationToken>,
    /// The claim loop is over: the others end when nothing is left to save.
    ending: AtomicBool,
    /// It takes nothing from lanes: every row under its lease has a caller of this process.
    direct: bool,
}

impl Worker {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        admission: Arc<Admission>,
        clock: Clock,
        options: WorkerOptions,
    ) -> Self {
        Self::build(store, provider, admission, clock, options, false)
    }

    #[expect(clippy::too_many_arguments, reason = "the five of `new`, and what kind it is")]
    fn build(
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        admission: Arc<Admission>,
        clock: Clock,
        options: WorkerOptions,
        direct: bool,
    ) -> Self {
        let slots = usize::try_from(options.concurrency).unwrap_or(1).max(1);
        let bench = Bench {
            spool: spool::Spool::new(options.spool_dir.clone(), options.spool_bytes_max),
            lease: lease::Lease::new(&clock, options.lease_ms, options.beat_ms),
            slots: Arc::new(Semaphore::new(slots)),
            saving: Arc::new(Semaphore::new(slots / SAVING_SHARE)),
            status: StatusHandle::default(),
            flight: flight::Flight::default(),
            kept: kept::Kept::default(),
            lanes: lanes::Lanes::default(),
            late: late::Late::default(),
            schemas: schemas::Schemas::default(),
            wake: Notify::new(),
            due: Notify::new(),
            submitted: Notify::new(),
            money_micros: AtomicU64::new(0),
            unsaved: AtomicBool::new(false),
            held_bytes: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            pulses: pulse::Pulses::default(),
            drain: SetOnce::new(),
            ending: AtomicBool::new(false),
            store,
            provider,
            admission,
            clock,
            options,
            direct,
        };
        Self { bench: Arc::new(bench) }
    }

    /// What it has done so far; cheap to ask, at any time, from anywhere.
    #[must_use]
    pub fn status(&self) -> StatusHandle {
        self.bench.status.clone()
    }

    /// Tells it that there may be new work, so that it need not wait for its next look.
    pub fn wake(&self) {
        self.bench.submitted.notify_one();
        self.bench.wake.notify_one();
    }

    /// Tells it that jobs were admitted by somebody else in its process: no store tells a process what
    /// it has written itself.
    pub fn admitted(&self) {
        self.bench.due.notify_one();
        self.bench.wake.notify_one();
    }

    /// Works until `drain` is cancelled and nothing is in flight any more. `stop` aborts what is
    /// in flight: those calls are recorded as cut, and their jobs run again (or are held).
    ///
    /// # Errors
    /// When the store or the spool cannot be used at the start. Later troubles are waited out.
    pub async fn run(
        &self,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), WorkerError> {
        let bench = &self.bench;
        let loops = Loops::start(bench, &stop).await?;
        if bench.drain.set(drain.clone()).is_err() {
            tracing::debug!("the same worker runs again");
        }
        claims::work(bench, &loops.finisher, &drain, &stop).await;
        bench.ending.store(true, Ordering::Relaxed);
        self.drain(&stop).await;
        loops.end(bench).await;
        Ok(())
    }

    /// Lets calls in flight run to their end for a while, then aborts them.
    async fn drain(&self, stop: &CancellationToken) {
        let bench = &self.bench;
        let slots = bench.options.concurrency.max(1);
        let idle = bench.slots.acquire_many(slots);
        tokio::pin!(idle);
        let soft = Duration::from_millis(bench.options.drain_soft_ms);
        tokio::select! {
            _ = &mut idle => return,
            () = stop.cancelled() => {}
            () = tokio::time::sleep(soft) => {
                tracing::warn!(in_flight = bench.flight.len(), "drain takes too long, aborting calls");
            }
        }
        bench.flight.abort_all();
        let hard = Duration::from_millis(bench.options.drain_hard_ms);
        if tokio::time::timeout(hard, idle).await.is_err() {
            tracing::error!(in_flight = bench.flight.len(), "calls did not end in time");
        }
    }
}

/// The loops that every worker keeps, however it comes by its work.
struct Loops {
    finisher: finisher::Finisher,
    saved: JoinHandle<()>,
    renewals: JoinHandle<()>,
    chores: JoinHandle<()>,
    /// None where nobody waits for what others put in.
    wakes: Option<JoinHandle<()>>,
    done: CancellationToken,
    /// If the worker's future is dropped, nothing of it goes on without it.
    undone: Undone,
}

impl Loops {
    /// Opens the lease and begins.
    async fn start(bench: &Arc<Bench>, stop: &CancellationToken) -> Result<Self, WorkerError> {
        bench.spool.prepare().await?;
        bench.lease.open(bench).await?;
        // A predecessor's answers and jobs come first: it may have died a moment ago.
        replay::spool(bench).await;
        let mut watch = upkeep::Watch::default();
        upkeep::rescue(bench, &mut watch).await;

        let done = CancellationToken::new();
        let undone = Undone { bench: Arc::clone(bench), done: done.clone() };
        let (finisher, saved) = finisher::start(Arc::clone(bench), stop.clone());
        let renewals = tokio::spawn(lease::keep(Arc::clone(bench), done.clone()));
        let chores = if bench.direct {
            tokio::spawn(upkeep::keep_direct(Arc::clone(bench), watch, done.clone()))
        } else {
            let keep = upkeep::keep(Arc::clone(bench), watch, done.clone());
            let doors = doors::keep(Arc::clone(bench), finisher.by_ref(), done.clone());
            let retention = retention::keep(Arc::clone(bench), done.clone());
            tokio::spawn(async {
                tokio::join!(keep, doors, retention);
            })
        };
        let listens = !bench.direct && bench.options.batch.is_none();
        let wakes = listens.then(|| tokio::spawn(wakes::keep(Arc::clone(bench), done.clone())));
        tracing::info!(lease.id = %bench.lease.id(), "worker started");
        Ok(Self { finisher, saved, renewals, chores, wakes, done, undone })
    }

    /// Waits for what is still being saved, then closes the lease.
    async fn end(self, bench: &Arc<Bench>) {
        let Self { finisher, mut saved, renewals, chores, wakes, done, undone } = self;
        drop(finisher);
        let saving = Duration::from_millis(bench.options.drain_hard_ms);
        match tokio::time::timeout(saving, &mut saved).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "answers were not saved: the finisher broke"),
            Err(_) => {
                saved.abort();
                tracing::error!(
                    "answers could not be saved in time; their calls' outcome is unknown"
                );
            }
        }
        done.cancel();
        for ended in [Some(renewals), Some(chores), wakes].into_iter().flatten() {
            if let Err(error) = ended.await {
                tracing::error!(%error, "a loop of the worker broke");
            }
        }
        bench.lease.close(bench).await;
        tracing::info!(lease.id = %bench.lease.id(), "worker stopped");
        drop(undone);
    }
}

/// Ends the loops and the calls of a worker that is over.
struct Undone {
    bench: Arc<Bench>,
    done: CancellationToken,
}

impl Drop for Undone {
    fn drop(&mut self) {
        self.done.cancel();
        self.bench.flight.abort_all();
    }
}

impl Bench {
    /// What the worker may still spend at worst; none without a limit.
    fn money_left(&self) -> Option<u64> {
        let max = self.options.cost_micros_max?;
        Some(max.saturating_sub(self.money_micros.load(Ordering::Relaxed)))
    }

    fn wait_for(&self, waiting: Option<WaitingFor>) {
        self.status.update(|status| status.waiting = waiting);
    }

    /// It claims nothing more, or is about to stop claiming.
    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
            || self.drain.get().is_some_and(CancellationToken::is_cancelled)
    }

    /// The finisher holds answers that the store does not take.
    fn is_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// What calls bring is saved as it comes: else none is begun.
    fn saves(&self) -> bool {
        let finisher = self.pulses.finisher.now(self.clock.now().mono_ms);
        finisher != pulse::Beat::Ended && !self.is_unsaved() && !self.spool.waits()
    }

    /// The lease's present id.
    fn lease_id(&self) -> Uuid {
        self.lease.id()
    }
}
