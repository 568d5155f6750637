//! A step of retention: where it begins, and which of the results it looks at are over.
//! Must not know: where jobs are kept.

use uuid::Uuid;

use crate::store::{Retained, RetentionPolicy, RetentionStage};

/// So many results are looked at for one that may go: most of a store's are still too young, or
/// another's whose days are longer.
const LOOKS_PER_ROW: u32 = 10;

/// Each day retention begins with the oldest result again, for those that it has passed because
/// their queue or tenant keeps them longer.
const RESTART_MS: i64 = 86_400_000;

/// An ended job, as retention sees it.
pub(in crate::store) struct Looked {
    pub(in crate::store) seq: i64,
    pub(in crate::store) job_id: Uuid,
    pub(in crate::store) ended_at: i64,
    pub(in crate::store) queue: String,
    pub(in crate::store) tenant: String,
    /// Its content went before.
    pub(in crate::store) gone: bool,
    /// Its result is still to be delivered, and stays until that has ended.
    pub(in crate::store) awaited: bool,
}

/// How far a stage has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Progress {
    pub(in crate::store) after: i64,
    pub(in crate::store) policy: String,
    pub(in crate::store) restarted_at: i64,
}

impl Progress {
    /// Where it goes on: at the oldest result once a day, and whenever the days have changed.
    pub(in crate::store) fn resumed(self, policy: String, now: i64) -> Self {
        // A clock that was set back must not put it off.
        let age_ms = now.saturating_sub(self.restarted_at);
        if policy == self.policy && (0..RESTART_MS).contains(&age_ms) {
            return self;
        }
        Self { after: 0, policy, restarted_at: now }
    }
}

/// How many results one step looks at.
pub(in crate::store) fn looks_max(rows_max: u32) -> i64 {
    i64::from(rows_max.max(1).saturating_mul(LOOKS_PER_ROW))
}

/// What a step does.
pub(in crate::store) struct Choice {
    /// Those whose time is over.
    pub(in crate::store) jobs: Vec<Uuid>,
    /// None of them ended later than this, in Unix ms.
    pub(in crate::store) ended_by: i64,
    pub(in crate::store) after: i64,
    pub(in crate::store) more: bool,
}

impl Choice {
    pub(in crate::store) fn retained(&self, jobs: usize) -> Retained {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        Retained { jobs, after: self.after, more: self.more, busy: false }
    }
}

/// Goes through what was looked at after `after`, in the order of the ends, up to the first that is
/// too young for every rule.
pub(in crate::store) fn choose(
    policy: &RetentionPolicy,
    (stage, rows_max): (RetentionStage, u32),
    now: i64,
    after: i64,
    looked: &[Looked],
) -> Choice {
    let Some(shortest_ms) = policy.shortest_ms(stage) else {
        return Choice { jobs: Vec::new(), ended_by: i64::MIN, after, more: false };
    };
    let rows_max = usize::try_from(rows_max.max(1)).unwrap_or(usize::MAX);
    let ended_by = now.saturating_sub(shortest_ms);
    let is_full = i64::try_from(looked.len()).unwrap_or(i64::MAX)
        >= looks_max(u32::try_from(rows_max).unwrap_or(u32::MAX));
    let mut choice = Choice { jobs: Vec::new(), ended_by, after, more: is_full };
    for row in looked {
        if choice.jobs.len() == rows_max {
            choice.more = true;
            break;
        }
        if row.ended_at > ended_by {
            choice.more = false;
            break;
        }
        choice.after = row.seq;
        let keeps_ms = policy.keeps_ms(stage, &row.queue, &row.tenant);
        let is_over = keeps_ms.is_some_and(|ms| row.ended_at <= now.saturating_sub(ms));
        if is_over && !row.awaited && !(stage == RetentionStage::Bodies && row.gone) {
            choice.jobs.push(row.job_id);
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OwnDays;

    const DAY_MS: i64 = 86_400_000;

    fn looked(days: &[(i64, &str)]) -> Vec<Looked> {
        let row = |(seq, (day, queue)): (i64, &(i64, &str))| Looked {
            seq,
            job_id: Uuid::from_u128(u128::try_from(seq).unwrap()),
            ended_at: day * DAY_MS,
            queue: (*queue).to_owned(),
            tenant: "t".to_owned(),
            gone: false,
            awaited: false,
        };
        (1..).zip(days).map(row).collect()
    }

    fn chosen(rows_max: u32, looked: &[Looked]) -> (Vec<u128>, i64, bool) {
        let mut policy = RetentionPolicy { bodies_days: 30, ..RetentionPolicy::for_ever() };
        let long = OwnDays { bodies_days: Some(365), jobs_days: None };
        policy.queues.insert("long".to_owned(), long);
        let choice = choose(&policy, (RetentionStage::Bodies, rows_max), 100 * DAY_MS, 0, looked);
        (choice.jobs.iter().map(Uuid::as_u128).collect(), choice.after, choice.more)
    }

    #[test]
    fn a_step_stops_at_the_first_that_is_too_young_and_passes_those_kept_longer() {
        let all = looked(&[(1, "q"), (2, "long"), (70, "q"), (71, "q"), (3, "q")]);
        assert_eq!(chosen(10, &all), (vec![1, 3], 3, false));
        assert_eq!(chosen(1, &all), (vec![1], 1, true));
        let mut gone = looked(&[(1, "q"), (1, "q")]);
        gone[0].gone = true;
        assert_eq!(chosen(10, &gone), (vec![2], 2, false));
        let mut awaited = looked(&[(1, "q"), (1, "q")]);
        awaited[1].awaited = true;
        assert_eq!(chosen(10, &awaited), (vec![1], 2, false), "somebody waits for the other");
    }

    #[test]
    fn it_begins_anew_once_a_day_and_when_the_days_change() {
        let was = || Progress { after: 9, policy: "a".to_owned(), restarted_at: 1_000 };
        assert_eq!(was().resumed("a".to_owned(), 1_000 + DAY_MS - 1), was());
        for (policy, now) in [("b", 1_001), ("a", 1_000 + DAY_MS), ("a", 0)] {
            let anew = Progress { after: 0, policy: policy.to_owned(), restarted_at: now };
            assert_eq!(was().resumed(policy.to_owned(), now), anew);
        }
    }
}
