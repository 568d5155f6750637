//! One queue's results on their way: the queue is found, messages are formed and sent in batches,
//! and each result gets its end.
//! Must not know: stores, when a result is tried again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::RelayOptions;
use super::message::{self, Form};
use super::target::{Known, is_the_queues};
use crate::clock::Clock;
use crate::message_queue::{
    BATCH_MESSAGES_MAX, LargeBodies, MESSAGE_BYTES_MAX, MessageQueue, Outgoing, QueueError,
    QueueErrorKind, QueueResult, is_fifo,
};
use crate::store::DueDelivery;

/// What every queue takes in a message unless it says less; also the least that any service takes
/// in a batch, which may be larger than a single message.
const USUAL_BYTES: u64 = 262_144;
/// The least that a queue's limit can be.
const LIMIT_BYTES_MIN: u64 = 1_024;
/// How often a message is made smaller that is too large after all.
const SHRINKS_MAX: usize = 4;

/// The way out.
pub(super) struct Sender {
    pub(super) queues: Arc<dyn MessageQueue>,
    pub(super) bodies: Option<Arc<dyn LargeBodies>>,
    pub(super) clock: Clock,
    pub(super) options: RelayOptions,
}

/// Results to one queue.
pub(super) struct Part {
    pub(super) to: String,
    pub(super) known: Known,
    pub(super) rows: Vec<DueDelivery>,
    /// When they were taken.
    pub(super) taken_mono_ms: u64,
}

/// What came of them.
pub(super) struct Done {
    pub(super) known: Known,
    /// One a result, in their order.
    pub(super) ends: Vec<End>,
    /// What came of it for the queue as a whole: it took something, or it took nothing and why; none
    /// where it was not asked.
    pub(super) whole: Option<QueueResult<()>>,
}

/// What came of one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The queue has it.
    Delivered,
    /// This try failed.
    Failed(QueueError),
    /// No try was made: the queue failed before, or time ran out.
    Unsent,
}

/// A message and the place of its result among the others.
struct Item {
    at: usize,
    message: Outgoing,
    bytes: u64,
}

/// What the batches of one queue share.
struct Way<'w> {
    url: &'w str,
    /// No batch may begin after this.
    until_mono_ms: u64,
    /// A batch failed as a whole: no further one begins.
    fails: AtomicBool,
}

type Answers = Vec<(usize, QueueResult<()>)>;

impl Sender {
    pub(super) async fn send(&self, part: &Part) -> Done {
        let mut done = Done {
            known: part.known.clone(),
            ends: vec![End::Unsent; part.rows.len()],
            whole: None,
        };
        let url = match self.url(part, &mut done.known).await {
            Ok(url) => url,
            Err(error) => {
                done.fail(error);
                return done;
            }
        };
        let form = Form { simulated: self.options.simulated, fifo: is_fifo(&url) };
        let mut limit = match self.limit(&url, &mut done.known).await {
            Ok(limit) => limit,
            Err(error) => {
                done.fail(error);
                return done;
            }
        };
        let until_mono_ms = part.taken_mono_ms.saturating_add(self.options.hold_ms / 2);
        let way = Way { url: &url, until_mono_ms, fails: AtomicBool::new(false) };
        let items = self.items(part, form, limit, &mut done).await;
        let answers = self.batches(&way, items, done.known.is_proven, limit).await;
        for (at, answer) in answers {
            let is_too_large =
                answer.as_ref().is_err_and(|error| error.kind == QueueErrorKind::TooLarge);
            match part.rows.get(at) {
                // Perhaps only its batch was too large, or the limit is not what we think.
                Some(row) if is_too_large => {
                    let answer = self.alone(&way, row, form, &mut limit).await;
                    done.set(at, answer.map_or_else(End::Failed, |()| End::Delivered));
                    done.whole = Some(Ok(()));
                }
                _ => done.take(at, answer),
            }
        }
        done.known.limit = done.known.limit.map(|(_, asked)| (limit, asked));
        done
    }

