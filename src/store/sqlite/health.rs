//! How a SQLite store is: what it does for durability, what waits in it, whether its pages are sound.
//! Must not know: what is made of it, or what a person should do.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{SqliteStore, bulk};
use crate::job::State;
use crate::store::{
    Durability, Health, Integrity, RetentionProgress, StoreResult, StoreSize, WaitingJobs,
};

/// How many rows of waiting work are told apart.
const WAITING_ROWS_MAX: u32 = 1_000;

/// How many virtual-machine steps pass between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

impl SqliteStore {
    pub(super) async fn read_health(&self, check_ms: u64) -> StoreResult<Health> {
        let journal: String =
            sqlx::query_scalar("pragma journal_mode").fetch_one(&self.writer).await?;
        let synchronous: i64 =
            sqlx::query_scalar("pragma synchronous").fetch_one(&self.writer).await?;
        let waiting = sqlx::query_file!("src/store/sqlite/health_waiting.sql", WAITING_ROWS_MAX)
            .fetch_all(&self.reader)
            .await?
            .into_iter()
            .filter_map(|row| {
                Some(WaitingJobs {
                    state: State::from_name(&row.state)?,
                    model: row.model,
                    lane: row.lane,
                    jobs: bulk::uint(row.jobs),
                })
            });
        let latest =
            sqlx::query_file!("src/store/sqlite/health_latest.sql").fetch_one(&self.reader).await?;
        let submissions = sqlx::query_file!("src/store/sqlite/health_submissions.sql")
            .fetch_one(&self.reader)
            .await?;
        Ok(Health {
            durability: vec![
                Durability {
                    setting: "journal_mode".to_owned(),
                    safe: journal == "wal",
                    found: journal,
                    wanted: "wal".to_owned(),
                },
                Durability {
                    setting: "synchronous".to_owned(),
                    safe: synchronous >= 2,
                    found: synchronous_name(synchronous).to_owned(),
                    wanted: "full".to_owned(),
                },
            ],
            waiting: waiting.collect(),
            submissions: bulk::uint(submissions.waiting),
            latest_at: latest.at,
            integrity: self.quick_check(check_ms).await?,
            size: self.size().await?,
            retention: self.retention_progress().await?,
            server: None,
        })
    }

    async fn size(&self) -> StoreResult<StoreSize> {
        let pragma = async |pragma: &'static str| -> StoreResult<u64> {
            let found: i64 = sqlx::query_scalar(pragma).fetch_one(&self.reader).await?;
            Ok(bulk::uint(found))
        };
        let page = pragma("pragma page_size").await?;
        Ok(StoreSize {
            bytes: pragma("pragma page_count").await?.saturating_mul(page),
            free_bytes: pragma("pragma freelist_count").await?.saturating_mul(page),
            // To tell tables apart, SQLite would have to read every page.
            tables: Vec::new(),
        })
    }

    async fn retention_progress(&self) -> StoreResult<Vec<RetentionProgress>> {
        let rows = sqlx::query_file!("src/store/sqlite/health_retention.sql")
            .fetch_all(&self.reader)
            .await?;
        let progress = rows.into_iter().filter_map(|row| {
            RetentionProgress::of_row(&row.stage, row.after_seq, row.restarted_at, &row.policy)
        });
        Ok(progress.collect())
    }

    /// Reads every page, on a connection of its own, for at most so long: a large file must not
    /// keep the caller, nor a reader of the pool.
    async fn quick_check(&self, check_ms: u64) -> StoreResult<Integrity> {
        let options = SqliteConnectOptions::new().filename(&self.path).read_only(true);
        let mut connection =
            options.busy_timeout(Duration::from_millis(check_ms)).connect().await?;
        let clock = self.clock.clone();
        let until_ms = clock.now().mono_ms.saturating_add(check_ms);
        let in_time = move || clock.now().mono_ms < until_ms;
        connection.lock_handle().await?.set_progress_handler(STEPS_BETWEEN_LOOKS, in_time);
        let found: Result<Vec<String>, sqlx::Error> =
            sqlx::query_scalar("pragma quick_check(10)").fetch_all(&mut connection).await;
        let integrity = match found {
            Ok(lines) if lines == ["ok"] => Integrity::Sound,
            Ok(lines) => Integrity::Broken(lines),
            Err(error) if is_interrupted(&error) => Integrity::Unfinished,
            Err(error) => return Err(error.into()),
        };
        connection.lock_handle().await?.remove_progress_handler();
        connection.close().await?;
        Ok(integrity)
    }
}

/// SQLite's own words for the levels.
fn synchronous_name(level: i64) -> &'static str {
    match level {
        0 => "off",
        1 => "normal",
        2 => "full",
        _ => "extra",
    }
}

/// The code `SQLITE_INTERRUPT`.
fn is_interrupted(error: &sqlx::Error) -> bool {
    let found = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    found.is_some_and(|code| code == "9")
}
