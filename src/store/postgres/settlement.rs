//! What calls took, left by the group that ends their jobs for whoever next holds their keys' locks:
//! so a finish waits for no claim, and a claim has whatever was committed before it took its locks.
//! Must not know: how a state is charged, or where it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::claim::KEY_SEPARATOR;
use super::error::Outcome;
use crate::budget::{BudgetState, LaneTime};
use crate::store::Settlement;
use crate::store::shared::settling;

/// What the calls of a group took, a row for each key that they draw on.
#[derive(Debug, Default)]
pub(super) struct Settlements {
    pub(super) keys: Vec<String>,
    pub(super) calls: Vec<String>,
}

/// What a call was charged as it was claimed.
pub(super) struct Charged<'a> {
    /// As one text.
    pub(super) keys: &'a str,
    pub(super) slot: u64,
    pub(super) reserved_tokens: u64,
}

/// The calls of one group that draw on one key: when they were settled, and what they took.
#[derive(Serialize, Deserialize)]
struct Group(LaneTime, Vec<Took>);

/// The slot in which a call was claimed, the tokens that it had reserved, and those that it took;
/// none where it was given back.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Took(u64, u64, Option<u64>);

impl Took {
    /// None where the reservation stays.
    fn of(slot: u64, reserved_tokens: u64, settlement: Settlement) -> Option<Self> {
        match settlement {
            Settlement::Used(tokens) => Some(Self(slot, reserved_tokens, Some(tokens))),
            Settlement::Nothing => Some(Self(slot, reserved_tokens, Some(0))),
            Settlement::GivenBack => Some(Self(slot, reserved_tokens, None)),
            Settlement::Held => None,
        }
    }

    fn settlement(self) -> Settlement {
        self.2.map_or(Settlement::GivenBack, Settlement::Used)
    }
}

impl Settlements {
    /// What these calls settle at this time.
    pub(super) fn of<'a>(
        calls: impl Iterator<Item = (Charged<'a>, Settlement)>,
        at: LaneTime,
    ) -> Outcome<Self> {
        // Mostly all draw on the same keys.
        let mut by_keys: BTreeMap<&str, Vec<Took>> = BTreeMap::new();
        for (charged, settlement) in calls {
            let took = Took::of(charged.slot, charged.reserved_tokens, settlement);
            by_keys.entry(charged.keys).or_default().extend(took);
        }
        let mut groups: BTreeMap<&str, Vec<Took>> = BTreeMap::new();
        for (keys, took) in &by_keys {
            for key in keys.split(KEY_SEPARATOR).filter(|key| !key.is_empty()) {
                groups.entry(key).or_default().extend(took);
            }
        }
        groups.retain(|_, took| !took.is_empty());
        let mut settlements = Self::default();
        for (key, calls) in groups {
            settlements.keys.push(key.to_owned());
            settlements.calls.push(serde_json::to_string(&Group(at, calls))?);
        }
        Ok(settlements)
    }
}

/// Books what was left to be settled, a JSON list of groups in the order of their commits, each at its
/// own time, or at the state's where somebody has charged it since.
pub(super) fn book(state: &mut BudgetState, groups: &str) -> Outcome<()> {
    let groups: Vec<Group> = serde_json::from_str(groups)?;
    for Group(at, calls) in groups {
        state.advance(at);
        for took in calls {
            settling::book(state, (took.0, took.1), took.settlement());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Charge, Limit};

    fn call(claimed: LaneTime, keys: &str) -> Charged<'_> {
        Charged { keys, slot: claimed.slot().0, reserved_tokens: 1_000 }
    }

    #[test]
    fn a_key_has_the_calls_of_all_that_draw_on_it_and_what_stays_reserved_leaves_nothing() {
        let now = LaneTime(1_000_000);
        let used = Settlement::Used(300);
        let calls = [
            (call(now, "lane:a\u{1f}total"), used),
            (call(now, "lane:b\u{1f}total"), used),
            (call(now, "lane:c"), Settlement::Held),
        ];
        let left = Settlements::of(calls.into_iter(), now).unwrap();
        assert_eq!(left.keys, ["lane:a", "lane:b", "total"]);
        let of = |index: usize| serde_json::from_str::<Group>(&left.calls[index]).unwrap().1.len();
        assert_eq!((of(0), of(1), of(2)), (1, 1, 2));
    }

    /// A state on which calls were reserved at this time.
    fn charged(at: LaneTime, calls: u64) -> BudgetState {
        let mut state = BudgetState::default();
        state.advance(at);
        for _ in 0..calls {
            let reserved = Charge { requests: 1, tokens: 1_000 };
            state.reserve(reserved, reserved);
        }
        state
    }

    #[test]
    fn what_is_left_to_be_settled_comes_to_what_would_have_been_settled_at_once() {
        let (claimed, now) = (LaneTime(1_000_000), LaneTime(1_030_000));
        let kinds = [
            Settlement::Used(300),
            Settlement::Used(2_500),
            Settlement::Nothing,
            Settlement::Held,
            Settlement::GivenBack,
        ];
        let mut at_once = charged(claimed, 5);
        at_once.advance(now);
        for kind in kinds {
            settling::book(&mut at_once, (claimed.slot().0, 1_000), kind);
        }
        let calls = kinds.map(|kind| (call(claimed, "lane:lane\u{1f}total"), kind));
        let left = Settlements::of(calls.into_iter(), now).unwrap();
        assert_eq!(left.keys, ["lane:lane", "total"]);
        assert_eq!(left.calls[0], left.calls[1]);
        let mut later = charged(claimed, 5);
        book(&mut later, &format!("[{}]", left.calls[1])).unwrap();
        assert_eq!(later, at_once);
    }

    #[test]
    fn an_excess_that_nobody_asked_about_for_long_is_charged_to_its_own_time() {
        let claimed = LaneTime(1_000_000);
        let ended = claimed.plus_ms(61_000);
        let excess = (call(claimed, "total"), Settlement::Used(5_000));
        let left = Settlements::of([excess].into_iter(), ended).unwrap();
        let mut state = charged(claimed, 1);
        book(&mut state, &format!("[{}]", left.calls[0])).unwrap();
        assert_eq!(state.level(&Limit::default()).tokens.used, 4_000);
        state.advance(ended.plus_ms(61_000));
        assert_eq!(state.level(&Limit::default()).tokens.used, 0);
    }
}
