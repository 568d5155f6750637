//! Worker processes: children of the same binary that a bench starts, asks and ends, by lines on
//! their standard input and output.
//! Must not know: what is measured, what is in the store.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::meters;
use super::noop::{LANE_PREFIX, Noop};
use crate::clock::Clock;
use crate::config::Settings;
use crate::rooms::{self, Rooms, StorePlace};
use crate::worker::StatusHandle;

/// How long a worker may say nothing while something is awaited.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often a worker tells how far it is, at most.
const TELL_EVERY: Duration = Duration::from_millis(2);

/// How this program is started again as a worker.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// What makes it a worker of a bench, with its configuration.
    pub args: Vec<OsString>,
    /// Settings as variables: the store's address, which may hold a password, is in no list of
    /// processes so.
    pub env: Vec<(String, OsString)>,
}

/// What a worker is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// Calls in flight at once.
    pub concurrency: u32,
    /// How long a call takes, in milliseconds.
    pub call_ms: u64,
    /// It tells when each call started.
    pub tells_starts: bool,
    /// Where it would keep answers that the store does not take.
    pub spool_dir: String,
}

/// What a worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// It waits for the word to begin.
    Ready,
    /// So many jobs have ended since it began.
    Ended(u64),
    /// The call with this number started at this time.
    Started(u64, u64),
    /// CPU in microseconds and the largest memory in MB so far.
    Spent(u64, Option<u64>),
}

/// What a bench says.
const GO: &str = "go";
const SPENT: &str = "spent";
const END: &str = "end";

/// The worker's side: works on the store until its standard input says that it is over.
pub async fn work(settings: &Settings, place: &StorePlace, work: &Work) -> anyhow::Result<()> {
    let (starts, mut started) = unbounded_channel();
    let noop = Noop {
        call: Duration::from_millis(work.call_ms),
        starts: work.tells_starts.then_some(starts),
    };
    let rooms = open(settings, place, work, noop).await?;
    let worker = rooms.worker(None, None);
    let status = worker.status();
    let mut orders = orders();
    say(&Word::Ready)?;
    if orders.recv().await.as_deref() == Some(GO) {
        let drain = CancellationToken::new();
        let over = drain.clone();
        let working = tokio::spawn(async move { worker.run(over, CancellationToken::new()).await });
        let telling = tokio::spawn(tell(status));
        loop {
            tokio::select! {
                order = orders.recv() => match order.as_deref() {
                    Some(SPENT) => {
                        let cpu = u64::try_from(meters::own_cpu().as_micros()).unwrap_or(u64::MAX);
                        say(&Word::Spent(cpu, meters::resident_mb_max()))?;
                    }
                    _ => break,
                },
                Some((number, at_ns)) = started.recv() => say(&Word::Started(number, at_ns))?,
            }
        }
        telling.abort();
        drain.cancel();
        working.await.context("work")?.context("work")?;
    }
    rooms.close().await;
    Ok(())
}

async fn open(
    settings: &Settings,
    place: &StorePlace,
    work: &Work,
    noop: Noop,
) -> anyhow::Result<Rooms> {
    let mut settings = settings.clone();
    settings.worker.concurrency = work.concurrency;
    settings.worker.spool_dir.clone_from(&work.spool_dir);
    let clock = Clock::real();
    let store = rooms::open_store(&settings, place, Some(true), clock.clone()).await?;
    Ok(Rooms {
        limits: store.limits().await?,
        store,
        place: place.clone(),
        provider: Arc::new(noop),
        admission: Arc::new(rooms::admission(&settings, LANE_PREFIX)?),
        clock,
        settings,
        simulated: true,
        simulator: None,
    })
}

/// Tells how many jobs have ended, each time that some have.
async fn tell(status: StatusHandle) -> anyhow::Result<()> {
    loop {
        status.changed().await;
        let now = status.now();
        say(&Word::Ended(now.succeeded + now.failed + now.other_ends))?;
        tokio::time::sleep(TELL_EVERY).await;
    }
}

fn say(word: &Word) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(word)?).and_then(|()| out.flush())?;
    Ok(())
}

