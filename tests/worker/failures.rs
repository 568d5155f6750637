//! What becomes of a call that fails: counted, snoozed, paused or ended, as `retry`'s table says.

use std::sync::Arc;

use quarrier::completion::StopReason;
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::provider::FailedCharge::{self, None as Free, NotSent, Unknown};
use quarrier::retry::Policy;
use quarrier::store::{JobFilter, ReadStore as _};
use quarrier::worker::WaitingFor;
use serde_json::json;

use crate::bed::{Bed, plain, policy};
use crate::scripted::{Scripted, Step, answer, completion, fail, failure};
use crate::within;

/// Fails so often in this way, then answers; returns the job's page and the calls made.
async fn failing(
    kind: ErrorKind,
    charge: FailedCharge,
    times: usize,
) -> (quarrier::store::JobPage, usize) {
    let bed = Bed::new().await;
    let id = bed.job().await;
    let provider =
        Scripted::new(
            move |number, _| {
                if number <= times { fail(kind, charge) } else { answer("At last.") }
            },
        );
    let running = bed.start(provider.clone());
    running.ended(1).await;
    running.drained().await;
    (bed.page(id).await, provider.seen().begun)
}

#[test]
fn transient_failures_are_counted_and_tried_again() {
    within(async {
        let kinds = [
            (ErrorKind::Internal, Free),
            (ErrorKind::ModelNotReady, Free),
            (ErrorKind::ConnectFailed, Unknown),
            (ErrorKind::FirstTokenTimeout, Unknown),
            (ErrorKind::IdleTimeout, Unknown),
            (ErrorKind::StreamCut, Unknown),
        ];
        for (kind, charge) in kinds {
            let (page, calls) = failing(kind, charge, 3).await;
            assert_eq!((page.row.state, calls), (State::Succeeded, 4), "{kind}");
            assert_eq!(page.row.counters.failures, 3, "{kind}");
            let (page, calls) = failing(kind, charge, usize::MAX).await;
            assert_eq!((page.row.state, calls), (State::Failed, 4), "{kind}");
            assert_eq!(page.result.unwrap().error_kind.as_deref(), Some(kind.as_str()));
        }
    });
}

#[test]
fn a_job_alone_waits_for_a_provider_that_says_it_is_out_of_order() {
    within(async {
        let kinds = [
            (ErrorKind::Overloaded, Free),
            (ErrorKind::Unavailable, Free),
            (ErrorKind::ConnectFailed, NotSent),
        ];
        for (kind, charge) in kinds {
            let (page, calls) = failing(kind, charge, 9).await;
            assert_eq!((page.row.state, calls), (State::Succeeded, 10), "{kind}");
            let own = Policy::default().outage_calls - 1;
            assert_eq!(page.row.counters.failures, own, "{kind}: the others were the lane's");
        }
    });
}

#[test]
fn failures_that_may_be_paid_for_are_tried_less_often() {
    within(async {
        let kinds = [
            (ErrorKind::ModelTimeout, Unknown, 3),
            (ErrorKind::CallTimeout, Unknown, 3),
            (ErrorKind::ModelError, Free, 2),
        ];
        for (kind, charge, most) in kinds {
            let (page, calls) = failing(kind, charge, usize::MAX).await;
            assert_eq!((page.row.state, calls), (State::Failed, most), "{kind}");
        }
    });
}

#[test]
fn permanent_failures_end_the_job_at_once() {
    within(async {
        let kinds = [ErrorKind::InvalidRequest, ErrorKind::InputTooLong, ErrorKind::AnswerTooLarge];
        for kind in kinds {
            let (page, calls) = failing(kind, Free, usize::MAX).await;
            assert_eq!((page.row.state, calls), (State::Failed, 1), "{kind}");
            let result = page.result.unwrap();
            assert_eq!(result.error_kind.as_deref(), Some(kind.as_str()));
            assert_eq!(result.error_message.as_deref(), Some(&*format!("scripted {kind}")));
        }
    });
}

#[test]
fn a_model_that_the_provider_does_not_serve_names_what_to_use_instead() {
    within(async {
        let (page, calls) = failing(ErrorKind::ProfileNeeded, Free, usize::MAX).await;
        assert_eq!((page.row.state, calls), (State::Failed, 1));
        let expected = "scripted profile_needed; use us.anthropic.claude-haiku-4-5-20251001-v1:0";
        assert_eq!(page.result.unwrap().error_message.as_deref(), Some(expected));
        assert_eq!(page.attempts[0].error_message.as_deref(), Some(expected));
    });
}

#[test]
fn a_throttle_counts_no_failure_and_slows_the_lane() {
    within(async {
        let bed = Bed::new().await;
        let limit =
            quarrier::budget::Limit { requests_per_minute: Some(600), tokens_per_minute: None };
        bed.limit("lane:*", limit).await;
        let id = bed.job().await;
        let provider = Scripted::new(|number, _| match number {
            1..=3 => fail(ErrorKind::ThrottledRequests, Free),
            _ => answer("At last."),
        });
        let running = bed.start(provider.clone());
        running.ended(1).await;
        let levels = bed.store.levels().await.unwrap();
        let lane = levels.iter().find(|level| level.key.starts_with("lane:")).unwrap();
        let status = running.drained().await;
        assert_eq!((status.throttled, status.retried, status.succeeded), (3, 0, 1));
        let page = bed.page(id).await;
        assert_eq!(page.row.counters.failures, 0);
        assert_eq!(page.row.counters.throttles, 3);
        assert!(page.attempts[..3].iter().all(|attempt| {
            attempt.outcome.as_deref() == Some("throttled")
                && attempt.settled_tokens == Some(0)
                && attempt.cost_micros == Some(0)
        }));
        assert!(lane.level.requests.effective.unwrap() < 600, "{:?}", lane.level);
    });
}

