//! The effective limit: what is left of a configured limit after the provider throttled below it.
//! Must not know: the ring, the pace, or why the provider throttled.

use serde::{Deserialize, Serialize};

use super::charge::{Dimension, LaneTime};

/// How long a limit takes to grow back to what is configured, at most.
const GROW_MS: u64 = 600_000;

/// But at least this part of what is configured is added in `GROW_MS`: a single throttle by chance
/// is forgotten in a minute.
const GROW_PART: u64 = 3;

/// A decrease keeps this many percent of what the provider had accepted.
const KEEP_PERCENT: u64 = 97;

/// What a dimension without a configured limit grows towards at least, in `GROW_MS`.
fn grow_floor(dimension: Dimension) -> u64 {
    match dimension {
        Dimension::Requests => 60,
        Dimension::Tokens => 60_000,
    }
}

/// One decrease of one dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cut {
    /// When it was made.
    at: LaneTime,
    /// What it left.
    to: u64,
    /// What is added in `GROW_MS`.
    grow: u64,
}

impl Cut {
    /// A decrease made at `now`, when the calls that the provider had accepted summed up to
    /// `accepted` and the limit stood at `before`.
    pub(super) fn new(
        now: LaneTime,
        dimension: Dimension,
        accepted: u64,
        configured: Option<u64>,
        before: Option<u64>,
    ) -> Self {
        let basis = before.map_or(accepted, |before| before.min(accepted));
        let to = scaled(basis, KEEP_PERCENT, 100);
        let grow = match configured {
            Some(configured) => configured.saturating_sub(to).max(configured / GROW_PART),
            None => (accepted / GROW_PART).max(grow_floor(dimension)),
        };
        Self { at: now, to, grow }
    }

    /// Whether a throttle of a call claimed at `claimed_at` says anything that this decrease has
    /// not already answered.
    pub(super) fn answers(&self, claimed_at: LaneTime) -> bool {
        claimed_at <= self.at
    }

    /// The limit at `now`; `None` if none is left.
    pub(super) fn limit(&self, now: LaneTime, configured: Option<u64>) -> Option<u64> {
        let since_ms = now.since_ms(self.at);
        let grown = self.to.saturating_add(scaled(self.grow, since_ms, GROW_MS));
        match configured {
            Some(configured) => Some(configured.min(grown)),
            None if since_ms >= GROW_MS => None,
            None => Some(grown),
        }
    }

    /// Whether nothing is left of the decrease at `now`.
    pub(super) fn is_over(&self, now: LaneTime) -> bool {
        // A configured limit may have been raised since; two spans are enough to forget it all.
        now.since_ms(self.at) >= 2 * GROW_MS
    }

    /// When the limit has grown to `sum`; `None` if it never does.
    pub(super) fn reached(&self, sum: u64, configured: Option<u64>) -> Option<LaneTime> {
        if configured.is_some_and(|configured| sum > configured) {
            return None;
        }
        let missing = sum.saturating_sub(self.to);
        let wait_ms = if missing == 0 {
            0
        } else if self.grow == 0 {
            2 * GROW_MS
        } else {
            let exact = (u128::from(missing) * u128::from(GROW_MS)).div_ceil(u128::from(self.grow));
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        let longest_ms = if configured.is_some() { 2 * GROW_MS } else { GROW_MS };
        Some(self.at.plus_ms(wait_ms.min(longest_ms)))
    }
}

/// `amount * by / of` without overflow.
fn scaled(amount: u64, by: u64, of: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}
