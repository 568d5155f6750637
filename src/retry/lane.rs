//! When a lane as a whole is out of order, as one worker sees it: whose failure a failure is, how
//! long nobody calls, and that one call tries the lane before all others go on.
//! Must not know: stores, providers, clocks, lanes' names.
//!
//! Some kinds pause a lane by themselves (`credentials`, `access_denied`, `throttled_day`). The
//! kinds of an outage do when [`Policy::outage_calls`] of them speak against the lane in a row. One
//! that its job cannot have caused (no connection, 503, overloaded) speaks each time; one that an
//! input may cause (500, no first byte) speaks once a job, so that a job which breaks the model
//! alone is not taken for an outage. Any other end of a call proves that the lane works.
//!
//! While a lane is paused, failures of these kinds are the lane's: uncounted, and the jobs come
//! back when the pause is over. Then one call, the probe, is let through. If it fails in the same
//! way the lane is paused again, for longer after an outage; else it works again.

use rand::{Rng, RngExt as _};

use super::{Policy, grown_ms};
use crate::error::ErrorKind;

/// A lane in one worker's eyes. Starts in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// Failures in a row that no job can have caused.
    calls: u32,
    /// Jobs that failed in a row in a way that a job may cause; each once.
    jobs: Vec<u128>,
    /// When a call last proved that it works.
    well_at_ms: Option<u64>,
    pause: Option<Pause>,
    /// When the last outage's pause ended, and how long its steps had grown.
    before: Option<(u64, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pause {
    until_ms: u64,
    /// Absent where another worker paused it and nobody said why.
    kind: Option<ErrorKind>,
    /// How many pauses of this outage came before.
    steps: u32,
    /// The call that tries it.
    probe: Option<u128>,
}

impl Pause {
    /// Whether this call tells what becomes of the pause: the probe, or once the pause is over
    /// whoever comes first. A call from before the pause says nothing while it lasts.
    fn is_decided_by(&self, fence: u128, now_ms: u64) -> bool {
        self.probe.map_or(now_ms >= self.until_ms, |probe| probe == fence)
    }
}

/// How many calls a lane may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// As many as fit.
    All,
    /// The probe alone.
    One,
    /// None, for so many milliseconds; 0 while the probe is in flight.
    None {
        /// Milliseconds from now.
        for_ms: u64,
    },
}

/// A failed call.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// What failed.
    pub kind: ErrorKind,
    /// Nothing of it has left this process.
    pub unsent: bool,
    /// Which job.
    pub job: u128,
    /// Which call.
    pub fence: u128,
    /// The job's failures before this one, made here or elsewhere.
    pub failures: u32,
    /// The provider's Retry-After, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// The lane is to blame, not the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out {
    /// Nobody calls for so many milliseconds.
    pub for_ms: u64,
    /// This failure began the pause: others must hear of it, and a person.
    pub began: bool,
    /// It was the probe's: the same trouble goes on.
    pub again: bool,
}

/// Whether this kind can pause its lane.
#[must_use]
pub fn pauses(kind: ErrorKind) -> bool {
    is_pause(kind) || is_outage(kind)
}

/// Whether one such failure pauses the lane.
fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Credentials | ErrorKind::AccessDenied | ErrorKind::ThrottledDay)
}

/// Whether this kind, when it comes in a row, is an outage.
pub(super) fn is_outage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectFailed
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::Internal
            | ErrorKind::FirstTokenTimeout
    )
}

/// Whether no input can have caused it: the service speaks of itself, or was never reached.
fn is_blameless(failure: &Failure) -> bool {
    match failure.kind {
        ErrorKind::Unavailable | ErrorKind::Overloaded => true,
        ErrorKind::ConnectFailed => failure.unsent,
        _ => false,
    }
}

/// Whether the call may never have come to an answer of any kind.
fn proves_nothing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::CallTimeout | ErrorKind::Bug | ErrorKind::Cancelled)
}

impl Lane {
    /// How many calls may be started now.
    #[must_use]
    pub fn allowed(&self, now_ms: u64) -> Allowed {
        match &self.pause {
            None => Allowed::All,
            Some(pause) if now_ms < pause.until_ms => {
                Allowed::None { for_ms: pause.until_ms - now_ms }
            }
            Some(Pause { probe: None, .. }) => Allowed::One,
            Some(_) => Allowed::None { for_ms: 0 },
        }
    }

    /// Whether it is paused, or being tried after a pause.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Why it is paused or being tried, where that is known.
    #[must_use]
    pub fn why(&self) -> Option<ErrorKind> {
        self.pause.as_ref().and_then(|pause| pause.kind)
    }

    /// Another worker has paused it.
    pub fn heard(&mut self, for_ms: u64, kind: Option<ErrorKind>, now_ms: u64) {
        let until_ms = now_ms.saturating_add(for_ms);
        match &mut self.pause {
            Some(pause) => {
                pause.until_ms = pause.until_ms.max(until_ms);
                pause.kind = kind.or(pause.kind);
            }
            None => self.pause = Some(Pause { until_ms, kind, steps: 0, probe: None }),
        }
    }

