//! The control interface: what a test in another language can tell a simulator that runs. Must not
//! know: what happens inside a call.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::faults::Faults;
use super::fixtures::Fixtures;
use super::reply;
use super::scenario::{SCENARIOS, Scenario};
use super::serve::report;
use super::state::Shared;

/// `POST /faults`: rates in place of the old ones, as JSON (`{"hang": 0.1}`) or as the flag has them
/// (`hang=0.1`). An empty body: no faults.
pub(super) async fn faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    changed(&shared, read_faults(&body).map(|faults| shared.set_faults(faults)))
}

fn read_faults(body: &[u8]) -> Result<Faults, String> {
    let text = text_of(body)?.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    text.parse().map_err(|error: super::FaultsError| error.to_string())
}

/// `POST /scenario`: the name of one that ships, or a scenario's TOML. An empty body: none.
pub(super) async fn scenario(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    changed(&shared, read_scenario(&body).map(|scenario| shared.set_scenario(scenario)))
}

fn read_scenario(body: &[u8]) -> Result<Scenario, String> {
    let text = text_of(body)?;
    let name = text.trim();
    if name.is_empty() {
        return Ok(Scenario::default());
    }
    if !name.contains(['=', '\n', '[']) {
        let known = SCENARIOS.map(|(name, _)| name).join(", ");
        let unknown = || {
            format!(
                "no scenario is named `{name}`; those that ship are {known}, or send one's TOML"
            )
        };
        return Scenario::shipped(name).ok_or_else(unknown);
    }
    text.parse().map_err(|error: super::ScenarioError| error.to_string())
}

/// `POST /fixtures`: a file's lines in place of the old ones. An empty body: none.
pub(super) async fn fixtures(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let read =
        text_of(&body).and_then(|text| text.parse::<Fixtures>().map_err(|error| error.to_string()));
    changed(&shared, read.map(|fixtures| shared.set_fixtures(&fixtures)))
}

/// What a reset is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetBody {}

/// `POST /reset`: everything as at the start.
pub(super) async fn reset(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let read: Result<ResetBody, _> =
        if body.is_empty() { Ok(ResetBody {}) } else { serde_json::from_slice(&body) };
    changed(&shared, read.map(|ResetBody {}| shared.reset()).map_err(|error| error.to_string()))
}

fn text_of(body: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(body).map_err(|error| format!("the body is no UTF-8: {error}"))
}

fn changed(shared: &Shared, done: Result<(), String>) -> Response {
    match done {
        Ok(()) => report(shared, &json!({ "simulated": true, "status": "ok" })),
        Err(reason) => {
            let body = json!({ "simulated": true, "error": { "message": reason } });
            let request_id = reply::request_id(shared, 0);
            let body = Body::from(body.to_string());
            reply::answer(StatusCode::BAD_REQUEST, "application/json", request_id, body)
        }
    }
}
