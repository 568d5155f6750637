//! The budget's states of one transaction: which keys a job draws on, locked in the order of the
//! keys, loaded once with what calls took since, appended once.
//! Must not know: claims or finishes, only the keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::PostgresStore;
use super::bulk;
use super::error::Outcome;
use super::session::Tx;
use super::settlement;
use crate::budget::{BudgetState, Keyed, LaneTime, Limit};
use crate::clock::Now;
use crate::store::shared::candidates;
use crate::store::{KeyLevel, LimitRule, NewJob, QueueShare, rule_for};

/// After so many states of one key, this process deletes those before.
const TRIM_EVERY: u32 = 64;

/// What decides which keys a job draws on.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) limits: Vec<LimitRule>,
    /// The queues that have a cap or a reserved share, and maybe others.
    pub(super) queues: Vec<QueueShare>,
}

impl Rules {
    /// The keys that a job draws on.
    pub(super) fn names(&self, lane: &str, queue: &str, tenant: &str) -> Vec<String> {
        candidates::key_names((&self.limits, &self.queues), lane, queue, tenant)
    }

    /// The keys that these jobs draw on.
    pub(super) fn keys<'j>(&self, jobs: impl Iterator<Item = &'j NewJob>) -> BTreeSet<String> {
        jobs.flat_map(|job| self.names(&job.lane, &job.queue, &job.tenant)).collect()
    }
}

/// The states that this transaction draws on.
pub(super) struct Draws {
    /// What `budget::fit` takes.
    pub(super) keyed: Vec<Keyed>,
    /// Of lanes: the place of the last job claimed; one a key.
    pub(super) places: Vec<f64>,
    /// Up to which settlement the states have what calls took; one a key.
    settled: Vec<i64>,
    pub(super) now: LaneTime,
    /// Once the locks were held: the wall clock, and this process's own, read before that.
    pub(super) read: Now,
}

/// A number that came as text: read as a number of JSON its last bit may be another.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Exact(pub(super) f64);

impl TryFrom<String> for Exact {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// What stands of a key, nothing where nobody has drawn on it yet; in the order in which
/// `claim_new_look` lists it.
#[derive(Deserialize)]
pub(super) struct Row {
    key: String,
    place: Option<Exact>,
    state: Option<String>,
    settled: Option<i64>,
    /// What finished calls took since, a JSON list.
    calls: Option<String>,
}

/// The states as columns of rows to be appended.
pub(super) struct Columns<'a> {
    pub(super) names: Vec<&'a str>,
    pub(super) places: &'a [f64],
    pub(super) states: Vec<String>,
    pub(super) settled: &'a [i64],
}

/// What of each key this process has deleted.
#[derive(Debug, Default)]
pub(super) struct Trimmed(Mutex<HashMap<String, Trim>>);

#[derive(Debug, Clone, Copy, Default)]
struct Trim {
    written: u32,
    /// Where the ranges before the last and the last ended: if the last was rolled back, the next
    /// takes its rows along.
    from: End,
    last: End,
}

/// The number of a state, and up to which settlement it has what calls took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct End {
    seq: i64,
    settled: i64,
}

/// A state that was appended; in the order in which `claim_new_write` lists it.
#[derive(Deserialize)]
pub(super) struct Written {
    key: String,
    seq: i64,
    settled: i64,
}

/// Takes the locks of these keys until the commit, in their order.
pub(super) async fn lock(tx: &mut Tx, names: &BTreeSet<String>) -> Outcome<()> {
    let names: Vec<&String> = names.iter().collect();
    if names.is_empty() {
        return Ok(());
    }
    let locked = sqlx::query_file!("src/store/postgres/budget_lock.sql", &names as _)
        .fetch_all(tx.on())
        .await?;
    if locked.len() < names.len() {
        sqlx::query_file!("src/store/postgres/budget_key_add.sql", &names as _)
            .execute(tx.on())
            .await?;
        sqlx::query_file!("src/store/postgres/budget_lock.sql", &names as _)
            .fetch_all(tx.on())
            .await?;
    }
    Ok(())
}

impl Draws {
    /// Loads the states of these keys, whose locks are held.
    pub(super) async fn load(
        store: &PostgresStore,
        tx: &mut Tx,
        names: &BTreeSet<String>,
        rules: &[LimitRule],
    ) -> Outcome<Self> {
        let names: Vec<&String> = names.iter().collect();
        let mono_ms = store.clock.now().mono_ms;
        let rows = sqlx::query_file!("src/store/postgres/budget_read.sql", &names as _)
            .fetch_all(tx.on())
            .await?;
        let wall_ms = match rows.first() {
            Some(row) => store.read_now(row.now),
            None => store.now(tx).await?,
        };
        let rows = rows.into_iter().map(|it| Row {
            key: it.key,
            place: it.place.map(Exact),
            state: it.state,
            settled: it.settled,
            calls: it.calls,
        });
        Self::of(store, rows.collect(), rules, Now { wall_ms, mono_ms })
    }

