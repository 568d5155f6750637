//! Room 3 on SQLite: candidates in place order, what fits of them, running, in one transaction.
//! Must not know: how fitting is judged (`budget` does), or what a call is.

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::draws::Draws;
use super::end::{self, End};
use super::{SqliteStore, Tx, bulk, pause, sharing as shares};
use crate::budget::FitPolicy;
use crate::job::{Resolved, Wanted};
use crate::retry::Counters;
use crate::store::shared::candidates::{self, Candidate, Sorted, Taken};
use crate::store::shared::sharing;
use crate::store::{ClaimAsk, Claimed, ClaimedJob, QueueShare, StoreError, StoreResult};

#[derive(Serialize)]
struct ClaimRow<'a> {
    id: String,
    number: u32,
    fence: String,
    slot: u64,
    keys: &'a str,
    reserved_tokens: u64,
    /// As SQLite's JSON functions read it.
    capped: u8,
}

impl SqliteStore {
    pub(super) async fn claim_in_lane(&self, ask: ClaimAsk) -> StoreResult<Claimed> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        check_lease(&mut tx, ask.lease).await?;
        let halts = pause::halts(&mut tx, &ask.lane, now).await?;
        if let Some((paused_ms, paused_for)) = halts.out {
            let paused_ms = Some(paused_ms);
            return Ok(Claimed { paused_ms, paused_for, ..Claimed::default() });
        }
        if halts.lane.is_some() {
            return Ok(Claimed { paused_by: halts.lane, ..Claimed::default() });
        }
        let mut draws = Draws::open(self, &mut tx).await?;
        let paused = halts.queue_names();
        let (mut candidates, extra) = gather(&mut tx, &ask, (&draws.queues, &paused)).await?;
        if candidates.is_empty() {
            let paused_by = pause::halted(&mut tx, &ask, &halts).await?;
            return Ok(Claimed { paused_by, ..Claimed::default() });
        }
        for candidate in &mut candidates {
            let Candidate { queue, tenant, .. } = &*candidate;
            candidate.keys = draws.keys(&mut tx, &ask.lane, queue, tenant).await?;
        }
        candidates::reserve_expected(&draws.keyed, &ask.lane, &mut candidates);
        sharing::put_first(&draws.keyed, &draws.queues, &ask.lane, &extra, &mut candidates);
        let money_exhausted = keep_affordable(&mut tx, &ask, &mut candidates).await?;
        let policy = FitPolicy { pass_ms_max: ask.pass_ms_max, claims_max: ask.fences.len() };
        let plan = candidates::plan(&mut draws.keyed, &candidates, &policy, draws.now);
        let sorted = candidates::sort(&draws.keyed, &candidates, &plan, &ask.fences);
        let never_fit = end_never_fitting(&mut tx, &sorted, now).await?;
        if let Some(place) = candidates::last_place(&sorted.taken) {
            sqlx::query_file!("src/store/sqlite/lane_advance.sql", ask.lane, place)
                .execute(&mut *tx)
                .await?;
        }
        let jobs = take(&mut tx, ask.lease, &sorted.taken, &draws, now).await?;
        let reserved = Some(draws.own);
        draws.save(&mut tx).await?;
        tx.commit().await?;
        Ok(Claimed {
            jobs,
            fits_in_ms: plan.fits_in_ms,
            waiting: sorted.waiting,
            never_fit,
            money_exhausted,
            reserved,
            ..Claimed::default()
        })
    }
}

async fn end_never_fitting(tx: &mut Tx, sorted: &Sorted<'_>, now: i64) -> StoreResult<u32> {
    let ends: Vec<End> = sorted
        .never
        .iter()
        .map(|(id, kind, reason)| End::failed(*id, *kind, reason.clone()))
        .collect();
    let ended = end::end_jobs(tx, &ends, now).await?;
    Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
}

/// A job that ran under no lease would be nobody's to rescue.
pub(super) async fn check_lease(tx: &mut Tx, lease: Uuid) -> StoreResult<()> {
    let lease = lease.to_string();
    let row = sqlx::query_file!("src/store/sqlite/lease_read.sql", lease).fetch_optional(&mut **tx);
    match row.await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Transient(format!("the lease {lease} is gone"))),
    }
}

/// For how many ms more nobody calls this lane, and why.
pub(super) async fn paused(
    tx: &mut Tx,
    lane: &str,
    now: i64,
) -> StoreResult<Option<(u64, Option<String>)>> {
    let row = sqlx::query_file!("src/store/sqlite/lane_place.sql", lane).fetch_optional(&mut **tx);
    let row = row.await?.filter(|row| row.paused_until > now);
    Ok(row.map(|row| (bulk::uint(row.paused_until - now), row.pause_reason)))
}

