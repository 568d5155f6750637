//! What is claimed, and when: the attempt before the call, slots, money, batches, times, limits.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use quarrier::admit::Origin;
use quarrier::budget::{Dimension, Limit};
use quarrier::clock::{Clock, Now};
use quarrier::completion::{Completion, StopReason};
use quarrier::job::State;
use quarrier::provider::{CallError, GenerateRequest, Provider};
use quarrier::store::sqlite::SqliteStore;
use quarrier::store::{AdmitStore as _, ReadStore as _};
use quarrier::worker::WaitingFor;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, Running, plain};
use crate::scripted::{Scripted, answer, completion, gated};
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

/// Looks into the store in the middle of its call.
struct Nosy {
    store: Arc<SqliteStore>,
    found: Mutex<Vec<String>>,
}

#[async_trait]
impl Provider for Nosy {
    async fn generate(&self, request: &GenerateRequest) -> Result<Completion, CallError> {
        let (_, id) = request.metadata.iter().find(|(key, _)| key == "job_id").unwrap();
        let page = self.store.job(id).await.unwrap().unwrap();
        let attempt = page.attempts.last().unwrap();
        let found = format!(
            "{} {} {:?} reserved {}",
            page.row.state.as_str(),
            attempt.number,
            attempt.outcome,
            attempt.reserved_tokens > 50
        );
        self.found.lock().unwrap().push(found);
        Ok(completion("Seen.", StopReason::EndTurn))
    }

    fn lane_prefix(&self) -> &'static str {
        "scripted"
    }

    fn wire_body(&self, _: &GenerateRequest) -> serde_json::Value {
        serde_json::Value::Null
    }
}

#[test]
fn the_attempt_is_committed_before_its_call_leaves() {
    within(async {
        let bed = Bed::new().await;
        bed.job().await;
        let nosy = Arc::new(Nosy { store: bed.another_store().await, found: Mutex::default() });
        let running = bed.start(Arc::clone(&nosy) as _);
        running.ended(1).await;
        running.drained().await;
        assert_eq!(*nosy.found.lock().unwrap(), ["running 1 None reserved true"]);
    });
}

#[test]
fn no_more_calls_are_in_flight_than_allowed() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..40 {
            bed.job().await;
        }
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Done.")
        });
        let mut options = bed.options();
        options.concurrency = 3;
        let running = bed.start_with(provider.clone(), options);
        provider.begun(3).await;
        assert_eq!(running.now().in_flight, 3);
        gate.add_permits(40);
        running.ended(40).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.claimed, status.in_flight), (40, 40, 0));
        assert_eq!(provider.seen().in_flight_max, 3);
    });
}

#[test]
fn a_call_claimed_too_long_ago_goes_back_unsent_and_refunded() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let limit = Limit { requests_per_minute: Some(10), tokens_per_minute: Some(10_000) };
        bed.limit("total", limit).await;
        let id = bed.job().await;
        // The machine sleeps in the middle of the first claim.
        let slow = Sleepy { hand: hand.clone(), times: Mutex::new(1) };
        let store = Troubled::with(&bed.store, move |method| {
            if method == "claim" {
                slow.sleep(60_000 - 1);
            }
        });
        let provider = Scripted::saying("Sent.");
        let mut options = bed.options();
        options.send_late_ms_max = 10_000;
        options.lease_ms = 1_000_000;
        let running = bed.start_on(store, provider.clone(), options);
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.retried, status.claimed), (1, 0, 2));
        assert_eq!(provider.seen().begun, 1);
        let page = bed.page(id).await;
        assert_eq!(page.row.counters, quarrier::retry::Counters::default());
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("not_sent"));
        assert_eq!(page.attempts[0].settled_tokens, Some(0));
        assert_eq!(page.result.unwrap().attempts, 1, "the unsent is not counted");
        let levels = bed.store.levels().await.unwrap();
        let total = levels.iter().find(|level| level.key == "total").unwrap();
        assert_eq!((total.level.requests.used, total.level.requests.in_flight), (1, 0));
    });
}

#[test]
fn a_claim_that_waits_long_before_its_quota_is_reserved_is_sent() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        bed.job().await;
        let store = Troubled::new(&bed.store);
        store.tell("claim", Trouble::Hangs);
        let mut options = bed.options();
        options.send_late_ms_max = 400;
        options.lease_ms = 1_000_000;
        let running = bed.start_on(store.clone(), Scripted::saying("Sent."), options);
        store.fails("claim", 1).await;
        // As behind the locks of others.
        hand.advance(60_000);
        store.heal("claim");
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.claimed), (1, 1));
    });
}

#[test]
fn a_wall_clock_that_steps_between_a_claim_and_its_call_expires_no_job() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock.clone(), "scripted").await;
        let soon = json!({ "prompt": "x", "max_tokens": 50, "deadline": "2026-01-01T00:30:00Z" });
        bed.admit(soon).await;
        let store = Troubled::with(&bed.store, move |method| {
            if method == "claim" {
                let Now { wall_ms, mono_ms } = clock.now();
                hand.set(Now { wall_ms: wall_ms + 3_600_000, mono_ms });
            }
        });
        let running = bed.start_on(store, Scripted::saying("In time."), bed.options());
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.other_ends), (1, 0));
    });
}

