//! CountTokens, signatures and the head of InvokeModel's answers. Must not know: faults.

use aws_sdk_bedrockruntime::operation::count_tokens::CountTokensError;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::{
    ConverseTokensRequest, CountTokensInput, InvokeModelTokensRequest, SystemContentBlock,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const BASE: &str = "anthropic.claude-sonnet-4-5-20250929-v1:0";

fn refused(error: SdkError<CountTokensError>) -> (u16, String) {
    let status = error.raw_response().unwrap().status().as_u16();
    (status, error.into_service_error().message().unwrap_or_default().to_owned())
}

fn claude_body() -> String {
    let body = json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 40, "system": "Be brief.",
        "messages": [{ "role": "user", "content": "What is a quarry?" }],
    });
    body.to_string()
}

#[tokio::test]
async fn counted_tokens_are_those_that_the_call_is_charged_for() {
    let (simulator, client) =
        simulator(SimulatorOptions { requests_per_minute: Some(1), ..SimulatorOptions::default() })
            .await;
    let system = SystemContentBlock::Text("Be brief.".to_owned());
    let message = user("What is a quarry?");
    let converse =
        ConverseTokensRequest::builder().system(system.clone()).messages(message.clone());
    let invoke = InvokeModelTokensRequest::builder().body(Blob::new(claude_body())).build();
    let mut counted = Vec::new();
    for input in [
        CountTokensInput::Converse(converse.build()),
        CountTokensInput::InvokeModel(invoke.unwrap()),
    ] {
        let call = client.count_tokens().model_id(BASE).input(input);
        counted.push(call.send().await.unwrap().input_tokens());
    }
    let call = client.converse().model_id(MODEL).system(system).messages(message);
    let charged = call.send().await.unwrap().usage().unwrap().input_tokens();
    assert_eq!(counted, [charged, charged]);
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!((logged.api.as_str(), logged.outcome), ("count-tokens", Outcome::Counted));
    assert_eq!(i32::try_from(logged.input_tokens), Ok(charged));
    assert_eq!((logged.admitted, logged.billed), (false, 0));
    let summary = simulator.summary();
    assert_eq!((summary.calls, summary.admitted, summary.token_counts), (1, 1, 2));
    assert_eq!(summary.outcomes.values().sum::<u64>(), 1);
}

#[tokio::test]
async fn tokens_are_counted_for_base_ids_of_models_that_can() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let invalid = "The provided model identifier is invalid.";
    let unable = "The provided model doesn't support counting tokens.";
    for (model, expected) in [
        (MODEL, invalid),
        ("anthropic.claude-opus-4-7", unable),
        ("meta.llama3-1-8b-instruct-v1:0", unable),
        ("amazon.nova-lite-v1:0", unable),
        (&format!("arn:aws:bedrock:us-east-1::foundation-model/{BASE}"), invalid),
    ] {
        let converse = ConverseTokensRequest::builder().messages(user("Hello.")).build();
        let call = client.count_tokens().model_id(model);
        let call = call.input(CountTokensInput::Converse(converse));
        let (status, message) = refused(call.send().await.unwrap_err());
        assert_eq!((status, message.as_str()), (400, expected), "{model}");
    }
    let wrong = InvokeModelTokensRequest::builder().body(Blob::new("{}")).build().unwrap();
    let call = client.count_tokens().model_id(BASE).input(CountTokensInput::InvokeModel(wrong));
    let (status, message) = refused(call.send().await.unwrap_err());
    assert_eq!(status, 400);
    assert!(message.contains("max_tokens: Field required"), "{message}");
    let summary = simulator.summary();
    assert_eq!((summary.calls, summary.token_counts), (0, 6));
}

/// One HTTP request without the SDK: the head that came back.
async fn head(simulator: &Simulator, path: &str, headers: &str) -> String {
    let mut connection = tokio::net::TcpStream::connect(simulator.address()).await.unwrap();
    let body = claude_body();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\n{headers}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    connection.read_to_end(&mut got).await.unwrap();
    let got = String::from_utf8_lossy(&got);
    got.split("\r\n\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_head_of_an_answer_counts_its_tokens_and_names_its_kind() {
    let slow = Latency { first_token_ms: 3, per_token_us: 0, spread_percent: 0 };
    let slow = SimulatorOptions { latency: slow, ..SimulatorOptions::default() };
    let (simulator, _client) = simulator(slow).await;
    let bearer = "authorization: Bearer key\r\ncontent-type: application/json; charset=utf-8\r\n";
    let path = format!("/model/{}/invoke", MODEL.replace(':', "%3A"));
    let whole = head(&simulator, &path, bearer).await;
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    for line in [
        format!("x-amzn-bedrock-input-token-count: {}", logged.input_tokens),
        format!("x-amzn-bedrock-output-token-count: {}", logged.output_tokens.unwrap()),
        "x-amzn-bedrock-invocation-latency: 3".to_owned(),
        "content-type: application/json".to_owned(),
        "x-quarrier-simulated: true".to_owned(),
    ] {
        assert!(whole.contains(&line), "{line}: {whole}");
    }
    let streamed = head(&simulator, &format!("{path}-with-response-stream"), bearer).await;
    assert!(streamed.contains("content-type: application/vnd.amazon.eventstream"), "{streamed}");
    assert!(streamed.contains("x-amzn-bedrock-content-type: application/json"), "{streamed}");
    let converse = head(&simulator, &path.replace("/invoke", "/converse"), bearer).await;
    assert!(!converse.contains("token-count"), "{converse}");
}

#[tokio::test]
async fn a_signature_of_another_service_is_refused() {
    let (simulator, _client) = simulator(SimulatorOptions::default()).await;
    let path = format!("/model/{MODEL}/invoke");
    for (headers, status, code) in [
        ("", 403, "MissingAuthenticationTokenException"),
        ("authorization: Bearer \r\n", 403, "AccessDeniedException"),
        ("authorization: AWS4-HMAC-SHA256 nothing\r\n", 400, "IncompleteSignatureException"),
        (
            "x-amz-date: 20261122T000000Z\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=A/20261122/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0\r\n",
            403,
            "InvalidSignatureException",
        ),
    ] {
        let head = head(&simulator, &path, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(head.contains(&format!("x-amzn-errortype: {code}")), "{head}");
    }
    assert_eq!(simulator.summary().admitted, 0);
}
