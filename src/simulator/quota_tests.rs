//! Tests of the quota arithmetic, against a reference that remembers every call. Must not know: the
//! wire.

use proptest::prelude::*;

use super::*;

fn quota(requests: Option<u64>, tokens: Option<u64>, mode: QuotaMode) -> Quota {
    Quota::new(QuotaLimits { requests_per_minute: requests, tokens_per_minute: tokens, mode })
}

#[test]
fn a_reservation_counts_in_full_until_it_is_settled() {
    let mut quota = quota(None, Some(1_000), QuotaMode::Window);
    let first = quota.admit(0, 600).unwrap();
    assert_eq!(quota.admit(10, 600), Err(Shortage::Tokens));
    quota.settle(20, first, 100);
    assert!(quota.admit(30, 600).is_ok());
    assert_eq!(quota.worst().0.tokens, 700);
}

#[test]
fn a_refused_call_is_charged_nothing() {
    let mut quota = quota(Some(1), Some(1_000), QuotaMode::Window);
    quota.admit(0, 10).unwrap();
    for now_ms in 1..100 {
        assert_eq!(quota.admit(now_ms, 10), Err(Shortage::Requests));
    }
    assert_eq!(quota.admit(59_999, 10), Err(Shortage::Requests));
    assert!(quota.admit(60_000, 10).is_ok());
}

#[test]
fn output_that_burns_fivefold_may_overdraw_at_settlement_and_then_nothing_is_admitted() {
    let mut quota = quota(None, Some(1_000), QuotaMode::Window);
    let call = quota.admit(0, 400).unwrap();
    quota.settle(5_000, call, 100 + 300 * 5);
    assert_eq!(quota.admit(59_999, 1), Err(Shortage::Tokens));
    assert!(quota.admit(60_000, 1_000).is_ok());
    let (worst, at_admission) = quota.worst();
    assert_eq!((worst.tokens, at_admission.tokens), (1_600, 1_000));
}

#[test]
fn a_call_that_outlives_the_window_is_forgotten_and_only_its_excess_counts_later() {
    let mut quota = quota(None, Some(1_000), QuotaMode::Window);
    let refunded = quota.admit(0, 900).unwrap();
    let overdrawn = quota.admit(0, 100).unwrap();
    quota.settle(70_000, refunded, 10);
    quota.settle(70_000, overdrawn, 300);
    assert_eq!(quota.admit(70_001, 801), Err(Shortage::Tokens));
    assert!(quota.admit(70_001, 800).is_ok());
}

#[test]
fn a_bucket_refills_continuously_and_takes_refunds() {
    let mut quota = quota(Some(60), Some(6_000), QuotaMode::Bucket);
    let first = quota.admit(0, 6_000).unwrap();
    assert_eq!(quota.admit(0, 1), Err(Shortage::Tokens));
    assert!(quota.admit(10, 1).is_ok());
    quota.settle(10, first, 5_000);
    assert!(quota.admit(10, 1_000).is_ok());
    assert_eq!(quota.admit(10, 1), Err(Shortage::Tokens));
}

#[test]
fn a_bucket_of_requests_admits_one_for_each_refill() {
    let mut quota = quota(Some(60), None, QuotaMode::Bucket);
    for _ in 0..60 {
        quota.admit(0, 0).unwrap();
    }
    assert_eq!(quota.admit(999, 0), Err(Shortage::Requests));
    assert!(quota.admit(1_000, 0).is_ok());
    assert_eq!(quota.admit(1_000, 0), Err(Shortage::Requests));
}

#[test]
fn minutes_count_from_the_first_call_and_hold_settled_use() {
    let mut quota = quota(None, None, QuotaMode::Window);
    let first = quota.admit(50_000, 100).unwrap();
    quota.admit(109_999, 10).unwrap();
    quota.admit(110_000, 1).unwrap();
    quota.settle(120_000, first, 70);
    assert_eq!(
        quota.minutes(),
        &[Charges { requests: 2, tokens: 80 }, Charges { requests: 1, tokens: 1 },]
    );
}

/// What happens next in a generated history: wait, start a call, settle one in flight.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Start(u64),
    Settle(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..30_000_u64).prop_map(Step::Wait),
        (0..500_u64).prop_map(Step::Start),
        (any::<usize>(), 0..900_u64).prop_map(|(which, use_)| Step::Settle(which, use_)),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A call that the reference remembers: when its charge started and how much it is.
struct Remembered {
    start_ms: u64,
    tokens: u64,
    ticket: Option<Ticket>,
}

fn sum(calls: &[Remembered], now_ms: u64) -> (u64, u64) {
    let live = calls.iter().filter(|c| c.start_ms + WINDOW_MS > now_ms);
    live.fold((0, 0), |(requests, tokens), call| (requests + 1, tokens + call.tokens))
}

proptest! {
    #[test]
    fn the_window_agrees_with_a_reference_that_remembers_every_call(steps in steps()) {
        let mut quota = quota(Some(20), Some(2_000), QuotaMode::Window);
        let mut calls: Vec<Remembered> = Vec::new();
        let mut excess: Vec<Remembered> = Vec::new();
        let mut now_ms = 0;
        for step in steps {
            match step {
                Step::Wait(ms) => now_ms += ms,
                Step::Start(reserve) => {
                    let (requests, tokens) = sum(&calls, now_ms);
                    let tokens = tokens + sum(&excess, now_ms).1;
                    let expected = if requests >= 20 {
                        Some(Shortage::Requests)
                    } else if tokens + reserve > 2_000 {
                        Some(Shortage::Tokens)
                    } else {
                        None
                    };
                    let got = quota.admit(now_ms, reserve);
                    prop_assert_eq!(got.err(), expected);
                    if let Ok(ticket) = got {
                        calls.push(Remembered { start_ms: now_ms, tokens: reserve, ticket: Some(ticket) });
                    }
                }
                Step::Settle(which, used) => {
                    let mut open: Vec<_> = calls.iter_mut().filter(|c| c.ticket.is_some()).collect();
                    if open.is_empty() {
                        continue;
                    }
                    let position = which % open.len();
                    let call = open.swap_remove(position);
                    quota.settle(now_ms, call.ticket.take().unwrap(), used);
                    if call.start_ms + WINDOW_MS <= now_ms && used > call.tokens {
                        excess.push(Remembered { start_ms: now_ms, tokens: used - call.tokens, ticket: None });
                    }
                    call.tokens = used;
                }
            }
        }
    }
}
