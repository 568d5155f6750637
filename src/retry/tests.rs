//! Tests of the retry decisions: one for each row of the table, and the promise that jobs end.

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::*;

const FAR: Timing = Timing { retry_after_ms: None, deadline_in_ms: i64::MAX, lane_out_ms: None };

/// The largest delays and the flags of every verdict until the job ends, as one line.
fn life(kind: ErrorKind, timing: Timing) -> String {
    let policy = Policy { throttles_max: 4, ..Policy::default() };
    let mut counters = Counters::default();
    let mut steps = Vec::new();
    for _ in 0..6 {
        let verdict = longest(kind, &counters, &policy, timing);
        steps.push(match verdict {
            Verdict::Retry { after_ms } => format!("retry {after_ms}"),
            Verdict::Reask => "reask".to_owned(),
            Verdict::Snooze { after_ms, slow_lane, pause_lane } => {
                let slow = if slow_lane { " slow" } else { "" };
                let pause = if pause_lane { " pause" } else { "" };
                format!("snooze {after_ms}{slow}{pause}")
            }
            Verdict::End { state, kind } => format!("end {state:?} {kind}"),
        });
        if matches!(verdict, Verdict::End { .. }) {
            return steps.join(", ");
        }
        counters = counters.plus(counter(kind));
    }
    steps.push("...".to_owned());
    steps.join(", ")
}

/// The verdict with the longest delay that the jitter can give.
fn longest(kind: ErrorKind, counters: &Counters, policy: &Policy, timing: Timing) -> Verdict {
    /// Random numbers that are always the largest.
    struct Largest;
    impl rand::TryRng for Largest {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(u32::MAX)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(u64::MAX)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(u8::MAX);
            Ok(())
        }
    }
    decide(kind, counters, policy, timing, &mut Largest)
}

#[track_caller]
fn check(kinds: &[ErrorKind], expected: &str) {
    for kind in kinds {
        let expected = expected.replace("KIND", kind.as_str());
        assert_eq!(life(*kind, FAR), expected, "{kind}");
    }
}

#[test]
fn trouble_at_the_provider_is_retried_three_times() {
    check(
        &[
            ErrorKind::Overloaded,
            ErrorKind::Internal,
            ErrorKind::ConnectFailed,
            ErrorKind::FirstTokenTimeout,
            ErrorKind::IdleTimeout,
            ErrorKind::StreamCut,
        ],
        "retry 1000, retry 2000, retry 4000, end Failed KIND",
    );
}

#[test]
fn an_unavailable_service_is_retried_soon() {
    check(&[ErrorKind::Unavailable], "retry 250, retry 500, retry 1000, end Failed KIND");
}

#[test]
fn a_loading_model_is_left_alone_for_a_while() {
    check(&[ErrorKind::ModelNotReady], "retry 6000, retry 7000, retry 9000, end Failed KIND");
}

#[test]
fn a_call_that_ran_out_of_time_is_retried_twice() {
    let kinds = [ErrorKind::ModelTimeout, ErrorKind::CallTimeout];
    check(&kinds, "retry 1000, retry 2000, end Failed KIND");
}

#[test]
fn a_model_error_is_retried_once() {
    check(&[ErrorKind::ModelError, ErrorKind::Bug], "retry 1000, end Failed KIND");
}

#[test]
fn a_job_that_kills_its_workers_ends_at_the_third_crash() {
    check(&[ErrorKind::Crashed], "retry 1000, retry 2000, end Failed KIND");
}

#[test]
fn a_throttle_snoozes_and_slows_the_lane() {
    check(
        &[ErrorKind::ThrottledRequests, ErrorKind::ThrottledTokens],
        "snooze 2000 slow, snooze 4000 slow, snooze 8000 slow, end Failed KIND",
    );
}

#[test]
fn a_used_up_daily_quota_pauses_the_lane_for_an_hour() {
    check(
        &[ErrorKind::ThrottledDay],
        "snooze 3960000 pause, snooze 3960000 pause, snooze 3960000 pause, end Failed KIND",
    );
}

#[test]
fn missing_credentials_pause_the_lane_and_fail_no_job() {
    check(
        &[ErrorKind::Credentials, ErrorKind::AccessDenied],
        "snooze 66000 pause, snooze 66000 pause, snooze 66000 pause, snooze 66000 pause, \
         snooze 66000 pause, snooze 66000 pause, ...",
    );
}

#[test]
fn an_unusable_answer_is_asked_for_again_twice() {
    check(
        &[ErrorKind::InvalidJson, ErrorKind::SchemaMismatch, ErrorKind::Empty],
        "reask, reask, end Failed KIND",
    );
}

#[test]
fn an_outcome_of_the_answer_itself_ends_the_job() {
    check(
        &[
            ErrorKind::Truncated,
            ErrorKind::Refused,
            ErrorKind::Filtered,
            ErrorKind::Guardrail,
            ErrorKind::AnswerTooLarge,
            ErrorKind::Unstorable,
        ],
        "end Failed KIND",
    );
}

