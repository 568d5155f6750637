//! Queues of the SQS that `scripts/test` has started, and stores on both engines.
//! Must not know: what the tests are about.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use quarrier::clock::Clock;
use quarrier::intake::{Ack, Intake, IntakeDoors, IntakeOptions};
use quarrier::message_queue::{MessageQueue as _, Outgoing};
use quarrier::sqs::{Sqs, SqsOptions};
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{JobFilter, JobRow, Store};
use tempfile::TempDir;
use uuid::Uuid;

use crate::bed::{self, Running};
use crate::cluster::Database;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

enum Holder {
    Sqlite(TempDir),
    Postgres(Database),
}

/// A queue, its dead-letter queue, and a store.
pub(crate) struct World {
    pub(crate) queue: Arc<Sqs>,
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) dead_url: String,
    pub(crate) store: Arc<dyn Store>,
    holder: Holder,
}

pub(crate) fn emulator() -> String {
    let found = std::env::var_os("TEST_SQS_URL").and_then(|url| url.into_string().ok());
    found.unwrap_or_else(|| {
        panic!("TEST_SQS_URL names no SQS; run the tests by scripts/test, which starts one")
    })
}

fn sdk() -> SdkConfig {
    let keys = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build()
}

impl World {
    pub(crate) async fn new(engine: Engine, fifo: bool) -> Self {
        let endpoint = emulator();
        let options = SqsOptions {
            endpoint: Some(endpoint.clone()),
            timeout_ms: 60_000,
            ..SqsOptions::default()
        };
        let queue = Arc::new(Sqs::with_sdk_config(&sdk(), &options).unwrap());
        let config = aws_sdk_sqs::config::Builder::from(&sdk()).endpoint_url(&endpoint).build();
        let client = Client::from_conf(config);
        let ending = if fifo { ".fifo" } else { "" };
        let name = format!("test-{}", Uuid::now_v7().simple());
        let dead_url = make(&client, &format!("{name}-dead{ending}"), fifo, None).await;
        let dead_arn = queue.facts(&dead_url).await.unwrap().arn;
        let url = make(&client, &format!("{name}{ending}"), fifo, Some(&dead_arn)).await;
        let holder = match engine {
            Engine::Sqlite => Holder::Sqlite(tempfile::tempdir().unwrap()),
            Engine::Postgres => Holder::Postgres(Database::with_store().await),
        };
        let store = open(&holder).await;
        Self { queue, client, url, dead_url, store, holder }
    }

    /// Where the store is.
    pub(crate) fn location(&self) -> String {
        match &self.holder {
            Holder::Sqlite(dir) => dir.path().join("store").display().to_string(),
            Holder::Postgres(database) => database.url(),
        }
    }

    /// How many jobs have ended.
    pub(crate) async fn ended(&self) -> usize {
        self.jobs().await.iter().filter(|job| job.state.is_terminal()).count()
    }

    /// The same as another process has it.
    pub(crate) async fn another_store(&self) -> Arc<dyn Store> {
        open(&self.holder).await
    }

    pub(crate) fn options(&self, ack: Ack) -> IntakeOptions {
        IntakeOptions { ack, ..bed::options(&self.url) }
    }

    pub(crate) fn start(&self, options: IntakeOptions) -> Running {
        self.start_on(&self.store, options)
    }

    pub(crate) fn start_on(&self, store: &Arc<dyn Store>, options: IntakeOptions) -> Running {
        let doors = IntakeDoors {
            jobs: Arc::clone(store) as _,
            messages: Arc::clone(store) as _,
            queue: Arc::clone(&self.queue) as _,
            admission: Arc::new(bed::admission()),
            admitted: Arc::new(|| {}),
        };
        Running::start(Intake::new(doors, Clock::real(), options))
    }

    pub(crate) async fn send(&self, messages: &[Outgoing]) {
        for sent in self.queue.send(&self.url, messages).await {
            sent.unwrap();
        }
    }

    pub(crate) async fn jobs(&self) -> Vec<JobRow> {
        let filter = JobFilter { rows_max: 10_000, ..JobFilter::default() };
        self.store.jobs(&filter).await.unwrap()
    }

    /// Messages that wait, and that are received and not deleted.
    pub(crate) async fn left(&self) -> u64 {
        let facts = self.queue.facts(&self.url).await.unwrap();
        facts.waiting + facts.in_flight
    }

    pub(crate) async fn arn(&self) -> String {
        self.queue.facts(&self.url).await.unwrap().arn
    }

    /// Ends the jobs that have not ended.
    pub(crate) async fn end_all(&self) {
        let ids: Vec<Uuid> = self.jobs().await.iter().map(|job| job.job_id).collect();
        self.store.cancel(&ids).await.unwrap();
    }

    /// The reasons of the dead letters.
    pub(crate) async fn reasons(&self) -> Vec<String> {
        let request = self.client.receive_message().queue_url(&self.dead_url);
        let request = request.max_number_of_messages(10).message_attribute_names("All");
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        let messages = request.send().await.unwrap().messages.unwrap_or_default();
        let reason = |message: aws_sdk_sqs::types::Message| {
            let attributes = message.message_attributes.unwrap_or_default();
            attributes.get("quarrier.reason").and_then(|reason| reason.string_value.clone())
        };
        messages.into_iter().filter_map(reason).collect()
    }
}

async fn make(client: &Client, name: &str, fifo: bool, dead_arn: Option<&str>) -> String {
    let mut request = client.create_queue().queue_name(name);
    if fifo {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    if let Some(arn) = dead_arn {
        let policy = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 20 });
        request = request.attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
    }
    request.send().await.unwrap().queue_url.unwrap()
}

async fn open(holder: &Holder) -> Arc<dyn Store> {
    match holder {
        Holder::Sqlite(dir) => {
            let options = SqliteOptions {
                path: dir.path().join("store"),
                busy_timeout_ms: 10_000,
                simulated: Some(true),
            };
            Arc::new(SqliteStore::open(&options, Clock::real()).await.unwrap())
        }
        Holder::Postgres(database) => {
            let options = PostgresOptions::new(&database.url(), Some(true));
            Arc::new(PostgresStore::open(&options, Clock::real()).await.unwrap())
        }
    }
}

/// A message with a document of this text.
pub(crate) fn plain(text: &str) -> Outgoing {
    message(&bed::plain(text))
}

pub(crate) fn message(body: &str) -> Outgoing {
    Outgoing {
        body: body.to_owned(),
        attributes: std::collections::BTreeMap::new(),
        group: None,
        deduplication: None,
        trace: None,
    }
}
