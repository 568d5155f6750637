//! How fast messages come out of a queue: a bare loop over the SDK (receive ten, delete them), which
//! is what the service and this machine allow, and the same loop over `sqs::Sqs`. Knows nothing of
//! jobs or stores.
//!
//! `cargo bench --bench sqs -- --endpoint URL [--messages N] [--loops N] [--rounds N]
//! [--only sdk|adapter] [--queue NAME] [--keep]`
//!
//! It makes the queue where it is missing, fills it, and prints one JSON line a run: messages per
//! second and this process's CPU per 1,000 messages. `--keep` only fills, for another program to
//! drain.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use clap::Parser;
use quarrier::message_queue::{MessageQueue as _, Outgoing, ReceiveAsk};
use quarrier::sqs::{Sqs, SqsOptions};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Where SQS, or what plays it, is.
    #[arg(long)]
    endpoint: String,
    /// Messages a run.
    #[arg(long, default_value_t = 2_000)]
    messages: u64,
    /// Loops that receive at the same time.
    #[arg(long, default_value_t = 1)]
    loops: u32,
    /// How often both are run, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Run one of the two alone.
    #[arg(long)]
    only: Option<Way>,
    /// The queue's name.
    #[arg(long, default_value = "bench")]
    queue: String,
    /// Fill the queue and end.
    #[arg(long)]
    keep: bool,
    /// Cargo passes this to every bench.
    #[arg(long)]
    bench: bool,
}

/// Who drains the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// The bare SDK.
    Sdk,
    /// `sqs::Sqs`.
    Adapter,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let keys = Credentials::new("bench", "bench", None, None, "bench");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .endpoint_url(&options.endpoint)
        .build();
    let config = aws_sdk_sqs::config::Builder::from(&sdk).retry_config(RetryConfig::disabled());
    let client = Client::from_conf(config.build());
    let made = client.create_queue().queue_name(&options.queue).send().await?;
    let url = made.queue_url.context("the queue has no URL")?;
    let sqs = Arc::new(Sqs::with_sdk_config(&sdk, &SqsOptions::default())?);
    if options.keep {
        return fill(&sqs, &url, options.messages).await;
    }
    for _ in 0..options.rounds {
        for way in [Way::Sdk, Way::Adapter] {
            if options.only.is_none_or(|only| only == way) {
                fill(&sqs, &url, options.messages).await?;
                run(&options, way, &client, &sqs, &url).await?;
            }
        }
    }
    Ok(())
}

/// Puts as many messages into the queue, each as large as a usual job document.
async fn fill(sqs: &Sqs, url: &str, messages: u64) -> anyhow::Result<()> {
    let prompt =
        "Summarise the certificate of one building in a sentence for its owner. ".repeat(4);
    let message = |number: u64| Outgoing {
        body: json!({ "v": 1, "id": format!("bench-{number}"), "prompt": prompt }).to_string(),
        attributes: std::collections::BTreeMap::new(),
        group: None,
        deduplication: None,
        trace: None,
    };
    let messages: Vec<Outgoing> = (0..messages).map(message).collect();
    for sent in sqs.send(url, &messages).await {
        sent?;
    }
    Ok(())
}

async fn run(
    options: &Options,
    way: Way,
    client: &Client,
    sqs: &Arc<Sqs>,
    url: &str,
) -> anyhow::Result<()> {
    let left = Arc::new(AtomicU64::new(options.messages));
    let (began, cpu_began) = (Instant::now(), cpu_seconds());
    let mut loops = JoinSet::new();
    for _ in 0..options.loops {
        let (left, url) = (Arc::clone(&left), url.to_owned());
        let (client, sqs) = (client.clone(), Arc::clone(sqs));
        loops.spawn(async move {
            while left.load(Ordering::Relaxed) > 0 {
                let done = match way {
                    Way::Sdk => bare(&client, &url).await?,
                    Way::Adapter => ours(&sqs, &url).await?,
                };
                left.fetch_sub(done.min(left.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_began);
    let thousands = f64::from(u32::try_from(options.messages)?) / 1_000.0;
    let line = json!({
        "way": format!("{way:?}"), "loops": options.loops, "messages": options.messages,
        "messages_per_s": (1_000.0 * thousands / seconds).round(),
        "cpu_ms_per_1000": (1_000.0 * cpu / thousands).round(),
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// The least that any program does for ten messages.
async fn bare(client: &Client, url: &str) -> anyhow::Result<u64> {
    let ask = client.receive_message().queue_url(url).max_number_of_messages(10);
    let received = ask.wait_time_seconds(1).visibility_timeout(120).send().await?;
    let mut request = client.delete_message_batch().queue_url(url);
    for (at, message) in received.messages().iter().enumerate() {
        let receipt = message.receipt_handle().unwrap_or_default();
        let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
        request = request.entries(entry.receipt_handle(receipt).build()?);
    }
    let count = received.messages().len();
    if count > 0 && !request.send().await?.failed().is_empty() {
        bail!("not all were deleted");
    }
    Ok(u64::try_from(count)?)
}

async fn ours(sqs: &Sqs, url: &str) -> anyhow::Result<u64> {
    let ask = ReceiveAsk { url: url.to_owned(), messages_max: 10, wait_s: 1, visibility_s: 120 };
    let received = sqs.receive(&ask).await?;
    let receipts: Vec<String> = received.into_iter().map(|message| message.receipt).collect();
    for deleted in sqs.delete(url, &receipts).await {
        deleted?;
    }
    Ok(u64::try_from(receipts.len())?)
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(used).map_or(0.0, |used| used.as_secs_f64())
}
