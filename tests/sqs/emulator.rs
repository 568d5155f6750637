//! What the port promises, on queues that keep SQS's rules.

use aws_sdk_sqs::types::{
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName as Known,
};
use quarrier::message_queue::{
    Attribute, DeadLetters, MessageQueue as _, QueueErrorKind as Kind, ReceiveAsk,
};

use crate::bed::{Queue, kinds, message};

#[tokio::test]
async fn what_is_sent_is_received_and_gone_once_it_is_deleted() {
    let queue = Queue::new().await;
    let mut sent = message("{\"a\": 1}");
    sent.attributes.insert("reason".to_owned(), Attribute::Text("näh".to_owned()));
    sent.attributes.insert("size".to_owned(), Attribute::Number(12));
    let ids = queue.sqs.send(&queue.url, &[sent]).await;
    let received = queue.receive(1).await.remove(0);
    assert_eq!(Ok(&received.message_id), ids[0].as_ref());
    assert_eq!(received.body, "{\"a\": 1}");
    assert_eq!(received.attributes["reason"], "näh");
    assert_eq!(received.attributes["size"], "12");
    assert_eq!((received.receives, received.group, received.trace), (1, None, None));
    assert!(received.sent_at.unwrap() > 1_600_000_000_000, "{:?}", received.sent_at);
    let facts = queue.sqs.facts(&queue.url).await.unwrap();
    assert_eq!((facts.waiting, facts.in_flight), (0, 1));
    assert_eq!(queue.sqs.delete(&queue.url, &[received.receipt]).await, [Ok(())]);
    let facts = queue.sqs.facts(&queue.url).await.unwrap();
    assert_eq!((facts.waiting, facts.in_flight), (0, 0));
}

#[tokio::test]
async fn a_call_for_more_than_a_batch_answers_for_each_in_its_order() {
    let queue = Queue::new().await;
    let bodies: Vec<String> = (0..25).map(|n| format!("body {n}")).collect();
    let messages: Vec<_> = bodies.iter().map(|body| message(body)).collect();
    let ids: Vec<String> =
        queue.sqs.send(&queue.url, &messages).await.into_iter().map(Result::unwrap).collect();
    let received = queue.receive(25).await;
    for message in &received {
        let place = bodies.iter().position(|body| *body == message.body).unwrap();
        assert_eq!(ids[place], message.message_id);
    }
    let mut receipts: Vec<String> = received.into_iter().map(|message| message.receipt).collect();
    receipts.insert(13, "none".to_owned());
    let hidden = queue.sqs.hide(&queue.url, &receipts, 60).await;
    let deleted = queue.sqs.delete(&queue.url, &receipts).await;
    for answers in [&hidden, &deleted] {
        let failed: Vec<usize> = (0..26).filter(|at| answers[*at].is_err()).collect();
        assert_eq!((answers.len(), failed), (26, vec![13]));
        assert_eq!(answers[13].as_ref().unwrap_err().kind, Kind::Stale);
    }
}