#[test]
fn a_retry_after_is_a_floor() {
    within(async {
        for kind in [ErrorKind::ThrottledRequests, ErrorKind::Unavailable] {
            let bed = Bed::new().await;
            let id = bed.job().await;
            let provider = Scripted::new(move |_, _| {
                let mut error = failure(kind, Free);
                error.retry_after_ms = Some(600_000);
                Step::Fail(error)
            });
            let before = bed.clock.now().wall_ms;
            let running = bed.start(provider.clone());
            running.until(|status| status.retried + status.throttled >= 1).await;
            running.drained().await;
            let page = bed.page(id).await;
            assert_eq!(page.row.state, State::Ready);
            assert!(page.row.run_at >= before + 600_000, "{kind}");
        }
    });
}

#[test]
fn missing_credentials_pause_the_lane_and_fail_no_job() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..20 {
            bed.job().await;
        }
        let provider = Scripted::new(|_, _| fail(ErrorKind::Credentials, NotSent));
        let mut options = bed.options();
        options.concurrency = 2;
        options.retry = Policy { paused_ms: 600_000, ..policy() };
        let running = bed.start_with(provider.clone(), options);
        running
            .until(|status| matches!(&status.waiting, Some(WaitingFor::Pause { lane, .. }) if lane.starts_with("scripted/")))
            .await;
        let status = running.drained().await;
        assert_eq!((status.failed, status.retried), (0, 0));
        assert!(provider.seen().begun <= 4, "the rest was not even tried");
        let filter = JobFilter { rows_max: 100, ..JobFilter::default() };
        for row in bed.store.jobs(&filter).await.unwrap() {
            assert_eq!(row.state, State::Ready);
            assert_eq!(row.counters.failures, 0);
        }
    });
}

#[test]
fn a_paused_lane_goes_on_by_itself() {
    within(async {
        let (page, calls) = failing(ErrorKind::AccessDenied, Free, 3).await;
        assert_eq!((page.row.state, calls), (State::Succeeded, 4));
        assert_eq!(page.row.counters.failures, 0);
    });
}

#[test]
fn a_panic_is_a_failed_attempt_and_the_worker_lives_on() {
    within(async {
        let bed = Bed::new().await;
        let poor = bed.admit(json!({ "prompt": "Panic!", "max_tokens": 50 })).await;
        let good = bed.admit(plain()).await;
        let provider = Scripted::new(|_, request| {
            if request.messages[0].text.contains("Panic!") { Step::Panic } else { answer("Fine.") }
        });
        let mut options = bed.options();
        options.concurrency = 1;
        let running = bed.start_with(provider.clone(), options);
        running.ended(2).await;
        let later = bed.job().await;
        running.worker.wake();
        running.ended(3).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.failed, status.in_flight), (2, 1, 0));
        assert_eq!(bed.state(good).await, State::Succeeded);
        assert_eq!(bed.state(later).await, State::Succeeded);
        let page = bed.page(poor).await;
        assert_eq!(page.result.unwrap().error_kind.as_deref(), Some("bug"));
        assert_eq!(page.attempts.len(), 2);
        // Nobody knows what the call cost: the reservation stays.
        assert!(
            page.attempts.iter().all(|a| a.settled_tokens.is_none() && a.cost_micros.is_none())
        );
    });
}

#[test]
fn a_jobs_own_max_attempts_replaces_the_policys() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.admit(json!({ "prompt": "Hi", "max_tokens": 5, "max_attempts": 7 })).await;
        let provider = Scripted::new(|_, _| fail(ErrorKind::Internal, Free));
        let running = bed.start(provider.clone());
        running.ended(1).await;
        running.drained().await;
        assert_eq!(provider.seen().begun, 7);
        assert_eq!(bed.state(id).await, State::Failed);
    });
}

#[test]
fn a_cut_answers_text_is_kept_and_its_reservation_stays() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let provider = Scripted::new(|number, _| match number {
            1 => {
                let mut error = failure(ErrorKind::StreamCut, Unknown);
                error.partial_text = Some("as far as it c".to_owned());
                Step::Fail(error)
            }
            _ => Step::Answer(completion("all of it", StopReason::EndTurn)),
        });
        let running = bed.start(Arc::clone(&provider) as _);
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.unknown, status.retried, status.succeeded), (1, 1, 1));
        let page = bed.page(id).await;
        let cut = &page.attempts[0];
        assert_eq!(cut.outcome.as_deref(), Some("cut"));
        assert_eq!(cut.raw_text.as_deref(), Some("as far as it c"));
        assert_eq!((cut.settled_tokens, cut.cost_micros), (None, None));
        assert_eq!(page.result.unwrap().attempts_unknown, 1);
    });
}
