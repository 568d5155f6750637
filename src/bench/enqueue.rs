//! How fast jobs come in: one by one and in bulk through the SQL functions, and in bulk through
//! this program's own admission.
//! Must not know: how they are worked on.

#[cfg(feature = "postgres")]
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{anyhow, ensure};
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Row as _};
#[cfg(feature = "postgres")]
use tokio::task::JoinSet;
#[cfg(feature = "postgres")]
use uuid::Uuid;

use super::Bench;
use super::documents::document;
use super::report::Line;
#[cfg(feature = "postgres")]
use super::server::Server;
use crate::admit::{Origin, Overrides};
use crate::clock::Clock;
use crate::store::{LimitRule, NewJob, Store};

/// How many documents one call of the SQL function takes.
#[cfg(feature = "postgres")]
const MANY: u64 = 1_000;

/// How many clients put jobs in at the same time.
#[cfg(feature = "postgres")]
pub(super) const CLIENTS: u32 = 10;

/// What each client does for each job.
#[cfg(feature = "postgres")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// The SQL function.
    Function,
    /// The same row by a bare insert, into a table of the same shape.
    Floor,
}

/// One by one through `quarrier.enqueue`.
#[cfg(feature = "postgres")]
pub(super) async fn one(
    bench: &Bench<'_>,
    server: &Server,
    connections: u32,
) -> anyhow::Result<Line> {
    // A lone client takes far longer for each job.
    let jobs = (bench.options.jobs / if connections == 1 { 10 } else { 2 }).max(1);
    let line = one_by_one(bench, server, Door::Function, (connections, jobs)).await?;
    Ok(Line { door: Some("function"), ..line })
}

/// The floor beneath it.
#[cfg(feature = "postgres")]
pub(super) async fn floor(bench: &Bench<'_>, server: &Server) -> anyhow::Result<Line> {
    let jobs = (bench.options.jobs / 2).max(1);
    one_by_one(bench, server, Door::Floor, (CLIENTS, jobs)).await
}

#[cfg(feature = "postgres")]
async fn one_by_one(
    bench: &Bench<'_>,
    server: &Server,
    door: Door,
    (connections, jobs): (u32, u64),
) -> anyhow::Result<Line> {
    bench.ground.fresh().await?.close().await;
    bench.ground.settle().await?;
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(server.connect().await?);
    }
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    let mut working = JoinSet::new();
    for client in clients {
        working.spawn(put(client, door, Arc::clone(&next), jobs));
    }
    let mut clients = Vec::new();
    while let Some(done) = working.join_next().await {
        // Held until the meters are read: the server tells the CPU of a process that it still has.
        clients.push(done??);
    }
    let spent = meters.end(begun).await?;
    drop(clients);
    let (measure, count) = match door {
        Door::Function => ("enqueue_one", "select count(*) as rows from quarrier.submission"),
        Door::Floor => ("floor_enqueue", "select count(*) as rows from quarrier_bench.submission"),
    };
    let rows: i64 =
        sqlx::query(count).fetch_one(&mut server.connect().await?).await?.try_get("rows")?;
    ensure!(u64::try_from(rows) == Ok(jobs), "enqueue: {rows} rows of {jobs} are there");
    let line = Line::new(measure, jobs, spent, Duration::ZERO);
    Ok(Line { connections: Some(connections), ..line })
}

/// One client: takes the next number until there is none.
#[cfg(feature = "postgres")]
async fn put(
    mut client: PgConnection,
    door: Door,
    next: Arc<AtomicU64>,
    jobs: u64,
) -> anyhow::Result<PgConnection> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= jobs {
            return Ok(client);
        }
        let document = document(number, false);
        match door {
            Door::Function => give(&mut client, &document).await?,
            Door::Floor => {
                sqlx::query(
                    "insert into quarrier_bench.submission (job_id, tenant, document) \
                     values ($1, 'default', $2)",
                )
                .bind(Uuid::now_v7())
                .bind(document)
                .execute(&mut client)
                .await?;
            }
        }
    }
}

