//! A queue service that answers as each test tells it to, and remembers what it was sent.
//! Must not know: results, stores.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use quarrier::message_queue::{
    ByGroup, LargeBodies, MessageQueue, Outgoing, QueueError, QueueErrorKind, QueueFacts,
    QueueResult, ReceiveAsk, Received, is_fifo,
};
use tokio::sync::Semaphore;

/// What one message comes to: which call of `send` it is, from 1, to which URL, and the message.
type Script = Box<dyn Fn(usize, &str, &Outgoing) -> Result<(), QueueErrorKind> + Send + Sync>;

/// One call of `send`.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) url: String,
    pub(crate) messages: Vec<Outgoing>,
}

pub(crate) struct Scripted {
    script: Script,
    /// The most bytes that the queue says that it takes; none where it says nothing.
    limit: Option<u64>,
    batches: Mutex<Vec<Batch>>,
    /// One call of `send` for each permit.
    gate: Semaphore,
}

impl Scripted {
    pub(crate) fn new(
        script: impl Fn(usize, &str, &Outgoing) -> Result<(), QueueErrorKind> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::with(Some(1_048_576), Semaphore::MAX_PERMITS, script)
    }

    pub(crate) fn with(
        limit: Option<u64>,
        calls: usize,
        script: impl Fn(usize, &str, &Outgoing) -> Result<(), QueueErrorKind> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let gate = Semaphore::new(calls);
        Arc::new(Self { script: Box::new(script), limit, batches: Mutex::default(), gate })
    }

    /// Takes everything.
    pub(crate) fn willing() -> Arc<Self> {
        Self::new(|_, _, _| Ok(()))
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.batches.lock().unwrap().clone()
    }

    /// Every message that it was sent, in the order of the calls.
    pub(crate) fn messages(&self) -> Vec<Outgoing> {
        self.batches().into_iter().flat_map(|batch| batch.messages).collect()
    }

    /// Lets one more call through.
    pub(crate) fn let_one_in(&self) {
        self.gate.add_permits(1);
    }
}

fn error(kind: QueueErrorKind) -> QueueError {
    QueueError { kind, message: format!("scripted {kind:?}") }
}

#[async_trait]
impl MessageQueue for Scripted {
    async fn url(&self, name: &str) -> QueueResult<String> {
        if name.starts_with("absent") {
            return Err(error(QueueErrorKind::Gone));
        }
        Ok(format!("http://queues/1/{name}"))
    }

    async fn facts(&self, url: &str) -> QueueResult<QueueFacts> {
        let Some(message_bytes_max) = self.limit else {
            return Err(error(QueueErrorKind::Denied));
        };
        Ok(QueueFacts {
            arn: "arn:aws:sqs:us-east-1:1:q".to_owned(),
            fifo: is_fifo(url),
            content_deduplication: false,
            by_group: ByGroup::default(),
            visibility_s: 30,
            message_bytes_max,
            retention_s: 345_600,
            dead_letters: None,
            encrypted_by_key: false,
            waiting: 0,
            in_flight: 0,
        })
    }

    async fn receive(&self, _: &ReceiveAsk) -> QueueResult<Vec<Received>> {
        Ok(Vec::new())
    }

    async fn delete(&self, _: &str, receipts: &[String]) -> Vec<QueueResult<()>> {
        vec![Ok(()); receipts.len()]
    }

    async fn hide(&self, _: &str, receipts: &[String], _: u32) -> Vec<QueueResult<()>> {
        vec![Ok(()); receipts.len()]
    }

    async fn send(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>> {
        let call = {
            let mut batches = self.batches.lock().unwrap();
            batches.push(Batch { url: url.to_owned(), messages: messages.to_vec() });
            batches.len()
        };
        self.gate.acquire().await.unwrap().forget();
        let answer = |message| (self.script)(call, url, message).map_err(error);
        messages.iter().map(|message| answer(message).map(|()| "sent".to_owned())).collect()
    }
}

/// A bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) bodies: Mutex<Vec<(String, String)>>,
    pub(crate) fails: Option<QueueErrorKind>,
}

#[async_trait]
impl LargeBodies for Bucket {
    async fn put(&self, key: &str, body: &str) -> QueueResult<String> {
        if let Some(kind) = self.fails {
            return Err(error(kind));
        }
        self.bodies.lock().unwrap().push((key.to_owned(), body.to_owned()));
        Ok("results".to_owned())
    }
}