#[test]
fn claims_that_come_late_again_and_again_ask_for_fewer_jobs_and_end_them_all() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        for _ in 0..8 {
            bed.job().await;
        }
        let slow = Sleepy { hand, times: Mutex::new(6) };
        let store = Troubled::with(&bed.store, move |method| {
            if method == "claim" {
                slow.sleep(500);
            }
        });
        let mut options = bed.options();
        options.send_late_ms_max = 400;
        options.lease_ms = 1_000_000;
        let running = bed.start_on(store, Scripted::saying("Sent."), options);
        running.ended(8).await;
        let status = running.drained().await;
        assert_eq!(status.succeeded, 8);
        assert!(status.claimed < 8 * 6, "each claim asked for as many: {}", status.claimed);
    });
}

/// Lets the machine sleep so many times.
struct Sleepy {
    hand: quarrier::clock::ClockHand,
    times: Mutex<u32>,
}

impl Sleepy {
    fn sleep(&self, ms: u64) {
        let mut times = self.times.lock().unwrap();
        if let Some(left) = times.checked_sub(1) {
            *times = left;
            self.hand.advance(ms);
        }
    }
}

#[test]
fn no_call_is_claimed_beyond_the_money_left_at_worst() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..50 {
            bed.job().await;
        }
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Done.")
        });
        let worst = {
            let job = bed.prepared(&plain(), Origin::default());
            let prices = job.resolved.unwrap().prices.unwrap();
            let wanted = job.wanted;
            quarrier::catalogue::cost_micros_max(
                &prices,
                wanted.input_tokens_max,
                wanted.max_tokens,
            )
        };
        let mut options = bed.options();
        // Three calls at worst, and a little.
        options.cost_micros_max = Some(worst * 3 + worst / 2);
        let running = bed.start_with(provider.clone(), options.clone());
        running.until(|status| status.waiting == Some(WaitingFor::Money)).await;
        assert_eq!(provider.seen().in_flight, 3, "three reserve all of it");
        // What is known replaces the worst: more fit.
        gate.add_permits(50);
        let max = options.cost_micros_max.unwrap();
        running
            .until(|status| {
                status.in_flight == 0
                    && status.cost_micros + worst > max
                    && status.waiting == Some(WaitingFor::Money)
            })
            .await;
        let status = running.drained().await;
        assert!(status.cost_micros <= max);
        assert!(status.succeeded < 50);
    });
}

#[test]
fn a_worker_with_a_batch_works_on_nothing_else() {
    within(async {
        let bed = Bed::new().await;
        let other = bed.job().await;
        let batch = bed.store.open_batch("report").await.unwrap();
        let mut inside = Vec::new();
        for line in 1..=5 {
            let origin = Origin { batch: Some((batch, line)), ..Origin::default() };
            let job = bed.prepared(&plain(), origin);
            inside.push(job.job_id);
            bed.store.admit(vec![job]).await.unwrap();
        }
        let mut options = bed.options();
        options.batch = Some(batch);
        let running = bed.start_with(Scripted::saying("Done."), options);
        running.ended(5).await;
        let status = running.drained().await;
        assert_eq!(status.claimed, 5);
        for id in inside {
            assert_eq!(bed.state(id).await, State::Succeeded);
        }
        assert_eq!(bed.state(other).await, State::Ready);
    });
}

#[test]
fn a_job_with_a_time_waits_for_it() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let document = json!({
            "prompt": "Later.", "max_tokens": 50, "run_at": "2026-01-01T00:00:30Z"
        });
        let id = bed.admit(document).await;
        let provider = Scripted::saying("Now.");
        let mut options = bed.options();
        options.lease_ms = 1_000_000;
        let running = bed.start_with(provider.clone(), options);
        let first = bed.job().await;
        running.worker.wake();
        running.ended(1).await;
        assert_eq!(bed.state(first).await, State::Succeeded);
        assert_eq!(bed.state(id).await, State::Ready);
        hand.advance(30_000);
        running.ended(2).await;
        running.drained().await;
        assert_eq!(bed.state(id).await, State::Succeeded);
        assert_eq!(provider.seen().begun, 2);
    });
}

#[test]
fn a_waiting_job_expires_at_its_deadline() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let document = json!({
            "prompt": "Later.", "max_tokens": 50, "run_at": "2026-01-01T01:00:00Z",
            "deadline": "2026-01-01T02:00:00Z"
        });
        let id = bed.admit(document).await;
        let mut options = bed.options();
        options.lease_ms = u64::MAX;
        let provider = Scripted::saying("Too late.");
        // Nobody works for hours; then the first thing that a worker does must not be to call.
        hand.advance(3 * 3_600_000);
        let running = bed.start_with(provider.clone(), options);
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!(status.other_ends, 1);
        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Expired);
        assert_eq!(page.result.unwrap().error_kind.as_deref(), Some("deadline_exceeded"));
        assert_eq!(provider.seen().begun, 0);
    });
}

