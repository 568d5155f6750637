//! What is to be said of a queue: facts in, findings out.
//! Must not know: how a queue or a store is asked.

use super::fifo;
use crate::cli::doctor::report::Report;
use crate::cli::doctor::words::{bytes, counted};
use crate::cli::table::span;
use crate::message_queue::{
    MESSAGE_BYTES_MAX, QueueError, QueueErrorKind, QueueFacts, QueueResult,
};

pub(super) const INTAKE: &str = "sqs.intake";
pub(super) const REPLY: &str = "sqs.reply";
const PERMISSIONS: &str = "sqs.permissions";
const REDRIVE: &str = "sqs.redrive";
const SIZE: &str = "sqs.size";
const KEY: &str = "sqs.encryption";
const RETENTION: &str = "sqs.retention";
const ALONE: &str = "sqs.alone";

/// A message that is held until its job has ended is received again by each process that begins.
const RECEIVES_HELD: u32 = 20;
/// A message that is deleted once stored is received again only where something was away.
const RECEIVES_STORED: u32 = 3;
/// Messages that go before this are gone when a weekend is over, in seconds.
const RETENTION_S_MIN: u64 = 86_400;
/// So many received messages may be on their way into the store, or out of the queue's approximate
/// count.
const ON_THE_WAY_MAX: u64 = 100;

/// An intake as it is configured, and what its store says.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// The queue as the configuration names it.
    pub(super) queue: &'a str,
    /// Messages are held until their jobs have ended: `on_finished`.
    pub(super) held: bool,
    /// Nobody has said so: it follows from the store.
    pub(super) by_store: bool,
    /// For how long its receives hide messages, in seconds.
    pub(super) visibility_s: u32,
    /// The largest job document, in bytes.
    pub(super) document_bytes_max: u64,
    /// For how many days identities are remembered.
    pub(super) seen_days: u32,
    /// How many messages of this queue the store holds; unknown where there is no store.
    pub(super) held_messages: Option<u64>,
    /// How many processes work on the store now.
    pub(super) alive: Option<u64>,
}

impl Wanted<'_> {
    pub(super) fn ack(&self) -> String {
        let ack = if self.held { "on_finished" } else { "on_stored" };
        let auto = if self.by_store { " (by the store's engine)" } else { "" };
        format!("ack {ack}{auto}")
    }
}

/// A queue that messages are received from.
pub(super) fn intake(wanted: &Wanted<'_>, facts: &QueueFacts, report: &mut Report) {
    let name = wanted.queue;
    let kind = if facts.fifo { "FIFO" } else { "standard" };
    report.ok(
        INTAKE,
        format!(
            "{name}: {}, {kind}, {}; about {} waiting and {} in flight; hidden for {} s at a time",
            facts.arn,
            wanted.ack(),
            facts.waiting,
            facts.in_flight,
            wanted.visibility_s,
        ),
    );
    redrive(wanted, facts, report);
    if facts.message_bytes_max < wanted.document_bytes_max.min(MESSAGE_BYTES_MAX) {
        report.note(
            SIZE,
            format!(
                "{name} takes messages of {}, and job.document_bytes_max is {}",
                bytes(facts.message_bytes_max),
                bytes(wanted.document_bytes_max)
            ),
            "set its MaximumMessageSize to 1048576 (queues from before August 2025 have 262144); \
             larger documents go into the store by another door",
        );
    }
    fifo::intake(wanted, facts, report);
    if facts.encrypted_by_key {
        key(
            name,
            "kms:Decrypt, and kms:GenerateDataKey where its dead-letter queue has the key too",
            report,
        );
    }
    kept(wanted, facts, report);
    alone(wanted, facts, report);
}

fn redrive(wanted: &Wanted<'_>, facts: &QueueFacts, report: &mut Report) {
    let name = wanted.queue;
    let needed = if wanted.held { RECEIVES_HELD } else { RECEIVES_STORED };
    let Some(letters) = &facts.dead_letters else {
        report.warning(
            REDRIVE,
            format!(
                "{name} has no dead-letter queue: a message that is no job is deleted, and stays in the \
                 store alone as a failed job"
            ),
            format!(
                "give it a redrive policy with a maxReceiveCount of {needed} or more (docs/sqs.md)"
            ),
        );
        return;
    };
    let receives = letters.receives_max;
    if receives >= needed {
        report.ok(REDRIVE, format!("{name}: after {receives} receives to {}", letters.arn));
        return;
    }
    let why = if wanted.held {
        "each start of an intake and each message that is not hidden in time is a receive, and with \
         on_finished jobs that wait would go to the dead-letter queue"
    } else {
        "a message that is received while the store is away comes again, and soon it would not"
    };
    report.warning(
        REDRIVE,
        format!(
            "{name}: maxReceiveCount is {receives}, fewer than the {needed} that {} needs: {why}",
            wanted.ack()
        ),
        format!("set its maxReceiveCount to {needed} or more"),
    );
}

