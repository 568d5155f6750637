//! What to do after a failure: one pure function, [`decide`], for every door and every role.
//! Must not know: stores, providers, clocks; the time left and the random numbers are arguments.
//!
//! # The table
//!
//! Each kind stands in one row. *Counted as* names the counter in [`Counters`] that this failure
//! raises (see [`counter`]); a job ends when that counter reaches its limit, or at its deadline.
//!
//! | kinds | counted as | verdict |
//! | --- | --- | --- |
//! | `overloaded`, `internal`, `connect_failed`, `first_token_timeout`, `idle_timeout`, `stream_cut` | failures | retry with full jitter; ends `failed` at `failures_max` |
//! | `unavailable` | failures | the same from a smaller base: a 503 passes quickly |
//! | `model_not_ready` | failures | the same, never sooner than `model_not_ready_ms_min`: a model is loading |
//! | `model_timeout`, `call_timeout` | failures | the same, but ends at the third at the latest: each try may be paid for |
//! | `model_error`, `bug` | failures | the same, but ends at the second at the latest: it is mostly the input |
//! | `crashed` | crashes | retry with full jitter; ends `failed` at `crashes_max` |
//! | `throttled_requests`, `throttled_tokens` | throttles | snooze with full jitter, slow the lane |
//! | `throttled_day` | throttles | snooze for `throttled_day_ms` and up to a tenth more, pause the lane |
//! | `credentials`, `access_denied` | nothing | snooze for `paused_ms` and up to a tenth more, pause the lane: the set-up is wrong, not the job, and ten thousand jobs must not fail for one expired key |
//! | `invalid_json`, `schema_mismatch`, `empty` | reasks | re-ask up to `reasks_max` times, then end `failed` |
//! | `truncated`, `refused`, `filtered`, `guardrail`, `answer_too_large`, `unstorable` | nothing | end `failed`: the same question brings the same answer |
//! | `invalid_request`, `input_too_long`, `model_not_found`, `profile_needed`, `never_fits`, `rejected` | nothing | end `failed`: permanent |
//! | `budget_exhausted` | nothing | end `failed`: the caller said how long it can wait |
//! | `deadline_exceeded` | nothing | end `expired` |
//! | `cancelled` | nothing | end `cancelled` |
//!
//! What a failure says of its whole lane is told by [`Lane`], which each worker keeps for each lane.
//! While a lane is paused ([`Timing::lane_out_ms`]), a failure of a kind that [`pauses`] is not the
//! job's: it is snoozed until the pause is over, and `failures` does not rise (see [`counted`]).
//!
//! A job whose deadline has passed ends `expired` instead of going on; an end for a known cause
//! keeps its cause. A delay never reaches past the deadline: the job is due again at the deadline
//! itself, where it expires, so no delay can hide a job from its end.

mod lane;
mod words;

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;

pub use lane::{Allowed, Failure, Lane, Out, pauses};
pub use words::in_words;

/// How often each thing has happened to a job so far, before the failure being decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Failed attempts: calls that went wrong on the way or inside the provider.
    pub failures: u32,
    /// Re-asks already made.
    pub reasks: u32,
    /// Attempts whose worker died.
    pub crashes: u32,
    /// Attempts that the provider throttled.
    pub throttles: u32,
}

