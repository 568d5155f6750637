//! The clocks of a call, each running out by itself.

use quarrier::error::ErrorKind;
use quarrier::provider::{Clocks, FailedCharge, GenerateRequest};

use crate::fails;
use crate::server::{Reply, Step};
use crate::ways::{Way, ways};

fn hurried(way: Way, first_token_ms: u64, idle_ms: u64, total_ms: u64) -> GenerateRequest {
    GenerateRequest { clocks: Clocks { first_token_ms, idle_ms, total_ms }, ..way.request(true) }
}

/// A stream that has said "Hel", and goes on so.
fn begun(way: Way, then: Step) -> Reply {
    Reply::Stream([way.opening(), vec![way.text("Hel"), then]].concat())
}

#[tokio::test]
async fn nothing_at_all_runs_out_the_first_token_clock() {
    for way in ways() {
        for reply in [Reply::Silence, Reply::Stream(vec![Step::Hang])] {
            let error = fails(reply, hurried(way, 100, 20_000, 20_000)).await;
            assert_eq!(error.kind, ErrorKind::FirstTokenTimeout, "{way:?}");
            assert_eq!(error.charge, FailedCharge::Unknown);
        }
    }
}

#[tokio::test]
async fn silence_between_events_runs_out_the_idle_clock_and_keeps_the_text() {
    for way in ways() {
        let error = fails(begun(way, Step::Hang), hurried(way, 20_000, 100, 20_000)).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::IdleTimeout, FailedCharge::Unknown));
        assert_eq!(error.partial_text.as_deref(), Some("Hel"), "{way:?}");
    }
}

#[tokio::test]
async fn a_trickle_that_never_ends_runs_out_the_whole_calls_clock() {
    for way in ways() {
        let Step::Bytes(drop) = way.text("x") else { panic!("a text is bytes") };
        let reply = begun(way, Step::Trickle(drop));
        let error = fails(reply, hurried(way, 20_000, 20_000, 100)).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::CallTimeout, FailedCharge::Unknown));
        assert!(error.partial_text.unwrap().starts_with("Hel"), "{way:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_not_streamed_has_the_whole_calls_clock() {
    for way in ways() {
        let base = GenerateRequest { stream: false, ..hurried(way, 20_000, 20_000, 100) };
        let error = fails(Reply::Silence, base).await;
        assert_eq!((error.kind, error.charge), (ErrorKind::CallTimeout, FailedCharge::Unknown));
    }
}
