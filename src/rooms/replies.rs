//! Replies: settings become the relay that sends results, and the bucket for large ones.
//! Must not know: flags, or what a result says.

use std::sync::Arc;

use super::Rooms;
use crate::admit::ReplyAllow;
use crate::config::Settings;
use crate::message_queue::LargeBodies;
use crate::relay::{Relay, RelayOptions};

impl Rooms {
    /// The relay. None where no queue is allowed: results that wait in the store belong to processes
    /// that may send them.
    pub async fn relay(&self) -> anyhow::Result<Option<Relay>> {
        if self.settings.sqs.reply_allow.is_empty() {
            return Ok(None);
        }
        if self.simulated {
            tracing::warn!("the queues that jobs name in reply_to get simulated results");
        }
        let (store, queues) = (self.store(), Box::pin(self.message_queue()).await?);
        let bodies = Box::pin(large_bodies(&self.settings)).await?;
        let options = relay_options(&self.settings, self.simulated);
        Ok(Some(Relay::new(store, queues, bodies, self.clock.clone(), options)))
    }
}

fn relay_options(settings: &Settings, simulated: bool) -> RelayOptions {
    let Settings { relay, sqs, .. } = settings;
    let many = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    RelayOptions {
        allow: ReplyAllow::new(sqs.reply_allow.clone()),
        bucket_prefix: sqs.bucket_prefix.clone(),
        simulated,
        poll_ms: relay.poll_ms,
        rows_max: relay.rows_max,
        bytes_max: relay.bytes_max,
        hold_ms: relay.hold_ms,
        targets_max: many(relay.targets_max),
        batches_max: many(relay.batches_max),
        retry_ms_base: relay.retry_ms_base,
        retry_ms_max: relay.retry_ms_max,
        absent_ms_base: relay.absent_ms_base,
        absent_ms_max: relay.absent_ms_max,
        tries_max: relay.tries_max,
        age_ms_max: relay.age_s_max.saturating_mul(1_000),
        facts_ms: relay.facts_s.saturating_mul(1_000),
        stuck_ms_max: settings.worker.stuck_ms_max,
    }
}

/// Where results go that no message holds; none where no bucket is named.
#[cfg(feature = "s3")]
async fn large_bodies(settings: &Settings) -> anyhow::Result<Option<Arc<dyn LargeBodies>>> {
    use anyhow::Context as _;

    use crate::sqs::SqsOptions;
    use crate::sqs::s3::S3Bodies;

    let Settings { sqs, bedrock, .. } = settings;
    if sqs.bucket.is_empty() {
        return Ok(None);
    }
    let region = if sqs.region.is_empty() { &bedrock.region } else { &sqs.region };
    let options = SqsOptions {
        region: Some(region.clone()),
        // `sqs.endpoint` is the queues'; a bucket elsewhere is named by AWS_ENDPOINT_URL_S3.
        endpoint: None,
        connect_timeout_ms: sqs.connect_timeout_ms,
        timeout_ms: sqs.timeout_ms,
    };
    let bodies = S3Bodies::connect(&options, &sqs.bucket).await;
    Ok(Some(Arc::new(bodies.context("failed to use the bucket sqs.bucket")?)))
}

/// Where results go that no message holds; none where no bucket is named.
#[cfg(not(feature = "s3"))]
async fn large_bodies(settings: &Settings) -> anyhow::Result<Option<Arc<dyn LargeBodies>>> {
    anyhow::ensure!(
        settings.sqs.bucket.is_empty(),
        "failed to use the bucket sqs.bucket: this program was built without buckets (feature s3); \
         build it with them, or leave the setting out: a notice is sent then"
    );
    Ok(None)
}