/// One document through the SQL function, committed when this returns.
#[cfg(feature = "postgres")]
pub(super) async fn give(client: &mut PgConnection, document: &str) -> anyhow::Result<()> {
    sqlx::query("select quarrier.enqueue($1::text::jsonb)").bind(document).execute(client).await?;
    Ok(())
}

/// In bulk through `quarrier.enqueue_many`, from so many clients at once.
#[cfg(feature = "postgres")]
pub(super) async fn many(
    bench: &Bench<'_>,
    server: &Server,
    connections: u32,
) -> anyhow::Result<Line> {
    bench.ground.fresh().await?.close().await;
    bench.ground.settle().await?;
    let jobs = bench.options.jobs;
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(server.connect().await?);
    }
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    let mut working = JoinSet::new();
    for client in clients {
        working.spawn(put_many(client, Arc::clone(&next), jobs));
    }
    let mut clients = Vec::new();
    while let Some(done) = working.join_next().await {
        clients.push(done??);
    }
    let spent = meters.end(begun).await?;
    drop(clients);
    let line = Line::new("enqueue_bulk", jobs, spent, Duration::ZERO);
    Ok(Line { door: Some("function"), connections: Some(connections), ..line })
}

/// One client: takes the next documents until there are none.
#[cfg(feature = "postgres")]
async fn put_many(
    mut client: PgConnection,
    next: Arc<AtomicU64>,
    jobs: u64,
) -> anyhow::Result<PgConnection> {
    loop {
        let first = next.fetch_add(MANY, Ordering::Relaxed);
        if first >= jobs {
            return Ok(client);
        }
        let end = jobs.min(first.saturating_add(MANY));
        give_many(&mut client, (first..end).map(|number| document(number, false)).collect())
            .await?;
    }
}

/// Documents through the SQL function, committed when this returns.
#[cfg(feature = "postgres")]
pub(super) async fn give_many(
    client: &mut PgConnection,
    documents: Vec<String>,
) -> anyhow::Result<()> {
    let wanted = i64::try_from(documents.len());
    let row =
        sqlx::query("select count(*) as given from quarrier.enqueue_many($1::text[]::jsonb[])")
            .bind(documents)
            .fetch_one(client)
            .await?;
    let given: i64 = row.try_get("given")?;
    ensure!(wanted == Ok(given), "enqueue_many gave {given} ids");
    Ok(())
}

/// In bulk through this program's own door, from one connection.
pub(super) async fn admission(bench: &Bench<'_>) -> anyhow::Result<Line> {
    let store = bench.ground.fresh().await?;
    bench.ground.settle().await?;
    let jobs = bench.options.jobs;
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    fill(bench, &*store, jobs).await?;
    let spent = meters.end(begun).await?;
    let states = store.counts(None).await?.states;
    store.close().await;
    ensure!(states.iter().map(|(_, count)| count).sum::<u64>() == jobs, "admit: {states:?}");
    let line = Line::new("enqueue_bulk", jobs, spent, Duration::ZERO);
    Ok(Line { door: Some("admission"), connections: Some(1), ..line })
}

/// Admits so many jobs, numbered from 0.
pub(super) async fn fill(bench: &Bench<'_>, store: &dyn Store, jobs: u64) -> anyhow::Result<()> {
    let rows_max = u64::from(bench.settings.store.write_rows_max.max(1));
    let limits = store.limits().await?;
    let mut first = 0;
    while first < jobs {
        let next = jobs.min(first.saturating_add(rows_max));
        let chunk: anyhow::Result<Vec<NewJob>> =
            (first..next).map(|number| prepared(bench, number, &limits)).collect();
        store.admit(chunk?).await?;
        first = next;
    }
    Ok(())
}

/// One job, ready to be admitted.
pub(super) fn prepared(
    bench: &Bench<'_>,
    number: u64,
    limits: &[LimitRule],
) -> anyhow::Result<NewJob> {
    let (text, now) = (document(number, true), Clock::real().now());
    let prepared =
        bench.admission.prepare(&text, &Overrides::default(), Origin::default(), limits, now);
    prepared.map_err(|problems| {
        let reasons: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("admit a job: {}", reasons.join("; "))
    })
}
