//! Calls that end when their slot is forgotten: what of their excess is charged.
//! Must not know: the ring, the pace, limits.

use serde::{Deserialize, Serialize};

use super::WINDOW_MS;
use super::charge::{Charge, LaneTime};

/// A reservation of which on average this many percent are used was set by the expected use, and
/// not by `max_tokens`.
const USED_UP_PERCENT: u64 = 97;

/// Refunds of calls longer than the window that were dropped lately, to be set against excesses of
/// others. Where reservations stand for expected use, the provider reserved less than we did: it
/// charges every long call's excess over that when the call ends, and in sum no more than was
/// reserved here. Charging our excesses and dropping our refunds would count that twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Dropped {
    at: LaneTime,
    tokens: u64,
}

impl Dropped {
    /// Whether there is nothing to set against an excess.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// A long call has ended; what is left of its excess to charge. `expected` is what calls with
    /// this reservation use on average.
    pub(super) fn settle(
        &mut self,
        now: LaneTime,
        reserved: Charge,
        settled: Charge,
        expected: Charge,
    ) -> Charge {
        let excess = settled.minus(reserved);
        let used_up = u128::from(expected.tokens) * 100
            >= u128::from(reserved.tokens) * u128::from(USED_UP_PERCENT);
        if !used_up {
            *self = Self::default();
            return excess;
        }
        // What was dropped a window ago is of no use any more; until then it fades.
        let left_ms = WINDOW_MS.saturating_sub(now.since_ms(self.at));
        let exact = u128::from(self.tokens) * u128::from(left_ms) / u128::from(WINDOW_MS);
        let faded = u64::try_from(exact).unwrap_or(u64::MAX);
        let tokens =
            faded.saturating_add(reserved.minus(settled).tokens).saturating_sub(excess.tokens);
        *self = if tokens == 0 { Self::default() } else { Self { at: now, tokens } };
        Charge { requests: excess.requests, tokens: excess.tokens.saturating_sub(faded) }
    }
}
