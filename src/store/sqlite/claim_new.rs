//! Rooms 1 and 3 in one transaction on SQLite, for a caller that waits for its answer: the job is
//! admitted running, or nothing of it stays.
//! Must not know: how fitting is judged, or who waits.

use std::collections::HashSet;

use uuid::Uuid;

use super::draws::Draws;
use super::finish::records;
use super::{SqliteStore, Tx, admit, claim, pause, sharing as shares};
use crate::budget::{Decision, FitPolicy};
use crate::store::shared::candidates::{self, Candidate};
use crate::store::shared::settling::Record;
use crate::store::shared::sharing;
use crate::store::{
    Admitted, AttemptKey, ClaimNewAsk, ClaimedNew, NewJob, StoreError, StoreResult,
};

impl SqliteStore {
    pub(super) async fn claim_new_job(
        &self,
        job: NewJob,
        ask: ClaimNewAsk,
    ) -> StoreResult<ClaimedNew> {
        let resolved = candidates::resolved(&job)?;
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        claim::check_lease(&mut tx, ask.lease).await?;
        if let Some(record) = found_again(&mut tx, &job, ask.fence).await? {
            let age_ms = self.lane_time(&mut tx, now).await?.since_ms(record.claimed_at());
            let reserved = record.reserved_tokens;
            let claimed = candidates::claimed_before(&job, resolved, ask.fence, reserved);
            let reserved_mono_ms = now.mono_ms.saturating_sub(age_ms);
            let job = Box::new(claimed);
            return Ok(ClaimedNew::Running { job, reserved_mono_ms });
        }
        let mut halts = pause::halts(&mut tx, &job.lane, now.wall_ms).await?;
        if let Some((for_ms, reason)) = halts.out.take() {
            return Ok(ClaimedNew::Paused { for_ms, reason });
        }
        if let Some(pause) = halts.of_job(&job.queue) {
            return Ok(ClaimedNew::PausedBy(pause.clone()));
        }
        match admit::judge_alone(&mut tx, &job).await? {
            Admitted::New(_) => {}
            known => return Ok(ClaimedNew::Known(known)),
        }
        let mut draws = Draws::open(self, &mut tx).await?;
        let mut candidates = vec![Candidate::of_new(&job)];
        let running = shares::running(&mut tx, &draws.queues).await?;
        if !sharing::keep_within_caps(&draws.queues, &running, &mut candidates).is_empty() {
            return Ok(sharing::queue_is_full(&job.queue));
        }
        for candidate in &mut candidates {
            candidate.keys = draws.keys(&mut tx, &job.lane, &job.queue, &job.tenant).await?;
        }
        candidates::reserve_expected(&draws.keyed, &job.lane, &mut candidates);
        let none = HashSet::new();
        sharing::put_first(&draws.keyed, &draws.queues, &job.lane, &none, &mut candidates);
        let policy = FitPolicy { pass_ms_max: ask.pass_ms_max, claims_max: 1 };
        let plan = candidates::plan(&mut draws.keyed, &candidates, &policy, draws.now);
        let sorted = candidates::sort(&draws.keyed, &candidates, &plan, &[ask.fence]);
        let claimed = if !sorted.taken.is_empty() {
            admit::insert_unplaced(&mut tx, &job, now.wall_ms).await?;
            let jobs = claim::take(&mut tx, ask.lease, &sorted.taken, &draws, now.wall_ms).await?;
            let claimed = jobs.into_iter().next().ok_or_else(|| bug("claimed, and not there"))?;
            ClaimedNew::Running { job: Box::new(claimed), reserved_mono_ms: now.mono_ms }
        } else if let Some((_, _, reason)) = sorted.never.into_iter().next() {
            return Ok(ClaimedNew::NeverFits(reason));
        } else {
            let (Some(Decision::Wait { fits_in_ms, .. }), Some(waiting)) =
                (plan.decisions.first(), sorted.waiting)
            else {
                return Err(bug("one candidate, and no decision on it"));
            };
            let waits = ClaimedNew::Waits { fits_in_ms: *fits_in_ms, waiting };
            if !ask.waits {
                return Ok(waits);
            }
            // That it waits is kept, so that it is not passed for ever.
            waits
        };
        draws.save(&mut tx).await?;
        tx.commit().await?;
        Ok(claimed)
    }
}

fn bug(words: &str) -> StoreError {
    StoreError::Bug(words.to_owned())
}

/// The same job under the same fence, from an earlier try whose answer was lost on the way.
async fn found_again(tx: &mut Tx, job: &NewJob, fence: Uuid) -> StoreResult<Option<Record>> {
    let key = AttemptKey { job_id: job.job_id, number: 1, fence };
    let record = records(tx, &[key]).await?.remove(&fence);
    Ok(record.filter(|record| record.current && record.is_open()))
}
