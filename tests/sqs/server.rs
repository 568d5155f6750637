//! A server that does with each request exactly what its script says. Knows nothing of SQS's rules:
//! a script may say what SQS never would.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole response: status, the code as SQS names it in a header, body.
    Whole(u16, Option<String>, String),
    /// A response that breaks off in its body.
    Cut,
    /// No status line, ever.
    Silence,
}

impl Reply {
    pub(crate) fn whole(status: u16, body: &str) -> Self {
        Self::Whole(status, None, body.to_owned())
    }

    /// An error as SQS sends it: the variant's name in the body, the older protocol's code in a
    /// header.
    pub(crate) fn error(status: u16, variant: &str, code: &str, words: &str) -> Self {
        let body = json!({ "__type": format!("com.amazonaws.sqs#{variant}"), "message": words });
        Self::Whole(status, Some(format!("{code};Sender")), body.to_string())
    }

    pub(crate) fn json(body: &Value) -> Self {
        Self::whole(200, &body.to_string())
    }
}

/// What arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `AmazonSQS.ReceiveMessage`.
    pub(crate) target: String,
    /// The region that the request is signed for.
    pub(crate) region: String,
    /// Null where the body is no JSON.
    pub(crate) body: Value,
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

pub(crate) struct Server {
    pub(crate) endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Says the same to everything.
    pub(crate) async fn start(reply: Reply) -> Self {
        Self::with(move |_| reply.clone()).await
    }

    pub(crate) async fn with(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let script: Script = Arc::new(script);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::clone(&seen);
        let app = Router::new().fallback(move |request: Request| {
            let (log, script) = (Arc::clone(&log), Arc::clone(&script));
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 4 << 20).await.unwrap();
                let header = |name: &str| {
                    head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
                };
                // AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …
                let region = header("authorization").split('/').nth(2).unwrap_or("").to_owned();
                let seen = Seen {
                    target: header("x-amz-target"),
                    region,
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                };
                let reply = script(&seen);
                log.lock().unwrap().push(seen);
                respond(reply).await
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Whole(status, code, body) => {
            let mut response = Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amzn-requestid", "req-1");
            if let Some(code) = code {
                response = response.header("x-amzn-query-error", code);
            }
            response.body(Body::from(body)).unwrap()
        }
        Reply::Cut => {
            let begin = stream::once(async { Ok("{\"Messages\":") });
            // Pending once, so that the server flushes what came before it breaks the connection.
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("broken"))
            });
            Response::new(Body::from_stream(begin.chain(cut)))
        }
        Reply::Silence => std::future::pending().await,
    }
}
