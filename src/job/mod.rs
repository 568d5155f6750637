//! The words of a job: its document, its states, and what admission made of it.
//! Must not know: stores, providers, the clock.

mod document;
mod parse;
mod resolved;
mod schema;

pub use document::{IfOutcomeUnknown, JobDocument, MetadataMap, Problem};
pub use parse::parse;
pub use resolved::{Outcome, Resolved, State, Wanted};

pub(crate) use document::{digest, is_name, is_queue_name};
