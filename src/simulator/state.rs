//! What all calls share: quotas, faults, the log, and the one clock they are measured by. Must not
//! know: the wire, what an answer looks like.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Faults};
use super::log::{Call, CallLog, Outcome};
use super::options::{QuotaScope, SimulatorOptions};
use super::quota::{Quota, Shortage, Ticket};
use super::request::{Facts, Operation};
use super::schema::SchemaCache;
use super::summary::{Counts, Summary};

/// Quotas kept apart by model id; further ids share the last one.
const MODELS_MAX: usize = 1_000;
/// The code of every throttle.
const THROTTLING: &str = "ThrottlingException";

/// What all calls of one simulator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: SimulatorOptions,
    pub(crate) schemas: SchemaCache,
    /// Cancelled when the simulator stops: hanging calls end then.
    pub(crate) stop: CancellationToken,
    start: tokio::time::Instant,
    start_wall: jiff::Timestamp,
    /// Told of every call that begins or ends.
    changed: tokio::sync::Notify,
    // A std Mutex and not a tokio one, because nothing is awaited while it is held.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    quotas: HashMap<String, Quota>,
    log: CallLog,
    seq: u64,
    counts: Counts,
}

/// What the quota and the faults made of a new call.
pub(crate) enum Verdict {
    /// It runs; the admission must be ended. A fault may strike on the way.
    Run(Admission, Option<Fault>),
    /// 429 with the text of this limit; the call's number.
    Throttled(Shortage, u64),
}

impl Shared {
    pub(crate) fn new(options: SimulatorOptions) -> Self {
        let state = State {
            faults: options.faults.clone(),
            quotas: HashMap::new(),
            log: CallLog::new(options.call_log_max),
            seq: 0,
            counts: Counts::default(),
        };
        Self {
            options,
            schemas: SchemaCache::default(),
            stop: CancellationToken::new(),
            start: tokio::time::Instant::now(),
            start_wall: jiff::Timestamp::now(),
            changed: tokio::sync::Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Logs a call that was refused for its form, and gives its number.
    pub(crate) fn refuse(&self, facts: &Facts, error: &'static str) -> u64 {
        let mut state = self.lock();
        state.record(self, facts, Outcome::Refused, Some(error))
    }

    /// Logs a count of tokens, and gives its number.
    pub(crate) fn count(&self, facts: &Facts) -> u64 {
        self.lock().record(self, facts, Outcome::Counted, None)
    }

    /// Decides a well-formed call: its fault, its place in the quota, its line in the log.
    pub(crate) fn admit(self: &Arc<Self>, facts: &Facts, content: u64) -> Verdict {
        let mut state = self.lock();
        let fault = state.faults.draw(content, state.seq + 1);
        if fault == Some(Fault::Throttle) {
            let outcome = Outcome::Fault(Fault::Throttle);
            let seq = state.record(self, facts, outcome, Some(THROTTLING));
            let shortage =
                if seq.is_multiple_of(2) { Shortage::Tokens } else { Shortage::Requests };
            return Verdict::Throttled(shortage, seq);
        }
        let reserved = facts.input_tokens.saturating_add(facts.max_tokens);
        let now_ms = self.now_ms();
        let scope = state.scope(self, facts).to_owned();
        let ticket = match state.quota(self, scope.clone()).admit(now_ms, reserved) {
            Ok(ticket) => ticket,
            Err(shortage) => {
                let outcome = match shortage {
                    Shortage::Requests => Outcome::ThrottledRequests,
                    Shortage::Tokens => Outcome::ThrottledTokens,
                };
                let seq = state.record(self, facts, outcome, Some(THROTTLING));
                return Verdict::Throttled(shortage, seq);
            }
        };
        let outcome = fault.map_or(Outcome::Admitted, Outcome::Fault);
        let seq = state.record(self, facts, outcome, None);
        state.counts.input_tokens += facts.input_tokens;
        if let Some(call) = state.log.get_mut(seq) {
            call.reserved = reserved;
        }
        let admission = Admission {
            shared: Arc::clone(self),
            scope,
            ticket,
            seq,
            reserved,
            input_tokens: facts.input_tokens,
            ended: false,
            expected_output: 0,
        };
        Verdict::Run(admission, fault)
    }

    /// The calls kept, oldest first, filtered.
    pub(crate) fn calls(&self, keep: impl Fn(&Call) -> bool) -> Vec<Call> {
        let state = self.lock();
        state.log.iter().filter(|call| keep(call)).cloned().collect()
    }

    /// Waits until the figures have reached something.
    pub(crate) async fn until(&self, reached: impl Fn(&Summary) -> bool) {
        loop {
            // Registered before looking, so that a change in between is not missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if reached(&self.summary()) {
                return;
            }
            changed.await;
        }
    }

    /// The figures so far.
    pub(crate) fn summary(&self) -> Summary {
        let state = self.lock();
        let quotas = state.quotas.values();
        Summary::of(state.seq - state.counts.counted, &state.counts, quotas, &self.options)
    }
}

impl State {
    fn scope<'a>(&self, shared: &Shared, facts: &'a Facts) -> &'a str {
        let model_id = facts.model_id.as_str();
        let known = self.quotas.contains_key(model_id) || self.quotas.len() < MODELS_MAX;
        match shared.options.quota_scope {
            QuotaScope::Model if known => model_id,
            QuotaScope::Total | QuotaScope::Model => "",
        }
    }

    fn quota(&mut self, shared: &Shared, scope: String) -> &mut Quota {
        let limits = shared.options.limits();
        self.quotas.entry(scope).or_insert_with(|| Quota::new(limits))
    }

    fn record(
        &mut self,
        shared: &Shared,
        facts: &Facts,
        outcome: Outcome,
        error: Option<&'static str>,
    ) -> u64 {
        self.seq += 1;
        // Counts of tokens stand in the log, but are no calls of a model.
        if facts.api == Operation::CountTokens {
            self.counts.counted += 1;
        } else {
            *self.counts.outcomes.entry(outcome.as_str()).or_default() += 1;
        }
        let admitted = outcome.is_admitted();
        self.counts.admitted += u64::from(admitted);
        let at_ms = shared.now_ms();
        let since_start = jiff::SignedDuration::from_millis(i64::try_from(at_ms).unwrap_or(0));
        self.log.push(Call {
            seq: self.seq,
            at_ms,
            at: shared.start_wall.checked_add(since_start).unwrap_or(shared.start_wall),
            model_id: facts.model_id.clone(),
            api: facts.api.as_str().to_owned(),
            stream: facts.api.streams(),
            job_id: facts.job_id.clone(),
            attempt: facts.attempt.clone(),
            tenant: facts.tenant.clone(),
            outcome,
            admitted,
            error,
            input_tokens: facts.input_tokens,
            max_tokens: facts.max_tokens,
            reserved: 0,
            settled: if admitted { None } else { Some(0) },
            output_tokens: None,
            billed: 0,
            ended_at_ms: if admitted { None } else { Some(at_ms) },
            client_gone: false,
            note: None,
        });
        shared.changed.notify_waiters();
        self.seq
    }
}

