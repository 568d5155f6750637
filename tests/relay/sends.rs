//! What is sent, and how often. Must not know: failures.

use std::collections::BTreeSet;

use quarrier::admit::ReplyAllow;
use quarrier::message_queue::Attribute;
use quarrier::relay::RelayOptions;
use quarrier::store::{DeliverStore as _, DeliveryState};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::scene::{Scene, options};
use crate::scripted::Scripted;
use crate::within;

#[test]
fn a_result_is_sent_once_and_noted_as_delivered() {
    within(async {
        let (scene, queues) = (Scene::new().await, Scripted::willing());
        let job = scene.ended("answers").await;
        let relay = scene.relay(&queues);
        scene.send(&relay).await;
        scene.send(&relay).await;
        let batches = queues.batches();
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].url, "http://queues/1/answers");
        let message = &batches[0].messages[0];
        let line: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!((&line["job_id"], &line["state"]), (&job.to_string().into(), &"failed".into()));
        assert_eq!(line["error"]["kind"], "rejected");
        assert_eq!(message.attributes["quarrier.state"], Attribute::Text("failed".to_owned()));
        assert_eq!(message.attributes["quarrier.job_id"], Attribute::Text(job.to_string()));
        assert_eq!(
            message.trace.as_deref(),
            Some("Root=1-5759e988-bd862e3fe1be46a994272793"),
            "the trace of the message that brought the job"
        );
        assert_eq!((&message.group, &message.deduplication), (&None, &None));
        let delivery = scene.delivery(job).await;
        assert_eq!((delivery.state, delivery.error), (DeliveryState::Delivered, None));
    });
}

#[test]
fn a_fifo_queue_gets_a_group_and_a_deduplication_id() {
    within(async {
        let (scene, queues) = (Scene::new().await, Scripted::willing());
        let job = scene.ended("answers.fifo").await;
        scene.send(&scene.relay(&queues)).await;
        let message = &queues.messages()[0];
        assert_eq!(message.group.as_deref(), Some("north"));
        let deduplication = message.deduplication.as_deref().unwrap();
        assert!(deduplication.starts_with(&job.to_string()), "{deduplication}");
    });
}

#[test]
fn many_results_go_in_full_batches_each_once_whatever_fits_in_memory() {
    within(async {
        for bytes_max in [8 << 20, 1] {
            let (scene, queues) = (Scene::new().await, Scripted::willing());
            scene.many("answers", 45).await;
            scene.many("others", 15).await;
            let relay = scene.relay_with(
                &queues,
                None,
                RelayOptions { bytes_max, rows_max: 30, ..options() },
            );
            scene.send(&relay).await;
            let jobs: BTreeSet<String> = queues
                .messages()
                .iter()
                .map(|message| format!("{:?}", message.attributes["quarrier.job_id"]))
                .collect();
            assert_eq!((queues.messages().len(), jobs.len()), (60, 60));
            assert!(queues.batches().iter().all(|batch| batch.messages.len() <= 10));
            assert_eq!(scene.count(DeliveryState::Delivered).await, 60);
        }
    });
}

#[test]
fn a_queue_that_is_allowed_no_more_gets_nothing_and_the_reason_is_kept() {
    within(async {
        let (scene, queues) = (Scene::new().await, Scripted::willing());
        let job = scene.ended("answers").await;
        let other = scene.ended("others").await;
        let allow = ReplyAllow::new(vec!["others".to_owned()]);
        scene.send(&scene.relay_with(&queues, None, RelayOptions { allow, ..options() })).await;
        assert_eq!(queues.messages().len(), 1);
        let delivery = scene.delivery(job).await;
        assert_eq!(delivery.state, DeliveryState::Undeliverable);
        assert!(delivery.error.unwrap().contains("sqs.reply_allow"));
        assert_eq!(scene.delivery(other).await.state, DeliveryState::Delivered);
    });
}

#[test]
fn a_drain_lets_what_is_on_its_way_arrive_and_takes_no_more() {
    within(async {
        let scene = Scene::new().await;
        let queues = Scripted::with(Some(262_144), 0, |_, _, _| Ok(()));
        let job = scene.ended("answers").await;
        let relay = scene.relay(&queues);
        let drain = CancellationToken::new();
        let run = tokio::spawn({
            let (relay, drain) = (relay.clone(), drain.clone());
            async move { relay.run(drain).await }
        });
        while queues.batches().is_empty() {
            tokio::task::yield_now().await;
        }
        let late = scene.ended("answers").await;
        drain.cancel();
        queues.let_one_in();
        run.await.unwrap();
        assert_eq!(queues.batches().len(), 1);
        assert_eq!(scene.delivery(job).await.state, DeliveryState::Delivered);
        assert_eq!(scene.delivery(late).await.state, DeliveryState::Due);
        assert_eq!(relay.waiting().await.unwrap(), 1);
    });
}

#[test]
fn what_a_dead_relay_had_taken_is_sent_by_the_next_one() {
    within(async {
        let (scene, queues) = (Scene::new().await, Scripted::willing());
        scene.ended("answers").await;
        let taken = scene.store.take_deliveries(10, 60_000).await.unwrap();
        assert_eq!(taken.len(), 1);
        let relay = scene.relay(&queues);
        scene.send(&relay).await;
        assert_eq!(queues.messages().len(), 0, "it is the other's for a minute");
        scene.hand.advance(60_001);
        scene.send(&relay).await;
        assert_eq!(queues.messages().len(), 1);
    });
}
