//! Language-model work on AWS Bedrock, inside one exact quota: a client for programs that want an
//! answer now, and the worker daemon `quarrier` whose budget it shares.
//!
//! # The client
//!
//! ```
//! use quarrier::{Client, Error};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     // Without `.simulated()` it calls Bedrock, with the credentials of the usual AWS chain.
//!     let client = Client::builder().simulated().open().await?;
//!     let answer = client.generate("Name three rivers.").await?;
//!     println!("{} ({:?} $)", answer.text, answer.cost_usd());
//!     client.close().await;
//!     Ok(())
//! }
//! ```
//!
//! - [`Client::generate`]: one answer by one call. An [`Ask`] says what differs from the defaults.
//! - [`Client::generate_structured`] and [`Client::generate_structured_as`]: JSON that fits a
//!   schema, or a value of your own type; asked for again, a bounded number of times, where it does
//!   not fit.
//! - [`Client::generate_with_retry`]: as many calls as the retry policy allows.
//! - [`Client::generate_with_context`]: a question about documents.
//! - [`Client::stream`]: the text piece by piece.
//!
//! Each call reserves its quota before it leaves and settles it after. A client that names a store
//! ([`ClientBuilder::store`], or `[store] url` in the configuration) shares its budget with every
//! worker and every other program of that store, so a chat service and a nightly batch keep to one
//! quota together. What has no room within `wait_ms_max` is refused at once by
//! [`Error::BudgetExhausted`], which says when it would fit. Every call is recorded with what it
//! cost; a call that nobody saw the end of is shown as such and never made again by itself.
//!
//! The longer guide is `docs/library.md`; its examples, like those here, are run as tests against
//! the simulator.
//!
//! # The daemon's rooms
//!
//! The other modules are what the program `quarrier` is made of. They are public for its tests and
//! benchmarks, and change without notice: a program needs [`client`], and for its own tests
//! [`simulator`]. The map of them follows.
#![doc = ""]
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod admit;
#[cfg(feature = "sqlite")]
pub mod bench;
pub mod budget;
pub mod catalogue;
pub mod check;
#[cfg(feature = "sqlite")]
pub mod cli;
#[cfg(feature = "sqlite")]
pub mod client;
pub mod clock;
pub mod completion;
pub mod config;
pub mod error;
pub mod estimate;
#[cfg(feature = "sqlite")]
pub mod http;
pub mod intake;
pub mod job;
pub mod message_queue;
pub mod native;
pub mod prompt;
pub mod provider;
pub mod relay;
pub mod result_line;
pub mod retry;
#[cfg(feature = "sqlite")]
pub mod rooms;
pub mod simulator;
#[cfg(feature = "sqs")]
pub mod sqs;
pub mod store;
pub mod telemetry;
pub mod worker;

#[cfg(feature = "sqlite")]
pub use client::{
    Answer, AnswerStream, Ask, Client, ClientBuilder, ContextItem, Error, ErrorKind, Failure,
    Message, RetryPolicy, Role, Structured, Usage,
};

/// The examples of the library's guide, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
pub struct LibraryGuide;
