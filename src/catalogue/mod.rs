//! Room to be filled.
use serde::{Deserialize, Serialize};

/// A model family: who speaks the same native formats and takes the same parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Anthropic Claude.
    Claude,
    /// Meta Llama.
    Llama,
    /// Mistral and Mixtral.
    Mistral,
    /// Amazon Nova.
    Nova,
    /// DeepSeek.
    Deepseek,
    /// OpenAI's open-weight models.
    OpenAi,
    /// Alibaba Qwen.
    Qwen,
}
