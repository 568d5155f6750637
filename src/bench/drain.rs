//! How fast jobs that are there already are done: with calls that take no time, and with calls that
//! take theirs.
//! Must not know: how jobs came in.

use anyhow::ensure;

use super::report::{Line, decimals, number};
use super::workers::{Work, Workers};
use super::{Bench, enqueue};
use crate::budget::Limit;
use crate::job::State;
use crate::store::LimitRule;

/// A limit that never binds, in calls and in tokens a minute, and is counted all the same.
const WIDE: Limit =
    Limit { requests_per_minute: Some(1_000_000_000), tokens_per_minute: Some(1_000_000_000_000) };

/// Calls of the slow measurement, how long each takes, and how many run at once.
const SLOW_JOBS_MAX: u64 = 2_000;
const SLOW_CALL_MS: u64 = 200;
const SLOW_CONCURRENCY: u32 = 200;

/// Jobs whose calls are answered at once.
pub(super) async fn drain(bench: &Bench<'_>, processes: u32, budget: bool) -> anyhow::Result<Line> {
    let work = bench.work(bench.options.concurrency, 0);
    let line = done(bench, "drain", bench.options.jobs, (processes, budget, &work)).await?;
    Ok(Line { budget: Some(budget), ..line })
}

/// Jobs whose calls take 200 ms: what the queue adds to them.
pub(super) async fn slow(bench: &Bench<'_>) -> anyhow::Result<Line> {
    let jobs = bench.options.jobs.min(SLOW_JOBS_MAX);
    let work = bench.work(SLOW_CONCURRENCY, SLOW_CALL_MS);
    let line = done(bench, "slow_call", jobs, (1, false, &work)).await?;
    let rounds = jobs.div_ceil(u64::from(SLOW_CONCURRENCY));
    let ideal_ms = rounds.saturating_mul(SLOW_CALL_MS);
    Ok(Line { ideal_s: Some(decimals(number(ideal_ms) / 1_000.0)), ..line })
}

async fn done(
    bench: &Bench<'_>,
    measure: &'static str,
    jobs: u64,
    (processes, budget, work): (u32, bool, &Work),
) -> anyhow::Result<Line> {
    let store = bench.ground.fresh().await?;
    if budget {
        let origin = "configuration".to_owned();
        let rule = LimitRule { pattern: "total".to_owned(), limit: WIDE, origin };
        store.seed_limits(vec![rule], &crate::worker::process_name()).await?;
    }
    enqueue::fill(bench, &*store, jobs).await?;
    bench.ground.settle().await?;
    let mut workers = Workers::start(&bench.options.launch, processes, work).await?;
    let mut meters = bench.ground.meters().await?;

    let begun = meters.begin().await?;
    workers.go()?;
    workers.until_ended(jobs).await?;
    let spent = meters.end(begun).await?;

    let (cpu, resident_mb_max) = workers.spent().await?;
    workers.end().await?;
    let states = store.counts(None).await?.states;
    store.close().await;
    ensure!(states == [(State::Succeeded, jobs)], "finish {jobs} jobs: they came to {states:?}");
    let line = Line::new(measure, jobs, spent, cpu);
    Ok(Line {
        processes: Some(processes),
        concurrency: Some(work.concurrency),
        pooled: bench.pooled(),
        resident_mb_max,
        ..line
    })
}
