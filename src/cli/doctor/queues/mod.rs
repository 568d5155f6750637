//! Message queues: each that jobs are received from, and each that results may go to by its whole
//! name. Nothing is received or sent, because that would move messages.
//! Must not know: what the facts mean (`judge` does), which service keeps the queues.

mod fifo;
mod judge;

use std::sync::Arc;
use std::time::Duration;

use self::judge::Wanted;
use super::Subject;
use super::report::Report;
use crate::cli::rooms::{self, StorePlace};
use crate::intake::{Ack, IntakeOptions};
use crate::message_queue::{MessageQueue, QueueError, QueueErrorKind, QueueFacts, QueueResult};
use crate::rooms::{intake_options, message_queue};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreResult};

/// A receipt that no message has: who may not delete is told so before anybody looks for it.
const NO_RECEIPT: &str = "quarrier-doctor-asks-whether-it-may";
/// How many of the messages that the store holds are counted.
const HELD_COUNTED_MAX: u32 = 10_000;

/// Looks at every queue that the configuration names.
pub(super) async fn check(subject: &Subject<'_>, report: &mut Report) {
    let sqs = &subject.settings.sqs;
    // A pattern names no queue that could be asked.
    let exact: Vec<&str> =
        sqs.reply_allow.iter().map(String::as_str).filter(|name| !name.contains('*')).collect();
    if sqs.intake.is_empty() && exact.is_empty() {
        return;
    }
    if subject.offline {
        let found = format!("{} intakes and {} queues for results", sqs.intake.len(), exact.len());
        report.note("sqs", found, "run it without --offline to have them looked at");
        return;
    }
    let queue = match Box::pin(message_queue(subject.settings)).await {
        Ok(queue) => queue,
        Err(error) => {
            report.error("sqs", format!("{error:#}"), "set sqs.endpoint to an address, or to \"\"");
            return;
        }
    };
    let room = Room { queue: &*queue, patience: subject.patience };
    let intakes = intakes(subject, room, report).await;
    for name in exact {
        replies(subject, room, (name, &intakes), report).await;
    }
}

/// What queues are asked through.
#[derive(Clone, Copy)]
struct Room<'a> {
    queue: &'a dyn MessageQueue,
    patience: Duration,
}

impl Room<'_> {
    /// What the queue of this name says of itself, and its URL.
    async fn look(self, name: &str) -> QueueResult<(String, QueueFacts)> {
        self.within(async {
            let url = self.queue.url(name).await?;
            let facts = self.queue.facts(&url).await?;
            Ok((url, facts))
        })
        .await
    }

    async fn within<T>(self, asked: impl Future<Output = QueueResult<T>>) -> QueueResult<T> {
        tokio::time::timeout(self.patience, asked).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s (--timeout-s)", self.patience.as_secs());
            Err(QueueError { kind: QueueErrorKind::Unreachable, message })
        })
    }

    async fn one(self, asked: impl Future<Output = Vec<QueueResult<()>>>) -> QueueResult<()> {
        self.within(async { asked.await.into_iter().next().unwrap_or(Ok(())) }).await
    }
}

/// Looks at every intake. Hands on the URLs of those that are there.
async fn intakes(subject: &Subject<'_>, room: Room<'_>, report: &mut Report) -> Vec<String> {
    let settings = subject.settings;
    let mut urls = Vec::new();
    let Ok(place) = rooms::store_path(&settings.store.url) else { return urls };
    let store = existing(subject, &place).await;
    for intake in &settings.sqs.intake {
        let options = intake_options(settings, intake, &place);
        match room.look(&options.queue).await {
            Ok((url, facts)) => {
                let by_store =
                    intake.ack.unwrap_or(settings.sqs.ack) == crate::config::AckChoice::Auto;
                let around = around(store.as_deref(), &facts.arn).await.unwrap_or_default();
                let wanted = wanted(subject, &options, by_store, around);
                examine(room, &wanted, (&url, &facts), report).await;
                urls.push(url);
            }
            Err(error) => judge::unseen(judge::INTAKE, &options.queue, &error, report),
        }
    }
    if let Some(store) = store {
        store.close().await;
    }
    urls
}

fn wanted<'a>(
    subject: &Subject<'_>,
    options: &'a IntakeOptions,
    by_store: bool,
    (held_messages, alive): (Option<u64>, Option<u64>),
) -> Wanted<'a> {
    let settings = subject.settings;
    Wanted {
        queue: &options.queue,
        held: options.ack == Ack::OnFinished,
        by_store,
        visibility_s: options.visibility_s,
        document_bytes_max: u64::try_from(settings.job.document_bytes_max).unwrap_or(u64::MAX),
        seen_days: settings.store.seen_days,
        held_messages,
        alive,
    }
}

async fn examine(
    room: Room<'_>,
    wanted: &Wanted<'_>,
    (url, facts): (&str, &QueueFacts),
    report: &mut Report,
) {
    judge::intake(wanted, facts, report);
    let receipt = [NO_RECEIPT.to_owned()];
    let deleted = room.one(room.queue.delete(url, &receipt)).await;
    let hidden = room.one(room.queue.hide(url, &receipt, wanted.visibility_s)).await;
    judge::permissions(wanted, (&deleted, &hidden), report);
    if let Some(letters) = &facts.dead_letters {
        let theirs = room.look(&letters.arn).await.map(|(_, facts)| facts);
        judge::dead_letters(wanted, facts, &theirs, report);
    }
}

/// Looks at a queue that results may go to.
async fn replies(
    subject: &Subject<'_>,
    room: Room<'_>,
    (name, intakes): (&str, &[String]),
    report: &mut Report,
) {
    let bucket = Some(subject.settings.sqs.bucket.as_str()).filter(|bucket| !bucket.is_empty());
    match room.look(name).await {
        Ok((url, _)) if intakes.contains(&url) => judge::circle(name, report),
        Ok((_, facts)) => judge::reply(name, bucket, &facts, report),
        Err(error) => judge::unseen(judge::REPLY, name, &error, report),
    }
}

/// The store, where it is there and opening it changes nothing. What is wrong with it has been said.
async fn existing(subject: &Subject<'_>, place: &StorePlace) -> Option<Arc<dyn Store>> {
    if let Some(path) = place.file() {
        let at = SqliteStore::migration_at(path).await.ok().flatten();
        if at != Some(SqliteStore::newest_migration()) {
            return None;
        }
    }
    rooms::open_store(subject.settings, place, None, subject.clock.clone()).await.ok()
}

/// How many messages of this queue the store holds, and how many processes work on it.
async fn around(store: Option<&dyn Store>, arn: &str) -> StoreResult<(Option<u64>, Option<u64>)> {
    let Some(store) = store else { return Ok((None, None)) };
    let held = store.held_messages(arn, None, HELD_COUNTED_MAX).await?;
    let alive = store.limit_seeds().await?.into_iter().filter(|seed| seed.alive).count();
    Ok((u64::try_from(held.len()).ok(), u64::try_from(alive).ok()))
}
