//! Mistral's chat completion: the body that its newer models are sent by InvokeModel, and their
//! answers. Must not know: clocks, faults on the wire, who asked.

use serde::de::{IgnoredAny, MapAccess};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::simulator::answer::Content as Answered;
use crate::simulator::heard::{Content, Fielded, Fields, Heard, Speaker, Text};
use crate::simulator::malformed;
use crate::simulator::models;
use crate::simulator::request::Refusal;
use crate::simulator::spelt::{self, Events, Metrics, Said};
use crate::simulator::wanted::{Choice, Wanted, forced};

/// What is generated at most where the body does not say.
const MAX_TOKENS_DEFAULT: u64 = 8_192;

#[derive(Default)]
struct Body<'a> {
    messages: Option<Vec<Message<'a>>>,
    max_tokens: Option<i64>,
    stops: Vec<String>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    tools: Vec<Tool<'a>>,
    choice: Option<&'a RawValue>,
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    /// Null beside a call of tools.
    #[serde(borrow, default)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct NamedTool<'a> {
    #[serde(borrow)]
    function: ToolName<'a>,
}

#[derive(Deserialize)]
struct ToolName<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow)]
    json_schema: Option<JsonSchema<'a>>,
}

#[derive(Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

impl<'a> Fields<'a> for Body<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, values: &mut A) -> Result<bool, A::Error> {
        match name {
            "messages" => self.messages = values.next_value()?,
            "max_tokens" => self.max_tokens = values.next_value()?,
            "stop" => self.stops = values.next_value::<Option<_>>()?.unwrap_or_default(),
            "temperature" => self.temperature = values.next_value()?,
            "top_p" => self.top_p = values.next_value()?,
            "tools" => self.tools = values.next_value::<Option<_>>()?.unwrap_or_default(),
            "tool_choice" => self.choice = values.next_value()?,
            "response_format" => self.format = values.next_value()?,
            "frequency_penalty"
            | "n"
            | "parallel_tool_calls"
            | "presence_penalty"
            | "random_seed"
            | "safe_prompt"
            | "seed"
            | "top_k" => {
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
    malformed::bound("/temperature", body.temperature.unwrap_or(0.0), 0.0, 1.5)?;
    malformed::bound("/top_p", body.top_p.unwrap_or(0.0), 0.0, 1.0)?;
    let mut heard = Heard {
        max_tokens: malformed::max_tokens("/max_tokens", body.max_tokens, MAX_TOKENS_DEFAULT)?,
        stops: body.stops,
        ..Heard::default()
    };
    let functions = || body.tools.iter().map(|tool| &tool.function);
    let tools = || functions().filter_map(|tool| Some((&*tool.name, tool.parameters?)));
    let described: usize = functions().map(|tool| tool.description.len()).sum();
    let named: usize = tools().map(|(name, schema)| name.len() + schema.get().len()).sum();
    heard.declared_bytes = described + named;
    let schema = body.format.and_then(|format| format.json_schema?.schema);
    if let Some(schema) = schema {
        heard.declared_bytes += schema.get().len();
        heard.asked = Some(Wanted::Json { schema: schema.get().to_owned(), native: true });
    } else if let Some(choice) = body.choice {
        let named = serde_json::from_str::<NamedTool<'_>>(choice.get()).ok();
        let choice = match (choice.get(), &named) {
            ("\"any\"" | "\"required\"", _) => Choice::Any,
            (_, Some(named)) => Choice::Named(&named.function.name),
            _ => Choice::Free,
        };
        heard.asked = forced(tools(), choice)?;
    }
    hear(&mut heard, body.messages.unwrap_or_default())?;
    Ok(heard)
}

fn hear<'a>(heard: &mut Heard<'a>, messages: Vec<Message<'a>>) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Err(malformed::refusal("#/messages: expected minimum item count: 1, found: 0"));
    }
    for (index, message) in messages.into_iter().enumerate() {
        let texts = message.content.into_texts();
        match &*message.role {
            "system" => heard.system(texts),
            // What a tool has said is input like the user's.
            "user" | "tool" => heard.turn(Speaker::User, texts),
            "assistant" => heard.turn(Speaker::Assistant, texts),
            role => {
                return Err(malformed::refusal(&format!(
                    "#/messages/{index}/role: {role} is not a valid enum value"
                )));
            }
        }
    }
    Ok(())
}

