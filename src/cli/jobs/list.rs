//! `quarrier jobs list`: documents that wait to be admitted, then jobs.
//! Must not know: one job's details.

use std::io::Write;

use anyhow::Context as _;

use super::JobJson;
use super::submitted::{self, Standing};
use super::waits::{self, Facts};
use crate::cli::table::{one_line, parse_span, span, table};
use crate::clock::parse_rfc3339;
use crate::config::Settings;
use crate::store::{JobFilter, JobRow, Store, Submitted, SubmittedFilter};

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Only jobs of this queue.
    #[arg(long)]
    pub queue: Option<String>,
    /// Only jobs of this tenant.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only jobs in this state; `submitted` are those that no worker has admitted yet.
    #[arg(long, value_parser = submitted::parse_standing)]
    pub state: Option<Standing>,
    /// Only jobs that ended with this kind of error, or wait because of it.
    #[arg(long, value_name = "KIND")]
    pub error: Option<String>,
    /// Only jobs for this model, by its alias.
    #[arg(long)]
    pub model: Option<String>,
    /// Only jobs admitted since then: an RFC 3339 time, or a span like `90s`, `30m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// What is listed: first what no worker has admitted yet, because it came last.
struct Listed {
    submitted: Vec<Submitted>,
    rows: Vec<JobRow>,
    more: bool,
}

pub(super) async fn run(
    args: &ListArgs,
    store: &dyn Store,
    settings: &Settings,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let listed = look(args, store, settings, now).await?;
    let silent_ms = settings.worker.lease_ms;
    let waits = !listed.submitted.is_empty();
    let facts = Facts::read(&listed.rows, waits, store, (now, silent_ms)).await?;
    if args.json {
        let waiting = listed.submitted.iter().map(|one| JobJson::submitted(one, &facts));
        let jobs = listed.rows.iter().map(|row| JobJson::of(row, waits::why(row, &facts, now)));
        let all: Vec<JobJson<'_>> = waiting.chain(jobs).collect();
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(true);
    }
    if listed.rows.is_empty() && listed.submitted.is_empty() {
        writeln!(out, "no such jobs")?;
        return Ok(true);
    }
    write!(out, "{}", as_table(&listed, &facts, now))?;
    let pauses = waits::pauses_of(&listed.rows, &facts.paused, &facts.by_people);
    for (position, line) in pauses.iter().enumerate() {
        let gap = if position == 0 { "\n" } else { "" };
        writeln!(out, "{gap}{}", one_line(line))?;
    }
    if listed.more {
        writeln!(out, "\nthe newest {}; there are more: --limit", args.limit)?;
    }
    Ok(true)
}

async fn look(
    args: &ListArgs,
    store: &dyn Store,
    settings: &Settings,
    now: i64,
) -> anyhow::Result<Listed> {
    let since = args.since.as_deref().map(|since| parse_since(since, now)).transpose()?;
    // One more than asked for tells whether there are more.
    let rows_max = args.limit.saturating_add(1);
    let mut listed = Listed { submitted: Vec::new(), rows: Vec::new(), more: false };
    // What no worker has seen has no error yet.
    if matches!(args.state, None | Some(Standing::Submitted)) && args.error.is_none() {
        let filter = SubmittedFilter {
            queue: args.queue.clone(),
            tenant: args.tenant.clone(),
            model: args.model.clone(),
            since,
            before: None,
            defaults: submitted::defaults(settings),
            rows_max,
        };
        listed.submitted = store.submitted(&filter).await?;
    }
    if args.state != Some(Standing::Submitted) {
        let filter = JobFilter {
            queue: args.queue.clone(),
            tenant: args.tenant.clone(),
            state: args.state.and_then(Standing::state),
            error: args.error.clone(),
            model: args.model.clone(),
            since,
            batch: None,
            before: None,
            rows_max,
        };
        listed.rows = store.jobs(&filter).await?;
    }
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    listed.more = listed.submitted.len().saturating_add(listed.rows.len()) > limit;
    listed.submitted.truncate(limit);
    listed.rows.truncate(limit.saturating_sub(listed.submitted.len()));
    Ok(listed)
}

fn as_table(listed: &Listed, facts: &Facts, now: i64) -> String {
    let age = |at: i64| span(now.saturating_sub(at));
    let submitted = listed.submitted.iter().map(|one| {
        vec![
            submitted::name(one),
            one.external_id.clone().unwrap_or_default(),
            submitted::STATE.to_owned(),
            one.queue.clone(),
            one.tenant.clone(),
            one.model.clone(),
            "0".to_owned(),
            one.submitted_at.map(age).unwrap_or_default(),
            waits::why_submitted(facts),
        ]
    });
    let jobs = listed.rows.iter().map(|row| {
        let why = waits::why(row, facts, now).or_else(|| row.reason.clone());
        vec![
            row.job_id.to_string(),
            row.external_id.clone().unwrap_or_default(),
            row.state.as_str().to_owned(),
            row.queue.clone(),
            row.tenant.clone(),
            row.model.clone(),
            row.calls.to_string(),
            age(row.created_at),
            why.unwrap_or_default(),
        ]
    });
    let header =
        ["job", "id", "state", "queue", "tenant", "model", "calls", "age", "why, or waits"];
    table(&header, &[6, 7], submitted.chain(jobs).collect())
}

/// A time, or a span before now.
fn parse_since(text: &str, now: i64) -> anyhow::Result<i64> {
    if let Some(span_ms) = parse_span(text) {
        return Ok(now.saturating_sub(span_ms));
    }
    parse_rfc3339(text).with_context(|| {
        format!("read --since {text}: give an RFC 3339 time, or a span like 90s, 30m, 2h or 7d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_a_time_or_a_span() {
        let now = 1_767_225_600_000;
        let cases = [
            ("90s", now - 90_000),
            ("30m", now - 1_800_000),
            ("2h", now - 7_200_000),
            ("7d", now - 604_800_000),
            ("2025-12-31T23:00:00Z", now - 3_600_000),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_since(text, now).unwrap(), expected, "{text}");
        }
        for text in
            ["", "h", "-2h", "+2h", "2w", "1.5h", "99999999999999999999d", "yesterday", "2é"]
        {
            let error = parse_since(text, now).unwrap_err().to_string();
            assert!(error.contains("RFC 3339"), "{error}");
        }
    }
}
