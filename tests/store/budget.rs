//! G4: what is reserved is settled, and no window ever takes more than its limit.

use quarrier::budget::Dimension;
use quarrier::clock::Now;
use quarrier::store::{Finish, LaneNews, NewJob, Next, Settlement};

use crate::world::{LANE, World, again, cut, key, success};

on_every_engine!(
    a_claim_reserves_and_a_finish_settles,
    a_call_that_used_nothing_gives_its_tokens_back_and_keeps_its_request,
    a_call_of_unknown_use_keeps_its_reservation,
    an_unsent_call_gives_everything_back,
    a_call_given_back_twice_is_refunded_once,
    a_finish_given_twice_is_settled_once,
    a_call_that_used_more_than_it_reserved_is_charged_with_it,
    a_throttled_call_lowers_its_lanes_effective_limit,
    a_throttled_call_without_a_limit_slows_its_lane,
    a_throttle_in_one_lane_does_not_slow_another,
    the_budget_survives_a_restart_of_the_process,
    no_window_exceeds_the_limit,
    no_window_exceeds_the_limit_across_a_restart_of_the_machine,
    steps_of_the_wall_clock_change_nothing,
    two_stores_share_one_budget,
    a_finish_of_a_call_older_than_the_window_refunds_nothing,
);

async fn a_claim_reserves_and_a_finish_settles(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    world.admit_one().await;
    let job = world.claim_one().await;
    assert_eq!(job.reserved_tokens, 1_000);
    let (requests, tokens) = (world.requests("total").await, world.tokens("total").await);
    assert_eq!((requests.in_flight, requests.used), (1, 0));
    assert_eq!((tokens.in_flight, tokens.used, tokens.limit), (1_000, 0, Some(10_000)));

    world.succeed(&job).await;
    for level_key in ["total".to_owned(), format!("lane:{LANE}")] {
        let (requests, tokens) = (world.requests(&level_key).await, world.tokens(&level_key).await);
        assert_eq!((requests.in_flight, requests.used), (0, 1));
        assert_eq!((tokens.in_flight, tokens.used, tokens.wasted), (0, 300, 700));
    }
    let page = world.store.job(&job.job_id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.attempts[0].settled_tokens, Some(300));
}

async fn a_call_that_used_nothing_gives_its_tokens_back_and_keeps_its_request(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(again(&job, 0)).await;
    assert_eq!(world.tokens("total").await.used, 0);
    assert_eq!(world.tokens("total").await.in_flight, 0);
    assert_eq!(world.requests("total").await.used, 1);
}

async fn a_call_of_unknown_use_keeps_its_reservation(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(cut(&job, Next::Held)).await;
    assert_eq!(world.tokens("total").await.in_flight, 1_000);
    world.hand.advance(61_000);
    assert_eq!(world.tokens("total").await.in_flight, 0, "it leaves the window like any other");
}

async fn an_unsent_call_gives_everything_back(world: World) {
    world.limit(&[("total", Some(1), Some(1_000))]).await;
    let id = world.admit_one().await;
    for number in 1..=3 {
        let job = world.claim_one().await;
        assert_eq!((job.job_id, job.number), (id, number));
        assert!(world.claim(1).await.jobs.is_empty());
        world.store.give_back(&[key(&job)]).await.unwrap();
        assert_eq!(world.requests("total").await.in_flight, 0);
        assert_eq!(world.tokens("total").await.in_flight, 0);
    }
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(page.row.counters, quarrier::retry::Counters::default());
    assert_eq!(page.attempts[0].outcome.as_deref(), Some("not_sent"));
    assert_eq!(page.attempts[0].settled_tokens, Some(0));
}

