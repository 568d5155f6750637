//! From received messages to jobs: one transaction for all that one request brought, and for each
//! message what is to be done with it then.
//! Must not know: how messages are received, hidden or deleted.

use uuid::Uuid;

use super::acknowledge::Doomed;
use super::backoff::Backoff;
use super::document::{self, Candidate};
use super::{Run, bad, hold};
use crate::job::Problem;
use crate::message_queue::Received;
use crate::store::{Admitted, NewJob, StoreError, StoreResult};

/// The share of a message's hidden time, in percent, within which its job must be stored. After that
/// it may be somebody else's.
const PATIENCE_PERCENT: u64 = 80;
/// What stands in place of a document that the store refuses even as a text.
const UNSTORABLE: &str = "(a document that cannot be stored)";

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It has this job.
    Job(Uuid),
    /// Nobody waits for a job of it: that was deleted long ago, or its `dedupe_key` is held.
    Over,
    /// It cannot be admitted. Its rejected job, and the reason.
    Bad(Uuid, String),
    /// The store did not take it in its time.
    Left,
}

/// What the store says of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// This.
    Is(Admitted),
    /// It refuses the data; it has this rejected job in its place, for this reason.
    Refused(Uuid, String),
    /// Nothing in time.
    None,
}

/// What an answer comes to.
enum Judged {
    /// The message's end here.
    Settled(Fate),
    /// Another job is to be admitted for it.
    Again(Box<Candidate>),
}

/// Admits messages, and hands each on to whoever deletes, holds or refuses it.
pub(super) async fn take_in(run: &Run, messages: Vec<Received>, got_mono_ms: u64) {
    let bench = &run.bench;
    let limits = bench.gate.limits(bench).await;
    let read = |message| document::read(bench, &run.place, message, &limits);
    let candidates: Vec<Candidate> = messages.into_iter().map(read).collect();
    let visible_ms = u64::from(bench.options.visibility_s).saturating_mul(1_000);
    let patience_ms = visible_ms.saturating_mul(PATIENCE_PERCENT) / 100;
    let until_mono_ms = got_mono_ms.saturating_add(patience_ms);
    let storing = Storing { run, until_mono_ms };
    let settled = storing.settle(candidates).await;
    hand_on(run, settled, got_mono_ms).await;
}

async fn hand_on(run: &Run, settled: Vec<(Received, Fate)>, got_mono_ms: u64) {
    let bench = &run.bench;
    let (mut held, mut refused, mut left) = (Vec::new(), Vec::new(), 0);
    for (message, fate) in settled {
        match fate {
            Fate::Job(job_id) if bench.holds_messages() => {
                held.push(hold::noted(&run.place, &message, job_id, bench.clock.now().wall_ms));
            }
            // In the order in which they were received.
            Fate::Job(_) | Fate::Over => run.doom(Doomed::stored(message)).await,
            Fate::Bad(job_id, reason) => refused.push(bad::Bad { message, job_id, reason }),
            Fate::Left => left += 1,
        }
    }
    if left > 0 {
        // Shown again now, each would count as received once more for nothing, and come straight
        // back to a store that is away.
        bench.stand.count_left(left);
        tracing::warn!(
            queue = run.place.url,
            "{left} messages were not stored in their time; the queue delivers them again"
        );
    }
    if !held.is_empty() {
        hold::take(run, held, got_mono_ms).await;
    }
    if !refused.is_empty() {
        bench.stand.count_rejected(refused.len());
        bad::dispose(run, refused).await;
    }
}

impl Run {
    /// Has a message deleted; waits only where very many are waiting for that already.
    pub(super) async fn doom(&self, doomed: Doomed) {
        if self.doomed.send(doomed).await.is_err() {
            tracing::error!("the loop that deletes messages has ended; they are delivered again");
        }
    }
}

/// Jobs on their way into the store.
struct Storing<'r> {
    run: &'r Run,
    /// No longer than this.
    until_mono_ms: u64,
}

