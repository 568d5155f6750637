//! The claim loop: asks each lane for what fits, and starts it.
//! Must not know: how fitting is judged, what a call is.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::begun::Begun;
use super::finisher::Finisher;
use super::wakes::Wakes;
use super::{Bench, WaitingFor, lanes};
use crate::clock::Now;
use crate::error::ErrorKind;
use crate::retry::Allowed;
use crate::store::{AttemptKey, ClaimAsk, Claimed, ClaimedJob, StoreResult};

/// A little noise, so that workers that wait for the same moment do not come together.
const JITTER_MS_MAX: u64 = 10;

/// A claim is worth its commit when this fraction of the slots is free. While a claim runs more
/// come free, so that a busy worker's claims are larger than this by themselves.
const CLAIMS_WORTH: usize = 50;

/// The same wait is logged again after this.
const WAIT_LOG_MS: u64 = 60_000;

/// Logs a wait when it begins or changes its reason, and now and then while it lasts: at a limit
/// of one call a second there is one a second.
#[derive(Default)]
struct WaitLog {
    last: Option<(String, u64)>,
}

impl WaitLog {
    fn note(&mut self, waiting: Option<&WaitingFor>, mono_ms: u64) {
        let Some(waiting) = waiting else { return };
        let reason = waiting.reason();
        let fresh = |(logged, at): &(String, u64)| {
            *logged == reason && mono_ms.saturating_sub(*at) < WAIT_LOG_MS
        };
        if !self.last.as_ref().is_some_and(fresh) {
            // A target of its own, for commands that show waits themselves.
            tracing::warn!(target: "quarrier::waiting", reason, "waiting: {reason}");
            self.last = Some((reason, mono_ms));
        }
    }
}

/// While there is more to claim, the lanes found are asked again for so long, in ms, before anybody
/// looks for new ones: that look would cost each claim a round trip.
const LANES_MS: u64 = 250;

/// What one look leaves for the next.
#[derive(Default)]
struct Lanes {
    /// Those with due jobs, as they were found.
    names: Vec<String>,
    found_mono_ms: u64,
    /// Those of them that had nothing for the last claim: the next look leaves them out.
    dry: Vec<String>,
    /// Which is asked first.
    first: usize,
    /// What the last claim brought, where another follows at once: these start once that is on its
    /// way, so that the store and this process work side by side.
    begun: Option<Begun>,
}

/// What one look at all lanes came to.
#[derive(Default)]
struct Look {
    /// Jobs claimed.
    claimed: usize,
    /// A lane gave all that was asked of it, so there may be more.
    more: bool,
    /// No slot was left for the next lane.
    full: bool,
    /// The lanes were not looked up for this look.
    remembered: bool,
    /// When the first waiting job may fit.
    again_in_ms: Option<u64>,
    /// Why nothing was claimed.
    waiting: Option<WaitingFor>,
}

impl Look {
    /// Nothing is there to be claimed, and something could be.
    fn is_idle(&self, bench: &Bench) -> bool {
        self.claimed == 0
            && self.waiting.is_none()
            && self.again_in_ms.is_none()
            && bench.options.batch.is_none()
            && bench.slots.available_permits() > 0
    }
}

