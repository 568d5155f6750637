//! The relay over a real SQLite store in a temporary folder, with a queue service that follows a
//! script, and the binary before an emulator. Must not know: the relay's inside.
#![cfg(test)]
#![expect(clippy::as_conversions, reason = "an Arc of a double becomes an Arc of the port")]

mod binary;
mod failures;
#[cfg(feature = "s3")]
mod large;
mod scene;
mod scripted;
mod sends;
mod sizes;

use std::future::Future;
use std::time::Duration;

/// Generous, because the machine may be busy: a test that needs it has failed.
pub(crate) const LONGEST: Duration = Duration::from_mins(2);

/// Runs a test's body under the deadline that every test has.
fn within<T>(body: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONGEST, body).await.expect("took too long") })
}
