//! The kind of a refused call, by the provider's error code, and what it costs.
//! Must not know: the SDK's types, clients, what is done about a failure.

use crate::error::ErrorKind;
use crate::provider::FailedCharge;

/// What a refusal says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal<'a> {
    /// The error's code: `ThrottlingException`.
    pub(super) code: Option<&'a str>,
    /// The HTTP status; none inside a stream.
    pub(super) status: Option<u16>,
    /// The HTTP status that the model's own server gave, where a 424 passes it on.
    pub(super) original_status: Option<u16>,
    /// The service's words.
    pub(super) message: &'a str,
}

/// The kind by the error's code; by the HTTP status where no known code is given.
pub(super) fn kind_of(refusal: &Refusal<'_>) -> ErrorKind {
    refusal
        .code
        .and_then(|code| kind_of_code(code, refusal))
        .unwrap_or_else(|| kind_of_status(refusal))
}

/// The codes of Bedrock and of the layers in front of it. Exceptions inside a stream spell the
/// same names with a small first letter.
fn kind_of_code(code: &str, refusal: &Refusal<'_>) -> Option<ErrorKind> {
    let message = refusal.message;
    let bare = code.strip_suffix("Exception").unwrap_or(code);
    let kind = match bare.to_ascii_lowercase().as_str() {
        "throttling" | "toomanyrequests" | "requestlimitexceeded" | "servicequotaexceeded" => {
            throttle_kind(message)
        }
        "modelnotready" => ErrorKind::ModelNotReady,
        "serviceunavailable" => unavailable_kind(message),
        "internalserver" | "internalfailure" | "internalservererror" => ErrorKind::Internal,
        "modeltimeout" => ErrorKind::ModelTimeout,
        "modelerror" => model_error_kind(refusal),
        // The model broke off in mid-answer, which the service itself says to try again.
        "modelstreamerror" => ErrorKind::ModelError,
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

fn kind_of_status(refusal: &Refusal<'_>) -> ErrorKind {
    let message = refusal.message;
    match refusal.status {
        Some(401) => ErrorKind::Credentials,
        Some(403) => ErrorKind::AccessDenied,
        Some(404) => ErrorKind::ModelNotFound,
        Some(408) => ErrorKind::ModelTimeout,
        Some(413) => ErrorKind::InputTooLong,
        Some(424) => model_error_kind(refusal),
        Some(429) => throttle_kind(message),
        Some(502..=504) => unavailable_kind(message),
        Some(400..=499) => ErrorKind::InvalidRequest,
        _ => ErrorKind::Internal,
    }
}

/// A 424 is the model's own failure. Its server's status tells whether another try can help: what
/// it refuses it refuses again, and where it was too busy or broke it may not.
fn model_error_kind(refusal: &Refusal<'_>) -> ErrorKind {
    match refusal.original_status {
        Some(429) => ErrorKind::Overloaded,
        Some(413) => ErrorKind::InputTooLong,
        Some(400 | 404 | 405 | 415 | 422) => validation_kind(refusal.message),
        Some(500..=599) => ErrorKind::Internal,
        _ => ErrorKind::ModelError,
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
    if Says::new(message).overloaded() { ErrorKind::Overloaded } else { ErrorKind::Unavailable }
}

fn validation_kind(message: &str) -> ErrorKind {
    let says = Says::new(message);
    let too_long =
        ["input is too long", "prompt is too long", "too many input tokens", "expected maxlength:"]
            .iter()
            .any(|phrase| says.has(phrase));
    if too_long {
        ErrorKind::InputTooLong
    } else if says.has("on-demand throughput isn") {
        ErrorKind::ProfileNeeded
    } else if says.has("model identifier is invalid") {
        ErrorKind::ModelNotFound
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
pub(super) fn charge_of(kind: ErrorKind, began: bool) -> FailedCharge {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<'a>(code: Option<&'a str>, status: Option<u16>, message: &'a str) -> Refusal<'a> {
        Refusal { code, status, original_status: None, message }
    }

    #[test]
    fn a_throttles_text_tells_which_quota_is_used_up() {
        let table = [
            ("Too many requests, please wait before trying again.", ErrorKind::ThrottledRequests),
            (
                "Too many requests, please wait before trying again. You have sent too many \
                 requests.  Wait before trying again.",
                ErrorKind::ThrottledRequests,
            ),
            ("Too many tokens, please wait before trying again.", ErrorKind::ThrottledTokens),
            ("Too many tokens per day, please wait before trying again.", ErrorKind::ThrottledDay),
            (
                "Model anthropic.claude-haiku-4-5-20251001-v1:0 is currently overloaded. Please \
                 try again later.",
                ErrorKind::Overloaded,
            ),
            ("Rate exceeded", ErrorKind::ThrottledRequests),
            ("", ErrorKind::ThrottledRequests),
        ];
        for (text, kind) in table {
            let before = refusal(Some("ThrottlingException"), Some(429), text);
            let inside = refusal(Some("throttlingException"), None, text);
            assert_eq!(kind_of(&before), kind, "{text}");
            assert_eq!(kind_of(&inside), kind, "{text}");
            assert_eq!(charge_of(kind, true), FailedCharge::None);
        }
    }

    #[test]
    fn an_input_that_is_too_long_is_told_from_a_malformed_request() {
        let table = [
            ("Input is too long for requested model.", ErrorKind::InputTooLong),
            ("prompt is too long: 210000 tokens > 200000 maximum", ErrorKind::InputTooLong),
            ("Too many input tokens. Max input tokens: 8192", ErrorKind::InputTooLong),
            (
                "Malformed input request: expected maxLength: 50000, actual: 60000, please \
                 reformat your input and try again.",
                ErrorKind::InputTooLong,
            ),
            ("The provided model identifier is invalid.", ErrorKind::ModelNotFound),
            (
                "Invocation of model ID X with on-demand throughput isn\u{2019}t supported. Retry \
                 your request with the ID or ARN of an inference profile that contains this model.",
                ErrorKind::ProfileNeeded,
            ),
            // A payload that merely holds the number or the word of another error.
            ("Malformed input request: 429 overloaded", ErrorKind::InvalidRequest),
        ];
        for (text, kind) in table {
            let said = refusal(Some("ValidationException"), Some(400), text);
            assert_eq!(kind_of(&said), kind, "{text}");
        }
    }

    #[test]
    fn a_code_decides_before_the_status_and_the_status_where_the_code_is_unknown() {
        let table = [
            (Some("ModelNotReadyException"), 429, ErrorKind::ModelNotReady),
            (Some("ServiceUnavailableException"), 503, ErrorKind::Unavailable),
            (Some("InternalServerException"), 500, ErrorKind::Internal),
            (Some("ModelTimeoutException"), 408, ErrorKind::ModelTimeout),
            (Some("ModelErrorException"), 424, ErrorKind::ModelError),
            (Some("ModelStreamErrorException"), 424, ErrorKind::ModelError),
            (Some("AccessDeniedException"), 403, ErrorKind::AccessDenied),
            (Some("ExpiredTokenException"), 403, ErrorKind::Credentials),
            (Some("ExpiredToken"), 400, ErrorKind::Credentials),
            (Some("UnrecognizedClientException"), 403, ErrorKind::Credentials),
            (Some("InvalidSignatureException"), 403, ErrorKind::Credentials),
            (Some("IncompleteSignature"), 400, ErrorKind::Credentials),
            (Some("ResourceNotFoundException"), 404, ErrorKind::ModelNotFound),
            (Some("FTUFormNotFilled"), 404, ErrorKind::AccessDenied),
            (Some("ServiceQuotaExceededException"), 400, ErrorKind::ThrottledRequests),
            (Some("SomethingNewException"), 400, ErrorKind::InvalidRequest),
            (Some("SomethingNewException"), 503, ErrorKind::Unavailable),
            (None, 502, ErrorKind::Unavailable),
            (None, 429, ErrorKind::ThrottledRequests),
            (None, 418, ErrorKind::InvalidRequest),
            (None, 599, ErrorKind::Internal),
        ];
        for (code, status, kind) in table {
            assert_eq!(kind_of(&refusal(code, Some(status), "")), kind, "{code:?} {status}");
        }
    }

    #[test]
    fn a_424_is_judged_by_the_status_of_the_models_own_server() {
        let table = [
            (None, "", ErrorKind::ModelError),
            (Some(400), "", ErrorKind::InvalidRequest),
            (Some(400), "prompt is too long: 2 > 1", ErrorKind::InputTooLong),
            (Some(413), "", ErrorKind::InputTooLong),
            (Some(422), "", ErrorKind::InvalidRequest),
            (Some(424), "", ErrorKind::ModelError),
            (Some(429), "", ErrorKind::Overloaded),
            (Some(500), "", ErrorKind::Internal),
            (Some(503), "", ErrorKind::Internal),
        ];
        for (original_status, message, kind) in table {
            for code in [Some("ModelErrorException"), None] {
                let said = Refusal { original_status, ..refusal(code, Some(424), message) };
                assert_eq!(kind_of(&said), kind, "{original_status:?} {message}");
            }
        }
    }

    #[test]
    fn only_a_throttle_is_free_once_the_answer_has_begun() {
        assert_eq!(charge_of(ErrorKind::Unavailable, true), FailedCharge::Unknown);
        assert_eq!(charge_of(ErrorKind::Unavailable, false), FailedCharge::None);
        assert_eq!(charge_of(ErrorKind::InvalidRequest, false), FailedCharge::None);
        assert_eq!(charge_of(ErrorKind::ModelTimeout, false), FailedCharge::Unknown);
        assert_eq!(charge_of(ErrorKind::ThrottledTokens, true), FailedCharge::None);
    }
}
