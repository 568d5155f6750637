//! `quarrier deliveries`: results that go to a queue, where each stands, and those that were given up
//! made due again.
//! Must not know: how they are sent.

use std::io::Write;

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::jobs::find;
use super::table::{one_line, span, table};
use crate::clock::rfc3339;
use crate::store::{DeliveryFilter, DeliveryRow, DeliveryState, Store};

/// How many deliveries are made due again in one transaction.
const PAGE_ROWS: u32 = 500;

/// Look at results that go to a queue, and send again what was given up.
#[derive(Debug, clap::Args)]
pub struct DeliveriesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeliveriesCommand,
}

/// What `quarrier deliveries` can do.
#[derive(Debug, clap::Subcommand)]
pub enum DeliveriesCommand {
    /// List deliveries, newest first, with the reason why each waits or was given up.
    List(ListArgs),
    /// Show where one job's delivery stands.
    Show(ShowArgs),
    /// Send results again that were given up.
    Retry(RetryArgs),
}

/// Which deliveries to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Only deliveries in this state: `due`, `delivered` or `undeliverable`.
    #[arg(long, value_parser = parse_state)]
    pub state: Option<DeliveryState>,
    /// Only deliveries to this queue, as the jobs name it.
    #[arg(long, value_name = "QUEUE")]
    pub to: Option<String>,
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// Whose delivery to show.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The job, by its own id or by its producer's.
    #[arg(value_name = "ID")]
    pub id: String,
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Which deliveries to make due again.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// Jobs, by their own ids or by their producers'.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    pub ids: Vec<String>,
    /// All deliveries that were given up.
    #[arg(long)]
    pub all: bool,
    /// With --all: only those to this queue, as the jobs name it.
    #[arg(long, requires = "all", conflicts_with = "ids", value_name = "QUEUE")]
    pub to: Option<String>,
    /// The store that holds them.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `due` (how many), and `left` with the reasons.
    #[arg(long)]
    pub json: bool,
}

impl DeliveriesCommand {
    /// The store that the command line names.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        match self {
            Self::List(args) => args.store.as_deref(),
            Self::Show(args) => args.store.as_deref(),
            Self::Retry(args) => args.store.as_deref(),
        }
    }
}

fn parse_state(name: &str) -> Result<DeliveryState, String> {
    DeliveryState::from_name(name).ok_or_else(|| {
        format!("is none of {}", DeliveryState::ALL.map(DeliveryState::as_str).join(", "))
    })
}

/// Runs `quarrier deliveries`. True if everything that was asked for was found and done.
pub async fn run(
    args: &DeliveriesArgs,
    store: &dyn Store,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    match &args.command {
        DeliveriesCommand::List(args) => list(args, store, now, out).await,
        DeliveriesCommand::Show(args) => show(args, store, now, out).await,
        DeliveriesCommand::Retry(args) => retry(args, store, out).await,
    }
}

/// A delivery as JSON shows it: times in RFC 3339.
#[derive(Serialize)]
struct DeliveryJson<'r> {
    seq: i64,
    job_id: Uuid,
    id: Option<&'r str>,
    tenant: &'r str,
    to: &'r str,
    state: DeliveryState,
    tries: u32,
    due_at: Option<String>,
    error: Option<&'r str>,
    created_at: String,
    ended_at: Option<String>,
}

impl<'r> DeliveryJson<'r> {
    fn of(row: &'r DeliveryRow) -> Self {
        Self {
            seq: row.seq,
            job_id: row.job_id,
            id: row.external_id.as_deref(),
            tenant: &row.tenant,
            to: &row.to,
            state: row.state,
            tries: row.tries,
            due_at: row.due_at.map(rfc3339),
            error: row.error.as_deref(),
            created_at: rfc3339(row.created_at),
            ended_at: row.ended_at.map(rfc3339),
        }
    }
}

async fn list(
    args: &ListArgs,
    store: &dyn Store,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let filter = DeliveryFilter {
        state: args.state,
        to: args.to.clone(),
        // One more than asked for tells whether there are more.
        rows_max: args.limit.saturating_add(1),
        ..DeliveryFilter::default()
    };
    let mut rows = store.deliveries(&filter).await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    if args.json {
        let all: Vec<DeliveryJson<'_>> = rows.iter().map(DeliveryJson::of).collect();
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(true);
    }
    if rows.is_empty() {
        writeln!(out, "no such deliveries")?;
        return Ok(true);
    }
    write!(out, "{}", as_table(&rows, now))?;
    if more {
        writeln!(out, "\nthe newest {}; there are more: --limit", args.limit)?;
    }
    Ok(true)
}

