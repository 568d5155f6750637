//! The clocks of one call: when it began, when each of them runs out, and what that means.
//! Must not know: clients, answers, what is done about a failure.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::failed;
use crate::error::ErrorKind;
use crate::provider::{CallError, Clocks, FailedCharge};

/// How long a complete answer waits for the stream's own end, in milliseconds. Reading it lets
/// the connection be used again; the answer itself does not depend on it.
const STREAM_END_MS: u64 = 250;

/// When the call began, and when each of its clocks runs out.
pub(super) struct Running {
    began: Instant,
    end: Instant,
    clocks: Clocks,
    streamed: bool,
}

/// A point in time, and what it means to miss it.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) kind: ErrorKind,
}

impl Running {
    pub(super) fn start(clocks: Clocks, streamed: bool) -> Self {
        let began = Instant::now();
        Self { began, end: after(began, clocks.total_ms), clocks, streamed }
    }

    pub(super) fn streamed(&self) -> bool {
        self.streamed
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// By when the answer must begin. What is not streamed comes in one piece, so only the clock
    /// of the whole call can run out.
    pub(super) fn first(&self) -> Deadline {
        if self.streamed {
            let at = after(self.began, self.clocks.first_token_ms);
            self.no_later_than_end(at, ErrorKind::FirstTokenTimeout)
        } else {
            self.total()
        }
    }

    /// By when the next piece must arrive.
    pub(super) fn idle(&self) -> Deadline {
        self.no_later_than_end(after(Instant::now(), self.clocks.idle_ms), ErrorKind::IdleTimeout)
    }

    /// Until when a complete answer's stream is given time to end.
    pub(super) fn stream_end(&self) -> Instant {
        after(Instant::now(), STREAM_END_MS).min(self.end)
    }

    /// The failure of a call that missed this deadline.
    pub(super) fn missed(&self, deadline: Deadline) -> CallError {
        let message = match deadline.kind {
            ErrorKind::FirstTokenTimeout => {
                format!("nothing arrived within {} ms", self.clocks.first_token_ms)
            }
            ErrorKind::IdleTimeout => {
                format!("the stream fell silent for {} ms", self.clocks.idle_ms)
            }
            _ => format!("the call took longer than {} ms", self.clocks.total_ms),
        };
        failed(deadline.kind, &message, FailedCharge::Unknown)
    }

    fn total(&self) -> Deadline {
        Deadline { at: self.end, kind: ErrorKind::CallTimeout }
    }

    fn no_later_than_end(&self, at: Instant, kind: ErrorKind) -> Deadline {
        if at < self.end { Deadline { at, kind } } else { self.total() }
    }
}

/// A clock too long to add up is no clock; a day outlives every call.
fn after(start: Instant, wait_ms: u64) -> Instant {
    const DAY_MS: u64 = 86_400_000;
    start + Duration::from_millis(wait_ms.min(DAY_MS))
}