async fn a_call_given_back_twice_is_refunded_once(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    world.admit_many(2).await;
    let claimed = world.claim(1).await;
    world.hand.advance(10_000);
    let other = world.claim_one().await;
    world.hand.advance(1);
    let twice = [key(&other), key(&other)];
    world.store.give_back(&twice).await.unwrap();
    world.store.give_back(&twice).await.unwrap();
    assert_eq!(claimed.jobs.len(), 1);
    assert_eq!(world.requests("total").await.in_flight, 1);
    assert_eq!(world.tokens("total").await.in_flight, 1_000);
}

async fn a_finish_given_twice_is_settled_once(world: World) {
    world.limit(&[("total", None, Some(100_000))]).await;
    world.admit_many(2).await;
    let claimed = world.claim(2).await;
    let finish = success(&claimed.jobs[0]);
    world.store.finish(&[finish.clone(), finish.clone()]).await.unwrap();
    world.store.finish(&[finish]).await.unwrap();
    let level = world.tokens("total").await;
    assert_eq!((level.used, level.in_flight), (300, 1_000));
}

async fn a_call_that_used_more_than_it_reserved_is_charged_with_it(world: World) {
    world.limit(&[("total", None, Some(3_000))]).await;
    world.admit_many(2).await;
    let job = world.claim_one().await;
    world.finish(Finish { settlement: Settlement::Used(5_000), ..success(&job) }).await;
    assert_eq!(world.tokens("total").await.used, 5_000);
    world.hand.advance(59_000);
    assert!(world.claim(1).await.jobs.is_empty());
}

fn throttled(job: &quarrier::store::ClaimedJob, dimension: Dimension) -> Finish {
    let lane = LaneNews { throttled: true, dimension: Some(dimension), pause_ms: None };
    Finish { lane, ..again(job, 0) }
}

async fn a_throttled_call_lowers_its_lanes_effective_limit(world: World) {
    world.limit(&[("lane:*", Some(6_000), None)]).await;
    world.admit_many(200).await;
    let mut claimed = Vec::new();
    while claimed.len() < 100 {
        claimed.extend(world.claim(10).await.jobs);
        world.hand.advance(100);
    }
    world.finish(throttled(&claimed[99], Dimension::Requests)).await;
    let level = world.requests(&format!("lane:{LANE}")).await;
    // A hundred within the first seconds, which count as six: 1,000 a minute, less 3 percent.
    assert_eq!((level.limit, level.effective), (Some(6_000), Some(970)));
    world.hand.advance(60_000);
    let grown = world.requests(&format!("lane:{LANE}")).await.effective.unwrap();
    assert!((1_400..1_600).contains(&grown), "a tenth of what is missing in a minute: {grown}");
}

async fn a_throttled_call_without_a_limit_slows_its_lane(world: World) {
    world.admit_many(40).await;
    let claimed = world.claim(20).await;
    world.hand.advance(1_000);
    world.finish(throttled(&claimed.jobs[0], Dimension::Requests)).await;
    let denied = world.claim(20).await;
    assert!(denied.jobs.is_empty());
    assert_eq!(denied.waiting.unwrap().key, format!("lane:{LANE}"));
}

async fn a_throttle_in_one_lane_does_not_slow_another(world: World) {
    let other = NewJob { lane: "other".to_owned(), ..world.job() };
    world.admit(vec![world.job(), world.job(), other]).await;
    let job = world.claim_one().await;
    world.hand.advance(1_000);
    world.finish(throttled(&job, Dimension::Tokens)).await;
    let ask = quarrier::store::ClaimAsk { lane: "other".to_owned(), ..world.ask(1) };
    assert_eq!(world.store.claim(ask).await.unwrap().jobs.len(), 1);
}

async fn the_budget_survives_a_restart_of_the_process(mut world: World) {
    world.limit(&[("total", Some(2), None)]).await;
    world.admit_many(5).await;
    world.claim(1).await;
    world.hand.advance(30_000);
    world.claim(1).await;
    world.restart().await;
    world.hand.advance(15_000);
    let denied = world.claim(5).await;
    assert!(denied.jobs.is_empty());
    assert!((15_000..17_000).contains(&denied.fits_in_ms.unwrap()), "time went on meanwhile");
    assert_eq!(world.requests("total").await.in_flight, 2);
    world.hand.advance(17_000);
    assert_eq!(world.claim(5).await.jobs.len(), 1);
}

