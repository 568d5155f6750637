//! The commands, one file each, and what they share.
//! Must not know: how the rooms do their work.

pub mod config;
pub mod models;
pub mod simulate;
