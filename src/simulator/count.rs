//! CountTokens: how many input tokens a call would be charged for. Must not know: quotas, answers.

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::heard::Text;
use super::models;
use super::options::SimulatorOptions;
use super::reply;
use super::request::{self, Facts, Operation, Refusal};
use super::shape::Shape;
use super::state::Shared;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    input: Input<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input<'a> {
    #[serde(borrow)]
    converse: Option<&'a RawValue>,
    #[serde(borrow)]
    invoke_model: Option<InvokeModel<'a>>,
}

#[derive(Deserialize)]
struct InvokeModel<'a> {
    #[serde(borrow)]
    body: Text<'a>,
}

/// Runs one count. It draws on no quota, and no fault strikes it.
pub(crate) fn run(shared: &Arc<Shared>, mut facts: Facts, bytes: &[u8]) -> Response {
    match count(bytes, &mut facts, &shared.options) {
        Ok(tokens) => {
            let request_id = reply::request_id(shared, shared.count(&facts));
            let body = Bytes::from(json!({ "inputTokens": tokens }).to_string());
            reply::answer(StatusCode::OK, "application/json", request_id, Body::from(body))
        }
        Err(refusal) => {
            let seq = shared.refuse(&facts, refusal.code);
            reply::refusal(&refusal, reply::request_id(shared, seq))
        }
    }
}

fn count(bytes: &[u8], facts: &mut Facts, options: &SimulatorOptions) -> Result<u64, Refusal> {
    let unreadable = |message: String| Refusal {
        status: 400,
        code: "SerializationException",
        message: format!("the body could not be read: {message}"),
    };
    // Only a base id is taken here, neither a profile's nor an ARN.
    let named = models::named(&facts.model_id).filter(|named| named.base == facts.model_id);
    if !models::plausible(&facts.model_id) || named.is_none() {
        return Err(Refusal::validation("The provided model identifier is invalid."));
    }
    if !models::counts_tokens(&facts.model_id) {
        return Err(Refusal::validation("The provided model doesn't support counting tokens."));
    }
    request::check_known(&facts.model_id, options)?;
    let request: Request<'_> =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    // What counts is the body of the call that it stands for; that call needs a profile, not this.
    let mut inner = Facts::unread(facts.model_id.clone(), Operation::Converse);
    let decoded;
    let body = match &request.input {
        Input { converse: Some(body), invoke_model: None } => body.get().as_bytes(),
        Input { converse: None, invoke_model: Some(InvokeModel { body }) } => {
            inner.api = Operation::Invoke;
            decoded = aws_smithy_types::base64::decode(&**body)
                .map_err(|error| unreadable(error.to_string()))?;
            &decoded
        }
        _ => return Err(unreadable("input needs one of converse and invokeModel".to_owned())),
    };
    let shape = Shape::of(inner.api.invokes(), &inner.model_id, body)?;
    let heard = shape.read(body, &mut inner)?;
    request::understand(shape, heard, &mut inner, options)?;
    facts.input_tokens = inner.input_tokens;
    Ok(inner.input_tokens)
}