    /// A person wants it tried now: the pause is over for one call. False if it is not paused.
    pub fn try_now(&mut self, now_ms: u64) -> bool {
        let Some(pause) = &mut self.pause else { return false };
        pause.until_ms = pause.until_ms.min(now_ms);
        true
    }

    /// A call was claimed: it is the probe, where one is wanted.
    pub fn claimed(&mut self, fence: u128, now_ms: u64) {
        if self.allowed(now_ms) == Allowed::One
            && let Some(pause) = &mut self.pause
        {
            pause.probe = Some(fence);
        }
    }

    /// A call is over, however it ended; a probe that proved nothing (unsent, stopped) makes room
    /// for another one.
    pub fn over(&mut self, fence: u128) {
        if let Some(pause) = &mut self.pause
            && pause.probe == Some(fence)
        {
            pause.probe = None;
        }
    }

    /// A call proved that the lane works; true if that ended a pause.
    pub fn worked(&mut self, fence: u128, now_ms: u64) -> bool {
        self.well_at_ms = Some(now_ms);
        self.calls = 0;
        self.jobs.clear();
        let decides = self.pause.as_ref().is_some_and(|pause| pause.is_decided_by(fence, now_ms));
        if decides && let Some(pause) = self.pause.take() {
            self.before = Some((now_ms, pause.steps));
        }
        decides
    }

    /// Whose failure this is: the lane's, or (none) the job's own.
    pub fn failed(
        &mut self,
        failure: &Failure,
        policy: &Policy,
        now_ms: u64,
        rng: &mut impl Rng,
    ) -> Option<Out> {
        if !pauses(failure.kind) {
            if !proves_nothing(failure.kind) {
                self.worked(failure.fence, now_ms);
            }
            return None;
        }
        if let Some(pause) = &self.pause
            && !pause.is_decided_by(failure.fence, now_ms)
        {
            let for_ms = pause.until_ms.saturating_sub(now_ms);
            return Some(Out { for_ms, began: false, again: false });
        }
        let probed = self.pause.take();
        if probed.is_none() && is_outage(failure.kind) && !self.is_enough(failure, policy, now_ms) {
            return None;
        }
        let again = probed.as_ref().is_some_and(|pause| pause.kind == Some(failure.kind));
        let steps = match (probed, self.before) {
            (Some(pause), _) => pause.steps.saturating_add(1),
            // An outage that comes back at once is the same one.
            (None, Some((ended_ms, steps)))
                if now_ms.saturating_sub(ended_ms) < policy.outage_ms_max =>
            {
                steps.saturating_add(1)
            }
            (None, _) => 0,
        };
        let for_ms = pause_ms(failure, steps, policy, rng);
        let until_ms = now_ms.saturating_add(for_ms);
        self.calls = 0;
        self.jobs.clear();
        self.pause = Some(Pause { until_ms, kind: Some(failure.kind), steps, probe: None });
        Some(Out { for_ms, began: true, again })
    }

    /// Notes what speaks against the lane; true when it is enough for an outage.
    fn is_enough(&mut self, failure: &Failure, policy: &Policy, now_ms: u64) -> bool {
        let enough = policy.outage_calls.max(1);
        if is_blameless(failure) {
            self.calls = self.calls.saturating_add(1);
        } else if !self.jobs.contains(&failure.job) {
            self.jobs.push(failure.job);
        }
        let jobs = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        let here = self.calls.saturating_add(jobs);
        // Where nothing has worked here lately, what the job met elsewhere speaks too: one job
        // among many workers must not use up its tries with each of them seeing only one.
        let lately = |at: u64| now_ms.saturating_sub(at) < policy.outage_ms_max;
        let elsewhere = is_blameless(failure) && !self.well_at_ms.is_some_and(lately);
        let its_own = if elsewhere { failure.failures.saturating_add(1) } else { 0 };
        here.max(its_own) >= enough
    }
}

/// How long nobody calls. An outage's pause grows with each that came before, and its second half
/// is random, as is the tenth on top of the others: workers must not come back together.
fn pause_ms(failure: &Failure, steps: u32, policy: &Policy, rng: &mut impl Rng) -> u64 {
    let floor_ms = failure.retry_after_ms.unwrap_or(0).min(policy.retry_after_ms_max);
    let (sure_ms, random_ms) = match failure.kind {
        ErrorKind::ThrottledDay => (policy.throttled_day_ms, policy.throttled_day_ms / 10),
        ErrorKind::Credentials | ErrorKind::AccessDenied => {
            (policy.paused_ms, policy.paused_ms / 10)
        }
        _ => {
            let most_ms = grown_ms(policy.outage_ms_base, policy.backoff_factor, steps)
                .min(policy.outage_ms_max);
            (most_ms - most_ms / 2, most_ms / 2)
        }
    };
    sure_ms.max(floor_ms).saturating_add(rng.random_range(0..=random_ms))
}

#[cfg(test)]
mod tests;
