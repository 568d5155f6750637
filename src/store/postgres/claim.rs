//! Room 3 on Postgres: candidates in place order, what fits of them, running, in one transaction.
//! Must not know: how fitting is judged (`budget` does), or what a call is.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::PoisonError;

use uuid::Uuid;

use super::draws::{self, Draws};
use super::end::{self, End};
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk, pause, sharing as shares};
use crate::budget::FitPolicy;
use crate::job::{Resolved, Wanted};
use crate::retry::Counters;
use crate::store::shared::candidates::{self, Candidate, Sorted, Taken};
use crate::store::shared::halts::Halts;
use crate::store::shared::sharing;
use crate::store::{ClaimAsk, Claimed, ClaimedJob, QueueShare, StoreError};

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

/// What separates the names of keys in one text.
const KEY_SEPARATOR: &str = "\u{1f}";

/// What holds back a lane's jobs, and how its queues share it.
pub(super) struct Look {
    pub(super) halts: Halts,
    /// The configured queues, where one of them has a cap or a reserved share.
    pub(super) queues: Vec<QueueShare>,
}

impl PostgresStore {
    pub(super) async fn claim_in_lane(&self, ask: &ClaimAsk) -> Outcome<Claimed> {
        self.keep_lane_time().await?;
        let lane_key = format!("lane:{}", ask.lane);
        let mut tx = self.begin().await?;
        // The lane first: `lane:` is before every other key.
        draws::lock(&mut tx, &BTreeSet::from([lane_key.clone()])).await?;
        let Look { halts, queues } = self.look_at_lane(&mut tx, &ask.lane, ask.lease).await?;
        if let Some((for_ms, paused_for)) = halts.out {
            tx.rollback().await?;
            return Ok(Claimed { paused_ms: Some(for_ms), paused_for, ..Claimed::default() });
        }
        if halts.lane.is_some() {
            tx.rollback().await?;
            return Ok(Claimed { paused_by: halts.lane, ..Claimed::default() });
        }
        let paused = halts.queue_names();
        let (mut candidates, extra) = self.gather(&mut tx, ask, &queues, paused).await?;
        if candidates.is_empty() {
            let paused_by = pause::halted(&mut tx, ask, &halts).await?;
            tx.rollback().await?;
            return Ok(Claimed { paused_by, ..Claimed::default() });
        }
        let keys = (lane_key.as_str(), queues.as_slice());
        let mut draws = self.draws(&mut tx, keys, ask, &mut candidates).await?;
        candidates::reserve_expected(&draws.keyed, &ask.lane, &mut candidates);
        if !queues.is_empty() {
            // The queues' keys are locked: nobody else begins a job of theirs until the commit.
            let running = shares::running(&mut tx, &queues).await?;
            sharing::keep_within_caps(&queues, &running, &mut candidates);
            sharing::put_first(&draws.keyed, &queues, &ask.lane, &extra, &mut candidates);
        }
        let money_exhausted = keep_affordable(&mut tx, ask, &mut candidates).await?;
        let policy = FitPolicy { pass_ms_max: ask.pass_ms_max, claims_max: ask.fences.len() };
        let plan = candidates::plan(&mut draws.keyed, &candidates, &policy, draws.now);
        let sorted = candidates::sort(&draws.keyed, &candidates, &plan, &ask.fences);
        let jobs = take(&mut tx, ask.lease, &sorted.taken, &draws).await?;
        if let Some(place) = candidates::last_place(&sorted.taken) {
            draws.advance_place(&lane_key, place);
        }
        let now = draws.wall_ms;
        draws.save(self, &mut tx).await?;
        tx.commit().await?;
        let never_fit = self.end_never_fitting(&sorted, now).await?;
        Ok(Claimed {
            jobs,
            fits_in_ms: plan.fits_in_ms,
            waiting: sorted.waiting,
            never_fit,
            money_exhausted,
            now_ms: Some(now),
            ..Claimed::default()
        })
    }

    /// What holds this lane's jobs back. The lane's lock is held, and the lease stays to the commit:
    /// a job that ran under none would be nobody's to rescue.
    pub(super) async fn look_at_lane(&self, tx: &mut Tx, lane: &str, lease: Uuid) -> Outcome<Look> {
        let look = sqlx::query_file!("src/store/postgres/claim_look.sql", lane, lease)
            .fetch_one(tx.on())
            .await?;
        if look.beat.is_none() {
            return Err(StoreError::Transient(format!("the lease {lease} is gone")).into());
        }
        let until = look.paused_until.unwrap_or(i64::MIN);
        let now = self.read_now(look.now);
        let paused_ms = until.saturating_sub(now);
        let out = (paused_ms > 0).then(|| (bulk::uint(paused_ms), look.pause_reason));
        let pauses = if look.pauses { pause::pauses(tx, now).await? } else { Vec::new() };
        let queues = if look.binds { shares::queues(tx).await? } else { Vec::new() };
        Ok(Look { halts: Halts { out, ..Halts::default() }.with(pauses, lane), queues })
    }

