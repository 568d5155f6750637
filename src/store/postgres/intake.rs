//! Messages on Postgres that are deleted only when their jobs have ended.
//! Must not know: what receives or deletes them.

use async_trait::async_trait;
use uuid::Uuid;

use super::error::Outcome;
use super::{PostgresStore, bulk};
use crate::store::shared::delivering;
use crate::store::{HeldMessage, IntakeStore, StoreResult};

#[async_trait]
impl IntakeStore for PostgresStore {
    async fn hold_messages(&self, messages: &[HeldMessage]) -> StoreResult<()> {
        self.within(self.write_held(messages)).await
    }

    async fn held_messages(
        &self,
        queue: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> StoreResult<Vec<HeldMessage>> {
        self.within(self.read_held(queue, after.unwrap_or_default(), rows_max)).await
    }

    async fn answered_messages(&self, queue: &str, rows_max: u32) -> StoreResult<Vec<HeldMessage>> {
        self.within(self.read_answered(queue, rows_max)).await
    }

    async fn waiting(&self, jobs_max: u32) -> StoreResult<u32> {
        self.within(self.count_waiting(jobs_max)).await
    }

    async fn forget_messages(&self, queue: &str, gone: &[(String, String)]) -> StoreResult<()> {
        self.within(self.forget_held(queue, gone)).await
    }
}

/// A held message of a known queue, as the table spells it.
struct HeldRow {
    message_id: String,
    receipt: String,
    job_id: Uuid,
    received_at: i64,
}

impl HeldRow {
    fn of(self, queue: &str) -> HeldMessage {
        HeldMessage {
            queue: queue.to_owned(),
            message_id: self.message_id,
            receipt: self.receipt,
            job_id: self.job_id,
            received_at: self.received_at,
        }
    }
}

impl PostgresStore {
    async fn write_held(&self, messages: &[HeldMessage]) -> Outcome<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let rows = delivering::latest(messages);
        let queues: Vec<&str> = rows.iter().map(|row| row.queue.as_str()).collect();
        let ids: Vec<&str> = rows.iter().map(|row| row.message_id.as_str()).collect();
        let receipts: Vec<&str> = rows.iter().map(|row| row.receipt.as_str()).collect();
        let jobs: Vec<Uuid> = rows.iter().map(|row| row.job_id).collect();
        let received: Vec<i64> = rows.iter().map(|row| bulk::instant(row.received_at)).collect();
        let mut tx = self.begin().await?;
        sqlx::query_file!(
            "src/store/postgres/intake_hold.sql",
            &queues as _,
            &ids as _,
            &receipts as _,
            &jobs,
            &received
        )
        .execute(tx.on())
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn read_held(
        &self,
        queue: &str,
        after: &str,
        rows_max: u32,
    ) -> Outcome<Vec<HeldMessage>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file_as!(
            HeldRow,
            "src/store/postgres/intake_held.sql",
            queue,
            after,
            i64::from(rows_max)
        )
        .fetch_all(tx.on())
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(|row| row.of(queue)).collect())
    }

    async fn read_answered(&self, queue: &str, rows_max: u32) -> Outcome<Vec<HeldMessage>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file_as!(
            HeldRow,
            "src/store/postgres/intake_answered.sql",
            queue,
            i64::from(rows_max)
        )
        .fetch_all(tx.on())
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(|row| row.of(queue)).collect())
    }

    async fn count_waiting(&self, jobs_max: u32) -> Outcome<u32> {
        let mut tx = self.look().await?;
        let waiting =
            sqlx::query_file_scalar!("src/store/postgres/intake_waiting.sql", i64::from(jobs_max))
                .fetch_one(tx.on())
                .await?;
        tx.commit().await?;
        Ok(u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    async fn forget_held(&self, queue: &str, gone: &[(String, String)]) -> Outcome<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let (ids, receipts): (Vec<String>, Vec<String>) = gone.iter().cloned().unzip();
        let mut tx = self.begin().await?;
        sqlx::query_file!("src/store/postgres/intake_forget.sql", queue, &ids, &receipts)
            .execute(tx.on())
            .await?;
        tx.commit().await?;
        Ok(())
    }
}
