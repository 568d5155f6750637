//! What people pause and resume on SQLite, and what a claim must know of it.
//! Must not know: who pauses, or how workers wait.

use serde::Serialize;
use sqlx::SqliteExecutor;

use super::{SqliteStore, Tx, bulk};
use crate::store::shared::halts::{Halts, SNOOZE_SLACK_MS};
use crate::store::{ClaimAsk, Pause, PauseAsk, PausedLane, Resumed, Scope, StoreResult};

/// A lane whose jobs wait for the end of its pause.
#[derive(Serialize)]
struct WakeRow<'a> {
    lane: &'a str,
    reason: &'a str,
    until: i64,
}

impl SqliteStore {
    pub(super) async fn pause_scope(&self, ask: &PauseAsk) -> StoreResult<Pause> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let until = ask.for_ms.map(|ms| now.saturating_add(bulk::int(ms)));
        let (name, reason) = (ask.scope.name(), ask.reason.clone());
        // First, so that a pause that is over does not lend its beginning to this one.
        sqlx::query_file!("src/store/sqlite/pause_forget.sql", now).execute(&mut *tx).await?;
        sqlx::query_file!("src/store/sqlite/pause_write.sql", name, now, until, reason)
            .execute(&mut *tx)
            .await?;
        let pauses = pauses(&mut *tx, now).await?;
        tx.commit().await?;
        let own = pauses.into_iter().find(|pause| pause.scope == ask.scope);
        // One of no length is over already.
        Ok(own.unwrap_or(Pause { scope: ask.scope.clone(), since: now, until, reason }))
    }

    pub(super) async fn resume_scope(&self, scope: &Scope) -> StoreResult<Resumed> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let name = scope.name();
        let pause = pauses(&mut *tx, now).await?.into_iter().find(|pause| pause.scope == *scope);
        sqlx::query_file!("src/store/sqlite/pause_end.sql", name).execute(&mut *tx).await?;
        let rows =
            sqlx::query_file!("src/store/sqlite/lane_paused.sql", now).fetch_all(&mut *tx).await?;
        let lanes: Vec<PausedLane> = rows
            .into_iter()
            .map(|row| PausedLane {
                lane: row.key,
                until: row.paused_until,
                reason: row.pause_reason,
            })
            .filter(|lane| scope.covers_lane(&lane.lane))
            .collect();
        let names: Vec<String> = lanes.iter().map(|lane| lane.lane.clone()).collect();
        let list = bulk::list(&names)?;
        sqlx::query_file!("src/store/sqlite/lane_resume.sql", list).execute(&mut *tx).await?;
        let jobs = wake_jobs(&mut tx, &lanes, now).await?;
        tx.commit().await?;
        Ok(Resumed { pause, lanes: names, jobs })
    }

    pub(super) async fn read_pauses(&self) -> StoreResult<Vec<Pause>> {
        let now = self.clock.now().wall_ms;
        pauses(&self.reader, now).await
    }

    pub(super) async fn read_resumes(&self) -> StoreResult<Vec<(String, u64)>> {
        let rows =
            sqlx::query_file!("src/store/sqlite/lane_resumes.sql").fetch_all(&self.reader).await?;
        Ok(rows.into_iter().map(|row| (row.key, bulk::uint(row.resumed))).collect())
    }
}

async fn wake_jobs(tx: &mut Tx, lanes: &[PausedLane], now: i64) -> StoreResult<u64> {
    let rows = lanes.iter().filter_map(|lane| {
        let reason = lane.reason.as_deref()?;
        Some(WakeRow { lane: &lane.lane, reason, until: lane.until })
    });
    let rows: Vec<WakeRow<'_>> = rows.collect();
    if rows.is_empty() {
        return Ok(0);
    }
    let list = bulk::list(&rows)?;
    let woken = sqlx::query_file!("src/store/sqlite/resume_jobs.sql", list, SNOOZE_SLACK_MS, now)
        .execute(&mut **tx)
        .await?;
    Ok(woken.rows_affected())
}

/// The pauses that are not over.
async fn pauses(from: impl SqliteExecutor<'_>, now: i64) -> StoreResult<Vec<Pause>> {
    let rows = sqlx::query_file!("src/store/sqlite/pause_read.sql", now).fetch_all(from).await?;
    let pauses = rows.into_iter().filter_map(|row| {
        let scope = Scope::from_name(&row.scope)?;
        Some(Pause { scope, since: row.paused_at, until: row.paused_until, reason: row.reason })
    });
    Ok(pauses.collect())
}

/// What holds this lane's jobs back.
pub(super) async fn halts(tx: &mut Tx, lane: &str, now: i64) -> StoreResult<Halts> {
    let out = super::claim::paused(tx, lane, now).await?;
    Ok(Halts { out, ..Halts::default() }.with(pauses(&mut **tx, now).await?, lane))
}

/// The pause that keeps the lane's first job waiting, where nothing else of the lane is due.
pub(super) async fn halted(
    tx: &mut Tx,
    ask: &ClaimAsk,
    halts: &Halts,
) -> StoreResult<Option<Pause>> {
    if halts.queues.is_empty() {
        return Ok(None);
    }
    let queues = bulk::list(&halts.queue_names())?;
    let batch = ask.batch.map(|batch| batch.to_string());
    let row = sqlx::query_file!("src/store/sqlite/claim_halted.sql", ask.lane, queues, batch)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.and_then(|row| halts.of_queue(&row.queue).cloned()))
}
