//! One wire call under its clocks: ConverseStream, or Converse where streaming is off.
//! Must not know: credentials, regions, retries.

use std::time::Duration;

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::operation::RequestId as _;
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamOutput;
use tokio::time::{Instant, timeout_at};

use super::answer::Gather;
use super::{fault, refused, wire};
use crate::completion::Completion;
use crate::error::ErrorKind;
use crate::provider::{CallError, Clocks, FailedCharge, GenerateRequest};

/// How long a complete answer waits for the stream's own end, in milliseconds. Reading it lets
/// the connection be used again; the answer itself does not depend on it.
const STREAM_END_MS: u64 = 250;

/// When the call began, and when each of its clocks runs out.
struct Running {
    began: Instant,
    end: Instant,
    clocks: Clocks,
}

impl Running {
    fn start(clocks: Clocks) -> Self {
        let began = Instant::now();
        Self { began, end: after(began, clocks.total_ms), clocks }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn first_token(&self) -> Deadline {
        self.no_later_than_end(
            after(self.began, self.clocks.first_token_ms),
            ErrorKind::FirstTokenTimeout,
        )
    }

    fn idle(&self) -> Deadline {
        self.no_later_than_end(after(Instant::now(), self.clocks.idle_ms), ErrorKind::IdleTimeout)
    }

    fn total(&self) -> Deadline {
        Deadline { at: self.end, kind: ErrorKind::CallTimeout }
    }

    fn no_later_than_end(&self, at: Instant, kind: ErrorKind) -> Deadline {
        if at < self.end { Deadline { at, kind } } else { self.total() }
    }
}

/// A point in time, and what it means to miss it.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    kind: ErrorKind,
}

/// A clock too long to add up is no clock; a day outlives every call.
fn after(start: Instant, wait_ms: u64) -> Instant {
    const DAY_MS: u64 = 86_400_000;
    start + Duration::from_millis(wait_ms.min(DAY_MS))
}

/// Makes the call with streaming, so that a hung call is seen early.
pub(super) async fn converse_stream(
    client: &Client,
    request: &GenerateRequest,
) -> Result<Completion, CallError> {
    let running = Running::start(request.clocks);
    let parts = wire::parts(request)
        .map_err(|error| refused(ErrorKind::InvalidRequest, &error.to_string()))?;
    let send = client
        .converse_stream()
        .model_id(&request.model_id)
        .set_messages(Some(parts.messages))
        .set_system(parts.system)
        .inference_config(parts.inference)
        .set_request_metadata(parts.metadata)
        .send();
    let first = running.first_token();
    // The SDK's future is large; on the heap it does not grow every future that awaits this one.
    let mut stream = match timeout_at(first.at, Box::pin(send)).await {
        Ok(answer) => answer.map_err(|error| fault::before_answer(&error))?,
        Err(_) => return Err(too_late(first.kind, request.clocks)),
    };
    let request_id = stream.request_id().map(str::to_owned);
    read(&mut stream, request, &running)
        .await
        .map(|completion| Completion { request_id: request_id.clone(), ..completion })
        .map_err(|error| CallError { request_id, ..error })
}

/// Reads the stream to its end.
async fn read(
    stream: &mut ConverseStreamOutput,
    request: &GenerateRequest,
    running: &Running,
) -> Result<Completion, CallError> {
    let mut gather = Gather::new(request.family, request.answer_bytes_max);
    let mut deadline = running.first_token();
    let mut began = false;
    let mut first_token_ms = None;
    loop {
        let event = match timeout_at(deadline.at, stream.stream.recv()).await {
            Err(_) => {
                let error = too_late(deadline.kind, running.clocks);
                return Err(with_partial(error, gather));
            }
            Ok(Err(error)) => {
                return Err(with_partial(fault::in_stream(&error, began), gather));
            }
            Ok(Ok(None)) => break,
            Ok(Ok(Some(event))) => event,
        };
        began = true;
        if gather.event(event).is_err() {
            return Err(with_partial(too_large(request.answer_bytes_max), gather));
        }
        if first_token_ms.is_none() && gather.has_text() {
            first_token_ms = Some(running.elapsed_ms());
        }
        if gather.is_complete() {
            let end = after(Instant::now(), STREAM_END_MS).min(running.end);
            // Whatever comes or fails here, the answer is whole and paid for.
            drop(timeout_at(end, stream.stream.recv()).await);
            break;
        }
        deadline = running.idle();
    }
    finish(gather, first_token_ms, running)
}

/// Makes the call without streaming. The answer comes in one piece, so only the clock of the
/// whole call can run out.
pub(super) async fn converse(
    client: &Client,
    request: &GenerateRequest,
) -> Result<Completion, CallError> {
    let running = Running::start(request.clocks);
    let parts = wire::parts(request)
        .map_err(|error| refused(ErrorKind::InvalidRequest, &error.to_string()))?;
    let send = client
        .converse()
        .model_id(&request.model_id)
        .set_messages(Some(parts.messages))
        .set_system(parts.system)
        .inference_config(parts.inference)
        .set_request_metadata(parts.metadata)
        .send();
    let total = running.total();
    let answer = match timeout_at(total.at, Box::pin(send)).await {
        Ok(answer) => answer.map_err(|error| fault::before_answer(&error))?,
        Err(_) => return Err(too_late(total.kind, request.clocks)),
    };
    let request_id = answer.request_id().map(str::to_owned);
    let mut gather = Gather::new(request.family, request.answer_bytes_max);
    if gather.whole(answer).is_err() {
        let error = with_partial(too_large(request.answer_bytes_max), gather);
        return Err(CallError { request_id, ..error });
    }
    match finish(gather, None, &running) {
        Ok(completion) => Ok(Completion { request_id, ..completion }),
        Err(error) => Err(CallError { request_id, ..error }),
    }
}

fn finish(
    gather: Gather,
    first_token_ms: Option<u64>,
    running: &Running,
) -> Result<Completion, CallError> {
    match gather.finish() {
        Ok(whole) => Ok(Completion {
            text: whole.text,
            stop: whole.stop,
            usage: whole.usage,
            request_id: None,
            first_token_ms,
            total_ms: running.elapsed_ms(),
        }),
        Err(partial_text) => {
            let message = "the answer ended without its stop reason and usage".to_owned();
            Err(CallError { partial_text, ..uncertain(ErrorKind::StreamCut, message) })
        }
    }
}

fn too_late(kind: ErrorKind, clocks: Clocks) -> CallError {
    let message = match kind {
        ErrorKind::FirstTokenTimeout => {
            format!("nothing arrived within {} ms", clocks.first_token_ms)
        }
        ErrorKind::IdleTimeout => {
            format!("the stream fell silent for {} ms", clocks.idle_ms)
        }
        _ => format!("the call took longer than {} ms", clocks.total_ms),
    };
    uncertain(kind, message)
}

fn too_large(answer_bytes_max: usize) -> CallError {
    let message = format!("the answer is longer than {answer_bytes_max} bytes (answer_bytes_max)");
    uncertain(ErrorKind::AnswerTooLarge, message)
}

/// A failure after the request left, whose tokens nobody has counted.
fn uncertain(kind: ErrorKind, message: String) -> CallError {
    CallError {
        kind,
        message,
        retry_after_ms: None,
        request_id: None,
        partial_text: None,
        charge: FailedCharge::Unknown,
    }
}

fn with_partial(error: CallError, gather: Gather) -> CallError {
    CallError { partial_text: gather.partial(), ..error }
}