    async fn url(&self, part: &Part, known: &mut Known) -> QueueResult<String> {
        if let Some(url) = &known.url {
            return Ok(url.clone());
        }
        let url = self.in_time(self.queues.url(&part.to)).await?;
        known.url = Some(url.clone());
        Ok(url)
    }

    /// The most bytes of a message. Who may send often may not ask: then what is usual is assumed,
    /// and a queue that takes less says so.
    async fn limit(&self, url: &str, known: &mut Known) -> QueueResult<u64> {
        let now_mono_ms = self.clock.now().mono_ms;
        if let Some((limit, asked)) = known.limit
            && now_mono_ms.saturating_sub(asked) < self.options.facts_ms
        {
            return Ok(limit);
        }
        let limit = match self.in_time(self.queues.facts(url)).await {
            Ok(facts) => facts.message_bytes_max.clamp(LIMIT_BYTES_MIN, MESSAGE_BYTES_MAX),
            Err(error) if error.kind == QueueErrorKind::Gone => return Err(error),
            Err(_) => known.limit.map_or(USUAL_BYTES, |(limit, _)| limit.min(USUAL_BYTES)),
        };
        known.limit = Some((limit, now_mono_ms));
        Ok(limit)
    }

    /// The messages; results whose bodies could not be put aside have their end already.
    async fn items(&self, part: &Part, form: Form, limit: u64, done: &mut Done) -> Vec<Item> {
        let mut forming = Vec::with_capacity(part.rows.len());
        for (at, row) in part.rows.iter().enumerate() {
            forming.push(async move { (at, self.formed(row, form, limit).await) });
        }
        let mut formed: Vec<_> =
            stream::iter(forming).buffer_unordered(self.options.batches_max.max(1)).collect().await;
        formed.sort_by_key(|(at, _)| *at);
        let mut items = Vec::with_capacity(formed.len());
        for (at, formed) in formed {
            match formed {
                Ok(message) => items.push(Item { at, bytes: message.bytes(), message }),
                Err(error) => done.set(at, End::Failed(error)),
            }
        }
        items
    }

    /// The message of a result for a queue that takes so many bytes.
    async fn formed(&self, row: &DueDelivery, form: Form, limit: u64) -> QueueResult<Outgoing> {
        let whole = message::whole(row, form);
        if whole.bytes() <= limit {
            return Ok(whole);
        }
        if let Some(bodies) = &self.bodies {
            let key = format!("{}{}.json", self.options.bucket_prefix, row.result.job_id);
            let bucket = self.in_time(bodies.put(&key, &whole.body)).await?;
            return Ok(message::pointer(row, form, &whole, &bucket, &key));
        }
        let notices = message::notices(row, form, &whole, limit);
        notices.into_iter().find(|notice| notice.bytes() <= limit).ok_or_else(|| {
            let message = format!("even a notice is larger than the {limit} bytes of this queue");
            QueueError { kind: QueueErrorKind::TooLarge, message }
        })
    }

    async fn batches(
        &self,
        way: &Way<'_>,
        items: Vec<Item>,
        is_proven: bool,
        limit: u64,
    ) -> Answers {
        let mut batches = packed(items, limit.max(USUAL_BYTES)).into_iter();
        let mut answers = Vec::new();
        if !is_proven && let Some(first) = batches.next() {
            // A queue that fails as a whole is asked once, and not for each of its results.
            answers.extend(self.batch(way, first).await);
        }
        let rest = stream::iter(batches).map(|batch| self.batch(way, batch));
        let mut rest = rest.buffer_unordered(self.options.batches_max.max(1));
        while let Some(more) = rest.next().await {
            answers.extend(more);
        }
        answers
    }

