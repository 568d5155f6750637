//! Throttles, refusals, the call log and the reports. Must not know: what answers look like.

use super::*;

#[tokio::test]
async fn used_up_requests_and_tokens_throttle_with_the_services_texts() {
    let few_requests =
        SimulatorOptions { requests_per_minute: Some(1), ..SimulatorOptions::default() };
    let few_tokens =
        SimulatorOptions { tokens_per_minute: Some(1_100), ..SimulatorOptions::default() };
    for (options, word) in [(few_requests, "requests"), (few_tokens, "tokens")] {
        let (simulator, client) = simulator(options).await;
        let ask = || {
            let call = client.converse().model_id(MODEL).messages(user("Hello."));
            call.inference_config(limits(1_000)).send()
        };
        ask().await.unwrap();
        let error = ask().await.unwrap_err();
        assert!(error.as_service_error().unwrap().is_throttling_exception());
        let (status, code, text) = refusal(Err(error));
        assert_eq!((status, code.as_str()), (429, "ThrottlingException"));
        assert_eq!(text, format!("Too many {word}, please wait before trying again."));
        let summary = simulator.summary();
        assert_eq!((summary.calls, summary.admitted, summary.throttled), (2, 1, 1));
        assert_eq!(summary.worst_window_requests, 1);
    }
}

#[tokio::test]
async fn a_settled_call_gives_back_what_it_did_not_use() {
    let options =
        SimulatorOptions { tokens_per_minute: Some(20_000), ..SimulatorOptions::default() };
    let (simulator, client) = simulator(options).await;
    // Each reserves a little more than half the quota, and uses far less.
    for number in 0..5 {
        let call = client.converse().model_id(MODEL).messages(user(&format!("Hello {number}")));
        call.inference_config(limits(10_001)).send().await.unwrap();
    }
    let summary = simulator.summary();
    assert_eq!((summary.admitted, summary.throttled), (5, 0));
    assert!(summary.worst_window_tokens_at_admission <= 20_000);
}

#[tokio::test]
async fn requests_that_the_service_refuses_are_refused_in_its_words() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = |message: Message| client.converse().model_id(MODEL).messages(message);
    let assistant = turn(ConversationRole::Assistant, "I begin.");
    for (result, expected) in [
        (call(assistant).send().await, "A conversation must start with a user message."),
        (call(user(" ")).send().await, "is blank"),
        (call(user("a")).messages(user("b")).send().await, "must alternate"),
        (call(user("a")).inference_config(limits(0)).send().await, "greater than or equal to 1"),
        (
            client.converse().model_id("no-such-model").messages(user("a")).send().await,
            "The provided model identifier is invalid.",
        ),
    ] {
        let (status, code, text) = refusal(result);
        assert_eq!((status, code.as_str()), (400, "ValidationException"));
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(simulator.summary().outcomes.get("refused"), Some(&5));
    assert_eq!(simulator.summary().worst_window_requests, 0);
}

#[tokio::test]
async fn an_arn_with_slashes_reaches_its_model() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{MODEL}");
    client.converse().model_id(&arn).messages(user("Hello.")).send().await.unwrap();
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!(logged.model_id, arn);
    let output_tokens = logged.output_tokens.unwrap();
    assert_eq!(logged.settled, Some(logged.input_tokens + 5 * output_tokens));
}

/// One plain HTTP request, without the SDK; the status line, the head and the body that came back.
pub(crate) async fn plain(simulator: &Simulator, request: &str, body: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut connection = tokio::net::TcpStream::connect(simulator.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut got = String::new();
    connection.read_to_string(&mut got).await.unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn an_unsigned_request_is_refused_and_every_answer_is_labelled() {
    let (simulator, _client) = simulator(SimulatorOptions::default()).await;
    let (head, body) = plain(&simulator, &format!("POST /model/{MODEL}/converse"), "{}").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(head.contains("x-amzn-errortype: MissingAuthenticationTokenException"), "{head}");
    assert!(body.contains("Missing Authentication Token"));
    for request in
        ["POST /model/x/no-such-operation", "GET /calls", "GET /summary", "GET /healthz", "GET /"]
    {
        let (head, _) = plain(&simulator, request, "").await;
        assert!(head.contains("x-quarrier-simulated: true"), "{head}");
        assert!(head.contains("x-amzn-requestid: "), "{head}");
    }
}

#[tokio::test]
async fn the_call_log_can_be_asked_by_job_and_by_number() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    for job in ["a", "b", "a"] {
        let call = client.converse().model_id(MODEL).messages(user("Hello."));
        call.request_metadata("job_id", job).send().await.unwrap();
    }
    let mut counts = Vec::new();
    for query in ["", "?job_id=a", "?since=2", "?job_id=a&since=1", "?job_id=c"] {
        let (_, body) = plain(&simulator, &format!("GET /calls{query}"), "").await;
        let report: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(report["simulated"], true);
        counts.push(report["calls"].as_array().unwrap().len());
    }
    assert_eq!(counts, [3, 2, 1, 1, 0]);
    let (_, body) = plain(&simulator, "GET /summary", "").await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["calls"], 3);
    assert_eq!(report["outcomes"]["admitted"], 3);
}

#[tokio::test]
async fn the_call_log_is_bounded_and_keeps_the_newest() {
    let small = SimulatorOptions { call_log_max: 2, ..SimulatorOptions::default() };
    let (simulator, client) = simulator(small).await;
    for _ in 0..5 {
        client.converse().model_id(MODEL).messages(user("Hello.")).send().await.unwrap();
    }
    let kept: Vec<u64> = simulator.calls().iter().map(|call| call.seq).collect();
    assert_eq!(kept, [4, 5]);
    assert_eq!(simulator.summary().calls, 5);
}

#[tokio::test]
async fn each_model_may_have_the_quota_for_itself() {
    let options = SimulatorOptions {
        requests_per_minute: Some(1),
        quota_scope: quarrier::simulator::QuotaScope::Model,
        ..SimulatorOptions::default()
    };
    let (simulator, client) = simulator(options).await;
    for model in [MODEL, "amazon.nova-lite-v1:0", MODEL] {
        let call = client.converse().model_id(model).messages(user("Hello."));
        drop(call.send().await);
    }
    let summary = simulator.summary();
    assert_eq!((summary.admitted, summary.throttled), (2, 1));
}
