//! What is to be said of a FIFO queue alone: how many requests it takes, and what holds its groups up.
//! Must not know: how a queue is asked, what else is said of it.

use super::judge::Wanted;
use crate::cli::doctor::report::Report;
use crate::message_queue::{ByGroup, QueueFacts};

const FIFO: &str = "sqs.fifo";

/// What a FIFO queue takes without high-throughput mode, the queue as a whole. The figures are those of
/// "Amazon SQS message quotas" in the SQS Developer Guide (quotas-messages.html): 300 transactions a
/// second for each API action, 3,000 messages a second with ten of them in each.
const USUAL: &str = "300 requests a second of each kind (send, receive, delete) for the whole queue, \
                     or 3,000 messages in batches of 10";
/// What it takes with it. The same page gives each region's limit of requests, 70,000 in the largest
/// ones. "Troubleshoot FIFO throttling issues" in the same guide asks for many message groups, because
/// it is those that are spread over a queue's partitions.
const HIGH: &str = "as many as its region allows (up to 70,000 in the largest ones), spread over many \
                    message groups";

/// A FIFO queue that jobs are received from.
pub(super) fn intake(wanted: &Wanted<'_>, facts: &QueueFacts, report: &mut Report) {
    let name = wanted.queue;
    if facts.fifo && wanted.held {
        report.warning(
            FIFO,
            format!(
                "{name} is a FIFO queue with {}: the next messages of a group come only when the jobs \
                 of those before them have ended",
                wanted.ack()
            ),
            "set ack = \"on_stored\" for it, unless that is what you want; or use many message groups",
        );
    }
    throughput(name, facts, report);
}

/// Whether a FIFO queue is in high-throughput mode, and what that makes of it.
pub(super) fn throughput(name: &str, facts: &QueueFacts, report: &mut Report) {
    if !facts.fifo {
        return;
    }
    match facts.by_group {
        ByGroup { deduplication: true, limit: true } => {
            report.ok(FIFO, format!("{name} is in high-throughput mode: it takes {HIGH}"));
        }
        ByGroup { deduplication: false, limit: false } => report.note(
            FIFO,
            format!(
                "{name} is not in high-throughput mode: it takes {USUAL}; in that mode it takes {HIGH}"
            ),
            "if that is too little, set its DeduplicationScope to messageGroup and its \
             FifoThroughputLimit to perMessageGroupId; doubles are then known within their group alone",
        ),
        // The service has it that both are set, or the usual limit holds.
        ByGroup { deduplication: true, limit: false } => report.warning(
            FIFO,
            format!(
                "{name} has the DeduplicationScope messageGroup without the FifoThroughputLimit \
                 perMessageGroupId: it knows doubles within their group alone, and still takes {USUAL}"
            ),
            "set its FifoThroughputLimit to perMessageGroupId, or its DeduplicationScope to queue",
        ),
        ByGroup { deduplication: false, limit: true } => report.warning(
            FIFO,
            format!(
                "{name} has the FifoThroughputLimit perMessageGroupId without the DeduplicationScope \
                 messageGroup: it still takes {USUAL}"
            ),
            "set its DeduplicationScope to messageGroup, or its FifoThroughputLimit to perQueue",
        ),
    }
}
