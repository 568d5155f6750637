//! Answers that are not what was asked for, and batches that one entry spoils.

use quarrier::message_queue::{MessageQueue as _, Outgoing, QueueErrorKind as Kind, ReceiveAsk};
use serde_json::{Value, json};

use crate::bed::{kinds, message, sqs_at};
use crate::faults::ids;
use crate::server::{Reply, Seen, Server};

const URL: &str = "https://queues.example/123456789012/jobs";

fn ask() -> ReceiveAsk {
    ReceiveAsk { url: URL.to_owned(), messages_max: 7, wait_s: 0, visibility_s: 120 }
}

/// Accepts every entry.
fn accept(seen: &Seen) -> Reply {
    let done = |id: Value| json!({ "Id": id, "MessageId": "m", "MD5OfMessageBody": "x" });
    let done: Vec<Value> = ids(seen).into_iter().map(done).collect();
    Reply::json(&json!({ "Successful": done }))
}

#[tokio::test]
async fn an_entry_that_the_answer_does_not_name_may_have_been_done_or_not() {
    let server = Server::with(|_| Reply::json(&json!({ "Successful": [{ "Id": "1" }] }))).await;
    let sqs = sqs_at(&server.endpoint);
    let receipts = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let expected = [Some(Kind::Unreachable), None, Some(Kind::Unreachable)];
    assert_eq!(kinds(&sqs.delete(URL, &receipts).await), expected);
    assert_eq!(kinds(&sqs.hide(URL, &receipts, 30).await), expected);
    let sent = sqs.send(URL, &[message("a"), message("b"), message("c")]).await;
    assert_eq!(kinds(&sent), expected);
}

#[tokio::test]
async fn entries_that_nobody_sent_are_passed_over() {
    let failed = json!({ "Id": "7", "Code": "InternalError", "SenderFault": false });
    let done =
        json!([{ "Id": "0" }, { "Id": "-1" }, { "Id": "" }, { "Id": "99999999999999999999" }]);
    let answer = json!({ "Successful": done, "Failed": [failed] });
    let server = Server::start(Reply::json(&answer)).await;
    let deleted = sqs_at(&server.endpoint).delete(URL, &["a".to_owned()]).await;
    assert_eq!(deleted, [Ok(())]);
}

#[tokio::test]
async fn one_entry_that_the_service_refuses_does_not_take_the_others_with_it() {
    let server = Server::with(|seen| {
        if seen.body.to_string().contains("poison") {
            let code = "InvalidMessageContents";
            return Reply::error(400, code, code, "characters that are not allowed");
        }
        accept(seen)
    })
    .await;
    let sent = sqs_at(&server.endpoint)
        .send(URL, &[message("one"), message("poison"), message("three")])
        .await;
    assert_eq!(kinds(&sent), [None, Some(Kind::Contents), None]);
    assert_eq!(server.asked(), 4, "the batch, and each alone");
}

#[tokio::test]
async fn a_receipt_at_its_ceiling_does_not_take_the_others_with_it() {
    let server = Server::with(|seen| {
        if seen.body.to_string().contains("old") {
            let words = "Value 120 for parameter VisibilityTimeout is invalid. Reason: Total \
                         VisibilityTimeout for the message is beyond the limit [43200 seconds]";
            return Reply::error(400, "InvalidParameterValue", "InvalidParameterValue", words);
        }
        accept(seen)
    })
    .await;
    let receipts = ["new".to_owned(), "old".to_owned()];
    let hidden = sqs_at(&server.endpoint).hide(URL, &receipts, 120).await;
    assert_eq!(kinds(&hidden), [None, Some(Kind::Ceiling)]);
}

