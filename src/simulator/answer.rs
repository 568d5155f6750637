//! Makes the answer of one call: text or JSON, whole or spoilt by a fault. Must not know: the wire,
//! quotas, clocks.

use std::sync::Arc;

use serde::de::IgnoredAny;

use super::draw::{Draw, join};
use super::faults::Fault;
use super::request::{Ask, Refusal};
use super::schema::{Prepared, SchemaCache, WORDS};
use super::tokens;
use super::wanted::Wanted;

/// Stands before every free text.
pub(crate) const LABEL: &str = "[simulated]";

/// What an answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// No block at all.
    Nothing,
    /// One text block.
    Text(String),
    /// One call of a tool, its input as JSON text (cut where the answer was cut).
    Tool { name: String, input: String },
}

/// An answer as it will be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) content: Content,
    /// Why it ends, in Converse's words.
    pub(crate) stop: &'static str,
    /// The request's own string that ended it.
    pub(crate) stopped_by: Option<String>,
    pub(crate) output_tokens: u64,
    /// A remark for the call log.
    pub(crate) note: Option<String>,
    /// Whether a fault of the answer's content had something to strike.
    pub(crate) struck: bool,
}

/// What an answer will be made from, found before the call is admitted.
#[derive(Debug)]
pub(crate) struct Plan {
    prepared: Option<Arc<Prepared>>,
    note: Option<String>,
}

impl Plan {
    /// Compiles the schema. A native or a tool's schema that does not compile is refused, as the
    /// service does; one in a prompt is only text to a model, and is answered by text.
    pub(crate) fn new(wanted: &Wanted, schemas: &SchemaCache) -> Result<Self, Refusal> {
        let (schema, binding) = match wanted {
            Wanted::Text => {
                return Ok(Self { prepared: None, note: None });
            }
            Wanted::Json { schema, native } => (schema, *native),
            Wanted::Tool { schema, .. } => (schema, true),
        };
        match schemas.get(schema) {
            Ok(prepared) => Ok(Self { prepared: Some(prepared), note: None }),
            Err(reason) if binding => Err(Refusal::validation(format!(
                "The model returned the following errors: output_config.format.schema: {reason}"
            ))),
            Err(reason) => Ok(Self { prepared: None, note: Some(reason.to_string()) }),
        }
    }
}

/// Makes the answer. `ask.content` is the seed.
pub(crate) fn make(ask: &Ask, plan: &Plan, max_tokens: u64, fault: Option<Fault>) -> Answer {
    let mut answer = Answer {
        content: Content::Nothing,
        stop: "end_turn",
        stopped_by: None,
        output_tokens: 0,
        note: plan.note.clone(),
        struck: true,
    };
    match &plan.prepared {
        None => {
            answer.content = Content::Text(free_text(ask, max_tokens));
            answer.struck = fault.is_none_or(|fault| !strikes_json(fault));
        }
        Some(prepared) => json_answer(&mut answer, ask, prepared, fault),
    }
    stop_at(&mut answer, &ask.stops);
    measure(&mut answer, max_tokens, fault);
    answer
}

/// Faults that spoil JSON and have nothing to spoil in free text.
fn strikes_json(fault: Fault) -> bool {
    matches!(fault, Fault::Prose | Fault::MalformedJson | Fault::WrongSchema)
}

fn json_answer(answer: &mut Answer, ask: &Ask, prepared: &Prepared, fault: Option<Fault>) {
    let made = prepared.make(ask.content);
    answer.note = made.misfit;
    let mut value = made.value;
    if fault == Some(Fault::WrongSchema) {
        match prepared.make_wrong(ask.content) {
            Some(wrong) => value = wrong,
            None => answer.struck = false,
        }
    }
    let json = value.to_string();
    let mut draw = Draw::new(join(ask.content, 1));
    answer.content = match (&ask.wanted, fault) {
        (_, Some(Fault::Prose)) => Content::Text(in_prose(&json, &mut draw)),
        (Wanted::Tool { .. }, Some(Fault::MalformedJson)) => {
            answer.stop = "malformed_tool_use";
            Content::Text(malformed(&json, &mut draw))
        }
        (_, Some(Fault::MalformedJson)) => Content::Text(malformed(&json, &mut draw)),
        (Wanted::Tool { name, .. }, _) => {
            answer.stop = "tool_use";
            Content::Tool { name: name.clone(), input: json }
        }
        _ => Content::Text(json),
    };
}

