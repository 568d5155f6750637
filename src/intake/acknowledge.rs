//! Deletes messages in batches, by a loop of its own, so that receiving does not wait for it.
//! Must not know: why a message is deleted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::{self, Backoff};
use super::stand::Doing;
use super::{Bench, Place};
use crate::message_queue::{BATCH_MESSAGES_MAX, QueueErrorKind, Received};

/// How long the first message of a batch waits for more.
const LINGER: Duration = Duration::from_millis(200);
/// Requests at once; one on a queue with an order.
const AT_ONCE: usize = 4;
/// How often the deletion of a message is tried where that may help. After that it is delivered again,
/// and its job is found.
const TRIES_MAX: u32 = 8;
/// How often after a drain was asked for.
const TRIES_MAX_DRAINING: u32 = 2;

/// A message to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doomed {
    pub(super) message_id: String,
    pub(super) receipt: String,
    /// It is held, and forgotten when it is deleted.
    pub(super) held: bool,
}

impl Doomed {
    /// A message that is not held.
    pub(super) fn stored(message: Received) -> Self {
        Self { message_id: message.message_id, receipt: message.receipt, held: false }
    }
}

/// Deletes until nobody can ask for it any more.
pub(super) async fn keep(
    bench: Arc<Bench>,
    place: Place,
    mut doomed: mpsc::Receiver<Doomed>,
    drain: CancellationToken,
) {
    let at_once = if place.fifo { 1 } else { AT_ONCE };
    let place = Arc::new(place);
    let mut flight = JoinSet::new();
    while let Some(batch) = next_batch(&mut doomed).await {
        while flight.len() >= at_once {
            ended(flight.join_next().await);
        }
        flight.spawn(delete(Arc::clone(&bench), Arc::clone(&place), batch, drain.clone()));
    }
    while !flight.is_empty() {
        ended(flight.join_next().await);
    }
}

fn ended(result: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = result {
        tracing::error!(%error, "a deletion broke; its messages are delivered again");
    }
}

/// The next messages, in the order in which they came; none when there will be no more.
async fn next_batch(doomed: &mut mpsc::Receiver<Doomed>) -> Option<Vec<Doomed>> {
    let mut batch = vec![doomed.recv().await?];
    let full = async {
        while batch.len() < BATCH_MESSAGES_MAX {
            let Some(next) = doomed.recv().await else { return };
            batch.push(next);
        }
    };
    // Cut by the time, it keeps what has come.
    let is_full = tokio::time::timeout(LINGER, full).await.is_ok();
    tracing::trace!(messages = batch.len(), is_full, "deleting");
    Some(batch)
}

async fn delete(
    bench: Arc<Bench>,
    place: Arc<Place>,
    batch: Vec<Doomed>,
    drain: CancellationToken,
) {
    let mut backoff = Backoff::of_queue();
    let mut next = batch;
    let mut tries = 0;
    let left = loop {
        let mut left = once(&bench, &place, next).await;
        tries += 1;
        // Receiving must not wait for a right that a person has to give: what nobody hides comes again
        // when its time is over, and is tried again then.
        left.retain(|(one, kind)| passes(*kind) || (one.held && bench.holds_messages()));
        let tries_max = if drain.is_cancelled() { TRIES_MAX_DRAINING } else { TRIES_MAX };
        if left.is_empty() || tries >= tries_max {
            break left;
        }
        backoff::sleep(backoff.next(), &drain).await;
        next = left.into_iter().map(|(one, _)| one).collect();
    };
    if !left.is_empty() {
        tracing::warn!(
            queue = place.url,
            "{} messages could not be deleted; they are delivered again, and their jobs found",
            left.len()
        );
        let held = left.iter().filter(|(one, _)| one.held);
        bench.holds.spare(held.map(|(one, _)| one.message_id.as_str()));
    }
}

/// Whether such a failure passes by itself.
fn passes(kind: QueueErrorKind) -> bool {
    matches!(kind, QueueErrorKind::Throttled | QueueErrorKind::Full | QueueErrorKind::Unreachable)
}

/// A message that was not deleted, and why.
type Left = (Doomed, QueueErrorKind);

/// One request. Returns what was not deleted.
async fn once(bench: &Bench, place: &Place, batch: Vec<Doomed>) -> Vec<Left> {
    let receipts: Vec<String> = batch.iter().map(|one| one.receipt.clone()).collect();
    let answers = bench.doors.queue.delete(&place.url, &receipts).await;
    let (mut over, mut left) = (Vec::new(), Vec::new());
    let mut deleted = 0;
    for (one, answer) in batch.into_iter().zip(answers) {
        match answer {
            Ok(()) => {
                deleted += 1;
                over.push(one);
            }
            // It was delivered again meanwhile, or is gone. A new delivery finds its job.
            Err(error) if matches!(error.kind, QueueErrorKind::Stale | QueueErrorKind::Gone) => {
                tracing::debug!(message.id = one.message_id, %error, "not deleted");
                over.push(one);
            }
            Err(error) => {
                tracing::debug!(message.id = one.message_id, %error, "not deleted yet");
                bench.stand.troubled(Doing::Delete, &error);
                left.push((one, error.kind));
            }
        }
    }
    if deleted > 0 {
        bench.stand.works(Doing::Delete);
        bench.stand.count_deleted(deleted);
    }
    let held: Vec<Doomed> = over.into_iter().filter(|one| one.held).collect();
    if !held.is_empty() {
        bench.holds.forget(bench, place, &held).await;
    }
    left
}
