//! What an intake does now, for a person: each trouble is said once, when it begins and when it is
//! over, and not at every try.
//! Must not know: how a trouble is dealt with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::message_queue::{QueueError, QueueErrorKind};
use crate::worker::Check;

/// What an intake has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages received, redeliveries with them.
    pub received: u64,
    /// Jobs that were new.
    pub admitted: u64,
    /// Messages whose job was there already.
    pub known: u64,
    /// Messages that could not be admitted.
    pub rejected: u64,
    /// Messages deleted.
    pub deleted: u64,
    /// Messages left to be delivered again, because the store did not answer in their time.
    pub left: u64,
}

/// How every trouble ends that its cause does not.
const AGAIN: &str = "it is tried again by itself";

/// What is asked of the queue. Each has its own troubles: rights are given one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// Finding it, and receiving from it.
    Receive,
    /// Deleting.
    Delete,
    /// Hiding again.
    Hide,
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::Receive => "cannot be received from",
            Self::Delete => "does not let messages be deleted",
            Self::Hide => "does not let messages be hidden again",
        }
    }

    /// What it can do again.
    fn back(self) -> &'static str {
        match self {
            Self::Receive => "can be received from",
            Self::Delete => "lets messages be deleted",
            Self::Hide => "lets messages be hidden",
        }
    }

    /// The rights that it needs.
    fn rights(self) -> &'static str {
        match self {
            Self::Receive => {
                "sqs:GetQueueUrl, sqs:GetQueueAttributes and sqs:ReceiveMessage on it, and kms:Decrypt \
                 on its key"
            }
            Self::Delete => "sqs:DeleteMessage on it",
            Self::Hide => "sqs:ChangeMessageVisibility on it",
        }
    }

    /// How it goes on until then.
    fn meanwhile(self) -> &'static str {
        match self {
            Self::Receive | Self::Hide => AGAIN,
            Self::Delete => {
                "until then its messages are received again and again, which starts nothing but counts \
                 towards maxReceiveCount; it is tried again by itself"
            }
        }
    }
}

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Now {
    /// Has not reached the queue yet.
    Begins,
    /// Receives what comes.
    Receives,
    /// Waits for jobs to be done: so many jobs wait in the store, or so many messages are held.
    Waits(String),
    /// Waits for the store.
    StoreAway,
    /// Has ended, or is about to.
    Stopped,
}

#[derive(Debug)]
struct Inner {
    now: Now,
    troubles: BTreeMap<Doing, (QueueErrorKind, String)>,
}

/// What an intake does now, and has done.
#[derive(Debug)]
pub(super) struct Stand {
    queue: String,
    /// A std mutex: nothing is awaited while it is held.
    inner: Mutex<Inner>,
    received: AtomicU64,
    admitted: AtomicU64,
    known: AtomicU64,
    rejected: AtomicU64,
    deleted: AtomicU64,
    left: AtomicU64,
}

/// Adds to a counter.
fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Stand {
    pub(super) fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            inner: Mutex::new(Inner { now: Now::Begins, troubles: BTreeMap::new() }),
            received: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            known: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            left: AtomicU64::new(0),
        }
    }

    pub(super) fn count_received(&self, messages: usize) {
        add(&self.received, messages);
    }

    pub(super) fn count_admitted(&self, jobs: usize) {
        add(&self.admitted, jobs);
    }

    pub(super) fn count_known(&self, jobs: usize) {
        add(&self.known, jobs);
    }

    pub(super) fn count_rejected(&self, messages: usize) {
        add(&self.rejected, messages);
    }

    pub(super) fn count_deleted(&self, messages: usize) {
        add(&self.deleted, messages);
    }

    pub(super) fn count_left(&self, messages: usize) {
        add(&self.left, messages);
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            received: read(&self.received),
            admitted: read(&self.admitted),
            known: read(&self.known),
            rejected: read(&self.rejected),
            deleted: read(&self.deleted),
            left: read(&self.left),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the new stand and returns the old one.
    fn take(&self, now: Now) -> Now {
        std::mem::replace(&mut self.lock().now, now)
    }

    /// The store takes what the queue has.
    pub(super) fn receives(&self) {
        if self.take(Now::Receives) == Now::StoreAway {
            tracing::info!(queue = self.queue, "receiving from {} again", self.queue);
        }
    }

    /// Nothing is received until jobs are done.
    pub(super) fn waits(&self, for_what: String) {
        let now = Now::Waits(for_what);
        if self.take(now.clone()) != now {
            // It comes and goes with every job that ends, so it is no line for everyone.
            tracing::debug!(queue = self.queue, ?now, "nothing is received from {}", self.queue);
        }
    }

    /// Nothing is received until the store answers.
    pub(super) fn store_away(&self, why: &str) {
        if self.take(Now::StoreAway) != Now::StoreAway {
            tracing::warn!(
                queue = self.queue,
                "nothing is received from {} until the store answers: {why}",
                self.queue
            );
        }
    }

    /// The queue has done it.
    pub(super) fn works(&self, doing: Doing) {
        if self.lock().troubles.remove(&doing).is_some() {
            tracing::info!(queue = self.queue, "{} {} again", self.queue, doing.back());
        }
    }

    /// Nothing is left of what the queue has not done, so nobody tries it again: a trouble that passes
    /// by itself is over, one that a person ends only where there is nothing (`is_idle`) that it could
    /// harm.
    pub(super) fn rests(&self, doing: Doing, is_idle: bool) {
        let mut inner = self.lock();
        let is_over = |(kind, _): &(QueueErrorKind, String)| is_idle || !needs_a_person(*kind);
        if inner.troubles.get(&doing).is_some_and(is_over) {
            inner.troubles.remove(&doing);
            tracing::info!(
                queue = self.queue,
                "nothing is left of the trouble that {} {}",
                self.queue,
                doing.words()
            );
        }
    }

    /// The queue has not done it.
    pub(super) fn troubled(&self, doing: Doing, error: &QueueError) {
        let words = format!("{}: {}", doing.words(), words(doing, error));
        let before = self.lock().troubles.insert(doing, (error.kind, words.clone()));
        if before.is_some_and(|(kind, _)| kind == error.kind) {
            return;
        }
        let queue = &self.queue;
        if needs_a_person(error.kind) {
            tracing::error!(queue, "{queue} {words}");
        } else {
            tracing::warn!(queue, "{queue} {words}");
        }
    }

    /// It has ended.
    pub(super) fn stopped(&self) {
        self.take(Now::Stopped);
    }

    pub(super) fn check(&self) -> Check {
        let inner = self.lock();
        let trouble = inner.troubles.values().next().filter(|_| inner.now != Now::Stopped);
        let (ok, what) = match (&inner.now, trouble) {
            (_, Some((_, words))) => (false, words.clone()),
            (Now::Begins, None) => (false, "has not answered yet".to_owned()),
            (Now::Receives, None) => (true, "is received from".to_owned()),
            (Now::Waits(for_what), None) => (true, format!("is not received from now: {for_what}")),
            (Now::StoreAway, None) => {
                (false, "is not received from: the store does not answer".to_owned())
            }
            (Now::Stopped, None) => (false, "is not received from any more".to_owned()),
        };
        Check { name: "intake", ok, age_ms: None, says: format!("{} {what}", self.queue) }
    }
}

