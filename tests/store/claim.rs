//! Room 3: a job is claimed if and only if its quota is reserved, and by one alone.

use std::collections::HashSet;

use quarrier::budget::Dimension;
use quarrier::job::{State, Wanted};
use quarrier::store::{
    ClaimAsk, Finish, LaneNews, LimitRule, NewJob, Settlement, StoreError, Waiting,
};
use uuid::Uuid;

use crate::world::{LANE, World, again, ids, success};

behind_a_pooler_too!(
    a_job_is_claimed_once,
    a_claim_takes_no_more_than_it_has_slots,
    a_claim_without_a_slot_takes_nothing,
    a_claim_in_an_empty_lane_is_empty,
    an_attempt_stands_in_the_store_before_its_call_leaves,
    a_claim_sees_its_own_lane_alone,
    a_limit_on_requests_holds_and_the_wait_says_key_dimension_and_time,
    a_limit_on_tokens_holds_and_the_wait_says_key_dimension_and_time,
    a_wait_is_long_enough,
    limits_on_lanes_queues_and_tenants_hold_by_pattern,
    the_tightest_of_all_limits_holds,
    of_limits_that_hold_alike_the_lane_is_named_and_not_the_total,
    a_tenant_at_its_limit_does_not_hold_back_the_others,
    a_job_that_can_never_fit_ends_failed,
    a_job_that_fits_is_not_failed_because_others_used_more_than_they_reserved,
    a_smaller_job_passes_one_that_does_not_fit,
    smaller_jobs_pass_for_a_while_and_then_no_more,
    a_paused_lane_claims_nothing_until_its_time,
    no_more_candidates_are_looked_at_than_asked_for,
    a_claim_for_a_batch_takes_its_jobs_alone,
    a_claim_takes_no_more_than_the_money_left_covers,
    a_claim_under_a_lease_that_is_gone_takes_nothing,
    rules_set_at_run_time_outlive_configured_ones,
    the_most_specific_rule_limits,
);

async fn a_job_is_claimed_once(world: World) {
    let admitted = world.admit_many(5).await;
    let mut claimed = ids(&world.claim(2).await);
    let other = world.another_store().await;
    let lease = crate::world::open_lease(other.as_ref()).await;
    claimed.extend(ids(&other.claim(crate::world::claim_ask(lease, 2)).await.unwrap()));
    claimed.extend(ids(&world.claim(10).await));
    assert_eq!(claimed, admitted);
    assert!(world.claim(10).await.jobs.is_empty());
}

async fn a_claim_takes_no_more_than_it_has_slots(world: World) {
    world.admit_many(5).await;
    let ask = world.ask(3);
    let fences = ask.fences.clone();
    let claimed = world.store.claim(ask).await.unwrap();
    let used: Vec<Uuid> = claimed.jobs.iter().map(|job| job.fence).collect();
    assert_eq!(used, fences, "each attempt has its own fence");
    assert_eq!(claimed.fits_in_ms, None, "nothing waits for quota");
}

async fn a_claim_without_a_slot_takes_nothing(world: World) {
    world.admit_one().await;
    assert!(world.claim(0).await.jobs.is_empty());
    assert_eq!(world.claim(1).await.jobs.len(), 1);
}

async fn a_claim_in_an_empty_lane_is_empty(world: World) {
    let claimed = world.claim(5).await;
    assert!(claimed.jobs.is_empty());
    assert_eq!(claimed.fits_in_ms, None);
    assert_eq!(claimed.waiting, None);
    assert!(!claimed.money_exhausted);
}

async fn an_attempt_stands_in_the_store_before_its_call_leaves(mut world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.restart().await;
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.row.state, State::Running);
    assert_eq!(page.row.calls, 1);
    assert_eq!(page.attempts.len(), 1);
    assert_eq!(page.attempts[0].outcome, None);
    assert_eq!(page.attempts[0].reserved_tokens, job.reserved_tokens);
    assert_eq!(page.attempts[0].settled_tokens, None);
    assert_eq!(page.attempts[0].started_at, world.now_ms());
}

