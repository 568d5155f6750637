//! Leases: who works, who is dead, and what becomes of the calls of the dead (G3, G7).

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::retry::Policy;
use quarrier::store::{
    Finished, LeaseInfo, NewJob, OtherLease, RescueAsk, Rescued, RunningAttempt,
};
use uuid::Uuid;

use crate::world::{World, again, ids, key, rescue_ask, success};

behind_a_pooler_too!(
    a_beat_advances_and_lists_what_runs,
    a_beat_of_a_lease_that_is_gone_says_so,
    opening_a_lease_again_changes_nothing,
    a_living_process_is_not_taken_for_dead,
    a_process_does_not_see_itself_among_the_others,
    a_rescue_puts_jobs_back_and_keeps_their_reservations,
    a_rescue_of_a_lease_whose_beat_has_moved_does_nothing,
    a_rescue_twice_does_nothing_more,
    a_rescued_job_that_says_hold_waits_for_a_person,
    a_job_that_kills_its_workers_ends_failed,
    a_rescued_job_past_its_deadline_ends_expired,
    a_rescue_moves_more_jobs_than_one_transaction_takes,
    a_rescue_leaves_the_living_alone,
    a_rescue_meets_a_cancelled_job_without_harm,
    the_attempt_of_a_cancelled_job_is_unknown_until_it_is_finished,
    giving_back_what_was_rescued_refunds_it_and_moves_nothing,
    giving_back_needs_the_right_fence,
    a_claim_whose_answer_was_lost_is_found_by_the_beat,
    a_closed_lease_is_gone,
    a_lease_closed_too_early_is_still_rescued,
    jobs_under_a_lease_that_vanished_are_rescued,
    a_rescued_job_waits_before_it_runs_again,
);

on_sqlite!(a_dead_process_is_known_at_once);

async fn a_beat_advances_and_lists_what_runs(world: World) {
    world.admit_many(3).await;
    let claimed = world.claim(2).await;
    let other = world.another_store().await;
    let beat_of = async || other.other_leases(Uuid::now_v7()).await.unwrap()[0].beat;
    let before = beat_of().await;
    let mut running = world.store.beat(world.lease).await.unwrap().unwrap();
    running.sort_by_key(|attempt| attempt.key.job_id);
    let expected: Vec<RunningAttempt> =
        claimed.jobs.iter().map(|job| RunningAttempt { key: key(job) }).collect();
    assert_eq!(running, expected);
    assert!(beat_of().await > before);
    world.succeed(&claimed.jobs[0]).await;
    assert_eq!(world.store.beat(world.lease).await.unwrap().unwrap().len(), 1);
}

async fn a_beat_of_a_lease_that_is_gone_says_so(mut world: World) {
    assert_eq!(world.store.beat(Uuid::now_v7()).await.unwrap(), None);
    let old = world.lease;
    world.restart().await;
    world.rescue(old).await;
    assert_eq!(world.store.beat(old).await.unwrap(), None);
}

async fn opening_a_lease_again_changes_nothing(world: World) {
    world.admit_one().await;
    world.claim_one().await;
    world.store.beat(world.lease).await.unwrap();
    let info = LeaseInfo { id: world.lease, host: "here".to_owned(), pid: 1, takes_jobs: true };
    world.store.open_lease(&info).await.unwrap();
    assert_eq!(world.store.beat(world.lease).await.unwrap().unwrap().len(), 1);
    let other = world.another_store().await;
    let seen = other.other_leases(Uuid::now_v7()).await.unwrap();
    assert_eq!(seen, [OtherLease { id: world.lease, beat: 2, dead: false }]);
}

async fn a_dead_process_is_known_at_once(mut world: World) {
    let dead = world.lease;
    world.restart().await;
    let others = world.store.other_leases(world.lease).await.unwrap();
    assert_eq!(others.len(), 1);
    assert_eq!((others[0].id, others[0].dead), (dead, true));
}

async fn a_living_process_is_not_taken_for_dead(world: World) {
    let other = world.another_store().await;
    let own = crate::world::open_lease(other.as_ref()).await;
    for _ in 0..3 {
        let others = other.other_leases(own).await.unwrap();
        assert_eq!((others[0].id, others[0].dead), (world.lease, false), "looking harms nobody");
    }
    let seen = world.store.other_leases(world.lease).await.unwrap();
    assert_eq!((seen[0].id, seen[0].dead), (own, false));
}

async fn a_process_does_not_see_itself_among_the_others(world: World) {
    assert!(world.store.other_leases(world.lease).await.unwrap().is_empty());
}

