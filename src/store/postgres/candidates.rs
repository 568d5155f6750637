//! What a claim on Postgres chooses from: the head of a lane in the order of place, without what is
//! paused or full, and the heads of queues with a reserved share.
//! Must not know: what fits, or how a claim is written.

use std::collections::HashSet;
use std::sync::PoisonError;

use uuid::Uuid;

use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk, sharing as shares};
use crate::job::Wanted;
use crate::retry::Counters;
use crate::store::shared::candidates::{self, Candidate};
use crate::store::shared::sharing;
use crate::store::{ClaimAsk, QueueShare};

/// How long a process trusts that no job has come in below its low water, in milliseconds of the
/// steady clock. What another process puts back below it waits so long at most.
const LOW_WATER_MS: u64 = 250;

/// Where a lane's scan begins: the index still holds the entries of jobs claimed before, and walking
/// over them each time would cost more than the claim.
#[derive(Debug, Clone)]
pub(super) struct LowWater {
    place: f64,
    /// When the whole lane was last read.
    read_ms: u64,
    /// For how long after that it holds.
    trust_ms: u64,
    /// The queues whose jobs were passed over.
    without: Vec<String>,
}

/// A walk over a paused or full queue's jobs that took so long, in milliseconds, is not made again
/// before [`WALK_SHARE`] times as much has passed: it may take a twentieth of the lane's time.
const WALK_DEAR_MS: u64 = 20;
const WALK_SHARE: u64 = 20;

impl PostgresStore {
    /// What a claim chooses from: the head of the lane without these queues and without the full
    /// ones, and the heads of the queues that have a reserved share. The second tells what only the
    /// latter have brought.
    pub(super) async fn gather(
        &self,
        tx: &mut Tx,
        ask: &ClaimAsk,
        queues: &[QueueShare],
        mut without: Vec<String>,
    ) -> Outcome<(Vec<Candidate>, HashSet<Uuid>)> {
        if queues.is_empty() {
            return Ok((self.candidates(tx, ask, without).await?, HashSet::new()));
        }
        // Not exact yet: it is looked again once the queues' keys are locked.
        let running = shares::running(tx, queues).await?;
        without.extend(sharing::full(queues, &running));
        without.sort_unstable();
        without.dedup();
        let mut candidates = self.candidates(tx, ask, without.clone()).await?;
        let wanted = candidates::scan(ask);
        let is_all = candidates.len() < usize::try_from(wanted).unwrap_or(usize::MAX);
        let lost = sharing::keep_within_caps(queues, &running, &mut candidates);
        if !lost.is_empty() && !is_all {
            // Jobs of other queues may stand behind those that their queue's cap leaves out.
            without.extend(lost);
            let more = read_candidates(tx, ask, wanted, (f64::NEG_INFINITY, &without)).await?;
            sharing::merge(&mut candidates, more);
        }
        let there: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
        let mut extra = HashSet::new();
        for queue in sharing::reserving(queues).iter().filter(|queue| !without.contains(queue)) {
            let more = read_reserved(tx, ask, wanted, queue).await?;
            extra.extend(more.iter().map(|job| job.id).filter(|id| !there.contains(id)));
            sharing::merge(&mut candidates, more);
        }
        Ok((candidates, extra))
    }

