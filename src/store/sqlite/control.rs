//! The ports' traits on SQLite, and what people do to jobs: cancel, retry, batches.
//! Must not know: who asks.

use std::collections::HashSet;

use async_trait::async_trait;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::end::{self, End};
use super::{SqliteStore, bulk, place};
use crate::budget::Limit;
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::places::Arrival;
use crate::store::{
    About, AttemptKey, Backlog, ClaimAsk, ClaimNewAsk, Claimed, ClaimedNew, ControlStore, Counts,
    Finish, Finished, Health, JobFilter, JobPage, JobRow, KeyLevel, LeaseInfo, LimitSeed,
    LostAttempt, NewJob, OtherLease, Pause, PauseAsk, PausedLane, Promoted, QueueRow, ReadStore,
    RescueAsk, Rescued, Restored, ResultRow, ResultsAsk, Resumed, RunningAttempt, Scope,
    SeededSettings, StoreResult, Submitted, SubmittedDefaults, SubmittedFilter, TakenBack,
    WorkStore,
};

#[async_trait]
impl WorkStore for SqliteStore {
    async fn promote(&self, rows_max: u32) -> StoreResult<Promoted> {
        self.promote_due(rows_max).await
    }

    async fn ready_lanes(&self) -> StoreResult<Vec<String>> {
        let rows = sqlx::query_file!("src/store/sqlite/ready_lanes.sql").fetch_all(&self.reader);
        Ok(rows.await?.into_iter().map(|row| row.lane).collect())
    }

    async fn claim(&self, ask: ClaimAsk) -> StoreResult<Claimed> {
        self.claim_in_lane(ask).await
    }

    async fn claim_new(&self, job: NewJob, ask: ClaimNewAsk) -> StoreResult<ClaimedNew> {
        self.claim_new_job(job, ask).await
    }

    async fn finish(&self, group: &[Finish]) -> StoreResult<Vec<Finished>> {
        self.finish_group(group).await
    }

    async fn open_lease(&self, lease: &LeaseInfo) -> StoreResult<()> {
        self.lease_open(lease).await
    }

    async fn beat(&self, lease: Uuid) -> StoreResult<Option<Vec<RunningAttempt>>> {
        self.lease_beat(lease).await
    }

    async fn unwanted(&self, attempts: &[AttemptKey]) -> StoreResult<Vec<AttemptKey>> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let list = bulk::list(attempts)?;
        let rows = sqlx::query_file!("src/store/sqlite/unwanted.sql", list)
            .fetch_all(&self.reader)
            .await?;
        let unwanted: HashSet<Uuid> = rows.into_iter().map(|row| row.fence.into_uuid()).collect();
        Ok(attempts.iter().filter(|key| unwanted.contains(&key.fence)).copied().collect())
    }

    async fn resumes(&self) -> StoreResult<Vec<(String, u64)>> {
        self.read_resumes().await
    }

    async fn give_back(&self, attempts: &[AttemptKey]) -> StoreResult<()> {
        self.give_back_unsent(attempts).await
    }

    async fn restore(&self, lease: Uuid, attempts: &[LostAttempt]) -> StoreResult<Vec<Restored>> {
        self.restore_attempts(lease, attempts).await
    }

    async fn other_leases(&self, own: Uuid) -> StoreResult<Vec<OtherLease>> {
        self.leases_of_others(own).await
    }

    async fn rescue(&self, ask: &RescueAsk) -> StoreResult<Rescued> {
        self.rescue_lease(ask).await
    }

    async fn close_lease(&self, lease: Uuid) -> StoreResult<()> {
        self.lease_close(lease).await
    }

    async fn forget_seen(&self, rows_max: u32) -> StoreResult<u64> {
        let now = self.clock.now().wall_ms;
        let gone = sqlx::query_file!("src/store/sqlite/seen_forget.sql", now, rows_max)
            .execute(&self.writer)
            .await?;
        Ok(gone.rows_affected())
    }
}

#[async_trait]
impl ReadStore for SqliteStore {
    async fn results(&self, ask: &ResultsAsk) -> StoreResult<Vec<ResultRow>> {
        self.read_results(ask).await
    }

    async fn counts(&self, batch: Option<Uuid>) -> StoreResult<Counts> {
        self.read_counts(batch).await
    }

    async fn jobs(&self, filter: &JobFilter) -> StoreResult<Vec<JobRow>> {
        self.read_jobs(filter).await
    }

    async fn job(&self, id: &str) -> StoreResult<Option<JobPage>> {
        self.read_job(id).await
    }

    async fn cancel(&self, ids: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let error = || Some((ErrorKind::Cancelled, "cancelled by a person".to_owned()));
        let ends: Vec<End> =
            ids.iter().map(|id| End::with_error(*id, State::Cancelled, error())).collect();
        let mut ended = end::end_jobs(&mut tx, &ends, now).await?;
        let moved: Vec<Uuid> = ids.iter().copied().filter(|id| ended.remove(id)).collect();
        let texts: Vec<String> = moved.iter().map(ToString::to_string).collect();
        let texts = bulk::list(&texts)?;
        end::unknown_attempts(&mut tx, &texts, ErrorKind::Cancelled, now).await?;
        tx.commit().await?;
        Ok(moved)
    }

