//! A provider that answers inside the process, at once or after a fixed time, so that what is
//! measured is the queue alone.
//! Must not know: what is measured, or who asks.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use super::meters;
use crate::completion::{Completion, StopReason, Usage};
use crate::provider::{CallError, GenerateRequest, Provider};

/// The first part of its lanes' names. No other provider has it, so no other worker's calls go there.
pub(super) const LANE_PREFIX: &str = "bench/inside";

/// Answers every call alike.
pub(super) struct Noop {
    /// How long a call takes.
    pub(super) call: Duration,
    /// Who hears of each call: the number with which its prompt begins, and when it started, in
    /// nanoseconds of the monotonic clock.
    pub(super) starts: Option<UnboundedSender<(u64, u64)>>,
}

#[async_trait]
impl Provider for Noop {
    async fn generate(&self, request: &GenerateRequest) -> Result<Completion, CallError> {
        if let Some(starts) = &self.starts {
            let at_ns = meters::monotonic_ns();
            // Nobody hears it any more once the measurement is over.
            starts.send((number(request), at_ns)).ok();
        }
        if !self.call.is_zero() {
            tokio::time::sleep(self.call).await;
        }
        Ok(Completion {
            text: "a short answer".to_owned(),
            stop: StopReason::EndTurn,
            usage: Usage { input: 300, output: 5, cache_read: 0, cache_write: 0 },
            request_id: Some("inside".to_owned()),
            first_token_ms: None,
            total_ms: 0,
        })
    }

    fn lane_prefix(&self) -> &str {
        LANE_PREFIX
    }

    fn wire_body(&self, _: &GenerateRequest) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// The number with which the prompt begins; the largest where it begins with none.
fn number(request: &GenerateRequest) -> u64 {
    let text = request.messages.first().map_or("", |turn| turn.text.as_str());
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or(u64::MAX)
}
