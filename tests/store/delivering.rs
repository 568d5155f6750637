//! Results that go to a queue: made by whatever ends their jobs, taken by one relay at a time, and
//! where each of them stands.

use std::collections::HashSet;

use quarrier::error::ErrorKind;
use quarrier::job::{State, Wanted};
use quarrier::store::{
    ClaimNewAsk, ClaimedNew, DeliveryFilter, DeliveryRow, DeliveryState, DueDelivery, EraseAsk,
    NewJob, Reply, RetainAsk, RetentionPolicy, RetentionStage, Sent, Tried,
};
use uuid::Uuid;

use crate::world::{World, again, failure};

behind_a_pooler_too!(
    a_job_that_replies_has_a_delivery_once_it_has_ended,
    a_job_that_does_not_reply_has_none,
    every_way_in_which_a_job_ends_makes_its_delivery,
    what_is_taken_is_nobody_elses_until_its_hold_is_over,
    the_longest_waiting_go_first_and_no_more_than_asked_for,
    two_relays_at_once_take_different_deliveries,
    a_try_that_failed_comes_again_after_its_wait,
    a_delivery_that_has_ended_stays_as_it_is,
    what_was_given_up_is_shown_and_made_due_again,
    a_job_that_ends_again_is_delivered_again,
    what_became_of_an_earlier_end_is_not_said_of_a_later_one,
    what_became_of_an_earlier_end_is_not_said_of_a_later_one_that_is_being_sent,
    a_job_that_was_put_back_has_nothing_to_deliver,
    retention_waits_for_a_delivery_that_is_due,
    an_erased_job_is_not_delivered,
    lists_are_filtered_and_go_page_by_page,
    the_view_shows_where_each_delivery_stands,
);

const HOLD_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
const QUEUE: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/answers";

fn reply() -> Reply {
    Reply { to: QUEUE.to_owned(), trace: Some("Root=1-67891233".to_owned()) }
}

fn replying(world: &World) -> NewJob {
    NewJob { reply: Some(reply()), ..world.job() }
}

async fn take(world: &World) -> Vec<DueDelivery> {
    world.store.take_deliveries(100, HOLD_MS).await.unwrap()
}

/// The jobs whose deliveries are due, which are taken by this.
async fn taken(world: &World) -> Vec<Uuid> {
    take(world).await.iter().map(|delivery| delivery.result.job_id).collect()
}

/// Says it of the end that the job's delivery is for now.
async fn settle(world: &World, job: Uuid, sent: Sent) {
    let filter = DeliveryFilter { job_id: Some(job), ..all() };
    let found = world.store.deliveries(&filter).await.unwrap();
    settle_end(world, (job, found.first().map_or(0, |row| row.seq)), sent).await;
}

async fn settle_end(world: &World, (job_id, seq): (Uuid, i64), sent: Sent) {
    world.store.settle_deliveries(&[Tried { job_id, seq, sent }]).await.unwrap();
}

fn all() -> DeliveryFilter {
    DeliveryFilter { rows_max: 100, ..DeliveryFilter::default() }
}

