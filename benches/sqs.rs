//! How fast messages come out of a queue: a bare loop over the SDK (receive ten, delete them), which
//! is what the service and this machine allow; the same loop over `sqs::Sqs`; and the intake, which
//! makes a job of each message and stores it before it deletes the message.
//! Knows nothing of what is done with the jobs.
//!
//! `cargo bench --bench sqs -- --endpoint URL [--messages N] [--loops N] [--rounds N]
//! [--only sdk|adapter|intake|idle] [--store postgres://...] [--queue NAME] [--keep]`
//!
//! It makes the queue where it is missing, fills it, and prints one JSON line a run: messages per
//! second and this process's CPU per 1,000 messages; at the end a line of ratios of the medians to
//! the bare loop's. `--keep` only fills, for another program to drain. `--only idle` counts what an
//! intake asks of an empty queue.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use clap::Parser;
use quarrier::clock::Clock;
use quarrier::config::{self, LoadArgs, Settings, SqsIntake};
use quarrier::intake::{Ack, Intake, IntakeDoors, IntakeOptions};
use quarrier::message_queue::{
    MessageQueue, Outgoing, QueueFacts, QueueResult, ReceiveAsk, Received,
};
use quarrier::rooms::{self, StorePlace};
use quarrier::sqs::{Sqs, SqsOptions};
use quarrier::store::Store;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a request waits for a first message while a full queue is drained, in seconds.
const WAIT_S: u32 = 1;
/// How often it is looked whether the intake has done all. A hundredth of the shortest run.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A run that takes longer has lost messages.
const RUN_MAX: Duration = Duration::from_mins(10);

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
    /// How often each is run, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Run one of them alone.
    #[arg(long)]
    only: Option<Way>,
    /// Where the intake stores: a Postgres database that nobody uses. A temporary file where absent.
    #[arg(long)]
    store: Option<String>,
    /// For how long an empty queue is watched.
    #[arg(long, default_value_t = 45)]
    idle_seconds: u64,
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
    /// The intake, into a store.
    Intake,
    /// The intake, with nothing to do.
    Idle,
}

/// What the runs share.
struct Ground {
    options: Options,
    client: Client,
    sqs: Arc<Sqs>,
    settings: Settings,
    url: String,
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
struct Ran {
    way: Way,
    messages_per_s: f64,
    cpu_ms_per_1000: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let ground = Ground::take(Options::parse()).await?;
    let options = &ground.options;
    if options.keep {
        return ground.fill().await;
    }
    if options.only == Some(Way::Idle) {
        return ground.idle().await;
    }
    let mut all = Vec::new();
    for _ in 0..options.rounds {
        for way in [Way::Sdk, Way::Adapter, Way::Intake] {
            if options.only.is_none_or(|only| only == way) {
                ground.fill().await?;
                all.push(ground.run(way).await?);
            }
        }
    }
    if options.only.is_none() { ratios(&all, options) } else { Ok(()) }
}

impl Ground {
    async fn take(options: Options) -> anyhow::Result<Self> {
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
        // An empty folder: nobody's own settings come in.
        let folder = tempfile::tempdir()?;
        let args = LoadArgs { dir: folder.path().to_owned(), ..LoadArgs::default() };
        Ok(Self { settings: config::load(&args)?.settings, options, client, sqs, url })
    }

    /// Puts as many messages into the queue, each as large as a usual job document. Their ids were
    /// never used before.
    async fn fill(&self) -> anyhow::Result<()> {
        let prompt =
            "Summarise the certificate of one building in a sentence for its owner. ".repeat(4);
        let filling = Uuid::now_v7().simple();
        let message = |number: u64| Outgoing {
            body: json!({ "id": format!("{filling}-{number}"), "prompt": prompt }).to_string(),
            attributes: std::collections::BTreeMap::new(),
            group: None,
            deduplication: None,
            trace: None,
        };
        let messages: Vec<Outgoing> = (0..self.options.messages).map(message).collect();
        for sent in self.sqs.send(&self.url, &messages).await {
            sent?;
        }
        Ok(())
    }

