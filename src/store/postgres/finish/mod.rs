//! Room 6 on Postgres: a group of finished attempts recorded, settled and moved on in one
//! transaction: where all end the jobs that run them by few statements that wait for no claim, and
//! else step by step.
//! Must not know: why a job moves where it moves (`retry` has decided).

mod moves;
mod record;
mod usual;

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::draws::{self, Draws};
use super::end::{self, End};
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::error::ErrorKind;
use crate::store::shared::settling::{self, Record, Records};
use crate::store::{AttemptKey, Finish, Finished, Next, Settlement};

/// A finish that nobody has recorded yet, with what the tables say of its attempt.
type Fresh<'a> = (&'a Finish, &'a Record);

/// What a transaction has recorded: the attempts as they stood before, and the jobs that it ended.
struct Recorded {
    records: Records,
    ended: HashSet<Uuid>,
}

impl PostgresStore {
    pub(super) async fn finish_group(&self, group: &[Finish]) -> Outcome<Vec<Finished>> {
        if group.is_empty() {
            return Ok(Vec::new());
        }
        self.keep_lane_time().await?;
        let mut tx = self.begin().await?;
        if let Some(ends) = usual::usual(group) {
            if self.end_usual(&mut tx, &ends).await? {
                tx.commit().await?;
                return Ok(usual::answers(group));
            }
            // What it has locked was locked before the rest of the group, and stays so no longer.
            tx.rollback().await?;
            tx = self.begin().await?;
        }
        let Recorded { records, ended } = self.move_on(&mut tx, group).await?;
        tx.commit().await?;
        if group.iter().any(|finish| matches!(finish.next, Next::Again { .. })) {
            self.forget_low_water();
        }
        Ok(settling::answers(group, &records, &ended))
    }

    /// Whatever may have become of these attempts and their jobs: first what stands of them, then
    /// what each finish makes of that, and what it takes of the budget.
    async fn move_on(&self, tx: &mut Tx, group: &[Finish]) -> Outcome<Recorded> {
        let keys: Vec<AttemptKey> = group.iter().map(|finish| finish.key).collect();
        let Standing { records, read_ms } = records(tx, &keys).await?;
        let now = self.now_or_read(tx, read_ms).await?;
        let group = &*settling::without_deleted(group, &records);
        let fresh = settling::fresh(group, &records);
        record::record(tx, &fresh, now).await?;
        let ends: Vec<End<'_>> = fresh.iter().filter_map(|(finish, _)| End::of(finish)).collect();
        let ended = end::end_jobs(tx, &ends, now).await?;
        fence(tx, &fresh, &ended, now).await?;
        moves::again(tx, &fresh, now).await?;
        moves::hold(tx, &fresh).await?;
        moves::pause(tx, &fresh, now).await?;
        self.settle(tx, &fresh).await?;
        Ok(Recorded { records, ended })
    }

