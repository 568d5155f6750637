//! Every way in which a Bedrock call fails, as a typed kind, with what it costs.
//! Must not know: what is done about it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::event_stream::{HeaderValue, RawMessage};

use crate::error::ErrorKind;
use crate::provider::{CallError, FailedCharge};

/// The longest message kept, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;
/// A wait that a header names is believed up to a day.
const RETRY_AFTER_MS_MAX: u64 = 86_400_000;

/// A call that failed before its answer began: no connection, no credentials, or an HTTP error.
pub(super) fn before_answer<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let raw = error.raw_response();
    let status = raw.map(|response| response.status().as_u16());
    let (kind, charge) = match error {
        SdkError::ServiceError(_) => {
            let kind = kind_of(error.code(), status, error.message().unwrap_or(""));
            (kind, charge_of(kind, false))
        }
        // Nothing is sent before it is built and signed.
        SdkError::ConstructionFailure(_) => match find::<CredentialsError>(error) {
            Some(_) => (ErrorKind::Credentials, FailedCharge::NotSent),
            None => (ErrorKind::InvalidRequest, FailedCharge::NotSent),
        },
        SdkError::DispatchFailure(failure) => dispatch(error, failure.is_user()),
        SdkError::ResponseError(failure) => match failure.raw().body().bytes() {
            // The body arrived whole and is not what the protocol says.
            Some(_) => (ErrorKind::Internal, FailedCharge::Unknown),
            None => (ErrorKind::StreamCut, FailedCharge::Unknown),
        },
        _ => (ErrorKind::CallTimeout, FailedCharge::Unknown),
    };
    CallError {
        kind,
        message: message_of(error, error.message()),
        retry_after_ms: raw.and_then(retry_after_ms),
        request_id: raw.and_then(RequestId::request_id).map(str::to_owned),
        partial_text: None,
        charge,
    }
}

/// Which failure of sending this is. Only a connection that never opened proves that nothing
/// left; after that, even a broken pipe may have delivered the request.
fn dispatch(error: &(dyn Error + 'static), is_user: bool) -> (ErrorKind, FailedCharge) {
    if find::<CredentialsError>(error).is_some() {
        return (ErrorKind::Credentials, FailedCharge::NotSent);
    }
    if is_user {
        return (ErrorKind::InvalidRequest, FailedCharge::NotSent);
    }
    let never_connected = find::<hyper_util::client::legacy::Error>(error)
        .is_some_and(hyper_util::client::legacy::Error::is_connect);
    let charge = if never_connected {
        FailedCharge::NotSent
    } else {
        FailedCharge::Unknown
    };
    (ErrorKind::ConnectFailed, charge)
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
            let kind = kind_of(code, None, error.message().unwrap_or(""));
            (kind, charge_of(kind, began))
        }
        // A first frame that cannot be read is no event stream at all: a proxy, a wrong address.
        SdkError::ResponseError(_) if !began => (ErrorKind::Internal, FailedCharge::Unknown),
        _ => (ErrorKind::StreamCut, FailedCharge::Unknown),
    };
    CallError {
        kind,
        message: message_of(error, error.message()),
        retry_after_ms: None,
        request_id: None,
        partial_text: None,
        charge,
    }
}

