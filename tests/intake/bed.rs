//! What every test stands on: a queue and a store in memory, admission, and an intake between them.
//! Must not know: what the tests are about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quarrier::admit::{Admission, AdmitSettings, ReplyAllow};
use quarrier::catalogue::Catalogue;
use quarrier::check;
use quarrier::clock::{Clock, ClockHand};
use quarrier::completion::Api;
use quarrier::intake::{Ack, Intake, IntakeDoors, IntakeOptions, OnBad};
use quarrier::job::IfOutcomeUnknown;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::memory::Memory;
use crate::queue::Queue;
use crate::until;

pub(crate) struct Bed {
    pub(crate) queue: Arc<Queue>,
    pub(crate) store: Arc<Memory>,
    pub(crate) hand: ClockHand,
    pub(crate) clock: Clock,
    pub(crate) options: IntakeOptions,
    /// How often the worker was told of new jobs.
    pub(crate) woken: Arc<AtomicUsize>,
}

/// A queue with a dead-letter queue and no order, whose messages are deleted once stored.
impl Default for Bed {
    fn default() -> Self {
        Self::of(false, true)
    }
}

impl Bed {
    pub(crate) fn of(fifo: bool, dead_letters: bool) -> Self {
        let (clock, hand) = Clock::manual();
        Self {
            queue: Arc::new(Queue::new(&clock, fifo, dead_letters)),
            store: Arc::new(Memory::default()),
            hand,
            clock,
            options: options("jobs"),
            woken: Arc::default(),
        }
    }

    /// Messages are held until their jobs have ended.
    pub(crate) fn holding() -> Self {
        let mut bed = Self::default();
        bed.options.ack = Ack::OnFinished;
        bed
    }

    /// Puts a message in again once its job has ended, and once more when that was deleted.
    pub(crate) async fn comes_again_after_the_end_and_the_deletion(&self, body: &str) {
        self.store.end_all();
        self.put_and_wait(body).await;
        self.store.delete_all();
        self.put_and_wait(body).await;
        self.store.job();
    }

    async fn put_and_wait(&self, body: &str) {
        self.queue.put(body);
        until(|| self.queue.is_empty()).await;
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(admission())
    }

    pub(crate) fn start_with(&self, admission: Admission) -> Running {
        let woken = Arc::clone(&self.woken);
        let doors = IntakeDoors {
            jobs: Arc::clone(&self.store) as _,
            messages: Arc::clone(&self.store) as _,
            queue: Arc::clone(&self.queue) as _,
            admission: Arc::new(admission),
            admitted: Arc::new(move || {
                woken.fetch_add(1, Ordering::SeqCst);
            }),
        };
        Running::start(Intake::new(doors, self.clock.clone(), self.options.clone()))
    }
}

/// An intake at work.
pub(crate) struct Running {
    pub(crate) intake: Intake,
    pub(crate) drain: CancellationToken,
    pub(crate) done: CancellationToken,
    work: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(intake: Intake) -> Self {
        let (drain, done) = (CancellationToken::new(), CancellationToken::new());
        let work = tokio::spawn({
            let (intake, drain, done) = (intake.clone(), drain.clone(), done.clone());
            async move { intake.run(drain, done).await }
        });
        Self { intake, drain, done, work }
    }

    /// Ends it as a process ends it: nothing more comes, then everything is over.
    pub(crate) async fn ended(self) {
        self.drain.cancel();
        self.done.cancel();
        self.work.await.unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn over(self) {
        self.work.await.unwrap();
    }

    /// Kills it: nothing of it runs to its end.
    pub(crate) async fn killed(self) {
        self.work.abort();
        assert!(self.work.await.unwrap_err().is_cancelled());
    }
}

pub(crate) fn options(queue: &str) -> IntakeOptions {
    IntakeOptions {
        queue: queue.to_owned(),
        ack: Ack::OnStored,
        on_bad: OnBad::DeadLetter,
        visibility_s: 120,
        held_max: 1_000,
        tenant_from_group: true,
        receive_loops_max: 2,
        backlog_max: 1_000,
        wait_s: 20,
    }
}

pub(crate) fn admission() -> Admission {
    admission_with(|_| {})
}

pub(crate) fn admission_with(change: impl FnOnce(&mut AdmitSettings)) -> Admission {
    let mut settings = AdmitSettings {
        model: "claude-haiku-4.5".to_owned(),
        temperature: 0.7,
        temperature_structured: 0.2,
        max_tokens: 1_000,
        deadline_ms: 3_600_000,
        queue: "default".to_owned(),
        tenant: "default".to_owned(),
        if_outcome_unknown: IfOutcomeUnknown::Retry,
        document_bytes_max: 1_048_576,
        check: check::Limits::default(),
        api: Api::Converse,
        lane_prefix: "scripted".to_owned(),
        seen_ms: 86_400_000,
        profiles: vec!["us".to_owned()],
        families: BTreeMap::new(),
        allow_retired: false,
        queues: BTreeMap::new(),
        reply_allow: ReplyAllow::new(vec!["answers".to_owned()]),
    };
    change(&mut settings);
    Admission::new(settings, Arc::new(Catalogue::embedded().unwrap()))
}

/// A document that can be admitted.
pub(crate) fn plain(text: &str) -> String {
    serde_json::json!({ "prompt": text, "max_tokens": 50 }).to_string()
}
