//! The head of every answer: status, error name, request id, and the label that says simulation.
//! Must not know: what a call is.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::draw::join;
use super::fault::{Beside, Problem};
use super::request::Refusal;
use super::state::Shared;

/// The header that every answer carries, whatever it is.
pub const SIMULATED_HEADER: &str = "x-quarrier-simulated";

/// A request id that repeats with the seed and the call's number.
pub(crate) fn request_id(shared: &Shared, seq: u64) -> String {
    let seed = shared.options.seed;
    Uuid::from_u64_pair(join(seed, seq), seq).to_string()
}

/// An answer with all its headers.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    request_id: String,
    body: Body,
) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(SIMULATED_HEADER, HeaderValue::from_static("true"));
    if let Ok(value) = HeaderValue::from_maybe_shared(request_id) {
        headers.insert("x-amzn-requestid", value);
    }
    response
}

/// An error as the service words it.
pub(crate) fn refusal(refusal: &Refusal, request_id: String) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = Body::from(json!({ "message": refusal.message }).to_string());
    let mut response = answer(status, "application/json", request_id, body);
    let code = HeaderValue::from_static(refusal.code);
    response.headers_mut().insert("x-amzn-errortype", code);
    response
}

/// The body of an error: its text, and what else stands beside it.
pub(crate) fn problem_body(problem: &Problem, model_id: &str, in_stream: bool) -> Value {
    let message = problem.message.replace("{model}", model_id);
    match problem.beside {
        Beside::OriginalStatus(status) if in_stream => json!({
            "message": message,
            "originalStatusCode": status,
            "originalMessage": "The model failed (simulated).",
        }),
        Beside::OriginalStatus(status) => json!({
            "message": message,
            "originalStatusCode": status,
            "resourceName": model_id,
        }),
        _ => json!({ "message": message }),
    }
}

/// A fault's error in place of an answer.
pub(crate) fn problem(shared: &Shared, problem: &Problem, model_id: &str, seq: u64) -> Response {
    let request_id = request_id(shared, seq);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    if problem.code.is_empty() {
        let text = problem.message;
        let page = format!("<html><head><title>{text}</title></head><body>{text}</body></html>\n");
        return answer(status, "text/html", request_id, Body::from(page));
    }
    let body = Body::from(problem_body(problem, model_id, false).to_string());
    let mut response = answer(status, "application/json", request_id, body);
    let headers = response.headers_mut();
    headers.insert("x-amzn-errortype", HeaderValue::from_static(problem.code));
    match problem.beside {
        Beside::RetryAfterMs(wait_ms) => {
            headers.insert("x-amz-retry-after", HeaderValue::from(wait_ms));
        }
        Beside::DateAheadSeconds(seconds) => {
            let now = shared.now();
            let ahead = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
            let date = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            if let Ok(date) = HeaderValue::from_maybe_shared(date) {
                headers.insert(header::DATE, date);
            }
        }
        Beside::Nothing | Beside::OriginalStatus(_) => {}
    }
    response
}
