//! Single situations, each worked out by hand.
//! Must not know: the inner form of the state.

use super::super::*;
use super::{ask, key, tokens, tokens_per_minute};
use crate::completion::Usage;

fn slot_of(plan: &Plan) -> Slot {
    match plan.decisions.as_slice() {
        [Decision::Claim { slots }] => slots[0],
        other => panic!("expected a claim, got {other:?}"),
    }
}

fn wait_of(plan: &Plan) -> u64 {
    match plan.decisions.as_slice() {
        [Decision::Wait { fits_in_ms, .. }] => {
            assert_eq!(plan.fits_in_ms, Some(*fits_in_ms));
            *fits_in_ms
        }
        other => panic!("expected a wait, got {other:?}"),
    }
}

fn used(keyed: &Keyed) -> u64 {
    let level = keyed.state.level(&keyed.limit).tokens;
    level.used + level.in_flight
}

#[test]
fn a_call_is_remembered_until_its_slot_is_older_than_window_and_guard() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    slot_of(&ask(&mut keys, "a", 1_000, 10_100));
    // Its slot ends at 10,250.
    assert_eq!(wait_of(&ask(&mut keys, "b", 1, 10_100)), 60_650);
    assert_eq!(wait_of(&ask(&mut keys, "b", 1, 70_749)), 1);
    slot_of(&ask(&mut keys, "b", 1, 70_750));
}

#[test]
fn the_wait_is_as_long_as_it_takes_until_enough_is_forgotten() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    for (amount, now_ms) in [(300, 0), (300, 20_000), (400, 40_000)] {
        keys[0].state.advance(LaneTime(now_ms));
        keys[0].state.reserve(tokens(amount), tokens(0));
    }
    assert_eq!(wait_of(&ask(&mut keys, "d", 300, 50_000)), 10_750);
    assert_eq!(wait_of(&ask(&mut keys, "d", 301, 50_000)), 30_750);
    assert_eq!(wait_of(&ask(&mut keys, "d", 1_000, 50_000)), 50_750);
}

#[test]
fn a_finished_call_makes_room_at_once() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    let slot = slot_of(&ask(&mut keys, "a", 1_000, 0));
    wait_of(&ask(&mut keys, "b", 800, 30_000));
    keys[0].state.settle(slot, tokens(1_000), tokens(200));
    slot_of(&ask(&mut keys, "b", 800, 30_000));
    assert_eq!(used(&keys[0]), 1_000);
}

#[test]
fn calls_of_one_slot_settle_apart() {
    let mut state = BudgetState::default();
    let first = state.reserve(tokens(100), tokens(100));
    let second = state.reserve(tokens(50), tokens(50));
    assert_eq!(first, second);
    state.settle(first, tokens(100), tokens(1));
    state.settle(second, tokens(50), tokens(70));
    let level = state.level(&Limit::default());
    assert_eq!((level.tokens.used, level.tokens.in_flight), (71, 0));
    assert_eq!((level.tokens.wasted, level.requests.used), (99, 2));
}

/// A state that was told that calls use half of what they reserve.
fn half_used() -> BudgetState {
    let mut state = BudgetState::default();
    let slot = state.reserve(tokens(2_000_000), tokens(0));
    state.settle(slot, tokens(2_000_000), tokens(1_000_000));
    state.advance(LaneTime(100_000));
    state
}

#[test]
fn a_forgotten_call_gets_no_refund_and_pays_its_excess_now() {
    let mut state = half_used();
    let slot = state.reserve(tokens(100), tokens(100));
    state.advance(LaneTime(200_000));
    state.settle(slot, tokens(100), tokens(10));
    assert_eq!(state.level(&Limit::default()).tokens.used, 0);
    state.settle(slot, tokens(100), tokens(500));
    let level = state.level(&Limit::default());
    assert_eq!((level.tokens.used, level.requests.used), (400, 0));
}

#[test]
fn a_call_at_the_end_of_its_window_pays_its_excess_from_now_on() {
    let mut keys = [Keyed { state: half_used(), ..key("total", tokens_per_minute(1_000)) }];
    let slot = keys[0].state.reserve(tokens(100), tokens(0));
    keys[0].state.advance(LaneTime(160_100));
    keys[0].state.settle(slot, tokens(100), tokens(600));
    assert_eq!(used(&keys[0]), 600);
    keys[0].state.advance(LaneTime(220_000));
    assert_eq!(used(&keys[0]), 500);
}