async fn a_rescue_puts_jobs_back_and_keeps_their_reservations(mut world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    let id = world.admit_one().await;
    world.claim_one().await;
    let dead = world.lease;
    world.restart().await;
    let rescued = world.rescue(dead).await;
    assert_eq!(rescued, Rescued { attempts: 1, ready: 1, held: 0, ended: 0 });
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.row.state, State::Ready);
    assert_eq!(page.row.reason.as_deref(), Some("crashed"));
    assert_eq!(page.row.counters.crashes, 1);
    assert_eq!(page.attempts[0].outcome.as_deref(), Some("unknown"));
    assert_eq!(page.attempts[0].error_kind.as_deref(), Some("crashed"));
    assert_eq!(page.attempts[0].settled_tokens, None);
    assert_eq!(world.tokens("total").await.in_flight, 1_000, "it may have been billed");
    world.hand.advance(10_000);
    let next = world.claim_one().await;
    assert_eq!((next.job_id, next.number, next.counters.crashes), (id, 2, 1));
}

async fn a_rescue_of_a_lease_whose_beat_has_moved_does_nothing(world: World) {
    let id = world.admit_one().await;
    world.claim_one().await;
    let other = world.another_store().await;
    let own = crate::world::open_lease(other.as_ref()).await;
    let seen = other.other_leases(own).await.unwrap()[0].beat;
    world.store.beat(world.lease).await.unwrap();
    let rescued = other.rescue(&rescue_ask(world.lease, seen)).await.unwrap();
    assert_eq!(rescued, Rescued::default());
    assert_eq!(world.state(id).await, State::Running);
    assert_eq!(world.store.beat(world.lease).await.unwrap().unwrap().len(), 1);
}

async fn a_rescue_twice_does_nothing_more(mut world: World) {
    world.admit_one().await;
    world.claim_one().await;
    let dead = world.lease;
    world.restart().await;
    let beat = world.store.other_leases(world.lease).await.unwrap()[0].beat;
    world.store.rescue(&rescue_ask(dead, beat)).await.unwrap();
    let again = world.store.rescue(&rescue_ask(dead, beat)).await.unwrap();
    assert_eq!(again, Rescued::default());
    assert_eq!(world.claim(5).await.jobs.len(), 1);
}

async fn a_rescued_job_that_says_hold_waits_for_a_person(mut world: World) {
    let id = world.admit(vec![NewJob { hold: true, ..world.job() }]).await[0];
    let job = world.claim_one().await;
    let dead = world.lease;
    world.restart().await;
    assert_eq!(world.rescue(dead).await, Rescued { attempts: 1, held: 1, ..Rescued::default() });
    assert_eq!(world.state(id).await, State::Held);
    assert!(world.claim(5).await.jobs.is_empty());
    assert_eq!(world.succeed(&job).await, Finished::Moved(State::Succeeded), "an answer may come");
}

async fn a_job_that_kills_its_workers_ends_failed(mut world: World) {
    let id = world.admit_one().await;
    for crash in 1..=3 {
        assert_eq!(world.claim_one().await.number, crash);
        let dead = world.lease;
        world.restart().await;
        let rescued = world.rescue(dead).await;
        assert_eq!((rescued.ready, rescued.ended), if crash < 3 { (1, 0) } else { (0, 1) });
    }
    assert_eq!(world.state(id).await, State::Failed);
    let result = world.result(id).await.unwrap();
    assert_eq!(result.error_kind.as_deref(), Some("crashed"));
    assert!(result.error_message.unwrap().contains("3 times"));
    assert_eq!((result.attempts, result.attempts_unknown), (3, 3));
}

async fn a_rescued_job_past_its_deadline_ends_expired(mut world: World) {
    let deadline_at = world.now_ms() + 1_000;
    let id = world.admit(vec![NewJob { deadline_at, ..world.job() }]).await[0];
    world.claim_one().await;
    world.hand.advance(2_000);
    let dead = world.lease;
    world.restart().await;
    assert_eq!(world.rescue(dead).await.ended, 1);
    let result = world.result(id).await.unwrap();
    assert_eq!(result.state, State::Expired);
    assert_eq!(result.error_kind.as_deref(), Some(ErrorKind::DeadlineExceeded.as_str()));
    assert!(result.error_message.unwrap().contains("deadline"));
}

async fn a_rescue_moves_more_jobs_than_one_transaction_takes(mut world: World) {
    let admitted = world.admit_many(7).await;
    world.claim(7).await;
    let dead = world.lease;
    world.restart().await;
    assert_eq!(world.rescue(dead).await.ready, 7);
    assert_eq!(ids(&world.claim(10).await), admitted, "each at its place");
}

async fn a_rescue_leaves_the_living_alone(mut world: World) {
    world.admit_many(4).await;
    world.claim(2).await;
    let dead = world.lease;
    world.restart().await;
    let living = world.claim(2).await;
    assert_eq!(world.rescue(dead).await.ready, 2);
    let running = world.store.beat(world.lease).await.unwrap().unwrap();
    assert_eq!(running.len(), 2);
    assert_eq!(world.succeed(&living.jobs[0]).await, Finished::Moved(State::Succeeded));
}

