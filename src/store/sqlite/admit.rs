//! Room 1 on SQLite: jobs in, each identity once.
//! Must not know: documents' fields beyond what the port hands over.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::end::{self, End};
use super::{SqliteStore, Tx, bulk, draws, place};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::shared::admission::{self, Key, Seen};
use crate::store::shared::places::Arrival;
use crate::store::{AdmitStore, Admitted, LimitRule, NewJob, Shares, StoreResult, Submission};

#[derive(Serialize)]
struct KeyRow<'a> {
    tenant: &'a str,
    key: &'a str,
}

#[derive(Serialize)]
struct JobRow<'a> {
    id: String,
    external_id: &'a Option<String>,
    tenant: &'a str,
    queue: &'a str,
    lane: &'a str,
    model: &'a str,
    due: i64,
    place: Option<f64>,
    priority: i32,
    run_at: i64,
    deadline_at: i64,
    max_attempts: Option<u32>,
    hold: i64,
    input_tokens_max: u64,
    max_tokens: u64,
    burndown: u64,
    dedupe_key: Option<&'a str>,
    identity: &'a Option<String>,
    document_hash: &'a str,
    seen_until: i64,
    reply_to: Option<&'a str>,
}

/// Apart from the rest, so that long documents are read by one statement only.
#[derive(Serialize)]
struct SpecRow<'a> {
    id: String,
    document: &'a str,
    resolved: Option<String>,
    reply_to: Option<&'a str>,
    trace: Option<&'a str>,
}

#[derive(Serialize)]
struct LineRow {
    batch_id: String,
    line: i64,
    job_id: String,
}

#[async_trait]
impl AdmitStore for SqliteStore {
    async fn admit(&self, jobs: Vec<NewJob>) -> StoreResult<Vec<Admitted>> {
        let mut tx = self.begin().await?;
        let admitted = admit_in(&mut tx, &jobs, self.clock.now().wall_ms).await?;
        tx.commit().await?;
        Ok(admitted)
    }

    async fn submissions(&self, rows_max: u32) -> StoreResult<Vec<Submission>> {
        let rows = sqlx::query_file!("src/store/sqlite/submission_read.sql", rows_max)
            .fetch_all(&self.reader)
            .await?;
        let submissions = rows.into_iter().map(|row| Submission {
            identity: Some(Submission::identity_of(&row.id)),
            id: row.id,
            job_id: None,
            document: document_text(row.document),
        });
        Ok(submissions.collect())
    }

    async fn admit_submissions(&self, jobs: Vec<(String, NewJob)>) -> StoreResult<Vec<String>> {
        let keys: Vec<&str> = jobs.iter().map(|(key, _)| key.as_str()).collect();
        let keys = bulk::list(&keys)?;
        let mut tx = self.begin().await?;
        let taken = sqlx::query_file!("src/store/sqlite/submission_delete.sql", keys)
            .fetch_all(&mut *tx)
            .await?;
        let taken: HashSet<String> = taken.into_iter().map(|row| row.id).collect();
        let mine = jobs.into_iter().filter(|(key, _)| taken.contains(key));
        let jobs: Vec<NewJob> = mine.map(|(_, job)| job).collect();
        let now = self.clock.now().wall_ms;
        let answers = admit_in(&mut tx, &jobs, now).await?;
        let refused: Vec<NewJob> = jobs
            .iter()
            .zip(&answers)
            .filter_map(|(job, answer)| admission::refused(job, answer))
            .collect();
        admit_in(&mut tx, &refused, now).await?;
        tx.commit().await?;
        Ok(taken.into_iter().collect())
    }

    async fn limits(&self) -> StoreResult<Vec<LimitRule>> {
        draws::rules(&self.reader).await
    }

    async fn seed_limits(&self, rules: Vec<LimitRule>, seeder: &str) -> StoreResult<()> {
        self.write_limits(&rules, seeder).await
    }

    async fn shares(&self) -> StoreResult<Shares> {
        self.read_shares().await
    }

    async fn seed_shares(&self, shares: &Shares) -> StoreResult<()> {
        self.write_shares(shares).await
    }
}

/// A submitted document as text. Other programs may insert any bytes; those that are not UTF-8 are
/// no document, and are shown so that admission refuses them.
pub(super) fn document_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        format!("(not UTF-8) {}", String::from_utf8_lossy(error.as_bytes()))
    })
}