/// The queue that bad messages go to.
pub(super) fn dead_letters(
    wanted: &Wanted<'_>,
    facts: &QueueFacts,
    theirs: &QueueResult<QueueFacts>,
    report: &mut Report,
) {
    let Some(letters) = &facts.dead_letters else { return };
    let (name, arn) = (wanted.queue, &letters.arn);
    match theirs {
        Ok(theirs) if theirs.retention_s <= facts.retention_s && !facts.fifo => report.warning(
            REDRIVE,
            format!(
                "the dead-letter queue {arn} keeps messages for {}, {name} for {}: of a standard \
                 queue's message the age counts from its first sending",
                seconds(theirs.retention_s),
                seconds(facts.retention_s)
            ),
            "set its retention to 14 days (1209600 s)",
        ),
        Ok(theirs) if theirs.waiting > 0 => report.note(
            REDRIVE,
            format!("{} in {arn}", counted(theirs.waiting, "message")),
            "read their attribute quarrier.reason, and send them again when it is mended",
        ),
        Ok(_) => {}
        Err(error) if error.kind == QueueErrorKind::Gone => report.error(
            REDRIVE,
            format!("the dead-letter queue of {name} is not there: {error}"),
            "create it, or change the redrive policy: what is received too often is lost",
        ),
        Err(error) => report.note(
            REDRIVE,
            format!("the dead-letter queue of {name} could not be looked at: {error}"),
            format!(
                "allow sqs:GetQueueUrl, sqs:GetQueueAttributes and sqs:SendMessage on {arn}, or set \
                 on_bad = \"redrive\""
            ),
        ),
    }
}

/// How long messages are kept, beside how long we know them again.
fn kept(wanted: &Wanted<'_>, facts: &QueueFacts, report: &mut Report) {
    let name = wanted.queue;
    let seen_s = u64::from(wanted.seen_days).saturating_mul(86_400);
    let keeps = format!("{name} keeps messages for {}", seconds(facts.retention_s));
    if facts.retention_s > seen_s {
        report.warning(
            RETENTION,
            format!(
                "{keeps}, and store.seen_days is {}: a message that comes again after that is a new job",
                wanted.seen_days
            ),
            "raise store.seen_days (30 is the default)",
        );
    } else if facts.retention_s < RETENTION_S_MIN {
        report.warning(
            RETENTION,
            format!("{keeps}: what nobody receives by then is lost"),
            "raise its MessageRetentionPeriod to 14 days (1209600 s)",
        );
    } else {
        report.ok(RETENTION, format!("{keeps}, and the store knows a job again for longer"));
    }
}

/// Whether somebody else receives from it, where that makes a difference.
fn alone(wanted: &Wanted<'_>, facts: &QueueFacts, report: &mut Report) {
    let name = wanted.queue;
    if !wanted.held {
        return;
    }
    let ours = wanted.held_messages.unwrap_or(0);
    let others = facts.in_flight.saturating_sub(ours);
    if wanted.held_messages.is_some() && others > ON_THE_WAY_MAX {
        report.warning(
            ALONE,
            format!(
                "about {} of {name} are in flight, and this store holds {ours}: somebody else \
                 receives from it",
                counted(facts.in_flight, "message")
            ),
            "let one process read a queue with on_finished: another with a store of its own would do \
             a message's job again; several processes need Postgres and ack = \"on_stored\"",
        );
    } else if wanted.alive.is_some_and(|alive| alive > 1) {
        report.warning(
            ALONE,
            format!(
                "{} processes work on this store, and {name} has ack on_finished, which is for one \
                 process a queue",
                wanted.alive.unwrap_or(0)
            ),
            "configure this intake for one of them, or set ack = \"on_stored\"",
        );
    }
}

