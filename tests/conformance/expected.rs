//! What a call must come to under each fault: written from what the service's errors mean, not from
//! what the adapter makes of them.

use quarrier::catalogue::Format;
use quarrier::completion::Api;
use quarrier::error::ErrorKind as K;
use quarrier::provider::Clocks;
use quarrier::provider::FailedCharge as C;
use quarrier::simulator::Fault;

use crate::End::{self, Answer, Fails, Passes};
use crate::ways::Way;

/// A refusal before anything was generated.
const fn free(kind: K) -> End {
    Fails(kind, C::None, false)
}

/// A failure before the answer began, during which the model may have been at work.
const fn unknown(kind: K) -> End {
    Fails(kind, C::Unknown, false)
}

/// A stream that fails in its middle.
const fn begun(kind: K) -> End {
    Fails(kind, C::Unknown, true)
}

/// A throttle in the middle of a stream.
const fn throttled(kind: K) -> End {
    Fails(kind, C::None, true)
}

/// Fault, what a stream comes to, what a whole answer comes to.
#[rustfmt::skip]
const TABLE: &[(&str, End, End)] = &[
    // Before the answer.
    ("throttle", free(K::ThrottledRequests), free(K::ThrottledRequests)),
    ("throttle_requests", free(K::ThrottledRequests), free(K::ThrottledRequests)),
    ("throttle_tokens", free(K::ThrottledTokens), free(K::ThrottledTokens)),
    ("throttle_day", free(K::ThrottledDay), free(K::ThrottledDay)),
    ("overloaded", free(K::Overloaded), free(K::Overloaded)),
    ("rate_exceeded", free(K::ThrottledRequests), free(K::ThrottledRequests)),
    ("retry_after", free(K::ThrottledRequests), free(K::ThrottledRequests)),
    ("model_not_ready", free(K::ModelNotReady), free(K::ModelNotReady)),
    ("service_quota", free(K::ThrottledRequests), free(K::ThrottledRequests)),
    ("too_many_connections", free(K::Unavailable), free(K::Unavailable)),
    ("http_500", unknown(K::Internal), unknown(K::Internal)),
    ("bad_gateway", free(K::Unavailable), free(K::Unavailable)),
    ("http_503", free(K::Unavailable), free(K::Unavailable)),
    ("unable_to_process", free(K::Unavailable), free(K::Unavailable)),
    ("model_timeout", unknown(K::ModelTimeout), unknown(K::ModelTimeout)),
    ("model_error", unknown(K::Internal), unknown(K::Internal)),
    ("model_error_final", free(K::InvalidRequest), free(K::InvalidRequest)),
    ("validation", free(K::InvalidRequest), free(K::InvalidRequest)),
    ("input_too_long", free(K::InputTooLong), free(K::InputTooLong)),
    ("prompt_too_long", free(K::InputTooLong), free(K::InputTooLong)),
    ("profile_needed", free(K::ProfileNeeded), free(K::ProfileNeeded)),
    ("unknown_model", free(K::ModelNotFound), free(K::ModelNotFound)),
    ("not_found", free(K::ModelNotFound), free(K::ModelNotFound)),
    ("end_of_life", free(K::ModelNotFound), free(K::ModelNotFound)),
    ("form_not_filled", free(K::AccessDenied), free(K::AccessDenied)),
    ("access_denied", free(K::AccessDenied), free(K::AccessDenied)),
    ("expired_token", free(K::Credentials), free(K::Credentials)),
    ("unrecognized_client", free(K::Credentials), free(K::Credentials)),
    ("invalid_signature", free(K::Credentials), free(K::Credentials)),
    ("clock_skew", free(K::Credentials), free(K::Credentials)),
    // In a stream; before the answer where nothing streams.
    ("stream_throttle_requests", throttled(K::ThrottledRequests), free(K::ThrottledRequests)),
    ("stream_throttle_tokens", throttled(K::ThrottledTokens), free(K::ThrottledTokens)),
    ("stream_throttle_day", throttled(K::ThrottledDay), free(K::ThrottledDay)),
    ("stream_overloaded", throttled(K::Overloaded), free(K::Overloaded)),
    ("stream_internal", begun(K::Internal), unknown(K::Internal)),
    ("stream_unavailable", begun(K::Unavailable), free(K::Unavailable)),
    ("stream_too_many_connections", begun(K::Unavailable), free(K::Unavailable)),
    ("stream_model_error", begun(K::ModelError), unknown(K::ModelError)),
    ("stream_validation", begun(K::InvalidRequest), free(K::InvalidRequest)),
    ("stream_model_timeout", begun(K::ModelTimeout), unknown(K::ModelTimeout)),
    // The transport.
    ("reset", unknown(K::ConnectFailed), unknown(K::ConnectFailed)),
    ("closed", unknown(K::ConnectFailed), unknown(K::ConnectFailed)),
    ("hang", unknown(K::FirstTokenTimeout), unknown(K::CallTimeout)),
    ("hang_head", unknown(K::FirstTokenTimeout), unknown(K::CallTimeout)),
    ("hang_stream", begun(K::IdleTimeout), unknown(K::CallTimeout)),
    ("drip", begun(K::IdleTimeout), unknown(K::CallTimeout)),
    ("cut_stream", begun(K::StreamCut), unknown(K::StreamCut)),
    ("cut_frame", begun(K::StreamCut), unknown(K::StreamCut)),
    ("broken", begun(K::StreamCut), unknown(K::StreamCut)),
    // What came whole and cannot be read is kept.
    ("no_closing", begun(K::StreamCut), begun(K::Internal)),
    ("no_usage", begun(K::StreamCut), begun(K::Internal)),
    ("length_long", Passes, unknown(K::StreamCut)),
    ("length_short", begun(K::StreamCut), begun(K::Internal)),
    ("corrupt_frame", begun(K::StreamCut), begun(K::Internal)),
    ("unknown_event", Passes, Passes),
    ("lone_surrogate", Passes, Passes),
    // The content.
    ("truncated", Answer(K::Truncated), Answer(K::Truncated)),
    ("context_window", Answer(K::Truncated), Answer(K::Truncated)),
    ("refusal", Answer(K::Refused), Answer(K::Refused)),
    ("content_filter", Answer(K::Filtered), Answer(K::Filtered)),
    ("guardrail", Answer(K::Guardrail), Answer(K::Guardrail)),
    ("malformed_output", Answer(K::InvalidJson), Answer(K::InvalidJson)),
    ("empty", Answer(K::Empty), Answer(K::Empty)),
    ("blank", Answer(K::Empty), Answer(K::Empty)),
    ("huge", begun(K::AnswerTooLarge), begun(K::AnswerTooLarge)),
    ("nul", Passes, Passes),
    // The JSON: what the check room makes of an answer that came whole.
    ("prose", Passes, Passes),
    ("wrong_schema", Answer(K::SchemaMismatch), Answer(K::SchemaMismatch)),
];