    /// The states of keys as they were read at this time.
    pub(super) fn of(
        store: &PostgresStore,
        rows: Vec<Row>,
        rules: &[LimitRule],
        read: Now,
    ) -> Outcome<Self> {
        let mut keyed = Vec::with_capacity(rows.len());
        let mut places = Vec::with_capacity(rows.len());
        let mut settled = Vec::with_capacity(rows.len());
        // Another process may be a little ahead of this one. All keys go on from the latest time
        // seen, so that a call is charged to the same slot of each.
        let mut now = store.lane_time(read.wall_ms);
        for row in rows {
            let mut state: BudgetState = match row.state {
                Some(state) => serde_json::from_str(&state)?,
                None => BudgetState::default(),
            };
            if let Some(calls) = row.calls {
                settlement::book(&mut state, &calls)?;
            }
            now = now.max(state.now());
            let limit = rule_for(rules, &row.key).map(|rule| rule.limit).unwrap_or_default();
            keyed.push(Keyed { name: row.key, limit, state });
            places.push(row.place.map_or(0.0, |Exact(place)| place));
            settled.push(row.settled.unwrap_or_default());
        }
        for keyed in &mut keyed {
            keyed.state.advance(now);
        }
        Ok(Self { keyed, places, settled, now, read })
    }

    /// The index of a key, where it is loaded.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.keyed.iter().position(|keyed| keyed.name == name)
    }

    /// A claim moves its lane on; never back.
    pub(super) fn advance_place(&mut self, lane_key: &str, place: f64) {
        if let Some(kept) = self.index(lane_key).and_then(|index| self.places.get_mut(index)) {
            *kept = kept.max(place);
        }
    }

    pub(super) fn columns(&self) -> Outcome<Columns<'_>> {
        let mut states = Vec::with_capacity(self.keyed.len());
        for keyed in &self.keyed {
            states.push(serde_json::to_string(&keyed.state)?);
        }
        let names = self.keyed.iter().map(|keyed| keyed.name.as_str()).collect();
        Ok(Columns { names, places: &self.places, states, settled: &self.settled })
    }

    /// Appends every state.
    pub(super) async fn save(self, store: &PostgresStore, tx: &mut Tx) -> Outcome<()> {
        if self.keyed.is_empty() {
            return Ok(());
        }
        let of = self.columns()?;
        let written = sqlx::query_file_as!(
            Written,
            "src/store/postgres/budget_write.sql",
            &of.names as _,
            of.places,
            &of.states,
            of.settled
        )
        .fetch_all(tx.on())
        .await?;
        trim(store, tx, written).await
    }
}

/// Deletes states that are not the last any more, of those of these keys whose turn it is.
pub(super) async fn trim(store: &PostgresStore, tx: &mut Tx, written: Vec<Written>) -> Outcome<()> {
    for Written { key, seq, settled } in written {
        let Some(from) = store.trimmed.due(&key, End { seq, settled }) else { continue };
        sqlx::query_file!(
            "src/store/postgres/budget_trim.sql",
            key,
            from.seq,
            seq,
            from.settled,
            settled
        )
        .execute(tx.on())
        .await?;
    }
    Ok(())
}

impl Trimmed {
    /// Where the range begins that is to be deleted now that this state was appended.
    fn due(&self, key: &str, written: End) -> Option<End> {
        let mut trims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trim = trims.entry(key.to_owned()).or_default();
        trim.written += 1;
        if trim.written < TRIM_EVERY {
            return None;
        }
        let from = trim.from;
        *trim = Trim { written: 0, from: trim.last, last: written };
        Some(from)
    }
}

/// Every limit.
pub(super) async fn rules(tx: &mut Tx) -> Outcome<Vec<LimitRule>> {
    let rows = sqlx::query_file!("src/store/postgres/limit_read.sql").fetch_all(tx.on()).await?;
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

/// The same as the looks of claims list them.
pub(super) fn limits(json: Option<String>) -> Outcome<Vec<LimitRule>> {
    type Row = (String, Option<i64>, Option<i64>, String);
    let rows: Vec<Row> = bulk::list(json)?;
    let rule = |(pattern, requests, tokens, origin): Row| {
        let limit = Limit {
            requests_per_minute: requests.map(bulk::uint),
            tokens_per_minute: tokens.map(bulk::uint),
        };
        LimitRule { pattern, limit, origin }
    };
    Ok(rows.into_iter().map(rule).collect())
}

impl PostgresStore {
    /// The keys with their levels, as they stand now.
    pub(super) async fn key_levels(&self) -> Outcome<Vec<KeyLevel>> {
        let mut tx = self.look().await?;
        let rules = rules(&mut tx).await?;
        let wall_ms = self.now(&mut tx).await?;
        let lane_time = self.lane_time(wall_ms);
        let rows =
            sqlx::query_file!("src/store/postgres/budget_all.sql").fetch_all(tx.on()).await?;
        tx.commit().await?;
        let mut levels = Vec::with_capacity(rows.len());
        for row in rows {
            let mut state: BudgetState = serde_json::from_str(&row.state)?;
            if let Some(calls) = row.calls {
                settlement::book(&mut state, &calls)?;
            }
            state.advance(lane_time);
            let rule = rule_for(&rules, &row.key);
            let limit = rule.map(|rule| rule.limit).unwrap_or_default();
            levels.push(KeyLevel {
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