async fn admit_in(tx: &mut Tx, jobs: &[NewJob], now: i64) -> StoreResult<Vec<Admitted>> {
    let seen = seen_before(tx, jobs).await?;
    let holders = dedupe_holders(tx, jobs).await?;
    let judged = admission::judge(jobs, seen, holders);
    // Before the new ones come in, so that they find their dedupe keys free.
    let error = || Some((ErrorKind::Cancelled, "replaced by a changed document".to_owned()));
    let cancel = |id: &Uuid| End::with_error(*id, State::Cancelled, error());
    let ends: Vec<End> = judged.replaced.iter().map(cancel).collect();
    end::end_jobs(tx, &ends, now).await?;
    insert(tx, &judged.fresh, now).await?;
    write_lines(tx, &judged.lines).await?;
    Ok(judged.admitted)
}

async fn write_lines(tx: &mut Tx, lines: &[(Uuid, i64, Uuid)]) -> StoreResult<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let row = |(batch, line, job): &(Uuid, i64, Uuid)| LineRow {
        batch_id: batch.to_string(),
        line: *line,
        job_id: job.to_string(),
    };
    let rows = bulk::list(&lines.iter().map(row).collect::<Vec<_>>())?;
    sqlx::query_file!("src/store/sqlite/batch_line_write.sql", rows).execute(&mut **tx).await?;
    Ok(())
}

async fn seen_before(tx: &mut Tx, jobs: &[NewJob]) -> StoreResult<HashMap<Key, Seen>> {
    let keys = admission::identities(jobs);
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = key_rows(&keys)?;
    let rows = sqlx::query_file!("src/store/sqlite/seen_read.sql", rows).fetch_all(&mut **tx);
    let entry = rows.await?.into_iter().map(|row| {
        let seen = Seen {
            job_id: row.job_id.into_uuid(),
            document_hash: row.document_hash,
            document: row.document,
            state: row.state.as_deref().and_then(State::from_name),
        };
        ((row.tenant, row.identity), seen)
    });
    Ok(entry.collect())
}

async fn dedupe_holders(tx: &mut Tx, jobs: &[NewJob]) -> StoreResult<HashMap<Key, Uuid>> {
    let keys = admission::dedupe_keys(jobs);
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = key_rows(&keys)?;
    let rows = sqlx::query_file!("src/store/sqlite/dedupe_read.sql", rows).fetch_all(&mut **tx);
    let holder = rows.await?.into_iter();
    Ok(holder.map(|row| ((row.tenant, row.dedupe_key), row.id.into_uuid())).collect())
}

fn key_rows(keys: &[Key]) -> StoreResult<String> {
    let rows: Vec<KeyRow<'_>> = keys.iter().map(|(tenant, key)| KeyRow { tenant, key }).collect();
    bulk::list(&rows)
}

/// What a lone job is to those before it.
pub(super) async fn judge_alone(tx: &mut Tx, job: &NewJob) -> StoreResult<Admitted> {
    let jobs = std::slice::from_ref(job);
    let seen = seen_before(tx, jobs).await?;
    let holders = dedupe_holders(tx, jobs).await?;
    let mut judged = admission::judge(jobs, seen, holders);
    Ok(judged.admitted.pop().unwrap_or(Admitted::New(job.job_id)))
}

/// Writes a job that has no place in its lane, because the same transaction claims it.
pub(super) async fn insert_unplaced(tx: &mut Tx, job: &NewJob, now: i64) -> StoreResult<()> {
    write(tx, &[job_row(job, None)], &[spec_row(job)?], now).await
}

async fn insert(tx: &mut Tx, jobs: &[&NewJob], now: i64) -> StoreResult<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let due = |job: &NewJob| job.resolved.is_ok() && job.run_at <= now;
    let arrivals: Vec<Arrival<'_>> = jobs
        .iter()
        .filter(|job| due(job))
        .map(|job| Arrival {
            lane: &job.lane,
            queue: &job.queue,
            tenant: &job.tenant,
            priority: job.priority,
        })
        .collect();
    let mut places = place::give(tx, &arrivals).await?.into_iter();
    let (mut rows, mut specs) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
    for job in jobs {
        let place = if due(job) { places.next() } else { None };
        rows.push(job_row(job, place));
        specs.push(spec_row(job)?);
    }
    write(tx, &rows, &specs, now).await?;
    let rejected: Vec<End> = jobs
        .iter()
        .filter_map(|job| {
            let reason = job.resolved.as_ref().err()?;
            Some(End::failed(job.job_id, ErrorKind::Rejected, reason.clone()))
        })
        .collect();
    end::end_jobs(tx, &rejected, now).await?;
    Ok(())
}

