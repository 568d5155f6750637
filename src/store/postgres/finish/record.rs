//! What is kept of a call: evidence, usage and cost on the attempt, and what the model said.
//! Must not know: what becomes of the job.

use std::borrow::Cow;

use uuid::Uuid;

use super::Fresh;
use crate::completion::Usage;
use crate::store::postgres::bulk;
use crate::store::postgres::error::Outcome;
use crate::store::postgres::session::Tx;
use crate::store::shared::settling;
use crate::store::{Finish, StoreError};

/// What is recorded of some attempts, a column each; empty where all of it is null.
pub(super) struct Columns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) numbers: Vec<i32>,
    pub(super) outcomes: Vec<&'a str>,
    pub(super) settled: Vec<Option<i64>>,
    pub(super) kinds: Vec<Option<&'a str>>,
    pub(super) messages: Vec<Option<Cow<'a, str>>>,
    pub(super) inputs: Vec<Option<i64>>,
    pub(super) outputs: Vec<Option<i64>>,
    pub(super) reads: Vec<Option<i64>>,
    pub(super) writes: Vec<Option<i64>>,
    pub(super) costs: Vec<Option<i64>>,
    pub(super) requests: Vec<Option<Cow<'a, str>>>,
    pub(super) firsts: Vec<Option<i64>>,
    pub(super) totals: Vec<Option<i64>>,
    pub(super) stops: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(finishes: &[&'a Finish]) -> Outcome<Self> {
        let all = || finishes.iter().copied();
        let used = |part: fn(&Usage) -> u64| {
            bulk::sparse(all().map(|it| it.usage.as_ref().map(|usage| bulk::int(part(usage)))))
        };
        let error = |finish: &'a Finish| finish.error.as_ref();
        let settled = |finish: &Finish| settling::settled_tokens(finish.settlement).map(bulk::int);
        let mut stops = Vec::new();
        for finish in all() {
            stops.push(stop_name(finish)?);
        }
        Ok(Self {
            ids: all().map(|finish| finish.key.job_id).collect(),
            numbers: all().map(|finish| bulk::small_int(finish.key.number)).collect(),
            outcomes: all().map(|finish| finish.outcome.as_str()).collect(),
            settled: bulk::sparse(all().map(settled)),
            kinds: bulk::sparse(all().map(|it| error(it).map(|(kind, _)| kind.as_str()))),
            messages: bulk::sparse(all().map(|it| error(it).map(|(_, it)| bulk::shown(it)))),
            inputs: used(|usage| usage.input),
            outputs: used(|usage| usage.output),
            reads: used(|usage| usage.cache_read),
            writes: used(|usage| usage.cache_write),
            costs: bulk::sparse(all().map(|finish| finish.cost_micros.map(bulk::int))),
            requests: bulk::sparse(all().map(|it| it.request_id.as_deref().map(bulk::shown))),
            firsts: bulk::sparse(all().map(|finish| finish.first_token_ms.map(bulk::int))),
            totals: bulk::sparse(all().map(|finish| finish.total_ms.map(bulk::int))),
            stops,
        })
    }
}

fn finishes<'a>(fresh: &[Fresh<'a>]) -> Vec<&'a Finish> {
    fresh.iter().map(|(finish, _)| *finish).collect()
}

/// Evidence, usage and cost stay on the attempt, whatever becomes of the job.
pub(super) async fn record(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> Outcome<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    let of = Columns::of(&finishes(fresh))?;
    sqlx::query_file!(
        "src/store/postgres/finish_attempt.sql",
        &of.ids,
        &of.numbers,
        &of.outcomes as _,
        &of.settled as _,
        &of.kinds as _,
        &of.messages as _,
        &of.inputs as _,
        &of.outputs as _,
        &of.reads as _,
        &of.writes as _,
        &of.costs as _,
        &of.requests as _,
        &of.firsts as _,
        &of.totals as _,
        &of.stops as _,
        bulk::instant(now)
    )
    .execute(tx.on())
    .await?;
    record_bodies(tx, fresh).await
}

fn stop_name(finish: &Finish) -> Outcome<Option<String>> {
    let Some(stop) = finish.stop else { return Ok(None) };
    match serde_json::to_value(stop)? {
        serde_json::Value::String(name) => Ok(Some(name)),
        _ => Err(StoreError::Bug("a stop reason without a name".to_owned()).into()),
    }
}

/// What the models said, apart from the hot rows.
async fn record_bodies(tx: &mut Tx, fresh: &[Fresh<'_>]) -> Outcome<()> {
    let said =
        |(finish, _): &Fresh<'_>| finish.raw_text.is_some() || finish.schema_errors.is_some();
    let (first, again): (Vec<Fresh<'_>>, Vec<Fresh<'_>>) =
        fresh.iter().copied().filter(said).partition(|(_, record)| record.outcome.is_none());
    if !first.is_empty() {
        let Bodies { ids, numbers, texts, exact, errors } = Bodies::of(&finishes(&first));
        sqlx::query_file!(
            "src/store/postgres/finish_body.sql",
            &ids,
            &numbers,
            &texts as _,
            &exact as _,
            &errors as _
        )
        .execute(tx.on())
        .await?;
    }
    if !again.is_empty() {
        let Bodies { ids, numbers, texts, exact, errors } = Bodies::of(&finishes(&again));
        sqlx::query_file!(
            "src/store/postgres/finish_body_again.sql",
            &ids,
            &numbers,
            &texts as _,
            &exact as _,
            &errors as _
        )
        .execute(tx.on())
        .await?;
    }
    Ok(())
}

/// What some models said, a column each; empty where all of it is null.
pub(super) struct Bodies<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) numbers: Vec<i32>,
    pub(super) texts: Vec<Option<Cow<'a, str>>>,
    pub(super) exact: Vec<Option<Vec<u8>>>,
    pub(super) errors: Vec<Option<&'a str>>,
}

impl<'a> Bodies<'a> {
    pub(super) fn of(finishes: &[&'a Finish]) -> Self {
        let all = || finishes.iter().copied();
        Self {
            ids: all().map(|finish| finish.key.job_id).collect(),
            numbers: all().map(|finish| bulk::small_int(finish.key.number)).collect(),
            texts: bulk::sparse(all().map(|it| it.raw_text.as_deref().map(bulk::shown))),
            exact: bulk::sparse(all().map(|it| it.raw_text.as_deref().and_then(bulk::exact))),
            errors: bulk::sparse(all().map(|finish| finish.schema_errors.as_deref())),
        }
    }
}
