//! Submissions that run as they are admitted: rooms 1 and 3 in one transaction, where nothing else
//! waits, and otherwise nothing at all.

use std::sync::Arc;

use quarrier::job::State;
use quarrier::store::{
    ClaimSubmittedAsk, Claimed, Finish, LaneNews, NewJob, PauseAsk, QueueShare, Scope, Shares,
    Store, StoreError, TenantShare,
};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::world::{LANE, World, again, ids, key, success};

on_postgres!(
    a_submission_runs_as_it_is_admitted,
    the_calls_of_submissions_are_charged_and_settled_like_any_other,
    what_does_not_fit_stays_before_the_store,
    behind_a_job_that_is_due_no_submission_runs,
    what_is_paused_does_not_run_as_it_is_admitted,
    a_full_queue_lets_none_run_and_one_with_room_counts_them,
    an_identity_that_is_known_goes_the_ordinary_way,
    two_submissions_of_one_identity_go_the_ordinary_way,
    a_dedupe_key_that_is_held_goes_the_ordinary_way,
    what_is_for_later_or_rejected_goes_the_ordinary_way,
    of_two_workers_one_runs_a_submission,
    under_a_lease_that_is_gone_no_submission_runs,
    a_call_given_back_stands_in_its_lane,
    a_call_that_is_made_again_keeps_its_place,
    the_jobs_of_a_dead_worker_that_ran_at_once_are_rescued,
    turns_go_on_where_jobs_at_once_have_left_them,
    a_limit_that_came_meanwhile_is_drawn_on,
    engines_without_a_short_way_say_so,
);

/// A row before the store, and what admission has made of it.
async fn submit(world: &World, job: NewJob) -> (String, NewJob) {
    let id = job.job_id.to_string();
    let row = format!("insert into submission (id, document) values ('{id}', '{{}}')");
    let mut other = world.connect_postgres().await;
    sqlx::raw_sql(AssertSqlSafe(row)).execute(&mut other).await.unwrap();
    (id, job)
}

fn ask(world: &World, jobs: usize) -> ClaimSubmittedAsk {
    let fences = (0..jobs).map(|_| Uuid::now_v7()).collect();
    ClaimSubmittedAsk { lease: world.lease, fences, pass_ms_max: 30_000 }
}

async fn at_once(world: &World, jobs: &[(String, NewJob)]) -> Option<Claimed> {
    world.store.claim_submitted(jobs, &ask(world, jobs.len())).await.unwrap()
}

/// A submission that must run at once.
async fn runs(world: &World, job: NewJob) -> quarrier::store::ClaimedJob {
    let submitted = submit(world, job).await;
    at_once(world, &[submitted]).await.unwrap().jobs.remove(0)
}

/// It does not run at once, nothing has happened, and the ordinary way takes it.
async fn goes_the_ordinary_way(world: &World, jobs: Vec<(String, NewJob)>) {
    let before = world.store.counts(None).await.unwrap().states;
    assert!(at_once(world, &jobs).await.is_none());
    let waiting = world.store.submissions(10).await.unwrap();
    assert_eq!(waiting.len(), jobs.len());
    assert_eq!(world.store.counts(None).await.unwrap().states, before);
    world.store.admit_submissions(jobs).await.unwrap();
    assert!(world.store.submissions(10).await.unwrap().is_empty());
}

async fn a_submission_runs_as_it_is_admitted(world: World) {
    let named = world.named("a");
    let submitted = [submit(&world, named.clone()).await];
    let ask = ask(&world, 1);
    let claimed = world.store.claim_submitted(&submitted, &ask).await.unwrap().unwrap();
    let job = &claimed.jobs[0];
    assert_eq!((job.job_id, job.number, job.fence), (named.job_id, 1, ask.fences[0]));
    assert_eq!((job.reserved_tokens, job.document.as_str()), (1_000, named.document.as_str()));
    assert_eq!(job.resolved, named.resolved.unwrap());
    assert_eq!(claimed.reserved.map(|now| now.wall_ms), Some(world.now_ms()));
    assert_eq!(world.state(job.job_id).await, State::Running);
    assert!(world.store.submissions(10).await.unwrap().is_empty());
    assert!(world.store.ready_lanes().await.unwrap().is_empty());
    let beat = world.store.beat(world.lease).await.unwrap().unwrap();
    assert_eq!(beat.iter().map(|row| row.key).collect::<Vec<_>>(), [key(job)]);
    let page = world.store.job("a").await.unwrap().unwrap();
    assert_eq!((page.row.job_id, page.attempts.len()), (job.job_id, 1));
    world.succeed(job).await;
    assert!(world.result(job.job_id).await.is_some());
}

