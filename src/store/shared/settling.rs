//! A group of finishes: which are fresh, how each settles, and how each is answered.
//! Must not know: where attempts are kept.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use uuid::Uuid;

use crate::budget::{BudgetState, Charge, Keyed, LaneTime, Limit, SLOT_MS, Slot};
use crate::job::{Outcome, State};
use crate::store::{AttemptKey, Finish, Finished, Next, Settlement};

/// What the tables say of an attempt, before its finish.
#[derive(Deserialize)]
pub(in crate::store) struct Record {
    pub(in crate::store) fence: Uuid,
    pub(in crate::store) slot: u64,
    pub(in crate::store) keys: Vec<String>,
    pub(in crate::store) reserved_tokens: u64,
    pub(in crate::store) outcome: Option<String>,
    pub(in crate::store) lane: String,
    /// The job is running this very attempt.
    pub(in crate::store) current: bool,
    /// The job's content was deleted: nothing that a model says to it is kept any more.
    pub(in crate::store) gone: bool,
}

/// Records by their fences.
pub(in crate::store) type Records = HashMap<Uuid, Record>;

impl Record {
    /// Nobody has seen its end yet.
    pub(in crate::store) fn is_open(&self) -> bool {
        self.outcome.as_deref().is_none_or(|outcome| outcome == Outcome::Unknown.as_str())
    }

    /// When it was claimed.
    pub(in crate::store) fn claimed_at(&self) -> LaneTime {
        LaneTime(self.slot.saturating_mul(SLOT_MS))
    }

    /// Books what the call took on every key that it draws on.
    pub(in crate::store) fn settle(&self, keyed: &mut [Keyed], settlement: Settlement) {
        for keyed in keyed.iter_mut().filter(|keyed| self.keys.contains(&keyed.name)) {
            book(&mut keyed.state, (self.slot, self.reserved_tokens), settlement);
        }
    }
}

/// Books on one key what a call took that was claimed in this slot and had reserved so many tokens.
pub(in crate::store) fn book(
    state: &mut BudgetState,
    (slot, reserved_tokens): (u64, u64),
    settlement: Settlement,
) {
    let reserved = Charge { requests: 1, tokens: reserved_tokens };
    let slot = Slot(slot);
    match settlement {
        Settlement::Used(tokens) => state.settle(slot, reserved, Charge { requests: 1, tokens }),
        Settlement::Nothing => state.settle(slot, reserved, Charge { requests: 1, tokens: 0 }),
        Settlement::Held => {}
        Settlement::GivenBack => state.give_back(slot, reserved),
    }
}

/// The tightest limits among these keys.
pub(in crate::store) fn tightest(keyed: &[Keyed], names: &[String]) -> Limit {
    let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
    let touched = keyed.iter().filter(|keyed| names.contains(&keyed.name));
    touched.fold(Limit::default(), |tightest, Keyed { limit, .. }| Limit {
        requests_per_minute: least(tightest.requests_per_minute, limit.requests_per_minute),
        tokens_per_minute: least(tightest.tokens_per_minute, limit.tokens_per_minute),
    })
}

/// The group without the words of those whose jobs' content was deleted: a late answer, or one from
/// a spool, is paid for and not kept.
pub(in crate::store) fn without_deleted<'a>(
    group: &'a [Finish],
    records: &Records,
) -> Cow<'a, [Finish]> {
    let is_gone = |finish: &Finish| records.get(&finish.key.fence).is_some_and(|it| it.gone);
    if !group.iter().any(is_gone) {
        return Cow::Borrowed(group);
    }
    let kept = |finish: &Finish| if is_gone(finish) { wordless(finish) } else { finish.clone() };
    Cow::Owned(group.iter().map(kept).collect())
}

/// A finish without anything that a prompt or a model said.
fn wordless(finish: &Finish) -> Finish {
    let next = match finish.next.clone() {
        Next::End { state, .. } => Next::End { state, output: None, text: None, provenance: None },
        Next::Again { after_ms, counters, input_tokens_max, .. } => {
            Next::Again { after_ms, counters, reask: None, input_tokens_max }
        }
        Next::Held => Next::Held,
    };
    let error = finish.error.as_ref().map(|(kind, _)| (*kind, String::new()));
    Finish { raw_text: None, schema_errors: None, error, next, ..finish.clone() }
}

/// The finishes that nobody has recorded yet, each once, with their records.
pub(in crate::store) fn fresh<'a>(
    group: &'a [Finish],
    records: &'a Records,
) -> Vec<(&'a Finish, &'a Record)> {
    let mut first = HashSet::with_capacity(group.len());
    group
        .iter()
        .filter_map(|finish| Some((finish, records.get(&finish.key.fence)?)))
        .filter(|(finish, record)| record.is_open() && first.insert(finish.key.fence))
        .collect()
}

/// The attempts to give back: those whose end nobody has seen, each once, with their records.
pub(in crate::store) fn unsent<'a>(
    attempts: &'a [AttemptKey],
    records: &'a Records,
) -> Vec<(&'a AttemptKey, &'a Record)> {
    let mut first = HashSet::with_capacity(attempts.len());
    attempts
        .iter()
        .filter_map(|key| Some((key, records.get(&key.fence)?)))
        .filter(|(key, record)| record.is_open() && first.insert(key.fence))
        .collect()
}

/// What the attempt is recorded to have taken; none while that is unknown.
pub(in crate::store) fn settled_tokens(settlement: Settlement) -> Option<u64> {
    match settlement {
        Settlement::Used(tokens) => Some(tokens),
        Settlement::Nothing | Settlement::GivenBack => Some(0),
        Settlement::Held => None,
    }
}

/// What became of each finish of the group. The first that ends a job is the one that ended it.
pub(in crate::store) fn answers(
    group: &[Finish],
    records: &Records,
    ended: &HashSet<Uuid>,
) -> Vec<Finished> {
    let mut recorded = HashSet::with_capacity(group.len());
    let mut unclaimed = ended.clone();
    let answer = group.iter().map(|finish| match records.get(&finish.key.fence) {
        None => Finished::Lost,
        Some(record) if !record.is_open() || !recorded.insert(finish.key.fence) => {
            Finished::Replayed
        }
        Some(record) => {
            let moves = record.current && !ended.contains(&finish.key.job_id);
            match &finish.next {
                Next::End { state, .. } if unclaimed.remove(&finish.key.job_id) => {
                    Finished::Moved(*state)
                }
                Next::Again { .. } if moves => Finished::Moved(State::Ready),
                Next::Held if moves => Finished::Moved(State::Held),
                Next::End { .. } | Next::Again { .. } | Next::Held => Finished::Late,
            }
        }
    });
    answer.collect()
}