    async fn batch(&self, way: &Way<'_>, items: Vec<Item>) -> Answers {
        let is_late = self.clock.now().mono_ms >= way.until_mono_ms;
        if is_late || way.fails.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let (places, messages): (Vec<usize>, Vec<Outgoing>) =
            items.into_iter().map(|item| (item.at, item.message)).unzip();
        let answers = self.sent(way.url, &messages).await;
        let is_failing = |answer: &QueueResult<()>| {
            answer.as_ref().is_err_and(|error| is_the_queues(error.kind))
        };
        if answers.iter().any(is_failing) && !answers.iter().any(Result::is_ok) {
            way.fails.store(true, Ordering::Relaxed);
        }
        places.into_iter().zip(answers).collect()
    }

    /// Sends a message that was too large, by itself and ever smaller.
    async fn alone(
        &self,
        way: &Way<'_>,
        row: &DueDelivery,
        form: Form,
        limit: &mut u64,
    ) -> QueueResult<()> {
        let mut refused = None;
        for _ in 0..SHRINKS_MAX {
            let message = self.formed(row, form, *limit).await?;
            let bytes = message.bytes();
            let answer = self.sent(way.url, std::slice::from_ref(&message)).await.pop();
            match answer.unwrap_or_else(|| Err(unanswered())) {
                Err(error) if error.kind == QueueErrorKind::TooLarge => {
                    *limit =
                        if bytes > USUAL_BYTES { USUAL_BYTES } else { bytes.saturating_sub(1) };
                    refused = Some(error);
                }
                answer => return answer,
            }
        }
        Err(refused.unwrap_or_else(unanswered))
    }

    /// Sends; one answer a message.
    async fn sent(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<()>> {
        let sending = async { Ok(self.queues.send(url, messages).await) };
        let mut answers: Vec<QueueResult<()>> = match self.in_time(sending).await {
            Ok(answers) => answers.into_iter().map(|answer| answer.map(drop)).collect(),
            Err(error) => vec![Err(error); messages.len()],
        };
        answers.resize_with(messages.len(), || Err(unanswered()));
        answers
    }

    /// No call may take so long that the results are another's meanwhile.
    async fn in_time<T>(&self, call: impl Future<Output = QueueResult<T>>) -> QueueResult<T> {
        let most = Duration::from_millis(self.options.hold_ms / 4);
        tokio::time::timeout(most, call).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", most.as_secs());
            Err(QueueError { kind: QueueErrorKind::Unreachable, message })
        })
    }
}

fn unanswered() -> QueueError {
    let message = "the service did not say what became of it".to_owned();
    QueueError { kind: QueueErrorKind::Unreachable, message }
}

/// Batches in the messages' order, of so many bytes at most.
fn packed(items: Vec<Item>, bytes_max: u64) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = Vec::new();
    let mut bytes = 0_u64;
    for item in items {
        let sum = bytes.saturating_add(item.bytes);
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_MESSAGES_MAX && sum <= bytes_max => {
                bytes = sum;
                batch.push(item);
            }
            _ => {
                bytes = item.bytes;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

impl Done {
    /// The queue cannot be sent to at all.
    fn fail(&mut self, error: QueueError) {
        if !is_the_queues(error.kind) {
            self.ends.fill(End::Failed(error.clone()));
        }
        self.whole = Some(Err(error));
    }

    fn set(&mut self, at: usize, end: End) {
        if let Some(slot) = self.ends.get_mut(at) {
            *slot = end;
        }
    }

    fn take(&mut self, at: usize, answer: QueueResult<()>) {
        let is_the_queues =
            answer.as_ref().err().filter(|error| is_the_queues(error.kind)).cloned();
        self.whole = match (self.whole.take(), is_the_queues) {
            // Whoever takes one message, or looks at one, is there.
            (Some(Ok(())), _) | (_, None) => Some(Ok(())),
            (_, Some(error)) => Some(Err(error)),
        };
        self.set(at, answer.map_or_else(End::Failed, |()| End::Delivered));
    }
}
