//! A provider that answers what each test tells it to, and remembers what it was asked.
//! Must not know: jobs, stores.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use quarrier::completion::{Completion, StopReason, Usage};
use quarrier::error::ErrorKind;
use quarrier::provider::{CallError, FailedCharge, GenerateRequest, Provider};
use tokio::sync::{Semaphore, watch};

/// What one call does.
pub(crate) enum Step {
    Answer(Completion),
    Fail(CallError),
    Panic,
    /// Waits until the gate lets one call through.
    Wait(Arc<Semaphore>, Box<Step>),
    /// Never answers; only dropping it ends it.
    Hang,
}

/// What the provider has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) begun: usize,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_max: usize,
    /// Calls whose future was dropped before its end.
    pub(crate) dropped: usize,
}

type Script = Box<dyn Fn(usize, &GenerateRequest) -> Step + Send + Sync>;

pub(crate) struct Scripted {
    script: Script,
    requests: Mutex<Vec<GenerateRequest>>,
    seen: watch::Sender<Seen>,
}

impl Scripted {
    /// The script gets each call's number, from 1.
    pub(crate) fn new(
        script: impl Fn(usize, &GenerateRequest) -> Step + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (seen, _) = watch::channel(Seen::default());
        Arc::new(Self { script: Box::new(script), requests: Mutex::default(), seen })
    }

    /// Says the same each time.
    pub(crate) fn saying(text: &str) -> Arc<Self> {
        let text = text.to_owned();
        Self::new(move |_, _| answer(&text))
    }

    pub(crate) fn requests(&self) -> Vec<GenerateRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    pub(crate) async fn until(&self, reached: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        seen.wait_for(|seen| reached(seen)).await.unwrap();
    }

    pub(crate) async fn begun(&self, calls: usize) {
        self.until(|seen| seen.begun >= calls).await;
    }
}

/// Notices a call that is dropped before its end.
struct Counted<'a> {
    seen: &'a watch::Sender<Seen>,
    ended: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.seen.send_modify(|seen| {
            seen.in_flight -= 1;
            seen.dropped += usize::from(!self.ended);
        });
    }
}

#[async_trait]
impl Provider for Scripted {
    async fn generate(&self, request: &GenerateRequest) -> Result<Completion, CallError> {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len()
        };
        self.seen.send_modify(|seen| {
            seen.begun += 1;
            seen.in_flight += 1;
            seen.in_flight_max = seen.in_flight_max.max(seen.in_flight);
        });
        let mut counted = Counted { seen: &self.seen, ended: false };
        let mut step = (self.script)(number, request);
        loop {
            step = match step {
                Step::Wait(gate, then) => {
                    gate.acquire().await.unwrap().forget();
                    *then
                }
                Step::Hang => std::future::pending().await,
                Step::Panic => panic!("the script says so"),
                Step::Answer(completion) => {
                    counted.ended = true;
                    return Ok(completion);
                }
                Step::Fail(error) => {
                    counted.ended = true;
                    return Err(error);
                }
            };
        }
    }

    fn lane_prefix(&self) -> &'static str {
        "scripted"
    }

    fn wire_body(&self, _: &GenerateRequest) -> serde_json::Value {
        serde_json::Value::Null
    }
}

pub(crate) fn completion(text: &str, stop: StopReason) -> Completion {
    Completion {
        text: text.to_owned(),
        stop,
        usage: Usage { input: 20, output: 5, cache_read: 0, cache_write: 0 },
        request_id: Some("scripted-1".to_owned()),
        first_token_ms: Some(1),
        total_ms: 2,
    }
}

pub(crate) fn answer(text: &str) -> Step {
    Step::Answer(completion(text, StopReason::EndTurn))
}

/// An answer that waits for its gate.
pub(crate) fn gated(gate: &Arc<Semaphore>, text: &str) -> Step {
    Step::Wait(Arc::clone(gate), Box::new(answer(text)))
}

pub(crate) fn failure(kind: ErrorKind, charge: FailedCharge) -> CallError {
    CallError {
        kind,
        message: format!("scripted {kind}"),
        retry_after_ms: None,
        request_id: Some("scripted-failure".to_owned()),
        partial_text: None,
        charge,
    }
}

pub(crate) fn fail(kind: ErrorKind, charge: FailedCharge) -> Step {
    Step::Fail(failure(kind, charge))
}
