//! How a Postgres store is: what the server does for durability, and what waits in it.
//! Must not know: what is made of it, or what a person should do.

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::job::State;
use crate::store::{
    Durability, Health, Integrity, RetentionProgress, ServerHealth, Snapshot, StoreSize, TableSize,
    WaitingJobs,
};

/// How many rows of waiting work are told apart.
const WAITING_ROWS_MAX: i64 = 1_000;

/// How many tables are looked at; there are fewer.
const TABLES_MAX: i64 = 100;

impl PostgresStore {
    /// The server checks its pages itself where it was made with checksums; nothing here can read
    /// them all.
    pub(super) async fn read_health(&self) -> Outcome<Health> {
        let mut tx = self.look().await?;
        let settings =
            sqlx::query_file!("src/store/postgres/health_settings.sql").fetch_all(tx.on()).await?;
        let waiting = sqlx::query_file!("src/store/postgres/health_waiting.sql", WAITING_ROWS_MAX)
            .fetch_all(tx.on())
            .await?;
        let latest =
            sqlx::query_file!("src/store/postgres/health_latest.sql").fetch_one(tx.on()).await?;
        let submissions = sqlx::query_file!("src/store/postgres/health_submissions.sql")
            .fetch_one(tx.on())
            .await?;
        let (size, retention) = (size(&mut tx).await?, retention(&mut tx).await?);
        let server = Some(server(&mut tx).await?);
        tx.commit().await?;
        let durability = settings.into_iter().map(|row| Durability {
            setting: row.name,
            safe: row.safe,
            found: row.setting,
            wanted: row.wanted,
        });
        let waiting = waiting.into_iter().filter_map(|row| {
            Some(WaitingJobs {
                state: State::from_name(&row.state)?,
                model: row.model,
                lane: row.lane,
                jobs: bulk::uint(row.jobs),
            })
        });
        Ok(Health {
            durability: durability.collect(),
            waiting: waiting.collect(),
            submissions: bulk::uint(submissions.waiting),
            latest_at: latest.at,
            integrity: Integrity::NotRead,
            size,
            retention,
            server,
        })
    }
}

async fn size(tx: &mut Tx) -> Outcome<StoreSize> {
    let rows = sqlx::query_file!("src/store/postgres/health_sizes.sql", TABLES_MAX)
        .fetch_all(tx.on())
        .await?;
    let tables = rows.into_iter().map(|row| TableSize {
        name: row.name,
        bytes: bulk::uint(row.bytes),
        index_bytes: bulk::uint(row.index_bytes),
        dead_rows: bulk::uint(row.dead_rows),
        dead_rows_max: bulk::uint(row.dead_rows_max),
        vacuumed_at: row.vacuumed_at,
    });
    let tables: Vec<TableSize> = tables.collect();
    let bytes = tables.iter().map(|table| table.bytes.saturating_add(table.index_bytes)).sum();
    Ok(StoreSize { bytes, free_bytes: 0, tables })
}

async fn retention(tx: &mut Tx) -> Outcome<Vec<RetentionProgress>> {
    let rows =
        sqlx::query_file!("src/store/postgres/health_retention.sql").fetch_all(tx.on()).await?;
    let progress = rows.into_iter().filter_map(|row| {
        RetentionProgress::of_row(&row.stage, row.after_seq, row.restarted_at, &row.policy)
    });
    Ok(progress.collect())
}

async fn server(tx: &mut Tx) -> Outcome<ServerHealth> {
    let found =
        sqlx::query_file!("src/store/postgres/health_server.sql").fetch_one(tx.on()).await?;
    let oldest =
        sqlx::query_file!("src/store/postgres/health_snapshot.sql").fetch_optional(tx.on()).await?;
    let snapshot = oldest.map(|row| Snapshot {
        kind: row.kind,
        pid: row.pid,
        name: row.name,
        owner: row.owner,
        state: row.state,
        transactions: bulk::uint(row.transactions),
        age_ms: row.age_ms.map(bulk::uint),
    });
    Ok(ServerHealth {
        autovacuum: found.autovacuum,
        snapshot,
        hidden: bulk::uint(found.hidden),
        connections: bulk::uint(found.connections),
        connections_own: bulk::uint(found.connections_own),
        connections_max: bulk::uint(found.connections_max),
    })
}
