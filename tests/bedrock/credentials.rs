//! Where region, credentials and address come from.

use std::process::Command;

use quarrier::error::ErrorKind;
use quarrier::provider::bedrock::{Bedrock, BedrockOptions, ConnectError};
use quarrier::provider::{FailedCharge, Provider as _};

use crate::request;
use crate::server::{Reply, Server, happy};

#[tokio::test]
async fn simulated_credentials_never_travel_to_the_real_service() {
    let options = BedrockOptions { simulated_credentials: true, ..BedrockOptions::default() };
    let error = Bedrock::connect(&options).await.unwrap_err();
    assert_eq!(error, ConnectError::SimulatedWithoutEndpoint);
}

#[tokio::test]
async fn the_lane_prefix_names_the_region() {
    let options = BedrockOptions {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        simulated_credentials: true,
        ..BedrockOptions::default()
    };
    let provider = Bedrock::connect(&options).await.unwrap();
    assert_eq!(provider.lane_prefix(), "bedrock/eu-central-1");
}

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

async fn connect_by_environment(endpoint: Option<String>) -> Result<Bedrock, ConnectError> {
    Bedrock::connect(&BedrockOptions { endpoint, ..BedrockOptions::default() }).await
}

#[test]
fn an_api_key_in_the_environment_is_the_bearer_token() {
    let variables = [("AWS_BEARER_TOKEN_BEDROCK", "key-1"), ("AWS_REGION", "us-west-2")];
    in_a_process_with(&variables, "credentials::child_sends_the_api_key");
}

#[tokio::test]
async fn child_sends_the_api_key() {
    if !is_child() {
        return;
    }
    let server = Server::start(Reply::Stream(happy())).await;
    let provider = connect_by_environment(Some(server.endpoint.clone())).await.unwrap();
    provider.check_credentials().await.unwrap();
    provider.generate(&request()).await.unwrap();
    assert_eq!(server.last().headers["authorization"], "Bearer key-1");
    assert_eq!(provider.lane_prefix(), "bedrock/us-west-2");
}

#[test]
fn keys_and_endpoint_in_the_environment_are_honoured() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9"),
    ];
    in_a_process_with(&variables, "credentials::child_signs_with_the_environments_keys");
}

#[tokio::test]
async fn child_signs_with_the_environments_keys() {
    if !is_child() {
        return;
    }
    let server = Server::start(Reply::Stream(happy())).await;
    let provider = connect_by_environment(Some(server.endpoint.clone())).await.unwrap();
    provider.check_credentials().await.unwrap();
    provider.generate(&request()).await.unwrap();
    let signature = server.last().headers["authorization"].to_str().unwrap().to_owned();
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signature}");
    assert!(signature.contains("/eu-west-1/bedrock/aws4_request"), "{signature}");
    // Without an endpoint of our own the environment's holds, where nobody listens.
    let provider = connect_by_environment(None).await.unwrap();
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ConnectFailed);
}

#[test]
fn a_proxy_that_cannot_be_reached_gives_the_whole_reservation_back() {
    let variables = [
        ("AWS_BEARER_TOKEN_BEDROCK", "key-1"),
        ("AWS_REGION", "us-west-2"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ];
    in_a_process_with(&variables, "credentials::child_goes_through_a_proxy");
}

#[tokio::test]
async fn child_goes_through_a_proxy() {
    if !is_child() {
        return;
    }
    let provider = connect_by_environment(None).await.unwrap();
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
    let begins = "no connection to https://bedrock-runtime.us-west-2.amazonaws.com: ";
    assert!(error.message.starts_with(begins), "{}", error.message);
    assert!(error.message.contains("proxy"), "{}", error.message);
}

#[test]
fn missing_credentials_are_told_from_a_missing_network() {
    in_a_process_with(&[("AWS_REGION", "us-east-1")], "credentials::child_has_no_credentials");
}

#[tokio::test]
async fn child_has_no_credentials() {
    if !is_child() {
        return;
    }
    let server = Server::start(Reply::Stream(happy())).await;
    let provider = connect_by_environment(Some(server.endpoint.clone())).await.unwrap();
    assert_eq!(provider.check_credentials().await.unwrap_err().kind, ErrorKind::Credentials);
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::Credentials, FailedCharge::NotSent));
    assert!(error.message.contains("no credentials found in chain"), "{}", error.message);
    assert!(server.seen.lock().unwrap().is_empty());
}

#[test]
fn a_missing_region_is_told_at_the_start() {
    in_a_process_with(&[], "credentials::child_has_no_region");
}

#[tokio::test]
async fn child_has_no_region() {
    if !is_child() {
        return;
    }
    assert_eq!(connect_by_environment(None).await.unwrap_err(), ConnectError::NoRegion);
}
