//! The kinds of failure, as data. What to do about each is decided in `retry`, never here.
//! Must not know: providers, stores, clocks.

mod explain;

use serde::{Deserialize, Serialize};

pub use explain::{Explanation, explain};

/// Why a call or a job failed. The snake-case name is stable: it stands in the tables, in result
/// lines (`error.kind`) and in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The provider's requests-per-minute quota is used up (429).
    ThrottledRequests,
    /// The provider's tokens-per-minute quota is used up (429).
    ThrottledTokens,
    /// The provider's tokens-per-day quota is used up (429); hopeless for hours.
    ThrottledDay,
    /// The model itself is overloaded (429 or 503 with an overload text), whatever our quota.
    Overloaded,
    /// A custom or imported model is still loading (429 `ModelNotReadyException`).
    ModelNotReady,
    /// The service is unavailable (503).
    Unavailable,
    /// The service failed inside (500).
    Internal,
    /// The model ran out of the provider's own time (408).
    ModelTimeout,
    /// The model failed on this input (424).
    ModelError,
    /// No connection, or it broke before the first byte of the answer.
    ConnectFailed,
    /// Nothing arrived within the first-token clock.
    FirstTokenTimeout,
    /// The stream fell silent for longer than the idle clock.
    IdleTimeout,
    /// The whole call took longer than its clock.
    CallTimeout,
    /// The stream ended without its closing events.
    StreamCut,
    /// The provider refuses the request's form (400).
    InvalidRequest,
    /// The input does not fit the model's window (400).
    InputTooLong,
    /// The credentials lack permission for this model (403).
    AccessDenied,
    /// No credentials, or expired or malformed ones.
    Credentials,
    /// The model id is unknown, retired or not reachable from here (404).
    ModelNotFound,
    /// The model's bare id is refused: it is invoked through an inference profile alone (400).
    ProfileNeeded,
    /// The answer was cut at `max_tokens`.
    Truncated,
    /// The model declined to answer.
    Refused,
    /// A content filter stopped the answer.
    Filtered,
    /// A guardrail intervened.
    Guardrail,
    /// The model returned nothing.
    Empty,
    /// No JSON value could be found in the answer.
    InvalidJson,
    /// The JSON does not fit the job's schema.
    SchemaMismatch,
    /// The answer is longer than `answer_bytes_max`.
    AnswerTooLarge,
    /// The worker died in the middle of the call: its outcome is unknown.
    Crashed,
    /// The job's deadline passed before it succeeded.
    DeadlineExceeded,
    /// The document cannot be admitted.
    Rejected,
    /// The job's reservation is larger than a configured limit: it can never be claimed.
    NeverFits,
    /// The quota has no room within the time that the caller would wait.
    BudgetExhausted,
    /// The answer could not be stored in its columns; its bytes are kept.
    Unstorable,
    /// A person cancelled the job.
    Cancelled,
    /// A defect of this program (a caught panic, an impossible state).
    Bug,
}

impl ErrorKind {
    /// Every kind, in the order in which they are explained.
    pub const ALL: [Self; 36] = [
        Self::ThrottledRequests,
        Self::ThrottledTokens,
        Self::ThrottledDay,
        Self::Overloaded,
        Self::ModelNotReady,
        Self::Unavailable,
        Self::Internal,
        Self::ModelTimeout,
        Self::ModelError,
        Self::ConnectFailed,
        Self::FirstTokenTimeout,
        Self::IdleTimeout,
        Self::CallTimeout,
        Self::StreamCut,
        Self::InvalidRequest,
        Self::InputTooLong,
        Self::AccessDenied,
        Self::Credentials,
        Self::ModelNotFound,
        Self::ProfileNeeded,
        Self::Truncated,
        Self::Refused,
        Self::Filtered,
        Self::Guardrail,
        Self::Empty,
        Self::InvalidJson,
        Self::SchemaMismatch,
        Self::AnswerTooLarge,
        Self::Crashed,
        Self::DeadlineExceeded,
        Self::Rejected,
        Self::NeverFits,
        Self::BudgetExhausted,
        Self::Unstorable,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The stable snake-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThrottledRequests => "throttled_requests",
            Self::ThrottledTokens => "throttled_tokens",
            Self::ThrottledDay => "throttled_day",
            Self::Overloaded => "overloaded",
            Self::ModelNotReady => "model_not_ready",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::ModelTimeout => "model_timeout",
            Self::ModelError => "model_error",
            Self::ConnectFailed => "connect_failed",
            Self::FirstTokenTimeout => "first_token_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::CallTimeout => "call_timeout",
            Self::StreamCut => "stream_cut",
            Self::InvalidRequest => "invalid_request",
            Self::InputTooLong => "input_too_long",
            Self::AccessDenied => "access_denied",
            Self::Credentials => "credentials",
            Self::ModelNotFound => "model_not_found",
            Self::ProfileNeeded => "profile_needed",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Filtered => "filtered",
            Self::Guardrail => "guardrail",
            Self::Empty => "empty",
            Self::InvalidJson => "invalid_json",
            Self::SchemaMismatch => "schema_mismatch",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Crashed => "crashed",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Rejected => "rejected",
            Self::NeverFits => "never_fits",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Unstorable => "unstorable",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message's first line, without a last sentence that only announces the others: `Attempted:`.
pub(crate) fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    match line.rsplit_once(". ") {
        Some((before, announcement)) if announcement.ends_with(':') => before,
        _ => line,
    }
}
