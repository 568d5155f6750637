//! `quarrier explain`: what a kind of error is, what is done about it, and the way out; and the
//! same of one job's error. Also the page `docs/errors.md`, made of the same texts.
//! Must not know: how an error comes about.

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::jobs::{self, show};
use super::pause::pause_json;
use super::table::{one_line, table};
use crate::catalogue::nearest;
use crate::config::Settings;
use crate::error::{self, ErrorKind};
use crate::job::State;
use crate::retry::{self, Policy};
use crate::store::{JobPage, Store};
use crate::worker::paused_words;

/// The widest line of an explanation, in characters.
const WIDTH: usize = 96;

/// What an error kind means, what is done about it, and the way out; or why a job failed.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// An error's kind, such as `throttled_day`, or a job's id.
    #[arg(value_name = "KIND|ID", required_unless_present = "list")]
    pub what: Option<String>,
    /// List every kind.
    #[arg(long, conflicts_with = "what")]
    pub list: bool,
    /// The store that holds the job.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl ExplainArgs {
    /// What is asked for, where it is no kind.
    #[must_use]
    pub fn unknown_kind(&self) -> Option<&str> {
        self.what.as_deref().filter(|name| ErrorKind::from_name(name).is_none())
    }
}

/// The four texts of a kind.
#[derive(Debug, Serialize)]
struct Explained {
    kind: ErrorKind,
    what: &'static str,
    we_do: String,
    way_out: &'static str,
}

fn explained(kind: ErrorKind, policy: &Policy) -> Explained {
    let error::Explanation { what, we_also, way_out, .. } = *error::explain(kind);
    let mut we_do = retry::in_words(kind, policy);
    if let Some(also) = we_also {
        we_do.push(' ');
        we_do.push_str(also);
    }
    Explained { kind, what, we_do, way_out }
}

/// Explains the kind that is asked for, or lists all.
pub fn kinds(args: &ExplainArgs, policy: &Policy, out: &mut impl Write) -> anyhow::Result<()> {
    let kind = args.what.as_deref().and_then(ErrorKind::from_name);
    let all = || ErrorKind::ALL.map(|kind| explained(kind, policy));
    match (kind, args.json) {
        (Some(kind), true) => write_json(&explained(kind, policy), out)?,
        (Some(kind), false) => {
            writeln!(out, "{kind}\n")?;
            out.write_all(as_text(&explained(kind, policy))?.as_bytes())?;
        }
        (None, true) => write_json(&all().as_slice(), out)?,
        (None, false) => {
            let rows = all().map(|one| vec![one.kind.to_string(), first_sentence(one.what)]);
            write!(out, "{}", table(&["kind", "what it is"], &[], rows.to_vec()))?;
        }
    }
    Ok(())
}

/// Explains a job's error: its own words, its calls, and the way out.
pub async fn job(
    args: &ExplainArgs,
    id: &str,
    (store, settings): (&dyn Store, &Settings),
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let policy = &settings.retry;
    let Some(page) = jobs::find(store, id).await? else {
        let Some(one) = jobs::find_submitted(store, id, settings).await? else {
            return Err(unknown(id, &store.about().await?.location));
        };
        let name = jobs::submitted::name(&one);
        let words = format!("job {name}, submitted: no worker has admitted it yet");
        return write_submitted(&words, args.json, out);
    };
    let pauses = store.pauses().await?;
    let pause = jobs::waits::halted_by(&page.row, &pauses);
    let told = told(&page);
    let kind = told.kind.and_then(ErrorKind::from_name);
    if args.json {
        let kind = kind.map(|kind| explained(kind, policy));
        let held_back = pause.map(pause_json);
        return write_json(&JobJson { job: &told, paused: held_back, explained: kind }, out);
    }
    writeln!(out, "{}", one_line(&told.headline()))?;
    if let Some(message) = told.message {
        writeln!(out, "  {}", one_line(message))?;
    }
    if let Some(pause) = pause {
        writeln!(out, "  it waits: {}", one_line(&paused_words(pause)))?;
    }
    if !page.attempts.is_empty() {
        writeln!(out, "\nIts calls")?;
        for attempt in &page.attempts {
            writeln!(out, "  {}  {}", attempt.number, one_line(&show::outcome(attempt)))?;
        }
    }
    if let Some(kind) = kind {
        write!(out, "\n{}", as_text(&explained(kind, policy))?)?;
    }
    Ok(())
}

/// A document that waits to be admitted: nothing has gone wrong with it yet.
fn write_submitted(words: &str, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        return write_json(&json!({ "state": "submitted", "message": words }), out);
    }
    writeln!(out, "{}", one_line(words))?;
    Ok(())
}

