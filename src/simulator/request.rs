//! Reads a Converse body and checks it as the service does. Must not know: quotas, faults, what the
//! answer will be. Texts that are public are the service's own; the rest are close to them.

use std::collections::BTreeMap;

use super::body::{Body, InferenceConfig, Turn};
use super::draw::ContentHash;
use super::tokens;
use super::wanted::{Wanted, wanted};

/// What is reserved where the request does not say (the service takes the model's own maximum).
const MAX_TOKENS_DEFAULT: u64 = 4_096;
/// Entries of `requestMetadata`.
const METADATA_MAX: usize = 16;
/// Characters of a metadata key or value.
const METADATA_CHARS_MAX: usize = 256;

/// Which operation is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Converse,
    ConverseStream,
}

impl Operation {
    /// The operation behind the last part of a path.
    pub(crate) fn from_path(name: &str) -> Option<Self> {
        match name {
            "converse" => Some(Self::Converse),
            "converse-stream" => Some(Self::ConverseStream),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
        }
    }

    pub(crate) fn streams(self) -> bool {
        self == Self::ConverseStream
    }
}

/// What the quota and the log need to know of a call.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) model_id: String,
    pub(crate) api: Operation,
    pub(crate) job_id: Option<String>,
    pub(crate) attempt: Option<String>,
    pub(crate) tenant: Option<String>,
    /// All of the request's metadata.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) input_tokens: u64,
    pub(crate) max_tokens: u64,
}

impl Facts {
    /// What is known before the body has been read.
    pub(crate) fn unread(model_id: String, api: Operation) -> Self {
        Self {
            model_id,
            api,
            job_id: None,
            attempt: None,
            tenant: None,
            metadata: BTreeMap::new(),
            input_tokens: 0,
            max_tokens: 0,
        }
    }
}

/// A well-formed call.
#[derive(Debug)]
pub(crate) struct Ask {
    /// A hash of everything that shapes the answer; metadata does not.
    pub(crate) content: u64,
    pub(crate) wanted: Wanted,
    pub(crate) stops: Vec<String>,
    /// The beginning of the last user turn, for the answer to point at.
    pub(crate) topic: String,
}

/// A request that is refused, with the service's status, code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self { status: 400, code: "ValidationException", message: message.into() }
    }
}

/// Reads and checks a body. The facts are filled as far as reading came, so that a refused call is
/// logged with what is known of it.
pub(crate) fn read(
    bytes: &[u8],
    facts: &mut Facts,
    seed: u64,
    input_tokens_max: u64,
) -> Result<Ask, Refusal> {
    let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| Refusal {
        status: 400,
        code: "SerializationException",
        message: format!("the body could not be read: {error}"),
    })?;
    facts.job_id = body.request_metadata.get("job_id").cloned();
    facts.attempt = body.request_metadata.get("attempt").cloned();
    facts.tenant = body.request_metadata.get("tenant").cloned();
    if !plausible_model_id(&facts.model_id) {
        return Err(Refusal::validation("The provided model identifier is invalid."));
    }
    facts.max_tokens = check_inference(&body.inference_config)?;
    check_metadata(&body.request_metadata)?;
    check_turns(&body.messages)?;
    let wanted = wanted(&body)?;
    let (content, length) = weigh(&body, &wanted, &facts.model_id, seed);
    facts.input_tokens = tokens::input_tokens(length, body.messages.len());
    if facts.input_tokens > input_tokens_max {
        return Err(Refusal::validation("Input is too long for requested model."));
    }
    let topic = topic(&body);
    facts.metadata = body.request_metadata;
    Ok(Ask { content, wanted, topic, stops: body.inference_config.stop_sequences })
}

