//! What is sent, and what comes of an answer that runs to its end.

use std::sync::atomic::Ordering;

use quarrier::catalogue::{Family, Format};
use quarrier::completion::{StopReason, Usage};
use quarrier::error::ErrorKind;
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{Clocks, FailedCharge, GenerateRequest, Provider as _};
use serde_json::json;

use crate::server::{Reply, Server, Step, event, happy, metadata, start, stop, text};
use crate::ways::{APIS, Way, ways};
use crate::{ask, fails, request, usage, whole_request};

#[tokio::test]
async fn a_streamed_answer_comes_back_whole_with_its_usage() {
    for way in ways() {
        let server = Server::start(Reply::Stream(way.happy())).await;
        let answer = server.provider().await.generate(&way.request(true)).await.unwrap();
        assert_eq!(answer.text, "Hello, world", "{way:?}");
        assert_eq!(answer.stop, StopReason::EndTurn, "{way:?}");
        assert_eq!(answer.usage, way.usage(), "{way:?}");
        assert_eq!(answer.request_id.as_deref(), Some("req-1"));
        assert!(answer.first_token_ms.unwrap() <= answer.total_ms);
        assert!(server.last().path.ends_with(way.operation(true)), "{}", server.last().path);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_comes_back_whole_with_its_usage() {
    for way in ways() {
        let server = Server::start(way.whole("Hello, world", way.done())).await;
        let answer = server.provider().await.generate(&way.request(false)).await.unwrap();
        assert_eq!(answer.text, "Hello, world", "{way:?}");
        assert_eq!(answer.stop, StopReason::EndTurn, "{way:?}");
        assert_eq!(answer.usage, way.usage(), "{way:?}");
        assert_eq!(answer.request_id.as_deref(), Some("req-1"));
        assert_eq!(answer.first_token_ms, None);
        assert!(server.last().path.ends_with(way.operation(false)), "{}", server.last().path);
    }
}

#[tokio::test]
async fn every_stop_reason_has_its_meaning() {
    for way in ways() {
        for (word, meaning) in way.stops() {
            let steps = [vec![way.text("x")], way.closing(word), way.after()].concat();
            let steps = [way.opening(), steps].concat();
            let answer = ask(Reply::Stream(steps), way.request(true)).await.unwrap();
            assert_eq!(answer.stop, meaning, "{way:?} {word}");
            let answer = ask(way.whole("x", word), way.request(false)).await.unwrap();
            assert_eq!(answer.stop, meaning, "{way:?} {word}");
        }
    }
}

#[tokio::test]
async fn a_body_without_counts_and_without_headers_is_no_whole_answer() {
    for way in [Way::Invoke(Format::MistralInstruct), Way::Invoke(Format::MistralChat)] {
        let body = way.whole_body("Hello", way.done()).to_string();
        let error = fails(Reply::Whole(200, vec![], body), way.request(false)).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::StreamCut, FailedCharge::Unknown));
        assert_eq!(error.partial_text.as_deref(), Some("Hello"));
    }
}

#[tokio::test]
async fn several_text_blocks_are_one_text_and_reasoning_is_none() {
    let body = json!({
        "output": { "message": { "role": "assistant", "content": [
            { "reasoningContent": { "reasoningText": { "text": "hm" } } },
            { "text": "Hello, " }, { "text": "world" }
        ] } },
        "stopReason": "stop_sequence",
        "usage": { "inputTokens": 11, "outputTokens": 7, "totalTokens": 18 },
        "metrics": { "latencyMs": 5 }
    });
    let answer = ask(Reply::Whole(200, vec![], body.to_string()), whole_request()).await.unwrap();
    assert_eq!(answer.text, "Hello, world");
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
    for way in ways() {
        let server = Server::start(Reply::Stream(way.happy())).await;
        let provider = server.provider().await;
        for _ in 0..5 {
            provider.generate(&way.request(true)).await.unwrap();
        }
        assert_eq!(server.connections.load(Ordering::Relaxed), 1, "{way:?}");
    }
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
    for way in ways() {
        for last in [Step::Hang, Step::Break] {
            let mut steps = way.happy();
            steps.push(last);
            let answer = ask(Reply::Stream(steps), way.request(true)).await.unwrap();
            assert_eq!(answer.text, "Hello, world", "{way:?}");
        }
    }
}

