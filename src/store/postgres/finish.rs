//! Room 6 on Postgres: a group of finished attempts recorded, settled and moved on in one
//! transaction.
//! Must not know: why a job moves where it moves (`retry` has decided).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::draws::{self, Draws};
use super::end::{self, End};
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::settling::{self, Record, Records};
use crate::store::{AttemptKey, Finish, Finished, Next, Settlement, StoreError};

/// A finish that nobody has recorded yet, with what the tables say of its attempt.
type Fresh<'a> = (&'a Finish, &'a Record);

impl PostgresStore {
    pub(super) async fn finish_group(&self, group: &[Finish]) -> Outcome<Vec<Finished>> {
        if group.is_empty() {
            return Ok(Vec::new());
        }
        self.keep_lane_time().await?;
        let mut tx = self.begin().await?;
        let keys: Vec<AttemptKey> = group.iter().map(|finish| finish.key).collect();
        let Standing { records, read_ms } = records(&mut tx, &keys).await?;
        let now = self.now_or_read(&mut tx, read_ms).await?;
        let group = &*settling::without_deleted(group, &records);
        let fresh = settling::fresh(group, &records);
        record(&mut tx, &fresh, now).await?;
        let ends: Vec<End> = fresh.iter().filter_map(|(finish, _)| ended(finish)).collect();
        let ended = end::end_jobs(&mut tx, &ends, now).await?;
        fence(&mut tx, &fresh, &ended, now).await?;
        again(&mut tx, &fresh, now).await?;
        hold(&mut tx, &fresh).await?;
        pause(&mut tx, &fresh, now).await?;
        self.settle(&mut tx, &fresh).await?;
        tx.commit().await?;
        if fresh.iter().any(|(finish, _)| matches!(finish.next, Next::Again { .. })) {
            self.forget_low_water();
        }
        Ok(settling::answers(group, &records, &ended))
    }

    pub(super) async fn give_back_unsent(&self, attempts: &[AttemptKey]) -> Outcome<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        self.keep_lane_time().await?;
        let mut tx = self.begin().await?;
        let Standing { records, read_ms } = records(&mut tx, attempts).await?;
        let now = self.now_or_read(&mut tx, read_ms).await?;
        let unsent = settling::unsent(attempts, &records);
        let ids: Vec<Uuid> = unsent.iter().map(|(key, _)| key.job_id).collect();
        let numbers: Vec<i32> = unsent.iter().map(|(key, _)| bulk::small_int(key.number)).collect();
        sqlx::query_file!(
            "src/store/postgres/give_back_attempt.sql",
            &ids,
            &numbers,
            bulk::instant(now)
        )
        .execute(tx.on())
        .await?;
        let current: Vec<Uuid> =
            unsent.iter().filter(|(_, record)| record.current).map(|(key, _)| key.job_id).collect();
        sqlx::query_file!("src/store/postgres/give_back_job.sql", &current)
            .execute(tx.on())
            .await?;
        let names = unsent.iter().flat_map(|(_, record)| record.keys.iter().cloned()).collect();
        let mut draws = self.open_draws(&mut tx, &names).await?;
        for (_, record) in &unsent {
            record.settle(&mut draws.keyed, Settlement::GivenBack);
        }
        draws.save(self, &mut tx).await?;
        tx.commit().await?;
        self.forget_low_water();
        Ok(())
    }

    /// Locks and loads these keys.
    async fn open_draws(&self, tx: &mut Tx, names: &BTreeSet<String>) -> Outcome<Draws> {
        let rules = draws::rules(tx).await?;
        draws::lock(tx, names).await?;
        Draws::load(self, tx, names, &rules).await
    }

    /// Settles every attempt, then tells the lanes what the calls taught.
    async fn settle(&self, tx: &mut Tx, fresh: &[Fresh<'_>]) -> Outcome<()> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (finish, record) in fresh {
            names.extend(record.keys.iter().cloned());
            if finish.lane.throttled {
                names.insert(format!("lane:{}", record.lane));
            }
        }
        let mut draws = self.open_draws(tx, &names).await?;
        for (finish, record) in fresh {
            record.settle(&mut draws.keyed, finish.settlement);
        }
        for (finish, record) in fresh.iter().filter(|(finish, _)| finish.lane.throttled) {
            // A lane without a limit of its own grows back towards the tightest above it.
            let reference = settling::tightest(&draws.keyed, &record.keys);
            let index = draws.index(&format!("lane:{}", record.lane));
            if let Some(keyed) = index.and_then(|index| draws.keyed.get_mut(index)) {
                keyed.state.throttled(record.claimed_at(), &reference, finish.lane.dimension);
            }
        }
        draws.save(self, tx).await
    }
}

/// What stands of some attempts, and when that was read by the database's clock, if there is any.
pub(super) struct Standing {
    pub(super) records: Records,
    pub(super) read_ms: Option<i64>,
}

