//! The call log: what is remembered of each call. Must not
//! know: the wire, how a call is carried out.

use std::collections::VecDeque;

use serde::{Serialize, Serializer};

use super::fault::{Fault, Strike};

/// How a call fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The quota had room and no fault struck.
    Admitted,
    /// The quota's requests were used up.
    ThrottledRequests,
    /// The quota's tokens were too few for the reservation.
    ThrottledTokens,
    /// The request itself was refused: its form, its model id, its missing signature.
    Refused,
    /// Its tokens were counted; the quota has no part in that.
    Counted,
    /// This fault struck.
    Fault(Fault),
}

impl Outcome {
    /// The name in the log and in the summary.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::ThrottledRequests => "throttled_requests",
            Self::ThrottledTokens => "throttled_tokens",
            Self::Refused => "refused",
            Self::Counted => "counted",
            Self::Fault(fault) => fault.as_str(),
        }
    }

    /// Whether the quota was charged for it.
    #[must_use]
    pub fn is_admitted(self) -> bool {
        match self {
            Self::Admitted => true,
            Self::ThrottledRequests | Self::ThrottledTokens | Self::Refused | Self::Counted => {
                false
            }
            Self::Fault(fault) => !matches!(fault.strike(), Strike::Refused(_)),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One call as the simulator saw it. All tokens are model tokens but for `reserved` and `settled`,
/// which are quota tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Counts all calls from 1, in the order in which the quota saw them.
    pub seq: u64,
    /// When it was admitted or refused, in milliseconds since the simulator's start.
    pub at_ms: u64,
    /// The same on the wall clock, for people: the wall clock at the start plus `at_ms`.
    pub at: jiff::Timestamp,
    /// The model id, decoded.
    pub model_id: String,
    /// Which operation: `converse`, `converse-stream`, `invoke`, `invoke-with-response-stream`,
    /// `count-tokens`.
    pub api: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// `job_id` of the request's metadata.
    pub job_id: Option<String>,
    /// `attempt` of the request's metadata.
    pub attempt: Option<String>,
    /// `tenant` of the request's metadata.
    pub tenant: Option<String>,
    /// How it fared.
    pub outcome: Outcome,
    /// The scenario's phase in which it came.
    pub phase: Option<String>,
    /// The script's step or the fixture's line that applied to it.
    pub rule: Option<String>,
    /// Whether the quota was charged.
    pub admitted: bool,
    /// The error code that was answered, if any.
    pub error: Option<&'static str>,
    /// Input tokens by the simulator's count.
    pub input_tokens: u64,
    /// The request's own limit of output tokens.
    pub max_tokens: u64,
    /// Quota tokens reserved at the start: input + `max_tokens`; 0 where it was not admitted.
    pub reserved: u64,
    /// Quota tokens charged in the end; absent while in flight.
    pub settled: Option<u64>,
    /// Output tokens; absent while in flight and where nothing was generated.
    pub output_tokens: Option<u64>,
    /// Tokens billed: input + output, whoever was still listening.
    pub billed: u64,
    /// When it ended, in milliseconds since the simulator's start.
    pub ended_at_ms: Option<u64>,
    /// The caller went away before the end: the reservation stays charged, as for any call that was
    /// aborted.
    pub client_gone: bool,
    /// Anything odd that a reader should know, such as an answer that could not be made to fit.
    pub note: Option<String>,
}

/// The newest calls, by number, bounded.
#[derive(Debug)]
pub(crate) struct CallLog {
    calls: VecDeque<Call>,
    calls_max: usize,
    /// The number of the oldest call kept; numbers are consecutive.
    oldest: u64,
}

impl CallLog {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self { calls: VecDeque::new(), calls_max, oldest: 1 }
    }

    /// Appends the next call and lets the oldest go where the log is full.
    pub(crate) fn push(&mut self, call: Call) {
        self.calls.push_back(call);
        while self.calls.len() > self.calls_max {
            self.calls.pop_front();
            self.oldest += 1;
        }
    }

    /// The call with this number, if it is still kept.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Call> {
        let position = usize::try_from(seq.checked_sub(self.oldest)?).ok()?;
        self.calls.get_mut(position)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }
}
