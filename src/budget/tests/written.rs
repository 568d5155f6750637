//! The written form of a state: it comes back as it was, and stays readable.
//! Must not know: arithmetic.

use proptest::prelude::*;

use super::super::*;
use super::{ask, key, tokens, tokens_per_minute};

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    Reserve(u64),
    Settle(usize, u64),
    GiveBack(usize),
    Throttled(bool),
    Rebase,
    Ask(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..20_000_u64).prop_map(Step::Advance),
        (0..5_000_u64).prop_map(Step::Reserve),
        (any::<usize>(), 0..20_000_u64).prop_map(|(n, used)| Step::Settle(n, used)),
        any::<usize>().prop_map(Step::GiveBack),
        any::<bool>().prop_map(Step::Throttled),
        Just(Step::Rebase),
        (1..50_000_u64).prop_map(Step::Ask),
    ]
}

fn take(steps: Vec<Step>) -> Keyed {
    let mut keys = [key("total", tokens_per_minute(50_000))];
    let mut open = Vec::new();
    for step in steps {
        let state = &mut keys[0].state;
        let limit = tokens_per_minute(50_000);
        match step {
            Step::Advance(ms) => state.advance(state.now().plus_ms(ms)),
            Step::Reserve(amount) => {
                let reservation = tokens(amount);
                open.push((state.reserve(reservation, state.expected(reservation)), amount));
            }
            Step::Settle(n, used) if !open.is_empty() => {
                let (slot, amount) = open.swap_remove(n % open.len());
                state.settle(slot, tokens(amount), tokens(used));
            }
            Step::GiveBack(n) if !open.is_empty() => {
                let (slot, amount) = open.swap_remove(n % open.len());
                state.give_back(slot, tokens(amount));
            }
            Step::Throttled(known) => {
                let dimension = known.then_some(Dimension::Tokens);
                state.throttled(state.now(), &limit, dimension);
            }
            Step::Rebase => state.rebase(),
            Step::Ask(amount) => {
                let now = state.now().0;
                ask(&mut keys, "waiting", amount, now);
            }
            Step::Settle(..) | Step::GiveBack(_) => {}
        }
    }
    let [key] = keys;
    key
}

proptest! {
    #[test]
    fn a_state_comes_back_from_its_written_form_as_it_was(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let state = take(steps).state;
        let written = serde_json::to_string(&state).unwrap();
        let read: BudgetState = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&read, &state);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), written);
    }

    #[test]
    fn whatever_a_damaged_ring_says_it_is_read_and_used_without_panic(
        rows in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..8), 0..8),
        now in any::<u64>(),
    ) {
        let written = serde_json::json!({ "now": now, "ring": rows }).to_string();
        let state: BudgetState = serde_json::from_str(&written).unwrap();
        let mut keys = [Keyed { state, ..key("total", tokens_per_minute(1_000)) }];
        ask(&mut keys, "a", 1, now);
        keys[0].state.rebase();
        ask(&mut keys, "a", 1, now.saturating_add(1_000));
        let level = keys[0].state.level(&keys[0].limit);
        prop_assert_eq!(level.tokens.limit, Some(1_000));
    }
}

#[test]
fn an_empty_state_is_written_small_and_unknown_fields_are_ignored() {
    let written = serde_json::to_string(&BudgetState::default()).unwrap();
    assert_eq!(written, r#"{"now":0}"#);
    let read: BudgetState = serde_json::from_str("{}").unwrap();
    assert_eq!(read, BudgetState::default());
    let read: BudgetState =
        serde_json::from_str(r#"{"now":7,"ring":[[3,1,5,0,1,5,9]],"colour":"blue"}"#).unwrap();
    assert_eq!(read.now(), LaneTime(7));
    assert_eq!(read.level(&Limit::default()).tokens.in_flight, 5);
}

#[test]
fn a_full_busy_ring_is_written_in_less_than_8_kilobytes() {
    let mut state = BudgetState::default();
    for slot in 0..400 {
        state.advance(LaneTime(1_000_000_000 + slot * SLOT_MS));
        for _ in 0..50 {
            let at = state.reserve(tokens(12_345), tokens(12_345));
            if slot % 3 != 0 {
                state.settle(at, tokens(12_345), tokens(2_345));
            }
        }
    }
    let written = serde_json::to_string(&state).unwrap();
    assert!(written.len() < 8_000, "{} bytes", written.len());
}
