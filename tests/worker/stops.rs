//! The worker's end: drained, overdue, stopped.

use std::sync::Arc;

use quarrier::job::State;
use quarrier::store::ReadStore as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bed::Bed;
use crate::scripted::{Scripted, Step, gated};
use crate::trouble::Troubled;
use crate::within;

#[test]
fn a_drain_lets_calls_end_and_claims_nothing_more() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..10 {
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
        running.drain.cancel();
        gate.add_permits(10);
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.claimed, status.in_flight), (3, 3, 0));
        assert_eq!(provider.seen().begun, 3);
        let counts = bed.store.counts(None).await.unwrap().states;
        assert!(counts.contains(&(State::Ready, 7)), "{counts:?}");
        assert!(counts.contains(&(State::Succeeded, 3)), "{counts:?}");
        assert_eq!(bed.number("select count(*) from lease").await, 0);
    });
}

#[test]
fn what_a_claim_brought_while_a_drain_began_goes_back_unsent() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..10 {
            bed.job().await;
        }
        // Each claim brings all that it asks for, so that the next one would follow at once.
        let mut options = bed.options();
        options.concurrency = 10;
        options.claim_rows_max = 2;
        let drain = CancellationToken::new();
        let store = Troubled::cancelling(&bed.store, "claim", &drain);
        let provider = Scripted::saying("Never.");
        let worker = bed.worker(store, provider.clone(), options);
        worker.run(drain, CancellationToken::new()).await.unwrap();
        let status = worker.status().now();
        assert_eq!((status.claimed, status.in_flight, provider.seen().begun), (2, 0, 0));
        let counts = bed.store.counts(None).await.unwrap().states;
        assert_eq!(counts, [(State::Ready, 10)]);
    });
}

#[test]
fn a_drain_that_takes_too_long_aborts_what_is_left() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let provider = Scripted::new(|_, _| Step::Hang);
        let mut options = bed.options();
        options.drain_soft_ms = 20;
        let running = bed.start_with(provider.clone(), options);
        provider.begun(1).await;
        let status = running.drained().await;
        assert_eq!((status.in_flight, status.unknown), (0, 1));
        assert_eq!(provider.seen().dropped, 1);
        assert_eq!(bed.state(id).await, State::Ready);
    });
}

#[test]
fn a_stop_aborts_at_once_and_the_jobs_run_again_or_are_held() {
    within(async {
        let bed = Bed::new().await;
        let again = bed.job().await;
        let document =
            json!({ "prompt": "Once only.", "max_tokens": 50, "if_outcome_unknown": "hold" });
        let held = bed.admit(document).await;
        let provider = Scripted::new(|_, _| Step::Hang);
        let running = bed.start(provider.clone());
        provider.begun(2).await;
        let status = running.stopped().await;
        assert_eq!((status.in_flight, status.unknown), (0, 2));
        assert_eq!(bed.number("select count(*) from lease").await, 0);
        for (id, state) in [(again, State::Ready), (held, State::Held)] {
            let page = bed.page(id).await;
            assert_eq!(page.row.state, state);
            assert_eq!(page.row.counters, quarrier::retry::Counters::default(), "uncounted");
            let attempt = &page.attempts[0];
            assert_eq!(attempt.outcome.as_deref(), Some("cut"));
            assert_eq!((attempt.settled_tokens, attempt.cost_micros), (None, None));
        }
        let next = bed.start(Scripted::saying("Again."));
        next.ended(1).await;
        next.drained().await;
        assert_eq!(bed.state(again).await, State::Succeeded);
        assert_eq!(bed.state(held).await, State::Held);
    });
}

#[test]
fn a_stop_during_a_drain_ends_it() {
    within(async {
        let bed = Bed::new().await;
        bed.job().await;
        let provider = Scripted::new(|_, _| Step::Hang);
        let running = bed.start(provider.clone());
        provider.begun(1).await;
        running.drain.cancel();
        let status = running.stopped().await;
        assert_eq!((status.in_flight, provider.seen().dropped), (0, 1));
    });
}

#[test]
fn a_call_that_was_stopped_before_it_was_sent_is_refunded() {
    within(async {
        let bed = Bed::new().await;
        let mut ids = Vec::new();
        for _ in 0..50 {
            ids.push(bed.job().await);
        }
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let store = Troubled::cancelling(&bed.store, "claim", &stop);
        let provider = Scripted::new(|_, _| Step::Hang);
        let mut options = bed.options();
        options.concurrency = 50;
        // Stopped in the middle of starting fifty calls.
        bed.worker(store, provider.clone(), options).run(drain, stop).await.unwrap();
        let sent = provider.seen().begun;
        let mut cut = 0;
        for id in ids {
            let page = bed.page(id).await;
            assert_eq!(page.row.state, State::Ready);
            for attempt in page.attempts {
                match attempt.outcome.as_deref() {
                    Some("cut") => cut += 1,
                    Some("not_sent") => assert_eq!(attempt.settled_tokens, Some(0)),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(cut, sent, "only what was sent may be billed");
    });
}

#[test]
fn a_worker_whose_future_is_dropped_leaves_nothing_running() {
    within(async {
        let bed = Bed::new().await;
        let provider = Scripted::new(|_, _| Step::Hang);
        bed.job().await;
        let worker = bed.worker(Arc::clone(&bed.store) as _, provider.clone(), bed.options());
        let token = tokio_util::sync::CancellationToken::new;
        {
            let run = worker.run(token(), token());
            tokio::select! {
                _ = run => panic!("it has work"),
                () = provider.begun(1) => {}
            }
        }
        // Its call is aborted, and its beat stands still, so that others can take over.
        provider.until(|seen| seen.dropped == 1).await;
        crate::until(|| async {
            let beat = bed.number("select beat from lease").await;
            for _ in 0..20 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            beat == bed.number("select beat from lease").await
        })
        .await;
    });
}
