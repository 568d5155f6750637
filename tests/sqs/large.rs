//! Bodies in a bucket, on the emulator's S3.

use aws_sdk_s3::Client;
use quarrier::message_queue::{LargeBodies as _, QueueErrorKind as Kind};
use quarrier::sqs::s3::S3Bodies;
use uuid::Uuid;

use crate::bed::{emulator, options, sdk};
use crate::server::{Reply, Server};

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_s3::config::Builder::from(&sdk()).endpoint_url(endpoint);
    Client::from_conf(config.force_path_style(true).build())
}

async fn text_of(client: &Client, bucket: &str, key: &str) -> String {
    let object = client.get_object().bucket(bucket).key(key).send().await.unwrap();
    String::from_utf8(object.body.collect().await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_body_is_stored_under_its_key_and_over_what_was_there() {
    let (endpoint, bucket) = (emulator(), format!("bodies-{}", Uuid::now_v7().simple()));
    let client = client(&endpoint);
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    let bodies = S3Bodies::with_sdk_config(&sdk(), &options(&endpoint), &bucket).unwrap();
    let long = "é".repeat(1 << 20);
    for body in ["first", long.as_str()] {
        assert_eq!(bodies.put("results/one two.json", body).await, Ok(bucket.clone()));
        assert_eq!(text_of(&client, &bucket, "results/one two.json").await, body);
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_gone() {
    let bodies = S3Bodies::with_sdk_config(&sdk(), &options(&emulator()), "no-such-bucket");
    let error = bodies.unwrap().put("key", "body").await.unwrap_err();
    assert_eq!(error.kind, Kind::Gone, "{error}");
}

#[tokio::test]
async fn a_bucket_that_refuses_or_slows_down_says_so_at_once() {
    let xml = |code: &str| format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    let table = [
        (403, xml("AccessDenied"), Kind::Denied),
        (503, xml("SlowDown"), Kind::Throttled),
        (500, xml("InternalError"), Kind::Unreachable),
        (503, String::new(), Kind::Unreachable),
    ];
    for (status, body, kind) in table {
        let server = Server::start(Reply::whole(status, &body)).await;
        let options = options(&server.endpoint);
        let bodies = S3Bodies::with_sdk_config(&sdk(), &options, "bucket").unwrap();
        let error = bodies.put("key", "body").await.unwrap_err();
        assert_eq!((error.kind, server.asked()), (kind, 1), "{status} {body}: {error}");
    }
}
