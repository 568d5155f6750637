//! How a Postgres store is: what the server does for durability, and what waits in it.
//! Must not know: what is made of it, or what a person should do.

use super::error::Outcome;
use super::{PostgresStore, bulk};
use crate::job::State;
use crate::store::{Durability, Health, Integrity, WaitingJobs};

/// How many rows of waiting work are told apart.
const WAITING_ROWS_MAX: i64 = 1_000;

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
        })
    }
}