#[test]
fn where_reservations_are_used_up_dropped_refunds_pay_for_excesses() {
    let mut state = BudgetState::default();
    let slot = state.reserve(tokens(100), tokens(100));
    let other = state.reserve(tokens(1_000_000), tokens(0));
    state.settle(other, tokens(1_000_000), tokens(1_000_000));
    state.advance(LaneTime(100_000));
    state.settle(slot, tokens(100), tokens(20));
    state.settle(slot, tokens(100), tokens(150));
    assert_eq!(state.level(&Limit::default()).tokens.used, 0);
    state.settle(slot, tokens(100), tokens(150));
    assert_eq!(state.level(&Limit::default()).tokens.used, 20);
    // What was dropped a window ago pays for nothing.
    state.settle(slot, tokens(100), tokens(0));
    state.advance(LaneTime(170_000));
    state.settle(slot, tokens(100), tokens(150));
    assert_eq!(state.level(&Limit::default()).tokens.used, 50);
}

#[test]
fn a_call_that_was_not_sent_leaves_no_trace() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    let slot = slot_of(&ask(&mut keys, "a", 1_000, 0));
    keys[0].state.give_back(slot, tokens(1_000));
    assert_eq!(keys[0].state.level(&keys[0].limit).requests.used, 0);
    assert_eq!(keys[0].state.level(&keys[0].limit).tokens.wasted, 0);
    slot_of(&ask(&mut keys, "a", 1_000, 0));
}

#[test]
fn a_throttled_call_keeps_its_request_and_gives_its_tokens_back() {
    let mut state = BudgetState::default();
    let slot = state.reserve(tokens(100), tokens(100));
    state.settle(slot, tokens(100), tokens(0));
    let level = state.level(&Limit::default());
    assert_eq!((level.tokens.used, level.requests.used), (0, 1));
    assert_eq!(level.tokens.wasted, 0);
    assert_eq!(state.expected(tokens(100)), tokens(100));
}

#[test]
fn a_charge_is_found_by_its_old_slot_after_any_number_of_rebases() {
    let mut state = BudgetState::default();
    state.advance(LaneTime(100_000));
    let first = state.reserve(tokens(1_000), tokens(1_000));
    state.advance(LaneTime(130_000));
    let second = state.reserve(tokens(100), tokens(100));
    state.rebase();
    state.advance(LaneTime(170_000));
    let third = state.reserve(tokens(10), tokens(10));
    // Lane time jumps by an hour, and the charges go with it.
    state.step(LaneTime(3_770_000));
    let fourth = state.reserve(tokens(1), tokens(1));
    assert_eq!(state.level(&Limit::default()).tokens.in_flight, 1_111);
    for (slot, amount) in [(first, 1_000), (second, 100), (third, 10), (fourth, 1)] {
        state.settle(slot, tokens(amount), tokens(0));
    }
    let level = state.level(&Limit::default());
    assert_eq!((level.tokens.in_flight, level.tokens.used), (0, 0));
}

#[test]
fn a_call_forgotten_before_a_rebase_stays_forgotten() {
    let mut state = BudgetState::default();
    let old = state.reserve(tokens(100), tokens(100));
    state.advance(LaneTime(70_000));
    state.reserve(tokens(7), tokens(7));
    state.rebase();
    state.settle(old, tokens(100), tokens(0));
    assert_eq!(state.level(&Limit::default()).tokens.in_flight, 7);
}

#[test]
fn a_rebase_keeps_charges_for_a_whole_window_more() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    slot_of(&ask(&mut keys, "a", 1_000, 0));
    keys[0].state.advance(LaneTime(60_000));
    keys[0].state.rebase();
    assert_eq!(wait_of(&ask(&mut keys, "b", 1, 60_000)), 60_750);
}

#[test]
fn an_earlier_time_is_taken_as_the_last_seen() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    slot_of(&ask(&mut keys, "a", 1_000, 100_000));
    assert_eq!(wait_of(&ask(&mut keys, "b", 1, 50)), 60_750);
    assert_eq!(keys[0].state.now(), LaneTime(100_000));
}

