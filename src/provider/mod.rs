//! The provider port: a request in the project's own terms goes in, a completion comes out.
//! One call of `generate` is one wire call: no retries inside, no waiting for quota.
//! Must not know: stores, jobs' states, budgets.

pub mod bedrock;

use crate::catalogue::{Family, Format};
pub use crate::completion::Api;
use crate::completion::{Completion, Message};
use crate::error::ErrorKind;
use async_trait::async_trait;

/// The clocks of one call, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// From sending to the first byte of the answer.
    pub first_token_ms: u64,
    /// Between two events of a stream.
    pub idle_ms: u64,
    /// The whole call.
    pub total_ms: u64,
}

/// One call, in the project's own terms.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// The id to invoke: a base model id, an inference-profile id or an ARN.
    pub model_id: String,
    /// Whose formats the model speaks.
    pub family: Family,
    /// Which interface carries it.
    pub api: Api,
    /// How the native body is formed; needed where `api` is `invoke`.
    pub format: Option<Format>,
    /// Stream inside, so that a hung call is seen early.
    pub stream: bool,
    /// The system prompt, where the model takes one (admission folds it elsewhere).
    pub system: Option<String>,
    /// The conversation, first turn by the user, roles alternating.
    pub messages: Vec<Message>,
    /// Always sent: quotas reserve it.
    pub max_tokens: u32,
    /// 0 to 1; absent where the model refuses sampling parameters.
    pub temperature: Option<f32>,
    /// 0 to 1; absent where the model refuses sampling parameters.
    pub top_p: Option<f32>,
    /// Strings that end the answer.
    pub stop: Vec<String>,
    /// What the provider's log shows beside the call: `job_id`, `attempt`, `tenant`.
    pub metadata: Vec<(String, String)>,
    /// How long each part may take.
    pub clocks: Clocks,
    /// The longest answer kept, in bytes.
    pub answer_bytes_max: usize,
}

/// What a failed call costs of the quota and of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedCharge {
    /// Refused before generation: no tokens; the request still counts.
    None,
    /// Cut, timed out or aborted: tokens may have been generated; the reservation stays.
    Unknown,
    /// Never left this process: everything is given back.
    NotSent,
}

/// A call that did not run to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct CallError {
    /// The typed kind, from the provider's error code.
    pub kind: ErrorKind,
    /// The provider's words, shortened to 2,000 characters.
    pub message: String,
    /// A floor for the next try, where the provider names one.
    pub retry_after_ms: Option<u64>,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// Text that had arrived before the failure; kept as evidence.
    pub partial_text: Option<String>,
    /// What to do with the reservation.
    pub charge: FailedCharge,
}

/// Who hears an answer's text as it arrives, piece by piece.
pub type Heard = dyn Fn(&str) + Send + Sync;

/// A provider of completions.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Makes one call. Dropping the future aborts it.
    async fn generate(&self, request: &GenerateRequest) -> Result<Completion, CallError>;

    /// Makes one call and hands on each piece of the answer's text as it arrives, whatever the
    /// request's `stream` says. The pieces, joined, are the completion's text; what a failed call
    /// has handed on is not taken back. One exception: where a model speaks first and then calls
    /// a tool, the completion's text is the tool's input, and what it said before was handed on
    /// (no call of ours offers a tool yet).
    async fn stream(
        &self,
        request: &GenerateRequest,
        heard: &Heard,
    ) -> Result<Completion, CallError> {
        let completion = self.generate(request).await?;
        heard(&completion.text);
        Ok(completion)
    }

    /// The first part of a lane's name: `bedrock/us-east-1`.
    fn lane_prefix(&self) -> &str;

    /// The body that `generate` would send, as JSON, for `jobs show --full`.
    fn wire_body(&self, request: &GenerateRequest) -> serde_json::Value;
}
