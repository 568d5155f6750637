//! Every way in which a request to SQS or S3, or one entry of a batch, fails, as a kind.
//! Must not know: what is done about it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::BatchResultErrorEntry;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::Asked;
use crate::message_queue::{QueueError, QueueErrorKind as Kind};

/// Why the SDK could not make a part of a request.
pub(super) type Unmade = aws_sdk_sqs::error::BuildError;

/// The longest message kept, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// A request that failed as a whole.
pub(super) fn of_call<E>(asked: Asked<'_>, error: &SdkError<E, HttpResponse>) -> QueueError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let (code, words) = (error.code().unwrap_or(""), error.message().unwrap_or(""));
    let kind = match error {
        SdkError::ServiceError(_) => {
            kind_of(code, words).unwrap_or_else(|| kind_of_status(status.unwrap_or(0)))
        }
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_)
            if find::<CredentialsError>(error).is_some() =>
        {
            Kind::Denied
        }
        SdkError::ConstructionFailure(_) => Kind::Refused,
        SdkError::DispatchFailure(failure) if failure.is_user() => Kind::Refused,
        // No connection, none that held, no answer in time, or one that is not SQS's.
        _ => Kind::Unreachable,
    };
    let said = match (code, words) {
        ("", "") => causes(error),
        ("", said) | (said, "") => said.to_owned(),
        (code, words) => format!("{code}: {words}"),
    };
    let status = match (code, status) {
        ("", Some(status)) => format!("HTTP status {status}: "),
        _ => String::new(),
    };
    asked.refused(kind, &shorten(&format!("{status}{said}")))
}

/// An entry of a batch that failed alone.
pub(super) fn of_entry(asked: Asked<'_>, entry: &BatchResultErrorEntry) -> QueueError {
    let words = entry.message().unwrap_or("");
    let by_side = if entry.sender_fault { Kind::Refused } else { Kind::Unreachable };
    let kind = kind_of(entry.code(), words).unwrap_or(by_side);
    asked.refused(kind, &shorten(&format!("{}: {words}", entry.code())))
}

/// A request that could not be put together.
pub(super) fn unmade(asked: Asked<'_>, error: &Unmade) -> QueueError {
    asked.refused(Kind::Refused, &shorten(&causes(error)))
}

/// The kind by the error's code. The SDK makes its variants (an enum of its own for each operation,
/// none for a batch's entries) of the same codes, so one table of them serves all. The service writes
/// most of them as its older protocol did (`AWS.SimpleQueueService.NonExistentQueue`), emulators also
/// by the variant's name (`QueueDoesNotExist`).
fn kind_of(code: &str, words: &str) -> Option<Kind> {
    if let Some(of_key) = code.strip_prefix("KMS.").or_else(|| code.strip_prefix("Kms")) {
        let throttled = matches!(of_key, "ThrottlingException" | "Throttled");
        return Some(if throttled { Kind::Throttled } else { Kind::Denied });
    }
    let bare = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    let kind = match bare.strip_suffix("Exception").unwrap_or(bare) {
        "NonExistentQueue"
        | "QueueDoesNotExist"
        | "QueueDeletedRecently"
        | "InvalidAddress"
        | "NoSuchBucket" => Kind::Gone,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AuthFailure"
        | "ExpiredToken"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignature"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClient" => Kind::Denied,
        "RequestThrottled"
        | "Throttling"
        | "Throttled"
        | "ThrottledRequest"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "SlowDown" => Kind::Throttled,
        "OverLimit" => Kind::Full,
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => Kind::Stale,
        "BatchRequestTooLong" | "EntityTooLarge" => Kind::TooLarge,
        "InvalidMessageContents" => Kind::Contents,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "RequestTimeout" => Kind::Unreachable,
        "InvalidParameterValue" => invalid_parameter(words),
        _ => return None,
    };
    Some(kind)
}

// The one place where the service's words decide: it gives the 12-hour ceiling, a receipt that is
// no longer good and a message that is too long the code of every wrong parameter, and its model has
// no error for them. It names the parameter, which is all that is looked for. Public threads that
// quote the words: localstack/localstack#3956 and aws/aws-sdk-net#794 (the ceiling),
// mapbox/ecs-watchbot#135 and bbc/sqs-consumer#83 (the receipt), getmoto/moto#450 (the length).
fn invalid_parameter(words: &str) -> Kind {
    if words.contains("for parameter VisibilityTimeout is invalid") {
        // A visibility that is out of range never leaves this process: what is left is the ceiling.
        Kind::Ceiling
    } else if words.contains("for parameter ReceiptHandle is invalid") {
        Kind::Stale
    } else if words.contains("Message must be shorter than") {
        Kind::TooLarge
    } else {
        Kind::Refused
    }
}

/// The kind of a refusal without a code that is known.
fn kind_of_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Denied,
        413 => Kind::TooLarge,
        429 => Kind::Throttled,
        400..=407 | 409..=499 => Kind::Refused,
        _ => Kind::Unreachable,
    }
}

/// Each cause once, without the SDK's dumps of a whole request or response: they hold bodies.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&cause| cause.source()).map(|cause| {
        let text = cause.to_string();
        let dump = ["Request {", "Response {"].iter().filter_map(|start| text.find(start)).min();
        text.get(..dump.unwrap_or(text.len())).unwrap_or_default().trim_end().to_owned()
    });
    causes.collect::<Vec<_>>().join(": ")
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<E>())
}

fn shorten(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_told_apart_by_its_name() {
        let table = [
            (
                "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total \
                 VisibilityTimeout for the message is beyond the limit [43200 seconds]",
                Kind::Ceiling,
            ),
            (
                "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist \
                 or is not available for visibility timeout change.",
                Kind::Stale,
            ),
            (
                "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has \
                 expired.",
                Kind::Stale,
            ),
            (
                "One or more parameters are invalid. Reason: Message must be shorter than 262144 \
                 bytes.",
                Kind::TooLarge,
            ),
            ("Value 901 for parameter DelaySeconds is invalid.", Kind::Refused),
            ("", Kind::Refused),
        ];
        for (words, kind) in table {
            assert_eq!(kind_of("InvalidParameterValue", words), Some(kind), "{words}");
        }
    }

    #[test]
    fn words_decide_nothing_where_the_code_says_enough() {
        let words = "Value 1 for parameter VisibilityTimeout is invalid";
        assert_eq!(kind_of("AWS.SimpleQueueService.NonExistentQueue", words), Some(Kind::Gone));
        assert_eq!(kind_of("SomethingNew", words), None);
    }
}