/// What trying to delete and to hide a message that is not there has told.
pub(super) fn permissions(
    wanted: &Wanted<'_>,
    (deleted, hidden): (&QueueResult<()>, &QueueResult<()>),
    report: &mut Report,
) {
    let name = wanted.queue;
    let denied = |result: &QueueResult<()>| match result {
        Err(error) if error.kind == QueueErrorKind::Denied => Some(error.to_string()),
        _ => None,
    };
    let known = |result: &QueueResult<()>| match result {
        Ok(()) => true,
        Err(error) => {
            use QueueErrorKind as Kind;
            matches!(error.kind, Kind::Stale | Kind::Refused | Kind::Contents)
        }
    };
    let hiding = wanted.held.then_some(("sqs:ChangeMessageVisibility", hidden));
    for (action, result) in [("sqs:DeleteMessage", deleted)].into_iter().chain(hiding) {
        if let Some(error) = denied(result) {
            report.error(
                PERMISSIONS,
                format!("{name}: {action} is not allowed: {error}"),
                format!("allow {action} on it (docs/sqs.md has the whole policy of a worker)"),
            );
        } else if !known(result) {
            let error = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
            report.note(PERMISSIONS, format!("{name}: {action} is not known: {error}"), AGAIN);
        }
    }
    if known(deleted) && (known(hidden) || !wanted.held) {
        report.ok(
            PERMISSIONS,
            format!(
                "{name}: reading its attributes and {} are allowed; receiving and sending were not \
                 tried, because that would move messages",
                if wanted.held { "deleting and hiding" } else { "deleting" }
            ),
        );
    }
}

const AGAIN: &str = "run `quarrier doctor` again; docs/sqs.md has the policy that is needed";

/// A queue that results may go to.
pub(super) fn reply(name: &str, bucket: Option<&str>, facts: &QueueFacts, report: &mut Report) {
    let kind = if facts.fifo { "FIFO" } else { "standard" };
    report.ok(
        REPLY,
        format!(
            "{name}: {}, {kind}; about {} waiting; sending was not tried",
            facts.arn, facts.waiting
        ),
    );
    if facts.message_bytes_max < MESSAGE_BYTES_MAX {
        let larger = match bucket {
            Some(bucket) => format!("larger results go to the bucket {bucket}"),
            None => "of larger results only a notice is sent".to_owned(),
        };
        report.note(
            SIZE,
            format!("{name} takes messages of {}: {larger}", bytes(facts.message_bytes_max)),
            "set its MaximumMessageSize to 1048576 (queues from before August 2025 have 262144)",
        );
    }
    fifo::throughput(name, facts, report);
    if facts.encrypted_by_key {
        key(name, "kms:GenerateDataKey and kms:Decrypt", report);
    }
    if facts.retention_s < RETENTION_S_MIN {
        report.warning(
            RETENTION,
            format!(
                "{name} keeps messages for {}: results that nobody fetches by then stay in the store \
                 alone",
                seconds(facts.retention_s)
            ),
            "raise its MessageRetentionPeriod to 14 days (1209600 s)",
        );
    }
}

/// A queue whose results would come back as jobs.
pub(super) fn circle(name: &str, report: &mut Report) {
    report.error(
        REPLY,
        format!(
            "{name} is an intake and may get replies: each result would come back as a bad job"
        ),
        "take it out of sqs.reply_allow, and use another queue for results",
    );
}

/// A queue that could not be looked at.
pub(super) fn unseen(check: &'static str, name: &str, error: &QueueError, report: &mut Report) {
    use QueueErrorKind as Kind;
    let found = format!("{name}: {error}");
    match error.kind {
        Kind::Gone => report.error(
            check,
            found,
            "create it, or correct the name; a name without a URL is looked for in the configured \
             region (sqs.region, AWS_REGION)",
        ),
        // Who sends need not be allowed to look.
        Kind::Denied if check == REPLY => report.note(
            check,
            found,
            "allow sqs:GetQueueAttributes on it, or results over 256 KiB are not sent whole; \
             sqs:SendMessage is needed in any case",
        ),
        Kind::Denied => report.error(
            check,
            found,
            "allow sqs:GetQueueUrl, GetQueueAttributes, ReceiveMessage, DeleteMessage and \
             ChangeMessageVisibility on it (docs/sqs.md has the policy)",
        ),
        Kind::Throttled | Kind::Unreachable | Kind::Full => report.warning(
            check,
            found,
            "see that its address answers from here: network, VPC endpoint, sqs.endpoint, \
             AWS_ENDPOINT_URL_SQS; then run `quarrier doctor` again",
        ),
        _ => report.error(check, found, "correct the name, the URL or the ARN"),
    }
}

fn key(name: &str, actions: &str, report: &mut Report) {
    report.note(
        KEY,
        format!("{name} is encrypted by a key of yours"),
        format!("on that key allow {actions}; without it every request is denied"),
    );
}

/// `4 days`, `90 min`.
fn seconds(count: u64) -> String {
    span(i64::try_from(count.saturating_mul(1_000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
