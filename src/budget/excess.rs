//! By how much calls of late have used more than they had reserved. The provider counts that when a
//! call ends, and we a moment later, when its finish is settled: room for one such call is left.
//! Must not know: the ring, the pace, limits.

use serde::{Deserialize, Serialize};

use super::WINDOW_MS;
use super::charge::LaneTime;

/// The most of a limit, one part in so many, that is left free for it: a small limit must not be
/// spent on this, and has few calls in flight.
const SHARE: u64 = 100;

/// The largest excess of a call of the last window, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Excess {
    at: LaneTime,
    tokens: u64,
}

impl Excess {
    /// Whether none was ever seen.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// A call has settled with so many tokens more than it had reserved.
    pub(super) fn note(&mut self, now: LaneTime, tokens: u64) {
        if tokens > 0 && tokens >= self.of(now) {
            *self = Self { at: now, tokens };
        }
    }

    fn of(&self, now: LaneTime) -> u64 {
        if now.since_ms(self.at) <= WINDOW_MS { self.tokens } else { 0 }
    }

    /// From when on nothing is left free any more, if no other is seen.
    pub(super) fn ends(&self) -> LaneTime {
        self.at.plus_ms(WINDOW_MS + 1)
    }

    /// How much of this limit is left free.
    pub(super) fn margin(&self, now: LaneTime, limit: u64) -> u64 {
        self.of(now).min(limit / SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{BudgetState, Charge, Dimension, Limit};

    #[test]
    fn after_a_call_that_used_more_than_it_reserved_the_guard_keeps_room_for_another() {
        let limit = Limit { requests_per_minute: None, tokens_per_minute: Some(1_000_000) };
        let mut state = BudgetState::default();
        state.advance(LaneTime(1_000_000));
        let reserved = Charge { requests: 1, tokens: 1_000 };
        let slot = state.reserve(reserved, reserved);
        assert_eq!(state.guard_wait_ms(&limit, Dimension::Tokens, 999_000), 0);
        state.settle(slot, reserved, Charge { requests: 1, tokens: 6_000 });
        assert!(state.guard_wait_ms(&limit, Dimension::Tokens, 994_000) > 0);
        assert_eq!(state.guard_wait_ms(&limit, Dimension::Tokens, 989_000), 0);
    }

    #[test]
    fn a_call_that_would_fit_but_for_that_room_waits_no_longer_than_it_is_kept() {
        let limit = Limit { requests_per_minute: None, tokens_per_minute: Some(100_000) };
        let call = |tokens| Charge { requests: 1, tokens };
        let mut state = BudgetState::default();
        state.advance(LaneTime(1_000_000));
        let slot = state.reserve(call(1_000), call(1_000));
        state.settle(slot, call(1_000), call(6_000));
        state.advance(LaneTime(1_010_000));
        state.reserve(call(93_400), call(93_400));
        let wait_ms = state.guard_wait_ms(&limit, Dimension::Tokens, 500);
        assert_eq!(wait_ms, WINDOW_MS + 1 - 10_000, "99,400 and 500 fit, but for 1,000");
        state.advance(LaneTime(1_010_000 + wait_ms - 1));
        assert_eq!(state.guard_wait_ms(&limit, Dimension::Tokens, 500), 1);
        state.advance(LaneTime(1_010_000 + wait_ms));
        assert_eq!(state.guard_wait_ms(&limit, Dimension::Tokens, 500), 0);
    }

    #[test]
    fn the_largest_excess_of_a_window_is_left_free_and_no_more_than_a_hundredth() {
        let mut excess = Excess::default();
        assert!(excess.is_none());
        excess.note(LaneTime(1_000), 0);
        assert!(excess.is_none(), "a call within its reservation says nothing");
        excess.note(LaneTime(1_000), 700);
        excess.note(LaneTime(2_000), 300);
        assert_eq!(excess.margin(LaneTime(2_000), 1_000_000), 700);
        assert_eq!(excess.margin(LaneTime(2_000), 10_000), 100);
        assert_eq!(excess.margin(LaneTime(1_000 + WINDOW_MS + 1), 1_000_000), 0);
        excess.note(LaneTime(62_000), 300);
        assert_eq!(excess.margin(LaneTime(62_000), 1_000_000), 300, "the old one is forgotten");
    }
}
