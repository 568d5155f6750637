//! Every way in which a Bedrock call fails, as a typed kind, with what it costs.
//! Must not know: what is done about it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::types::error::ModelErrorException;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::event_stream::{HeaderValue, RawMessage};

use super::kinds::{Refusal, charge_of, kind_of};
use crate::error::ErrorKind;
use crate::provider::{CallError, FailedCharge};

/// The longest message kept, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;
/// The longest part kept of a body that cannot be read, in bytes.
const EVIDENCE_BYTES_MAX: usize = 65_536;
/// A wait that a header names is believed up to a day.
const RETRY_AFTER_MS_MAX: u64 = 86_400_000;

/// A call that failed before its answer began: no connection, no credentials, or an HTTP error.
/// `address` is the one that was called, where it is known.
pub(super) fn before_answer<E>(
    error: &SdkError<E, HttpResponse>,
    address: Option<&str>,
) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let raw = error.raw_response();
    let status = raw.map(|response| response.status().as_u16());
    // An answer that came whole, and that the SDK could not read.
    let unread = raw.filter(|response| response.status().is_success());
    let unread = unread.and_then(|response| response.body().bytes()).map(evidence);
    let (kind, charge) = match error {
        SdkError::ServiceError(_) => {
            let refusal = Refusal {
                code: error.code(),
                status,
                original_status: original_status(error),
                message: error.message().unwrap_or(""),
            };
            let kind = kind_of(&refusal);
            (kind, charge_of(kind, false))
        }
        // Nothing is sent before it is built and signed.
        SdkError::ConstructionFailure(_) => match find::<CredentialsError>(error) {
            Some(_) => (ErrorKind::Credentials, FailedCharge::NotSent),
            None => (ErrorKind::InvalidRequest, FailedCharge::NotSent),
        },
        SdkError::DispatchFailure(failure) => {
            return dispatch(error, failure.is_user(), address);
        }
        // A body that arrived whole is not what the protocol says; else the connection broke in it.
        SdkError::ResponseError(_) if unread.is_some() => {
            (ErrorKind::Internal, FailedCharge::Unknown)
        }
        SdkError::ResponseError(_) => (ErrorKind::StreamCut, FailedCharge::Unknown),
        _ => (ErrorKind::CallTimeout, FailedCharge::Unknown),
    };
    CallError {
        kind,
        message: message_of(error, error.message()),
        retry_after_ms: raw.and_then(retry_after_ms),
        request_id: raw.and_then(RequestId::request_id).map(str::to_owned),
        partial_text: unread.filter(|body| !body.is_empty()),
        charge,
    }
}

/// Which failure of sending this is. Only a connection that never opened proves that nothing
/// left; after that, even a broken pipe may have delivered the request.
fn dispatch(error: &(dyn Error + 'static), is_user: bool, address: Option<&str>) -> CallError {
    if find::<CredentialsError>(error).is_some() {
        return failed(ErrorKind::Credentials, &causes(error), FailedCharge::NotSent);
    }
    if is_user {
        return failed(ErrorKind::InvalidRequest, &causes(error), FailedCharge::NotSent);
    }
    let address = address.unwrap_or("the service");
    let client = find::<hyper_util::client::legacy::Error>(error);
    // What stands above the client's own cause says no more than the words before it here.
    let why = causes(client.and_then(Error::source).unwrap_or(error));
    if client.is_some_and(hyper_util::client::legacy::Error::is_connect) {
        let message = format!(
            "no connection to {address}: {why}; is the endpoint right and the service up, and \
             does no proxy or firewall stand in between?"
        );
        failed(ErrorKind::ConnectFailed, &message, FailedCharge::NotSent)
    } else {
        let message = format!("the connection to {address} broke: {why}");
        failed(ErrorKind::ConnectFailed, &message, FailedCharge::Unknown)
    }
}

/// The status that the model's own server gave, where the service passes it on.
fn original_status(error: &(dyn Error + 'static)) -> Option<u16> {
    let status = find::<ModelErrorException>(error)?.original_status_code()?;
    u16::try_from(status).ok()
}

/// A stream that failed after its HTTP status was 200. `began` says whether any of its events
/// had arrived.
pub(super) fn in_stream<E>(error: &SdkError<E, RawMessage>, began: bool) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let (kind, charge) = match error {
        SdkError::ServiceError(failure) => {
            let code = exception_type(failure.raw()).or(error.code());
            let message = error.message().unwrap_or("");
            let kind = kind_of(&Refusal { code, status: None, original_status: None, message });
            (kind, charge_of(kind, began))
        }
        // A first frame that cannot be read is no event stream at all: a proxy, a wrong address.
        SdkError::ResponseError(_) if !began => (ErrorKind::Internal, FailedCharge::Unknown),
        _ => (ErrorKind::StreamCut, FailedCharge::Unknown),
    };
    failed(kind, &message_of(error, error.message()), charge)
}

/// A failure of this side alone.
pub(super) fn not_sent(kind: ErrorKind, error: &(impl Error + 'static)) -> CallError {
    failed(kind, &message_of(error, None), FailedCharge::NotSent)
}

/// A failure without a response.
pub(super) fn failed(kind: ErrorKind, message: &str, charge: FailedCharge) -> CallError {
    CallError {
        kind,
        message: shorten(message),
        retry_after_ms: None,
        request_id: None,
        partial_text: None,
        charge,
    }
}

/// The floor that a response names: AWS's own header in milliseconds, or the standard one in
/// seconds. A date in the latter is passed over; nobody has seen Bedrock send one.
fn retry_after_ms(response: &HttpResponse) -> Option<u64> {
    let number = |name: &str| response.headers().get(name)?.trim().parse::<u64>().ok();
    number("x-amz-retry-after")
        .or_else(|| number("retry-after").map(|seconds| seconds.saturating_mul(1_000)))
        .map(|wait_ms| wait_ms.min(RETRY_AFTER_MS_MAX))
}

fn exception_type(raw: &RawMessage) -> Option<&str> {
    let RawMessage::Decoded(message) = raw else {
        return None;
    };
    message.headers().iter().find(|header| header.name().as_str() == ":exception-type").and_then(
        |header| match header.value() {
            HeaderValue::String(text) => Some(text.as_str()),
            _ => None,
        },
    )
}

/// The service's own words; where it has none, the chain of causes.
fn message_of(error: &(impl Error + 'static), said: Option<&str>) -> String {
    match said {
        Some(said) if !said.is_empty() => shorten(said),
        _ => shorten(&causes(error)),
    }
}

/// Each cause once, without the SDK's debug dumps of a whole request or response: they hold the
/// prompt.
fn causes(error: &(dyn Error + 'static)) -> String {
    let said = |cause: &dyn Error| {
        let text = cause.to_string();
        let dump = text.find("Request {").or_else(|| text.find("Response {"));
        text.get(..dump.unwrap_or(text.len())).unwrap_or_default().trim_end().to_owned()
    };
    let mut text = said(error);
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&said(cause));
        next = cause.source();
    }
    text
}

/// The beginning of a body that nobody could read: it is paid for, and kept as it came.
pub(super) fn evidence(body: &[u8]) -> String {
    let start = body.get(..EVIDENCE_BYTES_MAX).unwrap_or(body);
    String::from_utf8_lossy(start).into_owned()
}

fn shorten(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<E>())
}
