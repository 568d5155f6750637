//! The words to the model: how it is asked for JSON, and how it is asked again.
//! Must not know: jobs, providers; `retry` decides whether to ask again.

use serde_json::Value;

use super::{Failed, Limits};
use crate::completion::{Message, Role};

/// What a prompt ends with to get JSON that fits a schema. The schema stands on one line in a
/// fenced block under the line `JSON Schema:`.
#[must_use]
pub fn schema_instruction(schema: &Value) -> String {
    // A backtick can only stand inside a string, where its escape means the same: nothing in the
    // schema can close the fence.
    let schema = schema.to_string().replace('`', "\\u0060");
    format!(
        "Answer with exactly one JSON value that fits the JSON Schema below. \
         Write nothing before it and nothing after it: no explanation and no code fence.\n\n\
         JSON Schema:\n```json\n{schema}\n```"
    )
}

/// The two turns that follow a failed answer: the model's own answer, and what is wrong with it.
#[must_use]
pub fn reask_messages(answer: &str, failed: &Failed, limits: &Limits) -> Vec<Message> {
    let answer = if answer.trim().is_empty() {
        // Providers refuse an empty turn.
        "(no answer)".to_owned()
    } else {
        cut_in_the_middle(answer, limits.reask_answer_bytes_max)
    };
    let errors = failed.errors.iter().take(limits.errors_shown_max).map(|error| {
        let place = if error.pointer.is_empty() { "the whole value" } else { &error.pointer };
        let message = cut_in_the_middle(&error.message, limits.error_bytes_max.saturating_add(3));
        format!("- {place}: {message}\n")
    });
    let complaint = format!(
        "This answer cannot be used: {}.\n{}\n\
         Write the whole answer again, corrected: exactly one JSON value that fits the JSON \
         Schema, with nothing before it and nothing after it.",
        failed.message,
        errors.collect::<Vec<_>>().concat()
    );
    vec![
        Message { role: Role::Assistant, text: answer },
        Message { role: Role::User, text: complaint },
    ]
}

/// A text of at most `bytes_max` bytes, not counting the mark that says how much is missing.
fn cut_in_the_middle(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(bytes_max / 2);
    let tail = text.ceil_char_boundary(text.len().saturating_sub(bytes_max / 2));
    let (start, end) = (text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""));
    let missing = tail.saturating_sub(head);
    format!("{start}\n[... {missing} bytes left out ...]\n{end}")
}
