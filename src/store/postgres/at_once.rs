//! Jobs that run as they are admitted, on Postgres: a caller's own, and those submitted to a lane in
//! which nothing else is due. Their keys' locks, one look under them, one write.
//! Must not know: who puts them in, or how fitting is judged.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::columns::{JobColumns, SpecColumns};
use super::draws::{self, Draws, Exact, Rules, Written};
use super::error::{Fault, Outcome};
use super::session::Tx;
use super::{PostgresStore, bulk, claim, pause, sharing as shares};
use crate::budget::{FitPolicy, Plan};
use crate::clock::Now;
use crate::store::shared::candidates::{self, Candidate, Taken};
use crate::store::shared::halts::Halts;
use crate::store::shared::places::{self, Arrival, Flow, Turn, Turns};
use crate::store::shared::{admission, sharing};
use crate::store::{ClaimedJob, NewJob, QueueShare, StoreError};

/// The rules as this process last read them: good enough to say which keys to lock. What is read
/// under the locks decides, and if it asks for other keys, all begins anew.
#[derive(Debug, Default)]
pub(super) struct LastRules(Mutex<Option<Arc<Rules>>>);

impl LastRules {
    fn get(&self) -> Option<Arc<Rules>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, rules: Rules) -> Arc<Rules> {
        let rules = Arc::new(rules);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&rules));
        rules
    }
}

/// What the look under the locks has found.
pub(super) struct Ground {
    pub(super) halts: Halts,
    pub(super) rules: Arc<Rules>,
    /// Other jobs of the lane are due.
    pub(super) is_busy: bool,
    /// An identity or a dedupe key is somebody's already.
    pub(super) is_known: bool,
    /// Both clocks, once the locks were held.
    read: Now,
    /// What stands of the keys.
    states: Vec<draws::Row>,
    /// Queue, tenant, last place and weight of each flow of the jobs.
    flows: Vec<(String, String, Option<Exact>, f64)>,
}

impl Ground {
    pub(super) fn now(&self) -> i64 {
        self.read.wall_ms
    }

    /// The keys' states, for these jobs to draw on.
    pub(super) fn draws(&mut self, store: &PostgresStore) -> Outcome<Draws> {
        Draws::of(store, mem::take(&mut self.states), &self.rules.limits, self.read)
    }

    /// The places of these jobs in their lane, which stands at this place, and where it stands once
    /// they have had their turns. With nobody else in the lane that says all that would else be
    /// remembered of each flow: who comes next begins there.
    pub(super) fn places(&self, jobs: &[NewJob], lane_place: f64) -> (Vec<f64>, f64) {
        let arrivals: Vec<Arrival<'_>> = jobs
            .iter()
            .map(|job| Arrival {
                lane: "",
                queue: &job.queue,
                tenant: &job.tenant,
                priority: job.priority,
            })
            .collect();
        let mut turns: Turns<'_> = HashMap::new();
        for (queue, tenant, last, weight) in &self.flows {
            let place = last.map_or(0.0, |Exact(place)| place);
            let turn = Turn { lane_place, place, weight: *weight };
            turns.insert(Flow { lane: "", queue, tenant }, turn);
        }
        let places = places::give(&arrivals, &mut turns);
        let stands = turns.values().map(|turn| turn.place).fold(lane_place, f64::max);
        (places, stands)
    }
}

/// The candidates that are left, with what is decided of them.
pub(super) struct Judged {
    pub(super) candidates: Vec<Candidate>,
    pub(super) plan: Plan,
}

/// Jobs that run now, each taken in its place or in none.
pub(super) struct Runs<'a> {
    pub(super) jobs: &'a [NewJob],
    pub(super) taken: &'a [Taken<'a>],
    pub(super) lease: Uuid,
    /// They have places in their lane, where they stand if their calls are given back.
    pub(super) placed: bool,
}