fn as_table(rows: &[DeliveryRow], now: i64) -> String {
    let cells = rows.iter().map(|row| {
        vec![
            row.job_id.to_string(),
            row.external_id.clone().unwrap_or_default(),
            row.state.as_str().to_owned(),
            row.tries.to_string(),
            span(now.saturating_sub(row.created_at)),
            row.to.clone(),
            why(row, now),
        ]
    });
    let header = ["job", "id", "state", "tries", "age", "to", "why, or waits"];
    table(&header, &[3, 4], cells.collect())
}

/// Why it is not delivered.
fn why(row: &DeliveryRow, now: i64) -> String {
    let error = row.error.clone();
    match row.due_at.filter(|_| row.state == DeliveryState::Due) {
        Some(due_at) if due_at > now => {
            let wait = format!("in {}", span(due_at.saturating_sub(now)));
            error.map_or(wait.clone(), |error| format!("{wait}: {error}"))
        }
        Some(_) => error.unwrap_or_else(|| "for a relay to send it".to_owned()),
        None => error.unwrap_or_default(),
    }
}

async fn of_job(store: &dyn Store, job_id: Uuid) -> anyhow::Result<Option<DeliveryRow>> {
    let filter = DeliveryFilter { job_id: Some(job_id), rows_max: 1, ..DeliveryFilter::default() };
    Ok(store.deliveries(&filter).await?.pop())
}

/// The delivery of a job that is named, or why there is none.
async fn named(store: &dyn Store, id: &str) -> anyhow::Result<Result<DeliveryRow, &'static str>> {
    let Some(page) = find(store, id).await? else { return Ok(Err("there is no such job")) };
    if let Some(row) = of_job(store, page.row.job_id).await? {
        return Ok(Ok(row));
    }
    Ok(Err(if page.row.state.is_terminal() {
        "has nothing to deliver: its document has no reply_to, or its tenant was erased"
    } else {
        "has not ended; its end makes a delivery where its document has a reply_to"
    }))
}

async fn show(
    args: &ShowArgs,
    store: &dyn Store,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let row = match named(store, &args.id).await? {
        Ok(row) => row,
        Err(why) => {
            writeln!(out, "{}: {why}", one_line(&args.id))?;
            return Ok(false);
        }
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &DeliveryJson::of(&row))?;
        writeln!(out)?;
        return Ok(true);
    }
    let mut lines = vec![
        ("job", row.job_id.to_string()),
        ("id", row.external_id.clone().unwrap_or_default()),
        ("tenant", row.tenant.clone()),
        ("to", row.to.clone()),
        ("state", row.state.as_str().to_owned()),
        ("tries", row.tries.to_string()),
        ("made", rfc3339(row.created_at)),
    ];
    lines.extend(row.ended_at.map(|at| ("ended", rfc3339(at))));
    lines.push(("why", why(&row, now)));
    for (name, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "{name:<8}{}", one_line(text))?;
    }
    Ok(true)
}

async fn retry(args: &RetryArgs, store: &dyn Store, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut due = 0;
    let mut left = Vec::new();
    if args.all {
        let filter = DeliveryFilter {
            to: args.to.clone(),
            rows_max: PAGE_ROWS,
            ..DeliveryFilter::default()
        };
        loop {
            let again = store.redeliver(&filter).await?;
            due += again;
            if again < u64::from(PAGE_ROWS) {
                break;
            }
        }
    }
    for id in &args.ids {
        match named(store, id).await? {
            Ok(row) => {
                let filter = DeliveryFilter {
                    job_id: Some(row.job_id),
                    rows_max: 1,
                    ..DeliveryFilter::default()
                };
                match store.redeliver(&filter).await? {
                    0 => left.push((id, why_left(row.state))),
                    again => due += again,
                }
            }
            Err(why) => left.push((id, why)),
        }
    }
    let clean = left.is_empty();
    if args.json {
        let left: Vec<_> =
            left.iter().map(|(id, why)| json!({ "id": id, "reason": why })).collect();
        writeln!(out, "{}", json!({ "due": due, "left": left }))?;
        return Ok(clean);
    }
    for (id, why) in &left {
        writeln!(out, "{}: {why}", one_line(id))?;
    }
    let counted = if due == 1 { "1 delivery".to_owned() } else { format!("{due} deliveries") };
    writeln!(out, "due again: {counted}; left alone: {}", left.len())?;
    Ok(clean)
}

fn why_left(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Due => "is due already; `quarrier deliveries show` says when",
        DeliveryState::Delivered => {
            "was delivered; `quarrier results` has the result, and `quarrier jobs retry` does a failed \
             job again"
        }
        DeliveryState::Undeliverable => "is being made due by another process",
    }
}

#[cfg(test)]
mod tests;
