//! The loop that watches a run: what is fed, what ends, what a person wants, and when it is over.
//! Must not know: how lines become jobs, how results become lines.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::RunArgs;
use super::bounds::StopIfFailed;
use super::feed::{self, Fed, Feed, FeedRooms};
use super::follow::Follow;
use super::out::Out;
use super::show::{self, Refusals, Show, Speed, View};
use crate::cli::rooms::Rooms;
use crate::cli::stop::Stop;
use crate::job::State;
use crate::worker::{Status, WaitingFor, Worker, WorkerError};

/// How many chunks may wait to be counted.
const CHUNKS_WAITING_MAX: usize = 4;
/// How often the view is renewed when nothing happens, in milliseconds.
const TICK_MS: u64 = 250;
/// How long ends are gathered before OUT follows, in milliseconds.
const GATHER_MS: u64 = 50;
/// How often the budget's levels are read, in milliseconds.
const LEVELS_MS: u64 = 2_000;
/// How often, at most, the jobs are counted to see whether anything can still move, in milliseconds.
const COUNT_MS: u64 = 1_000;
/// Counting may take this share of the time: one part in so many.
const COUNT_SHARE: u64 = 20;
/// How long the money must have been used up, with nothing in flight, in milliseconds.
const MONEY_MS: u64 = 1_000;

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing can move any more without a person.
    Done,
    /// The money of `--max-cost-usd` does not cover another call.
    Money,
    /// `--stop-if-failed`.
    Failed,
    /// A person stopped it.
    Stopped,
    /// The worker ended of itself.
    Worker,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) why: End,
    pub(super) fed: Tally,
    /// Every line was read.
    pub(super) fed_whole: bool,
    pub(super) refused: u64,
    pub(super) status: Status,
    /// How many jobs are no success, by their error's kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

/// What was fed so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) lines: u64,
    pub(super) new: u64,
    pub(super) open: u64,
    pub(super) ended: u64,
    pub(super) retried: u64,
    pub(super) forgotten: u64,
    pub(super) duplicates: u64,
}

impl Tally {
    fn add(&mut self, fed: &Fed) {
        let sums = [
            (&mut self.lines, fed.lines),
            (&mut self.new, fed.new),
            (&mut self.open, fed.open),
            (&mut self.ended, fed.ended),
            (&mut self.retried, fed.retried),
            (&mut self.forgotten, fed.forgotten),
            (&mut self.duplicates, fed.duplicates),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }

    fn jobs(&self) -> u64 {
        let open = self.new.saturating_add(self.open).saturating_add(self.retried);
        open.saturating_add(self.ended)
    }
}

/// What happened.
enum Event {
    /// A chunk was admitted.
    Fed(Fed),
    /// The file is at its end, or admission failed.
    FedAll(anyhow::Result<()>),
    /// A job ended, or time passed.
    Look,
    /// The worker has ended.
    WorkEnded(anyhow::Result<()>),
    /// A person asked for a drain.
    Drain,
    /// A person asked to stop now.
    StopNow,
}

/// How far the file has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feeding {
    /// There is more.
    Reading,
    /// To its end.
    Whole,
    /// A person or an error stopped it.
    Cut,
}

/// Which of a person's wishes has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Nothing,
    Drain,
    Now,
}

type Joined<T> = Option<JoinHandle<T>>;

/// A run being watched.
pub(super) struct Watch<'r> {
    rooms: &'r Rooms,
    stop: Stop,
    /// Tells the worker to drain, for whatever reason.
    drain: CancellationToken,
    batch: Uuid,
    stop_if_failed: Option<StopIfFailed>,
    worker: Worker,
    work: Joined<Result<(), WorkerError>>,
    follow: Follow,
    show: Show,
    refusals: Refusals,
    tally: Tally,
    feeding: Feeding,
    why: Option<End>,
    said: Said,
    /// How many of the worker's pauses have been told.
    pauses_told: u64,
    /// Jobs of the batch, once every line is read.
    jobs: Option<u64>,
    next_count_ms: u64,
    money_since_ms: Option<u64>,
    speed: Speed,
    rate: Option<String>,
    next_levels_ms: u64,
}

impl<'r> Watch<'r> {
    pub(super) fn begin(
        args: &RunArgs,
        rooms: &'r Rooms,
        stop: Stop,
        batch: Uuid,
        out: Out,
    ) -> Self {
        let rows_max = rooms.settings.store.results_page_rows;
        Self {
            drain: stop.drain.child_token(),
            stop,
            batch,
            stop_if_failed: args.stop_if_failed,
            worker: rooms.worker(Some(batch), args.max_cost_usd),
            work: None,
            follow: Follow::new(out, batch, rooms.simulated, rows_max),
            show: Show::start(),
            refusals: Refusals::new(&args.file),
            tally: Tally::default(),
            feeding: Feeding::Reading,
            why: None,
            said: Said::Nothing,
            pauses_told: 0,
            jobs: None,
            next_count_ms: 0,
            money_since_ms: None,
            speed: Speed::default(),
            rate: None,
            next_levels_ms: 0,
            rooms,
        }
    }

