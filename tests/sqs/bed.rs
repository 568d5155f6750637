//! Queues of one test each, and messages to put into them.
//! Must not know: what a test looks for.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use quarrier::message_queue::{MessageQueue as _, Outgoing, QueueErrorKind, ReceiveAsk, Received};
use quarrier::sqs::{Sqs, SqsOptions};
use uuid::Uuid;

/// What the SDK needs to know to ask somebody who checks no signature.
pub(crate) fn sdk() -> SdkConfig {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build()
}

pub(crate) fn options(endpoint: &str) -> SqsOptions {
    // Long enough that only a test which shortens it can see it run out.
    SqsOptions { endpoint: Some(endpoint.to_owned()), timeout_ms: 60_000, ..SqsOptions::default() }
}

pub(crate) fn sqs_at(endpoint: &str) -> Sqs {
    Sqs::with_sdk_config(&sdk(), &options(endpoint)).unwrap()
}

/// Where the server is that keeps SQS's rules.
pub(crate) fn emulator() -> String {
    let found = std::env::var_os("TEST_SQS_URL").and_then(|url| url.into_string().ok());
    found.unwrap_or_else(|| {
        panic!("TEST_SQS_URL names no SQS; run the tests by scripts/test, which starts one")
    })
}

/// A queue of one test, the adapter and the bare SDK.
pub(crate) struct Queue {
    pub(crate) sqs: Sqs,
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Queue {
    pub(crate) async fn new() -> Self {
        Self::with("", &[]).await
    }

    /// One whose name ends so, with these attributes.
    pub(crate) async fn with(ending: &str, attributes: &[(QueueAttributeName, &str)]) -> Self {
        let endpoint = emulator();
        let config = aws_sdk_sqs::config::Builder::from(&sdk()).endpoint_url(&endpoint).build();
        let client = Client::from_conf(config);
        let name = format!("test-{}{ending}", Uuid::now_v7().simple());
        let mut request = client.create_queue().queue_name(&name);
        for (attribute, value) in attributes {
            request = request.attributes(attribute.clone(), *value);
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        Self { sqs: sqs_at(&endpoint), client, name, url }
    }

    pub(crate) fn ask(&self) -> ReceiveAsk {
        ReceiveAsk { url: self.url.clone(), messages_max: 10, wait_s: 1, visibility_s: 300 }
    }

    /// Receives until nothing is left, or so many.
    pub(crate) async fn receive(&self, count: usize) -> Vec<Received> {
        let mut all = Vec::new();
        while all.len() < count {
            let some = self.sqs.receive(&self.ask()).await.unwrap();
            assert!(!some.is_empty(), "{} of {count} messages came", all.len());
            all.extend(some);
        }
        all
    }

    pub(crate) async fn send(&self, bodies: &[&str]) {
        let messages: Vec<Outgoing> = bodies.iter().map(|body| message(body)).collect();
        for sent in self.sqs.send(&self.url, &messages).await {
            sent.unwrap();
        }
    }
}

pub(crate) fn message(body: &str) -> Outgoing {
    Outgoing {
        body: body.to_owned(),
        attributes: BTreeMap::new(),
        group: None,
        deduplication: None,
        trace: None,
    }
}

/// What became of each: none where it was done.
pub(crate) fn kinds<T>(
    answers: &[quarrier::message_queue::QueueResult<T>],
) -> Vec<Option<QueueErrorKind>> {
    answers.iter().map(|answer| answer.as_ref().err().map(|error| error.kind)).collect()
}
