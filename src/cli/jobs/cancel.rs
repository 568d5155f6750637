//! `quarrier jobs cancel`: named jobs, or all that match, also those that no worker has admitted yet.
//! Must not know: how a job is ended, or a document taken back; only which were, and why the others
//! were not.

use std::io::Write;

use serde_json::json;
use uuid::Uuid;

use super::change::{Change, NO_SUCH_JOB};
use super::matching::{Page, Pages, Wanted};
use super::submitted::{self, Standing};
use super::{find, find_submitted};
use crate::cli::known;
use crate::config::Settings;
use crate::job::State;
use crate::store::{JobRow, Store, Submitted};

/// Where jobs stand that have not ended, in the order in which they are cancelled: whatever moves on
/// meanwhile is met again.
pub(super) const LIVE: [Standing; 4] = [
    Standing::Submitted,
    Standing::Job(State::Ready),
    Standing::Job(State::Held),
    Standing::Job(State::Running),
];

/// How often all that match is looked for again, at most.
const CANCEL_ROUNDS_MAX: u32 = 20;

/// Which jobs to cancel: those that are named, or all that match every one of the filters.
#[derive(Debug, clap::Args)]
#[command(override_usage = "quarrier jobs cancel [OPTIONS] <ID>...\n       \
    quarrier jobs cancel [OPTIONS] <--queue <NAME>|--tenant <NAME>|--batch <NAME>|--state <STATE>>... [--yes]")]
pub struct CancelArgs {
    /// Jobs, by their own ids or by their producers'. Without one, at least one filter is needed.
    #[arg(
        required_unless_present_any = ["queue", "batch", "tenant", "state"],
        conflicts_with_all = ["queue", "batch", "tenant", "state", "yes"],
        value_name = "ID"
    )]
    pub ids: Vec<String>,
    /// Filter: all jobs of this queue that have not ended.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Filter: all jobs of this batch that have not ended.
    #[arg(long, value_name = "NAME")]
    pub batch: Option<String>,
    /// Filter: all jobs of this tenant that have not ended.
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Filter: all jobs in this state: `submitted`, `ready`, `running` or `held`.
    #[arg(long, value_parser = parse_live)]
    pub state: Option<Standing>,
    /// With filters: do it; without this the jobs that match all of them are only counted.
    #[arg(long)]
    pub yes: bool,
    /// The store that holds them.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `moved`, and `left` with the reasons.
    #[arg(long)]
    pub json: bool,
}

fn parse_live(name: &str) -> Result<Standing, String> {
    let found = LIVE.into_iter().find(|standing| standing.as_str() == name);
    found.ok_or_else(|| {
        let names = LIVE.map(Standing::as_str).join(", ");
        match submitted::parse_standing(name) {
            Ok(ended) if ended.is_terminal() => format!("has ended already: name one of {names}"),
            _ => format!("is none of {names}"),
        }
    })
}

pub(super) async fn cancel(
    args: &CancelArgs,
    store: &dyn Store,
    settings: &Settings,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if args.ids.is_empty() {
        return cancel_matching(args, store, settings, out).await;
    }
    let mut change = Change::default();
    let found = named(&args.ids, store, settings, &mut change).await?;
    let ids: Vec<Uuid> = found.iter().map(|(_, row)| row.job_id).collect();
    change.moved.extend(store.cancel(&ids).await?);
    for (name, row) in found {
        if !change.moved.contains(&row.job_id) {
            // It may have ended between the look and the cancelling.
            let state = state_now(store, &row).await?;
            change.left.push((name, format!("has already ended: {}", state.as_str())));
        }
    }
    change.write("cancelled", args.json, out)
}

/// The jobs that were named. What no worker has admitted yet is taken back at once; what is not there
/// is left already. One that is named twice counts once.
async fn named(
    ids: &[String],
    store: &dyn Store,
    settings: &Settings,
    change: &mut Change,
) -> anyhow::Result<Vec<(String, JobRow)>> {
    let mut found: Vec<(String, JobRow)> = Vec::new();
    for id in ids {
        let mut page = find(store, id).await?;
        if page.is_none()
            && let Some(one) = find_submitted(store, id, settings).await?
        {
            if take_back(&[one], store, settings, change).await? > 0 {
                continue;
            }
            // A worker has just admitted it.
            page = find(store, id).await?;
        }
        match page {
            None => change.left.push((id.clone(), NO_SUCH_JOB.to_owned())),
            Some(page) => {
                let again = |(_, row): &(String, JobRow)| row.job_id == page.row.job_id;
                if !found.iter().any(again) && !change.moved.contains(&page.row.job_id) {
                    found.push((id.clone(), page.row));
                }
            }
        }
    }
    Ok(found)
}

