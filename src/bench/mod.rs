//! `quarrier bench`: what the queue itself costs on this machine and this store, measured on a store
//! of its own, beside floors that write the same rows without a queue's logic.
//!
//! A run takes the *ground* (an unused store, or a place for one), measures one thing after the
//! other, each on an emptied store, and leaves the ground as it was. Jobs are done by *workers*:
//! processes of the same binary with the real worker, store and budget, and a provider that answers
//! inside the process. `docs/bench.md` says what each line means.
//!
//! Must not know: flags, and where lines are written.

#[cfg(feature = "postgres")]
mod deep;
mod documents;
mod drain;
mod enqueue;
#[cfg(feature = "sqlite")]
mod file_floor;
#[cfg(feature = "postgres")]
mod floor;
mod ground;
#[cfg(feature = "postgres")]
mod held;
mod latency;
mod meters;
mod noop;
pub mod report;
#[cfg(feature = "postgres")]
mod server;
mod workers;

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

pub use self::ground::Ground;
use self::noop::LANE_PREFIX;
use self::report::{Line, Ratio};
pub use self::workers::{Launch, Work, work};
use crate::admit::Admission;
use crate::config::Settings;
use crate::rooms;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum What {
    /// Jobs put in one by one by `quarrier.enqueue`, from 1 and from 10 connections (Postgres).
    EnqueueOne,
    /// Jobs put in in bulk: by `quarrier.enqueue_many` (Postgres), and by this program's admission.
    EnqueueBulk,
    /// Jobs done whose calls take no time, without and with a budget, by one and by more processes.
    Drain,
    /// From a job's commit to its call's start, with an idle worker.
    Latency,
    /// 2,000 calls of 200 ms, 200 at once.
    SlowCall,
    /// Jobs done at a pace of 500 a second while a transaction is held open elsewhere (Postgres).
    Held,
    /// The time of a claim in a lane with ten thousand ready jobs, and with many (Postgres).
    Deep,
    /// The same rows as draining writes, and on Postgres enqueueing, by bare statements.
    Floor,
}

/// How is measured.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// What.
    pub what: Vec<What>,
    /// Jobs of a drain and of a bulk; the other measurements take a part of them.
    pub jobs: u64,
    /// How often everything is repeated.
    pub runs: u32,
    /// Worker processes of the drains that have more than one.
    pub processes: u32,
    /// Calls in flight at once in each worker of a drain.
    pub concurrency: u32,
    /// For how many seconds a transaction is held open.
    pub held_s: u32,
    /// Ready jobs of the deep lane.
    pub deep_jobs: u64,
    /// The workers reach the server through a pooler.
    pub pooled: bool,
    /// How a worker process is started.
    pub launch: Launch,
}

/// What a bench tells as it goes.
#[derive(Debug)]
pub enum Told {
    /// What is measured next, in words.
    Begins(String),
    /// A measurement.
    Line(Box<Line>),
    /// What two of them come to.
    Ratio(Ratio),
}

/// What all measurements share.
struct Bench<'a> {
    options: &'a BenchOptions,
    settings: &'a Settings,
    ground: &'a Ground,
    admission: Admission,
    spool: Folder,
}

impl Bench<'_> {
    /// What a worker is to do.
    fn work(&self, concurrency: u32, call_ms: u64) -> Work {
        let spool_dir = self.spool.0.display().to_string();
        Work { concurrency, call_ms, tells_starts: false, spool_dir }
    }

    fn pooled(&self) -> Option<bool> {
        self.options.pooled.then_some(true)
    }
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // It may never have been made.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Measures, tells, and leaves the ground as it was, also where `stop` cuts it off or something
/// fails. Says whether it came to its end.
pub async fn run(
    settings: &Settings,
    ground: Ground,
    options: &BenchOptions,
    stop: &CancellationToken,
    tell: &mut impl FnMut(Told) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let name = format!("quarrier-bench-{}", uuid::Uuid::now_v7());
    let outcome = match rooms::admission(settings, LANE_PREFIX) {
        Err(error) => Err(error),
        Ok(admission) => {
            let spool = Folder(Path::join(&std::env::temp_dir(), name));
            let bench = Bench { options, settings, ground: &ground, admission, spool };
            tokio::select! {
                done = Box::pin(all(&bench, tell)) => done.map(|()| true),
                () = stop.cancelled() => Ok(false),
            }
        }
    };
    let left = ground.leave().await;
    let ended = outcome?;
    left?;
    Ok(ended)
}

async fn all(
    bench: &Bench<'_>,
    tell: &mut impl FnMut(Told) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    // Everything once, then everything again: a noisy minute spoils one run of each, not all runs
    // of one.
    for run in 1..=bench.options.runs {
        let mut once = Once { bench, run, lines: &mut lines, tell: &mut *tell };
        once.enqueue().await?;
        once.drain().await?;
        once.calls().await?;
        #[cfg(feature = "postgres")]
        once.burdened().await?;
    }
    for ratio in report::ratios(&lines) {
        tell(Told::Ratio(ratio))?;
    }
    Ok(())
}

