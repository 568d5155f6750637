//! What people do to jobs: cancel and retry.

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::retry::Counters;
use quarrier::store::{Admitted, AttemptKey, Finish, Finished, NewJob, Next};
use uuid::Uuid;

use crate::world::{World, again, cut, failure, ids, key, success};

on_every_engine!(
    cancelling_a_ready_job_ends_it,
    cancelling_a_running_job_ends_it_and_fences_its_call,
    a_cancelled_call_serves_nothing_and_one_whose_job_runs_anew_still_does,
    cancelling_a_held_job_ends_it,
    cancelling_an_ended_job_changes_nothing,
    cancelling_names_only_those_that_moved_once,
    cancelling_frees_the_dedupe_key,
    retrying_a_failed_job_gives_it_fresh_counters_and_takes_its_result,
    retrying_begins_the_conversation_anew,
    retrying_works_for_every_end_but_success,
    retrying_sets_a_new_deadline,
    retrying_a_job_that_was_never_admissible_changes_nothing,
    retrying_refuses_while_a_live_job_holds_the_dedupe_key,
    retrying_two_jobs_of_one_dedupe_key_moves_one,
    retrying_takes_a_new_place,
    an_answer_from_before_the_retry_still_counts,
);

async fn cancelling_a_ready_job_ends_it(world: World) {
    let id = world.admit_one().await;
    assert_eq!(world.store.cancel(&[id]).await.unwrap(), [id]);
    assert_eq!(world.state(id).await, State::Cancelled);
    let result = world.result(id).await.unwrap();
    assert_eq!(result.state, State::Cancelled);
    assert_eq!(result.error_kind.as_deref(), Some("cancelled"));
    assert!(world.claim(1).await.jobs.is_empty());
}

async fn cancelling_a_running_job_ends_it_and_fences_its_call(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    assert_eq!(world.store.cancel(&[id]).await.unwrap(), [id]);
    assert_eq!(world.state(id).await, State::Cancelled);
    assert!(world.store.beat(world.lease).await.unwrap().unwrap().is_empty());
    assert_eq!(world.finish(again(&job, 0)).await, Finished::Late);
    assert_eq!(world.state(id).await, State::Cancelled);
}

async fn a_cancelled_call_serves_nothing_and_one_whose_job_runs_anew_still_does(world: World) {
    let cancelled = world.admit_many(3).await;
    let jobs = world.claim(3).await.jobs;
    let keys: Vec<AttemptKey> = jobs.iter().map(key).collect();
    assert_eq!(world.store.unwanted(&keys).await.unwrap(), []);
    world.store.cancel(&cancelled[..2]).await.unwrap();
    assert_eq!(world.store.unwanted(&keys).await.unwrap(), keys[..2]);
    // Put back, the first waits again; its cancelled call stays cancelled.
    world.store.retry(&cancelled[..1], later(&world)).await.unwrap();
    assert_eq!(world.store.unwanted(&keys).await.unwrap(), keys[..2]);
    // A worker that was taken for dead may still bring the answer.
    world.rescue(world.lease).await;
    assert_eq!(world.state(cancelled[2]).await, State::Ready);
    assert_eq!(world.store.unwanted(&keys).await.unwrap(), keys[..2]);
    let gone = AttemptKey { job_id: Uuid::now_v7(), ..keys[2] };
    assert_eq!(world.store.unwanted(&[gone]).await.unwrap(), [], "a failover may have lost it");
    let page = world.store.job(&cancelled[1].to_string()).await.unwrap().unwrap();
    let attempt = &page.attempts[0];
    assert_eq!(attempt.outcome.as_deref(), Some("unknown"));
    assert_eq!((attempt.settled_tokens, attempt.cost_micros), (None, None), "money is unknown");
    assert_eq!(page.result.unwrap().attempts_unknown, 1);
}

async fn cancelling_a_held_job_ends_it(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(cut(&job, Next::Held)).await;
    assert_eq!(world.store.cancel(&[id]).await.unwrap(), [id]);
    assert_eq!(world.state(id).await, State::Cancelled);
}

async fn cancelling_an_ended_job_changes_nothing(world: World) {
    let id = world.admit_one().await;
    world.succeed(&world.claim_one().await).await;
    assert!(world.store.cancel(&[id, Uuid::now_v7()]).await.unwrap().is_empty());
    assert_eq!(world.state(id).await, State::Succeeded);
    assert_eq!(world.results().await.len(), 1);
}

async fn cancelling_names_only_those_that_moved_once(world: World) {
    let ids = world.admit_many(3).await;
    world.store.cancel(&[ids[1]]).await.unwrap();
    let moved = world.store.cancel(&[ids[2], ids[1], ids[0], ids[2]]).await.unwrap();
    assert_eq!(moved, [ids[2], ids[0]]);
    assert_eq!(world.results().await.len(), 3);
}

async fn cancelling_frees_the_dedupe_key(world: World) {
    let job = || NewJob { dedupe_key: Some("k".to_owned()), ..world.job() };
    let id = world.admit(vec![job()]).await[0];
    world.store.cancel(&[id]).await.unwrap();
    world.admit(vec![job()]).await;
}

fn later(world: &World) -> i64 {
    world.now_ms() + 1_000_000
}

