//! The shapes that people are shown: results, lists, one job, levels.
//! Must not know: SQL, engines, how they are printed.

use serde::Serialize;
use uuid::Uuid;

use crate::budget::{Level, Limit};
use crate::completion::Usage;
use crate::job::{Resolved, State};
use crate::retry::Counters;

/// Which results.
#[derive(Debug, Clone, Default)]
pub struct ResultsAsk {
    /// After this number; 0 = from the start.
    pub after: i64,
    /// Of this batch only.
    pub batch: Option<Uuid>,
    /// At most so many.
    pub rows_max: u32,
}

/// A terminal job, as its result line shows it.
#[derive(Debug, Clone)]
pub struct ResultRow {
    /// The order of its end.
    pub seq: i64,
    /// Our id.
    pub job_id: Uuid,
    /// The producer's id.
    pub external_id: Option<String>,
    /// How it ended.
    pub state: State,
    /// The validated JSON text.
    pub output: Option<String>,
    /// The answer's text, where there is no schema.
    pub text: Option<String>,
    /// What failed.
    pub error_kind: Option<String>,
    /// In words.
    pub error_message: Option<String>,
    /// Its queue.
    pub queue: String,
    /// The model's alias or id.
    pub model: String,
    /// Summed over its attempts.
    pub usage: Usage,
    /// The known part of what its attempts cost, in micro-dollars; absent where nothing is known.
    pub cost_micros: Option<u64>,
    /// Calls made, the unsent not counted.
    pub attempts: u32,
    /// Attempts whose cost is unknown.
    pub attempts_unknown: u32,
    /// How the output was come by.
    pub provenance: Option<String>,
    /// The document's metadata, as JSON text.
    pub metadata: Option<String>,
    /// When and why its content was deleted; absent where it is there.
    pub deleted: Option<Deleted>,
}

/// Why a job's content is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// When, in Unix ms.
    pub at: i64,
    /// `retention` or `erasure`.
    pub by: String,
}

/// Jobs by state, and what they took.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// How many stand in each state.
    pub states: Vec<(State, u64)>,
    /// Tokens of all attempts.
    pub usage: Usage,
    /// Known cost of all attempts, in micro-dollars.
    pub cost_micros: u64,
    /// Attempts whose cost is unknown.
    pub attempts_unknown: u64,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Ended with this kind.
    pub error: Option<String>,
    /// For this model (alias or id).
    pub model: Option<String>,
    /// Admitted at or after this time, in Unix ms.
    pub since: Option<i64>,
    /// Of this batch.
    pub batch: Option<Uuid>,
    /// Admitted before this job: the last one of the page before.
    pub before: Option<Uuid>,
    /// At most so many.
    pub rows_max: u32,
}

/// A job in a list.
#[derive(Debug, Clone, Serialize)]
pub struct JobRow {
    /// Our id.
    pub job_id: Uuid,
    /// The producer's id.
    pub external_id: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Its queue.
    pub queue: String,
    /// Whose it is.
    pub tenant: String,
    /// The model's alias or id.
    pub model: String,
    /// Its lane.
    pub lane: String,
    /// -100 to 100.
    pub priority: i32,
    /// Calls claimed so far.
    pub calls: u32,
    /// How often its calls went wrong.
    pub counters: Counters,
    /// When it was admitted, in Unix ms.
    pub created_at: i64,
    /// Not before this time, in Unix ms.
    pub run_at: i64,
    /// Expired after this time, in Unix ms.
    pub deadline_at: i64,
    /// When it ended, in Unix ms.
    pub ended_at: Option<i64>,
    /// What failed last, or why it waits.
    pub reason: Option<String>,
}

/// One attempt, for `jobs show`.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptRow {
    /// Its number, from 1.
    pub number: u32,
    /// How it came out; absent while in flight.
    pub outcome: Option<String>,
    /// What failed.
    pub error_kind: Option<String>,
    /// In words.
    pub error_message: Option<String>,
    /// A failover had lost it, and its worker brought it back.
    pub restored: bool,
    /// When it was claimed, in Unix ms.
    pub started_at: i64,
    /// When it was recorded, in Unix ms.
    pub finished_at: Option<i64>,
    /// Quota tokens reserved.
    pub reserved_tokens: u64,
    /// Quota tokens settled; absent while the reservation stands.
    pub settled_tokens: Option<u64>,
    /// What the provider counted.
    pub usage: Option<Usage>,
    /// What it cost, in micro-dollars; absent where that is unknown.
    pub cost_micros: Option<u64>,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// Milliseconds to the first text.
    pub first_token_ms: Option<u64>,
    /// Milliseconds to the end.
    pub total_ms: Option<u64>,
    /// Why the model stopped.
    pub stop: Option<String>,
    /// The model's text.
    pub raw_text: Option<String>,
    /// The schema errors (JSON list).
    pub schema_errors: Option<String>,
}

/// Everything about one job.
#[derive(Debug, Clone)]
pub struct JobPage {
    /// Its row.
    pub row: JobRow,
    /// Its document (JSON text).
    pub document: String,
    /// What admission settled.
    pub resolved: Option<Resolved>,
    /// What is shown to the model again at the next call.
    pub reask: Option<String>,
    /// Its attempts in order.
    pub attempts: Vec<AttemptRow>,
    /// Its result, once it has ended.
    pub result: Option<ResultRow>,
    /// Until when its lane is paused, in Unix ms.
    pub lane_paused_until: Option<i64>,
}

/// A lane that nobody calls for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedLane {
    /// Its name.
    pub lane: String,
    /// Until when, in Unix ms.
    pub until: i64,
    /// The error's kind that paused it.
    pub reason: Option<String>,
}

/// A budget key's level.
#[derive(Debug, Clone)]
pub struct KeyLevel {
    /// `total`, `lane:...`, `queue:...`, `tenant:...`.
    pub key: String,
    /// Its limit, where a rule matches.
    pub limit: Limit,
    /// Which rule.
    pub rule: Option<String>,
    /// How full it is.
    pub level: Level,
    /// How many of 1,000 tokens reserved its calls have lately used; 1,000 where it has seen none.
    pub used_permille: u64,
}

/// What a store is.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// `sqlite`.
    pub engine: String,
    /// Where it lives.
    pub location: String,
    /// The migration it stands at.
    pub migration: i64,
    /// Holds simulated work; absent while it holds none at all.
    pub simulated: Option<bool>,
}