    pub(super) async fn give_back_unsent(&self, attempts: &[AttemptKey]) -> Outcome<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        self.keep_lane_time().await?;
        let mut tx = self.begin().await?;
        let Standing { records, read_ms } = records(&mut tx, attempts).await?;
        let now = self.now_or_read(&mut tx, read_ms).await?;
        let unsent = settling::unsent(attempts, &records);
        let ids: Vec<Uuid> = unsent.iter().map(|(key, _)| key.job_id).collect();
        let numbers: Vec<i32> = unsent.iter().map(|(key, _)| bulk::small_int(key.number)).collect();
        sqlx::query_file!(
            "src/store/postgres/give_back_attempt.sql",
            &ids,
            &numbers,
            bulk::instant(now)
        )
        .execute(tx.on())
        .await?;
        let current: Vec<Uuid> =
            unsent.iter().filter(|(_, record)| record.current).map(|(key, _)| key.job_id).collect();
        sqlx::query_file!("src/store/postgres/give_back_job.sql", &current)
            .execute(tx.on())
            .await?;
        let names = unsent.iter().flat_map(|(_, record)| record.keys.iter().cloned()).collect();
        let mut draws = self.open_draws(&mut tx, &names).await?;
        for (_, record) in &unsent {
            record.settle(&mut draws.keyed, Settlement::GivenBack);
        }
        draws.save(self, &mut tx).await?;
        tx.commit().await?;
        self.forget_low_water();
        Ok(())
    }

    /// Locks and loads these keys.
    async fn open_draws(&self, tx: &mut Tx, names: &BTreeSet<String>) -> Outcome<Draws> {
        let rules = draws::rules(tx).await?;
        draws::lock(tx, names).await?;
        Draws::load(self, tx, names, &rules).await
    }

    /// Settles every attempt, then tells the lanes what the calls taught.
    async fn settle(&self, tx: &mut Tx, fresh: &[Fresh<'_>]) -> Outcome<()> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (finish, record) in fresh {
            names.extend(record.keys.iter().cloned());
            if finish.lane.throttled {
                names.insert(format!("lane:{}", record.lane));
            }
        }
        let mut draws = self.open_draws(tx, &names).await?;
        for (finish, record) in fresh {
            record.settle(&mut draws.keyed, finish.settlement);
        }
        for (finish, record) in fresh.iter().filter(|(finish, _)| finish.lane.throttled) {
            // A lane without a limit of its own grows back towards the tightest above it.
            let reference = settling::tightest(&draws.keyed, &record.keys);
            let index = draws.index(&format!("lane:{}", record.lane));
            if let Some(keyed) = index.and_then(|index| draws.keyed.get_mut(index)) {
                keyed.state.throttled(record.claimed_at(), &reference, finish.lane.dimension);
            }
        }
        draws.save(self, tx).await
    }
}

/// What stands of some attempts, and when that was read by the database's clock, if there is any.
pub(super) struct Standing {
    pub(super) records: Records,
    pub(super) read_ms: Option<i64>,
}

/// Locks the jobs of these attempts, then reads what stands.
pub(super) async fn records(tx: &mut Tx, keys: &[AttemptKey]) -> Outcome<Standing> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.job_id).collect();
    let jobs = sqlx::query_file!("src/store/postgres/finish_lock.sql", &ids).fetch_all(tx.on());
    let jobs: HashMap<Uuid, (String, Option<Uuid>, bool)> =
        jobs.await?.into_iter().map(|job| (job.id, (job.lane, job.running, job.gone))).collect();
    let numbers: Vec<i32> = keys.iter().map(|key| bulk::small_int(key.number)).collect();
    let fences: Vec<Uuid> = keys.iter().map(|key| key.fence).collect();
    let rows = sqlx::query_file!("src/store/postgres/finish_read.sql", &ids, &numbers, &fences)
        .fetch_all(tx.on())
        .await?;
    let read_ms = rows.first().map(|row| row.now);
    let mut records = Records::with_capacity(rows.len());
    for row in rows {
        let Some((lane, running, gone)) = jobs.get(&row.job_id) else { continue };
        let record = Record {
            fence: row.fence,
            slot: bulk::uint(row.slot),
            keys: row.keys,
            reserved_tokens: bulk::uint(row.reserved_tokens),
            outcome: row.outcome,
            lane: lane.clone(),
            current: *running == Some(row.fence),
            gone: *gone,
        };
        records.insert(record.fence, record);
    }
    Ok(Standing { records, read_ms })
}

/// A late answer ended its job: the attempt that runs meanwhile is fenced.
async fn fence(tx: &mut Tx, fresh: &[Fresh<'_>], ended: &HashSet<Uuid>, now: i64) -> Outcome<()> {
    let late = fresh
        .iter()
        .filter(|(finish, record)| !record.current && ended.contains(&finish.key.job_id));
    let ids: Vec<Uuid> = late.map(|(finish, _)| finish.key.job_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    end::unknown_attempts(tx, &ids, ErrorKind::Cancelled, now).await
}