async fn delivery(world: &World, job: Uuid) -> DeliveryRow {
    let filter = DeliveryFilter { job_id: Some(job), ..all() };
    let mut found = world.store.deliveries(&filter).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

async fn ended(world: &World, job: NewJob) -> Uuid {
    let id = world.admit(vec![job]).await[0];
    world.succeed(&world.claim_one().await).await;
    id
}

async fn a_job_that_replies_has_a_delivery_once_it_has_ended(world: World) {
    let job = NewJob { reply: Some(reply()), tenant: "acme".to_owned(), ..world.named("a") };
    let id = world.admit(vec![job]).await[0];
    let claimed = world.claim_one().await;
    assert!(take(&world).await.is_empty());
    assert!(world.store.deliveries(&all()).await.unwrap().is_empty());
    world.hand.advance(5_000);
    let at = world.now_ms();
    world.succeed(&claimed).await;
    world.hand.advance(1_000);

    let taken = take(&world).await;
    let [due] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!(due.reply, reply());
    assert_eq!((due.tries, due.since, due.tenant.as_str()), (0, at, "acme"));
    let read = world.results().await.remove(0);
    assert_eq!(format!("{:?}", due.result), format!("{read:?}"), "as anybody reads it");
    settle(&world, id, Sent::Delivered).await;
    let row = delivery(&world, id).await;
    assert_eq!((row.state, row.tries, row.due_at), (DeliveryState::Delivered, 1, None));
    assert_eq!((row.seq, row.to.as_str(), row.tenant.as_str()), (due.result.seq, QUEUE, "acme"));
    assert_eq!((row.external_id.as_deref(), row.error), (Some("a"), None));
    assert_eq!((row.created_at, row.ended_at), (at, Some(world.now_ms())));
    world.hand.advance(10 * HOLD_MS);
    assert!(take(&world).await.is_empty());
}

async fn a_job_that_does_not_reply_has_none(world: World) {
    ended(&world, world.job()).await;
    world.admit_many(2).await;
    let jobs = world.claim(2).await.jobs;
    world.finish(failure(&jobs[0], ErrorKind::InvalidJson)).await;
    world.store.cancel(&[jobs[1].job_id]).await.unwrap();
    assert_eq!(world.results().await.len(), 3);
    assert!(world.store.deliveries(&all()).await.unwrap().is_empty());
}

async fn every_way_in_which_a_job_ends_makes_its_delivery(mut world: World) {
    let mut ways = Vec::new();
    ways.push(ended(&world, replying(&world)).await);
    // A call that failed; and in one group with a job that goes on, which is not the usual group.
    ways.extend(world.admit(vec![replying(&world)]).await);
    let failed = world.claim_one().await;
    world.admit_one().await;
    let other = world.claim_one().await;
    let group = [failure(&failed, ErrorKind::InvalidJson), again(&other, 86_000_000)];
    world.store.finish(&group).await.unwrap();
    // Rejected at admission.
    let rejected = NewJob { resolved: Err("no".to_owned()), ..replying(&world) };
    ways.extend(world.admit(vec![rejected]).await);
    // Cancelled while it waits, and while it runs.
    ways.extend(world.admit(vec![replying(&world), replying(&world)]).await);
    world.claim_one().await;
    world.store.cancel(&ways[3..5]).await.unwrap();
    // Expired.
    let late = NewJob { deadline_at: world.now_ms() + 10, ..replying(&world) };
    ways.extend(world.admit(vec![late]).await);
    world.hand.advance(20);
    assert_eq!(world.store.promote(100).await.unwrap().expired, 1);
    // Replaced by a changed document.
    let first = NewJob { reply: Some(reply()), ..world.named("r") };
    ways.extend(world.admit(vec![first]).await);
    let changed = NewJob {
        document_hash: "other".to_owned(),
        rerun: true,
        run_at: world.now_ms() + 80_000_000,
        ..world.named("r")
    };
    world.admit(vec![changed]).await;
    // Admitted for a caller.
    let ask = ClaimNewAsk {
        lease: world.lease,
        fence: Uuid::now_v7(),
        pass_ms_max: 30_000,
        waits: false,
    };
    let claimed = world.store.claim_new(replying(&world), ask).await.unwrap();
    let ClaimedNew::Running { job, .. } = claimed else { panic!("{claimed:?}") };
    world.succeed(&job).await;
    ways.push(job.job_id);
    // Crashed too often.
    ways.extend(world.admit(vec![replying(&world)]).await);
    for _ in 0..3 {
        world.claim_one().await;
        let dead = world.lease;
        world.restart().await;
        world.rescue(dead).await;
    }
    // Larger than a limit that was set later.
    let wanted = Wanted { input_tokens_max: 9_000, max_tokens: 9_000, burndown: 1 };
    ways.extend(world.admit(vec![NewJob { wanted, ..replying(&world) }]).await);
    world.limit(&[("total", None, Some(10_000))]).await;
    assert_eq!(world.claim(1).await.never_fit, 1);

    let results = world.results().await;
    assert!(ways.iter().all(|id| results.iter().any(|result| result.job_id == *id)), "all ended");
    let (taken, ways): (HashSet<Uuid>, HashSet<Uuid>) =
        (taken(&world).await.into_iter().collect(), ways.into_iter().collect());
    assert_eq!(taken, ways);
    assert_eq!(ways.len(), 10);
}

async fn what_is_taken_is_nobody_elses_until_its_hold_is_over(world: World) {
    let id = ended(&world, replying(&world)).await;
    assert_eq!(taken(&world).await, [id]);
    let other = world.another_store().await;
    world.hand.advance(HOLD_MS - 1);
    assert!(other.take_deliveries(10, HOLD_MS).await.unwrap().is_empty());
    world.hand.advance(1);
    let again = other.take_deliveries(10, HOLD_MS).await.unwrap();
    assert_eq!((again[0].result.job_id, again[0].tries), (id, 0), "nobody said that it was tried");
    assert!(take(&world).await.is_empty());
}

async fn the_longest_waiting_go_first_and_no_more_than_asked_for(world: World) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(ended(&world, replying(&world)).await);
        world.hand.advance(1_000);
    }
    let first = world.store.take_deliveries(2, HOLD_MS).await.unwrap();
    let first: Vec<Uuid> = first.iter().map(|due| due.result.job_id).collect();
    assert_eq!(first, ids[..2]);
    assert_eq!(taken(&world).await, ids[2..]);
}

