//! The floor beneath a drain: the rows that a claim and a finish write, written by two bare
//! statements a group into tables of the store's own shapes. What this server can do at best.
//! Must not know: budgets, leases, retries, or anything else that a queue decides.

use std::time::Duration;

use anyhow::ensure;
use sqlx::{PgConnection, Row as _};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::report::Line;
use super::server::Server;
use super::{Bench, enqueue};

/// Jobs of one group; stands in [`CLAIM`] as a literal, so that its plan is made for it.
const GROUP: usize = 500;

/// The jobs as they stand before they are done: kept, because each run uses them up.
const KEEP: &str = "create table quarrier_bench.ready as select * from quarrier.job;
    insert into quarrier_bench.job_spec select * from quarrier.job_spec;
    analyze quarrier_bench.job_spec";

const REFILL: &str = "truncate quarrier_bench.job, quarrier_bench.attempt,
        quarrier_bench.attempt_body, quarrier_bench.result, quarrier_bench.budget,
        quarrier_bench.settlement;
    insert into quarrier_bench.job select * from quarrier_bench.ready;
    analyze quarrier_bench.job";

/// As claimed: job and attempt, the budget's states, and the document handed out.
const CLAIM: &str = "
with picked as materialized (
    select id, place from quarrier_bench.job
    where lane = $1 and state = 'ready' and due and place >= $2
    order by place limit 500 for no key update skip locked
), numbered as materialized (
    select id, place, ($3::uuid[])[row_number() over ()] as fence from picked
), ran as (
    update quarrier_bench.job
    set state = 'running', calls = 1, fence = numbered.fence, lease_id = $4
    from numbered where job.id = numbered.id
), noted as (
    insert into quarrier_bench.attempt (
        job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens
    )
    select id, 1, fence, $4, clock_timestamp(), 7000000000, $5, 1200 from numbered
), counted as (
    insert into quarrier_bench.budget (key, place, state)
    select * from unnest($5::text[], $6::double precision[], $7::text[])
)
select numbered.id, numbered.place, job_spec.document, job_spec.resolved
from numbered join quarrier_bench.job_spec on job_spec.job_id = numbered.id";

/// As finished: attempt, body, job, result, and what is left to be settled.
const FINISH: &str = "
with done as materialized (
    select * from unnest($1::uuid[], $2::text[]) as done (job_id, text)
), noted as (
    update quarrier_bench.attempt
    set outcome = 'completed', settled_tokens = 325, finished_at = clock_timestamp(),
        input_tokens = 300, output_tokens = 5, cache_read = 0, cache_write = 0, cost_micros = 325,
        request_id = 'inside', total_ms = 0, stop = 'end_turn'
    from done where attempt.job_id = done.job_id and attempt.number = 1
), said as (
    insert into quarrier_bench.attempt_body (job_id, number, raw_text)
    select job_id, 1, text from done
), ended as (
    update quarrier_bench.job
    set state = 'succeeded', ended_at = clock_timestamp(), fence = null, lease_id = null
    from done where job.id = done.job_id
), answered as (
    insert into quarrier_bench.result (job_id, state, text, ended_at)
    select job_id, 'succeeded', text, clock_timestamp() from done
)
insert into quarrier_bench.settlement (key, calls)
select * from unnest($3::text[], $4::text[])";

/// What the floor appends as the budget's states and as settlements: a real drain's, the last states
/// and the largest settlement that is left of each key.
#[derive(Debug, Clone, Default)]
pub(super) struct States {
    keys: Vec<String>,
    places: Vec<f64>,
    values: Vec<String>,
    calls: Vec<String>,
}