#[test]
fn a_due_job_past_its_deadline_is_never_called() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let document = json!({
            "prompt": "Soon.", "max_tokens": 50, "deadline": "2026-01-01T02:00:00Z"
        });
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(bed.admit(document.clone()).await);
        }
        hand.advance(3 * 3_600_000);
        let mut options = bed.options();
        options.lease_ms = u64::MAX;
        options.write_rows_max = 1;
        let provider = Scripted::saying("Too late.");
        let running = bed.start_with(provider.clone(), options);
        running.ended(20).await;
        let status = running.drained().await;
        assert_eq!((status.other_ends, status.succeeded), (20, 0));
        assert_eq!(provider.seen().begun, 0);
        for id in ids {
            let page = bed.page(id).await;
            assert_eq!(page.row.state, State::Expired);
            assert_eq!(page.result.unwrap().error_kind.as_deref(), Some("deadline_exceeded"));
        }
    });
}

#[test]
fn a_job_that_can_never_fit_ends_instead_of_waiting() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        // The limit came after the job.
        bed.limit("total", Limit { requests_per_minute: None, tokens_per_minute: Some(20) }).await;
        let provider = Scripted::saying("Too much.");
        let running = bed.start(provider.clone());
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.failed, provider.seen().begun), (1, 0));
        let result = bed.page(id).await.result.unwrap();
        assert_eq!(result.error_kind.as_deref(), Some("never_fits"));
        assert!(result.error_message.unwrap().contains("total"));
    });
}

#[test]
fn a_worker_says_which_limit_it_waits_for() {
    within(async {
        let bed = Bed::new().await;
        bed.limit("total", Limit { requests_per_minute: Some(1), tokens_per_minute: None }).await;
        bed.job().await;
        bed.job().await;
        let running = bed.start(Scripted::saying("Done."));
        running
            .until(|status| {
                matches!(
                    &status.waiting,
                    Some(WaitingFor::Limit { dimension: Dimension::Requests, key, .. })
                        if key == "total"
                )
            })
            .await;
        let status = running.drained().await;
        assert_eq!(status.succeeded, 1);
        assert_eq!(status.waiting, None, "a worker that has ended waits for nothing");
    });
}

#[test]
fn a_cancelled_jobs_call_is_aborted_and_the_job_stays_cancelled() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let provider = Scripted::new(|_, _| crate::scripted::Step::Hang);
        let running = bed.start(provider.clone());
        provider.begun(1).await;
        assert_eq!(bed.store.cancel(&[id]).await.unwrap(), [id]);
        provider.until(|seen| seen.dropped == 1).await;
        running.until(|status| status.in_flight == 0).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Cancelled);
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("cut"));
        assert_eq!(page.attempts[0].settled_tokens, None, "the reservation stays");
        assert_eq!(provider.seen().begun, 1);
    });
}

#[test]
fn a_late_answer_to_a_cancelled_job_is_kept_on_its_attempt() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Paid for.")
        });
        let mut options = bed.options();
        // This worker does not look at its lease before the answer comes.
        options.beat_ms = 30_000;
        let running = bed.start_with(provider.clone(), options);
        provider.begun(1).await;
        bed.store.cancel(&[id]).await.unwrap();
        gate.add_permits(1);
        running.until(|status| status.in_flight == 0).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Cancelled);
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("completed"));
        assert_eq!(page.attempts[0].raw_text.as_deref(), Some("Paid for."));
    });
}

#[test]
fn claims_with_a_lost_answer_go_back_uncounted() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let store = Troubled::new(&bed.store);
        store.tell("claim", crate::trouble::Trouble::Lost);
        let provider = Scripted::saying("Once.");
        let running = bed.start_on(store.clone(), provider.clone(), bed.options());
        until(|| async { store.failed("claim") >= 1 && bed.page(id).await.row.calls >= 1 }).await;
        store.heal("claim");
        running.ended(1).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Succeeded);
        assert_eq!(page.row.counters, quarrier::retry::Counters::default());
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("not_sent"));
        assert_eq!(page.result.unwrap().attempts, 1);
        assert_eq!(provider.seen().begun, 1);
    });
}

#[test]
fn a_worker_without_work_ends_when_told() {
    within(async {
        let bed = Bed::new().await;
        let drain = CancellationToken::new();
        let worker = bed.worker(
            Arc::clone(&bed.store) as _,
            Scripted::new(|_, _| answer("")),
            bed.options(),
        );
        drain.cancel();
        worker.run(drain, CancellationToken::new()).await.unwrap();
        assert_eq!(bed.number("select count(*) from lease").await, 0);
        let running = Running::start(worker);
        running.stopped().await;
    });
}
