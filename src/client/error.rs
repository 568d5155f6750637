//! Why there is no answer, by what the caller does next.
//! Must not know: how a call is made.

use std::time::Duration;

use jiff::Timestamp;

use crate::budget::Dimension;
use crate::completion::Usage;
use crate::error::ErrorKind;
use crate::job::Problem;

/// Why there is no answer. Every variant has a [`kind`](Error::kind), and none repeats a prompt or
/// an answer in its message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The budget has no room now, and will have none within the time that the ask may wait.
    /// Nothing was called, nothing is paid, and nothing of the ask stands in the store.
    #[error(
        "the budget has no room: {dimension} of the limit `{limit}`, until {fits_at} at the \
         earliest; wait longer (wait_ms_max), ask later, or raise the limit"
    )]
    BudgetExhausted {
        /// When the call fits at the earliest, if nothing else is called until then; a call that
        /// uses less than it reserved makes it earlier.
        fits_at: Timestamp,
        /// Which limit: `total`, `lane:NAME`, `queue:NAME` or `tenant:NAME`.
        limit: String,
        /// Requests or tokens.
        dimension: Dimension,
    },
    /// The call was made, or could not be, and there is no usable answer. It is recorded.
    #[error("{0}")]
    Call(Box<Failure>),
    /// The ask itself cannot be called: an unknown model, an input longer than the model's window,
    /// a schema that does not compile, a reservation larger than a whole limit.
    #[error("the ask is refused: {}", listed(.problems))]
    Rejected {
        /// Every reason, with the JSON path of the field, the limit and the way out.
        problems: Vec<Problem>,
    },
    /// Nobody calls this model for now, because calls to it cannot succeed: the credentials have
    /// expired, a daily quota is used up.
    #[error("nobody calls {lane} until {until}{}", because(*.kind))]
    Paused {
        /// The provider, its region and the model's id, with `/` between them.
        lane: String,
        /// Until then, unless it is paused again.
        until: Timestamp,
        /// The failure that paused it, where it is known.
        kind: Option<ErrorKind>,
    },
    /// A person has paused this model's lane, the ask's queue, or everything.
    #[error("{words}")]
    Halted {
        /// What is paused, since when, why, and the command that ends it.
        words: String,
    },
    /// As many calls of this client were in flight as it may make at once, for as long as the ask
    /// may wait.
    #[error("{calls_max} calls are in flight, which is all that this client makes at once")]
    Busy {
        /// The setting `worker.concurrency`.
        calls_max: u32,
    },
    /// The call could cost more than is left of the client's `cost_micros_max`.
    #[error("the money left of this client does not cover the call at worst")]
    CostLimit,
    /// The store did not take the call, so it was not made.
    #[error("failed to use the store: {message}")]
    Store {
        /// What the store says.
        message: String,
        /// The same ask may succeed later; otherwise a person must act.
        passes: bool,
    },
    /// The client could not be opened: the configuration, the credentials, the store.
    #[error("{0}")]
    Setup(String),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// A call without a usable answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}: {message}")]
#[non_exhaustive]
pub struct Failure {
    /// What failed, as data.
    pub kind: ErrorKind,
    /// What failed, in the provider's words or ours, with the way out where there is one.
    pub message: String,
    /// The provider asks for this pause before the next try.
    pub retry_after: Option<Duration>,
    /// The provider's request id, for its logs and support.
    pub request_id: Option<String>,
    /// What the model had written: the whole answer where it did not fit, else as far as it came.
    pub partial_text: Option<String>,
    /// What all calls of the ask have used, as far as the provider has counted it.
    pub usage: Usage,
    /// What all calls of the ask cost, in micro-dollars; absent where that is not known.
    pub cost_micros: Option<u64>,
    /// How many calls were made.
    pub calls: u32,
    /// The job under which the last call is recorded: `quarrier jobs show JOB_ID`.
    pub job_id: String,
}

impl Error {
    /// The kind, as data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BudgetExhausted { .. } | Self::Busy { .. } | Self::CostLimit => {
                ErrorKind::BudgetExhausted
            }
            Self::Call(failure) => failure.kind,
            Self::Rejected { .. } => ErrorKind::Rejected,
            Self::Paused { kind, .. } => kind.unwrap_or(ErrorKind::Unavailable),
            Self::Halted { .. } | Self::Store { passes: true, .. } => ErrorKind::Unavailable,
            Self::Store { .. } | Self::Setup(_) => ErrorKind::Bug,
            Self::Closed => ErrorKind::Cancelled,
        }
    }

    /// The pause that the provider asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure()?.retry_after
    }

    /// The provider's request id.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.failure()?.request_id.as_deref()
    }

    /// What the model had written.
    #[must_use]
    pub fn partial_text(&self) -> Option<&str> {
        self.failure()?.partial_text.as_deref()
    }

    /// The call, where one was made or tried.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Call(failure) => Some(failure),
            _ => None,
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn because(kind: Option<ErrorKind>) -> String {
    kind.map_or_else(String::new, |kind| format!(", because of {kind}"))
}
