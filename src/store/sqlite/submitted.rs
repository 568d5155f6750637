//! What other programs have put in and no worker has admitted yet, for people: a list, one, how
//! many, and taken back. Also how many processes there are to admit it.
//! Must not know: how a worker admits it.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::admit::{document_text, insert_unplaced};
use super::end::{self, End};
use super::{SqliteStore, bulk};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::taking_back;
use crate::store::{StoreResult, Submitted, SubmittedDefaults, SubmittedFilter, TakenBack};

impl SqliteStore {
    pub(super) async fn list_submitted(
        &self,
        filter: &SubmittedFilter,
    ) -> StoreResult<Vec<Submitted>> {
        let rows = sqlx::query_file!(
            "src/store/sqlite/submission_list.sql",
            filter.queue,
            filter.tenant,
            filter.model,
            filter.since,
            filter.before,
            filter.defaults.queue,
            filter.defaults.tenant,
            filter.defaults.model,
            filter.rows_max
        )
        .fetch_all(&self.reader)
        .await?;
        let submitted = rows.into_iter().map(|row| Submitted {
            seq: row.seq,
            key: row.key,
            job_id: None,
            external_id: row.external_id,
            tenant: row.tenant,
            queue: row.queue,
            model: row.model,
            submitted_at: None,
            document: None,
        });
        Ok(submitted.collect())
    }

    pub(super) async fn find_submitted(
        &self,
        name: &str,
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Option<Submitted>> {
        let row = sqlx::query_file!(
            "src/store/sqlite/submission_find.sql",
            name,
            defaults.queue,
            defaults.tenant,
            defaults.model
        )
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(|row| Submitted {
            seq: row.seq,
            key: row.key,
            job_id: None,
            external_id: row.external_id,
            tenant: row.tenant,
            queue: row.queue,
            model: row.model,
            submitted_at: None,
            document: Some(document_text(row.document)),
        }))
    }

    pub(super) async fn count_submitted(
        &self,
        queue_default: &str,
    ) -> StoreResult<Vec<(String, u64)>> {
        let rows = sqlx::query_file!("src/store/sqlite/submission_queues.sql", queue_default)
            .fetch_all(&self.reader)
            .await?;
        Ok(rows.into_iter().map(|row| (row.queue, bulk::uint(row.waiting))).collect())
    }

    /// Each becomes a job that has ended, in the transaction in which its row goes: no worker can
    /// admit it meanwhile, and nothing that was put in is ever without its end.
    pub(super) async fn take_submitted_back(
        &self,
        keys: &[String],
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Vec<TakenBack>> {
        let mut tx = self.begin().await?;
        let list = bulk::list(keys)?;
        let rows = sqlx::query_file!("src/store/sqlite/submission_take_back.sql", list)
            .fetch_all(&mut *tx)
            .await?;
        let now = self.clock.now().wall_ms;
        let mut taken = Vec::with_capacity(rows.len());
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            let text = document_text(row.document);
            let job = taking_back::job_of(Uuid::now_v7(), &text, None, defaults, now);
            insert_unplaced(&mut tx, &job, now).await?;
            let error = Some((ErrorKind::Cancelled, taking_back::REASON.to_owned()));
            ends.push(End::with_error(job.job_id, State::Cancelled, error));
            taken.push(TakenBack { key: row.key, job_id: job.job_id });
        }
        end::end_jobs(&mut tx, &ends, now).await?;
        tx.commit().await?;
        Ok(taken)
    }

    /// The system frees a dead process's lock at once, so nobody has to be heard of.
    pub(super) async fn count_workers(&self) -> StoreResult<u64> {
        let rows =
            sqlx::query_file!("src/store/sqlite/lease_at_work.sql").fetch_all(&self.reader).await?;
        Ok(rows.iter().map(|row| u64::from(!self.is_unlocked(row.id.into_uuid()))).sum())
    }
}
