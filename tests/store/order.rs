//! Room 2: the order within a lane, and time.

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{NewJob, Promoted};
use uuid::Uuid;

use crate::world::{World, again, failure, ids};

on_every_engine!(
    a_higher_priority_comes_first,
    a_low_priority_is_not_starved_for_ever,
    a_tenant_with_a_thousand_jobs_does_not_starve_one_with_three,
    a_tenant_that_was_away_has_not_saved_up_turns,
    a_job_that_is_called_again_keeps_its_place,
    a_job_that_is_called_again_later_keeps_its_place,
    places_survive_a_restart,
    promotion_is_bounded_and_in_the_order_of_time,
    a_ready_job_expires_at_its_deadline,
    a_held_job_expires_at_its_deadline,
    a_running_job_does_not_expire_under_its_feet,
    a_job_that_waits_after_a_failure_says_so_when_it_expires,
    lanes_are_listed_once_and_only_while_they_have_due_jobs,
);

async fn a_higher_priority_comes_first(world: World) {
    let with = |priority| NewJob { priority, ..world.job() };
    let ids = world.admit(vec![with(0), with(-5), with(100), with(5)]).await;
    let claimed = crate::world::ids(&world.claim(10).await);
    assert_eq!(claimed, [ids[2], ids[3], ids[0], ids[1]]);
}

/// A step of priority is worth so many places, and no more.
async fn a_low_priority_is_not_starved_for_ever(world: World) {
    let low = world.admit(vec![NewJob { priority: -1, ..world.job() }]).await[0];
    let mut passed = 0;
    for _ in 0..50 {
        world.admit_many(10).await;
        let claimed = ids(&world.claim(10).await);
        if claimed.contains(&low) {
            assert!(passed >= 50, "priority is worth something");
            return;
        }
        passed += claimed.len();
    }
    panic!("passed by {passed} jobs");
}

async fn a_tenant_with_a_thousand_jobs_does_not_starve_one_with_three(world: World) {
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    world.admit((0..1_000).map(|_| of("large")).collect()).await;
    world.claim(50).await;
    let small = world.admit((0..3).map(|_| of("small")).collect()).await;
    let next = ids(&world.claim(8).await);
    for id in small {
        assert!(next.contains(&id), "turns alternate");
    }
}

async fn a_tenant_that_was_away_has_not_saved_up_turns(world: World) {
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    world.admit(vec![of("away")]).await;
    world.claim(1).await;
    world.admit((0..100).map(|_| of("busy")).collect()).await;
    world.claim(60).await;
    world.admit((0..40).map(|_| of("away")).collect()).await;
    let next = world.claim(20).await;
    let busy = next.jobs.iter().filter(|job| job.tenant == "busy").count();
    assert!((9..=11).contains(&busy), "{busy} of 20 turns are the other's");
}

async fn a_job_that_is_called_again_keeps_its_place(world: World) {
    let ids = world.admit_many(3).await;
    let first = world.claim_one().await;
    world.finish(again(&first, 0)).await;
    let next = world.claim_one().await;
    assert_eq!((next.job_id, next.number), (ids[0], 2));
    assert_eq!(next.counters.failures, 1);
}

async fn a_job_that_is_called_again_later_keeps_its_place(world: World) {
    let ids = world.admit_many(3).await;
    let first = world.claim_one().await;
    world.finish(again(&first, 2_000)).await;
    assert_eq!(world.claim_one().await.job_id, ids[1], "it waits");
    world.hand.advance(2_000);
    let promoted = world.store.promote(100).await.unwrap();
    assert_eq!(promoted, Promoted { due: 1, expired: 0, next_due_at: None });
    assert_eq!(world.claim_one().await.job_id, ids[0]);
}

async fn places_survive_a_restart(mut world: World) {
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    let mut expected = world.admit(vec![of("a"), of("a")]).await;
    world.claim(1).await;
    expected.remove(0);
    world.restart().await;
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.job() };
    // The lane stands at 1, where "a" has given out 2: "b" comes level with the next of "a".
    let later = world.admit(vec![of("a"), of("b"), of("b")]).await;
    let claimed = ids(&world.claim(10).await);
    assert_eq!(claimed.len(), 4);
    let at = |id: Uuid| claimed.iter().position(|each| *each == id).unwrap();
    assert!(at(expected[0]) < at(later[0]), "the order within a tenant stays");
    assert!(at(later[1]) < at(later[0]), "the other tenant's turn comes first");
}

