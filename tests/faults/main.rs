//! Real workers against a real Postgres and the simulator, while something breaks: processes,
//! connections, the database, its standby, the pooler, clocks, disks, the queue service. After each
//! fault the store's tables and the simulator's log of calls must agree (`judge.rs`), and with queues
//! what came in and what went out (`tally.rs`). Small with every test run; at
//! full size by `scripts/faults`. See docs/faults.md.
//! Must not know: the library's inside; it drives the binary and reads its tables.
#![cfg(test)]

mod clocks;
mod cluster;
mod cuts;
mod disks;
#[cfg(feature = "sqs")]
mod exchange;
mod failover;
mod fleet;
mod judge;
#[cfg(feature = "sqs")]
mod kept;
mod killed;
#[cfg(feature = "sqs")]
mod messages;
mod outages;
mod proxy;
#[cfg(feature = "sqs")]
mod queues;
#[cfg(feature = "sqs")]
mod road;
mod scene;
mod simulated;
#[cfg(feature = "sqs")]
mod tally;
