//! Streams that fail after their status was 200.

use quarrier::error::ErrorKind;
use quarrier::provider::{FailedCharge, GenerateRequest};
use serde_json::json;

use crate::server::{Reply, Step, exception, metadata, start, text};
use crate::ways::{APIS, Way, chunk, ways};
use crate::{fails, request};

/// A stream that has said "Hel", and goes on so.
fn begun(way: Way, then: impl IntoIterator<Item = Step>) -> Reply {
    let mut steps = way.opening();
    steps.push(way.text("Hel"));
    steps.extend(then);
    Reply::Stream(steps)
}

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
    for way in ways() {
        for (name, kind, charge) in table {
            let reply = begun(way, [exception(name, "Too many tokens, wait")]);
            let error = fails(reply, way.request(true)).await;
            assert_eq!((error.kind, error.charge), (kind, charge), "{way:?} {name}");
            assert_eq!(error.partial_text.as_deref(), Some("Hel"));
            assert_eq!(error.message, "Too many tokens, wait");
            assert_eq!(error.request_id.as_deref(), Some("req-1"));
        }
    }
}

#[tokio::test]
async fn an_exception_before_the_first_event_is_a_refusal() {
    for way in APIS {
        let steps = vec![exception("serviceUnavailableException", "try again")];
        let error = fails(Reply::Stream(steps), way.request(true)).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::Unavailable, FailedCharge::None));
    }
}

#[tokio::test]
async fn a_stream_that_ends_between_frames_without_its_closing_events_is_cut() {
    for way in ways() {
        let parts = way.parts();
        for kept in 0..parts.len() {
            let (steps, said): (Vec<Step>, Vec<&str>) = parts[..kept].iter().cloned().unzip();
            let said = said.concat();
            let error = fails(Reply::Stream(steps), way.request(true)).await;
            assert_eq!(error.kind, ErrorKind::StreamCut, "{way:?} after {kept} parts");
            assert_eq!(error.charge, FailedCharge::Unknown);
            assert_eq!(error.partial_text, (!said.is_empty()).then_some(said));
        }
    }
}

#[tokio::test]
async fn counts_without_a_stop_reason_are_no_end() {
    let steps = vec![start(), text("Hel"), metadata()];
    let error = fails(Reply::Stream(steps), request()).await;
    assert_eq!((error.kind, error.charge), (ErrorKind::StreamCut, FailedCharge::Unknown));
    assert_eq!(error.partial_text.as_deref(), Some("Hel"));
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_cut() {
    for way in ways() {
        let Step::Bytes(whole) = way.text("lo") else { panic!("a text is bytes") };
        for length in [1, 11, 12, 13, whole.len() - 1] {
            for ending in [None, Some(Step::Break)] {
                let part = Step::Bytes(whole.slice(..length));
                let reply = begun(way, std::iter::once(part).chain(ending));
                let error = fails(reply, way.request(true)).await;
                assert_eq!(error.kind, ErrorKind::StreamCut, "{way:?} after {length} bytes");
                assert_eq!(error.charge, FailedCharge::Unknown);
                assert_eq!(error.partial_text.as_deref(), Some("Hel"));
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_frame_is_a_cut_stream() {
    for way in ways() {
        let Step::Bytes(whole) = way.text("lo") else { panic!("a text is bytes") };
        let mut damaged = whole.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let reply = begun(way, [Step::Bytes(damaged.into()), Step::Hang]);
        let error = fails(reply, way.request(true)).await;
        assert_eq!(error.kind, ErrorKind::StreamCut);
        assert_eq!(error.partial_text.as_deref(), Some("Hel"));
    }
}

#[tokio::test]
async fn a_chunk_that_is_not_of_its_format_is_an_error_of_the_far_side() {
    for way in ways().filter(|way| *way != Way::Converse) {
        let reply = begun(way, [chunk(&json!("no object")), Step::Hang]);
        let error = fails(reply, way.request(true)).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::Internal, FailedCharge::Unknown));
        assert_eq!(error.partial_text.as_deref(), Some("Hel"), "{way:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_event_stream_is_an_error_of_the_far_side() {
    let page = "<html>Please sign in to the hotel's network</html>".to_owned();
    let reply = Reply::Whole(200, vec![("content-type", "text/html")], page.clone());
    for (way, stream) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let error = fails(reply.clone(), way.request(stream)).await;
        assert_eq!(error.kind, ErrorKind::Internal, "{way:?}");
        assert_eq!(error.charge, FailedCharge::Unknown);
        assert!(!error.message.contains("hotel"), "{}", error.message);
        assert_eq!(error.partial_text.as_deref(), (!stream).then_some(page.as_str()), "{way:?}");
    }
}

#[tokio::test]
async fn of_a_long_body_that_cannot_be_read_the_beginning_is_kept() {
    for way in ways() {
        let reply = Reply::Whole(200, vec![], "x".repeat(100_000));
        let error = fails(reply, way.request(false)).await;
        assert!(error.partial_text == Some("x".repeat(65_536)), "{way:?}");
    }
}

#[tokio::test]
async fn an_answer_longer_than_the_bound_is_stopped_and_its_start_kept() {
    let piece = "äöü".repeat(10);
    let twice = piece.repeat(2);
    for (way, stream) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let reply = if stream {
            let steps = [vec![way.text(&piece), way.text(&piece)], vec![Step::Hang]].concat();
            Reply::Stream([way.opening(), steps].concat())
        } else {
            way.whole(&twice, way.done())
        };
        let base = GenerateRequest { answer_bytes_max: 65, ..way.request(stream) };
        let error = fails(reply, base).await;
        assert_eq!(error.kind, ErrorKind::AnswerTooLarge, "{way:?}");
        assert_eq!(error.charge, FailedCharge::Unknown);
        let kept = error.partial_text.unwrap();
        // 65 bytes would end inside a character, so one byte less is kept.
        assert_eq!(kept.len(), 64, "{way:?}");
        assert!(twice.starts_with(&kept));
    }
}
