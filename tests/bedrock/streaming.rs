//! Answers handed on piece by piece.

use quarrier::completion::{Completion, StopReason};
use quarrier::error::ErrorKind;
use quarrier::provider::{CallError, GenerateRequest, Provider as _};
use serde_json::json;
use tokio::sync::mpsc;

use crate::request;
use crate::server::{Reply, Server, Step, event, exception, metadata, start, stop, text};
use crate::ways::ways;

/// What came of a streamed call, and the pieces that were heard.
struct Heard {
    answer: Result<Completion, CallError>,
    pieces: Vec<String>,
    path: String,
}

async fn hear(steps: Vec<Step>, request: GenerateRequest) -> Heard {
    let server = Server::start(Reply::Stream(steps)).await;
    let (send, mut pieces) = mpsc::unbounded_channel();
    let heard = move |piece: &str| send.send(piece.to_owned()).unwrap();
    let answer = server.provider().await.stream(&request, &heard).await;
    drop(heard);
    let pieces = std::iter::from_fn(|| pieces.try_recv().ok()).collect();
    Heard { answer, pieces, path: server.last().path }
}

#[tokio::test]
async fn the_pieces_joined_are_the_answer_even_where_the_request_asks_for_no_stream() {
    for (way, asked) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let Heard { answer, pieces, path } = hear(way.happy(), way.request(asked)).await;
        let answer = answer.unwrap();
        assert_eq!(pieces, ["Hello, ", "world"], "{way:?}");
        assert_eq!((answer.text.as_str(), answer.usage), ("Hello, world", way.usage()));
        assert!(answer.first_token_ms.is_some());
        assert!(path.ends_with(way.operation(true)), "{path}");
    }
}

#[tokio::test]
async fn a_piece_is_handed_on_before_the_answer_goes_on() {
    for way in ways() {
        let steps = [way.opening(), vec![way.text("Hel"), Step::Hang]].concat();
        let server = Server::start(Reply::Stream(steps)).await;
        let provider = server.provider().await;
        let (send, mut pieces) = mpsc::unbounded_channel();
        let heard = move |piece: &str| send.send(piece.to_owned()).unwrap();
        let request = way.request(true);
        tokio::select! {
            answer = provider.stream(&request, &heard) => panic!("it hangs, yet: {answer:?}"),
            piece = pieces.recv() => assert_eq!(piece.as_deref(), Some("Hel"), "{way:?}"),
        }
    }
}

#[tokio::test]
async fn a_failed_call_has_handed_on_what_its_error_keeps() {
    for way in ways() {
        let failure = exception("internalServerException", "oops");
        let steps = [way.opening(), vec![way.text("Hel"), way.text("lo"), failure]].concat();
        let Heard { answer, pieces, .. } = hear(steps, way.request(true)).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert_eq!(pieces, ["Hel", "lo"], "{way:?}");
        assert_eq!(error.partial_text.as_deref(), Some("Hello"));
    }
}

fn tool(input: &str) -> Step {
    let delta = json!({ "contentBlockIndex": 1, "delta": { "toolUse": { "input": input } } });
    event("contentBlockDelta", &delta)
}

#[tokio::test]
async fn a_tools_input_is_handed_on_as_the_text() {
    let steps = vec![start(), tool("{\"a\":"), tool("1}"), stop("tool_use"), metadata()];
    let Heard { answer, pieces, .. } = hear(steps, request()).await;
    assert_eq!(pieces, ["{\"a\":", "1}"]);
    assert_eq!(answer.unwrap().text, "{\"a\":1}");
}

#[tokio::test]
async fn of_text_and_a_tools_input_only_the_first_is_handed_on() {
    let steps =
        vec![start(), text("By tool."), tool("{}"), text("Done."), stop("tool_use"), metadata()];
    let Heard { answer, pieces, .. } = hear(steps, request()).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text.as_str(), answer.stop), ("{}", StopReason::ToolUse));
    assert_eq!(pieces, ["By tool."]);
}
