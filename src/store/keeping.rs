//! How long content is kept, and the shapes of its deletion: retention and erasure.
//! Must not know: SQL, engines, who asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// For how many days ended jobs are kept; 0 = for ever. What is written here in a table is a
/// setting under `[retention]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Documents, answers and what the model said.
    pub bodies_days: u32,
    /// The rows of jobs, results and attempts.
    pub jobs_days: u32,
    /// By queue, where it differs.
    pub queues: BTreeMap<String, OwnDays>,
    /// By tenant, where it differs; stronger than its queue.
    pub tenants: BTreeMap<String, OwnDays>,
}

/// The days of one queue or tenant; absent = as everybody's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnDays {
    /// Documents, answers and what the model said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies_days: Option<u32>,
    /// The rows of jobs, results and attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_days: Option<u32>,
}

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionStage {
    /// The content of jobs; their rows stay.
    Bodies,
    /// The jobs; what they cost stays, summed by day.
    Jobs,
}

impl RetentionStage {
    /// Both, in the order in which a job meets them.
    pub const ALL: [Self; 2] = [Self::Bodies, Self::Jobs];

    /// Its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bodies => "bodies",
            Self::Jobs => "jobs",
        }
    }
}

impl RetentionPolicy {
    /// Nothing ever goes.
    #[must_use]
    pub fn for_ever() -> Self {
        Self { bodies_days: 0, jobs_days: 0, queues: BTreeMap::new(), tenants: BTreeMap::new() }
    }

    /// For how long, in milliseconds; none = for ever.
    pub(in crate::store) fn keeps_ms(
        &self,
        stage: RetentionStage,
        queue: &str,
        tenant: &str,
    ) -> Option<i64> {
        let own = |own: Option<&OwnDays>| own.and_then(|own| own.of(stage));
        let days = own(self.tenants.get(tenant))
            .or_else(|| own(self.queues.get(queue)))
            .unwrap_or_else(|| self.general(stage));
        (days > 0).then(|| i64::from(days).saturating_mul(DAY_MS))
    }

    /// The shortest of all times of this stage, in milliseconds; none = nothing ever goes.
    pub(in crate::store) fn shortest_ms(&self, stage: RetentionStage) -> Option<i64> {
        let own = self.queues.values().chain(self.tenants.values());
        let days = own.filter_map(|own| own.of(stage)).chain([self.general(stage)]);
        let days = days.filter(|days| *days > 0).min()?;
        Some(i64::from(days).saturating_mul(DAY_MS))
    }

    fn general(&self, stage: RetentionStage) -> u32 {
        match stage {
            RetentionStage::Bodies => self.bodies_days,
            RetentionStage::Jobs => self.jobs_days,
        }
    }
}

impl OwnDays {
    fn of(self, stage: RetentionStage) -> Option<u32> {
        match stage {
            RetentionStage::Bodies => self.bodies_days,
            RetentionStage::Jobs => self.jobs_days,
        }
    }
}

/// One step of retention: one short transaction.
#[derive(Debug, Clone)]
pub struct RetainAsk {
    /// What goes.
    pub stage: RetentionStage,
    /// When.
    pub policy: RetentionPolicy,
    /// Of at most so many jobs.
    pub rows_max: u32,
    /// Only look, from this result on, and delete nothing; 0 = from the oldest.
    pub look_after: Option<i64>,
}

/// What a step of retention did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Jobs whose content, or which themselves, went.
    pub jobs: u32,
    /// How far it has come: the number of a result.
    pub after: i64,
    /// There may be more to do at once.
    pub more: bool,
    /// Another process is at it.
    pub busy: bool,
}

/// One step of the erasure of a tenant: one short transaction.
#[derive(Debug, Clone)]
pub struct EraseAsk {
    /// Whose content goes.
    pub tenant: String,
    /// Who asked for it, for the receipt; of an erasure that was broken off, the first one stays.
    pub asked_by: String,
    /// Whose submissions are that name no tenant.
    pub tenant_default: String,
    /// Of at most so many jobs.
    pub rows_max: u32,
}

/// The receipt of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// Ours.
    pub id: Uuid,
    /// Whose content went.
    pub tenant: String,
    /// Who asked for it.
    pub asked_by: String,
    /// What was admitted later is new, and stays; in Unix ms.
    pub started_at: i64,
    /// When nothing was left, in Unix ms; absent while it is under way, or where it was broken off.
    pub done_at: Option<i64>,
    /// How much of what.
    #[serde(flatten)]
    pub counts: ErasureCounts,
    /// Where deleted content may still be found for a while, in words.
    pub remains: Vec<String>,
}

/// How much an erasure deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureCounts {
    /// Jobs whose documents, metadata, answers and words of errors went.
    pub jobs: u64,
    /// Those of them that waited, and were cancelled.
    pub cancelled: u64,
    /// Those of them that ran, and were fenced: a late answer is paid for and not kept.
    pub fenced: u64,
    /// Calls of which the model's words went.
    pub bodies: u64,
    /// Submissions that nobody had admitted yet.
    pub submissions: u64,
    /// Identities, with the hashes of their documents.
    pub identities: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_days_are_stronger_than_its_queues_and_those_than_everybodys() {
        let own = |bodies_days, jobs_days| OwnDays { bodies_days, jobs_days };
        let policy = RetentionPolicy {
            bodies_days: 30,
            jobs_days: 90,
            queues: BTreeMap::from([("q".to_owned(), own(Some(7), None))]),
            tenants: BTreeMap::from([("t".to_owned(), own(Some(1), Some(0)))]),
        };
        let days =
            |stage, queue, tenant| policy.keeps_ms(stage, queue, tenant).map(|ms: i64| ms / DAY_MS);
        assert_eq!(days(RetentionStage::Bodies, "x", "x"), Some(30));
        assert_eq!(days(RetentionStage::Bodies, "q", "x"), Some(7));
        assert_eq!(days(RetentionStage::Bodies, "q", "t"), Some(1));
        assert_eq!(days(RetentionStage::Jobs, "q", "x"), Some(90));
        assert_eq!(days(RetentionStage::Jobs, "q", "t"), None, "0 is for ever");
        assert_eq!(policy.shortest_ms(RetentionStage::Bodies), Some(DAY_MS));
        assert_eq!(policy.shortest_ms(RetentionStage::Jobs), Some(90 * DAY_MS));
        assert_eq!(RetentionPolicy::for_ever().shortest_ms(RetentionStage::Jobs), None);
    }
}
