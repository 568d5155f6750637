//! What becomes of a message that cannot be admitted, once its rejected job is in the store: it goes
//! to the dead-letter queue, is left to the redrive policy, or is deleted; it never comes for ever.
//! Must not know: why it cannot be admitted.

use std::collections::BTreeMap;

use tokio::sync::Mutex;
use uuid::Uuid;

use super::acknowledge::Doomed;
use super::backoff::Backoff;
use super::{OnBad, Run};
use crate::message_queue::{
    ATTRIBUTES_MAX, Attribute, DeadLetters, Outgoing, QueueError, QueueErrorKind, QueueResult,
    Received, is_legal,
};

/// The attributes that a dead letter gets beside its own.
const REASON: &str = "quarrier.reason";
const JOB_ID: &str = "quarrier.job_id";
const QUEUE: &str = "quarrier.queue";
/// The longest reason on a dead letter, in characters; the store has all of it.
const REASON_CHARS_MAX: usize = 1_000;
/// How often a dead letter is sent. After that its message is delivered again, and found.
const TRIES_MAX: u32 = 4;
/// What the queue says of itself is asked anew after this, in ms: somebody may give it a dead-letter
/// queue because of what they read in the log.
const FACTS_MS: u64 = 60_000;

/// A message that cannot be admitted.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) message: Received,
    /// Its rejected job.
    pub(super) job_id: Uuid,
    pub(super) reason: String,
}

/// The dead-letter queue as it was looked up last. A tokio mutex, so that several loops look once.
#[derive(Default)]
pub(super) struct Letters(Mutex<Option<Found>>);

#[derive(Clone)]
struct Found {
    at_mono_ms: u64,
    /// Its URL, where the queue has one.
    url: Option<String>,
}

/// Deals with them in their order.
pub(super) async fn dispose(run: &Run, messages: Vec<Bad>) {
    let letters = match find(run).await {
        Ok(letters) => letters,
        Err(error) => {
            leave(run, &messages, &error);
            return;
        }
    };
    match (letters, run.bench.options.on_bad) {
        (Some(_), OnBad::Redrive) => {
            for bad in &messages {
                tell(run, bad, "left to the queue's redrive policy");
            }
        }
        (Some(url), OnBad::DeadLetter) => send(run, &url, messages).await,
        (None, _) => {
            for bad in messages {
                // Left where nothing takes it away it would come for ever.
                tell(run, &bad, "deleted, because its queue has no dead-letter queue");
                run.doom(Doomed::stored(bad.message)).await;
            }
        }
    }
}

fn tell(run: &Run, bad: &Bad, end: &str) {
    let Bad { message, job_id, reason } = bad;
    tracing::warn!(
        queue = run.place.url,
        message.id = message.message_id,
        job.id = %job_id,
        "message {} was rejected and is {end}; the job {job_id} keeps it: {reason}",
        message.message_id
    );
}

/// Nothing is lost: they are delivered again, and the redrive policy counts that.
fn leave(run: &Run, messages: &[Bad], error: &QueueError) {
    tracing::error!(
        queue = run.place.url,
        "{} rejected messages stay in their queue, because its dead-letter queue cannot be used: \
         {error}; the store has them with their reasons (docs/sqs.md lists the rights)",
        messages.len()
    );
}

/// The URL of the dead-letter queue, where there is one.
async fn find(run: &Run) -> QueueResult<Option<String>> {
    let bench = &run.bench;
    let now_ms = bench.clock.now().mono_ms;
    let mut found = run.letters.0.lock().await;
    if let Some(found) = found.as_ref()
        && now_ms.saturating_sub(found.at_mono_ms) < FACTS_MS
    {
        return Ok(found.url.clone());
    }
    let dead_letters = match bench.doors.queue.facts(&run.place.url).await {
        Ok(facts) => facts.dead_letters,
        // It may have got one since, and a bad message is not deleted where it has one.
        Err(error) if run.place.dead_letters.is_none() => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "the dead-letter queue is that of the start");
            run.place.dead_letters.clone()
        }
    };
    let url = match dead_letters {
        Some(DeadLetters { arn, .. }) => Some(bench.doors.queue.url(&arn).await?),
        None => None,
    };
    *found = Some(Found { at_mono_ms: now_ms, url: url.clone() });
    Ok(url)
}

/// Sends them to the dead-letter queue, and has those deleted that it took.
async fn send(run: &Run, url: &str, messages: Vec<Bad>) {
    let mut backoff = Backoff::of_queue();
    let mut left = messages;
    for tries in 1..=TRIES_MAX {
        let letters: Vec<Outgoing> = left.iter().map(|bad| letter(run, bad)).collect();
        let answers = run.bench.doors.queue.send(url, &letters).await;
        let mut again = Vec::new();
        let mut last_error = None;
        for (bad, answer) in left.into_iter().zip(answers) {
            match answer {
                Ok(_) => {
                    tell(run, &bad, "in the dead-letter queue");
                    run.doom(Doomed::stored(bad.message)).await;
                }
                Err(error) if error.kind == QueueErrorKind::TooLarge => {
                    // The service itself moves it, without a reason that would not fit.
                    tell(run, &bad, "left to the redrive policy: it has no room for the reason");
                }
                Err(error) => {
                    again.push(bad);
                    last_error = Some(error);
                }
            }
        }
        left = again;
        let Some(error) = last_error else { return };
        if tries == TRIES_MAX || !backoff.wait(&run.drain).await {
            leave(run, &left, &error);
            return;
        }
    }
}

/// The message as a dead letter: what it was, and why it is one.
fn letter(run: &Run, bad: &Bad) -> Outgoing {
    let text = |value: String| Attribute::Text(value);
    let mut attributes = BTreeMap::from([
        (REASON.to_owned(), text(readable(&bad.reason))),
        (JOB_ID.to_owned(), text(bad.job_id.to_string())),
        (QUEUE.to_owned(), text(run.place.arn.clone())),
    ]);
    for (name, value) in &bad.message.attributes {
        if attributes.len() < ATTRIBUTES_MAX && !value.is_empty() {
            attributes.entry(name.clone()).or_insert_with(|| text(value.clone()));
        }
    }
    Outgoing {
        body: bad.message.body.clone(),
        attributes,
        group: bad.message.group.clone(),
        deduplication: run.place.fifo.then(|| bad.message.message_id.clone()),
        trace: bad.message.trace.clone(),
    }
}

/// The reason in characters that every queue takes.
fn readable(reason: &str) -> String {
    let plain = |letter: char| if letter.is_control() || !is_legal(letter) { ' ' } else { letter };
    let text: String = reason.chars().take(REASON_CHARS_MAX).map(plain).collect();
    if text.trim().is_empty() { "rejected".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_bounded_and_has_only_characters_that_a_queue_takes() {
        assert_eq!(readable("a\u{0}b\nc\u{ffff}"), "a b c ");
        assert_eq!(readable(" \n"), "rejected");
        assert_eq!(readable(&"é".repeat(2_000)).chars().count(), 1_000);
    }
}
