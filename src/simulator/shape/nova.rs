//! Nova's messages: the body that Nova models are sent by InvokeModel, and their answers. Both are
//! near to Converse's. Must not know: clocks, faults on the wire, who asked.

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess};
use serde_json::{Value, json};

use super::converse::{BlockDelta, check_turns, hear_turns};
use crate::simulator::answer::Content;
use crate::simulator::body::{ToolConfig, Turn};
use crate::simulator::heard::{Block, Fielded, Fields, Heard};
use crate::simulator::malformed;
use crate::simulator::request::Refusal;
use crate::simulator::spelt::{self, Events, Said};

/// What is generated at most where the body does not say.
const MAX_TOKENS_DEFAULT: u64 = 4_096;

#[derive(Default)]
struct Body<'a> {
    messages: Option<Vec<Turn<'a>>>,
    system: Vec<Block<'a>>,
    config: InferenceConfig,
    tools: Option<ToolConfig<'a>>,
}

/// The field's names in both of the spellings that Nova's samples use.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct InferenceConfig {
    #[serde(alias = "max_new_tokens")]
    max_tokens: Option<i64>,
    temperature: Option<f64>,
    #[serde(alias = "top_p")]
    top_p: Option<f64>,
    #[serde(alias = "top_k")]
    top_k: Option<f64>,
    #[serde(alias = "stop_sequences")]
    stop_sequences: Vec<String>,
}

impl<'a> Fields<'a> for Body<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, values: &mut A) -> Result<bool, A::Error> {
        match name {
            "messages" => self.messages = values.next_value()?,
            "system" => self.system = values.next_value::<Option<_>>()?.unwrap_or_default(),
            "inferenceConfig" => {
                self.config = values.next_value::<Option<_>>()?.unwrap_or_default();
            }
            "toolConfig" => self.tools = values.next_value()?,
            "schemaVersion" | "additionalModelRequestFields" | "reasoningConfig" => {
                values.next_value::<IgnoredAny>()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads and checks a body.
pub(crate) fn read(bytes: &[u8]) -> Result<Heard<'_>, Refusal> {
    let Fielded { body, unknown } = malformed::read::<Body<'_>>(bytes)?;
    let missing: &[&str] = if body.messages.is_none() { &["messages"] } else { &[] };
    malformed::keys(&unknown, missing)?;
    let config = body.config;
    for (pointer, value, most) in [
        ("/inferenceConfig/temperature", config.temperature, 1.0),
        ("/inferenceConfig/topP", config.top_p, 1.0),
        ("/inferenceConfig/topK", config.top_k, f64::MAX),
    ] {
        malformed::bound(pointer, value.unwrap_or(0.0), 0.0, most)?;
    }
    let pointer = "/inferenceConfig/maxTokens";
    let mut heard = Heard {
        max_tokens: malformed::max_tokens(pointer, config.max_tokens, MAX_TOKENS_DEFAULT)?,
        stops: config.stop_sequences,
        ..Heard::default()
    };
    let messages = body.messages.unwrap_or_default();
    check_turns(&messages)?;
    if let Some(tools) = &body.tools {
        heard.declared_bytes += tools.bytes();
        heard.asked = tools.forced()?;
    }
    heard.system(body.system.into_iter().filter_map(|block| block.text));
    hear_turns(&mut heard, messages);
    Ok(heard)
}

fn usage(said: &Said<'_>) -> Value {
    let output = said.answer.output_tokens;
    json!({
        "inputTokens": said.input_tokens,
        "outputTokens": output,
        "totalTokens": said.input_tokens + output,
        "cacheReadInputTokenCount": 0,
        "cacheWriteInputTokenCount": 0,
    })
}

/// Converse's word for a refusal is not one of Nova's.
fn stop_reason(said: &Said<'_>) -> &'static str {
    if said.answer.stop == "refusal" { "content_filtered" } else { said.answer.stop }
}

fn guarded(mut body: Value, said: &Said<'_>) -> Value {
    if let (Some(action), Some(body)) = (said.guardrail(), body.as_object_mut()) {
        body.insert("amazon-bedrock-guardrailAction".to_owned(), json!(action));
    }
    body
}

/// `InvokeModel`: one body.
pub(crate) fn whole(said: &Said<'_>) -> String {
    let content = match &said.answer.content {
        Content::Nothing => json!([]),
        Content::Text(text) => json!([{ "text": text }]),
        Content::Tool { name, input } => {
            let input = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
            let id = said.tool_use_id("tooluse");
            json!([{ "toolUse": { "toolUseId": id, "name": name, "input": input } }])
        }
    };
    let body = json!({
        "output": { "message": { "content": content, "role": "assistant" } },
        "stopReason": stop_reason(said),
        "usage": usage(said),
    });
    spelt::json(&guarded(body, said))
}

/// `InvokeModelWithResponseStream`: every chunk, Converse's events by name.
pub(crate) fn events(said: &Said<'_>) -> Events {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Piece<'a> {
        content_block_delta: BlockDelta<'a>,
    }
    let mut events = Events::for_text(said.text());
    let content = &said.answer.content;
    events.chunk(0, &json!({ "messageStart": { "role": "assistant" } }));
    if let Content::Tool { name, .. } = content {
        let id = said.tool_use_id("tooluse");
        let start = json!({ "contentBlockStart": { "contentBlockIndex": 0, "start": {
            "toolUse": { "toolUseId": id, "name": name },
        } } });
        events.chunk(0, &start);
    }
    for (tokens, piece) in said.chunks() {
        events.chunk(tokens, &Piece { content_block_delta: BlockDelta::of(content, piece) });
    }
    let all = said.answer.output_tokens;
    if *content != Content::Nothing {
        events.chunk(all, &json!({ "contentBlockStop": { "contentBlockIndex": 0 } }));
    }
    events.chunk(all, &json!({ "messageStop": { "stopReason": stop_reason(said) } }));
    let last = json!({
        "metadata": { "usage": usage(said), "metrics": {}, "trace": {} },
        "amazon-bedrock-invocationMetrics": said.metrics(),
    });
    events.chunk(all, &guarded(last, said));
    events
}