impl PostgresStore {
    /// The keys that these jobs draw on, by the rules as they were last read.
    pub(super) async fn keys_of<'j>(
        &self,
        tx: &mut Tx,
        jobs: impl Iterator<Item = &'j NewJob>,
    ) -> Outcome<BTreeSet<String>> {
        let rules = if let Some(rules) = self.rules.get() {
            rules
        } else {
            let limits = draws::rules(tx).await?;
            self.rules.keep(Rules { limits, queues: shares::queues(tx).await? })
        };
        Ok(rules.keys(jobs))
    }

    /// Looks at the ground of these jobs of one lane, whose keys are locked. The lease stays to the
    /// commit: a job that ran under none would be nobody's to rescue.
    pub(super) async fn ground(
        &self,
        tx: &mut Tx,
        jobs: &[NewJob],
        lease: Uuid,
        locked: &BTreeSet<String>,
    ) -> Outcome<Ground> {
        let lane = jobs.first().map_or("", |job| job.lane.as_str());
        let (owners, identities): (Vec<String>, Vec<String>) =
            admission::identities(jobs).into_iter().unzip();
        let (holders, dedupe_keys): (Vec<String>, Vec<String>) =
            admission::dedupe_keys(jobs).into_iter().unzip();
        let flows: BTreeSet<(&str, &str)> =
            jobs.iter().map(|job| (job.queue.as_str(), job.tenant.as_str())).collect();
        let (queues, tenants): (Vec<&str>, Vec<&str>) = flows.into_iter().unzip();
        let names: Vec<&String> = locked.iter().collect();
        let mono_ms = self.clock.now().mono_ms;
        let look = sqlx::query_file!(
            "src/store/postgres/claim_new_look.sql",
            lane,
            lease,
            &owners,
            &identities,
            &holders,
            &dedupe_keys,
            &queues as _,
            &tenants as _,
            &names as _
        )
        .fetch_one(tx.on())
        .await?;
        if look.beat.is_none() {
            return Err(StoreError::Transient(format!("the lease {lease} is gone")).into());
        }
        let rules = self.rules.keep(Rules {
            limits: draws::limits(look.limits)?,
            queues: bulk::list(look.queues)?.into_iter().map(queue_share).collect(),
        });
        if !rules.keys(jobs.iter()).is_subset(locked) {
            return Err(Fault::Overtaken);
        }
        let now = self.read_now(look.now);
        let paused_ms = look.paused_until.unwrap_or(i64::MIN).saturating_sub(now);
        let out = (paused_ms > 0).then(|| (bulk::uint(paused_ms), look.pause_reason));
        let pauses = if look.pauses { pause::pauses(tx, now).await? } else { Vec::new() };
        let halts = Halts { out, ..Halts::default() }.with(pauses, lane);
        let (is_busy, is_known, flows) = (look.is_busy, look.is_known, bulk::list(look.flows)?);
        let states = bulk::list(look.states)?;
        let read = Now { wall_ms: now, mono_ms };
        Ok(Ground { halts, rules, is_busy, is_known, read, states, flows })
    }
}

/// Decides which of these candidates of one lane run now, and reserves their quota in the states.
/// None where their queues have no room for all of them.
pub(super) async fn judge(
    tx: &mut Tx,
    rules: &Rules,
    draws: &mut Draws,
    (lane, mut candidates): (&str, Vec<Candidate>),
    pass_ms_max: u64,
) -> Outcome<Option<Judged>> {
    let queues = &rules.queues;
    let running = shares::running(tx, queues).await?;
    if !sharing::keep_within_caps(queues, &running, &mut candidates).is_empty() {
        return Ok(None);
    }
    for candidate in &mut candidates {
        let names = rules.names(lane, &candidate.queue, &candidate.tenant);
        candidate.keys = names.iter().filter_map(|name| draws.index(name)).collect();
    }
    candidates::reserve_expected(&draws.keyed, lane, &mut candidates);
    sharing::put_first(&draws.keyed, queues, lane, &HashSet::new(), &mut candidates);
    let policy = FitPolicy { pass_ms_max, claims_max: candidates.len() };
    let plan = candidates::plan(&mut draws.keyed, &candidates, &policy, draws.now);
    Ok(Some(Judged { candidates, plan }))
}

