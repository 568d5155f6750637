//! The shapes that pass through the store port.
//! Must not know: SQL, engines.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wildmatch::WildMatch;

use super::control::Pause;
use super::delivering::Reply;
use crate::budget::{Dimension, Limit};
use crate::clock::Now;
use crate::completion::{StopReason, Usage};
use crate::error::ErrorKind;
use crate::job::{Outcome, Resolved, State, Wanted};
use crate::retry::Counters;

/// A job that admission has prepared.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Our id: a UUID version 7.
    pub job_id: Uuid,
    /// The producer's `id`.
    pub external_id: Option<String>,
    /// What makes it the same job again, unique per tenant: `id:...`, `line:...` or
    /// `submission:...`, by the door that gave it; none = always new.
    pub identity: Option<String>,
    /// SHA-256 of the canonical document, in hex.
    pub document_hash: String,
    /// The canonical document, as JSON text; a rejected one as a JSON string of what was handed in.
    pub document: String,
    /// What admission settled, or why the document was rejected: then the job ends at once.
    pub resolved: Result<Resolved, String>,
    /// Whose it is.
    pub tenant: String,
    /// Its named queue.
    pub queue: String,
    /// Its lane.
    pub lane: String,
    /// -100 to 100, higher is sooner.
    pub priority: i32,
    /// Not before this time, in Unix ms.
    pub run_at: i64,
    /// Expired after this time, in Unix ms.
    pub deadline_at: i64,
    /// How many calls may fail, where the document says so.
    pub max_attempts: Option<u32>,
    /// Wait for a person when an outcome is unknown.
    pub hold: bool,
    /// Unique per tenant among jobs that have not ended.
    pub dedupe_key: Option<String>,
    /// What each call wants of the quota.
    pub wanted: Wanted,
    /// The batch and the line that it came from.
    pub batch: Option<(Uuid, i64)>,
    /// Until when its identity is remembered, in Unix ms.
    pub seen_until: i64,
    /// Takes over its identity from an ended job with another document, instead of being refused.
    pub rerun: bool,
    /// Where its result goes, besides the store.
    pub reply: Option<Reply>,
    /// Of a document that is refused now: as what it may have been admitted before.
    pub before: Option<Before>,
}

/// What a document is known by that was admitted, whatever the configuration says of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its identity within the tenant.
    pub identity: String,
    /// SHA-256 of the canonical document, in hex.
    pub document_hash: String,
}

/// What became of a job at admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// It is new.
    New(Uuid),
    /// The same job was admitted before, and stands in this state (absent if already deleted).
    Existing(Uuid, Option<State>),
    /// It is refused now and was not before: the same document was admitted as this job ([`Before`]),
    /// which stands in this state (absent if already deleted). Nothing was stored.
    Before(Uuid, Option<State>),
    /// Its identity belongs to a job with another document.
    IdConflict {
        /// The job that has the identity.
        job_id: Uuid,
        /// The stored document, where it is still there.
        document: Option<String>,
        /// Where that job stands.
        state: Option<State>,
    },
    /// A job that has not ended holds its `dedupe_key`.
    Duplicate(Uuid),
}

/// A row of the table `submission`.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The row's key.
    pub id: String,
    /// The id that its job shall have, where its producer may know it.
    pub job_id: Option<Uuid>,
    /// What makes it the same job again where its document has no `id`; none where the row cannot
    /// be put in twice.
    pub identity: Option<String>,
    /// The document, unchecked.
    pub document: String,
}

impl Submission {
    /// The identity that a key of the producer's choice gives.
    #[must_use]
    pub fn identity_of(key: &str) -> String {
        format!("submission:{key}")
    }
}

/// A limit and the keys that it matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitRule {
    /// `total`, `lane:PATTERN`, `queue:PATTERN` or `tenant:PATTERN`, with `*` and `?`.
    pub pattern: String,
    /// What is allowed per minute.
    pub limit: Limit,
    /// Where it was set: `configuration`, `flag`, `set`.
    pub origin: String,
}

/// The rule that limits a key: of those that match, the one with the longest pattern, which is the
/// most specific.
#[must_use]
pub fn rule_for<'r>(rules: &'r [LimitRule], name: &str) -> Option<&'r LimitRule> {
    rules
        .iter()
        .filter(|rule| WildMatch::new(&rule.pattern).matches(name))
        .max_by_key(|rule| rule.pattern.len())
}

/// What a promotion did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promoted {
    /// Jobs made due.
    pub due: u32,
    /// Jobs whose deadline had passed.
    pub expired: u32,
    /// When the next job becomes due, in Unix ms.
    pub next_due_at: Option<i64>,
}

/// A request for work in one lane.
#[derive(Debug, Clone)]
pub struct ClaimAsk {
    /// Which lane.
    pub lane: String,
    /// Under which lease.
    pub lease: Uuid,
    /// One fresh fence per free slot.
    pub fences: Vec<Uuid>,
    /// How many candidates are looked at, at most.
    pub scan_max: u32,
    /// For how long smaller jobs may pass one that does not fit.
    pub pass_ms_max: u64,
    /// The most money that the claimed calls may cost together at worst, in micro-dollars.
    pub money_micros_max: Option<u64>,
    /// Claim only jobs of this batch.
    pub batch: Option<Uuid>,
}

