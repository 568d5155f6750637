//! Submissions that start as they are admitted: the quick way from a producer's commit to the call,
//! for a worker that has nothing else to do.
//! Must not know: what documents say, or when the store lets one start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::Bench;
use super::begun::Begun;
use super::claims::{may_claim, registered};
use super::finisher::{Finisher, FinisherRef};
use crate::retry::Allowed;
use crate::store::{ClaimSubmittedAsk, NewJob};

/// Starts submitted jobs as they are admitted, where this worker has nothing else to do and slots
/// for all of them; returns those that go the ordinary way, and how many have started.
pub(super) async fn start_submitted(
    bench: &Arc<Bench>,
    finisher: &FinisherRef,
    jobs: Vec<(String, NewJob)>,
) -> (Vec<(String, NewJob)>, usize) {
    let is_free = bench.idle.load(Ordering::Relaxed)
        && bench.options.batch.is_none()
        && bench.options.cost_micros_max.is_none()
        && may_claim(bench);
    let (true, Some(finisher)) = (is_free && !jobs.is_empty(), finisher.get()) else {
        return (jobs, 0);
    };
    let mut lanes: BTreeMap<String, Vec<(String, NewJob)>> = BTreeMap::new();
    for job in jobs {
        lanes.entry(job.1.lane.clone()).or_default().push(job);
    }
    let (mut left, mut started) = (Vec::new(), 0);
    for (lane, jobs) in lanes {
        match start_in_lane(bench, &finisher, &lane, &jobs).await {
            Some(count) => started += count,
            None => left.extend(jobs),
        }
    }
    (left, started)
}

/// How many of these jobs of one lane have started, where the others are other workers'; none where
/// they all go the ordinary way.
async fn start_in_lane(
    bench: &Arc<Bench>,
    finisher: &Finisher,
    lane: &str,
    jobs: &[(String, NewJob)],
) -> Option<usize> {
    if bench.lanes.allowed(lane, &bench.clock).0 != Allowed::All {
        return None;
    }
    let slots = slots_for(bench, jobs.len())?;
    // Looked at only now that the slots are held: a drain that begins after this waits for them.
    if bench.is_ending() {
        return None;
    }
    let fences = bench.flight.ask(slots.len());
    let asked = bench.clock.now();
    let ask = ClaimSubmittedAsk {
        lease: bench.lease_id(),
        fences: fences.clone(),
        pass_ms_max: bench.options.pass_ms_max,
    };
    let claimed = bench.store.claim_submitted(jobs, &ask).await;
    let claimed = claimed.unwrap_or_else(|error| {
        // What the ordinary way meets is told there.
        tracing::debug!(lane, %error, "submissions do not start at once");
        None
    });
    let aborts = claimed.as_ref().map(|claimed| registered(bench, lane, claimed));
    bench.flight.forget_asked(&fences);
    let claimed = claimed?;
    let reserved = claimed.reserved.unwrap_or(asked);
    let begun = Begun::count(bench, lane, (claimed.jobs, aborts?), slots, reserved);
    let count = begun.len();
    begun.start(bench, finisher, bench.is_ending());
    Some(count)
}

/// So many slots, or none.
fn slots_for(bench: &Bench, count: usize) -> Option<Vec<OwnedSemaphorePermit>> {
    if count > usize::try_from(bench.options.claim_rows_max).unwrap_or(usize::MAX) {
        return None;
    }
    let slot = |_| Arc::clone(&bench.slots).try_acquire_owned().ok();
    (0..count).map(slot).collect()
}
