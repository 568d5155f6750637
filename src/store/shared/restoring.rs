//! Attempts that the store has lost and their worker still knows: which they are, what becomes of
//! their jobs, and how they are charged again.
//! Must not know: how they came to be lost, or SQL.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::candidates::{self, Candidate};
use super::sharing;
use crate::budget::{Charge, Keyed, LaneTime, Slot};
use crate::job::{State, Wanted};
use crate::store::{AttemptKey, LimitRule, LostAttempt, QueueShare, Restored};

/// Where the job of such an attempt stands.
pub(in crate::store) struct Standing {
    pub(in crate::store) lane: String,
    pub(in crate::store) queue: String,
    pub(in crate::store) tenant: String,
    pub(in crate::store) state: Option<State>,
    /// Of the attempt that it runs.
    pub(in crate::store) fence: Option<Uuid>,
    /// Under which lease it runs.
    pub(in crate::store) lease: Option<Uuid>,
    pub(in crate::store) calls: u32,
    pub(in crate::store) wanted: Wanted,
    /// Its attempts: the number and the fence of each.
    pub(in crate::store) attempts: Vec<(u32, Uuid)>,
}

/// An attempt to be inserted again.
pub(in crate::store) struct Lost {
    pub(in crate::store) key: AttemptKey,
    pub(in crate::store) reservation: Charge,
    /// The names of the keys that it draws on.
    pub(in crate::store) keys: Vec<String>,
    pub(in crate::store) age_ms: u64,
    /// Of the budget's ring; known once it is charged.
    pub(in crate::store) slot: Slot,
}

/// What is written of a job.
pub(in crate::store) struct Kept {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) calls: u32,
    /// The attempt that it runs from now on.
    pub(in crate::store) runs: Option<Uuid>,
    pub(in crate::store) capped: bool,
}

/// What is decided of some attempts.
#[derive(Default)]
pub(in crate::store) struct Judged {
    pub(in crate::store) lost: Vec<Lost>,
    pub(in crate::store) kept: Vec<Kept>,
    /// In the order in which they were asked for.
    pub(in crate::store) answers: Vec<Restored>,
}

impl Judged {
    /// Nothing is to be written.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.kept.is_empty()
    }

    /// The keys that are charged.
    pub(in crate::store) fn names(&self) -> BTreeSet<String> {
        self.lost.iter().flat_map(|lost| lost.keys.iter().cloned()).collect()
    }

    /// Charges what is inserted again on every key that it draws on.
    pub(in crate::store) fn charge(&mut self, keyed: &mut [Keyed], now: LaneTime) {
        for lost in &mut self.lost {
            lost.slot = now.slot_ago(lost.age_ms);
            for keyed in keyed.iter_mut().filter(|keyed| lost.keys.contains(&keyed.name)) {
                keyed.state.restore(lost.slot, lost.reservation);
            }
        }
    }
}

/// Decides. `lease` is the asker's, none where it is gone: then no job runs under it.
pub(in crate::store) fn judge(
    asked: &[LostAttempt],
    jobs: &mut HashMap<Uuid, Standing>,
    lease: Option<Uuid>,
    (rules, queues): (&[LimitRule], &[QueueShare]),
) -> Judged {
    let mut judged = Judged::default();
    let mut changed = BTreeSet::new();
    for attempt in asked {
        let Some(job) = jobs.get_mut(&attempt.key.job_id) else {
            judged.answers.push(Restored::Gone);
            continue;
        };
        let fence = attempt.key.fence;
        let known = job.attempts.iter().find(|(_, known)| *known == fence).copied();
        if let Some((number, _)) = known {
            if job.fence == Some(fence) && lease.is_some() && job.lease != lease {
                job.lease = lease;
                changed.insert(attempt.key.job_id);
            }
            judged.answers.push(Restored::Known(AttemptKey { number, ..attempt.key }));
            continue;
        }
        let number = free_number(job, attempt.key.number);
        let key = AttemptKey { number, ..attempt.key };
        let runs = job.state == Some(State::Ready) && lease.is_some();
        if runs {
            (job.state, job.fence, job.lease) = (Some(State::Running), Some(fence), lease);
        }
        job.attempts.push((number, fence));
        job.calls = job.calls.max(number);
        changed.insert(key.job_id);
        let mut reservation = Candidate::reserves(&job.wanted);
        reservation.tokens = attempt.reserved_tokens.unwrap_or(reservation.tokens);
        let keys = candidates::key_names((rules, queues), &job.lane, &job.queue, &job.tenant);
        let age_ms = attempt.age_ms.unwrap_or_default();
        judged.lost.push(Lost { key, reservation, keys, age_ms, slot: Slot::default() });
        judged.answers.push(if runs { Restored::Running(key) } else { Restored::Beside(key) });
    }
    let capped = sharing::capped(queues);
    let kept = changed.into_iter().filter_map(|id| {
        let job = jobs.get(&id)?;
        let is_ours = job.state == Some(State::Running) && lease.is_some() && job.lease == lease;
        let runs = job.fence.filter(|_| is_ours);
        Some(Kept { id, calls: job.calls, runs, capped: capped.contains(&job.queue) })
    });
    judged.kept = kept.collect();
    judged
}

/// Its own number; where another attempt has that meanwhile, the next.
fn free_number(job: &Standing, own: u32) -> u32 {
    let taken = |number: u32| job.attempts.iter().any(|(taken, _)| *taken == number);
    if !taken(own) {
        return own;
    }
    let last = job.attempts.iter().map(|(number, _)| *number).max().unwrap_or_default();
    last.max(job.calls).saturating_add(1)
}
