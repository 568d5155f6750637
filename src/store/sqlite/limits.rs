//! The limits on SQLite: seeded by configurations, set at run time; and the work that they bind.
//! Must not know: how a limit is judged.

use sqlx::SqliteExecutor;

use super::{SqliteStore, Tx, bulk};
use crate::budget::Limit;
use crate::store::shared::seeds::{
    SEED_KEPT_MS, rules_as_text, rules_of_text, settings_as_text, settings_of_text,
};
use crate::store::{Backlog, LimitRule, LimitSeed, SeededSettings, StoreResult};

impl SqliteStore {
    /// Replaces what configuration seeded.
    pub(super) async fn write_limits(&self, rules: &[LimitRule], seeder: &str) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query_file!("src/store/sqlite/limit_clear.sql").execute(&mut *tx).await?;
        for rule in rules {
            write(&mut tx, rule).await?;
        }
        let now = self.clock.now().wall_ms;
        let (text, kept_since) = (rules_as_text(rules)?, now.saturating_sub(SEED_KEPT_MS));
        sqlx::query_file!("src/store/sqlite/limit_seed_clear.sql", seeder, kept_since)
            .execute(&mut *tx)
            .await?;
        sqlx::query_file!("src/store/sqlite/limit_seed_write.sql", seeder, now, text)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn limit_set(&self, pattern: &str, limit: Limit) -> StoreResult<()> {
        let requests = limit.requests_per_minute.map(bulk::int);
        let tokens = limit.tokens_per_minute.map(bulk::int);
        sqlx::query_file!("src/store/sqlite/limit_set.sql", pattern, requests, tokens)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(super) async fn limit_cleared(&self, pattern: &str) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let gone = sqlx::query_file!("src/store/sqlite/limit_unset.sql", pattern)
            .execute(&mut *tx)
            .await?;
        let last = seeds(&mut *tx).await?.pop();
        let seeded = last.iter().flat_map(|seed| &seed.rules).find(|rule| rule.pattern == pattern);
        if let Some(rule) = seeded {
            write(&mut tx, rule).await?;
        }
        tx.commit().await?;
        Ok(gone.rows_affected() > 0)
    }

    /// Notes on this process's row what else it was configured with.
    pub(super) async fn write_settings(
        &self,
        settings: &SeededSettings,
        seeder: &str,
    ) -> StoreResult<()> {
        let text = settings_as_text(settings)?;
        sqlx::query_file!("src/store/sqlite/limit_seed_settings.sql", seeder, text)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(super) async fn read_limit_seeds(&self) -> StoreResult<Vec<LimitSeed>> {
        seeds(&self.reader).await
    }

    pub(super) async fn read_backlog(&self, rows_max: u32) -> StoreResult<Vec<Backlog>> {
        let rows = sqlx::query_file!("src/store/sqlite/backlog.sql", rows_max)
            .fetch_all(&self.reader)
            .await?;
        let backlog = rows.into_iter().map(|row| Backlog {
            lane: row.lane,
            queue: row.queue,
            tenant: row.tenant,
            jobs: bulk::uint(row.jobs),
            reserved_tokens: bulk::uint(row.reserved_tokens),
        });
        Ok(backlog.collect())
    }
}

/// Writes a seeded rule, unless its pattern was set at run time.
async fn write(tx: &mut Tx, rule: &LimitRule) -> StoreResult<()> {
    let requests = rule.limit.requests_per_minute.map(bulk::int);
    let tokens = rule.limit.tokens_per_minute.map(bulk::int);
    let (pattern, origin) = (&rule.pattern, &rule.origin);
    sqlx::query_file!("src/store/sqlite/limit_write.sql", pattern, requests, tokens, origin)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn seeds(from: impl SqliteExecutor<'_>) -> StoreResult<Vec<LimitSeed>> {
    let rows = sqlx::query_file!("src/store/sqlite/limit_seed_read.sql").fetch_all(from).await?;
    let seeds = rows.into_iter().map(|row| LimitSeed {
        seeder: row.seeder,
        seeded_at: row.seeded_at,
        alive: row.alive,
        rules: rules_of_text(&row.rules),
        settings: settings_of_text(row.settings.as_deref()),
    });
    Ok(seeds.collect())
}