/// What a claim brought.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// The jobs, now running.
    pub jobs: Vec<ClaimedJob>,
    /// In how many ms the first job that waits fits at the earliest.
    pub fits_in_ms: Option<u64>,
    /// What it waits for.
    pub waiting: Option<Waiting>,
    /// Jobs that ended because they can never fit.
    pub never_fit: u32,
    /// The lane is paused for so many ms.
    pub paused_ms: Option<u64>,
    /// The error's kind that paused it.
    pub paused_for: Option<String>,
    /// A person has paused the lane, or the queue of the first job that nothing else holds back.
    pub paused_by: Option<Pause>,
    /// The next job does not fit the money left.
    pub money_exhausted: bool,
    /// When their quota was reserved, or a little before; none where there are none. Its wall clock is
    /// the one that the jobs' deadlines are on, which may be another machine's.
    pub reserved: Option<Now>,
}

/// A request to admit one job and to claim it at once, or to leave nothing behind.
#[derive(Debug, Clone)]
pub struct ClaimNewAsk {
    /// Under which lease.
    pub lease: Uuid,
    /// The attempt's fence. The same job with the same fence may be asked for again after an error
    /// whose outcome is unknown: it is found, not doubled.
    pub fence: Uuid,
    /// For how long smaller jobs may pass it.
    pub pass_ms_max: u64,
    /// It asks again and again until it fits: like a job that waits in its lane it is not passed
    /// by smaller ones for ever. Without this a denial writes nothing at all.
    pub waits: bool,
}

/// A request to admit submissions and to claim them at once.
#[derive(Debug, Clone)]
pub struct ClaimSubmittedAsk {
    /// Under which lease.
    pub lease: Uuid,
    /// One fresh fence for each.
    pub fences: Vec<Uuid>,
    /// For how long smaller jobs may pass one that does not fit.
    pub pass_ms_max: u64,
}

/// What became of a job that was to be admitted and claimed at once.
#[derive(Debug, Clone)]
pub enum ClaimedNew {
    /// It is admitted and running.
    Running {
        /// The job as it was claimed.
        job: Box<ClaimedJob>,
        /// When its quota was reserved, on the clock's `mono_ms`, or a little before.
        reserved_mono_ms: u64,
    },
    /// There is no room for it now; nothing of it is kept.
    Waits {
        /// In how many ms it fits at the earliest.
        fits_in_ms: u64,
        /// What it waits for.
        waiting: Waiting,
    },
    /// Its lane is paused; nothing of it is kept.
    Paused {
        /// For so many ms.
        for_ms: u64,
        /// The kind of failure that paused it, where it is known.
        reason: Option<String>,
    },
    /// A person has paused its lane or its queue; nothing of it is kept.
    PausedBy(Pause),
    /// It is larger than a limit; nothing of it is kept. The words are for a person.
    NeverFits(String),
    /// Its identity or its `dedupe_key` is another job's; nothing of it is kept.
    Known(Admitted),
}

/// Why a lane's first job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The budget's key: `total`, `lane:...`.
    pub key: String,
    /// Requests or tokens.
    pub dimension: Dimension,
}

/// A job claimed for one call.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// Our id.
    pub job_id: Uuid,
    /// The producer's id.
    pub external_id: Option<String>,
    /// This attempt's number, from 1.
    pub number: u32,
    /// This attempt's fence.
    pub fence: Uuid,
    /// The canonical document.
    pub document: String,
    /// What admission settled.
    pub resolved: Resolved,
    /// The answer and errors to show to the model again (JSON), after a re-ask.
    pub reask: Option<String>,
    /// How often its calls have gone wrong.
    pub counters: Counters,
    /// How many calls may fail, where the document says so.
    pub max_attempts: Option<u32>,
    /// Expired after this time, in Unix ms.
    pub deadline_at: i64,
    /// Whose it is.
    pub tenant: String,
    /// Its queue.
    pub queue: String,
    /// Quota tokens reserved for this call.
    pub reserved_tokens: u64,
    /// What the call wants of the quota.
    pub wanted: Wanted,
    /// Wait for a person when its outcome is unknown.
    pub hold: bool,
}

/// Which attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The job.
    pub job_id: Uuid,
    /// The attempt's number.
    pub number: u32,
    /// Its fence.
    pub fence: Uuid,
}

/// What a finished call takes of the quota it reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// So many quota tokens; one request.
    Used(u64),
    /// No tokens, one request.
    Nothing,
    /// The reservation stays.
    Held,
    /// Everything back: it was never sent.
    GivenBack,
}

