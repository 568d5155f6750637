//! `quarrier jobs list`.
//! Must not know: one job's details.

use std::io::Write;

use anyhow::Context as _;

use super::{JobJson, waits};
use crate::cli::table::{one_line, parse_span, span, table};
use crate::clock::parse_rfc3339;
use crate::job::State;
use crate::store::{JobFilter, JobRow, Pause, PausedLane, Store};

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
    /// Only jobs in this state.
    #[arg(long, value_parser = parse_state)]
    pub state: Option<State>,
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

fn parse_state(name: &str) -> Result<State, String> {
    State::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        format!("is none of {}", names.join(", "))
    })
}

pub(super) async fn run(
    args: &ListArgs,
    store: &dyn Store,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let since = args.since.as_deref().map(|since| parse_since(since, now)).transpose()?;
    let filter = JobFilter {
        queue: args.queue.clone(),
        tenant: args.tenant.clone(),
        state: args.state,
        error: args.error.clone(),
        model: args.model.clone(),
        since,
        batch: None,
        before: None,
        // One more than asked for tells whether there are more.
        rows_max: args.limit.saturating_add(1),
    };
    let mut rows = store.jobs(&filter).await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let (paused, by_people) = (store.paused_lanes().await?, store.pauses().await?);
    if args.json {
        let jobs: Vec<JobJson<'_>> = rows
            .iter()
            .map(|row| JobJson::of(row, waits::why(row, (&paused, &by_people), now)))
            .collect();
        serde_json::to_writer_pretty(&mut *out, &jobs)?;
        writeln!(out)?;
        return Ok(true);
    }
    if rows.is_empty() {
        writeln!(out, "no such jobs")?;
        return Ok(true);
    }
    write!(out, "{}", as_table(&rows, (&paused, &by_people), now))?;
    for (position, line) in waits::pauses_of(&rows, &paused, &by_people).iter().enumerate() {
        let gap = if position == 0 { "\n" } else { "" };
        writeln!(out, "{gap}{}", one_line(line))?;
    }
    if more {
        writeln!(out, "\nthe newest {}; there are more: --limit", args.limit)?;
    }
    Ok(true)
}

fn as_table(rows: &[JobRow], paused: (&[PausedLane], &[Pause]), now: i64) -> String {
    let cells = rows.iter().map(|row| {
        let why = waits::why(row, paused, now).or_else(|| row.reason.clone());
        vec![
            row.job_id.to_string(),
            row.external_id.clone().unwrap_or_default(),
            row.state.as_str().to_owned(),
            row.queue.clone(),
            row.tenant.clone(),
            row.model.clone(),
            row.calls.to_string(),
            span(now.saturating_sub(row.created_at)),
            why.unwrap_or_default(),
        ]
    });
    let header =
        ["job", "id", "state", "queue", "tenant", "model", "calls", "age", "why, or waits"];
    table(&header, &[6, 7], cells.collect())
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

    #[test]
    fn an_unknown_state_is_refused_with_the_known_ones() {
        assert_eq!(parse_state("held"), Ok(State::Held));
        let error = parse_state("done").unwrap_err();
        assert_eq!(error, "is none of ready, running, held, succeeded, failed, cancelled, expired");
    }
}
