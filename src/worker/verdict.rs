//! From how a call came out to the finish that records it: what it cost, what it takes of the
//! quota, and where it leaves its job.
//! Must not know: the store, the provider, time (the deadline is an argument).

use crate::admit;
use crate::budget::{self, Dimension};
use crate::catalogue::cost_micros;
use crate::check::{Checked, Failed, Limits, reask_messages};
use crate::completion::{Completion, Message};
use crate::error::ErrorKind;
use crate::job::{Outcome, State};
use crate::provider::{CallError, FailedCharge};
use crate::retry::{self, EndState, Out, Policy, Timing, Verdict};
use crate::store::{AttemptKey, ClaimedJob, Finish, LaneNews, Next, Settlement};

/// What decides, besides the outcome itself.
pub(super) struct Rules<'a> {
    pub(super) policy: &'a Policy,
    pub(super) check: &'a Limits,
    /// Unix time in milliseconds.
    pub(super) now_ms: i64,
    /// The failure is the lane's, which is paused.
    pub(super) lane_out: Option<Out>,
}

/// A finish that says nothing yet but which attempt it is of.
fn blank(job: &ClaimedJob, outcome: Outcome, settlement: Settlement, next: Next) -> Finish {
    Finish {
        key: AttemptKey { job_id: job.job_id, number: job.number, fence: job.fence },
        outcome,
        settlement,
        usage: None,
        cost_micros: None,
        raw_text: None,
        stop: None,
        request_id: None,
        first_token_ms: None,
        total_ms: None,
        error: None,
        schema_errors: None,
        next,
        lane: LaneNews::default(),
    }
}

/// The job goes on as if this attempt had not been.
fn unchanged(job: &ClaimedJob) -> Next {
    Next::Again {
        after_ms: 0,
        counters: job.counters,
        reask: None,
        input_tokens_max: job.wanted.input_tokens_max,
    }
}

/// It was claimed too late to be sent, or not at all: uncounted, everything given back.
pub(super) fn not_sent(job: &ClaimedJob) -> Finish {
    blank(job, Outcome::NotSent, Settlement::GivenBack, unchanged(job))
}

/// Its deadline passed before it was sent: nothing more is paid for it.
pub(super) fn expired(job: &ClaimedJob) -> Finish {
    let next = Next::End { state: State::Expired, output: None, text: None, provenance: None };
    let mut finish = blank(job, Outcome::NotSent, Settlement::GivenBack, next);
    let message = "its deadline passed before its turn came; raise the limit or the deadline";
    finish.error = Some((ErrorKind::DeadlineExceeded, message.to_owned()));
    finish
}

/// It was stopped in the middle of its call, by a person or by the drain's end.
pub(super) fn aborted(job: &ClaimedJob) -> Finish {
    let next = if job.hold { Next::Held } else { unchanged(job) };
    let mut finish = blank(job, Outcome::Cut, Settlement::Held, next);
    let message = "the call was stopped before its end; it may be billed".to_owned();
    finish.error = Some((ErrorKind::Cancelled, message));
    finish
}

/// It ran to its end, and the check says what the answer is worth.
pub(super) fn completed(
    job: &ClaimedJob,
    completion: Completion,
    checked: Result<Checked, Failed>,
    rules: &Rules<'_>,
) -> Finish {
    let (next, error, schema_errors) = match checked {
        Ok(Checked { output, text, provenance }) => {
            let text = output.is_none().then_some(text);
            let provenance = Some(provenance.reasked(job.counters.reasks).to_string());
            (Next::End { state: State::Succeeded, output, text, provenance }, None, None)
        }
        Err(failed) => {
            let reask =
                failed.reask.then(|| reask_messages(&completion.text, &failed, rules.check));
            let (next, _) = after(job, failed.kind, None, reask.as_deref(), rules);
            let errors = (!failed.errors.is_empty())
                .then(|| serde_json::to_string(&failed.errors).ok())
                .flatten();
            (next, Some((failed.kind, in_one_line(&failed))), errors)
        }
    };
    let usage = completion.usage;
    let used = budget::settled(&usage, job.wanted.burndown).tokens;
    let mut finish = blank(job, Outcome::Completed, Settlement::Used(used), next);
    finish.usage = Some(usage);
    finish.cost_micros = job.resolved.prices.as_ref().map(|prices| cost_micros(prices, &usage));
    finish.stop = Some(completion.stop);
    finish.request_id = completion.request_id;
    finish.first_token_ms = completion.first_token_ms;
    finish.total_ms = Some(completion.total_ms);
    finish.raw_text = Some(completion.text);
    finish.error = error;
    finish.schema_errors = schema_errors;
    finish
}

/// What is wrong with an answer, and the first place where it is.
fn in_one_line(failed: &Failed) -> String {
    let Some(first) = failed.errors.first() else { return failed.message.clone() };
    let place = if first.pointer.is_empty() { "the whole value" } else { &first.pointer };
    let more = match failed.errors.len() {
        1 => String::new(),
        errors => format!(", and {} more", errors - 1),
    };
    format!("{}: {place}: {}{more}", failed.message, first.message)
}

