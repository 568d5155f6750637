//! Leases on Postgres: beats, and rescue (G7). No lock tells that a process is dead: the beat alone
//! does, so that an outage of the database, which ends every session, rescues nobody.
//! Must not know: when to look (the worker does).

use uuid::Uuid;

use super::end::{self, End};
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::error::ErrorKind;
use crate::job::State;
use crate::retry::Counters;
use crate::store::shared::crash::{self, After, Orphan};
use crate::store::{AttemptKey, LeaseInfo, OtherLease, RescueAsk, Rescued, RunningAttempt};

/// The beat of a lease whose row is gone while jobs still run under it; `lease_others` says it too.
const NO_BEAT: i64 = -1;

/// What a rescue writes of the jobs that go on.
#[derive(Default)]
struct GoOn {
    ids: Vec<Uuid>,
    states: Vec<&'static str>,
    due: Vec<bool>,
    run_at: Vec<i64>,
    crashes: Vec<i32>,
}

impl PostgresStore {
    pub(super) async fn lease_open(&self, lease: &LeaseInfo) -> Outcome<()> {
        let mut tx = self.begin().await?;
        let now = self.now(&mut tx).await?;
        sqlx::query_file!(
            "src/store/postgres/lease_open.sql",
            lease.id,
            lease.host,
            i64::from(lease.pid),
            bulk::instant(now),
            lease.takes_jobs
        )
        .execute(tx.on())
        .await?;
        tx.commit().await
    }

    /// The row stays where jobs still run under it: others see its beat stand still and rescue them.
    pub(super) async fn lease_close(&self, lease: Uuid) -> Outcome<()> {
        let mut tx = self.begin().await?;
        sqlx::query_file!("src/store/postgres/lease_close.sql", lease).execute(tx.on()).await?;
        tx.commit().await
    }

    pub(super) async fn lease_beat(&self, lease: Uuid) -> Outcome<Option<Vec<RunningAttempt>>> {
        let mut tx = self.begin().await?;
        let beat = sqlx::query_file!("src/store/postgres/lease_beat.sql", lease)
            .fetch_optional(tx.on())
            .await?;
        if beat.is_none() {
            tx.rollback().await?;
            return Ok(None);
        }
        let rows = sqlx::query_file!("src/store/postgres/lease_running.sql", lease)
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
        let running = rows.into_iter().map(|row| RunningAttempt {
            key: AttemptKey { job_id: row.id, number: bulk::small(row.number), fence: row.fence },
        });
        Ok(Some(running.collect()))
    }

    pub(super) async fn leases_of_others(&self, own: Uuid) -> Outcome<Vec<OtherLease>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/lease_others.sql", own)
            .fetch_all(tx.on())
            .await?;
        tx.commit().await?;
        let others = rows.into_iter();
        Ok(others.map(|row| OtherLease { id: row.id, beat: row.beat, dead: false }).collect())
    }

    pub(super) async fn rescue_lease(&self, ask: &RescueAsk) -> Outcome<Rescued> {
        let mut rescued = Rescued::default();
        loop {
            let mut tx = self.begin().await?;
            let row = sqlx::query_file!("src/store/postgres/lease_read.sql", ask.lease)
                .fetch_optional(tx.on())
                .await?;
            if row.map_or(NO_BEAT, |row| row.beat) != ask.beat {
                tx.rollback().await?;
                return Ok(rescued);
            }
            let orphans = orphans(&mut tx, ask.lease, ask.rows_max).await?;
            if orphans.is_empty() {
                sqlx::query_file!("src/store/postgres/lease_close.sql", ask.lease)
                    .execute(tx.on())
                    .await?;
                tx.commit().await?;
                return Ok(rescued);
            }
            self.rescue_some(&mut tx, ask, &orphans, &mut rescued).await?;
            tx.commit().await?;
            self.forget_low_water();
        }
    }

    async fn rescue_some(
        &self,
        tx: &mut Tx,
        ask: &RescueAsk,
        orphans: &[Orphan],
        rescued: &mut Rescued,
    ) -> Outcome<()> {
        let now = self.now(tx).await?;
        let mut ends = Vec::new();
        let mut rows = GoOn::default();
        for orphan in orphans {
            rescued.attempts += 1;
            match crash::after_crash(orphan, &ask.policy, now) {
                After::End { state, kind, message } => {
                    rescued.ended += 1;
                    ends.push(End::with_error(orphan.id, state, kind, message));
                }
                After::Again { state, after_ms, crashes } => {
                    if state == State::Held {
                        rescued.held += 1;
                    } else {
                        rescued.ready += 1;
                    }
                    rows.ids.push(orphan.id);
                    rows.states.push(state.as_str());
                    rows.due.push(after_ms == 0);
                    rows.run_at.push(bulk::instant(now.saturating_add(bulk::int(after_ms))));
                    rows.crashes.push(bulk::small_int(crashes));
                }
            }
        }
        let ids: Vec<Uuid> = orphans.iter().map(|orphan| orphan.id).collect();
        end::unknown_attempts(tx, &ids, ErrorKind::Crashed, now).await?;
        end::end_jobs(tx, &ends, now).await?;
        sqlx::query_file!(
            "src/store/postgres/rescue_job.sql",
            &rows.ids,
            &rows.states as _,
            &rows.due,
            &rows.run_at,
            &rows.crashes,
            ErrorKind::Crashed.as_str()
        )
        .execute(tx.on())
        .await?;
        Ok(())
    }
}

async fn orphans(tx: &mut Tx, lease: Uuid, rows_max: u32) -> Outcome<Vec<Orphan>> {
    let rows = sqlx::query_file!("src/store/postgres/rescue_read.sql", lease, i64::from(rows_max))
        .fetch_all(tx.on())
        .await?;
    let orphans = rows.into_iter().map(|row| Orphan {
        id: row.id,
        hold: row.hold,
        deadline_at: row.deadline_at,
        counters: Counters {
            failures: bulk::small(row.failures),
            reasks: bulk::small(row.reasks),
            crashes: bulk::small(row.crashes),
            throttles: bulk::small(row.throttles),
        },
    });
    Ok(orphans.collect())
}
