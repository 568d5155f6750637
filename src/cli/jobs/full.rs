//! The long part of `quarrier jobs show --full`: the document, what is sent for it, and what came
//! back from each call.
//! Must not know: stores, clients.

use std::fmt::Write;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::table::printable;
use crate::completion::{Message, Role};
use crate::config::Settings;
use crate::job::{self, State};
use crate::provider::bedrock;
use crate::store::{AttemptRow, JobPage};
use crate::worker::{CallSettings, Caller, request_for};

/// What stands over a document.
pub(super) const DOCUMENT_HEAD: &str = "--- document";

/// What `--full` adds to a job's page.
#[derive(Serialize)]
pub(super) struct Full {
    document: Box<RawValue>,
    system: Option<String>,
    messages: Option<Vec<Message>>,
    wire_body: Option<serde_json::Value>,
    #[serde(skip)]
    made_last: bool,
}

pub(super) fn full(page: &JobPage, settings: &Settings) -> Full {
    let document =
        RawValue::from_string(page.document.clone()).unwrap_or_else(|_| RawValue::NULL.to_owned());
    // A job in flight or at its end shows the call that was made last, another one the next.
    let row = &page.row;
    let made_last = row.state.is_terminal() || row.state == State::Running;
    let attempt = if made_last { row.calls } else { row.calls.saturating_add(1) };
    let parts = job::parse(&page.document).ok().zip(page.resolved.as_ref());
    let request = parts.map(|(document, resolved)| {
        let caller = Caller { job_id: row.job_id, attempt, tenant: &row.tenant, queue: &row.queue };
        let call = CallSettings {
            stream: settings.bedrock.stream,
            clocks: settings.bedrock.clocks(resolved.max_tokens),
            answer_bytes_max: settings.check.answer_bytes_max,
        };
        request_for(caller, &document, resolved, page.reask.as_deref(), call)
    });
    Full {
        document,
        wire_body: request.as_ref().map(bedrock::wire_body),
        system: request.as_ref().and_then(|request| request.system.clone()),
        messages: request.map(|request| request.messages),
        made_last,
    }
}

impl Full {
    pub(super) fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n{DOCUMENT_HEAD}")?;
        let document: serde_json::Value =
            serde_json::from_str(self.document.get()).unwrap_or_default();
        // A rejected document is kept as the text that it was.
        match document.as_str() {
            Some(rejected) => writeln!(text, "{}", printable(rejected))?,
            None => writeln!(text, "{}", printable(&format!("{document:#}")))?,
        }
        if let Some(system) = &self.system {
            writeln!(text, "\n--- system\n{}", printable(system))?;
        }
        for message in self.messages.iter().flatten() {
            let role = match message.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            writeln!(text, "\n--- {role}\n{}", printable(&message.text))?;
        }
        if let Some(body) = &self.wire_body {
            let which = if self.made_last { "last" } else { "next" };
            let body = printable(&format!("{body:#}"));
            writeln!(text, "\n--- body of the {which} call\n{body}")?;
        }
        Ok(())
    }
}

/// What came back from one call.
pub(super) fn write_attempt(attempt: &AttemptRow, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n--- attempt {}", attempt.number)?;
    let reserved = attempt.reserved_tokens;
    match attempt.settled_tokens {
        Some(settled) => writeln!(text, "quota     reserved {reserved}, settled {settled}")?,
        None => writeln!(text, "quota     reserved {reserved}, not settled")?,
    }
    let mut line = |name: &str, value: Option<&str>| match value {
        Some(value) => writeln!(text, "{name:10}{}", printable(value)),
        None => Ok(()),
    };
    line("request", attempt.request_id.as_deref())?;
    line("stop", attempt.stop.as_deref())?;
    line("error", attempt.error_message.as_deref())?;
    line("schema", attempt.schema_errors.as_deref())?;
    match &attempt.raw_text {
        Some(raw) => writeln!(text, "the model wrote:\n{}", printable(raw)),
        None => writeln!(text, "the model wrote nothing that was kept"),
    }
}
