//! The catalogue: which models there are, what each can do, and what it costs, as data.
//! Must not know: files, networks, the time of day (`today` is an argument), or how a provider
//! spells a call.

mod advice;
mod cost;
mod model;
mod nearest;
mod resolve;
mod table;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use cost::{cost_micros, cost_micros_max};
pub use model::{LongInput, Model, Prices, Supports};
pub use nearest::nearest;
pub use resolve::{Ask, ResolveError, Resolved, UNKNOWN_OUTPUT_MAX, UNKNOWN_WINDOW};
pub use table::{Catalogue, CatalogueError, TableHead};

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
    #[serde(rename = "openai")]
    OpenAi,
    /// Alibaba Qwen.
    Qwen,
}

impl Family {
    /// Every family, in the order of the catalogue.
    pub const ALL: [Self; 7] = [
        Self::Claude,
        Self::Llama,
        Self::Mistral,
        Self::Nova,
        Self::Deepseek,
        Self::OpenAi,
        Self::Qwen,
    ];

    /// The name used in documents, tables and settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Nova => "nova",
            Self::Deepseek => "deepseek",
            Self::OpenAi => "openai",
            Self::Qwen => "qwen",
        }
    }
}

/// How a model's native body is formed (Bedrock `InvokeModel`). Absent in the catalogue for models
/// that are called through the uniform interface alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Anthropic's messages.
    Claude,
    /// One prompt text with Llama 3's special tokens.
    Llama3,
    /// One prompt text with Llama 4's special tokens.
    Llama4,
    /// One prompt text with `[INST]` marks (Mistral 7B, Mixtral, Mistral Small and Large 2402).
    MistralInstruct,
    /// Mistral's messages (Large 2407 and newer).
    MistralChat,
    /// Amazon Nova's messages.
    Nova,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Claude,
        Self::Llama3,
        Self::Llama4,
        Self::MistralInstruct,
        Self::MistralChat,
        Self::Nova,
    ];

    /// The name used in the catalogue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Llama3 => "llama3",
            Self::Llama4 => "llama4",
            Self::MistralInstruct => "mistral_instruct",
            Self::MistralChat => "mistral_chat",
            Self::Nova => "nova",
        }
    }

    /// What to expect of a model that the catalogue does not know.
    #[must_use]
    pub fn of_unknown(family: Family) -> Option<Self> {
        match family {
            Family::Claude => Some(Self::Claude),
            Family::Llama => Some(Self::Llama3),
            Family::Mistral => Some(Self::MistralChat),
            Family::Nova => Some(Self::Nova),
            Family::Deepseek | Family::OpenAi | Family::Qwen => None,
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
