//! How queues and tenants share lanes on Postgres: what is configured, and what runs of each queue.
//! Must not know: how candidates are chosen by it (`shared::sharing` does).

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::store::shared::sharing::{self, Running};
use crate::store::{QueueRow, QueueShare, Shares, TenantShare};

/// The configured queues.
pub(super) async fn queues(tx: &mut Tx) -> Outcome<Vec<QueueShare>> {
    let rows = sqlx::query_file!("src/store/postgres/queue_read.sql").fetch_all(tx.on()).await?;
    let share = rows.into_iter().map(|row| QueueShare {
        name: row.name,
        concurrency_max: row.concurrency_max.map(bulk::small),
        reserved_permille: bulk::small(row.reserved_permille),
        weight: row.weight,
    });
    Ok(share.collect())
}

/// How many jobs of each capped queue run: exact once the queues' keys are locked, and a look before.
pub(super) async fn running(tx: &mut Tx, queues: &[QueueShare]) -> Outcome<Running> {
    let capped = sharing::capped(queues);
    if capped.is_empty() {
        return Ok(Running::new());
    }
    let rows = sqlx::query_file!("src/store/postgres/queue_running.sql", &capped)
        .fetch_all(tx.on())
        .await?;
    Ok(rows.into_iter().map(|row| (row.queue, bulk::uint(row.running))).collect())
}

impl PostgresStore {
    pub(super) async fn read_shares(&self) -> Outcome<Shares> {
        let mut tx = self.look().await?;
        let queues = queues(&mut tx).await?;
        let rows =
            sqlx::query_file!("src/store/postgres/tenant_read.sql").fetch_all(tx.on()).await?;
        tx.commit().await?;
        let tenant = rows.into_iter().map(|row| TenantShare { name: row.name, weight: row.weight });
        Ok(Shares { queues, tenants: tenant.collect() })
    }

    pub(super) async fn write_shares(&self, shares: &Shares) -> Outcome<()> {
        let mut tx = self.begin().await?;
        sqlx::query_file!("src/store/postgres/queue_turn.sql").fetch_one(tx.on()).await?;
        let capped = sharing::capped(&shares.queues);
        if !capped.is_empty() {
            sqlx::query_file!("src/store/postgres/queue_cap_running.sql", &capped)
                .execute(tx.on())
                .await?;
        }
        sqlx::query_file!("src/store/postgres/queue_clear.sql").execute(tx.on()).await?;
        for queue in &shares.queues {
            sqlx::query_file!(
                "src/store/postgres/queue_write.sql",
                queue.name,
                queue.concurrency_max.map(bulk::small_int),
                bulk::small_int(queue.reserved_permille),
                queue.weight
            )
            .execute(tx.on())
            .await?;
        }
        sqlx::query_file!("src/store/postgres/tenant_clear.sql").execute(tx.on()).await?;
        for tenant in &shares.tenants {
            sqlx::query_file!("src/store/postgres/tenant_write.sql", tenant.name, tenant.weight)
                .execute(tx.on())
                .await?;
        }
        tx.commit().await
    }

    pub(super) async fn read_full_queues(&self) -> Outcome<Vec<(String, u32)>> {
        let mut tx = self.look().await?;
        let queues = queues(&mut tx).await?;
        let running = running(&mut tx, &queues).await?;
        tx.commit().await?;
        Ok(sharing::full_with_caps(&queues, &running))
    }

    pub(super) async fn read_queues(&self) -> Outcome<Vec<QueueRow>> {
        let mut tx = self.look().await?;
        let queues = queues(&mut tx).await?;
        let rows =
            sqlx::query_file!("src/store/postgres/queue_counts.sql").fetch_all(tx.on()).await?;
        tx.commit().await?;
        let counts = rows.into_iter().map(|row| (row.queue, row.state, bulk::uint(row.jobs)));
        Ok(sharing::rows(queues, counts))
    }
}
