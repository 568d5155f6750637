//! Room 6 on SQLite: a group of finished attempts recorded, settled and moved on in one
//! transaction.
//! Must not know: why a job moves where it moves (`retry` has decided).

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;

use super::bulk::Text;
use super::draws::Draws;
use super::end::{self, End};
use super::{SqliteStore, Tx, bulk};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::settling::{self, Record, Records};
use crate::store::{AttemptKey, Finish, Finished, LaneNews, Next, Settlement, StoreResult};

/// A finish that nobody has recorded yet, with what the tables say of its attempt.
type Fresh<'a> = (&'a Finish, &'a Record);

#[derive(Serialize)]
struct AttemptRow<'a> {
    job_id: String,
    number: u32,
    outcome: &'static str,
    settled_tokens: Option<u64>,
    error_kind: Option<&'static str>,
    error_message: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cost_micros: Option<u64>,
    request_id: &'a Option<String>,
    first_token_ms: Option<u64>,
    total_ms: Option<u64>,
    stop: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct BodyRow<'a> {
    job_id: Uuid,
    number: u32,
    raw_text: Text,
    schema_errors: &'a Option<String>,
}

#[derive(Serialize)]
struct AgainRow<'a> {
    id: String,
    due: i64,
    run_at: i64,
    failures: u32,
    reasks: u32,
    crashes: u32,
    throttles: u32,
    input_tokens_max: u64,
    reason: Option<&'static str>,
    reask: &'a Option<String>,
}

#[derive(Serialize)]
struct KeyRow {
    job_id: String,
    number: u32,
    fence: String,
}

impl From<&AttemptKey> for KeyRow {
    fn from(key: &AttemptKey) -> Self {
        Self { job_id: key.job_id.to_string(), number: key.number, fence: key.fence.to_string() }
    }
}

