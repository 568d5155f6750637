//! `quarrier jobs show`: one job on one page.
//! Must not know: how a call is made; `full` knows what it would send.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::bail;
use serde::Serialize;
use serde_json::value::RawValue;

use super::full::{self, Full};
use super::waits::{self, Facts};
use super::{JobJson, find, find_submitted, submitted};
use crate::cli::table::{dollars, one_line, printable, span};
use crate::clock::rfc3339;
use crate::completion::Usage;
use crate::config::Settings;
use crate::job::State;
use crate::result_line::result_line;
use crate::store::{AttemptRow, JobPage, Store};
use crate::worker::paused_words;

/// Which job to show, and how much of it.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The job's own id, or its producer's (the newest, where several tenants use it).
    pub id: String,
    /// Print also the document, the prompt, the call's body, and what the model wrote each time.
    #[arg(long)]
    pub full: bool,
    /// The store that holds it.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What is shown beside the job itself.
struct Around {
    waits: Option<String>,
    /// What a person can do about what it waits for.
    hint: Option<&'static str>,
    holds_back: Vec<String>,
    simulated: bool,
}

pub(super) async fn run(
    args: &ShowArgs,
    store: &dyn Store,
    settings: &Settings,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let silent_ms = settings.worker.lease_ms;
    let Some(page) = find(store, &args.id).await? else {
        if let Some(one) = find_submitted(store, &args.id, settings).await? {
            let how = (args.full, args.json);
            submitted::show(&one, how, store, (now, silent_ms), out).await?;
            return Ok(true);
        }
        bail!(
            "show {}: there is no such job in {}",
            one_line(&args.id),
            store.about().await?.location
        );
    };
    let around = look_around(&page, store, (now, silent_ms)).await?;
    let full = args.full.then(|| full::full(&page, settings));
    if args.json {
        let shown = as_json(&page, &around, full)?;
        serde_json::to_writer_pretty(&mut *out, &shown)?;
        writeln!(out)?;
    } else {
        out.write_all(as_text(&page, &around, full.as_ref())?.as_bytes())?;
    }
    Ok(true)
}

async fn look_around(
    page: &JobPage,
    store: &dyn Store,
    (now, silent_ms): (i64, u64),
) -> anyhow::Result<Around> {
    let row = &page.row;
    let facts = Facts::read(std::slice::from_ref(row), false, store, (now, silent_ms)).await?;
    let is_due = row.state == State::Ready && row.run_at <= now;
    let mut holds_back = if is_due { waits::holds_back(row, &facts) } else { Vec::new() };
    if let Some(pause) = waits::halted_by(row, &facts.by_people) {
        holds_back.insert(0, paused_words(pause));
    }
    let simulated = store.about().await?.simulated.unwrap_or(false);
    let hint = waits::hint(row, &facts.paused);
    Ok(Around { waits: waits::why(row, &facts, now), hint, holds_back, simulated })
}

fn as_text(
    page: &JobPage,
    around: &Around,
    full: Option<&Full>,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    write_head(page, around, &mut text)?;
    write_timeline(page, &mut text)?;
    write_result(page, &mut text)?;
    if let Some(full) = full {
        full.write(&mut text)?;
        for attempt in &page.attempts {
            full::write_attempt(attempt, &mut text)?;
        }
    }
    Ok(text)
}

fn write_head(page: &JobPage, around: &Around, text: &mut String) -> std::fmt::Result {
    let row = &page.row;
    let mut line = |name: &str, value: &str| writeln!(text, "{name:10}{}", one_line(value));
    line("job", &row.job_id.to_string())?;
    if let Some(id) = &row.external_id {
        line("id", id)?;
    }
    let reason = row.reason.as_ref().filter(|_| row.state.is_terminal());
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    let simulated = if around.simulated { ", simulated" } else { "" };
    line("state", &format!("{}{reason}{simulated}", row.state.as_str()))?;
    if let Some(waits) = &around.waits {
        line("waits", waits)?;
    }
    if let Some(hint) = around.hint {
        line("", &format!("to do: {hint}"))?;
    }
    for reason in around.holds_back.iter().filter(|reason| around.waits.as_ref() != Some(*reason)) {
        line("", reason)?;
    }
    let (queue, tenant, priority) = (&row.queue, &row.tenant, row.priority);
    line("queue", &format!("{queue}, tenant {tenant}, priority {priority}"))?;
    line("model", if row.model.is_empty() { "none" } else { &row.model })?;
    if !row.lane.is_empty() {
        line("lane", &row.lane)?;
    }
    line("deadline", &rfc3339(row.deadline_at))?;
    let counters = row.counters;
    line(
        "counted",
        &format!(
            "calls {}, failures {}, re-asks {}, crashes {}, throttles {}",
            row.calls, counters.failures, counters.reasks, counters.crashes, counters.throttles
        ),
    )?;
    line("cost", &cost(&page.attempts))
}

/// The known cost of all calls, and how many are not known.
fn cost(attempts: &[AttemptRow]) -> String {
    let known: u64 =
        attempts.iter().filter_map(|attempt| attempt.cost_micros).fold(0, u64::saturating_add);
    let unknown = attempts
        .iter()
        .filter(|attempt| {
            attempt.cost_micros.is_none() && attempt.outcome.as_deref() != Some("not_sent")
        })
        .count();
    let known = format!("${}", dollars(known));
    match unknown {
        0 => known,
        1 => format!("{known}, and 1 call whose cost is unknown"),
        many => format!("{known}, and {many} calls whose cost is unknown"),
    }
}

