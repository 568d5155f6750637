//! Sends an answer: at its times, and with the fault that strikes it on the wire. Must not know: how
//! an answer is made or spelt, what a fault does to its bytes.

use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::admission::{Admission, End};
use super::connection::Reset;
use super::damage::{self, Then};
use super::fault::Fault;
use super::pace::Pace;
use super::reply;
use super::request::Refusal;
use super::spelt::{Event, Events, Spelt};
use super::state::Shared;

/// One admitted call on its way.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) admission: Admission,
    pub(super) fault: Option<Fault>,
    pub(super) pace: Pace,
    pub(super) model_id: String,
    pub(super) burndown: u64,
    pub(super) output_tokens: u64,
    pub(super) request_id: String,
}

impl Run {
    /// Sends the answer.
    pub(super) async fn reply(self, answer: Spelt) -> Response {
        match (self.fault, answer) {
            (Some(Fault::Hang), _) => self.hang().await,
            (Some(Fault::Reset | Fault::Closed), _) => self.nothing().await,
            (_, Spelt::Whole(body)) => self.whole(body).await,
            (_, Spelt::Stream(events)) => self.streamed(events).await,
        }
    }

    fn completed(&self) -> End {
        End::Completed { output_tokens: self.output_tokens, burndown: self.burndown }
    }

    /// Nothing for as long as the service itself would wait.
    async fn hang(self) -> Response {
        hang(&self.shared).await;
        self.admission.end(End::Gone { client: false });
        let refusal = Refusal {
            status: 408,
            code: "ModelTimeoutException",
            message: "The request took too long to process.".to_owned(),
        };
        reply::refusal(&refusal, self.request_id)
    }

    /// The connection ends in place of an answer. A body that fails before its first byte keeps
    /// even the head from being sent.
    async fn nothing(self) -> Response {
        self.pace.wait(0).await;
        let end = self.completed();
        self.admission.end(end);
        let body = Body::from_stream(stream::iter([Err::<Bytes, _>(aborted())]));
        let mut response = reply::answer(StatusCode::OK, "application/json", self.request_id, body);
        if self.fault == Some(Fault::Reset) {
            response.extensions_mut().insert(Reset);
        }
        response
    }

    /// One body at the end.
    async fn whole(self, body: String) -> Response {
        let (bytes, then) = damage::whole(body, self.fault);
        self.pace.wait(self.output_tokens).await;
        let end = match then {
            Then::Drip(from) => from,
            _ => bytes.len(),
        };
        let events = Vec::from_iter((end > 0).then_some(Event { tokens: 0, end }));
        let ended = self.completed();
        self.send("application/json", Sent { bytes, events, then, ended })
    }

    /// All frames in one buffer, sent at once or at their times.
    async fn streamed(self, events: Events) -> Response {
        self.pace.wait(0).await;
        let damaged = damage::stream(events, self.fault, &self.model_id);
        let ended = match damaged.broken_off {
            Some(error) => End::BrokenOff {
                error,
                output_tokens: damaged.events.last().map_or(0, |event| event.tokens),
                burndown: self.burndown,
            },
            None => self.completed(),
        };
        let damage::Stream { frames: bytes, events, then, .. } = damaged;
        self.send("application/vnd.amazon.eventstream", Sent { bytes, events, then, ended })
    }

    fn send(self, kind: &'static str, mut sent: Sent) -> Response {
        let request_id = self.request_id.clone();
        if let Then::Length(length) = sent.then {
            sent.cut_at(length);
        }
        let then = sent.then;
        let body = if then == Then::End && (self.pace.is_none() || sent.events.len() <= 1) {
            self.admission.end(sent.ended);
            let end = sent.events.last().map_or(0, |event| event.end);
            Body::from(sent.bytes.slice(..end))
        } else {
            paced(self, sent)
        };
        let mut response = reply::answer(StatusCode::OK, kind, request_id, body);
        if let Then::Length(length) = then {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// What is sent, and how it ends.
struct Sent {
    bytes: Bytes,
    events: Vec<Event>,
    then: Then,
    ended: End,
}

impl Sent {
    /// One part of so many bytes at most, due when the last event is.
    fn cut_at(&mut self, length: usize) {
        let tokens = self.events.last().map_or(0, |event| event.tokens);
        self.events = vec![Event { tokens, end: length.min(self.bytes.len()) }];
    }
}

/// A body that sends each part when it is due and closes the call before the last one, so that who
/// has read a whole answer finds it settled.
fn paced(run: Run, sent: Sent) -> Body {
    let Run { shared, admission, pace, .. } = run;
    let Sent { bytes, events, then, ended } = sent;
    let (admission, events) = (Some(admission), events.into_iter().peekable());
    let parts = Parts { shared, admission, pace, bytes, events, done: 0, then, ended };
    Body::from_stream(stream::unfold(Some(parts), |parts| async { parts?.next().await }))
}

/// The parts of an answer that are still to be sent.
struct Parts {
    shared: Arc<Shared>,
    /// None once the call is closed.
    admission: Option<Admission>,
    pace: Pace,
    bytes: Bytes,
    events: Peekable<vec::IntoIter<Event>>,
    /// Bytes sent.
    done: usize,
    then: Then,
    ended: End,
}

/// One part, and those after it.
type Part = (io::Result<Bytes>, Option<Parts>);

impl Parts {
    async fn next(mut self) -> Option<Part> {
        let Some(event) = self.events.next() else {
            return self.after_the_last().await;
        };
        tokio::select! {
            () = self.pace.wait(event.tokens) => {}
            () = self.shared.stop.cancelled() => {
                self.close(End::Gone { client: false });
                return None;
            }
        }
        let part = self.bytes.slice(self.done..event.end);
        self.done = event.end;
        if self.events.peek().is_some() {
            return Some((Ok(part), Some(self)));
        }
        match self.then {
            Then::End => {
                self.close(self.ended);
                Some((Ok(part), None))
            }
            Then::Break | Then::Length(_) => {
                self.close(self.ended);
                Some((Ok(part), Some(self)))
            }
            Then::Silence | Then::Drip(_) => Some((Ok(part), Some(self))),
        }
    }

    async fn after_the_last(mut self) -> Option<Part> {
        match self.then {
            Then::End => {
                self.close(self.ended);
                None
            }
            Then::Break | Then::Length(_) => {
                // What was sent before goes out before the connection breaks, as it also does where
                // less was sent than promised.
                tokio::task::yield_now().await;
                self.close(self.ended);
                (self.then == Then::Break).then(|| (Err(aborted()), None))
            }
            Then::Drip(_) if self.done + 1 < self.bytes.len() => {
                let pause_ms = self.shared.options.drip_ms;
                tokio::select! {
                    // Even a sleep of no time waits for the timer's next tick.
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)), if pause_ms > 0 => {}
                    () = tokio::task::yield_now(), if pause_ms == 0 => {}
                    () = self.shared.stop.cancelled() => {
                        self.close(End::Gone { client: false });
                        return None;
                    }
                }
                let byte = self.bytes.slice(self.done..=self.done);
                self.done += 1;
                Some((Ok(byte), Some(self)))
            }
            Then::Drip(_) | Then::Silence => {
                hang(&self.shared).await;
                self.close(End::Gone { client: false });
                None
            }
        }
    }

    fn close(&mut self, end: End) {
        if let Some(admission) = self.admission.take() {
            admission.end(end);
        }
    }
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "simulated break")
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