fn check_inference(config: &InferenceConfig) -> Result<u64, Refusal> {
    let max_tokens = config.max_tokens.map(u64::try_from);
    let max_tokens = match max_tokens {
        None => MAX_TOKENS_DEFAULT,
        Some(Ok(tokens)) if (1..=u64::from(u32::MAX)).contains(&tokens) => tokens,
        Some(_) => {
            let value = config.max_tokens.unwrap_or(0);
            return Err(Refusal::validation(format!(
                "1 validation error detected: Value '{value}' at 'inferenceConfig.maxTokens' \
                 failed to satisfy constraint: Member must have value greater than or equal to 1"
            )));
        }
    };
    for (name, value) in [("temperature", config.temperature), ("topP", config.top_p)] {
        let Some(value) = value else { continue };
        let bound = if value < 0.0 {
            "greater than or equal to 0"
        } else if value > 1.0 {
            "less than or equal to 1"
        } else {
            continue;
        };
        return Err(Refusal::validation(format!(
            "1 validation error detected: Value '{value}' at 'inferenceConfig.{name}' failed to \
             satisfy constraint: Member must have value {bound}"
        )));
    }
    Ok(max_tokens)
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let plain = |text: &str| {
        text.chars().count() <= METADATA_CHARS_MAX
            && text.chars().all(|c| {
                c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c)
            })
    };
    let fits = metadata.len() <= METADATA_MAX
        && metadata.iter().all(|(key, value)| !key.is_empty() && plain(key) && plain(value));
    if fits {
        return Ok(());
    }
    Err(Refusal::validation(
        "1 validation error detected: Value at 'requestMetadata' failed to satisfy constraint: \
         Map must have at most 16 entries, keys of 1 to 256 and values of 0 to 256 characters of \
         [a-zA-Z0-9\\s:_@$#=/+,-.]",
    ))
}

fn check_turns(turns: &[Turn]) -> Result<(), Refusal> {
    let first = turns.first().map(|turn| turn.role.as_str());
    if first != Some("user") {
        return Err(Refusal::validation(
            "A conversation must start with a user message. Try again with a conversation that \
             starts with a user message.",
        ));
    }
    let mut before = "";
    for (index, turn) in turns.iter().enumerate() {
        if !["user", "assistant"].contains(&turn.role.as_str()) {
            return Err(Refusal::validation(format!(
                "1 validation error detected: Value '{}' at 'messages.{}.member.role' failed to \
                 satisfy constraint: Member must satisfy enum value set: [user, assistant]",
                turn.role,
                index + 1
            )));
        }
        if turn.role == before {
            return Err(Refusal::validation(
                "A conversation must alternate between user and assistant roles. Make sure the \
                 conversation alternates between user and assistant roles and try again.",
            ));
        }
        before = &turn.role;
        if turn.content.is_empty() {
            return Err(Refusal::validation(format!(
                "The content field in the Message object at messages.{index} is empty. Add a \
                 ContentBlock object to the content field and try again."
            )));
        }
        for (position, block) in turn.content.iter().enumerate() {
            if block.text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                return Err(Refusal::validation(format!(
                    "The text field in the ContentBlock object at \
                     messages.{index}.content.{position} is blank. Add text to the text field, \
                     and try again."
                )));
            }
        }
    }
    Ok(())
}

/// The hash of what shapes the answer, and the bytes that count as input.
fn weigh(body: &Body<'_>, wanted: &Wanted, model_id: &str, seed: u64) -> (u64, usize) {
    let mut hash = ContentHash::new(seed);
    let mut bytes = 0;
    hash.add(model_id.as_bytes());
    for text in body.system.iter().filter_map(|block| block.text.as_deref()) {
        hash.add(text.as_bytes());
        bytes += text.len();
    }
    for turn in &body.messages {
        hash.add(turn.role.as_bytes());
        for text in turn.content.iter().filter_map(|block| block.text.as_deref()) {
            hash.add(text.as_bytes());
            bytes += text.len();
        }
    }
    let tools = body.tool_config.iter().flat_map(|config| &config.tools);
    for spec in tools.filter_map(|tool| tool.tool_spec.as_ref()) {
        bytes += spec.name.len() + spec.description.len() + spec.input_schema.json.get().len();
    }
    match wanted {
        Wanted::Text => {}
        Wanted::Json { schema, native } => {
            hash.add(schema.as_bytes());
            bytes += if *native { schema.len() } else { 0 };
        }
        Wanted::Tool { schema, .. } => hash.add(schema.as_bytes()),
    }
    (hash.value(), bytes)
}

fn topic(body: &Body<'_>) -> String {
    let last = body.messages.iter().rev().find(|turn| turn.role == "user");
    let text = last.and_then(|turn| turn.content.iter().find_map(|block| block.text.as_deref()));
    let words = text.unwrap_or_default().split_whitespace().take(8);
    words.collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

/// Whether this may be a model's id, an inference profile's id or an ARN of either.
fn plausible_model_id(id: &str) -> bool {
    if let Some(arn) = id.strip_prefix("arn:aws") {
        return arn.contains(":bedrock:") && !id.ends_with(['/', ':']);
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let mut parts = id.split('.');
    id.len() <= 256
        && id.chars().all(known)
        && parts.next().is_some_and(|vendor| !vendor.is_empty())
        && parts.next().is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
