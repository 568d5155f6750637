//! The call that an attempt makes, from what admission settled and the document.
//! Must not know: providers' formats.

use uuid::Uuid;

use crate::admit;
use crate::completion::Message;
use crate::job::{JobDocument, Resolved};
use crate::provider::{Clocks, GenerateRequest};

/// What of a call does not depend on its job.
#[derive(Debug, Clone, Copy)]
pub struct CallSettings {
    /// Stream inside.
    pub stream: bool,
    /// How long each part may take.
    pub clocks: Clocks,
    /// The longest answer kept, in bytes.
    pub answer_bytes_max: usize,
}

/// Whose call it is: what the provider's log shows beside it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The job.
    pub job_id: Uuid,
    /// The attempt's number.
    pub attempt: u32,
    /// Whose job.
    pub tenant: &'a str,
    /// Which queue it belongs to.
    pub queue: &'a str,
}

/// The call of one attempt, as it is sent and as people are shown it. `reask` are the turns that
/// show the model its own answer and what was wrong with it, as the store keeps them.
#[must_use]
pub fn request_for(
    caller: Caller<'_>,
    document: &JobDocument,
    resolved: &Resolved,
    reask: Option<&str>,
    settings: CallSettings,
) -> GenerateRequest {
    let rendered = admit::render(document, resolved.supports_system);
    let mut messages = rendered.messages;
    // Stored by ourselves; if it cannot be read, the plain call is the better loss.
    let again: Option<Vec<Message>> = reask.and_then(|turns| serde_json::from_str(turns).ok());
    messages.extend(again.unwrap_or_default());
    GenerateRequest {
        model_id: resolved.model_id.clone(),
        family: resolved.family,
        api: resolved.api,
        format: resolved.format,
        stream: settings.stream,
        system: rendered.system,
        messages,
        max_tokens: resolved.max_tokens,
        temperature: resolved.temperature,
        top_p: resolved.top_p,
        stop: document.stop.clone().unwrap_or_default(),
        metadata: vec![
            ("job_id".to_owned(), caller.job_id.to_string()),
            ("attempt".to_owned(), caller.attempt.to_string()),
            ("tenant".to_owned(), caller.tenant.to_owned()),
            ("queue".to_owned(), caller.queue.to_owned()),
        ],
        clocks: settings.clocks,
        answer_bytes_max: settings.answer_bytes_max,
    }
}
