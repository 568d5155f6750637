//! A job's schema: looked over, compiled once, shared, and held against values.
//! Must not know: where schemas come from, models.
//!
//! Nothing is fetched: references stay inside the document. Work is bounded three ways: patterns
//! run on a linear-time engine (so no look-around and no back-references), a schema whose
//! references unfold into too many or too deep subschemas is refused, and a value that would meet
//! too many of them is refused before it is validated. Recursive schemas are allowed: the
//! validator remembers what it has proved of each value, and values are at most 128 deep.

use std::fmt::Write as _;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::unfold::{Unfolded, join, unfold};
use super::{Failed, Limits, SchemaErrorLine};
use crate::error::ErrorKind;

/// A compiled pattern may take this much memory: enough for long alternations.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Steps (see `Schema::steps`) up to which all errors of a value are listed; past it only the
/// first is sought, because listing is not memoised and keeps every error in memory.
const LISTING_STEPS_MAX: u64 = 2_000_000;
/// The most nested validator calls, so that no answer can overflow a thread's stack.
const NESTED_CALLS_MAX: u64 = 1_500;

/// A compiled schema; cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Schema {
    validator: Arc<Validator>,
    unfolded: Unfolded,
}

/// Why a schema is not accepted. Each names the place (a JSON pointer into the schema, empty for
/// its root) and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Neither an object nor a boolean.
    #[error("schema: must be a JSON object or a boolean, not {found}")]
    NotASchema {
        /// The JSON type that was found.
        found: &'static str,
    },
    /// Longer than `schema_bytes_max`.
    #[error(
        "schema: {bytes} bytes long, more than schema_bytes_max ({bytes_max}); shorten descriptions and enums, or raise the limit"
    )]
    TooLarge {
        /// Its length, printed compactly.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Nested deeper than `schema_depth_max`, references followed.
    #[error(
        "schema at \"{pointer}\": nested deeper than schema_depth_max ({depth_max}) subschemas, references followed; flatten it, or raise the limit"
    )]
    TooDeep {
        /// Where the limit is passed.
        pointer: String,
        /// The limit.
        depth_max: usize,
    },
    /// References unfold into more than `schema_unfolded_max` nodes.
    #[error(
        "schema at \"{pointer}\": its references unfold into more than schema_unfolded_max ({unfolded_max}) nodes; refer to shared parts less often, or raise the limit"
    )]
    TooManyNodes {
        /// Where the limit is passed.
        pointer: String,
        /// The limit.
        unfolded_max: u64,
    },
    /// A reference that leaves the document.
    #[error(
        "schema at \"{pointer}\": the reference \"{reference}\" leaves the document, and nothing is ever fetched; copy its target into \"$defs\" and refer to \"#/$defs/...\""
    )]
    RemoteReference {
        /// Where it stands.
        pointer: String,
        /// What it says.
        reference: String,
    },
    /// A reference within the document to nothing.
    #[error(
        "schema at \"{pointer}\": the reference \"{reference}\" leads nowhere; define its target in this document"
    )]
    DanglingReference {
        /// Where it stands.
        pointer: String,
        /// What it says.
        reference: String,
    },
    /// An identifier below the root, which would change what references mean.
    #[error(
        "schema at \"{pointer}\": \"$id\" below the root is not supported; remove it and refer to \"#/$defs/...\""
    )]
    NestedId {
        /// Where it stands.
        pointer: String,
    },
    /// Not valid JSON Schema, or a pattern that the linear-time engine does not take.
    #[error("schema at \"{pointer}\": {message}")]
    Invalid {
        /// Where it is wrong.
        pointer: String,
        /// What is wrong, and the way out where there is one.
        message: String,
    },
}

