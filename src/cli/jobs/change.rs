//! `quarrier jobs cancel` and `quarrier jobs retry`.
//! Must not know: how a job is moved; only which moved, and why the others did not.

use std::io::Write;

use anyhow::bail;
use serde_json::json;
use uuid::Uuid;

use super::find;
use crate::cli::table::one_line;
use crate::job::State;
use crate::store::{JobFilter, JobPage, JobRow, Store};

/// How many failed jobs are read and put back at a time.
const PAGE_ROWS: u32 = 500;

/// The states of jobs that have not ended, in the order in which they are cancelled.
const LIVE: [State; 3] = [State::Ready, State::Held, State::Running];

/// How often all that match is looked for again, at most.
const CANCEL_ROUNDS_MAX: u32 = 20;

/// Which jobs to cancel.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// Jobs, by their own ids or by their producers'.
    #[arg(
        required_unless_present_any = ["queue", "batch", "tenant", "state"],
        conflicts_with_all = ["queue", "batch", "tenant", "state", "yes"],
        value_name = "ID"
    )]
    pub ids: Vec<String>,
    /// All jobs of this queue that have not ended.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// All jobs of this batch that have not ended.
    #[arg(long, value_name = "NAME")]
    pub batch: Option<String>,
    /// All jobs of this tenant that have not ended.
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// All jobs in this state: `ready`, `running` or `held`.
    #[arg(long, value_parser = parse_live_state)]
    pub state: Option<State>,
    /// Do it; without this the jobs that match all of the above are only counted.
    #[arg(long)]
    pub yes: bool,
    /// The store that holds them.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `moved`, and `left` with the reasons.
    #[arg(long)]
    pub json: bool,
}

/// Which jobs to put back.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// Jobs, by their own ids or by their producers'.
    #[arg(required_unless_present = "failed", conflicts_with = "failed", value_name = "ID")]
    pub ids: Vec<String>,
    /// All jobs that have failed.
    #[arg(long)]
    pub failed: bool,
    /// With --failed: only those of this queue.
    #[arg(long, requires = "failed", conflicts_with = "ids")]
    pub queue: Option<String>,
    /// The store that holds them.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `moved`, and `left` with the reasons.
    #[arg(long)]
    pub json: bool,
}

/// What became of the jobs: those that moved, and the others with the reason of each.
#[derive(Default)]
struct Change {
    moved: Vec<Uuid>,
    left: Vec<(String, String)>,
}

pub(super) async fn cancel(
    args: &CancelArgs,
    store: &dyn Store,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if args.ids.is_empty() {
        return cancel_matching(args, store, out).await;
    }
    let (found, mut change) = named(&args.ids, store).await?;
    let ids: Vec<Uuid> = found.iter().map(|(_, row)| row.job_id).collect();
    change.moved = store.cancel(&ids).await?;
    for (name, row) in found {
        if !change.moved.contains(&row.job_id) {
            // It may have ended between the look and the cancelling.
            let state = state_now(store, &row).await?;
            change.left.push((name, format!("has already ended: {}", state.as_str())));
        }
    }
    change.write("cancelled", args.json, out)
}

/// Cancels all that match, round after round: a job that a worker claimed while its page was read
/// is met again as running.
async fn cancel_matching(
    args: &CancelArgs,
    store: &dyn Store,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let batch = match &args.batch {
        None => None,
        Some(name) => match store.batch_named(name).await? {
            Some(id) => Some(id),
            None => bail!("cancel the batch {}: there is none of this name", one_line(name)),
        },
    };
    let states = args.state.map_or_else(|| LIVE.to_vec(), |state| vec![state]);
    let filter = |state: State| JobFilter {
        queue: args.queue.clone(),
        tenant: args.tenant.clone(),
        state: Some(state),
        batch,
        rows_max: PAGE_ROWS,
        ..JobFilter::default()
    };
    if !args.yes {
        return count_matching(states.into_iter().map(filter), store, args.json, out).await;
    }
    let mut change = Change::default();
    for _ in 0..CANCEL_ROUNDS_MAX {
        let mut met = false;
        for mut filter in states.iter().copied().map(filter) {
            loop {
                let page = store.jobs(&filter).await?;
                let Some(last) = page.last() else { break };
                filter.before = Some(last.job_id);
                let ids: Vec<Uuid> = page.iter().map(|row| row.job_id).collect();
                change.moved.extend(store.cancel(&ids).await?);
                met = true;
            }
        }
        if !met {
            return change.write("cancelled", args.json, out);
        }
    }
    change.left.push(("others".to_owned(), "jobs that match come in all the time".to_owned()));
    change.write("cancelled", args.json, out)
}

