//! `quarrier serve`: a worker on a store, until it is stopped.
//! Must not know: where the jobs come from.

use std::process::ExitCode;

use anyhow::anyhow;

use super::rooms::{self, Rooms, WorkFlags};
use super::stop::Stop;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::simulator::Simulator;

/// Work on the store's jobs until stopped. Ctrl-C once lets calls in flight end, twice cuts them.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Flags of every command that makes calls.
    #[command(flatten)]
    pub work: WorkFlags,
}

/// Runs `quarrier serve`.
pub async fn run(args: &ServeArgs, loaded: &Loaded, clock: Clock) -> anyhow::Result<ExitCode> {
    let store = rooms::store_path(&loaded.settings.store.url)?;
    let stop = Stop::on_signals()?;
    let rooms = Rooms::open(loaded, &args.work, &store, clock).await?;
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
    let heard = stop.clone();
    let notice = tokio::spawn(async move {
        heard.drain.cancelled().await;
        tracing::info!("draining: calls in flight run to their end and no more are started");
    });
    let ended = worker.run(stop.drain, stop.now).await;
    notice.abort();
    rooms.close().await;
    ended.map_err(|error| anyhow!("failed to {error}"))?;
    Ok(ExitCode::SUCCESS)
}
