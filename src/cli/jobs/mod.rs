//! `quarrier jobs`: look at jobs and act on them.
//! Must not know: how jobs are worked on.

mod cancel;
mod change;
mod full;
mod list;
mod matching;
pub(in crate::cli) mod show;
pub(in crate::cli) mod submitted;
pub(in crate::cli) mod waits;

use std::io::Write;

use serde::Serialize;
use uuid::Uuid;

pub use cancel::CancelArgs;
pub use change::RetryArgs;
pub use list::ListArgs;
pub use show::ShowArgs;

use crate::clock::{Now, rfc3339};
use crate::config::Settings;
use crate::retry::Counters;
use crate::store::{JobPage, JobRow, Store, Submitted};

/// Look at jobs and act on them.
#[derive(Debug, clap::Args)]
pub struct JobsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// What `quarrier jobs` can do.
#[derive(Debug, clap::Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first, with the reason why each waits.
    List(ListArgs),
    /// Show one job: where it stands, what happened to it, why it waits, its result.
    Show(ShowArgs),
    /// End jobs that have not ended; a call in flight is aborted, and may still be billed.
    Cancel(CancelArgs),
    /// Put failed, expired, cancelled or held jobs back, with fresh counters and a new deadline.
    Retry(RetryArgs),
}

impl JobsCommand {
    /// The store that the command line names.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        match self {
            Self::List(args) => args.store.as_deref(),
            Self::Show(args) => args.store.as_deref(),
            Self::Cancel(args) => args.store.as_deref(),
            Self::Retry(args) => args.store.as_deref(),
        }
    }
}

/// Runs `quarrier jobs`. True if everything that was asked for was found and done.
pub async fn run(
    args: &JobsArgs,
    store: &dyn Store,
    settings: &Settings,
    now: Now,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    match &args.command {
        JobsCommand::List(args) => list::run(args, store, settings, now.wall_ms, out).await,
        JobsCommand::Show(args) => show::run(args, store, settings, now.wall_ms, out).await,
        JobsCommand::Cancel(args) => cancel::cancel(args, store, settings, out).await,
        JobsCommand::Retry(args) => {
            let deadline_ms = settings.job.deadline_s.saturating_mul(1_000);
            let deadline_at = now.wall_ms.saturating_add_unsigned(deadline_ms);
            change::retry(args, store, (settings, deadline_at), out).await
        }
    }
}

/// What no worker has admitted yet, by its job's id in any spelling, its row's key or its own id.
pub(in crate::cli) async fn find_submitted(
    store: &dyn Store,
    id: &str,
    settings: &Settings,
) -> anyhow::Result<Option<Submitted>> {
    Ok(store.submitted_as(id, &submitted::defaults(settings)).await?)
}

/// A job by its own id in any spelling, or by its producer's.
pub(in crate::cli) async fn find(store: &dyn Store, id: &str) -> anyhow::Result<Option<JobPage>> {
    if let Some(page) = store.job(id).await? {
        return Ok(Some(page));
    }
    match Uuid::parse_str(id).map(|id| id.to_string()) {
        Ok(ours) if ours != id => Ok(store.job(&ours).await?),
        _ => Ok(None),
    }
}

/// A job as JSON shows it: times in RFC 3339, null what no worker has settled yet.
#[derive(Serialize)]
struct JobJson<'r> {
    job_id: Option<Uuid>,
    /// The row's key of what no worker has admitted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    submission: Option<&'r str>,
    id: Option<&'r str>,
    state: &'static str,
    queue: &'r str,
    tenant: &'r str,
    model: &'r str,
    lane: Option<&'r str>,
    priority: Option<i32>,
    calls: u32,
    counters: Counters,
    created_at: Option<String>,
    run_at: Option<String>,
    deadline_at: Option<String>,
    ended_at: Option<String>,
    reason: Option<&'r str>,
    waits: Option<String>,
}

impl<'r> JobJson<'r> {
    fn of(row: &'r JobRow, waits: Option<String>) -> Self {
        Self {
            job_id: Some(row.job_id),
            submission: None,
            id: row.external_id.as_deref(),
            state: row.state.as_str(),
            queue: &row.queue,
            tenant: &row.tenant,
            model: &row.model,
            lane: Some(&row.lane),
            priority: Some(row.priority),
            calls: row.calls,
            counters: row.counters,
            created_at: Some(rfc3339(row.created_at)),
            run_at: Some(rfc3339(row.run_at)),
            deadline_at: Some(rfc3339(row.deadline_at)),
            ended_at: row.ended_at.map(rfc3339),
            reason: row.reason.as_deref(),
            waits,
        }
    }

    fn submitted(one: &'r Submitted, facts: &waits::Facts) -> Self {
        Self {
            job_id: one.job_id,
            submission: Some(&one.key),
            id: one.external_id.as_deref(),
            state: submitted::STATE,
            queue: &one.queue,
            tenant: &one.tenant,
            model: &one.model,
            lane: None,
            priority: None,
            calls: 0,
            counters: Counters::default(),
            created_at: one.submitted_at.map(rfc3339),
            run_at: None,
            deadline_at: None,
            ended_at: None,
            reason: None,
            waits: Some(waits::why_submitted(facts)),
        }
    }
}

#[cfg(test)]
mod submitted_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waits_tests;
