//! This process's lease: renewed while it lives, compared with what it knows, replaced when lost.
//! Must not know: what the calls are.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Bench, direct, lanes, restore};
use crate::clock::Clock;
use crate::store::{AttemptKey, LeaseInfo, RunningAttempt, StoreError, StoreResult};

/// After the store was away, it may be another one that has lost the last commits. Every worker says
/// at once what it has in flight, and claims only so much later, or it would claim what the others
/// are about to bring back.
const GRACE_MS_MAX: u64 = 500;

/// How often a renewal is tried while the store is away, in ms.
const RETRY_MS_MAX: u64 = 250;

/// The lease and how fresh it is.
#[derive(Debug)]
pub(super) struct Lease {
    /// A std mutex: nothing is awaited while it is held.
    id: Mutex<Uuid>,
    /// The last renewal that the store confirmed, on the suspend-aware clock.
    renewed_mono_ms: AtomicU64,
    /// Whether the store took the last beat.
    answered: AtomicBool,
    /// How often something failed as if the store were away, and how many of these times a renewal
    /// since then has answered for.
    doubts: AtomicU64,
    trusted: AtomicU64,
    /// Something has failed for the first time since the last renewal.
    doubted: Notify,
    /// Nothing is claimed before. A std mutex: nothing is awaited while it is held.
    claims_from: Mutex<Option<Instant>>,
    grace: Duration,
    /// Without a renewal for so long, nothing is claimed and nothing unsent is sent.
    stale_ms: u64,
}

impl Lease {
    pub(super) fn new(clock: &Clock, lease_ms: u64, beat_ms: u64) -> Self {
        Self {
            id: Mutex::new(Uuid::now_v7()),
            renewed_mono_ms: AtomicU64::new(clock.now().mono_ms),
            answered: AtomicBool::new(false),
            doubts: AtomicU64::new(0),
            trusted: AtomicU64::new(0),
            doubted: Notify::new(),
            claims_from: Mutex::default(),
            grace: Duration::from_millis(beat_ms.min(GRACE_MS_MAX)),
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

    /// True while it is fresh and the store is the one that took what this process has told it.
    pub(super) fn may_claim(&self, mono_ms: u64) -> bool {
        let from = *self.claims_from.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_fresh(mono_ms)
            && !self.is_doubted()
            && from.is_none_or(|from| from <= Instant::now())
    }

    fn is_doubted(&self) -> bool {
        self.doubts.load(Ordering::Relaxed) != self.trusted.load(Ordering::Relaxed)
    }

    /// An operation has failed in this way.
    pub(super) fn doubt_after(&self, error: &StoreError) {
        if matches!(error, StoreError::Transient(_)) {
            self.doubt();
        }
    }

    /// The store may have been away: the lease is renewed as soon as it is back.
    pub(super) fn doubt(&self) {
        let is_news = !self.is_doubted();
        self.doubts.fetch_add(1, Ordering::Relaxed);
        if is_news {
            self.doubted.notify_one();
        }
    }

    /// The store has been told of everything in flight, and knows it, since there were so many
    /// doubts.
    fn trust(&self, doubts: u64) {
        if self.trusted.swap(doubts, Ordering::Relaxed) != doubts {
            let from = Instant::now() + self.grace;
            *self.claims_from.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
        }
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
        let lease = LeaseInfo {
            id: self.id(),
            host: host(),
            pid: std::process::id(),
            takes_jobs: !bench.direct,
        };
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
    let retry = period.min(Duration::from_millis(RETRY_MS_MAX));
    let mut pause = period;
    loop {
        pulse.lap(bench.clock.now().mono_ms);
        tokio::select! {
            () = done.cancelled() => return,
            () = bench.lease.doubted.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let answered_before = bench.lease.is_answered();
        let renewed = tokio::time::timeout(patience, renew(&bench)).await;
        if !matches!(renewed, Ok(Ok(()))) {
            bench.lease.answered.store(false, Ordering::Relaxed);
            bench.lease.doubt();
        }
        pause = match renewed {
            // Something has failed while it was asked.
            Ok(Ok(())) if bench.lease.is_doubted() => retry,
            Ok(Ok(())) => period,
            Ok(Err(error)) if answered_before => {
                tracing::warn!(%error, "lease not renewed");
                retry
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "lease not renewed");
                retry
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
    let mut doubts = bench.lease.doubts.load(Ordering::Relaxed);
    let rows = if let Some(rows) = bench.store.beat(bench.lease_id()).await? {
        bench.lease.confirm(asked_mono_ms);
        rows
    } else {
        // What lost the lease may have lost more.
        doubts = bench.lease.doubts.fetch_add(1, Ordering::Relaxed) + 1;
        replace(bench).await?;
        Vec::new()
    };
    reconcile(bench, &rows, (asked_mono_ms, &before)).await?;
    bench.lease.trust(doubts);
    lanes::hear(bench).await;
    Ok(())
}

/// Others took this process for dead, or a failover has lost the lease. Its calls in flight run on,
/// because they are paid for and their answers still count; new claims need a new lease.
async fn replace(bench: &Bench) -> StoreResult<()> {
    tracing::warn!(lease.id = %bench.lease_id(), "lease lost, opening another");
    *bench.lease.id.lock().unwrap_or_else(PoisonError::into_inner) = Uuid::now_v7();
    bench.lease.open(bench).await
}

/// Takes out of `unknown` what has ended here: a failover has lost the commit of its finish. Given
/// back, a call that was paid for would stand as never sent, and be made again.
async fn record_again(bench: &Bench, unknown: &mut Vec<AttemptKey>) -> StoreResult<()> {
    let fences = unknown.iter().map(|key| key.fence).collect();
    let finishes = bench.kept.of(&fences, bench.clock.now().mono_ms);
    restore::finished(bench, &finishes).await?;
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
    let is_doubted = bench.lease.is_doubted();
    if is_doubted {
        bench.flight.doubt();
    }
    let mut missing = bench.flight.missing(rows, mono_ms);
    if !missing.is_empty() {
        let unwanted = bench.store.unwanted(&missing).await?;
        for key in &unwanted {
            tracing::info!(job.id = %key.job_id, "its job has ended elsewhere: the call is aborted");
            bench.flight.abort(key.fence);
        }
        missing.retain(|key| !unwanted.contains(key));
        restore::in_flight(bench, &missing).await?;
    }
    if is_doubted {
        restore::finished(bench, &bench.kept.all(bench.clock.now().mono_ms)).await?;
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
