//! `quarrier jobs`: look at jobs and act on them.
//! Must not know: how jobs are worked on.

mod change;
mod full;
mod list;
pub(in crate::cli) mod show;
pub(in crate::cli) mod waits;

use std::io::Write;

use serde::Serialize;
use uuid::Uuid;

pub use change::{CancelArgs, RetryArgs};
pub use list::ListArgs;
pub use show::ShowArgs;

use crate::clock::{Now, rfc3339};
use crate::config::Settings;
use crate::job::State;
use crate::retry::Counters;
use crate::store::{JobPage, JobRow, Store};

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
        JobsCommand::List(args) => list::run(args, store, now.wall_ms, out).await,
        JobsCommand::Show(args) => show::run(args, store, settings, now.wall_ms, out).await,
        JobsCommand::Cancel(args) => change::cancel(args, store, out).await,
        JobsCommand::Retry(args) => {
            let deadline_ms = settings.job.deadline_s.saturating_mul(1_000);
            let deadline_at = now.wall_ms.saturating_add_unsigned(deadline_ms);
            change::retry(args, store, deadline_at, out).await
        }
    }
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

/// A job as JSON shows it: times in RFC 3339.
#[derive(Serialize)]
struct JobJson<'r> {
    job_id: Uuid,
    id: Option<&'r str>,
    state: State,
    queue: &'r str,
    tenant: &'r str,
    model: &'r str,
    lane: &'r str,
    priority: i32,
    calls: u32,
    counters: Counters,
    created_at: String,
    run_at: String,
    deadline_at: String,
    ended_at: Option<String>,
    reason: Option<&'r str>,
    waits: Option<String>,
}

impl<'r> JobJson<'r> {
    fn of(row: &'r JobRow, waits: Option<String>) -> Self {
        Self {
            job_id: row.job_id,
            id: row.external_id.as_deref(),
            state: row.state,
            queue: &row.queue,
            tenant: &row.tenant,
            model: &row.model,
            lane: &row.lane,
            priority: row.priority,
            calls: row.calls,
            counters: row.counters,
            created_at: rfc3339(row.created_at),
            run_at: rfc3339(row.run_at),
            deadline_at: rfc3339(row.deadline_at),
            ended_at: row.ended_at.map(rfc3339),
            reason: row.reason.as_deref(),
            waits,
        }
    }
}

#[cfg(test)]
mod tests;