impl SqliteStore {
    pub(super) async fn finish_group(&self, group: &[Finish]) -> StoreResult<Vec<Finished>> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let keys: Vec<AttemptKey> = group.iter().map(|finish| finish.key).collect();
        let records = records(&mut tx, &keys).await?;
        let group = &*settling::without_deleted(group, &records);
        let fresh = settling::fresh(group, &records);
        record(&mut tx, &fresh, now).await?;
        let ends: Vec<End> = fresh.iter().filter_map(|(finish, _)| ended(finish)).collect();
        let ended = end::end_jobs(&mut tx, &ends, now).await?;
        fence(&mut tx, &fresh, &ended, now).await?;
        again(&mut tx, &fresh, now).await?;
        hold(&mut tx, &fresh).await?;
        settle(self, &mut tx, &fresh, now).await?;
        tx.commit().await?;
        Ok(settling::answers(group, &records, &ended))
    }

    pub(super) async fn give_back_unsent(&self, attempts: &[AttemptKey]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let records = records(&mut tx, attempts).await?;
        let unsent = settling::unsent(attempts, &records);
        let mut draws = Draws::open(self, &mut tx).await?;
        for (_, record) in &unsent {
            settle_one(&mut tx, &mut draws, record, Settlement::GivenBack).await?;
        }
        let rows: Vec<KeyRow> = unsent.iter().map(|(key, _)| KeyRow::from(*key)).collect();
        let current = unsent.iter().filter(|(_, record)| record.current);
        let current: Vec<String> = current.map(|(key, _)| key.job_id.to_string()).collect();
        let (unsent, current) = (bulk::list(&rows)?, bulk::list(&current)?);
        sqlx::query_file!("src/store/sqlite/give_back_attempt.sql", unsent, now)
            .execute(&mut *tx)
            .await?;
        sqlx::query_file!("src/store/sqlite/give_back_job.sql", current).execute(&mut *tx).await?;
        draws.save(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// What is recorded of these attempts, by fence.
pub(super) async fn records(tx: &mut Tx, keys: &[AttemptKey]) -> StoreResult<Records> {
    let rows: Vec<KeyRow> = keys.iter().map(KeyRow::from).collect();
    let rows = bulk::list(&rows)?;
    let row = sqlx::query_file!("src/store/sqlite/finish_read.sql", rows).fetch_one(&mut **tx);
    let records: Vec<Record> = serde_json::from_str(&row.await?.records)?;
    Ok(records.into_iter().map(|record| (record.fence, record)).collect())
}

fn ended(finish: &Finish) -> Option<End> {
    let Next::End { state, output, text, provenance } = &finish.next else { return None };
    let error = finish.error.clone().filter(|_| *state != State::Succeeded);
    let end = End::with_error(finish.key.job_id, *state, error);
    Some(end.with_output(output.clone(), text.as_deref(), provenance.clone()))
}

/// A late answer ended its job: the attempt that runs meanwhile is fenced.
async fn fence(
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    ended: &HashSet<Uuid>,
    now: i64,
) -> StoreResult<()> {
    let late = fresh
        .iter()
        .filter(|(finish, record)| !record.current && ended.contains(&finish.key.job_id));
    let ids: Vec<String> = late.map(|(finish, _)| finish.key.job_id.to_string()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    end::unknown_attempts(tx, &bulk::list(&ids)?, ErrorKind::Cancelled, now).await
}

/// Evidence, usage and cost stay on the attempt, whatever becomes of the job.
async fn record(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> StoreResult<()> {
    let mut rows = Vec::with_capacity(fresh.len());
    // Apart from the rest, so that a long answer is read by one statement alone.
    let mut bodies = Vec::with_capacity(fresh.len());
    for (finish, record) in fresh {
        rows.push(AttemptRow {
            job_id: finish.key.job_id.to_string(),
            number: finish.key.number,
            outcome: finish.outcome.as_str(),
            settled_tokens: settling::settled_tokens(finish.settlement),
            error_kind: finish.error.as_ref().map(|(kind, _)| kind.as_str()),
            error_message: finish.error.as_ref().map(|(_, text)| text.replace('\0', "\u{fffd}")),
            input_tokens: finish.usage.map(|usage| usage.input),
            output_tokens: finish.usage.map(|usage| usage.output),
            cache_read: finish.usage.map(|usage| usage.cache_read),
            cache_write: finish.usage.map(|usage| usage.cache_write),
            cost_micros: finish.cost_micros,
            request_id: &finish.request_id,
            first_token_ms: finish.first_token_ms,
            total_ms: finish.total_ms,
            stop: finish.stop.map(serde_json::to_value).transpose()?,
        });
        debug_assert!(record.is_open(), "a finish is recorded once");
        if finish.raw_text.is_some() || finish.schema_errors.is_some() {
            bodies.push(BodyRow {
                job_id: finish.key.job_id,
                number: finish.key.number,
                raw_text: Text::of(finish.raw_text.as_deref()),
                schema_errors: &finish.schema_errors,
            });
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let rows = bulk::list(&rows)?;
    sqlx::query_file!("src/store/sqlite/finish_attempt.sql", rows, now).execute(&mut **tx).await?;
    let bodies = bulk::list(&bodies)?;
    sqlx::query_file!("src/store/sqlite/finish_body.sql", bodies).execute(&mut **tx).await?;
    Ok(())
}

/// Jobs that are called again: only where this attempt is still the job's own.
async fn again(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> StoreResult<()> {
    let mut rows = Vec::new();
    for (finish, record) in fresh {
        let Next::Again { after_ms, counters, reask, input_tokens_max } = &finish.next else {
            continue;
        };
        if record.current {
            rows.push(AgainRow {
                id: finish.key.job_id.to_string(),
                due: i64::from(*after_ms == 0),
                run_at: now.saturating_add(bulk::int(*after_ms)),
                failures: counters.failures,
                reasks: counters.reasks,
                crashes: counters.crashes,
                throttles: counters.throttles,
                input_tokens_max: *input_tokens_max,
                reason: finish.error.as_ref().map(|(kind, _)| kind.as_str()),
                reask,
            });
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let rows = bulk::list(&rows)?;
    sqlx::query_file!("src/store/sqlite/job_again.sql", rows).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/job_spec_reask.sql", rows).execute(&mut **tx).await?;
    Ok(())
}

/// Jobs that wait for a person.
async fn hold(tx: &mut Tx, fresh: &[Fresh<'_>]) -> StoreResult<()> {
    let held = fresh.iter().filter(|(finish, record)| finish.next == Next::Held && record.current);
    let ids: Vec<String> = held.map(|(finish, _)| finish.key.job_id.to_string()).collect();
    if !ids.is_empty() {
        let ids = bulk::list(&ids)?;
        sqlx::query_file!("src/store/sqlite/job_hold.sql", ids).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Settles every attempt, then tells the lanes what the calls taught.
async fn settle(
    store: &SqliteStore,
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    now: i64,
) -> StoreResult<()> {
    let mut draws = Draws::open(store, tx).await?;
    for (finish, record) in fresh {
        settle_one(tx, &mut draws, record, finish.settlement).await?;
    }
    for (finish, record) in fresh {
        let LaneNews { throttled, dimension, pause_ms } = finish.lane;
        if throttled {
            // A lane without a limit of its own grows back towards the tightest above it.
            let reference = settling::tightest(&draws.keyed, &record.keys);
            let index = draws.key(tx, &format!("lane:{}", record.lane)).await?;
            if let Some(keyed) = draws.keyed.get_mut(index) {
                keyed.state.throttled(record.claimed_at(), &reference, dimension);
            }
        }
        if let Some(pause_ms) = pause_ms {
            let until = now.saturating_add(bulk::int(pause_ms));
            let reason = finish.error.as_ref().map(|(kind, _)| kind.as_str());
            sqlx::query_file!("src/store/sqlite/lane_pause.sql", record.lane, until, reason)
                .execute(&mut **tx)
                .await?;
        }
    }
    draws.save(tx).await
}

async fn settle_one(
    tx: &mut Tx,
    draws: &mut Draws,
    record: &Record,
    settlement: Settlement,
) -> StoreResult<()> {
    for name in &record.keys {
        draws.key(tx, name).await?;
    }
    record.settle(&mut draws.keyed, settlement);
    Ok(())
}
