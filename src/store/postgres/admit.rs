//! Room 1 on Postgres: jobs in, each identity once.
//! Must not know: documents' fields beyond what the port hands over.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use uuid::Uuid;

use super::columns::{JobColumns, SpecColumns};
use super::end::{self, End};
use super::error::{Fault, Outcome};
use super::listen;
use super::place::{self, Given};
use super::session::Tx;
use super::{PostgresStore, bulk, draws};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::admission::{self, Key, Seen};
use crate::store::shared::places::Arrival;
use crate::store::{AdmitStore, Admitted, LimitRule, NewJob, Shares, StoreResult, Submission};

/// How often an admission is judged again because others have admitted the same meanwhile.
pub(super) const OVERTAKEN_MAX: u32 = 5;

#[async_trait]
impl AdmitStore for PostgresStore {
    async fn admit(&self, jobs: Vec<NewJob>) -> StoreResult<Vec<Admitted>> {
        self.within(self.admit_all(&jobs)).await
    }

    async fn submissions(&self, rows_max: u32) -> StoreResult<Vec<Submission>> {
        self.within(self.waiting_submissions(rows_max)).await
    }

    async fn admit_submissions(&self, jobs: Vec<(String, NewJob)>) -> StoreResult<Vec<String>> {
        self.within(self.admit_submitted(jobs)).await
    }

    async fn limits(&self) -> StoreResult<Vec<LimitRule>> {
        self.within(async {
            let mut tx = self.look().await?;
            let rules = draws::rules(&mut tx).await?;
            tx.commit().await?;
            Ok(rules)
        })
        .await
    }

    async fn seed_limits(&self, rules: Vec<LimitRule>, seeder: &str) -> StoreResult<()> {
        self.within(self.write_limits(&rules, seeder)).await
    }

    async fn shares(&self) -> StoreResult<Shares> {
        self.within(self.read_shares()).await
    }

    async fn seed_shares(&self, shares: &Shares) -> StoreResult<()> {
        self.within(self.write_shares(shares)).await
    }
}

impl PostgresStore {
    async fn admit_all(&self, jobs: &[NewJob]) -> Outcome<Vec<Admitted>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut overtaken = 0;
        loop {
            match self.admit_once(jobs).await {
                Err(Fault::Overtaken) if overtaken < OVERTAKEN_MAX => overtaken += 1,
                done => return done,
            }
        }
    }

    async fn admit_once(&self, jobs: &[NewJob]) -> Outcome<Vec<Admitted>> {
        let mut tx = self.begin().await?;
        match self.admit_with(&mut tx, jobs).await {
            Ok(admitted) => {
                tx.commit().await?;
                Ok(admitted)
            }
            Err(Fault::Overtaken) => {
                tx.rollback().await?;
                Err(Fault::Overtaken)
            }
            Err(fault) => Err(fault),
        }
    }

    async fn admit_with(&self, tx: &mut Tx, jobs: &[NewJob]) -> Outcome<Vec<Admitted>> {
        let now = self.now(tx).await?;
        let (admitted, given) = admit_in(tx, jobs, now).await?;
        if !given.places.is_empty() {
            listen::wake(tx).await?;
        }
        place::remember(tx, &given).await?;
        Ok(admitted)
    }
}

/// Admits jobs within a transaction; their places are remembered by its end.
pub(super) async fn admit_in<'a>(
    tx: &mut Tx,
    jobs: &'a [NewJob],
    now: i64,
) -> Outcome<(Vec<Admitted>, Given<'a>)> {
    let seen = seen_before(tx, jobs).await?;
    // A rerun takes over only what was read here.
    let read: Vec<Uuid> = seen.values().map(|seen| seen.job_id).collect();
    let holders = dedupe_holders(tx, jobs).await?;
    let judged = admission::judge(jobs, seen, holders);
    take_identities(tx, &judged.fresh, &read).await?;
    // Before the new ones come in, so that they find their dedupe keys free.
    let message = || "replaced by a changed document".to_owned();
    let cancel =
        |id: &Uuid| End::with_error(*id, State::Cancelled, ErrorKind::Cancelled, message());
    let mut ends: Vec<End<'_>> = judged.replaced.iter().map(cancel).collect();
    if !ends.is_empty() {
        end::lock_jobs(tx, judged.replaced.iter().copied()).await?;
        end::end_jobs(tx, &ends, now).await?;
        ends.clear();
    }
    let given = insert(tx, &judged.fresh, now).await?;
    ends.extend(judged.fresh.iter().filter_map(|job| {
        let reason = job.resolved.as_ref().err()?;
        Some(End::failed(job.job_id, ErrorKind::Rejected, reason.clone()))
    }));
    end::end_jobs(tx, &ends, now).await?;
    write_lines(tx, &judged.lines).await?;
    Ok((judged.admitted, given))
}

/// What a lone job is to those before it.
pub(super) async fn judge_alone(tx: &mut Tx, job: &NewJob) -> Outcome<Admitted> {
    let jobs = std::slice::from_ref(job);
    let seen = seen_before(tx, jobs).await?;
    let holders = dedupe_holders(tx, jobs).await?;
    let mut judged = admission::judge(jobs, seen, holders);
    Ok(judged.admitted.pop().unwrap_or(Admitted::New(job.job_id)))
}

async fn seen_before(tx: &mut Tx, jobs: &[NewJob]) -> Outcome<HashMap<Key, Seen>> {
    let (tenants, identities): (Vec<String>, Vec<String>) =
        admission::identities(jobs).into_iter().unzip();
    if tenants.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_file!("src/store/postgres/seen_read.sql", &tenants, &identities)
        .fetch_all(tx.on())
        .await?;
    let entry = rows.into_iter().map(|row| {
        let seen = Seen {
            job_id: row.job_id,
            document_hash: row.document_hash,
            document: row.document,
            state: row.state.as_deref().and_then(State::from_name),
        };
        ((row.tenant, row.identity), seen)
    });
    Ok(entry.collect())
}