/// Writes these jobs, running, each with its attempt, and the states that they draw on.
pub(super) async fn write(
    store: &PostgresStore,
    tx: &mut Tx,
    runs: &Runs<'_>,
    draws: &Draws,
) -> Outcome<Vec<ClaimedJob>> {
    let by_id: HashMap<Uuid, &NewJob> = runs.jobs.iter().map(|job| (job.job_id, job)).collect();
    let of = |taken: &Taken<'_>| by_id.get(&taken.candidate.id).copied();
    let jobs: Vec<&NewJob> = runs.taken.iter().filter_map(of).collect();
    let written = insert(tx, &jobs, runs, draws).await?;
    draws::trim(store, tx, written).await?;
    let mut claimed = Vec::with_capacity(jobs.len());
    for (job, taken) in jobs.iter().zip(runs.taken) {
        let resolved = candidates::resolved(job)?;
        claimed.push(taken.candidate.claimed(taken.fence, job.document.clone(), resolved, None));
    }
    Ok(claimed)
}

async fn insert(
    tx: &mut Tx,
    jobs: &[&NewJob],
    runs: &Runs<'_>,
    draws: &Draws,
) -> Outcome<Vec<Written>> {
    let columns = JobColumns::of(jobs);
    let specs = SpecColumns::of(jobs)?;
    let taken = runs.taken;
    let place = |taken: &Taken<'_>| runs.placed.then_some(taken.candidate.place);
    let places: Vec<Option<f64>> = taken.iter().map(place).collect();
    let identities: Vec<Option<&str>> = jobs.iter().map(|job| job.identity.as_deref()).collect();
    let hashes: Vec<&str> = jobs.iter().map(|job| job.document_hash.as_str()).collect();
    let seen_until: Vec<i64> = jobs.iter().map(|job| bulk::instant(job.seen_until)).collect();
    let fences: Vec<Uuid> = taken.iter().map(|taken| taken.fence).collect();
    let slots: Vec<i64> = taken.iter().map(|taken| bulk::int(taken.slot)).collect();
    let keys: Vec<String> = taken.iter().map(|taken| claim::key_names(taken, draws)).collect();
    let reserved: Vec<i64> =
        taken.iter().map(|taken| bulk::int(taken.candidate.reservation.tokens)).collect();
    let capped: Vec<bool> = taken.iter().map(|taken| taken.candidate.capped).collect();
    let states = draws.columns()?;
    let row = sqlx::query_file!(
        "src/store/postgres/claim_new_write.sql",
        &columns.ids,
        &columns.external_ids as _,
        &columns.tenants as _,
        &columns.queues as _,
        &columns.lanes as _,
        &columns.models as _,
        &places as _,
        &columns.priorities,
        &columns.run_at,
        &columns.deadlines,
        &columns.attempts_max as _,
        &columns.holds,
        &columns.inputs,
        &columns.outputs,
        &columns.burndowns,
        &columns.dedupe_keys as _,
        &identities as _,
        &hashes as _,
        &seen_until,
        &specs.documents as _,
        &specs.metadata as _,
        &specs.resolved as _,
        &fences,
        &slots,
        &keys,
        &reserved,
        &capped,
        runs.lease,
        bulk::instant(draws.read.wall_ms),
        &columns.replies,
        &specs.reply_to as _,
        &specs.traces as _,
        &states.names as _,
        states.places,
        &states.states,
        states.settled
    )
    .fetch_one(tx.on())
    .await?;
    let wanted = identities.iter().flatten().count();
    if usize::try_from(row.known) == Ok(wanted) {
        bulk::list(row.written)
    } else {
        Err(Fault::Overtaken)
    }
}

fn queue_share((name, cap, reserved, weight): (String, Option<i32>, i32, f64)) -> QueueShare {
    QueueShare {
        name,
        concurrency_max: cap.map(bulk::small),
        reserved_permille: bulk::small(reserved),
        weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_look_are_read_and_none_is_empty() {
        let limits = Some(r#"[["total",50,null,"set"]]"#.to_owned());
        let rules = draws::limits(limits).unwrap();
        assert_eq!(rules[0].limit.requests_per_minute, Some(50));
        assert_eq!((rules[0].limit.tokens_per_minute, rules[0].origin.as_str()), (None, "set"));
        let queues = Some(r#"[["chat",null,100,1],["reports",3,0,0.5]]"#.to_owned());
        let queues: Vec<QueueShare> =
            bulk::list(queues).unwrap().into_iter().map(queue_share).collect();
        assert_eq!((queues[0].reserved_permille, queues[1].concurrency_max), (100, Some(3)));
        assert!(bulk::list::<(String, f64)>(None).unwrap().is_empty());
    }
}
