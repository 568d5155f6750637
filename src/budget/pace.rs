//! The pace: a bucket that turns a limit per minute into a steady flow, charged with the use that
//! is expected of a call.
//! Must not know: the ring, or which calls were admitted.

use serde::{Deserialize, Serialize};

use super::WINDOW_MS;
use super::charge::{Charge, Dimension, LaneTime};

/// How much of the flow may be saved up while nothing starts.
const SAVED_MS: u64 = 3_000;

/// The ratio of settled to reserved tokens is an average over about this many calls.
const LEARN_CALLS: u64 = 512;

/// The learned sums are kept finer than whole tokens, so that small calls do not round away.
const LEARN_SCALE: u64 = 1_024;

/// What was spent beyond the steady flow, per dimension, in units of one 60,000th: what a limit
/// of 1 per minute refills in a millisecond. Negative where flow has been saved up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pace {
    /// Up to when refill has been counted.
    #[serde(rename = "at")]
    refilled_to: LaneTime,
    #[serde(rename = "r", skip_serializing_if = "is_zero")]
    requests: i64,
    #[serde(rename = "t", skip_serializing_if = "is_zero")]
    tokens: i64,
    /// Decaying sums of the tokens that finished calls had reserved and of those they used.
    #[serde(rename = "lr", skip_serializing_if = "is_zero_unsigned")]
    learned_reserved: u64,
    #[serde(rename = "ls", skip_serializing_if = "is_zero_unsigned")]
    learned_settled: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero_unsigned(n: &u64) -> bool {
    *n == 0
}

impl Pace {
    /// Whether it holds nothing worth storing.
    pub(super) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Counts the refill up to `now` at these limits; a dimension without one is not paced.
    pub(super) fn refill(&mut self, now: LaneTime, limit_of: impl Fn(Dimension) -> Option<u64>) {
        let elapsed_ms = now.since_ms(self.refilled_to);
        self.refilled_to = self.refilled_to.max(now);
        for dimension in Dimension::ALL {
            let debt = self.debt_mut(dimension);
            *debt = limit_of(dimension).map_or(0, |limit| {
                let refill = signed(limit.saturating_mul(elapsed_ms));
                let saved_most = signed(limit.saturating_mul(SAVED_MS));
                // More than a window of debt would hold back what the guard already allows.
                let debt_most = signed(limit.saturating_mul(WINDOW_MS));
                (*debt).min(debt_most).saturating_sub(refill).max(-saved_most)
            });
        }
    }

    /// Milliseconds until the next call of this dimension may start at `limit` per minute.
    pub(super) fn wait_ms(&self, dimension: Dimension, limit: u64) -> u64 {
        let debt = match dimension {
            Dimension::Requests => self.requests,
            Dimension::Tokens => self.tokens,
        };
        u64::try_from(debt).map_or(0, |debt| debt.div_ceil(limit.max(1)))
    }

    /// A call starts that is expected to use this much.
    pub(super) fn spend(&mut self, expected: Charge) {
        for dimension in Dimension::ALL {
            let debt = self.debt_mut(dimension);
            *debt = debt.saturating_add(units(expected.of(dimension)));
        }
    }

    /// A call that was expected to use `expected` used `settled`.
    pub(super) fn correct(&mut self, expected: Charge, settled: Charge) {
        for dimension in Dimension::ALL {
            let debt = self.debt_mut(dimension);
            *debt = debt
                .saturating_sub(units(expected.of(dimension)))
                .saturating_add(units(settled.of(dimension)));
        }
    }

    /// Learns how much of a reservation is used.
    pub(super) fn learn(&mut self, reserved: u64, settled: u64) {
        let decayed = |sum: u64, new: u64| {
            (sum - sum / LEARN_CALLS).saturating_add(new.saturating_mul(LEARN_SCALE))
        };
        self.learned_reserved = decayed(self.learned_reserved, reserved);
        self.learned_settled = decayed(self.learned_settled, settled);
    }

    /// What a call with this reservation is expected to use.
    pub(super) fn expected(&self, reservation: Charge) -> Charge {
        if self.learned_reserved == 0 {
            return reservation;
        }
        let exact = u128::from(reservation.tokens) * u128::from(self.learned_settled)
            / u128::from(self.learned_reserved);
        Charge { requests: reservation.requests, tokens: u64::try_from(exact).unwrap_or(u64::MAX) }
    }

    fn debt_mut(&mut self, dimension: Dimension) -> &mut i64 {
        match dimension {
            Dimension::Requests => &mut self.requests,
            Dimension::Tokens => &mut self.tokens,
        }
    }
}

fn units(amount: u64) -> i64 {
    signed(amount.saturating_mul(WINDOW_MS))
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