    async fn run(&self, way: Way) -> anyhow::Result<Ran> {
        let ran = match way {
            Way::Sdk | Way::Adapter => self.loops(way).await?,
            Way::Intake | Way::Idle => self.intake().await?,
        };
        let Options { loops, messages, .. } = &self.options;
        let line = json!({
            "way": format!("{way:?}"), "loops": loops, "messages": messages,
            "messages_per_s": ran.messages_per_s.round(),
            "cpu_ms_per_1000": ran.cpu_ms_per_1000.round(),
        });
        writeln!(std::io::stdout(), "{line}")?;
        Ok(ran)
    }

    fn ran(&self, way: Way, began: Instant, cpu_began: f64) -> anyhow::Result<Ran> {
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_began);
        let thousands = f64::from(u32::try_from(self.options.messages)?) / 1_000.0;
        let messages_per_s = 1_000.0 * thousands / seconds;
        Ok(Ran { way, messages_per_s, cpu_ms_per_1000: 1_000.0 * cpu / thousands })
    }

    async fn loops(&self, way: Way) -> anyhow::Result<Ran> {
        let left = Arc::new(AtomicU64::new(self.options.messages));
        let (began, cpu_began) = (Instant::now(), cpu_seconds());
        let mut loops = JoinSet::new();
        for _ in 0..self.options.loops {
            let (left, url) = (Arc::clone(&left), self.url.clone());
            let (client, sqs) = (self.client.clone(), Arc::clone(&self.sqs));
            loops.spawn(async move {
                while left.load(Ordering::Relaxed) > 0 {
                    let done = match way {
                        Way::Sdk => bare(&client, &url).await?,
                        _ => ours(&sqs, &url).await?,
                    };
                    left.fetch_sub(done.min(left.load(Ordering::Relaxed)), Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = loops.join_next().await {
            ended??;
        }
        self.ran(way, began, cpu_began)
    }

    /// From the intake's beginning, its look-up of the queue included, to the last deletion.
    async fn intake(&self) -> anyhow::Result<Ran> {
        let folder = tempfile::tempdir()?;
        let store = self.open(folder.path()).await?;
        let queue = Arc::clone(&self.sqs);
        let options = IntakeOptions { wait_s: WAIT_S, ..self.intake_options(&self.url) };
        let intake = self.make(&store, queue, options)?;
        let (began, cpu_began) = (Instant::now(), cpu_seconds());
        let working = Working::start(&intake);
        while intake.counts().deleted < self.options.messages {
            ensure!(began.elapsed() < RUN_MAX, "messages were lost: {:?}", intake.counts());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let ran = self.ran(Way::Intake, began, cpu_began)?;
        working.end().await?;
        let counts = intake.counts();
        let all = counts.admitted == self.options.messages && counts.rejected == 0;
        ensure!(all, "not all became jobs: {counts:?}");
        store.close().await;
        // A request that was given up goes on at the service; it must not take from the next run.
        tokio::time::sleep(Duration::from_secs(u64::from(WAIT_S) + 1)).await;
        Ok(ran)
    }

    /// What an intake asks of a queue in which nothing is.
    async fn idle(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let store = self.open(folder.path()).await?;
        // A queue of its own: what others have left must not come.
        let name = format!("{}-idle-{}", self.options.queue, Uuid::now_v7().simple());
        let made = self.client.create_queue().queue_name(name).send().await?;
        let url = made.queue_url.context("the queue has no URL")?;
        let counted = Arc::new(Counted::over(Arc::clone(&self.sqs)));
        let queue = Arc::clone(&counted);
        let intake = self.make(&store, queue, self.intake_options(&url))?;
        let (began, cpu_began) = (Instant::now(), cpu_seconds());
        let working = Working::start(&intake);
        tokio::time::sleep(Duration::from_secs(self.options.idle_seconds)).await;
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_began);
        let (receives, others) = counted.so_far();
        working.end().await?;
        store.close().await;
        self.client.delete_queue().queue_url(&url).send().await?;
        let line = json!({
            "way": "Idle", "loops": self.options.loops, "seconds": seconds.round(),
            "receives_begun": receives, "other_requests": others,
            "receives_allowed": self.options.idle_seconds / 20 + 1,
            "cpu_percent": (10_000.0 * cpu / seconds).round() / 100.0,
        });
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    }

    async fn open(&self, folder: &std::path::Path) -> anyhow::Result<Arc<dyn Store>> {
        let place = match &self.options.store {
            Some(url) => rooms::store_path(url)?,
            None => StorePlace::File(folder.join("bench.db")),
        };
        place.migrate(&self.settings).await?;
        rooms::open_store(&self.settings, &place, Some(true), Clock::real()).await
    }

    /// As configured by default, but for what the other ways do, too.
    fn intake_options(&self, url: &str) -> IntakeOptions {
        let place = StorePlace::Postgres(String::new());
        let options = rooms::intake_options(&self.settings, &SqsIntake::of(url), &place);
        let receive_loops_max = self.options.loops;
        IntakeOptions { ack: Ack::OnStored, receive_loops_max, backlog_max: u32::MAX, ..options }
    }

    fn make(
        &self,
        store: &Arc<dyn Store>,
        queue: Arc<dyn MessageQueue>,
        options: IntakeOptions,
    ) -> anyhow::Result<Intake> {
        let (jobs, messages) = (Arc::clone(store), Arc::clone(store));
        let doors = IntakeDoors {
            jobs,
            messages,
            queue,
            admission: Arc::new(rooms::admission(&self.settings, "bench")?),
            admitted: Arc::new(|| {}),
        };
        Ok(Intake::new(doors, Clock::real(), options))
    }
}

/// An intake at work.
struct Working {
    over: CancellationToken,
    work: JoinHandle<()>,
}

impl Working {
    fn start(intake: &Intake) -> Self {
        let over = CancellationToken::new();
        let work = tokio::spawn({
            let (intake, over) = (intake.clone(), over.clone());
            async move { intake.run(over.clone(), over).await }
        });
        Self { over, work }
    }

    async fn end(self) -> anyhow::Result<()> {
        self.over.cancel();
        self.work.await?;
        Ok(())
    }
}

/// Counts the requests that go through it.
struct Counted {
    inner: Arc<Sqs>,
    receives: AtomicU64,
    others: AtomicU64,
}

impl Counted {
    fn over(inner: Arc<Sqs>) -> Self {
        Self { inner, receives: AtomicU64::new(0), others: AtomicU64::new(0) }
    }

    /// Receives, and everything else.
    fn so_far(&self) -> (u64, u64) {
        (self.receives.load(Ordering::Relaxed), self.others.load(Ordering::Relaxed))
    }

    fn other(&self) -> &Sqs {
        self.others.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

#[async_trait]
impl MessageQueue for Counted {
    async fn url(&self, name: &str) -> QueueResult<String> {
        self.inner.url(name).await
    }

    async fn facts(&self, url: &str) -> QueueResult<QueueFacts> {
        self.other().facts(url).await
    }

    async fn receive(&self, ask: &ReceiveAsk) -> QueueResult<Vec<Received>> {
        self.receives.fetch_add(1, Ordering::Relaxed);
        self.inner.receive(ask).await
    }

    async fn delete(&self, url: &str, receipts: &[String]) -> Vec<QueueResult<()>> {
        self.other().delete(url, receipts).await
    }

    async fn hide(&self, url: &str, receipts: &[String], seconds: u32) -> Vec<QueueResult<()>> {
        self.other().hide(url, receipts, seconds).await
    }

    async fn send(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>> {
        self.other().send(url, messages).await
    }
}

/// The last line: each way's median to that of the bare loop.
fn ratios(all: &[Ran], options: &Options) -> anyhow::Result<()> {
    let of = |way: Way, figure: fn(&Ran) -> f64| {
        let mut figures: Vec<f64> = all.iter().filter(|ran| ran.way == way).map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    let ratio = |way: Way, figure: fn(&Ran) -> f64| {
        (100.0 * of(way, figure) / of(Way::Sdk, figure)).round() / 100.0
    };
    let (speed, cpu) = (|ran: &Ran| ran.messages_per_s, |ran: &Ran| ran.cpu_ms_per_1000);
    let line = json!({
        "way": "Ratio", "loops": options.loops, "messages": options.messages,
        "adapter_to_sdk": ratio(Way::Adapter, speed), "intake_to_sdk": ratio(Way::Intake, speed),
        "adapter_cpu_to_sdk": ratio(Way::Adapter, cpu), "intake_cpu_to_sdk": ratio(Way::Intake, cpu),
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