#[tokio::test]
async fn nothing_to_do_asks_nobody() {
    let queue = Queue::new().await;
    queue.client.delete_queue().queue_url(&queue.url).send().await.unwrap();
    assert!(queue.sqs.send(&queue.url, &[]).await.is_empty());
    assert!(queue.sqs.delete(&queue.url, &[]).await.is_empty());
    assert!(queue.sqs.hide(&queue.url, &[], 1).await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_shown_again_comes_again_and_says_how_often() {
    let queue = Queue::new().await;
    queue.send(&["again"]).await;
    let first = queue.receive(1).await.remove(0);
    assert_eq!(queue.sqs.hide(&queue.url, &[first.receipt], 0).await, [Ok(())]);
    let second = queue.receive(1).await.remove(0);
    assert_eq!((&second.message_id, second.receives), (&first.message_id, 2));
}

#[tokio::test]
async fn visibility_beyond_twelve_hours_is_the_ceiling() {
    let queue = Queue::new().await;
    queue.send(&["one", "two"]).await;
    let receipts: Vec<String> =
        queue.receive(2).await.into_iter().map(|message| message.receipt).collect();
    let hidden = queue.sqs.hide(&queue.url, &receipts, 43_200).await;
    assert_eq!(kinds(&hidden), [Some(Kind::Ceiling), Some(Kind::Ceiling)], "{hidden:?}");
    let hidden = queue.sqs.hide(&queue.url, &receipts, 43_201).await;
    assert_eq!(kinds(&hidden), [Some(Kind::Refused), Some(Kind::Refused)], "that is no ceiling");
}

#[tokio::test]
async fn an_empty_queue_answers_after_the_wait() {
    let queue = Queue::new().await;
    for wait_s in [0, 1] {
        let ask = ReceiveAsk { wait_s, ..queue.ask() };
        assert_eq!(queue.sqs.receive(&ask).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn group_and_trace_of_a_producers_message_arrive() {
    let queue = Queue::new().await;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
    let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
    let send = queue.client.send_message().queue_url(&queue.url).message_body("x");
    let send =
        send.message_group_id("acme").message_system_attributes(name, value.build().unwrap());
    send.send().await.unwrap();
    let received = queue.receive(1).await.remove(0);
    assert_eq!(received.group.as_deref(), Some("acme"));
    assert_eq!(received.trace.as_deref(), Some(trace));
}

#[tokio::test]
async fn a_queue_is_found_by_its_name_its_arn_and_its_url() {
    let queue = Queue::new().await;
    let arn = queue.sqs.facts(&queue.url).await.unwrap().arn;
    for name in [&queue.name, &arn, &queue.url] {
        assert_eq!(queue.sqs.url(name).await.as_deref(), Ok(queue.url.as_str()), "{name}");
    }
    for (name, kind) in [
        ("no-such-queue", Kind::Gone),
        ("arn:aws:sqs:us-east-1:123456789012:no-such-queue", Kind::Gone),
        ("my queue", Kind::Refused),
        ("ftp://host/queue", Kind::Refused),
    ] {
        assert_eq!(queue.sqs.url(name).await.unwrap_err().kind, kind, "{name}");
    }
}

#[tokio::test]
async fn a_queue_says_what_was_set_for_it() {
    let dead = Queue::new().await;
    let dead_arn = dead.sqs.facts(&dead.url).await.unwrap().arn;
    let redrive = format!(r#"{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":"20"}}"#);
    let queue = Queue::with(
        "",
        &[
            (Known::VisibilityTimeout, "120"),
            (Known::MaximumMessageSize, "262144"),
            (Known::MessageRetentionPeriod, "600"),
            (Known::RedrivePolicy, &redrive),
            (Known::KmsMasterKeyId, "alias/mine"),
        ],
    )
    .await;
    queue.send(&["one", "two"]).await;
    let facts = queue.sqs.facts(&queue.url).await.unwrap();
    assert_eq!(facts.arn, format!("arn:aws:sqs:us-east-1:123456789012:{}", queue.name));
    assert!(!facts.fifo && !facts.content_deduplication && facts.encrypted_by_key);
    assert_eq!(facts.visibility_s, 120);
    assert_eq!((facts.message_bytes_max, facts.retention_s), (262_144, 600));
    assert_eq!(facts.dead_letters, Some(DeadLetters { arn: dead_arn, receives_max: 20 }));
    assert_eq!((facts.waiting, facts.in_flight), (2, 0));
}

#[tokio::test]
async fn a_deleted_queue_is_gone_for_every_call() {
    let queue = Queue::new().await;
    queue.client.delete_queue().queue_url(&queue.url).send().await.unwrap();
    let gone = [Some(Kind::Gone), Some(Kind::Gone)];
    let receipts = ["a".to_owned(), "b".to_owned()];
    assert_eq!(kinds(&queue.sqs.send(&queue.url, &[message("a"), message("b")]).await), gone);
    assert_eq!(kinds(&queue.sqs.delete(&queue.url, &receipts).await), gone);
    assert_eq!(kinds(&queue.sqs.hide(&queue.url, &receipts, 1).await), gone);
    assert_eq!(queue.sqs.receive(&queue.ask()).await.unwrap_err().kind, Kind::Gone);
    let error = queue.sqs.facts(&queue.url).await.unwrap_err();
    assert_eq!(error.kind, Kind::Gone);
    let begins = format!("read the attributes of {}: ", queue.url);
    assert!(error.message.starts_with(&begins), "it reads after 'failed to': {error}");
}
