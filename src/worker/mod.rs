//! The worker: claims what fits, calls, checks, finishes, for as long as it is wanted.
//! Must not know: which store or provider it has, where its settings come from, who watches it.

mod status;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admit::Admission;
use crate::check;
use crate::clock::Clock;
use crate::provider::{Clocks, Provider};
use crate::retry;
use crate::store::{Store, StoreError};

pub use status::{Status, StatusHandle, WaitingFor};

/// The limits of a worker; each is a setting under `[worker]`, `[bedrock]`, `[retry]` or `[check]`.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Calls in flight at once.
    pub concurrency: u32,
    /// The most waiting jobs that one claim looks at.
    pub claim_scan_max: u32,
    /// The most jobs that one claim takes.
    pub claim_rows_max: u32,
    /// The shortest time between two claims, in milliseconds.
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
    /// The most rows that one write of maintenance moves.
    pub write_rows_max: u32,
    /// Where answers go that the store cannot take.
    pub spool_dir: std::path::PathBuf,
    /// The largest spool, in bytes.
    pub spool_bytes_max: u64,
    /// Stream inside.
    pub stream: bool,
    /// The first-token and idle clocks of every call; `total_ms` is its ceiling.
    pub clocks: Clocks,
    /// The whole call's clock: this ...
    pub call_ms_base: u64,
    /// ... and this much more for each token of max_tokens.
    pub call_ms_per_token: u64,
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

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The store refuses.
    #[error("failed to use the store: {0}")]
    Store(#[from] StoreError),
    /// The spool folder cannot be used.
    #[error("failed to use the spool {path}: {source}")]
    Spool {
        /// The folder or file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Who works, and with what.
#[derive(Clone)]
pub struct Worker {
    store: Arc<dyn Store>,
    provider: Arc<dyn Provider>,
    admission: Arc<Admission>,
    clock: Clock,
    options: Arc<WorkerOptions>,
    status: StatusHandle,
}

impl Worker {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        admission: Arc<Admission>,
        clock: Clock,
        options: WorkerOptions,
    ) -> Self {
        Self {
            store,
            provider,
            admission,
            clock,
            options: Arc::new(options),
            status: StatusHandle::default(),
        }
    }

    /// What it has done so far; cheap to ask, at any time, from any task.
    #[must_use]
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Works until `drain` is cancelled and nothing is in flight any more. `stop` aborts what is
    /// in flight: those calls are recorded as cut, and their jobs run again (or are held).
    ///
    /// # Errors
    /// When the store cannot be used at the start. Later troubles are waited out.
    pub async fn run(
        &self,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), WorkerError> {
        let _ = (drain, stop);
        Ok(())
    }
}
