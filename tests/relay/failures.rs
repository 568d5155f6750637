//! What follows a failure: of one message, of a queue, of everything. Must not know: sizes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quarrier::message_queue::QueueErrorKind;
use quarrier::relay::RelayOptions;
use quarrier::store::{DeliverStore as _, DeliveryFilter, DeliveryState};
use tokio_util::sync::CancellationToken;

use crate::scene::{Scene, options};
use crate::scripted::Scripted;
use crate::within;

#[test]
fn of_a_batch_only_what_failed_is_sent_again() {
    within(async {
        let scene = Scene::new().await;
        let job = scene.ended("answers").await;
        scene.many("answers", 9).await;
        let unlucky = job.to_string();
        let queues = Scripted::new(move |call, _, message| {
            let is_it = message.body.contains(&unlucky);
            if call == 1 && is_it { Err(QueueErrorKind::Unreachable) } else { Ok(()) }
        });
        let relay = scene.relay(&queues);
        scene.send(&relay).await;
        assert_eq!(scene.count(DeliveryState::Delivered).await, 9);
        let delivery = scene.delivery(job).await;
        assert_eq!((delivery.state, delivery.tries), (DeliveryState::Due, 1));
        assert_eq!(delivery.error.as_deref(), Some("scripted Unreachable"));
        scene.hand.advance(1_001);
        scene.send(&relay).await;
        assert_eq!(scene.delivery(job).await.state, DeliveryState::Delivered);
        assert_eq!(queues.messages().len(), 11);
    });
}

#[test]
fn a_queue_that_fails_as_a_whole_is_asked_once_and_delays_no_other() {
    within(async {
        let scene = Scene::new().await;
        scene.many("broken", 35).await;
        scene.many("answers", 5).await;
        let mended = Arc::new(AtomicBool::new(false));
        let is_mended = Arc::clone(&mended);
        let queues = Scripted::new(move |_, url, _| {
            let works = is_mended.load(Ordering::SeqCst) || url.ends_with("answers");
            if works { Ok(()) } else { Err(QueueErrorKind::Unreachable) }
        });
        let relay = scene.relay(&queues);
        scene.send(&relay).await;
        let to_broken = queues.batches().iter().filter(|it| it.url.ends_with("broken")).count();
        assert_eq!(to_broken, 1, "35 results are not 35 questions");
        assert_eq!(scene.count(DeliveryState::Delivered).await, 5);
        assert_eq!(scene.count(DeliveryState::Due).await, 35);
        mended.store(true, Ordering::SeqCst);
        scene.hand.advance(2_001);
        scene.send(&relay).await;
        assert_eq!(scene.count(DeliveryState::Delivered).await, 40);
    });
}

#[test]
fn a_running_relay_leaves_a_failing_queue_alone_and_says_so_to_who_asks_for_its_health() {
    within(async {
        let scene = Scene::new().await;
        scene.many("broken", 5).await;
        let queues = Scripted::new(|_, url, _| {
            if url.ends_with("broken") { Err(QueueErrorKind::Throttled) } else { Ok(()) }
        });
        let long =
            RelayOptions { retry_ms_base: 86_400_000, retry_ms_max: 86_400_000, ..options() };
        let relay = scene.relay_with(&queues, None, long);
        let drain = CancellationToken::new();
        let run = tokio::spawn({
            let (relay, drain) = (relay.clone(), drain.clone());
            async move { relay.run(drain).await }
        });
        while !relay.alive().says.contains("1 of 1 queues take no results") {
            tokio::task::yield_now().await;
        }
        // More for the same queue, and something for another one: only that is sent.
        scene.many("broken", 5).await;
        let job = scene.ended("answers").await;
        while scene.delivery(job).await.state != DeliveryState::Delivered {
            scene.hand.advance(20);
            relay.wake();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(relay.alive().ok);
        drain.cancel();
        run.await.unwrap();
        let to_broken = queues.batches().iter().filter(|it| it.url.ends_with("broken")).count();
        assert_eq!(to_broken, 1);
        assert_eq!(scene.count(DeliveryState::Due).await, 10);
    });
}

#[test]
fn a_queue_that_is_made_late_gets_its_results() {
    within(async {
        let scene = Scene::new().await;
        let job = scene.ended("answers").await;
        let made = Arc::new(AtomicBool::new(false));
        let is_made = Arc::clone(&made);
        let queues = Scripted::new(move |_, _, _| {
            if is_made.load(Ordering::SeqCst) { Ok(()) } else { Err(QueueErrorKind::Gone) }
        });
        let relay = scene.relay(&queues);
        for _ in 0..5 {
            scene.send(&relay).await;
            assert_eq!(scene.delivery(job).await.state, DeliveryState::Due);
            scene.hand.advance(10_001);
        }
        made.store(true, Ordering::SeqCst);
        scene.send(&relay).await;
        assert_eq!(scene.delivery(job).await.state, DeliveryState::Delivered);
    });
}

#[test]
fn what_cannot_be_delivered_is_given_up_by_age_or_tries_and_can_be_made_due_again() {
    within(async {
        let scene = Scene::new().await;
        let old = scene.ended("absent").await;
        let queues = Scripted::willing();
        let relay = scene.relay(&queues);
        scene.send(&relay).await;
        assert_eq!(scene.delivery(old).await.state, DeliveryState::Due);
        scene.hand.advance(86_400_001);
        scene.send(&relay).await;
        let delivery = scene.delivery(old).await;
        assert_eq!(delivery.state, DeliveryState::Undeliverable);
        let error = delivery.error.unwrap();
        assert!(error.contains("relay.age_s_max") && error.contains("scripted Gone"), "{error}");

        let few = scene.relay_with(&queues, None, RelayOptions { tries_max: 2, ..options() });
        let tried = scene.ended("absent").await;
        for _ in 0..2 {
            scene.send(&few).await;
            scene.hand.advance(10_001);
        }
        let delivery = scene.delivery(tried).await;
        assert_eq!(delivery.state, DeliveryState::Undeliverable);
        assert!(delivery.error.unwrap().contains("relay.tries_max"));

        let all = DeliveryFilter { rows_max: 10, ..DeliveryFilter::default() };
        assert_eq!(scene.store.redeliver(&all).await.unwrap(), 2);
        scene.send(&relay).await;
        assert_eq!(scene.count(DeliveryState::Due).await, 2, "their age counts from then on");
    });
}

#[test]
fn what_a_queue_refuses_for_good_is_given_up_at_once_with_its_words() {
    within(async {
        for kind in [QueueErrorKind::Contents, QueueErrorKind::Refused] {
            let scene = Scene::new().await;
            let job = scene.ended("answers").await;
            let queues = Scripted::new(move |_, _, _| Err(kind));
            scene.send(&scene.relay(&queues)).await;
            let delivery = scene.delivery(job).await;
            assert_eq!(delivery.state, DeliveryState::Undeliverable);
            assert_eq!(delivery.error, Some(format!("scripted {kind:?}")));
            assert_eq!(queues.batches().len(), 1);
        }
    });
}
