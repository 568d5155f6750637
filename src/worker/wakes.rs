//! Being told of new work: while this process waits with free slots it wants to be, and says so on
//! its lease. It saves the wait for the next look, and nothing else.
//! Must not know: how the store tells.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Bench;

/// A worker that has been busy for so long no longer wants to be told. A shorter spell changes
/// nothing, so that a job now and then costs no writes.
const BUSY_MS: u64 = 1_000;

/// What the lease says, as far as this process knows.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// The lease that says that this process wants to be told.
    wanted_by: Option<Uuid>,
    /// When this process last had nothing to do.
    idle_mono_ms: u64,
}

impl Wakes {
    /// Notes that there is nothing to do. True if the lease says so only from now on: what came
    /// before has told nobody, so the caller looks once more.
    pub(super) async fn idle(&mut self, bench: &Bench) -> bool {
        self.idle_mono_ms = bench.clock.now().mono_ms;
        let lease = bench.lease_id();
        if !bench.store.hears() || self.wanted_by == Some(lease) {
            return false;
        }
        match bench.store.want_wake(lease, true).await {
            Ok(()) => {
                self.wanted_by = Some(lease);
                // Work that others put in stands before admission.
                bench.submitted.notify_one();
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the next look comes after a whole wait");
                false
            }
        }
    }

    /// Notes that there is work, or that none can be taken.
    pub(super) async fn busy(&mut self, bench: &Bench) {
        let idle_ms = bench.clock.now().mono_ms.saturating_sub(self.idle_mono_ms);
        let Some(lease) = self.wanted_by.filter(|_| idle_ms >= BUSY_MS) else { return };
        match bench.store.want_wake(lease, false).await {
            Ok(()) => self.wanted_by = None,
            Err(error) => tracing::debug!(%error, "told of new work without need"),
        }
    }
}

/// Listens until `done`.
pub(super) async fn keep(bench: Arc<Bench>, done: CancellationToken) {
    if let Err(error) = bench.store.warm(bench.lease_id()).await {
        tracing::debug!(%error, "the first submissions find their connections cold");
    }
    // Mostly it is a submission. The doors wake the claim loop where it is not, so that both do not
    // look at once for what one of them is to find.
    let woken = || bench.submitted.notify_one();
    tokio::select! {
        () = done.cancelled() => {}
        () = bench.store.listen(&woken) => {}
    }
}
