//! Rooms 1 and 3 at once: a job for a caller that waits runs with its quota, or is not there.

use quarrier::budget::Dimension;
use quarrier::job::{State, Wanted};
use quarrier::store::{
    Admitted, ClaimNewAsk, ClaimedJob, ClaimedNew, Finish, LaneNews, NewJob, Next, Settlement,
    StoreError,
};
use uuid::Uuid;

use crate::world::{World, again, claim_ask, ids, open_lease, success};

on_every_engine!(
    a_new_job_is_admitted_and_claimed_at_once,
    a_job_for_a_caller_is_never_in_its_lane,
    a_job_for_a_caller_moves_nobodys_turn,
    a_job_for_a_caller_draws_on_the_same_budget_as_claims,
    a_job_that_does_not_fit_leaves_nothing_behind,
    a_denial_says_when_it_fits_and_then_it_does,
    a_caller_that_waits_is_not_passed_for_ever,
    a_caller_that_does_not_wait_keeps_nothing_for_itself,
    in_a_paused_lane_nothing_is_admitted_for_a_caller,
    a_job_larger_than_a_limit_is_refused_and_leaves_nothing,
    identities_and_dedupe_keys_hold_for_callers_too,
    the_same_ask_again_finds_its_job_and_is_charged_once,
    an_ask_that_was_answered_late_tells_its_age,
    under_a_lease_that_is_gone_nothing_is_admitted,
    the_job_of_a_dead_caller_is_held_and_nobody_claims_it,
    a_call_for_a_caller_is_settled_like_any_other,
);

fn ask(world: &World) -> ClaimNewAsk {
    ClaimNewAsk { lease: world.lease, fence: Uuid::now_v7(), pass_ms_max: 30_000, waits: false }
}

async fn claim(world: &World, job: NewJob) -> ClaimedNew {
    world.store.claim_new(job, ask(world)).await.unwrap()
}

fn running(claimed: ClaimedNew) -> ClaimedJob {
    match claimed {
        ClaimedNew::Running { job, .. } => *job,
        other => panic!("not running: {other:?}"),
    }
}

async fn is_unknown(world: &World, id: Uuid) -> bool {
    world.store.job(&id.to_string()).await.unwrap().is_none()
}

async fn a_new_job_is_admitted_and_claimed_at_once(world: World) {
    let (new, ask) = (world.named("a"), ask(&world));
    let claimed = world.store.claim_new(new.clone(), ask.clone()).await.unwrap();
    let ClaimedNew::Running { job, reserved_mono_ms } = claimed else { panic!("{claimed:?}") };
    assert_eq!(reserved_mono_ms, world.clock.now().mono_ms);
    assert_eq!((job.job_id, job.number, job.fence), (new.job_id, 1, ask.fence));
    assert_eq!((job.reserved_tokens, job.document.as_str()), (1_000, new.document.as_str()));
    assert_eq!(world.state(new.job_id).await, State::Running);
    let beat = world.store.beat(world.lease).await.unwrap().unwrap();
    assert_eq!(beat.len(), 1, "it stands under its lease");
    world.succeed(&job).await;
    assert_eq!(world.state(new.job_id).await, State::Succeeded);
    assert!(world.result(new.job_id).await.is_some());
}

async fn a_job_for_a_caller_is_never_in_its_lane(world: World) {
    running(claim(&world, world.job()).await);
    assert!(world.store.ready_lanes().await.unwrap().is_empty());
    world.hand.advance(3_600_000);
    assert_eq!(world.store.promote(100).await.unwrap().due, 0);
    assert!(world.claim(10).await.jobs.is_empty());
}

async fn a_job_for_a_caller_moves_nobodys_turn(world: World) {
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    let backlog = world.admit((0..3).map(|_| of("batch")).collect()).await;
    for _ in 0..5 {
        running(claim(&world, of("batch")).await);
    }
    // A tenant that comes now stands behind the one that is next, and not behind all.
    let guest = world.admit(vec![of("guest")]).await[0];
    let order = ids(&world.claim(10).await);
    assert_eq!(order[0..2], [backlog[0], guest]);
}

