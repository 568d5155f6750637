//! What each number may be, and why.
//! Must not know: where a value came from.

use std::ops::RangeInclusive;

use super::{Relay, Settings};

/// The bounds of one number.
pub(super) struct Range {
    pub(super) key: &'static str,
    pub(super) min: u64,
    pub(super) max: u64,
    /// What is beyond a bound, for the person who meets it.
    pub(super) why: &'static str,
}

const fn range(key: &'static str, min: u64, max: u64, why: &'static str) -> Range {
    Range { key, min, max, why }
}

const DAY_MS: u64 = 86_400_000;
const GIB: u64 = 1 << 30;
const CLOCK: &str = "a call needs some time, and no call may hold its slot for ever";
const BYTES: &str = "every body is held in memory as a whole";
const ROWS: &str = "one transaction must stay short for the other writers";
const WAIT: &str = "a wait of more than a day would look like a stuck job";
const DAYS: &str = "nothing is kept for longer than a century but for ever, which is 0";
const TRIES: &str = "every retry is paid for";

/// Every number of the configuration, with its bounds.
pub(super) const RANGES: &[Range] = &[
    range("job.temperature", 0, 1, "the provider takes nothing else"),
    range("job.temperature_structured", 0, 1, "the provider takes nothing else"),
    range("job.max_tokens", 1, 1_000_000, "no model writes more"),
    range("job.deadline_s", 1, 31_536_000, "every job must end, within a year at most"),
    range("job.document_bytes_max", 1_024, 64 << 20, BYTES),
    range("bedrock.connect_timeout_ms", 100, 60_000, CLOCK),
    range("bedrock.first_token_timeout_ms", 1_000, 3_600_000, CLOCK),
    range("bedrock.idle_timeout_ms", 1_000, 3_600_000, CLOCK),
    range("bedrock.call_timeout_ms_base", 1_000, 3_600_000, CLOCK),
    range("bedrock.call_timeout_ms_per_token", 0, 10_000, CLOCK),
    range(
        "bedrock.call_timeout_ms_max",
        1_000,
        3_600_000,
        "the provider itself ends calls after an hour",
    ),
    range(
        "store.busy_timeout_ms",
        100,
        600_000,
        "a writer must wait for its turn, but not for ever",
    ),
    range("store.connections_max", 2, 1_000, "a worker claims, finishes and beats at once"),
    range("store.statement_timeout_ms", 1_000, 600_000, "a group's commit must fit in"),
    range("store.lock_timeout_ms", 100, 600_000, "lanes wait for each other's claims"),
    range("store.write_rows_max", 1, 10_000, ROWS),
    range("store.write_ms_max", 1, 1_000, ROWS),
    range("store.results_page_rows", 1, 10_000, "a page is held in memory"),
    range(
        "store.seen_days",
        15,
        3_650,
        "redeliveries come up to 14 days late and must find their job",
    ),
    range("retention.bodies_days", 0, 36_500, DAYS),
    range("retention.jobs_days", 0, 36_500, DAYS),
    range("worker.concurrency", 1, 10_000, "start more processes for more calls"),
    range("worker.claim_scan_max", 1, 10_000, ROWS),
    range("worker.claim_rows_max", 1, 10_000, ROWS),
    range("worker.claim_interval_ms", 1, 10_000, "claims share one store"),
    range(
        "worker.poll_ms",
        10,
        60_000,
        "an idle worker must see new work, but not storm the store",
    ),
    range(
        "worker.send_late_ms_max",
        1,
        450,
        "the budget forgets a call 500 ms after its minute, and sending takes a while",
    ),
    range("worker.pass_ms_max", 0, 3_600_000, "a large job must run at last"),
    range("worker.lease_ms", 1_000, 600_000, "a dead worker's jobs wait for so long"),
    range("worker.beat_ms", 100, 60_000, "each beat is a write"),
    range("worker.stuck_ms_max", 10_000, DAY_MS, "a slow store is no stuck worker"),
    range("worker.drain_soft_s", 0, 3_600, "no call takes longer than an hour"),
    range("worker.drain_hard_s", 1, 600, "answers need a moment to be stored"),
    range("worker.finish_rows_max", 1, 10_000, ROWS),
    range("worker.finish_bytes_max", 1 << 20, GIB, BYTES),
    range("worker.unsaved_bytes_max", 1 << 20, 64 * GIB, BYTES),
    range("worker.spool_bytes_max", 1 << 20, 1_024 * GIB, "the disk is shared"),
    range("client.wait_ms_max", 0, DAY_MS, "a caller waits for it"),
    range("relay.poll_ms", 10, 60_000, "each look is a statement of the store"),
    range("relay.rows_max", 1, 10_000, ROWS),
    range("relay.bytes_max", 1 << 20, 64 * GIB, BYTES),
    range("relay.hold_ms", 5_000, 3_600_000, "sending must fit in, or all is sent twice"),
    range("relay.targets_max", 1, 1_000, "each is a connection of its own"),
    range("relay.batches_max", 1, 100, "each is a connection of its own"),
    range("relay.retry_ms_base", 1, DAY_MS, WAIT),
    range("relay.retry_ms_max", 1, DAY_MS, WAIT),
    range("relay.absent_ms_base", 1, DAY_MS, WAIT),
    range("relay.absent_ms_max", 1, DAY_MS, WAIT),
    range("relay.tries_max", 1, 1_000_000, "every delivery must end"),
    range("relay.age_s_max", 1, 31_536_000, "every delivery must end"),
    range("relay.facts_s", 1, 86_400, "a queue may be made anew with another limit"),
    range("relay.drain_s", 0, 3_600, "a process that is to stop must stop"),
    range("retry.backoff_base_ms", 1, DAY_MS, WAIT),
    range("retry.backoff_factor", 1, 10, WAIT),
    range("retry.backoff_ms_max", 1, DAY_MS, WAIT),
    range("retry.failures_max", 1, 100, TRIES),
    range("retry.reasks_max", 0, 20, TRIES),
    range("retry.crashes_max", 1, 100, "a job that kills its worker must not run for ever"),
    range("retry.throttles_max", 1, 1_000_000, "every job must end"),
    range("retry.throttle_base_ms", 1, DAY_MS, WAIT),
    range("retry.unavailable_base_ms", 1, DAY_MS, WAIT),
    range("retry.model_not_ready_ms_min", 0, DAY_MS, WAIT),
    range("retry.throttled_day_ms", 1_000, DAY_MS, WAIT),
    range("retry.paused_ms", 100, DAY_MS, WAIT),
    range("retry.retry_after_ms_max", 1, DAY_MS, WAIT),
    range("retry.outage_calls", 1, 1_000, "an outage must be noticed"),
    range("retry.outage_ms_base", 1, DAY_MS, WAIT),
    range("retry.outage_ms_max", 1, DAY_MS, WAIT),
    range("check.schema_bytes_max", 64, 16 << 20, "a schema is compiled, and sent with every call"),
    range("check.schema_depth_max", 1, 256, "schemas are read recursively"),
    range(
        "check.schema_unfolded_max",
        16,
        100_000_000,
        "a schema is compiled, and each node takes memory",
    ),
    range("check.validation_steps_max", 1_000, 1_000_000_000_000, "a check must end"),
    range("check.answer_bytes_max", 1_024, GIB, BYTES),
    range("check.errors_shown_max", 1, 1_000, "a re-ask repeats them to the model"),
    range("check.error_bytes_max", 16, 100_000, "a re-ask repeats them to the model"),
    range("check.reask_answer_bytes_max", 256, 16 << 20, "a re-ask repeats it to the model"),
    range("budget.quota_share", 0, 1, "it is a share"),
    range("sqs.connect_timeout_ms", 100, 60_000, "an intake that waits does nothing else"),
    range("sqs.timeout_ms", 1_000, 120_000, "an intake that waits does nothing else"),
    range(
        "sqs.visibility_s",
        10,
        3_600,
        "a message must stay hidden while its job is stored, and come back when its process dies",
    ),
    range("sqs.held_max", 1, 100_000, "each held message is hidden again all the time"),
    range("sqs.receive_loops_max", 1, 16, "start more processes for more messages"),
    range("sqs.backlog_max", 1, 100_000_000, "messages keep better in their queue"),
];