async fn dedupe_holders(tx: &mut Tx, jobs: &[NewJob]) -> Outcome<HashMap<Key, Uuid>> {
    let (tenants, keys): (Vec<String>, Vec<String>) =
        admission::dedupe_keys(jobs).into_iter().unzip();
    if tenants.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_file!("src/store/postgres/dedupe_read.sql", &tenants, &keys)
        .fetch_all(tx.on())
        .await?;
    Ok(rows.into_iter().map(|row| ((row.tenant, row.dedupe_key), row.id)).collect())
}

/// Takes the identities of new jobs. Where somebody else took one meanwhile, nothing is admitted
/// and the jobs are judged again.
async fn take_identities(tx: &mut Tx, fresh: &[&NewJob], read: &[Uuid]) -> Outcome<()> {
    // Of two reruns of one identity in one call the last has it.
    let mut rows: BTreeMap<(&str, &str), &NewJob> = BTreeMap::new();
    for job in fresh {
        if let Some(identity) = &job.identity {
            rows.insert((&job.tenant, identity), job);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let tenants: Vec<&str> = rows.keys().map(|(tenant, _)| *tenant).collect();
    let identities: Vec<&str> = rows.keys().map(|(_, identity)| *identity).collect();
    let ids: Vec<Uuid> = rows.values().map(|job| job.job_id).collect();
    let hashes: Vec<&str> = rows.values().map(|job| job.document_hash.as_str()).collect();
    let until: Vec<i64> = rows.values().map(|job| bulk::instant(job.seen_until)).collect();
    let taken = sqlx::query_file!(
        "src/store/postgres/seen_insert.sql",
        &tenants as _,
        &identities as _,
        &ids,
        &hashes as _,
        &until,
        read
    )
    .execute(tx.on())
    .await?;
    if usize::try_from(taken.rows_affected()) == Ok(rows.len()) {
        Ok(())
    } else {
        Err(Fault::Overtaken)
    }
}

async fn write_lines(tx: &mut Tx, lines: &[(Uuid, i64, Uuid)]) -> Outcome<()> {
    // Of two jobs on one line the last is its job.
    let lines: BTreeMap<(Uuid, i64), Uuid> =
        lines.iter().map(|(batch, line, job)| ((*batch, *line), *job)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let batches: Vec<Uuid> = lines.keys().map(|(batch, _)| *batch).collect();
    let numbers: Vec<i64> = lines.keys().map(|(_, line)| *line).collect();
    let jobs: Vec<Uuid> = lines.values().copied().collect();
    sqlx::query_file!("src/store/postgres/batch_line_write.sql", &batches, &numbers, &jobs)
        .execute(tx.on())
        .await?;
    Ok(())
}

async fn insert<'a>(tx: &mut Tx, jobs: &[&'a NewJob], now: i64) -> Outcome<Given<'a>> {
    if jobs.is_empty() {
        return Ok(Given::default());
    }
    let due = |job: &NewJob| job.resolved.is_ok() && job.run_at <= now;
    let arrivals: Vec<Arrival<'a>> = jobs
        .iter()
        .filter(|job| due(job))
        .map(|job| Arrival {
            lane: &job.lane,
            queue: &job.queue,
            tenant: &job.tenant,
            priority: job.priority,
        })
        .collect();
    let given = place::give(tx, &arrivals).await?;
    let mut left = given.places.iter().copied();
    let places: Vec<Option<f64>> =
        jobs.iter().map(|job| if due(job) { left.next() } else { None }).collect();
    insert_jobs(tx, jobs, &places, now).await?;
    insert_specs(tx, jobs).await?;
    Ok(given)
}

/// Writes a job that has no place in its lane, because the same transaction ends it.
pub(super) async fn insert_unplaced(tx: &mut Tx, job: &NewJob, now: i64) -> Outcome<()> {
    take_identities(tx, &[job], &[]).await?;
    insert_jobs(tx, &[job], &[None], now).await?;
    insert_specs(tx, &[job]).await
}

async fn insert_jobs(
    tx: &mut Tx,
    jobs: &[&NewJob],
    places: &[Option<f64>],
    now: i64,
) -> Outcome<()> {
    let columns = JobColumns::of(jobs);
    sqlx::query_file!(
        "src/store/postgres/job_insert.sql",
        &columns.ids,
        &columns.external_ids as _,
        &columns.tenants as _,
        &columns.queues as _,
        &columns.lanes as _,
        &columns.models as _,
        places as _,
        &columns.priorities,
        &columns.run_at,
        &columns.deadlines,
        &columns.attempts_max as _,
        &columns.holds,
        &columns.inputs,
        &columns.outputs,
        &columns.burndowns,
        &columns.dedupe_keys as _,
        bulk::instant(now),
        &columns.replies
    )
    .execute(tx.on())
    .await?;
    Ok(())
}

async fn insert_specs(tx: &mut Tx, jobs: &[&NewJob]) -> Outcome<()> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.job_id).collect();
    let external_ids: Vec<Option<&str>> =
        jobs.iter().map(|job| job.external_id.as_deref()).collect();
    let columns = SpecColumns::of(jobs)?;
    sqlx::query_file!(
        "src/store/postgres/job_spec_insert.sql",
        &ids,
        &columns.documents as _,
        &columns.metadata as _,
        &columns.resolved as _,
        &external_ids as _,
        &columns.reply_to as _,
        &columns.traces as _
    )
    .execute(tx.on())
    .await?;
    Ok(())
}
