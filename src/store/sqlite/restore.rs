//! Attempts that a store has lost, brought back by the worker that makes their calls. A file that is
//! synced loses none: this is what the port promises, and what a file put back from a copy needs.
//! Must not know: what is decided of them (`shared::restoring` does), or who noticed the loss.

use std::collections::HashMap;

use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::draws::{self, Draws};
use super::{SqliteStore, Tx, bulk};
use crate::job::{State, Wanted};
use crate::store::shared::restoring::{self, Kept, Lost, Standing};
use crate::store::{LostAttempt, Restored, StoreResult};

#[derive(Serialize)]
struct LostRow {
    id: String,
    number: u32,
    fence: String,
    started_at: i64,
    slot: u64,
    keys: String,
    reserved_tokens: u64,
}

#[derive(Serialize)]
struct KeptRow {
    id: String,
    calls: u32,
    /// As SQLite's JSON functions read it, like the next but one.
    runs: u8,
    fence: Option<String>,
    capped: u8,
}

impl SqliteStore {
    pub(super) async fn restore_attempts(
        &self,
        lease: Uuid,
        attempts: &[LostAttempt],
    ) -> StoreResult<Vec<Restored>> {
        let mut tx = self.begin().await?;
        let (mut jobs, leased) = standing(&mut tx, lease, attempts).await?;
        let mut draws = Draws::open(self, &mut tx).await?;
        let rules = draws::rules(&mut *tx).await?;
        let lease = leased.then_some(lease);
        let mut judged = restoring::judge(attempts, &mut jobs, lease, (&rules, &draws.queues));
        if judged.is_empty() {
            return Ok(judged.answers);
        }
        for name in judged.names() {
            draws.key(&mut tx, &name).await?;
        }
        judged.charge(&mut draws.keyed, draws.now);
        insert(&mut tx, &judged.lost, lease, self.clock.now().wall_ms).await?;
        move_on(&mut tx, &judged.kept, lease).await?;
        draws.save(&mut tx).await?;
        tx.commit().await?;
        Ok(judged.answers)
    }
}

async fn standing(
    tx: &mut Tx,
    lease: Uuid,
    attempts: &[LostAttempt],
) -> StoreResult<(HashMap<Uuid, Standing>, bool)> {
    let ids: Vec<String> = attempts.iter().map(|attempt| attempt.key.job_id.to_string()).collect();
    let (ids, lease) = (bulk::list(&ids)?, lease.to_string());
    let rows = sqlx::query_file!("src/store/sqlite/restore_jobs.sql", ids, lease)
        .fetch_all(&mut **tx)
        .await?;
    let leased = rows.first().is_some_and(|row| row.leased);
    let standing = rows.into_iter().map(|row| {
        let wanted = Wanted {
            input_tokens_max: bulk::uint(row.input_tokens_max),
            max_tokens: bulk::uint(row.max_tokens),
            burndown: bulk::uint(row.burndown),
        };
        let standing = Standing {
            lane: row.lane,
            queue: row.queue,
            tenant: row.tenant,
            state: State::from_name(&row.state),
            fence: row.fence.map(Hyphenated::into_uuid),
            lease: row.lease_id.map(Hyphenated::into_uuid),
            calls: bulk::small(row.calls),
            wanted,
            attempts: Vec::new(),
        };
        (row.id.into_uuid(), standing)
    });
    let mut jobs: HashMap<Uuid, Standing> = standing.collect();
    let known = sqlx::query_file!("src/store/sqlite/restore_known.sql", ids).fetch_all(&mut **tx);
    for row in known.await? {
        if let Some(job) = jobs.get_mut(&row.job_id.into_uuid()) {
            job.attempts.push((bulk::small(row.number), row.fence.into_uuid()));
        }
    }
    Ok((jobs, leased))
}

async fn insert(tx: &mut Tx, lost: &[Lost], lease: Option<Uuid>, now: i64) -> StoreResult<()> {
    let mut rows = Vec::with_capacity(lost.len());
    for lost in lost {
        rows.push(LostRow {
            id: lost.key.job_id.to_string(),
            number: lost.key.number,
            fence: lost.key.fence.to_string(),
            started_at: now.saturating_sub(bulk::int(lost.age_ms)),
            slot: lost.slot.0,
            keys: bulk::list(&lost.keys)?,
            reserved_tokens: lost.reservation.tokens,
        });
    }
    let (rows, lease) = (bulk::list(&rows)?, lease.unwrap_or_default().to_string());
    sqlx::query_file!("src/store/sqlite/restore_attempt.sql", rows, lease)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn move_on(tx: &mut Tx, kept: &[Kept], lease: Option<Uuid>) -> StoreResult<()> {
    let row = |job: &Kept| KeptRow {
        id: job.id.to_string(),
        calls: job.calls,
        runs: u8::from(job.runs.is_some()),
        fence: job.runs.map(|fence| fence.to_string()),
        capped: u8::from(job.capped),
    };
    let rows = bulk::list(&kept.iter().map(row).collect::<Vec<_>>())?;
    let lease = lease.unwrap_or_default().to_string();
    sqlx::query_file!("src/store/sqlite/restore_job.sql", rows, lease).execute(&mut **tx).await?;
    Ok(())
}
