//! Calls for callers of this very process: the same claim, attempt and finish as every job's, but
//! nothing is taken from lanes, and nobody else ever runs what is begun here.
//! Must not know: who calls, how long they wait, or what they make of the answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::attempt::{self, Made, Turn};
use super::finisher::{Ended, Finisher};
use super::{Bench, Loops, Worker, WorkerError, WorkerOptions, lease, verdict};
use crate::admit::Admission;
use crate::clock::Clock;
use crate::provider::{Heard, Provider};
use crate::store::{
    Admitted, AttemptKey, ClaimNewAsk, ClaimedJob, ClaimedNew, Finish, NewJob, Pause, Store,
    StoreError, StoreResult, Waiting,
};

/// How long a store that does not answer is asked again before the caller is told, in ms.
const ASK_MS_MAX: u64 = 2_000;
/// How often it is asked meanwhile, in ms.
const ASK_EVERY_MS: u64 = 50;

/// One call to be made.
pub struct Call {
    /// What admission made of the caller's document.
    pub job: NewJob,
    /// Who hears the answer's text as it arrives.
    pub heard: Option<Arc<Heard>>,
    /// The caller asks until it fits, so smaller jobs must not pass it for ever.
    pub waits: bool,
    /// How long it may wait for one of this process's own slots, in ms.
    pub slot_ms_max: u64,
}

/// A call that was made, or given back unsent; recorded, or in the spool.
#[derive(Debug, Clone)]
pub struct Called {
    /// What is recorded of it. It ends its job, whatever came of it.
    pub finish: Finish,
    /// A floor for the next try, where the provider named one, in ms.
    pub retry_after_ms: Option<u64>,
    /// The turns (JSON) that show the model its own answer and its mistakes, where asking again
    /// can help.
    pub reask: Option<String>,
}

/// Why no call was made. Nothing of it is in the store.
#[derive(Debug, Clone)]
pub enum NotCalled {
    /// There is no room in the budget now.
    Waits {
        /// In how many ms it fits at the earliest.
        fits_in_ms: u64,
        /// What it waits for.
        waiting: Waiting,
    },
    /// The lane is paused.
    Paused {
        /// For so many ms.
        for_ms: u64,
        /// The kind of failure that paused it, where it is known.
        reason: Option<String>,
    },
    /// A person has paused its lane or its queue.
    PausedBy(Pause),
    /// It can never fit a limit, in words for a person.
    NeverFits(String),
    /// Its identity or its `dedupe_key` is another job's.
    Known(Admitted),
    /// The money left does not cover it at worst.
    Money,
    /// All of this process's own slots were in use for as long as it might wait.
    Busy,
    /// This process is ending its work.
    Closed,
    /// The store does not take it.
    Store(StoreError),
}

/// A call in flight.
#[derive(Debug)]
pub struct Begun {
    going: JoinHandle<Option<Called>>,
    _guard: DropGuard,
}

impl Begun {
    /// Waits until its end is recorded, or in the spool.
    ///
    /// # Errors
    /// Where this program broke.
    pub async fn end(self) -> Result<Called, NotCalled> {
        let called = self.going.await.ok().flatten();
        called.ok_or_else(|| broken("in the middle of it"))
    }
}

fn broken(when: &str) -> NotCalled {
    NotCalled::Store(StoreError::Bug(format!("a call's own loop broke, {when}")))
}

/// What ties a call in flight to its caller.
struct CallersEnd {
    /// Cancelled when nobody waits for it any more.
    given_up: CancellationToken,
    /// Hears whether it is claimed.
    claimed: oneshot::Sender<Result<(), NotCalled>>,
}