/// A whole answer, or one chunk. Mistral's models up to Pixtral Large say `message` and
/// `stop_reason` also in streams, and no usage; later ones speak as OpenAI does.
#[derive(Serialize)]
struct Completion<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    choices: [Choices<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(rename = "amazon-bedrock-invocationMetrics", skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    #[serde(rename = "amazon-bedrock-guardrailAction", skip_serializing_if = "Option::is_none")]
    guardrail: Option<&'static str>,
}

#[derive(Serialize)]
struct Choices<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Spoken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Spoken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<Value>,
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: String,
    r#type: &'static str,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Usage {
    #[serde(rename = "prompt_tokens")]
    prompt: u64,
    #[serde(rename = "completion_tokens")]
    completion: u64,
    #[serde(rename = "total_tokens")]
    total: u64,
}

/// Whether the model is one of the first that take messages.
fn is_early(model_id: &str) -> bool {
    let base = models::named(model_id).map_or(model_id, |named| named.base);
    base.starts_with("mistral.mistral-large-2407") || base.starts_with("mistral.pixtral-large-2502")
}

fn stop_reason(said: &Said<'_>) -> &'static str {
    match said.answer.stop {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "content_filtered" | "refusal" => "content_filter",
        _ => "stop",
    }
}

impl<'a> Completion<'a> {
    /// A piece of an answer in a stream, or a whole one.
    fn of(
        said: &'a Said<'_>,
        spoken: Spoken<'a>,
        stop: Option<&'static str>,
        stream: bool,
    ) -> Self {
        let early = is_early(said.model_id);
        let (message, delta) =
            if early || !stream { (Some(spoken), None) } else { (None, Some(spoken)) };
        let object = if stream { "chat.completion.chunk" } else { "chat.completion" };
        let usage = Usage {
            prompt: said.input_tokens,
            completion: said.answer.output_tokens,
            total: said.input_tokens + said.answer.output_tokens,
        };
        Self {
            id: (!early).then(|| format!("chatcmpl-simulated-{}", said.seq)),
            object: (!early).then_some(object),
            model: (!early).then_some(said.model_id),
            choices: [Choices {
                index: 0,
                message,
                delta,
                stop_reason: early.then(|| Value::from(stop)),
                finish_reason: (!early).then(|| Value::from(stop)),
            }],
            usage: (!early && stop.is_some()).then_some(usage),
            metrics: (stream && stop.is_some()).then(|| said.metrics()),
            guardrail: said.guardrail().filter(|_| stop.is_some()),
        }
    }
}

fn spoken<'a>(said: &'a Said<'_>) -> Spoken<'a> {
    let (content, tool_calls) = match &said.answer.content {
        Answered::Nothing => ("", None),
        Answered::Text(text) => (text.as_str(), None),
        Answered::Tool { name, input } => {
            let function = Called { name, arguments: input };
            let id = said.tool_use_id("call");
            ("", Some([ToolCall { id, r#type: "function", function }]))
        }
    };
    Spoken { role: "assistant", content, tool_calls }
}

/// `InvokeModel`: one body.
pub(crate) fn whole(said: &Said<'_>) -> String {
    spelt::json(&Completion::of(said, spoken(said), Some(stop_reason(said)), false))
}

/// `InvokeModelWithResponseStream`: every chunk. A call of a tool comes in one.
pub(crate) fn events(said: &Said<'_>) -> Events {
    let mut events = Events::for_text(said.text());
    let all = said.answer.output_tokens;
    if matches!(said.answer.content, Answered::Tool { .. }) {
        events.chunk(all, &Completion::of(said, spoken(said), None, true));
    } else {
        for (tokens, content) in said.chunks() {
            let piece = Spoken { role: "assistant", content, tool_calls: None };
            events.chunk(tokens, &Completion::of(said, piece, None, true));
        }
    }
    let last = Spoken { role: "assistant", content: "", tool_calls: None };
    events.chunk(all, &Completion::of(said, last, Some(stop_reason(said)), true));
    events
}
