//! Routes: the service's own paths, and the simulator's reports. Must not know: what happens inside
//! a call.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::call;
use super::connection::{Lever, Reset};
use super::control;
use super::count;
use super::fixtures::FIXTURES_BYTES_MAX;
use super::reply;
use super::request::{Facts, Operation, Refusal};
use super::signature;
use super::state::Shared;

/// The longest body taken, as the service's own limit.
const BODY_BYTES_MAX: usize = 25_000_000;

/// All routes over one simulator.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        // One wildcard for all operations: a model id may hold slashes, encoded or not, and the
        // operation is always the last part.
        .route("/model/{*rest}", post(model_call))
        .route("/calls", get(calls))
        .route("/summary", get(summary))
        .route("/healthz", get(healthz))
        .route("/faults", post(control::faults))
        .route("/scenario", post(control::scenario))
        .route(
            "/fixtures",
            post(control::fixtures).layer(DefaultBodyLimit::max(FIXTURES_BYTES_MAX)),
        )
        .route("/reset", post(control::reset))
        .fallback(unknown)
        .with_state(shared)
}

async fn model_call(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(lever): ConnectInfo<Lever>,
    Path(rest): Path<String>,
    request: Request<Body>,
) -> Response {
    let response = model_answer(shared, rest, request).await;
    if response.extensions().get::<Reset>().is_some() {
        lever.pull();
    }
    response
}

async fn model_answer(shared: Arc<Shared>, rest: String, request: Request<Body>) -> Response {
    let Some((model_id, operation)) = rest
        .rsplit_once('/')
        .and_then(|(id, name)| Some((id.to_owned(), Operation::from_path(name)?)))
    else {
        return unknown(State(shared)).await;
    };
    let mut facts = Facts::unread(model_id, operation);
    let (head, body) = request.into_parts();
    let read = signature::check(&head.headers).and_then(|()| read_head(&head.headers, &mut facts));
    if let Err(refusal) = read {
        let seq = shared.refuse(&facts, refusal.code);
        return reply::refusal(&refusal, reply::request_id(&shared, seq));
    }
    match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) if operation == Operation::CountTokens => count::run(&shared, facts, &bytes),
        Ok(bytes) => call::run(shared, facts, bytes).await,
        Err(error) => {
            let refusal = Refusal {
                status: 413,
                code: "RequestEntityTooLargeException",
                message: format!("the body could not be read: {error}"),
            };
            let seq = shared.refuse(&facts, refusal.code);
            reply::refusal(&refusal, reply::request_id(&shared, seq))
        }
    }
}

/// What stands in the head of InvokeModel's requests: the body's kind, and the metadata that other
/// operations carry in the body.
fn read_head(headers: &HeaderMap, facts: &mut Facts) -> Result<(), Refusal> {
    if !facts.api.invokes() {
        return Ok(());
    }
    if let Some(metadata) = headers.get("x-amzn-bedrock-request-metadata") {
        let metadata = serde_json::from_slice(metadata.as_bytes()).map_err(|_| {
            Refusal::validation("The request metadata is not a JSON object of strings.")
        })?;
        facts.metadata(metadata)?;
    }
    // A request without a kind is taken; the SDKs that name none send `application/octet-stream`.
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if essence.is_none_or(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Refusal::validation("The provided Content Type is invalid or not supported for this model"))
}

#[derive(Debug, Deserialize)]
struct CallsQuery {
    /// Only the calls of this job.
    job_id: Option<String>,
    /// Only the calls after this number.
    since: Option<u64>,
}

async fn calls(State(shared): State<Arc<Shared>>, Query(query): Query<CallsQuery>) -> Response {
    let calls = shared.calls(|call| {
        let job = query.job_id.is_none() || call.job_id == query.job_id;
        job && query.since.is_none_or(|since| call.seq > since)
    });
    report(&shared, &serde_json::json!({ "simulated": true, "calls": calls }))
}

async fn summary(State(shared): State<Arc<Shared>>) -> Response {
    report(&shared, &shared.summary())
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    report(&shared, &serde_json::json!({ "simulated": true, "status": "ok" }))
}

async fn unknown(State(shared): State<Arc<Shared>>) -> Response {
    let refusal = Refusal {
        status: 404,
        code: "UnknownOperationException",
        message: "The simulator knows POST /model/ID/ with converse, converse-stream, invoke, \
                  invoke-with-response-stream and count-tokens, GET /calls, /summary and /healthz, \
                  and POST /faults, /scenario, /fixtures and /reset."
            .to_owned(),
    };
    reply::refusal(&refusal, reply::request_id(&shared, 0))
}

pub(super) fn report(shared: &Shared, figures: &impl Serialize) -> Response {
    let body = serde_json::to_vec(figures).unwrap_or_default();
    let request_id = reply::request_id(shared, 0);
    reply::answer(StatusCode::OK, "application/json", request_id, Body::from(body))
}
