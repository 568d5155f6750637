//! Leases: lost ones are replaced, the dead are rescued, the living never.

use std::sync::Arc;

use quarrier::admit::Origin;
use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::store::{AdmitStore as _, NewJob};
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::bed::{Bed, plain};
use crate::scripted::{Scripted, Step, gated};
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

#[test]
fn a_lost_lease_is_replaced_and_calls_in_flight_still_end_their_jobs() {
    within(async {
        let bed = Bed::new().await;
        let first = bed.job().await;
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Paid for.")
        });
        let running = bed.start(provider.clone());
        provider.begun(1).await;
        bed.sql("delete from lease").await;
        until(|| async { bed.number("select count(*) from lease").await == 1 }).await;
        let second = bed.job().await;
        running.worker.wake();
        provider.begun(2).await;
        let beat = bed.number("select beat from lease").await;
        until(|| async { bed.number("select beat from lease").await >= beat + 2 }).await;
        gate.add_permits(2);
        running.ended(2).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, provider.seen().begun), (2, 2));
        for id in [first, second] {
            assert_eq!(bed.state(id).await, State::Succeeded);
        }
        assert_eq!(bed.number("select count(*) from lease").await, 0);
    });
}

#[test]
fn a_dead_process_is_rescued_at_once_where_its_lock_is_free() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let mortal = bed.start_mortal(Scripted::new(|_, _| Step::Hang), bed.options()).await;
        until(|| async { bed.state(id).await == State::Running }).await;
        mortal.kill();
        // A lease of a minute: only the lock can tell so soon.
        let running = bed.start(Scripted::saying("Again."));
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.unknown), (1, 1));
        let page = bed.page(id).await;
        assert_eq!(page.row.counters.crashes, 1);
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("unknown"));
        assert_eq!(page.attempts[0].settled_tokens, None, "its reservation stays");
        assert_eq!(page.result.unwrap().attempts_unknown, 1);
    });
}

#[test]
fn a_dead_process_is_rescued_by_its_still_beat_where_its_lock_says_nothing() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let mortal = bed.start_mortal(Scripted::new(|_, _| Step::Hang), bed.options()).await;
        until(|| async { bed.state(id).await == State::Running }).await;
        let _still_locked = mortal.kill_keeping_its_lock();
        let mut options = bed.options();
        (options.lease_ms, options.beat_ms) = (2_000, 20);
        let running = bed.start_with(Scripted::saying("Again."), options);
        running.ended(1).await;
        running.drained().await;
        assert_eq!(bed.page(id).await.row.counters.crashes, 1);
    });
}

#[test]
fn a_worker_that_polls_rarely_still_rescues_the_dead() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let mortal = bed.start_mortal(Scripted::new(|_, _| Step::Hang), bed.options()).await;
        until(|| async { bed.state(id).await == State::Running }).await;
        let _still_locked = mortal.kill_keeping_its_lock();
        let mut options = bed.options();
        (options.lease_ms, options.beat_ms, options.poll_ms) = (1_000, 200, 200);
        let running = bed.start_with(Scripted::saying("Again."), options);
        running.ended(1).await;
        running.drained().await;
        assert_eq!(bed.page(id).await.row.counters.crashes, 1);
    });
}

/// What a standby that lagged makes of a job that has ended: its claim is there, its finish is not.
#[test]
fn an_answer_whose_commit_a_failover_lost_is_recorded_again_and_not_paid_again() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Paid for.")
        });
        let running = bed.start(provider.clone());
        provider.begun(1).await;
        bed.sql("create table budget_before as select * from budget").await;
        gate.add_permits(1);
        running.ended(1).await;
        bed.sql("delete from result").await;
        bed.sql("update attempt set outcome = null, settled_tokens = null").await;
        bed.sql("delete from budget").await;
        bed.sql("insert into budget select * from budget_before").await;
        bed.sql(
            "update job set state = 'running', ended_at = null, \
             fence = (select fence from attempt), lease_id = (select id from lease)",
        )
        .await;
        until(|| async { bed.state(id).await == State::Succeeded }).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.attempts.len(), 1);
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("completed"));
        assert_eq!(page.result.unwrap().text.as_deref(), Some("Paid for."));
        assert_eq!(provider.seen().begun, 1);
    });
}

#[test]
fn a_job_that_asks_for_it_is_held_after_a_crash() {
    within(async {
        let bed = Bed::new().await;
        let document =
            json!({ "prompt": "Once only.", "max_tokens": 50, "if_outcome_unknown": "hold" });
        let id = bed.admit(document).await;
        let mortal = bed.start_mortal(Scripted::new(|_, _| Step::Hang), bed.options()).await;
        until(|| async { bed.state(id).await == State::Running }).await;
        mortal.kill();
        let provider = Scripted::saying("Again.");
        let running = bed.start(provider.clone());
        until(|| async { bed.state(id).await == State::Held }).await;
        running.drained().await;
        assert_eq!(provider.seen().begun, 0);
    });
}