async fn a_claim_sees_its_own_lane_alone(world: World) {
    let other = NewJob { lane: "bedrock/eu-central-1/other".to_owned(), ..world.job() };
    let ids = world.admit(vec![other, world.job()]).await;
    assert_eq!(crate::world::ids(&world.claim(10).await), [ids[1]]);
}

async fn a_limit_on_requests_holds_and_the_wait_says_key_dimension_and_time(world: World) {
    world.limit(&[("total", Some(2), None)]).await;
    world.admit_many(5).await;
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    world.hand.advance(30_000);
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    world.hand.advance(10_000);
    let denied = world.claim(5).await;
    assert!(denied.jobs.is_empty());
    let waiting = Waiting { key: "total".to_owned(), dimension: Dimension::Requests };
    assert_eq!(denied.waiting, Some(waiting));
    let ms = denied.fits_in_ms.unwrap();
    assert!((20_000..22_000).contains(&ms), "the first leaves the window in {ms} ms");
}

async fn a_limit_on_tokens_holds_and_the_wait_says_key_dimension_and_time(world: World) {
    world.limit(&[("lane:*", None, Some(2_500))]).await;
    world.admit_many(5).await;
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    world.hand.advance(30_000);
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    let denied = world.claim(5).await;
    assert!(denied.jobs.is_empty(), "2,000 of 2,500 tokens are reserved");
    let waiting = Waiting { key: format!("lane:{LANE}"), dimension: Dimension::Tokens };
    assert_eq!(denied.waiting, Some(waiting));
    let ms = denied.fits_in_ms.unwrap();
    assert!((30_000..32_000).contains(&ms), "the first leaves the window in {ms} ms");
}

async fn a_wait_is_long_enough(world: World) {
    world.limit(&[("total", Some(3), Some(2_200))]).await;
    world.admit_many(20).await;
    let mut claims = 0;
    for _ in 0..60 {
        let claimed = world.claim(1).await;
        claims += claimed.jobs.len();
        if let Some(ms) = claimed.fits_in_ms {
            world.hand.advance(ms);
            assert_eq!(world.claim(1).await.jobs.len(), 1, "it fits after the {ms} ms it named");
            claims += 1;
        }
        if claims >= 20 {
            return;
        }
    }
    panic!("{claims} claims");
}

async fn limits_on_lanes_queues_and_tenants_hold_by_pattern(world: World) {
    world.limit(&[("queue:rep*", Some(1), None), ("tenant:gue?t", Some(1), None)]).await;
    let of = |queue: &str, tenant: &str| NewJob {
        queue: queue.to_owned(),
        tenant: tenant.to_owned(),
        ..world.job()
    };
    let jobs = vec![
        of("reports", "a"),
        of("reports", "b"),
        of("other", "guest"),
        of("other", "guest"),
        of("other", "guests"),
        of("other", "a"),
    ];
    let ids = world.admit(jobs).await;
    let claimed: HashSet<Uuid> = crate::world::ids(&world.claim(10).await).into_iter().collect();
    assert_eq!(claimed.len(), 4);
    assert!([0, 2, 4, 5].iter().all(|at| claimed.contains(&ids[*at])));
}

async fn the_tightest_of_all_limits_holds(world: World) {
    let limits = [
        ("total", Some(100), None),
        ("lane:*small", Some(100), Some(1_500)),
        ("queue:*", Some(50), None),
    ];
    world.limit(&limits).await;
    world.admit_many(5).await;
    let claimed = world.claim(5).await;
    assert_eq!(claimed.jobs.len(), 1);
    assert_eq!(claimed.waiting.unwrap().key, format!("lane:{LANE}"));
}

/// The key that is named is the one that may be kept for the job, so it is not one that others need.
async fn of_limits_that_hold_alike_the_lane_is_named_and_not_the_total(world: World) {
    world.limit(&[("total", Some(1), None), ("lane:*", Some(1), None)]).await;
    world.admit_many(2).await;
    assert_eq!(world.claim(5).await.jobs.len(), 1);
    let key = format!("lane:{LANE}");
    let waiting = world.claim(5).await.waiting;
    assert_eq!(waiting, Some(Waiting { key, dimension: Dimension::Requests }));
}

