//! How Converse and ConverseStream spell an answer. Must not know: clocks, faults on the wire, who
//! asked.

use serde_json::{Value, json};

use super::answer::Content;
use super::frames::write_event;
use super::spelt::{Events, Said};
use super::tokens;

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
pub(super) fn whole(said: &Said<'_>) -> String {
    let content = match &said.answer.content {
        Content::Nothing => json!([]),
        Content::Text(text) => json!([{ "text": text }]),
        Content::Tool { name, input } => {
            // A cut input is no document; the service then gives an empty one.
            let input = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
            json!([{ "toolUse": {
                "toolUseId": said.tool_use_id(), "name": name, "input": input,
            } }])
        }
    };
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": said.answer.stop,
        "usage": usage(said),
        "metrics": { "latencyMs": said.latency_ms },
        "additionalModelResponseFields": { "simulated": true },
    })
    .to_string()
}

/// ConverseStream: every frame of the answer.
pub(super) fn events(said: &Said<'_>) -> Events {
    let mut events = Events::for_text(said.text());
    let mut write = |name: &'static str, tokens: u64, payload: String| {
        events.push(tokens, |buffer| write_event(buffer, name, payload.into_bytes()));
    };
    write("messageStart", 0, r#"{"role":"assistant"}"#.to_owned());
    if let Content::Tool { name, .. } = &said.answer.content {
        let start = json!({ "contentBlockIndex": 0, "start": { "toolUse": {
            "toolUseId": said.tool_use_id(), "name": name,
        } } });
        write("contentBlockStart", 0, start.to_string());
    }
    let mut tokens = 0;
    for chunk in said.chunks() {
        tokens += tokens::output_tokens(chunk.len());
        let delta = match &said.answer.content {
            Content::Tool { .. } => json!({ "toolUse": { "input": chunk } }),
            _ => json!({ "text": chunk }),
        };
        let delta = json!({ "contentBlockIndex": 0, "delta": delta });
        write("contentBlockDelta", tokens, delta.to_string());
    }
    let all = said.answer.output_tokens;
    if said.answer.content != Content::Nothing {
        write("contentBlockStop", all, r#"{"contentBlockIndex":0}"#.to_owned());
    }
    let closing = json!({
        "stopReason": said.answer.stop,
        "additionalModelResponseFields": { "simulated": true },
    });
    write("messageStop", all, closing.to_string());
    let metadata = json!({
        "usage": usage(said),
        "metrics": { "latencyMs": said.latency_ms },
        "simulated": true,
    });
    write("metadata", all, metadata.to_string());
    events
}
