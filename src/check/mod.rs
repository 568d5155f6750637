//! What came back, judged: stop reason first, then JSON found, then the whole schema.
//! Must not know: providers, stores, jobs, clocks.
//!
//! # The ladder
//!
//! The answer's text passes rungs in order, and the first rung that yields a value that fits the
//! schema ends the climb:
//! 1. the whole trimmed text is one JSON value (`direct`);
//! 2. a fenced block holds one (`extracted`): the last that fits, if several do;
//! 3. prose holds one in braces or brackets (`extracted`): the outermost, and the last that fits,
//!    because models think aloud first and conclude last.
//!
//! A broken or cut value is never mined for its sound pieces, and a broken value *after* a sound
//! one spoils its rung: what looks like an earlier draft must not pass for the conclusion. The
//! text of the value is handed on byte for byte, so `1e2`, duplicate keys and numbers beyond 64
//! bits stay as the model wrote them (validation sees the last of duplicate keys).
//!
//! Depth: JSON nested deeper than 128 is refused by the parser, which bounds every recursion here.

mod extract;
mod reask;
mod schema;
mod unfold;

use serde::{Deserialize, Serialize};

use crate::completion::{Completion, StopReason};
use crate::error::ErrorKind;

pub use reask::{reask_messages, schema_instruction};
pub use schema::{Schema, SchemaError, compile};

/// The limits of this room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest schema, printed compactly, in bytes.
    pub schema_bytes_max: usize,
    /// The deepest nesting of a schema.
    pub schema_depth_max: usize,
    /// The most keywords and listed values of a schema, references followed.
    pub schema_unfolded_max: u64,
    /// The most steps (parts of the answer times nodes of the unfolded schema) of a validation.
    pub validation_steps_max: u64,
    /// The longest answer that is looked at, in bytes.
    pub answer_bytes_max: usize,
    /// How many validation errors are kept and shown to the model.
    pub errors_shown_max: usize,
    /// The longest single validation error, in bytes.
    pub error_bytes_max: usize,
    /// How much of its own answer a re-ask shows the model, in bytes.
    pub reask_answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            schema_bytes_max: 262_144,
            schema_depth_max: 64,
            schema_unfolded_max: 200_000,
            validation_steps_max: 1_000_000_000,
            answer_bytes_max: 2_097_152,
            errors_shown_max: 10,
            error_bytes_max: 300,
            reask_answer_bytes_max: 16_384,
        }
    }
}

/// Where the output was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The provider's native structured output.
    Native,
    /// The arguments of a forced tool.
    Tool,
    /// The answer's whole text.
    Direct,
    /// A fenced block or prose around it.
    Extracted,
}

/// How an output came to be. Written as text (also by serde), its parts joined by `+`:
/// `direct`, `extracted+reasked:1`, `extracted+repaired:[trailing_comma]+reasked:2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// Where the output was found.
    pub source: Source,
    /// The repairs that it needed, in order; none if empty.
    pub repairs: Vec<String>,
    /// How many re-asks came before it.
    pub reasks: u32,
}

impl Provenance {
    /// An unrepaired output of the first call.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, repairs: Vec::new(), reasks: 0 }
    }

    /// The same, after this many re-asks.
    #[must_use]
    pub fn reasked(mut self, reasks: u32) -> Self {
        self.reasks = reasks;
        self
    }
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.source {
            Source::Native => "native",
            Source::Tool => "tool",
            Source::Direct => "direct",
            Source::Extracted => "extracted",
        })?;
        if !self.repairs.is_empty() {
            write!(f, "+repaired:[{}]", self.repairs.join(","))?;
        }
        if self.reasks > 0 {
            write!(f, "+reasked:{}", self.reasks)?;
        }
        Ok(())
    }
}

impl Serialize for Provenance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An answer that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The validated JSON text as the model wrote it; none where no schema was asked for.
    pub output: Option<String>,
    /// The whole answer.
    pub text: String,
    /// How the output came to be.
    pub provenance: Provenance,
}

/// One way in which a value does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaErrorLine {
    /// A JSON pointer into the answer; empty for the whole value.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

/// An answer that did not pass. The answer itself is evidence, and stays with its attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failed {
    /// The kind that `retry::decide` judges.
    pub kind: ErrorKind,
    /// What is wrong and, for a person, the way out.
    pub message: String,
    /// The schema's complaints, at most `errors_shown_max`; empty for other kinds.
    pub errors: Vec<SchemaErrorLine>,
    /// Whether asking the model again can help.
    pub reask: bool,
}

impl Failed {
    fn end(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), errors: Vec::new(), reask: false }
    }

    fn reask(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), errors: Vec::new(), reask: true }
    }
}

