//! Room 2 on Postgres: jobs whose time has come become due, those whose deadline has passed expire.
//! Must not know: the budget.

use uuid::Uuid;

use super::PostgresStore;
use super::end::{self, End};
use super::error::Outcome;
use super::place;
use super::session::Tx;
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::Promoted;
use crate::store::shared::places::Arrival;

/// When the next job becomes due, the next deadline passes, and now, in Unix ms.
struct Look {
    next_due_at: Option<i64>,
    next_deadline_at: Option<i64>,
    now: i64,
}

impl PostgresStore {
    pub(super) async fn promote_due(&self, rows_max: u32) -> Outcome<Promoted> {
        // Look first without a lock: an idle store is only read.
        let look = self.look_ahead().await?;
        let now = look.now;
        let is_over = |at: Option<i64>| at.is_some_and(|at| at <= now);
        if !is_over(look.next_due_at) && !is_over(look.next_deadline_at) {
            return Ok(Promoted { next_due_at: look.next_due_at, ..Promoted::default() });
        }
        let mut tx = self.begin().await?;
        let due = promote(&mut tx, now, rows_max).await?;
        tx.commit().await?;
        // Apart, because a lane's tenants are remembered last in a transaction.
        let mut tx = self.begin().await?;
        let expired = expire(&mut tx, now, rows_max).await?;
        tx.commit().await?;
        self.forget_low_water();
        let next_due_at = self.look_ahead().await?.next_due_at;
        Ok(Promoted { due, expired, next_due_at })
    }

    async fn look_ahead(&self) -> Outcome<Look> {
        let mut tx = self.look().await?;
        let row =
            sqlx::query_file!("src/store/postgres/promote_look.sql").fetch_one(tx.on()).await?;
        tx.commit().await?;
        Ok(Look {
            next_due_at: row.next_due_at,
            next_deadline_at: row.next_deadline_at,
            now: self.read_now(row.now),
        })
    }
}

async fn promote(tx: &mut Tx, now: i64, rows_max: u32) -> Outcome<u32> {
    let rows = sqlx::query_file!("src/store/postgres/promote_read.sql", now, i64::from(rows_max))
        .fetch_all(tx.on())
        .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    // A job that was in its lane before keeps its place.
    let newcomers: Vec<Arrival<'_>> = rows
        .iter()
        .filter(|row| row.place.is_none())
        .map(|row| Arrival {
            lane: &row.lane,
            queue: &row.queue,
            tenant: &row.tenant,
            priority: row.priority,
        })
        .collect();
    let given = place::give(tx, &newcomers).await?;
    let mut fresh = given.places.iter().copied();
    let (ids, places): (Vec<Uuid>, Vec<f64>) =
        rows.iter().filter_map(|row| Some((row.id, row.place.or_else(|| fresh.next())?))).unzip();
    let moved = sqlx::query_file!("src/store/postgres/promote_write.sql", &ids, &places)
        .execute(tx.on())
        .await?;
    place::remember(tx, &given).await?;
    Ok(u32::try_from(moved.rows_affected()).unwrap_or(u32::MAX))
}

async fn expire(tx: &mut Tx, now: i64, rows_max: u32) -> Outcome<u32> {
    let rows = sqlx::query_file!("src/store/postgres/expire_read.sql", now, i64::from(rows_max))
        .fetch_all(tx.on())
        .await?;
    let late: Vec<End<'_>> = rows
        .into_iter()
        .map(|row| {
            let message = match row.reason {
                Some(reason) => format!("its deadline passed while it waited after {reason}"),
                None => "its deadline passed before its turn came; raise the limit or the deadline"
                    .to_owned(),
            };
            End::with_error(row.id, State::Expired, ErrorKind::DeadlineExceeded, message)
        })
        .collect();
    let ended = end::end_jobs(tx, &late, now).await?;
    Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
}