async fn count_matching(
    filters: impl Iterator<Item = JobFilter>,
    store: &dyn Store,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut counts = Vec::new();
    for mut filter in filters {
        let mut jobs: usize = 0;
        loop {
            let page = store.jobs(&filter).await?;
            let Some(last) = page.last() else { break };
            filter.before = Some(last.job_id);
            jobs += page.len();
        }
        counts.push((filter.state.map_or("", State::as_str), jobs));
    }
    let all: usize = counts.iter().map(|(_, jobs)| jobs).sum();
    if json {
        let states: serde_json::Map<_, _> =
            counts.iter().map(|(state, jobs)| ((*state).to_owned(), json!(jobs))).collect();
        writeln!(out, "{}", json!({ "matching": states, "moved": [] }))?;
        return Ok(false);
    }
    let counts: Vec<String> =
        counts.iter().map(|(state, jobs)| format!("{jobs} {state}")).collect();
    let counts = counts.join(", ");
    writeln!(out, "{all} jobs match ({counts}); nothing is cancelled yet: add --yes")?;
    Ok(false)
}

fn parse_live_state(name: &str) -> Result<State, String> {
    let found = LIVE.into_iter().find(|state| state.as_str() == name);
    found.ok_or_else(|| "is none of ready, held, running".to_owned())
}

pub(super) async fn retry(
    args: &RetryArgs,
    store: &dyn Store,
    deadline_at: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut change = Change::default();
    if args.failed {
        let mut filter = JobFilter {
            queue: args.queue.clone(),
            state: Some(State::Failed),
            rows_max: PAGE_ROWS,
            ..JobFilter::default()
        };
        loop {
            let page = store.jobs(&filter).await?;
            let Some(last) = page.last() else { break };
            filter.before = Some(last.job_id);
            let page = page.into_iter().map(|row| (row.job_id.to_string(), row)).collect();
            put_back(page, store, deadline_at, &mut change).await?;
        }
    } else {
        let (found, unknown) = named(&args.ids, store).await?;
        change = unknown;
        put_back(found, store, deadline_at, &mut change).await?;
    }
    change.write("put back", args.json, out)
}

async fn put_back(
    jobs: Vec<(String, JobRow)>,
    store: &dyn Store,
    deadline_at: i64,
    change: &mut Change,
) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = jobs.iter().map(|(_, row)| row.job_id).collect();
    let moved = store.retry(&ids, deadline_at).await?;
    for (name, row) in jobs {
        if !moved.contains(&row.job_id) {
            let page = find(store, &row.job_id.to_string()).await?;
            change.left.push((name, why_not_put_back(page.as_ref())));
        }
    }
    change.moved.extend(moved);
    Ok(())
}

fn why_not_put_back(page: Option<&JobPage>) -> String {
    let Some(page) = page else { return "is no longer there".to_owned() };
    match page.row.state {
        State::Ready => "waits already; `quarrier jobs show` says for what".to_owned(),
        State::Running => "is in flight".to_owned(),
        State::Succeeded => {
            "has succeeded; to do it once more, enqueue it again under another id".to_owned()
        }
        State::Held | State::Failed | State::Cancelled | State::Expired => match page.resolved {
            None => "was rejected; correct its document and enqueue it again".to_owned(),
            Some(_) => "a job that has not ended holds its dedupe_key".to_owned(),
        },
    }
}

/// The jobs that were named, each with its name; those that are not there are left already. One
/// that is named twice counts once.
async fn named(
    ids: &[String],
    store: &dyn Store,
) -> anyhow::Result<(Vec<(String, JobRow)>, Change)> {
    let mut found: Vec<(String, JobRow)> = Vec::new();
    let mut change = Change::default();
    for id in ids {
        match find(store, id).await? {
            None => change.left.push((id.clone(), "there is no such job".to_owned())),
            Some(page) if found.iter().any(|(_, row)| row.job_id == page.row.job_id) => {}
            Some(page) => found.push((id.clone(), page.row)),
        }
    }
    Ok((found, change))
}

async fn state_now(store: &dyn Store, row: &JobRow) -> anyhow::Result<State> {
    let page = find(store, &row.job_id.to_string()).await?;
    Ok(page.map_or(row.state, |page| page.row.state))
}

impl Change {
    /// Says what moved and what did not. True if everything did.
    fn write(self, verb: &str, json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
        let clean = self.left.is_empty();
        if json {
            let left: Vec<_> =
                self.left.iter().map(|(id, why)| json!({ "id": id, "reason": why })).collect();
            writeln!(out, "{}", json!({ "moved": self.moved, "left": left }))?;
            return Ok(clean);
        }
        for (id, why) in &self.left {
            writeln!(out, "{}: {why}", one_line(id))?;
        }
        let jobs = |count: usize| {
            if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
        };
        writeln!(out, "{verb}: {}; left alone: {}", jobs(self.moved.len()), self.left.len())?;
        Ok(clean)
    }
}
