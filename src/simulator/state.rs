//! What all calls share: quotas, faults, the log, and the one clock they are measured by. Must not
//! know: the wire, what an answer looks like.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Faults};
use super::log::{Call, CallLog, Minute, Outcome, Summary, percent};
use super::options::{QuotaScope, SimulatorOptions};
use super::quota::{Charges, Quota, Shortage, Ticket};
use super::request::Facts;
use super::schema::SchemaCache;

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

#[derive(Debug, Default)]
struct Counts {
    outcomes: BTreeMap<&'static str, u64>,
    admitted: u64,
    ended: u64,
    client_gone: u64,
    input_tokens: u64,
    output_tokens: u64,
    billed: u64,
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

    /// Decides a well-formed call: its fault, its place in the quota, its line in the log.
    pub(crate) fn admit(self: &Arc<Self>, facts: &Facts, content: u64) -> Verdict {
        let mut state = self.lock();
        let fault = state.faults.draw(content, state.seq + 1);
        if fault == Some(Fault::Throttle) {
            let outcome = Outcome::Fault(Fault::Throttle);
            let seq = state.record(self, facts, outcome, Some(THROTTLING));
            let shortage = if seq % 2 == 0 {
                Shortage::Tokens
            } else {
                Shortage::Requests
            };
            return Verdict::Throttled(shortage, seq);
        }
        let reserved = facts.input_tokens.saturating_add(facts.max_tokens);
        let now_ms = self.now_ms();
        let ticket = match state.quota(self, facts).admit(now_ms, reserved) {
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
            scope: state.scope(self, facts).to_owned(),
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
        state
            .log
            .iter()
            .filter(|call| keep(call))
            .cloned()
            .collect()
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
        self.lock().summary(&self.options)
    }
}

impl State {
    fn scope<'a>(&self, shared: &Shared, facts: &'a Facts) -> &'a str {
        let model_id = facts.model_id.as_str();
        match shared.options.quota_scope {
            QuotaScope::Total => "",
            QuotaScope::Model if self.quotas.contains_key(model_id) => model_id,
            QuotaScope::Model if self.quotas.len() < MODELS_MAX => model_id,
            QuotaScope::Model => "",
        }
    }

    fn quota(&mut self, shared: &Shared, facts: &Facts) -> &mut Quota {
        let scope = self.scope(shared, facts).to_owned();
        let limits = shared.options.limits();
        self.quotas
            .entry(scope)
            .or_insert_with(|| Quota::new(limits))
    }

    fn record(
        &mut self,
        shared: &Shared,
        facts: &Facts,
        outcome: Outcome,
        error: Option<&'static str>,
    ) -> u64 {
        self.seq += 1;
        *self.counts.outcomes.entry(outcome.as_str()).or_default() += 1;
        let admitted = outcome.is_admitted();
        self.counts.admitted += u64::from(admitted);
        let at_ms = shared.now_ms();
        let since_start = jiff::SignedDuration::from_millis(i64::try_from(at_ms).unwrap_or(0));
        self.log.push(Call {
            seq: self.seq,
            at_ms,
            at: shared
                .start_wall
                .checked_add(since_start)
                .unwrap_or(shared.start_wall),
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

    fn summary(&self, options: &SimulatorOptions) -> Summary {
        let counts = &self.counts;
        let count = |outcome: Outcome| counts.outcomes.get(outcome.as_str()).copied().unwrap_or(0);
        let mut summary = Summary {
            simulated: true,
            calls: self.seq,
            admitted: counts.admitted,
            throttled: count(Outcome::ThrottledRequests) + count(Outcome::ThrottledTokens),
            client_gone: counts.client_gone,
            in_flight: counts.admitted.saturating_sub(counts.ended),
            outcomes: counts.outcomes.clone(),
            worst_window_requests: 0,
            worst_window_tokens: 0,
            worst_window_tokens_at_admission: 0,
            minutes: Vec::new(),
            average_requests_percent: None,
            average_tokens_percent: None,
            input_tokens: counts.input_tokens,
            output_tokens: counts.output_tokens,
            billed: counts.billed,
        };
        let mut minutes: Vec<Charges> = Vec::new();
        for quota in self.quotas.values() {
            let (worst, at_admission) = quota.worst();
            summary.worst_window_requests = summary.worst_window_requests.max(worst.requests);
            summary.worst_window_tokens = summary.worst_window_tokens.max(worst.tokens);
            summary.worst_window_tokens_at_admission = summary
                .worst_window_tokens_at_admission
                .max(at_admission.tokens);
            // With a quota for each model, the minutes are those of the busiest model.
            let tokens = |minutes: &[Charges]| minutes.iter().map(|m| m.tokens).sum::<u64>();
            if minutes.is_empty() || tokens(quota.minutes()) > tokens(&minutes) {
                minutes = quota.minutes().to_vec();
            }
        }
        summary.fill_minutes(&minutes, options);
        summary
    }
}

impl Summary {
    fn fill_minutes(&mut self, minutes: &[Charges], options: &SimulatorOptions) {
        let (requests_limit, tokens_limit) =
            (options.requests_per_minute, options.tokens_per_minute);
        self.minutes = minutes
            .iter()
            .enumerate()
            .map(|(index, charges)| Minute {
                minute: index + 1,
                requests: charges.requests,
                tokens: charges.tokens,
                requests_percent: requests_limit.map(|limit| percent(charges.requests, limit)),
                tokens_percent: tokens_limit.map(|limit| percent(charges.tokens, limit)),
            })
            .collect();
        let Some(whole) = minutes
            .len()
            .checked_sub(1)
            .and_then(|last| minutes.get(1..last))
            .filter(|whole| !whole.is_empty())
        else {
            return;
        };
        let length = u64::try_from(whole.len()).unwrap_or(u64::MAX);
        let average = |sum: u64, limit: u64| percent(sum, limit.saturating_mul(length));
        self.average_requests_percent =
            requests_limit.map(|limit| average(whole.iter().map(|m| m.requests).sum(), limit));
        self.average_tokens_percent =
            tokens_limit.map(|limit| average(whole.iter().map(|m| m.tokens).sum(), limit));
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
            End::Completed {
                output_tokens,
                burndown,
            } => (
                self.input_tokens
                    .saturating_add(output_tokens.saturating_mul(burndown)),
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
