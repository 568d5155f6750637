//! From an ask to its answer: one call after the other, as far as the policy goes. Each call is a
//! job of its own that ends with it, so the budget counts it and a crash never repeats it.
//! Must not know: how a call is claimed or made.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::answer::{Answer, Timings};
use super::ask::Ask;
use super::error::{Error, Failure};
use super::wait::{self, Room};
use crate::admit::{Origin, Overrides};
use crate::completion::{Message, StopReason, Usage};
use crate::error::ErrorKind;
use crate::job::{Outcome, Resolved, State};
use crate::provider::Heard;
use crate::retry::{self, Counters, Timing, Verdict};
use crate::store::{NewJob, Next};
use crate::worker::{Called, NotCalled};

/// How often a call is claimed anew that came too late to be sent.
const UNSENT_MAX: u32 = 5;

/// Which further calls an ask may make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Further {
    pub(super) reasks: bool,
    pub(super) retries: bool,
}

impl Further {
    pub(super) const NONE: Self = Self { reasks: false, retries: false };
    pub(super) const REASKS: Self = Self { reasks: true, retries: false };
    pub(super) const ALL: Self = Self { reasks: true, retries: true };
}

/// What the ask's calls have taken together.
#[derive(Debug, Default)]
struct Spent {
    usage: Usage,
    cost_micros: u64,
    cost_unknown: bool,
    calls: u32,
    waited_ms: u64,
}

impl Spent {
    fn add(&mut self, called: &Called, waited_ms: u64) {
        let finish = &called.finish;
        self.waited_ms = self.waited_ms.saturating_add(waited_ms);
        if finish.outcome == Outcome::NotSent {
            return;
        }
        let usage = finish.usage.unwrap_or_default();
        self.calls = self.calls.saturating_add(1);
        self.usage.input += usage.input;
        self.usage.output += usage.output;
        self.usage.cache_read += usage.cache_read;
        self.usage.cache_write += usage.cache_write;
        match finish.cost_micros {
            Some(micros) => self.cost_micros = self.cost_micros.saturating_add(micros),
            None => self.cost_unknown = true,
        }
    }

    fn cost_micros(&self) -> Option<u64> {
        (!self.cost_unknown).then_some(self.cost_micros)
    }
}

/// What follows a call without an answer.
enum Step {
    Call { after_ms: u64, reask: Vec<Message> },
    Stop,
}

impl Inner {
    pub(super) async fn answer(
        &self,
        ask: &Ask,
        further: Further,
        heard: Option<Arc<Heard>>,
    ) -> Result<Answer, Error> {
        let wait_ms_max = ask.wait_ms().unwrap_or(self.wait_ms_max);
        let mut spent = Spent::default();
        let mut counters = Counters::default();
        let mut first_job_id = None;
        let mut reask = Vec::new();
        let mut unsent = 0;
        loop {
            let job = self.prepare(ask, first_job_id.clone(), &reask)?;
            let Room { begun, waited_ms } =
                wait::begin(self, &job, heard.clone(), wait_ms_max).await?;
            let called = begun.end().await.map_err(|reason| lost(&reason))?;
            spent.add(&called, waited_ms);
            first_job_id.get_or_insert_with(|| job.job_id.to_string());
            if is_unsent(&called) && unsent < UNSENT_MAX {
                unsent += 1;
                continue;
            }
            let failure = match self.judge(&job, &called, &spent, counters.reasks) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let deadline_in_ms = job.deadline_at.saturating_sub(self.clock.now().wall_ms);
            let retry_after_ms = called.retry_after_ms;
            let timing = Timing { retry_after_ms, deadline_in_ms, lane_out_ms: None };
            let verdict =
                retry::decide(failure.kind, &counters, &self.policy, timing, &mut rand::rng());
            match step(verdict, &called, further) {
                Step::Stop => return Err(Error::Call(failure)),
                Step::Call { after_ms, reask: turns } => {
                    counters = counters.plus(retry::counted(failure.kind, &verdict));
                    reask = turns;
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                }
            }
        }
    }