    /// Locks and loads the keys that these candidates draw on; the lane's is locked already.
    async fn draws(
        &self,
        tx: &mut Tx,
        (lane_key, queues): (&str, &[QueueShare]),
        ask: &ClaimAsk,
        candidates: &mut [Candidate],
    ) -> Outcome<Draws> {
        let rules = draws::rules(tx).await?;
        let names: Vec<Vec<String>> = candidates
            .iter()
            .map(|job| candidates::key_names((&rules, queues), &ask.lane, &job.queue, &job.tenant))
            .collect();
        let mut all: BTreeSet<String> = names.iter().flatten().cloned().collect();
        all.remove(lane_key);
        draws::lock(tx, &all).await?;
        all.insert(lane_key.to_owned());
        let draws = Draws::load(self, tx, &all, &rules).await?;
        for (candidate, names) in candidates.iter_mut().zip(names) {
            candidate.keys = names.iter().filter_map(|name| draws.index(name)).collect();
        }
        Ok(draws)
    }

    /// What a claim chooses from: the head of the lane without these queues and without the full
    /// ones, and the heads of the queues that have a reserved share. The second tells what only the
    /// latter have brought.
    async fn gather(
        &self,
        tx: &mut Tx,
        ask: &ClaimAsk,
        queues: &[QueueShare],
        mut without: Vec<String>,
    ) -> Outcome<(Vec<Candidate>, HashSet<Uuid>)> {
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

    /// In a transaction of their own, because results come before budgets in the order of locks.
    async fn end_never_fitting(&self, sorted: &Sorted<'_>, now: i64) -> Outcome<u32> {
        if sorted.never.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        end::lock_jobs(&mut tx, sorted.never.iter().map(|(id, _, _)| *id)).await?;
        let ends: Vec<End> = sorted
            .never
            .iter()
            .map(|(id, kind, reason)| End::failed(*id, *kind, reason.clone()))
            .collect();
        let ended = end::end_jobs(&mut tx, &ends, now).await?;
        tx.commit().await?;
        Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
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

/// Drops the candidates that the money left does not cover at worst; true if the first is one.
async fn keep_affordable(
    tx: &mut Tx,
    ask: &ClaimAsk,
    candidates: &mut Vec<Candidate>,
) -> Outcome<bool> {
    let Some(mut left) = ask.money_micros_max else { return Ok(false) };
    candidates.truncate(ask.fences.len());
    let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
    let specs =
        sqlx::query_file!("src/store/postgres/claim_spec.sql", &ids).fetch_all(tx.on()).await?;
    let mut affordable = 0;
    for (candidate, spec) in candidates.iter().zip(&specs) {
        let resolved: Resolved = serde_json::from_str(spec.resolved.as_deref().unwrap_or("null"))?;
        let Some(rest) = left.checked_sub(candidates::cost_max(candidate, &resolved)) else {
            break;
        };
        left = rest;
        affordable += 1;
    }
    let exhausted = affordable == 0 && !candidates.is_empty();
    candidates.truncate(affordable);
    Ok(exhausted)
}

/// Marks these candidates as running under the lease, each with its attempt.
pub(super) async fn take(
    tx: &mut Tx,
    lease: Uuid,
    taken: &[Taken<'_>],
    draws: &Draws,
) -> Outcome<Vec<ClaimedJob>> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = taken.iter().map(|taken| taken.candidate.id).collect();
    let numbers: Vec<i32> = taken
        .iter()
        .map(|taken| bulk::small_int(taken.candidate.calls.saturating_add(1)))
        .collect();
    let fences: Vec<Uuid> = taken.iter().map(|taken| taken.fence).collect();
    let capped: Vec<bool> = taken.iter().map(|taken| taken.candidate.capped).collect();
    let slots: Vec<i64> = taken.iter().map(|taken| bulk::int(taken.slot)).collect();
    let keys: Vec<String> = taken.iter().map(|taken| key_names(taken, draws)).collect();
    let reserved: Vec<i64> =
        taken.iter().map(|taken| bulk::int(taken.candidate.reservation.tokens)).collect();
    let specs = sqlx::query_file!(
        "src/store/postgres/claim_take.sql",
        &ids,
        &numbers,
        &fences,
        &slots,
        &keys,
        &reserved,
        lease,
        bulk::instant(draws.wall_ms),
        &capped
    )
    .fetch_all(tx.on())
    .await?;
    let mut specs: HashMap<Uuid, _> = specs.into_iter().map(|spec| (spec.job_id, spec)).collect();
    let mut jobs = Vec::with_capacity(taken.len());
    for taken in taken {
        let Some(spec) = specs.remove(&taken.candidate.id) else {
            return Err(StoreError::Bug("a job without its spec".to_owned()).into());
        };
        let resolved = serde_json::from_str(spec.resolved.as_deref().unwrap_or("null"))?;
        jobs.push(taken.candidate.claimed(taken.fence, spec.document, resolved, spec.reask));
    }
    Ok(jobs)
}

/// The keys that a call draws on, as one text.
fn key_names(taken: &Taken<'_>, draws: &Draws) -> String {
    let names = taken.candidate.keys.iter().filter_map(|key| draws.keyed.get(*key));
    names.map(|keyed| keyed.name.as_str()).collect::<Vec<_>>().join(KEY_SEPARATOR)
}
