//! The SQS adapter through the real SDK: against a server that keeps SQS's rules, which
//! `scripts/test` starts, and against one that says what each test tells it to. Knows nothing of
//! jobs or stores.
#![cfg(test)]
#![cfg(feature = "sqs")]

mod answers;
mod bed;
mod emulator;
mod environment;
mod faults;
mod fifo;
#[cfg(feature = "s3")]
mod large;
mod server;
mod sizes;
