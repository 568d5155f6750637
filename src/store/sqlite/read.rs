//! What people read of a SQLite store: results, lists, one job.
//! Must not know: how it is shown.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::retention::id_list;
use super::{SqliteStore, bulk};
use crate::completion::Usage;
use crate::job::{Resolved, State};
use crate::retry::Counters;
use crate::store::{
    AttemptRow, Counts, Deleted, JobFilter, JobPage, JobRow, PausedLane, ResultRow, ResultsAsk,
    StoreResult,
};

/// How many attempts of one job are shown.
const ATTEMPTS_SHOWN_MAX: u32 = 1_000;

/// A job in a list, as the tables spell it.
struct ListedRow {
    id: Hyphenated,
    external_id: Option<String>,
    state: String,
    queue: String,
    tenant: String,
    model: String,
    lane: String,
    priority: i64,
    calls: i64,
    failures: i64,
    reasks: i64,
    crashes: i64,
    throttles: i64,
    created_at: i64,
    run_at: i64,
    deadline_at: i64,
    ended_at: Option<i64>,
    reason: Option<String>,
}

impl From<ListedRow> for JobRow {
    fn from(row: ListedRow) -> Self {
        Self {
            job_id: row.id.into_uuid(),
            external_id: row.external_id,
            state: State::from_name(&row.state).unwrap_or(State::Failed),
            queue: row.queue,
            tenant: row.tenant,
            model: row.model,
            lane: row.lane,
            priority: i32::try_from(row.priority).unwrap_or(0),
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

/// A result, as the tables spell it.
struct ResultRead {
    seq: i64,
    job_id: Hyphenated,
    external_id: Option<String>,
    state: String,
    output: Option<String>,
    text: Option<String>,
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

impl From<ResultRead> for ResultRow {
    fn from(row: ResultRead) -> Self {
        Self {
            seq: row.seq,
            job_id: row.job_id.into_uuid(),
            external_id: row.external_id,
            state: State::from_name(&row.state).unwrap_or(State::Failed),
            output: row.output,
            text: row.text,
            error_kind: row.error_kind,
            error_message: row.error_message,
            queue: row.queue,
            model: row.model,
            usage: Usage {
                input: bulk::uint(row.input),
                output: bulk::uint(row.output_tokens),
                cache_read: bulk::uint(row.cache_read),
                cache_write: bulk::uint(row.cache_write),
            },
            cost_micros: row.cost_micros.map(bulk::uint),
            attempts: bulk::small(row.attempts),
            attempts_unknown: bulk::small(row.attempts_unknown),
            provenance: row.provenance,
            metadata: row.metadata,
            deleted: row.gone_at.zip(row.gone_by).map(|(at, by)| Deleted { at, by }),
        }
    }
}

impl SqliteStore {
    pub(super) async fn read_results(&self, ask: &ResultsAsk) -> StoreResult<Vec<ResultRow>> {
        let batch = ask.batch.map(|batch| batch.to_string());
        let rows_max = Self::page(ask.rows_max);
        let rows = sqlx::query_file_as!(
            ResultRead,
            "src/store/sqlite/result_read.sql",
            ask.after,
            batch,
            rows_max
        )
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(ResultRow::from).collect())
    }

    /// The results of these jobs, in the order of their ends.
    pub(super) async fn results_of(&self, jobs: &[Uuid]) -> StoreResult<Vec<ResultRow>> {
        let jobs = id_list(jobs)?;
        let rows = sqlx::query_file_as!(ResultRead, "src/store/sqlite/delivery_result.sql", jobs)
            .fetch_all(&self.reader)
            .await?;
        Ok(rows.into_iter().map(ResultRow::from).collect())
    }

    pub(super) async fn read_counts(&self, batch: Option<Uuid>) -> StoreResult<Counts> {
        let batch = batch.map(|batch| batch.to_string());
        let rows = sqlx::query_file!("src/store/sqlite/count_states.sql", batch)
            .fetch_all(&self.reader)
            .await?;
        let states = rows
            .into_iter()
            .filter_map(|row| Some((State::from_name(&row.state)?, bulk::uint(row.jobs))))
            .collect();
        let row = sqlx::query_file!("src/store/sqlite/count_usage.sql", batch)
            .fetch_one(&self.reader)
            .await?;
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

    pub(super) async fn read_jobs(&self, filter: &JobFilter) -> StoreResult<Vec<JobRow>> {
        let state = filter.state.map(State::as_str);
        let before = filter.before.map(|before| before.to_string());
        let batch = filter.batch.map(|batch| batch.to_string());
        let rows_max = Self::page(filter.rows_max);
        let rows = sqlx::query_file_as!(
            ListedRow,
            "src/store/sqlite/job_list.sql",
            filter.queue,
            filter.tenant,
            state,
            filter.error,
            filter.model,
            filter.since,
            before,
            rows_max,
            batch
        )
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(JobRow::from).collect())
    }

    pub(super) async fn read_paused_lanes(&self) -> StoreResult<Vec<PausedLane>> {
        let now = self.clock.now().wall_ms;
        let rows = sqlx::query_file!("src/store/sqlite/lane_paused.sql", now)
            .fetch_all(&self.reader)
            .await?;
        let lanes = rows.into_iter().map(|row| PausedLane {
            lane: row.key,
            until: row.paused_until,
            reason: row.pause_reason,
        });
        Ok(lanes.collect())
    }

    async fn read_attempts(&self, job_id: &str) -> StoreResult<Vec<AttemptRow>> {
        let rows =
            sqlx::query_file!("src/store/sqlite/attempt_read.sql", job_id, ATTEMPTS_SHOWN_MAX)
                .fetch_all(&self.reader)
                .await?;
        let attempts = rows.into_iter().map(|row| AttemptRow {
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
            raw_text: row.raw_text,
            schema_errors: row.schema_errors,
        });
        Ok(attempts.collect())
    }

    pub(super) async fn read_job(&self, id: &str) -> StoreResult<Option<JobPage>> {
        let found = sqlx::query_file!("src/store/sqlite/job_find.sql", id)
            .fetch_optional(&self.reader)
            .await?;
        let Some(found) = found else { return Ok(None) };
        let job_id = found.id.into_uuid().to_string();
        let attempts = self.read_attempts(&job_id).await?;
        let row = sqlx::query_file_as!(ListedRow, "src/store/sqlite/job_one.sql", job_id)
            .fetch_optional(&self.reader)
            .await?
            .map(JobRow::from);
        let Some(row) = row else { return Ok(None) };
        let spec = sqlx::query_file!("src/store/sqlite/job_spec_read.sql", job_id)
            .fetch_optional(&self.reader)
            .await?;
        let (document, resolved, reask) = match spec {
            Some(spec) => (spec.document, spec.resolved, spec.reask),
            None => (String::new(), None, None),
        };
        let resolved: Option<Resolved> =
            resolved.map(|resolved| serde_json::from_str(&resolved)).transpose()?;
        let seq = sqlx::query_file!("src/store/sqlite/result_seq.sql", job_id)
            .fetch_optional(&self.reader)
            .await?
            .map(|row| row.seq);
        let result = match seq {
            Some(seq) => {
                let ask = ResultsAsk { after: seq - 1, batch: None, rows_max: 1 };
                self.read_results(&ask).await?.into_iter().next()
            }
            None => None,
        };
        let lane = sqlx::query_file!("src/store/sqlite/lane_place.sql", row.lane)
            .fetch_optional(&self.reader)
            .await?;
        let lane_paused_until = lane.map(|lane| lane.paused_until).filter(|until| *until > 0);
        Ok(Some(JobPage { row, document, resolved, reask, attempts, result, lane_paused_until }))
    }
}