async fn two_relays_at_once_take_different_deliveries(world: World) {
    world.admit((0..60).map(|_| replying(&world)).collect()).await;
    for job in &world.claim(60).await.jobs {
        world.succeed(job).await;
    }
    let mut relays = Vec::new();
    for _ in 0..3 {
        let store = world.another_store().await;
        relays.push(tokio::spawn(async move {
            let mut all = Vec::new();
            for _ in 0..200 {
                let taken = store.take_deliveries(7, HOLD_MS).await.unwrap();
                all.extend(taken.iter().map(|due| due.result.job_id));
            }
            all
        }));
    }
    let mut all = Vec::new();
    for relay in relays {
        all.extend(relay.await.unwrap());
    }
    assert_eq!(all.len(), 60, "each once");
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 60);
}

async fn a_try_that_failed_comes_again_after_its_wait(world: World) {
    let id = ended(&world, replying(&world)).await;
    let since = world.now_ms();
    take(&world).await;
    settle(&world, id, Sent::Again(90_000, "throttled\0".to_owned())).await;
    let row = delivery(&world, id).await;
    assert_eq!((row.state, row.tries), (DeliveryState::Due, 1));
    assert_eq!(row.due_at, Some(world.now_ms() + 90_000));
    assert_eq!((row.error.as_deref(), row.ended_at), (Some("throttled\u{fffd}"), None));
    world.hand.advance(89_999);
    assert!(take(&world).await.is_empty());
    world.hand.advance(1);
    let due = take(&world).await;
    assert_eq!((due.len(), due[0].tries, due[0].since), (1, 1, since));
    settle(&world, id, Sent::Later(5, "its queue is left alone".to_owned())).await;
    assert_eq!(delivery(&world, id).await.tries, 1, "what was not sent is no try");
}

async fn a_delivery_that_has_ended_stays_as_it_is(world: World) {
    let id = ended(&world, replying(&world)).await;
    take(&world).await;
    settle(&world, id, Sent::Delivered).await;
    for late in [
        Sent::Later(0, "late".to_owned()),
        Sent::Again(0, "late".to_owned()),
        Sent::Undeliverable("late".to_owned()),
    ] {
        settle(&world, id, late).await;
    }
    let row = delivery(&world, id).await;
    assert_eq!((row.state, row.tries, row.error), (DeliveryState::Delivered, 1, None));
    // Nothing and nobody is no error.
    world.store.settle_deliveries(&[]).await.unwrap();
    settle(&world, Uuid::now_v7(), Sent::Delivered).await;
}

