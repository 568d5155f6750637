//! Calls that end with an HTTP error.

use quarrier::error::ErrorKind as K;
use quarrier::provider::FailedCharge as C;
use serde_json::json;

use crate::server::Reply;
use crate::ways::APIS;
use crate::{fails, request};

/// HTTP status, error code, text, and what they come to.
#[rustfmt::skip]
const REFUSALS: [(u16, &str, &str, K, C); 21] = [
    (429, "ThrottlingException", "Too many requests, please wait", K::ThrottledRequests, C::None),
    (429, "ThrottlingException", "Too many tokens, please wait", K::ThrottledTokens, C::None),
    (429, "ThrottlingException", "Too many tokens per day, x", K::ThrottledDay, C::None),
    (429, "ThrottlingException", "Model m is currently overloaded.", K::Overloaded, C::None),
    (429, "ModelNotReadyException", "loading", K::ModelNotReady, C::None),
    (400, "ServiceQuotaExceededException", "quota", K::ThrottledRequests, C::None),
    (503, "ServiceUnavailableException", "Too many connections", K::Unavailable, C::None),
    (500, "InternalServerException", "oops", K::Internal, C::Unknown),
    (408, "ModelTimeoutException", "slow", K::ModelTimeout, C::Unknown),
    (424, "ModelErrorException", "bad", K::ModelError, C::Unknown),
    (400, "ValidationException", "Malformed input request", K::InvalidRequest, C::None),
    (400, "ValidationException", "Input is too long for it", K::InputTooLong, C::None),
    (400, "ValidationException", "prompt is too long: 2 > 1", K::InputTooLong, C::None),
    (400, "ValidationException", "Too many input tokens.", K::InputTooLong, C::None),
    (400, "ValidationException", "expected maxLength: 9", K::InputTooLong, C::None),
    (403, "AccessDeniedException", "no", K::AccessDenied, C::None),
    (403, "ExpiredTokenException", "old", K::Credentials, C::None),
    (403, "UnrecognizedClientException", "who", K::Credentials, C::None),
    (403, "InvalidSignatureException", "skew", K::Credentials, C::None),
    (404, "ResourceNotFoundException", "gone", K::ModelNotFound, C::None),
    (404, "FTUFormNotFilled", "form", K::AccessDenied, C::None),
];

#[tokio::test]
async fn each_error_code_has_its_kind_and_its_price() {
    for (status, code, said, kind, charge) in REFUSALS {
        for (way, stream) in APIS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
            let body = json!({ "message": said }).to_string();
            let reply = Reply::Whole(status, vec![("x-amzn-errortype", code)], body);
            let error = fails(reply, way.request(stream)).await;
            assert_eq!((error.kind, error.charge), (kind, charge), "{way:?} {code}: {said}");
            assert_eq!(error.message, said);
            assert_eq!(error.request_id.as_deref(), Some("req-1"));
        }
    }
}

#[tokio::test]
async fn a_models_own_failure_is_judged_by_its_servers_status() {
    let table = [
        (400, K::InvalidRequest, C::None),
        (422, K::InvalidRequest, C::None),
        (413, K::InputTooLong, C::None),
        (429, K::Overloaded, C::None),
        (500, K::Internal, C::Unknown),
        (302, K::ModelError, C::Unknown),
    ];
    for (way, stream) in APIS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        for (original, kind, charge) in table {
            let body = json!({ "message": "the model said no", "originalStatusCode": original,
                               "resourceName": "m" });
            let headers = vec![("x-amzn-errortype", "ModelErrorException")];
            let reply = Reply::Whole(424, headers, body.to_string());
            let error = fails(reply, way.request(stream)).await;
            assert_eq!((error.kind, error.charge), (kind, charge), "{way:?} {original}");
            assert_eq!(error.message, "the model said no");
        }
    }
}

#[tokio::test]
async fn an_error_names_how_long_to_wait() {
    let wait = |name, value| {
        let headers = vec![("x-amzn-errortype", "ThrottlingException"), (name, value)];
        fails(Reply::Whole(429, headers, "{}".to_owned()), request())
    };
    assert_eq!(wait("x-amz-retry-after", "1500").await.retry_after_ms, Some(1_500));
    assert_eq!(wait("retry-after", "2").await.retry_after_ms, Some(2_000));
    assert_eq!(wait("retry-after", "soon").await.retry_after_ms, None);
    assert_eq!(wait("retry-after", "99999999999999").await.retry_after_ms, Some(86_400_000));
}

#[tokio::test]
async fn a_proxys_page_is_judged_by_its_status() {
    let page = "<html><h1>502 Bad Gateway</h1></html>".to_owned();
    let error = fails(Reply::Whole(502, vec![], page), request()).await;
    assert_eq!(error.kind, K::Unavailable);
}

#[tokio::test]
async fn a_long_message_is_shortened() {
    let body = json!({ "message": "é".repeat(5_000) }).to_string();
    let reply = Reply::Whole(400, vec![("x-amzn-errortype", "ValidationException")], body);
    assert_eq!(fails(reply, request()).await.message.chars().count(), 2_000);
}
