//! What admission made of a document, and the states that a job goes through.
//! Must not know: stores, providers, the clock.

use serde::{Deserialize, Serialize};

use crate::catalogue::{Family, Format, Prices, cost_micros_max};
use crate::completion::Api;

/// Where a job stands. The last four are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its time, its turn or its quota.
    Ready,
    /// An attempt is in flight.
    Running,
    /// Waits for a person: an outcome is unknown and the job says `hold`.
    Held,
    /// Has its result.
    Succeeded,
    /// Has its error.
    Failed,
    /// A person ended it.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Running,
        Self::Held,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The name in tables and result lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// True for the four ends.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

/// How one attempt came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The call ran to its end and was billed, whatever the check said of the answer.
    Completed,
    /// The provider refused it before generation for lack of quota.
    Throttled,
    /// The provider refused it before generation for another reason.
    Refused,
    /// Cut, timed out or aborted: billed perhaps, the reservation stays.
    Cut,
    /// The worker died in the middle of it: the same, and nobody saw the end.
    Unknown,
    /// Claimed and never sent; everything given back.
    NotSent,
}

impl Outcome {
    /// The name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Cut => "cut",
            Self::Unknown => "unknown",
            Self::NotSent => "not_sent",
        }
    }
}

/// What admission settled once, so that every attempt of the job makes the same call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The id to invoke.
    pub model_id: String,
    /// The canonical alias, or the id where the catalogue has none.
    pub model: String,
    /// Whose formats it speaks.
    pub family: Family,
    /// Which interface carries the call.
    pub api: Api,
    /// How its native body is formed, where `api` is `invoke`.
    #[serde(default)]
    pub format: Option<Format>,
    /// Whether it takes a system prompt.
    pub supports_system: bool,
    /// What it costs; unknown for models outside the catalogue.
    pub prices: Option<Prices>,
    /// The sampling temperature sent, where the model takes one.
    pub temperature: Option<f32>,
    /// The nucleus sampling sent, where given and taken.
    pub top_p: Option<f32>,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// How many quota tokens an output token costs.
    pub burndown: u32,
}

impl Resolved {
    /// The most that a call which wants this may cost, in micro-dollars; none where the prices are
    /// unknown.
    #[must_use]
    pub fn cost_micros_max(&self, wanted: &Wanted) -> Option<u64> {
        let prices = self.prices.as_ref()?;
        Some(cost_micros_max(prices, wanted.input_tokens_max, wanted.max_tokens))
    }
}

/// What a job wants of the quota, per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// An upper bound of the input's tokens.
    pub input_tokens_max: u64,
    /// The longest answer, in tokens.
    pub max_tokens: u64,
    /// How many quota tokens an output token costs.
    pub burndown: u64,
}