async fn what_was_given_up_is_shown_and_made_due_again(world: World) {
    let ids = [ended(&world, replying(&world)).await, ended(&world, replying(&world)).await];
    let kept = ended(&world, replying(&world)).await;
    assert_eq!(taken(&world).await.len(), 3);
    for id in ids {
        settle(&world, id, Sent::Undeliverable("there is no such queue".to_owned())).await;
    }
    settle(&world, kept, Sent::Delivered).await;
    world.hand.advance(HOLD_MS);
    assert!(take(&world).await.is_empty());
    let given_up = DeliveryFilter { state: Some(DeliveryState::Undeliverable), ..all() };
    let rows = world.store.deliveries(&given_up).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.job_id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert_eq!(rows[0].error.as_deref(), Some("there is no such queue"));
    assert_eq!((rows[0].due_at, rows[0].ended_at), (None, Some(world.now_ms() - 60_000)));

    let redeliver = async |filter: &DeliveryFilter| world.store.redeliver(filter).await.unwrap();
    assert_eq!(redeliver(&DeliveryFilter { to: Some("other".to_owned()), ..all() }).await, 0);
    let delivered = DeliveryFilter { state: Some(DeliveryState::Delivered), ..all() };
    assert_eq!(redeliver(&delivered).await, 0, "what was delivered is not sent again");
    assert_eq!(redeliver(&DeliveryFilter { rows_max: 1, ..all() }).await, 1);
    let due = take(&world).await;
    assert_eq!((due.len(), due[0].result.job_id, due[0].tries), (1, ids[0], 0));
    assert_eq!(due[0].since, world.now_ms(), "it waits anew");
    assert_eq!(redeliver(&DeliveryFilter { job_id: Some(ids[1]), ..all() }).await, 1);
    assert_eq!(redeliver(&all()).await, 0);
    assert_eq!(taken(&world).await, [ids[1]]);
}

/// A job that has failed, with its delivery.
async fn failed(world: &World) -> Uuid {
    let id = world.admit(vec![replying(world)]).await[0];
    world.finish(failure(&world.claim_one().await, ErrorKind::InvalidJson)).await;
    id
}

async fn put_back(world: &World, id: Uuid) {
    let deadline_at = world.now_ms() + 80_000_000;
    assert_eq!(world.store.retry(&[id], deadline_at).await.unwrap(), [id]);
}

async fn a_job_that_ends_again_is_delivered_again(world: World) {
    let id = failed(&world).await;
    assert_eq!(take(&world).await[0].result.state, State::Failed);
    settle(&world, id, Sent::Delivered).await;
    let before = delivery(&world, id).await.seq;
    put_back(&world, id).await;
    world.hand.advance(1_000);
    world.succeed(&world.claim_one().await).await;
    let due = take(&world).await;
    assert_eq!((due.len(), due[0].result.state, due[0].tries), (1, State::Succeeded, 0));
    assert_eq!(due[0].since, world.now_ms());
    assert!(delivery(&world, id).await.seq > before);
}

async fn what_became_of_an_earlier_end_is_not_said_of_a_later_one(world: World) {
    let id = failed(&world).await;
    let first = take(&world).await.remove(0).result.seq;
    put_back(&world, id).await;
    world.succeed(&world.claim_one().await).await;
    // Only now the relay says what became of the first.
    settle_end(&world, (id, first), Sent::Delivered).await;
    assert_eq!(delivery(&world, id).await.state, DeliveryState::Due);
    assert_eq!(take(&world).await[0].result.state, State::Succeeded);
}

async fn what_became_of_an_earlier_end_is_not_said_of_a_later_one_that_is_being_sent(world: World) {
    let id = failed(&world).await;
    let first = take(&world).await.remove(0).result.seq;
    put_back(&world, id).await;
    world.succeed(&world.claim_one().await).await;
    let second = take(&world).await.remove(0).result.seq;
    let row = delivery(&world, id).await;
    for late in
        [Sent::Delivered, Sent::Again(0, "late".to_owned()), Sent::Undeliverable("late".to_owned())]
    {
        settle_end(&world, (id, first), late).await;
        assert_eq!(delivery(&world, id).await, row, "it is of another end");
    }
    let both = [(first, Sent::Undeliverable("late".to_owned())), (second, Sent::Delivered)]
        .map(|(seq, sent)| Tried { job_id: id, seq, sent });
    world.store.settle_deliveries(&both).await.unwrap();
    let row = delivery(&world, id).await;
    assert_eq!((row.state, row.tries, row.error), (DeliveryState::Delivered, 1, None));
}

