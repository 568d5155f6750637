//! What people pause and resume on Postgres, and what a claim must know of it.
//! Must not know: who pauses, or how workers wait.

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::store::shared::halts::{Halts, SNOOZE_SLACK_MS};
use crate::store::{ClaimAsk, Pause, PauseAsk, PausedLane, Resumed, Scope};

impl PostgresStore {
    pub(super) async fn pause_scope(&self, ask: &PauseAsk) -> Outcome<Pause> {
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let until = ask.for_ms.map(|ms| bulk::instant(now.saturating_add(bulk::int(ms))));
        let (name, reason) = (bulk::shown(&ask.scope.name()).into_owned(), ask.reason.as_deref());
        let reason = reason.map(|reason| bulk::shown(reason).into_owned());
        // First, so that a pause that is over does not lend its beginning to this one.
        sqlx::query_file!("src/store/postgres/pause_forget.sql", bulk::instant(now))
            .execute(tx.on())
            .await?;
        sqlx::query_file!(
            "src/store/postgres/pause_write.sql",
            name,
            bulk::instant(now),
            until,
            reason
        )
        .execute(tx.on())
        .await?;
        let pauses = pauses(&mut tx, now).await?;
        tx.commit().await?;
        let own = pauses.into_iter().find(|pause| pause.scope.name() == name);
        // One of no length is over already.
        Ok(own.unwrap_or(Pause { scope: ask.scope.clone(), since: now, until, reason }))
    }

    pub(super) async fn resume_scope(&self, scope: &Scope) -> Outcome<Resumed> {
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let name = scope.name();
        let pause = pauses(&mut tx, now).await?.into_iter().find(|pause| pause.scope == *scope);
        sqlx::query_file!("src/store/postgres/pause_end.sql", name).execute(tx.on()).await?;
        let lanes: Vec<PausedLane> = paused_lanes(&mut tx, now)
            .await?
            .into_iter()
            .filter(|lane| scope.covers_lane(&lane.lane))
            .collect();
        let names: Vec<String> = lanes.iter().map(|lane| lane.lane.clone()).collect();
        sqlx::query_file!("src/store/postgres/lane_resume.sql", &names).execute(tx.on()).await?;
        tx.commit().await?;
        let jobs = self.wake_jobs(&lanes).await?;
        self.forget_low_water();
        Ok(Resumed { pause, lanes: names, jobs })
    }

    /// In a transaction of its own, because who holds a job's lock may wait for its lane's row.
    async fn wake_jobs(&self, lanes: &[PausedLane]) -> Outcome<u64> {
        let known = |lane: &&PausedLane| lane.reason.is_some();
        let lanes: Vec<&PausedLane> = lanes.iter().filter(known).collect();
        if lanes.is_empty() {
            return Ok(0);
        }
        let names: Vec<&str> = lanes.iter().map(|lane| lane.lane.as_str()).collect();
        let reasons: Vec<&str> = lanes.iter().filter_map(|lane| lane.reason.as_deref()).collect();
        let until: Vec<i64> = lanes.iter().map(|lane| lane.until).collect();
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let woken = sqlx::query_file!(
            "src/store/postgres/resume_jobs.sql",
            &names as _,
            &reasons as _,
            &until,
            SNOOZE_SLACK_MS,
            bulk::instant(now)
        )
        .execute(tx.on())
        .await?;
        tx.commit().await?;
        Ok(woken.rows_affected())
    }

    pub(super) async fn read_pauses(&self) -> Outcome<Vec<Pause>> {
        let mut tx = self.look().await?;
        let now = self.now(&mut tx).await?;
        let pauses = pauses(&mut tx, now).await?;
        tx.commit().await?;
        Ok(pauses)
    }

    pub(super) async fn read_paused_lanes(&self) -> Outcome<Vec<PausedLane>> {
        let mut tx = self.look().await?;
        let now = self.now(&mut tx).await?;
        let lanes = paused_lanes(&mut tx, now).await?;
        tx.commit().await?;
        Ok(lanes)
    }

    pub(super) async fn read_resumes(&self) -> Outcome<Vec<(String, u64)>> {
        let mut tx = self.look().await?;
        let rows =
            sqlx::query_file!("src/store/postgres/lane_resumes.sql").fetch_all(tx.on()).await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(|row| (row.key, bulk::uint(row.resumed))).collect())
    }
}

/// The pauses that are not over.
pub(super) async fn pauses(tx: &mut Tx, now: i64) -> Outcome<Vec<Pause>> {
    let rows = sqlx::query_file!("src/store/postgres/pause_read.sql", bulk::instant(now))
        .fetch_all(tx.on())
        .await?;
    let pause = |scope: &str| Scope::from_name(scope);
    let pauses = rows.into_iter().filter_map(|row| {
        let scope = pause(&row.scope)?;
        Some(Pause { scope, since: row.paused_at, until: row.paused_until, reason: row.reason })
    });
    Ok(pauses.collect())
}

async fn paused_lanes(tx: &mut Tx, now: i64) -> Outcome<Vec<PausedLane>> {
    let rows = sqlx::query_file!("src/store/postgres/lane_paused.sql", bulk::instant(now))
        .fetch_all(tx.on())
        .await?;
    let lanes = rows.into_iter().map(|row| PausedLane {
        lane: row.key,
        until: row.paused_until,
        reason: row.pause_reason,
    });
    Ok(lanes.collect())
}

/// The pause that keeps the lane's first job waiting, where nothing else of the lane is due.
pub(super) async fn halted(tx: &mut Tx, ask: &ClaimAsk, halts: &Halts) -> Outcome<Option<Pause>> {
    if halts.queues.is_empty() {
        return Ok(None);
    }
    let queues = halts.queue_names();
    let row =
        sqlx::query_file!("src/store/postgres/claim_halted.sql", ask.lane, &queues, ask.batch)
            .fetch_optional(tx.on())
            .await?;
    Ok(row.and_then(|row| halts.of_queue(&row.queue).cloned()))
}
