//! What people read of a Postgres store: results, lists, one job.
//! Must not know: how it is shown.

use uuid::Uuid;

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk};
use crate::completion::Usage;
use crate::job::{Resolved, State};
use crate::retry::Counters;
use crate::store::{
    AttemptRow, Counts, Deleted, JobFilter, JobPage, JobRow, ResultRow, ResultsAsk,
};

/// How many attempts of one job are shown.
const ATTEMPTS_SHOWN_MAX: i64 = 1_000;

/// A job in a list, as the tables spell it.
struct ListedRow {
    id: Uuid,
    external_id: Option<String>,
    state: String,
    queue: String,
    tenant: String,
    model: String,
    lane: String,
    priority: i32,
    calls: i32,
    failures: i32,
    reasks: i32,
    crashes: i32,
    throttles: i32,
    created_at: i64,
    run_at: i64,
    deadline_at: i64,
    ended_at: Option<i64>,
    reason: Option<String>,
}

impl From<ListedRow> for JobRow {
    fn from(row: ListedRow) -> Self {
        Self {
            job_id: row.id,
            external_id: row.external_id,
            state: State::from_name(&row.state).unwrap_or(State::Failed),
            queue: row.queue,
            tenant: row.tenant,
            model: row.model,
            lane: row.lane,
            priority: row.priority,
            calls: bulk::small(row.calls),
            counters: Counters {
                failures: bulk::small(row.failures),
                reasks: bulk::small(row.reasks),
                crashes: bulk::small(row.crashes),
                throttles: bulk::small(row.throttles),
            },
            created_at: row.created_at,
            run_at: row.run_at,
            deadline_at: row.deadline_at,
            ended_at: row.ended_at,
            reason: row.reason,
        }
    }
}

impl PostgresStore {
    pub(super) async fn read_results(&self, ask: &ResultsAsk) -> Outcome<Vec<ResultRow>> {
        let mut tx = self.look().await?;
        let results = results(&mut tx, ask).await?;
        tx.commit().await?;
        Ok(results)
    }

    pub(super) async fn read_counts(&self, batch: Option<Uuid>) -> Outcome<Counts> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file!("src/store/postgres/count_states.sql", batch)
            .fetch_all(tx.on())
            .await?;
        let states = rows
            .into_iter()
            .filter_map(|row| Some((State::from_name(&row.state)?, bulk::uint(row.jobs))))
            .collect();
        let row = sqlx::query_file!("src/store/postgres/count_usage.sql", batch)
            .fetch_one(tx.on())
            .await?;
        tx.commit().await?;
        Ok(Counts {
            states,
            usage: Usage {
                input: bulk::uint(row.input),
                output: bulk::uint(row.output_tokens),
                cache_read: bulk::uint(row.cache_read),
                cache_write: bulk::uint(row.cache_write),
            },
            cost_micros: bulk::uint(row.cost_micros),
            attempts_unknown: bulk::uint(row.attempts_unknown),
        })
    }

    pub(super) async fn read_jobs(&self, filter: &JobFilter) -> Outcome<Vec<JobRow>> {
        let mut tx = self.look().await?;
        let rows = sqlx::query_file_as!(
            ListedRow,
            "src/store/postgres/job_list.sql",
            filter.queue.as_deref(),
            filter.tenant.as_deref(),
            filter.state.map(State::as_str),
            filter.error.as_deref(),
            filter.model.as_deref(),
            filter.since.map(bulk::instant),
            filter.before,
            i64::from(filter.rows_max),
            filter.batch
        )
        .fetch_all(tx.on())
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(JobRow::from).collect())
    }

    pub(super) async fn read_job(&self, id: &str) -> Outcome<Option<JobPage>> {
        // No id holds NUL, and no column could be asked for it.
        if id.contains('\0') {
            return Ok(None);
        }
        let mut tx = self.look().await?;
        let page = page(&mut tx, id).await?;
        tx.commit().await?;
        Ok(page)
    }
}

async fn page(tx: &mut Tx, id: &str) -> Outcome<Option<JobPage>> {
    let own = Uuid::try_parse(id).ok();
    let found = sqlx::query_file!("src/store/postgres/job_find.sql", own, id)
        .fetch_optional(tx.on())
        .await?;
    let Some(found) = found else { return Ok(None) };
    let job_id = found.id;
    let attempts = attempts(tx, job_id).await?;
    let row = sqlx::query_file_as!(ListedRow, "src/store/postgres/job_one.sql", job_id)
        .fetch_optional(tx.on())
        .await?;
    let Some(row) = row.map(JobRow::from) else { return Ok(None) };
    let spec = sqlx::query_file!("src/store/postgres/job_spec_read.sql", job_id)
        .fetch_optional(tx.on())
        .await?;
    let (document, resolved, reask) = match spec {
        Some(spec) => (spec.document, spec.resolved, spec.reask),
        None => (String::new(), None, None),
    };
    let resolved: Option<Resolved> =
        resolved.map(|resolved| serde_json::from_str(&resolved)).transpose()?;
    let seq = sqlx::query_file!("src/store/postgres/result_seq.sql", job_id)
        .fetch_optional(tx.on())
        .await?;
    let result = match seq {
        Some(row) => {
            let ask = ResultsAsk { after: row.seq - 1, batch: None, rows_max: 1 };
            results(tx, &ask).await?.into_iter().find(|result| result.job_id == job_id)
        }
        None => None,
    };
    let lane =
        sqlx::query_file!("src/store/postgres/lane_place.sql", row.lane).fetch_one(tx.on()).await?;
    let lane_paused_until = lane.paused_until.filter(|until| *until > 0);
    Ok(Some(JobPage { row, document, resolved, reask, attempts, result, lane_paused_until }))
}

