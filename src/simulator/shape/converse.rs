//! How Converse and ConverseStream are spelt: their body and their answers. Must not know: clocks,
//! faults on the wire, who asked.

use serde::Serialize;
use serde_json::{Value, json};

use crate::simulator::answer::Content;
use crate::simulator::body::{Body, InferenceConfig, Turn};
use crate::simulator::heard::{Heard, Speaker};
use crate::simulator::request::{Facts, Refusal};
use crate::simulator::spelt::{self, Events, Said};
use crate::simulator::wanted::Wanted;

/// What is reserved where the request does not say (the service takes the model's own maximum).
const MAX_TOKENS_DEFAULT: u64 = 4_096;

/// Reads and checks a body.
pub(crate) fn read<'a>(bytes: &'a [u8], facts: &mut Facts) -> Result<Heard<'a>, Refusal> {
    let body: Body<'a> = serde_json::from_slice(bytes).map_err(|error| Refusal {
        status: 400,
        code: "SerializationException",
        message: format!("the body could not be read: {error}"),
    })?;
    let metadata = facts.metadata(body.request_metadata);
    let mut heard = Heard {
        max_tokens: check_inference(&body.inference_config)?,
        stops: body.inference_config.stop_sequences,
        ..Heard::default()
    };
    metadata?;
    check_turns(&body.messages)?;
    if let Some(format) = body.output_config.and_then(|config| config.text_format) {
        let schema = format.structure.json_schema.schema.0.into_owned();
        heard.declared_bytes += schema.len();
        heard.asked = Some(Wanted::Json { schema, native: true });
    }
    if let Some(config) = &body.tool_config {
        heard.declared_bytes += config.bytes();
        if heard.asked.is_none() {
            heard.asked = config.forced()?;
        }
    }
    heard.system(body.system.into_iter().filter_map(|block| block.text));
    hear_turns(&mut heard, body.messages);
    let config = (body.inference_config.temperature, body.inference_config.top_p);
    check_claude(&heard, config, &facts.model_id)?;
    Ok(heard)
}

/// Takes in turns whose roles have been checked.
pub(crate) fn hear_turns<'a>(heard: &mut Heard<'a>, turns: Vec<Turn<'a>>) {
    for turn in turns {
        let assistant = &*turn.role == "assistant";
        let speaker = if assistant { Speaker::Assistant } else { Speaker::User };
        heard.turn(speaker, turn.content.into_iter().filter_map(|block| block.text));
    }
}

/// What newer Claude models refuse by whichever interface.
fn check_claude(
    heard: &Heard<'_>,
    (temperature, top_p): (Option<f64>, Option<f64>),
    model_id: &str,
) -> Result<(), Refusal> {
    let flaw = super::claude::sampling_flaw(model_id, temperature, top_p, None)
        .or_else(|| super::claude::prefill_flaw(model_id, heard));
    flaw.map_or(Ok(()), |flaw| {
        Err(Refusal::validation(format!("The model returned the following errors: {flaw}")))
    })
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

pub(crate) fn check_turns(turns: &[Turn<'_>]) -> Result<(), Refusal> {
    let first = turns.first().map(|turn| &*turn.role);
    if first != Some("user") {
        return Err(Refusal::validation(
            "A conversation must start with a user message. Try again with a conversation that \
             starts with a user message.",
        ));
    }
    let mut before = "";
    for (index, turn) in turns.iter().enumerate() {
        if !["user", "assistant"].contains(&&*turn.role) {
            return Err(Refusal::validation(format!(
                "1 validation error detected: Value '{}' at 'messages.{}.member.role' failed to \
                 satisfy constraint: Member must satisfy enum value set: [user, assistant]",
                &*turn.role,
                index + 1
            )));
        }
        if *turn.role == *before {
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

fn usage(said: &Said<'_>) -> Value {
    let output = said.answer.output_tokens;
    json!({
        "inputTokens": said.input_tokens,
        "outputTokens": output,
        "totalTokens": said.input_tokens + output,
        "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 0,
    })
}

/// Converse: one body.
pub(crate) fn whole(said: &Said<'_>) -> String {
    let content = match &said.answer.content {
        Content::Nothing => json!([]),
        Content::Text(text) => json!([{ "text": text }]),
        Content::Tool { name, input } => {
            // A cut input is no document; the service then gives an empty one.
            let input = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
            json!([{ "toolUse": {
                "toolUseId": said.tool_use_id("tooluse"), "name": name, "input": input,
            } }])
        }
    };
    spelt::json(&json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": said.answer.stop,
        "usage": usage(said),
        "metrics": { "latencyMs": said.latency_ms },
        "additionalModelResponseFields": { "simulated": true },
    }))
}

/// A piece of a stream's text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockDelta<'a> {
    content_block_index: u64,
    delta: Delta<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Delta<'a> {
    Text(&'a str),
    ToolUse { input: &'a str },
}

impl<'a> BlockDelta<'a> {
    /// A piece of text, or of a tool's input.
    pub(crate) fn of(content: &Content, piece: &'a str) -> Self {
        let delta = match content {
            Content::Tool { .. } => Delta::ToolUse { input: piece },
            _ => Delta::Text(piece),
        };
        Self { content_block_index: 0, delta }
    }
}

/// ConverseStream: every frame of the answer.
pub(crate) fn events(said: &Said<'_>) -> Events {
    let mut events = Events::for_text(said.text());
    let content = &said.answer.content;
    events.event(0, "messageStart", &json!({ "role": "assistant" }));
    if let Content::Tool { name, .. } = content {
        let start = json!({ "contentBlockIndex": 0, "start": { "toolUse": {
            "toolUseId": said.tool_use_id("tooluse"), "name": name,
        } } });
        events.event(0, "contentBlockStart", &start);
    }
    for (tokens, piece) in said.chunks() {
        events.event(tokens, "contentBlockDelta", &BlockDelta::of(content, piece));
    }
    let all = said.answer.output_tokens;
    if *content != Content::Nothing {
        events.event(all, "contentBlockStop", &json!({ "contentBlockIndex": 0 }));
    }
    let closing = json!({
        "stopReason": said.answer.stop,
        "additionalModelResponseFields": { "simulated": true },
    });
    events.event(all, "messageStop", &closing);
    let metadata = json!({
        "usage": usage(said),
        "metrics": { "latencyMs": said.latency_ms },
        "simulated": true,
    });
    events.event(all, "metadata", &metadata);
    events
}
