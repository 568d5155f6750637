//! The candidates of a claim: what each reserves, which keys it draws on, and what is decided.
//! Must not know: how candidates are found, or how a claim is written.

use uuid::Uuid;

use super::sharing;
use crate::budget::{self, Charge, Decision, Draw, FitPolicy, Keyed, LaneTime, Plan};
use crate::error::ErrorKind;
use crate::job::{Resolved, Wanted};
use crate::retry::Counters;
use crate::store::{
    ClaimAsk, ClaimedJob, LimitRule, NewJob, QueueShare, StoreError, StoreResult, Waiting, rule_for,
};

/// How many that do not fit can be passed, however few slots are free.
const PASSED_MIN: u32 = 16;

/// A due job at the head of its lane.
pub(in crate::store) struct Candidate {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) external_id: Option<String>,
    pub(in crate::store) tenant: String,
    pub(in crate::store) queue: String,
    pub(in crate::store) place: f64,
    pub(in crate::store) calls: u32,
    pub(in crate::store) counters: Counters,
    pub(in crate::store) max_attempts: Option<u32>,
    pub(in crate::store) deadline_at: i64,
    pub(in crate::store) wanted: Wanted,
    pub(in crate::store) hold: bool,
    pub(in crate::store) reservation: Charge,
    pub(in crate::store) keys: Vec<usize>,
    /// Its queue is capped, so it is counted while it runs.
    pub(in crate::store) capped: bool,
    /// Its queue is within its reserved share: it goes before the others, and none passes it.
    pub(in crate::store) first: bool,
}

impl Candidate {
    /// A job that is to be claimed as it is admitted: it has no place in its lane.
    pub(in crate::store) fn of_new(job: &NewJob) -> Self {
        Self {
            id: job.job_id,
            external_id: job.external_id.clone(),
            tenant: job.tenant.clone(),
            queue: job.queue.clone(),
            place: 0.0,
            calls: 0,
            counters: Counters::default(),
            max_attempts: job.max_attempts,
            deadline_at: job.deadline_at,
            reservation: Self::reserves(&job.wanted),
            wanted: job.wanted,
            hold: job.hold,
            keys: Vec::new(),
            capped: false,
            first: false,
        }
    }

    /// What a call of this size reserves by itself.
    pub(in crate::store) fn reserves(wanted: &Wanted) -> Charge {
        budget::reservation(wanted.input_tokens_max, wanted.max_tokens, 0, wanted.burndown)
    }

    /// What the worker gets.
    pub(in crate::store) fn claimed(
        &self,
        fence: Uuid,
        document: String,
        resolved: Resolved,
        reask: Option<String>,
    ) -> ClaimedJob {
        ClaimedJob {
            job_id: self.id,
            external_id: self.external_id.clone(),
            number: self.calls.saturating_add(1),
            fence,
            document,
            resolved,
            reask,
            counters: self.counters,
            max_attempts: self.max_attempts,
            deadline_at: self.deadline_at,
            tenant: self.tenant.clone(),
            queue: self.queue.clone(),
            reserved_tokens: self.reservation.tokens,
            wanted: self.wanted,
            hold: self.hold,
        }
    }
}

/// What a new job calls. A document that cannot be called has no business here: its caller is told,
/// not its row.
pub(in crate::store) fn resolved(job: &NewJob) -> StoreResult<Resolved> {
    match &job.resolved {
        Ok(resolved) => Ok(resolved.clone()),
        Err(reason) => Err(StoreError::Bug(format!("a rejected job was to be claimed: {reason}"))),
    }
}

/// What the worker gets of a new job that an earlier try has claimed, whose answer was lost.
pub(in crate::store) fn claimed_before(
    job: &NewJob,
    resolved: Resolved,
    fence: Uuid,
    reserved_tokens: u64,
) -> ClaimedJob {
    let mut candidate = Candidate::of_new(job);
    candidate.reservation.tokens = reserved_tokens;
    candidate.claimed(fence, job.document.clone(), resolved, None)
}