async fn the_calls_of_submissions_are_charged_and_settled_like_any_other(world: World) {
    world.limit(&[("total", Some(6_000), Some(2_000_000)), ("tenant:*", Some(5_000), None)]).await;
    let jobs = [submit(&world, world.job()).await, submit(&world, world.job()).await];
    let claimed = at_once(&world, &jobs).await.unwrap();
    assert_eq!(claimed.jobs.len(), 2);
    assert_eq!(world.tokens("total").await.in_flight, 2_000);
    assert_eq!(world.requests("tenant:default").await.in_flight, 2);
    assert_eq!(world.requests(&format!("lane:{LANE}")).await.in_flight, 2);
    for job in &claimed.jobs {
        world.succeed(job).await;
    }
    let tokens = world.tokens("total").await;
    assert_eq!((tokens.in_flight, tokens.used), (0, 600));
}

async fn what_does_not_fit_stays_before_the_store(world: World) {
    world.limit(&[("total", None, Some(1_500))]).await;
    runs(&world, world.job()).await;
    let before = world.tokens("total").await;
    let submitted = submit(&world, world.job()).await;
    goes_the_ordinary_way(&world, vec![submitted]).await;
    assert_eq!(world.tokens("total").await, before, "nothing is charged");
    assert_eq!(world.claim(5).await.waiting.unwrap().key, "total");
}

async fn behind_a_job_that_is_due_no_submission_runs(world: World) {
    let first = world.admit_one().await;
    let submitted = submit(&world, world.job()).await;
    let second = submitted.1.job_id;
    goes_the_ordinary_way(&world, vec![submitted]).await;
    assert_eq!(ids(&world.claim(5).await), [first, second]);
    // Another lane has nothing to do with it.
    world.admit_one().await;
    runs(&world, NewJob { lane: "another".to_owned(), ..world.job() }).await;
}

async fn what_is_paused_does_not_run_as_it_is_admitted(world: World) {
    let scopes = [Scope::All, Scope::Lane(LANE.to_owned()), Scope::Queue("default".to_owned())];
    for scope in scopes {
        let pause = PauseAsk { scope: scope.clone(), for_ms: None, reason: None };
        world.store.pause(&pause).await.unwrap();
        let submitted = submit(&world, world.job()).await;
        goes_the_ordinary_way(&world, vec![submitted]).await;
        world.store.resume(&scope).await.unwrap();
        assert_eq!(world.claim(5).await.jobs.len(), 1);
    }
    let pause = PauseAsk { scope: Scope::Queue("else".to_owned()), for_ms: None, reason: None };
    world.store.pause(&pause).await.unwrap();
    let job = runs(&world, world.job()).await;
    let lane = LaneNews { pause_ms: Some(60_000), ..LaneNews::default() };
    world.finish(Finish { lane, ..success(&job) }).await;
    let submitted = submit(&world, world.job()).await;
    goes_the_ordinary_way(&world, vec![submitted]).await;
}

async fn a_full_queue_lets_none_run_and_one_with_room_counts_them(world: World) {
    let queue = QueueShare { concurrency_max: Some(2), ..QueueShare::plain("default") };
    let shares = Shares { queues: vec![queue], tenants: Vec::new() };
    world.store.seed_shares(&shares).await.unwrap();
    let first = runs(&world, world.job()).await;
    let two = vec![submit(&world, world.job()).await, submit(&world, world.job()).await];
    goes_the_ordinary_way(&world, two).await;
    assert_eq!(world.claim(5).await.jobs.len(), 1, "what runs at once is counted");
    world.succeed(&first).await;
    assert_eq!(world.claim(5).await.jobs.len(), 1);
}

async fn an_identity_that_is_known_goes_the_ordinary_way(world: World) {
    let first = runs(&world, world.named("a")).await;
    let same = submit(&world, world.named("a")).await;
    goes_the_ordinary_way(&world, vec![same]).await;
    let other = NewJob { document_hash: "another".to_owned(), ..world.named("a") };
    let other = submit(&world, other).await;
    let id = other.1.job_id;
    goes_the_ordinary_way(&world, vec![other]).await;
    assert_eq!(world.state(id).await, State::Failed);
    assert_eq!(world.state(first.job_id).await, State::Running);
}

async fn two_submissions_of_one_identity_go_the_ordinary_way(world: World) {
    let two = vec![submit(&world, world.named("a")).await, submit(&world, world.named("a")).await];
    goes_the_ordinary_way(&world, two).await;
    assert_eq!(world.claim(5).await.jobs.len(), 1);
}

async fn a_dedupe_key_that_is_held_goes_the_ordinary_way(world: World) {
    let keyed = || NewJob { dedupe_key: Some("nightly".to_owned()), ..world.job() };
    let first = runs(&world, keyed()).await;
    let again = submit(&world, keyed()).await;
    goes_the_ordinary_way(&world, vec![again]).await;
    assert!(world.claim(5).await.jobs.is_empty());
    world.succeed(&first).await;
    runs(&world, keyed()).await;
}

