//! The job document, version 1: what a producer hands in, and what is impossible about its values.
//! Must not know: its text (`parse` reads it), models' limits (admission checks those), stores,
//! the clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::parse;
use super::schema;
use crate::catalogue::Family;
use crate::completion::{Api, Message, Role};
use crate::prompt::ContextItem;

/// The longest `id`, `dedupe_key`, `queue`, `tenant`, label key or label value, in characters.
const NAME_CHARS_MAX: usize = 256;
/// The longest `model`, in characters: what the provider takes.
const MODEL_CHARS_MAX: usize = 2_048;
/// The most `stop` strings; Bedrock Converse takes up to 2,500, models far fewer.
const STOP_MAX: usize = 16;
/// The most labels.
const LABELS_MAX: usize = 64;
/// The longest `reply_to`, in characters: a queue's URL has far fewer.
const REPLY_CHARS_MAX: usize = 512;
/// Priorities run from minus this to plus this.
const PRIORITY_MAX: i32 = 100;

/// A JSON object that comes back with the result, untouched.
pub type MetadataMap = serde_json::Map<String, Value>;

/// A generation job as its producer writes it. An absent field, or null, takes the configuration's
/// default. Exactly one of `prompt` and `messages` is given.
// The limits in the attributes are those that `problems` checks; a test holds the two together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Quarrier job document, version 1", transform = schema::finish)]
pub struct JobDocument {
    /// The document's version; 1 is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// The producer's idempotency key, unique per tenant: the same id with the same document
    /// finds the existing job, with another document it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = schema::NAME))]
    pub id: Option<String>,
    /// The named queue that it belongs to, for limits, lists and costs; `default` unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = schema::NAME))]
    pub queue: Option<String>,
    /// A model alias, a model id, an inference-profile id or an ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2_048), regex(pattern = schema::NAME))]
    pub model: Option<String>,
    /// Which family an id unknown to the catalogue belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Which of the provider's interfaces carries the call; `bedrock.api` unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// The system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The prompt, for a single turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::NOT_BLANK))]
    pub prompt: Option<String>,
    /// A conversation: turns alternate, the first and the last are the user's.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "parse::list_of_objects"
    )]
    #[schemars(length(min = 1))]
    pub messages: Option<Vec<Message>>,
    /// Documents to read before answering; they stand before the last user turn's text.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "parse::list_of_objects"
    )]
    pub context: Option<Vec<ContextItem>>,
    /// The JSON Schema that the answer must fit, inline. With it the result has `output`, without
    /// it `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_schema")]
    pub schema: Option<Value>,
    /// Sampling temperature, 0 to 1; left out for models that take none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub temperature: Option<f32>,
    /// Nucleus sampling, 0 to 1; left out for models that take none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub top_p: Option<f32>,
    /// The longest answer, in tokens. The quota reserves all of it: as small as the work allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_tokens: Option<u32>,
    /// Strings that end the answer, at most 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1)))]
    pub stop: Option<Vec<String>>,
    /// -100 (later) to 100 (sooner); 0 unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -100, max = 100))]
    pub priority: Option<i32>,
    /// Not before this time (RFC 3339, with an offset).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "parse::time")]
    pub run_at: Option<Timestamp>,
    /// Expired if not done by this time (RFC 3339, with an offset); 7 days from `run_at` or from
    /// admission unless said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "parse::time")]
    pub deadline: Option<Timestamp>,
    /// How many calls may fail before the job does, 1 to 100. Throttled calls and re-asks do not
    /// count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<u32>,
    /// Unique per tenant among jobs that have not ended: a second one is not admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = schema::NAME))]
    pub dedupe_key: Option<String>,
    /// On whose behalf: fair shares, limits, `id` and `dedupe_key` are kept by tenant; `default`
    /// unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = schema::NAME))]
    pub tenant: Option<String>,
    /// Any JSON object; comes back with the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataMap>,
    /// Short strings that sort jobs, at most 64; kept with the document, found with SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::labels)]
    pub labels: Option<BTreeMap<String, String>>,
    /// The queue that gets the result line as a message: its URL or its name, as the configuration
    /// allows it (`sqs.reply_allow`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = schema::WORD))]
    pub reply_to: Option<String>,
    /// What to do when a crash hides a call's outcome; `retry` unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_outcome_unknown: Option<IfOutcomeUnknown>,
    /// Reserved: documents and images are not there yet, and are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::nothing")]
    pub attachments: Option<Value>,
}