#[tokio::test]
async fn a_batch_that_cannot_be_sent_now_is_not_taken_apart() {
    for (code, kind) in [("RequestThrottled", Kind::Throttled), ("OverLimit", Kind::Full)] {
        let server = Server::start(Reply::error(403, code, code, "later")).await;
        let sent = sqs_at(&server.endpoint).send(URL, &[message("one"), message("two")]).await;
        assert_eq!((kinds(&sent), server.asked()), (vec![Some(kind), Some(kind)], 1));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_at_all_is_refused_without_a_request() {
    let server = Server::with(accept).await;
    let sqs = sqs_at(&server.endpoint);
    let long = message(&"x".repeat((1 << 20) + 1));
    let sent = sqs.send(URL, &[message(""), message("nul\0"), long]).await;
    let (contents, large) = (Some(Kind::Contents), Some(Kind::TooLarge));
    assert_eq!((kinds(&sent), server.asked()), (vec![contents, contents, large], 0));
}

#[tokio::test]
async fn a_message_that_lacks_something_is_an_error_in_words() {
    let whole = json!({ "MessageId": "m", "ReceiptHandle": "r", "Body": "b" });
    for (field, what) in
        [("MessageId", "id"), ("ReceiptHandle", "receipt handle"), ("Body", "body")]
    {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(field);
        let answer = json!({ "Messages": [whole, lacking] });
        let server = Server::start(Reply::json(&answer)).await;
        let error = sqs_at(&server.endpoint).receive(&ask()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable);
        let ends = format!("a received message has no {what}");
        assert!(error.message.ends_with(&ends), "{error}");
    }
}

#[tokio::test]
async fn a_message_that_says_nothing_of_itself_is_received_once() {
    let attributes = json!({ "ApproximateReceiveCount": "many", "SentTimestamp": "" });
    let message =
        json!({ "MessageId": "m", "ReceiptHandle": "r", "Body": "b", "Attributes": attributes });
    let server = Server::start(Reply::json(&json!({ "Messages": [message] }))).await;
    let received = sqs_at(&server.endpoint).receive(&ask()).await.unwrap();
    assert_eq!((received[0].receives, received[0].sent_at), (1, None));
    let server = Server::start(Reply::json(&json!({}))).await;
    assert_eq!(sqs_at(&server.endpoint).receive(&ask()).await, Ok(vec![]));
}

#[tokio::test]
async fn a_receive_asks_for_everything_that_the_service_knows_of_a_message() {
    let server = Server::start(Reply::json(&json!({}))).await;
    sqs_at(&server.endpoint).receive(&ask()).await.unwrap();
    let seen = server.seen().remove(0);
    assert_eq!(seen.target, "AmazonSQS.ReceiveMessage");
    let expected = json!({
        "QueueUrl": URL, "MaxNumberOfMessages": 7, "WaitTimeSeconds": 0, "VisibilityTimeout": 120,
        "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"],
    });
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn a_message_is_sent_with_its_group_its_deduplication_and_its_trace() {
    let server = Server::with(accept).await;
    let outgoing = Outgoing {
        group: Some("acme".to_owned()),
        deduplication: Some("two words".to_owned()),
        trace: Some("Root=1-2-3".to_owned()),
        ..message("body")
    };
    let sent = sqs_at(&server.endpoint).send(URL, &[outgoing]).await;
    assert_eq!(sent, [Ok("m".to_owned())]);
    let entry = server.seen().remove(0).body["Entries"][0].clone();
    assert_eq!(entry["MessageGroupId"], "acme");
    let deduplication = entry["MessageDeduplicationId"].as_str().unwrap();
    assert!(deduplication.len() == 64 && deduplication.is_ascii(), "{deduplication}");
    let trace = &entry["MessageSystemAttributes"]["AWSTraceHeader"];
    assert_eq!(*trace, json!({ "DataType": "String", "StringValue": "Root=1-2-3" }));
}

#[tokio::test]
async fn a_queue_of_another_region_is_asked_with_that_regions_signature() {
    // Its signature names the region; the body alone would not tell.
    let server =
        Server::with(|seen| Reply::whole(if seen.region == "eu-west-1" { 200 } else { 403 }, "{}"))
            .await;
    let sqs = sqs_at(&server.endpoint);
    let there = ReceiveAsk { url: "https://sqs.eu-west-1.amazonaws.com/1/q".to_owned(), ..ask() };
    assert_eq!(sqs.receive(&there).await, Ok(vec![]));
    assert_eq!(sqs.receive(&ask()).await.unwrap_err().kind, Kind::Denied);
}
