//! The call that an attempt makes, from what admission settled and the document.
//! Must not know: providers' formats.

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

/// The call of one attempt. `reask` are the turns that show the model its own answer and what was
/// wrong with it; `metadata` is what the provider's log shows beside the call.
#[must_use]
pub fn request_for(
    document: &JobDocument,
    resolved: &Resolved,
    reask: Vec<Message>,
    metadata: Vec<(String, String)>,
    settings: CallSettings,
) -> GenerateRequest {
    let rendered = admit::render(document, resolved.supports_system);
    let mut messages = rendered.messages;
    messages.extend(reask);
    GenerateRequest {
        model_id: resolved.model_id.clone(),
        family: resolved.family,
        api: resolved.api,
        stream: settings.stream,
        system: rendered.system,
        messages,
        max_tokens: resolved.max_tokens,
        temperature: resolved.temperature,
        top_p: resolved.top_p,
        stop: document.stop.clone().unwrap_or_default(),
        metadata,
        clocks: settings.clocks,
        answer_bytes_max: settings.answer_bytes_max,
    }
}
