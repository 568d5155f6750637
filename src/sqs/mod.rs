//! The SQS adapter: one SDK client per region, one request (or one batch) a call, nothing retried.
//! Must not know: jobs, stores, what a body means, what is done about a failure.

mod address;
mod answers;
mod batch;
mod contents;
mod facts;
mod fault;
mod receive;
#[cfg(feature = "s3")]
pub mod s3;
mod send;
mod spread;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, Config, Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use self::address::Name;
use crate::message_queue::{
    MESSAGE_BYTES_MAX, MessageQueue, Outgoing, QueueError, QueueErrorKind, QueueFacts, QueueResult,
    ReceiveAsk, Received,
};

/// For how long a message can be hidden at most, in seconds: 12 hours.
const VISIBILITY_S_MAX: u32 = 43_200;
/// So many batches of one call are on their way at once.
const BATCHES_AT_ONCE: usize = 4;
/// So many queues' largest messages are remembered.
const SIZES_MAX: usize = 10_000;
/// Clients are kept for so many regions beside the own.
const REGIONS_MAX: usize = 64;

/// How to reach SQS.
#[derive(Debug, Clone)]
pub struct SqsOptions {
    /// Overrides the standard chain (`AWS_REGION`, the profile, the instance's metadata) for queues
    /// whose URL or ARN names none.
    pub region: Option<String>,
    /// Overrides the service's own address, `AWS_ENDPOINT_URL_SQS` and `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// How long a connection may take to open, name resolution and TLS included.
    pub connect_timeout_ms: u64,
    /// How long a call may take in all, beside a long poll's own wait.
    pub timeout_ms: u64,
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self { region: None, endpoint: None, connect_timeout_ms: 3_000, timeout_ms: 10_000 }
    }
}

/// Why no client could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint is no address.
    #[error("{0:?} is no endpoint: write it as http://HOST:PORT or https://HOST")]
    Endpoint(String),
}

/// SQS through the AWS SDK, with the SDK's own retries off: who asks decides when to ask again.
#[derive(Debug)]
pub struct Sqs {
    client: Client,
    config: Config,
    timeout: Duration,
    /// Clients of queues in other regions.
    elsewhere: Mutex<BTreeMap<String, Client>>,
    /// The largest message of each queue that was asked for its facts.
    sizes: Mutex<HashMap<String, u64>>,
}

impl Sqs {
    /// Makes the client. Sends nothing to SQS; may ask the instance's metadata for a region.
    pub async fn connect(options: &SqsOptions) -> Result<Self, ConnectError> {
        check(options.endpoint.as_deref())?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Self::with_sdk_config(&loader.load().await, options)
    }

    /// Makes the client on a configuration that is loaded already. `options.region` is passed over.
    pub fn with_sdk_config(sdk: &SdkConfig, options: &SqsOptions) -> Result<Self, ConnectError> {
        check(options.endpoint.as_deref())?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .build();
        let mut builder = Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let config = builder.build();
        Ok(Self {
            client: Client::from_conf(config.clone()),
            config,
            timeout: Duration::from_millis(options.timeout_ms),
            elsewhere: Mutex::default(),
            sizes: Mutex::default(),
        })
    }

    /// The client of the region that a queue's URL names; the own one where it names none.
    fn client(&self, asked: Asked<'_>, url: &str) -> QueueResult<Client> {
        self.client_of(asked, address::region_of(url))
    }

    fn client_of(&self, asked: Asked<'_>, region: Option<&str>) -> QueueResult<Client> {
        let own = self.config.region().map(Region::as_ref);
        let Some(region) = region.filter(|region| own != Some(region)) else {
            let why = "no AWS region: set `AWS_REGION`, or the region in the configuration or the \
                       profile";
            return match own {
                Some(_) => Ok(self.client.clone()),
                None => Err(asked.refused(QueueErrorKind::Refused, why)),
            };
        };
        Ok(self.elsewhere(region))
    }

    fn elsewhere(&self, region: &str) -> Client {
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = elsewhere.get(region) {
            return client.clone();
        }
        if elsewhere.len() >= REGIONS_MAX {
            elsewhere.clear();
        }
        let there = self.config.to_builder().region(Region::new(region.to_owned())).build();
        let client = Client::from_conf(there);
        elsewhere.insert(region.to_owned(), client.clone());
        client
    }

    /// The largest message that this queue takes, as far as that is known.
    fn bytes_max(&self, url: &str) -> u64 {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(url).copied().unwrap_or(MESSAGE_BYTES_MAX).min(MESSAGE_BYTES_MAX)
    }

    fn remember(&self, url: &str, bytes_max: u64) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.len() >= SIZES_MAX {
            sizes.clear();
        }
        sizes.insert(url.to_owned(), bytes_max);
    }

    /// Waits for one request, at most as long as it may take.
    async fn within<T, E>(
        &self,
        asked: Asked<'_>,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> QueueResult<T>
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        within(self.timeout, asked, call).await
    }

    /// Makes requests of an entry for each receipt, in batches; each tells the ids of the entries
    /// that were done, and those that failed.
    async fn over_receipts<E, Fut>(
        &self,
        asked: Asked<'_>,
        receipts: &[String],
        entry: impl Fn(String, &str) -> Result<E, BuildError>,
        request: impl Fn(Client, Vec<E>) -> Fut,
    ) -> Vec<QueueResult<()>>
    where
        Fut: Future<Output = QueueResult<(Vec<String>, Vec<BatchResultErrorEntry>)>>,
    {
        let client = self.client(asked, asked.what);
        spread::over(batch::by_number(receipts.len()), BATCHES_AT_ONCE, |range| {
            let receipts = receipts.get(range).unwrap_or_default();
            let entries: Result<Vec<E>, BuildError> = receipts
                .iter()
                .zip(0_usize..)
                .map(|(receipt, at)| entry(at.to_string(), receipt))
                .collect();
            let request = entries
                .map_err(|error| fault::unmade(asked, &error))
                .and_then(|entries| Ok(request(client.clone()?, entries)));
            async move {
                let (done, failed) = request?.await?;
                let done = done.into_iter().map(|id| (id, ()));
                Ok(answers::of_batch(asked, receipts.len(), done, &failed))
            }
        })
        .await
    }
}

