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
use super::fixtures::FIXTURES_BYTES_MAX;
use super::reply;
use super::request::{Facts, Operation, Refusal};
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
    let facts = Facts::unread(model_id, operation);
    let (head, body) = request.into_parts();
    if let Err(refusal) = check_signature(&head.headers) {
        let seq = shared.refuse(&facts, refusal.code);
        return reply::refusal(&refusal, reply::request_id(&shared, seq));
    }
    match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => call::run(shared, facts.model_id, operation, bytes).await,
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

/// A signature or a bearer token must be there; whose it is does not matter here.
fn check_signature(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get(header::AUTHORIZATION).is_some_and(|value| !value.is_empty()) {
        return Ok(());
    }
    Err(Refusal {
        status: 403,
        code: "MissingAuthenticationTokenException",
        message: "Missing Authentication Token".to_owned(),
    })
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
        message: "The simulator knows POST /model/ID/converse and /model/ID/converse-stream, \
                  GET /calls, /summary and /healthz, and POST /faults, /scenario, /fixtures and \
                  /reset."
            .to_owned(),
    };
    reply::refusal(&refusal, reply::request_id(&shared, 0))
}

pub(super) fn report(shared: &Shared, figures: &impl Serialize) -> Response {
    let body = serde_json::to_vec(figures).unwrap_or_default();
    let request_id = reply::request_id(shared, 0);
    reply::answer(StatusCode::OK, "application/json", request_id, Body::from(body))
}