/// Takes documents back; returns how many were still there.
async fn take_back(
    submitted: &[Submitted],
    store: &dyn Store,
    settings: &Settings,
    change: &mut Change,
) -> anyhow::Result<usize> {
    let keys: Vec<String> = submitted.iter().map(|one| one.key.clone()).collect();
    let taken = store.take_back(&keys, &submitted::defaults(settings)).await?;
    let count = taken.len();
    change.taken_back += count;
    change.moved.extend(taken.into_iter().map(|one| one.job_id));
    Ok(count)
}

/// Cancels all that match, round after round: a job that a worker claimed while its page was read
/// is met again as running.
async fn cancel_matching(
    args: &CancelArgs,
    store: &dyn Store,
    settings: &Settings,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let wanted = Wanted::of(args, store, settings).await?;
    if !args.yes {
        return count_matching(args, &wanted, store, out).await;
    }
    let mut change = Change::default();
    for _ in 0..CANCEL_ROUNDS_MAX {
        let mut met = false;
        for standing in &wanted.standings {
            let pages = wanted.pages(*standing, store);
            met |= cancel_pages(pages, store, settings, &mut change).await?;
        }
        if !met {
            if change.moved.is_empty() {
                change.note = note(args, store).await;
            }
            return change.write("cancelled", args.json, out);
        }
    }
    change.left.push(("others".to_owned(), "jobs that match come in all the time".to_owned()));
    change.write("cancelled", args.json, out)
}

/// True if there was any.
async fn cancel_pages(
    mut pages: Pages<'_>,
    store: &dyn Store,
    settings: &Settings,
    change: &mut Change,
) -> anyhow::Result<bool> {
    let mut met = false;
    while let Some(page) = pages.next().await? {
        met = true;
        match page {
            Page::Jobs(ids) => change.moved.extend(store.cancel(&ids).await?),
            Page::Submitted(page) => _ = take_back(&page, store, settings, change).await?,
        }
    }
    Ok(met)
}

async fn count_matching(
    args: &CancelArgs,
    wanted: &Wanted,
    store: &dyn Store,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut counts = Vec::new();
    for standing in &wanted.standings {
        counts.push((standing.as_str(), wanted.pages(*standing, store).count().await?));
    }
    let all: usize = counts.iter().map(|(_, jobs)| jobs).sum();
    let note = if all == 0 { note(args, store).await } else { None };
    if args.json {
        let states: serde_json::Map<_, _> =
            counts.iter().map(|(state, jobs)| ((*state).to_owned(), json!(jobs))).collect();
        let shown = json!({ "matching": states, "moved": [], "note": note });
        writeln!(out, "{shown}")?;
        return Ok(false);
    }
    let shown = counts.iter().filter(|(_, jobs)| *jobs > 0 || counts.len() == 1);
    let shown: Vec<String> = shown.map(|(state, jobs)| format!("{jobs} {state}")).collect();
    match (all, note) {
        (0, Some(note)) => writeln!(out, "no job matches; {note}")?,
        (0, None) => writeln!(out, "no job matches that has not ended")?,
        (all, _) => {
            let jobs =
                if all == 1 { "1 job matches".to_owned() } else { format!("{all} jobs match") };
            let shown = shown.join(", ");
            writeln!(out, "{jobs} ({shown}); nothing is cancelled yet: add --yes")?;
        }
    }
    Ok(false)
}

/// Where nothing matches: whether a name is one that nobody knows.
async fn note(args: &CancelArgs, store: &dyn Store) -> Option<String> {
    if let Some(queue) = &args.queue
        && let Some(note) = known::queue(queue, store).await
    {
        return Some(note);
    }
    known::tenant(args.tenant.as_ref()?, store).await
}

async fn state_now(store: &dyn Store, row: &JobRow) -> anyhow::Result<State> {
    let page = find(store, &row.job_id.to_string()).await?;
    Ok(page.map_or(row.state, |page| page.row.state))
}

impl Change {
    /// How many of those that moved had not been admitted, in words.
    pub(super) fn taken_back_words(&self) -> String {
        match self.taken_back {
            0 => String::new(),
            1 => " (1 before any worker had admitted it)".to_owned(),
            count => format!(" ({count} before any worker had admitted them)"),
        }
    }
}