#[test]
fn never_fits_is_judged_against_what_is_configured() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    let limit = keys[0].limit;
    keys[0].state.throttled(LaneTime(1), &limit, None);
    let plan = ask(&mut keys, "large", 1_001, 2);
    let never = Decision::NeverFits {
        key: 0,
        dimension: Dimension::Tokens,
        limit: 1_000,
        reservation: 1_001,
    };
    assert_eq!(plan.decisions, [never]);
    // The effective limit is next to nothing, and still an empty ring admits one call.
    assert_eq!(keys[0].state.level(&limit).tokens.effective, Some(0));
    slot_of(&ask(&mut keys, "whole", 1_000, 2));
    wait_of(&ask(&mut keys, "more", 1, 2));
}

#[test]
fn throttles_lower_the_limit_once_and_it_grows_back_with_time() {
    let limit = tokens_per_minute(10_000);
    let mut state = BudgetState::default();
    state.advance(LaneTime(50_000));
    let reservation = tokens(500);
    let slots: Vec<Slot> = (0..10).map(|_| state.reserve(reservation, reservation)).collect();
    // A whole window later the ring says what the provider accepts in a minute.
    state.advance(LaneTime(110_000));
    state.settle(slots[9], reservation, tokens(0));
    state.throttled(LaneTime(110_000), &limit, Some(Dimension::Tokens));
    let effective = |state: &BudgetState| state.level(&limit).tokens.effective;
    assert_eq!(effective(&state), Some(4_365));
    // Claimed before the decrease: answered.
    state.throttled(LaneTime(109_000), &limit, Some(Dimension::Tokens));
    assert_eq!(effective(&state), Some(4_365));
    assert_eq!(state.level(&limit).requests.effective, None);
    // All of what is missing comes back in ten minutes, a tenth of it in one.
    state.advance(LaneTime(170_000));
    assert_eq!(effective(&state), Some(4_365 + 563));
    state.advance(LaneTime(710_000));
    assert_eq!(effective(&state), Some(10_000));
}

#[test]
fn a_wait_below_a_decreased_limit_ends_when_it_has_grown() {
    let limit = tokens_per_minute(60_000);
    let mut keys = [key("total", limit)];
    // A ring of less than six seconds counts as six: 1,000 are a rate of 10,000 a minute.
    keys[0].state.reserve(tokens(1_000), tokens(0));
    keys[0].state.throttled(LaneTime(1), &limit, None);
    // 9,700 are left and 50,300 come back in ten minutes: 800 more after 9,543 ms.
    assert_eq!(wait_of(&ask(&mut keys, "b", 9_500, 30)), 9_543 - 30);
    assert_eq!(wait_of(&ask(&mut keys, "b", 9_500, 9_542)), 1);
    slot_of(&ask(&mut keys, "b", 9_500, 9_543));
}

#[test]
fn a_throttle_in_the_first_seconds_leaves_the_rate_that_was_accepted() {
    let limit = tokens_per_minute(60_000);
    let mut state = BudgetState::default();
    for second in 0..12 {
        state.advance(LaneTime(second * 1_000));
        state.reserve(tokens(500), tokens(500));
    }
    state.advance(LaneTime(12_000));
    state.throttled(LaneTime(12_000), &limit, Some(Dimension::Tokens));
    // 6,000 in 12 seconds are 30,000 a minute, less 3 percent.
    assert_eq!(state.level(&limit).tokens.effective, Some(29_100));
}

#[test]
fn an_unlimited_key_learns_a_limit_from_a_throttle_and_forgets_it() {
    let mut keys = [key("lane", Limit::default())];
    for n in 0..100 {
        slot_of(&ask(&mut keys, &n.to_string(), 1_000_000, 0));
    }
    keys[0].state.throttled(LaneTime(0), &Limit::default(), Some(Dimension::Tokens));
    wait_of(&ask(&mut keys, "b", 1_000_000, 0));
    slot_of(&ask(&mut keys, "b", 1_000_000, 600_000));
    assert_eq!(keys[0].state.level(&Limit::default()).tokens.effective, None);
}