async fn a_tenant_at_its_limit_does_not_hold_back_the_others(world: World) {
    world.limit(&[("tenant:large", Some(1), None)]).await;
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    world.admit((0..20).map(|_| of("large")).collect()).await;
    world.admit((0..5).map(|_| of("small")).collect()).await;
    let claimed = world.claim(20).await;
    let small = claimed.jobs.iter().filter(|job| job.tenant == "small").count();
    assert_eq!((claimed.jobs.len(), small), (6, 5));
}

async fn a_job_that_can_never_fit_ends_failed(world: World) {
    world.limit(&[("total", None, Some(999))]).await;
    let small = Wanted { input_tokens_max: 100, ..world.job().wanted };
    let ids = world.admit(vec![world.job(), NewJob { wanted: small, ..world.job() }]).await;
    let claimed = world.claim(5).await;
    assert_eq!(claimed.never_fit, 1);
    assert_eq!(crate::world::ids(&claimed), [ids[1]], "the others go on");
    assert_eq!(world.state(ids[0]).await, State::Failed);
    let result = world.result(ids[0]).await.unwrap();
    assert_eq!(result.error_kind.as_deref(), Some("never_fits"));
    let message = result.error_message.unwrap();
    assert!(message.contains("1000") && message.contains("total") && message.contains("999"));
}

/// What a call is expected to use is an estimate from other calls; only what it reserves by
/// itself may fail it.
async fn a_job_that_fits_is_not_failed_because_others_used_more_than_they_reserved(world: World) {
    world.limit(&[("total", None, Some(3_000))]).await;
    let ids = world.admit_many(2).await;
    let job = world.claim_one().await;
    world.finish(Finish { settlement: Settlement::Used(9_000), ..success(&job) }).await;
    world.hand.advance(300_000);
    let next = world.claim(1).await;
    assert_eq!(next.never_fit, 0);
    assert_eq!(crate::world::ids(&next), [ids[1]]);
}

async fn a_smaller_job_passes_one_that_does_not_fit(world: World) {
    world.limit(&[("lane:*", None, Some(2_500))]).await;
    let of = |tokens| NewJob {
        wanted: Wanted { input_tokens_max: tokens, max_tokens: 0, burndown: 1 },
        ..world.job()
    };
    let ids = world.admit(vec![of(1_000), of(2_000), of(500)]).await;
    assert_eq!(world.claim_one().await.job_id, ids[0]);
    // Until the pace allows another.
    world.hand.advance(25_000);
    let claimed = world.claim(5).await;
    assert_eq!(crate::world::ids(&claimed), [ids[2]]);
    assert!(claimed.fits_in_ms.is_some());
}

async fn smaller_jobs_pass_for_a_while_and_then_no_more(world: World) {
    world.limit(&[("lane:*", None, Some(2_000))]).await;
    let of = |tokens| NewJob {
        wanted: Wanted { input_tokens_max: tokens, max_tokens: 0, burndown: 1 },
        ..world.job()
    };
    world.admit(vec![of(500)]).await;
    world.claim_one().await;
    let large = world.admit(vec![of(2_000)]).await[0];
    world.admit((0..600).map(|_| of(200)).collect()).await;
    let mut passed = 0;
    for _ in 0..400 {
        world.hand.advance(1_000);
        let claimed = ids(&world.claim(5).await);
        if claimed.contains(&large) {
            assert!(passed > 0, "smaller ones passed at first");
            return;
        }
        passed += claimed.len();
    }
    panic!("passed by {passed} smaller jobs");
}

async fn a_paused_lane_claims_nothing_until_its_time(world: World) {
    world.admit_many(2).await;
    let job = world.claim_one().await;
    let lane = LaneNews { pause_ms: Some(5_000), ..LaneNews::default() };
    world.finish(Finish { lane, ..again(&job, 0) }).await;
    world.hand.advance(1_000);
    let denied = world.claim(5).await;
    assert!(denied.jobs.is_empty());
    assert_eq!(denied.paused_ms, Some(4_000));
    let page = world.store.job(&job.job_id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.lane_paused_until, Some(world.now_ms() + 4_000));
    world.hand.advance(4_000);
    let claimed = world.claim(5).await;
    assert_eq!((claimed.jobs.len(), claimed.paused_ms), (2, None));
}

