//! Which calls a script's or a fixture's entry is meant for. Must not know: what it does with them,
//! the wire's own shapes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use wildmatch::WildMatch;

use super::request::Facts;

/// Fields of a body that hold its texts, in every interface.
const TEXTS: [&str; 5] = ["text", "content", "prompt", "system", "inputText"];
/// Fields whose inside is not the conversation.
const OTHERS: [&str; 6] =
    ["toolConfig", "tools", "outputConfig", "output_config", "requestMetadata", "inferenceConfig"];

/// Conditions on a call; all that are given must hold, and none at all means every call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The request metadata's `job_id`.
    pub job_id: Option<String>,
    /// The request metadata's `queue`.
    pub queue: Option<String>,
    /// The request metadata's `template`.
    pub template: Option<String>,
    /// The request metadata's `tenant`.
    pub tenant: Option<String>,
    /// The request metadata's `attempt`, from 1.
    pub attempt: Option<u32>,
    /// A pattern of the model's id, with `*` and `?`.
    pub model: Option<Pattern>,
    /// A text that stands somewhere in the prompt, the turns or the system prompt.
    pub text: Option<String>,
    /// Entries of the request metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A text with `*` for any run of characters and `?` for any one.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern(WildMatch);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(WildMatch::new(&String::deserialize(deserializer)?)))
    }
}

impl Match {
    /// Whether it needs the request's text.
    pub(crate) fn reads_text(&self) -> bool {
        self.text.is_some()
    }

    /// Whether this call is meant. `text` is what `text_of` made of it.
    pub(crate) fn fits(&self, facts: &Facts, text: &str) -> bool {
        let entry = |key: &str, wanted: Option<&String>| {
            wanted.is_none_or(|wanted| facts.metadata.get(key) == Some(wanted))
        };
        let attempt = self.attempt.map(|attempt| attempt.to_string());
        entry("job_id", self.job_id.as_ref())
            && entry("queue", self.queue.as_ref())
            && entry("template", self.template.as_ref())
            && entry("tenant", self.tenant.as_ref())
            && entry("attempt", attempt.as_ref())
            && self.metadata.iter().all(|(key, value)| entry(key, Some(value)))
            && self.model.as_ref().is_none_or(|pattern| pattern.0.matches(&facts.model_id))
            && self.text.as_ref().is_none_or(|wanted| text.contains(wanted.as_str()))
    }
}

/// The conversation's texts in any interface's body, one a line: prompts, turns, system prompts.
pub(crate) fn text_of(body: &[u8]) -> String {
    let mut text = String::new();
    if let Ok(body) = serde_json::from_slice::<Value>(body) {
        collect(&body, false, &mut text);
    }
    text
}

/// Bodies are no deeper than the parser allows, which bounds this.
fn collect(value: &Value, is_text: bool, text: &mut String) {
    match value {
        Value::String(found) if is_text => {
            text.push_str(found);
            text.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_text, text)),
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !OTHERS.contains(&key.as_str())) {
                collect(value, TEXTS.contains(&key.as_str()), text);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::request::Operation;
    use super::*;

    fn fits(wanted: Value) -> bool {
        let mut facts =
            Facts::unread("us.anthropic.claude-haiku-4-5".to_owned(), Operation::Converse);
        for (key, value) in [("job_id", "j"), ("attempt", "2"), ("queue", "q"), ("kind", "a")] {
            facts.metadata.insert(key.to_owned(), value.to_owned());
        }
        let wanted: Match = serde_json::from_value(wanted).unwrap();
        wanted.fits(&facts, "Fill in invoice 7.\n")
    }

    #[test]
    fn all_conditions_must_hold() {
        for (wanted, expected) in [
            (json!({}), true),
            (json!({"job_id": "j", "attempt": 2, "queue": "q"}), true),
            (json!({"attempt": 1}), false),
            (json!({"template": "t"}), false),
            (json!({"model": "*claude-haiku*"}), true),
            (json!({"model": "claude-haiku*"}), false),
            (json!({"text": "invoice 7", "metadata": {"kind": "a"}}), true),
            (json!({"text": "invoice 7", "metadata": {"kind": "b"}}), false),
            (json!({"text": "Invoice"}), false),
        ] {
            assert_eq!(fits(wanted.clone()), expected, "{wanted}");
        }
    }

    #[test]
    fn texts_are_found_in_every_interfaces_body_and_nothing_else_is() {
        for (body, expected) in [
            (
                json!({
                    "system": [{"text": "Be brief."}],
                    "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
                    "toolConfig": {"tools": [{"text": "no"}]},
                    "requestMetadata": {"text": "no"},
                }),
                "Be brief.\nHi\n",
            ),
            (
                json!({"system": "Be brief.", "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "user", "content": [{"type": "text", "text": "there"}]},
                ]}),
                "Be brief.\nHi\nthere\n",
            ),
            (json!({"prompt": "<s>[INST] Hi [/INST]", "max_tokens": 4}), "<s>[INST] Hi [/INST]\n"),
        ] {
            assert_eq!(text_of(body.to_string().as_bytes()), expected);
        }
        assert_eq!(text_of(b"{"), "");
    }
}