/// What was asked, for the words of a failure.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    /// What should be done: `receive from`.
    verb: &'static str,
    /// With what.
    what: &'a str,
}

impl Asked<'_> {
    fn refused(self, kind: QueueErrorKind, why: &str) -> QueueError {
        QueueError { kind, message: format!("{} {}: {why}", self.verb, self.what) }
    }
}

/// Waits for one request, at most so long.
async fn within<T, E>(
    timeout: Duration,
    asked: Asked<'_>,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> QueueResult<T>
where
    E: Error + ProvideErrorMetadata + 'static,
{
    // What the SDK makes of a call is large; it lives on the heap.
    match tokio::time::timeout(timeout, Box::pin(call)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(fault::of_call(asked, &error)),
        Err(_) => {
            let why = format!("no answer within {} ms", timeout.as_millis());
            Err(asked.refused(QueueErrorKind::Unreachable, &why))
        }
    }
}

fn check(endpoint: Option<&str>) -> Result<(), ConnectError> {
    match endpoint {
        Some(endpoint) if !address::is_http(endpoint) => {
            Err(ConnectError::Endpoint(endpoint.to_owned()))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl MessageQueue for Sqs {
    async fn url(&self, name: &str) -> QueueResult<String> {
        let asked = Asked { verb: "find the queue", what: name };
        let (region, account, name) = match address::read(name) {
            Ok(Name::Url) => return Ok(name.to_owned()),
            Ok(Name::Arn { region, account, name }) => (Some(region), Some(account), name),
            Ok(Name::Bare) => (None, None, name),
            Err(why) => return Err(asked.refused(QueueErrorKind::Refused, why)),
        };
        let request = self.client_of(asked, region)?.get_queue_url().queue_name(name);
        let request = request.set_queue_owner_aws_account_id(account.map(str::to_owned));
        let found = self.within(asked, request.send()).await?;
        let none = || asked.refused(QueueErrorKind::Unreachable, "the answer has no URL");
        found.queue_url.ok_or_else(none)
    }

    async fn facts(&self, url: &str) -> QueueResult<QueueFacts> {
        let asked = Asked { verb: "read the attributes of", what: url };
        let request = facts::request(&self.client(asked, url)?, url);
        let facts = facts::read(asked, &self.within(asked, request.send()).await?)?;
        self.remember(url, facts.message_bytes_max);
        Ok(facts)
    }

    async fn receive(&self, ask: &ReceiveAsk) -> QueueResult<Vec<Received>> {
        let asked = Asked { verb: "receive from", what: &ask.url };
        let request = receive::request(&self.client(asked, &ask.url)?, asked, ask)?;
        let timeout = self.timeout + Duration::from_secs(u64::from(ask.wait_s));
        let answer = within(timeout, asked, request.send()).await?;
        answer.messages.into_iter().flatten().map(|message| receive::read(asked, message)).collect()
    }

    async fn delete(&self, url: &str, receipts: &[String]) -> Vec<QueueResult<()>> {
        let asked = Asked { verb: "delete from", what: url };
        let entry = |id, receipt: &str| {
            DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build()
        };
        let request = |client: Client, entries| async move {
            let request = client.delete_message_batch().queue_url(url).set_entries(Some(entries));
            let answer = self.within(asked, request.send()).await?;
            Ok((answer.successful.into_iter().map(|entry| entry.id).collect(), answer.failed))
        };
        self.over_receipts(asked, receipts, entry, request).await
    }

    async fn hide(
        &self,
        url: &str,
        receipts: &[String],
        visibility_s: u32,
    ) -> Vec<QueueResult<()>> {
        let asked = Asked { verb: "hide messages of", what: url };
        // The service would say so in the words that otherwise mean the ceiling.
        let seconds = i32::try_from(visibility_s).ok().filter(|_| visibility_s <= VISIBILITY_S_MAX);
        let Some(seconds) = seconds else {
            let why = format!("{visibility_s} s are more than {VISIBILITY_S_MAX} s");
            let refused = asked.refused(QueueErrorKind::Refused, &why);
            return receipts.iter().map(|_| Err(refused.clone())).collect();
        };
        let entry = |id, receipt: &str| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id);
            entry.receipt_handle(receipt).visibility_timeout(seconds).build()
        };
        let request = |client: Client, entries| async move {
            let request = client.change_message_visibility_batch().queue_url(url);
            let request = request.set_entries(Some(entries));
            let answer = self.within(asked, request.send()).await?;
            Ok((answer.successful.into_iter().map(|entry| entry.id).collect(), answer.failed))
        };
        self.over_receipts(asked, receipts, entry, request).await
    }

    async fn send(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>> {
        send::all(self, url, messages).await
    }
}
