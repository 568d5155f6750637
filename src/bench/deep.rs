//! How long a claim takes in a lane with a few ready jobs, and in one with very many.
//! Must not know: how a claim finds its jobs.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::report::{Line, decimals, percentile};
use super::server::Server;
use super::{Bench, enqueue, meters};
use crate::store::{ClaimAsk, LeaseInfo, Store};

/// Ready jobs of the lane that is not deep.
const SHALLOW: u64 = 10_000;

/// Claims that are measured, how many jobs each takes, and how many candidates each looks at.
const CLAIMS: u64 = 50;
const JOBS_MAX: u64 = 100;
const SCAN_MAX: u32 = 640;

/// Copies of the one job that was admitted, behind it in its lane. Every column of the job is the
/// same but for its id and its place. Documents are there for those that will be claimed: a claim
/// reads no other's, and ten million would fill the disk.
const FILL: &str = "do $$
declare
    rest text;
begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into rest
    from pg_attribute
    where attrelid = 'quarrier.job'::regclass and attnum > 0 and not attisdropped
        and attname not in ('id', 'place');
    execute format(
        'insert into quarrier.job (id, place, %1$s)
         select quarrier.uuid_v7(), first.place + number, %1$s
         from (select * from quarrier.job limit 1) as first, generate_series(1, {more}) as number',
        rest);
    insert into quarrier.job_spec (job_id, document, metadata, resolved)
    select behind.id, first.document, first.metadata, first.resolved
    from (select * from quarrier.job_spec limit 1) as first, (
        select id from quarrier.job order by place offset 1 limit {claimed}
    ) as behind;
end
$$";

/// Measures it in a lane with a few jobs, and in one with as many as were asked for.
pub(super) async fn deep(
    bench: &Bench<'_>,
    server: &Server,
    is_deep: bool,
) -> anyhow::Result<Line> {
    let most = bench.options.deep_jobs;
    let ready = if is_deep { most } else { most.min(SHALLOW) };
    // The shallow lane does not run dry, and both are asked alike.
    let each = (most.min(SHALLOW) / CLAIMS / 2).clamp(1, JOBS_MAX);
    let store = bench.ground.fresh().await?;
    enqueue::fill(bench, &*store, 1).await?;
    let mut connection = server.connect().await?;
    fill(&mut connection, ready, CLAIMS.saturating_mul(each)).await?;
    bench.ground.settle().await?;
    let row = sqlx::query("select lane from quarrier.job limit 1").fetch_one(&mut connection);
    let lane_name: String = row.await?.try_get("lane")?;

    let lease = LeaseInfo {
        id: Uuid::now_v7(),
        pid: std::process::id(),
        host: "bench".to_owned(),
        takes_jobs: true,
    };
    store.open_lease(&lease).await?;
    let mut meters = bench.ground.meters().await?;
    let begun = meters.begin().await?;
    let (mut times, mut claimed) = (Vec::new(), 0_u64);
    for _ in 0..CLAIMS.min(ready) {
        let fences = (0..each).map(|_| Uuid::new_v4()).collect();
        let asked_ns = meters::monotonic_ns();
        claimed = claimed.saturating_add(claim(&*store, &lane_name, lease.id, fences).await?);
        times.push(meters::apart_ms(asked_ns, meters::monotonic_ns()));
    }
    let spent = meters.end(begun).await?;
    store.close().await;
    ensure!(claimed == CLAIMS.min(ready).saturating_mul(each), "claim: {claimed} jobs came");
    times.sort_by(f64::total_cmp);
    let line = Line::new("deep", claimed, spent, Duration::ZERO);
    let at = |percent| percentile(&times, percent).map(decimals);
    Ok(Line { ready: Some(ready), p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), ..line })
}

async fn claim(
    store: &dyn Store,
    lane: &str,
    lease: Uuid,
    fences: Vec<Uuid>,
) -> anyhow::Result<u64> {
    let ask = ClaimAsk {
        lane: lane.to_owned(),
        lease,
        fences,
        scan_max: SCAN_MAX,
        pass_ms_max: 60_000,
        money_micros_max: None,
        batch: None,
    };
    let claimed = store.claim(ask).await?;
    Ok(u64::try_from(claimed.jobs.len()).unwrap_or(u64::MAX))
}

async fn fill(connection: &mut PgConnection, ready: u64, claimed: u64) -> anyhow::Result<()> {
    let statement = FILL
        .replace("{more}", &ready.saturating_sub(1).to_string())
        .replace("{claimed}", &claimed.to_string());
    // Only numbers were put in.
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(connection)
        .await
        .context("fill a lane")?;
    Ok(())
}