/// The limits and delays of retrying. A job's `max_attempts` replaces `failures_max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The first retry waits between 0 and this; milliseconds.
    pub backoff_base_ms: u64,
    /// Each further retry may wait this many times longer.
    pub backoff_factor: u32,
    /// No jitter is longer than this; milliseconds.
    pub backoff_ms_max: u64,
    /// In place of `backoff_base_ms` after a 503; milliseconds.
    pub unavailable_base_ms: u64,
    /// A model that is still loading is left alone for at least this long; milliseconds.
    pub model_not_ready_ms_min: u64,
    /// The job ends at this many failures: 4 is one try and 3 retries.
    pub failures_max: u32,
    /// At most this many re-asks are made.
    pub reasks_max: u32,
    /// The job ends at this many crashes: a job that kills its workers must not go on for ever.
    pub crashes_max: u32,
    /// The job ends at this many throttles; large, because a throttle is no fault of the job.
    pub throttles_max: u32,
    /// The first snooze after a throttle waits between 0 and this; milliseconds.
    pub throttle_base_ms: u64,
    /// The snooze when a daily quota is used up; milliseconds.
    pub throttled_day_ms: u64,
    /// The snooze when credentials or permissions are missing; milliseconds.
    pub paused_ms: u64,
    /// A provider's Retry-After longer than this is cut to it; milliseconds.
    pub retry_after_ms_max: u64,
    /// Calls of a lane that fail in a row for the provider's own trouble are an outage; not more
    /// than `failures_max`, or a job that is alone in its lane fails before it is noticed.
    pub outage_calls: u32,
    /// The longest first pause of an outage; milliseconds.
    pub outage_ms_base: u64,
    /// The longest pause of an outage; milliseconds.
    pub outage_ms_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff_base_ms: 1_000,
            backoff_factor: 2,
            backoff_ms_max: 60_000,
            unavailable_base_ms: 250,
            model_not_ready_ms_min: 5_000,
            failures_max: 4,
            reasks_max: 2,
            crashes_max: 3,
            throttles_max: 10_000,
            throttle_base_ms: 2_000,
            throttled_day_ms: 3_600_000,
            paused_ms: 60_000,
            retry_after_ms_max: 86_400_000,
            outage_calls: 3,
            outage_ms_base: 1_000,
            outage_ms_max: 60_000,
        }
    }
}

/// What is known about time when a failure is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// The provider's Retry-After, where it sent one; a floor for any delay; milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Milliseconds until the job's deadline; 0 or less: it has passed.
    pub deadline_in_ms: i64,
    /// The job's lane is paused for so many milliseconds, and the failure is taken for the lane's.
    pub lane_out_ms: Option<u64>,
}

/// How a job ends after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndState {
    /// It cannot succeed, or its tries are used up.
    Failed,
    /// Its deadline has passed.
    Expired,
    /// A person cancelled it.
    Cancelled,
}

/// What to do with a job after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same call again, later.
    Retry {
        /// Milliseconds from now; never past the deadline.
        after_ms: u64,
    },
    /// A call with the model's own answer and the errors, at the head of the lane.
    Reask,
    /// Later, and no failure counted.
    Snooze {
        /// Milliseconds from now; never past the deadline.
        after_ms: u64,
        /// The provider throttles: the whole lane must go slower.
        slow_lane: bool,
        /// No job of the lane can succeed for now: claim none for `after_ms`.
        pause_lane: bool,
    },
    /// Never again.
    End {
        /// The job's terminal state.
        state: EndState,
        /// The cause that the result shows.
        kind: ErrorKind,
    },
}

/// One of the four counters of [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// [`Counters::failures`].
    Failures,
    /// [`Counters::reasks`].
    Reasks,
    /// [`Counters::crashes`].
    Crashes,
    /// [`Counters::throttles`].
    Throttles,
}

impl Counters {
    /// These counters with one more of `counter`.
    #[must_use]
    pub fn plus(mut self, counter: Option<Counter>) -> Self {
        match counter {
            Some(Counter::Failures) => self.failures = self.failures.saturating_add(1),
            Some(Counter::Reasks) => self.reasks = self.reasks.saturating_add(1),
            Some(Counter::Crashes) => self.crashes = self.crashes.saturating_add(1),
            Some(Counter::Throttles) => self.throttles = self.throttles.saturating_add(1),
            None => {}
        }
        self
    }

    /// Whether one more throttle ends the job.
    fn throttles_used_up(&self, policy: &Policy) -> bool {
        self.throttles.saturating_add(1) >= policy.throttles_max
    }
}

/// The rows of the table above, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// A counted retry: the jitter's base, the least delay, and the row's own limit of failures.
    Backoff {
        base_ms: u64,
        ms_min: u64,
        failures_max: u32,
    },
    Crash,
    Throttle,
    ThrottledDay,
    Pause,
    Reask,
    End(EndState),
}