async fn no_more_candidates_are_looked_at_than_asked_for(world: World) {
    world.limit(&[("queue:full", Some(1), None)]).await;
    let of = |queue: &str| NewJob { queue: queue.to_owned(), ..world.job() };
    world.admit((0..6).map(|_| of("full")).collect()).await;
    let free = world.admit(vec![NewJob { priority: -1, ..of("free") }]).await[0];
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    let ask = |scan_max| ClaimAsk { scan_max, ..world.ask(5) };
    assert!(world.store.claim(ask(5)).await.unwrap().jobs.is_empty());
    assert_eq!(ids(&world.store.claim(ask(6)).await.unwrap()), [free]);
}

async fn a_claim_for_a_batch_takes_its_jobs_alone(world: World) {
    let batch = world.store.open_batch("file").await.unwrap();
    let lined = NewJob { batch: Some((batch, 1)), ..world.job() };
    let ids = world.admit(vec![world.job(), lined, world.job()]).await;
    let ask = ClaimAsk { batch: Some(batch), ..world.ask(5) };
    assert_eq!(crate::world::ids(&world.store.claim(ask).await.unwrap()), [ids[1]]);
    assert_eq!(crate::world::ids(&world.claim(5).await), [ids[0], ids[2]]);
}

/// A call of these jobs costs 1,600 micro-dollars at worst.
async fn a_claim_takes_no_more_than_the_money_left_covers(world: World) {
    world.admit_many(5).await;
    let ask = |micros| ClaimAsk { money_micros_max: Some(micros), ..world.ask(5) };
    let none = world.store.claim(ask(1_599)).await.unwrap();
    assert!(none.jobs.is_empty() && none.money_exhausted);
    let some = world.store.claim(ask(3_300)).await.unwrap();
    assert_eq!((some.jobs.len(), some.money_exhausted), (2, false));
    let all = world.store.claim(ask(1_000_000)).await.unwrap();
    assert_eq!((all.jobs.len(), all.money_exhausted), (3, false));
    let empty = world.store.claim(ask(0)).await.unwrap();
    assert!(!empty.money_exhausted, "nothing is left to pay for");
}

/// A job that runs under no lease would be nobody's to rescue.
async fn a_claim_under_a_lease_that_is_gone_takes_nothing(mut world: World) {
    let id = world.admit_one().await;
    let old = world.lease;
    world.restart().await;
    world.rescue(old).await;
    let ask = crate::world::claim_ask(old, 1);
    let denied = world.store.claim(ask).await;
    assert!(matches!(denied, Err(StoreError::Transient(_))), "{denied:?}");
    assert_eq!(world.state(id).await, State::Ready);
    assert_eq!(world.claim_one().await.job_id, id);
}

async fn rules_set_at_run_time_outlive_configured_ones(world: World) {
    world.limit(&[("total", Some(10), None), ("queue:a", Some(1), None)]).await;
    world
        .run_sql(
            "insert into limit_rule (pattern, requests_per_minute, origin)
             values ('queue:b', 2, 'set')",
        )
        .await;
    world.limit(&[("total", Some(7), None), ("queue:b", Some(9), None)]).await;
    let mut rules = world.store.limits().await.unwrap();
    rules.sort_by(|a, b| a.pattern.cmp(&b.pattern));
    let shown = |rule: &LimitRule| (rule.pattern.clone(), rule.limit.requests_per_minute);
    let expected = [("queue:b".to_owned(), Some(2)), ("total".to_owned(), Some(7))];
    assert_eq!(rules.iter().map(shown).collect::<Vec<_>>(), expected);
}

async fn the_most_specific_rule_limits(world: World) {
    world.limit(&[("queue:*", Some(1), None), ("queue:reports", Some(3), None)]).await;
    let reports = NewJob { queue: "reports".to_owned(), ..world.job() };
    let fresh = || NewJob { job_id: Uuid::now_v7(), ..reports.clone() };
    world.admit((0..5).map(|_| fresh()).collect()).await;
    let mut claimed = 0;
    for _ in 0..50 {
        claimed += world.claim(5).await.jobs.len();
        world.hand.advance(1_000);
    }
    assert_eq!(claimed, 3);
    let levels = world.requests("queue:reports").await;
    assert_eq!((levels.limit, levels.in_flight), (Some(3), 3));
}
