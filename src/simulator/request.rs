//! What a call asks for, whichever interface it came by. Must not know: any interface's own fields,
//! quotas, faults, what the answer will be. Texts that are public are the service's own; the rest
//! are close to them.

use std::collections::BTreeMap;

use super::draw::ContentHash;
use super::heard::{Heard, Speaker};
use super::models;
use super::options::SimulatorOptions;
use super::shape::Shape;
use super::tokens;
use super::wanted::{self, Wanted};

/// Entries of the request's metadata.
const METADATA_MAX: usize = 16;
/// Characters of a metadata key or value.
const METADATA_CHARS_MAX: usize = 256;

/// Which operation is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Converse,
    ConverseStream,
    Invoke,
    InvokeStream,
    CountTokens,
}

impl Operation {
    /// The operation behind the last part of a path.
    pub(crate) fn from_path(name: &str) -> Option<Self> {
        let all = [
            Self::Converse,
            Self::ConverseStream,
            Self::Invoke,
            Self::InvokeStream,
            Self::CountTokens,
        ];
        all.into_iter().find(|operation| operation.as_str() == name)
    }

    /// The last part of its path, which is its name in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
            Self::Invoke => "invoke",
            Self::InvokeStream => "invoke-with-response-stream",
            Self::CountTokens => "count-tokens",
        }
    }

    pub(crate) fn streams(self) -> bool {
        matches!(self, Self::ConverseStream | Self::InvokeStream)
    }

    /// Whether the body is in the model's own form.
    pub(crate) fn invokes(self) -> bool {
        matches!(self, Self::Invoke | Self::InvokeStream)
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

    /// Takes in the request's metadata, and checks it.
    pub(crate) fn metadata(&mut self, metadata: BTreeMap<String, String>) -> Result<(), Refusal> {
        let checked = check_metadata(&metadata);
        self.job_id = metadata.get("job_id").cloned();
        self.attempt = metadata.get("attempt").cloned();
        self.tenant = metadata.get("tenant").cloned();
        self.metadata = metadata;
        checked
    }
}

/// A well-formed call.
#[derive(Debug)]
pub(crate) struct Ask {
    /// How the body was formed, and how the answer will be.
    pub(crate) shape: Shape,
    /// A hash of everything that shapes the answer; metadata does not.
    pub(crate) content: u64,
    pub(crate) wanted: Wanted,
    pub(crate) stops: Vec<String>,
    /// The beginning of the last user turn, for the answer to point at.
    pub(crate) topic: String,
    /// A remark for the call log.
    pub(crate) note: Option<&'static str>,
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
    options: &SimulatorOptions,
) -> Result<Ask, Refusal> {
    // The body is read before an unknown model is refused, because its metadata is logged.
    let model = check_model(&facts.model_id, options);
    let heard = Shape::of(facts.api.invokes(), &facts.model_id, bytes)
        .and_then(|shape| Ok((shape, shape.read(bytes, facts)?)));
    model?;
    let (shape, heard) = heard?;
    understand(shape, heard, facts, options)
}

/// What was heard becomes a call: which answer is wanted, what weighs how much.
pub(crate) fn understand(
    shape: Shape,
    mut heard: Heard<'_>,
    facts: &mut Facts,
    options: &SimulatorOptions,
) -> Result<Ask, Refusal> {
    let wanted = heard.asked.take().unwrap_or_else(|| wanted::in_prompts(&heard.lines));
    let (content, length) = weigh(&heard, &wanted, &facts.model_id, options.seed);
    facts.max_tokens = heard.max_tokens;
    facts.input_tokens = tokens::input_tokens(length, heard.turns);
    if facts.input_tokens > options.input_tokens_max {
        return Err(Refusal::validation("Input is too long for requested model."));
    }
    let topic = topic(&heard);
    Ok(Ask { shape, content, wanted, topic, stops: heard.stops, note: heard.note })
}

/// Whether the service would know the model, and serve it under this id.
fn check_model(model_id: &str, options: &SimulatorOptions) -> Result<(), Refusal> {
    if !models::plausible(model_id) {
        return Err(Refusal::validation("The provided model identifier is invalid."));
    }
    let Some(named) = models::named(model_id) else {
        return Ok(());
    };
    check_known(named.base, options)?;
    if options.require_profiles && !named.profile && models::needs_profile(named.base) {
        return Err(Refusal::validation(format!(
            "Invocation of model ID {} with on-demand throughput isn\u{2019}t supported. Retry \
             your request with the ID or ARN of an inference profile that contains this model.",
            named.base
        )));
    }
    Ok(())
}

/// Whether the service would know the model with this base id.
pub(crate) fn check_known(base: &str, options: &SimulatorOptions) -> Result<(), Refusal> {
    if options.models.is_empty() || options.models.iter().any(|served| served == base) {
        return Ok(());
    }
    Err(Refusal {
        status: 404,
        code: "ResourceNotFoundException",
        message: "Could not resolve the foundation model from the provided model identifier."
            .to_owned(),
    })
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

/// The hash of what shapes the answer, and the bytes that count as input.
fn weigh(heard: &Heard<'_>, wanted: &Wanted, model_id: &str, seed: u64) -> (u64, usize) {
    let mut hash = ContentHash::new(seed);
    let mut bytes = heard.declared_bytes;
    hash.add(model_id.as_bytes());
    for line in &heard.lines {
        if line.opens && line.speaker != Speaker::System {
            hash.add(line.speaker.as_str().as_bytes());
        }
        hash.add(line.text.as_bytes());
        bytes += line.text.len();
    }
    match wanted {
        Wanted::Text => {}
        Wanted::Json { schema, .. } | Wanted::Tool { schema, .. } => hash.add(schema.as_bytes()),
    }
    (hash.value(), bytes)
}

fn topic(heard: &Heard<'_>) -> String {
    let opening = |line: &&super::heard::Line<'_>| line.opens && line.speaker == Speaker::User;
    let text = heard.lines.iter().rev().find(opening).map_or("", |line| &line.text);
    let words = text.split_whitespace().take(8);
    words.collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
