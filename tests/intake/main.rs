//! Intakes: in front of a queue and a store in memory that are told what to do, and from moto's SQS
//! into real stores. Must not know: the intake's inside.
#![cfg(test)]
#![expect(clippy::as_conversions, reason = "an Arc of a double becomes an Arc of the port")]

mod acks;
mod admission;
mod bad;
mod bed;
#[cfg(all(feature = "sqs", feature = "postgres"))]
#[path = "../store/cluster.rs"]
#[expect(dead_code, reason = "the tests of the stores ask more of a database")]
mod cluster;
mod holding;
mod memory;
#[cfg(all(feature = "sqs", feature = "postgres"))]
mod moto;
mod outages;
mod queue;
#[cfg(all(feature = "sqs", feature = "postgres"))]
mod real;
#[cfg(all(feature = "sqs", feature = "postgres"))]
mod served;
mod stands;

use std::future::Future;
use std::time::Duration;

/// Generous, because the machine may be busy: a test that needs it has failed.
const LONGEST: Duration = Duration::from_mins(1);

/// Polls a condition that nothing announces. Ends with its test's own deadline.
async fn until(mut reached: impl FnMut() -> bool) {
    while !reached() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a test's body under the deadline that every test has.
fn within<T>(body: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONGEST, body).await.expect("took too long") })
}
