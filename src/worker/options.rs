//! The limits of a worker. Each is a setting; here they have no defaults.
//! Must not know: files, flags, environments.

use std::path::PathBuf;

use uuid::Uuid;

use crate::check;
use crate::provider::Clocks;
use crate::retry;
use crate::store::RetentionPolicy;

/// The limits of a worker; each is a setting under `[worker]`, `[bedrock]`, `[retry]` or `[check]`.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Calls in flight at once.
    pub concurrency: u32,
    /// The most waiting jobs that one claim looks at.
    pub claim_scan_max: u32,
    /// The most jobs that one claim takes.
    pub claim_rows_max: u32,
    /// The shortest time between two claims that did not find all they asked for, in milliseconds.
    pub claim_interval_ms: u64,
    /// How often an idle worker looks for work, in milliseconds.
    pub poll_ms: u64,
    /// A claimed call not sent within this time goes back, in milliseconds.
    pub send_late_ms_max: u64,
    /// How long smaller jobs may pass one that does not fit, in milliseconds.
    pub pass_ms_max: u64,
    /// A lease whose beat stands still for so long is lost, in milliseconds.
    pub lease_ms: u64,
    /// How often the lease is renewed, in milliseconds.
    pub beat_ms: u64,
    /// A loop that has not come round for so long is stuck, in milliseconds.
    pub stuck_ms_max: u64,
    /// How long calls in flight may run on after a drain began, in milliseconds.
    pub drain_soft_ms: u64,
    /// How long aborted calls may take to be recorded, in milliseconds.
    pub drain_hard_ms: u64,
    /// The most finishes of one transaction.
    pub finish_rows_max: usize,
    /// The most bytes of answers of one transaction.
    pub finish_bytes_max: usize,
    /// Bytes of answers kept in memory while the store is unreachable.
    pub unsaved_bytes_max: usize,
    /// The most rows that one write of upkeep moves.
    pub write_rows_max: u32,
    /// Where answers go that the store cannot take.
    pub spool_dir: PathBuf,
    /// The largest spool, in bytes.
    pub spool_bytes_max: u64,
    /// Stream inside.
    pub stream: bool,
    /// The first-token and idle clocks of every call; `total_ms` is its ceiling.
    pub clocks: Clocks,
    /// The whole call's clock: this ...
    pub call_ms_base: u64,
    /// ... and this much more for each token of `max_tokens`.
    pub call_ms_per_token: u64,
    /// How long the store keeps what has ended.
    pub retention: RetentionPolicy,
    /// The longest that one write of retention may take, in milliseconds.
    pub write_ms_max: u64,
    /// How failures are decided.
    pub retry: retry::Policy,
    /// How answers are checked.
    pub check: check::Limits,
    /// Work on this batch alone.
    pub batch: Option<Uuid>,
    /// The most that this worker's calls may cost together, in micro-dollars.
    pub cost_micros_max: Option<u64>,
    /// Log prompts and answers.
    pub log_bodies: bool,
}

impl WorkerOptions {
    /// The clocks of a call that may answer with so many tokens.
    #[must_use]
    pub fn clocks_for(&self, max_tokens: u32) -> Clocks {
        let total_ms = u64::from(max_tokens)
            .saturating_mul(self.call_ms_per_token)
            .saturating_add(self.call_ms_base)
            .min(self.clocks.total_ms);
        Clocks { total_ms, ..self.clocks }
    }
}
