//! Messages that are held until their jobs have ended: hidden again and again, noted in the store so
//! that the next process can go on with them, and deleted when the store says so.
//! Must not know: how a job is admitted, what a reply is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::acknowledge::Doomed;
use super::backoff::{self, Backoff};
use super::stand::Doing;
use super::{Bench, Place, Run};
use crate::message_queue::{QueueErrorKind, Received};
use crate::store::HeldMessage;

/// How often it is looked which messages must be hidden again, and which may go.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A message is hidden again when this part of its hidden time is over: two tries may fail.
const HIDE_AT: u64 = 3;
/// After this time one receipt holds a message no longer: queue services end it after 12 hours.
const HELD_MS_MAX: i64 = 41_400_000;
/// Rows read, noted or deleted at once.
const ROWS_MAX: u32 = 500;

/// The held messages as this process knows them, and the room for more.
#[derive(Default)]
pub(super) struct Holds {
    /// A std mutex: nothing is awaited while it is held.
    inner: Mutex<Inner>,
    freed: Notify,
}

#[derive(Default)]
struct Inner {
    /// By message id.
    held: HashMap<String, Held>,
    /// Room kept free for messages that are asked for.
    reserved: u32,
}

struct Held {
    message: HeldMessage,
    /// When it is hidden again.
    hide_mono_ms: u64,
    /// It is noted in the store.
    noted: bool,
    /// It is about to be deleted.
    doomed: bool,
}

/// A message of this process's own as it is noted.
pub(super) fn noted(
    place: &Place,
    message: &Received,
    job_id: Uuid,
    received_at: i64,
) -> HeldMessage {
    HeldMessage {
        queue: place.arn.clone(),
        message_id: message.message_id.clone(),
        receipt: message.receipt.clone(),
        job_id,
        received_at,
    }
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps room for at most so many more messages, where at most `max` are held; returns for how
    /// many.
    pub(super) fn reserve(&self, wanted: u32, max: u32) -> u32 {
        let mut inner = self.lock();
        let held = u32::try_from(inner.held.len()).unwrap_or(u32::MAX);
        let free = max.saturating_sub(held).saturating_sub(inner.reserved);
        let granted = wanted.min(free);
        inner.reserved = inner.reserved.saturating_add(granted);
        granted
    }

    /// Gives that room back: what has come is held by now.
    pub(super) fn release(&self, reserved: u32) {
        let mut inner = self.lock();
        inner.reserved = inner.reserved.saturating_sub(reserved);
        drop(inner);
        self.freed.notify_one();
    }

    /// Waits for room.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn add(&self, messages: &[HeldMessage], hide_mono_ms: u64, noted: bool) {
        let mut inner = self.lock();
        for message in messages {
            let message = message.clone();
            let held = Held { hide_mono_ms, noted, doomed: false, message };
            inner.held.insert(held.message.message_id.clone(), held);
        }
    }

    fn is_empty(&self) -> bool {
        self.lock().held.is_empty()
    }

    /// Those that the store does not know yet.
    fn unnoted(&self) -> Vec<HeldMessage> {
        let inner = self.lock();
        let unnoted = inner.held.values().filter(|held| !held.noted);
        unnoted.map(|held| held.message.clone()).collect()
    }

    fn note(&self, messages: &[HeldMessage]) {
        let mut inner = self.lock();
        for message in messages {
            if let Some(held) = inner.held.get_mut(&message.message_id)
                && held.message.receipt == message.receipt
            {
                held.noted = true;
            }
        }
    }

    /// Those that must be hidden again by now.
    fn due(&self, now_mono_ms: u64) -> Vec<HeldMessage> {
        let inner = self.lock();
        let due = inner.held.values().filter(|held| held.hide_mono_ms <= now_mono_ms);
        due.map(|held| held.message.clone()).collect()
    }

    /// Hidden again, or not: the next time for each.
    fn hidden(&self, message: &HeldMessage, hide_mono_ms: u64) {
        if let Some(held) = self.lock().held.get_mut(&message.message_id) {
            held.hide_mono_ms = hide_mono_ms;
        }
    }

    /// Marks it for deletion; false where it is marked already. One of another process is not known
    /// here, and is never marked twice at once by the loop that asks.
    fn doom(&self, message: &HeldMessage) -> bool {
        match self.lock().held.get_mut(&message.message_id) {
            // What the store lists by an older receipt is not deleted by that.
            Some(held) if held.message.receipt != message.receipt => false,
            Some(held) => !std::mem::replace(&mut held.doomed, true),
            None => true,
        }
    }

    /// These could not be deleted: they may be tried again.
    pub(super) fn spare<'m>(&self, message_ids: impl Iterator<Item = &'m str>) {
        let mut inner = self.lock();
        for id in message_ids {
            if let Some(held) = inner.held.get_mut(id) {
                held.doomed = false;
            }
        }
    }

    /// They are deleted, or are not ours any more.
    pub(super) async fn forget(&self, bench: &Bench, place: &Place, gone: &[Doomed]) {
        let gone = self.remove(gone);
        self.freed.notify_one();
        if let Err(error) = bench.doors.messages.forget_messages(&place.arn, &gone).await {
            // The store lists them again, and their deletion finds them gone.
            tracing::debug!(%error, "deleted messages are not forgotten yet");
        }
    }

    /// Returns the ids and receipts of those that are gone; what was received anew meanwhile stays.
    fn remove(&self, gone: &[Doomed]) -> Vec<(String, String)> {
        let mut inner = self.lock();
        let mut removed = Vec::with_capacity(gone.len());
        for one in gone {
            let held = inner.held.get(&one.message_id);
            if held.is_none_or(|held| held.message.receipt == one.receipt) {
                inner.held.remove(&one.message_id);
                removed.push((one.message_id.clone(), one.receipt.clone()));
            }
        }
        removed
    }
}

