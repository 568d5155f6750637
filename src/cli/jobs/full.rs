//! The long part of `quarrier jobs show --full`: the document, what is sent for it, and what came
//! back from each call.
//! Must not know: stores, clients.

use std::fmt::Write;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::admit;
use crate::cli::table::printable;
use crate::completion::{Message, Role};
use crate::config::Settings;
use crate::job::{self, JobDocument, Resolved, State};
use crate::provider::{GenerateRequest, bedrock};
use crate::store::{AttemptRow, JobPage};

/// What a call of a job sends. `reask` are the turns to show again, as the job keeps them.
#[must_use]
pub fn request_of(
    (job_id, attempt): (Uuid, u32),
    document: &JobDocument,
    resolved: &Resolved,
    reask: Option<&str>,
    settings: &Settings,
) -> GenerateRequest {
    let rendered = admit::render(document, resolved.supports_system);
    let mut messages = rendered.messages;
    let again: Option<Vec<Message>> = reask.and_then(|turns| serde_json::from_str(turns).ok());
    messages.extend(again.unwrap_or_default());
    GenerateRequest {
        model_id: resolved.model_id.clone(),
        family: resolved.family,
        api: resolved.api,
        stream: settings.bedrock.stream,
        system: rendered.system,
        messages,
        max_tokens: resolved.max_tokens,
        temperature: resolved.temperature,
        top_p: resolved.top_p,
        stop: document.stop.clone().unwrap_or_default(),
        metadata: vec![
            ("job_id".to_owned(), job_id.to_string()),
            ("attempt".to_owned(), attempt.to_string()),
        ],
        clocks: settings.bedrock.clocks(resolved.max_tokens),
        answer_bytes_max: settings.check.answer_bytes_max,
    }
}

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
        request_of((row.job_id, attempt), &document, resolved, page.reask.as_deref(), settings)
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
        writeln!(text, "\n--- document")?;
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
