//! The words of a job: its document, its states, and what admission made of it.
//! Must not know: stores, providers, the clock.

mod document;
mod resolved;

pub use document::{IfOutcomeUnknown, JobDocument, MetadataMap, Problem, parse};
pub use resolved::{Outcome, Resolved, State, Wanted};

pub(crate) use document::digest;
