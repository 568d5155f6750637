//! Messages and batches that are as large as a queue takes, or larger.

use aws_sdk_sqs::types::QueueAttributeName as Known;
use quarrier::message_queue::{Attribute, MessageQueue as _, QueueErrorKind as Kind};

use crate::bed::{Queue, kinds, message};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_batch_that_would_be_too_large_goes_in_several() {
    let queue = Queue::new().await;
    let large = message(&"x".repeat(400 * 1024));
    let messages = [large.clone(), large.clone(), message("small"), large];
    assert_eq!(kinds(&queue.sqs.send(&queue.url, &messages).await), [None; 4]);
    assert_eq!(queue.sqs.facts(&queue.url).await.unwrap().waiting, 4);
}

#[tokio::test]
async fn a_message_may_have_one_mebibyte_with_its_attributes_and_no_byte_more() {
    let queue = Queue::new().await;
    let mut full = message(&"x".repeat(MIB - 13));
    full.attributes.insert("size".to_owned(), Attribute::Number(100));
    let mut over = full.clone();
    over.body.push('x');
    let sent = queue.sqs.send(&queue.url, &[message("before"), over, full, message("after")]).await;
    assert_eq!(kinds(&sent), [None, Some(Kind::TooLarge), None, None], "{sent:?}");
    assert_eq!(queue.sqs.facts(&queue.url).await.unwrap().waiting, 3);
}

#[tokio::test]
async fn a_queue_with_a_smaller_limit_refuses_only_what_is_larger() {
    let queue = Queue::with("", &[(Known::MaximumMessageSize, "1024")]).await;
    let messages = [message("small"), message(&"x".repeat(2_000)), message("small, too")];
    let expected = [None, Some(Kind::TooLarge), None];
    // First by the service's own words, then by what the queue has said of itself.
    assert_eq!(kinds(&queue.sqs.send(&queue.url, &messages).await), expected);
    assert_eq!(queue.sqs.facts(&queue.url).await.unwrap().message_bytes_max, 1_024);
    let sent = queue.sqs.send(&queue.url, &messages).await;
    assert_eq!(kinds(&sent), expected);
    let message = &sent[1].as_ref().unwrap_err().message;
    assert!(message.ends_with("2000 bytes are more than 1024"), "{message}");
}