async fn a_job_for_a_caller_draws_on_the_same_budget_as_claims(world: World) {
    world.limit(&[("total", Some(3), None)]).await;
    world.admit_many(2).await;
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    world.hand.advance(30_000);
    running(claim(&world, world.job()).await);
    world.hand.advance(20_000);
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    let denied = claim(&world, world.job()).await;
    assert!(matches!(denied, ClaimedNew::Waits { .. }), "{denied:?}");
    assert_eq!(world.requests("total").await.in_flight, 3);
}

async fn a_job_that_does_not_fit_leaves_nothing_behind(world: World) {
    world.limit(&[("total", None, Some(1_500))]).await;
    running(claim(&world, world.job()).await);
    let before = world.tokens("total").await;
    let job = world.named("a");
    let denied = claim(&world, job.clone()).await;
    let ClaimedNew::Waits { waiting, .. } = denied else { panic!("{denied:?}") };
    assert_eq!((waiting.key.as_str(), waiting.dimension), ("total", Dimension::Tokens));
    assert!(is_unknown(&world, job.job_id).await);
    assert_eq!(world.tokens("total").await, before, "nothing is charged");
    let beat = world.store.beat(world.lease).await.unwrap().unwrap();
    assert_eq!(beat.len(), 1);
    // Its identity is free.
    let other = NewJob { document_hash: "another".to_owned(), ..world.named("a") };
    assert!(matches!(world.store.admit(vec![other]).await.unwrap()[0], Admitted::New(_)));
}

async fn a_denial_says_when_it_fits_and_then_it_does(world: World) {
    world.limit(&[("total", Some(2), None)]).await;
    running(claim(&world, world.job()).await);
    let denied = claim(&world, world.job()).await;
    let ClaimedNew::Waits { fits_in_ms, .. } = denied else { panic!("{denied:?}") };
    world.hand.advance(fits_in_ms - 1);
    assert!(matches!(claim(&world, world.job()).await, ClaimedNew::Waits { .. }));
    world.hand.advance(1);
    running(claim(&world, world.job()).await);
}

/// Smaller jobs come all the time; whether the large call gets in.
async fn gets_in(world: &World, waits: bool) -> bool {
    world.limit(&[("lane:*", None, Some(2_000))]).await;
    let of = |tokens| NewJob {
        wanted: Wanted { input_tokens_max: tokens, max_tokens: 0, burndown: 1 },
        ..world.job()
    };
    world.admit((0..700).map(|_| of(200)).collect()).await;
    world.claim(10).await;
    let large = of(2_000);
    for _ in 0..300 {
        world.hand.advance(1_000);
        let ask = ClaimNewAsk { waits, ..ask(world) };
        let tried = world.store.claim_new(large.clone(), ask).await.unwrap();
        if matches!(tried, ClaimedNew::Running { .. }) {
            return true;
        }
        world.claim(5).await;
    }
    false
}

async fn a_caller_that_waits_is_not_passed_for_ever(world: World) {
    assert!(gets_in(&world, true).await);
}

async fn a_caller_that_does_not_wait_keeps_nothing_for_itself(world: World) {
    assert!(!gets_in(&world, false).await);
}

async fn in_a_paused_lane_nothing_is_admitted_for_a_caller(world: World) {
    let job = running(claim(&world, world.job()).await);
    let lane = LaneNews { pause_ms: Some(5_000), ..LaneNews::default() };
    world.finish(Finish { lane, ..again(&job, 0) }).await;
    world.hand.advance(1_000);
    let denied = world.job();
    let claimed = claim(&world, denied.clone()).await;
    let ClaimedNew::Paused { for_ms, reason } = claimed else { panic!("{claimed:?}") };
    assert_eq!((for_ms, reason.as_deref()), (4_000, Some("unavailable")));
    assert!(is_unknown(&world, denied.job_id).await);
    world.hand.advance(4_000);
    running(claim(&world, denied).await);
}

async fn a_job_larger_than_a_limit_is_refused_and_leaves_nothing(world: World) {
    world.limit(&[("total", None, Some(999))]).await;
    let job = world.job();
    let ClaimedNew::NeverFits(reason) = claim(&world, job.clone()).await else {
        panic!("it can never fit")
    };
    assert!(reason.contains("1000") && reason.contains("total") && reason.contains("999"));
    assert!(is_unknown(&world, job.job_id).await);
}

