//! Quarrier's library: the rooms of the daemon. The map of them follows.
#![doc = ""]
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod admit;
pub mod budget;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod completion;
pub mod config;
pub mod error;
pub mod estimate;
pub mod job;
pub mod native;
pub mod prompt;
pub mod provider;
pub mod retry;
pub mod rooms;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod worker;
