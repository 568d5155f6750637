//! The message-queue port: what intake and relay ask of a queue service such as SQS.
//! One call is one request, or one batch of them; nothing retries inside and nothing waits but a
//! long poll. Must not know: jobs, stores, what a body means.

mod rules;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use rules::*;

/// Why a queue did not do it; named for what the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueErrorKind {
    /// There is no such queue, or it was deleted a moment ago: a person must act.
    Gone,
    /// Credentials, permissions or the queue's key forbid it: a person must act.
    Denied,
    /// Too many requests, also to the key service: later.
    Throttled,
    /// As many messages are in flight as the queue allows: later, after some were deleted.
    Full,
    /// The receipt is no longer the message's: it was received again, or deleted.
    Stale,
    /// Its visibility cannot be extended any further: 12 hours since it was received.
    Ceiling,
    /// One message or its batch is larger than the queue takes.
    TooLarge,
    /// It has characters or attributes that the queue refuses.
    Contents,
    /// No answer, or one that says "later": network, time-out, a failure inside the service.
    Unreachable,
    /// Anything else that is refused.
    Refused,
}

/// A failed request, or the failed entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueueError {
    /// What kind.
    pub kind: QueueErrorKind,
    /// The service's code and words, and what was asked of it.
    pub message: String,
}

/// The result of a request.
pub type QueueResult<T> = Result<T, QueueError>;

/// Where a queue sends what was received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// The ARN of the other queue.
    pub arn: String,
    /// After so many receives.
    pub receives_max: u32,
}

/// What a FIFO queue does for each of its groups apart, and not for the whole queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByGroup {
    /// It knows doubles: two groups may have messages of one deduplication id.
    pub deduplication: bool,
    /// It limits requests.
    pub limit: bool,
}

/// What a queue says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its ARN.
    pub arn: String,
    /// Whether it keeps an order within groups.
    pub fifo: bool,
    /// Whether a FIFO queue takes a message without a deduplication id.
    pub content_deduplication: bool,
    /// What a FIFO queue does group by group; with both it is in high-throughput mode.
    pub by_group: ByGroup,
    /// For how long a received message is hidden unless said, in seconds.
    pub visibility_s: u32,
    /// The largest message, in bytes, its attributes with it.
    pub message_bytes_max: u64,
    /// How long an unread message is kept, in seconds.
    pub retention_s: u64,
    /// Its dead-letter queue, where it has one.
    pub dead_letters: Option<DeadLetters>,
    /// Whether a key of the user's encrypts it.
    pub encrypted_by_key: bool,
    /// About how many messages wait.
    pub waiting: u64,
    /// About how many are received and not deleted.
    pub in_flight: u64,
}

/// A request for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveAsk {
    /// Which queue.
    pub url: String,
    /// At most so many, 1 to 10.
    pub messages_max: u32,
    /// How long the service waits for the first one, 0 to 20 s.
    pub wait_s: u32,
    /// For how long they are hidden from others, 0 to 43,200 s.
    pub visibility_s: u32,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The queue's id of the message, the same at each delivery.
    pub message_id: String,
    /// What deletes or extends this delivery.
    pub receipt: String,
    /// The body.
    pub body: String,
    /// Its group: on a FIFO queue what is kept in order, on a standard queue whose it is.
    pub group: Option<String>,
    /// How often it was received, this time included.
    pub receives: u32,
    /// When it was sent, in Unix ms, where the queue says so.
    pub sent_at: Option<i64>,
    /// The trace that it belongs to, as `AWSTraceHeader` has it.
    pub trace: Option<String>,
    /// Its own string attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The body, at most 1 MiB, of characters that XML allows.
    pub body: String,
    /// At most 10, of non-empty strings.
    pub attributes: BTreeMap<String, Attribute>,
    /// Needed on FIFO queues, fair shares on standard ones; at most 128 characters.
    pub group: Option<String>,
    /// Sent twice within 5 minutes, a FIFO queue keeps one; at most 128 characters.
    pub deduplication: Option<String>,
    /// The trace that it belongs to, as `AWSTraceHeader` has it.
    pub trace: Option<String>,
}

/// The value of a message's attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Of type `String`.
    Text(String),
    /// Of type `Number`.
    Number(u64),
}

/// A queue service. Batches may be of any size, are split as the service needs it, and answer for
/// each entry in its order.
#[async_trait]
pub trait MessageQueue: Send + Sync {
    /// The URL of a queue that is named by its URL, its ARN or, in the account's own region, its name.
    async fn url(&self, name: &str) -> QueueResult<String>;

    /// What the queue says of itself.
    async fn facts(&self, url: &str) -> QueueResult<QueueFacts>;

    /// Messages, hidden from others from now on; none after the wait.
    async fn receive(&self, ask: &ReceiveAsk) -> QueueResult<Vec<Received>>;

    /// Deletes deliveries.
    async fn delete(&self, url: &str, receipts: &[String]) -> Vec<QueueResult<()>>;

    /// Hides deliveries for so many seconds from now; 0 shows them again at once.
    async fn hide(&self, url: &str, receipts: &[String], visibility_s: u32)
    -> Vec<QueueResult<()>>;

    /// Sends messages; the answer is the queue's id of each.
    async fn send(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>>;
}

/// A place for bodies that are too large for a message.
#[async_trait]
pub trait LargeBodies: Send + Sync {
    /// Stores a body under this key, over whatever is there, and returns the bucket's name.
    async fn put(&self, key: &str, body: &str) -> QueueResult<String>;
}