#[test]
fn a_permanent_error_ends_the_job_at_once() {
    check(
        &[
            ErrorKind::InvalidRequest,
            ErrorKind::InputTooLong,
            ErrorKind::ModelNotFound,
            ErrorKind::ProfileNeeded,
            ErrorKind::NeverFits,
            ErrorKind::BudgetExhausted,
            ErrorKind::Rejected,
        ],
        "end Failed KIND",
    );
}

#[test]
fn while_a_lane_is_out_its_failures_are_not_the_jobs() {
    let timing = Timing { lane_out_ms: Some(30_000), ..FAR };
    for kind in [ErrorKind::ConnectFailed, ErrorKind::Internal, ErrorKind::Credentials] {
        let many = Counters { failures: 100, ..Counters::default() };
        let verdict = longest(kind, &many, &Policy::default(), timing);
        let snooze = Verdict::Snooze { after_ms: 33_000, slow_lane: false, pause_lane: false };
        assert_eq!(verdict, snooze, "{kind}");
        assert_eq!(counted(kind, &verdict), None);
    }
    assert_eq!(life(ErrorKind::Refused, timing), "end Failed refused");
    assert!(life(ErrorKind::ModelError, timing).starts_with("retry 1000,"), "its own, still");
    assert_eq!(
        life(ErrorKind::ThrottledDay, timing),
        "snooze 33000, snooze 33000, snooze 33000, end Failed throttled_day"
    );
    let verdict = longest(ErrorKind::Internal, &Counters::default(), &Policy::default(), FAR);
    assert_eq!(counted(ErrorKind::Internal, &verdict), Some(Counter::Failures));
}

#[test]
fn the_words_for_people_say_what_the_table_does() {
    let policy = Policy { throttles_max: 4, ..Policy::default() };
    for kind in ErrorKind::ALL {
        let (words, life) = (in_words(kind, &policy), life(kind, FAR));
        let has = |words_have: &str| words.contains(words_have);
        assert_eq!(
            has("lane is paused for"),
            life.contains("pause") || lane::pauses(kind),
            "{kind}"
        );
        assert_eq!(has("shown its own answer"), life.contains("reask"), "{kind}");
        assert_eq!(has("The lane goes slower"), life.contains("slow"), "{kind}");
        // After ten thousand days without quota a job ends too; the library's own kind has no job.
        let is_beside = matches!(kind, ErrorKind::ThrottledDay | ErrorKind::BudgetExhausted);
        assert_eq!(has("ends `failed`"), life.contains("end Failed") && !is_beside, "{kind}");
        assert_eq!(has("`expired`"), life.contains("Expired"), "{kind}");
        let steps = life.split(", ").count();
        if life.starts_with("retry") && life.contains("end") {
            assert!(has(&format!("At the {steps}")), "{kind}: {life}: {words}");
        }
    }
}

#[test]
fn deadlines_and_cancellations_have_ends_of_their_own() {
    check(&[ErrorKind::DeadlineExceeded], "end Expired KIND");
    check(&[ErrorKind::Cancelled], "end Cancelled KIND");
}

#[test]
fn what_would_go_on_expires_once_the_deadline_has_passed() {
    for deadline_in_ms in [0, -1, i64::MIN] {
        let timing = Timing { retry_after_ms: Some(5), deadline_in_ms, lane_out_ms: None };
        for kind in [ErrorKind::Internal, ErrorKind::Empty, ErrorKind::ThrottledTokens] {
            assert_eq!(life(kind, timing), "end Expired deadline_exceeded");
        }
        assert_eq!(life(ErrorKind::Refused, timing), "end Failed refused");
    }
}

#[test]
fn a_delay_never_reaches_past_the_deadline() {
    let timing = Timing { retry_after_ms: Some(90_000), deadline_in_ms: 700, lane_out_ms: None };
    assert!(life(ErrorKind::Internal, timing).starts_with("retry 700,"));
    assert!(life(ErrorKind::ThrottledDay, timing).starts_with("snooze 700 pause,"));
}

#[test]
fn retry_after_is_a_floor_with_jitter_on_top() {
    let timing = Timing { retry_after_ms: Some(90_000), ..FAR };
    assert!(life(ErrorKind::ThrottledTokens, timing).starts_with("snooze 92000 slow,"));
    assert!(life(ErrorKind::Overloaded, timing).starts_with("retry 91000,"));
    let absurd = Timing { retry_after_ms: Some(u64::MAX), ..FAR };
    assert!(life(ErrorKind::Overloaded, absurd).starts_with("retry 86401000,"));
}

