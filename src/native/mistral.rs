//! Mistral's two formats: one prompt text with `[INST]` marks (7B, Mixtral, the models of early
//! 2024), and messages (Large 2407 and newer); and the answers that both give.
//! Must not know: other formats, the service's headers.
//!
//! ```text
//! <s>[INST] {user} [/INST] {assistant}</s> [INST] {user} [/INST]
//! ```
//!
//! The prompt format has no place for a system prompt: it leads the first user turn. In messages
//! the texts are fields of their own; what becomes of special tokens in them is the service's own
//! affair, so they are sent as they are.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::gather::{Gather, refuse_error, tool_input};
use super::mended::read;
use super::template::{Marks, push_text};
use super::usage::{Counts, count};
use super::{Ask, Unreadable, set, set_number, set_stop, system};
use crate::completion::Role;

pub(super) fn instruct_body(ask: &Ask<'_>) -> Map<String, Value> {
    let mut body = Map::new();
    set(&mut body, "prompt", prompt(ask));
    set_limits(&mut body, ask);
    body
}

pub(super) fn chat_body(ask: &Ask<'_>) -> Map<String, Value> {
    let system = system(ask).map(|text| json!({ "role": "system", "content": text }));
    let turns = ask.messages.iter().map(|turn| {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({ "role": role, "content": turn.text })
    });
    let mut body = Map::new();
    set(&mut body, "messages", system.into_iter().chain(turns).collect::<Vec<_>>());
    set_limits(&mut body, ask);
    body
}

fn set_limits(body: &mut Map<String, Value>, ask: &Ask<'_>) {
    set(body, "max_tokens", ask.max_tokens);
    set_stop(body, "stop", ask.stop);
    set_number(body, "temperature", ask.temperature);
    set_number(body, "top_p", ask.top_p);
}

fn prompt(ask: &Ask<'_>) -> String {
    let mut prompt = String::from("<s>");
    let mut system = system(ask);
    if system.is_some() && ask.messages.iter().all(|turn| turn.role != Role::User) {
        push_user(&mut prompt, system.take().unwrap_or(""));
    }
    for turn in ask.messages {
        match (turn.role, system.filter(|_| turn.role == Role::User)) {
            (Role::User, Some(first)) => {
                system = None;
                // Joined before special tokens are looked for: none can hide in the seam.
                push_user(&mut prompt, &format!("{first}\n\n{}", turn.text));
            }
            (Role::User, None) => push_user(&mut prompt, &turn.text),
            (Role::Assistant, _) => {
                prompt.push(' ');
                push_text(&mut prompt, &turn.text, Marks::Mistral);
                prompt.push_str("</s>");
            }
        }
    }
    prompt
}

fn push_user(prompt: &mut String, text: &str) {
    let is_first = prompt.as_str() == "<s>";
    prompt.push_str(if is_first { "[INST] " } else { " [INST] " });
    push_text(prompt, text, Marks::Mistral);
    prompt.push_str(" [/INST]");
}

/// A whole answer, or a chunk of a stream, of either format.
#[derive(Deserialize)]
struct Part {
    outputs: Option<Vec<Output>>,
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Counts>,
    #[serde(rename = "amazon-bedrock-guardrailAction")]
    guardrail: Option<String>,
}

#[derive(Deserialize)]
struct Output {
    text: Option<String>,
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Said>,
    delta: Option<Said>,
    stop_reason: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<Value>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    index: Option<u64>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    arguments: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: Option<u64>,
}

pub(super) fn whole(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    let part: Part = read(bytes)?;
    let is_there = part.outputs.as_ref().is_some_and(|outputs| !outputs.is_empty())
        || part.choices.as_ref().is_some_and(|choices| !choices.is_empty());
    if !is_there && part.error.is_none() {
        gather.beside(None, part.guardrail.as_deref());
        gather.lacks("outputs` or `choices")?;
    }
    take(gather, part)
}

pub(super) fn chunk(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    take(gather, read(bytes)?)
}

fn take(gather: &mut Gather, part: Part) -> Result<(), Unreadable> {
    refuse_error(part.error)?;
    gather.beside(part.metrics, part.guardrail.as_deref());
    if let Some(usage) = part.usage {
        gather.counted(Counts {
            input: usage.prompt_tokens,
            output: usage.completion_tokens,
            ..Counts::default()
        });
    }
    // One answer is asked for: the first is all there is.
    if let Some(output) = part.outputs.into_iter().flatten().next() {
        gather.stopped(output.stop_reason.as_deref());
        gather.add_text(output.text.as_deref().unwrap_or(""))?;
    }
    let Some(choice) = part.choices.into_iter().flatten().next() else { return Ok(()) };
    gather.stopped(choice.stop_reason.or(choice.finish_reason).as_deref());
    match choice.message.or(choice.delta) {
        Some(said) => take_said(gather, said),
        None => Ok(()),
    }
}

fn take_said(gather: &mut Gather, said: Said) -> Result<(), Unreadable> {
    match said.content {
        Some(Value::String(text)) => gather.add_text(&text)?,
        // Parts of which some are text; a thinking model's other parts are not its answer.
        Some(Value::Array(parts)) => {
            for part in parts {
                let is_text = part.get("type").and_then(Value::as_str) == Some("text");
                let text = part.get("text").and_then(Value::as_str).filter(|_| is_text);
                gather.add_text(text.unwrap_or(""))?;
            }
        }
        _ => {}
    }
    for (place, call) in (0_u64..).zip(said.tool_calls.into_iter().flatten()) {
        let arguments = call.function.and_then(|function| function.arguments);
        if let Some(arguments) = arguments {
            gather.add_tool(call.index.unwrap_or(place), &tool_input(&arguments))?;
        }
    }
    Ok(())
}
