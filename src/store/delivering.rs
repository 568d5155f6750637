//! Replies: results that leave the store for a queue, and messages that are held until then.
//! Must not know: SQL, engines, what a queue is made of.

use async_trait::async_trait;
use uuid::Uuid;

use super::{ResultRow, StoreResult};

/// Where a job's result goes, as admission settled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The queue's URL, or its name.
    pub to: String,
    /// The producer's trace: `traceparent`, or `AWSTraceHeader`, as its message had it.
    pub trace: Option<String>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be sent, perhaps again.
    Due,
    /// The queue has it.
    Delivered,
    /// Given up: a person must act.
    Undeliverable,
}

impl DeliveryState {
    /// All of them, in the order in which a delivery meets them.
    pub const ALL: [Self; 3] = [Self::Due, Self::Delivered, Self::Undeliverable];

    /// Its name in the store and in commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Delivered => "delivered",
            Self::Undeliverable => "undeliverable",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A result to send.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// Where to.
    pub reply: Reply,
    /// How often it was tried before.
    pub tries: u32,
    /// Since when it waits, in Unix ms: its job's end, or when a person made it due again.
    pub since: i64,
    /// Whose job.
    pub tenant: String,
    /// What to say.
    pub result: ResultRow,
}

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The queue has it.
    Delivered,
    /// Again after so many ms, for this reason.
    Again(u64, String),
    /// It was not tried, and comes after so many ms: no try is counted.
    Later(u64, String),
    /// Never, for this reason.
    Undeliverable(String),
}

/// One try to deliver one end of a job, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The job.
    pub job_id: Uuid,
    /// Which of its ends was sent: the `seq` of the result that was taken. A job that was put back
    /// has another one once it has ended again.
    pub seq: i64,
    /// What became of it.
    pub sent: Sent,
}

/// A delivery as people look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The order of its job's end.
    pub seq: i64,
    /// Its job.
    pub job_id: Uuid,
    /// The producer's id.
    pub external_id: Option<String>,
    /// Whose job.
    pub tenant: String,
    /// Where to.
    pub to: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again, in Unix ms, while it is due.
    pub due_at: Option<i64>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When it was made: its job's end, in Unix ms.
    pub created_at: i64,
    /// When it was delivered or given up, in Unix ms.
    pub ended_at: Option<i64>,
}

/// Which deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// To this queue, exactly as the job names it.
    pub to: Option<String>,
    /// Of this job.
    pub job_id: Option<Uuid>,
    /// Before this one: the last one's `seq` of the page before.
    pub before: Option<i64>,
    /// At most so many.
    pub rows_max: u32,
}

/// A message whose job was admitted and which is to be deleted once that has ended and been
/// answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMessage {
    /// The ARN of its queue.
    pub queue: String,
    /// The queue's id of it.
    pub message_id: String,
    /// Its latest receipt.
    pub receipt: String,
    /// Its job.
    pub job_id: Uuid,
    /// When this receipt was given, in Unix ms of the machine that received it.
    pub received_at: i64,
}

/// What the relay asks (room 7). A job with a [`Reply`] gets its delivery in the transaction that
/// ends it; a job that ends again after `jobs retry` is delivered again.
#[async_trait]
pub trait DeliverStore: Send + Sync {
    /// Takes deliveries that are due, longest waiting first, so that nobody else takes them for
    /// `hold_ms`; their results with them. What is taken and not settled is due again after that.
    async fn take_deliveries(&self, rows_max: u32, hold_ms: u64) -> StoreResult<Vec<DueDelivery>>;

    /// Notes what became of them. A try settles the delivery of the end that it sent and no other. A
    /// delivery that has ended meanwhile stays as it is, and so does one that nobody has taken since a
    /// person made it due again.
    async fn settle_deliveries(&self, tried: &[Tried]) -> StoreResult<()>;

    /// Deliveries that match, newest first.
    async fn deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<DeliveryRow>>;

    /// Makes deliveries that were given up due again, the oldest first and with their tries forgotten;
    /// returns how many.
    async fn redeliver(&self, filter: &DeliveryFilter) -> StoreResult<u64>;
}

/// What an intake asks that deletes messages only when their jobs have ended.
#[async_trait]
pub trait IntakeStore: Send + Sync {
    /// Notes these messages, or their newer receipts. A job must be there.
    async fn hold_messages(&self, messages: &[HeldMessage]) -> StoreResult<()>;

    /// Messages of this queue that are held, by message id, after this one.
    async fn held_messages(
        &self,
        queue: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> StoreResult<Vec<HeldMessage>>;

    /// Those of them that may go: their jobs have ended or were deleted, and nothing of them is to be
    /// delivered any more. Oldest first.
    async fn answered_messages(&self, queue: &str, rows_max: u32) -> StoreResult<Vec<HeldMessage>>;

    /// How many jobs wait, counted up to so many; those that run may be among them.
    async fn waiting(&self, jobs_max: u32) -> StoreResult<u32>;

    /// Forgets messages that were deleted, or that are not ours any more.
    /// Each is its id and its receipt: one that was received anew meanwhile is its receiver's.
    async fn forget_messages(&self, queue: &str, gone: &[(String, String)]) -> StoreResult<()>;
}
