//! The commands, one file each, and what they share.
//! Must not know: how the rooms do their work.

pub mod config;
pub mod enqueue;
pub mod jobs;
pub mod jsonl;
pub mod limits;
pub mod migrate;
pub mod models;
pub mod result_line;
pub mod results;
pub mod simulate;
mod table;
#[cfg(test)]
mod testing;
