//! Claude's messages: the body, the whole answer, and the events of a stream, one to a chunk.
//! Must not know: other formats, the service's headers.
//!
//! Turns are fields of their own here, so no text can pretend to be another's: the old
//! `\n\nHuman:` of the prompt format before this one means nothing, and texts are sent as they are.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::gather::{Gather, refuse_error};
use super::mended::read;
use super::usage::{Counts, count};
use super::{Ask, Unreadable, set, set_number, set_stop, system};
use crate::completion::Role;

/// The only version that Bedrock knows.
const VERSION: &str = "bedrock-2023-05-31";

pub(super) fn body(ask: &Ask<'_>) -> Map<String, Value> {
    let turns = ask.messages.iter().map(|turn| {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({ "role": role, "content": [{ "type": "text", "text": turn.text }] })
    });
    let mut body = Map::new();
    set(&mut body, "anthropic_version", VERSION);
    set(&mut body, "max_tokens", ask.max_tokens);
    if let Some(system) = system(ask) {
        set(&mut body, "system", system);
    }
    set(&mut body, "messages", turns.collect::<Vec<_>>());
    set_number(&mut body, "temperature", ask.temperature);
    set_number(&mut body, "top_p", ask.top_p);
    set_stop(&mut body, "stop_sequences", ask.stop);
    body
}

#[derive(Deserialize)]
struct Whole {
    content: Option<Vec<Block>>,
    stop_reason: Option<String>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Counts>,
    #[serde(rename = "amazon-bedrock-guardrailAction")]
    guardrail: Option<String>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
    /// As the model wrote it: numbers keep their digits.
    input: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "input_tokens", default, deserialize_with = "count")]
    input: Option<u64>,
    #[serde(rename = "output_tokens", default, deserialize_with = "count")]
    output: Option<u64>,
    #[serde(rename = "cache_read_input_tokens", default, deserialize_with = "count")]
    cache_read: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens", default, deserialize_with = "count")]
    cache_write: Option<u64>,
}

impl From<Usage> for Counts {
    fn from(Usage { input, output, cache_read, cache_write }: Usage) -> Self {
        Self { input, output, cache_read, cache_write }
    }
}

pub(super) fn whole(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    let whole: Whole = read(bytes)?;
    gather.ended();
    refuse_error(whole.error)?;
    gather.beside(whole.metrics, whole.guardrail.as_deref());
    gather.stopped(whole.stop_reason.as_deref());
    gather.counted(whole.usage.map(Counts::from).unwrap_or_default());
    let Some(blocks) = whole.content else { return gather.lacks("content") };
    for (index, block) in (0_u64..).zip(blocks) {
        match block.kind.as_deref() {
            Some("text") => gather.add_text(block.text.as_deref().unwrap_or(""))?,
            Some("tool_use") => {
                gather.add_tool(index, block.input.as_ref().map_or("", |input| input.get()))?;
            }
            // Thinking and what is newer than this program; its tokens are in the usage.
            _ => {}
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: Option<String>,
    index: Option<u64>,
    message: Option<Value>,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Counts>,
    #[serde(rename = "amazon-bedrock-guardrailAction")]
    guardrail: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

pub(super) fn chunk(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    let event: Event = read(bytes)?;
    refuse_error(event.error)?;
    gather.beside(event.metrics, event.guardrail.as_deref());
    let block = event.index.unwrap_or(0);
    match event.kind.as_deref() {
        Some("message_start") => {
            let usage = event.message.and_then(|mut message| {
                message
                    .get_mut("usage")
                    .map(Value::take)
                    .and_then(|usage| serde_json::from_value::<Usage>(usage).ok())
            });
            // The output that it names is what had been written then, not what will be.
            let counts = usage.map(Counts::from).unwrap_or_default();
            gather.counted(Counts { output: None, ..counts });
        }
        Some("content_block_start") => {
            if let Some(start) = event.content_block.filter(|start| is(start.kind.as_ref(), "text"))
            {
                gather.add_text(start.text.as_deref().unwrap_or(""))?;
            }
        }
        Some("content_block_delta") => {
            let Some(delta) = event.delta else { return Ok(()) };
            match delta.kind.as_deref() {
                Some("text_delta") => gather.add_text(delta.text.as_deref().unwrap_or(""))?,
                Some("input_json_delta") => {
                    gather.add_tool(block, delta.partial_json.as_deref().unwrap_or(""))?;
                }
                _ => {}
            }
        }
        Some("message_delta") => {
            gather.stopped(event.delta.and_then(|delta| delta.stop_reason).as_deref());
            gather.counted(event.usage.map(Counts::from).unwrap_or_default());
        }
        Some("message_stop") => gather.ended(),
        // `ping`, `content_block_stop`, and what is newer than this program.
        _ => {}
    }
    Ok(())
}

fn is(kind: Option<&String>, name: &str) -> bool {
    kind.is_some_and(|kind| kind == name)
}
