//! What a failover to a standby that lags has lost and its worker still knows: calls in flight are
//! brought back, charged, and not made again (G3, G4, G5).

use quarrier::job::State;
use quarrier::store::{
    AttemptKey, ClaimedJob, Finish, Finished, LostAttempt, Restored, RunningAttempt,
};
use uuid::Uuid;

use crate::world::{World, again, claim_ask, key, open_lease, success};

behind_a_pooler_too!(
    a_lost_attempt_is_inserted_again_and_charged_and_its_job_runs_it,
    an_answer_to_a_restored_attempt_ends_its_job,
    a_restored_attempt_with_another_number_is_finished_by_that_one_alone,
    what_the_store_has_is_not_restored,
    restoring_twice_charges_once,
    a_lost_attempt_of_a_job_that_runs_elsewhere_is_recorded_beside_it,
    the_first_answer_wins_whether_its_attempt_was_restored_or_not,
    a_lost_attempt_of_a_job_that_has_ended_changes_nothing_else,
    a_lost_attempt_of_a_job_that_is_held_leaves_it_held,
    an_attempt_whose_job_is_lost_too_is_gone,
    a_restored_call_is_charged_to_the_slot_in_which_it_began,
    a_restored_call_older_than_the_window_is_charged_now,
    a_call_of_unknown_size_is_charged_with_what_its_job_reserves,
    a_restored_attempt_that_finishes_is_settled,
    a_job_whose_lease_was_lost_runs_on_under_the_new_one,
    without_a_lease_an_attempt_is_recorded_and_nothing_runs,
    after_a_restored_attempt_numbers_go_on,
    several_attempts_of_one_job_are_restored_together,
    a_rescue_leaves_no_restored_attempt_open,
);

/// What of claims is left after a failover that lost them: jobs that wait, and no charge.
async fn lose(world: &World) {
    world.run_sql("delete from attempt").await;
    world.run_sql("delete from budget").await;
    let sql = "update job set state = 'ready', fence = null, lease_id = null, calls = 0 \
               where state = 'running'";
    world.run_sql(sql).await;
}

fn lost(job: &ClaimedJob, age_ms: u64) -> LostAttempt {
    let reserved_tokens = Some(job.reserved_tokens);
    LostAttempt { key: key(job), age_ms: Some(age_ms), reserved_tokens }
}

async fn restore(world: &World, job: &ClaimedJob) -> Restored {
    world.store.restore(world.lease, &[lost(job, 0)]).await.unwrap()[0]
}

/// Claims one job and loses the claim.
async fn claim_and_lose(world: &World) -> ClaimedJob {
    let job = world.claim_one().await;
    lose(world).await;
    job
}

async fn running(world: &World) -> Vec<RunningAttempt> {
    world.store.beat(world.lease).await.unwrap().unwrap()
}

async fn a_lost_attempt_is_inserted_again_and_charged_and_its_job_runs_it(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    assert!(running(&world).await.is_empty());
    assert_eq!(restore(&world, &job).await, Restored::Running(key(&job)));
    assert_eq!(world.state(id).await, State::Running);
    assert_eq!(running(&world).await, [RunningAttempt { key: key(&job) }]);
    assert_eq!(world.requests("total").await.in_flight, 1);
    assert_eq!(world.tokens("total").await.in_flight, job.reserved_tokens);
    assert!(world.claim(1).await.jobs.is_empty(), "it is not paid for twice");
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!((page.attempts.len(), page.attempts[0].number), (1, 1));
}

async fn an_answer_to_a_restored_attempt_ends_its_job(world: World) {
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    assert_eq!(world.finish(success(&job)).await, Finished::Lost);
    restore(&world, &job).await;
    assert_eq!(world.finish(success(&job)).await, Finished::Moved(State::Succeeded));
    assert_eq!(world.finish(success(&job)).await, Finished::Replayed);
    assert_eq!(world.result(id).await.unwrap().text.as_deref(), Some("done"));
}

async fn a_restored_attempt_with_another_number_is_finished_by_that_one_alone(world: World) {
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let second = world.claim_one().await;
    world.finish(again(&second, 0)).await;
    let moved = AttemptKey { number: 2, ..key(&job) };
    assert_eq!(restore(&world, &job).await, Restored::Running(moved));
    assert_eq!(world.finish(success(&job)).await, Finished::Lost, "the first number is another's");
    assert_eq!(world.state(id).await, State::Running);
    let first = world.store.job(&id.to_string()).await.unwrap().unwrap().attempts.remove(0);
    let answer = Finish { key: moved, ..success(&job) };
    assert_eq!(world.finish(answer).await, Finished::Moved(State::Succeeded));
    assert_eq!(world.result(id).await.unwrap().text.as_deref(), Some("done"));
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.attempts[0].outcome, first.outcome);
    assert_eq!(page.attempts[1].outcome.as_deref(), Some("completed"));
}

