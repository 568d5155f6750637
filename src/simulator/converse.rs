//! Converse and ConverseStream, from the body to the last byte. Must not know: sockets, how paths
//! are routed.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde_json::json;

use super::answer::{self, Answer, Content, Plan};
use super::faults::Fault;
use super::frames::write_event;
use super::pace::Pace;
use super::quota::Shortage;
use super::reply;
use super::request::{self, Facts, Operation, Refusal};
use super::state::{Admission, End, Shared, Verdict};
use super::tokens;

/// Runs one call.
pub(crate) async fn call(
    shared: Arc<Shared>,
    model_id: String,
    operation: Operation,
    bytes: Bytes,
) -> Response {
    let mut facts = Facts::unread(model_id, operation);
    let options = &shared.options;
    let read = request::read(&bytes, &mut facts, options.seed, options.input_tokens_max);
    let planned = read.and_then(|ask| Plan::new(&ask.wanted, &shared.schemas).map(|p| (ask, p)));
    let (ask, plan) = match planned {
        Ok(planned) => planned,
        Err(refusal) => {
            let seq = shared.refuse(&facts, refusal.code);
            return reply::refusal(&refusal, reply::request_id(&shared, seq));
        }
    };
    let (mut admission, fault) = match shared.admit(&facts, ask.content) {
        Verdict::Run(admission, fault) => (admission, fault),
        Verdict::Throttled(shortage, seq) => {
            return reply::refusal(&throttle(shortage), reply::request_id(&shared, seq));
        }
    };
    let request_id = reply::request_id(&shared, admission.seq());
    if let Some(refusal) = fault.and_then(failure) {
        admission.end(End::Failed(refusal.code));
        return reply::refusal(&refusal, request_id);
    }
    let answer = answer::make(&ask, &plan, facts.max_tokens, fault);
    admission.expected_output = answer.output_tokens;
    if let Some(note) = &answer.note {
        admission.note(note.clone());
    }
    if let Some(spared) = fault.filter(|_| !answer.struck) {
        admission.spared(spared);
    }
    let run = Run {
        pace: Pace::new(&shared, ask.content, admission.seq()),
        burndown: tokens::burndown(&facts.model_id),
        input_tokens: facts.input_tokens,
        shared,
        admission,
        answer,
        fault,
        request_id,
    };
    run.reply(operation).await
}

fn throttle(shortage: Shortage) -> Refusal {
    let what = match shortage {
        Shortage::Requests => "requests",
        Shortage::Tokens => "tokens",
    };
    Refusal {
        status: 429,
        code: "ThrottlingException",
        message: format!("Too many {what}, please wait before trying again."),
    }
}

/// The faults that are plain error answers.
fn failure(fault: Fault) -> Option<Refusal> {
    let (status, code, message) = match fault {
        Fault::Http500 => (
            500,
            "InternalServerException",
            "The system encountered an unexpected error during processing. Try your request again.",
        ),
        Fault::Http503 => (
            503,
            "ServiceUnavailableException",
            "Service temporarily unavailable, please try again.",
        ),
        _ => return None,
    };
    Some(Refusal { status, code, message: message.to_owned() })
}

/// One admitted call on its way.
struct Run {
    shared: Arc<Shared>,
    admission: Admission,
    answer: Answer,
    fault: Option<Fault>,
    pace: Pace,
    burndown: u64,
    input_tokens: u64,
    request_id: String,
}

impl Run {
    async fn reply(self, operation: Operation) -> Response {
        let hangs_at_once = match self.fault {
            Some(Fault::Hang) => true,
            Some(Fault::HangStream) => !operation.streams(),
            _ => false,
        };
        if hangs_at_once {
            hang(&self.shared).await;
            self.admission.end(End::Gone { client: false });
            let refusal = Refusal {
                status: 408,
                code: "ModelTimeoutException",
                message: "The request took too long to process.".to_owned(),
            };
            return reply::refusal(&refusal, self.request_id);
        }
        if operation.streams() { self.streamed().await } else { self.whole().await }
    }

    fn completed(&self) -> End {
        End::Completed { output_tokens: self.answer.output_tokens, burndown: self.burndown }
    }

    fn usage(&self) -> serde_json::Value {
        json!({
            "inputTokens": self.input_tokens,
            "outputTokens": self.answer.output_tokens,
            "totalTokens": self.input_tokens + self.answer.output_tokens,
            "cacheReadInputTokens": 0,
            "cacheWriteInputTokens": 0,
        })
    }

    fn latency_ms(&self) -> u64 {
        self.pace.micros_at(self.answer.output_tokens) / 1_000
    }

    /// Converse: one body at the end.
    async fn whole(self) -> Response {
        self.pace.wait(self.answer.output_tokens).await;
        let content = match &self.answer.content {
            Content::Nothing => json!([]),
            Content::Text(text) => json!([{ "text": text }]),
            Content::Tool { name, input } => {
                // A cut input is no document; the service then gives an empty one.
                let input = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
                json!([{ "toolUse": {
                    "toolUseId": self.tool_use_id(), "name": name, "input": input,
                } }])
            }
        };
        let body = json!({
            "output": { "message": { "role": "assistant", "content": content } },
            "stopReason": self.answer.stop,
            "usage": self.usage(),
            "metrics": { "latencyMs": self.latency_ms() },
            "additionalModelResponseFields": { "simulated": true },
        })
        .to_string();
        let end = self.completed();
        self.admission.end(end);
        let body = if matches!(self.fault, Some(Fault::CutStream | Fault::CutFrame)) {
            broken(&body)
        } else {
            Body::from(body)
        };
        reply::answer(StatusCode::OK, "application/json", self.request_id, body)
    }

