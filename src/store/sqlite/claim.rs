//! Room 3 on SQLite: candidates in place order, what fits of them, running, in one transaction.
//! Must not know: how fitting is judged (`budget` does), or what a call is.

use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::draws::Draws;
use super::end::{self, End};
use super::{SqliteStore, Tx, bulk};
use crate::budget::{self, Charge, Decision, Draw, FitPolicy, Plan};
use crate::catalogue::cost_micros_max;
use crate::error::ErrorKind;
use crate::job::{Resolved, Wanted};
use crate::retry::Counters;
use crate::store::{ClaimAsk, Claimed, ClaimedJob, StoreError, StoreResult, Waiting};

/// How many that do not fit can be passed, however few slots are free.
const PASSED_MIN: u32 = 16;

/// A due job at the head of its lane.
pub(super) struct Candidate {
    pub(super) id: Uuid,
    pub(super) external_id: Option<String>,
    pub(super) tenant: String,
    pub(super) queue: String,
    pub(super) place: f64,
    pub(super) calls: u32,
    pub(super) counters: Counters,
    pub(super) max_attempts: Option<u32>,
    pub(super) deadline_at: i64,
    pub(super) wanted: Wanted,
    pub(super) hold: bool,
    pub(super) reservation: Charge,
    pub(super) keys: Vec<usize>,
}

#[derive(Serialize)]
struct ClaimRow<'a> {
    id: String,
    number: u32,
    fence: String,
    slot: u64,
    keys: &'a str,
    reserved_tokens: u64,
}

impl SqliteStore {
    pub(super) async fn claim_in_lane(&self, ask: ClaimAsk) -> StoreResult<Claimed> {
        let mut tx = self.begin().await?;
        let now = self.clock.now().wall_ms;
        check_lease(&mut tx, ask.lease).await?;
        if let Some((paused_ms, paused_for)) = paused(&mut tx, &ask.lane, now).await? {
            let paused_ms = Some(paused_ms);
            return Ok(Claimed { paused_ms, paused_for, ..Claimed::default() });
        }
        let mut draws = Draws::open(self, &mut tx).await?;
        let mut candidates = candidates(&mut tx, &ask).await?;
        for candidate in &mut candidates {
            let Candidate { queue, tenant, .. } = &*candidate;
            candidate.keys = draws.keys(&mut tx, &ask.lane, queue, tenant).await?;
        }
        reserve_expected(&draws, &ask.lane, &mut candidates);
        let money_exhausted = keep_affordable(&mut tx, &ask, &mut candidates).await?;
        let policy = FitPolicy { pass_ms_max: ask.pass_ms_max, claims_max: ask.fences.len() };
        let plan = plan(&mut draws, &candidates, policy);
        let claimed = apply(&mut tx, &ask, &candidates, &plan, (&draws, now)).await?;
        draws.save(&mut tx).await?;
        tx.commit().await?;
        Ok(Claimed { money_exhausted, ..claimed })
    }
}

/// Carries out what was decided of the candidates.
async fn apply(
    tx: &mut Tx,
    ask: &ClaimAsk,
    candidates: &[Candidate],
    plan: &Plan,
    (draws, now): (&Draws, i64),
) -> StoreResult<Claimed> {
    let mut fences = ask.fences.iter();
    let mut taken = Vec::new();
    let mut never = Vec::new();
    for (candidate, decision) in candidates.iter().zip(&plan.decisions) {
        match decision {
            Decision::Claim { slots } => {
                let Some(fence) = fences.next() else { break };
                let slot = slots.first().map_or(0, |slot| slot.0);
                taken.push((candidate, *fence, slot));
            }
            Decision::NeverFits { .. } => {
                let reason = never_fits(draws, decision).unwrap_or_default();
                never.push(End::failed(candidate.id, ErrorKind::NeverFits, reason));
            }
            Decision::Wait { .. } => {}
        }
    }
    let never_fit = end::end_jobs(tx, &never, now).await?.len();
    if let Some((last, _, _)) = taken.last() {
        sqlx::query_file!("src/store/sqlite/lane_advance.sql", ask.lane, last.place)
            .execute(&mut **tx)
            .await?;
    }
    let jobs = take(tx, ask.lease, &taken, draws, now).await?;
    let waiting = waiting(draws, plan);
    Ok(Claimed {
        jobs,
        fits_in_ms: plan.fits_in_ms,
        waiting,
        never_fit: u32::try_from(never_fit).unwrap_or(u32::MAX),
        ..Claimed::default()
    })
}

/// Why a job can never run, for a person.
pub(super) fn never_fits(draws: &Draws, decision: &Decision) -> Option<String> {
    let Decision::NeverFits { key, dimension, limit, reservation } = decision else { return None };
    let key = draws.keyed.get(*key).map_or("", |keyed| &keyed.name);
    Some(format!(
        "needs {reservation} {dimension} a minute and {key} allows {limit}: \
         lower max_tokens, shorten the input, or raise the limit"
    ))
}

