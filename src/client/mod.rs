//! The library's front: a client for programs that want an answer now, inside the same budget as
//! the workers of the same store.
//! Must not know: command lines, how a call is made, claimed or checked.

mod answer;
mod ask;
mod calls;
mod error;
mod open;
mod stream;
mod wait;

use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use answer::{Answer, Structured, Timings};
pub use ask::Ask;
pub use error::{Error, Failure};
pub use open::ClientBuilder;
pub use stream::AnswerStream;

pub use crate::budget::Dimension;
pub use crate::completion::{Message, Role, StopReason, Usage};
pub use crate::error::ErrorKind;
pub use crate::job::Problem;
pub use crate::prompt::ContextItem;
pub use crate::retry::Policy as RetryPolicy;

use crate::admit::Admission;
use crate::clock::Clock;
use crate::provider::Heard;
use crate::retry::Policy;
use crate::rooms::Rooms;
use crate::worker::Direct;
use calls::Further;
use open::Place;
use stream::Pieces;

/// A client. Cloning it is cheap, and clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

/// What a client is made of.
struct Parts {
    direct: Direct,
    rooms: Rooms,
    place: Place,
}

struct Inner {
    direct: Arc<Direct>,
    admission: Arc<Admission>,
    clock: Clock,
    policy: Policy,
    wait_ms_max: u64,
    calls_max: u32,
    simulated: bool,
    lines: wait::Lines,
    closing: CancellationToken,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// A client as the configuration says: `./quarrier.toml` (or the file that `QUARRIER_CONFIG`
    /// names), `QUARRIER_*` variables, and `BEDROCK_MODEL_ID`, `BEDROCK_TEMPERATURE`,
    /// `BEDROCK_MAX_TOKENS`, `AWS_REGION`; the same as the program `quarrier` reads. Where it names
    /// a store (`[store] url`), the budget is shared with all workers and programs of that store.
    ///
    /// # Errors
    /// [`Error::Setup`] where the configuration is refused, no credentials are found, or the store
    /// cannot be used.
    pub async fn from_config() -> Result<Self, Error> {
        Self::builder().open().await
    }

    /// A client that also says some things itself, above the configuration.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    fn begin(parts: Parts) -> Self {
        let Parts { direct, rooms, place } = parts;
        let direct = Arc::new(direct);
        let closing = CancellationToken::new();
        let (admission, clock) = (Arc::clone(&rooms.admission), rooms.clock.clone());
        let (settings, simulated) = (rooms.settings.clone(), rooms.simulated);
        let keeper = tokio::spawn({
            let (direct, closing) = (Arc::clone(&direct), closing.clone());
            async move {
                closing.cancelled().await;
                direct.close().await;
                rooms.close().await;
                drop(place);
            }
        });
        Self(Arc::new(Inner {
            direct,
            admission,
            clock,
            policy: settings.retry,
            wait_ms_max: settings.client.wait_ms_max,
            calls_max: settings.worker.concurrency,
            simulated,
            lines: wait::Lines::default(),
            closing,
            keeper: Mutex::new(Some(keeper)),
        }))
    }

    /// One answer by one call: no retry, no re-ask. An ask with a schema is checked, and has its
    /// `output`. Dropping the future aborts the call, which is recorded as cut.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] where the budget has no room in time; [`Error::Call`] where the
    /// call brought no usable answer.
    pub async fn generate(&self, ask: impl Into<Ask>) -> Result<Answer, Error> {
        self.0.answer(&ask.into(), Further::NONE, None).await
    }

    /// One answer that fits a JSON Schema (draft 2020-12). An answer that does not fit is shown to
    /// the model again with its mistakes, up to `retry.reasks_max` times; each is a call of its own.
    ///
    /// # Errors
    /// Those of [`Client::generate`]; after the last re-ask an [`Error::Call`] of kind
    /// `invalid_json` or `schema_mismatch`, with the model's text.
    pub async fn generate_structured(
        &self,
        ask: impl Into<Ask>,
        schema: &Value,
    ) -> Result<Answer, Error> {
        let ask = ask.into().schema(schema.clone());
        self.0.answer(&ask, Further::REASKS, None).await
    }

    /// The same for a type of the caller's own: its schema comes from `schemars` (version 1).
    ///
    /// # Errors
    /// Those of [`Client::generate_structured`]. A value that fits the schema and not the type (a
    /// check of its own in `Deserialize`) is an [`Error::Call`] of kind `schema_mismatch`.
    pub async fn generate_structured_as<T: JsonSchema + DeserializeOwned>(
        &self,
        ask: impl Into<Ask>,
    ) -> Result<Structured<T>, Error> {
        let schema = schemars::schema_for!(T).to_value();
        let answer = self.generate_structured(ask, &schema).await?;
        let json = answer.output_json.as_deref().unwrap_or("null");
        match serde_json::from_str(json) {
            Ok(value) => Ok(Structured { value, answer }),
            Err(error) => Err(misfit(answer, &error)),
        }
    }

    /// One answer, however many calls the policy allows (the settings under `[retry]`): failures
    /// that may pass are retried after a wait, throttled calls wait for the provider, answers that
    /// do not fit the ask's schema are asked for again. Each call finds its own room in the budget.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] is not retried, nor is what can only fail again: a refusal, a
    /// truncated answer, missing credentials. What is, ends with its last [`Error::Call`].
    pub async fn generate_with_retry(&self, ask: impl Into<Ask>) -> Result<Answer, Error> {
        self.0.answer(&ask.into(), Further::ALL, None).await
    }

    /// One answer to a question about documents, which stand before the question, numbered, each
    /// with its title and source.
    ///
    /// # Errors
    /// Those of [`Client::generate`].
    pub async fn generate_with_context(
        &self,
        prompt: impl Into<Ask>,
        sources: impl IntoIterator<Item = ContextItem>,
    ) -> Result<Answer, Error> {
        self.generate(prompt.into().context(sources)).await
    }

    /// One answer by one call, piece by piece as the model writes it. The call begins at once,
    /// read or not, and its own errors are items of the stream. Must be called within a Tokio
    /// runtime.
    #[must_use = "a stream that is dropped aborts its call"]
    pub fn stream(&self, ask: impl Into<Ask>) -> AnswerStream {
        let (inner, ask) = (Arc::clone(&self.0), ask.into());
        let pieces = Arc::new(Pieces::default());
        let heard: Arc<Heard> = {
            let pieces = Arc::clone(&pieces);
            Arc::new(move |piece: &str| pieces.push(piece))
        };
        let ending =
            tokio::spawn(async move { inner.answer(&ask, Further::NONE, Some(heard)).await });
        AnswerStream::new(pieces, ending)
    }

    /// Takes no more asks, waits for calls in flight to be recorded (longer than
    /// `worker.drain_soft_s`, and they are aborted), and lets go of the store.
    ///
    /// A client that is dropped instead closes by itself as long as its runtime lives. Answers that
    /// were handed out are recorded in either case.
    pub async fn close(self) {
        self.0.closing.cancel();
        let keeper = self.0.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.await
        {
            tracing::error!(%error, "the client did not close in order");
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("simulated", &self.0.simulated).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn misfit(answer: Answer, error: &serde_json::Error) -> Error {
    Error::Call(Box::new(Failure {
        kind: ErrorKind::SchemaMismatch,
        message: format!("the answer fits the schema and not the type: {error}"),
        retry_after: None,
        request_id: answer.request_id,
        partial_text: Some(answer.text),
        usage: answer.usage,
        cost_micros: answer.cost_micros,
        calls: answer.calls,
        job_id: answer.job_id,
    }))
}