/// When a message that was hidden at this time is hidden again: earlier by chance, so that what was
/// received together does not stay together.
fn hide_next(bench: &Bench, since_mono_ms: u64) -> u64 {
    let third_ms = u64::from(bench.options.visibility_s).saturating_mul(1_000) / HIDE_AT;
    let wait_ms = rand::rng().random_range(third_ms.saturating_mul(3) / 4..=third_ms);
    since_mono_ms.saturating_add(wait_ms)
}

/// Holds messages that were received at this time and whose jobs are there.
pub(super) async fn take(run: &Run, messages: Vec<HeldMessage>, got_mono_ms: u64) {
    let bench = &run.bench;
    bench.holds.add(&messages, hide_next(bench, got_mono_ms), false);
    note(bench, messages).await;
}

/// Notes them in the store. What it does not take now is noted later; until then a process that dies
/// leaves them to their next delivery.
async fn note(bench: &Bench, messages: Vec<HeldMessage>) {
    match bench.doors.messages.hold_messages(&messages).await {
        Ok(()) => bench.holds.note(&messages),
        Err(error) => {
            tracing::warn!(%error, "{} held messages are not noted yet", messages.len());
        }
    }
}

/// Goes on with what an earlier process has held. Where messages are deleted once they are stored,
/// their jobs are in the store: they may go.
pub(super) async fn recover(run: &Run) {
    let bench = &run.bench;
    let mut backoff = Backoff::of_store();
    let mut after: Option<String> = None;
    let mut found = 0;
    loop {
        let messages = &bench.doors.messages;
        let read = messages.held_messages(&run.place.arn, after.as_deref(), ROWS_MAX).await;
        let rows = match read {
            Ok(rows) => rows,
            Err(error) => {
                bench.stand.store_away(&error.to_string());
                if backoff.wait(&run.drain).await {
                    continue;
                }
                return;
            }
        };
        let Some(last) = rows.last() else { break };
        after = Some(last.message_id.clone());
        found += rows.len();
        if bench.holds_messages() {
            // To be hidden at once: how long ago the last one did it is not known.
            bench.holds.add(&rows, 0, true);
        } else {
            for row in rows {
                run.doom(doomed(&row)).await;
            }
        }
    }
    bench.stand.receives();
    if found > 0 {
        tracing::info!(queue = run.place.url, "{found} messages were held by an earlier process");
    }
}

