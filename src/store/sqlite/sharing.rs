//! How queues and tenants share lanes on SQLite: what is configured, and what runs of each queue.
//! Must not know: how candidates are chosen by it (`shared::sharing` does).

use sqlx::SqliteExecutor;

use super::{SqliteStore, Tx, bulk};
use crate::store::shared::sharing::{self, Running};
use crate::store::{QueueRow, QueueShare, Shares, StoreResult, TenantShare};

/// The configured queues, as this connection sees them.
pub(super) async fn queues(from: impl SqliteExecutor<'_>) -> StoreResult<Vec<QueueShare>> {
    let rows = sqlx::query_file!("src/store/sqlite/queue_read.sql").fetch_all(from).await?;
    let share = rows.into_iter().map(|row| QueueShare {
        name: row.name,
        concurrency_max: row.concurrency_max.map(bulk::small),
        reserved_permille: bulk::small(row.reserved_permille),
        weight: row.weight,
    });
    Ok(share.collect())
}

/// How many jobs of each capped queue run.
pub(super) async fn running(tx: &mut Tx, queues: &[QueueShare]) -> StoreResult<Running> {
    running_on(&mut **tx, queues).await
}

async fn running_on(from: impl SqliteExecutor<'_>, queues: &[QueueShare]) -> StoreResult<Running> {
    let capped = sharing::capped(queues);
    if capped.is_empty() {
        return Ok(Running::new());
    }
    let capped = bulk::list(&capped)?;
    let rows =
        sqlx::query_file!("src/store/sqlite/queue_running.sql", capped).fetch_all(from).await?;
    Ok(rows.into_iter().map(|row| (row.queue, bulk::uint(row.running))).collect())
}

impl SqliteStore {
    pub(super) async fn read_shares(&self) -> StoreResult<Shares> {
        let queues = queues(&self.reader).await?;
        let rows =
            sqlx::query_file!("src/store/sqlite/tenant_read.sql").fetch_all(&self.reader).await?;
        let tenant = rows.into_iter().map(|row| TenantShare { name: row.name, weight: row.weight });
        Ok(Shares { queues, tenants: tenant.collect() })
    }

    pub(super) async fn write_shares(&self, shares: &Shares) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let capped = bulk::list(&sharing::capped(&shares.queues))?;
        sqlx::query_file!("src/store/sqlite/queue_cap_running.sql", capped)
            .execute(&mut *tx)
            .await?;
        sqlx::query_file!("src/store/sqlite/queue_clear.sql").execute(&mut *tx).await?;
        for queue in &shares.queues {
            sqlx::query_file!(
                "src/store/sqlite/queue_write.sql",
                queue.name,
                queue.concurrency_max,
                queue.reserved_permille,
                queue.weight
            )
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query_file!("src/store/sqlite/tenant_clear.sql").execute(&mut *tx).await?;
        for tenant in &shares.tenants {
            sqlx::query_file!("src/store/sqlite/tenant_write.sql", tenant.name, tenant.weight)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn read_full_queues(&self) -> StoreResult<Vec<(String, u32)>> {
        let queues = queues(&self.reader).await?;
        let running = running_on(&self.reader, &queues).await?;
        Ok(sharing::full_with_caps(&queues, &running))
    }

    pub(super) async fn read_queues(&self) -> StoreResult<Vec<QueueRow>> {
        let queues = queues(&self.reader).await?;
        let rows =
            sqlx::query_file!("src/store/sqlite/queue_counts.sql").fetch_all(&self.reader).await?;
        let counts = rows.into_iter().map(|row| (row.queue, row.state, bulk::uint(row.jobs)));
        Ok(sharing::rows(queues, counts))
    }
}
