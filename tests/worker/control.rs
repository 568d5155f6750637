//! What people decide reaches every worker: pauses, resumes, limits, cancelled calls.

use std::sync::Arc;

use quarrier::budget::Limit;
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::provider::FailedCharge;
use quarrier::retry::Policy;
use quarrier::simulator::{Fault, Faults, SimulatorOptions};
use quarrier::store::{ControlStore as _, PauseAsk, ReadStore as _, Scope};
use quarrier::worker::{WaitingFor, WorkerOptions};
use serde_json::json;
use uuid::Uuid;

use crate::bed::{Bed, policy};
use crate::scripted::{Scripted, answer, fail};
use crate::simulated::{simulated, structured};
use crate::within;

fn ask(scope: Scope) -> PauseAsk {
    PauseAsk { scope, for_ms: None, reason: Some("the prompt is wrong".to_owned()) }
}

#[test]
fn a_paused_queues_jobs_wait_the_worker_says_for_whom_and_others_go_on() {
    within(async {
        let bed = Bed::new().await;
        let reports = Scope::Queue("reports".to_owned());
        bed.store.pause(&ask(reports.clone())).await.unwrap();
        let document = json!({ "prompt": "Hm.", "max_tokens": 50, "queue": "reports" });
        let held = bed.admit(document).await;
        let free = bed.job().await;
        let provider = Scripted::saying("Done.");
        let running = bed.start(provider.clone());
        running.ended(1).await;
        running.until(|status| matches!(status.waiting, Some(WaitingFor::Person(_)))).await;
        assert_eq!(
            (bed.state(free).await, bed.state(held).await),
            (State::Succeeded, State::Ready)
        );
        let words = running.now().waiting.unwrap().reason();
        assert!(words.starts_with("queue reports is paused by a person since 20"), "{words}");
        let end = ": the prompt is wrong; `quarrier resume --queue reports`";
        assert!(words.ends_with(end), "{words}");
        assert_eq!(provider.seen().begun, 1);
        bed.store.resume(&reports).await.unwrap();
        running.ended(2).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.pauses), (2, 0), "a person's pause is no failure's");
        assert_eq!(bed.state(held).await, State::Succeeded);
    });
}

#[test]
fn a_person_who_resumes_a_lane_has_the_worker_that_paused_it_try_it_at_once() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..20 {
            bed.job().await;
        }
        let running = bed.start_with(used_up(4), for_an_hour(&bed));
        running.until(|status| status.pauses == 1 && status.in_flight == 0).await;
        let resumed = bed.store.resume(&Scope::Lane("scripted/*".to_owned())).await.unwrap();
        assert_eq!(resumed.lanes.len(), 1);
        running.ended(20).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.failed, status.pauses), (20, 0, 1));
    });
}

#[test]
fn a_worker_that_heard_of_a_pause_hears_of_its_end() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..20 {
            bed.job().await;
        }
        let first = bed.start_with(used_up(usize::MAX), for_an_hour(&bed));
        first.until(|status| status.pauses == 1 && status.in_flight == 0).await;
        let store = bed.another_store().await;
        let other = bed.start_on(store, Scripted::saying("Here too."), for_an_hour(&bed));
        other.until(|status| matches!(status.waiting, Some(WaitingFor::Pause { .. }))).await;
        first.drained().await;
        bed.store.resume(&Scope::All).await.unwrap();
        other.ended(20).await;
        let status = other.drained().await;
        assert_eq!((status.succeeded, status.failed, status.pauses), (20, 0, 0));
    });
}

/// Its first calls find the day's quota used up.
fn used_up(calls: usize) -> Arc<Scripted> {
    Scripted::new(move |number, _| {
        if number <= calls {
            fail(ErrorKind::ThrottledDay, FailedCharge::None)
        } else {
            answer("A new day.")
        }
    })
}

/// Four calls at once, and a used-up day pauses for an hour.
fn for_an_hour(bed: &Bed) -> WorkerOptions {
    let retry = Policy { throttled_day_ms: 3_600_000, ..policy() };
    WorkerOptions { concurrency: 4, retry, ..bed.options() }
}

#[test]
fn a_limit_that_is_raised_lets_waiting_jobs_go_at_once() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..6 {
            bed.job().await;
        }
        let limit =
            |requests| Limit { requests_per_minute: Some(requests), tokens_per_minute: None };
        bed.store.set_limit("total", limit(1)).await.unwrap();
        let running = bed.start(Scripted::saying("Done."));
        running.until(|status| matches!(status.waiting, Some(WaitingFor::Limit { .. }))).await;
        assert_eq!(running.now().claimed, 1);
        bed.store.set_limit("total", limit(60_000)).await.unwrap();
        running.ended(6).await;
        assert_eq!(running.drained().await.succeeded, 6);
    });
}

/// The whole way: the connections to the provider are closed, the slots are free, and what the calls
/// cost is unknown and not nothing.
#[test]
fn cancelled_calls_are_cut_off_at_the_provider_and_their_cost_is_unknown() {
    within(async {
        let faults = Faults::one(Fault::Hang, 1.0);
        let options = SimulatorOptions { faults, ..SimulatorOptions::default() };
        let (bed, simulator, provider) = simulated(options).await;
        let mut ids: Vec<Uuid> = Vec::new();
        for number in 0..4 {
            ids.push(bed.admit(structured(number)).await);
        }
        let mut options = bed.options();
        options.concurrency = 3;
        let running = bed.start_with(Arc::clone(&provider), options);
        simulator.until(|summary| summary.in_flight == 3).await;
        simulator.set_faults(Faults::none());
        let in_flight: Vec<Uuid> = bed.running().await;
        assert_eq!(in_flight.len(), 3);
        bed.store.cancel(&in_flight).await.unwrap();
        // One of them is wanted again: its first call is cut off nevertheless.
        let again = in_flight[0];
        bed.store.retry(&[again], bed.clock.now().wall_ms + 3_600_000).await.unwrap();
        simulator.until(|summary| summary.client_gone == 3 && summary.in_flight == 0).await;
        running.until(|status| status.in_flight == 0 && status.succeeded == 2).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.failed), (2, 0), "the fourth, and the one put back");
        for id in ids {
            let page = bed.page(id).await;
            let was_cut = in_flight.contains(&id);
            let state = if was_cut && id != again { State::Cancelled } else { State::Succeeded };
            assert_eq!(page.row.state, state);
            if was_cut {
                let attempt = &page.attempts[0];
                assert_eq!((attempt.settled_tokens, attempt.cost_micros), (None, None));
                assert_eq!(page.result.unwrap().attempts_unknown, 1);
            }
        }
    });
}
