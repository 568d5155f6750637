//! Tests that try to break the budget: by hand, against a reference that remembers every call,
//! and over a simulated hour.
//! Must not know: anything outside this room.

mod by_hand;
mod clock;
mod guarantee;
mod hour;
mod provider;
mod saturated;
mod written;

use super::{Charge, Draw, FitPolicy, Keyed, LaneTime, Limit, Plan, fit};

fn tokens(tokens: u64) -> Charge {
    Charge { requests: 1, tokens }
}

fn tokens_per_minute(limit: u64) -> Limit {
    Limit { tokens_per_minute: Some(limit), ..Limit::default() }
}

fn key(name: &str, limit: Limit) -> Keyed {
    Keyed { name: name.to_owned(), limit, state: super::BudgetState::default() }
}

/// One draw of `amount` tokens on all keys.
fn ask(keyed: &mut [Keyed], id: &str, amount: u64, now_ms: u64) -> Plan {
    let keys: Vec<usize> = (0..keyed.len()).collect();
    let draw = Draw { id, reservation: tokens(amount), keys: &keys, first: false };
    fit(keyed, &[draw], &FitPolicy::default(), LaneTime(now_ms))
}
