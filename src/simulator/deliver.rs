//! Sends an answer: at its times, and with the fault that strikes it on the wire. Must not know: how
//! an answer is made or spelt.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::faults::Fault;
use super::pace::Pace;
use super::reply;
use super::request::Refusal;
use super::spelt::{Event, Events, Spelt};
use super::state::{Admission, End, Shared};

/// One admitted call on its way.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) admission: Admission,
    pub(super) fault: Option<Fault>,
    pub(super) pace: Pace,
    pub(super) burndown: u64,
    pub(super) output_tokens: u64,
    pub(super) request_id: String,
}

impl Run {
    /// Sends the answer.
    pub(super) async fn reply(self, answer: Spelt) -> Response {
        let hangs_at_once = match self.fault {
            Some(Fault::Hang) => true,
            Some(Fault::HangStream) => matches!(answer, Spelt::Whole(_)),
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
        match answer {
            Spelt::Whole(body) => self.whole(body).await,
            Spelt::Stream(events) => self.streamed(events).await,
        }
    }

    fn completed(&self) -> End {
        End::Completed { output_tokens: self.output_tokens, burndown: self.burndown }
    }

    /// One body at the end.
    async fn whole(self, body: String) -> Response {
        self.pace.wait(self.output_tokens).await;
        let end = self.completed();
        self.admission.end(end);
        let body = if matches!(self.fault, Some(Fault::CutStream | Fault::CutFrame)) {
            broken(&body)
        } else {
            Body::from(body)
        };
        reply::answer(StatusCode::OK, "application/json", self.request_id, body)
    }

    /// All frames in one buffer, sent at once or at their times.
    async fn streamed(self, events: Events) -> Response {
        self.pace.wait(0).await;
        let (frames, mut events) = events.into_parts();
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
