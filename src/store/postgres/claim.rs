//! Room 3 on Postgres: candidates in place order, what fits of them, running, in one transaction.
//! Must not know: how fitting is judged (`budget` does), or what a call is.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::draws::{self, Draws, Rules};
use super::end::{self, End};
use super::error::Outcome;
use super::session::Tx;
use super::{PostgresStore, bulk, pause, sharing as shares};
use crate::budget::FitPolicy;
use crate::job::Resolved;
use crate::store::shared::candidates::{self, Candidate, Sorted, Taken};
use crate::store::shared::halts::Halts;
use crate::store::shared::sharing;
use crate::store::{ClaimAsk, Claimed, ClaimedJob, StoreError};

/// What separates the names of keys in one text.
pub(super) const KEY_SEPARATOR: &str = "\u{1f}";

/// What holds back a lane's jobs, and how its queues share it.
struct Look {
    halts: Halts,
    /// The queues are all that are configured, where one of them has a cap or a reserved share.
    rules: Rules,
}

impl PostgresStore {
    pub(super) async fn claim_in_lane(&self, ask: &ClaimAsk) -> Outcome<Claimed> {
        self.keep_lane_time().await?;
        let lane_key = format!("lane:{}", ask.lane);
        let mut tx = self.begin().await?;
        // The lane first: `lane:` is before every other key.
        draws::lock(&mut tx, &BTreeSet::from([lane_key.clone()])).await?;
        let Look { halts, rules } = self.look_at_lane(&mut tx, &ask.lane, ask.lease).await?;
        if let Some((for_ms, paused_for)) = halts.out {
            tx.rollback().await?;
            return Ok(Claimed { paused_ms: Some(for_ms), paused_for, ..Claimed::default() });
        }
        if halts.lane.is_some() {
            tx.rollback().await?;
            return Ok(Claimed { paused_by: halts.lane, ..Claimed::default() });
        }
        let (queues, paused) = (rules.queues.as_slice(), halts.queue_names());
        let (mut candidates, extra) = self.gather(&mut tx, ask, queues, paused).await?;
        if candidates.is_empty() {
            let paused_by = pause::halted(&mut tx, ask, &halts).await?;
            tx.rollback().await?;
            return Ok(Claimed { paused_by, ..Claimed::default() });
        }
        let keys = (lane_key.as_str(), &rules);
        let mut draws = self.draws(&mut tx, keys, ask, &mut candidates).await?;
        candidates::reserve_expected(&draws.keyed, &ask.lane, &mut candidates);
        if !queues.is_empty() {
            // The queues' keys are locked: nobody else begins a job of theirs until the commit.
            let running = shares::running(&mut tx, queues).await?;
            sharing::keep_within_caps(queues, &running, &mut candidates);
            sharing::put_first(&draws.keyed, queues, &ask.lane, &extra, &mut candidates);
        }
        let money_exhausted = keep_affordable(&mut tx, ask, &mut candidates).await?;
        let policy = FitPolicy { pass_ms_max: ask.pass_ms_max, claims_max: ask.fences.len() };
        let plan = candidates::plan(&mut draws.keyed, &candidates, &policy, draws.now);
        let sorted = candidates::sort(&draws.keyed, &candidates, &plan, &ask.fences);
        let specs = mark(&mut tx, ask.lease, &sorted.taken, &draws).await?;
        if let Some(place) = candidates::last_place(&sorted.taken) {
            draws.advance_place(&lane_key, place);
        }
        let reserved = draws.read;
        draws.save(self, &mut tx).await?;
        tx.commit().await?;
        // Read once nobody waits for the lane any more.
        let jobs = hand_out(&sorted.taken, specs)?;
        let never_fit = self.end_never_fitting(&sorted, reserved.wall_ms).await?;
        Ok(Claimed {
            jobs,
            fits_in_ms: plan.fits_in_ms,
            waiting: sorted.waiting,
            never_fit,
            money_exhausted,
            reserved: Some(reserved),
            ..Claimed::default()
        })
    }