async fn a_job_that_was_put_back_has_nothing_to_deliver(world: World) {
    let id = failed(&world).await;
    put_back(&world, id).await;
    assert!(take(&world).await.is_empty());
    assert!(world.store.deliveries(&all()).await.unwrap().is_empty());
}

async fn retention_waits_for_a_delivery_that_is_due(world: World) {
    let id = ended(&world, replying(&world)).await;
    let retained = async |stage, look_after| {
        let policy =
            RetentionPolicy { bodies_days: 1, jobs_days: 1, ..RetentionPolicy::for_ever() };
        let ask = RetainAsk { stage, policy, rows_max: 100, look_after };
        world.store.retain(&ask).await.unwrap().jobs
    };
    world.hand.advance(2 * DAY_MS);
    for stage in RetentionStage::ALL {
        assert_eq!(retained(stage, Some(0)).await, 0, "{stage:?}, a look");
        assert_eq!(retained(stage, None).await, 0, "{stage:?}");
    }
    assert_eq!(take(&world).await[0].result.text.as_deref(), Some("done"));
    settle(&world, id, Sent::Delivered).await;
    // What was passed is looked at again a day later.
    world.hand.advance(DAY_MS);
    for stage in RetentionStage::ALL {
        assert_eq!(retained(stage, None).await, 1, "{stage:?}");
    }
    assert!(world.store.deliveries(&all()).await.unwrap().is_empty());
    assert!(world.store.job(&id.to_string()).await.unwrap().is_none());
}

async fn an_erased_job_is_not_delivered(world: World) {
    let of_acme = || NewJob { tenant: "acme".to_owned(), ..replying(&world) };
    ended(&world, of_acme()).await;
    let waiting = world.admit(vec![of_acme()]).await[0];
    let other = ended_other(&world).await;
    let ask = EraseAsk {
        tenant: "acme".to_owned(),
        asked_by: "ada".to_owned(),
        tenant_default: "default".to_owned(),
        rows_max: 100,
    };
    assert!(world.store.erase(&ask).await.unwrap().done_at.is_some());
    assert_eq!(world.state(waiting).await, State::Cancelled);
    assert_eq!(taken(&world).await, [other]);
    assert_eq!(world.store.deliveries(&all()).await.unwrap().len(), 1);
}

/// A job of another tenant, claimed before those of the erased one.
async fn ended_other(world: &World) -> Uuid {
    let rejected = NewJob { resolved: Err("no".to_owned()), ..replying(world) };
    world.admit(vec![rejected]).await[0]
}

async fn lists_are_filtered_and_go_page_by_page(world: World) {
    let to = |to: &str| Some(Reply { to: to.to_owned(), trace: None });
    let mut ids = Vec::new();
    for queue in ["a", "b", "a", "a"] {
        ids.push(ended(&world, NewJob { reply: to(queue), ..world.job() }).await);
    }
    let mut filter = DeliveryFilter { to: Some("a".to_owned()), rows_max: 2, ..all() };
    let page = world.store.deliveries(&filter).await.unwrap();
    assert_eq!(page.iter().map(|row| row.job_id).collect::<Vec<_>>(), [ids[3], ids[2]]);
    filter.before = page.last().map(|row| row.seq);
    let page = world.store.deliveries(&filter).await.unwrap();
    assert_eq!(page.iter().map(|row| row.job_id).collect::<Vec<_>>(), [ids[0]]);
    let due = take(&world).await;
    assert!(due.iter().all(|due| due.reply.trace.is_none()));
    let none = DeliveryFilter { state: Some(DeliveryState::Delivered), ..all() };
    assert!(world.store.deliveries(&none).await.unwrap().is_empty());
}

async fn the_view_shows_where_each_delivery_stands(world: World) {
    ended(&world, NewJob { reply: Some(reply()), ..world.named("a") }).await;
    let shown = world
        .text("select external_id || ' ' || tenant || ' ' || state || ' ' || tries from deliveries")
        .await;
    assert_eq!(shown, "a default due 0");
    assert!(world.text("select reply_to from deliveries").await.ends_with("/answers"));
}