async fn retrying_a_failed_job_gives_it_fresh_counters_and_takes_its_result(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(again(&job, 0)).await;
    let job = world.claim_one().await;
    world.finish(failure(&job, ErrorKind::Internal)).await;
    let first = world.result(id).await.unwrap().seq;
    assert_eq!(world.store.retry(&[id], later(&world)).await.unwrap(), [id]);
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!((page.row.state, page.row.ended_at), (State::Ready, None));
    assert_eq!(page.row.counters, Counters::default());
    assert_eq!(page.row.reason, None);
    assert!(page.result.is_none());
    assert_eq!(page.attempts.len(), 2, "the attempts stay");
    assert!(world.results().await.is_empty());
    let job = world.claim_one().await;
    assert_eq!((job.number, job.counters), (3, Counters::default()));
    world.succeed(&job).await;
    let results = world.results().await;
    assert_eq!(results.len(), 1);
    assert!(results[0].seq > first, "a reader who stood at the old end sees the new one");
    assert_eq!(results[0].attempts, 3);
}

async fn retrying_begins_the_conversation_anew(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    let next = Next::Again {
        after_ms: 0,
        counters: Counters { reasks: 1, ..Counters::default() },
        reask: Some("{}".to_owned()),
        input_tokens_max: 900,
    };
    world.finish(Finish { next, ..success(&job) }).await;
    let job = world.claim_one().await;
    assert!(job.reask.is_some());
    world.finish(failure(&job, ErrorKind::InvalidJson)).await;
    world.store.retry(&[id], later(&world)).await.unwrap();
    assert_eq!(world.claim_one().await.reask, None);
}

async fn retrying_works_for_every_end_but_success(world: World) {
    let deadline_at = world.now_ms() + 1_000;
    let expires = NewJob { deadline_at, priority: -100, ..world.job() };
    let admitted =
        world.admit(vec![world.job(), world.job(), world.job(), world.job(), expires]).await;
    let jobs = world.claim(3).await.jobs;
    world.succeed(&jobs[0]).await;
    world.finish(failure(&jobs[1], ErrorKind::Refused)).await;
    world.finish(cut(&jobs[2], Next::Held)).await;
    world.store.cancel(&[admitted[3]]).await.unwrap();
    world.hand.advance(1_000);
    assert_eq!(world.store.promote(10).await.unwrap().expired, 1);
    let moved = world.store.retry(&admitted, later(&world)).await.unwrap();
    assert_eq!(moved, admitted[1..]);
    assert_eq!(world.store.promote(10).await.unwrap().expired, 0);
    assert_eq!(world.claim(10).await.jobs.len(), 4);
    assert!(world.store.retry(&admitted, later(&world)).await.unwrap().is_empty(), "they run");
}

async fn retrying_sets_a_new_deadline(world: World) {
    let id = world.admit_one().await;
    world.store.cancel(&[id]).await.unwrap();
    let deadline_at = world.now_ms() + 5_000;
    world.store.retry(&[id], deadline_at).await.unwrap();
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.row.deadline_at, deadline_at);
    world.hand.advance(5_000);
    assert_eq!(world.store.promote(10).await.unwrap().expired, 1);
}

async fn retrying_a_job_that_was_never_admissible_changes_nothing(world: World) {
    let rejected = NewJob { resolved: Err("no".to_owned()), ..world.job() };
    let id = world.admit(vec![rejected]).await[0];
    let moved = world.store.retry(&[id, Uuid::now_v7()], later(&world)).await.unwrap();
    assert!(moved.is_empty());
    assert_eq!(world.state(id).await, State::Failed);
    assert!(world.result(id).await.is_some());
}

async fn retrying_refuses_while_a_live_job_holds_the_dedupe_key(world: World) {
    let job = || NewJob { dedupe_key: Some("k".to_owned()), ..world.job() };
    let old = world.admit(vec![job()]).await[0];
    world.finish(failure(&world.claim_one().await, ErrorKind::Refused)).await;
    let live = world.admit(vec![job()]).await[0];
    let plain = world.admit_one().await;
    world.store.cancel(&[plain]).await.unwrap();
    let moved = world.store.retry(&[old, plain], later(&world)).await.unwrap();
    assert_eq!(moved, [plain], "and the others move");
    assert_eq!(world.state(old).await, State::Failed);
    assert!(world.result(old).await.is_some());
    world.store.cancel(&[live]).await.unwrap();
    assert_eq!(world.store.retry(&[old], later(&world)).await.unwrap(), [old]);
    let answer = world.store.admit(vec![job()]).await.unwrap();
    assert_eq!(answer, [Admitted::Duplicate(old)], "it holds the key again");
}

async fn retrying_two_jobs_of_one_dedupe_key_moves_one(world: World) {
    let job = || NewJob { dedupe_key: Some("k".to_owned()), ..world.job() };
    let mut ended = Vec::new();
    for _ in 0..2 {
        ended.push(world.admit(vec![job()]).await[0]);
        world.store.cancel(&ended).await.unwrap();
    }
    assert_eq!(world.store.retry(&ended, later(&world)).await.unwrap(), ended[..1]);
}

async fn retrying_takes_a_new_place(world: World) {
    let admitted = world.admit_many(3).await;
    world.store.cancel(&[admitted[0]]).await.unwrap();
    world.store.retry(&[admitted[0]], later(&world)).await.unwrap();
    assert_eq!(ids(&world.claim(5).await), [admitted[1], admitted[2], admitted[0]]);
}

async fn an_answer_from_before_the_retry_still_counts(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.store.cancel(&[id]).await.unwrap();
    world.store.retry(&[id], later(&world)).await.unwrap();
    assert_eq!(world.succeed(&job).await, Finished::Moved(State::Succeeded));
    assert!(world.claim(1).await.jobs.is_empty(), "what is paid for is not bought again");
    assert_eq!(world.results().await.len(), 1);
}
