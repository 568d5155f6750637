//! An intake: takes job documents from one message queue into the store, and acknowledges each
//! message when its job is safe. Its queue may be received from by any number of processes.
//! Must not know: which queue service or store it has, where settings come from, what runs jobs.
//!
//! `receive` asks for messages while they can be admitted, `admit` makes jobs of them, `document`
//! knows what a message says and `bad` what becomes of those that say nothing. `acknowledge`
//! deletes; `hold` keeps those hidden that are deleted only when their jobs have ended. `gate` looks
//! whether the store takes anything, `stand` says what an intake does now, and each trouble once.

mod acknowledge;
mod admit;
mod backoff;
mod bad;
mod document;
mod gate;
mod hold;
mod receive;
mod stand;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admit::Admission;
use crate::clock::Clock;
use crate::message_queue::{DeadLetters, MessageQueue, QueueResult};
use crate::store::{AdmitStore, IntakeStore};
use crate::worker::Check;
use backoff::Backoff;
use stand::Doing;

pub use stand::Counts;

/// Messages whose deletion waits for its turn; beyond that receiving waits for it.
const DOOMED_MAX: usize = 1_000;

/// When a message is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// Once its job is committed.
    OnStored,
    /// Once its job has ended and its reply was delivered or given up: for a store that may be lost
    /// with its machine.
    OnFinished,
}

/// What becomes of a message that cannot be admitted, once the store has it with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// It is sent to the queue's dead-letter queue with the reason as an attribute, and deleted.
    DeadLetter,
    /// It is left to the queue's redrive policy.
    Redrive,
}

/// How one queue is received from.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// The queue: its URL, its ARN, or its name.
    pub queue: String,
    /// When a message is deleted.
    pub ack: Ack,
    /// What becomes of a message that cannot be admitted.
    pub on_bad: OnBad,
    /// For how long a received message is hidden from others, in seconds, unless it is hidden again.
    pub visibility_s: u32,
    /// The most messages held at once with [`Ack::OnFinished`].
    pub held_max: u32,
    /// On a queue without an order, the message's group is the tenant of a document without one.
    pub tenant_from_group: bool,
    /// The most requests for messages at once; a second one only while the first come back full.
    pub receive_loops_max: u32,
    /// Nothing is received while so many jobs wait in the store.
    pub backlog_max: u32,
    /// The longest wait of one request for a first message, in seconds.
    pub wait_s: u32,
}

/// What an intake works with.
#[derive(Clone)]
pub struct IntakeDoors {
    /// Where jobs go.
    pub jobs: Arc<dyn AdmitStore>,
    /// Where held messages are noted.
    pub messages: Arc<dyn IntakeStore>,
    /// Where messages come from.
    pub queue: Arc<dyn MessageQueue>,
    /// What makes jobs of documents.
    pub admission: Arc<Admission>,
    /// Is told after jobs were admitted.
    pub admitted: Arc<dyn Fn() + Send + Sync>,
}

/// The intake of one queue; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    bench: Arc<Bench>,
}

/// What the loops of one intake share for its whole life.
struct Bench {
    doors: IntakeDoors,
    clock: Clock,
    options: IntakeOptions,
    gate: gate::Gate,
    holds: hold::Holds,
    stand: stand::Stand,
}

/// The queue as it was found.
#[derive(Debug, Clone)]
struct Place {
    url: String,
    arn: String,
    fifo: bool,
    dead_letters: Option<DeadLetters>,
}

/// What the loops of one run share.
struct Run {
    bench: Arc<Bench>,
    place: Place,
    /// Messages to delete.
    doomed: mpsc::Sender<acknowledge::Doomed>,
    /// Nothing more is received.
    drain: CancellationToken,
    /// The dead-letter queue as it was looked up last.
    letters: bad::Letters,
}

impl Intake {
    /// An intake that has not begun.
    #[must_use]
    pub fn new(doors: IntakeDoors, clock: Clock, options: IntakeOptions) -> Self {
        let bench = Bench {
            gate: gate::Gate::default(),
            holds: hold::Holds::default(),
            stand: stand::Stand::new(&options.queue),
            doors,
            clock,
            options,
        };
        Self { bench: Arc::new(bench) }
    }

    /// Receives until `drain` is cancelled. Messages that are held go on being hidden, and deleted
    /// when their jobs have ended, until `done` is cancelled, which is also a drain; those that are
    /// left then are noted in the store, and the queue's next process goes on with them.
    pub async fn run(&self, drain: CancellationToken, done: CancellationToken) {
        let bench = &self.bench;
        let drain = drain.child_token();
        // Dropped with this future, like all that it starts.
        let mut ending = JoinSet::new();
        ending.spawn({
            let (drain, done) = (drain.clone(), done.clone());
            async move {
                done.cancelled().await;
                drain.cancel();
            }
        });
        if let Some(place) = bench.find(&drain).await {
            self.work(place, drain, done).await;
        }
        bench.stand.stopped();
    }

    async fn work(&self, place: Place, drain: CancellationToken, done: CancellationToken) {
        let (bench, options) = (&self.bench, &self.bench.options);
        tracing::info!(
            queue = place.url,
            queue.fifo = place.fifo,
            intake.ack = ?options.ack,
            intake.dead_letters = place.dead_letters.is_some(),
            "receiving from {}",
            place.url
        );
        let (doomed, deaths) = mpsc::channel(DOOMED_MAX);
        let mut loops = JoinSet::new();
        loops.spawn(acknowledge::keep(Arc::clone(bench), place.clone(), deaths, drain.clone()));
        let letters = bad::Letters::default();
        let run = Arc::new(Run { bench: Arc::clone(bench), place, doomed, drain, letters });
        hold::recover(&run).await;
        loops.spawn(hold::keep(Arc::clone(&run), done));
        receive::keep(&run).await;
        // Deletions end when nobody can ask for one any more.
        drop(run);
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a loop of the intake broke");
            }
        }
        let counts = self.counts();
        tracing::info!(
            queue = options.queue,
            messages.received = counts.received,
            messages.admitted = counts.admitted,
            messages.known = counts.known,
            messages.rejected = counts.rejected,
            messages.deleted = counts.deleted,
            "receiving from {} has ended",
            options.queue
        );
    }

    /// Whether it receives, or could if there were anything: for `/readyz`.
    #[must_use]
    pub fn ready(&self) -> Check {
        self.bench.stand.check()
    }

    /// What it has done since it began.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.bench.stand.counts()
    }
}

impl Bench {
    /// Finds the queue, for as long as that takes; none where a drain comes first.
    async fn find(&self, drain: &CancellationToken) -> Option<Place> {
        let mut backoff = Backoff::of_queue();
        loop {
            let found = tokio::select! {
                () = drain.cancelled() => return None,
                found = self.look_up() => found,
            };
            match found {
                Ok(place) => {
                    self.stand.works(Doing::Receive);
                    return Some(place);
                }
                Err(error) => self.stand.troubled(Doing::Receive, &error),
            }
            if !backoff.wait(drain).await {
                return None;
            }
        }
    }

    async fn look_up(&self) -> QueueResult<Place> {
        let url = self.doors.queue.url(&self.options.queue).await?;
        let facts = self.doors.queue.facts(&url).await?;
        Ok(Place { url, arn: facts.arn, fifo: facts.fifo, dead_letters: facts.dead_letters })
    }

    fn holds_messages(&self) -> bool {
        self.options.ack == Ack::OnFinished
    }
}
