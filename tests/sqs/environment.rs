//! Where region, credentials and address come from.

use std::process::Command;

use quarrier::message_queue::{MessageQueue as _, QueueErrorKind as Kind};
use quarrier::sqs::{ConnectError, Sqs, SqsOptions};
use serde_json::json;

use crate::server::{Reply, Server};

/// The chain reads the process's environment, so these run in a process of their own: this test
/// binary again, told to run one test, with nothing but the environment that the test names.
fn in_a_process_with(variables: &[(&str, &str)], test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env("QUARRIER_TEST_CHILD", "1")
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
}

fn is_child() -> bool {
    std::env::var_os("QUARRIER_TEST_CHILD").is_some()
}

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];

async fn found(endpoint: Option<String>) -> String {
    let sqs = Sqs::connect(&SqsOptions { endpoint, ..SqsOptions::default() }).await.unwrap();
    sqs.url("jobs").await.unwrap()
}

async fn server(url: &str) -> Server {
    Server::start(Reply::json(&json!({ "QueueUrl": url }))).await
}

#[tokio::test]
async fn the_environment_names_region_credentials_and_address() {
    if is_child() {
        assert_eq!(found(None).await, "https://of-sqs/q");
        return;
    }
    let (of_sqs, of_all) = (server("https://of-sqs/q").await, server("https://of-all/q").await);
    let test = "environment::the_environment_names_region_credentials_and_address";
    let region = ("AWS_REGION", "eu-north-1");
    let mut variables =
        [KEYS.as_slice(), &[region, ("AWS_ENDPOINT_URL", &of_all.endpoint)]].concat();
    variables.push(("AWS_ENDPOINT_URL_SQS", &of_sqs.endpoint));
    let run = tokio::task::spawn_blocking({
        let variables: Vec<(String, String)> =
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        move || {
            let variables: Vec<(&str, &str)> =
                variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            in_a_process_with(&variables, test);
        }
    });
    run.await.unwrap();
    assert_eq!((of_sqs.asked(), of_all.asked()), (1, 0));
    assert_eq!(of_sqs.seen()[0].region, "eu-north-1");
}

#[test]
fn without_credentials_nothing_is_sent_and_a_person_must_act() {
    let test = "environment::without_credentials_nothing_is_sent_and_a_person_must_act";
    if !is_child() {
        return in_a_process_with(&[("AWS_REGION", "eu-north-1")], test);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = server("https://host/q").await;
        let endpoint = Some(server.endpoint.clone());
        let sqs = Sqs::connect(&SqsOptions { endpoint, ..SqsOptions::default() }).await.unwrap();
        let error = sqs.url("jobs").await.unwrap_err();
        assert_eq!((error.kind, server.asked()), (Kind::Denied, 0), "{error}");
        assert!(error.message.contains("credentials"), "{error}");
    });
}

#[test]
fn an_endpoint_that_is_configured_is_stronger_than_the_environments() {
    let test = "environment::an_endpoint_that_is_configured_is_stronger_than_the_environments";
    if !is_child() {
        let mut variables = KEYS.to_vec();
        variables.push(("AWS_REGION", "eu-north-1"));
        variables.push(("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9"));
        return in_a_process_with(&variables, test);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = server("https://host/q").await;
        assert_eq!(found(Some(server.endpoint.clone())).await, "https://host/q");
    });
}

#[test]
fn without_a_region_a_queue_whose_url_names_none_is_refused_in_words() {
    let test = "environment::without_a_region_a_queue_whose_url_names_none_is_refused_in_words";
    if !is_child() {
        return in_a_process_with(&KEYS, test);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sqs = Sqs::connect(&SqsOptions::default()).await.unwrap();
        let error = sqs.url("jobs").await.unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert!(error.message.contains("AWS_REGION"), "it says the way out: {error}");
    });
}

/// `bucket.localhost` is no host that every machine knows.
#[cfg(feature = "s3")]
#[tokio::test]
async fn a_bucket_stands_in_the_path_where_s3_alone_has_another_address() {
    use quarrier::message_queue::LargeBodies as _;
    use quarrier::sqs::s3::S3Bodies;

    if is_child() {
        let bodies = S3Bodies::connect(&SqsOptions::default(), "bucket").await.unwrap();
        assert_eq!(bodies.put("key", "body").await, Ok("bucket".to_owned()));
        return;
    }
    let server = Server::start(Reply::whole(200, "")).await;
    let address = server.endpoint.replace("127.0.0.1", "localhost");
    let test = "environment::a_bucket_stands_in_the_path_where_s3_alone_has_another_address";
    let run = tokio::task::spawn_blocking(move || {
        let others = [("AWS_REGION", "eu-north-1"), ("AWS_ENDPOINT_URL_S3", address.as_str())];
        in_a_process_with(&[KEYS.as_slice(), &others].concat(), test);
    });
    run.await.unwrap();
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_no_address_is_refused_at_once() {
    for endpoint in ["localhost:4566", "", "ftp://host", "http://"] {
        let options = SqsOptions { endpoint: Some(endpoint.to_owned()), ..SqsOptions::default() };
        let error = Sqs::connect(&options).await.unwrap_err();
        assert_eq!(error, ConnectError::Endpoint(endpoint.to_owned()));
    }
}