/// Where a finish leaves its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// It ends here.
    End {
        /// One of the terminal states.
        state: State,
        /// The validated JSON text, where the job has a schema.
        output: Option<String>,
        /// The answer's text, where it succeeded without a schema.
        text: Option<String>,
        /// How the output was come by.
        provenance: Option<String>,
    },
    /// It is called again after a wait.
    Again {
        /// Not before so many ms from now; 0 = at the head of its lane at once.
        after_ms: u64,
        /// The counters from now on.
        counters: Counters,
        /// What to show to the model again (JSON).
        reask: Option<String>,
        /// What the next call wants of the quota.
        input_tokens_max: u64,
    },
    /// It waits for a person: the call was stopped, and the job says `hold`.
    Held,
}

/// What a call taught about its lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneNews {
    /// The provider throttled: slow the lane for everyone.
    pub throttled: bool,
    /// Which quota it named.
    pub dimension: Option<Dimension>,
    /// Nobody calls this lane for so many ms.
    pub pause_ms: Option<u64>,
}

/// A finished attempt, as it is handed to the store, and as it stands in the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Which attempt.
    pub key: AttemptKey,
    /// How it came out.
    pub outcome: Outcome,
    /// What it takes of the quota.
    pub settlement: Settlement,
    /// What the provider counted, where it did.
    pub usage: Option<Usage>,
    /// What it cost, in micro-dollars; unknown for unpriced models and calls without an end.
    pub cost_micros: Option<u64>,
    /// The model's text, whole or as far as it came.
    pub raw_text: Option<String>,
    /// Why the model stopped.
    pub stop: Option<StopReason>,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// Milliseconds to the first text.
    pub first_token_ms: Option<u64>,
    /// Milliseconds to the end.
    pub total_ms: Option<u64>,
    /// What failed, with its words.
    pub error: Option<(ErrorKind, String)>,
    /// The schema errors (JSON list), where the answer did not fit.
    pub schema_errors: Option<String>,
    /// Where it leaves the job.
    pub next: Next,
    /// What it taught about the lane.
    pub lane: LaneNews,
}

/// What the store made of a finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Recorded; the job moved on, to this state.
    Moved(State),
    /// Recorded on its own attempt; the job had already ended or was claimed anew.
    Late,
    /// It had been recorded before.
    Replayed,
    /// No such attempt.
    Lost,
}

/// A process that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its fresh id.
    pub id: Uuid,
    /// The machine's name.
    pub host: String,
    /// The process's number there.
    pub pid: u32,
    /// It takes jobs from lanes: a worker. A client of the library makes only its own calls.
    pub takes_jobs: bool,
}

/// An attempt that the store believes in flight under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningAttempt {
    /// Which.
    pub key: AttemptKey,
}

/// A call of this process whose attempt the store may have lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostAttempt {
    /// Which.
    pub key: AttemptKey,
    /// How long ago the call was begun, in ms; none = nobody knows.
    pub age_ms: Option<u64>,
    /// Quota tokens that were reserved; none = what its job reserves by itself.
    pub reserved_tokens: Option<u64>,
}

/// What became of a call whose attempt may have been lost, and under which number it stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It was not lost.
    Known(AttemptKey),
    /// It is there again, charged, and its job runs it.
    Running(AttemptKey),
    /// It is there again and charged; its job has ended, is held, or runs another attempt.
    Beside(AttemptKey),
    /// Its job is lost too.
    Gone,
}

/// Another process's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherLease {
    /// Its id.
    pub id: Uuid,
    /// Its counter.
    pub beat: i64,
    /// Its process is known to be gone: the lock that the system held for it is free.
    pub dead: bool,
}

/// A request to end a dead process's lease.
#[derive(Debug, Clone)]
pub struct RescueAsk {
    /// Whose.
    pub lease: Uuid,
    /// The beat that was seen standing still.
    pub beat: i64,
    /// What decides how a crash counts.
    pub policy: crate::retry::Policy,
    /// How many rows one transaction moves.
    pub rows_max: u32,
}

/// What a rescue did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Attempts whose outcome is unknown now.
    pub attempts: u32,
    /// Jobs that are ready again.
    pub ready: u32,
    /// Jobs that wait for a person.
    pub held: u32,
    /// Jobs that crashed too often, or too late.
    pub ended: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(patterns: &[&str]) -> Vec<LimitRule> {
        let rule = |pattern: &&str| LimitRule {
            pattern: (*pattern).to_owned(),
            limit: Limit::default(),
            origin: String::new(),
        };
        patterns.iter().map(rule).collect()
    }

    #[test]
    fn the_most_specific_rule_limits_a_key() {
        let rules = rules(&["total", "queue:*", "queue:re*", "lane:*haiku*"]);
        let found = |name| rule_for(&rules, name).map(|rule| rule.pattern.as_str());
        assert_eq!(found("total"), Some("total"));
        assert_eq!(found("queue:reports"), Some("queue:re*"));
        assert_eq!(found("queue:x"), Some("queue:*"));
        assert_eq!(found("lane:bedrock/us-east-1/claude-haiku-4.5"), Some("lane:*haiku*"));
        assert_eq!(found("tenant:a"), None);
    }
}
