//! The floor beneath a drain on SQLite: the rows that a claim and a finish write, by bare statements
//! in two transactions a group, into the store's own tables. What this disk can do at best.
//! Must not know: budgets, leases, retries, or anything else that a queue decides.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use uuid::Uuid;

use super::report::Line;
use super::{Bench, enqueue};

/// Jobs of one group.
const GROUP: i64 = 500;

/// Rows that the connection hands over at once, as the store's does.
const ROW_BUFFER: usize = 1_024;

const BEGIN: &str = "begin immediate";
const COMMIT: &str = "commit";

const PICK: &str = "select id, place from job
    where lane = ?1 and state = 'ready' and due = 1 and place >= ?2 order by place limit ?3";

/// A claim: job and attempt, then the documents.
const RUN: &str = "update job
    set state = 'running', calls = 1, fence = taken.value ->> 'fence', lease_id = ?2
    from jsonb_each(?1) as taken where job.id = taken.value ->> 'id'";
const ATTEMPT: &str = "insert into attempt (
        job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens
    )
    select value ->> 'id', 1, value ->> 'fence', ?2, 1700000000000, 7000000000, ?3, 1200
    from jsonb_each(?1)";
const SPEC: &str = "select job_spec.document, job_spec.resolved
    from jsonb_each(?1) as taken join job_spec on job_spec.job_id = taken.value ->> 'id'";

/// A finish: attempt, body, job, result.
const OUTCOME: &str = "update attempt
    set outcome = 'completed', settled_tokens = 325, finished_at = 1700000000001,
        input_tokens = 300, output_tokens = 5, cache_read = 0, cache_write = 0, cost_micros = 325,
        request_id = 'inside', total_ms = 0, stop = 'end_turn'
    from jsonb_each(?1) as done
    where attempt.job_id = done.value ->> 'id' and attempt.number = 1";
const BODY: &str = "insert into attempt_body (job_id, number, raw_text)
    select value ->> 'id', 1, 'a short answer' from jsonb_each(?1)";
const END: &str = "update job
    set state = 'succeeded', ended_at = 1700000000001, fence = null, lease_id = null
    from jsonb_each(?1) as done where job.id = done.value ->> 'id'";
const RESULT: &str = "insert into result (job_id, state, text, ended_at)
    select value ->> 'id', 'succeeded', 'a short answer', 1700000000001 from jsonb_each(?1)";

/// Either: the budget's states.
const BUDGET: &str = "insert into budget (key, state) values (?1, ?2)
    on conflict (key) do update set state = excluded.state";

/// What the floor writes as the budget's states: those that a real drain wrote last.
pub(super) type States = Vec<(String, String)>;

/// The states of the drain that has just been measured.
pub(super) async fn states(path: &Path) -> anyhow::Result<States> {
    let mut connection = connect(path).await?;
    let rows = sqlx::query("select key, state from budget").fetch_all(&mut connection).await?;
    let mut states = States::new();
    for row in rows {
        states.push((row.try_get("key")?, row.try_get("state")?));
    }
    connection.close().await?;
    Ok(states)
}

/// Measures it.
pub(super) async fn floor(bench: &Bench<'_>, path: &Path, states: &States) -> anyhow::Result<Line> {
    let jobs = bench.options.jobs;
    let store = bench.ground.fresh().await?;
    enqueue::fill(bench, &*store, jobs).await?;
    store.close().await;
    let mut connection = connect(path).await?;
    let lane_name: String = sqlx::query("select lane from job limit 1")
        .fetch_one(&mut connection)
        .await?
        .try_get("lane")?;
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    let done = drain(&mut connection, &lane_name, states).await?;
    let spent = meters.end(begun).await?;
    connection.close().await?;
    ensure!(u64::try_from(done) == Ok(jobs), "measure the floor: {done} jobs were done");
    let line = Line::new("floor_drain", jobs, spent, Duration::ZERO);
    Ok(Line { connections: Some(1), ..line })
}

/// As the store opens its file.
async fn connect(path: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .row_buffer_size(ROW_BUFFER)
        .pragma("secure_delete", "on")
        .pragma("cache_size", "-16000")
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    Ok(options.connect().await?)
}

/// Claims a group and finishes it, until there is none.
async fn drain(
    connection: &mut SqliteConnection,
    lane: &str,
    states: &States,
) -> anyhow::Result<usize> {
    let lease = Uuid::now_v7().to_string();
    let keys = json!(states.iter().map(|(key, _)| key).collect::<Vec<_>>()).to_string();
    let (mut low, mut done) = (f64::NEG_INFINITY, 0_usize);
    loop {
        sqlx::query(BEGIN).execute(&mut *connection).await?;
        let picked =
            sqlx::query(PICK).bind(lane).bind(low).bind(GROUP).fetch_all(&mut *connection).await?;
        if picked.is_empty() {
            sqlx::query(COMMIT).execute(&mut *connection).await?;
            return Ok(done);
        }
        let mut taken = Vec::with_capacity(picked.len());
        for row in &picked {
            let id: String = row.try_get("id")?;
            taken.push(json!({ "id": id, "fence": Uuid::new_v4() }));
            low = low.max(row.try_get("place")?);
        }
        let taken = json!(taken).to_string();
        sqlx::query(RUN).bind(&taken).bind(&lease).execute(&mut *connection).await?;
        let attempt = sqlx::query(ATTEMPT).bind(&taken).bind(&lease).bind(&keys);
        attempt.execute(&mut *connection).await?;
        sqlx::query(SPEC).bind(&taken).fetch_all(&mut *connection).await?;
        end(connection, states).await?;
        sqlx::query(BEGIN).execute(&mut *connection).await?;
        for statement in [OUTCOME, BODY, END, RESULT] {
            sqlx::query(statement).bind(&taken).execute(&mut *connection).await?;
        }
        end(connection, states).await?;
        done = done.saturating_add(picked.len());
    }
}

/// The end of either transaction.
async fn end(connection: &mut SqliteConnection, states: &States) -> anyhow::Result<()> {
    for (key, state) in states {
        sqlx::query(BUDGET).bind(key).bind(state).execute(&mut *connection).await?;
    }
    sqlx::query(COMMIT).execute(&mut *connection).await?;
    Ok(())
}
