//! Where a finish leaves its job, unless it ends it: called again, held, or its lane paused.
//! Must not know: why (`retry` has decided).

use uuid::Uuid;

use super::Fresh;
use crate::store::Next;
use crate::store::postgres::bulk;
use crate::store::postgres::error::Outcome;
use crate::store::postgres::session::Tx;

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
pub(super) async fn again(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> Outcome<()> {
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
pub(super) async fn hold(tx: &mut Tx, fresh: &[Fresh<'_>]) -> Outcome<()> {
    let held = fresh.iter().filter(|(finish, record)| finish.next == Next::Held && record.current);
    let ids: Vec<Uuid> = held.map(|(finish, _)| finish.key.job_id).collect();
    if !ids.is_empty() {
        sqlx::query_file!("src/store/postgres/job_hold.sql", &ids).execute(tx.on()).await?;
    }
    Ok(())
}

/// Lanes that nobody calls for a while.
pub(super) async fn pause(tx: &mut Tx, fresh: &[Fresh<'_>], now: i64) -> Outcome<()> {
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
