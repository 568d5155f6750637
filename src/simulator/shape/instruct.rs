//! Mistral's text completion: the body that its older models are sent by InvokeModel, and their
//! answers. Must not know: clocks, faults on the wire, who asked.

use serde::Serialize;
use serde::de::MapAccess;

use super::template;
use crate::simulator::heard::{Fielded, Fields, Heard, Text};
use crate::simulator::malformed;
use crate::simulator::request::Refusal;
use crate::simulator::spelt::{self, Events, Metrics, Said};

/// What is generated at most where the body does not say.
const MAX_TOKENS_DEFAULT: u64 = 512;

#[derive(Default)]
struct Body<'a> {
    prompt: Option<Text<'a>>,
    max_tokens: Option<i64>,
    stops: Vec<String>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<f64>,
}

impl<'a> Fields<'a> for Body<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, values: &mut A) -> Result<bool, A::Error> {
        match name {
            "prompt" => self.prompt = values.next_value()?,
            "max_tokens" => self.max_tokens = values.next_value()?,
            "stop" => self.stops = values.next_value::<Option<_>>()?.unwrap_or_default(),
            "temperature" => self.temperature = values.next_value()?,
            "top_p" => self.top_p = values.next_value()?,
            "top_k" => self.top_k = values.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads and checks a body.
pub(crate) fn read(bytes: &[u8]) -> Result<Heard<'_>, Refusal> {
    let Fielded { body, unknown } = malformed::read::<Body<'_>>(bytes)?;
    let missing: &[&str] = if body.prompt.is_none() { &["prompt"] } else { &[] };
    malformed::keys(&unknown, missing)?;
    for (pointer, value) in [("/temperature", body.temperature), ("/top_p", body.top_p)] {
        malformed::bound(pointer, value.unwrap_or(0.0), 0.0, 1.0)?;
    }
    malformed::bound("/top_k", body.top_k.unwrap_or(1.0), 0.0, f64::MAX)?;
    let max_tokens = malformed::max_tokens("/max_tokens", body.max_tokens, MAX_TOKENS_DEFAULT)?;
    let mut heard = Heard { max_tokens, stops: body.stops, ..Heard::default() };
    template::hear(&mut heard, body.prompt.unwrap_or_default(), template::instruct)?;
    Ok(heard)
}

/// A whole answer, or one chunk.
#[derive(Serialize)]
struct Completion<'a> {
    outputs: [Output<'a>; 1],
    #[serde(rename = "amazon-bedrock-invocationMetrics", skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    #[serde(rename = "amazon-bedrock-guardrailAction", skip_serializing_if = "Option::is_none")]
    guardrail: Option<&'static str>,
}

#[derive(Serialize)]
struct Output<'a> {
    text: &'a str,
    stop_reason: Option<&'static str>,
}

fn stop_reason(said: &Said<'_>) -> &'static str {
    if said.answer.stop == "max_tokens" { "length" } else { "stop" }
}

/// `InvokeModel`: one body.
pub(crate) fn whole(said: &Said<'_>) -> String {
    let output = Output { text: said.text(), stop_reason: Some(stop_reason(said)) };
    spelt::json(&Completion { outputs: [output], metrics: None, guardrail: said.guardrail() })
}

/// `InvokeModelWithResponseStream`: every chunk.
pub(crate) fn events(said: &Said<'_>) -> Events {
    let mut events = Events::for_text(said.text());
    for (tokens, text) in said.chunks() {
        let outputs = [Output { text, stop_reason: None }];
        events.chunk(tokens, &Completion { outputs, metrics: None, guardrail: None });
    }
    let last = Completion {
        outputs: [Output { text: "", stop_reason: Some(stop_reason(said)) }],
        metrics: Some(said.metrics()),
        guardrail: said.guardrail(),
    };
    events.chunk(said.answer.output_tokens, &last);
    events
}
