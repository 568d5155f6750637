//! What comes back.
//! Must not know: how it came about.

use serde_json::Value;

use crate::completion::{StopReason, Usage};

/// A model's answer with what it took.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The whole text, as the model wrote it. Where a schema was asked for there may be more in it
    /// than the JSON.
    pub text: String,
    /// The value that fits the schema, where one was asked for.
    pub output: Option<Value>,
    /// The same as the model wrote it, to the byte: for numbers that a double cannot hold.
    pub output_json: Option<String>,
    /// Why the model stopped.
    pub stop: StopReason,
    /// Model tokens of all calls of the ask, re-asks and retries included, as far as the provider
    /// has counted them.
    pub usage: Usage,
    /// What those calls cost, in micro-dollars, by the catalogue's prices. Absent, and never 0,
    /// where that is not known: a model without a price, a call that was cut.
    pub cost_micros: Option<u64>,
    /// The model's alias, or its id where the catalogue has none.
    pub model: String,
    /// The id that was invoked: a model's, an inference profile's, or an ARN.
    pub model_id: String,
    /// The provider's request id of the last call.
    pub request_id: Option<String>,
    /// How long it took.
    pub timings: Timings,
    /// How the output was come by: `direct`, `extracted`, `extracted+reasked:1`.
    pub provenance: String,
    /// How many calls were made.
    pub calls: u32,
    /// The job under which the last call is recorded: `quarrier jobs show JOB_ID`.
    pub job_id: String,
    /// The answer is made up, by a simulator.
    pub simulated: bool,
}

/// How long an answer took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Waiting for room in the budget, over all calls of the ask.
    pub waited_ms: u64,
    /// From the last call's sending to its first text, where it was streamed.
    pub first_token_ms: Option<u64>,
    /// From the last call's sending to its end.
    pub total_ms: u64,
}

/// An answer as a value of the caller's own type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Structured<T> {
    /// The value.
    pub value: T,
    /// What it was made of.
    pub answer: Answer,
}

impl Answer {
    /// What the ask cost, in dollars; absent where that is not known.
    #[must_use]
    pub fn cost_usd(&self) -> Option<f64> {
        // A micro-dollar is to a dollar what a microsecond is to a second.
        self.cost_micros.map(|micros| std::time::Duration::from_micros(micros).as_secs_f64())
    }
}