/// A result, as the tables spell it.
struct ResultRead {
    seq: i64,
    job_id: Uuid,
    external_id: Option<String>,
    state: String,
    output: Option<String>,
    text: Option<String>,
    text_bytes: Option<Vec<u8>>,
    error_kind: Option<String>,
    error_message: Option<String>,
    queue: String,
    model: String,
    input: i64,
    output_tokens: i64,
    cache_read: i64,
    cache_write: i64,
    cost_micros: Option<i64>,
    attempts: i64,
    attempts_unknown: i64,
    provenance: Option<String>,
    metadata: Option<String>,
    gone_at: Option<i64>,
    gone_by: Option<String>,
}

impl ResultRead {
    fn row(self) -> Outcome<ResultRow> {
        Ok(ResultRow {
            seq: self.seq,
            job_id: self.job_id,
            external_id: self.external_id,
            state: State::from_name(&self.state).unwrap_or(State::Failed),
            output: self.output,
            text: bulk::text_of(self.text, self.text_bytes)?,
            error_kind: self.error_kind,
            error_message: self.error_message,
            queue: self.queue,
            model: self.model,
            usage: Usage {
                input: bulk::uint(self.input),
                output: bulk::uint(self.output_tokens),
                cache_read: bulk::uint(self.cache_read),
                cache_write: bulk::uint(self.cache_write),
            },
            cost_micros: self.cost_micros.map(bulk::uint),
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            attempts_unknown: u32::try_from(self.attempts_unknown).unwrap_or(u32::MAX),
            provenance: self.provenance,
            metadata: self.metadata,
            deleted: self.gone_at.zip(self.gone_by).map(|(at, by)| Deleted { at, by }),
        })
    }
}

async fn results(tx: &mut Tx, ask: &ResultsAsk) -> Outcome<Vec<ResultRow>> {
    let rows = sqlx::query_file_as!(
        ResultRead,
        "src/store/postgres/result_read.sql",
        ask.after,
        ask.batch,
        i64::from(ask.rows_max)
    )
    .fetch_all(tx.on())
    .await?;
    rows.into_iter().map(ResultRead::row).collect()
}

/// The results of these jobs, in the order of their ends.
pub(super) async fn results_of(tx: &mut Tx, jobs: &[Uuid]) -> Outcome<Vec<ResultRow>> {
    let rows = sqlx::query_file_as!(ResultRead, "src/store/postgres/delivery_result.sql", jobs)
        .fetch_all(tx.on())
        .await?;
    rows.into_iter().map(ResultRead::row).collect()
}

async fn attempts(tx: &mut Tx, job_id: Uuid) -> Outcome<Vec<AttemptRow>> {
    let rows = sqlx::query_file!("src/store/postgres/attempt_read.sql", job_id, ATTEMPTS_SHOWN_MAX)
        .fetch_all(tx.on())
        .await?;
    let mut attempts = Vec::with_capacity(rows.len());
    for row in rows {
        attempts.push(AttemptRow {
            number: bulk::small(row.number),
            outcome: row.outcome,
            error_kind: row.error_kind,
            error_message: row.error_message,
            started_at: row.started_at,
            finished_at: row.finished_at,
            reserved_tokens: bulk::uint(row.reserved_tokens),
            settled_tokens: row.settled_tokens.map(bulk::uint),
            usage: row.input_tokens.map(|input| Usage {
                input: bulk::uint(input),
                output: bulk::uint(row.output_tokens.unwrap_or_default()),
                cache_read: bulk::uint(row.cache_read.unwrap_or_default()),
                cache_write: bulk::uint(row.cache_write.unwrap_or_default()),
            }),
            cost_micros: row.cost_micros.map(bulk::uint),
            request_id: row.request_id,
            first_token_ms: row.first_token_ms.map(bulk::uint),
            total_ms: row.total_ms.map(bulk::uint),
            stop: row.stop,
            raw_text: bulk::text_of(row.raw_text, row.raw_bytes)?,
            schema_errors: row.schema_errors,
        });
    }
    Ok(attempts)
}
