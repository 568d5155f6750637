//! Leases on SQLite: beats, locks that the system frees when a process dies, and rescue (G7).
//! Must not know: when to look (the worker does).

use std::collections::hash_map::Entry;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::PoisonError;

use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::end::{self, End};
use super::{SqliteStore, Tx, bulk};
use crate::error::ErrorKind;
use crate::job::State;
use crate::retry::Counters;
use crate::store::shared::crash::{self, After, Orphan};
use crate::store::{
    AttemptKey, LeaseInfo, OtherLease, RescueAsk, Rescued, RunningAttempt, StoreError, StoreResult,
};

/// The beat of a lease whose row is gone while jobs still run under it; `lease_others` says it too.
const NO_BEAT: i64 = -1;

#[derive(Serialize)]
struct RescuedRow {
    id: String,
    state: &'static str,
    due: i64,
    run_at: i64,
    crashes: u32,
}

impl SqliteStore {
    /// The file whose lock says that the process of a lease lives.
    fn lock_path(&self, lease: Uuid) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!("-lease-{lease}"));
        PathBuf::from(name)
    }

    pub(super) async fn lease_open(&self, lease: &LeaseInfo) -> StoreResult<()> {
        self.lock(lease.id)?;
        let (id, now) = (lease.id.to_string(), self.clock.now().wall_ms);
        sqlx::query_file!(
            "src/store/sqlite/lease_open.sql",
            id,
            lease.host,
            lease.pid,
            now,
            lease.takes_jobs
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Takes the lock of a lease, once: a second handle on its file would wait for the first.
    fn lock(&self, lease: Uuid) -> StoreResult<()> {
        let path = self.lock_path(lease);
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Vacant(vacant) = locks.entry(lease) {
            let file = File::create(&path).and_then(|file| Ok(file.try_lock().map(|()| file)?));
            let file = file.map_err(|error| {
                StoreError::Transient(format!("cannot lock {}: {error}", path.display()))
            })?;
            vacant.insert(file);
        }
        Ok(())
    }

    /// The row stays where jobs still run under it, and with it the file whose lock is then free:
    /// others see a dead process and rescue them.
    pub(super) async fn lease_close(&self, lease: Uuid) -> StoreResult<()> {
        let id = lease.to_string();
        let closed =
            sqlx::query_file!("src/store/sqlite/lease_close.sql", id).execute(&self.writer).await?;
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(&lease);
        if closed.rows_affected() > 0 {
            remove_quietly(&self.lock_path(lease));
        }
        Ok(())
    }

    pub(super) async fn lease_beat(&self, lease: Uuid) -> StoreResult<Option<Vec<RunningAttempt>>> {
        let id = lease.to_string();
        let beat = sqlx::query_file!("src/store/sqlite/lease_beat.sql", id)
            .fetch_optional(&self.writer)
            .await?;
        if beat.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query_file!("src/store/sqlite/lease_running.sql", id)
            .fetch_all(&self.reader)
            .await?;
        let running = rows.into_iter().map(|row| RunningAttempt {
            key: AttemptKey {
                job_id: row.id.into_uuid(),
                number: bulk::small(row.number),
                fence: row.fence.into_uuid(),
            },
        });
        Ok(Some(running.collect()))
    }

    pub(super) async fn leases_of_others(&self, own: Uuid) -> StoreResult<Vec<OtherLease>> {
        let own = own.to_string();
        let rows = sqlx::query_file!("src/store/sqlite/lease_others.sql", own)
            .fetch_all(&self.reader)
            .await?;
        let others = rows.into_iter().map(|row| {
            let id = row.id.into_uuid();
            OtherLease { id, beat: row.beat, dead: self.is_unlocked(id) }
        });
        Ok(others.collect())
    }

    /// True if the lock file is there and its lock is free: the system frees it when its process
    /// ends, however it ends. Without the file, only the beat can tell.
    pub(super) fn is_unlocked(&self, lease: Uuid) -> bool {
        if self.locks.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&lease) {
            return false;
        }
        match File::open(self.lock_path(lease)) {
            Ok(file) => {
                !matches!(file.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
            }
            Err(_) => false,
        }
    }

    pub(super) async fn rescue_lease(&self, ask: &RescueAsk) -> StoreResult<Rescued> {
        let mut rescued = Rescued::default();
        loop {
            let mut tx = self.begin().await?;
            let lease = ask.lease.to_string();
            let row = sqlx::query_file!("src/store/sqlite/lease_read.sql", lease)
                .fetch_optional(&mut *tx)
                .await?;
            if row.map_or(NO_BEAT, |row| row.beat) != ask.beat {
                return Ok(rescued);
            }
            let orphans = orphans(&mut tx, &lease, ask.rows_max).await?;
            if orphans.is_empty() {
                sqlx::query_file!("src/store/sqlite/lease_close.sql", lease)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
                remove_quietly(&self.lock_path(ask.lease));
                return Ok(rescued);
            }
            self.rescue_some(&mut tx, ask, &orphans, &mut rescued).await?;
            tx.commit().await?;
        }
    }

    async fn rescue_some(
        &self,
        tx: &mut Tx,
        ask: &RescueAsk,
        orphans: &[Orphan],
        rescued: &mut Rescued,
    ) -> StoreResult<()> {
        let now = self.clock.now().wall_ms;
        let mut ends = Vec::new();
        let mut rows = Vec::new();
        for orphan in orphans {
            rescued.attempts += 1;
            match crash::after_crash(orphan, &ask.policy, now) {
                After::End { state, kind, message } => {
                    rescued.ended += 1;
                    ends.push(End::with_error(orphan.id, state, Some((kind, message))));
                }
                After::Again { state, after_ms, crashes } => {
                    if state == State::Held {
                        rescued.held += 1;
                    } else {
                        rescued.ready += 1;
                    }
                    rows.push(RescuedRow {
                        id: orphan.id.to_string(),
                        state: state.as_str(),
                        due: i64::from(after_ms == 0),
                        run_at: now.saturating_add(bulk::int(after_ms)),
                        crashes,
                    });
                }
            }
        }
        let ids: Vec<String> = orphans.iter().map(|orphan| orphan.id.to_string()).collect();
        let ids = bulk::list(&ids)?;
        let kind = ErrorKind::Crashed.as_str();
        end::unknown_attempts(tx, &ids, ErrorKind::Crashed, now).await?;
        end::end_jobs(tx, &ends, now).await?;
        let rows = bulk::list(&rows)?;
        sqlx::query_file!("src/store/sqlite/rescue_job.sql", rows, kind).execute(&mut **tx).await?;
        Ok(())
    }
}

async fn orphans(tx: &mut Tx, lease: &str, rows_max: u32) -> StoreResult<Vec<Orphan>> {
    let rows = sqlx::query_file!("src/store/sqlite/rescue_read.sql", lease, rows_max)
        .fetch_all(&mut **tx)
        .await?;
    let orphans = rows.into_iter().map(|row| Orphan {
        id: row.id.into_uuid(),
        hold: row.hold != 0,
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

/// A lock file left behind is harmless: the lease's row decides.
fn remove_quietly(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "lease file not removed");
    }
}
