//! The results of a run that are also sent to queues: while it runs, and before it ends.
//! Must not know: how a result is sent.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cli::rooms::Rooms;
use crate::cli::stop::Stop;
use crate::relay::Relay;

/// The relay of a run, where the configuration allows replies. Dropped, it ends.
pub(super) struct Replies {
    sending: Option<Sending>,
    drain: Duration,
}

struct Sending {
    relay: Relay,
    work: JoinHandle<()>,
    worked: DropGuard,
}

impl Replies {
    pub(super) async fn begin(rooms: &Rooms) -> anyhow::Result<Self> {
        let sending = rooms.relay().await?.map(|relay| {
            let worked = CancellationToken::new();
            let (sends, until) = (relay.clone(), worked.clone());
            let work = tokio::spawn(async move { sends.run(until).await });
            Sending { relay, work, worked: worked.drop_guard() }
        });
        Ok(Self { sending, drain: Duration::from_secs(rooms.settings.relay.drain_s) })
    }

    /// Sends what is due for `relay.drain_s` at most, or until a person stops it; returns how many
    /// results wait after that.
    pub(super) async fn end(self, stop: &Stop) -> usize {
        let Some(Sending { relay, work, worked }) = self.sending else { return 0 };
        drop(worked);
        if !relay.finish(work, self.drain, &stop.now).await {
            tracing::debug!("results are left to send");
        }
        relay.waiting().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "results that wait to be sent are not counted");
            0
        })
    }
}
