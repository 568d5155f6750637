//! A store in memory, as far as an intake asks of one, that can be told to fail.
//! Must not know: queues, intakes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;
use quarrier::job::State;
use quarrier::store::{
    AdmitStore, Admitted, HeldMessage, IntakeStore, LimitRule, NewJob, Shares, StoreError,
    StoreResult, Submission,
};
use uuid::Uuid;

#[derive(Default)]
struct Inner {
    jobs: Vec<NewJob>,
    states: HashMap<Uuid, State>,
    held: BTreeMap<String, HeldMessage>,
    away: bool,
    /// Admissions that are done, and nobody hears of it.
    lost: u32,
    /// Documents with this text are refused as data, unless they are rejected ones without it.
    poison: Option<String>,
    waiting: u32,
    admissions: usize,
}

#[derive(Default)]
pub(crate) struct Memory(Mutex<Inner>);

impl Memory {
    pub(crate) fn jobs(&self) -> Vec<NewJob> {
        self.0.lock().unwrap().jobs.clone()
    }

    /// Its only job.
    pub(crate) fn job(&self) -> NewJob {
        let jobs = self.jobs();
        assert_eq!(jobs.len(), 1);
        jobs[0].clone()
    }

    pub(crate) fn admissions(&self) -> usize {
        self.0.lock().unwrap().admissions
    }

    /// Ends all jobs.
    pub(crate) fn end_all(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.states.values_mut().for_each(|state| *state = State::Succeeded);
    }

    /// Deletes all jobs, as retention does; their identities stay.
    pub(crate) fn delete_all(&self) {
        self.0.lock().unwrap().states.clear();
    }

    pub(crate) fn go_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    pub(crate) fn lose(&self, admissions: u32) {
        self.0.lock().unwrap().lost = admissions;
    }

    pub(crate) fn poison(&self, text: &str) {
        self.0.lock().unwrap().poison = Some(text.to_owned());
    }

    pub(crate) fn wait_with(&self, jobs: u32) {
        self.0.lock().unwrap().waiting = jobs;
    }

    pub(crate) fn held(&self) -> Vec<HeldMessage> {
        self.0.lock().unwrap().held.values().cloned().collect()
    }

    fn here(&self) -> StoreResult<std::sync::MutexGuard<'_, Inner>> {
        let inner = self.0.lock().unwrap();
        if inner.away { Err(StoreError::Transient("away".to_owned())) } else { Ok(inner) }
    }
}

impl Inner {
    fn admit(&mut self, job: NewJob) -> Admitted {
        let was = job.before.as_ref().and_then(|was| {
            let is_it = |other: &&NewJob| {
                other.tenant == job.tenant
                    && other.identity.as_ref() == Some(&was.identity)
                    && other.document_hash == was.document_hash
            };
            self.jobs.iter().rev().find(is_it)
        });
        if let Some(was) = was {
            return Admitted::Before(was.job_id, self.states.get(&was.job_id).copied());
        }
        let known = |other: &&NewJob| {
            other.tenant == job.tenant && job.identity.is_some() && other.identity == job.identity
        };
        let before = self.jobs.iter().rev().find(known);
        if let Some(before) = before {
            let state = self.states.get(&before.job_id).copied();
            if before.document_hash == job.document_hash {
                return Admitted::Existing(before.job_id, state);
            }
            if !job.rerun {
                let document = state.map(|_| before.document.clone());
                return Admitted::IdConflict { job_id: before.job_id, document, state };
            }
        }
        let holds = |other: &&NewJob| {
            let is_live = |state: &State| !state.is_terminal();
            other.dedupe_key == job.dedupe_key
                && self.states.get(&other.job_id).is_some_and(is_live)
        };
        if job.dedupe_key.is_some()
            && let Some(holder) = self.jobs.iter().find(holds)
        {
            return Admitted::Duplicate(holder.job_id);
        }
        let id = job.job_id;
        let state = if job.resolved.is_ok() { State::Ready } else { State::Failed };
        self.states.insert(id, state);
        self.jobs.push(job);
        Admitted::New(id)
    }
}

#[async_trait]
impl AdmitStore for Memory {
    async fn admit(&self, jobs: Vec<NewJob>) -> StoreResult<Vec<Admitted>> {
        let mut inner = self.here()?;
        inner.admissions += 1;
        if let Some(poison) = &inner.poison
            && jobs.iter().any(|job| job.document.contains(poison))
        {
            return Err(StoreError::Data("poison".to_owned()));
        }
        let answers = jobs.into_iter().map(|job| inner.admit(job)).collect();
        if inner.lost > 0 {
            inner.lost -= 1;
            return Err(StoreError::Transient("the answer is lost".to_owned()));
        }
        Ok(answers)
    }

    async fn submissions(&self, _rows_max: u32) -> StoreResult<Vec<Submission>> {
        Ok(Vec::new())
    }

    async fn admit_submissions(&self, _jobs: Vec<(String, NewJob)>) -> StoreResult<Vec<String>> {
        Ok(Vec::new())
    }

    async fn limits(&self) -> StoreResult<Vec<LimitRule>> {
        self.here().map(|_| Vec::new())
    }

    async fn seed_limits(&self, _rules: Vec<LimitRule>, _seeder: &str) -> StoreResult<()> {
        Ok(())
    }

    async fn shares(&self) -> StoreResult<Shares> {
        Ok(Shares::default())
    }

    async fn seed_shares(&self, _shares: &Shares) -> StoreResult<()> {
        Ok(())
    }
}

#[async_trait]
impl IntakeStore for Memory {
    async fn hold_messages(&self, messages: &[HeldMessage]) -> StoreResult<()> {
        let mut inner = self.here()?;
        for message in messages {
            inner.held.insert(message.message_id.clone(), message.clone());
        }
        Ok(())
    }

    async fn held_messages(
        &self,
        queue: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> StoreResult<Vec<HeldMessage>> {
        let inner = self.here()?;
        let ours = inner.held.values().filter(|held| {
            held.queue == queue && after.is_none_or(|after| held.message_id.as_str() > after)
        });
        Ok(ours.take(rows_max as usize).cloned().collect())
    }

    async fn answered_messages(&self, queue: &str, rows_max: u32) -> StoreResult<Vec<HeldMessage>> {
        let inner = self.here()?;
        let is_over = |held: &&HeldMessage| {
            let state = inner.states.get(&held.job_id);
            held.queue == queue && state.is_none_or(|state| state.is_terminal())
        };
        Ok(inner.held.values().filter(is_over).take(rows_max as usize).cloned().collect())
    }

    async fn waiting(&self, jobs_max: u32) -> StoreResult<u32> {
        self.here().map(|inner| inner.waiting.min(jobs_max))
    }

    async fn forget_messages(&self, _queue: &str, gone: &[(String, String)]) -> StoreResult<()> {
        let mut inner = self.here()?;
        for (id, receipt) in gone {
            if inner.held.get(id).is_some_and(|held| held.receipt == *receipt) {
                inner.held.remove(id);
            }
        }
        Ok(())
    }
}