/// Claude's native stream ends with a word that adds nothing.
#[tokio::test]
async fn an_answer_of_which_all_is_said_stands_although_its_last_word_never_comes() {
    let way = Way::Invoke(Format::Claude);
    let clocks = Clocks { idle_ms: 100, ..request().clocks };
    for last in [Some(Step::Hang), Some(Step::Break), None] {
        let steps = way.parts().into_iter().map(|(step, _)| step).chain(last).collect();
        let base = GenerateRequest { clocks, ..way.request(true) };
        let answer = ask(Reply::Stream(steps), base).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.usage), ("Hello, world", way.usage()));
        assert!(answer.first_token_ms.is_some());
    }
}

#[tokio::test]
async fn the_shown_body_is_the_one_that_arrives() {
    for (way, stream) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let full = way.request(stream);
        let bare = GenerateRequest {
            system: None,
            temperature: None,
            top_p: None,
            stop: vec![],
            metadata: vec![],
            ..way.request(stream)
        };
        for request in [full, bare] {
            let server = Server::start(way.answer(stream)).await;
            let provider = server.provider().await;
            provider.generate(&request).await.unwrap();
            let seen = server.last();
            assert_eq!(seen.body, provider.wire_body(&request), "{way:?}");
            assert_eq!(seen.headers["content-type"], "application/json");
        }
    }
}

#[tokio::test]
async fn each_call_carries_its_metadata_in_bedrocks_alphabet() {
    let metadata = json!({ "job_id": "0190-ab", "attempt": "1", "tenant": "M_ller _ Co" });
    for (way, stream) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let server = Server::start(way.answer(stream)).await;
        server.provider().await.generate(&way.request(stream)).await.unwrap();
        let seen = server.last();
        let arrived = match way {
            Way::Converse => seen.body["requestMetadata"].clone(),
            Way::Invoke(_) => {
                let header = &seen.headers["x-amzn-bedrock-request-metadata"];
                serde_json::from_str(header.to_str().unwrap()).unwrap()
            }
        };
        assert_eq!(arrived, metadata, "{way:?}");
        let bare = GenerateRequest { metadata: vec![], ..way.request(stream) };
        server.provider().await.generate(&bare).await.unwrap();
        let seen = server.last();
        assert!(!seen.headers.contains_key("x-amzn-bedrock-request-metadata"));
        assert_eq!(seen.body.get("requestMetadata"), None);
    }
}

#[tokio::test]
async fn an_arn_travels_percent_encoded() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    for (way, stream) in APIS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        let server = Server::start(way.answer(stream)).await;
        let request = GenerateRequest { model_id: arn.to_owned(), ..way.request(stream) };
        server.provider().await.generate(&request).await.unwrap();
        let path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A\
                    application-inference-profile%2Fabc/";
        assert_eq!(server.last().path, format!("{path}{}", way.operation(stream)));
    }
}

#[tokio::test]
async fn what_a_format_cannot_say_is_refused_before_anything_is_sent() {
    let way = Way::Invoke(Format::Llama3);
    let with_stop = GenerateRequest { stop: vec!["END".to_owned()], ..way.request(true) };
    let without_format = GenerateRequest { format: None, ..way.request(true) };
    for (request, field) in [(with_stop, "stop: "), (without_format, "api: ")] {
        let server = Server::start(Reply::Silence).await;
        let provider = server.provider().await;
        let error = provider.generate(&request).await.unwrap_err();
        assert_eq!((error.kind, error.charge), (ErrorKind::InvalidRequest, FailedCharge::NotSent));
        assert!(error.message.starts_with(field), "{}", error.message);
        assert!(server.seen.lock().unwrap().is_empty());
        assert_eq!(provider.wire_body(&request)["error"], error.message);
    }
}
