//! The erasure of a tenant's content on Postgres, a step at a time.
//! Must not know: who asks.

use uuid::Uuid;

use super::end::{self, End};
use super::error::{Fault, Outcome};
use super::session::Tx;
use super::{PostgresStore, bulk, retention};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::erasing::{self, Seen, Step};
use crate::store::{EraseAsk, Erasure, ErasureCounts, StoreError};

impl PostgresStore {
    pub(super) async fn erase_step(&self, ask: &EraseAsk) -> Outcome<Erasure> {
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        let (mut erasure, after) = opened(&mut tx, ask, now).await?;
        let rows = sqlx::query_file!(
            "src/store/postgres/erase_window.sql",
            after,
            ask.tenant,
            bulk::instant(erasure.started_at),
            erasing::looks_max(ask.rows_max)
        )
        .fetch_all(tx.on())
        .await?;
        let seen: Vec<Seen> = rows
            .into_iter()
            .map(|row| Seen {
                id: row.id,
                wanted: row.wanted,
                live: row.live,
                running: row.running,
            })
            .collect();
        let step = erasing::step(&seen, ask.rows_max);
        if !step.wanted.is_empty() {
            erase_jobs(&mut tx, &step, now, &mut erasure.counts).await?;
        }
        let rest = erase_rest(&mut tx, ask, erasure.started_at, &mut erasure.counts).await?;
        let is_done = step.is_last && rest == 0;
        erasure.done_at = is_done.then_some(now);
        let counts = serde_json::to_string(&erasure.counts)?;
        sqlx::query_file!(
            "src/store/postgres/erasure_write.sql",
            erasure.id,
            step.after.unwrap_or(after),
            counts,
            erasure.done_at.map(bulk::instant)
        )
        .execute(tx.on())
        .await?;
        tx.commit().await?;
        if is_done {
            erasure.remains = remains();
        }
        Ok(erasure)
    }

    pub(super) async fn read_erasures(&self) -> Outcome<Vec<Erasure>> {
        let mut tx = self.look().await?;
        let rows =
            sqlx::query_file!("src/store/postgres/erasure_list.sql").fetch_all(tx.on()).await?;
        tx.commit().await?;
        let mut erasures = Vec::with_capacity(rows.len());
        for row in rows {
            erasures.push(Erasure {
                id: row.id,
                tenant: row.tenant,
                asked_by: row.asked_by,
                started_at: row.started_at,
                done_at: row.done_at,
                counts: serde_json::from_str(&row.counts)?,
                remains: remains(),
            });
        }
        Ok(erasures)
    }
}

fn remains() -> Vec<String> {
    vec![
        "in dead rows, until the tables are vacuumed (vacuum quarrier.job_spec, quarrier.result, \
         quarrier.attempt, quarrier.attempt_body, quarrier.submission, quarrier.delivery)"
            .to_owned(),
        "in the write-ahead log, replicas and backups, until they rotate".to_owned(),
        erasing::SPOOLS.to_owned(),
        erasing::SENT.to_owned(),
    ]
}

/// Finds the erasure that is under way, or begins one, and holds its lock.
async fn opened(tx: &mut Tx, ask: &EraseAsk, now: i64) -> Outcome<(Erasure, Uuid)> {
    let counts = serde_json::to_string(&ErasureCounts::default())?;
    sqlx::query_file!(
        "src/store/postgres/erasure_open.sql",
        Uuid::now_v7(),
        ask.tenant,
        ask.asked_by,
        bulk::instant(now),
        counts
    )
    .execute(tx.on())
    .await?;
    let row = sqlx::query_file!("src/store/postgres/erasure_find.sql", ask.tenant)
        .fetch_optional(tx.on())
        .await?;
    let Some(row) = row else {
        let reason = "the erasure was ended by another process".to_owned();
        return Err(Fault::Store(StoreError::Transient(reason)));
    };
    let erasure = Erasure {
        id: row.id,
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
async fn erase_jobs(tx: &mut Tx, step: &Step, now: i64, counts: &mut ErasureCounts) -> Outcome<()> {
    end::lock_jobs(tx, step.wanted.iter().copied()).await?;
    let ends: Vec<End<'_>> = step
        .wanted
        .iter()
        .map(|id| {
            End::with_error(*id, State::Cancelled, ErrorKind::Cancelled, erasing::WHY.to_owned())
        })
        .collect();
    let ended: Vec<Uuid> = end::end_jobs(tx, &ends, now).await?.into_iter().collect();
    end::unknown_attempts(tx, &ended, ErrorKind::Cancelled, now).await?;
    // What is not sent yet is never sent.
    sqlx::query_file!("src/store/postgres/delivery_drop.sql", &step.wanted)
        .execute(tx.on())
        .await?;
    let gone = retention::mark(tx, &step.wanted, (now, i64::MAX), "erasure").await?;
    counts.bodies += retention::delete_texts(tx, &gone).await?;
    sqlx::query_file!("src/store/postgres/erase_attempt.sql", &gone).execute(tx.on()).await?;
    sqlx::query_file!("src/store/postgres/erase_result.sql", &gone).execute(tx.on()).await?;
    step.count(ended.len(), counts);
    Ok(())
}

/// What waits before the store, and what would know its documents again; returns how many rows went.
async fn erase_rest(
    tx: &mut Tx,
    ask: &EraseAsk,
    started_at: i64,
    counts: &mut ErasureCounts,
) -> Outcome<u64> {
    let (started_at, rows_max) = (bulk::instant(started_at), i64::from(ask.rows_max));
    let submissions = sqlx::query_file!(
        "src/store/postgres/erase_submission.sql",
        ask.tenant,
        ask.tenant_default,
        started_at,
        rows_max
    )
    .execute(tx.on())
    .await?
    .rows_affected();
    let identities =
        sqlx::query_file!("src/store/postgres/erase_seen.sql", ask.tenant, started_at, rows_max)
            .execute(tx.on())
            .await?
            .rows_affected();
    counts.submissions += submissions;
    counts.identities += identities;
    Ok(submissions + identities)
}
