//! A message queue in memory: visibility by a clock that only its hand moves, receipts that go stale,
//! groups in order, and failures that tests ask for.
//! Must not know: jobs, stores.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use quarrier::clock::Clock;
use quarrier::message_queue::{
    ByGroup, DeadLetters, MessageQueue, Outgoing, QueueError, QueueErrorKind, QueueFacts,
    QueueResult, ReceiveAsk, Received,
};

pub(crate) const ARN: &str = "arn:aws:sqs:us-east-1:123456789012:jobs";
pub(crate) const URL: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs";
pub(crate) const DEAD_ARN: &str = "arn:aws:sqs:us-east-1:123456789012:dead";

/// A message in the queue.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) group: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) trace: Option<String>,
    pub(crate) receives: u32,
    receipt: String,
    visible_at: u64,
    /// How often each receive hands it out.
    copies: u32,
}

#[derive(Default)]
struct Inner {
    messages: Vec<Stored>,
    faults: HashMap<&'static str, QueueErrorKind>,
    /// What single entries of the next batches of deletes come to.
    delete_entries: VecDeque<QueueErrorKind>,
    calls: HashMap<&'static str, usize>,
    /// The messages that were deleted, in their order.
    deleted: Vec<String>,
    /// Messages whose deletion failed because every one does.
    refused: usize,
    hidden: Vec<String>,
    dead: Vec<Outgoing>,
    receipts: u64,
    asks_max: usize,
    asks: usize,
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    clock: Clock,
    fifo: bool,
    dead_letters: bool,
}

fn failure<T>(kind: QueueErrorKind, what: &str) -> QueueResult<T> {
    Err(QueueError { kind, message: format!("{what} is told to fail") })
}

impl Queue {
    pub(crate) fn new(clock: &Clock, fifo: bool, dead_letters: bool) -> Self {
        Self { inner: Mutex::default(), clock: clock.clone(), fifo, dead_letters }
    }

    /// Puts a message in, and returns its id.
    pub(crate) fn put(&self, body: &str) -> String {
        self.put_with(body, |_| {})
    }

    pub(crate) fn put_with(&self, body: &str, change: impl FnOnce(&mut Stored)) -> String {
        let mut inner = self.inner.lock().unwrap();
        let id = format!("m-{}", inner.messages.len() + inner.deleted.len() + 1);
        let mut message = Stored {
            id: id.clone(),
            body: body.to_owned(),
            group: None,
            attributes: BTreeMap::new(),
            trace: None,
            receives: 0,
            receipt: String::new(),
            visible_at: 0,
            copies: 1,
        };
        change(&mut message);
        inner.messages.push(message);
        id
    }

    /// Puts it in so that each receive hands it out so often.
    pub(crate) fn put_copies(&self, body: &str, copies: u32) -> String {
        self.put_with(body, |message| message.copies = copies)
    }

    /// Makes a message come again, as if its time had passed.
    pub(crate) fn show(&self, id: &str) {
        let mut inner = self.inner.lock().unwrap();
        inner.messages.iter_mut().find(|message| message.id == id).unwrap().visible_at = 0;
    }

    /// The same, unless it was deleted.
    pub(crate) fn show_if_there(&self, id: &str) {
        let mut inner = self.inner.lock().unwrap();
        let found = inner.messages.iter_mut().find(|message| message.id == id);
        if let Some(message) = found {
            message.visible_at = 0;
        }
    }

    /// Keeps it from others for ever, as who hides it again and again does.
    pub(crate) fn keep_hidden(&self, id: &str) {
        let mut inner = self.inner.lock().unwrap();
        let kept = inner.messages.iter_mut().find(|message| message.id == id).unwrap();
        kept.visible_at = u64::MAX;
    }

    /// Makes its receipt stale: somebody else has it now.
    pub(crate) fn steal(&self, id: &str) {
        let mut inner = self.inner.lock().unwrap();
        let stolen = inner.messages.iter_mut().find(|message| message.id == id).unwrap();
        stolen.receipt = "somebody else's".to_owned();
        stolen.visible_at = u64::MAX;
    }

    pub(crate) fn fail(&self, method: &'static str, kind: QueueErrorKind) {
        self.inner.lock().unwrap().faults.insert(method, kind);
    }

    pub(crate) fn heal(&self, method: &'static str) {
        self.inner.lock().unwrap().faults.remove(method);
    }

    /// The next deleted messages come to this instead.
    pub(crate) fn fail_deletes(&self, kinds: &[QueueErrorKind]) {
        self.inner.lock().unwrap().delete_entries.extend(kinds);
    }

    pub(crate) fn calls(&self, method: &'static str) -> usize {
        self.inner.lock().unwrap().calls.get(method).copied().unwrap_or(0)
    }

    /// The most receives at once.
    pub(crate) fn asks_max(&self) -> usize {
        self.inner.lock().unwrap().asks_max
    }

    pub(crate) fn messages(&self) -> Vec<Stored> {
        self.inner.lock().unwrap().messages.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().unwrap().messages.is_empty()
    }

    pub(crate) fn deleted(&self) -> Vec<String> {
        self.inner.lock().unwrap().deleted.clone()
    }

    /// How many deletions failed because all of them do.
    pub(crate) fn refused(&self) -> usize {
        self.inner.lock().unwrap().refused
    }

    /// The messages that were hidden again, in their order.
    pub(crate) fn hidden(&self) -> Vec<String> {
        self.inner.lock().unwrap().hidden.clone()
    }