async fn what_the_store_has_is_not_restored(world: World) {
    world.limit(&[("total", Some(6_000), None)]).await;
    world.admit_many(2).await;
    let claimed = world.claim(2).await;
    world.succeed(&claimed.jobs[0]).await;
    for job in &claimed.jobs {
        assert_eq!(restore(&world, job).await, Restored::Known(key(job)));
    }
    let level = world.requests("total").await;
    assert_eq!((level.used, level.in_flight), (1, 1));
    assert_eq!(running(&world).await, [RunningAttempt { key: key(&claimed.jobs[1]) }]);
}

async fn restoring_twice_charges_once(world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let twice = [lost(&job, 0), lost(&job, 0)];
    let answers = world.store.restore(world.lease, &twice).await.unwrap();
    assert_eq!(answers, [Restored::Running(key(&job)), Restored::Known(key(&job))]);
    assert_eq!(restore(&world, &job).await, Restored::Known(key(&job)));
    assert_eq!(world.requests("total").await.in_flight, 1);
}

async fn a_lost_attempt_of_a_job_that_runs_elsewhere_is_recorded_beside_it(world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let other = world.another_store().await;
    let lease = open_lease(other.as_ref()).await;
    let second = other.claim(claim_ask(lease, 1)).await.unwrap().jobs.remove(0);
    assert_eq!(second.number, job.number, "the store has forgotten the first");
    let moved = AttemptKey { number: 2, ..key(&job) };
    assert_eq!(restore(&world, &job).await, Restored::Beside(moved));
    assert_eq!(world.requests("total").await.in_flight, 2);
    let theirs = other.beat(lease).await.unwrap().unwrap();
    assert_eq!(theirs, [RunningAttempt { key: key(&second) }], "it runs on as what it is");
    assert!(running(&world).await.is_empty());
    assert_eq!(restore(&world, &job).await, Restored::Known(moved));
    assert_eq!(world.state(id).await, State::Running);
}

async fn the_first_answer_wins_whether_its_attempt_was_restored_or_not(world: World) {
    for restored_first in [true, false] {
        let id = world.admit_one().await;
        let job = claim_and_lose(&world).await;
        let second = world.claim_one().await;
        let Restored::Beside(moved) = restore(&world, &job).await else { panic!("beside") };
        let mut first = success(&job);
        first.key = moved;
        let (one, other) =
            if restored_first { (first, success(&second)) } else { (success(&second), first) };
        assert_eq!(world.finish(one).await, Finished::Moved(State::Succeeded));
        assert_eq!(world.finish(other).await, Finished::Late, "recorded, and no second end");
        let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
        let outcomes: Vec<_> = page.attempts.iter().map(|it| it.outcome.as_deref()).collect();
        assert_eq!(outcomes, [Some("completed"), Some("completed")]);
    }
}

async fn a_lost_attempt_of_a_job_that_has_ended_changes_nothing_else(world: World) {
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    world.store.cancel(&[id]).await.unwrap();
    assert_eq!(restore(&world, &job).await, Restored::Beside(key(&job)));
    assert_eq!(world.state(id).await, State::Cancelled);
    assert_eq!(world.finish(success(&job)).await, Finished::Late);
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.row.state, State::Cancelled);
    assert_eq!(page.attempts[0].outcome.as_deref(), Some("completed"), "what was paid is there");
}

async fn a_lost_attempt_of_a_job_that_is_held_leaves_it_held(world: World) {
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    world.run_sql("update job set state = 'held'").await;
    assert_eq!(restore(&world, &job).await, Restored::Beside(key(&job)));
    assert_eq!(world.state(id).await, State::Held);
    assert_eq!(world.finish(success(&job)).await, Finished::Moved(State::Succeeded));
}

async fn an_attempt_whose_job_is_lost_too_is_gone(world: World) {
    let other = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let mut gone = lost(&job, 0);
    gone.key.job_id = Uuid::now_v7();
    let asked = [gone, lost(&job, 0)];
    let answers = world.store.restore(world.lease, &asked).await.unwrap();
    assert_eq!(answers, [Restored::Gone, Restored::Running(key(&job))]);
    assert_eq!(world.state(other).await, State::Running);
    assert!(world.store.restore(world.lease, &[]).await.unwrap().is_empty());
}

