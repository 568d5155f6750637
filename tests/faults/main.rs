//! Real workers against a real Postgres and the simulator, while something breaks: processes,
//! connections, the database, its standby, the pooler, clocks, disks. After each fault the store's
//! tables and the simulator's log of calls must agree (`judge.rs`). Small with every test run; at
//! full size by `scripts/faults`. See docs/faults.md.
//! Must not know: the library's inside; it drives the binary and reads its tables.
#![cfg(test)]

mod clocks;
mod cluster;
mod cuts;
mod disks;
mod failover;
mod fleet;
mod judge;
mod killed;
mod outages;
mod proxy;
mod scene;
mod simulated;