async fn what_is_for_later_or_rejected_goes_the_ordinary_way(world: World) {
    let later = NewJob { run_at: world.now_ms() + 1, ..world.job() };
    let later = submit(&world, later).await;
    goes_the_ordinary_way(&world, vec![later]).await;
    let bad = NewJob { resolved: Err("no such model".to_owned()), ..world.job() };
    let bad = submit(&world, bad).await;
    let id = bad.1.job_id;
    goes_the_ordinary_way(&world, vec![bad]).await;
    assert_eq!(world.state(id).await, State::Failed);
}

async fn of_two_workers_one_runs_a_submission(world: World) {
    let other: Arc<dyn Store> = world.another_store().await;
    for _ in 0..20 {
        let submitted = [submit(&world, world.job()).await];
        let (one, two) = (ask(&world, 1), ask(&world, 1));
        let (one, two) = tokio::join!(
            world.store.claim_submitted(&submitted, &one),
            other.claim_submitted(&submitted, &two)
        );
        let count = |claimed: Option<Claimed>| claimed.map_or(0, |claimed| claimed.jobs.len());
        assert_eq!(count(one.unwrap()) + count(two.unwrap()), 1);
        assert!(world.store.submissions(10).await.unwrap().is_empty());
    }
    let beat = world.store.beat(world.lease).await.unwrap().unwrap();
    assert_eq!(beat.len(), 20);
}

async fn under_a_lease_that_is_gone_no_submission_runs(world: World) {
    let submitted = [submit(&world, world.job()).await];
    world.store.close_lease(world.lease).await.unwrap();
    let refused = world.store.claim_submitted(&submitted, &ask(&world, 1)).await;
    assert!(matches!(refused, Err(StoreError::Transient(_))), "{refused:?}");
    assert_eq!(world.store.submissions(10).await.unwrap().len(), 1);
    assert!(world.store.counts(None).await.unwrap().states.is_empty());
}

async fn a_call_given_back_stands_in_its_lane(world: World) {
    let job = runs(&world, world.job()).await;
    world.store.give_back(&[key(&job)]).await.unwrap();
    assert_eq!(world.requests(&format!("lane:{LANE}")).await.in_flight, 0);
    assert_eq!(world.claim_one().await.job_id, job.job_id);
}

async fn a_call_that_is_made_again_keeps_its_place(world: World) {
    let job = runs(&world, world.job()).await;
    let later = world.admit_one().await;
    world.finish(again(&job, 1_000)).await;
    world.hand.advance(1_000);
    assert_eq!(world.store.promote(10).await.unwrap().due, 1);
    assert_eq!(ids(&world.claim(5).await), [job.job_id, later]);
}

async fn the_jobs_of_a_dead_worker_that_ran_at_once_are_rescued(mut world: World) {
    let job = runs(&world, world.job()).await;
    let dead = world.lease;
    world.restart().await;
    let rescued = world.rescue(dead).await;
    assert_eq!((rescued.attempts, rescued.ready), (1, 1));
    let again = world.claim_one().await;
    assert_eq!((again.job_id, again.number), (job.job_id, 2));
}

async fn turns_go_on_where_jobs_at_once_have_left_them(world: World) {
    let tenants = vec![TenantShare { name: "b".to_owned(), weight: 4.0 }];
    world.store.seed_shares(&Shares { queues: Vec::new(), tenants }).await.unwrap();
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    for _ in 0..10 {
        runs(&world, NewJob { priority: 3, ..of("a") }).await;
    }
    let mut all = Vec::new();
    for tenant in ["a", "a", "b", "b", "b"] {
        all.extend(world.admit(vec![of(tenant)]).await);
    }
    // What ran in an empty lane was nobody's turn: both begin where the lane stands.
    assert_eq!(ids(&world.claim(5).await), [2, 3, 4, 0, 1].map(|index: usize| all[index]));
}

async fn a_limit_that_came_meanwhile_is_drawn_on(world: World) {
    runs(&world, world.job()).await;
    let other = world.another_store().await;
    let limit = quarrier::budget::Limit { requests_per_minute: Some(1), tokens_per_minute: None };
    other.set_limit("tenant:*", limit).await.unwrap();
    runs(&world, world.job()).await;
    assert_eq!(world.requests("tenant:default").await.in_flight, 1);
    let submitted = submit(&world, world.job()).await;
    goes_the_ordinary_way(&world, vec![submitted]).await;
}

async fn engines_without_a_short_way_say_so(world: World) {
    let sqlite = World::open(crate::world::Engine::Sqlite).await;
    let jobs = [("x".to_owned(), sqlite.job())];
    assert!(sqlite.store.claim_submitted(&jobs, &ask(&sqlite, 1)).await.unwrap().is_none());
    // And on an engine that has one, what nobody has put in is nobody's.
    assert!(at_once(&world, &jobs).await.unwrap().jobs.is_empty());
    let mut other = world.connect_postgres().await;
    let count = sqlx::query("select count(*) from job").fetch_one(&mut other).await.unwrap();
    assert_eq!(count.get::<i64, _>(0), 0);
}