#[test]
fn a_job_that_kills_its_workers_ends() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        for crash in 0..3 {
            let provider = Scripted::new(|_, _| Step::Hang);
            let mortal = bed.start_mortal(provider.clone(), bed.options()).await;
            provider.begun(1).await;
            assert_eq!(bed.page(id).await.row.counters.crashes, crash);
            mortal.kill();
        }
        let provider = Scripted::saying("Again.");
        let running = bed.start(provider.clone());
        until(|| async { bed.state(id).await == State::Failed }).await;
        running.drained().await;
        assert_eq!(bed.page(id).await.result.unwrap().error_kind.as_deref(), Some("crashed"));
        assert_eq!(provider.seen().begun, 0);
    });
}

#[test]
fn a_moving_beat_is_never_rescued() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let gate = Arc::new(Semaphore::new(0));
        let slow = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "The first.")
        });
        let first = bed.start_on(bed.another_store().await, slow.clone(), bed.options());
        slow.begun(1).await;
        // The other looks for ten leases' time; the beat moves every 50 ms of 1,000.
        let mut options = bed.options();
        (options.lease_ms, options.beat_ms) = (1_000, 50);
        let provider = Scripted::saying("The second.");
        let second = bed.start_with(provider.clone(), options);
        let beats = "select max(beat) from lease";
        let beat = bed.number(beats).await;
        until(|| async { bed.number(beats).await >= beat + 60 }).await;
        gate.add_permits(1);
        first.ended(1).await;
        first.drained().await;
        second.drained().await;
        let page = bed.page(id).await;
        assert_eq!((page.row.state, page.attempts.len()), (State::Succeeded, 1));
        assert_eq!(page.row.counters.crashes, 0);
        assert_eq!(provider.seen().begun, 0);
    });
}

/// A lease of a process that this machine knows nothing of.
async fn foreign_lease(bed: &Bed) -> Uuid {
    let lease = Uuid::now_v7();
    let columns = "id, beat, host, pid, started_at";
    bed.sql(&format!("insert into lease ({columns}) values ('{lease}', 7, 'elsewhere', 1, 0)"))
        .await;
    lease
}

#[test]
fn an_outage_of_the_store_rescues_nobody() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        foreign_lease(&bed).await;
        let store = Troubled::new(&bed.store);
        let mut options = bed.options();
        (options.lease_ms, options.beat_ms) = (10_000, 50);
        let running = bed.start_on(store.clone(), Scripted::saying(""), options);
        until(|| async { bed.number("select count(*) from lease").await == 2 }).await;
        // Each outage is longer than what is missing to a whole lease.
        for _ in 0..4 {
            hand.advance(3_000);
            rounds(&bed, 2).await;
            store.tell("other_leases", Trouble::Away);
            store.fails("other_leases", 1).await;
            hand.advance(4_000);
            store.heal("other_leases");
            rounds(&bed, 2).await;
        }
        assert_eq!(bed.number("select count(*) from lease").await, 2);
        running.stopped().await;
    });
}

/// Waits until upkeep has been through so many rounds: it ends an expired job in each.
async fn rounds(bed: &Bed, rounds: usize) {
    for _ in 0..rounds {
        let job = bed.prepared(&plain(), Origin::default());
        let id = job.job_id;
        bed.store.admit(vec![NewJob { run_at: i64::MAX, deadline_at: 0, ..job }]).await.unwrap();
        until(|| async { bed.state(id).await == State::Expired }).await;
    }
}

#[test]
fn a_machine_that_slept_rescues_nobody_for_the_time_it_slept() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        foreign_lease(&bed).await;
        let mut options = bed.options();
        (options.lease_ms, options.beat_ms) = (10_000, 50);
        let running = bed.start_with(Scripted::saying(""), options);
        until(|| async { bed.number("select count(*) from lease").await == 2 }).await;
        rounds(&bed, 2).await;
        // All processes of the machine slept: nobody could move a beat.
        hand.advance(8 * 3_600_000);
        rounds(&bed, 2).await;
        assert_eq!(bed.number("select count(*) from lease where host = 'elsewhere'").await, 1);
        // Awake, it watches a whole lease's time again.
        for _ in 0..12 {
            hand.advance(1_000);
            rounds(&bed, 2).await;
        }
        until(|| async {
            bed.number("select count(*) from lease where host = 'elsewhere'").await == 0
        })
        .await;
        running.stopped().await;
    });
}

#[test]
fn a_rescue_that_fails_is_tried_again() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let mortal = bed.start_mortal(Scripted::new(|_, _| Step::Hang), bed.options()).await;
        until(|| async { bed.state(id).await == State::Running }).await;
        mortal.kill();
        let store = Troubled::new(&bed.store);
        store.tell("rescue", Trouble::Away);
        let running = bed.start_on(store.clone(), Scripted::saying("Again."), bed.options());
        store.fails("rescue", 2).await;
        store.back();
        running.ended(1).await;
        running.drained().await;
        assert_eq!(bed.state(id).await, State::Succeeded);
    });
}

#[test]
fn a_store_that_takes_no_lease_stops_the_worker_at_its_start() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        store.tell("open_lease", Trouble::Away);
        let worker = bed.worker(store, Scripted::saying(""), bed.options());
        let token = tokio_util::sync::CancellationToken::new;
        assert!(worker.run(token(), token()).await.is_err());
    });
}