/// The bounds of this key.
pub(super) fn of(key: &str) -> Option<&'static Range> {
    RANGES.iter().find(|range| range.key == key)
}

/// What no single bound can say: the first pair of settings that contradict each other, as the key
/// to change and what is wrong with it.
pub(super) fn contradiction(settings: &Settings) -> Option<(&'static str, String)> {
    let Settings { worker, retry, bedrock, budget, store, .. } = settings;
    let passwords = [
        ("store.password_file", !store.password_file.is_empty()),
        ("store.password_secret", !store.password_secret.is_empty()),
        ("store.iam", store.iam),
    ];
    let mut sources = passwords.iter().filter(|(_, is_set)| *is_set);
    if let (Some((first, _)), Some((second, _))) = (sources.next(), sources.next()) {
        return Some((second, format!("must not stand beside {first}: a password has one source")));
    }
    if worker.beat_ms.saturating_mul(3) > worker.lease_ms {
        let most = worker.lease_ms / 3;
        return Some((
            "worker.beat_ms",
            format!(
                "must be at most a third of worker.lease_ms ({most}): two late beats must not lose the lease"
            ),
        ));
    }
    // The longest time from one stamp of a loop to its next: it waits, then asks a store that does
    // not answer, to the end of that operation's deadline.
    let operation_ms = settings.store.statement_timeout_ms.max(settings.store.busy_timeout_ms);
    let lap_ms = worker.beat_ms.max(worker.poll_ms.saturating_mul(4));
    let least = operation_ms.saturating_mul(3).saturating_add(lap_ms);
    if worker.stuck_ms_max < least {
        return Some((
            "worker.stuck_ms_max",
            format!(
                "must be at least {least}, and is {}: the longest wait of a loop and three times the \
                 longest time-out of the store, because a worker whose store is away is not stuck",
                worker.stuck_ms_max
            ),
        ));
    }
    if retry.backoff_base_ms > retry.backoff_ms_max {
        let most = retry.backoff_ms_max;
        return Some((
            "retry.backoff_base_ms",
            format!("must be at most retry.backoff_ms_max ({most})"),
        ));
    }
    if retry.outage_ms_base > retry.outage_ms_max {
        let most = retry.outage_ms_max;
        return Some((
            "retry.outage_ms_base",
            format!("must be at most retry.outage_ms_max ({most})"),
        ));
    }
    if bedrock.call_timeout_ms_base > bedrock.call_timeout_ms_max {
        let most = bedrock.call_timeout_ms_max;
        return Some((
            "bedrock.call_timeout_ms_base",
            format!("must be at most bedrock.call_timeout_ms_max ({most})"),
        ));
    }
    if let Some(wrong) = wrong_waits(&settings.relay) {
        return Some(wrong);
    }
    if budget.quota_share <= 0.0 {
        return Some((
            "budget.quota_share",
            "must be more than 0, or nothing would ever run".to_owned(),
        ));
    }
    None
}

