//! Jobs that were claimed, on the way to their calls. What they may cost is counted from the claim on,
//! so that the next claim knows; their calls may begin while the next claim is on its way.
//! Must not know: how they were claimed, or what a call is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::attempt::{self, Turn};
use super::finisher::Finisher;
use crate::clock::Now;
use crate::store::ClaimedJob;

/// The jobs of one claim, each with its slot.
pub(super) struct Begun {
    turns: Vec<(Turn, OwnedSemaphorePermit)>,
}

impl Begun {
    /// Counts these jobs of a lane, whose quota was reserved at this time: each with what aborts its
    /// call, and its slot.
    pub(super) fn count(
        bench: &Bench,
        lane: &str,
        (jobs, aborts): (Vec<ClaimedJob>, Vec<CancellationToken>),
        slots: Vec<OwnedSemaphorePermit>,
        reserved: Now,
    ) -> Self {
        let lane: Arc<str> = Arc::from(lane);
        let turn = |((job, abort), slot): ((ClaimedJob, CancellationToken), _)| {
            let worst_micros = job.resolved.cost_micros_max(&job.wanted).unwrap_or(0);
            bench.money_micros.fetch_add(worst_micros, Ordering::Relaxed);
            let lane = Arc::clone(&lane);
            (Turn { job, lane, abort, reserved, worst_micros, heard: None }, slot)
        };
        let turns: Vec<_> = jobs.into_iter().zip(aborts).zip(slots).map(turn).collect();
        let count = u32::try_from(turns.len()).unwrap_or(u32::MAX);
        bench.status.update(|status| {
            status.in_flight += count;
            status.claimed += u64::from(count);
        });
        Self { turns }
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    /// Starts them. Where the worker drains they go back unsent, uncounted: the drain began while
    /// their claim was on its way.
    pub(super) fn start(self, bench: &Arc<Bench>, finisher: &Finisher, drains: bool) {
        for (turn, slot) in self.turns {
            if drains {
                turn.abort.cancel();
            }
            tokio::spawn(attempt::run(Arc::clone(bench), finisher.clone(), turn, slot));
        }
    }
}
