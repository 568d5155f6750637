//! The native bodies of Bedrock's InvokeModel: what each model format is sent, and what its answers
//! say, whole or in stream chunks.
//! Must not know: clients, clocks, HTTP, errors' codes, the catalogue's rows.

use serde_json::Value;

use crate::catalogue::Format;
use crate::completion::{Message, StopReason, Usage};

/// One call, as far as its body is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The system prompt; folded into the first user turn where the format has no place for it.
    pub system: Option<&'a str>,
    /// The turns; the first is the user's, roles alternate.
    pub messages: &'a [Message],
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// 0 to 1; absent where the model takes none.
    pub temperature: Option<f32>,
    /// 0 to 1; absent where the model takes none.
    pub top_p: Option<f32>,
    /// Strings that end the answer.
    pub stop: &'a [String],
}

/// What a format cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Refused {
    /// The job document's field: `stop`.
    pub field: &'static str,
    /// Why, and the way out.
    pub reason: String,
}

/// Why a part of an answer could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The answer outgrew the bytes allowed.
    #[error("the answer is longer than allowed")]
    TooLarge,
    /// The bytes are not what the format's answers look like.
    #[error("the answer is not of its format: {0}")]
    Form(String),
}

/// The token counts that stand beside a body: response headers of a whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// `x-amzn-bedrock-input-token-count`.
    pub input: Option<u64>,
    /// `x-amzn-bedrock-output-token-count`.
    pub output: Option<u64>,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// All text, joined.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// What the provider counted.
    pub usage: Usage,
}

/// The body of one call.
///
/// # Errors
/// Where the format has no way to say something that the call asks for.
pub fn body(format: Format, _ask: &Ask<'_>) -> Result<Value, Refused> {
    Err(Refused { field: "api", reason: format!("{format} is not there yet") })
}

/// An answer as it grows.
#[derive(Debug)]
pub struct Gather {
    format: Format,
    bytes_max: usize,
}

impl Gather {
    /// Nothing yet; at most `bytes_max` of text are kept.
    #[must_use]
    pub fn new(format: Format, bytes_max: usize) -> Self {
        Self { format, bytes_max }
    }

    /// Takes in one chunk of a stream and returns the text that it added.
    ///
    /// # Errors
    /// Where the chunk is not of the format, or the answer is too long.
    pub fn chunk(&mut self, _bytes: &[u8]) -> Result<&str, Unreadable> {
        Err(Unreadable::Form(format!("{} of {}", self.format, self.bytes_max)))
    }

    /// Takes in a whole body.
    ///
    /// # Errors
    /// Where the body is not of the format, or the answer is too long.
    pub fn whole(&mut self, _bytes: &[u8]) -> Result<(), Unreadable> {
        Err(Unreadable::Form(format!("{} of {}", self.format, self.bytes_max)))
    }

    /// True once a stream has said its stop reason and its token counts.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        false
    }

    /// The text so far, for the record of a call that failed.
    #[must_use]
    pub fn partial(self) -> Option<String> {
        None
    }

    /// The complete answer; what is missing in the body is taken from `counted`.
    ///
    /// # Errors
    /// The text so far, where the stop reason or the counts never came.
    pub fn finish(self, _counted: Counted) -> Result<Answer, Option<String>> {
        Err(None)
    }
}
