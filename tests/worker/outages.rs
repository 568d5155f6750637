//! The store goes away and comes back: nothing new is sent, nothing paid for is lost.

use std::sync::Arc;

use quarrier::job::State;
use tokio::sync::Semaphore;

use crate::bed::Bed;
use crate::scripted::{Scripted, gated};
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

#[test]
fn a_lease_that_cannot_be_renewed_sends_nothing_new_and_loses_no_answer() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..6 {
            bed.job().await;
        }
        let store = Troubled::new(&bed.store);
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Paid for.")
        });
        let mut options = bed.options();
        options.concurrency = 2;
        // Long enough to be kept on a busy machine, short enough to be lost soon.
        (options.lease_ms, options.beat_ms) = (1_000, 20);
        let running = bed.start_on(store.clone(), provider.clone(), options);
        provider.begun(2).await;

        // Claims would still work, but the lease is not renewed.
        store.tell("beat", Trouble::Away);
        store.tell("finish", Trouble::Away);
        store.fails("beat", 60).await;
        running.until(|status| status.waiting.is_some()).await;
        gate.add_permits(6);
        store.fails("finish", 3).await;
        assert_eq!(provider.seen().begun, 2, "nothing new is sent");
        assert_eq!(provider.seen().dropped, 0, "calls in flight run on");

        store.back();
        running.ended(6).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.claimed), (6, 6));
        assert_eq!(provider.seen().begun, 6, "nothing is paid for twice");
    });
}

#[test]
fn an_outage_of_everything_is_waited_out() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        for _ in 0..10 {
            bed.job().await;
        }
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Paid for.")
        });
        let mut options = bed.options();
        options.concurrency = 4;
        let running = bed.start_on(store.clone(), provider.clone(), options);
        provider.begun(4).await;
        store.away();
        gate.add_permits(10);
        store.fails("finish", 3).await;
        store.fails("promote", 3).await;
        assert_eq!(running.now().succeeded, 0);
        store.back();
        running.ended(10).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.claimed), (10, 10));
        assert_eq!(provider.seen().begun, 10);
        assert!(bed.spooled().is_empty());
    });
}

#[test]
fn while_answers_are_unsaved_nothing_is_claimed() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        for _ in 0..10 {
            bed.job().await;
        }
        store.tell("finish", Trouble::Away);
        let provider = Scripted::saying("Paid for.");
        let mut options = bed.options();
        options.concurrency = 2;
        let running = bed.start_on(store.clone(), provider.clone(), options);
        store.fails("finish", 4).await;
        running.until(|status| status.waiting == Some(quarrier::worker::WaitingFor::Store)).await;
        let begun = provider.seen().begun;
        assert!(begun <= 2, "{begun} calls with two slots");
        store.back();
        running.ended(10).await;
        running.drained().await;
        assert_eq!(provider.seen().begun, 10);
    });
}

#[test]
fn only_the_answer_that_cannot_be_stored_ends_unstorable() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(bed.job().await);
        }
        store.poison(ids[3]);
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Odd \u{1} text.")
        });
        let running = bed.start_on(store.clone(), provider.clone(), bed.options());
        provider.begun(8).await;
        gate.add_permits(8);
        running.ended(8).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.failed), (7, 1));
        for (index, id) in ids.iter().enumerate() {
            let page = bed.page(*id).await;
            if index == 3 {
                let result = page.result.unwrap();
                assert_eq!(result.state, State::Failed);
                assert_eq!(result.error_kind.as_deref(), Some("unstorable"));
                let raw = page.attempts[0].raw_text.as_deref().unwrap();
                assert_eq!(raw, "Odd \\u{1} text.");
                assert!(page.attempts[0].cost_micros.unwrap() > 0);
            } else {
                assert_eq!(page.row.state, State::Succeeded);
            }
        }
        assert_eq!(provider.seen().begun, 8);
    });
}

#[test]
fn an_answer_whose_commit_was_not_heard_of_is_recorded_once() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let store = Troubled::new(&bed.store);
        store.tell("finish", Trouble::Lost);
        let running = bed.start_on(store.clone(), Scripted::saying("Once."), bed.options());
        store.fails("finish", 2).await;
        store.back();
        running.until(|status| status.in_flight == 0 && status.claimed == 1).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Succeeded);
        assert_eq!(page.attempts.len(), 1);
        assert_eq!(page.result.unwrap().usage.output, 5);
    });
}

#[test]
fn a_worker_whose_store_is_away_at_the_end_still_ends() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let store = Troubled::new(&bed.store);
        let provider = Scripted::saying("Paid for.");
        store.tell("finish", Trouble::Away);
        let running = bed.start_on(store.clone(), provider.clone(), bed.options());
        store.fails("finish", 1).await;
        store.away();
        running.stopped().await;
        assert_eq!(bed.spooled().len(), 1);
        // The next one finds it, before it looks for work.
        let next = bed.start(provider.clone());
        until(|| async { bed.state(id).await == State::Succeeded }).await;
        next.drained().await;
        assert_eq!(provider.seen().begun, 1);
        assert!(bed.spooled().is_empty());
    });
}
