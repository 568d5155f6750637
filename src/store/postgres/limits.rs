//! The limits on Postgres: seeded by configurations, set at run time; and the work that they bind.
//! Must not know: how a limit is judged.

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::budget::Limit;
use crate::store::shared::seeds::{
    SEED_KEPT_MS, rules_as_text, rules_of_text, settings_as_text, settings_of_text,
};
use crate::store::{Backlog, LimitRule, LimitSeed, SeededSettings};

impl PostgresStore {
    /// Replaces what configuration seeded. One process after another, so that what is in force is one
    /// configuration and not the mixture of two.
    pub(super) async fn write_limits(&self, rules: &[LimitRule], seeder: &str) -> Outcome<()> {
        let mut tx = self.begin().await?;
        turn(&mut tx).await?;
        sqlx::query_file!("src/store/postgres/limit_clear.sql").execute(tx.on()).await?;
        for rule in rules {
            write(&mut tx, rule).await?;
        }
        let now = self.now(&mut tx).await?;
        let text = rules_as_text(rules)?;
        sqlx::query_file!(
            "src/store/postgres/limit_seed_clear.sql",
            seeder,
            bulk::instant(now.saturating_sub(SEED_KEPT_MS))
        )
        .execute(tx.on())
        .await?;
        sqlx::query_file!(
            "src/store/postgres/limit_seed_write.sql",
            seeder,
            bulk::instant(now),
            text
        )
        .execute(tx.on())
        .await?;
        tx.commit().await
    }

    pub(super) async fn limit_set(&self, pattern: &str, limit: Limit) -> Outcome<()> {
        let mut tx = self.begin().await?;
        turn(&mut tx).await?;
        sqlx::query_file!(
            "src/store/postgres/limit_set.sql",
            pattern,
            limit.requests_per_minute.map(bulk::int),
            limit.tokens_per_minute.map(bulk::int)
        )
        .execute(tx.on())
        .await?;
        tx.commit().await
    }

    pub(super) async fn limit_cleared(&self, pattern: &str) -> Outcome<bool> {
        let mut tx = self.begin().await?;
        turn(&mut tx).await?;
        let gone = sqlx::query_file!("src/store/postgres/limit_unset.sql", pattern)
            .execute(tx.on())
            .await?;
        let last = seeds(&mut tx).await?.pop();
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
    ) -> Outcome<()> {
        let text = settings_as_text(settings)?;
        let mut tx = self.begin().await?;
        sqlx::query_file!("src/store/postgres/limit_seed_settings.sql", seeder, text)
            .execute(tx.on())
            .await?;
        tx.commit().await
    }

    pub(super) async fn read_limit_seeds(&self) -> Outcome<Vec<LimitSeed>> {
        let mut tx = self.look().await?;
        let seeds = seeds(&mut tx).await?;
        tx.commit().await?;
        Ok(seeds)
    }

    pub(super) async fn read_backlog(&self, rows_max: u32) -> Outcome<Vec<Backlog>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/backlog.sql", i64::from(rows_max))
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
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

/// Takes the turn of those who change limits, until the commit.
async fn turn(tx: &mut Tx) -> Outcome<()> {
    sqlx::query_file!("src/store/postgres/limit_turn.sql").fetch_one(tx.on()).await?;
    Ok(())
}

/// Writes a seeded rule, unless its pattern was set at run time.
async fn write(tx: &mut Tx, rule: &LimitRule) -> Outcome<()> {
    sqlx::query_file!(
        "src/store/postgres/limit_write.sql",
        rule.pattern,
        rule.limit.requests_per_minute.map(bulk::int),
        rule.limit.tokens_per_minute.map(bulk::int),
        rule.origin
    )
    .execute(tx.on())
    .await?;
    Ok(())
}

async fn seeds(tx: &mut Tx) -> Outcome<Vec<LimitSeed>> {
    let rows =
        sqlx::query_file!("src/store/postgres/limit_seed_read.sql").fetch_all(tx.on()).await?;
    let seeds = rows.into_iter().map(|row| LimitSeed {
        seeder: row.seeder,
        seeded_at: row.seeded_at,
        alive: row.alive,
        rules: rules_of_text(&row.rules),
        settings: settings_of_text(row.settings.as_deref()),
    });
    Ok(seeds.collect())
}
