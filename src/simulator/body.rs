//! The parts of a Converse body that the simulator reads, most of which Nova's own body has too; all
//! else is skipped. Must not know: what is allowed in them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::heard::{Block, Text};
use super::request::Refusal;
use super::wanted::{Choice, Wanted, forced};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body<'a> {
    #[serde(default, borrow)]
    pub(crate) messages: Vec<Turn<'a>>,
    #[serde(default, borrow)]
    pub(crate) system: Vec<Block<'a>>,
    #[serde(default)]
    pub(crate) inference_config: InferenceConfig,
    #[serde(default, borrow)]
    pub(crate) tool_config: Option<ToolConfig<'a>>,
    #[serde(borrow)]
    pub(crate) output_config: Option<OutputConfig<'a>>,
    #[serde(default)]
    pub(crate) request_metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct Turn<'a> {
    #[serde(borrow)]
    pub(crate) role: Text<'a>,
    #[serde(borrow)]
    pub(crate) content: Vec<Block<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InferenceConfig {
    pub(crate) max_tokens: Option<i64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    #[serde(default)]
    pub(crate) stop_sequences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolConfig<'a> {
    #[serde(borrow)]
    pub(crate) tools: Vec<Tool<'a>>,
    #[serde(borrow)]
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tool<'a> {
    #[serde(borrow)]
    pub(crate) tool_spec: Option<ToolSpec<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolSpec<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) description: Text<'a>,
    #[serde(borrow)]
    pub(crate) input_schema: InputSchema<'a>,
}

#[derive(Deserialize)]
pub(crate) struct InputSchema<'a> {
    #[serde(borrow)]
    pub(crate) json: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct ToolChoice<'a> {
    pub(crate) any: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    pub(crate) tool: Option<ToolName<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct ToolName<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputConfig<'a> {
    #[serde(borrow)]
    pub(crate) text_format: Option<TextFormat<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct TextFormat<'a> {
    #[serde(borrow)]
    pub(crate) structure: Structure<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Structure<'a> {
    #[serde(borrow)]
    pub(crate) json_schema: JsonSchema<'a>,
}

#[derive(Deserialize)]
pub(crate) struct JsonSchema<'a> {
    #[serde(borrow)]
    pub(crate) schema: Text<'a>,
}

impl ToolConfig<'_> {
    fn specs(&self) -> impl Iterator<Item = &ToolSpec<'_>> {
        self.tools.iter().filter_map(|tool| tool.tool_spec.as_ref())
    }

    /// The tools' bytes, which count as input.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = self.specs().map(|spec| {
            spec.name.len() + spec.description.len() + spec.input_schema.json.get().len()
        });
        bytes.sum()
    }

    /// The tool that is forced, if one is.
    pub(crate) fn forced(&self) -> Result<Option<Wanted>, Refusal> {
        let choice = match &self.tool_choice {
            Some(ToolChoice { tool: Some(tool), .. }) => Choice::Named(&tool.name),
            Some(ToolChoice { any: Some(_), .. }) => Choice::Any,
            _ => Choice::Free,
        };
        forced(self.specs().map(|spec| (&*spec.name, spec.input_schema.json)), choice)
    }
}
