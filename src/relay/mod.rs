//! Room 7, the relay: takes results that are due from the store, sends them to the queues that their
//! jobs name, and notes what became of each.
//! Must not know: which queue service or which store it has, how a job came to its end.
//!
//! One loop takes, and starts one `send` a queue; `target` knows which queues are left alone, `decide`
//! what follows a failure, `message` what is sent. Everything may happen twice: what was sent and not
//! noted, because the process died in between, is sent again.

mod decide;
mod desk;
mod health;
mod message;
mod options;
mod send;
mod target;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::desk::{Desk, Until};
use self::health::Shared;
use self::send::Sender;
use crate::clock::Clock;
use crate::message_queue::{LargeBodies, MessageQueue};
use crate::store::{DeliverStore, DeliveryFilter, DeliveryState, StoreResult};

pub use options::RelayOptions;

/// The most waiting results that are counted for a person.
const WAITING_MAX: u32 = 1_000;

/// Sends results.
#[derive(Clone)]
pub struct Relay {
    store: Arc<dyn DeliverStore>,
    sender: Arc<Sender>,
    shared: Arc<Shared>,
    wake: Arc<Notify>,
}

impl Relay {
    /// A relay that has not begun. Without a place for large bodies a notice is sent in their stead.
    #[must_use]
    pub fn new(
        store: Arc<dyn DeliverStore>,
        queues: Arc<dyn MessageQueue>,
        bodies: Option<Arc<dyn LargeBodies>>,
        clock: Clock,
        options: RelayOptions,
    ) -> Self {
        let sender = Arc::new(Sender { queues, bodies, clock, options });
        Self { store, sender, shared: Arc::default(), wake: Arc::default() }
    }

    /// Sends what is due, again and again, until `drain` is cancelled; what is on its way then is
    /// still sent and noted.
    pub async fn run(&self, drain: CancellationToken) {
        let going = self.shared.pulse.begin(self.sender.clock.now().mono_ms);
        let hold = Duration::from_millis(self.sender.options.hold_ms);
        let overdue = async {
            drain.cancelled().await;
            tokio::time::sleep(hold).await;
        };
        tokio::select! {
            () = Desk::new(self).work(Until::Drained(drain.clone())) => {}
            // What is on its way longer than that is another's by now.
            () = overdue => tracing::warn!("results were left on their way; they are sent again"),
        }
        drop(going);
    }

    /// Sends what is due until nothing more is, or so long has passed.
    pub async fn flush(&self, within: Duration) {
        // What was taken and not noted by then is sent again by another.
        let sending = Desk::new(self).work(Until::Idle);
        if tokio::time::timeout(within, sending).await.is_err() {
            tracing::debug!("results are left to send");
        }
    }

    /// Waits for its loop, which is to end, and sends the last results, until `stop` at most; false
    /// where that took longer than `within`.
    pub async fn finish(
        &self,
        work: JoinHandle<()>,
        within: Duration,
        stop: &CancellationToken,
    ) -> bool {
        let last = async {
            if let Err(error) = work.await {
                tracing::error!(%error, "the relay broke");
            }
            self.flush(within).await;
        };
        tokio::select! {
            () = stop.cancelled() => true,
            ended = tokio::time::timeout(within, last) => ended.is_ok(),
        }
    }

    /// Tells it that jobs have ended, so that it need not wait for its next look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How many results wait to be sent; of more than a thousand only so many.
    pub async fn waiting(&self) -> StoreResult<usize> {
        let filter = DeliveryFilter {
            state: Some(DeliveryState::Due),
            rows_max: WAITING_MAX,
            ..DeliveryFilter::default()
        };
        Ok(self.store.deliveries(&filter).await?.len())
    }
}