/// When each call was claimed, in milliseconds of real time.
#[derive(Default)]
struct Claims(Vec<u64>);

impl Claims {
    async fn take(&mut self, world: &World) {
        let claimed = world.claim(100).await.jobs.len();
        self.0.extend(std::iter::repeat_n(world.clock.now().mono_ms, claimed));
    }

    /// The most calls in any minute.
    fn most(&self) -> usize {
        let from =
            |start: u64| self.0.iter().filter(move |at| (start..start + 60_000).contains(at));
        self.0.iter().map(|start| from(*start).count()).max().unwrap_or(0)
    }
}

async fn no_window_exceeds_the_limit(world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    world.admit_many(100).await;
    let mut claims = Claims::default();
    for step in 0..600_u64 {
        claims.take(&world).await;
        world.hand.advance(370 + step % 7 * 50);
    }
    assert!(claims.most() <= 10, "{} in a minute", claims.most());
    assert!(claims.0.len() >= 45, "{} in five minutes", claims.0.len());
}

async fn no_window_exceeds_the_limit_across_a_restart_of_the_machine(mut world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    world.admit_many(200).await;
    let mut claims = Claims::default();
    for step in 1..=600_u64 {
        claims.take(&world).await;
        world.hand.advance(997);
        if step % 50 == 0 {
            world.restart_machine().await;
        }
    }
    assert!(claims.most() <= 10, "{} in a minute", claims.most());
    assert!(claims.0.len() >= 40, "{} in ten minutes", claims.0.len());
}

async fn steps_of_the_wall_clock_change_nothing(world: World) {
    world.limit(&[("total", Some(10), None)]).await;
    world.admit_many(100).await;
    let mut claims = Claims::default();
    for step in 0..300_i64 {
        claims.take(&world).await;
        world.hand.advance(1_000);
        if step % 20 == 0 {
            let Now { wall_ms, mono_ms } = world.clock.now();
            let jump = if step % 40 == 0 { 3_600_000 } else { -3_600_000 };
            world.hand.set(Now { wall_ms: wall_ms + jump, mono_ms });
        }
    }
    assert!(claims.most() <= 10, "{} in a minute", claims.most());
    assert!(claims.0.len() >= 45, "{} in five minutes", claims.0.len());
}

async fn two_stores_share_one_budget(world: World) {
    world.limit(&[("total", Some(2), None)]).await;
    world.admit_many(5).await;
    world.claim(1).await;
    // There before: a process that has just begun cannot tell how much time has passed.
    let other = world.another_store().await;
    world.hand.advance(30_000);
    let lease = crate::world::open_lease(other.as_ref()).await;
    let ask = || crate::world::claim_ask(lease, 5);
    assert_eq!(other.claim(ask()).await.unwrap().jobs.len(), 1);
    assert!(world.claim(5).await.jobs.is_empty());
    assert!(other.claim(ask()).await.unwrap().jobs.is_empty());
}

async fn a_finish_of_a_call_older_than_the_window_refunds_nothing(world: World) {
    world.limit(&[("total", Some(100), Some(3_000))]).await;
    world.admit_many(9).await;
    let old = world.claim_one().await;
    world.hand.advance(90_000);
    let young = world.claim_one().await;
    world.finish(Finish { settlement: Settlement::Used(100), ..success(&old) }).await;
    assert_eq!(world.tokens("total").await.in_flight, young.reserved_tokens);
    world.hand.advance(90_000);
    world.finish(Finish { settlement: Settlement::Used(1_400), ..success(&young) }).await;
    assert_eq!(world.tokens("total").await.used, 400, "the excess is charged now");
}
