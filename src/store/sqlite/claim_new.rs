//! Rooms 1 and 3 in one transaction on SQLite, for a caller that waits for its answer: the job is
//! admitted running, or nothing of it stays.
//! Must not know: how fitting is judged, or who waits.

use uuid::Uuid;

use super::claim::{self, Candidate};
use super::draws::Draws;
use super::finish::{Record, records};
use super::{SqliteStore, Tx, admit, pause};
use crate::budget::{Decision, FitPolicy, LaneTime, SLOT_MS};
use crate::job::{Resolved, Wanted};
use crate::retry::Counters;
use crate::store::{
    Admitted, AttemptKey, ClaimNewAsk, ClaimedJob, ClaimedNew, NewJob, StoreError, StoreResult,
};

impl SqliteStore {
    pub(super) async fn claim_new_job(
        &self,
        job: NewJob,
        ask: ClaimNewAsk,
    ) -> StoreResult<ClaimedNew> {
        let resolved = resolved(&job)?;
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        claim::check_lease(&mut tx, ask.lease).await?;
        if let Some(record) = found_again(&mut tx, &job, ask.fence).await? {
            let began = LaneTime(record.slot.saturating_mul(SLOT_MS));
            let age_ms = self.lane_time(&mut tx, now).await?.since_ms(began);
            let job = Box::new(claimed_before(job, resolved, ask.fence, &record));
            let reserved_mono_ms = now.mono_ms.saturating_sub(age_ms);
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
        let mut candidates = [candidate(&job)];
        for candidate in &mut candidates {
            candidate.keys = draws.keys(&mut tx, &job.lane, &job.queue, &job.tenant).await?;
        }
        claim::reserve_expected(&draws, &job.lane, &mut candidates);
        let policy = FitPolicy { pass_ms_max: ask.pass_ms_max, claims_max: 1 };
        let plan = claim::plan(&mut draws, &candidates, policy);
        let ([candidate], Some(decision)) = (&candidates, plan.decisions.first()) else {
            return Err(StoreError::Bug("one candidate, and no decision on it".to_owned()));
        };
        let claimed = match decision {
            Decision::Claim { slots } => {
                admit::insert_unplaced(&mut tx, &job, now.wall_ms).await?;
                let slot = slots.first().map_or(0, |slot| slot.0);
                let taken = [(candidate, ask.fence, slot)];
                let jobs = claim::take(&mut tx, ask.lease, &taken, &draws, now.wall_ms).await?;
                let job = jobs.into_iter().next();
                let job =
                    job.ok_or_else(|| StoreError::Bug("claimed, and not there".to_owned()))?;
                ClaimedNew::Running { job: Box::new(job), reserved_mono_ms: now.mono_ms }
            }
            Decision::NeverFits { .. } => {
                let reason = claim::never_fits(&draws, decision).unwrap_or_default();
                return Ok(ClaimedNew::NeverFits(reason));
            }
            Decision::Wait { fits_in_ms, .. } => {
                let waiting = claim::waiting(&draws, &plan);
                let waiting =
                    waiting.ok_or_else(|| StoreError::Bug("it waits for nothing".to_owned()))?;
                let waits = ClaimedNew::Waits { fits_in_ms: *fits_in_ms, waiting };
                if !ask.waits {
                    return Ok(waits);
                }
                waits
            }
        };
        draws.save(&mut tx).await?;
        tx.commit().await?;
        Ok(claimed)
    }
}

/// A document that cannot be called has no business here: its caller is told, not its row.
fn resolved(job: &NewJob) -> StoreResult<Resolved> {
    match &job.resolved {
        Ok(resolved) => Ok(resolved.clone()),
        Err(reason) => Err(StoreError::Bug(format!("a rejected job was to be claimed: {reason}"))),
    }
}

/// The same job under the same fence, from an earlier try whose answer was lost on the way.
async fn found_again(tx: &mut Tx, job: &NewJob, fence: Uuid) -> StoreResult<Option<Record>> {
    let key = AttemptKey { job_id: job.job_id, number: 1, fence };
    let record = records(tx, &[key]).await?.remove(&fence);
    Ok(record.filter(|record| record.current && record.is_open()))
}

fn candidate(job: &NewJob) -> Candidate {
    Candidate {
        id: job.job_id,
        external_id: job.external_id.clone(),
        tenant: job.tenant.clone(),
        queue: job.queue.clone(),
        place: 0.0,
        calls: 0,
        counters: Counters::default(),
        max_attempts: job.max_attempts,
        deadline_at: job.deadline_at,
        reservation: claim::reservation(job.wanted),
        wanted: job.wanted,
        hold: job.hold,
        keys: Vec::new(),
    }
}

fn claimed_before(job: NewJob, resolved: Resolved, fence: Uuid, record: &Record) -> ClaimedJob {
    let NewJob { job_id, external_id, document, max_attempts, deadline_at, tenant, .. } = job;
    let wanted: Wanted = job.wanted;
    ClaimedJob {
        job_id,
        external_id,
        number: 1,
        fence,
        document,
        resolved,
        reask: None,
        counters: Counters::default(),
        max_attempts,
        deadline_at,
        tenant,
        queue: job.queue,
        reserved_tokens: record.reserved_tokens,
        wanted,
        hold: job.hold,
    }
}
