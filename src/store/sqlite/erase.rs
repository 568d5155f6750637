//! The erasure of a tenant's content on SQLite, a step at a time.
//! Must not know: who asks.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::end::{self, End};
use super::{SqliteStore, Tx, retention};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::erasing::{self, Seen, Step};
use crate::store::{EraseAsk, Erasure, ErasureCounts, StoreError, StoreResult};

impl SqliteStore {
    pub(super) async fn erase_step(&self, ask: &EraseAsk) -> StoreResult<Erasure> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        let (mut erasure, after) = opened(&mut tx, ask, now).await?;
        let looks_max = erasing::looks_max(ask.rows_max);
        let rows = sqlx::query_file!(
            "src/store/sqlite/erase_window.sql",
            after,
            ask.tenant,
            erasure.started_at,
            looks_max
        )
        .fetch_all(&mut *tx)
        .await?;
        let seen = rows.into_iter().map(|row| Seen {
            id: row.id.into_uuid(),
            wanted: row.wanted,
            live: row.live,
            running: row.running,
        });
        let step = erasing::step(&seen.collect::<Vec<_>>(), ask.rows_max);
        if !step.wanted.is_empty() {
            erase_jobs(&mut tx, &step, now, &mut erasure.counts).await?;
        }
        let rest = erase_rest(&mut tx, ask, erasure.started_at, &mut erasure.counts).await?;
        let is_done = step.is_last && rest == 0;
        erasure.done_at = is_done.then_some(now);
        let counts = serde_json::to_string(&erasure.counts)?;
        let id = erasure.id.to_string();
        let after = step.after.map_or(after, |id| id.to_string());
        sqlx::query_file!("src/store/sqlite/erasure_write.sql", id, after, counts, erasure.done_at)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        if is_done {
            erasure.remains = self.scrub().await?;
        }
        Ok(erasure)
    }

    /// Deleted content is overwritten in the file itself (`secure_delete`); what was written before
    /// stands in the write-ahead log until that is emptied. Says where it still is.
    async fn scrub(&self) -> StoreResult<Vec<String>> {
        let (busy, _, _): (i64, i64, i64) =
            sqlx::query_as("pragma wal_checkpoint(truncate)").fetch_one(&self.writer).await?;
        let mut remains =
            vec![erasing::SPOOLS.to_owned(), erasing::SENT.to_owned(), COPIES.to_owned()];
        if busy != 0 {
            remains.insert(0, WAL.to_owned());
        }
        Ok(remains)
    }

    pub(super) async fn read_erasures(&self) -> StoreResult<Vec<Erasure>> {
        let rows =
            sqlx::query_file!("src/store/sqlite/erasure_list.sql").fetch_all(&self.reader).await?;
        let mut erasures = Vec::with_capacity(rows.len());
        for row in rows {
            erasures.push(Erasure {
                id: row.id.into_uuid(),
                tenant: row.tenant,
                asked_by: row.asked_by,
                started_at: row.started_at,
                done_at: row.done_at,
                counts: serde_json::from_str(&row.counts)?,
                remains: vec![
                    erasing::SPOOLS.to_owned(),
                    erasing::SENT.to_owned(),
                    COPIES.to_owned(),
                ],
            });
        }
        Ok(erasures)
    }
}

const COPIES: &str = "in copies and backups of the store's file";
const WAL: &str = "in the store's -wal file, because somebody reads: erase again when nobody does";

/// Finds the erasure that is under way, or begins one.
async fn opened(tx: &mut Tx, ask: &EraseAsk, now: i64) -> StoreResult<(Erasure, String)> {
    let counts = serde_json::to_string(&ErasureCounts::default())?;
    let fresh = Uuid::now_v7().to_string();
    sqlx::query_file!(
        "src/store/sqlite/erasure_open.sql",
        fresh,
        ask.tenant,
        ask.asked_by,
        now,
        counts
    )
    .execute(&mut **tx)
    .await?;
    let row = sqlx::query_file!("src/store/sqlite/erasure_find.sql", ask.tenant)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(|| StoreError::Bug("an erasure that began is not there".to_owned()))?;
    let erasure = Erasure {
        id: row.id.into_uuid(),
        tenant: ask.tenant.clone(),
        asked_by: row.asked_by,
        started_at: row.started_at,
        done_at: None,
        counts: serde_json::from_str(&row.counts)?,
        remains: Vec::new(),
    };
    Ok((erasure, row.after_job))
}

/// Ends those that have not ended, then deletes what was said to them and by them.
async fn erase_jobs(
    tx: &mut Tx,
    step: &Step,
    now: i64,
    counts: &mut ErasureCounts,
) -> StoreResult<()> {
    let error = || Some((ErrorKind::Cancelled, erasing::WHY.to_owned()));
    let ends: Vec<End> =
        step.wanted.iter().map(|id| End::with_error(*id, State::Cancelled, error())).collect();
    let ended: Vec<Uuid> = end::end_jobs(tx, &ends, now).await?.into_iter().collect();
    let live = retention::id_list(&ended)?;
    end::unknown_attempts(tx, &live, ErrorKind::Cancelled, now).await?;
    retention::mark(tx, &step.wanted, now, "erasure").await?;
    counts.bodies += retention::delete_texts(tx, &step.wanted).await?;
    let ids = retention::id_list(&step.wanted)?;
    sqlx::query_file!("src/store/sqlite/erase_attempt.sql", ids).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/erase_result.sql", ids).execute(&mut **tx).await?;
    // What is not sent yet is never sent.
    sqlx::query_file!("src/store/sqlite/delivery_drop.sql", ids).execute(&mut **tx).await?;
    step.count(ended.len(), counts);
    Ok(())
}

/// What waits before the store, and what would know its documents again; returns how many rows went.
async fn erase_rest(
    tx: &mut Tx,
    ask: &EraseAsk,
    started_at: i64,
    counts: &mut ErasureCounts,
) -> StoreResult<u64> {
    let rows_max = i64::from(ask.rows_max);
    let submissions = sqlx::query_file!(
        "src/store/sqlite/erase_submission.sql",
        ask.tenant,
        ask.tenant_default,
        rows_max
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    let identities =
        sqlx::query_file!("src/store/sqlite/erase_seen.sql", ask.tenant, started_at, rows_max)
            .execute(&mut **tx)
            .await?
            .rows_affected();
    counts.submissions += submissions;
    counts.identities += identities;
    Ok(submissions + identities)
}