fn write_timeline(page: &JobPage, text: &mut String) -> std::fmt::Result {
    let row = &page.row;
    writeln!(text, "\ntimeline")?;
    let mut event = |at: i64, what: &str| writeln!(text, "  {}  {}", rfc3339(at), one_line(what));
    event(row.created_at, "admitted")?;
    let mut before = row.created_at;
    for attempt in &page.attempts {
        let number = attempt.number;
        let waited = span(attempt.started_at.saturating_sub(before));
        event(attempt.started_at, &format!("call {number} claimed after {waited}"))?;
        before = attempt.finished_at.unwrap_or(attempt.started_at);
        if let Some(finished_at) = attempt.finished_at {
            event(finished_at, &format!("call {number} {}", outcome(attempt)))?;
        }
    }
    match row.ended_at {
        Some(ended_at) => event(ended_at, row.state.as_str()),
        None if row.state == State::Ready && row.run_at > before => event(row.run_at, "due"),
        None => Ok(()),
    }
}

/// `completed in 3.0 s, 120 tokens in, 30 out, $0.00027`, and what failed.
pub(in crate::cli) fn outcome(attempt: &AttemptRow) -> String {
    let took = attempt.total_ms.map(|ms| span(i64::try_from(ms).unwrap_or(i64::MAX)));
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
    let mut parts = vec![format!("{}{took}", attempt.outcome.as_deref().unwrap_or_default())];
    if let Some(Usage { input, output, .. }) = attempt.usage {
        parts.push(format!("{input} tokens in, {output} out"));
    }
    if let Some(micros) = attempt.cost_micros.filter(|micros| *micros > 0) {
        parts.push(format!("${}", dollars(micros)));
    }
    let text = parts.join(", ");
    match (&attempt.error_kind, &attempt.error_message) {
        (Some(kind), Some(message)) => format!("{text}; {kind}: {message}"),
        (Some(kind), None) => format!("{text}; {kind}"),
        (None, _) => text,
    }
}

fn write_result(page: &JobPage, text: &mut String) -> std::fmt::Result {
    let Some(result) = &page.result else { return Ok(()) };
    writeln!(text, "\nresult")?;
    if let Some(provenance) = &result.provenance {
        writeln!(text, "  {}", one_line(provenance))?;
    }
    if let Some(gone) = &result.deleted {
        let (at, by) = (rfc3339(gone.at), one_line(&gone.by));
        writeln!(text, "  its content was deleted at {at}, by {by}: document, answers, metadata")?;
    }
    if let Some(answer) = result.output.as_ref().or(result.text.as_ref()) {
        writeln!(text, "{}", printable(answer))?;
    }
    if let Some(message) = &result.error_message {
        writeln!(text, "  {}", one_line(message))?;
    }
    if let Some(kind) = result.error_kind.as_deref().filter(|_| result.state == State::Failed) {
        writeln!(text, "  what to do: `quarrier explain {kind}`")?;
    }
    Ok(())
}

/// A job's page as JSON.
#[derive(Serialize)]
struct PageJson<'r> {
    #[serde(flatten)]
    job: JobJson<'r>,
    holds_back: &'r [String],
    simulated: bool,
    attempts: Vec<AttemptJson<'r>>,
    result: Option<Box<RawValue>>,
    #[serde(flatten)]
    full: Option<Full>,
}

/// A call as JSON shows it: times in RFC 3339, and the model's text only where it is asked for.
#[derive(Serialize)]
struct AttemptJson<'r> {
    number: u32,
    outcome: Option<&'r str>,
    error: Option<ErrorJson<'r>>,
    started_at: String,
    finished_at: Option<String>,
    reserved_tokens: u64,
    settled_tokens: Option<u64>,
    usage: Option<Usage>,
    cost_micros: Option<u64>,
    request_id: Option<&'r str>,
    first_token_ms: Option<u64>,
    total_ms: Option<u64>,
    stop: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_text: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_errors: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct ErrorJson<'r> {
    kind: &'r str,
    message: Option<&'r str>,
}

fn as_json<'r>(
    page: &'r JobPage,
    around: &'r Around,
    full: Option<Full>,
) -> anyhow::Result<PageJson<'r>> {
    let is_full = full.is_some();
    let result = page.result.as_ref().map(|row| result_line(row, around.simulated));
    Ok(PageJson {
        job: JobJson::of(&page.row, around.waits.clone()),
        holds_back: &around.holds_back,
        simulated: around.simulated,
        attempts: page.attempts.iter().map(|attempt| attempt_json(attempt, is_full)).collect(),
        result: result.map(RawValue::from_string).transpose()?,
        full,
    })
}

fn attempt_json(attempt: &AttemptRow, is_full: bool) -> AttemptJson<'_> {
    let errors = attempt.schema_errors.clone().filter(|_| is_full);
    AttemptJson {
        number: attempt.number,
        outcome: attempt.outcome.as_deref(),
        error: attempt
            .error_kind
            .as_deref()
            .map(|kind| ErrorJson { kind, message: attempt.error_message.as_deref() }),
        started_at: rfc3339(attempt.started_at),
        finished_at: attempt.finished_at.map(rfc3339),
        reserved_tokens: attempt.reserved_tokens,
        settled_tokens: attempt.settled_tokens,
        usage: attempt.usage,
        cost_micros: attempt.cost_micros,
        request_id: attempt.request_id.as_deref(),
        first_token_ms: attempt.first_token_ms,
        total_ms: attempt.total_ms,
        stop: attempt.stop.as_deref(),
        raw_text: attempt.raw_text.as_deref().filter(|_| is_full),
        schema_errors: errors.and_then(|errors| RawValue::from_string(errors).ok()),
    }
}