fn doomed(message: &HeldMessage) -> Doomed {
    Doomed { message_id: message.message_id.clone(), receipt: message.receipt.clone(), held: true }
}

/// Hides and deletes held messages until `done`.
pub(super) async fn keep(run: Arc<Run>, done: CancellationToken) {
    if !run.bench.holds_messages() {
        return;
    }
    // Apart, because a store that is away must not keep anything from being hidden.
    tokio::join!(hide(&run, &done), answer(&run, &done));
}

async fn hide(run: &Run, done: &CancellationToken) {
    loop {
        let now = run.bench.clock.now();
        let due = run.bench.holds.due(now.mono_ms);
        let (old, due): (Vec<HeldMessage>, Vec<HeldMessage>) = due
            .into_iter()
            .partition(|held| now.wall_ms.saturating_sub(held.received_at) >= HELD_MS_MAX);
        for held in old {
            let next_ms = hide_next(&run.bench, now.mono_ms);
            run.bench.holds.hidden(&held, next_ms);
            give_up(run, &held).await;
        }
        hide_again(run, &due, now.mono_ms).await;
        if !backoff::sleep(LOOK_EVERY, done).await {
            return;
        }
    }
}

async fn hide_again(run: &Run, due: &[HeldMessage], now_mono_ms: u64) {
    let bench = &run.bench;
    if due.is_empty() {
        // What could not be hidden stays due, so nothing of it is left: its jobs have ended.
        bench.stand.rests(Doing::Hide, bench.holds.is_empty());
        return;
    }
    let receipts: Vec<String> = due.iter().map(|held| held.receipt.clone()).collect();
    let visibility_s = bench.options.visibility_s;
    let answers = bench.doors.queue.hide(&run.place.url, &receipts, visibility_s).await;
    let mut lost = Vec::new();
    for (held, answer) in due.iter().zip(answers) {
        let Err(error) = answer else {
            bench.stand.works(Doing::Hide);
            bench.holds.hidden(held, hide_next(bench, now_mono_ms));
            continue;
        };
        match error.kind {
            // Somebody else received it: its next delivery finds its job.
            QueueErrorKind::Stale => lost.push(doomed(held)),
            QueueErrorKind::Ceiling => {
                bench.holds.hidden(held, hide_next(bench, now_mono_ms));
                give_up(run, held).await;
            }
            // It stays due, and is tried again at the next look.
            _ => bench.stand.troubled(Doing::Hide, &error),
        }
    }
    if !lost.is_empty() {
        tracing::debug!(messages = lost.len(), "held messages were delivered to somebody else");
        bench.holds.forget(bench, &run.place, &lost).await;
    }
}

/// No queue hides a message for longer: it goes, and its job stays in the store.
async fn give_up(run: &Run, held: &HeldMessage) {
    if run.bench.holds.doom(held) {
        tracing::info!(
            message.id = held.message_id,
            job.id = %held.job_id,
            "message {} was held for as long as its queue allows and is deleted; its job {} goes on",
            held.message_id,
            held.job_id
        );
        run.doom(doomed(held)).await;
    }
}

async fn answer(run: &Run, done: &CancellationToken) {
    loop {
        let is_over = !backoff::sleep(LOOK_EVERY, done).await;
        let bench = &run.bench;
        if !bench.holds.is_empty() {
            let unnoted = bench.holds.unnoted();
            if !unnoted.is_empty() {
                note(bench, unnoted).await;
            }
            delete_answered(run).await;
        }
        if is_over {
            return;
        }
    }
}

/// Deletes what the store says may go.
async fn delete_answered(run: &Run) {
    let bench = &run.bench;
    let read = bench.doors.messages.answered_messages(&run.place.arn, ROWS_MAX).await;
    let answered = match read {
        Ok(answered) => answered,
        Err(error) => {
            tracing::warn!(%error, "held messages whose jobs have ended are not known yet");
            return;
        }
    };
    for held in answered {
        if bench.holds.doom(&held) {
            run.doom(doomed(&held)).await;
        }
    }
}
