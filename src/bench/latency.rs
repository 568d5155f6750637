//! How soon an idle worker picks up a job: from the acknowledgement of its commit to the start of
//! its call.
//! Must not know: how the worker learns of it.

use std::time::Duration;

#[cfg(feature = "postgres")]
use super::documents::document;
use super::report::{Line, decimals, percentile};
use super::workers::{Work, Workers};
use super::{Bench, enqueue, meters};
use crate::store::Store;

/// How many jobs, at most, and how long after one another.
const JOBS_MAX: u64 = 200;
const GAP: Duration = Duration::from_millis(50);

/// How long a worker that has just begun is left alone, and then watched while idle.
const REST: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(3);

/// Calls at once: never more than a few.
const CONCURRENCY: u32 = 20;

/// Measures it.
pub(super) async fn latency(bench: &Bench<'_>) -> anyhow::Result<Line> {
    let jobs = bench.options.jobs.min(JOBS_MAX);
    let store = bench.ground.fresh().await?;
    bench.ground.settle().await?;
    let work = Work { tells_starts: true, ..bench.work(CONCURRENCY, 0) };
    let mut workers = Workers::start(&bench.options.launch, 1, &work).await?;
    workers.go()?;
    tokio::time::sleep(REST).await;
    let (before, _) = workers.spent().await?;
    tokio::time::sleep(IDLE).await;
    let (after, _) = workers.spent().await?;
    let idle = after.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();

    let mut door = Door::open(bench, &*store).await?;
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    let mut acknowledged = Vec::new();
    for number in 0..jobs {
        door.give(number).await?;
        acknowledged.push(meters::monotonic_ns());
        tokio::time::sleep(GAP).await;
    }
    workers.until_started(acknowledged.len()).await?;
    let spent = meters.end(begun).await?;
    workers.until_ended(jobs).await?;
    let (cpu, resident_mb_max) = workers.spent().await?;
    let starts = std::mem::take(&mut workers.starts);
    workers.end().await?;
    let door = door.name();
    store.close().await;

    let mut waits: Vec<f64> = starts
        .iter()
        .filter_map(|(number, at_ns)| {
            let given = acknowledged.get(usize::try_from(*number).ok()?)?;
            Some(meters::apart_ms(*given, *at_ns))
        })
        .collect();
    anyhow::ensure!(waits.len() == acknowledged.len(), "measure: {} calls started", waits.len());
    waits.sort_by(f64::total_cmp);
    let line = Line::new("latency", jobs, spent, cpu.saturating_sub(after));
    let at = |percent| percentile(&waits, percent).map(decimals);
    Ok(Line {
        door: Some(door),
        processes: Some(1),
        // The pace was given.
        jobs_per_s: None,
        pooled: bench.pooled(),
        p50_ms: at(50),
        p95_ms: at(95),
        p99_ms: at(99),
        idle_cpu_percent: Some(decimals(idle * 100.0)),
        resident_mb_max,
        ..line
    })
}

/// By which way the jobs come in: as another program's would where SQL has a door.
struct Door<'a> {
    bench: &'a Bench<'a>,
    store: &'a dyn Store,
    #[cfg(feature = "postgres")]
    client: Option<sqlx::PgConnection>,
}

impl<'a> Door<'a> {
    async fn open(bench: &'a Bench<'a>, store: &'a dyn Store) -> anyhow::Result<Self> {
        Ok(Self {
            bench,
            store,
            #[cfg(feature = "postgres")]
            client: match bench.ground.server() {
                Some(server) => Some(server.connect().await?),
                None => None,
            },
        })
    }

    fn name(&self) -> &'static str {
        #[cfg(feature = "postgres")]
        if self.client.is_some() {
            return "function";
        }
        "admission"
    }

    async fn give(&mut self, number: u64) -> anyhow::Result<()> {
        #[cfg(feature = "postgres")]
        if let Some(client) = &mut self.client {
            return enqueue::give(client, &document(number, false)).await;
        }
        let job = enqueue::prepared(self.bench, number, &[])?;
        self.store.admit(vec![job]).await?;
        Ok(())
    }
}