/// Locks the jobs of these attempts, then reads what stands.
pub(super) async fn records(tx: &mut Tx, keys: &[AttemptKey]) -> Outcome<Standing> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.job_id).collect();
    let jobs = sqlx::query_file!("src/store/postgres/finish_lock.sql", &ids).fetch_all(tx.on());
    let jobs: HashMap<Uuid, (String, Option<Uuid>, bool)> =
        jobs.await?.into_iter().map(|job| (job.id, (job.lane, job.running, job.gone))).collect();
    let numbers: Vec<i32> = keys.iter().map(|key| bulk::small_int(key.number)).collect();
    let fences: Vec<Uuid> = keys.iter().map(|key| key.fence).collect();
    let rows = sqlx::query_file!("src/store/postgres/finish_read.sql", &ids, &numbers, &fences)
        .fetch_all(tx.on())
        .await?;
    let read_ms = rows.first().map(|row| row.now);
    let mut records = Records::with_capacity(rows.len());
    for row in rows {
        let Some((lane, running, gone)) = jobs.get(&row.job_id) else { continue };
        let record = Record {
            fence: row.fence,
            slot: bulk::uint(row.slot),
            keys: row.keys,
            reserved_tokens: bulk::uint(row.reserved_tokens),
            outcome: row.outcome,
            lane: lane.clone(),
            current: *running == Some(row.fence),
            gone: *gone,
        };
        records.insert(record.fence, record);
    }
    Ok(Standing { records, read_ms })
}

fn ended(finish: &Finish) -> Option<End> {
    let Next::End { state, output, text, provenance } = &finish.next else { return None };
    Some(End {
        job: finish.key.job_id,
        state: *state,
        output: output.clone(),
        text: text.clone(),
        error: finish.error.clone().filter(|_| *state != State::Succeeded),
        provenance: provenance.clone(),
    })
}

