//! Time on Postgres: the database's wall clock for records, and lane time for the budget, which
//! never goes back though that clock may.
//! Must not know: what is charged when.

use std::sync::{Mutex, PoisonError};

use super::bulk;
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, TimeSource};
use crate::budget::{Contact, LaneClock, LaneTime};

/// How often a process compares notes with the others, in milliseconds. Between two such contacts
/// it reckons by itself, so that no row is written for each claim.
const CONTACT_EVERY_MS: u64 = 1_000;

/// Wall and steady clock may differ by this much since the last contact before it is a step.
const DIFFER_MS_MAX: u64 = 2_000;

/// The clock as it is first kept: so far from zero that nothing reaches back before it.
const FIRST_CLOCK: &str = r#"{"lane":1000000}"#;

/// What this process knows of lane time.
#[derive(Debug, Default)]
pub(super) struct Reckoning(Mutex<Option<Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    contact: Contact,
    lane: LaneTime,
    wall_ms: u64,
    steady_ms: u64,
}

impl Known {
    /// Whether the wall clock has gone on as the steady one has.
    fn agrees(&self, wall_ms: u64, steady_ms: u64) -> bool {
        let own_ms = steady_ms.saturating_sub(self.steady_ms);
        wall_ms.abs_diff(self.wall_ms.saturating_add(own_ms)) <= DIFFER_MS_MAX
    }

    /// Lane time now: it has gone on with both clocks, by the less of the two. Across a step it
    /// stands still until the next contact.
    fn lane_at(&self, wall_ms: u64, steady_ms: u64) -> LaneTime {
        if !self.agrees(wall_ms, steady_ms) {
            return self.lane;
        }
        let own_ms = steady_ms.saturating_sub(self.steady_ms);
        self.lane.plus_ms(wall_ms.saturating_sub(self.wall_ms).min(own_ms))
    }
}

impl Reckoning {
    fn known(&self) -> Option<Known> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}

impl PostgresStore {
    /// The time of records, in Unix ms.
    pub(super) async fn now(&self, tx: &mut Tx) -> Outcome<i64> {
        match self.time {
            TimeSource::Process => Ok(self.clock.now().wall_ms),
            TimeSource::Database => {
                let row = sqlx::query_file!("src/store/postgres/clock_now.sql").fetch_one(tx.on());
                Ok(row.await?.now)
            }
        }
    }

    /// The same where a statement reads the clock by itself: none tells it to.
    pub(super) fn now_of_process(&self) -> Option<i64> {
        match self.time {
            TimeSource::Process => Some(bulk::instant(self.clock.now().wall_ms)),
            TimeSource::Database => None,
        }
    }

    /// The same where a statement has brought it along.
    pub(super) fn read_now(&self, database_ms: i64) -> i64 {
        match self.time {
            TimeSource::Process => self.clock.now().wall_ms,
            TimeSource::Database => database_ms,
        }
    }

    /// The same, from the statement that brought it or by one of its own.
    pub(super) async fn now_or_read(&self, tx: &mut Tx, read_ms: Option<i64>) -> Outcome<i64> {
        match read_ms {
            Some(read_ms) => Ok(self.read_now(read_ms)),
            None => self.now(tx).await,
        }
    }

    /// Lane time at a wall time that was read while the budget's locks were held.
    pub(super) fn lane_time(&self, wall_ms: i64) -> LaneTime {
        let steady_ms = self.clock.now().mono_ms;
        self.reckoning
            .known()
            .map_or(LaneTime(0), |known| known.lane_at(bulk::uint(wall_ms), steady_ms))
    }

    /// Compares notes with the other processes where that is due. Before any lock of a budget is
    /// taken, and in a transaction of its own: nobody waits long for that row.
    pub(super) async fn keep_lane_time(&self) -> Outcome<()> {
        self.contact_after(CONTACT_EVERY_MS).await
    }

    /// The same while nothing else is to be done, and early, so that the next claim need not.
    pub(super) async fn keep_lane_time_ahead(&self) -> Outcome<()> {
        self.contact_after(CONTACT_EVERY_MS / 2).await
    }

    /// A contact, where the last is so old.
    async fn contact_after(&self, age_ms: u64) -> Outcome<()> {
        let steady_ms = self.clock.now().mono_ms;
        let known = self.reckoning.known();
        let is_due = known.is_none_or(|known| steady_ms.saturating_sub(known.steady_ms) >= age_ms);
        if is_due { self.contact().await } else { Ok(()) }
    }

    /// One contact. The first only reads: a process that has just begun cannot tell how much time
    /// has passed, and must not make the others forget it.
    async fn contact(&self) -> Outcome<()> {
        let mut tx = self.begin().await?;
        let last = self.reckoning.known().map(|known| known.contact);
        let row = sqlx::query_file!("src/store/postgres/lane_clock_read.sql")
            .fetch_optional(tx.on())
            .await?;
        let is_new = row.is_none();
        let kept = row.map_or_else(|| FIRST_CLOCK.to_owned(), |row| row.clock);
        let mut clock: LaneClock = serde_json::from_str(&kept)?;
        let wall_ms = bulk::uint(self.now(&mut tx).await?);
        let steady_ms = self.clock.now().mono_ms;
        let (lane, contact) = clock.read(last, wall_ms, steady_ms);
        if is_new || last.is_some() {
            let clock = serde_json::to_string(&clock)?;
            sqlx::query_file!("src/store/postgres/lane_clock_write.sql", clock)
                .execute(tx.on())
                .await?;
        }
        tx.commit().await?;
        self.reckoning.learn(Known { contact, lane, wall_ms, steady_ms });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let (lane, contact) = LaneClock::default().read(None, 10_000, 500);
        assert_eq!(lane, LaneTime(0));
        Known { contact, lane: LaneTime(7_000), wall_ms: 10_000, steady_ms: 500 }
    }

    #[test]
    fn between_contacts_lane_time_follows_both_clocks_by_the_less() {
        assert_eq!(known().lane_at(10_800, 1_400), LaneTime(7_800));
        assert_eq!(known().lane_at(11_400, 1_000), LaneTime(7_500));
        assert_eq!(known().lane_at(9_000, 600), LaneTime(7_000), "it never goes back");
    }

    #[test]
    fn across_a_step_lane_time_stands_until_the_next_contact() {
        assert_eq!(known().lane_at(10_000 + 3_600_000, 600), LaneTime(7_000));
        assert_eq!(known().lane_at(0, 30_000), LaneTime(7_000));
    }
}
