//! The queues of one scene, as their producer and its readers see them: one for job documents, its
//! dead-letter queue, and one for answers. They are reached without the workers' road.
//! Must not know: workers, stores, what becomes of a document.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use serde_json::json;
use uuid::Uuid;

/// Nothing goes to the dead-letter queue by itself: a fault may have a message received often.
const RECEIVES_MAX: &str = "1000";

/// How many messages a queue has, by its own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// That may be received.
    pub(crate) visible: u64,
    /// That somebody has received.
    pub(crate) in_flight: u64,
}

impl Left {
    pub(crate) fn all(self) -> u64 {
        self.visible + self.in_flight
    }
}

pub(crate) struct Queues {
    client: Client,
    /// Where documents are put.
    pub(crate) jobs: String,
    /// Where answers come.
    pub(crate) answers: String,
    dead: String,
}

/// A message that was read to its end.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) body: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Where the queue service is.
pub(crate) fn service() -> String {
    let found = std::env::var_os("TEST_SQS_URL").and_then(|url| url.into_string().ok());
    found.unwrap_or_else(|| {
        panic!("TEST_SQS_URL names no SQS; run the tests by scripts/test, which starts one")
    })
}

/// A service for tests checks no signature.
fn sdk() -> SdkConfig {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build()
}

impl Queues {
    /// New ones.
    pub(crate) async fn new() -> Self {
        let config = aws_sdk_sqs::config::Builder::from(&sdk()).endpoint_url(service()).build();
        let client = Client::from_conf(config);
        let name = format!("faults-{}", Uuid::now_v7().simple());
        let made = async |ending: &str, redrive: Option<String>| {
            let request = client.create_queue().queue_name(format!("{name}{ending}"));
            let attributes = redrive.map(|redrive| (QueueAttributeName::RedrivePolicy, redrive));
            let request = request.set_attributes(attributes.map(|one| [one].into()));
            request.send().await.unwrap().queue_url.unwrap()
        };
        let (answers, dead) = (made("-answers", None).await, made("-dead", None).await);
        let arn = QueueAttributeName::QueueArn;
        let asked = client.get_queue_attributes().queue_url(&dead).attribute_names(arn.clone());
        let arn = asked.send().await.unwrap().attributes.unwrap().remove(&arn).unwrap();
        let redrive = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES_MAX });
        let jobs = made("", Some(redrive.to_string())).await;
        Self { client, jobs, answers, dead }
    }

    /// Puts documents into the queue of jobs.
    pub(crate) async fn send(&self, bodies: &[String]) {
        for ten in bodies.chunks(10) {
            let entry = |(at, body): (usize, &String)| {
                let entry = SendMessageBatchRequestEntry::builder();
                entry.id(at.to_string()).message_body(body).build().unwrap()
            };
            let entries = ten.iter().enumerate().map(entry).collect();
            let request = self.client.send_message_batch().queue_url(&self.jobs);
            let sent = request.set_entries(Some(entries)).send().await.unwrap();
            assert!(sent.failed.is_empty(), "{:?}", sent.failed);
        }
    }

    /// How many documents are left.
    pub(crate) async fn left(&self) -> Left {
        let request = self.client.get_queue_attributes().queue_url(&self.jobs);
        let attributes = request.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let attributes = attributes.attributes.unwrap();
        let number = |name: &QueueAttributeName| attributes.get(name).unwrap().parse().unwrap();
        Left {
            visible: number(&QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: number(&QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        }
    }

    /// Shows received documents again at once, as their receipts allow.
    pub(crate) async fn show(&self, receipts: &[String]) {
        for ten in receipts.chunks(10) {
            let entry = |(at, receipt): (usize, &String)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder();
                entry
                    .id(at.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(0)
                    .build()
                    .unwrap()
            };
            let entries = ten.iter().enumerate().map(entry).collect();
            let request = self.client.change_message_visibility_batch().queue_url(&self.jobs);
            // One that was deleted a moment ago is refused, and that is well.
            request.set_entries(Some(entries)).send().await.unwrap();
        }
    }

    /// Reads the queue of answers to its end.
    pub(crate) async fn read_answers(&self) -> Vec<Letter> {
        self.read(&self.answers).await
    }

    /// Reads the dead-letter queue to its end.
    pub(crate) async fn read_dead(&self) -> Vec<Letter> {
        self.read(&self.dead).await
    }

    async fn read(&self, url: &str) -> Vec<Letter> {
        let mut letters = Vec::new();
        loop {
            let request = self.client.receive_message().queue_url(url).max_number_of_messages(10);
            let request = request.message_attribute_names("All").visibility_timeout(600);
            let messages = request.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return letters;
            }
            let entry = |(at, message): (usize, &Message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
                entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
            };
            let entries = messages.iter().enumerate().map(entry).collect();
            let request = self.client.delete_message_batch().queue_url(url);
            request.set_entries(Some(entries)).send().await.unwrap();
            letters.extend(messages.into_iter().map(Letter::of));
        }
    }
}

impl Letter {
    fn of(message: Message) -> Self {
        let attributes = message.message_attributes.unwrap_or_default().into_iter();
        let attributes =
            attributes.filter_map(|(name, value)| Some((name, value.string_value?))).collect();
        Self { body: message.body.unwrap(), attributes }
    }
}