/// A first wait that is longer than the longest.
fn wrong_waits(relay: &Relay) -> Option<(&'static str, String)> {
    let waits = [
        (relay.retry_ms_base, relay.retry_ms_max, "relay.retry_ms_base", "relay.retry_ms_max"),
        (relay.absent_ms_base, relay.absent_ms_max, "relay.absent_ms_base", "relay.absent_ms_max"),
    ];
    let (_, most, base, max) = waits.into_iter().find(|(base, max, ..)| base > max)?;
    Some((base, format!("must be at most {max} ({most})")))
}

/// Bounds of a weight: a turn in a thousand, a thousand turns for one.
const WEIGHTS: RangeInclusive<f64> = 0.001..=1_000.0;

/// What is wrong with queues and tenants: the key and the reason.
pub(super) fn wrong_sharing(settings: &Settings) -> Option<(String, String)> {
    let mut reserved = 0.0;
    for (name, queue) in &settings.queues {
        let wrong =
            |key: &str, reason: &str| Some((format!("queues.{name}.{key}"), reason.to_owned()));
        let share = queue.reserved_share.unwrap_or(0.0);
        reserved += share;
        if name.trim().is_empty() {
            return Some(("queues".to_owned(), "has a queue without a name".to_owned()));
        }
        if queue.concurrency_max == Some(0) {
            return wrong(
                "concurrency_max",
                "must be at least 1; `quarrier pause --queue` stops a queue",
            );
        }
        if !(0.0..=1.0).contains(&share) {
            return wrong("reserved_share", "must be 0 to 1: it is a share");
        }
        if reserved > 1.0 + SHARE_SLACK {
            return wrong(
                "reserved_share",
                "makes the shares of all queues more than 1 together; lower one",
            );
        }
        if !queue.weight.is_none_or(|weight| WEIGHTS.contains(&weight)) {
            return wrong("weight", "must be 0.001 to 1000");
        }
        if !queue.deadline_s.is_none_or(|seconds| (1..=DEADLINE_S_MAX).contains(&seconds)) {
            return wrong("deadline_s", "must be 1 to 315360000, ten years");
        }
        if !queue.priority.is_none_or(|priority| (-100..=100).contains(&priority)) {
            return wrong("priority", "must be -100 to 100");
        }
    }
    settings.tenants.iter().find_map(|(name, tenant)| {
        let wrong = !tenant.weight.is_none_or(|weight| WEIGHTS.contains(&weight));
        wrong.then(|| (format!("tenants.{name}.weight"), "must be 0.001 to 1000".to_owned()))
    })
}