    /// The head of the lane, without these queues. From the low water on where the whole lane was
    /// read a moment ago, and in whole where that brings too few.
    async fn candidates(
        &self,
        tx: &mut Tx,
        ask: &ClaimAsk,
        without: Vec<String>,
    ) -> Outcome<Vec<Candidate>> {
        let wanted = candidates::scan(ask);
        let steady_ms = self.clock.now().mono_ms;
        let low_water = self.low_water(&ask.lane, steady_ms, &without);
        if let Some(low) = low_water {
            let found = read_candidates(tx, ask, wanted, (low.place, &without)).await?;
            let is_enough = found.len() >= ask.fences.len() && !found.is_empty();
            if is_enough || low.trust_ms > LOW_WATER_MS {
                return Ok(found);
            }
        }
        let found = read_candidates(tx, ask, wanted, (f64::NEG_INFINITY, &without)).await?;
        let walk_ms = self.clock.now().mono_ms.saturating_sub(steady_ms);
        let place = match found.first() {
            Some(first) => Some(first.place),
            // All that is due is paused: what comes now comes later, or waits for the next walk.
            None => (!without.is_empty() && walk_ms >= WALK_DEAR_MS).then_some(f64::INFINITY),
        };
        if let Some(place) = place.filter(|_| ask.batch.is_none()) {
            // Over a paused queue's jobs the walk may be long.
            let dear = !without.is_empty() && walk_ms >= WALK_DEAR_MS;
            let trust_ms = if dear { walk_ms.saturating_mul(WALK_SHARE) } else { LOW_WATER_MS };
            let low = LowWater { place, read_ms: steady_ms, trust_ms, without };
            let mut lanes = self.low_water.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.insert(ask.lane.clone(), low);
        }
        Ok(found)
    }

    fn low_water(&self, lane: &str, steady_ms: u64, without: &[String]) -> Option<LowWater> {
        let lanes = self.low_water.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lanes.get(lane).filter(|known| known.without == without)?;
        (steady_ms.saturating_sub(known.read_ms) < known.trust_ms).then(|| known.clone())
    }

    /// This process has put jobs back, or let some in: they may stand below the low water.
    pub(super) fn forget_low_water(&self) {
        self.low_water.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn read_candidates(
    tx: &mut Tx,
    ask: &ClaimAsk,
    wanted: u32,
    (from, without): (f64, &[String]),
) -> Outcome<Vec<Candidate>> {
    let (lane, wanted) = (&ask.lane, i64::from(wanted));
    let rows = if without.is_empty() {
        sqlx::query_file_as!(
            CandidateRow,
            "src/store/postgres/claim_candidates.sql",
            lane,
            wanted,
            ask.batch,
            from
        )
        .fetch_all(tx.on())
        .await?
    } else {
        sqlx::query_file_as!(
            CandidateRow,
            "src/store/postgres/claim_passing.sql",
            lane,
            wanted,
            ask.batch,
            from,
            without
        )
        .fetch_all(tx.on())
        .await?
    };
    Ok(rows.into_iter().map(Candidate::from).collect())
}

/// A due job as it is read.
struct CandidateRow {
    id: Uuid,
    external_id: Option<String>,
    tenant: String,
    queue: String,
    place: f64,
    calls: i32,
    failures: i32,
    reasks: i32,
    crashes: i32,
    throttles: i32,
    max_attempts: Option<i32>,
    deadline_at: i64,
    input_tokens_max: i64,
    max_tokens: i64,
    burndown: i32,
    hold: bool,
}

impl From<CandidateRow> for Candidate {
    fn from(row: CandidateRow) -> Self {
        let wanted = Wanted {
            input_tokens_max: bulk::uint(row.input_tokens_max),
            max_tokens: bulk::uint(row.max_tokens),
            burndown: u64::from(bulk::small(row.burndown)),
        };
        Self {
            id: row.id,
            external_id: row.external_id,
            tenant: row.tenant,
            queue: row.queue,
            place: row.place,
            calls: bulk::small(row.calls),
            counters: Counters {
                failures: bulk::small(row.failures),
                reasks: bulk::small(row.reasks),
                crashes: bulk::small(row.crashes),
                throttles: bulk::small(row.throttles),
            },
            max_attempts: row.max_attempts.map(bulk::small),
            deadline_at: row.deadline_at,
            reservation: Self::reserves(&wanted),
            wanted,
            hold: row.hold,
            keys: Vec::new(),
            capped: false,
            first: false,
        }
    }
}

async fn read_reserved(
    tx: &mut Tx,
    ask: &ClaimAsk,
    wanted: u32,
    queue: &str,
) -> Outcome<Vec<Candidate>> {
    let rows = sqlx::query_file_as!(
        CandidateRow,
        "src/store/postgres/claim_reserved.sql",
        ask.lane,
        i64::from(wanted),
        ask.batch,
        queue
    )
    .fetch_all(tx.on())
    .await?;
    Ok(rows.into_iter().map(Candidate::from).collect())
}