fn row(kind: ErrorKind, policy: &Policy) -> Row {
    let backoff = |base_ms, ms_min, failures_max| Row::Backoff { base_ms, ms_min, failures_max };
    match kind {
        ErrorKind::Overloaded
        | ErrorKind::Internal
        | ErrorKind::ConnectFailed
        | ErrorKind::FirstTokenTimeout
        | ErrorKind::IdleTimeout
        | ErrorKind::StreamCut => backoff(policy.backoff_base_ms, 0, u32::MAX),
        ErrorKind::Unavailable => backoff(policy.unavailable_base_ms, 0, u32::MAX),
        ErrorKind::ModelNotReady => {
            backoff(policy.backoff_base_ms, policy.model_not_ready_ms_min, u32::MAX)
        }
        ErrorKind::ModelTimeout | ErrorKind::CallTimeout => backoff(policy.backoff_base_ms, 0, 3),
        ErrorKind::ModelError | ErrorKind::Bug => backoff(policy.backoff_base_ms, 0, 2),
        ErrorKind::Crashed => Row::Crash,
        ErrorKind::ThrottledRequests | ErrorKind::ThrottledTokens => Row::Throttle,
        ErrorKind::ThrottledDay => Row::ThrottledDay,
        ErrorKind::Credentials | ErrorKind::AccessDenied => Row::Pause,
        ErrorKind::InvalidJson | ErrorKind::SchemaMismatch | ErrorKind::Empty => Row::Reask,
        ErrorKind::Truncated
        | ErrorKind::Refused
        | ErrorKind::Filtered
        | ErrorKind::Guardrail
        | ErrorKind::AnswerTooLarge
        | ErrorKind::Unstorable
        | ErrorKind::InvalidRequest
        | ErrorKind::InputTooLong
        | ErrorKind::ModelNotFound
        | ErrorKind::ProfileNeeded
        | ErrorKind::NeverFits
        | ErrorKind::BudgetExhausted
        | ErrorKind::Rejected => Row::End(EndState::Failed),
        ErrorKind::DeadlineExceeded => Row::End(EndState::Expired),
        ErrorKind::Cancelled => Row::End(EndState::Cancelled),
    }
}

/// The counter that a failure of this kind raises, whatever the verdict.
#[must_use]
pub fn counter(kind: ErrorKind) -> Option<Counter> {
    match row(kind, &Policy::default()) {
        Row::Backoff { .. } => Some(Counter::Failures),
        Row::Crash => Some(Counter::Crashes),
        Row::Throttle | Row::ThrottledDay => Some(Counter::Throttles),
        Row::Reask => Some(Counter::Reasks),
        Row::Pause | Row::End(_) => None,
    }
}

/// The counter that this failure raises after this verdict: a failure that is the lane's is not the
/// job's.
#[must_use]
pub fn counted(kind: ErrorKind, verdict: &Verdict) -> Option<Counter> {
    let is_the_lanes = matches!(verdict, Verdict::Snooze { .. });
    counter(kind).filter(|counter| *counter != Counter::Failures || !is_the_lanes)
}

/// Decides what happens to a job after a failure of `kind`; the module's table says what and why.
/// `counters` are those from before this failure.
pub fn decide(
    kind: ErrorKind,
    counters: &Counters,
    policy: &Policy,
    timing: Timing,
    rng: &mut impl Rng,
) -> Verdict {
    let verdict = match timing.lane_out_ms.filter(|_| pauses(kind)) {
        // Throttles are counted whoever's they are.
        Some(_) if kind == ErrorKind::ThrottledDay && counters.throttles_used_up(policy) => {
            Verdict::End { state: EndState::Failed, kind }
        }
        Some(out_ms) => {
            let after_ms = out_ms.saturating_add(rng.random_range(0..=out_ms / 10));
            Verdict::Snooze { after_ms, slow_lane: false, pause_lane: false }
        }
        None => within_limits(kind, counters, policy, timing.retry_after_ms, rng),
    };
    let left_ms = u64::try_from(timing.deadline_in_ms).unwrap_or(0);
    match verdict {
        Verdict::End { .. } => verdict,
        _ if left_ms == 0 => {
            Verdict::End { state: EndState::Expired, kind: ErrorKind::DeadlineExceeded }
        }
        Verdict::Retry { after_ms } => Verdict::Retry { after_ms: after_ms.min(left_ms) },
        Verdict::Snooze { after_ms, slow_lane, pause_lane } => {
            Verdict::Snooze { after_ms: after_ms.min(left_ms), slow_lane, pause_lane }
        }
        Verdict::Reask => Verdict::Reask,
    }
}