    /// ConverseStream: all frames in one buffer, sent at once or at their times.
    async fn streamed(self) -> Response {
        self.pace.wait(0).await;
        let (frames, mut events) = self.frames();
        let silent_after = match self.fault {
            Some(Fault::HangStream | Fault::CutStream | Fault::CutFrame) => {
                events.len().div_ceil(2)
            }
            _ => events.len(),
        };
        let torn = events.get(silent_after).map_or(0, |event| {
            let before = events.get(silent_after.wrapping_sub(1)).map_or(0, |e| e.end);
            before + (event.end - before) / 2
        });
        events.truncate(silent_after);
        if let (Some(Fault::CutFrame), Some(last)) = (self.fault, events.last_mut()) {
            last.end = torn.max(last.end);
        }
        let sent = events.last().map_or(0, |event| event.end);
        let frames = frames.freeze();
        let request_id = self.request_id.clone();
        let body = if self.pace.is_none() && self.fault != Some(Fault::HangStream) {
            let end = self.completed();
            self.admission.end(end);
            Body::from(frames.slice(..sent))
        } else {
            paced(self, frames, events)
        };
        let kind = "application/vnd.amazon.eventstream";
        reply::answer(StatusCode::OK, kind, request_id, body)
    }

    /// Every frame of the answer, and where each ends.
    fn frames(&self) -> (BytesMut, Vec<Event>) {
        let text = match &self.answer.content {
            Content::Nothing => "",
            Content::Text(text) => text.as_str(),
            Content::Tool { input, .. } => input.as_str(),
        };
        let mut buffer = BytesMut::with_capacity(1_024 + text.len() * 6);
        let mut events = Vec::new();
        let mut write = |name: &'static str, tokens: u64, payload: String| {
            write_event(&mut buffer, name, payload.into_bytes());
            events.push(Event { tokens, end: buffer.len() });
        };
        write("messageStart", 0, r#"{"role":"assistant"}"#.to_owned());
        if let Content::Tool { name, .. } = &self.answer.content {
            let start = json!({ "contentBlockIndex": 0, "start": { "toolUse": {
                "toolUseId": self.tool_use_id(), "name": name,
            } } });
            write("contentBlockStart", 0, start.to_string());
        }
        let step = tokens::bytes_of(self.shared.options.chunk_tokens.max(1));
        let mut tokens = 0;
        let mut left = text;
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(left.ceil_char_boundary(step));
            left = rest;
            tokens += tokens::output_tokens(chunk.len());
            let delta = match &self.answer.content {
                Content::Tool { .. } => json!({ "toolUse": { "input": chunk } }),
                _ => json!({ "text": chunk }),
            };
            let delta = json!({ "contentBlockIndex": 0, "delta": delta });
            write("contentBlockDelta", tokens, delta.to_string());
        }
        let all = self.answer.output_tokens;
        if self.answer.content != Content::Nothing {
            write("contentBlockStop", all, r#"{"contentBlockIndex":0}"#.to_owned());
        }
        let closing = json!({
            "stopReason": self.answer.stop,
            "additionalModelResponseFields": { "simulated": true },
        });
        write("messageStop", all, closing.to_string());
        let metadata = json!({
            "usage": self.usage(),
            "metrics": { "latencyMs": self.latency_ms() },
            "simulated": true,
        });
        write("metadata", all, metadata.to_string());
        (buffer, events)
    }

    fn tool_use_id(&self) -> String {
        format!("tooluse_simulated_{}", self.admission.seq())
    }
}

/// One frame in the buffer.
#[derive(Debug, Clone, Copy)]
struct Event {
    /// Output tokens sent when it has been sent.
    tokens: u64,
    /// Where it ends in the buffer.
    end: usize,
}

/// A body that sends each frame when it is due and closes the call before the last one, so that who
/// has read a whole answer finds it settled.
fn paced(run: Run, frames: Bytes, events: Vec<Event>) -> Body {
    let state = Some((run, frames, events.into_iter().peekable(), 0_usize));
    Body::from_stream(stream::unfold(state, |state| async {
        let (run, frames, mut events, sent) = state?;
        let Some(event) = events.next() else {
            if run.fault == Some(Fault::HangStream) {
                hang(&run.shared).await;
                run.admission.end(End::Gone { client: false });
            }
            return None;
        };
        tokio::select! {
            () = run.pace.wait(event.tokens) => {}
            () = run.shared.stop.cancelled() => {
                run.admission.end(End::Gone { client: false });
                return None;
            }
        }
        let part = frames.slice(sent..event.end);
        let last = events.peek().is_none() && run.fault != Some(Fault::HangStream);
        let state = if last {
            let end = run.completed();
            run.admission.end(end);
            None
        } else {
            Some((run, frames, events, event.end))
        };
        Some((Ok::<Bytes, Infallible>(part), state))
    }))
}

/// A body that breaks in the middle, and its connection with it.
fn broken(body: &str) -> Body {
    let half = Bytes::copy_from_slice(body.as_bytes().get(..body.len() / 2).unwrap_or_default());
    Body::from_stream(stream::unfold(Some(half), |half| async {
        match half {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(Bytes::new()))),
            Some(_) => {
                // The first half goes out before the connection breaks.
                tokio::task::yield_now().await;
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, "simulated break");
                Some((Err(error), None))
            }
            None => None,
        }
    }))
}

/// Waits for the longest hang or for the simulator's stop; a caller who goes away ends it sooner,
/// by dropping it.
async fn hang(shared: &Shared) {
    let longest = Duration::from_millis(shared.options.hang_ms_max);
    tokio::select! {
        () = tokio::time::sleep(longest) => {}
        () = shared.stop.cancelled() => {}
    }
}
