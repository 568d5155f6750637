//! Which form of answer a call asks for, and where its schema stands. Must not know: whether the
//! schema is any good, any interface's own fields.

use serde_json::value::RawValue;

use super::heard::{Line, Speaker};
use super::request::Refusal;

/// The form in which the answer is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    /// Free text.
    Text,
    /// JSON text that fits this schema (as JSON text); native or asked for in the prompt.
    Json { schema: String, native: bool },
    /// A call of this tool with input that fits its schema.
    Tool { name: String, schema: String },
}

/// Which tool must be called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice<'a> {
    /// None.
    Free,
    /// Any; the simulator takes the first.
    Any,
    /// This one.
    Named(&'a str),
}

/// The call of a tool that a body forces, from its tools' names and input schemas.
pub(crate) fn forced<'a>(
    mut tools: impl Iterator<Item = (&'a str, &'a RawValue)>,
    choice: Choice<'_>,
) -> Result<Option<Wanted>, Refusal> {
    let found = match choice {
        Choice::Free => None,
        Choice::Any => tools.next(),
        Choice::Named(wanted) => {
            let found = tools.find(|(name, _)| *name == wanted);
            Some(found.ok_or_else(|| {
                Refusal::validation(format!(
                    "The tool {wanted} of the tool choice is not among the tools."
                ))
            })?)
        }
    };
    Ok(found.map(|(name, schema)| Wanted::Tool {
        name: name.to_owned(),
        schema: schema.get().to_owned(),
    }))
}

/// A schema in a prompt: in the user's turns, the last one first, or in the system's.
pub(crate) fn in_prompts(lines: &[Line<'_>]) -> Wanted {
    let of = |speaker| lines.iter().rev().filter(move |line| line.speaker == speaker);
    let mut texts = of(Speaker::User).chain(of(Speaker::System));
    texts
        .find_map(|line| schema_in_prompt(&line.text))
        .map_or(Wanted::Text, |schema| Wanted::Json { schema: schema.to_owned(), native: false })
}

/// The JSON fence after the last line `JSON Schema:`.
fn schema_in_prompt(text: &str) -> Option<&str> {
    let marker = "JSON Schema:";
    let (start, _) = text.rmatch_indices(marker).find(|(start, _)| {
        text.get(start + marker.len()..)
            .is_some_and(|rest| rest.trim_start_matches([' ', '\r']).starts_with('\n'))
    })?;
    let (_, fenced) = text.get(start..)?.split_once("```json")?;
    let (schema, _) = fenced.split_once("\n```")?;
    Some(schema.trim())
}
