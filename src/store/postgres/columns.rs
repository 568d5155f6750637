//! Jobs as the columns of their rows, for statements that write a group of them.
//! Must not know: statements, or why the jobs are written.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bulk;
use super::error::Outcome;
use crate::store::NewJob;

/// The hot rows; one entry a job, in their order.
pub(super) struct JobColumns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) external_ids: Vec<Option<&'a str>>,
    pub(super) tenants: Vec<&'a str>,
    pub(super) queues: Vec<&'a str>,
    pub(super) lanes: Vec<&'a str>,
    pub(super) models: Vec<&'a str>,
    pub(super) priorities: Vec<i32>,
    /// In Unix ms, as is `deadlines`.
    pub(super) run_at: Vec<i64>,
    pub(super) deadlines: Vec<i64>,
    pub(super) attempts_max: Vec<Option<i32>>,
    pub(super) holds: Vec<bool>,
    pub(super) inputs: Vec<i64>,
    pub(super) outputs: Vec<i64>,
    pub(super) burndowns: Vec<i32>,
    pub(super) dedupe_keys: Vec<Option<&'a str>>,
    pub(super) replies: Vec<bool>,
}

impl<'a> JobColumns<'a> {
    pub(super) fn of(jobs: &[&'a NewJob]) -> Self {
        let jobs = || jobs.iter().copied();
        let model =
            |job: &'a NewJob| job.resolved.as_ref().map_or("", |resolved| resolved.model.as_str());
        // A rejected document holds no key: its job has ended before anyone could look for it.
        let dedupe_key =
            |job: &'a NewJob| job.dedupe_key.as_deref().filter(|_| job.resolved.is_ok());
        let burndown = |job: &NewJob| i32::try_from(job.wanted.burndown).unwrap_or(i32::MAX);
        Self {
            ids: jobs().map(|job| job.job_id).collect(),
            external_ids: jobs().map(|job| job.external_id.as_deref()).collect(),
            tenants: jobs().map(|job| job.tenant.as_str()).collect(),
            queues: jobs().map(|job| job.queue.as_str()).collect(),
            lanes: jobs().map(|job| job.lane.as_str()).collect(),
            models: jobs().map(model).collect(),
            priorities: jobs().map(|job| job.priority).collect(),
            run_at: jobs().map(|job| bulk::instant(job.run_at)).collect(),
            deadlines: jobs().map(|job| bulk::instant(job.deadline_at)).collect(),
            attempts_max: jobs().map(|job| job.max_attempts.map(bulk::small_int)).collect(),
            holds: jobs().map(|job| job.hold).collect(),
            inputs: jobs().map(|job| bulk::int(job.wanted.input_tokens_max)).collect(),
            outputs: jobs().map(|job| bulk::int(job.wanted.max_tokens)).collect(),
            burndowns: jobs().map(burndown).collect(),
            dedupe_keys: jobs().map(dedupe_key).collect(),
            replies: jobs().map(|job| job.reply.is_some()).collect(),
        }
    }
}

/// What stands beside the hot rows; one entry a job, in their order.
pub(super) struct SpecColumns<'a> {
    pub(super) documents: Vec<&'a str>,
    pub(super) metadata: Vec<Option<&'a str>>,
    pub(super) resolved: Vec<Option<String>>,
    pub(super) reply_to: Vec<Option<&'a str>>,
    pub(super) traces: Vec<Option<&'a str>>,
}

/// What of a document is shown with its result.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl<'a> SpecColumns<'a> {
    pub(super) fn of(jobs: &[&'a NewJob]) -> Outcome<Self> {
        let metadata = |job: &&'a NewJob| {
            // Most documents have none, and are not read for it.
            if !job.document.contains("\"metadata\"") {
                return None;
            }
            // A rejected document may be anything, and then has none.
            let shown: Option<Shown<'a>> = serde_json::from_str(&job.document).ok();
            shown.and_then(|shown| shown.metadata).map(RawValue::get)
        };
        let reply = |job: &&'a NewJob| job.reply.as_ref();
        let mut resolved = Vec::with_capacity(jobs.len());
        for job in jobs {
            let settled = job.resolved.as_ref().ok();
            resolved.push(settled.map(serde_json::to_string).transpose()?);
        }
        Ok(Self {
            documents: jobs.iter().map(|job| job.document.as_str()).collect(),
            metadata: jobs.iter().map(metadata).collect(),
            resolved,
            reply_to: jobs.iter().map(|job| reply(job).map(|reply| reply.to.as_str())).collect(),
            traces: jobs.iter().map(|job| reply(job)?.trace.as_deref()).collect(),
        })
    }
}
