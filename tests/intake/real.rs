//! Intakes between SQS's own rules and real stores.

use std::collections::HashSet;
use std::time::Duration;

use quarrier::intake::{Ack, IntakeOptions};
use quarrier::job::State;
use quarrier::message_queue::Outgoing;

use crate::moto::{Engine, World, message, plain};
use crate::within;

const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];
const ACKS: [Ack; 2] = [Ack::OnStored, Ack::OnFinished];

/// Enough for several loops and pages; `scripts/bench` has more.
const MANY: usize = 250;

async fn drained(world: &World) {
    while world.left().await > 0 {
        world.end_all().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn many_messages_are_drained_and_none_is_lost_or_doubled() {
    within(async {
        for engine in ENGINES {
            for ack in ACKS {
                let world = World::new(engine, false).await;
                let messages: Vec<Outgoing> =
                    (0..MANY).map(|number| plain(&number.to_string())).collect();
                world.send(&messages).await;
                let running = world.start(world.options(ack));
                drained(&world).await;
                assert_eq!(world.jobs().await.len(), MANY, "{engine:?} {ack:?}");
                let counts = running.intake.counts();
                let expected = u64::try_from(MANY).unwrap();
                // SQS may deliver one twice, and so may its double.
                assert!(counts.received >= expected && counts.admitted == expected, "{counts:?}");
                running.ended().await;
                let held = world.store.held_messages(&world.arn().await, None, 10).await.unwrap();
                assert!(held.is_empty());
            }
        }
    });
}

#[test]
fn a_killed_process_leaves_its_messages_to_the_next_one_and_each_is_one_job() {
    within(async {
        for engine in ENGINES {
            for ack in ACKS {
                let world = World::new(engine, false).await;
                world.send(&[plain("a"), plain("b"), plain("c")]).await;
                let options = IntakeOptions { visibility_s: 2, ..world.options(ack) };
                let running = world.start(options.clone());
                while world.jobs().await.len() < 3 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                running.killed().await;
                world.end_all().await;
                let store = world.another_store().await;
                let running = world.start_on(&store, options);
                drained(&world).await;
                assert_eq!(world.jobs().await.len(), 3, "{engine:?} {ack:?}");
                running.ended().await;
            }
        }
    });
}

#[test]
fn a_held_message_is_not_seen_by_others_for_longer_than_its_first_time() {
    within(async {
        let world = World::new(Engine::Sqlite, false).await;
        world.send(&[plain("a")]).await;
        // A look a second, so three seconds are hidden again after one.
        let options = IntakeOptions { visibility_s: 4, ..world.options(Ack::OnFinished) };
        let running = world.start(options);
        while running.intake.counts().admitted < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(running.intake.counts().received, 1);
        assert_eq!(world.left().await, 1);
        drained(&world).await;
        assert_eq!(running.intake.counts().received, 1);
        running.ended().await;
    });
}

#[test]
fn a_bad_message_is_a_rejected_job_and_a_dead_letter_with_its_reason() {
    within(async {
        for engine in ENGINES {
            let world = World::new(engine, false).await;
            world.send(&[message("not JSON"), plain("good")]).await;
            let running = world.start(world.options(Ack::OnStored));
            drained(&world).await;
            let states: HashSet<State> = world.jobs().await.iter().map(|job| job.state).collect();
            assert!(states.contains(&State::Failed), "{states:?}");
            let reasons = world.reasons().await;
            assert!(reasons.len() == 1 && reasons[0].contains("is not JSON"), "{reasons:?}");
            running.ended().await;
        }
    });
}

#[test]
fn a_queue_with_an_order_is_drained_group_by_group() {
    within(async {
        for engine in ENGINES {
            let world = World::new(engine, true).await;
            let of = |number: usize| Outgoing {
                group: Some(format!("g{}", number % 3)),
                deduplication: Some(number.to_string()),
                ..plain(&number.to_string())
            };
            world.send(&(0..30).map(of).collect::<Vec<Outgoing>>()).await;
            world.send(&[Outgoing { body: "[]".to_owned(), ..of(30) }]).await;
            let running = world.start(world.options(Ack::OnStored));
            drained(&world).await;
            assert_eq!(world.jobs().await.len(), 31);
            assert_eq!(world.reasons().await.len(), 1);
            running.ended().await;
        }
    });
}

#[test]
fn a_queue_that_is_deleted_is_told_of_and_the_process_goes_on() {
    within(async {
        let world = World::new(Engine::Sqlite, false).await;
        let running = world.start(IntakeOptions { wait_s: 1, ..world.options(Ack::OnStored) });
        world.send(&[plain("a")]).await;
        drained(&world).await;
        world.client.delete_queue().queue_url(&world.url).send().await.unwrap();
        while running.intake.ready().ok {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let says = running.intake.ready().says;
        assert!(says.contains("create it"), "{says}");
        running.ended().await;
    });
}
