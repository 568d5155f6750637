//! The lanes as this worker sees them: in order, paused, or tried by one call; and the one line that
//! a pause is worth.
//! Must not know: how a pause is decided (`retry::Lane` does), or how the store keeps it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Bench;
use crate::clock::Clock;
use crate::error::{ErrorKind, explain, first_line};
use crate::provider::{CallError, FailedCharge};
use crate::retry::{Allowed, Failure, Lane, Out, Policy};
use crate::store::{AttemptKey, ClaimedJob};

/// Lanes remembered at once; those in order are forgotten first.
const LANES_MAX: usize = 1_000;
/// How much of the provider's words a line repeats, in characters.
const MESSAGE_CHARS_MAX: usize = 160;

/// Every lane that this worker has called. Std mutexes: nothing is awaited while one is held.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<String, Lane>>,
    /// How often people have ended a pause of each lane, as far as this worker has acted on it. It
    /// looks first when it opens its lease, before any pause of its own, so that it misses none.
    resumes: Mutex<Option<HashMap<String, u64>>>,
}

impl Lanes {
    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(name) {
            return change(lane);
        }
        if lanes.len() >= LANES_MAX {
            lanes.retain(|_, lane| lane.is_paused());
        }
        change(lanes.entry(name.to_owned()).or_default())
    }

    /// How many calls this lane may be given now, and why so few.
    pub(super) fn allowed(&self, name: &str, clock: &Clock) -> (Allowed, Option<ErrorKind>) {
        let lanes = self.lanes();
        let allowed = |lane: &Lane| (lane.allowed(clock.now().mono_ms), lane.why());
        lanes.get(name).map_or((Allowed::All, None), allowed)
    }

    /// How many of the lanes that it knows are paused, and how many it knows.
    pub(super) fn paused(&self) -> (usize, usize) {
        let lanes = self.lanes();
        (lanes.values().filter(|lane| lane.is_paused()).count(), lanes.len())
    }

    /// The store says that the lane is paused.
    pub(super) fn heard(&self, name: &str, for_ms: u64, kind: Option<ErrorKind>, clock: &Clock) {
        self.with(name, |lane| lane.heard(for_ms, kind, clock.now().mono_ms));
    }

    /// People have ended pauses so often: returns the lanes that are tried now because of it. One
    /// that is not paused here may be a moment later, by an answer that is on its way: what it was
    /// resumed for stays to be done, and at worst one call too many tries it.
    fn resumed(&self, resumes: Vec<(String, u64)>, now_ms: u64) -> Vec<String> {
        let mut kept = self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = kept.as_mut() else {
            *kept = Some(resumes.into_iter().collect());
            return Vec::new();
        };
        let mut lanes = self.lanes();
        let mut tried = Vec::new();
        for (name, times) in resumes {
            let is_new = before.get(&name).is_none_or(|old| *old < times);
            if is_new && lanes.get_mut(&name).is_some_and(|lane| lane.try_now(now_ms)) {
                before.insert(name.clone(), times);
                tried.push(name);
            }
        }
        tried
    }

    /// A call was claimed; it may be the one that tries the lane.
    pub(super) fn claimed(&self, name: &str, key: AttemptKey, clock: &Clock) {
        if let Some(lane) = self.lanes().get_mut(name) {
            lane.claimed(key.fence.as_u128(), clock.now().mono_ms);
        }
    }

    /// A call is over, however it ended.
    pub(super) fn over(&self, name: &str, job: &ClaimedJob) {
        if let Some(lane) = self.lanes().get_mut(name) {
            lane.over(job.fence.as_u128());
        }
    }
}

/// Hears which lanes people want tried before their pauses are over. Every worker has its own view
/// of a lane, so clearing the store's alone would not do.
pub(super) async fn hear(bench: &Bench) {
    let resumes = match bench.store.resumes().await {
        Ok(resumes) => resumes,
        Err(error) => {
            tracing::warn!(%error, "resumed lanes not read, asking again soon");
            return;
        }
    };
    for lane in bench.lanes.resumed(resumes, bench.clock.now().mono_ms) {
        tracing::info!(target: "quarrier::lanes", lane, "{lane} is tried now: a person resumed it");
        bench.wake.notify_one();
    }
}

/// The provider answered: the lane works.
pub(super) fn worked(bench: &Bench, name: &str, job: &ClaimedJob) {
    let now_ms = bench.clock.now().mono_ms;
    if bench.lanes.with(name, |lane| lane.worked(job.fence.as_u128(), now_ms)) {
        back(bench, name);
    }
}

/// A call failed. Some, if that is the lane's failure; the first such failure is told to people.
pub(super) fn failed(
    bench: &Bench,
    name: &str,
    job: &ClaimedJob,
    error: &CallError,
) -> Option<Out> {
    let failure = Failure {
        kind: error.kind,
        unsent: error.charge == FailedCharge::NotSent,
        job: job.job_id.as_u128(),
        fence: job.fence.as_u128(),
        failures: job.counters.failures,
        retry_after_ms: error.retry_after_ms,
    };
    let (policy, now_ms): (&Policy, _) = (&bench.options.retry, bench.clock.now().mono_ms);
    let (out, is_back) = bench.lanes.with(name, |lane| {
        let was_paused = lane.is_paused();
        let out = lane.failed(&failure, policy, now_ms, &mut rand::rng());
        (out, was_paused && !lane.is_paused())
    });
    if is_back {
        back(bench, name);
    }
    if let Some(out) = out.filter(|out| out.began) {
        let line = if out.again { line_again(name, error, out) } else { line(name, error, out) };
        // A target of its own, for commands that show pauses themselves.
        tracing::warn!(
            target: "quarrier::lanes",
            lane = name,
            error.kind = error.kind.as_str(),
            "{line}"
        );
        bench.status.update(|status| status.tell(line));
        bench.status.notify();
    }
    out
}

fn back(bench: &Bench, name: &str) {
    tracing::info!(target: "quarrier::lanes", lane = name, "{name} works again");
    bench.wake.notify_one();
}

/// What a person needs to know of a pause: where, why, what to do, and when it is tried again.
fn line(name: &str, error: &CallError, out: Out) -> String {
    let kind = error.kind;
    let said = first_line(&error.message);
    let mut message: String = said.chars().take(MESSAGE_CHARS_MAX).collect();
    if message.len() < said.len() {
        message.push('…');
    }
    let message = message.trim_end_matches('.');
    let hint = explain(kind).hint.map(|hint| format!(" To do: {hint}.")).unwrap_or_default();
    format!(
        "{name} is paused: {kind}: {message}.{hint} One call tries it again in {}, then it goes on \
         by itself; no job fails meanwhile (`quarrier explain {kind}`).",
        span(out.for_ms)
    )
}

/// The call that tried it failed in the same way: the first line has said what to do.
fn line_again(name: &str, error: &CallError, out: Out) -> String {
    let (kind, again_in) = (error.kind, span(out.for_ms));
    format!("{name} is still paused: {kind}. One call tries it again in {again_in}.")
}

/// `12 s`, `66 min`; what has begun counts.
fn span(ms: u64) -> String {
    match ms {
        0..120_000 => format!("{} s", ms.div_ceil(1_000)),
        _ => format!("{} min", ms.div_ceil(60_000)),
    }
}
