//! What all calls share: quotas, rules, the log, and the one clock they are measured by. Must not
//! know: the wire, what an answer looks like.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::fault::{Fault, Problem, Strike};
use super::faults::Faults;
use super::fixtures::Fixtures;
use super::log::{Call, CallLog, Outcome};
use super::options::{QuotaScope, SimulatorOptions};
use super::quota::{Quota, Shortage};
use super::request::{Facts, Operation};
use super::rules::{Chosen, Rules};
use super::scenario::Scenario;
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
    pub(super) changed: tokio::sync::Notify,
    /// Whether some rule reads the requests' texts: else nobody takes a body apart for them.
    reads_text: AtomicBool,
    // A std Mutex and not a tokio one, because nothing is awaited while it is held.
    state: Mutex<State>,
}

/// What changes with every call.
#[derive(Debug)]
pub(super) struct State {
    rules: Rules,
    pub(super) quotas: HashMap<String, Quota>,
    pub(super) log: CallLog,
    seq: u64,
    pub(super) counts: Counts,
    /// Counts the resets: calls from before one change nothing after it.
    pub(super) epoch: u64,
}

/// What became of a call at its beginning.
#[derive(Clone, Copy)]
struct Met<'a> {
    outcome: Outcome,
    /// The error code that was answered.
    error: Option<&'static str>,
    /// What the rules chose for it.
    chosen: Option<&'a Chosen>,
}

impl Met<'_> {
    fn plain(outcome: Outcome) -> Self {
        Self { outcome, error: None, chosen: None }
    }
}

/// What the quota and the faults made of a new call.
#[expect(clippy::large_enum_variant, reason = "one lives for a moment, on the stack of its call")]
pub(crate) enum Verdict {
    /// It runs; the admission must be ended. A fault may strike on the way.
    Run(Admission, Chosen),
    /// A fault's error stands in place of an answer, and nothing was charged; the call's number.
    Refused(Problem, u64),
    /// 429 with the text of this limit; the call's number.
    Throttled(Shortage, u64),
}

