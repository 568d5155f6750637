//! The words of one model call: messages in, completion and usage out.
//! Must not know: how a provider spells them, or what they cost.

use serde::{Deserialize, Serialize};

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The producer's side.
    User,
    /// The model's side.
    Assistant,
}

/// One turn of a conversation: text only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said; not blank.
    #[schemars(regex(pattern = r"\S"))]
    pub text: String,
}

/// Model tokens of one call in the four classes that are priced apart. `input` excludes both
/// cache classes (Bedrock Converse's own convention for Claude and Nova).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read from the request, caches excluded.
    pub input: u64,
    /// Tokens written by the model.
    pub output: u64,
    /// Tokens read from a prompt cache.
    pub cache_read: u64,
    /// Tokens written to a prompt cache.
    pub cache_write: u64,
}

/// Which of the provider's interfaces carries the call.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// The provider's uniform conversation interface (Bedrock Converse and ConverseStream).
    #[default]
    Converse,
    /// The model family's native body (Bedrock InvokeModel).
    Invoke,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It was done.
    EndTurn,
    /// One of the job's `stop` strings.
    StopSequence,
    /// Cut at `max_tokens`, or at the end of the context window.
    MaxTokens,
    /// It asks for a tool (structured output by a forced tool).
    ToolUse,
    /// The model declined.
    Refusal,
    /// A content filter.
    ContentFiltered,
    /// A guardrail.
    GuardrailIntervened,
    /// The provider could not read the model's own output.
    Malformed,
    /// A stop reason newer than this program.
    Other,
}

/// What came back from one call that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The answer's text, all text blocks joined.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// What the provider counted.
    pub usage: Usage,
    /// The provider's request id, for its logs and support.
    pub request_id: Option<String>,
    /// Milliseconds from sending to the first text, where it was streamed.
    pub first_token_ms: Option<u64>,
    /// Milliseconds from sending to the end.
    pub total_ms: u64,
}
