//! The parts of a Converse body that the simulator reads; all else is skipped. Must not know: what
//! is allowed in them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    #[serde(default)]
    pub(super) messages: Vec<Turn>,
    #[serde(default)]
    pub(super) system: Vec<Block>,
    #[serde(default)]
    pub(super) inference_config: InferenceConfig,
    #[serde(default, borrow)]
    pub(super) tool_config: Option<ToolConfig<'a>>,
    pub(super) output_config: Option<OutputConfig>,
    #[serde(default)]
    pub(super) request_metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct Turn {
    pub(super) role: String,
    pub(super) content: Vec<Block>,
}

#[derive(Deserialize)]
pub(super) struct Block {
    pub(super) text: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct InferenceConfig {
    pub(super) max_tokens: Option<i64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    #[serde(default)]
    pub(super) stop_sequences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    #[serde(borrow)]
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) tool_choice: Option<ToolChoice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tool<'a> {
    #[serde(borrow)]
    pub(super) tool_spec: Option<ToolSpec<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolSpec<'a> {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(borrow)]
    pub(super) input_schema: InputSchema<'a>,
}

#[derive(Deserialize)]
pub(super) struct InputSchema<'a> {
    #[serde(borrow)]
    pub(super) json: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct ToolChoice {
    pub(super) any: Option<serde::de::IgnoredAny>,
    pub(super) tool: Option<ToolName>,
}

#[derive(Deserialize)]
pub(super) struct ToolName {
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutputConfig {
    pub(super) text_format: Option<TextFormat>,
}

#[derive(Deserialize)]
pub(super) struct TextFormat {
    pub(super) structure: Structure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Structure {
    pub(super) json_schema: JsonSchema,
}

#[derive(Deserialize)]
pub(super) struct JsonSchema {
    pub(super) schema: String,
}
