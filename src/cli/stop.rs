//! Stop signals: the first asks for a drain, the second stops now.
//! Must not know: what is stopped.

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

/// What a person has asked for by signals.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Start nothing more, finish what is in flight.
    pub drain: CancellationToken,
    /// Stop now.
    pub now: CancellationToken,
}

impl Stop {
    /// Listens for Ctrl-C and, where there is one, the termination signal.
    pub fn on_signals() -> anyhow::Result<Self> {
        let stop = Self::default();
        let heard = stop.clone();
        let mut signals = Signals::listen().context("failed to listen for stop signals")?;
        tokio::spawn(async move {
            signals.next().await;
            heard.drain.cancel();
            signals.next().await;
            heard.now.cancel();
        });
        Ok(stop)
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
