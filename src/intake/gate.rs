//! Whether the store takes anything now: nothing is received that could not be admitted at once.
//! Must not know: messages.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::Bench;
use crate::store::{LimitRule, StoreResult};

/// What was seen so long ago, in ms, is looked at anew.
const LOOK_MS: u64 = 1_000;

/// What may be received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Open {
    /// What fits.
    Yes,
    /// Nothing: at least so many jobs wait in the store.
    Backlog,
    /// Nothing: the store does not answer, for this reason.
    Away(String),
}

/// The last look at the store. A tokio mutex, so that several loops look once.
#[derive(Default)]
pub(super) struct Gate(Mutex<Look>);

#[derive(Default)]
struct Look {
    at_mono_ms: Option<u64>,
    waiting: u32,
    limits: Arc<[LimitRule]>,
}

impl Gate {
    /// Whether anything may be received.
    pub(super) async fn is_open(&self, bench: &Bench) -> Open {
        let mut look = self.0.lock().await;
        if let Err(error) = look.renew(bench).await {
            return Open::Away(error.to_string());
        }
        if look.waiting >= bench.options.backlog_max { Open::Backlog } else { Open::Yes }
    }

    /// The limits that documents are held to: of this second, or the last that were read.
    pub(super) async fn limits(&self, bench: &Bench) -> Arc<[LimitRule]> {
        let mut look = self.0.lock().await;
        if let Err(error) = look.renew(bench).await {
            tracing::debug!(%error, "documents are held to the limits that were read last");
        }
        Arc::clone(&look.limits)
    }
}

impl Look {
    /// Looks where the last look is too old.
    async fn renew(&mut self, bench: &Bench) -> StoreResult<()> {
        let now_ms = bench.clock.now().mono_ms;
        if self.at_mono_ms.is_some_and(|at| now_ms.saturating_sub(at) < LOOK_MS) {
            return Ok(());
        }
        self.at_mono_ms = None;
        let doors = &bench.doors;
        self.limits = doors.jobs.limits().await?.into();
        self.waiting = doors.messages.waiting(bench.options.backlog_max).await?;
        self.at_mono_ms = Some(now_ms);
        Ok(())
    }
}