/// A worker that works for callers of its own process alone.
pub struct Direct {
    bench: Arc<Bench>,
    /// Gone once it is closed.
    finisher: Arc<Mutex<Option<Finisher>>>,
    drain: CancellationToken,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Direct {
    /// Opens a lease and begins to keep it. Until it is closed, or its process ends, the calls of
    /// [`Direct::begin`] run under it.
    ///
    /// # Errors
    /// When the store or the spool cannot be used.
    pub async fn open(
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        admission: Arc<Admission>,
        clock: Clock,
        options: WorkerOptions,
    ) -> Result<Self, WorkerError> {
        let worker = Worker::build(store, provider, admission, clock, options, true);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let loops = Loops::start(&worker.bench, &stop).await?;
        let finisher = Arc::new(Mutex::new(Some(loops.finisher.clone())));
        let bench = Arc::clone(&worker.bench);
        let keeper = tokio::spawn({
            let (drain, finisher) = (drain.clone(), Arc::clone(&finisher));
            async move {
                drain.cancelled().await;
                // The finisher ends when nobody can hand it anything any more.
                drop(locked(&finisher).take());
                worker.drain(&stop).await;
                worker.bench.slots.close();
                loops.end(&worker.bench).await;
            }
        });
        let keeper = Mutex::new(Some(keeper));
        Ok(Self { bench, finisher, drain, keeper })
    }

    /// Claims the job's quota and begins its one call. The call goes on until [`Begun::end`];
    /// dropping this future, or what it returns, aborts it, and it is recorded as cut.
    ///
    /// # Errors
    /// Where no call is made.
    pub async fn begin(&self, call: Call) -> Result<Begun, NotCalled> {
        let Some(finisher) = locked(&self.finisher).clone() else { return Err(NotCalled::Closed) };
        let slot = self.slot(call.slot_ms_max).await?;
        if self.drain.is_cancelled() {
            return Err(NotCalled::Closed);
        }
        let given_up = CancellationToken::new();
        let guard = given_up.clone().drop_guard();
        let (claimed, is_claimed) = oneshot::channel();
        let caller = CallersEnd { given_up, claimed };
        // Apart from its caller: a claim half made, or an answer half saved, must come to its end.
        let going = tokio::spawn(go(Arc::clone(&self.bench), finisher, call, slot, caller));
        match is_claimed.await {
            Ok(claimed) => claimed.map(|()| Begun { going, _guard: guard }),
            Err(_) => Err(broken("before its claim was known")),
        }
    }

    async fn slot(&self, ms_max: u64) -> Result<OwnedSemaphorePermit, NotCalled> {
        let slots = Arc::clone(&self.bench.slots);
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            return Ok(slot);
        }
        let longest = Duration::from_millis(ms_max);
        match tokio::time::timeout(longest, slots.acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(NotCalled::Closed),
            Err(_) => Err(NotCalled::Busy),
        }
    }

    /// Takes no more calls, lets those in flight come to their end for a while, then aborts them,
    /// and closes the lease. Returns at once where another has closed it.
    pub async fn close(&self) {
        self.drain.cancel();
        let keeper = locked(&self.keeper).take();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.await
        {
            tracing::error!(%error, "the loops of direct calls broke");
        }
    }
}

/// What is left behind is closed all the same, as long as its runtime lives.
impl Drop for Direct {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the claim to the recorded end.
async fn go(
    bench: Arc<Bench>,
    finisher: Finisher,
    call: Call,
    slot: OwnedSemaphorePermit,
    caller: CallersEnd,
) -> Option<Called> {
    let Call { job, heard, waits, .. } = call;
    let lane: Arc<str> = Arc::from(job.lane.as_str());
    let CallersEnd { given_up, claimed } = caller;
    let (job, worst_micros, reserved_mono_ms) = match claim(&bench, &job, waits, &given_up).await {
        Ok(taken) => taken,
        Err(reason) => {
            // If nobody hears it, nobody needs to know.
            drop(claimed.send(Err(reason)));
            return None;
        }
    };
    drop(claimed.send(Ok(())));
    bench.lanes.claimed(&lane, key_of(&job), &bench.clock);
    let abort = bench.flight.begin(&job, bench.clock.now().mono_ms);
    bench.status.update(|status| {
        status.in_flight += 1;
        status.claimed += 1;
    });
    let reserved = bench.clock.now().at(reserved_mono_ms);
    let turn = Turn { job, lane, abort: abort.clone(), reserved, worst_micros, heard };
    let made = {
        let making = attempt::make_whole(&bench, &turn);
        tokio::pin!(making);
        tokio::select! {
            made = &mut making => made,
            () = given_up.cancelled() => {
                abort.cancel();
                making.await
            }
        }
    };
    let Made { finish, retry_after_ms } = made;
    let (finish, reask) = verdict::for_its_caller(finish);
    let told = Called { finish: finish.clone(), retry_after_ms, reask };
    // What could not be saved has been reported, and its caller has paid for it all the same.
    let Turn { job, worst_micros, .. } = turn;
    finisher.save(&bench, finish, Ended { job, worst_micros, slot }).await;
    Some(told)
}

/// Sets the most that the call may cost aside, so that calls side by side do not spend it twice.
fn reserve_money(bench: &Bench, job: &NewJob) -> Result<u64, NotCalled> {
    let resolved = job.resolved.as_ref().ok();
    let worst = resolved.and_then(|resolved| resolved.cost_micros_max(&job.wanted)).unwrap_or(0);
    let max = bench.options.cost_micros_max.unwrap_or(u64::MAX);
    let spent = bench.money_micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spent| {
        spent.checked_add(worst).filter(|sum| *sum <= max)
    });
    spent.map(|_| worst).map_err(|_| NotCalled::Money)
}

