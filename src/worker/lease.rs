//! This process's lease: renewed while it lives, compared with what it knows, replaced when lost.
//! Must not know: what the calls are.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Bench, direct, lanes};
use crate::clock::Clock;
use crate::store::{AttemptKey, LeaseInfo, RunningAttempt, StoreResult};

/// The lease and how fresh it is.
#[derive(Debug)]
pub(super) struct Lease {
    /// A std mutex: nothing is awaited while it is held.
    id: Mutex<Uuid>,
    /// The last renewal that the store confirmed, on the suspend-aware clock.
    renewed_mono_ms: AtomicU64,
    /// Whether the store took the last beat.
    answered: AtomicBool,
    /// Without a renewal for so long, nothing is claimed and nothing unsent is sent.
    stale_ms: u64,
}

impl Lease {
    pub(super) fn new(clock: &Clock, lease_ms: u64, beat_ms: u64) -> Self {
        Self {
            id: Mutex::new(Uuid::now_v7()),
            renewed_mono_ms: AtomicU64::new(clock.now().mono_ms),
            answered: AtomicBool::new(false),
            // Others may call us dead after lease_ms; we stop a beat before.
            stale_ms: lease_ms.saturating_sub(beat_ms),
        }
    }

    pub(super) fn id(&self) -> Uuid {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while nobody can have taken this process for dead.
    pub(super) fn is_fresh(&self, mono_ms: u64) -> bool {
        self.age_ms(mono_ms) < self.stale_ms
    }

    /// How long ago the store confirmed it, in milliseconds.
    pub(super) fn age_ms(&self, mono_ms: u64) -> u64 {
        mono_ms.saturating_sub(self.renewed_mono_ms.load(Ordering::Relaxed))
    }

    /// Whether the store took the last beat.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The store took a beat that was asked for then.
    fn confirm(&self, asked_mono_ms: u64) {
        self.renewed_mono_ms.store(asked_mono_ms, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) async fn open(&self, bench: &Bench) -> StoreResult<()> {
        let asked_mono_ms = bench.clock.now().mono_ms;
        let lease = LeaseInfo { id: self.id(), host: host(), pid: std::process::id() };
        bench.store.open_lease(&lease).await?;
        self.confirm(asked_mono_ms);
        lanes::hear(bench).await;
        Ok(())
    }

    /// Leaves the lease to its rescuers if it cannot be closed.
    pub(super) async fn close(&self, bench: &Bench) {
        if !bench.flight.is_empty() {
            return;
        }
        if let Err(error) = bench.store.close_lease(self.id()).await {
            tracing::warn!(%error, "lease not closed; another process will");
        }
    }
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// This process as others find it beside its lease: `host/pid`.
#[must_use]
pub fn process_name() -> String {
    format!("{}/{}", host(), std::process::id())
}

/// Renews the lease until `done`.
pub(super) async fn keep(bench: Arc<Bench>, done: CancellationToken) {
    let period = Duration::from_millis(bench.options.beat_ms.max(1));
    let pulse = &bench.pulses.lease;
    let _going = pulse.begin(bench.clock.now().mono_ms);
    // A connection that died unnoticed answers nothing, and the store waits for it longer than a
    // lease lasts. Another one is tried while there is time for it.
    let patience = Duration::from_millis((bench.lease.stale_ms / 2).max(1));
    let mut pause = period;
    loop {
        pulse.lap(bench.clock.now().mono_ms);
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let renewed = tokio::time::timeout(patience, renew(&bench)).await;
        if !matches!(renewed, Ok(Ok(()))) {
            bench.lease.answered.store(false, Ordering::Relaxed);
        }
        pause = match renewed {
            Ok(Ok(())) => period,
            Ok(Err(error)) => {
                tracing::warn!(%error, "lease not renewed");
                period
            }
            Err(_) => {
                tracing::warn!("lease not renewed in time, asking anew");
                Duration::ZERO
            }
        };
    }
}

pub(super) async fn renew(bench: &Bench) -> StoreResult<()> {
    // The time of asking counts, not that of the answer: the store may have been slow.
    let asked_mono_ms = bench.clock.now().mono_ms;
    let before = bench.flight.fences();
    let Some(rows) = bench.store.beat(bench.lease_id()).await? else {
        return replace(bench).await;
    };
    bench.lease.confirm(asked_mono_ms);
    reconcile(bench, &rows, (asked_mono_ms, &before)).await?;
    lanes::hear(bench).await;
    Ok(())
}

/// Others took this process for dead. Its calls in flight run on, because they are paid for and
/// their answers still count; new claims need a new lease.
async fn replace(bench: &Bench) -> StoreResult<()> {
    tracing::warn!(lease.id = %bench.lease_id(), "lease lost, opening another");
    *bench.lease.id.lock().unwrap_or_else(PoisonError::into_inner) = Uuid::now_v7();
    bench.lease.open(bench).await
}

/// Takes out of `unknown` what has ended here: a failover has lost the commit of its finish. Given
/// back, a call that was paid for would stand as never sent, and be made again.
async fn record_again(bench: &Bench, unknown: &mut Vec<AttemptKey>) -> StoreResult<()> {
    let fences = unknown.iter().map(|key| key.fence).collect();
    let finishes = bench.kept.of(&fences);
    if finishes.is_empty() {
        return Ok(());
    }
    tracing::warn!(answers = finishes.len(), "the store has lost answers, recording them again");
    bench.store.finish(&finishes).await?;
    unknown.retain(|key| finishes.iter().all(|finish| finish.key.fence != key.fence));
    Ok(())
}

/// Compares what the store counts as running here with what is.
async fn reconcile(
    bench: &Bench,
    rows: &[RunningAttempt],
    (mono_ms, before): (u64, &HashSet<Uuid>),
) -> StoreResult<()> {
    // First, because every moment of a call that nobody wants costs money. A call whose job runs
    // anew elsewhere runs on: it is paid for, and its answer still counts.
    let missing = bench.flight.missing(rows, mono_ms);
    if !missing.is_empty() {
        for key in bench.store.unwanted(&missing).await? {
            tracing::info!(job.id = %key.job_id, "its job has ended elsewhere: the call is aborted");
            bench.flight.abort(key.fence);
        }
    }
    let mut unknown = bench.flight.unknown(rows, before);
    record_again(bench, &mut unknown).await?;
    if !unknown.is_empty() {
        tracing::warn!(attempts = unknown.len(), "claims with a lost answer go back unsent");
        if bench.direct {
            direct::end_lost(bench, &unknown).await?;
        } else {
            bench.store.give_back(&unknown).await?;
            bench.wake.notify_one();
        }
    }
    Ok(())
}