/// A failure of this side alone.
pub(super) fn not_sent(kind: ErrorKind, error: &(impl Error + 'static)) -> CallError {
    CallError {
        kind,
        message: shorten(&DisplayErrorContext(error).to_string()),
        retry_after_ms: None,
        request_id: None,
        partial_text: None,
        charge: FailedCharge::NotSent,
    }
}

/// The kind by the error's code; by the HTTP status where no known code is given.
fn kind_of(code: Option<&str>, status: Option<u16>, message: &str) -> ErrorKind {
    code.and_then(|code| kind_of_code(code, message))
        .unwrap_or_else(|| kind_of_status(status, message))
}

/// The codes of Bedrock and of the layers in front of it. Exceptions inside a stream spell the
/// same names with a small first letter.
fn kind_of_code(code: &str, message: &str) -> Option<ErrorKind> {
    let bare = code.strip_suffix("Exception").unwrap_or(code);
    let kind = match bare.to_ascii_lowercase().as_str() {
        "throttling" | "toomanyrequests" | "requestlimitexceeded" | "servicequotaexceeded" => {
            throttle_kind(message)
        }
        "modelnotready" => ErrorKind::ModelNotReady,
        "serviceunavailable" => unavailable_kind(message),
        "internalserver" | "internalfailure" | "internalservererror" => ErrorKind::Internal,
        "modeltimeout" => ErrorKind::ModelTimeout,
        "modelerror" | "modelstreamerror" => ErrorKind::ModelError,
        "validation" => validation_kind(message),
        // The account has not filled in the model vendor's form: a matter of permission.
        "accessdenied" | "ftuformnotfilled" => ErrorKind::AccessDenied,
        "resourcenotfound" => ErrorKind::ModelNotFound,
        "expiredtoken"
        | "unrecognizedclient"
        | "invalidsignature"
        | "incompletesignature"
        | "signaturedoesnotmatch"
        | "missingauthenticationtoken"
        | "invalidclienttokenid"
        | "requestexpired" => ErrorKind::Credentials,
        _ => return None,
    };
    Some(kind)
}

fn kind_of_status(status: Option<u16>, message: &str) -> ErrorKind {
    match status {
        Some(401) => ErrorKind::Credentials,
        Some(403) => ErrorKind::AccessDenied,
        Some(404) => ErrorKind::ModelNotFound,
        Some(408) => ErrorKind::ModelTimeout,
        Some(413) => ErrorKind::InputTooLong,
        Some(424) => ErrorKind::ModelError,
        Some(429) => throttle_kind(message),
        Some(502..=504) => unavailable_kind(message),
        Some(400..=499) => ErrorKind::InvalidRequest,
        _ => ErrorKind::Internal,
    }
}

// The one place where a provider's words decide: Bedrock gives three quotas and an overloaded
// model the same code, and an input that is too long the code of every malformed request. A text
// that is not recognised falls back to the kind that costs least if it is wrong.

fn throttle_kind(message: &str) -> ErrorKind {
    let says = Says::new(message);
    if says.overloaded() {
        ErrorKind::Overloaded
    } else if says.has("tokens per day") {
        ErrorKind::ThrottledDay
    } else if says.has("too many tokens") {
        ErrorKind::ThrottledTokens
    } else {
        ErrorKind::ThrottledRequests
    }
}

fn unavailable_kind(message: &str) -> ErrorKind {
    if Says::new(message).overloaded() {
        ErrorKind::Overloaded
    } else {
        ErrorKind::Unavailable
    }
}

fn validation_kind(message: &str) -> ErrorKind {
    let says = Says::new(message);
    let too_long = says.has("input is too long")
        || says.has("prompt is too long")
        || says.has("too many input tokens");
    if too_long {
        ErrorKind::InputTooLong
    } else {
        ErrorKind::InvalidRequest
    }
}

/// A provider's words, in small letters.
struct Says(String);

impl Says {
    fn new(message: &str) -> Self {
        Self(message.to_ascii_lowercase())
    }

    fn has(&self, phrase: &str) -> bool {
        self.0.contains(phrase)
    }

    fn overloaded(&self) -> bool {
        self.has("overloaded")
    }
}

/// What a refused or failed call costs. Once events have arrived only a throttle is free; before
/// that only the kinds in which the model itself may have been at work keep their reservation.
fn charge_of(kind: ErrorKind, began: bool) -> FailedCharge {
    match kind {
        ErrorKind::ThrottledRequests
        | ErrorKind::ThrottledTokens
        | ErrorKind::ThrottledDay
        | ErrorKind::Overloaded => FailedCharge::None,
        ErrorKind::Internal | ErrorKind::ModelTimeout | ErrorKind::ModelError => {
            FailedCharge::Unknown
        }
        _ if began => FailedCharge::Unknown,
        _ => FailedCharge::None,
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
    message
        .headers()
        .iter()
        .find(|header| header.name().as_str() == ":exception-type")
        .and_then(|header| match header.value() {
            HeaderValue::String(text) => Some(text.as_str()),
            _ => None,
        })
}

/// The service's own words; where it has none, the chain of causes.
fn message_of(error: &(impl Error + 'static), said: Option<&str>) -> String {
    match said {
        Some(said) if !said.is_empty() => shorten(said),
        _ => shorten(&causes(error)),
    }
}

/// Each cause once, without the SDK's debug dump of the whole response.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn shorten(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<E>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttles_text_tells_which_quota_is_used_up() {
        let table = [
            (
                "Too many requests, please wait before trying again.",
                ErrorKind::ThrottledRequests,
            ),
            (
                "Too many requests, please wait before trying again. You have sent too many \
                 requests.  Wait before trying again.",
                ErrorKind::ThrottledRequests,
            ),
            (
                "Too many tokens, please wait before trying again.",
                ErrorKind::ThrottledTokens,
            ),
            (
                "Too many tokens per day, please wait before trying again.",
                ErrorKind::ThrottledDay,
            ),
            (
                "Model anthropic.claude-haiku-4-5-20251001-v1:0 is currently overloaded. Please \
                 try again later.",
                ErrorKind::Overloaded,
            ),
            ("Rate exceeded", ErrorKind::ThrottledRequests),
            ("", ErrorKind::ThrottledRequests),
        ];
        for (text, kind) in table {
            assert_eq!(
                kind_of(Some("ThrottlingException"), Some(429), text),
                kind,
                "{text}"
            );
            assert_eq!(
                kind_of(Some("throttlingException"), None, text),
                kind,
                "{text}"
            );
            assert_eq!(charge_of(kind, true), FailedCharge::None);
        }
    }

    #[test]
    fn an_input_that_is_too_long_is_told_from_a_malformed_request() {
        let table = [
            (
                "Input is too long for requested model.",
                ErrorKind::InputTooLong,
            ),
            (
                "prompt is too long: 210000 tokens > 200000 maximum",
                ErrorKind::InputTooLong,
            ),
            (
                "Too many input tokens. Max input tokens: 8192",
                ErrorKind::InputTooLong,
            ),
            (
                "The provided model identifier is invalid.",
                ErrorKind::InvalidRequest,
            ),
            (
                "Invocation of model ID X with on-demand throughput isn\u{2019}t supported.",
                ErrorKind::InvalidRequest,
            ),
            // A payload that merely holds the number or the word of another error.
            (
                "Malformed input request: 429 overloaded",
                ErrorKind::InvalidRequest,
            ),
        ];
        for (text, kind) in table {
            assert_eq!(
                kind_of(Some("ValidationException"), Some(400), text),
                kind,
                "{text}"
            );
        }
    }

    #[test]
    fn a_code_decides_before_the_status_and_the_status_where_the_code_is_unknown() {
        let table = [
            (
                Some("ModelNotReadyException"),
                429,
                ErrorKind::ModelNotReady,
            ),
            (
                Some("ServiceUnavailableException"),
                503,
                ErrorKind::Unavailable,
            ),
            (Some("InternalServerException"), 500, ErrorKind::Internal),
            (Some("ModelTimeoutException"), 408, ErrorKind::ModelTimeout),
            (Some("ModelErrorException"), 424, ErrorKind::ModelError),
            (
                Some("ModelStreamErrorException"),
                424,
                ErrorKind::ModelError,
            ),
            (Some("AccessDeniedException"), 403, ErrorKind::AccessDenied),
            (Some("ExpiredTokenException"), 403, ErrorKind::Credentials),
            (Some("ExpiredToken"), 400, ErrorKind::Credentials),
            (
                Some("UnrecognizedClientException"),
                403,
                ErrorKind::Credentials,
            ),
            (
                Some("InvalidSignatureException"),
                403,
                ErrorKind::Credentials,
            ),
            (Some("IncompleteSignature"), 400, ErrorKind::Credentials),
            (
                Some("ResourceNotFoundException"),
                404,
                ErrorKind::ModelNotFound,
            ),
            (Some("FTUFormNotFilled"), 404, ErrorKind::AccessDenied),
            (
                Some("ServiceQuotaExceededException"),
                400,
                ErrorKind::ThrottledRequests,
            ),
            (
                Some("SomethingNewException"),
                400,
                ErrorKind::InvalidRequest,
            ),
            (Some("SomethingNewException"), 503, ErrorKind::Unavailable),
            (None, 502, ErrorKind::Unavailable),
            (None, 429, ErrorKind::ThrottledRequests),
            (None, 418, ErrorKind::InvalidRequest),
            (None, 599, ErrorKind::Internal),
        ];
        for (code, status, kind) in table {
            assert_eq!(kind_of(code, Some(status), ""), kind, "{code:?} {status}");
        }
    }

    #[test]
    fn only_a_throttle_is_free_once_the_answer_has_begun() {
        assert_eq!(
            charge_of(ErrorKind::Unavailable, true),
            FailedCharge::Unknown
        );
        assert_eq!(charge_of(ErrorKind::Unavailable, false), FailedCharge::None);
        assert_eq!(
            charge_of(ErrorKind::InvalidRequest, false),
            FailedCharge::None
        );
        assert_eq!(
            charge_of(ErrorKind::ModelTimeout, false),
            FailedCharge::Unknown
        );
        assert_eq!(
            charge_of(ErrorKind::ThrottledTokens, true),
            FailedCharge::None
        );
    }
}