async fn identities_and_dedupe_keys_hold_for_callers_too(world: World) {
    let first = running(claim(&world, world.named("a")).await);
    let again = claim(&world, world.named("a")).await;
    let existing = Admitted::Existing(first.job_id, Some(State::Running));
    assert!(matches!(again, ClaimedNew::Known(known) if known == existing));
    let changed = NewJob { document_hash: "another".to_owned(), ..world.named("a") };
    let changed = claim(&world, changed).await;
    assert!(matches!(changed, ClaimedNew::Known(Admitted::IdConflict { .. })));
    let keyed = || NewJob { dedupe_key: Some("k".to_owned()), ..world.job() };
    let holder = running(claim(&world, keyed()).await);
    let second = claim(&world, keyed()).await;
    let duplicate = Admitted::Duplicate(holder.job_id);
    assert!(matches!(second, ClaimedNew::Known(known) if known == duplicate));
    world.succeed(&holder).await;
    running(claim(&world, keyed()).await);
}

async fn the_same_ask_again_finds_its_job_and_is_charged_once(world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    let (job, ask) = (world.named("a"), ask(&world));
    let first = running(world.store.claim_new(job.clone(), ask.clone()).await.unwrap());
    let again = running(world.store.claim_new(job.clone(), ask.clone()).await.unwrap());
    assert_eq!((again.job_id, again.number, again.fence), (first.job_id, 1, first.fence));
    assert_eq!(again.reserved_tokens, first.reserved_tokens);
    assert_eq!(world.requests("total").await.in_flight, 1);
    world.succeed(&first).await;
    let late = world.store.claim_new(job, ask).await.unwrap();
    assert!(matches!(late, ClaimedNew::Known(Admitted::Existing(..))), "{late:?}");
}

async fn an_ask_that_was_answered_late_tells_its_age(world: World) {
    let (job, ask) = (world.job(), ask(&world));
    let began = world.clock.now().mono_ms;
    world.store.claim_new(job.clone(), ask.clone()).await.unwrap();
    world.hand.advance(3_000);
    let again = world.store.claim_new(job, ask).await.unwrap();
    let ClaimedNew::Running { reserved_mono_ms, .. } = again else { panic!("{again:?}") };
    assert!(reserved_mono_ms <= began, "never younger than it is");
    assert!(reserved_mono_ms + 250 > began, "older by a slot at most");
}

async fn under_a_lease_that_is_gone_nothing_is_admitted(world: World) {
    let ask = ClaimNewAsk { lease: Uuid::now_v7(), ..ask(&world) };
    let job = world.job();
    let refused = world.store.claim_new(job.clone(), ask).await;
    assert!(matches!(refused, Err(StoreError::Transient(_))), "{refused:?}");
    assert!(is_unknown(&world, job.job_id).await);
}

async fn the_job_of_a_dead_caller_is_held_and_nobody_claims_it(world: World) {
    let job = NewJob { hold: true, ..world.job() };
    let claimed = running(claim(&world, job).await);
    let other = world.another_store().await;
    let lease = open_lease(other.as_ref()).await;
    world.rescue(world.lease).await;
    assert_eq!(world.state(claimed.job_id).await, State::Held);
    world.hand.advance(3_600_000);
    assert_eq!(other.promote(100).await.unwrap().due, 0);
    assert!(other.claim(claim_ask(lease, 5)).await.unwrap().jobs.is_empty());
    // A person may let it run after all.
    let deadline_at = world.now_ms() + 60_000;
    assert_eq!(other.retry(&[claimed.job_id], deadline_at).await.unwrap(), [claimed.job_id]);
    other.promote(100).await.unwrap();
    let again = other.claim(claim_ask(lease, 5)).await.unwrap();
    assert_eq!(ids(&again), [claimed.job_id]);
}

async fn a_call_for_a_caller_is_settled_like_any_other(world: World) {
    world.limit(&[("total", None, Some(10_000))]).await;
    let job = running(claim(&world, world.job()).await);
    assert_eq!(world.tokens("total").await.in_flight, 1_000);
    let next = Next::End { state: State::Failed, output: None, text: None, provenance: None };
    world.finish(Finish { settlement: Settlement::Used(120), next, ..success(&job) }).await;
    assert_eq!(world.tokens("total").await.used, 120);
}
