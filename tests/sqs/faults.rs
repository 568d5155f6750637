//! Every way in which SQS or the way to it fails, on every call: what kind it comes to, and that
//! nothing is asked twice. The table is printed (`--no-capture`).

use std::fmt::Write as _;

use quarrier::message_queue::{
    MessageQueue as _, QueueError, QueueErrorKind as Kind, QueueResult, ReceiveAsk,
};
use quarrier::sqs::{Sqs, SqsOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bed::{message, options, sdk, sqs_at};
use crate::server::{Reply, Seen, Server};

const URL: &str = "https://queues.example/123456789012/jobs";
const CALLS: [&str; 6] = ["url", "facts", "receive", "delete", "hide", "send"];

/// One call, with one entry where it takes several.
async fn call(sqs: &Sqs, name: &str) -> QueueResult<()> {
    let first = |answers: Vec<QueueResult<()>>| {
        assert_eq!(answers.len(), 1);
        answers.into_iter().next().unwrap()
    };
    let receipts = ["receipt".to_owned()];
    match name {
        "url" => sqs.url("jobs").await.map(drop),
        "facts" => sqs.facts(URL).await.map(drop),
        "receive" => {
            let url = URL.to_owned();
            let ask = ReceiveAsk { url, messages_max: 10, wait_s: 0, visibility_s: 30 };
            sqs.receive(&ask).await.map(drop)
        }
        "delete" => first(sqs.delete(URL, &receipts).await),
        "hide" => first(sqs.hide(URL, &receipts, 30).await),
        _ => {
            let sent = sqs.send(URL, &[message("body")]).await;
            first(sent.into_iter().map(|one| one.map(drop)).collect())
        }
    }
}

/// The SDK's variants with the codes that the service writes, their HTTP status and kind.
const ERRORS: &[(&str, &str, u16, Kind)] = &[
    ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400, Kind::Gone),
    ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", 400, Kind::Gone),
    ("InvalidAddress", "InvalidAddress", 404, Kind::Gone),
    ("InvalidSecurity", "InvalidSecurity", 403, Kind::Denied),
    ("AccessDeniedException", "AccessDenied", 403, Kind::Denied),
    ("InvalidClientTokenId", "InvalidClientTokenId", 403, Kind::Denied),
    ("SignatureDoesNotMatch", "SignatureDoesNotMatch", 403, Kind::Denied),
    ("ExpiredToken", "ExpiredToken", 403, Kind::Denied),
    ("KmsAccessDenied", "KMS.AccessDeniedException", 400, Kind::Denied),
    ("KmsDisabled", "KMS.DisabledException", 400, Kind::Denied),
    ("KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException", 400, Kind::Denied),
    ("KmsInvalidState", "KMS.InvalidStateException", 400, Kind::Denied),
    ("KmsNotFound", "KMS.NotFoundException", 400, Kind::Denied),
    ("KmsOptInRequired", "KMS.OptInRequired", 403, Kind::Denied),
    ("KmsThrottled", "KMS.ThrottlingException", 400, Kind::Throttled),
    ("RequestThrottled", "RequestThrottled", 403, Kind::Throttled),
    ("ThrottlingException", "Throttling", 400, Kind::Throttled),
    ("OverLimit", "OverLimit", 403, Kind::Full),
    ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404, Kind::Stale),
    ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400, Kind::Stale),
    ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400, Kind::TooLarge),
    ("InvalidMessageContents", "InvalidMessageContents", 400, Kind::Contents),
    ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400, Kind::Refused),
    ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400, Kind::Refused),
    ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400, Kind::Refused),
    ("InvalidAttributeName", "InvalidAttributeName", 400, Kind::Refused),
    ("MissingParameter", "MissingParameter", 400, Kind::Refused),
    ("SomethingNew", "SomethingNew", 400, Kind::Refused),
    ("InternalError", "InternalError", 500, Kind::Unreachable),
    ("ServiceUnavailable", "ServiceUnavailable", 503, Kind::Unreachable),
];

struct Row {
    fault: String,
    expected: Kind,
    ends: Vec<(QueueResult<()>, usize)>,
}

async fn row(fault: &str, expected: Kind, reply: Reply, options: &SqsOptions) -> Row {
    let mut ends = Vec::new();
    for name in CALLS {
        let server = Server::start(reply.clone()).await;
        let options = SqsOptions { endpoint: Some(server.endpoint.clone()), ..options.clone() };
        let sqs = Sqs::with_sdk_config(&sdk(), &options).unwrap();
        let end = call(&sqs, name).await;
        ends.push((end, server.asked()));
    }
    Row { fault: fault.to_owned(), expected, ends }
}

