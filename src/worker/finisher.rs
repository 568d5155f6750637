//! The finisher: one per process, commits finished attempts in groups. What arrives during one
//! commit is the next group.
//! Must not know: how an attempt came out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Bench, report, restore};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::{ClaimedJob, Finish, Finished, Next, StoreError};

/// A store that has not taken a group for so long gets it later, from the spool.
const SPOOL_AFTER_MS: u64 = 2_000;
/// How often it is tried meanwhile.
const RETRY_MS_MIN: u64 = 20;
const RETRY_MS_MAX: u64 = 500;

/// The way to the finisher.
#[derive(Clone)]
pub(super) struct Finisher(mpsc::Sender<Item>);

type Item = (Finish, Asker);

/// Who asks for a finish to be saved.
struct Asker {
    call: Ended,
    /// How it hears of that, where it waits for it.
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

/// The way to the finisher for one who does not keep it from ending.
pub(super) struct FinisherRef(mpsc::WeakSender<Item>);

impl FinisherRef {
    /// The way, as long as the finisher has not been told to end.
    pub(super) fn get(&self) -> Option<Finisher> {
        self.0.upgrade().map(Finisher)
    }
}

impl Finisher {
    pub(super) fn by_ref(&self) -> FinisherRef {
        FinisherRef(self.0.downgrade())
    }

    /// Returns when the finish is committed or spooled, or the finisher is gone, which is reported:
    /// what could not be saved stays this process's own, and rescuers see to it.
    pub(super) async fn save(&self, bench: &Bench, finish: Finish, call: Ended) {
        let (waits, saved) = oneshot::channel();
        self.hand_over(bench, finish, call, Some(waits)).await;
        // An error says that the finisher is gone, which whoever waited for its end has told.
        saved.await.ok();
    }

    /// The same for one who does not wait for that.
    pub(super) async fn leave(&self, bench: &Bench, finish: Finish, call: Ended) {
        self.hand_over(bench, finish, call, None).await;
    }

    async fn hand_over(
        &self,
        bench: &Bench,
        finish: Finish,
        call: Ended,
        waits: Option<oneshot::Sender<()>>,
    ) {
        let bytes = size(&finish);
        bench.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let job_id = finish.key.job_id;
        if self.0.send((finish, Asker { call, waits, bytes })).await.is_err() {
            tracing::error!(job.id = %job_id, "an answer is not saved: nobody saves any more");
        }
    }
}

/// Starts the finisher; it ends when every sender is gone.
pub(super) fn start(bench: Arc<Bench>, stop: CancellationToken) -> (Finisher, JoinHandle<()>) {
    let rows_max = bench.options.finish_rows_max.max(1);
    let (sender, receiver) = mpsc::channel(rows_max);
    // From here on it saves and holds nothing, also where an earlier one has broken.
    bench.held_bytes.store(0, Ordering::Relaxed);
    bench.pulses.finisher.lap(bench.clock.now().mono_ms);
    (Finisher(sender), tokio::spawn(work(bench, receiver, stop)))
}

/// One group at a time: two at once contend with each other and with the claims, and every group
/// costs a commit.
async fn work(bench: Arc<Bench>, mut items: mpsc::Receiver<Item>, stop: CancellationToken) {
    let pulse = &bench.pulses.finisher;
    let _going = pulse.begin(bench.clock.now().mono_ms);
    loop {
        pulse.rest(bench.clock.now().mono_ms);
        let Some(first) = items.recv().await else { return };
        // Calls that end in the same instant hand over theirs before the group is closed.
        tokio::task::yield_now().await;
        let group = gather(&bench, &mut items, first);
        save(&bench, &stop, group).await;
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
async fn save(bench: &Bench, stop: &CancellationToken, group: Vec<Item>) {
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
                if restored.is_ok() {
                    // Before those are woken whom it keeps from claiming.
                    bench.unsaved.store(false, Ordering::Relaxed);
                }
                let saved = finishes.into_iter().zip(askers).zip(outcomes);
                let is_left = |(_, outcome): &(Item, Finished)| {
                    restored.is_err() && *outcome == Finished::Lost
                };
                let (left, saved): (Vec<_>, Vec<_>) = saved.partition(is_left);
                conclude(bench, saved);
                let Err(error) = restored else { return };
                (finishes, askers) = left.into_iter().map(|(item, _)| item).unzip();
                error.to_string()
            }
            // Refused: a person must act on the store, and the answers wait for that.
            Err(StoreError::Transient(text) | StoreError::Refused(text)) => text,
            Err(error @ (StoreError::Data(_) | StoreError::Bug(_))) => {
                let group = finishes.into_iter().zip(askers).collect();
                return save_apart(bench, stop, group, &error).await;
            }
        };
        bench.unsaved.store(true, Ordering::Relaxed);
        bench.lease.doubt();
        let waited_ms = bench.clock.now().mono_ms.saturating_sub(began_mono_ms);
        let held_bytes = bench.held_bytes.load(Ordering::Relaxed);
        let hurries = stop.is_cancelled() || held_bytes > bench.options.unsaved_bytes_max;
        if (hurries || waited_ms > SPOOL_AFTER_MS) && spool(bench, &finishes, &error).await {
            bench.unsaved.store(false, Ordering::Relaxed);
            // Their slots are free; the spool's replay reports what became of them.
            free(bench, askers);
            return;
        }
        let delay = delays.next().unwrap_or(Duration::from_millis(RETRY_MS_MAX));
        tokio::time::sleep(delay).await;
    }
}

/// The store has recorded these, or knows nothing of them for good.
fn conclude(bench: &Bench, saved: Vec<(Item, Finished)>) {
    let (mut finishes, mut askers) = (Vec::with_capacity(saved.len()), Vec::new());
    for ((finish, asker), outcome) in saved {
        report::tell(bench, &finish, &asker.call, outcome);
        finishes.push(finish);
        askers.push(asker);
    }
    bench.kept.keep(finishes, size, bench.clock.now().mono_ms);
    free(bench, askers);
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
async fn save_apart(bench: &Bench, stop: &CancellationToken, group: Vec<Item>, error: &StoreError) {
    if group.len() > 1 {
        tracing::warn!(answers = group.len(), %error, "group refused, trying one by one");
        for item in group {
            Box::pin(save(bench, stop, vec![item])).await;
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
            bench.unsaved.store(false, Ordering::Relaxed);
            free(bench, vec![asker]);
            return;
        }
        let finish = unstorable(&finish, error);
        Box::pin(save(bench, stop, vec![(finish, asker)])).await;
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
fn free(bench: &Bench, askers: Vec<Asker>) {
    let count = u32::try_from(askers.len()).unwrap_or(u32::MAX);
    bench.status.update(|status| status.in_flight = status.in_flight.saturating_sub(count));
    bench.flight.end(askers.iter().map(|asker| asker.call.job.fence));
    for Asker { call, waits, bytes } in askers {
        bench.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        drop(call.slot);
        if waits.is_some_and(|waits| waits.send(()).is_err()) {
            tracing::debug!("the worker is being torn down, nobody waits for an answer");
        }
    }
    // What was settled may let others in.
    bench.wake.notify_one();
}
