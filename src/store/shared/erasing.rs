//! A step of an erasure: which of the jobs it looks at it takes.
//! Must not know: where jobs are kept.

use uuid::Uuid;

use crate::store::ErasureCounts;

/// So many jobs are looked at for one that may be erased: most may be other tenants'.
const LOOKS_PER_ROW: u32 = 10;

/// With what an erased job ends that has not ended.
pub(in crate::store) const WHY: &str = "its tenant was erased";

/// Where a receipt says that words may be which no statement reaches.
pub(in crate::store) const SPOOLS: &str = "in the spool files of workers that do not reach the \
    store; replayed, they are paid for and not kept (files that were put aside, *.refused and \
    *.unreadable, are for a person to delete)";

/// The same, of what left the store before.
pub(in crate::store) const SENT: &str = "in messages and bucket objects that were sent before \
    (reply_to, dead-letter queues, sqs.bucket), until their readers or the queues' retention delete \
    them";

/// A job, as an erasure sees it.
pub(in crate::store) struct Seen {
    pub(in crate::store) id: Uuid,
    /// It is the tenant's, was admitted before the erasure began, and has content.
    pub(in crate::store) wanted: bool,
    pub(in crate::store) live: bool,
    pub(in crate::store) running: bool,
}

/// What a step does.
pub(in crate::store) struct Step {
    pub(in crate::store) wanted: Vec<Uuid>,
    /// The last job that it passes; none where there was nothing to look at.
    pub(in crate::store) after: Option<Uuid>,
    pub(in crate::store) is_last: bool,
    running: usize,
}

impl Step {
    /// Adds what it did to a receipt, once so many of its jobs had to be ended.
    pub(in crate::store) fn count(&self, ended: usize, counts: &mut ErasureCounts) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let fenced = self.running.min(ended);
        counts.jobs += count(self.wanted.len());
        counts.fenced += count(fenced);
        counts.cancelled += count(ended - fenced);
    }
}

/// How many jobs one step looks at.
pub(in crate::store) fn looks_max(rows_max: u32) -> i64 {
    i64::from(rows_max.max(1).saturating_mul(LOOKS_PER_ROW))
}

/// Takes the first of those that it looks at, in the order of their ids.
pub(in crate::store) fn step(seen: &[Seen], rows_max: u32) -> Step {
    let rows_max_count = usize::try_from(rows_max.max(1)).unwrap_or(usize::MAX);
    let is_short = i64::try_from(seen.len()).unwrap_or(i64::MAX) < looks_max(rows_max);
    let mut step = Step { wanted: Vec::new(), after: None, is_last: is_short, running: 0 };
    for job in seen {
        if job.wanted && step.wanted.len() == rows_max_count {
            step.is_last = false;
            break;
        }
        step.after = Some(job.id);
        if job.wanted {
            step.wanted.push(job.id);
            step.running += usize::from(job.live && job.running);
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_passes_what_is_not_wanted_and_stops_before_what_is_too_much() {
        let job = |id: u128, wanted| Seen {
            id: Uuid::from_u128(id),
            wanted,
            live: true,
            running: wanted,
        };
        let taken = |rows_max| {
            let seen = [job(1, false), job(2, true), job(3, false), job(4, true), job(5, false)];
            let step = step(&seen, rows_max);
            let mut counts = ErasureCounts::default();
            step.count(step.wanted.len(), &mut counts);
            (step.after.map(|id| id.as_u128()), step.is_last, counts.fenced)
        };
        assert_eq!(taken(1), (Some(3), false, 1));
        assert_eq!(taken(2), (Some(5), true, 2));
        assert!(super::step(&[], 1).is_last);
    }
}
