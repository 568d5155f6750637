//! Waiting for room in the budget, one caller of a lane at a time.
//! Must not know: what is asked, or what an answer is worth.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand::RngExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Inner;
use super::error::Error;
use crate::clock::Now;
use crate::error::ErrorKind;
use crate::job::Problem;
use crate::provider::Heard;
use crate::store::{Admitted, NewJob, StoreError};
use crate::worker::{Begun, Call, NotCalled, paused_words};

/// A waiting caller looks again after this, in ms: a call that used less than it reserved makes
/// room early.
const LOOK_MS: u64 = 500;
/// A little noise, so that programs that wait for the same moment do not come together.
const JITTER_MS_MAX: u64 = 10;
/// How many lines are kept before those that nobody stands in are forgotten.
const LINES_MAX: usize = 256;

/// One line a lane: only its head asks the store, the others stand behind it.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Lines {
    fn of(&self, lane: &str) -> Arc<Semaphore> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        Arc::clone(lines.entry(lane.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

/// A call that has room, and how long it waited for it.
pub(super) struct Room {
    pub(super) begun: Begun,
    pub(super) waited_ms: u64,
}

/// Begins the call as soon as the budget has room for it, or says at once that it will not be in
/// time.
pub(super) async fn begin(
    inner: &Inner,
    job: &NewJob,
    heard: Option<Arc<Heard>>,
    wait_ms_max: u64,
) -> Result<Room, Error> {
    let began_ms = inner.clock.now().mono_ms;
    let until_deadline = job.deadline_at.saturating_sub(inner.clock.now().wall_ms);
    let allowed_ms = wait_ms_max.min(u64::try_from(until_deadline).unwrap_or(0));
    let mut turn = None;
    loop {
        let waited_ms = inner.clock.now().mono_ms.saturating_sub(began_ms);
        let left_ms = allowed_ms.saturating_sub(waited_ms);
        let call = Call {
            job: job.clone(),
            heard: heard.clone(),
            waits: turn.is_some(),
            slot_ms_max: left_ms,
        };
        let wait_ms = match inner.direct.begin(call).await {
            Ok(begun) => return Ok(Room { begun, waited_ms }),
            Err(reason) => how_long(inner, job, reason, left_ms)?,
        };
        if turn.is_none() {
            turn = stand_in_line(inner, &job.lane, left_ms).await;
            continue;
        }
        let jitter_ms = rand::rng().random_range(0..=JITTER_MS_MAX);
        tokio::time::sleep(Duration::from_millis(wait_ms.min(LOOK_MS) + jitter_ms)).await;
    }
}

/// None where the wait is over before its turn comes: then it looks once more, and is told.
async fn stand_in_line(inner: &Inner, lane: &str, left_ms: u64) -> Option<OwnedSemaphorePermit> {
    let turn = inner.lines.of(lane).acquire_owned();
    tokio::time::timeout(Duration::from_millis(left_ms), turn).await.ok()?.ok()
}

/// How long to wait, in ms, or the error where that is too long.
fn how_long(inner: &Inner, job: &NewJob, reason: NotCalled, left_ms: u64) -> Result<u64, Error> {
    let now = inner.clock.now();
    let error = match reason {
        NotCalled::Waits { fits_in_ms, waiting } => {
            if fits_in_ms <= left_ms && left_ms > 0 {
                return Ok(fits_in_ms);
            }
            let fits_at = at(now, fits_in_ms);
            Error::BudgetExhausted { fits_at, limit: waiting.key, dimension: waiting.dimension }
        }
        NotCalled::Paused { for_ms, reason } => {
            let kind = reason.and_then(|name| ErrorKind::from_name(&name));
            let needs_a_person =
                matches!(kind, Some(ErrorKind::Credentials | ErrorKind::AccessDenied));
            if for_ms <= left_ms && left_ms > 0 && !needs_a_person {
                return Ok(for_ms);
            }
            Error::Paused { lane: job.lane.clone(), until: at(now, for_ms), kind }
        }
        NotCalled::PausedBy(pause) => {
            let for_ms = pause.until.map(|until| until.saturating_sub(now.wall_ms));
            match for_ms.and_then(|ms| u64::try_from(ms).ok()) {
                Some(for_ms) if for_ms <= left_ms && left_ms > 0 => return Ok(for_ms),
                _ => Error::Halted { words: paused_words(&pause) },
            }
        }
        NotCalled::NeverFits(reason) => {
            Error::Rejected { problems: vec![Problem::new("$.max_tokens", reason)] }
        }
        NotCalled::Known(
            Admitted::New(id)
            | Admitted::Existing(id, _)
            | Admitted::Before(id, _)
            | Admitted::Duplicate(id)
            | Admitted::IdConflict { job_id: id, .. },
        ) => {
            let reason = format!("is the same as the job {id}");
            Error::Rejected { problems: vec![Problem::new("$", reason)] }
        }
        NotCalled::Money => Error::CostLimit,
        NotCalled::Busy => Error::Busy { calls_max: inner.calls_max },
        NotCalled::Closed => Error::Closed,
        NotCalled::Store(error) => store_error(&error),
    };
    Err(error)
}

pub(super) fn store_error(error: &StoreError) -> Error {
    let passes = matches!(error, StoreError::Transient(_));
    Error::Store { message: error.to_string(), passes }
}

fn at(now: Now, in_ms: u64) -> Timestamp {
    let at = now.wall_ms.saturating_add_unsigned(in_ms);
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX)
}
