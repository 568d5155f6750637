//! Renders a job's parts into the system prompt and the turns of one call.
//! Must not know: providers' formats, templates, tokens.
//!
//! The last user turn reads: context documents, the question, the schema instruction, each apart
//! by an empty line. Documents come first because models answer better when a long text stands
//! before the question, and the instruction comes last because it governs the answer's form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::schema_instruction;
use crate::completion::{Message, Role};

/// One document that the model shall read before it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextItem {
    /// What the document is called; shown to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The document itself; not blank.
    #[schemars(regex(pattern = r"\S"))]
    pub text: String,
    /// Where it comes from, such as a URL or a file name; shown to the model, never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A job's parts, as its producer gave them. Blank strings count as absent.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The system prompt.
    pub system: Option<&'a str>,
    /// The question; becomes the last user turn, after `messages`.
    pub prompt: Option<&'a str>,
    /// Earlier turns of the conversation.
    pub messages: &'a [Message],
    /// Documents to read, in order.
    pub context: &'a [ContextItem],
    /// The schema that the answer must fit, where the prompt has to ask for it.
    pub schema: Option<&'a serde_json::Value>,
    /// Whether the model takes a system prompt; if not, it leads the first user turn.
    pub supports_system: bool,
}

/// What a call sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The system prompt, where there is one and the model takes it.
    pub system: Option<String>,
    /// The turns; roles alternate.
    pub messages: Vec<Message>,
}

/// Renders the parts of a job. Neighbouring turns of the same role become one, because providers
/// demand that roles alternate; blank turns are left out, because providers refuse them.
#[must_use]
pub fn render(parts: Parts<'_>) -> Rendered {
    let mut messages = Vec::with_capacity(parts.messages.len().saturating_add(1));
    for message in parts.messages {
        push(&mut messages, message.role, &message.text);
    }
    if let Some(prompt) = parts.prompt {
        push(&mut messages, Role::User, prompt);
    }
    if !parts.context.is_empty() {
        let documents = documents(parts.context);
        edit_last_user_turn(&mut messages, |text| joined(&documents, text));
    }
    if let Some(schema) = parts.schema {
        let instruction = schema_instruction(schema);
        edit_last_user_turn(&mut messages, |text| joined(text, &instruction));
    }
    let system = parts.system.filter(|system| !is_blank(system));
    let Some(folded) = system.filter(|_| !parts.supports_system) else {
        return Rendered { system: system.map(str::to_owned), messages };
    };
    match messages.iter_mut().find(|turn| turn.role == Role::User) {
        Some(turn) => turn.text = joined(folded, &turn.text),
        None => messages.insert(0, Message { role: Role::User, text: folded.to_owned() }),
    }
    Rendered { system: None, messages }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn joined(first: &str, second: &str) -> String {
    match (is_blank(first), is_blank(second)) {
        (true, _) => second.to_owned(),
        (_, true) => first.to_owned(),
        _ => format!("{first}\n\n{second}"),
    }
}

fn push(messages: &mut Vec<Message>, role: Role, text: &str) {
    if is_blank(text) {
        return;
    }
    match messages.last_mut() {
        Some(last) if last.role == role => last.text = joined(&last.text, text),
        _ => messages.push(Message { role, text: text.to_owned() }),
    }
}

/// Changes the last user turn, which is made if there is none.
fn edit_last_user_turn(messages: &mut Vec<Message>, edit: impl FnOnce(&str) -> String) {
    match messages.iter_mut().rev().find(|turn| turn.role == Role::User) {
        Some(turn) => turn.text = edit(&turn.text),
        None => messages.push(Message { role: Role::User, text: edit("") }),
    }
}

/// The documents, numbered from 1, in tags that no document can close itself.
fn documents(context: &[ContextItem]) -> String {
    let mut out = String::from("<documents>\n");
    for (index, item) in context.iter().enumerate() {
        out.push_str("<document");
        push_attribute(&mut out, "index", Some(&index.saturating_add(1).to_string()));
        push_attribute(&mut out, "title", item.title.as_deref());
        push_attribute(&mut out, "source", item.source.as_deref());
        out.push_str(">\n");
        push_document_text(&mut out, &item.text);
        if !item.text.ends_with('\n') {
            out.push('\n');
        }
        out.push_str("</document>\n");
    }
    out.push_str("</documents>");
    out
}

fn push_attribute(out: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value.filter(|value| !is_blank(value)) else {
        return;
    };
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Copies a document's text. Only a `<` that could begin one of our own tags is escaped: every
/// other byte stays as it is, so that source code and markup reach the model unharmed.
fn push_document_text(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        out.push_str(if names_our_tag(after) { "&lt;" } else { "<" });
        rest = after;
    }
    out.push_str(rest);
}

/// Whether what follows a `<` would read as an opening or closing `document` tag, however it is
/// spaced or capitalised.
fn names_our_tag(after: &str) -> bool {
    const NAME: &str = "document";
    let mut letters = after.chars().skip_while(|c| c.is_whitespace() || *c == '/');
    NAME.chars().all(|wanted| letters.next().is_some_and(|c| c.eq_ignore_ascii_case(&wanted)))
}

#[cfg(test)]
mod tests;
