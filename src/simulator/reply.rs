//! The head of every answer: status, error name, request id, and the label that says simulation.
//! Must not know: what a call is.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use uuid::Uuid;

use super::draw::join;
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
