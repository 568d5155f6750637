//! Anthropic's messages: the body that Claude models are sent by InvokeModel, and their answers.
//! Must not know: clocks, faults on the wire, who asked.

use serde::de::{IgnoredAny, MapAccess};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::simulator::answer::Content as Answered;
use crate::simulator::heard::{Content, Fielded, Fields, Heard, Speaker, Text};
use crate::simulator::malformed;
use crate::simulator::models;
use crate::simulator::request::Refusal;
use crate::simulator::spelt::{self, Events, Said};
use crate::simulator::wanted::{Choice, Wanted, forced};

/// The fields of a body.
#[derive(Default)]
struct Body<'a> {
    version: bool,
    max_tokens: Option<i64>,
    messages: Option<Vec<Message<'a>>>,
    system: Content<'a>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<f64>,
    stops: Vec<String>,
    tools: Vec<Tool<'a>>,
    choice: Option<ToolChoice<'a>>,
    schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    /// Absent in Anthropic's own tools.
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolChoice<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow)]
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

impl<'a> Fields<'a> for Body<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, values: &mut A) -> Result<bool, A::Error> {
        match name {
            "anthropic_version" => self.version = !values.next_value::<Text<'_>>()?.is_empty(),
            "max_tokens" => self.max_tokens = values.next_value()?,
            "messages" => self.messages = values.next_value()?,
            "system" => self.system = values.next_value()?,
            "temperature" => self.temperature = values.next_value()?,
            "top_p" => self.top_p = values.next_value()?,
            "top_k" => self.top_k = values.next_value()?,
            "stop_sequences" => {
                self.stops = values.next_value::<Option<_>>()?.unwrap_or_default();
            }
            "tools" => self.tools = values.next_value::<Option<_>>()?.unwrap_or_default(),
            "tool_choice" => self.choice = values.next_value()?,
            "output_config" => {
                let config: Option<OutputConfig<'a>> = values.next_value()?;
                let format = config.and_then(|config| config.format);
                self.schema = format.and_then(|format| format.schema).or(self.schema);
            }
            "output_format" => {
                let format: Option<Format<'a>> = values.next_value()?;
                self.schema = format.and_then(|format| format.schema).or(self.schema);
            }
            "anthropic_beta" | "cache_control" | "container" | "context_management"
            | "inference_geo" | "mcp_servers" | "metadata" | "service_tier" | "speed"
            | "thinking" => {
                values.next_value::<IgnoredAny>()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads and checks a body.
pub(crate) fn read<'a>(bytes: &'a [u8], model_id: &str) -> Result<Heard<'a>, Refusal> {
    let Fielded { body, unknown } = malformed::read::<Body<'a>>(bytes)?;
    let version = models::claude_version(model_id).unwrap_or((4, 0));
    check_keys(&body, &unknown, version)?;
    check_ranges(&body)?;
    let messages = body.messages.unwrap_or_default();
    check_messages(&messages, version)?;
    let mut heard = Heard {
        max_tokens: malformed::max_tokens("/max_tokens", body.max_tokens, 1)?,
        stops: body.stops,
        ..Heard::default()
    };
    let tools = || body.tools.iter().filter_map(|tool| Some((&*tool.name, tool.input_schema?)));
    let described: usize = body.tools.iter().map(|tool| tool.description.len()).sum();
    let named: usize = tools().map(|(name, schema)| name.len() + schema.get().len()).sum();
    heard.declared_bytes = described + named;
    if let Some(schema) = body.schema {
        heard.declared_bytes += schema.get().len();
        heard.asked = Some(Wanted::Json { schema: schema.get().to_owned(), native: true });
    } else if let Some(choice) = &body.choice {
        let choice = match (&*choice.kind, &choice.name) {
            ("tool", Some(name)) => Choice::Named(name),
            ("any", _) => Choice::Any,
            _ => Choice::Free,
        };
        heard.asked = forced(tools(), choice)?;
    }
    heard.system(body.system.into_texts());
    for message in messages {
        let assistant = &*message.role == "assistant";
        let speaker = if assistant { Speaker::Assistant } else { Speaker::User };
        heard.turn(speaker, message.content.into_texts());
    }
    sampling_flaw(model_id, body.temperature, body.top_p, body.top_k)
        .or_else(|| prefill_flaw(model_id, &heard))
        .map_or(Ok(()), |flaw| Err(Refusal::validation(flaw)))?;
    Ok(heard)
}

/// Fields that are missing and fields that are unknown: Claude 3 is refused by the service's own
/// schema, later ones by Anthropic's.
fn check_keys(body: &Body<'_>, unknown: &[String], version: (u64, u64)) -> Result<(), Refusal> {
    let missing: Vec<&str> = [
        ("anthropic_version", body.version),
        ("max_tokens", body.max_tokens.is_some()),
        ("messages", body.messages.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect();
    if version < (4, 0) {
        return malformed::keys(unknown, &missing);
    }
    let missing = missing.iter().map(|name| format!("{name}: Field required"));
    let unknown = unknown.iter().map(|name| format!("{name}: Extra inputs are not permitted"));
    let flaws: Vec<String> = missing.chain(unknown).collect();
    if flaws.is_empty() { Ok(()) } else { Err(Refusal::validation(flaws.join(", "))) }
}

fn check_ranges(body: &Body<'_>) -> Result<(), Refusal> {
    if body.max_tokens.is_some_and(|tokens| tokens < 1) {
        return Err(Refusal::validation("max_tokens: Input should be greater than or equal to 1"));
    }
    for (name, value) in [("temperature", body.temperature), ("top_p", body.top_p)] {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(Refusal::validation(format!("{name}: range: 0..1")));
        }
    }
    Ok(())
}

fn check_messages(messages: &[Message<'_>], version: (u64, u64)) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::validation(message));
    let Some(first) = messages.first() else {
        return refuse("messages: at least one message is required".to_owned());
    };
    if &*first.role == "assistant" {
        return refuse("messages: first message must use the \"user\" role".to_owned());
    }
    let mut before = "";
    for (index, message) in messages.iter().enumerate() {
        let role = &*message.role;
        if role == "system" {
            return refuse(
                "messages: Unexpected role \"system\". The Messages API accepts a top-level \
                 `system` parameter, not \"system\" as an input message role."
                    .to_owned(),
            );
        }
        if !["user", "assistant"].contains(&role) {
            return refuse(format!("messages.{index}.role: Input should be 'user' or 'assistant'"));
        }
        // Later models join turns of one role.
        if role == before && version < (4, 0) {
            return refuse(format!(
                "messages: roles must alternate between \"user\" and \"assistant\", but found \
                 multiple \"{role}\" roles in a row"
            ));
        }
        before = role;
        let mut texts = message.content.blocks.iter().filter_map(|block| block.text.as_ref());
        if texts.any(|text| text.is_empty()) {
            return refuse("messages: text content blocks must be non-empty".to_owned());
        }
    }
    Ok(())
}

/// Why a model refuses these sampling parameters, if it does. Their defaults are let pass.
pub(crate) fn sampling_flaw(
    model_id: &str,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<f64>,
) -> Option<String> {
    let differs = |value: Option<f64>| value.is_some_and(|value| value < 1.0);
    let given = [
        ("temperature", differs(temperature)),
        ("top_p", differs(top_p)),
        ("top_k", top_k.is_some()),
    ];
    let (name, _) = given.into_iter().find(|(_, given)| *given)?;
    models::refuses_sampling(model_id).then(|| format!("`{name}` is deprecated for this model."))
}

/// Why a model refuses to go on from an assistant's turn, if it does.
pub(crate) fn prefill_flaw(model_id: &str, heard: &Heard<'_>) -> Option<String> {
    (heard.ends_with_assistant() && models::refuses_prefill(model_id)).then(|| {
        "This model does not support assistant message prefill. The conversation must end with a \
         user message."
            .to_owned()
    })
}

/// A whole answer.
#[derive(Serialize)]
struct Answer<'a> {
    id: String,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    usage: Usage,
    #[serde(rename = "amazon-bedrock-guardrailAction", skip_serializing_if = "Option::is_none")]
    guardrail: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
    ToolUse { id: String, name: &'a str, input: Option<&'a RawValue> },
}

#[derive(Serialize)]
struct Usage {
    #[serde(rename = "input_tokens")]
    input: u64,
    #[serde(rename = "cache_creation_input_tokens")]
    cache_creation: u64,
    #[serde(rename = "cache_read_input_tokens")]
    cache_read: u64,
    #[serde(rename = "output_tokens")]
    output: u64,
}

impl<'a> Answer<'a> {
    /// An answer without its content.
    fn begun(said: &'a Said<'_>) -> Self {
        Self {
            id: format!("msg_bdrk_simulated_{}", said.seq),
            r#type: "message",
            role: "assistant",
            model: model_name(said.model_id),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: Usage { input: said.input_tokens, cache_creation: 0, cache_read: 0, output: 1 },
            guardrail: None,
        }
    }
}

/// Anthropic's own name of a model: its id without vendor and version.
fn model_name(model_id: &str) -> &str {
    let base = models::named(model_id).map_or("claude", |named| named.base);
    let name = base.strip_prefix("anthropic.").unwrap_or(base);
    name.rsplit_once("-v").map_or(name, |(name, _)| name)
}

fn stop_reason(said: &Said<'_>) -> &'static str {
    match said.answer.stop {
        stop @ ("max_tokens" | "stop_sequence" | "tool_use" | "model_context_window_exceeded") => {
            stop
        }
        "refusal" | "content_filtered" => "refusal",
        _ => "end_turn",
    }
}

/// `InvokeModel`: one body.
pub(crate) fn whole(said: &Said<'_>) -> String {
    let content = match &said.answer.content {
        Answered::Nothing => Vec::new(),
        Answered::Text(text) => vec![Block::Text { text }],
        Answered::Tool { name, input } => vec![Block::ToolUse {
            id: said.tool_use_id("toolu_bdrk"),
            name,
            input: spelt::document(input),
        }],
    };
    let mut answer = Answer {
        content,
        stop_reason: Some(stop_reason(said)),
        stop_sequence: said.answer.stopped_by.as_deref(),
        guardrail: said.guardrail(),
        ..Answer::begun(said)
    };
    answer.usage.output = said.answer.output_tokens;
    spelt::json(&answer)
}

/// A piece of a stream's text.
#[derive(Serialize)]
struct BlockDelta<'a> {
    r#type: &'static str,
    index: u64,
    delta: Delta<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

/// `InvokeModelWithResponseStream`: every chunk.
pub(crate) fn events(said: &Said<'_>) -> Events {
    let mut events = Events::for_text(said.text());
    let answer = Answer::begun(said);
    events.chunk(0, &json!({ "type": "message_start", "message": answer }));
    let tool = match &said.answer.content {
        Answered::Tool { name, .. } => Some(name.as_str()),
        _ => None,
    };
    let block = match tool {
        Some(name) => json!({
            "type": "tool_use", "id": said.tool_use_id("toolu_bdrk"), "name": name, "input": {},
        }),
        None => json!({ "type": "text", "text": "" }),
    };
    let any = said.answer.content != Answered::Nothing;
    if any {
        let start = json!({ "type": "content_block_start", "index": 0, "content_block": block });
        events.chunk(0, &start);
    }
    for (tokens, piece) in said.chunks() {
        let delta = match tool {
            Some(_) => Delta::InputJsonDelta { partial_json: piece },
            None => Delta::TextDelta { text: piece },
        };
        events.chunk(tokens, &BlockDelta { r#type: "content_block_delta", index: 0, delta });
    }
    let all = said.answer.output_tokens;
    if any {
        events.chunk(all, &json!({ "type": "content_block_stop", "index": 0 }));
    }
    let delta = json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(said), "stop_sequence": said.answer.stopped_by },
        "usage": { "output_tokens": all },
    });
    events.chunk(all, &delta);
    let mut stop = json!({
        "type": "message_stop", "amazon-bedrock-invocationMetrics": said.metrics(),
    });
    if let (Some(action), Some(stop)) = (said.guardrail(), stop.as_object_mut()) {
        stop.insert("amazon-bedrock-guardrailAction".to_owned(), json!(action));
    }
    events.chunk(all, &stop);
    events
}