/// The lines of standard input. It ends where the bench does, however that ends.
fn orders() -> UnboundedReceiver<String> {
    let (tx, rx) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

/// The bench's side: processes that wait, work, or are done. Dropped, they are killed.
pub(super) struct Workers {
    children: Vec<Held>,
    heard: UnboundedReceiver<(usize, Option<Word>)>,
    ready: usize,
    /// Calls that started: their numbers, and when.
    pub(super) starts: Vec<(u64, u64)>,
}

struct Held {
    child: Child,
    orders: ChildStdin,
    ended: u64,
    spent: Option<(u64, Option<u64>)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to kill or to wait for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Workers {
    /// Starts so many and waits until all are ready.
    pub(super) async fn start(launch: &Launch, count: u32, work: &Work) -> anyhow::Result<Self> {
        let (tx, heard) = unbounded_channel();
        let mut workers = Self { children: Vec::new(), heard, ready: 0, starts: Vec::new() };
        for number in 0..count {
            let spool_dir = format!("{}/{number}", work.spool_dir);
            let work = serde_json::to_string(&Work { spool_dir, ..work.clone() })?;
            let mut child = Command::new(&launch.program)
                .args(&launch.args)
                .arg(work)
                .envs(launch.env.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("start a worker process")?;
            let (orders, said) = child.stdin.take().zip(child.stdout.take()).context("pipes")?;
            listen(workers.children.len(), said, tx.clone());
            workers.children.push(Held { child, orders, ended: 0, spent: None });
        }
        workers.until(|workers| workers.ready == workers.children.len()).await?;
        Ok(workers)
    }

    /// Lets all begin.
    pub(super) fn go(&mut self) -> anyhow::Result<()> {
        self.order(GO)
    }

    /// Waits until so many jobs have ended, in all of them.
    pub(super) async fn until_ended(&mut self, jobs: u64) -> anyhow::Result<()> {
        self.until(|workers| workers.children.iter().map(|it| it.ended).sum::<u64>() >= jobs).await
    }

    /// Waits until so many calls have started.
    pub(super) async fn until_started(&mut self, calls: usize) -> anyhow::Result<()> {
        self.until(|workers| workers.starts.len() >= calls).await
    }

    /// CPU that all have used, and the largest memory of one in MB.
    pub(super) async fn spent(&mut self) -> anyhow::Result<(Duration, Option<u64>)> {
        for held in &mut self.children {
            held.spent = None;
        }
        self.order(SPENT)?;
        self.until(|workers| workers.children.iter().all(|it| it.spent.is_some())).await?;
        let spent = || self.children.iter().filter_map(|it| it.spent);
        let cpu: u64 = spent().map(|(cpu_us, _)| cpu_us).sum();
        Ok((Duration::from_micros(cpu), spent().filter_map(|(_, mb)| mb).max()))
    }

    /// Lets all end, and waits for that.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.order(END)?;
        let ended = tokio::task::spawn_blocking(move || {
            let codes = self.children.iter_mut().map(|held| held.child.wait());
            codes.collect::<Result<Vec<_>, _>>()
        });
        let codes = tokio::time::timeout(PATIENCE, ended).await.context("end the workers")???;
        ensure!(codes.iter().all(std::process::ExitStatus::success), "end the workers: {codes:?}");
        Ok(())
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        for held in &mut self.children {
            writeln!(held.orders, "{order}").and_then(|()| held.orders.flush())?;
        }
        Ok(())
    }

    /// Listens until this holds.
    async fn until(&mut self, holds: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        while !holds(self) {
            let Ok(heard) = tokio::time::timeout(PATIENCE, self.heard.recv()).await else {
                bail!("measure: the workers have done nothing for {} s", PATIENCE.as_secs());
            };
            let Some((at, word)) = heard else { bail!("measure: no worker is left") };
            let Some(held) = self.children.get_mut(at) else { continue };
            match word {
                Some(Word::Ready) => self.ready += 1,
                Some(Word::Ended(jobs)) => held.ended = jobs,
                Some(Word::Started(number, at_ns)) => self.starts.push((number, at_ns)),
                Some(Word::Spent(cpu_us, mb)) => held.spent = Some((cpu_us, mb)),
                None => bail!("measure: a worker process ended in the middle; it said why above"),
            }
        }
        Ok(())
    }
}

/// Hands on what a worker says, and that it says no more.
fn listen(at: usize, said: std::process::ChildStdout, tx: UnboundedSender<(usize, Option<Word>)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let Ok(word) = serde_json::from_str(&line) else { break };
            if tx.send((at, Some(word))).is_err() {
                return;
            }
        }
        // Nobody listens any more where all is over.
        tx.send((at, None)).ok();
    });
}