/// What the first of those that wait waits for.
pub(super) fn waiting(draws: &Draws, plan: &Plan) -> Option<Waiting> {
    let (key, dimension) = plan.waiting?;
    let key = draws.keyed.get(key)?.name.clone();
    Some(Waiting { key, dimension })
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

async fn candidates(tx: &mut Tx, ask: &ClaimAsk) -> StoreResult<Vec<Candidate>> {
    let batch = ask.batch.map(|batch| batch.to_string());
    // A few more than can be claimed leave room to pass those that do not fit.
    let slots = u32::try_from(ask.fences.len()).unwrap_or(u32::MAX);
    let scan = slots.saturating_add((slots / 4).max(PASSED_MIN)).min(ask.scan_max);
    let rows = sqlx::query_file!("src/store/sqlite/claim_candidates.sql", ask.lane, scan, batch)
        .fetch_all(&mut **tx)
        .await?;
    let candidate = rows.into_iter().map(|row| {
        let wanted = Wanted {
            input_tokens_max: bulk::uint(row.input_tokens_max),
            max_tokens: bulk::uint(row.max_tokens),
            burndown: bulk::uint(row.burndown),
        };
        Candidate {
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
            reservation: reservation(wanted),
            wanted,
            hold: row.hold != 0,
            keys: Vec::new(),
        }
    });
    Ok(candidate.collect())
}

/// What a call of these wants reserves.
pub(super) fn reservation(wanted: Wanted) -> Charge {
    budget::reservation(wanted.input_tokens_max, wanted.max_tokens, 0, wanted.burndown)
}

/// A call whose like have used more than they reserved (a long answer at burndown 5) reserves what
/// they used, so that settling it does not overdraw the limit.
pub(super) fn reserve_expected(draws: &Draws, lane: &str, candidates: &mut [Candidate]) {
    let name = format!("lane:{lane}");
    let Some(keyed) = draws.keyed.iter().find(|keyed| keyed.name == name) else { return };
    for candidate in candidates {
        let expected = keyed.state.expected(candidate.reservation);
        // An estimate from other calls makes a job wait for an empty window, never fail.
        let limits = candidate.keys.iter().filter_map(|key| draws.keyed.get(*key));
        let room = limits.filter_map(|keyed| keyed.limit.tokens_per_minute).min();
        let expected = expected.tokens.min(room.unwrap_or(u64::MAX));
        candidate.reservation.tokens = candidate.reservation.tokens.max(expected);
    }
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
        let cost = resolved.prices.as_ref().map_or(0, |prices| {
            cost_micros_max(prices, candidate.wanted.input_tokens_max, candidate.wanted.max_tokens)
        });
        let Some(rest) = left.checked_sub(cost) else { break };
        left = rest;
        affordable += 1;
    }
    let exhausted = affordable == 0 && !candidates.is_empty();
    candidates.truncate(affordable);
    Ok(exhausted)
}

pub(super) fn plan(draws: &mut Draws, candidates: &[Candidate], policy: FitPolicy) -> Plan {
    let ids: Vec<String> = candidates.iter().map(|candidate| candidate.id.to_string()).collect();
    let wants: Vec<Draw<'_>> = candidates
        .iter()
        .zip(&ids)
        .map(|(candidate, id)| Draw {
            id,
            reservation: candidate.reservation,
            keys: &candidate.keys,
        })
        .collect();
    let now = draws.now;
    budget::fit(&mut draws.keyed, &wants, &policy, now)
}

/// Marks these candidates as running under the lease, each with its attempt.
pub(super) async fn take(
    tx: &mut Tx,
    lease: Uuid,
    taken: &[(&Candidate, Uuid, u64)],
    draws: &Draws,
    now: i64,
) -> StoreResult<Vec<ClaimedJob>> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = Vec::with_capacity(taken.len());
    for (candidate, _, _) in taken {
        let names = candidate.keys.iter().filter_map(|key| draws.keyed.get(*key));
        keys.push(bulk::list(&names.map(|keyed| keyed.name.as_str()).collect::<Vec<_>>())?);
    }
    let rows: Vec<ClaimRow<'_>> = taken
        .iter()
        .zip(&keys)
        .map(|((candidate, fence, slot), keys)| ClaimRow {
            id: candidate.id.to_string(),
            number: candidate.calls + 1,
            fence: fence.to_string(),
            slot: *slot,
            keys,
            reserved_tokens: candidate.reservation.tokens,
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
    for ((candidate, fence, _), spec) in taken.iter().zip(specs) {
        if spec.job_id.into_uuid() != candidate.id {
            return Err(StoreError::Bug("specs came out of order".to_owned()));
        }
        let resolved = serde_json::from_str(spec.resolved.as_deref().unwrap_or("null"))?;
        jobs.push(ClaimedJob {
            job_id: candidate.id,
            external_id: candidate.external_id.clone(),
            number: candidate.calls + 1,
            fence: *fence,
            document: spec.document,
            resolved,
            reask: spec.reask,
            counters: candidate.counters,
            max_attempts: candidate.max_attempts,
            deadline_at: candidate.deadline_at,
            tenant: candidate.tenant.clone(),
            queue: candidate.queue.clone(),
            reserved_tokens: candidate.reservation.tokens,
            wanted: candidate.wanted,
            hold: candidate.hold,
        });
    }
    Ok(jobs)
}