/// Clocks that no busy machine runs out.
pub(crate) const LONG: Clocks =
    Clocks { first_token_ms: 60_000, idle_ms: 60_000, total_ms: 60_000 };

/// Long clocks, so that a busy machine fails no call; short ones only where silence is the fault.
pub(crate) fn clocks(fault: Fault, stream: bool) -> Clocks {
    let long = LONG;
    match fault.as_str() {
        "hang" | "hang_head" if stream => Clocks { first_token_ms: 500, ..long },
        "hang_stream" | "drip" if stream => Clocks { idle_ms: 1_500, ..long },
        "hang" | "hang_head" | "hang_stream" | "drip" => Clocks { total_ms: 500, ..long },
        _ => long,
    }
}

/// Where one interface or format is unlike the others.
fn apart(name: &str, way: Way) -> Option<Vec<End>> {
    let invokes = way.api == Api::Invoke;
    let ends = match (name, way.format) {
        // The simulator draws one of the two texts.
        ("throttle", _) => vec![free(K::ThrottledRequests), free(K::ThrottledTokens)],
        // Converse does not know it inside a stream.
        ("stream_model_timeout", _) if !invokes => vec![unknown(K::ModelTimeout)],
        // The SDK refuses half a character in JSON that it reads itself.
        ("lone_surrogate", _) if !invokes && way.stream => vec![begun(K::StreamCut)],
        ("lone_surrogate", _) if !invokes => vec![begun(K::Internal)],
        _ if !invokes => return None,
        // A body that we read ourselves may do without the byte: within a text, nothing else is
        // lost with it.
        ("corrupt_frame", _) if !way.stream => {
            vec![begun(K::Internal), Passes, Answer(K::InvalidJson), Answer(K::SchemaMismatch)]
        }
        // Claude's last word adds nothing: all was said before it.
        ("no_usage", Format::Claude) if way.stream => vec![Passes],
        // What a format has no word for looks like any other answer.
        ("context_window", format) if has_two_words(format) => {
            vec![Answer(K::Truncated), Answer(K::InvalidJson)]
        }
        ("refusal" | "content_filter", format) if has_two_words(format) => {
            vec![Answer(K::InvalidJson)]
        }
        ("refusal", Format::MistralChat | Format::Nova) => vec![Answer(K::Filtered)],
        ("content_filter", Format::Claude) => vec![Answer(K::Refused)],
        ("malformed_output", format) if format != Format::Nova => vec![Answer(K::Empty)],
        _ => return None,
    };
    Some(ends)
}

/// Formats that know `stop` and `length` alone.
fn has_two_words(format: Format) -> bool {
    matches!(format, Format::Llama3 | Format::Llama4 | Format::MistralInstruct)
}

/// The ends of which a call must come to one.
pub(crate) fn ends(fault: Fault, way: Way) -> Vec<End> {
    let name = fault.as_str();
    if let Some(ends) = apart(name, way) {
        return ends;
    }
    match TABLE.iter().find(|row| row.0 == name) {
        Some((_, streamed, whole)) => vec![if way.stream { *streamed } else { *whole }],
        // Slips of JSON: whether the check room mends them is its own affair.
        None if name == "malformed_json" || name.starts_with("json_") => {
            vec![Passes, Answer(K::InvalidJson), Answer(K::SchemaMismatch)]
        }
        None => panic!("what must come of {name}? add it to the table"),
    }
}
