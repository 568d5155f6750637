//! Queues that keep an order.

use aws_sdk_sqs::types::QueueAttributeName as Known;
use quarrier::message_queue::{MessageQueue as _, Outgoing, QueueErrorKind as Kind};

use crate::bed::{Queue, kinds, message};

fn in_group(group: &str, deduplication: &str, body: &str) -> Outgoing {
    Outgoing {
        group: Some(group.to_owned()),
        deduplication: Some(deduplication.to_owned()),
        ..message(body)
    }
}

#[tokio::test]
async fn a_group_keeps_its_order_over_batches() {
    let queue = Queue::with(".fifo", &[(Known::FifoQueue, "true")]).await;
    let facts = queue.sqs.facts(&queue.url).await.unwrap();
    assert!(facts.fifo && !facts.content_deduplication);
    let messages: Vec<Outgoing> =
        (0..23).map(|n| in_group("Müller & Co", &format!("job {n}"), &n.to_string())).collect();
    assert_eq!(kinds(&queue.sqs.send(&queue.url, &messages).await), [None; 23]);
    let mut bodies = Vec::new();
    while bodies.len() < 23 {
        let received = queue.receive(1).await;
        let group = received[0].group.clone().unwrap();
        assert!(group.is_ascii(), "a group that SQS would refuse is stood for by another: {group}");
        let receipts: Vec<String> = received.iter().map(|one| one.receipt.clone()).collect();
        bodies.extend(received.into_iter().map(|one| one.body.parse::<usize>().unwrap()));
        assert!(queue.sqs.delete(&queue.url, &receipts).await.iter().all(Result::is_ok));
    }
    assert_eq!(bodies, (0..23).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_is_sent_twice_is_there_once() {
    let queue = Queue::with(".fifo", &[(Known::FifoQueue, "true")]).await;
    for _ in 0..2 {
        let sent = queue.sqs.send(&queue.url, &[in_group("acme", "job-1", "x")]).await;
        assert_eq!(kinds(&sent), [None]);
    }
    assert_eq!(queue.sqs.facts(&queue.url).await.unwrap().waiting, 1);
}

#[tokio::test]
async fn a_message_without_a_group_is_refused_alone() {
    let queue = Queue::with(".fifo", &[(Known::FifoQueue, "true")]).await;
    let messages =
        [in_group("acme", "1", "one"), message("no group"), in_group("acme", "3", "three")];
    let sent = queue.sqs.send(&queue.url, &messages).await;
    assert_eq!(kinds(&sent), [None, Some(Kind::Refused), None], "{sent:?}");
}

#[tokio::test]
async fn a_queue_may_find_doubles_by_content() {
    let attributes = [(Known::FifoQueue, "true"), (Known::ContentBasedDeduplication, "true")];
    let queue = Queue::with(".fifo", &attributes).await;
    assert!(queue.sqs.facts(&queue.url).await.unwrap().content_deduplication);
    let group = Outgoing { deduplication: None, ..in_group("acme", "", "same") };
    let sent = queue.sqs.send(&queue.url, &[group.clone(), group]).await;
    assert_eq!(kinds(&sent), [None, None]);
    assert_eq!(queue.sqs.facts(&queue.url).await.unwrap().waiting, 1);
}
