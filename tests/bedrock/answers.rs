//! What is sent, and what comes of an answer that runs to its end.

use std::sync::atomic::Ordering;

use quarrier::catalogue::Family;
use quarrier::completion::{StopReason, Usage};
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{GenerateRequest, Provider as _};
use serde_json::json;

use crate::server::{Reply, Server, Step, event, happy, metadata, start, stop, text};
use crate::{ask, request, usage, whole_request};

#[tokio::test]
async fn a_streamed_answer_comes_back_whole_with_its_usage() {
    let answer = ask(Reply::Stream(happy()), request()).await.unwrap();
    assert_eq!(answer.text, "Hello, world");
    assert_eq!(answer.stop, StopReason::EndTurn);
    assert_eq!(answer.usage, usage());
    assert_eq!(answer.request_id.as_deref(), Some("req-1"));
    assert!(answer.first_token_ms.unwrap() <= answer.total_ms);
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_comes_back_whole_with_its_usage() {
    let body = json!({
        "output": { "message": { "role": "assistant", "content": [
            { "reasoningContent": { "reasoningText": { "text": "hm" } } },
            { "text": "Hello, " }, { "text": "world" }
        ] } },
        "stopReason": "stop_sequence",
        "usage": { "inputTokens": 11, "outputTokens": 7, "totalTokens": 21,
                   "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1 },
        "metrics": { "latencyMs": 5 }
    });
    let server = Server::start(Reply::Whole(200, vec![], body.to_string())).await;
    let answer = server.provider().await.generate(&whole_request()).await.unwrap();
    assert_eq!(answer.text, "Hello, world");
    assert_eq!(answer.stop, StopReason::StopSequence);
    assert_eq!(answer.usage, usage());
    assert_eq!(answer.request_id.as_deref(), Some("req-1"));
    assert_eq!(answer.first_token_ms, None);
    assert!(server.last().path.ends_with("/converse"));
}

#[tokio::test]
async fn every_stop_reason_has_its_meaning() {
    let table = [
        ("end_turn", StopReason::EndTurn),
        ("stop_sequence", StopReason::StopSequence),
        ("max_tokens", StopReason::MaxTokens),
        ("model_context_window_exceeded", StopReason::MaxTokens),
        ("content_filtered", StopReason::ContentFiltered),
        ("guardrail_intervened", StopReason::GuardrailIntervened),
        ("malformed_model_output", StopReason::Malformed),
        ("malformed_tool_use", StopReason::Malformed),
        ("refusal", StopReason::Refusal),
        ("newer_than_this_program", StopReason::Other),
    ];
    for (word, meaning) in table {
        let steps = vec![start(), text("x"), stop(word), metadata()];
        let answer = ask(Reply::Stream(steps), request()).await.unwrap();
        assert_eq!(answer.stop, meaning, "{word}");
    }
}

#[tokio::test]
async fn a_forced_tools_input_is_the_answers_text() {
    let piece = |input: &str| {
        let delta = json!({ "contentBlockIndex": 1, "delta": { "toolUse": { "input": input } } });
        event("contentBlockDelta", &delta)
    };
    let steps = vec![
        start(),
        text("I will answer by tool."),
        piece("{\"a\":"),
        piece("1}"),
        stop("tool_use"),
        metadata(),
    ];
    let answer = ask(Reply::Stream(steps), request()).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.stop), ("{\"a\":1}", StopReason::ToolUse));

    let body = json!({
        "output": { "message": { "role": "assistant", "content": [
            { "toolUse": { "toolUseId": "t", "name": "answer", "input": { "a": [1, -2, null] } } }
        ] } },
        "stopReason": "tool_use",
        "usage": { "inputTokens": 1, "outputTokens": 1, "totalTokens": 2 },
        "metrics": { "latencyMs": 5 }
    });
    let reply = Reply::Whole(200, vec![], body.to_string());
    let answer = ask(reply, whole_request()).await.unwrap();
    assert_eq!(answer.text, "{\"a\":[1,-2,null]}");
}

#[tokio::test]
async fn reasoning_and_unknown_events_are_passed_over() {
    let thought = json!({
        "contentBlockIndex": 0, "delta": { "reasoningContent": { "text": "hm" } }
    });
    let steps = vec![
        start(),
        event("contentBlockDelta", &thought),
        event("somethingNewer", &json!({ "x": 1 })),
        text("ok"),
        stop("end_turn"),
        metadata(),
    ];
    let answer = ask(Reply::Stream(steps), request()).await.unwrap();
    assert_eq!(answer.text, "ok");
}

#[tokio::test]
async fn openai_models_input_is_counted_without_its_caches() {
    let request = GenerateRequest { family: Family::OpenAi, ..request() };
    let answer = ask(Reply::Stream(happy()), request).await.unwrap();
    assert_eq!(answer.usage, Usage { input: 8, ..usage() });
}

#[tokio::test]
async fn a_connection_serves_the_next_call_too() {
    let server = Server::start(Reply::Stream(happy())).await;
    let provider = server.provider().await;
    for _ in 0..5 {
        provider.generate(&request()).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn calls_are_spread_over_the_configured_pools() {
    let server = Server::start(Reply::Stream(happy())).await;
    let options = BedrockOptions {
        endpoint: Some(server.endpoint.clone()),
        simulated_credentials: true,
        pools: 3,
        ..BedrockOptions::default()
    };
    let provider = Bedrock::connect(&options).await.unwrap();
    for _ in 0..6 {
        provider.generate(&request()).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_whole_answer_stands_although_the_stream_hangs_or_breaks_after_it() {
    for last in [Step::Hang, Step::Break] {
        let mut steps = happy();
        steps.push(last);
        let answer = ask(Reply::Stream(steps), request()).await.unwrap();
        assert_eq!(answer.text, "Hello, world");
    }
}

#[tokio::test]
async fn the_shown_body_is_the_one_that_arrives() {
    let full = request();
    let bare = GenerateRequest {
        system: None,
        temperature: None,
        top_p: None,
        stop: vec![],
        metadata: vec![],
        ..request()
    };
    for request in [full, bare] {
        let server = Server::start(Reply::Stream(happy())).await;
        let provider = server.provider().await;
        provider.generate(&request).await.unwrap();
        assert_eq!(server.last().body, provider.wire_body(&request));
    }
}

#[tokio::test]
async fn each_call_carries_its_metadata_in_bedrocks_alphabet() {
    let server = Server::start(Reply::Stream(happy())).await;
    server.provider().await.generate(&request()).await.unwrap();
    let body = server.last().body;
    assert_eq!(
        body["requestMetadata"],
        json!({ "job_id": "0190-ab", "attempt": "1", "tenant": "M_ller _ Co" })
    );
    assert_eq!(body["inferenceConfig"]["maxTokens"], 64);
}

#[tokio::test]
async fn an_arn_travels_percent_encoded() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    let server = Server::start(Reply::Stream(happy())).await;
    let request = GenerateRequest { model_id: arn.to_owned(), ..request() };
    server.provider().await.generate(&request).await.unwrap();
    assert_eq!(
        server.last().path,
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A\
         application-inference-profile%2Fabc/converse-stream"
    );
}
