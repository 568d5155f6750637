//! One attempt: rooms 4 to 6 in order. Call, check, finish.
//! Must not know: which provider, which store.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Bench;
use super::finisher::{Ended, Finisher};
use super::lanes;
use super::request::{CallSettings, Caller, request_for};
use super::verdict::{self, Rules};
use crate::check;
use crate::clock::Now;
use crate::completion::Completion;
use crate::error::ErrorKind;
use crate::job::JobDocument;
use crate::provider::{CallError, GenerateRequest, Heard};
use crate::store::{ClaimedJob, Finish};

/// The longest structured answer that is judged where it arrived.
const CHECK_INLINE_BYTES_MAX: usize = 65_536;

/// A claimed job on its way.
pub(super) struct Turn {
    pub(super) job: ClaimedJob,
    /// Its lane.
    pub(super) lane: Arc<str>,
    /// Cancelled when its call shall be aborted.
    pub(super) abort: CancellationToken,
    /// When its quota was reserved, or a little before; by the wall clock that its deadline was given
    /// by.
    pub(super) reserved: Now,
    /// What it may cost at worst, in micro-dollars.
    pub(super) worst_micros: u64,
    /// Who hears the answer's text as it arrives.
    pub(super) heard: Option<Arc<Heard>>,
}

impl Turn {
    /// The time by the clock of its deadline: no step of this machine's wall clock makes it late.
    fn wall_ms(&self, bench: &Bench) -> i64 {
        self.reserved.at(bench.clock.now().mono_ms).wall_ms
    }
}

/// An attempt that has come to its end.
pub(super) struct Made {
    pub(super) finish: Finish,
    /// A floor for the next try, where the provider named one.
    pub(super) retry_after_ms: Option<u64>,
}

impl From<Finish> for Made {
    fn from(finish: Finish) -> Self {
        Self { finish, retry_after_ms: None }
    }
}

/// Makes the attempt. Its slot is free when the finish is committed or spooled, or at once while
/// only a few others are being saved: then the next claim and this finish run side by side.
pub(super) async fn run(
    bench: Arc<Bench>,
    finisher: Finisher,
    turn: Turn,
    slot: OwnedSemaphorePermit,
) {
    let Made { finish, .. } = make_whole(&bench, &turn).await;
    let fence = finish.key.fence;
    bench.flight.saving(fence);
    let slot = match Arc::clone(&bench.saving).try_acquire_owned() {
        Ok(saving) => {
            drop(slot);
            bench.wake.notify_one();
            saving
        }
        Err(_) => slot,
    };
    let Turn { job, worst_micros, .. } = turn;
    finisher.leave(&bench, finish, Ended { job, worst_micros, slot }).await;
}

/// Makes the attempt; a panic in it is an outcome too.
pub(super) async fn make_whole(bench: &Arc<Bench>, turn: &Turn) -> Made {
    let job_id = turn.job.job_id;
    let span = tracing::info_span!("attempt", job.id = %job_id, job.attempt = turn.job.number);
    let made = AssertUnwindSafe(make(bench, turn)).catch_unwind().instrument(span).await;
    bench.lanes.over(&turn.lane, &turn.job);
    made.unwrap_or_else(|_| {
        let message = "a panic in the middle of the attempt; see the worker's log".to_owned();
        verdict::broken(&turn.job, message, true, &rules(bench, turn)).into()
    })
}

fn rules<'b>(bench: &'b Bench, turn: &Turn) -> Rules<'b> {
    Rules {
        policy: &bench.options.retry,
        check: &bench.options.check,
        now_ms: turn.wall_ms(bench),
        lane_out: None,
    }
}

