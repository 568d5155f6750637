//! Attempts that a failover lost, brought back by the worker that makes their calls.
//! Must not know: what is decided of them (`shared::restoring` does), or who noticed the loss.

use std::collections::HashMap;

use uuid::Uuid;

use super::claim::KEY_SEPARATOR;
use super::draws::{self, Draws};
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk, sharing as shares};
use crate::job::{State, Wanted};
use crate::store::shared::restoring::{self, Kept, Lost, Standing};
use crate::store::{LostAttempt, Restored};

impl PostgresStore {
    pub(super) async fn restore_attempts(
        &self,
        lease: Uuid,
        attempts: &[LostAttempt],
    ) -> Outcome<Vec<Restored>> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        self.keep_lane_time().await?;
        let mut tx = self.begin().await?;
        let (mut jobs, leased) = standing(&mut tx, lease, attempts).await?;
        let rules = draws::rules(&mut tx).await?;
        let queues = shares::queues(&mut tx).await?;
        let lease = leased.then_some(lease);
        let mut judged = restoring::judge(attempts, &mut jobs, lease, (&rules, &queues));
        if judged.is_empty() {
            tx.rollback().await?;
            return Ok(judged.answers);
        }
        let names = judged.names();
        draws::lock(&mut tx, &names).await?;
        let mut draws = Draws::load(self, &mut tx, &names, &rules).await?;
        judged.charge(&mut draws.keyed, draws.now);
        insert(&mut tx, &judged.lost, lease, draws.read.wall_ms).await?;
        move_on(&mut tx, &judged.kept, lease).await?;
        draws.save(self, &mut tx).await?;
        tx.commit().await?;
        Ok(judged.answers)
    }
}

/// Locks the jobs of these attempts, then reads where they stand; and whether the lease is there.
async fn standing(
    tx: &mut Tx,
    lease: Uuid,
    attempts: &[LostAttempt],
) -> Outcome<(HashMap<Uuid, Standing>, bool)> {
    let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.key.job_id).collect();
    let rows = sqlx::query_file!("src/store/postgres/restore_jobs.sql", &ids, lease)
        .fetch_all(tx.on())
        .await?;
    let leased = rows.first().is_some_and(|row| row.leased);
    let standing = rows.into_iter().map(|row| {
        let wanted = Wanted {
            input_tokens_max: bulk::uint(row.input_tokens_max),
            max_tokens: bulk::uint(row.max_tokens),
            burndown: bulk::uint(i64::from(row.burndown)),
        };
        let standing = Standing {
            lane: row.lane,
            queue: row.queue,
            tenant: row.tenant,
            state: State::from_name(&row.state),
            fence: row.fence,
            lease: row.lease_id,
            calls: bulk::small(row.calls),
            wanted,
            attempts: Vec::new(),
        };
        (row.id, standing)
    });
    let mut jobs: HashMap<Uuid, Standing> = standing.collect();
    let known = sqlx::query_file!("src/store/postgres/restore_known.sql", &ids).fetch_all(tx.on());
    for row in known.await? {
        if let Some(job) = jobs.get_mut(&row.job_id) {
            job.attempts.push((bulk::small(row.number), row.fence));
        }
    }
    Ok((jobs, leased))
}

async fn insert(tx: &mut Tx, lost: &[Lost], lease: Option<Uuid>, now: i64) -> Outcome<()> {
    if lost.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = lost.iter().map(|lost| lost.key.job_id).collect();
    let numbers: Vec<i32> = lost.iter().map(|lost| bulk::small_int(lost.key.number)).collect();
    let fences: Vec<Uuid> = lost.iter().map(|lost| lost.key.fence).collect();
    let began = |lost: &Lost| bulk::instant(now.saturating_sub(bulk::int(lost.age_ms)));
    let began: Vec<i64> = lost.iter().map(began).collect();
    let slots: Vec<i64> = lost.iter().map(|lost| bulk::int(lost.slot.0)).collect();
    let keys: Vec<String> = lost.iter().map(|lost| lost.keys.join(KEY_SEPARATOR)).collect();
    let reserved: Vec<i64> = lost.iter().map(|lost| bulk::int(lost.reservation.tokens)).collect();
    sqlx::query_file!(
        "src/store/postgres/restore_attempt.sql",
        &ids,
        &numbers,
        &fences,
        &began,
        &slots,
        &keys,
        &reserved,
        lease.unwrap_or_default()
    )
    .execute(tx.on())
    .await?;
    Ok(())
}

async fn move_on(tx: &mut Tx, kept: &[Kept], lease: Option<Uuid>) -> Outcome<()> {
    let ids: Vec<Uuid> = kept.iter().map(|job| job.id).collect();
    let calls: Vec<i32> = kept.iter().map(|job| bulk::small_int(job.calls)).collect();
    let runs: Vec<bool> = kept.iter().map(|job| job.runs.is_some()).collect();
    let fences: Vec<Uuid> = kept.iter().map(|job| job.runs.unwrap_or_default()).collect();
    let capped: Vec<bool> = kept.iter().map(|job| job.capped).collect();
    sqlx::query_file!(
        "src/store/postgres/restore_job.sql",
        &ids,
        &calls,
        &runs,
        &fences,
        &capped,
        lease.unwrap_or_default()
    )
    .execute(tx.on())
    .await?;
    Ok(())
}