/// What is wrong with queues that are received from: the key and the reason.
pub(super) fn wrong_intake(settings: &Settings) -> Option<(String, String)> {
    let intakes = &settings.sqs.intake;
    intakes.iter().enumerate().find_map(|(number, intake)| {
        let wrong =
            |key: &str, reason: String| Some((format!("sqs.intake[{number}].{key}"), reason));
        let url = intake.url.trim();
        if url.is_empty() {
            return wrong("url", "must be a queue's URL, its ARN or its name".to_owned());
        }
        if let Some(first) = intakes.iter().take(number).position(|other| other.url.trim() == url) {
            let reason = format!(
                "is the queue of sqs.intake[{first}] too; receive_loops_max lets one receive faster"
            );
            return wrong("url", reason);
        }
        [
            ("visibility_s", intake.visibility_s),
            ("held_max", intake.held_max),
            ("receive_loops_max", intake.receive_loops_max),
        ]
        .into_iter()
        .find_map(|(key, number)| {
            let (number, range) = (u64::from(number?), of(&format!("sqs.{key}"))?);
            let Range { min, max, why, .. } = range;
            let is_within = (*min..=*max).contains(&number);
            if is_within {
                None
            } else {
                wrong(key, format!("must be {min} to {max}, and is {number}: {why}"))
            }
        })
    })
}

/// What a sum of decimal fractions may differ from what is meant.
const SHARE_SLACK: f64 = 1e-9;

/// Ten years.
const DEADLINE_S_MAX: u64 = 315_360_000;

/// Why this name of a limit is none.
#[must_use]
pub fn wrong_limit_name(name: &str) -> Option<String> {
    let good = name == "total"
        || ["lane:", "queue:", "tenant:"]
            .iter()
            .any(|kind| name.strip_prefix(kind).is_some_and(|pattern| !pattern.is_empty()));
    (!good).then(|| {
        "names no limit: use total, \"lane:PATTERN\", \"queue:PATTERN\" or \"tenant:PATTERN\""
            .to_owned()
    })
}