/// Claims and starts work until `drain` or `stop`.
pub(super) async fn work(
    bench: &Arc<Bench>,
    finisher: &Finisher,
    drain: &CancellationToken,
    stop: &CancellationToken,
) {
    let mut lanes = Lanes::default();
    let mut log = WaitLog::default();
    let pulse = &bench.pulses.claims;
    let _going = pulse.begin(bench.clock.now().mono_ms);
    let mut wakes = Wakes::default();
    while !drain.is_cancelled() && !stop.is_cancelled() {
        pulse.lap(bench.clock.now().mono_ms);
        let look = if may_claim(bench) {
            look(bench, finisher, &mut lanes, drain).await
        } else {
            Look { waiting: Some(WaitingFor::Store), ..Look::default() }
        };
        if look.more && lanes.begun.is_some() {
            // More is there, and slots for it.
            continue;
        }
        start(&mut lanes.begun, bench, finisher, drain.is_cancelled());
        if look.claimed > 0 || look.again_in_ms.is_some() {
            pause(bench, &look).await;
        }
        // Slots that were freed in the same instant are claimed for together.
        tokio::task::yield_now().await;
        let is_idle = look.is_idle(bench);
        bench.idle.store(is_idle, Ordering::Relaxed);
        let looks_again = if is_idle {
            wakes.idle(bench).await
        } else {
            wakes.busy(bench).await;
            look.more
        };
        if looks_again {
            continue;
        }
        if !look.full {
            lanes.names.clear();
            if look.remembered {
                // A new lane may have come since its wake-up was used up.
                continue;
            }
        }
        let poll_ms = bench.options.poll_ms;
        let jitter_ms = rand::rng().random_range(0..=JITTER_MS_MAX);
        let wait_ms = look.again_in_ms.map_or(poll_ms, |ms| (ms + jitter_ms).min(poll_ms));
        log.note(look.waiting.as_ref(), bench.clock.now().mono_ms);
        bench.wait_for(look.waiting);
        tokio::select! {
            () = drain.cancelled() => {}
            () = stop.cancelled() => {}
            () = bench.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
    start(&mut lanes.begun, bench, finisher, true);
    bench.wait_for(None);
}

/// The time between two claims: `claim_interval_ms`, because a settlement makes room early but a
/// busy lane is not asked for each of them apart; less, where no limit binds, once enough slots are
/// free to make a claim worth its commit.
async fn pause(bench: &Bench, look: &Look) {
    let interval = Duration::from_millis(bench.options.claim_interval_ms);
    if look.again_in_ms.is_some() {
        return tokio::time::sleep(interval).await;
    }
    let enough = async {
        while !is_worth_a_claim(bench) {
            bench.wake.notified().await;
        }
    };
    tokio::select! {
        () = enough => {}
        () = tokio::time::sleep(interval) => {}
    }
    // A wake-up that was used up here may have been a new job's.
    bench.wake.notify_one();
}

fn is_worth_a_claim(bench: &Bench) -> bool {
    let slots = usize::try_from(bench.options.concurrency).unwrap_or(1);
    bench.slots.available_permits() >= (slots / CLAIMS_WORTH).max(1)
}

/// The store may be asked for work.
pub(super) fn may_claim(bench: &Bench) -> bool {
    bench.lease.may_claim(bench.clock.now().mono_ms) && bench.saves()
}

/// A person may have ended the pause of a lane that this worker does not ask for now.
async fn hear_resumes(bench: &Bench, names: &[String]) {
    let is_out = |lane: &String| {
        matches!(bench.lanes.allowed(lane, &bench.clock).0, Allowed::None { for_ms: 1.. })
    };
    if names.iter().any(is_out) {
        lanes::hear(bench).await;
    }
}

/// Asks every lane once, beginning with another one each time, so that no lane starves another of
/// a limit that they share.
async fn look(
    bench: &Arc<Bench>,
    finisher: &Finisher,
    lanes: &mut Lanes,
    drain: &CancellationToken,
) -> Look {
    let mut look = Look::default();
    let now_mono_ms = bench.clock.now().mono_ms;
    let dry = mem::take(&mut lanes.dry);
    lanes.names.retain(|name| !dry.contains(name));
    if lanes.names.is_empty() || now_mono_ms.saturating_sub(lanes.found_mono_ms) > LANES_MS {
        match bench.store.ready_lanes().await {
            Ok(names) => lanes.names = names,
            Err(error) => {
                tracing::warn!(%error, "lanes not read");
                bench.lease.doubt_after(&error);
                look.waiting = Some(WaitingFor::Store);
                return look;
            }
        }
        lanes.found_mono_ms = now_mono_ms;
    } else {
        look.remembered = true;
    }
    hear_resumes(bench, &lanes.names).await;
    let count = lanes.names.len().max(1);
    lanes.first = (lanes.first + 1) % count;
    for lane in lanes.names.iter().cycle().skip(lanes.first).take(lanes.names.len()) {
        let (allowed, why) = bench.lanes.allowed(lane, &bench.clock);
        if let Allowed::None { for_ms } = allowed {
            note_pause(bench, lane, (for_ms, why), &mut look);
            continue;
        }
        let mut slots = take_slots(bench);
        if allowed == Allowed::One {
            slots.truncate(1);
        }
        if slots.is_empty() || drain.is_cancelled() {
            // A freed slot wakes the loop.
            look.full = slots.is_empty();
            return look;
        }
        let asked = slots.len();
        // Each claim has its own deadline; many lanes of a slow store are no stuck loop.
        bench.pulses.claims.lap(bench.clock.now().mono_ms);
        let before = async { start(&mut lanes.begun, bench, finisher, drain.is_cancelled()) };
        let (claimed, ()) = tokio::join!(biased; claim(bench, lane, asked), before);
        match claimed {
            Ok((claimed, aborts, reserved)) => {
                note(bench, lane, &claimed, &mut look);
                if is_dry(&claimed) {
                    lanes.dry.push(lane.clone());
                }
                look.claimed += claimed.jobs.len();
                look.more |= claimed.jobs.len() == asked;
                let jobs = (claimed.jobs, aborts);
                let begun = Begun::count(bench, lane, jobs, slots, reserved);
                if look.more && look.again_in_ms.is_none() && is_worth_a_claim(bench) {
                    lanes.begun = Some(begun);
                } else {
                    begun.start(bench, finisher, drain.is_cancelled());
                }
            }
            Err(error) => {
                tracing::warn!(lane, %error, "claim failed");
                bench.lease.doubt_after(&error);
                look.waiting = Some(WaitingFor::Store);
            }
        }
    }
    if look.claimed > 0 {
        look.waiting = None;
    }
    look
}

/// Nothing was there, not even what waits for something.
fn is_dry(claimed: &Claimed) -> bool {
    let is_held = claimed.paused_ms.is_some() || claimed.paused_by.is_some();
    let is_waiting = claimed.fits_in_ms.is_some() || claimed.money_exhausted || is_held;
    claimed.jobs.is_empty() && claimed.never_fit == 0 && !is_waiting
}

fn take_slots(bench: &Bench) -> Vec<OwnedSemaphorePermit> {
    let mut slots = Vec::new();
    let slots_max = usize::try_from(bench.options.claim_rows_max.max(1)).unwrap_or(1);
    let slots_max = bench.late.most(slots_max);
    while slots.len() < slots_max {
        let Ok(slot) = Arc::clone(&bench.slots).try_acquire_owned() else { break };
        slots.push(slot);
    }
    slots
}

/// The jobs, what aborts the call of each, and when their quota was reserved.
async fn claim(
    bench: &Bench,
    lane: &str,
    slots: usize,
) -> StoreResult<(Claimed, Vec<CancellationToken>, Now)> {
    let fences = bench.flight.ask(slots);
    let asked = bench.clock.now();
    let ask = ClaimAsk {
        lane: lane.to_owned(),
        lease: bench.lease_id(),
        fences: fences.clone(),
        scan_max: bench.options.claim_scan_max,
        pass_ms_max: bench.options.pass_ms_max,
        money_micros_max: bench.money_left(),
        batch: bench.options.batch,
    };
    let claimed = bench.store.claim(ask).await;
    let aborts =
        claimed.as_ref().map_or_else(|_| Vec::new(), |claimed| registered(bench, lane, claimed));
    bench.flight.forget_asked(&fences);
    let claimed = claimed?;
    // What it waited for before, as for locks, makes nothing late.
    let reserved = claimed.reserved.unwrap_or(asked);
    let late_ms = bench.clock.now().mono_ms.saturating_sub(reserved.mono_ms);
    bench.late.note(claimed.jobs.len(), late_ms, bench.options.send_late_ms_max);
    Ok((claimed, aborts, reserved))
}

/// Notes these jobs as this process's own; returns what aborts the call of each. Before the fences
/// that were asked for are forgotten: the lease's loop compares at any time.
pub(super) fn registered(bench: &Bench, lane: &str, claimed: &Claimed) -> Vec<CancellationToken> {
    let now = bench.clock.now();
    let begin = |job: &ClaimedJob| {
        bench.lanes.claimed(lane, key_of(job), &bench.clock);
        bench.flight.begin(job, now.mono_ms)
    };
    claimed.jobs.iter().map(begin).collect()
}

fn key_of(job: &ClaimedJob) -> AttemptKey {
    AttemptKey { job_id: job.job_id, number: job.number, fence: job.fence }
}

/// The lane is paused for so long; for no time, if one call tries it, which wakes the loop.
fn note_pause(
    bench: &Bench,
    lane: &str,
    (for_ms, kind): (u64, Option<ErrorKind>),
    look: &mut Look,
) {
    let until_mono_ms = bench.clock.now().mono_ms.saturating_add(for_ms);
    look.waiting = Some(WaitingFor::Pause { lane: lane.to_owned(), until_mono_ms, kind });
    if for_ms > 0 {
        look.again_in_ms = Some(look.again_in_ms.map_or(for_ms, |ms| ms.min(for_ms)));
    }
}

fn note(bench: &Bench, lane: &str, claimed: &Claimed, look: &mut Look) {
    let now_ms = bench.clock.now().mono_ms;
    let earliest = |old: Option<u64>, new: u64| Some(old.map_or(new, |old: u64| old.min(new)));
    if let (Some(ms), Some(waiting)) = (claimed.fits_in_ms, &claimed.waiting) {
        if look.again_in_ms.is_none_or(|before| ms < before) {
            look.waiting = Some(WaitingFor::Limit {
                dimension: waiting.dimension,
                key: waiting.key.clone(),
                until_mono_ms: now_ms.saturating_add(ms),
            });
        }
        look.again_in_ms = earliest(look.again_in_ms, ms);
    }
    if let Some(ms) = claimed.paused_ms {
        let kind = claimed.paused_for.as_deref().and_then(ErrorKind::from_name);
        bench.lanes.heard(lane, ms, kind, &bench.clock);
        note_pause(bench, lane, (ms, kind), look);
    }
    if let Some(pause) = &claimed.paused_by
        && look.waiting.is_none()
    {
        look.waiting = Some(WaitingFor::Person(pause.clone()));
    }
    if claimed.money_exhausted {
        look.waiting = Some(WaitingFor::Money);
    }
    if claimed.never_fit > 0 {
        let ends = u64::from(claimed.never_fit);
        bench.status.update(|status| status.failed += ends);
        bench.status.notify();
        tracing::error!(lane, jobs = ends, "jobs ended that can never fit their limit");
    }
}

fn start(begun: &mut Option<Begun>, bench: &Arc<Bench>, finisher: &Finisher, drains: bool) {
    if let Some(begun) = begun.take() {
        begun.start(bench, finisher, drains);
    }
}
