//! The native formats held to their fixtures, to hostile texts, and to any bytes at all.
//! Must not know: HTTP, clients.

mod any_bytes;
mod estimate;
mod fixture;
mod golden;
mod hostile;
mod limits;
