//! Rooms 1 and 3 in one transaction on Postgres, for a caller that waits for its answer: the job is
//! admitted running, or nothing of it stays.
//! Must not know: how fitting is judged, or who waits.

use super::admit::{self, OVERTAKEN_MAX};
use super::at_once::{self, Judged, Runs};
use super::draws;
use super::error::{Fault, Outcome};
use super::session::Tx;
use super::{PostgresStore, finish};
use crate::budget::Decision;
use crate::store::shared::candidates::{self, Candidate};
use crate::store::shared::settling::Record;
use crate::store::shared::sharing;
use crate::store::{Admitted, AttemptKey, ClaimNewAsk, ClaimedNew, NewJob, StoreError};

/// What an ask came to, and whether the transaction holds something to keep.
struct Answer {
    claimed: ClaimedNew,
    keep: bool,
}

impl Answer {
    fn nothing(claimed: ClaimedNew) -> Self {
        Self { claimed, keep: false }
    }
}

impl PostgresStore {
    pub(super) async fn claim_new_job(
        &self,
        job: &NewJob,
        ask: &ClaimNewAsk,
    ) -> Outcome<ClaimedNew> {
        self.keep_lane_time().await?;
        let mut overtaken = 0;
        loop {
            let mut tx = self.begin_small().await?;
            match self.claim_new_in(&mut tx, job, ask).await {
                Ok(Answer { claimed, keep: true }) => {
                    tx.commit().await?;
                    return Ok(claimed);
                }
                Ok(Answer { claimed, keep: false }) => {
                    tx.rollback().await?;
                    return Ok(claimed);
                }
                // Somebody has just admitted the same: the next look finds it.
                Err(Fault::Overtaken) if overtaken < OVERTAKEN_MAX => {
                    tx.rollback().await?;
                    overtaken += 1;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn claim_new_in(&self, tx: &mut Tx, job: &NewJob, ask: &ClaimNewAsk) -> Outcome<Answer> {
        let resolved = candidates::resolved(job)?;
        if let Some(record) = found_again(tx, job, ask).await? {
            let now = self.now(tx).await?;
            let age_ms = self.lane_time(now).since_ms(record.claimed_at());
            let reserved = record.reserved_tokens;
            let claimed = candidates::claimed_before(job, resolved, ask.fence, reserved);
            let reserved_mono_ms = self.clock.now().mono_ms.saturating_sub(age_ms);
            let job = Box::new(claimed);
            return Ok(Answer::nothing(ClaimedNew::Running { job, reserved_mono_ms }));
        }
        // Budgets first: whoever holds an identity never waits for a budget that it has not got.
        let jobs = std::slice::from_ref(job);
        let names = self.keys_of(tx, jobs.iter()).await?;
        draws::lock(tx, &names).await?;
        let mut ground = self.ground(tx, jobs, ask.lease, &names).await?;
        if let Some((for_ms, reason)) = ground.halts.out.take() {
            return Ok(Answer::nothing(ClaimedNew::Paused { for_ms, reason }));
        }
        if let Some(pause) = ground.halts.of_job(&job.queue) {
            return Ok(Answer::nothing(ClaimedNew::PausedBy(pause.clone())));
        }
        if ground.is_known {
            match admit::judge_alone(tx, job).await? {
                Admitted::New(_) => {}
                known => return Ok(Answer::nothing(ClaimedNew::Known(known))),
            }
        }
        let mut draws = ground.draws(self)?;
        let candidates = (job.lane.as_str(), vec![Candidate::of_new(job)]);
        let judged =
            at_once::judge(tx, &ground.rules, &mut draws, candidates, ask.pass_ms_max).await?;
        let Some(Judged { candidates, plan }) = judged else {
            return Ok(Answer::nothing(sharing::queue_is_full(&job.queue)));
        };
        let sorted = candidates::sort(&draws.keyed, &candidates, &plan, &[ask.fence]);
        if !sorted.taken.is_empty() {
            let reserved_mono_ms = draws.read.mono_ms;
            let runs = Runs { jobs, taken: &sorted.taken, lease: ask.lease, placed: false };
            let jobs = at_once::write(self, tx, &runs, &draws).await?;
            let claimed = jobs.into_iter().next().ok_or_else(|| bug("claimed, and not there"))?;
            let job = Box::new(claimed);
            let claimed = ClaimedNew::Running { job, reserved_mono_ms };
            return Ok(Answer { claimed, keep: true });
        }
        if let Some((_, _, reason)) = sorted.never.into_iter().next() {
            return Ok(Answer::nothing(ClaimedNew::NeverFits(reason)));
        }
        let (Some(Decision::Wait { fits_in_ms, .. }), Some(waiting)) =
            (plan.decisions.first(), sorted.waiting)
        else {
            return Err(bug("one candidate, and no decision on it"));
        };
        let claimed = ClaimedNew::Waits { fits_in_ms: *fits_in_ms, waiting };
        if ask.waits {
            // That it waits is kept, so that it is not passed for ever.
            draws.save(self, tx).await?;
        }
        Ok(Answer { claimed, keep: ask.waits })
    }
}

fn bug(words: &str) -> Fault {
    Fault::Store(StoreError::Bug(words.to_owned()))
}

/// The same job under the same fence, from an earlier try whose answer was lost on the way.
async fn found_again(tx: &mut Tx, job: &NewJob, ask: &ClaimNewAsk) -> Outcome<Option<Record>> {
    let key = AttemptKey { job_id: job.job_id, number: 1, fence: ask.fence };
    let record = finish::records(tx, &[key]).await?.records.remove(&ask.fence);
    Ok(record.filter(|record| record.current && record.is_open()))
}
