//! The finisher: one per process, commits finished attempts in groups. What arrives during one
//! commit is the next group.
//! Must not know: how an attempt came out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Bench, restore};
use crate::error::ErrorKind;
use crate::job::{Outcome, State};
use crate::retry;
use crate::store::{ClaimedJob, Finish, Finished, Next, Settlement, StoreError};

/// A store that has not taken a group for so long gets it later, from the spool.
const SPOOL_AFTER_MS: u64 = 2_000;
/// How often it is tried meanwhile.
const RETRY_MS_MIN: u64 = 20;
const RETRY_MS_MAX: u64 = 500;

/// The way to the finisher.
#[derive(Clone)]
pub(super) struct Finisher {
    items: mpsc::Sender<Item>,
    /// Of all answers that are not saved yet.
    held_bytes: Arc<AtomicUsize>,
}

type Item = (Finish, Asker);

/// What a call leaves with its finish.
struct Asker {
    call: Ended,
    /// Who waits for the finish to be saved, if anybody does.
    waits: Option<oneshot::Sender<()>>,
    /// Of the finish.
    bytes: usize,
}

/// A call that is over.
pub(super) struct Ended {
    pub(super) job: ClaimedJob,
    /// What it might have cost at worst, in micro-dollars.
    pub(super) worst_micros: u64,
    /// Its slot until it is saved, or its leave to be saved without one.
    pub(super) slot: OwnedSemaphorePermit,
}

/// The same for one who does not keep the finisher from ending.
pub(super) struct FinisherRef {
    items: mpsc::WeakSender<Item>,
    held_bytes: Arc<AtomicUsize>,
}

impl FinisherRef {
    /// The way, as long as the finisher has not been told to end.
    pub(super) fn get(&self) -> Option<Finisher> {
        let items = self.items.upgrade()?;
        Some(Finisher { items, held_bytes: Arc::clone(&self.held_bytes) })
    }
}

impl Finisher {
    pub(super) fn by_ref(&self) -> FinisherRef {
        let items = self.items.downgrade();
        FinisherRef { items, held_bytes: Arc::clone(&self.held_bytes) }
    }

    /// Returns when the finish is committed or spooled, or the finisher is gone, which the drain has
    /// reported: what could not be saved stays this process's own, and rescuers see to it.
    pub(super) async fn save(&self, finish: Finish, call: Ended) {
        let (waits, saved) = oneshot::channel();
        self.hand_over(finish, call, Some(waits)).await;
        // An error says that the finisher is gone.
        saved.await.ok();
    }

    /// The same for one who does not wait for that.
    pub(super) async fn leave(&self, finish: Finish, call: Ended) {
        self.hand_over(finish, call, None).await;
    }

    async fn hand_over(&self, finish: Finish, call: Ended, waits: Option<oneshot::Sender<()>>) {
        let bytes = size(&finish);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.items.send((finish, Asker { call, waits, bytes })).await.is_err() {
            tracing::debug!("the finisher is gone");
        }
    }
}

/// Starts the finisher; it ends when every sender is gone.
pub(super) fn start(bench: Arc<Bench>, stop: CancellationToken) -> (Finisher, JoinHandle<()>) {
    let rows_max = bench.options.finish_rows_max.max(1);
    let (sender, receiver) = mpsc::channel(rows_max);
    let held_bytes = Arc::new(AtomicUsize::new(0));
    let hurry = Hurry { stop, held_bytes: Arc::clone(&held_bytes) };
    let finisher = Finisher { items: sender, held_bytes };
    (finisher, tokio::spawn(work(bench, receiver, hurry)))
}

/// What makes the spool take answers at once, before the store has been asked for long.
struct Hurry {
    stop: CancellationToken,
    held_bytes: Arc<AtomicUsize>,
}

impl Hurry {
    fn is_on(&self, bench: &Bench) -> bool {
        self.stop.is_cancelled()
            || self.held_bytes.load(Ordering::Relaxed) > bench.options.unsaved_bytes_max
    }
}

