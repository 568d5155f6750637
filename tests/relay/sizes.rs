//! Results that are larger than a message. Must not know: other failures.

use std::sync::Arc;

use quarrier::message_queue::{Attribute, Outgoing, QueueErrorKind};
use quarrier::store::DeliveryState;
use serde_json::Value;

use crate::scene::{Scene, options};
use crate::scripted::{Bucket, Scripted};
use crate::within;

fn line(message: &Outgoing) -> Value {
    serde_json::from_str(&message.body).unwrap()
}

#[test]
fn a_result_within_the_queues_own_limit_is_sent_whole() {
    within(async {
        let (scene, queues) = (Scene::new().await, Scripted::willing());
        scene.ended_saying("answers", &"x".repeat(900_000)).await;
        scene.ended_saying("answers", &"x".repeat(900_000)).await;
        scene.send(&scene.relay(&queues)).await;
        assert_eq!(queues.batches().len(), 2, "a batch has a limit, too");
        assert!(queues.messages().iter().all(|message| message.body.len() > 900_000));
    });
}

#[test]
fn a_larger_one_goes_to_the_bucket_and_the_message_points_to_it() {
    within(async {
        let (scene, bucket) = (Scene::new().await, Arc::new(Bucket::default()));
        let queues = Scripted::with(Some(2_048), 100, |_, _, _| Ok(()));
        let job = scene.ended_saying("answers", &"x".repeat(5_000)).await;
        let relay = scene.relay_with(&queues, Some(Arc::clone(&bucket) as _), options());
        scene.send(&relay).await;
        let bodies = bucket.bodies.lock().unwrap().clone();
        assert_eq!(bodies[0].0, format!("quarrier/{job}.json"));
        let whole: Value = serde_json::from_str(&bodies[0].1).unwrap();
        assert_eq!(whole["job_id"], job.to_string());
        let message = &queues.messages()[0];
        let pointer = line(message);
        assert_eq!(pointer[0], "software.amazon.payloadoffloading.PayloadS3Pointer");
        assert_eq!(pointer[1]["s3BucketName"], "results");
        assert_eq!(pointer[1]["s3Key"], bodies[0].0);
        let bytes = u64::try_from(bodies[0].1.len()).unwrap();
        assert_eq!(message.attributes["ExtendedPayloadSize"], Attribute::Number(bytes));
        assert_eq!(scene.count(DeliveryState::Delivered).await, 1);
    });
}

#[test]
fn a_bucket_that_fails_holds_up_only_what_needs_it() {
    within(async {
        let scene = Scene::new().await;
        let bucket = Bucket { fails: Some(QueueErrorKind::Denied), ..Bucket::default() };
        let queues = Scripted::with(Some(2_048), 100, |_, _, _| Ok(()));
        let large = scene.ended_saying("answers", &"x".repeat(5_000)).await;
        let small = scene.ended("answers").await;
        let relay = scene.relay_with(&queues, Some(Arc::new(bucket)), options());
        scene.send(&relay).await;
        assert_eq!(scene.delivery(small).await.state, DeliveryState::Delivered);
        let delivery = scene.delivery(large).await;
        assert_eq!(delivery.state, DeliveryState::Due);
        assert_eq!(delivery.error.as_deref(), Some("scripted Denied"));
    });
}

#[test]
fn without_a_bucket_a_notice_says_where_the_result_stands() {
    within(async {
        let scene = Scene::new().await;
        let queues = Scripted::with(Some(2_048), 100, |_, _, _| Ok(()));
        let job = scene.ended_saying("answers", &"x".repeat(5_000)).await;
        scene.send(&scene.relay(&queues)).await;
        let notice = line(&queues.messages()[0]);
        assert_eq!(notice["job_id"], job.to_string());
        assert!(notice["output"].is_null() && notice["text"].is_null());
        assert!(notice["notice"].as_str().unwrap().contains("this queue takes 2048"));
        assert_eq!(scene.count(DeliveryState::Delivered).await, 1);
    });
}

#[test]
fn a_queue_that_says_nothing_of_itself_gets_what_is_usual_and_less_where_it_refuses() {
    within(async {
        let scene = Scene::new().await;
        let queues = Scripted::with(None, 100, |_, _, message| {
            if message.body.len() > 4_000 { Err(QueueErrorKind::TooLarge) } else { Ok(()) }
        });
        scene.ended_saying("answers", &"x".repeat(300_000)).await;
        scene.ended_saying("answers", &"x".repeat(5_000)).await;
        scene.ended("answers").await;
        scene.send(&scene.relay(&queues)).await;
        assert_eq!(scene.count(DeliveryState::Delivered).await, 3);
        let sent = queues.messages();
        assert!(sent.iter().all(|message| message.body.len() < 262_144));
        let notices = sent.iter().filter(|message| line(message)["notice"].is_string()).count();
        assert_eq!(notices, 2, "one is larger than usual, one larger than this queue takes");
    });
}

#[test]
fn a_queue_too_small_for_a_notice_is_given_up() {
    within(async {
        let scene = Scene::new().await;
        let queues = Scripted::with(Some(1_024), 100, |_, _, _| Err(QueueErrorKind::TooLarge));
        let job = scene.ended_saying("answers", &"x".repeat(5_000)).await;
        scene.send(&scene.relay(&queues)).await;
        let delivery = scene.delivery(job).await;
        assert_eq!(delivery.state, DeliveryState::Undeliverable);
        assert!(delivery.error.unwrap().contains("even a notice is larger"));
    });
}
