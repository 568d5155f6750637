//! Room 7 on Postgres: results that wait to be sent, and what became of them.
//! Must not know: what a queue is made of, or how often one tries.

use std::borrow::Cow;
use std::collections::HashMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::error::Outcome;
use super::{PostgresStore, bulk, read};
use crate::store::shared::delivering;
use crate::store::{
    DeliverStore, DeliveryFilter, DeliveryRow, DeliveryState, DueDelivery, Reply, StoreResult,
    Tried,
};

#[async_trait]
impl DeliverStore for PostgresStore {
    async fn take_deliveries(&self, rows_max: u32, hold_ms: u64) -> StoreResult<Vec<DueDelivery>> {
        self.within(self.take_due(rows_max, hold_ms)).await
    }

    async fn settle_deliveries(&self, tried: &[Tried]) -> StoreResult<()> {
        self.within(self.settle_tried(tried)).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<DeliveryRow>> {
        self.within(self.read_deliveries(filter)).await
    }

    async fn redeliver(&self, filter: &DeliveryFilter) -> StoreResult<u64> {
        self.within(self.make_due_again(filter)).await
    }
}

impl PostgresStore {
    async fn take_due(&self, rows_max: u32, hold_ms: u64) -> Outcome<Vec<DueDelivery>> {
        // Look first without a lock: an idle store is only read.
        let mut tx = self.look().await?;
        let look =
            sqlx::query_file!("src/store/postgres/delivery_look.sql").fetch_one(tx.on()).await?;
        tx.commit().await?;
        if look.next_at.is_none_or(|at| at > self.read_now(look.now)) {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let rows = sqlx::query_file!(
            "src/store/postgres/delivery_take.sql",
            bulk::instant(now),
            i64::from(rows_max)
        )
        .fetch_all(tx.on())
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.job_id).collect();
        let until = bulk::instant(now.saturating_add_unsigned(hold_ms));
        sqlx::query_file!("src/store/postgres/delivery_mark.sql", &ids, until)
            .execute(tx.on())
            .await?;
        let results = read::results_of(&mut tx, &ids).await?;
        // Nothing is locked while it is sent.
        tx.commit().await?;
        let mut results: HashMap<Uuid, _> =
            results.into_iter().map(|result| (result.job_id, result)).collect();
        let due = rows.into_iter().filter_map(|row| {
            Some(DueDelivery {
                result: results.remove(&row.job_id)?,
                reply: Reply { to: row.reply_to, trace: row.trace },
                tries: bulk::small(row.tries),
                since: row.since,
                tenant: row.tenant,
            })
        });
        Ok(due.collect())
    }

    async fn settle_tried(&self, sent: &[Tried]) -> Outcome<()> {
        if sent.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let settled = delivering::settled(sent, now);
        let ids: Vec<Uuid> = settled.iter().map(|row| row.job_id).collect();
        let seqs: Vec<i64> = settled.iter().map(|row| row.seq).collect();
        let states: Vec<&str> = settled.iter().map(|row| row.state).collect();
        let tries: Vec<i32> = settled.iter().map(|row| row.tries).collect();
        let next: Vec<Option<i64>> =
            settled.iter().map(|row| row.next_at.map(bulk::instant)).collect();
        let errors: Vec<Option<Cow<'_, str>>> = settled.into_iter().map(|row| row.error).collect();
        sqlx::query_file!(
            "src/store/postgres/delivery_settle.sql",
            &ids,
            &states as _,
            &next as _,
            &errors as _,
            bulk::instant(now),
            &tries,
            &seqs
        )
        .execute(tx.on())
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn read_deliveries(&self, filter: &DeliveryFilter) -> Outcome<Vec<DeliveryRow>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!(
            "src/store/postgres/delivery_list.sql",
            filter.state.map(DeliveryState::as_str),
            filter.to.as_deref(),
            filter.job_id,
            filter.before,
            i64::from(filter.rows_max)
        )
        .fetch_all(tx.on())
        .await?;
        tx.commit().await?;
        let rows = rows.into_iter().map(|row| DeliveryRow {
            seq: row.seq,
            job_id: row.job_id,
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

    async fn make_due_again(&self, filter: &DeliveryFilter) -> Outcome<u64> {
        if filter.state.is_some_and(|state| state != DeliveryState::Undeliverable) {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let again = sqlx::query_file!(
            "src/store/postgres/delivery_again.sql",
            bulk::instant(now),
            filter.to.as_deref(),
            filter.job_id,
            filter.before,
            i64::from(filter.rows_max)
        )
        .execute(tx.on())
        .await?;
        tx.commit().await?;
        Ok(again.rows_affected())
    }
}