async fn a_restored_call_is_charged_to_the_slot_in_which_it_began(world: World) {
    world.limit(&[("total", Some(1), None)]).await;
    world.admit_many(2).await;
    let job = world.claim_one().await;
    world.hand.advance(50_000);
    lose(&world).await;
    let asked = [lost(&job, 50_000)];
    world.store.restore(world.lease, &asked).await.unwrap();
    world.hand.advance(10_000);
    assert!(world.claim(1).await.jobs.is_empty(), "the provider still counts it");
    world.hand.advance(1_000);
    assert_eq!(world.claim(1).await.jobs.len(), 1);
}

async fn a_restored_call_older_than_the_window_is_charged_now(world: World) {
    world.limit(&[("total", Some(1), None)]).await;
    world.admit_many(2).await;
    let job = world.claim_one().await;
    world.hand.advance(70_000);
    lose(&world).await;
    let asked = [lost(&job, 70_000)];
    world.store.restore(world.lease, &asked).await.unwrap();
    world.hand.advance(59_000);
    assert!(world.claim(1).await.jobs.is_empty());
    world.hand.advance(2_000);
    assert_eq!(world.claim(1).await.jobs.len(), 1);
}

/// A spool's line says no more than which attempt it ends.
async fn a_call_of_unknown_size_is_charged_with_what_its_job_reserves(world: World) {
    world.limit(&[("total", None, Some(10_000))]).await;
    world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let asked = [LostAttempt { key: key(&job), age_ms: None, reserved_tokens: None }];
    world.store.restore(world.lease, &asked).await.unwrap();
    assert_eq!(world.tokens("total").await.in_flight, 1_000);
}

async fn a_restored_attempt_that_finishes_is_settled(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    world.admit_one().await;
    let job = world.claim_one().await;
    world.hand.advance(5_000);
    lose(&world).await;
    world.store.restore(world.lease, &[lost(&job, 5_000)]).await.unwrap();
    world.hand.advance(3_000);
    world.succeed(&job).await;
    let (requests, tokens) = (world.requests("total").await, world.tokens("total").await);
    assert_eq!((requests.used, requests.in_flight), (1, 0));
    assert_eq!((tokens.used, tokens.in_flight), (300, 0));
}

/// Its row is gone, or it was lost with the commit that opened it.
async fn a_job_whose_lease_was_lost_runs_on_under_the_new_one(mut world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    world.run_sql("delete from lease").await;
    assert_eq!(world.store.beat(world.lease).await.unwrap(), None);
    world.lease = open_lease(world.store.as_ref()).await;
    assert_eq!(restore(&world, &job).await, Restored::Known(key(&job)));
    assert_eq!(running(&world).await, [RunningAttempt { key: key(&job) }]);
    let others = world.store.other_leases(world.lease).await.unwrap();
    assert!(others.is_empty(), "there is nothing left to rescue: {others:?}");
}

async fn without_a_lease_an_attempt_is_recorded_and_nothing_runs(world: World) {
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let answers = world.store.restore(Uuid::now_v7(), &[lost(&job, 0)]).await.unwrap();
    assert_eq!(answers, [Restored::Beside(key(&job))]);
    assert_eq!(world.state(id).await, State::Ready);
    assert_eq!(world.claim_one().await.number, 2);
}

async fn after_a_restored_attempt_numbers_go_on(world: World) {
    world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let second = world.claim_one().await;
    restore(&world, &job).await;
    world.finish(again(&second, 0)).await;
    let third = world.claim_one().await;
    assert_eq!((second.number, third.number), (1, 3));
    world.store.give_back(&[key(&third)]).await.unwrap();
    assert_eq!(world.claim_one().await.number, 4);
}

async fn several_attempts_of_one_job_are_restored_together(world: World) {
    let id = world.admit_one().await;
    let first = world.claim_one().await;
    world.finish(again(&first, 0)).await;
    let second = world.claim_one().await;
    lose(&world).await;
    let asked = [lost(&second, 0), lost(&first, 0)];
    let answers = world.store.restore(world.lease, &asked).await.unwrap();
    assert_eq!(answers, [Restored::Running(key(&second)), Restored::Beside(key(&first))]);
    assert_eq!(world.finish(again(&first, 0)).await, Finished::Late);
    assert_eq!(world.state(id).await, State::Running);
    assert_eq!(world.succeed(&second).await, Finished::Moved(State::Succeeded));
}

async fn a_rescue_leaves_no_restored_attempt_open(mut world: World) {
    let id = world.admit_one().await;
    let job = claim_and_lose(&world).await;
    let second = world.claim_one().await;
    restore(&world, &job).await;
    let dead = world.lease;
    world.restart().await;
    assert_eq!(world.rescue(dead).await.attempts, 1);
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    let outcomes: Vec<_> = page.attempts.iter().map(|it| it.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("unknown"), Some("unknown")]);
    assert_eq!(world.finish(success(&second)).await, Finished::Moved(State::Succeeded));
}