async fn make(bench: &Arc<Bench>, turn: &Turn) -> Made {
    let job = &turn.job;
    let document: JobDocument = match serde_json::from_str(&job.document) {
        Ok(document) => document,
        Err(error) => {
            let message = format!("the stored document cannot be read: {error}");
            return verdict::broken(job, message, false, &rules(bench, turn)).into();
        }
    };
    let mut request = request(bench, job, &document);
    request.stream |= turn.heard.is_some();

    // A machine that slept, or a worker that was stopped, must not send on old quota.
    let now_mono_ms = bench.clock.now().mono_ms;
    let late_ms = now_mono_ms.saturating_sub(turn.reserved.mono_ms);
    if late_ms > bench.options.send_late_ms_max || !bench.lease.is_fresh(now_mono_ms) {
        tracing::warn!(late_ms, "claimed too long ago, giving it back unsent");
        return verdict::not_sent(job).into();
    }
    // Upkeep expires jobs that wait, a bounded number a round: this one came before its round.
    if job.deadline_at <= turn.wall_ms(bench) {
        return verdict::expired(job).into();
    }
    if bench.options.log_bodies {
        tracing::debug!(prompt = ?request.messages, "request body");
    }
    // Aborted in the moment before it is sent, it costs nothing.
    let is_sent = AtomicBool::new(false);
    let called = async {
        is_sent.store(true, Ordering::Relaxed);
        call(bench, &request, turn.heard.as_deref()).await
    };
    let called = tokio::select! {
        biased;
        () = turn.abort.cancelled() => {
            let is_sent = is_sent.load(Ordering::Relaxed);
            return if is_sent { verdict::aborted(job) } else { verdict::not_sent(job) }.into();
        }
        called = called => called,
    };
    match called {
        Ok(completion) => {
            lanes::worked(bench, &turn.lane, job);
            if bench.options.log_bodies {
                tracing::debug!(answer = completion.text, "response body");
            }
            let judged = judge_somewhere(bench, document, completion).await;
            let Some((completion, checked)) = judged else {
                let message = "the check was abandoned at the process's end".to_owned();
                return verdict::broken(job, message, true, &rules(bench, turn)).into();
            };
            verdict::completed(job, completion, checked, &rules(bench, turn)).into()
        }
        Err(mut error) => {
            let lane_out = lanes::failed(bench, &turn.lane, job, &error);
            let now = bench.clock.now();
            if let Some(advice) = bench.admission.advice(&job.resolved.model_id, error.kind, now) {
                error.message = format!("{}; {advice}", error.message.trim_end_matches('.'));
            }
            let retry_after_ms = error.retry_after_ms;
            let rules = Rules { lane_out, ..rules(bench, turn) };
            Made { finish: verdict::failed(job, error, &rules), retry_after_ms }
        }
    }
}

async fn call(
    bench: &Bench,
    request: &GenerateRequest,
    heard: Option<&Heard>,
) -> Result<Completion, CallError> {
    match heard {
        Some(heard) => bench.provider.stream(request, heard).await,
        None => bench.provider.generate(request).await,
    }
}

/// Long answers, and schemas seen for the first time, are judged on a thread of their own: beats
/// and clocks of other calls must not wait for them.
async fn judge_somewhere(
    bench: &Arc<Bench>,
    document: JobDocument,
    completion: Completion,
) -> Option<(Completion, check::Verdict)> {
    let quick = document.schema.as_ref().is_none_or(|schema| {
        completion.text.len() <= CHECK_INLINE_BYTES_MAX && bench.schemas.knows(schema)
    });
    if quick {
        let checked = judge(bench, &document, &completion);
        return Some((completion, checked));
    }
    let bench = Arc::clone(bench);
    let judged = tokio::task::spawn_blocking(move || {
        let checked = judge(&bench, &document, &completion);
        (completion, checked)
    });
    judged.await.ok()
}

/// Whatever breaks in here, the answer is paid for: it is kept with what broke.
fn judge(bench: &Bench, document: &JobDocument, completion: &Completion) -> check::Verdict {
    let limits = &bench.options.check;
    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let schema = document.schema.as_ref().map(|schema| bench.schemas.compile(schema, limits));
        match schema.transpose() {
            Ok(schema) => check::check(completion, schema.as_ref(), limits),
            Err(error) => Err(broken(format!("the admitted schema does not compile: {error}"))),
        }
    }));
    let panicked = |_| Err(broken("a panic in the check; see the worker's log".to_owned()));
    judged.unwrap_or_else(panicked)
}

fn broken(message: String) -> check::Failed {
    check::Failed { kind: ErrorKind::Bug, message, errors: Vec::new(), reask: false }
}

fn request(bench: &Bench, job: &ClaimedJob, document: &JobDocument) -> GenerateRequest {
    let caller =
        Caller { job_id: job.job_id, attempt: job.number, tenant: &job.tenant, queue: &job.queue };
    let settings = CallSettings {
        stream: bench.options.stream,
        clocks: bench.options.clocks_for(job.resolved.max_tokens),
        answer_bytes_max: bench.options.check.answer_bytes_max,
    };
    request_for(caller, document, &job.resolved, job.reask.as_deref(), settings)
}