/// Neither a kind nor a job of this store.
#[must_use]
pub fn unknown(name: &str, store: &dyn std::fmt::Display) -> anyhow::Error {
    let names = ErrorKind::ALL.map(ErrorKind::as_str);
    let near = nearest(&name.replace('-', "_"), names);
    let near =
        if near.is_empty() { String::new() } else { format!(" (nearest: {})", near.join(", ")) };
    anyhow::anyhow!(
        "explain {}: no kind of error has this name{near}, and {} holds no job with this id; \
         `quarrier explain --list` lists the kinds, and --store names another store",
        one_line(name),
        store
    )
}

/// What is known of a job's error.
#[derive(Debug, Serialize)]
struct Told<'r> {
    job_id: String,
    id: Option<&'r str>,
    state: State,
    kind: Option<&'r str>,
    message: Option<&'r str>,
    calls: u32,
}

#[derive(Serialize)]
struct JobJson<'r> {
    #[serde(flatten)]
    job: &'r Told<'r>,
    /// The pause by which a person holds it back.
    paused: Option<Value>,
    explained: Option<Explained>,
}

fn told(page: &JobPage) -> Told<'_> {
    let (row, result) = (&page.row, page.result.as_ref());
    let last = page.attempts.iter().rev().find(|attempt| attempt.error_kind.is_some());
    // A success is explained by nothing, whatever went wrong before.
    let last = last.filter(|_| row.state != State::Succeeded);
    let kind = result.and_then(|result| result.error_kind.as_deref());
    let kind = kind.or_else(|| last.and_then(|attempt| attempt.error_kind.as_deref()));
    let message = result.and_then(|result| result.error_message.as_deref());
    Told {
        job_id: row.job_id.to_string(),
        id: row.external_id.as_deref(),
        state: row.state,
        kind: kind.or(row.reason.as_deref().filter(|_| row.state != State::Succeeded)),
        message: message.or_else(|| last.and_then(|attempt| attempt.error_message.as_deref())),
        calls: row.calls,
    }
}

impl Told<'_> {
    fn headline(&self) -> String {
        let id = self.id.map(|id| format!(" ({id})")).unwrap_or_default();
        let state = self.state.as_str();
        let kind = match (self.kind, self.state.is_terminal()) {
            (Some(kind), true) => format!(": {kind}"),
            (Some(kind), false) => format!("; its last call: {kind}"),
            (None, _) => ", and nothing went wrong".to_owned(),
        };
        format!("job {}{id}, {state}{kind}", self.job_id)
    }
}

fn write_json(value: &impl Serialize, out: &mut impl Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

fn as_text(one: &Explained) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let parts =
        [("What it is", one.what), ("What we do", &one.we_do), ("What you can do", one.way_out)];
    for (position, (title, words)) in parts.into_iter().enumerate() {
        if position > 0 {
            text.push('\n');
        }
        writeln!(text, "{title}")?;
        for line in wrapped(words) {
            writeln!(text, "  {line}")?;
        }
    }
    Ok(text)
}

/// The words on lines that are not too wide; a single long word stays whole.
fn wrapped(words: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() + 2 < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Up to the first full stop or colon that a space follows.
fn first_sentence(text: &str) -> String {
    let end = text.find(". ").or_else(|| text.find(": "));
    text.get(..end.unwrap_or(text.len())).unwrap_or(text).trim_end_matches('.').to_owned()
}

/// The page `docs/errors.md`, with the shipped settings.
#[must_use]
pub fn page() -> String {
    let mut text = PAGE_HEAD.to_owned();
    for kind in ErrorKind::ALL {
        let Explained { what, we_do, way_out, .. } = explained(kind, &Policy::default());
        let section = [
            format!("\n## {kind}\n"),
            format!("**What it is.** {what}\n"),
            format!("**What we do.** {we_do}\n"),
            format!("**What you can do.** {way_out}\n"),
        ];
        text.push_str(&section.join("\n"));
    }
    text
}

const PAGE_HEAD: &str = "\
# Errors

Every failure has a kind: a stable name that stands in result lines (`error.kind`), in the tables \
(`result.error_kind`, `attempt.error_kind`, `job.reason`) and in the log. The kind comes from the \
provider's typed error code, and the provider's own words follow it in the message. One table \
decides what happens next (`src/retry.rs`); this page is made of it and of the texts that \
`quarrier explain KIND` prints. The numbers here are the shipped settings; the command prints those \
in force.

`quarrier explain ID` explains the error of one job, with its calls. `quarrier explain --list` lists \
the kinds, and `--json` prints either for programs.
";

#[cfg(test)]
mod tests;