async fn rows() -> Vec<Row> {
    let usual = options("http://replaced");
    let short = SqsOptions { timeout_ms: 200, ..usual.clone() };
    let mut rows = Vec::new();
    for (variant, code, status, kind) in ERRORS {
        let reply = Reply::error(*status, variant, code, "some words");
        rows.push(row(&format!("{status} {code}"), *kind, reply, &usual).await);
        // Emulators send no header of the older code.
        let bare = json!({ "__type": variant, "message": "some words" }).to_string();
        let reply = Reply::whole(*status, &bare);
        rows.push(row(&format!("{status} {variant} (no header)"), *kind, reply, &usual).await);
    }
    for (status, kind) in [
        (401, Kind::Denied),
        (403, Kind::Denied),
        (413, Kind::TooLarge),
        (418, Kind::Refused),
        (429, Kind::Throttled),
        (502, Kind::Unreachable),
        (503, Kind::Unreachable),
    ] {
        let reply = Reply::whole(status, "<html>no JSON</html>");
        rows.push(row(&format!("{status} with a page"), kind, reply, &usual).await);
        rows.push(row(&format!("{status} empty"), kind, Reply::whole(status, ""), &usual).await);
    }
    let page = Reply::whole(200, "<html>no JSON</html>");
    rows.push(row("200 with a page", Kind::Unreachable, page, &usual).await);
    rows.push(row("cut in the answer", Kind::Unreachable, Reply::Cut, &usual).await);
    rows.push(row("silence", Kind::Unreachable, Reply::Silence, &short).await);
    rows
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the table is there to be read")]
async fn matrix() {
    let rows = rows().await;
    let mut table = String::from("fault                                              kind\n");
    let mut wrong = String::new();
    for Row { fault, expected, ends } in &rows {
        writeln!(table, "{fault:<50} {expected:?}").unwrap();
        for (name, (end, asked)) in CALLS.iter().zip(ends) {
            let kind = end.as_ref().err().map(|error| error.kind);
            if kind != Some(*expected) || *asked != 1 {
                writeln!(wrong, "{fault}, {name}: {end:?} after {asked} requests").unwrap();
            }
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn what_a_failure_says_names_the_queue_the_code_and_the_words() {
    let reply = Reply::error(403, "OverLimit", "OverLimit", "too many in flight");
    let server = Server::start(reply).await;
    let error = call(&sqs_at(&server.endpoint), "receive").await.unwrap_err();
    assert_eq!(error.message, format!("receive from {URL}: OverLimit: too many in flight"));
    let server = Server::start(Reply::whole(503, "")).await;
    let error = call(&sqs_at(&server.endpoint), "facts").await.unwrap_err();
    let begins = format!("read the attributes of {URL}: HTTP status 503: ");
    assert!(error.message.starts_with(&begins), "{error}");
}

async fn fails(endpoint: &str) -> QueueError {
    call(&sqs_at(endpoint), "send").await.unwrap_err()
}

#[tokio::test]
async fn a_service_that_nobody_reaches_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = fails(&endpoint).await;
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.message.contains("Connection refused"), "{error}");
    let error = fails("http://no-such-host.invalid").await;
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains("dns error"), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_cut_before_the_answer_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.readable().await.unwrap();
            drop(socket);
        }
    });
    let error = fails(&endpoint).await;
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(!error.message.contains("Request {"), "no dump of what was sent: {error}");
}

#[tokio::test]
async fn a_long_poll_may_take_its_wait_and_then_as_long_as_any_call() {
    let server = Server::start(Reply::Silence).await;
    let short = SqsOptions { timeout_ms: 100, ..options(&server.endpoint) };
    let sqs = Sqs::with_sdk_config(&sdk(), &short).unwrap();
    let url = URL.to_owned();
    let ask = ReceiveAsk { url, messages_max: 10, wait_s: 1, visibility_s: 30 };
    let error = sqs.receive(&ask).await.unwrap_err();
    assert_eq!(error.message, format!("receive from {URL}: no answer within 1100 ms"));
}

/// Entries of a batch fail with these codes, whoever's fault the service says it is.
#[tokio::test]
async fn an_entry_that_fails_alone_has_a_kind_of_its_own() {
    let table = [
        ("ReceiptHandleIsInvalid", true, "", Kind::Stale),
        ("AWS.SimpleQueueService.MessageNotInflight", true, "", Kind::Stale),
        ("InternalError", false, "", Kind::Unreachable),
        ("ServiceUnavailable", false, "", Kind::Unreachable),
        ("RequestThrottled", false, "", Kind::Throttled),
        ("KMS.ThrottlingException", false, "", Kind::Throttled),
        ("KmsAccessDenied", true, "", Kind::Denied),
        ("AccessDenied", true, "", Kind::Denied),
        ("OverLimit", true, "", Kind::Full),
        ("InvalidMessageContents", true, "", Kind::Contents),
        (
            "InvalidParameterValue",
            true,
            "for parameter VisibilityTimeout is invalid",
            Kind::Ceiling,
        ),
        ("InvalidParameterValue", true, "for parameter ReceiptHandle is invalid", Kind::Stale),
        ("InvalidParameterValue", true, "Message must be shorter than 1024", Kind::TooLarge),
        ("SomethingNew", true, "", Kind::Refused),
        ("SomethingNew", false, "", Kind::Unreachable),
        ("", false, "", Kind::Unreachable),
    ];
    for (code, sender, words, kind) in table {
        let failed = json!({ "Id": "0", "Code": code, "SenderFault": sender, "Message": words });
        let server = Server::start(Reply::json(&json!({ "Failed": [failed] }))).await;
        for name in ["delete", "hide", "send"] {
            let error = call(&sqs_at(&server.endpoint), name).await.unwrap_err();
            assert_eq!(error.kind, kind, "{name}, {code} {sender}: {error}");
        }
    }
}

/// The ids of a batch's entries.
pub(crate) fn ids(seen: &Seen) -> Vec<Value> {
    seen.body["Entries"].as_array().unwrap().iter().map(|entry| entry["Id"].clone()).collect()
}