/// It did not run to its end.
pub(super) fn failed(job: &ClaimedJob, error: CallError, rules: &Rules<'_>) -> Finish {
    let (next, lane) = after(job, error.kind, error.retry_after_ms, None, rules);
    let throttled = retry::counter(error.kind) == Some(retry::Counter::Throttles);
    let (outcome, settlement) = match error.charge {
        FailedCharge::None if throttled => (Outcome::Throttled, Settlement::Nothing),
        FailedCharge::None => (Outcome::Refused, Settlement::Nothing),
        FailedCharge::Unknown => (Outcome::Cut, Settlement::Held),
        FailedCharge::NotSent => (Outcome::NotSent, Settlement::GivenBack),
    };
    let mut finish = blank(job, outcome, settlement, next);
    // What was refused, or never sent, is known to cost nothing; what was cut is unknown.
    finish.cost_micros = (error.charge != FailedCharge::Unknown).then_some(0);
    finish.raw_text = error.partial_text;
    finish.request_id = error.request_id;
    finish.error = Some((error.kind, error.message));
    finish.lane = lane;
    finish
}

/// Something in this program broke.
pub(super) fn broken(job: &ClaimedJob, message: String, sent: bool, rules: &Rules<'_>) -> Finish {
    let charge = if sent { FailedCharge::Unknown } else { FailedCharge::NotSent };
    let error = CallError {
        kind: ErrorKind::Bug,
        message,
        retry_after_ms: None,
        request_id: None,
        partial_text: None,
        charge,
    };
    failed(job, error, rules)
}

/// The same finish for a caller that waits for it: the job ends here, because the next call, if
/// there is one, is a job of its own. Also the turns of a re-ask, where one can help.
pub(super) fn for_its_caller(mut finish: Finish) -> (Finish, Option<String>) {
    let mut reask = None;
    let state = match &mut finish.next {
        Next::End { .. } => return (finish, None),
        Next::Again { reask: turns, .. } => {
            reask = turns.take();
            if finish.error.is_some() {
                State::Failed
            } else {
                let message = "claimed too late to be sent; its caller is told to ask again";
                finish.error = Some((ErrorKind::Cancelled, message.to_owned()));
                State::Cancelled
            }
        }
        Next::Held => State::Cancelled,
    };
    finish.next = Next::End { state, output: None, text: None, provenance: None };
    (finish, reask)
}

/// The end of a claim that nobody knows of: its caller was told that nothing came of it.
pub(super) fn lost(key: AttemptKey) -> Finish {
    let next = Next::End { state: State::Cancelled, output: None, text: None, provenance: None };
    let message = "the store's answer to its claim was lost; it was never sent".to_owned();
    Finish {
        key,
        outcome: Outcome::NotSent,
        settlement: Settlement::GivenBack,
        usage: None,
        cost_micros: Some(0),
        raw_text: None,
        stop: None,
        request_id: None,
        first_token_ms: None,
        total_ms: None,
        error: Some((ErrorKind::Cancelled, message)),
        schema_errors: None,
        next,
        lane: LaneNews::default(),
    }
}

/// Where a failure leaves the job, and what it says of the lane.
fn after(
    job: &ClaimedJob,
    kind: ErrorKind,
    retry_after_ms: Option<u64>,
    reask: Option<&[Message]>,
    rules: &Rules<'_>,
) -> (Next, LaneNews) {
    let mut policy = rules.policy.clone();
    if let Some(max_attempts) = job.max_attempts {
        policy.failures_max = max_attempts;
    }
    let deadline_in_ms = job.deadline_at.saturating_sub(rules.now_ms);
    let lane_out_ms = rules.lane_out.map(|out| out.for_ms);
    let timing = Timing { retry_after_ms, deadline_in_ms, lane_out_ms };
    let verdict = retry::decide(kind, &job.counters, &policy, timing, &mut rand::rng());
    let again = |after_ms: u64, reask: Option<&[Message]>| Next::Again {
        after_ms,
        counters: job.counters.plus(retry::counted(kind, &verdict)),
        reask: reask.and_then(|turns| serde_json::to_string(turns).ok()),
        input_tokens_max: job.wanted.input_tokens_max.saturating_add(
            reask.map_or(0, |turns| admit::input_tokens_max(&job.resolved, None, turns)),
        ),
    };
    // Whoever began the pause tells the others, whatever becomes of the job.
    let pause_ms = rules.lane_out.filter(|out| out.began).map(|out| out.for_ms);
    let news = LaneNews { pause_ms, ..LaneNews::default() };
    match verdict {
        Verdict::Retry { after_ms } => (again(after_ms, None), news),
        Verdict::Reask => (again(0, reask), news),
        Verdict::Snooze { after_ms, slow_lane, pause_lane } => {
            let lane = LaneNews {
                throttled: slow_lane,
                dimension: dimension(kind),
                pause_ms: pause_ms.or(pause_lane.then_some(after_ms)),
            };
            (again(after_ms, None), lane)
        }
        Verdict::End { state, .. } => {
            let state = match state {
                EndState::Failed => State::Failed,
                EndState::Expired => State::Expired,
                EndState::Cancelled => State::Cancelled,
            };
            let next = Next::End { state, output: None, text: None, provenance: None };
            (next, news)
        }
    }
}

fn dimension(kind: ErrorKind) -> Option<Dimension> {
    match kind {
        ErrorKind::ThrottledRequests => Some(Dimension::Requests),
        ErrorKind::ThrottledTokens => Some(Dimension::Tokens),
        _ => None,
    }
}