/// One group at a time: two at once contend with each other and with the claims, and every group
/// costs a commit.
async fn work(bench: Arc<Bench>, mut items: mpsc::Receiver<Item>, hurry: Hurry) {
    let pulse = &bench.pulses.finisher;
    let _going = pulse.begin(bench.clock.now().mono_ms);
    loop {
        pulse.rest(bench.clock.now().mono_ms);
        let Some(first) = items.recv().await else { return };
        // Calls that end in the same instant hand over theirs before the group is closed.
        tokio::task::yield_now().await;
        let group = gather(&bench, &mut items, first);
        save(&bench, &hurry, group).await;
    }
}

/// The bytes of an answer, as far as they grow with it.
fn size(finish: &Finish) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let next = match &finish.next {
        Next::End { output, text, .. } => length(output).saturating_add(length(text)),
        Next::Again { reask, .. } => length(reask),
        Next::Held => 0,
    };
    next.saturating_add(length(&finish.raw_text))
}

fn gather(bench: &Bench, items: &mut mpsc::Receiver<Item>, first: Item) -> Vec<Item> {
    let rows_max = bench.options.finish_rows_max.max(1);
    let mut bytes = first.1.bytes;
    let mut group = vec![first];
    while group.len() < rows_max && bytes < bench.options.finish_bytes_max {
        let Ok(item) = items.try_recv() else { break };
        bytes = bytes.saturating_add(item.1.bytes);
        group.push(item);
    }
    group
}

/// Commits a group; a store that is away is asked again, then the spool takes it.
async fn save(bench: &Bench, hurry: &Hurry, group: Vec<Item>) {
    let (mut finishes, mut askers): (Vec<Finish>, Vec<Asker>) = group.into_iter().unzip();
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(RETRY_MS_MIN))
        .with_max_delay(Duration::from_millis(RETRY_MS_MAX))
        .with_jitter()
        .without_max_times()
        .build();
    let began_mono_ms = bench.clock.now().mono_ms;
    loop {
        bench.pulses.finisher.lap(bench.clock.now().mono_ms);
        let error = match bench.store.finish(&finishes).await {
            Ok(mut outcomes) => {
                let restored = restore::lost(bench, &finishes, &mut outcomes).await;
                let saved = finishes.into_iter().zip(askers).zip(outcomes);
                let is_left = |(_, outcome): &(Item, Finished)| {
                    restored.is_err() && *outcome == Finished::Lost
                };
                let (left, saved): (Vec<_>, Vec<_>) = saved.partition(is_left);
                conclude(bench, hurry, saved);
                let Err(error) = restored else {
                    bench.unsaved.store(false, Ordering::Relaxed);
                    return;
                };
                (finishes, askers) = left.into_iter().map(|(item, _)| item).unzip();
                error.to_string()
            }
            // Refused: a person must act on the store, and the answers wait for that.
            Err(StoreError::Transient(text) | StoreError::Refused(text)) => text,
            Err(error @ (StoreError::Data(_) | StoreError::Bug(_))) => {
                let group = finishes.into_iter().zip(askers).collect();
                return save_apart(bench, hurry, group, &error).await;
            }
        };
        bench.unsaved.store(true, Ordering::Relaxed);
        bench.lease.doubt();
        let waited_ms = bench.clock.now().mono_ms.saturating_sub(began_mono_ms);
        let late = waited_ms > SPOOL_AFTER_MS || hurry.is_on(bench);
        if late && spool(bench, &finishes, &error).await {
            bench.unsaved.store(false, Ordering::Relaxed);
            // Its slot is free; the spool's replay reports what became of it.
            free(bench, hurry, askers);
            return;
        }
        let delay = delays.next().unwrap_or(Duration::from_millis(RETRY_MS_MAX));
        tokio::time::sleep(delay).await;
    }
}