async fn a_rescue_meets_a_cancelled_job_without_harm(mut world: World) {
    let ids = world.admit_many(2).await;
    world.claim(2).await;
    world.store.cancel(&[ids[0]]).await.unwrap();
    let dead = world.lease;
    world.restart().await;
    assert_eq!(world.rescue(dead).await, Rescued { attempts: 1, ready: 1, ..Rescued::default() });
    assert_eq!(world.state(ids[0]).await, State::Cancelled);
}

/// Nobody would come for it if its worker died now, and its cost must not pass for known.
async fn the_attempt_of_a_cancelled_job_is_unknown_until_it_is_finished(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.store.cancel(&[id]).await.unwrap();
    let result = world.result(id).await.unwrap();
    assert_eq!((result.attempts, result.attempts_unknown), (1, 1));
    assert_eq!(world.succeed(&job).await, Finished::Late);
    let result = world.result(id).await.unwrap();
    assert_eq!((result.attempts, result.attempts_unknown), (1, 0));
}

/// Its worker lives after all and knows that it never sent the call.
async fn giving_back_what_was_rescued_refunds_it_and_moves_nothing(mut world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    world.admit_one().await;
    let job = world.claim_one().await;
    let dead = world.lease;
    world.restart().await;
    world.rescue(dead).await;
    world.hand.advance(10_000);
    let next = world.claim_one().await;
    assert_eq!(world.requests("total").await.in_flight, 2);
    world.store.give_back(&[key(&job)]).await.unwrap();
    assert_eq!(world.requests("total").await.in_flight, 1);
    assert_eq!(world.state(job.job_id).await, State::Running);
    let page = world.store.job(&job.job_id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.attempts[0].outcome.as_deref(), Some("not_sent"));
    assert_eq!(world.succeed(&next).await, Finished::Moved(State::Succeeded));
    assert_eq!(world.succeed(&job).await, Finished::Replayed);
}

async fn giving_back_needs_the_right_fence(world: World) {
    let id = world.admit_one().await;
    let mut wrong = key(&world.claim_one().await);
    wrong.fence = Uuid::now_v7();
    world.store.give_back(&[wrong]).await.unwrap();
    assert_eq!(world.state(id).await, State::Running);
}

async fn a_claim_whose_answer_was_lost_is_found_by_the_beat(world: World) {
    let id = world.admit_one().await;
    drop(world.claim(1).await);
    let running = world.store.beat(world.lease).await.unwrap().unwrap();
    let keys: Vec<_> = running.iter().map(|attempt| attempt.key).collect();
    world.store.give_back(&keys).await.unwrap();
    let job = world.claim_one().await;
    assert_eq!((job.job_id, job.number), (id, 2));
}

async fn a_closed_lease_is_gone(world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(again(&job, 0)).await;
    world.store.close_lease(world.lease).await.unwrap();
    world.store.close_lease(world.lease).await.unwrap();
    assert_eq!(world.store.beat(world.lease).await.unwrap(), None);
    assert!(world.store.other_leases(Uuid::now_v7()).await.unwrap().is_empty());
}

async fn a_lease_closed_too_early_is_still_rescued(world: World) {
    let id = world.admit_one().await;
    world.claim_one().await;
    world.store.close_lease(world.lease).await.unwrap();
    let other = world.another_store().await;
    let seen = other.other_leases(Uuid::now_v7()).await.unwrap();
    assert_eq!((seen[0].id, seen[0].dead), (world.lease, world.engine.knows_the_dead()));
    other.rescue(&rescue_ask(seen[0].id, seen[0].beat)).await.unwrap();
    assert_eq!(world.state(id).await, State::Ready);
}

/// However it vanished: a hand in the tables, a bug of an older version.
async fn jobs_under_a_lease_that_vanished_are_rescued(mut world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.run_sql("delete from lease").await;
    world.restart().await;
    let others = world.store.other_leases(world.lease).await.unwrap();
    assert_eq!(others.len(), 1);
    let rescued = world.store.rescue(&rescue_ask(others[0].id, others[0].beat)).await.unwrap();
    assert_eq!(rescued.ready, 1);
    assert_eq!(world.state(id).await, State::Ready);
    assert!(world.store.other_leases(world.lease).await.unwrap().is_empty());
    assert_eq!(world.finish(success(&job)).await, Finished::Moved(State::Succeeded));
}

async fn a_rescued_job_waits_before_it_runs_again(mut world: World) {
    let ids = world.admit_many(40).await;
    world.claim(40).await;
    let dead = world.lease;
    world.restart().await;
    let beat = world.store.other_leases(world.lease).await.unwrap()[0].beat;
    let policy = Policy { backoff_base_ms: 10_000, ..Policy::default() };
    let ask = RescueAsk { policy, rows_max: 100, ..rescue_ask(dead, beat) };
    assert_eq!(world.store.rescue(&ask).await.unwrap().ready, 40);
    assert!(world.claim(40).await.jobs.len() < 40, "a job that kills workers must not spin");
    world.hand.advance(10_000);
    world.store.promote(100).await.unwrap();
    world.claim(40).await;
    for id in ids {
        assert_eq!(world.state(id).await, State::Running);
    }
}