    /// What holds this lane's jobs back. The lane's lock is held, and the lease stays to the commit:
    /// a job that ran under none would be nobody's to rescue.
    async fn look_at_lane(&self, tx: &mut Tx, lane: &str, lease: Uuid) -> Outcome<Look> {
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
        let rules = Rules { limits: draws::limits(look.limits)?, queues };
        Ok(Look { halts: Halts { out, ..Halts::default() }.with(pauses, lane), rules })
    }

    /// Locks and loads the keys that these candidates draw on; the lane's is locked already.
    async fn draws(
        &self,
        tx: &mut Tx,
        (lane_key, rules): (&str, &Rules),
        ask: &ClaimAsk,
        candidates: &mut [Candidate],
    ) -> Outcome<Draws> {
        let names: Vec<Vec<String>> =
            candidates.iter().map(|job| rules.names(&ask.lane, &job.queue, &job.tenant)).collect();
        let mut all: BTreeSet<String> = names.iter().flatten().cloned().collect();
        all.remove(lane_key);
        draws::lock(tx, &all).await?;
        all.insert(lane_key.to_owned());
        let draws = Draws::load(self, tx, &all, &rules.limits).await?;
        for (candidate, names) in candidates.iter_mut().zip(names) {
            candidate.keys = names.iter().filter_map(|name| draws.index(name)).collect();
        }
        Ok(draws)
    }

    /// In a transaction of their own, because results come before budgets in the order of locks.
    async fn end_never_fitting(&self, sorted: &Sorted<'_>, now: i64) -> Outcome<u32> {
        if sorted.never.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        end::lock_jobs(&mut tx, sorted.never.iter().map(|(id, _, _)| *id)).await?;
        let ends: Vec<End<'_>> = sorted
            .never
            .iter()
            .map(|(id, kind, reason)| End::failed(*id, *kind, reason.clone()))
            .collect();
        let ended = end::end_jobs(&mut tx, &ends, now).await?;
        tx.commit().await?;
        Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
    }
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

/// What a call needs beside the hot row.
struct Spec {
    job_id: Uuid,
    document: String,
    resolved: Option<String>,
    reask: Option<String>,
}

/// Marks these candidates as running under the lease, each with its attempt.
async fn mark(tx: &mut Tx, lease: Uuid, taken: &[Taken<'_>], draws: &Draws) -> Outcome<Vec<Spec>> {
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
    let specs = sqlx::query_file_as!(
        Spec,
        "src/store/postgres/claim_take.sql",
        &ids,
        &numbers,
        &fences,
        &slots,
        &keys,
        &reserved,
        lease,
        bulk::instant(draws.read.wall_ms),
        &capped
    )
    .fetch_all(tx.on())
    .await?;
    Ok(specs)
}

/// What the worker gets of the jobs just marked.
fn hand_out(taken: &[Taken<'_>], specs: Vec<Spec>) -> Outcome<Vec<ClaimedJob>> {
    let mut specs: HashMap<Uuid, Spec> =
        specs.into_iter().map(|spec| (spec.job_id, spec)).collect();
    let mut jobs = Vec::with_capacity(taken.len());
    // Mostly all are resolved alike.
    let mut last: Option<(String, Resolved)> = None;
    for taken in taken {
        let Some(spec) = specs.remove(&taken.candidate.id) else {
            return Err(StoreError::Bug("a job without its spec".to_owned()).into());
        };
        let text = spec.resolved.unwrap_or_else(|| "null".to_owned());
        let resolved = match &last {
            Some((known, resolved)) if *known == text => resolved.clone(),
            _ => {
                let resolved: Resolved = serde_json::from_str(&text)?;
                last.insert((text, resolved)).1.clone()
            }
        };
        jobs.push(taken.candidate.claimed(taken.fence, spec.document, resolved, spec.reask));
    }
    Ok(jobs)
}

/// The keys that a call draws on, as one text.
pub(super) fn key_names(taken: &Taken<'_>, draws: &Draws) -> String {
    let names = taken.candidate.keys.iter().filter_map(|key| draws.keyed.get(*key));
    names.map(|keyed| keyed.name.as_str()).collect::<Vec<_>>().join(KEY_SEPARATOR)
}
