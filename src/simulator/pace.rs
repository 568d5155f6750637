//! The latency model: when the parts of an answer are due. Must not know: what is sent.

use std::time::Duration;

use super::draw::{Draw, join};
use super::options::Latency;

/// When the parts of an answer are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    begun: tokio::time::Instant,
    first_us: u64,
    per_token_us: u64,
}

impl Pace {
    pub(crate) fn new(latency: Latency, content: u64, seq: u64) -> Self {
        let spread = latency.spread_percent.min(100);
        let mut draw = Draw::new(join(content, seq ^ 0x5EED));
        let percent = draw.within(100 - spread, 100 + spread);
        let scaled = |us: u64| us.saturating_mul(percent) / 100;
        Self {
            begun: tokio::time::Instant::now(),
            first_us: scaled(latency.first_token_ms.saturating_mul(1_000)),
            per_token_us: scaled(latency.per_token_us),
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.first_us == 0 && self.per_token_us == 0
    }

    pub(crate) fn micros_at(&self, tokens: u64) -> u64 {
        self.first_us.saturating_add(self.per_token_us.saturating_mul(tokens))
    }

    /// Waits until so many tokens are due.
    pub(crate) async fn wait(&self, tokens: u64) {
        if !self.is_none() {
            let due = Duration::from_micros(self.micros_at(tokens));
            tokio::time::sleep_until(self.begun + due).await;
        }
    }
}
