//! Retention on SQLite: content, and later whole jobs, whose time is over.
//! Must not know: how long anything is kept (`shared::retaining` reads that).

use async_trait::async_trait;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::{SqliteStore, Tx, bulk};
use crate::store::shared::retaining::{self, Choice, Looked, Progress};
use crate::store::{
    EraseAsk, Erasure, KeepStore, RetainAsk, Retained, RetentionStage, StoreError, StoreResult,
};

#[async_trait]
impl KeepStore for SqliteStore {
    async fn retain(&self, ask: &RetainAsk) -> StoreResult<Retained> {
        let now = self.clock.now().wall_ms;
        if let Some(after) = ask.look_after {
            let choice = self.choose(ask, now, after).await?;
            return Ok(choice.retained(choice.jobs.len()));
        }
        self.retain_step(ask, now).await
    }

    async fn erase(&self, ask: &EraseAsk) -> StoreResult<Erasure> {
        self.erase_step(ask).await
    }

    async fn erasures(&self) -> StoreResult<Vec<Erasure>> {
        self.read_erasures().await
    }
}

impl SqliteStore {
    async fn retain_step(&self, ask: &RetainAsk, now: i64) -> StoreResult<Retained> {
        let stage = ask.stage.as_str();
        let policy = serde_json::to_string(&ask.policy)?;
        // What goes is looked for without the write lock: reading what stays must not hold up
        // those who write.
        let was = progress(&mut *self.reader.acquire().await?, stage).await?;
        let begins = was.clone().resumed(policy, now);
        let choice = self.choose(ask, now, begins.after).await?;
        let is = Progress { after: choice.after, ..begins };
        if is == was && choice.jobs.is_empty() {
            return Ok(choice.retained(0));
        }
        let mut tx = self.begin().await?;
        if progress(&mut tx, stage).await? != was {
            tx.rollback().await?;
            return Ok(Retained { busy: true, ..Retained::default() });
        }
        let jobs = still_ended(&mut tx, &choice).await?;
        match ask.stage {
            RetentionStage::Bodies => {
                mark(&mut tx, &jobs, now, "retention").await?;
                delete_texts(&mut tx, &jobs).await?;
            }
            RetentionStage::Jobs => delete_jobs(&mut tx, &jobs, choice.ended_by).await?,
        }
        let Progress { after, policy, restarted_at } = is;
        sqlx::query_file!(
            "src/store/sqlite/retention_write.sql",
            stage,
            after,
            policy,
            restarted_at
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(choice.retained(jobs.len()))
    }

    async fn choose(&self, ask: &RetainAsk, now: i64, after: i64) -> StoreResult<Choice> {
        let looks_max = retaining::looks_max(ask.rows_max);
        let rows = sqlx::query_file!("src/store/sqlite/retention_window.sql", after, looks_max)
            .fetch_all(&self.reader)
            .await?;
        let looked = rows.into_iter().map(|row| Looked {
            seq: row.seq,
            job_id: row.job_id.into_uuid(),
            ended_at: row.ended_at,
            queue: row.queue,
            tenant: row.tenant,
            gone: row.gone,
            awaited: row.awaited,
        });
        let looked: Vec<Looked> = looked.collect();
        Ok(retaining::choose(&ask.policy, (ask.stage, ask.rows_max), now, after, &looked))
    }
}

async fn progress(connection: &mut sqlx::SqliteConnection, stage: &str) -> StoreResult<Progress> {
    let row = sqlx::query_file!("src/store/sqlite/retention_read.sql", stage)
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| StoreError::Bug(format!("retention has no stage {stage}")))?;
    Ok(Progress { after: row.after_seq, policy: row.policy, restarted_at: row.restarted_at })
}

/// Those of them that nobody has put back since they were looked at.
async fn still_ended(tx: &mut Tx, choice: &Choice) -> StoreResult<Vec<Uuid>> {
    let ids = id_list(&choice.jobs)?;
    let rows = sqlx::query_file!("src/store/sqlite/retention_ended.sql", ids, choice.ended_by)
        .fetch_all(&mut **tx)
        .await?;
    Ok(rows.into_iter().map(|row| row.id.into_uuid()).collect())
}

pub(super) fn id_list(ids: &[Uuid]) -> StoreResult<String> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    bulk::list(&ids)
}

/// Notes on jobs that their content goes.
pub(super) async fn mark(tx: &mut Tx, jobs: &[Uuid], now: i64, by: &str) -> StoreResult<()> {
    let ids = id_list(jobs)?;
    sqlx::query_file!("src/store/sqlite/bodies_mark.sql", ids, now, by).execute(&mut **tx).await?;
    Ok(())
}

/// Deletes what was said to these jobs and by them; returns of how many calls.
pub(super) async fn delete_texts(tx: &mut Tx, jobs: &[Uuid]) -> StoreResult<u64> {
    let ids = id_list(jobs)?;
    sqlx::query_file!("src/store/sqlite/bodies_spec.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/bodies_result.sql", ids).execute(&mut **tx).await?;
    let bodies =
        sqlx::query_file!("src/store/sqlite/bodies_attempt.sql", ids).execute(&mut **tx).await?;
    Ok(bodies.rows_affected())
}

async fn delete_jobs(tx: &mut Tx, jobs: &[Uuid], ended_by: i64) -> StoreResult<()> {
    let ids = id_list(jobs)?;
    sqlx::query_file!("src/store/sqlite/spent_add.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/bodies_attempt.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/drop_attempt.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/drop_spec.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/drop_result.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/delivery_drop.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/drop_batch_line.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/drop_job.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/drop_batch.sql", ended_by).execute(&mut **tx).await?;
    Ok(())
}
