//! The ports' traits on Postgres, and what people do to jobs: cancel, retry, batches.
//! Must not know: who asks.

use std::collections::HashSet;

use async_trait::async_trait;
use uuid::Uuid;

use super::end::{self, End};
use super::error::Outcome;
use super::listen;
use super::place;
use super::{PostgresStore, bulk};
use crate::budget::Limit;
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::places::Arrival;
use crate::store::{
    About, AttemptKey, Backlog, ClaimAsk, ClaimNewAsk, ClaimSubmittedAsk, Claimed, ClaimedNew,
    ControlStore, Counts, Finish, Finished, Health, JobFilter, JobPage, JobRow, KeyLevel,
    LeaseInfo, LimitSeed, LostAttempt, NewJob, OtherLease, Pause, PauseAsk, PausedLane, Promoted,
    QueueRow, ReadStore, RescueAsk, Rescued, Restored, ResultRow, ResultsAsk, Resumed,
    RunningAttempt, Scope, SeededSettings, StoreResult, Submitted, SubmittedDefaults,
    SubmittedFilter, TakenBack, Woken, WorkStore,
};

#[async_trait]
impl WorkStore for PostgresStore {
    async fn promote(&self, rows_max: u32) -> StoreResult<Promoted> {
        self.within(self.promote_due(rows_max)).await
    }

    async fn ready_lanes(&self) -> StoreResult<Vec<String>> {
        self.within(async {
            let mut tx = self.look().await?;
            let rows =
                sqlx::query_file!("src/store/postgres/ready_lanes.sql").fetch_all(tx.on()).await?;
            tx.commit().await?;
            Ok(rows.into_iter().map(|row| row.lane).collect())
        })
        .await
    }

    async fn claim(&self, ask: ClaimAsk) -> StoreResult<Claimed> {
        self.within(self.claim_in_lane(&ask)).await
    }

    async fn claim_new(&self, job: NewJob, ask: ClaimNewAsk) -> StoreResult<ClaimedNew> {
        self.within(self.claim_new_job(&job, &ask)).await
    }

    async fn claim_submitted(
        &self,
        jobs: &[(String, NewJob)],
        ask: &ClaimSubmittedAsk,
    ) -> StoreResult<Option<Claimed>> {
        self.within(self.claim_submitted_now(jobs, ask)).await
    }

    async fn finish(&self, group: &[Finish]) -> StoreResult<Vec<Finished>> {
        self.within(self.finish_group(group)).await
    }

    async fn open_lease(&self, lease: &LeaseInfo) -> StoreResult<()> {
        self.within(self.lease_open(lease)).await
    }

    async fn beat(&self, lease: Uuid) -> StoreResult<Option<Vec<RunningAttempt>>> {
        self.within(self.lease_beat(lease)).await
    }

    async fn unwanted(&self, attempts: &[AttemptKey]) -> StoreResult<Vec<AttemptKey>> {
        self.within(self.unwanted_calls(attempts)).await
    }

    async fn resumes(&self) -> StoreResult<Vec<(String, u64)>> {
        self.within(self.read_resumes()).await
    }

    async fn give_back(&self, attempts: &[AttemptKey]) -> StoreResult<()> {
        self.within(self.give_back_unsent(attempts)).await
    }

    async fn restore(&self, lease: Uuid, attempts: &[LostAttempt]) -> StoreResult<Vec<Restored>> {
        self.within(self.restore_attempts(lease, attempts)).await
    }

    async fn other_leases(&self, own: Uuid) -> StoreResult<Vec<OtherLease>> {
        self.within(self.leases_of_others(own)).await
    }

    async fn rescue(&self, ask: &RescueAsk) -> StoreResult<Rescued> {
        self.within(self.rescue_lease(ask)).await
    }

    async fn listen(&self, woken: Woken<'_>) {
        self.listener().listen(woken).await;
    }

    fn hears(&self) -> bool {
        self.listener().hears()
    }

    async fn want_wake(&self, lease: Uuid, wanted: bool) -> StoreResult<()> {
        self.within(self.note_wake_wanted(lease, wanted)).await
    }

    async fn close_lease(&self, lease: Uuid) -> StoreResult<()> {
        self.within(self.lease_close(lease)).await
    }