/// A late answer ended its job: the attempt that runs meanwhile is fenced.
async fn fence(tx: &mut Tx, fresh: &[Fresh<'_>], ended: &HashSet<Uuid>, now: i64) -> Outcome<()> {
    let late = fresh
        .iter()
        .filter(|(finish, record)| !record.current && ended.contains(&finish.key.job_id));
    let ids: Vec<Uuid> = late.map(|(finish, _)| finish.key.job_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    end::unknown_attempts(tx, &ids, ErrorKind::Cancelled, now).await
}

/// Evidence, usage and cost stay on the attempt, whatever becomes of the job.
async fn record(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> Outcome<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    let all = || fresh.iter().map(|(finish, _)| *finish);
    let ids: Vec<Uuid> = all().map(|finish| finish.key.job_id).collect();
    let numbers: Vec<i32> = all().map(|finish| bulk::small_int(finish.key.number)).collect();
    let outcomes: Vec<&str> = all().map(|finish| finish.outcome.as_str()).collect();
    let settled: Vec<Option<i64>> =
        all().map(|finish| settling::settled_tokens(finish.settlement).map(bulk::int)).collect();
    let kinds: Vec<Option<&str>> =
        all().map(|finish| finish.error.as_ref().map(|(kind, _)| kind.as_str())).collect();
    let messages: Vec<Option<Cow<'_, str>>> =
        all().map(|finish| finish.error.as_ref().map(|(_, text)| bulk::shown(text))).collect();
    let inputs: Vec<Option<i64>> =
        all().map(|finish| finish.usage.map(|usage| bulk::int(usage.input))).collect();
    let outputs: Vec<Option<i64>> =
        all().map(|finish| finish.usage.map(|usage| bulk::int(usage.output))).collect();
    let reads: Vec<Option<i64>> =
        all().map(|finish| finish.usage.map(|usage| bulk::int(usage.cache_read))).collect();
    let writes: Vec<Option<i64>> =
        all().map(|finish| finish.usage.map(|usage| bulk::int(usage.cache_write))).collect();
    let costs: Vec<Option<i64>> = all().map(|finish| finish.cost_micros.map(bulk::int)).collect();
    let requests: Vec<Option<Cow<'_, str>>> =
        all().map(|finish| finish.request_id.as_deref().map(bulk::shown)).collect();
    let firsts: Vec<Option<i64>> =
        all().map(|finish| finish.first_token_ms.map(bulk::int)).collect();
    let totals: Vec<Option<i64>> = all().map(|finish| finish.total_ms.map(bulk::int)).collect();
    let mut stops = Vec::with_capacity(fresh.len());
    for finish in all() {
        stops.push(stop_name(finish)?);
    }
    sqlx::query_file!(
        "src/store/postgres/finish_attempt.sql",
        &ids,
        &numbers,
        &outcomes as _,
        &settled as _,
        &kinds as _,
        &messages as _,
        &inputs as _,
        &outputs as _,
        &reads as _,
        &writes as _,
        &costs as _,
        &requests as _,
        &firsts as _,
        &totals as _,
        &stops as _,
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
        |(finish, _): &&Fresh<'_>| finish.raw_text.is_some() || finish.schema_errors.is_some();
    let (first, again): (Vec<&Fresh<'_>>, Vec<&Fresh<'_>>) =
        fresh.iter().filter(said).partition(|(_, record)| record.outcome.is_none());
    if !first.is_empty() {
        let Bodies { ids, numbers, texts, exact, errors } = Bodies::of(&first);
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
        let Bodies { ids, numbers, texts, exact, errors } = Bodies::of(&again);
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

/// The columns of some bodies.
struct Bodies<'a> {
    ids: Vec<Uuid>,
    numbers: Vec<i32>,
    texts: Vec<Option<Cow<'a, str>>>,
    exact: Vec<Option<Vec<u8>>>,
    errors: Vec<Option<&'a str>>,
}

impl<'a> Bodies<'a> {
    fn of(fresh: &[&Fresh<'a>]) -> Self {
        let all = || fresh.iter().map(|(finish, _)| *finish);
        Self {
            ids: all().map(|finish| finish.key.job_id).collect(),
            numbers: all().map(|finish| bulk::small_int(finish.key.number)).collect(),
            texts: all().map(|finish| finish.raw_text.as_deref().map(bulk::shown)).collect(),
            exact: all().map(|finish| finish.raw_text.as_deref().and_then(bulk::exact)).collect(),
            errors: all().map(|finish| finish.schema_errors.as_deref()).collect(),
        }
    }
}

/// A job that is called again.
struct Again<'a> {
    id: Uuid,
    due: bool,
    run_at: i64,
    counters: [i32; 4],
    input_tokens_max: i64,
    reason: Option<&'static str>,
    reask: Option<&'a str>,
}

fn again_of<'a>((finish, record): &Fresh<'a>, now: i64) -> Option<Again<'a>> {
    let Next::Again { after_ms, counters, reask, input_tokens_max } = &finish.next else {
        return None;
    };
    // Only where this attempt is still the job's own.
    record.current.then(|| Again {
        id: finish.key.job_id,
        due: *after_ms == 0,
        run_at: bulk::instant(now.saturating_add(bulk::int(*after_ms))),
        counters: [counters.failures, counters.reasks, counters.crashes, counters.throttles]
            .map(bulk::small_int),
        input_tokens_max: bulk::int(*input_tokens_max),
        reason: finish.error.as_ref().map(|(kind, _)| kind.as_str()),
        reask: reask.as_deref(),
    })
}

/// Jobs that are called again.
async fn again(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> Outcome<()> {
    let rows: Vec<Again<'_>> = fresh.iter().filter_map(|fresh| again_of(fresh, now)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let due: Vec<bool> = rows.iter().map(|row| row.due).collect();
    let run_at: Vec<i64> = rows.iter().map(|row| row.run_at).collect();
    let failures: Vec<i32> = rows.iter().map(|Again { counters: [n, _, _, _], .. }| *n).collect();
    let reasks: Vec<i32> = rows.iter().map(|Again { counters: [_, n, _, _], .. }| *n).collect();
    let crashes: Vec<i32> = rows.iter().map(|Again { counters: [_, _, n, _], .. }| *n).collect();
    let throttles: Vec<i32> = rows.iter().map(|Again { counters: [_, _, _, n], .. }| *n).collect();
    let inputs: Vec<i64> = rows.iter().map(|row| row.input_tokens_max).collect();
    let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason).collect();
    sqlx::query_file!(
        "src/store/postgres/job_again.sql",
        &ids,
        &due,
        &run_at,
        &failures,
        &reasks,
        &crashes,
        &throttles,
        &inputs,
        &reasons as _
    )
    .execute(tx.on())
    .await?;
    let (ids, reasks): (Vec<Uuid>, Vec<&str>) =
        rows.iter().filter_map(|row| Some((row.id, row.reask?))).unzip();
    if !ids.is_empty() {
        sqlx::query_file!("src/store/postgres/job_spec_reask.sql", &ids, &reasks as _)
            .execute(tx.on())
            .await?;
    }
    Ok(())
}

/// Jobs that wait for a person.
async fn hold(tx: &mut Tx, fresh: &[Fresh<'_>]) -> Outcome<()> {
    let held = fresh.iter().filter(|(finish, record)| finish.next == Next::Held && record.current);
    let ids: Vec<Uuid> = held.map(|(finish, _)| finish.key.job_id).collect();
    if !ids.is_empty() {
        sqlx::query_file!("src/store/postgres/job_hold.sql", &ids).execute(tx.on()).await?;
    }
    Ok(())
}

/// Lanes that nobody calls for a while.
async fn pause(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> Outcome<()> {
    for (finish, record) in fresh {
        let Some(pause_ms) = finish.lane.pause_ms else { continue };
        let until = bulk::instant(now.saturating_add(bulk::int(pause_ms)));
        let reason = finish.error.as_ref().map(|(kind, _)| kind.as_str());
        sqlx::query_file!("src/store/postgres/lane_pause.sql", record.lane, until, reason)
            .execute(tx.on())
            .await?;
    }
    Ok(())
}