async fn write(
    tx: &mut Tx,
    rows: &[JobRow<'_>],
    specs: &[SpecRow<'_>],
    now: i64,
) -> StoreResult<()> {
    let (rows, specs) = (bulk::list(rows)?, bulk::list(specs)?);
    sqlx::query_file!("src/store/sqlite/job_insert.sql", rows, now).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/job_spec_insert.sql", specs).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/seen_insert.sql", rows).execute(&mut **tx).await?;
    Ok(())
}

fn job_row(job: &NewJob, place: Option<f64>) -> JobRow<'_> {
    let resolved = job.resolved.as_ref().ok();
    JobRow {
        id: job.job_id.to_string(),
        external_id: &job.external_id,
        tenant: &job.tenant,
        queue: &job.queue,
        lane: &job.lane,
        model: resolved.map_or("", |resolved| &resolved.model),
        due: i64::from(place.is_some()),
        place,
        priority: job.priority,
        run_at: job.run_at,
        deadline_at: job.deadline_at,
        max_attempts: job.max_attempts,
        hold: i64::from(job.hold),
        input_tokens_max: job.wanted.input_tokens_max,
        max_tokens: job.wanted.max_tokens,
        burndown: job.wanted.burndown,
        dedupe_key: job.dedupe_key.as_deref().filter(|_| resolved.is_some()),
        identity: &job.identity,
        document_hash: &job.document_hash,
        seen_until: job.seen_until,
        reply_to: job.reply.as_ref().map(|reply| reply.to.as_str()),
    }
}

fn spec_row(job: &NewJob) -> StoreResult<SpecRow<'_>> {
    let resolved = job.resolved.as_ref().ok();
    Ok(SpecRow {
        id: job.job_id.to_string(),
        document: &job.document,
        resolved: resolved.map(serde_json::to_string).transpose()?,
        reply_to: job.reply.as_ref().map(|reply| reply.to.as_str()),
        trace: job.reply.as_ref().and_then(|reply| reply.trace.as_deref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::{Origin, Overrides};
    use crate::clock::Clock;
    use crate::store::sqlite::SqliteOptions;
    use crate::store::{ReadStore as _, ResultsAsk};

    #[tokio::test]
    async fn a_submission_whose_id_is_taken_ends_rejected_and_never_vanishes() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions {
            path: dir.path().join("q.db"),
            busy_timeout_ms: 1_000,
            simulated: Some(true),
        };
        let (clock, _hand) = Clock::manual();
        let store = SqliteStore::open(&options, clock.clone()).await.unwrap();
        sqlx::query("insert into submission (id, document) values ('1', ''), ('2', ''), ('3', '')")
            .execute(&store.writer)
            .await
            .unwrap();
        let room = crate::admit::tests::room_of_defaults();
        let job = |prompt: &str| {
            let text = format!(r#"{{"id":"a","prompt":"{prompt}"}}"#);
            let overrides = Overrides::default();
            room.prepare(&text, &overrides, Origin::default(), &[], clock.now()).unwrap()
        };
        let first = job("one");
        let taken_by = first.job_id;
        let jobs = vec![("1".to_owned(), first), ("2".to_owned(), job("two"))];
        store.admit_submissions(jobs).await.unwrap();
        // The same document again finds its job and is no refusal.
        store.admit_submissions(vec![("3".to_owned(), job("one"))]).await.unwrap();
        let ask = ResultsAsk { rows_max: 10, ..ResultsAsk::default() };
        let results = store.results(&ask).await.unwrap();
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].external_id.as_deref(), Some("a"));
        assert_eq!(results[0].error_kind.as_deref(), Some("rejected"));
        let message = results[0].error_message.as_deref().unwrap();
        assert!(message.contains(&taken_by.to_string()), "{message}");
    }
}
