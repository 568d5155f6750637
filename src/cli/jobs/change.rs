//! `quarrier jobs retry`, and what is said of jobs that were moved.
//! Must not know: how a job is moved; only which moved, and why the others did not.

use std::io::Write;

use serde_json::json;
use uuid::Uuid;

use super::{find, find_submitted};
use crate::cli::table::one_line;
use crate::config::Settings;
use crate::job::State;
use crate::store::{JobFilter, JobPage, JobRow, Store};

/// How many jobs are read and moved at a time.
pub(super) const PAGE_ROWS: u32 = 500;

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
pub(super) struct Change {
    pub(super) moved: Vec<Uuid>,
    pub(super) left: Vec<(String, String)>,
    /// How many of those that moved no worker had admitted.
    pub(super) taken_back: usize,
    /// What is remarkable about what was asked for.
    pub(super) note: Option<String>,
}

/// Said of a name that nothing has.
pub(super) const NO_SUCH_JOB: &str = "there is no such job";

pub(super) async fn retry(
    args: &RetryArgs,
    store: &dyn Store,
    (settings, deadline_at): (&Settings, i64),
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
        let (found, unknown) = named(&args.ids, store, settings).await?;
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
            None if page.row.state == State::Cancelled => {
                "was cancelled before a worker had admitted it; enqueue it again".to_owned()
            }
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
    settings: &Settings,
) -> anyhow::Result<(Vec<(String, JobRow)>, Change)> {
    let mut found: Vec<(String, JobRow)> = Vec::new();
    let mut change = Change::default();
    for id in ids {
        match find(store, id).await? {
            None => {
                let waits = find_submitted(store, id, settings).await?;
                let why = waits.map_or(NO_SUCH_JOB, |_| "waits for a worker to admit it");
                change.left.push((id.clone(), why.to_owned()));
            }
            Some(page) if found.iter().any(|(_, row)| row.job_id == page.row.job_id) => {}
            Some(page) => found.push((id.clone(), page.row)),
        }
    }
    Ok((found, change))
}

impl Change {
    /// Says what moved and what did not. True if everything did.
    pub(super) fn write(
        self,
        verb: &str,
        json: bool,
        out: &mut impl Write,
    ) -> anyhow::Result<bool> {
        let clean = self.left.is_empty();
        if json {
            let left: Vec<_> =
                self.left.iter().map(|(id, why)| json!({ "id": id, "reason": why })).collect();
            let mut shown = json!({ "moved": self.moved, "left": left });
            if let (Some(note), Some(fields)) = (&self.note, shown.as_object_mut()) {
                fields.insert("note".to_owned(), json!(note));
            }
            writeln!(out, "{shown}")?;
            return Ok(clean);
        }
        for (id, why) in &self.left {
            writeln!(out, "{}: {why}", one_line(id))?;
        }
        let (moved, taken_back) = (counted(self.moved.len()), self.taken_back_words());
        writeln!(out, "{verb}: {moved}{taken_back}; left alone: {}", self.left.len())?;
        if let Some(note) = &self.note {
            writeln!(out, "note: {note}")?;
        }
        Ok(clean)
    }
}

pub(super) fn counted(jobs: usize) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}