    /// Watches until it is over.
    pub(super) async fn run(mut self, feed: Feed, rooms: FeedRooms) -> anyhow::Result<Ended> {
        let (told, mut hears) = mpsc::channel(CHUNKS_WAITING_MAX);
        let mut feeding = Some(tokio::spawn(feed::admit(feed, rooms, told, self.drain.clone())));
        let watched = loop {
            let event = self.next(&mut hears, &mut feeding).await;
            match self.take(event).await {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
        };
        if watched.is_err() {
            // What is in flight is paid for: it is recorded before the error is told.
            self.drain.cancel();
            if let Some(work) = self.work.take() {
                drop(work.await);
            }
        }
        self.show.end();
        watched?;
        self.follow.sync()?;
        let show = &self.show;
        self.refusals.end(|text| show.say(text));
        Ok(Ended {
            why: self.why.unwrap_or(End::Worker),
            fed_whole: self.feeding == Feeding::Whole,
            refused: self.refusals.lines(),
            status: self.worker.status().now(),
            kinds: self.follow.kinds,
            fed: self.tally,
        })
    }

    async fn next(
        &mut self,
        hears: &mut mpsc::Receiver<Fed>,
        fed: &mut Joined<anyhow::Result<()>>,
    ) -> Event {
        let status = self.worker.status();
        tokio::select! {
            told = hears.recv(), if self.feeding == Feeding::Reading => match told {
                Some(chunk) => Event::Fed(chunk),
                None => Event::FedAll(joined(fed.take()).await),
            },
            ended = ended(self.work.as_mut()) => {
                self.work = None;
                Event::WorkEnded(ended)
            }
            () = self.stop.drain.cancelled(), if self.said < Said::Drain => Event::Drain,
            () = self.stop.now.cancelled(), if self.said < Said::Now => Event::StopNow,
            () = status.changed() => {
                tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
                Event::Look
            }
            () = tokio::time::sleep(Duration::from_millis(TICK_MS)) => Event::Look,
        }
    }

    /// Does what the event asks; says whether the run is over.
    async fn take(&mut self, event: Event) -> anyhow::Result<bool> {
        match event {
            Event::Fed(fed) => self.count(&fed),
            Event::FedAll(result) => {
                self.feeding = Feeding::Cut;
                result?;
                if !self.drain.is_cancelled() {
                    self.feeding = Feeding::Whole;
                    self.follow.put_in_place(&*self.rooms.store).await?;
                    self.jobs = Some(self.count_jobs().await?.0);
                }
            }
            Event::Look => {}
            Event::WorkEnded(result) => {
                result?;
                // A worker with nothing in flight may be gone before the wish is answered.
                let is_stopped = self.stop.drain.is_cancelled();
                let why = if is_stopped { End::Stopped } else { End::Worker };
                self.why = self.why.or(Some(why));
                if self.follow.in_place {
                    self.follow.catch_up(&*self.rooms.store).await?;
                }
                return Ok(true);
            }
            Event::Drain => self.say_drain(),
            Event::StopNow => {
                self.said = Said::Now;
                self.show.say("stopping now: calls in flight are cut and recorded as such");
            }
        }
        if self.follow.in_place {
            self.follow.catch_up(&*self.rooms.store).await?;
        }
        self.judge().await?;
        self.look().await?;
        Ok(self.why.is_some() && self.work.is_none() && self.feeding != Feeding::Reading)
    }

    /// Counts a chunk, tells what was refused, and sets the worker to work on the first.
    fn count(&mut self, fed: &Fed) {
        self.tally.add(fed);
        let show = &self.show;
        for line in &fed.refused {
            self.refusals.add(line.number, &line.problems, |text| show.say(text));
        }
        let moves = self.tally.new.saturating_add(self.tally.open) > 0 || self.tally.retried > 0;
        if moves && self.work.is_none() && !self.drain.is_cancelled() {
            let (worker, drain) = (self.worker.clone(), self.drain.clone());
            let now = self.stop.now.clone();
            self.work = Some(tokio::spawn(async move { worker.run(drain, now).await }));
        }
        self.worker.wake();
    }

    fn say_drain(&mut self) {
        self.said = self.said.max(Said::Drain);
        self.why = self.why.or(Some(End::Stopped));
        let in_flight = self.worker.status().now().in_flight;
        self.show.say(&format!(
            "draining: {in_flight} calls in flight run to their end and no more are started; once \
             more stops now"
        ));
    }

    /// Decides whether the run is to end.
    async fn judge(&mut self) -> anyhow::Result<()> {
        if self.why.is_some() {
            return Ok(());
        }
        let status = self.worker.status().now();
        let now_ms = self.rooms.clock.now().mono_ms;
        if self.stop_if_failed.is_some_and(|bound| bound.is_reached(&status)) {
            self.show.say("stopping: as many jobs have failed as --stop-if-failed allows");
            self.end(End::Failed);
            return Ok(());
        }
        let Some(jobs) = self.jobs else { return Ok(()) };
        if self.follow.ended >= jobs {
            self.end(End::Done);
            return Ok(());
        }
        if status.in_flight > 0 {
            self.money_since_ms = None;
            return Ok(());
        }
        if status.waiting == Some(WaitingFor::Money) {
            let since_ms = *self.money_since_ms.get_or_insert(now_ms);
            if now_ms.saturating_sub(since_ms) >= MONEY_MS {
                self.end(End::Money);
            }
            return Ok(());
        }
        self.money_since_ms = None;
        if now_ms >= self.next_count_ms {
            let (_, moving) = self.count_jobs().await?;
            if moving == 0 {
                self.follow.catch_up(&*self.rooms.store).await?;
                self.end(End::Done);
            }
        }
        Ok(())
    }

    fn end(&mut self, why: End) {
        self.why = Some(why);
        self.drain.cancel();
    }

    /// All jobs of the batch, and those that can move without a person.
    async fn count_jobs(&mut self) -> anyhow::Result<(u64, u64)> {
        let began_ms = self.rooms.clock.now().mono_ms;
        let counts = self.rooms.store.counts(Some(self.batch)).await;
        let counts = counts.context("failed to count the jobs")?;
        let now_ms = self.rooms.clock.now().mono_ms;
        let rest_ms = now_ms.saturating_sub(began_ms).saturating_mul(COUNT_SHARE).max(COUNT_MS);
        self.next_count_ms = now_ms.saturating_add(rest_ms);
        let moves = |state: State| matches!(state, State::Ready | State::Running);
        let sum = |of: &dyn Fn(State) -> bool| {
            counts.states.iter().filter(|(state, _)| of(*state)).map(|(_, jobs)| jobs).sum()
        };
        Ok((sum(&|_| true), sum(&moves)))
    }

    /// Renews the view.
    async fn look(&mut self) -> anyhow::Result<()> {
        let status = self.worker.status().now();
        for line in status.untold(self.pauses_told) {
            self.show.say(line);
        }
        self.pauses_told = status.pauses;
        let mono_ms = self.rooms.clock.now().mono_ms;
        if mono_ms >= self.next_levels_ms {
            let levels = self.rooms.store.levels().await.context("failed to read the levels")?;
            self.rate = show::rate(&levels);
            self.next_levels_ms = mono_ms.saturating_add(LEVELS_MS);
        }
        let here = status.succeeded.saturating_add(status.failed).saturating_add(status.other_ends);
        let (ended, failed) = if self.follow.in_place {
            (self.follow.ended, self.follow.failed)
        } else {
            (self.tally.ended.saturating_add(here), status.failed)
        };
        let jobs = self.jobs.unwrap_or_else(|| self.tally.jobs());
        self.speed.note(mono_ms, here);
        let left_ms = if self.feeding == Feeding::Reading {
            None
        } else {
            self.speed.left_ms(jobs.saturating_sub(ended))
        };
        self.show.update(&View {
            jobs,
            feeding: self.feeding == Feeding::Reading,
            ended,
            failed,
            status,
            rate: self.rate.clone(),
            left_ms,
            simulated: self.rooms.simulated,
            mono_ms,
        });
        Ok(())
    }
}

async fn joined(handle: Joined<anyhow::Result<()>>) -> anyhow::Result<()> {
    match handle {
        Some(handle) => {
            handle.await.map_err(|error| anyhow!("failed to read the file: {error}"))?
        }
        None => Ok(()),
    }
}

/// The worker's end; never, while there is no worker.
async fn ended(work: Option<&mut JoinHandle<Result<(), WorkerError>>>) -> anyhow::Result<()> {
    match work {
        Some(handle) => handle
            .await
            .map_err(|error| anyhow!("failed to work: {error}"))?
            .map_err(|error| anyhow!("failed to {error}")),
        None => std::future::pending().await,
    }
}