/// The store has recorded these, or knows nothing of them for good.
fn conclude(bench: &Bench, hurry: &Hurry, saved: Vec<(Item, Finished)>) {
    let (mut finishes, mut askers) = (Vec::with_capacity(saved.len()), Vec::new());
    for ((finish, asker), outcome) in saved {
        report(bench, &finish, &asker.call, outcome);
        finishes.push(finish);
        askers.push(asker);
    }
    bench.kept.keep(finishes, size, bench.clock.now().mono_ms);
    free(bench, hurry, askers);
    bench.status.notify();
}

async fn spool(bench: &Bench, finishes: &[Finish], why: &str) -> bool {
    let group: Vec<&Finish> = finishes.iter().collect();
    let park = |yes| finishes.iter().for_each(|finish| bench.flight.park(finish.key.fence, yes));
    park(true);
    match bench.spool.write(&group).await {
        Ok(()) => {
            tracing::warn!(
                answers = group.len(),
                why,
                "the store is away, answers are in the spool"
            );
            true
        }
        Err(error) => {
            tracing::error!(answers = group.len(), %error, "answers are only in memory");
            park(false);
            false
        }
    }
}

/// The store refuses the group's data: one by one, so that only the culprit suffers, and then the
/// culprit as an end that can be stored.
async fn save_apart(bench: &Bench, hurry: &Hurry, group: Vec<Item>, error: &StoreError) {
    if group.len() > 1 {
        tracing::warn!(answers = group.len(), %error, "group refused, trying one by one");
        for item in group {
            Box::pin(save(bench, hurry, vec![item])).await;
        }
        return;
    }
    for (finish, asker) in group {
        let already = matches!(&finish.error, Some((ErrorKind::Unstorable, _)));
        if already {
            tracing::error!(job.id = %finish.key.job_id, %error, "an answer cannot be stored at all");
            spool(bench, std::slice::from_ref(&finish), &error.to_string()).await;
            // Written or not: given back, its job would be paid for again to no other end.
            bench.flight.park(finish.key.fence, true);
            free(bench, hurry, vec![asker]);
            return;
        }
        let finish = unstorable(&finish, error);
        Box::pin(save(bench, hurry, vec![(finish, asker)])).await;
    }
}

/// The same finish with its text in a form that any column holds, and the job at its end.
pub(super) fn unstorable(finish: &Finish, error: &StoreError) -> Finish {
    let escaped = finish.raw_text.as_ref().map(|text| text.escape_default().to_string());
    Finish {
        raw_text: escaped,
        schema_errors: None,
        error: Some((ErrorKind::Unstorable, format!("the answer could not be stored: {error}"))),
        next: Next::End { state: State::Failed, output: None, text: None, provenance: None },
        ..finish.clone()
    }
}

/// These attempts are over: their slots are free, and who waits for them goes on.
fn free(bench: &Bench, hurry: &Hurry, askers: Vec<Asker>) {
    let count = u32::try_from(askers.len()).unwrap_or(u32::MAX);
    bench.status.update(|status| status.in_flight = status.in_flight.saturating_sub(count));
    bench.flight.end(askers.iter().map(|asker| asker.call.job.fence));
    for Asker { call, waits, bytes } in askers {
        hurry.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        drop(call.slot);
        if waits.is_some_and(|waits| waits.send(()).is_err()) {
            tracing::debug!("the worker is being torn down, nobody waits for an answer");
        }
    }
    // What was settled may let others in.
    bench.wake.notify_one();
}

/// Tells those who watch.
fn report(bench: &Bench, finish: &Finish, call: &Ended, outcome: Finished) {
    let Ended { worst_micros, job, .. } = call;
    // What is known replaces the worst; what is unknown stays at the worst.
    if finish.settlement != Settlement::Held {
        let known = finish.cost_micros.unwrap_or(0);
        if let Some(unspent) = worst_micros.checked_sub(known) {
            bench.money_micros.fetch_sub(unspent, Ordering::Relaxed);
        } else {
            bench.money_micros.fetch_add(known - worst_micros, Ordering::Relaxed);
        }
    }
    count(bench, finish, Some(job), outcome);
    log(finish, job, outcome);
    if matches!(finish.next, Next::Again { after_ms: 1.., .. }) {
        bench.due.notify_one();
    }
}