#[test]
fn a_job_may_allow_a_single_attempt() {
    let policy = Policy { failures_max: 1, ..Policy::default() };
    let verdict = longest(ErrorKind::Internal, &Counters::default(), &policy, FAR);
    let kind = ErrorKind::Internal;
    assert_eq!(verdict, Verdict::End { state: EndState::Failed, kind });
}

#[test]
fn a_policy_is_read_with_its_defaults_and_without_unknown_keys() {
    let policy: Policy = serde_json::from_str(r#"{"failures_max": 7}"#).unwrap();
    assert_eq!(policy, Policy { failures_max: 7, ..Policy::default() });
    assert!(serde_json::from_str::<Policy>(r#"{"failure_max": 7}"#).is_err());
}

fn any_kind() -> impl Strategy<Value = ErrorKind> {
    proptest::sample::select(ErrorKind::ALL.to_vec())
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (any::<u64>(), any::<u32>(), any::<u64>(), 0_u32..50, 0_u32..50, 0_u32..50, 0_u32..50).prop_map(
        |(
            backoff_base_ms,
            backoff_factor,
            backoff_ms_max,
            failures,
            reasks,
            crashes,
            throttles,
        )| {
            Policy {
                backoff_base_ms,
                backoff_factor,
                backoff_ms_max,
                failures_max: failures,
                reasks_max: reasks,
                crashes_max: crashes,
                throttles_max: throttles,
                ..Policy::default()
            }
        },
    )
}

fn delay_ms(verdict: Verdict) -> Option<u64> {
    match verdict {
        Verdict::Retry { after_ms } | Verdict::Snooze { after_ms, .. } => Some(after_ms),
        Verdict::Reask | Verdict::End { .. } => None,
    }
}

proptest! {
    #[test]
    fn jitter_stays_between_the_floor_and_the_cap(
        failures in 0_u32..3, floor in 0_u64..100_000, seed: u64,
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let counters = Counters { failures, ..Counters::default() };
        let timing = Timing { retry_after_ms: Some(floor), ..FAR };
        let verdict =
            decide(ErrorKind::Internal, &counters, &Policy::default(), timing, &mut rng);
        let after_ms = delay_ms(verdict).unwrap();
        prop_assert!((floor..=floor + 1_000 * 2_u64.pow(failures)).contains(&after_ms));
    }

    #[test]
    fn the_cap_grows_with_every_try_up_to_its_limit(policy in any_policy(), tries in 0_u32..200) {
        let policy = Policy { backoff_base_ms: policy.backoff_base_ms % 100_000, ..policy };
        let now = backoff_cap_ms(policy.backoff_base_ms, tries, &policy);
        let next = backoff_cap_ms(policy.backoff_base_ms, tries + 1, &policy);
        prop_assert!(now <= next && next <= policy.backoff_ms_max);
    }

    #[test]
    fn no_input_makes_a_delay_past_the_deadline(
        kind in any_kind(), policy in any_policy(), retry_after_ms: Option<u64>,
        deadline_in_ms: i64, seed: u64, counts: [u32; 4],
    ) {
        let [failures, reasks, crashes, throttles] = counts;
        let counters = Counters { failures, reasks, crashes, throttles };
        let timing = Timing { retry_after_ms, deadline_in_ms, lane_out_ms: None };
        let mut rng = SmallRng::seed_from_u64(seed);
        if let Some(after_ms) = delay_ms(decide(kind, &counters, &policy, timing, &mut rng)) {
            prop_assert!(i64::try_from(after_ms).unwrap() <= deadline_in_ms);
        }
    }

    /// Whatever happens in whatever order, a job ends after as many counted failures as its
    /// limits allow together; what is not counted moves time on, so it ends at the deadline.
    #[test]
    fn every_job_ends(
        kinds in proptest::collection::vec(any_kind(), 1..40), policy in any_policy(), seed: u64,
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let policy = Policy { backoff_factor: 2, ..policy };
        let mut counters = Counters::default();
        let mut left_ms: i64 = 7 * 24 * 3_600_000;
        let counted_max =
            policy.failures_max + policy.reasks_max + policy.crashes_max + policy.throttles_max;
        let uncounted_max = u32::try_from(left_ms / 60_000).unwrap() + 1;
        let (mut counted, mut uncounted) = (0_u32, 0_u32);
        for kind in kinds.iter().cycle() {
            let timing = Timing { deadline_in_ms: left_ms, ..FAR };
            let verdict = decide(*kind, &counters, &policy, timing, &mut rng);
            if matches!(verdict, Verdict::End { .. }) {
                break;
            }
            match counter(*kind) {
                Some(_) => counted += 1,
                None => uncounted += 1,
            }
            prop_assert!(counted <= counted_max && uncounted <= uncounted_max);
            counters = counters.plus(counter(*kind));
            left_ms -= i64::try_from(delay_ms(verdict).unwrap_or(0)).unwrap();
        }
    }
}