/// What [`check`] finds.
pub type Verdict = Result<Checked, Failed>;

/// Judges a completion: stop reason, then presence, then, with a schema, the ladder above.
pub fn check(completion: &Completion, schema: Option<&Schema>, limits: &Limits) -> Verdict {
    pass_stop_reason(completion.stop)?;
    let text = completion.text.as_str();
    if text.len() > limits.answer_bytes_max {
        let message = format!(
            "the answer is {} bytes long, more than answer_bytes_max ({}); ask for less or raise the limit",
            text.len(),
            limits.answer_bytes_max
        );
        return Err(Failed::end(ErrorKind::AnswerTooLarge, message));
    }
    if extract::trim(text).is_empty() {
        return Err(Failed::reask(ErrorKind::Empty, "the model returned nothing"));
    }
    let Some(schema) = schema else {
        return Ok(Checked {
            output: None,
            text: text.to_owned(),
            provenance: Provenance::new(Source::Direct),
        });
    };
    let (source, output) = climb(text, schema, limits)?;
    Ok(Checked {
        output: Some(output.to_owned()),
        text: text.to_owned(),
        provenance: Provenance::new(source),
    })
}

/// A cut, refused or filtered answer is an outcome of its own, whatever its text holds.
fn pass_stop_reason(stop: StopReason) -> Result<(), Failed> {
    match stop {
        // A stop reason newer than this program is no reason to throw a paid answer away.
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::ToolUse
        | StopReason::Other => Ok(()),
        StopReason::MaxTokens => Err(Failed::end(
            ErrorKind::Truncated,
            "the answer was cut at max_tokens or at the end of the model's window; raise max_tokens or ask for less",
        )),
        StopReason::Refusal => Err(Failed::end(ErrorKind::Refused, "the model declined to answer")),
        StopReason::ContentFiltered => {
            Err(Failed::end(ErrorKind::Filtered, "a content filter stopped the answer"))
        }
        StopReason::GuardrailIntervened => {
            Err(Failed::end(ErrorKind::Guardrail, "a guardrail stopped the answer"))
        }
        StopReason::Malformed => Err(Failed::reask(
            ErrorKind::InvalidJson,
            "the provider could not read the model's own output",
        )),
    }
}

/// Climbs the ladder of rungs; a further rung (such as repair) goes below the last.
fn climb<'a>(text: &'a str, schema: &Schema, limits: &Limits) -> Result<(Source, &'a str), Failed> {
    let whole = extract::trim(text);
    let mut best = match judge(whole, schema, limits) {
        Ok(()) => return Ok((Source::Direct, whole)),
        // Only what is not JSON as a whole is searched for JSON.
        Err(Miss::NotJson(failed)) => failed,
        Err(miss) => return Err(miss.explain(schema, limits)),
    };
    let mut found_one = false;
    let rungs: [fn(&str) -> extract::Found<'_>; 2] = [extract::fenced, extract::in_prose];
    for find in rungs {
        let found = find(text);
        if let Some(why) = found.broken_after {
            if !found_one {
                let message = format!("the last JSON value in the answer is broken: {why}");
                best = Failed::reask(ErrorKind::InvalidJson, message);
            }
            continue;
        }
        for candidate in found.values.into_iter().rev() {
            match judge(candidate, schema, limits) {
                Ok(()) => return Ok((Source::Extracted, candidate)),
                Err(_) if found_one => {}
                // The last value of the highest rung is the likeliest answer: its errors help most.
                Err(miss) => {
                    found_one = true;
                    best = miss.explain(schema, limits);
                }
            }
        }
    }
    Err(best)
}

/// Why one text is not the answer.
enum Miss {
    /// Not one JSON value.
    NotJson(Failed),
    /// Too much work to validate.
    TooLarge(Failed),
    /// JSON that does not fit; its errors are listed only where they will be shown.
    Unfit(serde_json::Value),
}

impl Miss {
    fn explain(self, schema: &Schema, limits: &Limits) -> Failed {
        match self {
            Self::NotJson(failed) | Self::TooLarge(failed) => failed,
            Self::Unfit(value) => schema.mismatch(&value, limits),
        }
    }
}

/// Holds one text against the schema: a JSON value, of bearable size, that fits.
fn judge(text: &str, schema: &Schema, limits: &Limits) -> Result<(), Miss> {
    let value = serde_json::from_str(text).map_err(|error| {
        let message = format!("no JSON value could be read from the answer: {error}");
        Miss::NotJson(Failed::reask(ErrorKind::InvalidJson, message))
    })?;
    schema.pass_work(&value, limits).map_err(Miss::TooLarge)?;
    if schema.fits(&value) { Ok(()) } else { Err(Miss::Unfit(value)) }
}

#[cfg(test)]
mod tests;