/// Looks a schema over and compiles it. Formats (`date`, `email` and the like) are asserted in
/// every draft, because whoever writes `"format": "date"` wants a date; unknown ones are ignored.
pub fn compile(schema: &Value, limits: &Limits) -> Result<Schema, SchemaError> {
    match schema {
        Value::Object(_) | Value::Bool(_) => {}
        other => {
            return Err(SchemaError::NotASchema { found: json_type(other) });
        }
    }
    refuse_deep_nesting(schema, limits)?;
    let bytes = schema.to_string().len();
    if bytes > limits.schema_bytes_max {
        return Err(SchemaError::TooLarge { bytes, bytes_max: limits.schema_bytes_max });
    }
    let unfolded = unfold(schema, limits)?;
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .build(schema)
        .map_err(|error| invalid(&error, limits))?;
    Ok(Schema { validator: Arc::new(validator), unfolded })
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Refuses a value nested so deeply that printing or compiling it could overflow the stack. A
/// subschema takes two levels (its keyword and itself), data within it a few more.
fn refuse_deep_nesting(schema: &Value, limits: &Limits) -> Result<(), SchemaError> {
    let depth_max = limits.schema_depth_max;
    let levels_max = depth_max.saturating_mul(2);
    let mut waiting = vec![(String::new(), schema, 0_usize)];
    while let Some((pointer, value, level)) = waiting.pop() {
        if level > levels_max {
            return Err(SchemaError::TooDeep { pointer, depth_max });
        }
        let below = level.saturating_add(1);
        match value {
            Value::Object(members) => waiting
                .extend(members.iter().map(|(name, value)| (join(&pointer, name), value, below))),
            Value::Array(items) => waiting.extend(
                items.iter().enumerate().map(|(i, v)| (join(&pointer, &i.to_string()), v, below)),
            ),
            _ => {}
        }
    }
    Ok(())
}

fn invalid(error: &ValidationError<'_>, limits: &Limits) -> SchemaError {
    let mut message = bounded(error, limits.error_bytes_max);
    if matches!(error.kind(), ValidationErrorKind::Format { format } if format == "regex") {
        message.push_str(
            "; patterns run on a linear-time engine: leave out look-around, back-references and large repetitions",
        );
    }
    SchemaError::Invalid { pointer: error.instance_path().as_str().to_owned(), message }
}

impl Schema {
    /// Whether the value fits.
    pub(super) fn fits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Refuses a value that would take more than `validation_steps_max` steps, or so many nested
    /// calls that a stack could overflow.
    pub(super) fn pass_work(&self, value: &Value, limits: &Limits) -> Result<(), Failed> {
        let steps = self.steps(value);
        let calls = self.nested_calls(value);
        if steps <= limits.validation_steps_max && calls <= NESTED_CALLS_MAX {
            return Ok(());
        }
        let message = format!(
            "the answer is too large or too deep for its schema: {steps} validation steps (validation_steps_max is {}), {calls} nested (at most {NESTED_CALLS_MAX}); ask for less, or simplify the schema",
            limits.validation_steps_max
        );
        Err(Failed::end(ErrorKind::AnswerTooLarge, message))
    }

    /// An upper bound of validation steps: every part of the value may meet the whole schema.
    fn steps(&self, value: &Value) -> u64 {
        size(value).parts.saturating_mul(self.unfolded.nodes)
    }

    /// How many validator calls may stand on the stack: one way down the schema, and for a
    /// recursive schema one for every level of the value.
    fn nested_calls(&self, value: &Value) -> u64 {
        let levels = if self.unfolded.recursive { size(value).depth } else { 1 };
        u64::try_from(self.unfolded.depth).unwrap_or(u64::MAX).saturating_mul(levels)
    }

    /// The failure of a value that does not fit, with the schema's complaints.
    pub(super) fn mismatch(&self, value: &Value, limits: &Limits) -> Failed {
        let line = |error: ValidationError<'_>| SchemaErrorLine {
            pointer: error.instance_path().as_str().to_owned(),
            message: bounded(&error, limits.error_bytes_max),
        };
        // Listing visits the value of a recursive schema once for each way to it, so its cost
        // can double with every level.
        let levels = u32::try_from(size(value).depth).unwrap_or(u32::MAX);
        let ways = if self.unfolded.recursive { 2_u64.saturating_pow(levels) } else { 1 };
        let errors = if self.steps(value).saturating_mul(ways) <= LISTING_STEPS_MAX {
            self.validator.iter_errors(value).take(limits.errors_shown_max).map(line).collect()
        } else if !self.unfolded.recursive {
            self.validator.validate(value).err().into_iter().map(line).collect()
        } else {
            Vec::new()
        };
        Failed {
            kind: ErrorKind::SchemaMismatch,
            message: "the answer does not fit the schema".to_owned(),
            errors,
            reask: true,
        }
    }
}

/// The parts of a value (long strings count as several) and its depth, at least 1.
struct Size {
    parts: u64,
    depth: u64,
}

/// Recursion is held to 128 levels by the parser that made the value.
fn size(value: &Value) -> Size {
    const STRING_BYTES_A_PART: usize = 64;
    let empty = Size { parts: 1, depth: 0 };
    let add = |sum: Size, below: Size| Size {
        parts: sum.parts.saturating_add(below.parts),
        depth: sum.depth.max(below.depth),
    };
    let inner = match value {
        Value::Array(items) => items.iter().map(size).fold(empty, add),
        Value::Object(members) => members.values().map(size).fold(empty, add),
        Value::String(text) => {
            let parts = u64::try_from(text.len() / STRING_BYTES_A_PART).unwrap_or(u64::MAX);
            Size { parts: parts.saturating_add(1), depth: 0 }
        }
        _ => empty,
    };
    Size { parts: inner.parts, depth: inner.depth.saturating_add(1) }
}

/// At most `bytes_max` bytes of a message: an error may quote a whole answer.
fn bounded(message: &impl std::fmt::Display, bytes_max: usize) -> String {
    let mut out = Bounded { text: String::new(), bytes_max };
    if write!(out, "{message}").is_err() {
        out.text.push('…');
    }
    out.text
}

struct Bounded {
    text: String,
    bytes_max: usize,
}

impl std::fmt::Write for Bounded {
    /// Takes what fits; the error stops the formatting, so that no long text is ever made.
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes_max.saturating_sub(self.text.len());
        let fits = text.floor_char_boundary(room);
        self.text.push_str(text.get(..fits).unwrap_or(""));
        if fits == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

#[cfg(test)]
mod tests;