impl Storing<'_> {
    /// Stores what was prepared, then once more what the answers have changed.
    async fn settle(&self, candidates: Vec<Candidate>) -> Vec<(Received, Fate)> {
        let mut settled = Vec::with_capacity(candidates.len());
        let mut again = Vec::new();
        let answers = self.admit(&candidates).await;
        for (at, (candidate, answer)) in candidates.into_iter().zip(answers).enumerate() {
            match self.judge(&candidate, answer) {
                Judged::Settled(fate) => settled.push((at, candidate.message, fate)),
                Judged::Again(changed) => again.push((at, *changed)),
            }
        }
        let (places, changed): (Vec<usize>, Vec<Candidate>) = again.into_iter().unzip();
        if !changed.is_empty() {
            let answers = self.admit(&changed).await;
            for ((at, candidate), answer) in places.into_iter().zip(changed).zip(answers) {
                let fate = match self.judge(&candidate, answer) {
                    Judged::Settled(fate) => fate,
                    Judged::Again(_) => Fate::Left,
                };
                settled.push((at, candidate.message, fate));
            }
            settled.sort_by_key(|(at, ..)| *at);
        }
        settled.into_iter().map(|(_, message, fate)| (message, fate)).collect()
    }

    /// What the store's answer means for the message.
    fn judge(&self, candidate: &Candidate, answer: Answer) -> Judged {
        let stored = |job_id: Uuid, is_there: bool| match &candidate.bad {
            Some(reason) => Fate::Bad(job_id, reason.clone()),
            None if is_there => Fate::Job(job_id),
            None => Fate::Over,
        };
        let (job_id, document, state) = match answer {
            Answer::None => return Judged::Settled(Fate::Left),
            Answer::Refused(job_id, reason) => return Judged::Settled(Fate::Bad(job_id, reason)),
            Answer::Is(Admitted::New(job_id)) => return Judged::Settled(stored(job_id, true)),
            Answer::Is(Admitted::Existing(job_id, state)) => {
                return Judged::Settled(stored(job_id, state.is_some()));
            }
            Answer::Is(Admitted::Before(job_id, state)) => {
                let message = &candidate.message.message_id;
                tracing::info!(
                    message.id = message,
                    job.id = %job_id,
                    "message {message} would be rejected as things are configured now; it was admitted \
                     before, as the job {job_id}, and nothing is done anew: {}",
                    candidate.bad.as_deref().unwrap_or_default()
                );
                return Judged::Settled(if state.is_some() {
                    Fate::Job(job_id)
                } else {
                    Fate::Over
                });
            }
            Answer::Is(Admitted::Duplicate(job_id)) => {
                let message = &candidate.message.message_id;
                tracing::info!(
                    message.id = message,
                    job.id = %job_id,
                    "message {message} has the dedupe_key of a job that has not ended: not admitted"
                );
                return Judged::Settled(Fate::Over);
            }
            Answer::Is(Admitted::IdConflict { job_id, document, state }) => {
                (job_id, document, state)
            }
        };
        if candidate.job.external_id.is_some() && candidate.bad.is_none() {
            return Judged::Again(Box::new(self.taken(candidate, job_id)));
        }
        // It is the same message, whatever has changed since its last delivery. One that could not be
        // admitted then, and can be now, has its job at last.
        let was_rejected = document.is_some_and(|document| document.starts_with('"'));
        if was_rejected && candidate.bad.is_none() && !candidate.job.rerun {
            let job = NewJob { rerun: true, ..candidate.job.clone() };
            return Judged::Again(Box::new(Candidate { job, ..candidate.clone() }));
        }
        let is_there = state.is_some();
        Judged::Settled(if is_there { Fate::Job(job_id) } else { Fate::Over })
    }

    /// Its `id` belongs to another document.
    fn taken(&self, candidate: &Candidate, job_id: Uuid) -> Candidate {
        let reason = format!(
            "belongs to the job {job_id} with another document; give another id, or send the same \
             document"
        );
        let (message, problem) = (candidate.message.clone(), Problem::new("$.id", reason));
        let text = message.body.clone();
        document::refuse(&self.run.bench, &self.run.place, message, &text, problem)
    }

    /// The store's answer to each.
    async fn admit(&self, candidates: &[Candidate]) -> Vec<Answer> {
        let jobs = || candidates.iter().map(|candidate| candidate.job.clone()).collect();
        match self.patiently(jobs).await {
            Some(Ok(answers)) => answers.into_iter().map(Answer::Is).collect(),
            Some(Err(_)) => self.admit_apart(candidates).await,
            None => vec![Answer::None; candidates.len()],
        }
    }

    /// One that cannot be stored must not keep the others from it.
    async fn admit_apart(&self, candidates: &[Candidate]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let answer = match self.patiently(|| vec![candidate.job.clone()]).await {
                Some(Ok(alone)) => alone.into_iter().next().map_or(Answer::None, Answer::Is),
                Some(Err(refusal)) => self.admit_refused(candidate, &refusal).await,
                None => Answer::None,
            };
            let is_over = answer == Answer::None;
            answers.push(answer);
            if is_over {
                // What follows it in its group must not come before it.
                break;
            }
        }
        answers.resize(candidates.len(), Answer::None);
        answers
    }

    /// A rejected job for what the store refuses, without its text if need be.
    async fn admit_refused(&self, candidate: &Candidate, refusal: &str) -> Answer {
        for text in [candidate.message.body.as_str(), UNSTORABLE] {
            let problem = Problem::new("$", format!("cannot be stored: {refusal}"));
            let message = candidate.message.clone();
            let place = &self.run.place;
            let refused = document::refuse(&self.run.bench, place, message, text, problem);
            let reason = refused.bad.unwrap_or_default();
            let alone = match self.patiently(|| vec![refused.job.clone()]).await {
                Some(Ok(alone)) => alone.into_iter().next(),
                Some(Err(_)) => continue,
                None => return Answer::None,
            };
            if let Some(known @ Admitted::Before(..)) = alone {
                return Answer::Is(known);
            }
            let Some(
                Admitted::New(job_id)
                | Admitted::Existing(job_id, _)
                | Admitted::Duplicate(job_id)
                | Admitted::IdConflict { job_id, .. },
            ) = alone
            else {
                return Answer::None;
            };
            return Answer::Refused(job_id, reason);
        }
        tracing::error!(
            message.id = candidate.message.message_id,
            "a message cannot be stored in any form, and stays in its queue: {refusal}"
        );
        Answer::None
    }

    /// Asks the store until it answers, until its time is over, or until a drain: an answer, the
    /// refusal of this data, or none. The messages stay hidden meanwhile, so an outage shorter than
    /// that costs no delivery.
    async fn patiently(
        &self,
        jobs: impl Fn() -> Vec<NewJob>,
    ) -> Option<Result<Vec<Admitted>, String>> {
        let bench = &self.run.bench;
        let mut backoff = Backoff::of_store();
        loop {
            let error = match self.once(jobs()).await {
                Ok(answers) => return Some(Ok(answers)),
                Err(StoreError::Data(refusal)) => return Some(Err(refusal)),
                Err(error) => error,
            };
            bench.stand.store_away(&error.to_string());
            let is_over = bench.clock.now().mono_ms >= self.until_mono_ms;
            if is_over || !backoff.wait(&self.run.drain).await {
                return None;
            }
        }
    }

    async fn once(&self, jobs: Vec<NewJob>) -> StoreResult<Vec<Admitted>> {
        let bench = &self.run.bench;
        let answers = bench.doors.jobs.admit(jobs).await?;
        bench.stand.receives();
        let new = answers.iter().filter(|answer| matches!(answer, Admitted::New(_))).count();
        let is_known =
            |answer: &&Admitted| matches!(answer, Admitted::Existing(..) | Admitted::Before(..));
        let known = answers.iter().filter(is_known);
        bench.stand.count_admitted(new);
        bench.stand.count_known(known.count());
        if new > 0 {
            (bench.doors.admitted)();
        }
        Ok(answers)
    }
}
