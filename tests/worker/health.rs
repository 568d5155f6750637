//! Alive and ready: what a worker says of itself while it works, drains, is stuck, or has lost its
//! store or its provider.

use std::sync::Arc;

use quarrier::budget::Limit;
use quarrier::clock::Clock;
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::provider::FailedCharge;
use quarrier::worker::{Check, WaitingFor, Worker};
use tokio_util::sync::CancellationToken;

use crate::bed::Bed;
use crate::scripted::{Scripted, Step, fail};
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

/// The names of the checks that fail.
fn failing(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

fn is_alive(worker: &Worker) -> bool {
    failing(&worker.alive()).is_empty()
}

#[test]
fn a_worker_is_ready_once_its_lease_is_open_and_no_more_when_it_drains() {
    within(async {
        let bed = Bed::new().await;
        let provider = Scripted::new(|_, _| Step::Hang);
        let worker = bed.worker(Arc::clone(&bed.store) as _, provider.clone(), bed.options());
        assert!(is_alive(&worker), "what has not begun is not stuck");
        assert!(failing(&worker.ready()).contains(&"lease"));
        bed.job().await;
        let running = crate::bed::Running::start(worker);
        running.worker.started().await;
        provider.begun(1).await;
        assert_eq!(failing(&running.worker.alive()), [""; 0]);
        assert_eq!(failing(&running.worker.ready()), [""; 0]);
        running.drain.cancel();
        // The claim loop may end at any time from now on, and that is no defect.
        assert_eq!(failing(&running.worker.ready()), ["drain"]);
        assert!(is_alive(&running.worker));
        let worker = running.worker.clone();
        running.stopped().await;
        assert!(is_alive(&worker));
    });
}

#[test]
fn a_store_that_is_away_makes_a_worker_unready_and_leaves_it_alive() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let store = Troubled::new(&bed.store);
        let options = bed.options();
        let lease_ms = options.lease_ms;
        let running = bed.start_on(Arc::clone(&store) as _, Scripted::saying("Done."), options);
        let worker = running.worker.clone();
        until(|| async { failing(&worker.ready()).is_empty() }).await;
        store.away();
        until(|| async { failing(&worker.ready()).contains(&"store") }).await;
        // Longer than a stuck loop may be: each loop goes on asking, so none is stuck.
        for _ in 0..4 {
            hand.advance(lease_ms);
            store.fails("beat", 2).await;
            store.fails("other_leases", 2).await;
        }
        until(|| async { is_alive(&worker) }).await;
        assert!(failing(&worker.ready()).contains(&"lease"));
        store.back();
        until(|| async { failing(&worker.ready()).is_empty() }).await;
        running.drained().await;
    });
}

#[test]
fn a_loop_that_a_store_holds_beyond_every_deadline_is_stuck() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        for (method, name) in [
            ("ready_lanes", "claims"),
            ("beat", "lease_renewal"),
            ("other_leases", "upkeep"),
            ("finish", "finisher"),
        ] {
            let store = Troubled::new(&bed.store);
            let options = bed.options();
            let stuck_ms = options.stuck_ms_max + 1;
            let running = bed.start_on(Arc::clone(&store) as _, Scripted::saying("Done."), options);
            let worker = running.worker.clone();
            worker.started().await;
            store.tell(method, Trouble::Hangs);
            bed.job().await;
            running.worker.wake();
            until(|| async { store.failed(method) > 0 }).await;
            hand.advance(stuck_ms);
            // The others come round again; this one does not.
            until(|| async { failing(&worker.alive()) == [name] }).await;
            let ready = worker.ready();
            let loops = ready.iter().find(|check| check.name == "loops").unwrap();
            assert!(!loops.ok && loops.says.contains(name), "{loops:?}");
            store.back();
            until(|| async { is_alive(&worker) }).await;
            running.drained().await;
        }
    });
}

#[test]
fn a_worker_that_saves_nothing_any_more_claims_nothing() {
    within(async {
        let bed = Bed::new().await;
        let breaks = |method| assert_ne!(method, "finish", "the finisher breaks");
        let store = Troubled::with(&bed.store, breaks);
        for _ in 0..9 {
            bed.job().await;
        }
        let provider = Scripted::saying("Done.");
        let mut options = bed.options();
        options.concurrency = 1;
        options.poll_ms = 1;
        let running = bed.start_on(store, Arc::clone(&provider) as _, options);
        until(|| async { failing(&running.worker.alive()) == ["finisher"] }).await;
        until(|| async { running.now().waiting == Some(WaitingFor::Store) }).await;
        // One in the middle of which it broke, and one that may have been on its way.
        assert!(provider.requests().len() <= 2);
        running.drained().await;
    });
}

#[test]
fn a_worker_whose_every_lane_is_paused_is_not_ready() {
    within(async {
        let bed = Bed::new().await;
        let provider = Scripted::new(|_, _| fail(ErrorKind::Credentials, FailedCharge::NotSent));
        let mut options = bed.options();
        options.retry.paused_ms = 60_000;
        bed.job().await;
        let running = bed.start_with(provider, options);
        until(|| async { failing(&running.worker.ready()) == ["lanes"] }).await;
        assert!(is_alive(&running.worker));
        running.stopped().await;
    });
}

#[test]
fn answers_that_wait_for_the_store_make_a_worker_unready() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        store.tell("finish", Trouble::Away);
        bed.job().await;
        let running =
            bed.start_on(Arc::clone(&store) as _, Scripted::saying("Done."), bed.options());
        until(|| async { failing(&running.worker.ready()).contains(&"spool") }).await;
        assert!(is_alive(&running.worker));
        store.back();
        until(|| async { failing(&running.worker.ready()).is_empty() }).await;
        running.drained().await;
    });
}

#[test]
fn what_was_claimed_while_a_drain_began_goes_back_unsent_and_uncounted() {
    within(async {
        let bed = Bed::new().await;
        bed.limit("total", Limit { requests_per_minute: Some(100), tokens_per_minute: None }).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(bed.job().await);
        }
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let store = Troubled::cancelling(&bed.store, "claim", &drain);
        let provider = Scripted::saying("Done.");
        bed.worker(store, provider.clone(), bed.options()).run(drain, stop).await.unwrap();
        assert_eq!(provider.seen().begun, 0);
        for id in ids {
            let page = bed.page(id).await;
            assert_eq!(page.row.state, State::Ready);
            assert_eq!(page.row.counters, quarrier::retry::Counters::default(), "uncounted");
            assert_eq!(page.attempts[0].outcome.as_deref(), Some("not_sent"));
            assert_eq!(page.attempts[0].settled_tokens, Some(0), "its quota is given back");
        }
        assert_eq!(bed.number("select count(*) from lease").await, 0);
    });
}