    async fn submitted(&self, filter: &SubmittedFilter) -> StoreResult<Vec<Submitted>> {
        self.list_submitted(filter).await
    }

    async fn submitted_as(
        &self,
        name: &str,
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Option<Submitted>> {
        self.find_submitted(name, defaults).await
    }

    async fn submitted_queues(&self, queue_default: &str) -> StoreResult<Vec<(String, u64)>> {
        self.count_submitted(queue_default).await
    }

    async fn take_back(
        &self,
        keys: &[String],
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Vec<TakenBack>> {
        self.take_submitted_back(keys, defaults).await
    }

    async fn full_queues(&self) -> StoreResult<Vec<(String, u32)>> {
        self.read_full_queues().await
    }

    async fn workers(&self, _silent_ms: u64) -> StoreResult<u64> {
        self.count_workers().await
    }

    async fn retry(&self, ids: &[Uuid], deadline_at: i64) -> StoreResult<Vec<Uuid>> {
        let mut moved = Vec::new();
        for id in ids {
            if self.retry_one(*id, deadline_at).await? {
                moved.push(*id);
            }
        }
        Ok(moved)
    }

    async fn paused_lanes(&self) -> StoreResult<Vec<PausedLane>> {
        self.read_paused_lanes().await
    }

    async fn queues(&self) -> StoreResult<Vec<QueueRow>> {
        self.read_queues().await
    }

    async fn levels(&self) -> StoreResult<Vec<KeyLevel>> {
        self.key_levels().await
    }

    async fn open_batch(&self, name: &str) -> StoreResult<Uuid> {
        let fresh = Uuid::now_v7().to_string();
        let now = self.clock.now().wall_ms;
        let mut tx = self.begin().await?;
        let row = sqlx::query_file!("src/store/sqlite/batch_open.sql", fresh, name, now)
            .fetch_one(&mut *tx)
            .await?;
        let id = row.id.into_uuid();
        let text = id.to_string();
        sqlx::query_file!("src/store/sqlite/batch_line_clear.sql", text).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn close(&self) {
        SqliteStore::close(self).await;
    }

    async fn about(&self) -> StoreResult<About> {
        let migration: i64 = sqlx::query_scalar("select max(version) from _sqlx_migrations")
            .fetch_one(&self.reader)
            .await?;
        Ok(About {
            engine: "sqlite".to_owned(),
            location: self.path.display().to_string(),
            migration,
            simulated: self.kind().await?,
        })
    }

    async fn health(&self, check_ms: u64) -> StoreResult<Health> {
        self.read_health(check_ms).await
    }
}

#[async_trait]
impl ControlStore for SqliteStore {
    async fn pause(&self, ask: &PauseAsk) -> StoreResult<Pause> {
        self.pause_scope(ask).await
    }

    async fn resume(&self, scope: &Scope) -> StoreResult<Resumed> {
        self.resume_scope(scope).await
    }

    async fn pauses(&self) -> StoreResult<Vec<Pause>> {
        self.read_pauses().await
    }

    async fn set_limit(&self, pattern: &str, limit: Limit) -> StoreResult<()> {
        self.limit_set(pattern, limit).await
    }

    async fn clear_limit(&self, pattern: &str) -> StoreResult<bool> {
        self.limit_cleared(pattern).await
    }

    async fn seed_settings(&self, settings: &SeededSettings, seeder: &str) -> StoreResult<()> {
        self.write_settings(settings, seeder).await
    }

    async fn limit_seeds(&self) -> StoreResult<Vec<LimitSeed>> {
        self.read_limit_seeds().await
    }

    async fn backlog(&self, rows_max: u32) -> StoreResult<Vec<Backlog>> {
        self.read_backlog(rows_max).await
    }

    async fn batch_named(&self, name: &str) -> StoreResult<Option<Uuid>> {
        let row = sqlx::query_file!("src/store/sqlite/batch_named.sql", name)
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.map(|row| row.id.into_uuid()))
    }
}

impl SqliteStore {
    /// One at a time, because putting one back may meet a live job with its dedupe key, and that
    /// must not keep the others from moving.
    async fn retry_one(&self, id: Uuid, deadline_at: i64) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let text = id.to_string();
        let now = self.clock.now().wall_ms;
        let row = sqlx::query_file!("src/store/sqlite/retry_read.sql", text)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(false) };
        let arrival = Arrival {
            lane: &row.lane,
            queue: &row.queue,
            tenant: &row.tenant,
            priority: i32::try_from(row.priority).unwrap_or(0),
        };
        let place = place::give(&mut tx, &[arrival]).await?.first().copied().unwrap_or_default();
        sqlx::query_file!("src/store/sqlite/retry_job.sql", text, now, place, deadline_at)
            .execute(&mut *tx)
            .await?;
        sqlx::query_file!("src/store/sqlite/retry_spec.sql", text).execute(&mut *tx).await?;
        sqlx::query_file!("src/store/sqlite/retry_result.sql", text).execute(&mut *tx).await?;
        let list = bulk::list(&[&text])?;
        sqlx::query_file!("src/store/sqlite/delivery_drop.sql", list).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// How many rows one write takes at most.
    pub(super) fn page(rows_max: u32) -> i64 {
        bulk::int(u64::from(rows_max))
    }
}
