//! What any process does for all: promotion, expiry, rescue of the dead, the spool.
//! Must not know: what this worker itself has in flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Bench, replay};
use crate::store::{RescueAsk, StoreResult};

/// How often identities that are over are looked for, in rounds of upkeep.
const FORGET_EVERY_ROUNDS: u64 = 600;

/// A round comes after so many polls of an idle worker, unless a job becomes due before.
const IDLE_POLLS: u64 = 4;

/// The beats of other leases, and since when each has stood still, on this process's own clock.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: HashMap<Uuid, (i64, u64)>,
    /// When it looked last.
    looked_mono_ms: u64,
}

/// Does the rounds until `done`.
pub(super) async fn keep(bench: Arc<Bench>, mut watch: Watch, done: CancellationToken) {
    // A moment and not a wait: what comes in between must not put the round off for ever.
    let mut next_at = Instant::now();
    let mut round: u64 = 0;
    let _going = bench.pulses.upkeep.begin(bench.clock.now().mono_ms);
    loop {
        lap(&bench);
        let is_round = tokio::select! {
            () = done.cancelled() => return,
            () = bench.due.notified() => false,
            () = tokio::time::sleep_until(next_at) => true,
        };
        let next_ms = match promote(&bench).await {
            Ok(due_in_ms) => due_in_ms.min(bench.options.poll_ms.saturating_mul(IDLE_POLLS)),
            Err(error) => {
                tracing::warn!(%error, "due jobs not promoted");
                bench.options.poll_ms
            }
        };
        // Rounds further apart than half a lease would take every beat for unwatched, and rescue
        // nobody; a beat is at most a third of it.
        let then = Instant::now() + Duration::from_millis(next_ms.min(bench.options.beat_ms));
        next_at = if is_round { then } else { next_at.min(then) };
        if !is_round {
            continue;
        }
        round += 1;
        lap(&bench);
        rescue(&bench, &mut watch).await;
        lap(&bench);
        replay::spool(&bench).await;
        if round.is_multiple_of(FORGET_EVERY_ROUNDS)
            && let Err(error) = bench.store.forget_seen(bench.options.write_rows_max).await
        {
            tracing::warn!(%error, "old identities not forgotten");
        }
    }
}

/// What a worker that takes nothing from lanes does for all: the leases of dead processes, and the
/// spool.
pub(super) async fn keep_direct(bench: Arc<Bench>, mut watch: Watch, done: CancellationToken) {
    let period = Duration::from_millis(bench.options.poll_ms.max(1));
    let mut rescue_mono_ms = 0;
    let _going = bench.pulses.upkeep.begin(bench.clock.now().mono_ms);
    loop {
        lap(&bench);
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let now_mono_ms = bench.clock.now().mono_ms;
        if now_mono_ms.saturating_sub(rescue_mono_ms) >= bench.options.beat_ms {
            rescue_mono_ms = now_mono_ms;
            rescue(&bench, &mut watch).await;
        }
        if bench.spool.waits() {
            replay::spool(&bench).await;
        }
    }
}

/// One step further. Before the loop begins, a predecessor's work is seen to by the same steps.
fn lap(bench: &Bench) {
    bench.pulses.upkeep.lap_if_going(bench.clock.now().mono_ms);
}

/// Returns in how many ms the next job becomes due.
async fn promote(bench: &Bench) -> StoreResult<u64> {
    let promoted = bench.store.promote(bench.options.write_rows_max).await?;
    if promoted.due > 0 {
        bench.wake.notify_one();
    }
    if promoted.expired > 0 {
        let ends = u64::from(promoted.expired);
        bench.status.update(|status| status.other_ends += ends);
        bench.status.notify();
        tracing::warn!(jobs = promoted.expired, "jobs expired before their turn");
    }
    if promoted.due >= bench.options.write_rows_max {
        return Ok(0);
    }
    let now = bench.clock.now().wall_ms;
    let due_in_ms = promoted
        .next_due_at
        .map_or(u64::MAX, |at| u64::try_from(at.saturating_sub(now)).unwrap_or(0));
    // A round is never quicker than a claim.
    Ok(due_in_ms.max(bench.options.claim_interval_ms))
}

/// Ends the leases of dead processes: at once where the system says so, else when this process has
/// itself read the same beat for `lease_ms` of its own time. A failed read starts that time anew,
/// so an outage of the store rescues nobody; so does a long pause between two looks: a machine
/// that slept, or a store that answered late, has not watched.
pub(super) async fn rescue(bench: &Bench, watch: &mut Watch) {
    let others = match bench.store.other_leases(bench.lease_id()).await {
        Ok(others) => others,
        Err(error) => {
            tracing::warn!(%error, "leases not read");
            watch.seen.clear();
            return;
        }
    };
    let now_ms = bench.clock.now().mono_ms;
    if now_ms.saturating_sub(watch.looked_mono_ms) > bench.options.lease_ms / 2 {
        watch.seen.clear();
    }
    watch.looked_mono_ms = now_ms;
    watch.seen.retain(|id, _| others.iter().any(|other| other.id == *id));
    for other in others {
        lap(bench);
        let (beat, since_ms) = *watch.seen.entry(other.id).or_insert((other.beat, now_ms));
        if beat != other.beat {
            watch.seen.insert(other.id, (other.beat, now_ms));
            continue;
        }
        if !other.dead && now_ms.saturating_sub(since_ms) < bench.options.lease_ms {
            continue;
        }
        let ask = RescueAsk {
            lease: other.id,
            beat: other.beat,
            policy: bench.options.retry.clone(),
            rows_max: bench.options.write_rows_max,
        };
        match bench.store.rescue(&ask).await {
            Ok(rescued) => {
                if rescued.attempts > 0 {
                    tracing::warn!(
                        lease.id = %other.id,
                        attempts = rescued.attempts,
                        ready = rescued.ready,
                        held = rescued.held,
                        ended = rescued.ended,
                        "rescued the jobs of a dead worker; their calls' outcome is unknown"
                    );
                    bench.status.update(|status| status.unknown += u64::from(rescued.attempts));
                }
                bench.wake.notify_one();
                bench.status.notify();
            }
            Err(error) => tracing::warn!(lease.id = %other.id, %error, "rescue failed"),
        }
    }
}
