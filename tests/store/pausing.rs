//! What people pause and resume: lanes, queues, everything; and what failures have paused.

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{
    ClaimAsk, ClaimNewAsk, ClaimedNew, Finish, LaneNews, NewJob, Pause, PauseAsk, Resumed, Scope,
};
use uuid::Uuid;

use crate::world::{LANE, World, again, ids, success};

behind_a_pooler_too!(
    a_paused_queues_jobs_wait_and_the_others_are_claimed,
    a_pause_is_seen_by_every_process_and_after_a_restart,
    a_resumed_lane_that_a_failure_paused_is_claimable_and_its_jobs_are_due,
);

mod rest {
    use super::*;

    on_every_engine!(
        a_queues_long_line_hides_nothing_behind_it,
        a_paused_lane_and_a_pause_of_everything_claim_nothing,
        a_pause_ends_by_itself_when_its_time_is_over,
        a_second_pause_of_the_same_keeps_its_beginning,
        calls_in_flight_of_what_is_paused_end_as_always,
        a_job_put_back_into_a_paused_queue_waits,
        a_call_for_a_waiting_caller_is_told_who_paused_it,
        a_resume_ends_that_very_pause_alone,
        a_resume_of_a_pattern_ends_failures_pauses_of_the_lanes_that_match,
        a_resume_leaves_jobs_that_wait_for_another_reason,
        what_waits_is_counted_by_lane_queue_and_tenant,
    );
}

fn queue(name: &str) -> Scope {
    Scope::Queue(name.to_owned())
}

fn lane(pattern: &str) -> Scope {
    Scope::Lane(pattern.to_owned())
}

async fn pause(world: &World, scope: Scope, for_ms: Option<u64>) -> Pause {
    let reason = Some("because".to_owned());
    world.store.pause(&PauseAsk { scope, for_ms, reason }).await.unwrap()
}

async fn resume(world: &World, scope: Scope) -> Resumed {
    world.store.resume(&scope).await.unwrap()
}

fn of(world: &World, queue: &str) -> NewJob {
    NewJob { queue: queue.to_owned(), ..world.job() }
}

async fn a_paused_queues_jobs_wait_and_the_others_are_claimed(world: World) {
    let mixed = ["slow", "fast", "slow", "fast"];
    let jobs = world.admit(mixed.iter().map(|name| of(&world, name)).collect()).await;
    let paused = pause(&world, queue("slow"), None).await;
    assert_eq!((paused.since, paused.until), (world.now_ms(), None));
    assert_eq!(paused.reason.as_deref(), Some("because"));
    let claimed = world.claim(5).await;
    assert_eq!(ids(&claimed), [jobs[1], jobs[3]]);
    let denied = world.claim(5).await;
    assert!(denied.jobs.is_empty());
    assert_eq!(denied.paused_by, Some(paused.clone()), "the worker can say why it waits");
    assert_eq!(denied.paused_ms, None, "no failure has paused the lane");
    let resumed = resume(&world, queue("slow")).await;
    assert_eq!(resumed, Resumed { pause: Some(paused), ..Resumed::default() });
    assert_eq!(ids(&world.claim(5).await), [jobs[0], jobs[2]]);
    assert_eq!(world.claim(5).await.paused_by, None);
}

async fn a_queues_long_line_hides_nothing_behind_it(world: World) {
    world.admit((0..300).map(|_| of(&world, "slow")).collect()).await;
    let free = world.admit(vec![of(&world, "fast")]).await[0];
    pause(&world, queue("slow"), None).await;
    let ask = ClaimAsk { scan_max: 5, ..world.ask(3) };
    assert_eq!(ids(&world.store.claim(ask).await.unwrap()), [free]);
    let later = world.admit(vec![of(&world, "fast"), of(&world, "slow")]).await;
    assert_eq!(ids(&world.claim(3).await), [later[0]]);
    resume(&world, queue("slow")).await;
    assert_eq!(world.claim(100).await.jobs.len(), 100);
}

async fn a_paused_lane_and_a_pause_of_everything_claim_nothing(world: World) {
    world.admit_many(2).await;
    for scope in [lane("bedrock/*/small"), Scope::All] {
        let paused = pause(&world, scope.clone(), None).await;
        let denied = world.claim(5).await;
        assert!(denied.jobs.is_empty());
        assert_eq!(denied.paused_by, Some(paused));
        resume(&world, scope).await;
    }
    pause(&world, lane("other/*"), None).await;
    assert_eq!(world.claim(5).await.jobs.len(), 2);
}

async fn a_pause_ends_by_itself_when_its_time_is_over(world: World) {
    world.admit_one().await;
    let paused = pause(&world, Scope::All, Some(5_000)).await;
    assert_eq!(paused.until, Some(world.now_ms() + 5_000));
    world.hand.advance(4_999);
    assert_eq!(world.claim(1).await.paused_by, Some(paused));
    world.hand.advance(1);
    assert_eq!(world.store.pauses().await.unwrap(), []);
    world.claim_one().await;
    let again = pause(&world, Scope::All, None).await;
    assert_eq!(again.since, world.now_ms(), "this is another pause");
}

async fn a_second_pause_of_the_same_keeps_its_beginning(world: World) {
    let first = pause(&world, queue("slow"), Some(5_000)).await;
    world.hand.advance(1_000);
    let ask = PauseAsk { scope: queue("slow"), for_ms: None, reason: None };
    let second = world.store.pause(&ask).await.unwrap();
    assert_eq!((second.since, second.until, second.reason.clone()), (first.since, None, None));
    assert_eq!(world.store.pauses().await.unwrap(), [second]);
}

