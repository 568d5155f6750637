//! A batch that saturates the budget, and a job for which somebody waits.

use quarrier::budget::Limit;
use quarrier::store::{AdmitStore as _, QueueShare, Shares};
use serde_json::json;

use crate::bed::Bed;
use crate::scripted::Scripted;
use crate::within;
use quarrier::admit::Origin;

const BATCH: usize = 2_000;
const WAITS: &str = "SOMEBODY WAITS FOR THIS";

/// Calls that begin between the admission of an interactive job and its own call, counted and not
/// timed: those that were claimed before, and two claims more.
const BETWEEN_MAX: usize = 24;

#[test]
fn an_interactive_job_starts_after_a_handful_of_a_large_batchs_calls() {
    within(calls_between(QueueShare::plain("interactive")));
}

#[test]
fn a_job_within_its_queues_reserved_share_starts_after_a_handful_of_a_large_batchs_calls() {
    let share = QueueShare { reserved_permille: 200, ..QueueShare::plain("interactive") };
    // Its turns alone would let it wait for a thousand calls.
    within(calls_between(QueueShare { weight: 0.001, ..share }));
}

async fn calls_between(queue: QueueShare) {
    let bed = Bed::new().await;
    // Sixty at once, and then twenty a second: it does not come to its end while the test looks.
    bed.limit("total", Limit { requests_per_minute: Some(1_200), tokens_per_minute: None }).await;
    bed.store.seed_shares(&Shares { queues: vec![queue], tenants: Vec::new() }).await.unwrap();
    let batch =
        (0..BATCH).map(|_| bed.prepared(&json!({"prompt": "One of many."}), Origin::default()));
    bed.store.admit(batch.collect()).await.unwrap();
    let provider = Scripted::saying("Done.");
    let running = bed.start(provider.clone());
    provider.begun(70).await;
    bed.admit(json!({ "prompt": WAITS, "queue": "interactive" })).await;
    let before = provider.seen().begun;
    let mine = |provider: &Scripted| {
        let requests = provider.requests();
        requests.iter().position(|request| format!("{request:?}").contains(WAITS))
    };
    crate::until(|| async { mine(&provider).is_some() }).await;
    let between = mine(&provider).unwrap().saturating_sub(before);
    assert!(between <= BETWEEN_MAX, "{between} calls began before it");
    running.stopped().await;
}