/// Claims the job, asking again for a while where the store does not answer: under the same fence
/// it finds what an earlier try may have left. Also returns what it costs at worst, in
/// micro-dollars, and when its quota was reserved.
async fn claim(
    bench: &Bench,
    job: &NewJob,
    waits: bool,
    given_up: &CancellationToken,
) -> Result<(ClaimedJob, u64, u64), NotCalled> {
    let worst_micros = reserve_money(bench, job)?;
    let fences = bench.flight.ask(1);
    let taken = claim_under(bench, job, waits, &fences, given_up).await;
    match &taken {
        // Before the asked-for fence is forgotten: the lease's loop compares at any time.
        Ok((job, _)) => drop(bench.flight.begin(job, bench.clock.now().mono_ms)),
        Err(_) => {
            bench.money_micros.fetch_sub(worst_micros, Ordering::Relaxed);
        }
    }
    bench.flight.forget_asked(&fences);
    taken.map(|(job, mono_ms)| (job, worst_micros, mono_ms))
}

async fn claim_under(
    bench: &Bench,
    job: &NewJob,
    waits: bool,
    fences: &[uuid::Uuid],
    given_up: &CancellationToken,
) -> Result<(ClaimedJob, u64), NotCalled> {
    let began_mono_ms = bench.clock.now().mono_ms;
    loop {
        let error = match try_claim(bench, job, waits, fences).await {
            Ok(ClaimedNew::Running { job, reserved_mono_ms }) => {
                return Ok((*job, reserved_mono_ms));
            }
            Ok(ClaimedNew::Waits { fits_in_ms, waiting }) => {
                return Err(NotCalled::Waits { fits_in_ms, waiting });
            }
            Ok(ClaimedNew::Paused { for_ms, reason }) => {
                return Err(NotCalled::Paused { for_ms, reason });
            }
            Ok(ClaimedNew::PausedBy(pause)) => return Err(NotCalled::PausedBy(pause)),
            Ok(ClaimedNew::NeverFits(reason)) => return Err(NotCalled::NeverFits(reason)),
            Ok(ClaimedNew::Known(admitted)) => return Err(NotCalled::Known(admitted)),
            Err(error) => error,
        };
        let asked_ms = bench.clock.now().mono_ms.saturating_sub(began_mono_ms);
        let is_passing = matches!(error, StoreError::Transient(_)) && asked_ms < ASK_MS_MAX;
        if !is_passing || given_up.is_cancelled() {
            return Err(NotCalled::Store(error));
        }
        tokio::time::sleep(Duration::from_millis(ASK_EVERY_MS)).await;
    }
}

async fn try_claim(
    bench: &Bench,
    job: &NewJob,
    waits: bool,
    fences: &[uuid::Uuid],
) -> StoreResult<ClaimedNew> {
    if !bench.lease.is_fresh(bench.clock.now().mono_ms) {
        // The machine slept, or the store was away: now is as good a time as the next beat.
        lease::renew(bench).await?;
    }
    if !bench.saves() {
        let reason = "answers of earlier calls wait to be stored".to_owned();
        return Err(StoreError::Transient(reason));
    }
    let [fence] = fences else {
        return Err(StoreError::Bug("one call has one fence".to_owned()));
    };
    let ask = ClaimNewAsk {
        lease: bench.lease_id(),
        fence: *fence,
        pass_ms_max: bench.options.pass_ms_max,
        waits,
    };
    bench.store.claim_new(job.clone(), ask).await
}

fn key_of(job: &ClaimedJob) -> AttemptKey {
    AttemptKey { job_id: job.job_id, number: job.number, fence: job.fence }
}

/// Ends claims whose commit was reported lost: their callers have been told that no call was made,
/// so nobody may make one.
pub(super) async fn end_lost(bench: &Bench, lost: &[AttemptKey]) -> StoreResult<()> {
    let finishes: Vec<Finish> = lost.iter().map(|key| verdict::lost(*key)).collect();
    bench.store.finish(&finishes).await.map(drop)
}