/// What a claim chooses from: the head of the lane without these queues and without the full ones,
/// and the heads of the queues that have a reserved share. The second tells what only the latter have
/// brought.
async fn gather(
    tx: &mut Tx,
    ask: &ClaimAsk,
    (queues, without): (&[QueueShare], &[String]),
) -> StoreResult<(Vec<Candidate>, HashSet<Uuid>)> {
    if queues.is_empty() {
        return Ok((read_candidates(tx, ask, without).await?, HashSet::new()));
    }
    let running = shares::running(tx, queues).await?;
    let mut without = without.to_vec();
    without.extend(sharing::full(queues, &running));
    let mut candidates = read_candidates(tx, ask, &without).await?;
    let wanted = usize::try_from(candidates::scan(ask)).unwrap_or(usize::MAX);
    let is_all = candidates.len() < wanted;
    let lost = sharing::keep_within_caps(queues, &running, &mut candidates);
    if !lost.is_empty() && !is_all {
        // Jobs of other queues may stand behind those that their queue's cap leaves out.
        without.extend(lost);
        sharing::merge(&mut candidates, read_candidates(tx, ask, &without).await?);
    }
    let there: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
    let mut extra = HashSet::new();
    for queue in sharing::reserving(queues).iter().filter(|queue| !without.contains(queue)) {
        let more = read_reserved(tx, ask, queue).await?;
        extra.extend(more.iter().map(|job| job.id).filter(|id| !there.contains(id)));
        sharing::merge(&mut candidates, more);
    }
    // What the shares have brought counts against the caps too.
    sharing::keep_within_caps(queues, &running, &mut candidates);
    Ok((candidates, extra))
}

/// A row of the statements that read candidates.
struct CandidateRow {
    id: Hyphenated,
    external_id: Option<String>,
    tenant: String,
    queue: String,
    place: f64,
    calls: i64,
    failures: i64,
    reasks: i64,
    crashes: i64,
    throttles: i64,
    max_attempts: Option<i64>,
    deadline_at: i64,
    input_tokens_max: i64,
    max_tokens: i64,
    burndown: i64,
    hold: i64,
}

impl From<CandidateRow> for Candidate {
    fn from(row: CandidateRow) -> Self {
        let wanted = Wanted {
            input_tokens_max: bulk::uint(row.input_tokens_max),
            max_tokens: bulk::uint(row.max_tokens),
            burndown: bulk::uint(row.burndown),
        };
        Self {
            id: row.id.into_uuid(),
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
            hold: row.hold != 0,
            keys: Vec::new(),
            capped: false,
            first: false,
        }
    }
}

async fn read_candidates(
    tx: &mut Tx,
    ask: &ClaimAsk,
    without: &[String],
) -> StoreResult<Vec<Candidate>> {
    let batch = ask.batch.map(|batch| batch.to_string());
    let (scan, without) = (candidates::scan(ask), bulk::list(without)?);
    let rows = sqlx::query_file_as!(
        CandidateRow,
        "src/store/sqlite/claim_candidates.sql",
        ask.lane,
        scan,
        batch,
        without
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(Candidate::from).collect())
}

async fn read_reserved(tx: &mut Tx, ask: &ClaimAsk, queue: &str) -> StoreResult<Vec<Candidate>> {
    let batch = ask.batch.map(|batch| batch.to_string());
    let scan = candidates::scan(ask);
    let rows = sqlx::query_file_as!(
        CandidateRow,
        "src/store/sqlite/claim_reserved.sql",
        ask.lane,
        scan,
        batch,
        queue
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(Candidate::from).collect())
}

/// Drops the candidates that the money left does not cover at worst; true if the first is one.
async fn keep_affordable(
    tx: &mut Tx,
    ask: &ClaimAsk,
    candidates: &mut Vec<Candidate>,
) -> StoreResult<bool> {
    let Some(mut left) = ask.money_micros_max else { return Ok(false) };
    candidates.truncate(ask.fences.len());
    let mut affordable = 0;
    for candidate in candidates.iter() {
        let id = candidate.id.to_string();
        let row = sqlx::query_file!("src/store/sqlite/job_spec_read.sql", id)
            .fetch_one(&mut **tx)
            .await?;
        let resolved: Resolved = serde_json::from_str(row.resolved.as_deref().unwrap_or("null"))?;
        let Some(rest) = left.checked_sub(resolved.cost_micros_max(&candidate.wanted).unwrap_or(0))
        else {
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
    now: i64,
) -> StoreResult<Vec<ClaimedJob>> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = Vec::with_capacity(taken.len());
    for Taken { candidate, .. } in taken {
        let names = candidate.keys.iter().filter_map(|key| draws.keyed.get(*key));
        keys.push(bulk::list(&names.map(|keyed| keyed.name.as_str()).collect::<Vec<_>>())?);
    }
    let rows: Vec<ClaimRow<'_>> = taken
        .iter()
        .zip(&keys)
        .map(|(taken, keys)| ClaimRow {
            id: taken.candidate.id.to_string(),
            number: taken.candidate.calls.saturating_add(1),
            fence: taken.fence.to_string(),
            slot: taken.slot,
            keys,
            reserved_tokens: taken.candidate.reservation.tokens,
            capped: u8::from(taken.candidate.capped),
        })
        .collect();
    let rows = bulk::list(&rows)?;
    let lease = lease.to_string();
    sqlx::query_file!("src/store/sqlite/claim_job.sql", rows, lease).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/claim_attempt.sql", rows, lease, now)
        .execute(&mut **tx)
        .await?;
    let specs =
        sqlx::query_file!("src/store/sqlite/claim_spec.sql", rows).fetch_all(&mut **tx).await?;
    let mut jobs = Vec::with_capacity(taken.len());
    for (taken, spec) in taken.iter().zip(specs) {
        if spec.job_id.into_uuid() != taken.candidate.id {
            return Err(StoreError::Bug("specs came out of order".to_owned()));
        }
        let resolved = serde_json::from_str(spec.resolved.as_deref().unwrap_or("null"))?;
        jobs.push(taken.candidate.claimed(taken.fence, spec.document, resolved, spec.reask));
    }
    Ok(jobs)
}
