//! What other programs have put into the store themselves: read, admitted and gone in one
//! transaction, each by one worker.
//! Must not know: what a document says.

use std::collections::HashSet;

use uuid::Uuid;

use super::PostgresStore;
use super::admit::{OVERTAKEN_MAX, admit_in};
use super::error::{Fault, Outcome};
use super::place;
use super::session::Tx;
use crate::store::shared::admission;
use crate::store::{NewJob, Submission};

impl PostgresStore {
    /// The oldest submissions: a look without a lock. Where there is none, lane time is kept, which
    /// the claim of one that comes next would else have to do.
    pub(super) async fn waiting_submissions(&self, rows_max: u32) -> Outcome<Vec<Submission>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/submission_read.sql", i64::from(rows_max))
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
        if rows.is_empty() {
            self.keep_lane_time_ahead().await?;
        }
        let submission = rows.into_iter().map(|row| Submission {
            // A row of the functions is there once: its producer cannot put it in again.
            identity: row.id.as_ref().map(|id| Submission::identity_of(id)),
            id: row.id.unwrap_or_else(|| row.job_id.to_string()),
            job_id: Some(row.job_id),
            document: row.document,
        });
        Ok(submission.collect())
    }

    /// Admits the jobs of those submissions that no other worker admits meanwhile; returns their
    /// keys.
    pub(super) async fn admit_submitted(
        &self,
        jobs: Vec<(String, NewJob)>,
    ) -> Outcome<Vec<String>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut overtaken = 0;
        loop {
            let mut tx = self.begin().await?;
            match self.admit_submitted_in(&mut tx, &jobs).await {
                Ok(taken) => {
                    tx.commit().await?;
                    return Ok(taken);
                }
                Err(Fault::Overtaken) if overtaken < OVERTAKEN_MAX => {
                    tx.rollback().await?;
                    overtaken += 1;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn admit_submitted_in(
        &self,
        tx: &mut Tx,
        jobs: &[(String, NewJob)],
    ) -> Outcome<Vec<String>> {
        let (keys, now) = take(tx, jobs.iter().map(|(key, _)| key.as_str())).await?;
        let now = self.read_now(now);
        let mine = jobs.iter().filter(|(key, _)| keys.contains(key));
        let jobs: Vec<NewJob> = mine.map(|(_, job)| job.clone()).collect();
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (admitted, given) = admit_in(tx, &jobs, now).await?;
        let answered = jobs.iter().zip(&admitted);
        let refused: Vec<NewJob> =
            answered.filter_map(|(job, answer)| admission::refused(job, answer)).collect();
        if !refused.is_empty() {
            // They end at once and take no place.
            admit_in(tx, &refused, now).await?;
        }
        place::remember(tx, &given).await?;
        Ok(keys.into_iter().collect())
    }
}

/// Takes these rows out of the table, those that another worker is admitting left out. Also returns
/// the database's time.
async fn take(tx: &mut Tx, keys: impl Iterator<Item = &str>) -> Outcome<(HashSet<String>, i64)> {
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    let ids: Vec<Uuid> = keys.iter().filter_map(|key| Uuid::try_parse(key).ok()).collect();
    let rows = sqlx::query_file!("src/store/postgres/submission_delete.sql", &keys, &ids)
        .fetch_all(tx.on())
        .await?;
    let now = rows.first().map_or(0, |row| row.now);
    Ok((rows.into_iter().map(|row| row.key).collect(), now))
}