    pub(crate) fn dead(&self) -> Vec<Outgoing> {
        self.inner.lock().unwrap().dead.clone()
    }

    fn begin(&self, method: &'static str) -> QueueResult<()> {
        let mut inner = self.inner.lock().unwrap();
        *inner.calls.entry(method).or_default() += 1;
        match inner.faults.get(method) {
            Some(kind) => failure(*kind, method),
            None => Ok(()),
        }
    }

    fn take(&self, ask: &ReceiveAsk) -> Vec<Received> {
        let now = self.clock.now().mono_ms;
        let mut inner = self.inner.lock().unwrap();
        let Inner { messages, receipts, .. } = &mut *inner;
        let busy: Vec<Option<String>> = messages
            .iter()
            .filter(|message| self.fifo && message.visible_at > now)
            .map(|message| message.group.clone())
            .collect();
        let mut came = Vec::new();
        for message in messages.iter_mut() {
            let is_free = message.visible_at <= now && !busy.contains(&message.group);
            if !is_free || came.len() >= ask.messages_max as usize {
                continue;
            }
            message.visible_at = now + u64::from(ask.visibility_s) * 1_000;
            for _ in 0..message.copies {
                *receipts += 1;
                message.receives += 1;
                message.receipt = format!("receipt-{receipts}");
                came.push(received(message));
            }
        }
        came
    }
}

fn received(message: &Stored) -> Received {
    Received {
        message_id: message.id.clone(),
        receipt: message.receipt.clone(),
        body: message.body.clone(),
        group: message.group.clone(),
        receives: message.receives,
        sent_at: None,
        trace: message.trace.clone(),
        attributes: message.attributes.clone(),
    }
}

/// Counts a receive that is waiting, also where it is dropped.
struct Asking<'q>(&'q Queue);

impl<'q> Asking<'q> {
    fn begin(queue: &'q Queue) -> Self {
        let mut inner = queue.inner.lock().unwrap();
        inner.asks += 1;
        inner.asks_max = inner.asks_max.max(inner.asks);
        drop(inner);
        Self(queue)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().unwrap().asks -= 1;
    }
}

#[async_trait]
impl MessageQueue for Queue {
    async fn url(&self, name: &str) -> QueueResult<String> {
        self.begin("url")?;
        Ok(if name == DEAD_ARN { "dead".to_owned() } else { URL.to_owned() })
    }

    async fn facts(&self, _url: &str) -> QueueResult<QueueFacts> {
        self.begin("facts")?;
        let letters = DeadLetters { arn: DEAD_ARN.to_owned(), receives_max: 3 };
        Ok(QueueFacts {
            arn: ARN.to_owned(),
            fifo: self.fifo,
            content_deduplication: false,
            by_group: ByGroup::default(),
            visibility_s: 30,
            message_bytes_max: 1_048_576,
            retention_s: 345_600,
            dead_letters: self.dead_letters.then_some(letters),
            encrypted_by_key: false,
            waiting: 0,
            in_flight: 0,
        })
    }

    async fn receive(&self, ask: &ReceiveAsk) -> QueueResult<Vec<Received>> {
        self.begin("receive")?;
        let _asking = Asking::begin(self);
        // A little of the time that a real one takes.
        tokio::time::sleep(Duration::from_millis(2)).await;
        for _ in 0..=u64::from(ask.wait_s) * 200 {
            let came = self.take(ask);
            if !came.is_empty() || ask.wait_s == 0 {
                return Ok(came);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Vec::new())
    }

    async fn delete(&self, _url: &str, receipts: &[String]) -> Vec<QueueResult<()>> {
        if let Err(error) = self.begin("delete") {
            self.inner.lock().unwrap().refused += receipts.len();
            return receipts.iter().map(|_| Err(error.clone())).collect();
        }
        let mut inner = self.inner.lock().unwrap();
        let mut answers = Vec::new();
        for receipt in receipts {
            if let Some(kind) = inner.delete_entries.pop_front() {
                answers.push(failure(kind, "an entry"));
                continue;
            }
            let place = inner.messages.iter().position(|message| message.receipt == *receipt);
            answers.push(match place {
                Some(place) => {
                    let message = inner.messages.remove(place);
                    inner.deleted.push(message.id);
                    Ok(())
                }
                None => failure(QueueErrorKind::Stale, "a receipt"),
            });
        }
        answers
    }

    async fn hide(
        &self,
        _url: &str,
        receipts: &[String],
        visibility_s: u32,
    ) -> Vec<QueueResult<()>> {
        if let Err(error) = self.begin("hide") {
            return receipts.iter().map(|_| Err(error.clone())).collect();
        }
        let until = self.clock.now().mono_ms + u64::from(visibility_s) * 1_000;
        let mut inner = self.inner.lock().unwrap();
        let Inner { messages, hidden, .. } = &mut *inner;
        let hide = |receipt: &String| {
            let found = messages.iter_mut().find(|message| message.receipt == *receipt);
            let Some(message) = found else { return failure(QueueErrorKind::Stale, "a receipt") };
            message.visible_at = until;
            hidden.push(message.id.clone());
            Ok(())
        };
        receipts.iter().map(hide).collect()
    }

    async fn send(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>> {
        assert_eq!(url, "dead");
        if let Err(error) = self.begin("send") {
            return messages.iter().map(|_| Err(error.clone())).collect();
        }
        self.inner.lock().unwrap().dead.extend(messages.iter().cloned());
        messages.iter().map(|_| Ok("sent".to_owned())).collect()
    }
}
