//! Answers that the store does not take for long wait in the spool, and are stored from there.

use std::sync::Arc;

use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::store::WorkStore as _;
use quarrier::worker::WaitingFor;
use uuid::Uuid;

use crate::bed::{Bed, Running};
use crate::scripted::Scripted;
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

/// A worker whose answers have just gone to the spool: the store takes no finishes, and its clock
/// has moved on. It has one slot.
async fn spooling(
    bed: &Bed,
    hand: &quarrier::clock::ClockHand,
    store: &Arc<Troubled>,
    provider: &Arc<Scripted>,
) -> Running {
    store.tell("finish", Trouble::Away);
    let mut options = bed.options();
    options.concurrency = 1;
    options.lease_ms = 1_000_000;
    let running = bed.start_on(store.clone(), provider.clone(), options);
    store.fails("finish", 1).await;
    hand.advance(3_000);
    until(|| async { !bed.spooled().is_empty() }).await;
    running
}

#[test]
fn a_spooled_answer_is_stored_when_the_store_is_back() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let store = Troubled::new(&bed.store);
        let first = bed.job().await;
        let second = bed.job().await;
        let provider = Scripted::saying("Paid for.");
        let running = spooling(&bed, &hand, &store, &provider).await;

        // The slot is free, but nothing more is claimed while answers wait.
        running.until(|status| status.in_flight == 0).await;
        running.until(|status| status.waiting == Some(WaitingFor::Store)).await;
        // The lease's own comparison must not take the spooled call for a lost claim.
        store.fails("finish", 30).await;
        let beat = bed.number("select beat from lease").await;
        until(|| async { bed.number("select beat from lease").await >= beat + 3 }).await;
        assert_eq!(bed.state(first).await, State::Running);
        assert_eq!(provider.seen().begun, 1);

        store.back();
        until(|| async { bed.state(second).await == State::Succeeded }).await;
        let status = running.drained().await;
        let page = bed.page(first).await;
        assert_eq!(page.row.state, State::Succeeded);
        assert_eq!(page.result.unwrap().text.as_deref(), Some("Paid for."));
        assert_eq!(provider.seen().begun, 2, "nothing is paid for twice");
        assert_eq!(status.succeeded, 2, "a replayed answer is counted too");
        assert!(bed.spooled().is_empty());
        assert_eq!(bed.number("select count(*) from lease").await, 0);
    });
}

#[test]
fn a_dead_workers_spool_is_stored_by_the_next_one_before_its_jobs_are_called_again() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let provider = Scripted::saying("Paid for.");
        let store = Troubled::new(&bed.store);
        store.tell("finish", Trouble::Away);
        let running = bed.start_on(store.clone(), provider.clone(), bed.options());
        store.fails("finish", 1).await;
        running.stopped().await;
        assert_eq!(bed.spooled().len(), 1);
        assert_eq!(bed.state(id).await, State::Running);
        assert_eq!(
            bed.number("select count(*) from lease").await,
            1,
            "its lease is left to rescuers, because a job still runs under it"
        );

        let next = bed.start(provider.clone());
        until(|| async { bed.state(id).await == State::Succeeded }).await;
        next.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.row.counters.crashes, 0);
        assert_eq!(page.attempts.len(), 1);
        assert_eq!(provider.seen().begun, 1);
    });
}

#[test]
fn an_answer_of_the_spool_still_counts_after_its_job_was_rescued() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let store = Troubled::new(&bed.store);
        store.tell("finish", Trouble::Away);
        let running = bed.start_on(store.clone(), Scripted::saying("Paid for."), bed.options());
        store.fails("finish", 1).await;
        running.stopped().await;
        // Another machine, without this spool, has rescued the lease meanwhile.
        let lease = bed.store.other_leases(Uuid::nil()).await.unwrap().pop().unwrap();
        let ask = quarrier::store::RescueAsk {
            lease: lease.id,
            beat: lease.beat,
            policy: quarrier::retry::Policy { backoff_base_ms: 600_000, ..crate::bed::policy() },
            rows_max: 10,
        };
        assert_eq!(bed.store.rescue(&ask).await.unwrap().attempts, 1);
        assert_eq!(bed.state(id).await, State::Ready);
        let next = bed.start(Scripted::saying("Paid for again."));
        until(|| async { bed.state(id).await == State::Succeeded }).await;
        next.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.result.unwrap().text.as_deref(), Some("Paid for."));
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("completed"));
    });
}

