//! The worker over a real SQLite store in a temporary folder, with a provider that follows a script
//! or the Bedrock adapter before the simulator. Must not know: the worker's inside.
#![cfg(test)]
#![expect(clippy::as_conversions, reason = "an Arc of a double becomes an Arc of the port")]

mod answers;
mod bed;
mod claiming;
mod control;
mod direct;
mod doors;
mod failures;
mod health;
mod keeping;
mod leases;
mod outages;
mod pauses;
mod restoring;
mod scripted;
mod sharing;
mod simulated;
mod spool;
mod stops;
mod trouble;

use std::future::Future;
use std::time::Duration;

/// Generous, because the machine may be busy: a test that needs it has failed.
pub(crate) const LONGEST: Duration = Duration::from_mins(1);

/// Polls a condition that nothing announces. Ends with its test's own deadline.
async fn until<F: Future<Output = bool>>(mut reached: impl FnMut() -> F) {
    while !reached().await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a test's body under the deadline that every test has.
fn within<T>(body: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONGEST, body).await.expect("took too long") })
}
