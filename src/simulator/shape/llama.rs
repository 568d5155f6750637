//! Llama's prompt: the body that Llama models are sent by InvokeModel, and their answers. Must not
//! know: clocks, faults on the wire, who asked.

use serde::Serialize;
use serde::de::{IgnoredAny, MapAccess};

use super::template::{self, Parse};
use crate::simulator::heard::{Fielded, Fields, Heard, Text};
use crate::simulator::malformed;
use crate::simulator::request::Refusal;
use crate::simulator::spelt::{self, Events, Metrics, Said};

/// What is generated at most where the body does not say.
const MAX_GEN_LEN_DEFAULT: u64 = 512;

#[derive(Default)]
struct Body<'a> {
    prompt: Option<Text<'a>>,
    max_gen_len: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
}

impl<'a> Fields<'a> for Body<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, values: &mut A) -> Result<bool, A::Error> {
        match name {
            "prompt" => self.prompt = values.next_value()?,
            "max_gen_len" => self.max_gen_len = values.next_value()?,
            "temperature" => self.temperature = values.next_value()?,
            "top_p" => self.top_p = values.next_value()?,
            "images" => {
                values.next_value::<IgnoredAny>()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads and checks a body.
pub(crate) fn read(bytes: &[u8], parse: Parse) -> Result<Heard<'_>, Refusal> {
    let Fielded { body, unknown } = malformed::read::<Body<'_>>(bytes)?;
    let missing: &[&str] = if body.prompt.is_none() { &["prompt"] } else { &[] };
    malformed::keys(&unknown, missing)?;
    for (pointer, value) in [("/temperature", body.temperature), ("/top_p", body.top_p)] {
        malformed::bound(pointer, value.unwrap_or(0.0), 0.0, 1.0)?;
    }
    let max_tokens = malformed::max_tokens("/max_gen_len", body.max_gen_len, MAX_GEN_LEN_DEFAULT)?;
    let mut heard = Heard { max_tokens, ..Heard::default() };
    template::hear(&mut heard, body.prompt.unwrap_or_default(), parse)?;
    Ok(heard)
}

/// A whole answer, or one chunk.
#[derive(Serialize)]
struct Spoken<'a> {
    generation: &'a str,
    prompt_token_count: Option<u64>,
    generation_token_count: u64,
    stop_reason: Option<&'static str>,
    #[serde(rename = "amazon-bedrock-invocationMetrics", skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    #[serde(rename = "amazon-bedrock-guardrailAction", skip_serializing_if = "Option::is_none")]
    guardrail: Option<&'static str>,
}

fn stop_reason(said: &Said<'_>) -> &'static str {
    if said.answer.stop == "max_tokens" { "length" } else { "stop" }
}

/// `InvokeModel`: one body.
pub(crate) fn whole(said: &Said<'_>) -> String {
    spelt::json(&Spoken {
        generation: said.text(),
        prompt_token_count: Some(said.input_tokens),
        generation_token_count: said.answer.output_tokens,
        stop_reason: Some(stop_reason(said)),
        metrics: None,
        guardrail: said.guardrail(),
    })
}

/// `InvokeModelWithResponseStream`: every chunk. The first says the prompt's tokens, the last why it
/// ends.
pub(crate) fn events(said: &Said<'_>) -> Events {
    let mut events = Events::for_text(said.text());
    let mut prompt_token_count = Some(said.input_tokens);
    for (tokens, piece) in said.chunks() {
        let chunk = Spoken {
            generation: piece,
            prompt_token_count: prompt_token_count.take(),
            generation_token_count: tokens,
            stop_reason: None,
            metrics: None,
            guardrail: None,
        };
        events.chunk(tokens, &chunk);
    }
    let last = Spoken {
        generation: "",
        prompt_token_count: prompt_token_count.take(),
        generation_token_count: said.answer.output_tokens,
        stop_reason: Some(stop_reason(said)),
        metrics: Some(said.metrics()),
        guardrail: said.guardrail(),
    };
    events.chunk(said.answer.output_tokens, &last);
    events
}