impl States {
    /// The last ones of the store as it stands; none where nothing was drained.
    async fn of(connection: &mut PgConnection) -> anyhow::Result<Self> {
        let rows = sqlx::query(
            "select distinct on (key) key, place, state, coalesce( \
                 (select calls from quarrier.settlement where settlement.key = budget.key \
                  order by length(calls) desc limit 1), '[0,[]]') as calls \
             from quarrier.budget order by key, seq desc",
        )
        .fetch_all(connection)
        .await?;
        let mut found = Self::default();
        for row in rows {
            found.keys.push(row.try_get("key")?);
            found.places.push(row.try_get("place")?);
            found.values.push(row.try_get("state")?);
            found.calls.push(row.try_get("calls")?);
        }
        Ok(found)
    }
}

/// Makes ready what the floor is measured on; the store may be emptied afterwards.
pub(super) async fn prepare(bench: &Bench<'_>, server: &Server) -> anyhow::Result<()> {
    let store = bench.ground.fresh().await?;
    enqueue::fill(bench, &*store, bench.options.jobs).await?;
    store.close().await;
    let mut connection = server.connect().await?;
    sqlx::raw_sql("drop table if exists quarrier_bench.ready").execute(&mut connection).await?;
    sqlx::raw_sql(KEEP).execute(&mut connection).await?;
    Ok(())
}

/// The states of the drain that has just been measured.
pub(super) async fn states(server: &Server) -> anyhow::Result<States> {
    States::of(&mut server.connect().await?).await
}

/// Measures it with so many connections.
pub(super) async fn floor(
    bench: &Bench<'_>,
    server: &Server,
    connections: u32,
    states: &States,
) -> anyhow::Result<Line> {
    let mut control = server.connect().await?;
    sqlx::raw_sql(REFILL).execute(&mut control).await?;
    bench.ground.settle().await?;
    let name: String = sqlx::query("select lane from quarrier_bench.ready limit 1")
        .fetch_one(&mut control)
        .await?
        .try_get("lane")?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = server.connect().await?;
        // The tables have just been filled: a plan that reads them whole is never the better one.
        sqlx::raw_sql("set enable_seqscan = off; set enable_hashjoin = off")
            .execute(&mut client)
            .await?;
        clients.push(client);
    }
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    let mut working = JoinSet::new();
    for client in clients {
        working.spawn(work(client, name.clone(), states.clone()));
    }
    let (mut done, mut clients) = (0_usize, Vec::new());
    while let Some(one) = working.join_next().await {
        let (jobs, client) = one??;
        done = done.saturating_add(jobs);
        // Held until the meters are read: the server tells the CPU of a process that it still has.
        clients.push(client);
    }
    let spent = meters.end(begun).await?;
    drop(clients);
    let jobs = bench.options.jobs;
    ensure!(u64::try_from(done) == Ok(jobs), "measure the floor: {done} jobs were done");
    let line = Line::new("floor_drain", jobs, spent, Duration::ZERO);
    Ok(Line { connections: Some(connections), ..line })
}

/// One client: claims a group and finishes it, until there is none.
async fn work(
    mut client: PgConnection,
    lane: String,
    states: States,
) -> anyhow::Result<(usize, PgConnection)> {
    let lease = Uuid::now_v7();
    let (mut low, mut done) = (f64::NEG_INFINITY, 0_usize);
    loop {
        let fences: Vec<Uuid> = (0..GROUP).map(|_| Uuid::new_v4()).collect();
        let claimed = sqlx::query(CLAIM)
            .bind(&lane)
            .bind(low)
            .bind(&fences)
            .bind(lease)
            .bind(&states.keys)
            .bind(&states.places)
            .bind(&states.values)
            .fetch_all(&mut client)
            .await?;
        if claimed.is_empty() {
            return Ok((done, client));
        }
        let mut ids: Vec<Uuid> = Vec::with_capacity(claimed.len());
        for row in &claimed {
            ids.push(row.try_get("id")?);
            low = low.max(row.try_get("place")?);
        }
        let texts = vec!["a short answer"; ids.len()];
        sqlx::query(FINISH)
            .bind(&ids)
            .bind(&texts)
            .bind(&states.keys)
            .bind(&states.calls)
            .execute(&mut client)
            .await?;
        done = done.saturating_add(ids.len());
    }
}
