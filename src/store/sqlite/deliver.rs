//! Room 7 on SQLite: results that wait to be sent, and what became of them.
//! Must not know: what a queue is made of, or how often one tries.

use std::collections::HashMap;

use async_trait::async_trait;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::retention::id_list;
use super::{SqliteStore, bulk};
use crate::store::shared::delivering;
use crate::store::{
    DeliverStore, DeliveryFilter, DeliveryRow, DeliveryState, DueDelivery, Reply, StoreResult,
    Tried,
};

#[async_trait]
impl DeliverStore for SqliteStore {
    async fn take_deliveries(&self, rows_max: u32, hold_ms: u64) -> StoreResult<Vec<DueDelivery>> {
        // Look first without the write lock: an idle store is only read.
        let look =
            sqlx::query_file!("src/store/sqlite/delivery_look.sql").fetch_one(&self.reader).await?;
        if look.next_at.is_none_or(|at| at > self.clock.now().wall_ms) {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let rows = sqlx::query_file!("src/store/sqlite/delivery_take.sql", now, rows_max)
            .fetch_all(&mut *tx)
            .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.job_id.into_uuid()).collect();
        let (list, until) = (id_list(&ids)?, now.saturating_add_unsigned(hold_ms));
        sqlx::query_file!("src/store/sqlite/delivery_mark.sql", list, until)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        // Nobody waits for the write lock while results are read.
        let results = self.results_of(&ids).await?;
        let mut results: HashMap<Uuid, _> =
            results.into_iter().map(|result| (result.job_id, result)).collect();
        let due = rows.into_iter().filter_map(|row| {
            Some(DueDelivery {
                result: results.remove(&row.job_id.into_uuid())?,
                reply: Reply { to: row.reply_to, trace: row.trace },
                tries: bulk::small(row.tries),
                since: row.since,
                tenant: row.tenant,
            })
        });
        Ok(due.collect())
    }

    async fn settle_deliveries(&self, tried: &[Tried]) -> StoreResult<()> {
        if tried.is_empty() {
            return Ok(());
        }
        let now = self.clock.now().wall_ms;
        let rows = bulk::list(&delivering::settled(tried, now))?;
        sqlx::query_file!("src/store/sqlite/delivery_settle.sql", rows, now)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<DeliveryRow>> {
        let state = filter.state.map(DeliveryState::as_str);
        let job = filter.job_id.map(|job| job.to_string());
        let rows_max = Self::page(filter.rows_max);
        let rows = sqlx::query_file!(
            "src/store/sqlite/delivery_list.sql",
            state,
            filter.to,
            job,
            filter.before,
            rows_max
        )
        .fetch_all(&self.reader)
        .await?;
        let rows = rows.into_iter().map(|row| DeliveryRow {
            seq: row.seq,
            job_id: row.job_id.into_uuid(),
            external_id: row.external_id,
            tenant: row.tenant,
            to: row.reply_to,
            state: DeliveryState::from_name(&row.state).unwrap_or(DeliveryState::Undeliverable),
            tries: bulk::small(row.tries),
            due_at: row.due_at,
            error: row.error,
            created_at: row.created_at,
            ended_at: row.ended_at,
        });
        Ok(rows.collect())
    }

    async fn redeliver(&self, filter: &DeliveryFilter) -> StoreResult<u64> {
        if filter.state.is_some_and(|state| state != DeliveryState::Undeliverable) {
            return Ok(0);
        }
        let now = self.clock.now().wall_ms;
        let job = filter.job_id.map(|job| job.to_string());
        let rows_max = Self::page(filter.rows_max);
        let again = sqlx::query_file!(
            "src/store/sqlite/delivery_again.sql",
            now,
            filter.to,
            job,
            filter.before,
            rows_max
        )
        .execute(&self.writer)
        .await?;
        Ok(again.rows_affected())
    }
}
