//! Messages on SQLite that are deleted only when their jobs have ended.
//! Must not know: what receives or deletes them.

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::{SqliteStore, bulk};
use crate::store::shared::delivering;
use crate::store::{HeldMessage, IntakeStore, StoreResult};

#[derive(Serialize)]
struct NewRow<'a> {
    queue: &'a str,
    message_id: &'a str,
    receipt: &'a str,
    job_id: Uuid,
    received_at: i64,
}

/// A held message of a known queue, as the table spells it.
struct HeldRow {
    message_id: String,
    receipt: String,
    job_id: Hyphenated,
    received_at: i64,
}

impl HeldRow {
    fn of(self, queue: &str) -> HeldMessage {
        HeldMessage {
            queue: queue.to_owned(),
            message_id: self.message_id,
            receipt: self.receipt,
            job_id: self.job_id.into_uuid(),
            received_at: self.received_at,
        }
    }
}

#[async_trait]
impl IntakeStore for SqliteStore {
    async fn hold_messages(&self, messages: &[HeldMessage]) -> StoreResult<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let rows: Vec<NewRow<'_>> = delivering::latest(messages)
            .into_iter()
            .map(|message| NewRow {
                queue: &message.queue,
                message_id: &message.message_id,
                receipt: &message.receipt,
                job_id: message.job_id,
                received_at: message.received_at,
            })
            .collect();
        let rows = bulk::list(&rows)?;
        sqlx::query_file!("src/store/sqlite/intake_hold.sql", rows).execute(&self.writer).await?;
        Ok(())
    }

    async fn held_messages(
        &self,
        queue: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> StoreResult<Vec<HeldMessage>> {
        let after = after.unwrap_or_default();
        let rows = sqlx::query_file_as!(
            HeldRow,
            "src/store/sqlite/intake_held.sql",
            queue,
            after,
            rows_max
        )
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(|row| row.of(queue)).collect())
    }

    async fn answered_messages(&self, queue: &str, rows_max: u32) -> StoreResult<Vec<HeldMessage>> {
        let rows =
            sqlx::query_file_as!(HeldRow, "src/store/sqlite/intake_answered.sql", queue, rows_max)
                .fetch_all(&self.reader)
                .await?;
        Ok(rows.into_iter().map(|row| row.of(queue)).collect())
    }

    async fn waiting(&self, jobs_max: u32) -> StoreResult<u32> {
        let waiting = sqlx::query_file_scalar!("src/store/sqlite/intake_waiting.sql", jobs_max)
            .fetch_one(&self.reader)
            .await?;
        Ok(u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    async fn forget_messages(&self, queue: &str, gone: &[(String, String)]) -> StoreResult<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let gone = bulk::list(gone)?;
        sqlx::query_file!("src/store/sqlite/intake_forget.sql", queue, gone)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