/// Counts a finish that the store has recorded; `job` as it was claimed, where it is known.
pub(super) fn count(bench: &Bench, finish: &Finish, job: Option<&ClaimedJob>, outcome: Finished) {
    bench.status.update(|status| {
        if let Some(usage) = finish.usage {
            status.usage.input += usage.input;
            status.usage.output += usage.output;
            status.usage.cache_read += usage.cache_read;
            status.usage.cache_write += usage.cache_write;
        }
        status.cost_micros += finish.cost_micros.unwrap_or(0);
        match finish.outcome {
            Outcome::Throttled => status.throttled += 1,
            Outcome::Cut | Outcome::Unknown => status.unknown += 1,
            Outcome::Completed | Outcome::Refused | Outcome::NotSent => {}
        }
        match (outcome, &finish.next) {
            (Finished::Moved(State::Succeeded), _) => status.succeeded += 1,
            (Finished::Moved(State::Failed), _) => status.failed += 1,
            (Finished::Moved(State::Expired | State::Cancelled | State::Held), _) => {
                status.other_ends += 1;
            }
            (Finished::Moved(_), Next::Again { counters, .. }) => {
                let Some(job) = job else { return };
                status.reasked += u64::from(counters.reasks > job.counters.reasks);
                status.retried += u64::from(counters.failures > job.counters.failures);
            }
            _ => {}
        }
        if let Finished::Moved(state) = outcome
            && state.is_terminal()
        {
            let id = job.and_then(|job| job.external_id.clone());
            let id = id.unwrap_or_else(|| finish.key.job_id.to_string());
            status.last = Some(format!("{id} {}", state.as_str()));
        }
    });
}

fn log(finish: &Finish, job: &ClaimedJob, outcome: Finished) {
    let (id, attempt) = (finish.key.job_id, finish.key.number);
    let usage = finish.usage.unwrap_or_default();
    tracing::debug!(
        job.id = %id,
        job.attempt = attempt,
        gen_ai.request.model = job.resolved.model,
        gen_ai.usage.input_tokens = usage.input,
        gen_ai.usage.output_tokens = usage.output,
        latency_ms = finish.total_ms,
        request_id = finish.request_id,
        outcome = finish.outcome.as_str(),
        "attempt {attempt} of job {id} recorded"
    );
    let kind = finish.error.as_ref().map(|(kind, _)| kind.as_str());
    let is_the_lanes = finish.error.as_ref().is_some_and(|(kind, _)| retry::pauses(*kind))
        && matches!(&finish.next, Next::Again { counters, .. }
            if counters.failures == job.counters.failures);
    match outcome {
        Finished::Moved(state) if state.is_terminal() => tracing::info!(
            job.id = %id,
            job.attempt = attempt,
            state = state.as_str(),
            error.kind = kind,
            cost_micros = finish.cost_micros,
            "job {id} {}", state.as_str()
        ),
        // The lane's pause was told once; a line for each call in flight says nothing more.
        Finished::Moved(_) if is_the_lanes => tracing::debug!(
            job.id = %id,
            job.attempt = attempt,
            error.kind = kind,
            "job {id} waits for its lane"
        ),
        Finished::Moved(_) if kind.is_some() => tracing::warn!(
            job.id = %id,
            job.attempt = attempt,
            error.kind = kind,
            "job {id} will be called again"
        ),
        Finished::Moved(_) | Finished::Replayed => {}
        Finished::Late => {
            tracing::warn!(job.id = %id, job.attempt = attempt, "job {id}: answer came after another");
        }
        Finished::Lost => {
            tracing::error!(job.id = %id, job.attempt = attempt, "job {id}: the store knows no such attempt");
        }
    }
}