/// The verdict as if there were no deadline.
fn within_limits(
    kind: ErrorKind,
    counters: &Counters,
    policy: &Policy,
    retry_after_ms: Option<u64>,
    rng: &mut impl Rng,
) -> Verdict {
    let failed = Verdict::End { state: EndState::Failed, kind };
    let floor_ms = retry_after_ms.unwrap_or(0).min(policy.retry_after_ms_max);
    let reached = |count: u32, max: u32| count.saturating_add(1) >= max;
    match row(kind, policy) {
        Row::Backoff { failures_max, .. }
            if reached(counters.failures, failures_max.min(policy.failures_max)) =>
        {
            failed
        }
        Row::Backoff { base_ms, ms_min, .. } => {
            let jitter_ms = full_jitter_ms(base_ms, counters.failures, policy, rng);
            Verdict::Retry { after_ms: floor_ms.max(ms_min).saturating_add(jitter_ms) }
        }
        Row::Crash if reached(counters.crashes, policy.crashes_max) => failed,
        Row::Crash => {
            let jitter_ms = full_jitter_ms(policy.backoff_base_ms, counters.crashes, policy, rng);
            Verdict::Retry { after_ms: floor_ms.saturating_add(jitter_ms) }
        }
        Row::Throttle | Row::ThrottledDay if counters.throttles_used_up(policy) => failed,
        Row::Throttle => {
            let jitter_ms =
                full_jitter_ms(policy.throttle_base_ms, counters.throttles, policy, rng);
            let after_ms = floor_ms.saturating_add(jitter_ms);
            Verdict::Snooze { after_ms, slow_lane: true, pause_lane: false }
        }
        Row::ThrottledDay => pause(policy.throttled_day_ms, floor_ms, rng),
        Row::Pause => pause(policy.paused_ms, floor_ms, rng),
        Row::Reask if counters.reasks >= policy.reasks_max => failed,
        Row::Reask => Verdict::Reask,
        Row::End(state) => Verdict::End { state, kind },
    }
}

/// A snooze for the job and a pause for its lane. A tenth of jitter on top keeps the workers that
/// noticed together from coming back together.
fn pause(ms: u64, floor_ms: u64, rng: &mut impl Rng) -> Verdict {
    let after_ms = ms.max(floor_ms).saturating_add(rng.random_range(0..=ms / 10));
    Verdict::Snooze { after_ms, slow_lane: false, pause_lane: true }
}

/// A delay drawn evenly from 0 to `base x factor^tries`, the upper end held to `backoff_ms_max`.
/// Drawing from the whole range spreads the jobs that failed together better than a fixed
/// delay with a little noise.
fn full_jitter_ms(base_ms: u64, tries: u32, policy: &Policy, rng: &mut impl Rng) -> u64 {
    rng.random_range(0..=backoff_cap_ms(base_ms, tries, policy))
}

fn backoff_cap_ms(base_ms: u64, tries: u32, policy: &Policy) -> u64 {
    grown_ms(base_ms, policy.backoff_factor, tries).min(policy.backoff_ms_max)
}

/// `base x factor^steps`.
fn grown_ms(base_ms: u64, factor: u32, steps: u32) -> u64 {
    // A factor of 0 would mean no delay from the second try on: a storm by misconfiguration.
    base_ms.saturating_mul(u64::from(factor.max(1)).saturating_pow(steps))
}

#[cfg(test)]
mod tests;
