//! What other programs have put in and no worker has admitted yet, for people: a list, one, how
//! many, and taken back. Also how many processes there are to admit it.
//! Must not know: how a worker admits it.

use uuid::Uuid;

use super::admit::insert_unplaced;
use super::end::{self, End};
use super::error::Outcome;
use super::{PostgresStore, bulk};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::taking_back;
use crate::store::{Submitted, SubmittedDefaults, SubmittedFilter, TakenBack};

impl PostgresStore {
    pub(super) async fn list_submitted(&self, filter: &SubmittedFilter) -> Outcome<Vec<Submitted>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!(
            "src/store/postgres/submission_list.sql",
            filter.queue.as_deref(),
            filter.tenant.as_deref(),
            filter.model.as_deref(),
            filter.since.map(bulk::instant),
            filter.before,
            filter.defaults.queue,
            filter.defaults.tenant,
            filter.defaults.model,
            i64::from(filter.rows_max)
        )
        .fetch_all(tx.on())
        .await?;
        tx.commit().await?;
        let submitted = rows.into_iter().map(|row| Submitted {
            seq: row.seq,
            key: row.key,
            job_id: Some(row.job_id),
            external_id: row.external_id,
            tenant: row.tenant,
            queue: row.queue,
            model: row.model,
            submitted_at: Some(row.submitted_at),
            document: None,
        });
        Ok(submitted.collect())
    }

    pub(super) async fn find_submitted(
        &self,
        name: &str,
        defaults: &SubmittedDefaults,
    ) -> Outcome<Option<Submitted>> {
        // No name holds NUL, and no column could be asked for it.
        if name.contains('\0') {
            return Ok(None);
        }
        let mut tx = self.look().await?;
        let row = sqlx::query_file!(
            "src/store/postgres/submission_find.sql",
            Uuid::try_parse(name).ok(),
            name,
            defaults.queue,
            defaults.tenant,
            defaults.model
        )
        .fetch_optional(tx.on())
        .await?;
        tx.commit().await?;
        Ok(row.map(|row| Submitted {
            seq: row.seq,
            key: row.key,
            job_id: Some(row.job_id),
            external_id: row.external_id,
            tenant: row.tenant,
            queue: row.queue,
            model: row.model,
            submitted_at: Some(row.submitted_at),
            document: Some(row.document),
        }))
    }

    pub(super) async fn count_submitted(&self, queue_default: &str) -> Outcome<Vec<(String, u64)>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/submission_queues.sql", queue_default)
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(|row| (row.queue, bulk::uint(row.waiting))).collect())
    }

    /// Each becomes a job that has ended, in the transaction in which its row goes: no worker can
    /// admit it meanwhile, and nothing that was put in is ever without its end.
    pub(super) async fn take_submitted_back(
        &self,
        keys: &[String],
        defaults: &SubmittedDefaults,
    ) -> Outcome<Vec<TakenBack>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = keys.iter().filter_map(|key| Uuid::try_parse(key).ok()).collect();
        let mut tx = self.begin().await?;
        let rows = sqlx::query_file!("src/store/postgres/submission_take_back.sql", keys, &ids)
            .fetch_all(tx.on())
            .await?;
        let now = self.now(&mut tx).await?;
        let mut taken = Vec::with_capacity(rows.len());
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            let tenant = row.tenant.as_deref();
            let job = taking_back::job_of(row.job_id, &row.document, tenant, defaults, now);
            insert_unplaced(&mut tx, &job, now).await?;
            ends.push(End::with_error(
                job.job_id,
                State::Cancelled,
                ErrorKind::Cancelled,
                taking_back::REASON.to_owned(),
            ));
            taken.push(TakenBack { key: row.key, job_id: job.job_id });
        }
        end::end_jobs(&mut tx, &ends, now).await?;
        tx.commit().await?;
        Ok(taken)
    }

    pub(super) async fn count_workers(&self, silent_ms: u64) -> Outcome<u64> {
        let mut tx = self.look().await?;
        let silent = std::time::Duration::from_millis(silent_ms).as_secs_f64();
        let row = sqlx::query_file!("src/store/postgres/lease_at_work.sql", silent)
            .fetch_one(tx.on())
            .await?;
        tx.commit().await?;
        Ok(bulk::uint(row.workers))
    }
}
