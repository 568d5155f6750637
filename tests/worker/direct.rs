//! Calls for callers of this process: recorded like any other, and never run by anybody else.

use std::sync::Arc;

use quarrier::job::State;
use quarrier::store::{JobFilter, NewJob, ReadStore as _, Store};
use quarrier::worker::{Call, Direct, NotCalled, WorkerOptions};
use tokio::sync::Semaphore;

use crate::bed::{Bed, plain};
use crate::scripted::{Scripted, Step, answer, gated};
use crate::trouble::{Trouble, Troubled};
use crate::within;

async fn open(bed: &Bed, store: Arc<dyn Store>, provider: Arc<Scripted>) -> Direct {
    open_with(bed, store, provider, bed.options()).await
}

async fn open_with(
    bed: &Bed,
    store: Arc<dyn Store>,
    provider: Arc<Scripted>,
    options: WorkerOptions,
) -> Direct {
    let (admission, clock) = (Arc::clone(&bed.admission), bed.clock.clone());
    Direct::open(store, provider, admission, clock, options).await.unwrap()
}

fn call(bed: &Bed) -> Call {
    let job = NewJob { hold: true, ..bed.prepared(&plain(), quarrier::admit::Origin::default()) };
    Call { job, heard: None, waits: false, slot_ms_max: 60_000 }
}

async fn only_state(bed: &Bed) -> Option<State> {
    let filter = JobFilter { rows_max: 10, ..JobFilter::default() };
    let jobs = bed.store.jobs(&filter).await.unwrap();
    assert!(jobs.len() <= 1, "{jobs:?}");
    jobs.first().map(|job| job.state)
}

#[test]
fn a_claim_whose_answer_is_lost_for_a_moment_is_found_again() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        let scripted = Scripted::saying("yes");
        let direct = open(&bed, Arc::clone(&store) as _, Arc::clone(&scripted)).await;
        store.tell("claim_new", Trouble::Lost);
        let call = call(&bed);
        let mend = async {
            store.fails("claim_new", 1).await;
            store.heal("claim_new");
        };
        let (begun, ()) = tokio::join!(direct.begin(call), mend);
        let called = begun.unwrap().end().await.unwrap();
        assert_eq!(called.finish.raw_text.as_deref(), Some("yes"));
        assert_eq!(scripted.seen().begun, 1);
        assert_eq!(only_state(&bed).await, Some(State::Succeeded));
        direct.close().await;
    });
}

#[test]
fn a_claim_whose_answer_stays_lost_is_ended_unsent_and_nobody_else_runs_it() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        let scripted = Scripted::saying("yes");
        let direct = open(&bed, Arc::clone(&store) as _, Arc::clone(&scripted)).await;
        let others = Scripted::saying("no");
        let worker = bed.start(Arc::clone(&others) as _);
        store.tell("claim_new", Trouble::Lost);
        let begun = direct.begin(call(&bed)).await;
        assert!(matches!(begun, Err(NotCalled::Store(_))), "{begun:?}");
        crate::until(|| async { only_state(&bed).await == Some(State::Cancelled) }).await;
        direct.close().await;
        worker.drained().await;
        assert_eq!((scripted.seen().begun, others.seen().begun), (0, 0));
        let used = bed.number("select count(*) from attempt where settled_tokens = 0").await;
        assert_eq!(used, 1, "everything is given back");
    });
}

#[test]
fn a_store_that_goes_away_in_mid_call_keeps_no_caller_from_its_answer() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let scripted = Scripted::new(move |_, _| gated(&held, "paid for"));
        let direct = open(&bed, Arc::clone(&store) as _, Arc::clone(&scripted)).await;
        let begun = direct.begin(call(&bed)).await.unwrap();
        scripted.begun(1).await;
        store.away();
        gate.add_permits(1);
        let called = begun.end().await.unwrap();
        assert_eq!(called.finish.raw_text.as_deref(), Some("paid for"));
        assert_eq!(bed.spooled().len(), 1);
        store.back();
        crate::until(|| async { only_state(&bed).await == Some(State::Succeeded) }).await;
        direct.close().await;
    });
}

#[test]
fn calls_at_once_are_as_many_as_the_setting_says() {
    within(async {
        let bed = Bed::new().await;
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let scripted = Scripted::new(move |_, _| gated(&held, "yes"));
        let options = WorkerOptions { concurrency: 2, ..bed.options() };
        let store = Arc::clone(&bed.store) as _;
        let direct = open_with(&bed, store, Arc::clone(&scripted), options).await;
        let first = direct.begin(call(&bed)).await.unwrap();
        let second = direct.begin(call(&bed)).await.unwrap();
        let third = direct.begin(Call { slot_ms_max: 0, ..call(&bed) }).await;
        assert!(matches!(third, Err(NotCalled::Busy)), "{third:?}");
        gate.add_permits(2);
        first.end().await.unwrap();
        second.end().await.unwrap();
        let closed = {
            direct.close().await;
            direct.begin(call(&bed)).await
        };
        assert!(matches!(closed, Err(NotCalled::Closed)), "{closed:?}");
    });
}

#[test]
fn a_worker_for_callers_takes_nothing_from_lanes() {
    within(async {
        let bed = Bed::new().await;
        let waiting = bed.job().await;
        let scripted = Scripted::new(|_, _| answer("yes"));
        let direct = open(&bed, Arc::clone(&bed.store) as _, Arc::clone(&scripted)).await;
        direct.begin(call(&bed)).await.unwrap().end().await.unwrap();
        direct.close().await;
        assert_eq!(bed.state(waiting).await, State::Ready);
        assert_eq!(scripted.seen().begun, 1);
    });
}

#[test]
fn a_panic_in_the_call_is_a_failure_that_its_caller_sees() {
    within(async {
        let bed = Bed::new().await;
        let scripted = Scripted::new(|_, _| Step::Panic);
        let direct = open(&bed, Arc::clone(&bed.store) as _, scripted).await;
        let called = direct.begin(call(&bed)).await.unwrap().end().await.unwrap();
        let (kind, _) = called.finish.error.unwrap();
        assert_eq!(kind.as_str(), "bug");
        assert_eq!(only_state(&bed).await, Some(State::Failed));
        direct.close().await;
    });
}
