//! Amazon Nova's messages: the body, the whole answer, and the events of a stream, one to a chunk.
//! Must not know: other formats, the service's headers.
//!
//! Turns are fields of their own, so texts are sent as they are.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::gather::{Gather, refuse_error, tool_input};
use super::mended::read;
use super::usage::{Counts, count};
use super::{Ask, Unreadable, set, set_number, set_stop, system};
use crate::completion::Role;

pub(super) fn body(ask: &Ask<'_>) -> Map<String, Value> {
    let turns = ask.messages.iter().map(|turn| {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({ "role": role, "content": [{ "text": turn.text }] })
    });
    let mut inference = Map::new();
    set(&mut inference, "maxTokens", ask.max_tokens);
    set_number(&mut inference, "temperature", ask.temperature);
    set_number(&mut inference, "topP", ask.top_p);
    set_stop(&mut inference, "stopSequences", ask.stop);
    let mut body = Map::new();
    set(&mut body, "schemaVersion", "messages-v1");
    if let Some(system) = system(ask) {
        set(&mut body, "system", json!([{ "text": system }]));
    }
    set(&mut body, "messages", turns.collect::<Vec<_>>());
    set(&mut body, "inferenceConfig", inference);
    body
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    output: Option<Output>,
    stop_reason: Option<String>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Counts>,
    #[serde(rename = "amazon-bedrock-guardrailAction")]
    guardrail: Option<String>,
}

#[derive(Deserialize)]
struct Output {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Vec<Content>>,
}

/// A block of a whole answer, or what a stream adds to one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    text: Option<String>,
    tool_use: Option<ToolUse>,
}

#[derive(Deserialize)]
struct ToolUse {
    /// As the model wrote it: numbers keep their digits. In a stream, a piece of it as a string.
    input: Option<Box<RawValue>>,
}

/// The caches have other names than in Converse; both are known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_read_input_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_write_input_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_write_input_tokens: Option<u64>,
}

impl From<Usage> for Counts {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input_tokens,
            output: usage.output_tokens,
            cache_read: usage.cache_read_input_token_count.or(usage.cache_read_input_tokens),
            cache_write: usage.cache_write_input_token_count.or(usage.cache_write_input_tokens),
        }
    }
}

pub(super) fn whole(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    let whole: Whole = read(bytes)?;
    refuse_error(whole.error)?;
    gather.beside(whole.metrics, whole.guardrail.as_deref());
    gather.stopped(whole.stop_reason.as_deref());
    gather.counted(whole.usage.map(Counts::from).unwrap_or_default());
    let message = whole.output.and_then(|output| output.message);
    let Some(blocks) = message.and_then(|message| message.content) else {
        return gather.lacks("output.message.content");
    };
    for (index, block) in (0_u64..).zip(blocks) {
        take(gather, index, block)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    content_block_delta: Option<BlockDelta>,
    message_stop: Option<MessageStop>,
    metadata: Option<Metadata>,
    error: Option<Value>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Counts>,
    #[serde(rename = "amazon-bedrock-guardrailAction")]
    guardrail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta {
    content_block_index: Option<u64>,
    delta: Option<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<Usage>,
}

pub(super) fn chunk(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    let event: Event = read(bytes)?;
    refuse_error(event.error)?;
    gather.beside(event.metrics, event.guardrail.as_deref());
    gather.stopped(event.message_stop.and_then(|stop| stop.stop_reason).as_deref());
    let usage = event.metadata.and_then(|metadata| metadata.usage);
    gather.counted(usage.map(Counts::from).unwrap_or_default());
    let Some(block) = event.content_block_delta else { return Ok(()) };
    match block.delta {
        Some(content) => take(gather, block.content_block_index.unwrap_or(0), content),
        None => Ok(()),
    }
}

/// Reasoning and what is newer than this program is passed over; its tokens are in the usage.
fn take(gather: &mut Gather, index: u64, content: Content) -> Result<(), Unreadable> {
    if let Some(text) = content.text {
        gather.add_text(&text)?;
    }
    match content.tool_use.and_then(|tool| tool.input) {
        Some(input) => gather.add_tool(index, &tool_input(&input)),
        None => Ok(()),
    }
}