    async fn forget_seen(&self, rows_max: u32) -> StoreResult<u64> {
        self.within(async {
            let mut tx = self.begin().await?;
            let now = self.now(&mut tx).await?;
            let gone =
                sqlx::query_file!("src/store/postgres/seen_forget.sql", now, i64::from(rows_max))
                    .execute(tx.on())
                    .await?;
            tx.commit().await?;
            Ok(gone.rows_affected())
        })
        .await
    }
}

#[async_trait]
impl ReadStore for PostgresStore {
    async fn results(&self, ask: &ResultsAsk) -> StoreResult<Vec<ResultRow>> {
        self.within(self.read_results(ask)).await
    }

    async fn counts(&self, batch: Option<Uuid>) -> StoreResult<Counts> {
        self.within(self.read_counts(batch)).await
    }

    async fn jobs(&self, filter: &JobFilter) -> StoreResult<Vec<JobRow>> {
        self.within(self.read_jobs(filter)).await
    }

    async fn job(&self, id: &str) -> StoreResult<Option<JobPage>> {
        self.within(self.read_job(id)).await
    }

    async fn cancel(&self, ids: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        self.within(self.cancel_jobs(ids)).await
    }

    async fn submitted(&self, filter: &SubmittedFilter) -> StoreResult<Vec<Submitted>> {
        self.within(self.list_submitted(filter)).await
    }

