//! `quarrier serve`: a worker on a store, and the intakes of its message queues, until it is stopped.
//! Must not know: what a job or a message says.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::notify::Notify;
use super::rooms::{self, QueueFlags, Rooms, WorkFlags};
use super::stop::Stop;
use crate::clock::Clock;
use crate::config::{Loaded, Override};
use crate::http::{Beside, Door, Looked};
use crate::intake::Intake;
use crate::relay::Relay;
use crate::simulator::Simulator;
use crate::worker::Worker;

/// How long it waits for the store's server when it starts: services start in any order. A supervisor
/// that starts it anew gives it as long again.
const STORE_WAIT: Duration = Duration::from_mins(1);

/// How long the intakes may take to delete what may go when everything else has ended.
const LAST_DELETES: Duration = Duration::from_secs(15);

/// How long the relay may take to send the last results, before that.
const LAST_SENDS: Duration = Duration::from_secs(10);

/// Work on the store's jobs until stopped. The first SIGTERM or Ctrl-C lets calls in flight end for
/// at most `worker.drain_soft_s`, the second cuts them. Exit codes: 0 it was stopped and drained, 1
/// a second signal cut its calls, 2 it could not begin.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Flags of every command that makes calls.
    #[command(flatten)]
    pub work: WorkFlags,
    /// Flags that name its queues.
    #[command(flatten)]
    pub queues: QueueFlags,
}

impl ServeArgs {
    /// The settings that its flags set, weakest first.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let mut given = self.work.overrides();
        given.extend(self.queues.overrides());
        given
    }
}

/// Runs `quarrier serve`; `notify` is the line to the supervisor.
pub(super) async fn run(
    args: &ServeArgs,
    loaded: &Loaded,
    clock: Clock,
    notify: Notify,
) -> anyhow::Result<ExitCode> {
    let store = rooms::store_path(&loaded.settings.store.url)?;
    let stop = Stop::on_signals()?;
    // A port that is taken is known before any work begins.
    let door = open_door(loaded).await?;
    let opened = tokio::select! {
        opened = async {
            store.wait_for(&loaded.settings, &clock, STORE_WAIT).await?;
            Rooms::open(loaded, &args.work, &store, clock).await
        } => opened,
        // Nothing has begun that a drain would wait for.
        () = stop.drain.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let rooms = opened?;
    if let Some(url) = rooms.simulator.as_ref().map(Simulator::endpoint_url) {
        super::print(&format!("Bedrock simulation on {url}: answers are made up.\n"))?;
    }
    tracing::info!(
        store.place = %store,
        worker.concurrency = rooms.settings.worker.concurrency,
        simulated = rooms.simulated,
        "serving"
    );
    let worker = rooms.worker(None, None);
    let intakes = rooms.intakes(&worker).await?;
    let relay = rooms.relay().await?;
    let beside = beside(&intakes, relay.as_ref());
    let done = CancellationToken::new();
    let told = done.clone().drop_guard();
    if let Some(door) = door {
        tokio::spawn(door.answer(worker.clone(), beside.clone(), done.clone()));
    }
    let (over, replied) = (CancellationToken::new(), CancellationToken::new());
    let sending = relay.clone().map(|relay| send(relay, &worker, over.clone()));
    let receiving = receive(intakes, &worker, &stop.drain, &replied);
    let notify = Arc::new(notify);
    tokio::spawn(tell(Arc::clone(&notify), worker.clone(), beside.alive.clone(), done));
    let heard = stop.clone();
    let notice = tokio::spawn(async move {
        heard.drain.cancelled().await;
        notify.say("STOPPING=1");
        tracing::info!("draining: calls in flight run to their end and no more are started");
    });
    let ended = worker.run(stop.drain, stop.now.clone()).await;
    over.cancel();
    if let (Some(relay), Some(sending)) = (relay, sending)
        && !relay.finish(sending, LAST_SENDS, &stop.now).await
    {
        tracing::warn!("results were not sent in time; they are sent when a process serves again");
    }
    // A held message may go once its reply was sent.
    replied.cancel();
    let last = receiving.join_all();
    if tokio::time::timeout(LAST_DELETES, last).await.is_err() {
        tracing::warn!("messages that may go were not deleted in time; they are delivered again");
    }
    notice.abort();
    drop(told);
    rooms.close().await;
    ended.map_err(|error| anyhow!("failed to {error}"))?;
    Ok(if stop.now.is_cancelled() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Starts the intakes as soon as the worker has begun. They end when its last job is replied.
fn receive(
    intakes: Vec<Intake>,
    worker: &Worker,
    drain: &CancellationToken,
    replied: &CancellationToken,
) -> JoinSet<()> {
    let mut receiving = JoinSet::new();
    for intake in intakes {
        let (worker, drain, replied) = (worker.clone(), drain.clone(), replied.clone());
        receiving.spawn(async move {
            tokio::select! {
                () = replied.cancelled() => {}
                () = worker.started() => intake.run(drain, replied.clone()).await,
            }
        });
    }
    receiving
}

/// What else makes the process ready, and alive, than its worker.
fn beside(intakes: &[Intake], relay: Option<&Relay>) -> Beside {
    let (intakes, relay) = (intakes.to_vec(), relay.cloned());
    Beside {
        ready: Arc::new(move || intakes.iter().map(Intake::ready).collect()),
        alive: Arc::new(move || relay.iter().map(Relay::alive).collect()),
    }
}

/// Starts the relay; it looks at once when the worker has ended a job, and ends once that has worked.
fn send(relay: Relay, worker: &Worker, over: CancellationToken) -> JoinHandle<()> {
    let status = worker.status();
    tokio::spawn(async move {
        let wakes = async {
            loop {
                status.changed().await;
                relay.wake();
            }
        };
        tokio::select! {
            () = relay.run(over) => {}
            () = wakes => {}
        }
    })
}

async fn open_door(loaded: &Loaded) -> anyhow::Result<Option<Door>> {
    let Some(listen) = loaded.settings.http.address() else { return Ok(None) };
    let failed = || format!("failed to listen on {listen} (http.listen)");
    let door = Door::open(listen).await.with_context(failed)?;
    let address = door.address().with_context(failed)?;
    tracing::info!(http.listen = %address, "listening on {address}; /healthz and /readyz answer once the store is there");
    Ok(Some(door))
}

/// Tells the supervisor that work has begun, and then, for as long as every loop comes round,
/// that the process is alive: what `/healthz` says. A supervisor that hears nothing starts it anew.
async fn tell(notify: Arc<Notify>, worker: Worker, others: Looked, done: CancellationToken) {
    let work = async {
        worker.started().await;
        notify.say("READY=1");
        let Some(period) = notify.watchdog_period() else { return };
        loop {
            if worker.alive().iter().chain(&others()).all(|check| check.ok) {
                notify.say("WATCHDOG=1");
            }
            tokio::time::sleep(period).await;
        }
    };
    tokio::select! {
        () = done.cancelled() => {}
        () = work => {}
    }
}