/// What to do with a job whose call may have been paid for without an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfOutcomeUnknown {
    /// Call again; at worst the call is paid for twice.
    #[default]
    Retry,
    /// Wait as `held` until a person decides.
    Hold,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Problem {
    /// Where, as a JSON path: `$.messages[2].role`.
    pub path: String,
    /// What, with the limit and the way out.
    pub reason: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

impl JobDocument {
    /// Everything impossible about the values themselves.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if let Some(version) = self.version.filter(|version| *version != 1) {
            let reason = format!("version {version} is not known; the only version is 1");
            found.push(Problem::new("$.version", reason));
        }
        if self.attachments.is_some() {
            let reason = "is reserved and not there yet; put the text into `context` or the prompt";
            found.push(Problem::new("$.attachments", reason));
        }
        self.check_names(&mut found);
        self.check_turns(&mut found);
        self.check_numbers(&mut found);
        found
    }

    fn check_names(&self, found: &mut Vec<Problem>) {
        let names = [
            ("$.id", &self.id),
            ("$.queue", &self.queue),
            ("$.tenant", &self.tenant),
            ("$.dedupe_key", &self.dedupe_key),
            ("$.model", &self.model),
        ];
        for (path, value) in names {
            let Some(value) = value else { continue };
            let limit = if path == "$.model" { MODEL_CHARS_MAX } else { NAME_CHARS_MAX };
            check_name(path, value, limit, found);
        }
        if let Some(reply_to) = self.reply_to.as_ref().filter(|to| !is_queue_name(to)) {
            let before = found.len();
            check_name("$.reply_to", reply_to, REPLY_CHARS_MAX, found);
            if found.len() == before {
                found.push(Problem::new("$.reply_to", "contains a blank; no queue's name has one"));
            }
        }
        let labels = self.labels.iter().flatten();
        if labels.clone().count() > LABELS_MAX {
            let reason = format!("more than {LABELS_MAX} labels; `metadata` takes any number");
            found.push(Problem::new("$.labels", reason));
        }
        for (key, value) in labels {
            if key.chars().count() > NAME_CHARS_MAX {
                let reason = format!("a key has more than {NAME_CHARS_MAX} characters");
                found.push(Problem::new("$.labels", reason));
            } else {
                check_name(&format!("$.labels.{key}"), value, NAME_CHARS_MAX, found);
            }
        }
    }

    fn check_turns(&self, found: &mut Vec<Problem>) {
        match (&self.prompt, &self.messages) {
            (None, None) => {
                found.push(Problem::new("$", "one of `prompt` and `messages` is required"));
            }
            (Some(_), Some(_)) => found.push(Problem::new(
                "$.messages",
                "`prompt` and `messages` exclude each other; give exactly one of them",
            )),
            (Some(prompt), None) if prompt.trim().is_empty() => {
                found.push(Problem::new("$.prompt", "is empty"));
            }
            (Some(_), None) => {}
            (None, Some(messages)) => check_messages(messages, found),
        }
        for (index, item) in self.context.iter().flatten().enumerate() {
            if item.text.trim().is_empty() {
                found.push(Problem::new(format!("$.context[{index}].text"), "is empty"));
            }
        }
    }

    fn check_numbers(&self, found: &mut Vec<Problem>) {
        let mut range = |path: &str, value: Option<f64>, low: f64, high: f64| {
            if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
                let reason = format!("{value} is outside {low} to {high}");
                found.push(Problem::new(path, reason));
            }
        };
        range("$.temperature", self.temperature.map(as_written), 0.0, 1.0);
        range("$.top_p", self.top_p.map(as_written), 0.0, 1.0);
        range("$.max_tokens", self.max_tokens.map(f64::from), 1.0, 10_000_000.0);
        range("$.max_attempts", self.max_attempts.map(f64::from), 1.0, 100.0);
        let priority_max = f64::from(PRIORITY_MAX);
        range("$.priority", self.priority.map(f64::from), -priority_max, priority_max);
        let stop = self.stop.iter().flatten();
        if stop.clone().count() > STOP_MAX {
            let reason = format!("more than {STOP_MAX} stop strings; leave out the rarest");
            found.push(Problem::new("$.stop", reason));
        }
        for (index, text) in stop.enumerate() {
            if text.is_empty() {
                found.push(Problem::new(format!("$.stop[{index}]"), "is empty"));
            }
        }
        if let (Some(run_at), Some(deadline)) = (self.run_at, self.deadline)
            && deadline <= run_at
        {
            let reason = format!("{deadline} is not after run_at ({run_at})");
            found.push(Problem::new("$.deadline", reason));
        }
    }
}

