//! Message queues: settings become the adapter, and the intakes of the queues that are named.
//! Must not know: flags, or what is done with a message.

use std::sync::Arc;

use super::{Rooms, StorePlace};
use crate::config::{AckChoice, Settings, SqsIntake};
use crate::intake::{Ack, Intake, IntakeDoors, IntakeOptions};
use crate::message_queue::MessageQueue;
use crate::worker::Worker;

/// The longest wait of one request for messages: what the service allows. An idle intake asks once
/// in this time.
const WAIT_S: u32 = 20;

/// The message queues that the settings reach. Asks nothing of them yet.
#[cfg(feature = "sqs")]
pub async fn message_queue(settings: &Settings) -> anyhow::Result<Arc<dyn MessageQueue>> {
    use anyhow::Context as _;

    use crate::sqs::{Sqs, SqsOptions};

    let Settings { sqs, bedrock, .. } = settings;
    let region = if sqs.region.is_empty() { &bedrock.region } else { &sqs.region };
    let options = SqsOptions {
        region: Some(region.clone()),
        endpoint: Some(sqs.endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
        connect_timeout_ms: sqs.connect_timeout_ms,
        timeout_ms: sqs.timeout_ms,
    };
    let queue = Sqs::connect(&options).await.context("failed to use message queues")?;
    Ok(Arc::new(queue))
}

/// The message queues that the settings reach.
#[cfg(not(feature = "sqs"))]
pub async fn message_queue(_settings: &Settings) -> anyhow::Result<Arc<dyn MessageQueue>> {
    anyhow::bail!("failed to use message queues: this program was built without them (feature sqs)")
}

/// How a queue is received from, on a store that is kept there.
#[must_use]
pub fn intake_options(
    settings: &Settings,
    intake: &SqsIntake,
    place: &StorePlace,
) -> IntakeOptions {
    let sqs = &settings.sqs;
    let ack = match intake.ack.unwrap_or(sqs.ack) {
        AckChoice::OnFinished => Ack::OnFinished,
        // A file may be lost with its machine; a database is somebody's care.
        AckChoice::Auto if place.file().is_some() => Ack::OnFinished,
        AckChoice::OnStored | AckChoice::Auto => Ack::OnStored,
    };
    IntakeOptions {
        queue: intake.url.trim().to_owned(),
        ack,
        on_bad: intake.on_bad.unwrap_or(sqs.on_bad),
        visibility_s: intake.visibility_s.unwrap_or(sqs.visibility_s),
        held_max: intake.held_max.unwrap_or(sqs.held_max),
        tenant_from_group: intake.tenant_from_group.unwrap_or(sqs.tenant_from_group),
        receive_loops_max: intake.receive_loops_max.unwrap_or(sqs.receive_loops_max),
        backlog_max: sqs.backlog_max,
        wait_s: WAIT_S,
    }
}

impl Rooms {
    /// The message queues that the settings reach. Asks nothing of them yet.
    pub async fn message_queue(&self) -> anyhow::Result<Arc<dyn MessageQueue>> {
        message_queue(&self.settings).await
    }

    /// An intake for each configured queue, beside this worker.
    pub async fn intakes(&self, worker: &Worker) -> anyhow::Result<Vec<Intake>> {
        let configured = &self.settings.sqs.intake;
        if configured.is_empty() {
            return Ok(Vec::new());
        }
        if self.simulated {
            tracing::warn!("messages of these queues get simulated answers");
        }
        let woken = worker.clone();
        let doors = IntakeDoors {
            jobs: self.store(),
            messages: self.store(),
            queue: self.message_queue().await?,
            admission: Arc::clone(&self.admission),
            admitted: Arc::new(move || woken.admitted()),
        };
        let intake = |intake: &SqsIntake| {
            let options = intake_options(&self.settings, intake, &self.place);
            Intake::new(doors.clone(), self.clock.clone(), options)
        };
        Ok(configured.iter().map(intake).collect())
    }
}