#[test]
fn small_draws_pass_a_large_one_for_half_a_minute() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    // The pace is told to expect nothing of it, so that only the guard holds others back.
    keys[0].state.reserve(tokens(500), tokens(0));
    for second in 1..=30 {
        wait_of(&ask(&mut keys, "large", 900, second * 1_000));
        slot_of(&ask(&mut keys, "small", 1, second * 1_000));
    }
    assert_eq!(wait_of(&ask(&mut keys, "large", 900, 31_000)), 29_750);
    assert_eq!(wait_of(&ask(&mut keys, "small", 1, 31_000)), 29_750);
    assert_eq!(wait_of(&ask(&mut keys, "small", 1, 60_749)), 1);
    slot_of(&ask(&mut keys, "large", 900, 60_750));
    assert_eq!(keys[0].state.pass, None);
}

#[test]
fn a_key_is_kept_only_for_as_long_as_somebody_asks() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    slot_of(&ask(&mut keys, "first", 500, 0));
    wait_of(&ask(&mut keys, "cancelled", 900, 1_000));
    wait_of(&ask(&mut keys, "cancelled", 900, 31_000));
    // It would have fitted at 60.75 s and does not ask.
    wait_of(&ask(&mut keys, "small", 1, 62_750));
    slot_of(&ask(&mut keys, "small", 1, 62_751));
}

#[test]
fn every_key_of_a_draw_must_allow_it_and_a_denial_charges_none() {
    let mut keys = [key("lane", tokens_per_minute(1_000)), key("total", tokens_per_minute(100))];
    slot_of(&ask(&mut keys, "a", 60, 0));
    let plan = ask(&mut keys, "b", 60, 20_000);
    assert_eq!(plan.waiting, Some((1, Dimension::Tokens)));
    assert_eq!((used(&keys[0]), used(&keys[1])), (60, 60));
}

#[test]
fn the_pace_spreads_a_burst_over_the_minute() {
    let mut keys = [key("total", tokens_per_minute(60_000))];
    let mut claimed_at = Vec::new();
    let mut now = 0;
    for n in 0..60 {
        loop {
            let plan = ask(&mut keys, &n.to_string(), 1_000, now);
            let Some(wait_ms) = plan.fits_in_ms else {
                break;
            };
            now += wait_ms;
        }
        claimed_at.push(now);
    }
    // One without having asked, then one a second, when the one before is paid for.
    let steady: Vec<u64> = (0..60).map(|n| n * 1_000).collect();
    assert_eq!(claimed_at, steady);
}

#[test]
fn an_idle_key_saves_up_three_seconds_of_flow() {
    let mut keys = [key("total", tokens_per_minute(60_000))];
    slot_of(&ask(&mut keys, "0", 1_000, 0));
    let fits = (1..10)
        .take_while(|n| ask(&mut keys, &n.to_string(), 1_000, 50_000).fits_in_ms.is_none())
        .count();
    assert_eq!(fits, 4, "three saved up, and one on credit");
}

/// One draw on the first key that nothing passes.
fn ask_first(keys: &mut [Keyed], id: &str, amount: u64, now_ms: u64) -> Plan {
    let draw = Draw { id, reservation: tokens(amount), keys: &[0], first: true };
    fit(keys, &[draw], &FitPolicy::default(), LaneTime(now_ms))
}

#[test]
fn nothing_passes_a_draw_that_goes_first() {
    let mut keys = [key("total", tokens_per_minute(60_000))];
    slot_of(&ask(&mut keys, "0", 50_000, 60_000));
    let fits = ask_first(&mut keys, "large", 20_000, 100_000).fits_in_ms.unwrap();
    assert!(ask(&mut keys, "small", 1_000, 100_000).fits_in_ms.is_some(), "it would fit");
    let at = 100_000 + fits;
    assert_eq!(ask_first(&mut keys, "large", 20_000, at).fits_in_ms, None);
    assert_eq!(ask(&mut keys, "small", 1_000, at + 20_000).fits_in_ms, None);
}

#[test]
fn who_was_passed_too_long_comes_before_who_goes_first() {
    let mut keys = [key("total", tokens_per_minute(60_000))];
    slot_of(&ask(&mut keys, "0", 50_000, 60_000));
    assert!(ask(&mut keys, "old", 30_000, 61_000).fits_in_ms.is_some());
    assert!(ask_first(&mut keys, "first", 20_000, 91_500).fits_in_ms.is_some());
    // Both wait; the older has the key once the room is there.
    assert!(ask_first(&mut keys, "first", 20_000, 120_900).fits_in_ms.is_some());
    assert_eq!(ask(&mut keys, "old", 30_000, 120_900).fits_in_ms, None);
    assert_eq!(ask_first(&mut keys, "first", 20_000, 150_900).fits_in_ms, None);
}

