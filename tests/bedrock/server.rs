//! A server that does with each call exactly what its script says. Knows nothing of Bedrock's
//! rules: a script may say what Bedrock never would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message as Frame};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use futures_util::stream::{self, StreamExt as _};
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the server does with a call.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole response: status, extra headers, body.
    Whole(u16, Vec<(&'static str, &'static str)>, String),
    /// Status 200 and these steps as the body.
    Stream(Vec<Step>),
    /// No status line, ever.
    Silence,
}

#[derive(Clone)]
pub(crate) enum Step {
    Bytes(Bytes),
    /// Nothing more, and the connection stays open.
    Hang,
    /// The connection breaks.
    Break,
    /// The same bytes again and again, for ever.
    Trickle(Bytes),
}

/// What arrived.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(reply: Reply) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let app = Router::new().fallback(move |request: Request| {
            let (log, reply) = (Arc::clone(&log), reply.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                log.lock().unwrap().push(Seen {
                    path: head.uri.path().to_owned(),
                    headers: head.headers,
                    body: serde_json::from_slice(&body).unwrap(),
                });
                respond(reply).await
            }
        });
        let listener = listener.tap_io(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, seen, connections }
    }

    pub(crate) async fn provider(&self) -> Bedrock {
        Bedrock::connect(&BedrockOptions {
            endpoint: Some(self.endpoint.clone()),
            simulated_credentials: true,
            ..BedrockOptions::default()
        })
        .await
        .unwrap()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

async fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Whole(status, headers, body) => {
            let mut response = Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .header("content-type", "application/json")
                .header("x-amzn-requestid", "req-1");
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Reply::Stream(steps) => Response::builder()
            .header("content-type", "application/vnd.amazon.eventstream")
            .header("x-amzn-requestid", "req-1")
            .body(Body::from_stream(stream::iter(steps).flat_map(bytes_of)))
            .unwrap(),
        Reply::Silence => std::future::pending().await,
    }
}

type Piece = Result<Bytes, std::io::Error>;

fn bytes_of(step: Step) -> stream::BoxStream<'static, Piece> {
    match step {
        Step::Bytes(bytes) => stream::once(async { Ok(bytes) }).boxed(),
        Step::Hang => stream::pending().boxed(),
        // Pending once, so that the server flushes what came before it breaks the connection.
        Step::Break => stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("broken"))
        })
        .boxed(),
        Step::Trickle(bytes) => stream::repeat(bytes)
            .then(|bytes| async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(bytes)
            })
            .boxed(),
    }
}

pub(crate) fn frame(
    kind: &'static str,
    name_header: &'static str,
    name: &str,
    payload: &Value,
) -> Bytes {
    let text = |value: &str| HeaderValue::String(value.to_owned().into());
    let message = Frame::new(payload.to_string())
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(name_header, text(name)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes.into()
}

pub(crate) fn event(name: &str, payload: &Value) -> Step {
    Step::Bytes(frame("event", ":event-type", name, payload))
}

pub(crate) fn exception(name: &str, text: &str) -> Step {
    let payload = json!({ "message": text });
    Step::Bytes(frame("exception", ":exception-type", name, &payload))
}

pub(crate) fn start() -> Step {
    event("messageStart", &json!({ "role": "assistant" }))
}

pub(crate) fn text(piece: &str) -> Step {
    event("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": piece } }))
}

pub(crate) fn stop(reason: &str) -> Step {
    event("messageStop", &json!({ "stopReason": reason }))
}

pub(crate) fn metadata() -> Step {
    event(
        "metadata",
        &json!({
            "usage": {
                "inputTokens": 11, "outputTokens": 7, "totalTokens": 21,
                "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1
            },
            "metrics": { "latencyMs": 5 }
        }),
    )
}

pub(crate) fn happy() -> Vec<Step> {
    vec![start(), text("Hello, "), text("world"), stop("end_turn"), metadata()]
}
