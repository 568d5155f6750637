//! Makes the answer of one call: text or JSON, whole or spoilt by a fault. Must not know: the wire,
//! quotas, clocks.

use std::sync::Arc;

use super::draw::{Draw, join};
use super::fault::{Fault, Strike};
use super::fixtures::{Fixture, Given};
use super::request::{Ask, Refusal};
use super::schema::{Prepared, SchemaCache, WORDS};
use super::spelt::LONE_SURROGATE;
use super::spoil;
use super::tokens;
use super::wanted::Wanted;

/// Stands before every free text.
pub(crate) const LABEL: &str = "[simulated]";
/// How long a huge answer is, in bytes.
const HUGE_BYTES: usize = 10_000_000;

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
    /// Input tokens that a fixture reports in place of our count.
    pub(crate) input_tokens: Option<u64>,
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

/// Makes the answer. `ask.content` is the seed; a fixture says what stands in it.
pub(crate) fn make(
    ask: &Ask,
    plan: &Plan,
    max_tokens: u64,
    fault: Option<Fault>,
    fixture: Option<&Fixture>,
) -> Answer {
    let mut answer = Answer {
        content: Content::Nothing,
        stop: "end_turn",
        stopped_by: None,
        output_tokens: 0,
        input_tokens: None,
        note: plan.note.clone(),
        struck: true,
    };
    let given = fixture.and_then(|fixture| fixture.answer.as_ref());
    match (given, &plan.prepared) {
        (Some(Given::Text(text)), _) => free(&mut answer, text.clone(), fault),
        (Some(Given::Json(json)), _) => {
            answer.struck = fault != Some(Fault::WrongSchema);
            json_answer(&mut answer, ask, json.clone(), fault);
        }
        (None, None) => free(&mut answer, free_text(ask, max_tokens), fault),
        (None, Some(prepared)) => {
            let made = prepared.make(ask.content);
            answer.note = made.misfit;
            let wrong = (fault == Some(Fault::WrongSchema))
                .then(|| prepared.make_wrong(ask.content))
                .flatten();
            answer.struck = fault != Some(Fault::WrongSchema) || wrong.is_some();
            let value = wrong.unwrap_or(made.value);
            json_answer(&mut answer, ask, value.to_string(), fault);
        }
    }
    if given.is_none() {
        stop_at(&mut answer, &ask.stops);
    }
    // What was given is answered exactly so, however long.
    let longest = if given.is_some() { u64::MAX } else { max_tokens };
    measure(&mut answer, max_tokens, longest, fault);
    answer.ended_by(fault);
    if let Some(fixture) = fixture {
        answer.stop = fixture.stop.unwrap_or(answer.stop);
        let usage = fixture.usage;
        answer.input_tokens = usage.and_then(|usage| usage.input);
        answer.output_tokens = usage.and_then(|usage| usage.output).unwrap_or(answer.output_tokens);
    }
    answer
}

/// A text as the whole answer; faults of JSON spare it.
fn free(answer: &mut Answer, mut text: String, fault: Option<Fault>) {
    answer.struck = fault.is_none_or(|fault| fault.strike() != Strike::Json);
    match fault {
        Some(Fault::Nul) => text.push('\0'),
        Some(Fault::LoneSurrogate) => text.push(LONE_SURROGATE),
        _ => {}
    }
    answer.content = Content::Text(text);
}

fn json_answer(answer: &mut Answer, ask: &Ask, json: String, fault: Option<Fault>) {
    let mut draw = Draw::new(join(ask.content, 1));
    let is_tool = matches!(ask.wanted, Wanted::Tool { .. });
    let slip = fault.filter(|fault| fault.strike() == Strike::Json || *fault == Fault::Nul);
    let spoilt = match slip {
        None | Some(Fault::WrongSchema) => None,
        Some(Fault::Prose) => Some(in_prose(&json, &mut draw)),
        Some(slip) => {
            let spoilt = spoil::spoilt(slip, &json, &mut draw);
            answer.struck = spoilt.is_some();
            spoilt
        }
    };
    if fault == Some(Fault::LoneSurrogate) {
        // Within the JSON it would only be an escape of an escape.
        answer.content = Content::Text(format!("{json}{LONE_SURROGATE}"));
        return;
    }
    answer.content = match (&ask.wanted, spoilt) {
        (Wanted::Tool { name, .. }, Some(input)) if fault == Some(Fault::Nul) => {
            answer.stop = "tool_use";
            Content::Tool { name: name.clone(), input }
        }
        (_, Some(text)) => {
            if is_tool && fault != Some(Fault::Prose) {
                answer.stop = "malformed_tool_use";
            }
            Content::Text(text)
        }
        (Wanted::Tool { name, .. }, None) => {
            answer.stop = "tool_use";
            Content::Tool { name: name.clone(), input: json }
        }
        (_, None) => Content::Text(json),
    };
}

impl Answer {
    /// What the faults make of an answer that say why it ended, or that it is no answer.
    fn ended_by(&mut self, fault: Option<Fault>) {
        let (content, stop) = match fault {
            Some(Fault::Empty) => (Some(Content::Nothing), "end_turn"),
            Some(Fault::Blank) => (Some(Content::Text(" \n".to_owned())), "end_turn"),
            Some(Fault::Refusal) => {
                let text = format!("{LABEL} I can't help with that request.");
                (Some(Content::Text(text)), "refusal")
            }
            Some(Fault::Guardrail) => {
                let text = format!("{LABEL} Sorry, the model cannot answer this question.");
                (Some(Content::Text(text)), "guardrail_intervened")
            }
            Some(Fault::MalformedOutput) => (Some(Content::Nothing), "malformed_model_output"),
            Some(Fault::ContentFilter) => (None, "content_filtered"),
            Some(Fault::ContextWindow) => (None, "model_context_window_exceeded"),
            _ => return,
        };
        self.stop = stop;
        if let Some(content) = content {
            self.output_tokens = match &content {
                Content::Text(text) => tokens::output_tokens(text.len()),
                _ => 1,
            };
            self.content = content;
        }
    }
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
fn measure(answer: &mut Answer, max_tokens: u64, longest: u64, fault: Option<Fault>) {
    let text = match &mut answer.content {
        Content::Nothing => return,
        Content::Text(text) => text,
        Content::Tool { input, .. } => input,
    };
    answer.output_tokens = tokens::output_tokens(text.len()).max(1);
    if fault == Some(Fault::Huge) {
        inflate(text);
        answer.output_tokens = max_tokens;
        return;
    }
    let half = text.len() / 2;
    let keep = match fault {
        Some(Fault::Truncated) => half.min(tokens::bytes_of(max_tokens)),
        Some(Fault::ContentFilter | Fault::ContextWindow) => {
            text.truncate(text.floor_char_boundary(half));
            answer.output_tokens = tokens::output_tokens(text.len()).max(1);
            return;
        }
        _ if answer.output_tokens > longest => tokens::bytes_of(max_tokens),
        _ => return,
    };
    text.truncate(text.floor_char_boundary(keep));
    answer.stop = "max_tokens";
    // A model that stops there has used all of them.
    answer.output_tokens = max_tokens;
}

/// Ten megabytes: JSON gets blanks after its first bracket, as models in a loop write them; a text
/// goes on and on.
fn inflate(text: &mut String) {
    let more = HUGE_BYTES.saturating_sub(text.len());
    if text.starts_with(['{', '[']) {
        text.insert_str(1, &" ".repeat(more));
    } else {
        let again = " and so on";
        text.push_str(&again.repeat(more.div_ceil(again.len())));
    }
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

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
