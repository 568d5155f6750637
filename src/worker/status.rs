//! What a worker has done so far, for those who watch it.
//! Must not know: how it is shown.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::budget::Dimension;
use crate::clock::rfc3339;
use crate::completion::Usage;
use crate::error::ErrorKind;
use crate::store::Pause;

/// How many lines about pauses are kept for those who look late.
const TOLD_MAX: usize = 16;

/// Why nothing is claimed although jobs wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingFor {
    /// A limit: `waiting: requests, total, 12 s`.
    Limit {
        /// Requests or tokens.
        dimension: Dimension,
        /// The budget's key.
        key: String,
        /// When the first job fits at the earliest, on the clock's `mono_ms`.
        until_mono_ms: u64,
    },
    /// A lane that is paused, for missing credentials for instance.
    Pause {
        /// The lane.
        lane: String,
        /// Until when, on the clock's `mono_ms`; not in the future while one call tries it.
        until_mono_ms: u64,
        /// What paused it, where that is known.
        kind: Option<ErrorKind>,
    },
    /// A person, who has paused what is due.
    Person(Pause),
    /// The money of `--max-cost-usd` does not cover the next call at worst.
    Money,
    /// The store does not answer.
    Store,
}

impl WaitingFor {
    /// What is waited for, without the time: `requests, total`.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Limit { dimension, key, .. } => format!("{dimension}, {key}"),
            Self::Pause { lane, kind: None, .. } => format!("{lane} is paused"),
            Self::Pause { lane, kind: Some(kind), .. } => format!("{lane} is paused: {kind}"),
            Self::Person(pause) => paused_words(pause),
            Self::Money => "the money left does not cover the next call".to_owned(),
            Self::Store => "the store does not answer".to_owned(),
        }
    }
}

/// What a person has paused, since when, why, and how it goes on.
#[must_use]
pub fn paused_words(pause: &Pause) -> String {
    let until = pause.until.map(|until| format!(" until {}", rfc3339(until))).unwrap_or_default();
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(
        "{} is paused by a person since {}{until}{reason}; `quarrier resume {}`",
        pause.scope.words(),
        rfc3339(pause.since),
        pause.scope.flag()
    )
}

/// Counts since the worker began.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Calls in flight.
    pub in_flight: u32,
    /// Attempts claimed.
    pub claimed: u64,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that ended otherwise.
    pub other_ends: u64,
    /// Answers shown to the model again.
    pub reasked: u64,
    /// Calls that will be made again after a failure.
    pub retried: u64,
    /// Calls that the provider throttled.
    pub throttled: u64,
    /// Calls whose outcome is unknown.
    pub unknown: u64,
    /// Tokens counted.
    pub usage: Usage,
    /// Known cost, in micro-dollars.
    pub cost_micros: u64,
    /// Why nothing is claimed; none while something is.
    pub waiting: Option<WaitingFor>,
    /// Pauses of lanes that this worker began.
    pub pauses: u64,
    /// What each of the last of them is about, and what to do: a line for a person.
    pub told: Vec<String>,
    /// The last finished job's id and state, for plain progress lines.
    pub last: Option<String>,
}

impl Status {
    /// A pause began.
    pub(super) fn tell(&mut self, line: String) {
        self.pauses = self.pauses.saturating_add(1);
        if self.told.len() >= TOLD_MAX {
            self.told.remove(0);
        }
        self.told.push(line);
    }

    /// The lines that somebody has not seen who has seen the first `seen` of them.
    pub fn untold(&self, seen: u64) -> impl Iterator<Item = &str> {
        let unseen = usize::try_from(self.pauses.saturating_sub(seen)).unwrap_or(usize::MAX);
        self.told.iter().skip(self.told.len().saturating_sub(unseen)).map(String::as_str)
    }
}

/// A shared view of a [`Status`].
#[derive(Debug, Clone, Default)]
pub struct StatusHandle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // A std mutex: nothing is awaited while it is held.
    status: Mutex<Status>,
    changed: Notify,
}

impl StatusHandle {
    /// A copy of the counts as they are now.
    #[must_use]
    pub fn now(&self) -> Status {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a job has ended since the last wait.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn notify(&self) {
        self.0.changed.notify_one();
    }
}
