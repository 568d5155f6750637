//! The catalogue: which models there are, what each can do, and what it costs, as data.
//! Must not know: files, networks, the time of day (`today` is an argument), or how a provider
//! spells a call.

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

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