#[test]
fn no_more_is_claimed_than_asked_for() {
    let mut keys = [key("total", tokens_per_minute(1_000_000))];
    let draws =
        ["a", "b", "c"].map(|id| Draw { id, reservation: tokens(1), keys: &[0], first: false });
    let policy = FitPolicy { claims_max: 2, ..FitPolicy::default() };
    keys[0].state.advance(LaneTime(5_000));
    let plan = fit(&mut keys, &draws, &policy, LaneTime(5_000));
    assert_eq!(plan.decisions.len(), 2);
    assert_eq!(used(&keys[0]), 2);
}

#[test]
fn what_calls_use_of_their_reservation_is_learned() {
    let mut state = BudgetState::default();
    for _ in 0..2_000 {
        let slot = state.reserve(tokens(1_000), tokens(1_000));
        state.settle(slot, tokens(1_000), tokens(250));
    }
    assert_eq!(state.expected(tokens(4_000)), tokens(1_000));
}

#[test]
fn a_reservation_is_the_larger_of_the_provider_s_and_the_expected_use() {
    assert_eq!(reservation(100, 1_000, 150, 5), tokens(1_100));
    assert_eq!(reservation(100, 1_000, 500, 5), tokens(2_600));
    assert_eq!(reservation(u64::MAX, 1, 1, 5).tokens, u64::MAX);
    let usage = Usage { input: 10, output: 20, cache_read: 1_000, cache_write: 3 };
    assert_eq!(settled(&usage, 5), tokens(113));
}

#[test]
fn amounts_near_the_end_of_numbers_neither_overflow_nor_admit() {
    let mut keys = [key("total", tokens_per_minute(u64::MAX))];
    slot_of(&ask(&mut keys, "a", u64::MAX, u64::MAX - 5));
    let mut state = keys[0].state.clone();
    state.reserve(tokens(u64::MAX), tokens(u64::MAX));
    state.advance(LaneTime(u64::MAX));
    state.step(LaneTime(u64::MAX));
    assert_eq!(state.level(&keys[0].limit).tokens.in_flight, u64::MAX);
}

#[test]
fn a_charge_that_was_lost_is_made_again_where_it_was() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    let lost = slot_of(&ask(&mut keys, "a", 600, 10_100));
    keys[0].state = BudgetState::default();
    let other = slot_of(&ask(&mut keys, "b", 100, 30_000));
    assert_eq!(LaneTime(30_100).slot_ago(20_000), lost);
    keys[0].state.advance(LaneTime(30_100));
    keys[0].state.restore(lost, tokens(600));
    assert_eq!(used(&keys[0]), 700);
    // Forgotten when the first charge would have been.
    assert_eq!(wait_of(&ask(&mut keys, "c", 900, 70_749)), 1);
    keys[0].state.settle(lost, tokens(600), tokens(200));
    keys[0].state.settle(other, tokens(100), tokens(50));
    assert_eq!(used(&keys[0]), 250);
}

#[test]
fn a_charge_that_was_lost_and_is_older_than_the_window_is_made_now() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    let now = LaneTime(100_000);
    keys[0].state.advance(now);
    let slot = now.slot_ago(70_000);
    assert_eq!(slot, now.slot());
    keys[0].state.restore(slot, tokens(600));
    wait_of(&ask(&mut keys, "c", 900, 159_000));
    keys[0].state.settle(slot, tokens(600), tokens(200));
    assert_eq!(used(&keys[0]), 200);
}

#[test]
fn a_charge_that_was_lost_across_a_clock_step_is_settled_where_it_stands() {
    let mut keys = [key("total", tokens_per_minute(1_000))];
    keys[0].state.advance(LaneTime(10_000));
    keys[0].state.reserve(tokens(100), tokens(0));
    keys[0].state.step(LaneTime(20_000));
    let slot = LaneTime(20_000).slot_ago(10_000);
    keys[0].state.restore(slot, tokens(600));
    keys[0].state.settle(slot, tokens(600), tokens(200));
    assert_eq!(used(&keys[0]), 300);
}
