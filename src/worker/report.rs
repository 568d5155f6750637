//! What those who watch are told of a finish that the store has recorded: counts, money, log lines.
//! Must not know: how it was recorded.

use std::sync::atomic::Ordering;

use super::Bench;
use super::finisher::Ended;
use crate::job::{Outcome, State};
use crate::retry;
use crate::store::{ClaimedJob, Finish, Finished, Next, Settlement};

/// Tells those who watch.
pub(super) fn tell(bench: &Bench, finish: &Finish, call: &Ended, outcome: Finished) {
    let Ended { worst_micros, job, .. } = call;
    // What is known replaces the worst; what is unknown stays at the worst.
    if finish.settlement != Settlement::Held {
        let known = finish.cost_micros.unwrap_or(0);
        if let Some(unspent) = worst_micros.checked_sub(known) {
            bench.money_micros.fetch_sub(unspent, Ordering::Relaxed);
        } else {
            bench.money_micros.fetch_add(known - worst_micros, Ordering::Relaxed);
        }
    }
    count(bench, finish, Some(job), outcome);
    log(finish, job, outcome);
    if matches!(finish.next, Next::Again { after_ms: 1.., .. }) {
        bench.due.notify_one();
    }
}

/// Counts a finish that the store has recorded; `job` as it was claimed, where it is known.
pub(super) fn count(bench: &Bench, finish: &Finish, job: Option<&ClaimedJob>, outcome: Finished) {
    bench.status.update(|status| {
        if let Some(usage) = finish.usage {
            status.usage.input += usage.input;
            status.usage.output += usage.output;
            status.usage.cache_read += usage.cache_read;
            status.usage.cache_write += usage.cache_write;
        }
        status.cost_micros += finish.cost_micros.unwrap_or(0);
        match finish.outcome {
            Outcome::Throttled => status.throttled += 1,
            Outcome::Cut | Outcome::Unknown => status.unknown += 1,
            Outcome::Completed | Outcome::Refused | Outcome::NotSent => {}
        }
        match (outcome, &finish.next) {
            (Finished::Moved(State::Succeeded), _) => status.succeeded += 1,
            (Finished::Moved(State::Failed), _) => status.failed += 1,
            (Finished::Moved(State::Expired | State::Cancelled | State::Held), _) => {
                status.other_ends += 1;
            }
            (Finished::Moved(_), Next::Again { counters, .. }) => {
                let Some(job) = job else { return };
                status.reasked += u64::from(counters.reasks > job.counters.reasks);
                status.retried += u64::from(counters.failures > job.counters.failures);
            }
            _ => {}
        }
        if let Finished::Moved(state) = outcome
            && state.is_terminal()
        {
            let id = job.and_then(|job| job.external_id.clone());
            let id = id.unwrap_or_else(|| finish.key.job_id.to_string());
            status.last = Some(format!("{id} {}", state.as_str()));
        }
    });
}

fn log(finish: &Finish, job: &ClaimedJob, outcome: Finished) {
    let (id, attempt) = (finish.key.job_id, finish.key.number);
    let usage = finish.usage.unwrap_or_default();
    tracing::debug!(
        job.id = %id,
        job.attempt = attempt,
        gen_ai.request.model = job.resolved.model,
        gen_ai.usage.input_tokens = usage.input,
        gen_ai.usage.output_tokens = usage.output,
        latency_ms = finish.total_ms,
        request_id = finish.request_id,
        outcome = finish.outcome.as_str(),
        "attempt {attempt} of job {id} recorded"
    );
    let kind = finish.error.as_ref().map(|(kind, _)| kind.as_str());
    let is_the_lanes = finish.error.as_ref().is_some_and(|(kind, _)| retry::pauses(*kind))
        && matches!(&finish.next, Next::Again { counters, .. }
            if counters.failures == job.counters.failures);
    match outcome {
        Finished::Moved(state) if state.is_terminal() => tracing::info!(
            job.id = %id,
            job.attempt = attempt,
            state = state.as_str(),
            error.kind = kind,
            cost_micros = finish.cost_micros,
            "job {id} {}", state.as_str()
        ),
        // The lane's pause was told once; a line for each call in flight says nothing more.
        Finished::Moved(_) if is_the_lanes => tracing::debug!(
            job.id = %id,
            job.attempt = attempt,
            error.kind = kind,
            "job {id} waits for its lane"
        ),
        Finished::Moved(_) if kind.is_some() => tracing::warn!(
            job.id = %id,
            job.attempt = attempt,
            error.kind = kind,
            "job {id} will be called again"
        ),
        Finished::Moved(_) | Finished::Replayed => {}
        Finished::Late => {
            tracing::warn!(job.id = %id, job.attempt = attempt, "job {id}: answer came after another");
        }
        Finished::Lost => {
            tracing::error!(job.id = %id, job.attempt = attempt, "job {id}: the store knows no such attempt");
        }
    }
}