/// Ends the text before the first of the request's stop strings.
fn stop_at(answer: &mut Answer, stops: &[String]) {
    let Content::Text(text) = &mut answer.content else {
        return;
    };
    let found = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| Some((text.find(stop.as_str())?, stop)))
        .min_by_key(|(position, _)| *position);
    if let Some((position, stop)) = found {
        text.truncate(position);
        answer.stop = "stop_sequence";
        answer.stopped_by = Some(stop.clone());
    }
}

/// Counts the output and cuts it where it is longer than allowed, or where a fault says so.
fn measure(answer: &mut Answer, max_tokens: u64, fault: Option<Fault>) {
    if fault == Some(Fault::Empty) {
        answer.content = Content::Nothing;
        answer.stop = "end_turn";
        answer.output_tokens = 1;
        return;
    }
    let text = match &mut answer.content {
        Content::Nothing => return,
        Content::Text(text) => text,
        Content::Tool { input, .. } => input,
    };
    answer.output_tokens = tokens::output_tokens(text.len()).max(1);
    let keep = if fault == Some(Fault::Truncated) {
        (text.len() / 2).min(tokens::bytes_of(max_tokens))
    } else if answer.output_tokens > max_tokens {
        tokens::bytes_of(max_tokens)
    } else {
        return;
    };
    text.truncate(text.floor_char_boundary(keep));
    answer.stop = "max_tokens";
    // A model that stops there has used all of them.
    answer.output_tokens = max_tokens;
}

/// Text of a likely length, labelled, that ends by itself within `max_tokens` where these suffice
/// for a sentence.
fn free_text(ask: &Ask, max_tokens: u64) -> String {
    let mut draw = Draw::new(ask.content);
    let mut text = format!("{LABEL} This stands for a model's answer to \"{}\".", ask.topic);
    if tokens::output_tokens(text.len()) >= max_tokens {
        return format!("{LABEL} Yes.");
    }
    // The smaller of two draws: most answers are short, some are long.
    let wanted = draw.within(30, 400).min(draw.within(30, 400));
    let wanted = tokens::bytes_of(wanted.min(max_tokens.saturating_sub(20)));
    while text.len() < wanted {
        for position in 0..draw.within(5, 9) {
            let word = draw.pick(&WORDS).copied().unwrap_or("simulated");
            text.push(' ');
            if position > 0 {
                text.push_str(word);
            } else {
                text.extend(word.chars().take(1).map(|c| c.to_ascii_uppercase()));
                text.extend(word.chars().skip(1));
            }
        }
        text.push('.');
    }
    text
}

fn in_prose(json: &str, draw: &mut Draw) -> String {
    match draw.below(3) {
        0 => format!(
            "{LABEL} Here is the JSON that you asked for:\n\n```json\n{json}\n```\n\nPlease say if \
             anything should change."
        ),
        1 => format!("{LABEL} Certainly. {json}"),
        _ => format!("```json\n{json}\n```"),
    }
}

/// The JSON with one of the slips that models make, such that it no longer parses.
fn malformed(json: &str, draw: &mut Draw) -> String {
    let slips = [
        json.replacen("\":", "\"", 1),
        json.replacen("\",\"", "\" \"", 1),
        json.replacen("simulated ", "simulated \"quoted\" ", 1),
        json.replace('"', "'"),
        format!("{json}}}"),
        json.get(..json.len().saturating_sub(1)).unwrap_or("{").to_owned(),
    ];
    let first = draw.index(slips.len());
    let mut order = slips.iter().cycle().skip(first).take(slips.len());
    let broken = order.find(|slip| serde_json::from_str::<IgnoredAny>(slip).is_err());
    broken.map_or_else(|| format!("{{\"simulated\": {json}"), Clone::clone)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