/// One repetition.
struct Once<'a, T> {
    bench: &'a Bench<'a>,
    run: u32,
    lines: &'a mut Vec<Line>,
    tell: &'a mut T,
}

impl<T: FnMut(Told) -> anyhow::Result<()>> Once<'_, T> {
    fn wants(&self, what: What) -> bool {
        self.bench.options.what.contains(&what)
    }

    fn begins(&mut self, what: &str) -> anyhow::Result<()> {
        let (run, runs) = (self.run, self.bench.options.runs);
        (self.tell)(Told::Begins(format!("run {run} of {runs}: {what}")))
    }

    fn keep(&mut self, line: &Line) -> anyhow::Result<()> {
        let line = Line { run: self.run, engine: self.bench.ground.engine(), ..line.clone() };
        self.lines.push(line.clone());
        (self.tell)(Told::Line(Box::new(line)))
    }

    async fn enqueue(&mut self) -> anyhow::Result<()> {
        let bench = self.bench;
        #[cfg(feature = "postgres")]
        if let Some(server) = bench.ground.server() {
            for connections in [1, enqueue::CLIENTS] {
                if self.wants(What::EnqueueOne) {
                    self.begins(&format!("enqueue one by one, {connections} connections"))?;
                    let line = enqueue::one(bench, server, connections).await?;
                    self.keep(&line)?;
                }
            }
            if self.wants(What::Floor) {
                self.begins("the floor of enqueueing one by one")?;
                let line = enqueue::floor(bench, server).await?;
                self.keep(&line)?;
            }
            for connections in [1, 2] {
                if self.wants(What::EnqueueBulk) {
                    self.begins(&format!(
                        "enqueue in bulk by the SQL function, connections: {connections}"
                    ))?;
                    let line = enqueue::many(bench, server, connections).await?;
                    self.keep(&line)?;
                }
            }
        }
        if self.wants(What::EnqueueBulk) {
            self.begins("enqueue in bulk by admission")?;
            let line = enqueue::admission(bench).await?;
            self.keep(&line)?;
        }
        Ok(())
    }

    async fn drain(&mut self) -> anyhow::Result<()> {
        let bench = self.bench;
        #[cfg(feature = "postgres")]
        let mut states = floor::States::default();
        #[cfg(feature = "sqlite")]
        let mut file_states = file_floor::States::default();
        if self.wants(What::Drain) {
            let mut processes = vec![1, bench.options.processes];
            processes.dedup();
            for processes in processes {
                for budget in [false, true] {
                    let with = if budget { "with" } else { "without" };
                    self.begins(&format!("drain, {processes} processes, {with} a budget"))?;
                    let line = drain::drain(bench, processes, budget).await?;
                    self.keep(&line)?;
                    #[cfg(feature = "postgres")]
                    if let Some(server) = bench.ground.server().filter(|_| !budget) {
                        states = floor::states(server).await?;
                    }
                    #[cfg(feature = "sqlite")]
                    if let Some(path) = bench.ground.file().filter(|_| !budget) {
                        file_states = file_floor::states(path).await?;
                    }
                }
            }
        }
        #[cfg(feature = "postgres")]
        if let Some(server) = bench.ground.server().filter(|_| self.wants(What::Floor)) {
            self.begins("the floor of draining")?;
            floor::prepare(bench, server).await?;
            for connections in [1, 2] {
                let line = floor::floor(bench, server, connections, &states).await?;
                self.keep(&line)?;
            }
        }
        #[cfg(feature = "sqlite")]
        if let Some(path) = bench.ground.file().filter(|_| self.wants(What::Floor)) {
            self.begins("the floor of draining")?;
            let line = file_floor::floor(bench, path, &file_states).await?;
            self.keep(&line)?;
        }
        Ok(())
    }

    /// What a queue in use long enough meets.
    #[cfg(feature = "postgres")]
    async fn burdened(&mut self) -> anyhow::Result<()> {
        let bench = self.bench;
        let Some(server) = bench.ground.server() else { return Ok(()) };
        if self.wants(What::Held) {
            self.begins("a pace kept beside a transaction held open")?;
            let line = held::held(bench, server).await?;
            self.keep(&line)?;
        }
        for is_deep in [false, true] {
            if self.wants(What::Deep) {
                let depth = if is_deep { "deep" } else { "shallow" };
                self.begins(&format!("claims in a {depth} lane"))?;
                let line = deep::deep(bench, server, is_deep).await?;
                self.keep(&line)?;
            }
        }
        Ok(())
    }

    async fn calls(&mut self) -> anyhow::Result<()> {
        if self.wants(What::Latency) {
            self.begins("latency of an idle worker")?;
            let line = latency::latency(self.bench).await?;
            self.keep(&line)?;
        }
        if self.wants(What::SlowCall) {
            self.begins("slow calls")?;
            let line = drain::slow(self.bench).await?;
            self.keep(&line)?;
        }
        Ok(())
    }
}
