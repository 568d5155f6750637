//! Waits that grow from failure to failure, with jitter, and end at a drain.
//! Must not know: what failed.

use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

/// The first wait is at most this, in ms.
const BASE_MS: u64 = 250;
/// Each further one may be so many times longer.
const FACTOR: u64 = 2;
/// The longest wait for a queue: who creates a queue late is not kept waiting for long.
const QUEUE_MS_MAX: u64 = 60_000;
/// The longest wait for the store: received messages wait with it, and their time is short.
const STORE_MS_MAX: u64 = 5_000;

/// How long to wait after the next failure.
#[derive(Debug)]
pub(super) struct Backoff {
    next_ms: u64,
    max_ms: u64,
}

impl Backoff {
    pub(super) fn of_queue() -> Self {
        Self { next_ms: BASE_MS, max_ms: QUEUE_MS_MAX }
    }

    pub(super) fn of_store() -> Self {
        Self { next_ms: BASE_MS, max_ms: STORE_MS_MAX }
    }

    /// It has worked: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.next_ms = BASE_MS;
    }

    /// The wait after one more failure: at least half of what it may be, so that nothing storms.
    pub(super) fn next(&mut self) -> Duration {
        let longest_ms = self.next_ms;
        self.next_ms = longest_ms.saturating_mul(FACTOR).min(self.max_ms);
        Duration::from_millis(rand::rng().random_range(longest_ms / 2..=longest_ms))
    }

    /// Waits; false where the drain came first.
    pub(super) async fn wait(&mut self, drain: &CancellationToken) -> bool {
        sleep(self.next(), drain).await
    }
}

/// Sleeps; false where the drain came first.
pub(super) async fn sleep(wait: Duration, drain: &CancellationToken) -> bool {
    tokio::select! {
        () = drain.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_limit_and_begin_anew() {
        let mut backoff = Backoff::of_queue();
        let first = backoff.next();
        assert!((125..=250).contains(&first.as_millis()), "{first:?}");
        for _ in 0..20 {
            backoff.next();
        }
        let longest = backoff.next();
        assert!((30_000..=60_000).contains(&longest.as_millis()), "{longest:?}");
        backoff.reset();
        assert!(backoff.next().as_millis() <= 250);
    }
}
