//! A pace that is kept while somebody else holds a transaction open: what is dead then cannot be
//! cleared away, and whoever walks over it grows slower and slower.
//! Must not know: how the store keeps its rows.

use std::time::Duration;

use sqlx::PgConnection;

use super::documents::document;
use super::report::{Line, decimals, number, percentile};
use super::server::Server;
use super::workers::{Work, Workers};
use super::{Bench, enqueue, meters};

/// Jobs that are put in each second, so many together, each time so long after the last.
const PER_SECOND: u64 = 500;
const TOGETHER: u64 = 10;
const GAP: Duration = Duration::from_millis(20);

/// Calls at once.
const CONCURRENCY: u32 = 200;

/// Of the beginning and of the end, one in so many jobs is looked at.
const PART: usize = 10;

/// What the other one does: it has read, and keeps its snapshot.
const HOLD: &str = "set idle_in_transaction_session_timeout = 0;
    begin transaction isolation level repeatable read;
    select count(*) from quarrier.job";

/// Measures it.
pub(super) async fn held(bench: &Bench<'_>, server: &Server) -> anyhow::Result<Line> {
    let seconds = u64::from(bench.options.held_s);
    let jobs = PER_SECOND.saturating_mul(seconds);
    let store = bench.ground.fresh().await?;
    bench.ground.settle().await?;
    let work = Work { tells_starts: true, ..bench.work(CONCURRENCY, 0) };
    let mut workers = Workers::start(&bench.options.launch, 1, &work).await?;
    workers.go()?;
    let mut producer = server.connect().await?;
    let mut other = server.connect().await?;
    let mut meters = bench.ground.meters().await?;
    sqlx::raw_sql(HOLD).execute(&mut other).await?;

    let begun = meters.begin().await?;
    let given = feed(&mut producer, jobs).await?;
    workers.until_ended(jobs).await?;
    let spent = meters.end(begun).await?;

    sqlx::raw_sql("rollback").execute(&mut other).await?;
    workers.until_started(given.len()).await?;
    let (cpu, resident_mb_max) = workers.spent().await?;
    let mut starts = std::mem::take(&mut workers.starts);
    workers.end().await?;
    store.close().await;
    // A call that was made twice is counted by its first start.
    starts.sort_unstable();
    starts.dedup_by_key(|(number, _)| *number);
    let waits: Vec<f64> = starts
        .iter()
        .filter_map(|(number, at_ns)| {
            let given = given.get(usize::try_from(*number).ok()?)?;
            Some(meters::apart_ms(*given, *at_ns))
        })
        .collect();
    let part = (waits.len() / PART).max(1);
    let (first, last) = (waits.len().min(part), waits.len().saturating_sub(part));
    let (early, late) = (sorted(waits.get(..first)), sorted(waits.get(last..)));
    let all = sorted(Some(&waits));
    let at = |sorted: &[f64], percent| percentile(sorted, percent).map(decimals);
    let line = Line::new("held", jobs, spent, cpu);
    Ok(Line {
        door: Some("function"),
        processes: Some(1),
        pooled: bench.pooled(),
        ideal_s: Some(number(seconds)),
        p50_ms: at(&all, 50),
        p95_ms: at(&all, 95),
        p99_ms: at(&all, 99),
        begin_p50_ms: at(&early, 50),
        end_p50_ms: at(&late, 50),
        resident_mb_max,
        ..line
    })
}

fn sorted(waits: Option<&[f64]>) -> Vec<f64> {
    let mut sorted = waits.unwrap_or_default().to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Puts jobs in at the pace, and tells when each was acknowledged. What comes late is made up for.
async fn feed(producer: &mut PgConnection, jobs: u64) -> anyhow::Result<Vec<u64>> {
    let mut ticks = tokio::time::interval(GAP);
    let mut acknowledged = Vec::new();
    let mut first = 0;
    while first < jobs {
        ticks.tick().await;
        let next = jobs.min(first.saturating_add(TOGETHER));
        let documents = (first..next).map(|number| document(number, false)).collect();
        enqueue::give_many(producer, documents).await?;
        let now = meters::monotonic_ns();
        acknowledged.extend((first..next).map(|_| now));
        first = next;
    }
    Ok(acknowledged)
}
