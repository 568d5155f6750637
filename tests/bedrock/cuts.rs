//! Streams that fail after their status was 200.

use quarrier::error::ErrorKind;
use quarrier::provider::{FailedCharge, GenerateRequest};

use crate::server::{Reply, Step, exception, metadata, start, stop, text};
use crate::{fails, request, whole_request};

#[tokio::test]
async fn an_exception_inside_a_stream_keeps_what_had_arrived() {
    use ErrorKind as K;
    use FailedCharge as C;
    let table = [
        ("internalServerException", K::Internal, C::Unknown),
        ("modelStreamErrorException", K::ModelError, C::Unknown),
        ("modelTimeoutException", K::ModelTimeout, C::Unknown),
        ("serviceUnavailableException", K::Unavailable, C::Unknown),
        ("throttlingException", K::ThrottledTokens, C::None),
        ("validationException", K::InvalidRequest, C::Unknown),
    ];
    for (name, kind, charge) in table {
        let steps = vec![start(), text("Hel"), exception(name, "Too many tokens, wait")];
        let error = fails(Reply::Stream(steps), request()).await;
        assert_eq!((error.kind, error.charge), (kind, charge), "{name}");
        assert_eq!(error.partial_text.as_deref(), Some("Hel"));
        assert_eq!(error.message, "Too many tokens, wait");
        assert_eq!(error.request_id.as_deref(), Some("req-1"));
    }
}

#[tokio::test]
async fn an_exception_before_the_first_event_is_a_refusal() {
    let steps = vec![exception("serviceUnavailableException", "try again")];
    let error = fails(Reply::Stream(steps), request()).await;
    assert_eq!((error.kind, error.charge), (ErrorKind::Unavailable, FailedCharge::None));
}

#[tokio::test]
async fn a_stream_that_ends_between_frames_without_its_closing_events_is_cut() {
    let endings = [
        vec![],
        vec![start()],
        vec![start(), text("Hel")],
        vec![start(), text("Hel"), stop("end_turn")],
        vec![start(), text("Hel"), metadata()],
    ];
    for steps in endings {
        let partial = (steps.len() > 1).then_some("Hel");
        let error = fails(Reply::Stream(steps), request()).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::StreamCut, FailedCharge::Unknown));
        assert_eq!(error.partial_text.as_deref(), partial);
    }
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_cut() {
    let Step::Bytes(whole) = text("lo") else { panic!("a text is bytes") };
    for length in [1, 11, 12, 13, whole.len() - 1] {
        for ending in [None, Some(Step::Break)] {
            let mut steps = vec![start(), text("Hel"), Step::Bytes(whole.slice(..length))];
            steps.extend(ending);
            let error = fails(Reply::Stream(steps), request()).await;
            assert_eq!(error.kind, ErrorKind::StreamCut, "after {length} bytes");
            assert_eq!(error.charge, FailedCharge::Unknown);
            assert_eq!(error.partial_text.as_deref(), Some("Hel"));
        }
    }
}

#[tokio::test]
async fn a_damaged_frame_is_a_cut_stream() {
    let Step::Bytes(whole) = text("lo") else { panic!("a text is bytes") };
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let steps = vec![start(), text("Hel"), Step::Bytes(damaged.into()), Step::Hang];
    let error = fails(Reply::Stream(steps), request()).await;
    assert_eq!(error.kind, ErrorKind::StreamCut);
    assert_eq!(error.partial_text.as_deref(), Some("Hel"));
}

#[tokio::test]
async fn an_answer_that_is_no_event_stream_is_an_error_of_the_far_side() {
    let page = "<html>Please sign in to the hotel's network</html>".to_owned();
    let reply = Reply::Whole(200, vec![("content-type", "text/html")], page);
    for base in [request(), whole_request()] {
        let error = fails(reply.clone(), base).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::Internal, FailedCharge::Unknown));
    }
}

#[tokio::test]
async fn an_answer_longer_than_the_bound_is_stopped_and_its_start_kept() {
    let piece = "äöü".repeat(10);
    let steps = vec![start(), text(&piece), text(&piece), Step::Hang];
    let base = GenerateRequest { answer_bytes_max: 65, ..request() };
    let error = fails(Reply::Stream(steps), base).await;
    assert_eq!((error.kind, error.charge), (ErrorKind::AnswerTooLarge, FailedCharge::Unknown));
    let kept = error.partial_text.unwrap();
    // 65 bytes would end inside a character, so one byte less is kept.
    assert_eq!(kept.len(), 64);
    assert!(kept.starts_with(&piece));
}
