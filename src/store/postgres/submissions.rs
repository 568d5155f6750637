//! What other programs have put into the store themselves: read, admitted and gone in one
//! transaction, each by one worker; claimed in the same one where nothing else waits.
//! Must not know: what a document says.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::PostgresStore;
use super::admit::{OVERTAKEN_MAX, admit_in};
use super::at_once::{self, Ground, Judged, Runs};
use super::draws;
use super::error::{Fault, Outcome};
use super::place;
use super::session::Tx;
use crate::store::shared::admission;
use crate::store::shared::candidates::{self, Candidate};
use crate::store::{ClaimSubmittedAsk, Claimed, NewJob, Submission};

impl PostgresStore {
    /// The oldest submissions: a look without a lock. Where there is none, lane time is kept, which
    /// the claim of one that comes next would else have to do.
    pub(super) async fn waiting_submissions(&self, rows_max: u32) -> Outcome<Vec<Submission>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/submission_read.sql", i64::from(rows_max))
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
        if rows.is_empty() {
            self.keep_lane_time_ahead().await?;
        }
        let submission = rows.into_iter().map(|row| Submission {
            // A row of the functions is there once: its producer cannot put it in again.
            identity: row.id.as_ref().map(|id| Submission::identity_of(id)),
            id: row.id.unwrap_or_else(|| row.job_id.to_string()),
            job_id: Some(row.job_id),
            document: row.document,
        });
        Ok(submission.collect())
    }

    /// Admits the jobs of those submissions that no other worker admits meanwhile; returns their
    /// keys.
    pub(super) async fn admit_submitted(
        &self,
        jobs: Vec<(String, NewJob)>,
    ) -> Outcome<Vec<String>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut overtaken = 0;
        loop {
            let mut tx = self.begin().await?;
            match self.admit_submitted_in(&mut tx, &jobs).await {
                Ok(taken) => {
                    tx.commit().await?;
                    return Ok(taken);
                }
                Err(Fault::Overtaken) if overtaken < OVERTAKEN_MAX => {
                    tx.rollback().await?;
                    overtaken += 1;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Admits the jobs of submissions to one lane and claims them; none where one of them cannot run
    /// now, and then nothing has happened.
    pub(super) async fn claim_submitted_now(
        &self,
        jobs: &[(String, NewJob)],
        ask: &ClaimSubmittedAsk,
    ) -> Outcome<Option<Claimed>> {
        let Some((_, first)) = jobs.first() else { return Ok(Some(Claimed::default())) };
        let may = |job: &NewJob| {
            job.lane == first.lane && job.resolved.is_ok() && job.batch.is_none() && !job.rerun
        };
        if jobs.len() > ask.fences.len() || !jobs.iter().all(|(_, job)| may(job)) {
            return Ok(None);
        }
        self.keep_lane_time().await?;
        let mut overtaken = 0;
        loop {
            let mut tx = self.begin_small().await?;
            match self.claim_submitted_in(&mut tx, jobs, ask).await {
                Ok(Some(claimed)) => {
                    tx.commit().await?;
                    return Ok(Some(claimed));
                }
                Ok(None) => {
                    tx.rollback().await?;
                    return Ok(None);
                }
                Err(Fault::Overtaken) if overtaken < OVERTAKEN_MAX => {
                    tx.rollback().await?;
                    overtaken += 1;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn claim_submitted_in(
        &self,
        tx: &mut Tx,
        jobs: &[(String, NewJob)],
        ask: &ClaimSubmittedAsk,
    ) -> Outcome<Option<Claimed>> {
        let names = self.keys_of(tx, jobs.iter().map(|(_, job)| job)).await?;
        let jobs = &*take_with_keys(tx, &names, jobs).await?;
        let Some(lane) = jobs.first().map(|job| job.lane.as_str()) else {
            return Ok(Some(Claimed::default()));
        };
        let mut ground = self.ground(tx, jobs, ask.lease, &names).await?;
        if ground.is_busy
            || !jobs.iter().all(|job| is_free(job, &ground))
            || !are_new(jobs, &ground)
        {
            return Ok(None);
        }
        let mut draws = ground.draws(self)?;
        let lane_key = format!("lane:{lane}");
        let stands = draws.index(&lane_key).and_then(|index| draws.places.get(index).copied());
        let (places, stands) = ground.places(jobs, stands.unwrap_or_default());
        let candidate = |(job, place)| Candidate { place, ..Candidate::of_new(job) };
        let mut candidates: Vec<Candidate> = jobs.iter().zip(places).map(candidate).collect();
        candidates.sort_by(|one, other| one.place.total_cmp(&other.place));
        let candidates = (lane, candidates);
        let judged =
            at_once::judge(tx, &ground.rules, &mut draws, candidates, ask.pass_ms_max).await?;
        let Some(Judged { candidates, plan }) = judged else { return Ok(None) };
        let sorted = candidates::sort(&draws.keyed, &candidates, &plan, &ask.fences);
        if sorted.taken.len() < jobs.len() {
            return Ok(None);
        }
        let runs = Runs { jobs, taken: &sorted.taken, lease: ask.lease, placed: true };
        draws.advance_place(&lane_key, stands);
        let claimed = at_once::write(self, tx, &runs, &draws).await?;
        Ok(Some(Claimed { jobs: claimed, reserved: Some(draws.read), ..Claimed::default() }))
    }

    async fn admit_submitted_in(
        &self,
        tx: &mut Tx,
        jobs: &[(String, NewJob)],
    ) -> Outcome<Vec<String>> {
        let (keys, now) = take(tx, jobs.iter().map(|(key, _)| key.as_str())).await?;
        let now = self.read_now(now);
        let mine = jobs.iter().filter(|(key, _)| keys.contains(key));
        let jobs: Vec<NewJob> = mine.map(|(_, job)| job.clone()).collect();
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (admitted, given) = admit_in(tx, &jobs, now).await?;
        let answered = jobs.iter().zip(&admitted);
        let refused: Vec<NewJob> =
            answered.filter_map(|(job, answer)| admission::refused(job, answer)).collect();
        if !refused.is_empty() {
            // They end at once and take no place.
            admit_in(tx, &refused, now).await?;
        }
        place::remember(tx, &given).await?;
        Ok(keys.into_iter().collect())
    }
}

/// Its time has come, and no pause holds it back.
fn is_free(job: &NewJob, ground: &Ground) -> bool {
    let halts = &ground.halts;
    job.run_at <= ground.now() && halts.out.is_none() && halts.of_job(&job.queue).is_none()
}

/// Nobody has their identities or dedupe keys, also not one of them another's.
fn are_new(jobs: &[NewJob], ground: &Ground) -> bool {
    let judged = admission::judge(jobs, HashMap::new(), HashMap::new());
    !ground.is_known && judged.fresh.len() == jobs.len()
}

/// Takes these rows out of the table, those that another worker is admitting left out, and the locks
/// of these keys where there are any.
pub(super) async fn take_with_keys(
    tx: &mut Tx,
    names: &BTreeSet<String>,
    jobs: &[(String, NewJob)],
) -> Outcome<Vec<NewJob>> {
    let locks: Vec<&String> = names.iter().collect();
    let keys: Vec<&str> = jobs.iter().map(|(key, _)| key.as_str()).collect();
    let ids: Vec<Uuid> = keys.iter().filter_map(|key| Uuid::try_parse(key).ok()).collect();
    let row =
        sqlx::query_file!("src/store/postgres/submission_take.sql", &locks as _, &keys as _, &ids)
            .fetch_one(tx.on())
            .await?;
    if !row.taken.is_empty() && usize::try_from(row.locked) != Ok(locks.len()) {
        // Some key was never drawn on before.
        draws::lock(tx, names).await?;
    }
    let mine = jobs.iter().filter(|(key, _)| row.taken.contains(key));
    Ok(mine.map(|(_, job)| job.clone()).collect())
}

/// Takes these rows out of the table, those that another worker is admitting left out. Also returns
/// the database's time.
async fn take(tx: &mut Tx, keys: impl Iterator<Item = &str>) -> Outcome<(HashSet<String>, i64)> {
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    let ids: Vec<Uuid> = keys.iter().filter_map(|key| Uuid::try_parse(key).ok()).collect();
    let rows = sqlx::query_file!("src/store/postgres/submission_delete.sql", &keys, &ids)
        .fetch_all(tx.on())
        .await?;
    let now = rows.first().map_or(0, |row| row.now);
    Ok((rows.into_iter().map(|row| row.key).collect(), now))
}
