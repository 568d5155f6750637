//! Room 2 on SQLite: jobs whose time has come become due, those whose deadline has passed expire.
//! Must not know: the budget.

use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::end::{self, End};
use super::{SqliteStore, Tx, bulk, place};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::places::Arrival;
use crate::store::{Promoted, StoreResult};

#[derive(Serialize)]
struct DueRow {
    id: String,
    place: f64,
}

/// A job whose time has come.
struct Arrived {
    id: Uuid,
    lane: String,
    queue: String,
    tenant: String,
    priority: i32,
    place: Option<f64>,
}

impl SqliteStore {
    pub(super) async fn promote_due(&self, rows_max: u32) -> StoreResult<Promoted> {
        let now = self.clock.now().wall_ms;
        // Look first without the lock: an idle store is only read.
        let look =
            sqlx::query_file!("src/store/sqlite/promote_look.sql").fetch_one(&self.reader).await?;
        let none_due = look.next_due_at.is_none_or(|at| at > now);
        if none_due && look.next_deadline_at.is_none_or(|at| at > now) {
            return Ok(Promoted { next_due_at: look.next_due_at, ..Promoted::default() });
        }
        let mut tx = self.begin().await?;
        let due = promote(&mut tx, now, rows_max).await?;
        let expired = expire(&mut tx, now, rows_max).await?;
        tx.commit().await?;
        let look =
            sqlx::query_file!("src/store/sqlite/promote_look.sql").fetch_one(&self.reader).await?;
        Ok(Promoted { due, expired, next_due_at: look.next_due_at })
    }
}

async fn promote(tx: &mut Tx, now: i64, rows_max: u32) -> StoreResult<u32> {
    let rows = sqlx::query_file!("src/store/sqlite/promote_read.sql", now, rows_max)
        .fetch_all(&mut **tx)
        .await?;
    let arrived: Vec<Arrived> = rows
        .into_iter()
        .map(|row| Arrived {
            id: row.id.into_uuid(),
            lane: row.lane,
            queue: row.queue,
            tenant: row.tenant,
            priority: i32::try_from(row.priority).unwrap_or(0),
            place: row.place,
        })
        .collect();
    // A job that was in its lane before keeps its place.
    let newcomers: Vec<Arrival<'_>> = arrived
        .iter()
        .filter(|job| job.place.is_none())
        .map(|job| Arrival {
            lane: &job.lane,
            queue: &job.queue,
            tenant: &job.tenant,
            priority: job.priority,
        })
        .collect();
    let mut places = place::give(tx, &newcomers).await?.into_iter();
    let rows: Vec<DueRow> = arrived
        .iter()
        .filter_map(|job| {
            let place = job.place.or_else(|| places.next())?;
            Some(DueRow { id: job.id.to_string(), place })
        })
        .collect();
    let rows = bulk::list(&rows)?;
    let moved =
        sqlx::query_file!("src/store/sqlite/promote_write.sql", rows).execute(&mut **tx).await?;
    Ok(u32::try_from(moved.rows_affected()).unwrap_or(u32::MAX))
}

async fn expire(tx: &mut Tx, now: i64, rows_max: u32) -> StoreResult<u32> {
    let rows = sqlx::query_file!("src/store/sqlite/expire_read.sql", now, rows_max)
        .fetch_all(&mut **tx)
        .await?;
    let late: Vec<End> = rows
        .into_iter()
        .map(|row| {
            let message = match row.reason {
                Some(reason) => format!("its deadline passed while it waited after {reason}"),
                None => "its deadline passed before its turn came; raise the limit or the deadline"
                    .to_owned(),
            };
            let error = Some((ErrorKind::DeadlineExceeded, message));
            End::with_error(row.id.into_uuid(), State::Expired, error)
        })
        .collect();
    let ended = end::end_jobs(tx, &late, now).await?;
    Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
}
