//! Which form of answer a body asks for, and where its schema stands. Must not know: whether the
//! schema is any good.

use super::body::Body;
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

/// Looks for a schema where the caller may have put it: the native format, a forced tool, the
/// prompt.
pub(super) fn wanted(body: &Body<'_>) -> Result<Wanted, Refusal> {
    if let Some(format) = body.output_config.as_ref().and_then(|c| c.text_format.as_ref()) {
        return Ok(Wanted::Json {
            schema: format.structure.json_schema.schema.clone(),
            native: true,
        });
    }
    if let Some(config) = &body.tool_config {
        let mut specs = config.tools.iter().filter_map(|tool| tool.tool_spec.as_ref());
        let choice = config.tool_choice.as_ref();
        let forced = match choice.and_then(|choice| choice.tool.as_ref()) {
            Some(tool) => {
                let spec = specs.find(|spec| spec.name == tool.name).ok_or_else(|| {
                    Refusal::validation(format!(
                        "The tool {} named in toolChoice is not among the tools.",
                        tool.name
                    ))
                })?;
                Some(spec)
            }
            None if choice.is_some_and(|choice| choice.any.is_some()) => specs.next(),
            None => None,
        };
        if let Some(spec) = forced {
            return Ok(Wanted::Tool {
                name: spec.name.clone(),
                schema: spec.input_schema.json.get().to_owned(),
            });
        }
    }
    let users = body.messages.iter().rev().filter(|turn| turn.role == "user");
    let texts = users
        .flat_map(|turn| turn.content.iter().rev())
        .chain(body.system.iter().rev())
        .filter_map(|block| block.text.as_deref());
    let found = texts.map(schema_in_prompt).find(Option::is_some).flatten();
    Ok(found
        .map_or(Wanted::Text, |schema| Wanted::Json { schema: schema.to_owned(), native: false }))
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