/// The shortest decimal that stands for this number: 1.1, where widening it would make
/// 1.100000023841858.
fn as_written(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::NAN)
}

/// Whether a text may name a queue to reply to: not empty, not too long, without blanks and control
/// characters.
pub(crate) fn is_queue_name(text: &str) -> bool {
    let is_bad = |letter: char| letter.is_whitespace() || letter.is_control();
    !text.is_empty() && text.chars().count() <= REPLY_CHARS_MAX && !text.contains(is_bad)
}

/// Whether a text may be an `id`, a `tenant` or another name.
pub(crate) fn is_name(text: &str) -> bool {
    let mut problems = Vec::new();
    check_name("", text, NAME_CHARS_MAX, &mut problems);
    problems.is_empty()
}

fn check_name(path: &str, value: &str, chars_max: usize, found: &mut Vec<Problem>) {
    let chars = value.chars().count();
    if value.trim().is_empty() {
        found.push(Problem::new(path, "is empty; leave the field out instead"));
    } else if chars > chars_max {
        let reason = format!("{chars} characters are more than the {chars_max} allowed");
        found.push(Problem::new(path, reason));
    } else if value.chars().any(char::is_control) {
        found.push(Problem::new(path, "contains a control character"));
    }
}

fn check_messages(messages: &[Message], found: &mut Vec<Problem>) {
    if messages.is_empty() {
        found.push(Problem::new("$.messages", "is empty; give at least one user turn"));
    }
    let mut expected = Role::User;
    for (index, message) in messages.iter().enumerate() {
        if message.role != expected {
            let reason = "turns must alternate and begin with `user`";
            found.push(Problem::new(format!("$.messages[{index}].role"), reason));
            return;
        }
        if message.text.trim().is_empty() {
            found.push(Problem::new(format!("$.messages[{index}].text"), "is empty"));
        }
        expected = match expected {
            Role::User => Role::Assistant,
            Role::Assistant => Role::User,
        };
    }
    if messages.last().is_some_and(|last| last.role == Role::Assistant) {
        let reason = "the last turn must be the user's: newer models refuse a prefilled answer";
        found.push(Problem::new(format!("$.messages[{}].role", messages.len() - 1), reason));
    }
}

impl JobDocument {
    /// The document as canonical JSON text: sorted keys, absent fields left out.
    #[must_use]
    pub fn canonical(&self) -> String {
        // A BTreeMap sorts the top level; nested objects keep the producer's order, which the
        // digest therefore treats as part of the document (a schema's order reaches the model).
        // Values stay text, because a number that passes through `Value` grows decimals.
        let text = serde_json::to_string(self).unwrap_or_default();
        let sorted: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).unwrap_or_default();
        serde_json::to_string(&sorted).unwrap_or_default()
    }

    /// The top-level fields in which two documents differ, sorted.
    #[must_use]
    pub fn changed_fields(&self, other: &Self) -> Vec<String> {
        let fields = |document: &Self| match serde_json::to_value(document) {
            Ok(Value::Object(map)) => map,
            _ => MetadataMap::new(),
        };
        let (ours, theirs) = (fields(self), fields(other));
        let names = ours.keys().chain(theirs.keys());
        let changed = names.filter(|name| ours.get(*name) != theirs.get(*name));
        let unique: BTreeSet<String> = changed.cloned().collect();
        unique.into_iter().collect()
    }
}

/// SHA-256 of a text as lowercase hex.
pub(crate) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
    // Room for all at once: nobody can tell it beforehand how many a filter lets through.
    let mut hex = String::with_capacity(digest.len().saturating_mul(2));
    hex.extend(nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)));
    hex
}
