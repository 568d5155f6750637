//! The budget's states of one transaction: which keys a job draws on, loaded once, saved once.
//! Must not know: claims or finishes, only the keys.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::SqliteExecutor;

use super::{SqliteStore, Tx, bulk, sharing};
use crate::budget::{BudgetState, Keyed, LaneTime, Limit};
use crate::clock::Now;
use crate::store::shared::candidates;
use crate::store::{AdmitStore, LimitRule, QueueShare, StoreResult, rule_for};

/// The states that this transaction has touched, and the rules that give them limits.
pub(super) struct Draws {
    rules: Vec<LimitRule>,
    /// The configured queues.
    pub(super) queues: Vec<QueueShare>,
    /// In the order in which they were first asked for; `keyed` is what `budget::fit` takes.
    pub(super) keyed: Vec<Keyed>,
    index: HashMap<String, usize>,
    pub(super) now: LaneTime,
    /// The process's clocks at that time.
    pub(super) own: Now,
}

#[derive(Serialize)]
struct StateRow<'a> {
    key: &'a str,
    state: String,
}

impl Draws {
    pub(super) async fn open(store: &SqliteStore, tx: &mut Tx) -> StoreResult<Self> {
        let own = store.clock.now();
        let now = store.lane_time(tx, own).await?;
        let rules = rules(&mut **tx).await?;
        let queues = sharing::queues(&mut **tx).await?;
        let index = HashMap::new();
        Ok(Self { rules, queues, keyed: Vec::new(), index, now, own })
    }

    /// The keys that a job draws on.
    pub(super) async fn keys(
        &mut self,
        tx: &mut Tx,
        lane: &str,
        queue: &str,
        tenant: &str,
    ) -> StoreResult<Vec<usize>> {
        let names = candidates::key_names((&self.rules, &self.queues), lane, queue, tenant);
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            keys.push(self.key(tx, &name).await?);
        }
        Ok(keys)
    }

    /// The index of a key, loaded on first need.
    pub(super) async fn key(&mut self, tx: &mut Tx, name: &str) -> StoreResult<usize> {
        if let Some(found) = self.index.get(name) {
            return Ok(*found);
        }
        let limit = rule_for(&self.rules, name).map(|rule| rule.limit).unwrap_or_default();
        let row = sqlx::query_file!("src/store/sqlite/budget_read.sql", name)
            .fetch_optional(&mut **tx)
            .await?;
        let mut state: BudgetState = match row {
            Some(row) => serde_json::from_str(&row.state)?,
            None => BudgetState::default(),
        };
        state.advance(self.now);
        let index = self.keyed.len();
        self.keyed.push(Keyed { name: name.to_owned(), limit, state });
        self.index.insert(name.to_owned(), index);
        Ok(index)
    }

    /// Writes every state that was touched.
    pub(super) async fn save(self, tx: &mut Tx) -> StoreResult<()> {
        if self.keyed.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(self.keyed.len());
        for keyed in &self.keyed {
            rows.push(StateRow { key: &keyed.name, state: serde_json::to_string(&keyed.state)? });
        }
        let rows = bulk::list(&rows)?;
        sqlx::query_file!("src/store/sqlite/budget_write.sql", rows).execute(&mut **tx).await?;
        Ok(())
    }
}

/// Every limit, as this connection sees it.
pub(super) async fn rules(from: impl SqliteExecutor<'_>) -> StoreResult<Vec<LimitRule>> {
    let rows = sqlx::query_file!("src/store/sqlite/limit_read.sql").fetch_all(from).await?;
    let rule = rows.into_iter().map(|row| LimitRule {
        pattern: row.pattern,
        limit: Limit {
            requests_per_minute: row.requests_per_minute.map(bulk::uint),
            tokens_per_minute: row.tokens_per_minute.map(bulk::uint),
        },
        origin: row.origin,
    });
    Ok(rule.collect())
}

impl SqliteStore {
    /// The keys with their levels, as they stand now.
    pub(super) async fn key_levels(&self) -> StoreResult<Vec<crate::store::KeyLevel>> {
        let rules = self.limits().await?;
        let now = self.lane_time_now().await?;
        let rows = sqlx::query_file!("src/store/sqlite/budget_all.sql").fetch_all(&self.reader);
        let mut levels = Vec::new();
        for row in rows.await? {
            let mut state: BudgetState = serde_json::from_str(&row.state)?;
            state.advance(now);
            let rule = rule_for(&rules, &row.key);
            let limit = rule.map(|rule| rule.limit).unwrap_or_default();
            levels.push(crate::store::KeyLevel {
                limit,
                rule: rule.map(|rule| format!("{} ({})", rule.pattern, rule.origin)),
                level: state.level(&limit),
                used_permille: state.used_permille(),
                key: row.key,
            });
        }
        Ok(levels)
    }
}