/// An admitted call. It must be ended; where it is dropped before, its caller has gone away and the
/// reservation stays charged.
#[derive(Debug)]
pub(crate) struct Admission {
    shared: Arc<Shared>,
    scope: String,
    ticket: Ticket,
    seq: u64,
    reserved: u64,
    input_tokens: u64,
    ended: bool,
    /// What the answer would have been; billed where the caller goes away.
    pub(crate) expected_output: u64,
}

/// How an admitted call ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It generated this many output tokens.
    Completed { output_tokens: u64, burndown: u64 },
    /// It failed before it generated anything, with this error code.
    Failed(&'static str),
    /// Its caller went away, or it never came to an end.
    Gone { client: bool },
}

impl Admission {
    /// The call's number.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Adds a remark to the call's line.
    pub(crate) fn note(&self, note: String) {
        if let Some(call) = self.shared.lock().log.get_mut(self.seq) {
            call.note = Some(note);
        }
    }

    /// Marks that the fault drawn had nothing to strike: a plain admitted call after all.
    pub(crate) fn spared(&self, fault: Fault) {
        let mut state = self.shared.lock();
        let outcomes = &mut state.counts.outcomes;
        if let Some(count) = outcomes.get_mut(fault.as_str()) {
            *count = count.saturating_sub(1);
        }
        *outcomes.entry(Outcome::Admitted.as_str()).or_default() += 1;
        if let Some(call) = state.log.get_mut(self.seq) {
            call.outcome = Outcome::Admitted;
        }
    }

    /// Settles the quota and closes the call's line.
    pub(crate) fn end(mut self, end: End) {
        self.close(end);
    }

    fn close(&mut self, end: End) {
        if self.ended {
            return;
        }
        self.ended = true;
        let (settled, output, billed) = match end {
            End::Completed { output_tokens, burndown } => (
                self.input_tokens.saturating_add(output_tokens.saturating_mul(burndown)),
                Some(output_tokens),
                self.input_tokens.saturating_add(output_tokens),
            ),
            End::Failed(_) => (0, None, 0),
            End::Gone { .. } => (
                self.reserved,
                Some(self.expected_output),
                self.input_tokens.saturating_add(self.expected_output),
            ),
        };
        let mut state = self.shared.lock();
        let now_ms = self.shared.now_ms();
        if let Some(quota) = state.quotas.get_mut(&self.scope) {
            quota.settle(now_ms, self.ticket, settled);
        }
        let client_gone = matches!(end, End::Gone { client: true });
        state.counts.ended += 1;
        state.counts.client_gone += u64::from(client_gone);
        state.counts.output_tokens += output.unwrap_or(0);
        state.counts.billed += billed;
        self.shared.changed.notify_waiters();
        if let Some(call) = state.log.get_mut(self.seq) {
            call.settled = Some(settled);
            call.output_tokens = output;
            call.billed = billed;
            call.ended_at_ms = Some(now_ms);
            call.client_gone = client_gone;
            if let End::Failed(error) = end {
                call.error = Some(error);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.close(End::Gone { client: true });
    }
}
