//! The limits of a relay. Each is a setting; here they have no defaults.
//! Must not know: files, flags, environments.

use crate::admit::ReplyAllow;

/// The limits of a relay; each is a setting under `[relay]` or `[sqs]`.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// The queues that may get results, now.
    pub allow: ReplyAllow,
    /// What the keys of results begin with that are too large for a message.
    pub bucket_prefix: String,
    /// The store is one for simulated work: each line says so.
    pub simulated: bool,
    /// How often results to send are looked for, in milliseconds.
    pub poll_ms: u64,
    /// The most results taken at once.
    pub rows_max: u32,
    /// Bytes of results on their way; no more are taken before some have been sent.
    pub bytes_max: usize,
    /// How long taken results are ours, in milliseconds.
    pub hold_ms: u64,
    /// The most queues sent to at once.
    pub targets_max: usize,
    /// The most batches on their way to one queue.
    pub batches_max: usize,
    /// The longest first wait before a result is sent again, in milliseconds; the next may be twice
    /// as long.
    pub retry_ms_base: u64,
    /// The longest such wait.
    pub retry_ms_max: u64,
    /// The same for what a person must mend: a queue that is not there, or that denies us.
    pub absent_ms_base: u64,
    /// The longest such wait.
    pub absent_ms_max: u64,
    /// A result is given up after so many tries.
    pub tries_max: u32,
    /// Or so long after its job's end, in milliseconds.
    pub age_ms_max: u64,
    /// How long what a queue says of itself holds, in milliseconds.
    pub facts_ms: u64,
    /// A loop that has not come round for so long is stuck, in milliseconds.
    pub stuck_ms_max: u64,
}