async fn a_pause_is_seen_by_every_process_and_after_a_restart(mut world: World) {
    world.admit_one().await;
    pause(&world, queue("default"), None).await;
    let other = world.another_store().await;
    assert!(other.claim(world.ask(1)).await.unwrap().paused_by.is_some());
    world.restart().await;
    assert!(world.claim(1).await.paused_by.is_some());
    other.resume(&queue("default")).await.unwrap();
    world.claim_one().await;
}

async fn calls_in_flight_of_what_is_paused_end_as_always(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    pause(&world, Scope::All, None).await;
    world.succeed(&job).await;
    assert_eq!(world.state(id).await, State::Succeeded);
}

async fn a_job_put_back_into_a_paused_queue_waits(world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    pause(&world, queue("default"), None).await;
    world.finish(again(&job, 0)).await;
    assert!(world.claim(1).await.paused_by.is_some());
    resume(&world, queue("default")).await;
    world.claim_one().await;
}

async fn a_call_for_a_waiting_caller_is_told_who_paused_it(world: World) {
    for scope in [queue("default"), lane(LANE), Scope::All] {
        let paused = pause(&world, scope.clone(), None).await;
        let ask = ClaimNewAsk {
            lease: world.lease,
            fence: Uuid::now_v7(),
            pass_ms_max: 30_000,
            waits: true,
        };
        let claimed = world.store.claim_new(world.job(), ask).await.unwrap();
        let ClaimedNew::PausedBy(by) = claimed else { panic!("{claimed:?}") };
        assert_eq!(by, paused);
        resume(&world, scope).await;
    }
    let counts = world.store.counts(None).await.unwrap();
    assert!(counts.states.is_empty(), "nothing of them is kept");
}

async fn a_resume_ends_that_very_pause_alone(world: World) {
    world.admit_one().await;
    let by_queue = pause(&world, queue("default"), None).await;
    pause(&world, Scope::All, None).await;
    resume(&world, Scope::All).await;
    assert_eq!(world.claim(1).await.paused_by, Some(by_queue.clone()));
    assert_eq!(world.store.pauses().await.unwrap(), [by_queue]);
    assert_eq!(resume(&world, Scope::All).await, Resumed::default());
}

/// A call that fails and pauses its lane for an hour.
async fn out(world: &World, kind: ErrorKind) {
    let job = world.claim_one().await;
    let lane = LaneNews { pause_ms: Some(3_600_000), ..LaneNews::default() };
    let error = Some((kind, "no".to_owned()));
    world.finish(Finish { lane, error, ..again(&job, 3_600_000) }).await;
}

async fn a_resumed_lane_that_a_failure_paused_is_claimable_and_its_jobs_are_due(world: World) {
    world.admit_many(2).await;
    assert_eq!(world.store.resumes().await.unwrap(), []);
    out(&world, ErrorKind::ThrottledDay).await;
    assert_eq!(world.claim(5).await.paused_for.as_deref(), Some("throttled_day"));
    world.hand.advance(1_000);
    let resumed = resume(&world, lane("bedrock/*")).await;
    assert_eq!(resumed, Resumed { pause: None, lanes: vec![LANE.to_owned()], jobs: 1 });
    assert_eq!(world.store.resumes().await.unwrap(), [(LANE.to_owned(), 1)]);
    assert_eq!(world.store.paused_lanes().await.unwrap(), []);
    assert_eq!(world.store.promote(10).await.unwrap().due, 1);
    let claimed = world.claim(5).await;
    assert_eq!(claimed.jobs.len(), 2);
    for job in &claimed.jobs {
        world.succeed(job).await;
    }
}

async fn a_resume_of_a_pattern_ends_failures_pauses_of_the_lanes_that_match(world: World) {
    world.admit_one().await;
    out(&world, ErrorKind::Credentials).await;
    for scope in [lane("other/*"), queue("default")] {
        assert_eq!(resume(&world, scope).await, Resumed::default());
    }
    assert_eq!(resume(&world, Scope::All).await.lanes, [LANE]);
    assert_eq!(resume(&world, Scope::All).await.lanes, [""; 0], "it is over");
}

async fn a_resume_leaves_jobs_that_wait_for_another_reason(world: World) {
    let now = world.now_ms();
    world.admit_many(2).await;
    let planned = NewJob { run_at: now + 600_000, ..world.job() };
    let planned = world.admit(vec![planned]).await[0];
    let job = world.claim_one().await;
    world.finish(again(&job, 600_000)).await;
    out(&world, ErrorKind::Credentials).await;
    assert_eq!(resume(&world, Scope::All).await.jobs, 1, "the one that met the failure");
    assert_eq!(world.store.promote(10).await.unwrap().due, 1);
    let run_at = |id: Uuid| {
        let store = &world.store;
        async move { store.job(&id.to_string()).await.unwrap().unwrap().row.run_at }
    };
    assert_eq!(run_at(planned).await, now + 600_000);
    assert_eq!(run_at(job.job_id).await, now + 600_000);
}

async fn what_waits_is_counted_by_lane_queue_and_tenant(world: World) {
    world.admit_many(3).await;
    let other = NewJob { tenant: "acme".to_owned(), ..of(&world, "reports") };
    let later = NewJob { run_at: world.now_ms() + 60_000, ..world.job() };
    world.admit(vec![other, later]).await;
    let running = world.claim_one().await;
    let backlog = world.store.backlog(10).await.unwrap();
    let found: Vec<(&str, &str, u64, u64)> = backlog
        .iter()
        .map(|one| (one.queue.as_str(), one.tenant.as_str(), one.jobs, one.reserved_tokens))
        .collect();
    assert_eq!(found, [("default", "default", 2, 2_000), ("reports", "acme", 1, 1_000)]);
    assert!(backlog.iter().all(|one| one.lane == LANE));
    assert_eq!(world.store.backlog(1).await.unwrap().len(), 1);
    world.finish(success(&running)).await;
}
