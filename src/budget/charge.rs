//! The units of the budget: lane time, slots, charges and limits.
//! Must not know: how charges are kept, or who reserves them.

use serde::{Deserialize, Serialize};

use super::SLOT_MS;
use super::ring::horizon;
use crate::completion::Usage;

/// Milliseconds of a lane's virtual clock, which never goes back.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LaneTime(pub u64);

impl LaneTime {
    /// The slot that this time lies in.
    #[must_use]
    pub fn slot(self) -> Slot {
        Slot(self.0 / SLOT_MS)
    }

    /// Milliseconds since `earlier`; 0 if it is not earlier.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The slot of this time, `ms` before; where that is forgotten by now, the present one.
    #[must_use]
    pub fn slot_ago(self, ms: u64) -> Slot {
        let slot = Self(self.0.saturating_sub(ms)).slot();
        if slot < horizon(self.slot()) { self.slot() } else { slot }
    }

    /// This time, `ms` later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// A quarter of a second of lane time, counted from lane time 0.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Slot(pub u64);

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Calls.
    Requests,
    /// Model tokens.
    Tokens,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 2] = [Self::Requests, Self::Tokens];
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        })
    }
}

/// What a user allows per minute. A dimension that is absent is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Calls per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Model tokens per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
}

impl Limit {
    /// The limit of one dimension.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> Option<u64> {
        match dimension {
            Dimension::Requests => self.requests_per_minute,
            Dimension::Tokens => self.tokens_per_minute,
        }
    }
}

/// An amount in every dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Calls.
    #[serde(default)]
    pub requests: u64,
    /// Model tokens.
    #[serde(default)]
    pub tokens: u64,
}

impl Charge {
    /// Nothing in any dimension.
    pub const ZERO: Self = Self { requests: 0, tokens: 0 };

    /// The amount in one dimension.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Requests => self.requests,
            Dimension::Tokens => self.tokens,
        }
    }

    /// Both amounts together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    /// What is left of this amount without `other`; never less than nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }

    /// Whether `other` is contained in this amount in every dimension.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.requests >= other.requests && self.tokens >= other.tokens
    }
}

/// What one call reserves: the larger of what the provider deducts when it starts (the input's
/// upper bound and `max_tokens`) and what it is expected to settle to. `burndown` is how many
/// tokens of quota one output token costs when the call ends.
#[must_use]
pub fn reservation(input_max: u64, max_tokens: u64, output_expected: u64, burndown: u64) -> Charge {
    let output = max_tokens.max(output_expected.saturating_mul(burndown));
    Charge { requests: 1, tokens: input_max.saturating_add(output) }
}

/// What one completed call settles to: input, cache writes and output times burndown. Cache reads
/// are free.
#[must_use]
pub fn settled(usage: &Usage, burndown: u64) -> Charge {
    Charge {
        requests: 1,
        tokens: usage
            .input
            .saturating_add(usage.cache_write)
            .saturating_add(usage.output.saturating_mul(burndown)),
    }
}
