//! What calls took, left by the group that ends their jobs for whoever next holds their keys' locks:
//! so a finish waits for no claim, and a claim has whatever was committed before it took its locks.
//! Must not know: how a state is charged, or where it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::Outcome;
use crate::budget::{BudgetState, LaneTime};
use crate::store::shared::settling::{self, Records};
use crate::store::{Finish, Settlement};

/// What the calls of a group took, a row for each key that they draw on.
#[derive(Debug, Default)]
pub(super) struct Settlements {
    pub(super) keys: Vec<String>,
    pub(super) calls: Vec<String>,
}

/// The calls of one group that draw on one key: when they were settled, and what they took.
#[derive(Serialize, Deserialize)]
struct Group(LaneTime, Vec<Took>);

/// The slot in which a call was claimed, the tokens that it had reserved, and those that it took;
/// none where it was given back.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Took(u64, u64, Option<u64>);

impl Took {
    /// None where the reservation stays.
    fn of(slot: u64, reserved_tokens: u64, settlement: Settlement) -> Option<Self> {
        match settlement {
            Settlement::Used(tokens) => Some(Self(slot, reserved_tokens, Some(tokens))),
            Settlement::Nothing => Some(Self(slot, reserved_tokens, Some(0))),
            Settlement::GivenBack => Some(Self(slot, reserved_tokens, None)),
            Settlement::Held => None,
        }
    }

    fn settlement(self) -> Settlement {
        self.2.map_or(Settlement::GivenBack, Settlement::Used)
    }
}

impl Settlements {
    /// What these finishes, all of them fresh, settle at this time.
    pub(super) fn of(finishes: &[&Finish], records: &Records, at: LaneTime) -> Outcome<Self> {
        let mut groups: BTreeMap<&str, Vec<Took>> = BTreeMap::new();
        for finish in finishes {
            let Some(record) = records.get(&finish.key.fence) else { continue };
            let took = Took::of(record.slot, record.reserved_tokens, finish.settlement);
            let Some(took) = took else { continue };
            for key in &record.keys {
                groups.entry(key).or_default().push(took);
            }
        }
        let mut settlements = Self::default();
        for (key, calls) in groups {
            settlements.keys.push(key.to_owned());
            settlements.calls.push(serde_json::to_string(&Group(at, calls))?);
        }
        Ok(settlements)
    }
}

/// Books what was left to be settled, a JSON list of groups in the order of their commits, each at its
/// own time, or at the state's where somebody has charged it since.
pub(super) fn book(state: &mut BudgetState, groups: &str) -> Outcome<()> {
    let groups: Vec<Group> = serde_json::from_str(groups)?;
    for Group(at, calls) in groups {
        state.advance(at);
        for took in calls {
            settling::book(state, (took.0, took.1), took.settlement());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::budget::{Charge, Keyed, Limit};
    use crate::job::Outcome as Ended;
    use crate::store::shared::settling::Record;
    use crate::store::{AttemptKey, LaneNews, Next};

    fn record(slot: u64, keys: &[&str]) -> Record {
        Record {
            fence: Uuid::now_v7(),
            slot,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            reserved_tokens: 1_000,
            outcome: None,
            lane: "lane".to_owned(),
            current: true,
            gone: false,
        }
    }

    fn finish(record: &Record, settlement: Settlement) -> Finish {
        Finish {
            key: AttemptKey { job_id: Uuid::now_v7(), number: 1, fence: record.fence },
            outcome: Ended::Completed,
            settlement,
            usage: None,
            cost_micros: None,
            request_id: None,
            first_token_ms: None,
            total_ms: None,
            stop: None,
            raw_text: None,
            schema_errors: None,
            error: None,
            lane: LaneNews::default(),
            next: Next::Held,
        }
    }

    /// A state on which calls were reserved at this time.
    fn charged(at: LaneTime, calls: u64) -> BudgetState {
        let mut state = BudgetState::default();
        state.advance(at);
        for _ in 0..calls {
            let reserved = Charge { requests: 1, tokens: 1_000 };
            state.reserve(reserved, reserved);
        }
        state
    }

    #[test]
    fn what_is_left_to_be_settled_comes_to_what_would_have_been_settled_at_once() {
        let (claimed, now) = (LaneTime(1_000_000), LaneTime(1_030_000));
        let kinds = [
            Settlement::Used(300),
            Settlement::Used(2_500),
            Settlement::Nothing,
            Settlement::Held,
            Settlement::GivenBack,
        ];
        let records: Vec<Record> =
            kinds.iter().map(|_| record(claimed.slot().0, &["lane:lane", "total"])).collect();
        let finishes: Vec<Finish> =
            records.iter().zip(kinds).map(|(record, kind)| finish(record, kind)).collect();
        let mut at_once = charged(claimed, 5);
        at_once.advance(now);
        let mut keyed =
            [Keyed { name: "total".to_owned(), limit: Limit::default(), state: at_once }];
        for (record, kind) in records.iter().zip(kinds) {
            record.settle(&mut keyed, kind);
        }
        let records: Records = records.into_iter().map(|record| (record.fence, record)).collect();
        let left = Settlements::of(&finishes.iter().collect::<Vec<_>>(), &records, now).unwrap();
        assert_eq!(left.keys, ["lane:lane", "total"]);
        let mut later = charged(claimed, 5);
        book(&mut later, &format!("[{}]", left.calls[1])).unwrap();
        assert_eq!(later, keyed[0].state);
    }

    #[test]
    fn an_excess_that_nobody_asked_about_for_long_is_charged_to_its_own_time() {
        let claimed = LaneTime(1_000_000);
        let record = record(claimed.slot().0, &["total"]);
        let excess = finish(&record, Settlement::Used(5_000));
        let records = Records::from([(record.fence, record)]);
        let ended = claimed.plus_ms(61_000);
        let left = Settlements::of(&[&excess], &records, ended).unwrap();
        let mut state = charged(claimed, 1);
        book(&mut state, &format!("[{}]", left.calls[0])).unwrap();
        assert_eq!(state.level(&Limit::default()).tokens.used, 4_000);
        state.advance(ended.plus_ms(61_000));
        assert_eq!(state.level(&Limit::default()).tokens.used, 0);
    }
}
