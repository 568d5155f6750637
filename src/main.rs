//! The binary: names the concrete adapters and hands over to `cli`.
fn main() {}