/// Leaves so many answers in the spool, one file each, and returns their jobs.
async fn left_behind(bed: &Bed, jobs: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for _ in 0..jobs {
        let id = bed.job().await;
        let store = Troubled::new(&bed.store);
        store.tell("finish", Trouble::Away);
        let mut options = bed.options();
        options.lease_ms = u64::MAX;
        let provider = Scripted::saying("Paid for.");
        // Nobody replays or rescues while the spool fills.
        store.tell("rescue", Trouble::Away);
        let running = bed.start_on(store.clone(), provider.clone(), options);
        provider.begun(1).await;
        store.fails("finish", 1).await;
        running.stopped().await;
        ids.push(id);
    }
    ids
}

#[test]
fn a_spool_file_that_is_partly_unreadable_is_put_aside_and_the_rest_stored() {
    within(async {
        let bed = Bed::new().await;
        let ids = left_behind(&bed, 2).await;
        let files = bed.spooled();
        let [first, _] = files.as_slice() else { panic!("two files: {files:?}") };
        let path = bed.spool_dir().join(first);
        let mut bytes = b"{\"key\":\n\xff\xfe not even text\n".to_vec();
        bytes.extend(std::fs::read(&path).unwrap());
        std::fs::write(&path, bytes).unwrap();

        let next = bed.start(Scripted::saying("Paid for again."));
        for id in ids {
            until(|| async { bed.state(id).await == State::Succeeded }).await;
            assert_eq!(bed.page(id).await.result.unwrap().text.as_deref(), Some("Paid for."));
        }
        until(|| async { bed.spooled().len() == 1 }).await;
        // Put aside, it does not keep new work from being done.
        let later = bed.job().await;
        until(|| async { bed.state(later).await == State::Succeeded }).await;
        next.drained().await;
        assert!(bed.spooled()[0].ends_with(".unreadable"), "{:?}", bed.spooled());
    });
}

#[test]
fn one_poisonous_answer_in_the_spool_keeps_no_other_from_being_stored() {
    within(async {
        let bed = Bed::new().await;
        let ids = left_behind(&bed, 3).await;
        let store = Troubled::new(&bed.store);
        store.poison(ids[0]);
        store.poison_for_ever(ids[1]);
        let next = bed.start_on(store.clone(), Scripted::saying("Paid for again."), bed.options());
        until(|| async { bed.state(ids[2]).await == State::Succeeded }).await;
        until(|| async { bed.state(ids[0]).await == State::Failed }).await;
        let result = bed.page(ids[0]).await.result.unwrap();
        assert_eq!(result.error_kind.as_deref(), Some("unstorable"));
        until(|| async { bed.spooled().len() == 1 }).await;
        assert!(!bed.spooled()[0].contains(".finishes.jsonl"), "put aside: {:?}", bed.spooled());
        next.stopped().await;
    });
}

#[test]
fn more_than_memory_may_hold_goes_to_the_spool_at_once() {
    within(async {
        // Its clock stands still: nothing ever waits for long.
        let (clock, _hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let store = Troubled::new(&bed.store);
        let id = bed.job().await;
        store.tell("finish", Trouble::Away);
        let mut options = bed.options();
        options.unsaved_bytes_max = 8;
        let running = bed.start_on(store.clone(), Scripted::saying("Paid for."), options);
        until(|| async { !bed.spooled().is_empty() }).await;
        store.back();
        until(|| async { bed.state(id).await == State::Succeeded }).await;
        running.drained().await;
        assert!(bed.spooled().is_empty());
    });
}

#[test]
fn with_the_spool_full_answers_stay_in_memory_and_nothing_is_claimed() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let store = Troubled::new(&bed.store);
        for _ in 0..4 {
            bed.job().await;
        }
        store.tell("finish", Trouble::Away);
        let provider = Scripted::saying("Paid for.");
        let mut options = bed.options();
        options.concurrency = 2;
        options.lease_ms = 1_000_000;
        options.spool_bytes_max = 10;
        let running = bed.start_on(store.clone(), provider.clone(), options);
        store.fails("finish", 1).await;
        hand.advance(3_000);
        store.fails("finish", 4).await;
        assert!(bed.spooled().iter().all(|name| !name.contains(".finishes.jsonl")));
        running.until(|status| status.waiting == Some(WaitingFor::Store)).await;
        let begun = provider.seen().begun;
        assert!(begun <= 2);
        store.back();
        running.ended(4).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, provider.seen().begun), (4, 4));
    });
}

#[test]
fn a_spool_that_somebody_cleared_does_not_stop_the_worker() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let store = Troubled::new(&bed.store);
        bed.job().await;
        let second = bed.job().await;
        let provider = Scripted::saying("Paid for.");
        let running = spooling(&bed, &hand, &store, &provider).await;
        for name in bed.spooled() {
            std::fs::remove_file(bed.spool_dir().join(name)).unwrap();
        }
        store.back();
        until(|| async { bed.state(second).await == State::Succeeded }).await;
        running.stopped().await;
    });
}
