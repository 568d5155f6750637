//! Retention on Postgres: content, and later whole jobs, whose time is over.
//! Must not know: how long anything is kept (`shared::retaining` reads that).

use async_trait::async_trait;
use uuid::Uuid;

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk, end};
use crate::store::shared::retaining::{self, Choice, Looked, Progress};
use crate::store::{
    EraseAsk, Erasure, KeepStore, RetainAsk, Retained, RetentionStage, StoreResult,
};

#[async_trait]
impl KeepStore for PostgresStore {
    async fn retain(&self, ask: &RetainAsk) -> StoreResult<Retained> {
        self.within(self.retain_step(ask)).await
    }

    async fn erase(&self, ask: &EraseAsk) -> StoreResult<Erasure> {
        self.within(self.erase_step(ask)).await
    }

    async fn erasures(&self) -> StoreResult<Vec<Erasure>> {
        self.within(self.read_erasures()).await
    }
}

impl PostgresStore {
    async fn retain_step(&self, ask: &RetainAsk) -> Outcome<Retained> {
        if let Some(after) = ask.look_after {
            let mut tx = self.look().await?;
            let now = self.now(&mut tx).await?;
            let choice = choose(&mut tx, ask, now, after).await?;
            tx.commit().await?;
            return Ok(choice.retained(choice.jobs.len()));
        }
        let stage = ask.stage.as_str();
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let row = sqlx::query_file!("src/store/postgres/retention_read.sql", stage)
            .fetch_optional(tx.on())
            .await?;
        let Some(row) = row else {
            tx.rollback().await?;
            return Ok(Retained { busy: true, ..Retained::default() });
        };
        let was =
            Progress { after: row.after_seq, policy: row.policy, restarted_at: row.restarted_at };
        let begins = was.clone().resumed(serde_json::to_string(&ask.policy)?, now);
        let choice = choose(&mut tx, ask, now, begins.after).await?;
        let gone = match ask.stage {
            RetentionStage::Bodies => delete_bodies(&mut tx, &choice, now).await?,
            RetentionStage::Jobs => delete_jobs(&mut tx, &choice, now).await?,
        };
        let is = Progress { after: choice.after, ..begins };
        if is != was {
            let Progress { after, policy, restarted_at } = is;
            sqlx::query_file!(
                "src/store/postgres/retention_write.sql",
                stage,
                after,
                policy,
                bulk::instant(restarted_at)
            )
            .execute(tx.on())
            .await?;
        }
        tx.commit().await?;
        Ok(choice.retained(gone))
    }
}

async fn choose(tx: &mut Tx, ask: &RetainAsk, now: i64, after: i64) -> Outcome<Choice> {
    let looks_max = retaining::looks_max(ask.rows_max);
    let rows = sqlx::query_file!("src/store/postgres/retention_window.sql", after, looks_max)
        .fetch_all(tx.on())
        .await?;
    let looked = rows.into_iter().map(|row| Looked {
        seq: row.seq,
        job_id: row.job_id,
        ended_at: row.ended_at,
        queue: row.queue,
        tenant: row.tenant,
        gone: row.gone,
        awaited: row.awaited,
    });
    let looked: Vec<Looked> = looked.collect();
    Ok(retaining::choose(&ask.policy, (ask.stage, ask.rows_max), now, after, &looked))
}

async fn delete_bodies(tx: &mut Tx, choice: &Choice, now: i64) -> Outcome<usize> {
    if choice.jobs.is_empty() {
        return Ok(0);
    }
    end::lock_jobs(tx, choice.jobs.iter().copied()).await?;
    let gone = mark(tx, &choice.jobs, (now, choice.ended_by), "retention").await?;
    delete_texts(tx, &gone).await?;
    Ok(gone.len())
}

/// Notes on jobs, whose locks are held, that their content goes; returns those that ended by then.
pub(super) async fn mark(
    tx: &mut Tx,
    jobs: &[Uuid],
    (now, ended_by): (i64, i64),
    by: &str,
) -> Outcome<Vec<Uuid>> {
    let rows = sqlx::query_file!(
        "src/store/postgres/bodies_mark.sql",
        jobs,
        bulk::instant(now),
        by,
        bulk::instant(ended_by)
    )
    .fetch_all(tx.on())
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Deletes what was said to these jobs and by them; returns of how many calls.
pub(super) async fn delete_texts(tx: &mut Tx, jobs: &[Uuid]) -> Outcome<u64> {
    sqlx::query_file!("src/store/postgres/bodies_spec.sql", jobs).execute(tx.on()).await?;
    let bodies = sqlx::query_file!("src/store/postgres/bodies_attempt.sql", jobs)
        .execute(tx.on())
        .await?
        .rows_affected();
    sqlx::query_file!("src/store/postgres/bodies_result.sql", jobs).execute(tx.on()).await?;
    Ok(bodies)
}

async fn delete_jobs(tx: &mut Tx, choice: &Choice, now: i64) -> Outcome<usize> {
    if !choice.more && choice.jobs.is_empty() {
        let at = bulk::instant(choice.ended_by);
        sqlx::query_file!("src/store/postgres/drop_batch.sql", at).execute(tx.on()).await?;
    }
    if choice.jobs.is_empty() {
        return Ok(0);
    }
    end::lock_jobs(tx, choice.jobs.iter().copied()).await?;
    // Those that were put back meanwhile stay.
    let gone = mark(tx, &choice.jobs, (now, choice.ended_by), "retention").await?;
    sqlx::query_file!("src/store/postgres/spent_add.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/bodies_attempt.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/drop_attempt.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/drop_spec.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/delivery_drop.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/drop_batch_line.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/drop_result.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/drop_job.sql", &gone).execute(tx.on()).await?;
    Ok(gone.len())
}
