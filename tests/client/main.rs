//! The library as a program sees it, over a real SQLite store and the Bedrock adapter before the
//! simulator. Must not know: the client's inside.
#![cfg(test)]

mod answers;
mod ends;
mod quota;
mod scene;
mod streams;

use std::future::Future;
use std::time::Duration;

/// Generous, because the machine may be busy: a test that needs it has failed.
const LONGEST: Duration = Duration::from_mins(1);

/// Runs a test's body under the deadline that every test has.
fn within<T>(body: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONGEST, body).await.expect("took too long") })
}