impl Shared {
    pub(crate) fn new(options: SimulatorOptions) -> Self {
        let state = State::new(&options, 0);
        let reads_text = AtomicBool::new(state.rules.reads_text());
        Self {
            reads_text,
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

    /// The time on the wall clock: that of the start plus what has passed since.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.wall(self.now_ms())
    }

    fn wall(&self, at_ms: u64) -> jiff::Timestamp {
        let since_start = jiff::SignedDuration::from_millis(i64::try_from(at_ms).unwrap_or(0));
        self.start_wall.checked_add(since_start).unwrap_or(self.start_wall)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `admit` needs the request's text.
    pub(crate) fn reads_text(&self) -> bool {
        self.reads_text.load(Ordering::Relaxed)
    }

    /// Replaces the rates of faults.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.change(|rules| rules.set_faults(faults));
    }

    /// Replaces everything but the fixtures: a scenario begins at the next call.
    pub(crate) fn set_scenario(&self, scenario: Scenario) {
        self.change(|rules| rules.set_scenario(scenario));
    }

    /// Replaces the fixtures.
    pub(crate) fn set_fixtures(&self, fixtures: &Fixtures) {
        self.change(|rules| rules.set_fixtures(fixtures));
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        let mut state = self.lock();
        change(&mut state.rules);
        self.reads_text.store(state.rules.reads_text(), Ordering::Relaxed);
    }

    /// As it was at the start: rules, quotas, figures, log. Calls in flight end unseen.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        *state = State::new(&self.options, state.epoch + 1);
        self.reads_text.store(state.rules.reads_text(), Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Logs a call that was refused for its form, and gives its number.
    pub(crate) fn refuse(&self, facts: &Facts, error: &'static str) -> u64 {
        let mut state = self.lock();
        state.record(self, facts, Met { error: Some(error), ..Met::plain(Outcome::Refused) })
    }

    /// Logs a count of tokens, and gives its number.
    pub(crate) fn count(&self, facts: &Facts) -> u64 {
        self.lock().record(self, facts, Met::plain(Outcome::Counted))
    }

    /// Decides a well-formed call: what it meets, its place in the quota, its line in the log.
    /// `text` is the request's, where `reads_text` asks for it.
    pub(crate) fn admit(self: &Arc<Self>, facts: &Facts, content: u64, text: &str) -> Verdict {
        let mut state = self.lock();
        let (seq, now_ms) = (state.seq + 1, self.now_ms());
        let chosen = state.rules.choose(facts, text, now_ms, |faults| faults.draw(content, seq));
        if let Some(fault) = chosen.fault
            && let Strike::Refused(problem) = fault.strike()
        {
            let outcome = Outcome::Fault(fault);
            let error = Some(problem.code);
            let seq = state.record(self, facts, Met { outcome, error, chosen: Some(&chosen) });
            let in_turn = fault == Fault::Throttle && seq.is_multiple_of(2);
            return Verdict::Refused(if in_turn { Problem::TOKENS } else { problem }, seq);
        }
        let reserved = facts.input_tokens.saturating_add(facts.max_tokens);
        let scope = state.scope(facts).to_owned();
        let quota = state.quota(scope.clone());
        quota.set_limits(now_ms, chosen.limits);
        quota.others_draw(now_ms, chosen.others);
        let ticket = match quota.admit(now_ms, reserved) {
            Ok(ticket) => ticket,
            Err(shortage) => {
                let outcome = match shortage {
                    Shortage::Requests => Outcome::ThrottledRequests,
                    Shortage::Tokens => Outcome::ThrottledTokens,
                };
                state.rules.give_back(&chosen);
                let error = Some(THROTTLING);
                let seq = state.record(self, facts, Met { outcome, error, chosen: Some(&chosen) });
                return Verdict::Throttled(shortage, seq);
            }
        };
        let outcome = chosen.fault.map_or(Outcome::Admitted, Outcome::Fault);
        let met = Met { outcome, error: None, chosen: Some(&chosen) };
        let seq = state.record(self, facts, met);
        state.counts.input_tokens += facts.input_tokens;
        if let Some(call) = state.log.get_mut(seq) {
            call.reserved = reserved;
        }
        let admission = Admission {
            shared: Arc::clone(self),
            scope,
            ticket,
            seq,
            epoch: state.epoch,
            reserved,
            input_tokens: facts.input_tokens,
            ended: false,
            expected_output: 0,
        };
        Verdict::Run(admission, chosen)
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
        let calls = state.seq - state.counts.counted;
        let limits = state.rules.base().limits;
        let mut summary = Summary::of(calls, &state.counts, quotas, limits);
        summary.scenario = state.rules.scenario_name();
        summary
    }
}

impl State {
    fn new(options: &SimulatorOptions, epoch: u64) -> Self {
        Self {
            rules: Rules::new(options),
            quotas: HashMap::new(),
            log: CallLog::new(options.call_log_max),
            seq: 0,
            counts: Counts::default(),
            epoch,
        }
    }

    fn scope<'a>(&self, facts: &'a Facts) -> &'a str {
        let model_id = facts.model_id.as_str();
        let known = self.quotas.contains_key(model_id) || self.quotas.len() < MODELS_MAX;
        match self.rules.base().scope {
            QuotaScope::Model if known => model_id,
            QuotaScope::Total | QuotaScope::Model => "",
        }
    }

    fn quota(&mut self, scope: String) -> &mut Quota {
        let limits = self.rules.base().limits;
        self.quotas.entry(scope).or_insert_with(|| Quota::new(limits))
    }

    fn record(&mut self, shared: &Shared, facts: &Facts, met: Met<'_>) -> u64 {
        let Met { outcome, error, chosen } = met;
        self.seq += 1;
        // Counts of tokens stand in the log, but are no calls of a model.
        if facts.api == Operation::CountTokens {
            self.counts.counted += 1;
        } else {
            *self.counts.outcomes.entry(outcome.as_str()).or_default() += 1;
        }
        let admitted = outcome.is_admitted();
        self.counts.admitted += u64::from(admitted);
        let phase = chosen.and_then(|chosen| chosen.phase.clone());
        let rule = chosen.and_then(|chosen| chosen.rule.clone());
        self.counts.ruled += u64::from(rule.is_some());
        if let Some(phase) = &phase {
            *self.counts.phases.entry(phase.clone()).or_default() += 1;
        }
        let at_ms = shared.now_ms();
        self.log.push(Call {
            seq: self.seq,
            at_ms,
            at: shared.wall(at_ms),
            model_id: facts.model_id.clone(),
            api: facts.api.as_str().to_owned(),
            stream: facts.api.streams(),
            job_id: facts.job_id.clone(),
            attempt: facts.attempt.clone(),
            tenant: facts.tenant.clone(),
            outcome,
            phase,
            rule,
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