async fn promotion_is_bounded_and_in_the_order_of_time(world: World) {
    let at = |ms: i64| NewJob { run_at: world.now_ms() + ms, ..world.job() };
    let ids = world.admit(vec![at(3_000), at(1_000), at(2_000)]).await;
    world.hand.advance(10_000);
    let first = world.store.promote(2).await.unwrap();
    assert_eq!(first.due, 2);
    assert!(first.next_due_at.is_some_and(|at| at <= world.now_ms()), "one is left");
    assert_eq!(crate::world::ids(&world.claim(10).await), [ids[1], ids[2]]);
    assert_eq!(world.store.promote(2).await.unwrap().due, 1);
    assert_eq!(crate::world::ids(&world.claim(10).await), [ids[0]]);
}

async fn a_ready_job_expires_at_its_deadline(world: World) {
    let deadline_at = world.now_ms() + 5_000;
    let future = NewJob { run_at: world.now_ms() + 60_000, deadline_at, ..world.job() };
    let ids = world.admit(vec![NewJob { deadline_at, ..world.job() }, future]).await;
    world.hand.advance(4_999);
    assert_eq!(world.store.promote(100).await.unwrap().expired, 0);
    world.hand.advance(1);
    assert_eq!(world.store.promote(100).await.unwrap().expired, 2);
    for id in ids {
        assert_eq!(world.state(id).await, State::Expired);
        let result = world.result(id).await.unwrap();
        assert_eq!(result.error_kind.as_deref(), Some("deadline_exceeded"));
    }
    assert!(world.claim(10).await.jobs.is_empty());
}

async fn a_held_job_expires_at_its_deadline(mut world: World) {
    let deadline_at = world.now_ms() + 5_000;
    let id = world.admit(vec![NewJob { hold: true, deadline_at, ..world.job() }]).await[0];
    world.claim_one().await;
    let dead = world.lease;
    world.restart().await;
    world.rescue(dead).await;
    assert_eq!(world.state(id).await, State::Held);
    world.hand.advance(5_000);
    assert_eq!(world.store.promote(100).await.unwrap().expired, 1);
    assert_eq!(world.state(id).await, State::Expired);
}

async fn a_running_job_does_not_expire_under_its_feet(world: World) {
    let deadline_at = world.now_ms() + 5_000;
    let id = world.admit(vec![NewJob { deadline_at, ..world.job() }]).await[0];
    let job = world.claim_one().await;
    world.hand.advance(60_000);
    assert_eq!(world.store.promote(100).await.unwrap(), Promoted::default());
    world.succeed(&job).await;
    assert_eq!(world.state(id).await, State::Succeeded, "a paid answer is kept");
}

async fn a_job_that_waits_after_a_failure_says_so_when_it_expires(world: World) {
    let deadline_at = world.now_ms() + 5_000;
    let id = world.admit(vec![NewJob { deadline_at, ..world.job() }]).await[0];
    let job = world.claim_one().await;
    world.finish(again(&job, 5_000)).await;
    world.hand.advance(5_000);
    world.store.promote(100).await.unwrap();
    let result = world.result(id).await.unwrap();
    assert_eq!(result.state, State::Expired);
    assert!(result.error_message.unwrap().contains(ErrorKind::Unavailable.as_str()));
    assert_eq!(result.attempts, 1);
}

async fn lanes_are_listed_once_and_only_while_they_have_due_jobs(world: World) {
    assert!(world.store.ready_lanes().await.unwrap().is_empty());
    let of = |lane: &str| NewJob { lane: lane.to_owned(), ..world.job() };
    let future = NewJob { run_at: world.now_ms() + 1_000, ..of("d") };
    world.admit(vec![of("b"), of("a"), of("b"), of("c"), future]).await;
    assert_eq!(world.store.ready_lanes().await.unwrap(), ["a", "b", "c"]);
    let ask = quarrier::store::ClaimAsk { lane: "a".to_owned(), ..world.ask(5) };
    let job = world.store.claim(ask).await.unwrap().jobs.remove(0);
    assert_eq!(world.store.ready_lanes().await.unwrap(), ["b", "c"]);
    world.finish(failure(&job, ErrorKind::Refused)).await;
    assert_eq!(world.store.ready_lanes().await.unwrap(), ["b", "c"]);
}