/// The names of the keys that a job draws on: its lane always, because throttles slow it; the
/// others where a rule limits them, or where its queue's cap or share needs them. Of keys that hold a job back alike the first is named and kept
/// for it: the lane stands first, and the total, which every other job needs too, last.
pub(in crate::store) fn key_names(
    (rules, queues): (&[LimitRule], &[QueueShare]),
    lane: &str,
    queue: &str,
    tenant: &str,
) -> Vec<String> {
    let limited = |name: &String| rule_for(rules, name).is_some();
    let mut names = vec![format!("lane:{lane}")];
    names.extend(sharing::key_names(rules, queues, lane, queue));
    for name in [format!("queue:{queue}"), format!("tenant:{tenant}"), "total".to_owned()] {
        if limited(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// How many candidates are read: a few more than can be claimed leave room to pass those that do
/// not fit.
pub(in crate::store) fn scan(ask: &ClaimAsk) -> u32 {
    let slots = u32::try_from(ask.fences.len()).unwrap_or(u32::MAX);
    slots.saturating_add((slots / 4).max(PASSED_MIN)).min(ask.scan_max)
}

/// A call whose like have used more than they reserved (a long answer at burndown 5) reserves what
/// they used, so that settling it does not overdraw the limit.
pub(in crate::store) fn reserve_expected(
    keyed: &[Keyed],
    lane: &str,
    candidates: &mut [Candidate],
) {
    let name = format!("lane:{lane}");
    let Some(own) = keyed.iter().find(|keyed| keyed.name == name) else { return };
    for candidate in candidates {
        let expected = own.state.expected(candidate.reservation);
        // An estimate from other calls makes a job wait for an empty window, never fail.
        let limits = candidate.keys.iter().filter_map(|key| keyed.get(*key));
        let room = limits.filter_map(|keyed| keyed.limit.tokens_per_minute).min();
        let expected = expected.tokens.min(room.unwrap_or(u64::MAX));
        candidate.reservation.tokens = candidate.reservation.tokens.max(expected);
    }
}

/// Decides which candidates fit at `now`, and reserves those in the states.
pub(in crate::store) fn plan(
    keyed: &mut [Keyed],
    candidates: &[Candidate],
    policy: &FitPolicy,
    now: LaneTime,
) -> Plan {
    let ids: Vec<String> = candidates.iter().map(|candidate| candidate.id.to_string()).collect();
    let wants: Vec<Draw<'_>> = candidates
        .iter()
        .zip(&ids)
        .map(|(candidate, id)| Draw {
            id,
            reservation: candidate.reservation,
            keys: &candidate.keys,
            first: candidate.first,
        })
        .collect();
    budget::fit(keyed, &wants, policy, now)
}

/// A candidate that is claimed.
pub(in crate::store) struct Taken<'a> {
    pub(in crate::store) candidate: &'a Candidate,
    pub(in crate::store) fence: Uuid,
    pub(in crate::store) slot: u64,
}

/// A plan, sorted by what is to be written.
pub(in crate::store) struct Sorted<'a> {
    pub(in crate::store) taken: Vec<Taken<'a>>,
    /// Jobs that can never fit, with their kind and words.
    pub(in crate::store) never: Vec<(Uuid, ErrorKind, String)>,
    pub(in crate::store) waiting: Option<Waiting>,
}

/// Where a claim leaves its lane: at the place of the last job claimed in its turn. What went first
/// by its queue's share was no turn, and may stand far behind.
pub(in crate::store) fn last_place(taken: &[Taken<'_>]) -> Option<f64> {
    let turns = taken.iter().filter(|taken| !taken.candidate.first);
    turns.map(|taken| taken.candidate.place).max_by(f64::total_cmp)
}

/// Sorts what was decided of the candidates.
pub(in crate::store) fn sort<'a>(
    keyed: &[Keyed],
    candidates: &'a [Candidate],
    plan: &Plan,
    fences: &[Uuid],
) -> Sorted<'a> {
    let mut fences = fences.iter();
    let mut taken = Vec::new();
    let mut never = Vec::new();
    for (candidate, decision) in candidates.iter().zip(&plan.decisions) {
        match decision {
            Decision::Claim { slots } => {
                let Some(fence) = fences.next() else { break };
                let slot = slots.first().map_or(0, |slot| slot.0);
                taken.push(Taken { candidate, fence: *fence, slot });
            }
            Decision::NeverFits { key, dimension, limit, reservation } => {
                let key = keyed.get(*key).map_or("", |keyed| &keyed.name);
                let reason = format!(
                    "needs {reservation} {dimension} a minute and {key} allows {limit}: \
                     lower max_tokens, shorten the input, or raise the limit"
                );
                never.push((candidate.id, ErrorKind::NeverFits, reason));
            }
            Decision::Wait { .. } => {}
        }
    }
    let waiting = plan.waiting.and_then(|(key, dimension)| {
        let key = keyed.get(key)?.name.clone();
        Some(Waiting { key, dimension })
    });
    Sorted { taken, never, waiting }
}
