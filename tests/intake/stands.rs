//! What an intake waits for, and what it says of that.

use std::time::Duration;

use crate::bed::{Bed, plain};
use crate::{until, within};

#[test]
fn nothing_is_received_while_too_many_jobs_wait() {
    within(async {
        let bed = Bed::default();
        bed.store.wait_with(1_000);
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| running.intake.ready().says.contains("1000 jobs wait in the store")).await;
        assert!(running.intake.ready().ok, "that is no fault of its own");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(bed.queue.calls("receive"), 0);
        bed.store.wait_with(999);
        // The look is a second old at most, on a clock that stands still.
        bed.hand.advance(1_000);
        until(|| bed.queue.is_empty()).await;
        running.ended().await;
    });
}

#[test]
fn a_drain_ends_a_long_poll_at_once() {
    within(async {
        let bed = Bed::default();
        let running = bed.start();
        until(|| bed.queue.calls("receive") == 1).await;
        assert!(running.intake.ready().ok);
        let begun = tokio::time::Instant::now();
        let intake = running.intake.clone();
        running.ended().await;
        assert!(begun.elapsed() < Duration::from_secs(15), "it would have waited for 20 s");
        assert!(!intake.ready().ok);
        assert_eq!(bed.queue.calls("receive"), 1);
    });
}