fn needs_a_person(kind: QueueErrorKind) -> bool {
    matches!(kind, QueueErrorKind::Gone | QueueErrorKind::Denied | QueueErrorKind::Refused)
}

/// The service's words and the way out.
fn words(doing: Doing, error: &QueueError) -> String {
    let allow =
        format!("see that the credentials hold, and allow them {} (docs/sqs.md)", doing.rights());
    let mut words = error.message.trim_end_matches('.').to_owned();
    let way_out = match error.kind {
        QueueErrorKind::Gone => {
            "create it, or correct its name, account or region in the configuration (sqs.intake, \
             sqs.region)"
        }
        QueueErrorKind::Denied => allow.as_str(),
        QueueErrorKind::Refused => {
            "correct the queue's URL, ARN or name (sqs.intake), its region (sqs.region) or the \
             address (sqs.endpoint)"
        }
        QueueErrorKind::Full => {
            "as many messages are in flight as the queue allows: other receivers hold them"
        }
        _ => "",
    };
    if !way_out.is_empty() {
        words.push_str("; ");
        words.push_str(way_out);
    }
    words.push_str("; ");
    words.push_str(if needs_a_person(error.kind) { doing.meanwhile() } else { AGAIN });
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: QueueErrorKind) -> QueueError {
        QueueError { kind, message: "ReceiveMessage: no such queue.".to_owned() }
    }

    #[test]
    fn the_check_tells_what_is_wrong_and_what_to_do() {
        let stand = Stand::new("jobs");
        assert!(!stand.check().ok);
        stand.receives();
        assert!(stand.check().ok);
        stand.troubled(Doing::Receive, &error(QueueErrorKind::Gone));
        let check = stand.check();
        assert!(!check.ok && check.name == "intake");
        assert_eq!(
            check.says,
            "jobs cannot be received from: ReceiveMessage: no such queue; create it, or correct its \
             name, account or region in the configuration (sqs.intake, sqs.region); it is tried again \
             by itself"
        );
        stand.works(Doing::Receive);
        stand.waits("5 jobs wait".to_owned());
        assert!(stand.check().ok, "waiting for its own jobs is what it should do");
        stand.store_away("locked");
        assert!(!stand.check().ok);
    }

    #[test]
    fn a_right_that_is_missing_is_a_trouble_though_the_others_are_there() {
        let stand = Stand::new("jobs");
        stand.receives();
        stand.troubled(Doing::Delete, &error(QueueErrorKind::Denied));
        stand.works(Doing::Receive);
        let check = stand.check();
        assert!(!check.ok);
        assert_eq!(
            check.says,
            "jobs does not let messages be deleted: ReceiveMessage: no such queue; see that the \
             credentials hold, and allow them sqs:DeleteMessage on it (docs/sqs.md); until then its \
             messages are received again and again, which starts nothing but counts towards \
             maxReceiveCount; it is tried again by itself"
        );
        stand.works(Doing::Delete);
        assert!(stand.check().ok);
    }

    #[test]
    fn a_trouble_of_which_nothing_is_left_is_over_unless_a_person_must_end_it_and_work_goes_on() {
        let stand = Stand::new("jobs");
        stand.receives();
        stand.troubled(Doing::Hide, &error(QueueErrorKind::Unreachable));
        stand.rests(Doing::Delete, true);
        assert!(!stand.check().ok, "that is another trouble");
        stand.rests(Doing::Hide, false);
        assert!(stand.check().ok);
        stand.troubled(Doing::Hide, &error(QueueErrorKind::Denied));
        stand.rests(Doing::Hide, false);
        assert!(!stand.check().ok);
        stand.rests(Doing::Hide, true);
        assert!(stand.check().ok);
    }
}