    async fn submitted_as(
        &self,
        name: &str,
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Option<Submitted>> {
        self.within(self.find_submitted(name, defaults)).await
    }

    async fn submitted_queues(&self, queue_default: &str) -> StoreResult<Vec<(String, u64)>> {
        self.within(self.count_submitted(queue_default)).await
    }

    async fn take_back(
        &self,
        keys: &[String],
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Vec<TakenBack>> {
        self.within(self.take_submitted_back(keys, defaults)).await
    }

    async fn full_queues(&self) -> StoreResult<Vec<(String, u32)>> {
        self.within(self.read_full_queues()).await
    }

    async fn workers(&self, silent_ms: u64) -> StoreResult<u64> {
        self.within(self.count_workers(silent_ms)).await
    }

    async fn retry(&self, ids: &[Uuid], deadline_at: i64) -> StoreResult<Vec<Uuid>> {
        let mut moved = Vec::new();
        for id in ids {
            if self.within(self.retry_one(*id, deadline_at)).await? {
                moved.push(*id);
            }
        }
        Ok(moved)
    }

    async fn paused_lanes(&self) -> StoreResult<Vec<PausedLane>> {
        self.within(self.read_paused_lanes()).await
    }

    async fn queues(&self) -> StoreResult<Vec<QueueRow>> {
        self.within(self.read_queues()).await
    }

    async fn levels(&self) -> StoreResult<Vec<KeyLevel>> {
        self.within(self.key_levels()).await
    }

    async fn open_batch(&self, name: &str) -> StoreResult<Uuid> {
        self.within(self.batch_opened(name)).await
    }

    async fn health(&self, _check_ms: u64) -> StoreResult<Health> {
        self.within(self.read_health()).await
    }

    async fn close(&self) {
        PostgresStore::close(self).await;
    }

    async fn about(&self) -> StoreResult<About> {
        self.within(async {
            Ok(About {
                engine: "postgres".to_owned(),
                location: self.location.clone(),
                migration: self.standing().await?.unwrap_or(0),
                simulated: self.kind().await?,
            })
        })
        .await
    }
}

#[async_trait]
impl ControlStore for PostgresStore {
    async fn pause(&self, ask: &PauseAsk) -> StoreResult<Pause> {
        self.within(self.pause_scope(ask)).await
    }

    async fn resume(&self, scope: &Scope) -> StoreResult<Resumed> {
        self.within(self.resume_scope(scope)).await
    }

    async fn pauses(&self) -> StoreResult<Vec<Pause>> {
        self.within(self.read_pauses()).await
    }

    async fn set_limit(&self, pattern: &str, limit: Limit) -> StoreResult<()> {
        self.within(self.limit_set(pattern, limit)).await
    }

    async fn clear_limit(&self, pattern: &str) -> StoreResult<bool> {
        self.within(self.limit_cleared(pattern)).await
    }

    async fn seed_settings(&self, settings: &SeededSettings, seeder: &str) -> StoreResult<()> {
        self.within(self.write_settings(settings, seeder)).await
    }

    async fn limit_seeds(&self) -> StoreResult<Vec<LimitSeed>> {
        self.within(self.read_limit_seeds()).await
    }

    async fn backlog(&self, rows_max: u32) -> StoreResult<Vec<Backlog>> {
        self.within(self.read_backlog(rows_max)).await
    }

    async fn batch_named(&self, name: &str) -> StoreResult<Option<Uuid>> {
        self.within(async {
            let mut tx = self.look().await?;
            let row = sqlx::query_file!("src/store/postgres/batch_named.sql", name)
                .fetch_optional(tx.on())
                .await?;
            tx.commit().await?;
            Ok(row.map(|row| row.id))
        })
        .await
    }
}

impl PostgresStore {
    async fn unwanted_calls(&self, attempts: &[AttemptKey]) -> Outcome<Vec<AttemptKey>> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = attempts.iter().map(|key| key.job_id).collect();
        let numbers: Vec<i32> = attempts.iter().map(|key| bulk::small_int(key.number)).collect();
        let fences: Vec<Uuid> = attempts.iter().map(|key| key.fence).collect();
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/unwanted.sql", &ids, &numbers, &fences)
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
        let unwanted: HashSet<Uuid> = rows.into_iter().map(|row| row.fence).collect();
        Ok(attempts.iter().filter(|key| unwanted.contains(&key.fence)).copied().collect())
    }

    async fn cancel_jobs(&self, ids: &[Uuid]) -> Outcome<Vec<Uuid>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        end::lock_jobs(&mut tx, ids.iter().copied()).await?;
        let now = self.now(&mut tx).await?;
        let message = || "cancelled by a person".to_owned();
        let ends: Vec<End<'_>> = ids
            .iter()
            .map(|id| End::with_error(*id, State::Cancelled, ErrorKind::Cancelled, message()))
            .collect();
        let mut ended = end::end_jobs(&mut tx, &ends, now).await?;
        let moved: Vec<Uuid> = ids.iter().copied().filter(|id| ended.remove(id)).collect();
        end::unknown_attempts(&mut tx, &moved, ErrorKind::Cancelled, now).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// One at a time, because putting one back may meet a live job with its dedupe key, and that
    /// must not keep the others from moving.
    async fn retry_one(&self, id: Uuid, deadline_at: i64) -> Outcome<bool> {
        let mut tx = self.begin().await?;
        end::lock_jobs(&mut tx, std::iter::once(id)).await?;
        let now = self.now(&mut tx).await?;
        let row = sqlx::query_file!("src/store/postgres/retry_read.sql", id)
            .fetch_optional(tx.on())
            .await?;
        let Some(row) = row else {
            tx.rollback().await?;
            return Ok(false);
        };
        let arrival = Arrival {
            lane: &row.lane,
            queue: &row.queue,
            tenant: &row.tenant,
            priority: row.priority,
        };
        let given = place::give(&mut tx, &[arrival]).await?;
        let place = given.places.first().copied().unwrap_or_default();
        sqlx::query_file!(
            "src/store/postgres/retry_job.sql",
            id,
            bulk::instant(now),
            place,
            bulk::instant(deadline_at)
        )
        .execute(tx.on())
        .await?;
        sqlx::query_file!("src/store/postgres/retry_spec.sql", id).execute(tx.on()).await?;
        sqlx::query_file!("src/store/postgres/retry_result.sql", id).execute(tx.on()).await?;
        sqlx::query_file!("src/store/postgres/delivery_drop.sql", &[id]).execute(tx.on()).await?;
        listen::wake(&mut tx).await?;
        place::remember(&mut tx, &given).await?;
        tx.commit().await?;
        self.forget_low_water();
        Ok(true)
    }

    async fn batch_opened(&self, name: &str) -> Outcome<Uuid> {
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let fresh = Uuid::now_v7();
        let row =
            sqlx::query_file!("src/store/postgres/batch_open.sql", fresh, name, bulk::instant(now))
                .fetch_one(tx.on())
                .await?;
        sqlx::query_file!("src/store/postgres/batch_line_clear.sql", row.id)
            .execute(tx.on())
            .await?;
        tx.commit().await?;
        Ok(row.id)
    }
}