    fn prepare(
        &self,
        ask: &Ask,
        first_job_id: Option<String>,
        reask: &[Message],
    ) -> Result<NewJob, Error> {
        let text = ask.document(first_job_id, reask).canonical();
        let now = self.clock.now();
        // Limits change while a program runs; the claim judges by those in force.
        let prepared =
            self.admission.prepare(&text, &Overrides::default(), Origin::default(), &[], now);
        let job = prepared.map_err(|problems| Error::Rejected { problems })?;
        // If this program dies in mid-call, nobody is left to read a second answer.
        Ok(NewJob { hold: true, ..job })
    }

    fn judge(
        &self,
        job: &NewJob,
        called: &Called,
        spent: &Spent,
        reasks: u32,
    ) -> Result<Answer, Box<Failure>> {
        let finish = &called.finish;
        let success = match &finish.next {
            Next::End { state: State::Succeeded, output, provenance, .. } => {
                job.resolved.as_ref().ok().map(|resolved| (resolved, output, provenance))
            }
            _ => None,
        };
        let Some((resolved, output, provenance)) = success else {
            return Err(Box::new(failure(job, called, spent)));
        };
        let Resolved { model, model_id, .. } = resolved;
        let mut provenance = provenance.clone().unwrap_or_default();
        if reasks > 0 {
            provenance = format!("{provenance}+reasked:{reasks}");
        }
        Ok(Answer {
            text: finish.raw_text.clone().unwrap_or_default(),
            output: output.as_ref().and_then(|json| serde_json::from_str(json).ok()),
            output_json: output.clone(),
            stop: finish.stop.unwrap_or(StopReason::Other),
            usage: spent.usage,
            cost_micros: spent.cost_micros(),
            model: model.clone(),
            model_id: model_id.clone(),
            request_id: finish.request_id.clone(),
            timings: Timings {
                waited_ms: spent.waited_ms,
                first_token_ms: finish.first_token_ms,
                total_ms: finish.total_ms.unwrap_or_default(),
            },
            provenance,
            calls: spent.calls,
            job_id: job.job_id.to_string(),
            simulated: self.simulated,
        })
    }
}

fn step(verdict: Verdict, called: &Called, further: Further) -> Step {
    match verdict {
        Verdict::Reask if further.reasks => {
            let turns = called.reask.as_deref().and_then(|json| serde_json::from_str(json).ok());
            turns.map_or(Step::Stop, |reask| Step::Call { after_ms: 0, reask })
        }
        // A pause of the lane means that somebody must act: no caller waits for that.
        Verdict::Retry { after_ms } | Verdict::Snooze { after_ms, pause_lane: false, .. }
            if further.retries =>
        {
            Step::Call { after_ms, reask: Vec::new() }
        }
        _ => Step::Stop,
    }
}

/// Claimed too late to be sent: nothing is paid, and nothing is said about the provider.
fn is_unsent(called: &Called) -> bool {
    let kind = called.finish.error.as_ref().map(|(kind, _)| *kind);
    called.finish.outcome == Outcome::NotSent && kind == Some(ErrorKind::Cancelled)
}

fn lost(reason: &NotCalled) -> Error {
    match reason {
        NotCalled::Store(error) => wait::store_error(error),
        _ => Error::Closed,
    }
}

fn failure(job: &NewJob, called: &Called, spent: &Spent) -> Failure {
    let finish = &called.finish;
    let (kind, message) = finish.error.clone().unwrap_or_else(|| {
        (ErrorKind::Bug, "the call ended without an answer and without a reason".to_owned())
    });
    Failure {
        kind,
        message,
        retry_after: called.retry_after_ms.map(Duration::from_millis),
        request_id: finish.request_id.clone(),
        partial_text: finish.raw_text.clone(),
        usage: spent.usage,
        cost_micros: spent.cost_micros(),
        calls: spent.calls,
        job_id: job.job_id.to_string(),
    }
}
