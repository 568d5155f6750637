//! A request in the project's terms to what Bedrock is sent, once: the call and the shown body are
//! both made from the same parts.
//! Must not know: clients, clocks, answers.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_bedrockruntime::error::BuildError;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ConversationRole, InferenceConfiguration, Message, SystemContentBlock,
};
use serde_json::{Map, Value, json};

use crate::catalogue::Format;
use crate::completion::{Api, Role};
use crate::native::{self, Ask, Refused};
use crate::provider::GenerateRequest;

/// Bedrock's bounds on request metadata.
const METADATA_ENTRIES_MAX: usize = 16;
const METADATA_CHARS_MAX: usize = 256;

/// The fields that Converse and ConverseStream share.
pub(super) struct Parts {
    pub(super) messages: Vec<Message>,
    pub(super) system: Option<Vec<SystemContentBlock>>,
    pub(super) inference: InferenceConfiguration,
    pub(super) metadata: Option<HashMap<String, String>>,
}

/// Translates a request.
pub(super) fn parts(request: &GenerateRequest) -> Result<Parts, BuildError> {
    let messages = request
        .messages
        .iter()
        .map(|turn| {
            Message::builder()
                .role(match turn.role {
                    Role::User => ConversationRole::User,
                    Role::Assistant => ConversationRole::Assistant,
                })
                .content(ContentBlock::Text(turn.text.clone()))
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    // An empty text block is refused by the service; an empty system prompt is none.
    let system = request
        .system
        .as_ref()
        .filter(|text| !text.is_empty())
        .map(|text| vec![SystemContentBlock::Text(text.clone())]);
    let inference = InferenceConfiguration::builder()
        .max_tokens(i32::try_from(request.max_tokens).unwrap_or(i32::MAX))
        .set_temperature(request.temperature)
        .set_top_p(request.top_p)
        .set_stop_sequences((!request.stop.is_empty()).then(|| request.stop.clone()))
        .build();
    Ok(Parts { messages, system, inference, metadata: metadata(&request.metadata) })
}

/// The body that the call would send, as JSON.
pub(super) fn body(request: &GenerateRequest) -> Value {
    let unformed = |error: String| json!({ "error": error });
    match request.api {
        Api::Converse => {
            parts(request).map_or_else(|error| unformed(error.to_string()), |parts| body_of(&parts))
        }
        Api::Invoke => {
            native(request).map_or_else(|error| unformed(error.to_string()), |(_, body)| body)
        }
    }
}

/// The body of `InvokeModel`, and the format that it and its answer have.
pub(super) fn native(request: &GenerateRequest) -> Result<(Format, Value), Refused> {
    let format = request.format.ok_or_else(|| Refused {
        field: "api",
        reason: format!(
            "the native format of {} is not known; use `api = \"converse\"`",
            request.model_id
        ),
    })?;
    let ask = Ask {
        system: request.system.as_deref(),
        messages: &request.messages,
        max_tokens: request.max_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        stop: &request.stop,
    };
    Ok((format, native::body(format, &ask)?))
}

/// The metadata of a call whose body has no place for it: one line of JSON for a header.
pub(super) fn metadata_header(request: &GenerateRequest) -> Option<String> {
    metadata(&request.metadata).map(|metadata| sorted(&metadata).to_string())
}

fn body_of(parts: &Parts) -> Value {
    let mut body = Map::new();
    let messages: Vec<Value> = parts
        .messages
        .iter()
        .map(|turn| {
            let content: Vec<Value> = turn.content().iter().map(block_of).collect();
            json!({ "role": turn.role().as_str(), "content": content })
        })
        .collect();
    body.insert("messages".to_owned(), Value::Array(messages));
    if let Some(system) = &parts.system {
        let blocks: Vec<Value> = system
            .iter()
            .map(|block| json!({ "text": block.as_text().map_or("", String::as_str) }))
            .collect();
        body.insert("system".to_owned(), Value::Array(blocks));
    }
    body.insert("inferenceConfig".to_owned(), inference_of(&parts.inference));
    if let Some(metadata) = &parts.metadata {
        body.insert("requestMetadata".to_owned(), sorted(metadata));
    }
    Value::Object(body)
}

/// Sorted, so that the same request always shows the same body.
fn sorted(metadata: &HashMap<String, String>) -> Value {
    json!(metadata.iter().collect::<BTreeMap<_, _>>())
}

fn block_of(block: &ContentBlock) -> Value {
    json!({ "text": block.as_text().map_or("", String::as_str) })
}

fn inference_of(inference: &InferenceConfiguration) -> Value {
    let mut fields = Map::new();
    if let Some(max_tokens) = inference.max_tokens() {
        fields.insert("maxTokens".to_owned(), json!(max_tokens));
    }
    // The SDK widens to 64 bits before it prints, so 0.7 leaves as 0.699999988079071.
    if let Some(temperature) = inference.temperature() {
        fields.insert("temperature".to_owned(), json!(f64::from(temperature)));
    }
    if let Some(top_p) = inference.top_p() {
        fields.insert("topP".to_owned(), json!(f64::from(top_p)));
    }
    if !inference.stop_sequences().is_empty() {
        let stop = json!(inference.stop_sequences());
        fields.insert("stopSequences".to_owned(), stop);
    }
    Value::Object(fields)
}

/// Bedrock refuses a whole call over one bad character in its metadata, so what it does not take
/// becomes `_` and what is too long is cut.
fn metadata(entries: &[(String, String)]) -> Option<HashMap<String, String>> {
    let clean: HashMap<String, String> = entries
        .iter()
        .filter(|(key, _)| !key.is_empty())
        .take(METADATA_ENTRIES_MAX)
        .map(|(key, value)| (allowed(key), allowed(value)))
        .collect();
    (!clean.is_empty()).then_some(clean)
}

fn allowed(text: &str) -> String {
    text.chars()
        .take(METADATA_CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_what_bedrock_takes_and_replaces_the_rest() {
        assert_eq!(allowed("job-1:a/b@c$d#e=f+g,h.i j"), "job-1:a/b@c$d#e=f+g,h.i j");
        assert_eq!(allowed("Prüfung\n\u{0}\"{}"), "Pr_fung_____");
    }

    #[test]
    fn metadata_stays_within_bedrocks_lengths_and_count() {
        let long = "x".repeat(300);
        let many: Vec<(String, String)> =
            (0..20).map(|i| (format!("key{i}"), long.clone())).collect();
        let clean = metadata(&many).unwrap();
        assert_eq!(clean.len(), METADATA_ENTRIES_MAX);
        assert!(clean.values().all(|value| value.len() == METADATA_CHARS_MAX));
    }

    #[test]
    fn no_metadata_is_no_field_at_all() {
        assert_eq!(metadata(&[]), None);
        assert_eq!(metadata(&[(String::new(), "x".to_owned())]), None);
    }
}
