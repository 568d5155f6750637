//! Which of a lane's candidates may start now: one decision for each, in their order of place.
//! Must not know: jobs, stores, how a key is named.

use super::charge::{Charge, Dimension, LaneTime, Limit, Slot};
use super::state::{BudgetState, Pass};

/// One candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw<'a> {
    /// Tells the candidate from others; the same each time it is asked for.
    pub id: &'a str,
    /// What its call reserves.
    pub reservation: Charge,
    /// The keys that it draws on, as indexes into the keys given.
    pub keys: &'a [usize],
    /// Nothing passes it: the keys that it waits for are kept for it from the first moment.
    pub first: bool,
}

/// One key with its limit and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The key's name.
    pub name: String,
    /// What is configured for it.
    pub limit: Limit,
    /// What has been drawn on it.
    pub state: BudgetState,
}

/// The settings of [`fit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitPolicy {
    /// For how long smaller draws may pass one that does not fit; afterwards the keys that it
    /// waits for are kept for it.
    pub pass_ms_max: u64,
    /// How many are claimed at most; draws after the last claim are not judged.
    pub claims_max: usize,
}

impl Default for FitPolicy {
    fn default() -> Self {
        Self { pass_ms_max: 30_000, claims_max: usize::MAX }
    }
}

/// What becomes of one draw. Keys are indexes into the keys given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It fits, and is reserved in the states.
    Claim {
        /// The slot that it is charged to, one per key in the draw's order.
        slots: Vec<Slot>,
    },
    /// It does not fit yet.
    Wait {
        /// When it fits if nothing else is claimed; a finished call can make it earlier.
        fits_in_ms: u64,
        /// The key that holds it back longest.
        key: usize,
        /// The dimension of that key.
        dimension: Dimension,
    },
    /// It is larger than a configured limit.
    NeverFits {
        /// The key with that limit.
        key: usize,
        /// The dimension of that limit.
        dimension: Dimension,
        /// The configured limit per minute.
        limit: u64,
        /// What the draw needs of it.
        reservation: u64,
    },
}

/// The decisions on a list of draws.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One per draw, in the same order; shorter if `claims_max` was reached before the last.
    pub decisions: Vec<Decision>,
    /// When the first of those that wait fits; `None` if none waits.
    pub fits_in_ms: Option<u64>,
    /// The key and dimension that this one waits for.
    pub waiting: Option<(usize, Dimension)>,
}

/// How long after its time a draw that keys are kept for may ask again before they are free for
/// others: it may be cancelled, or its worker gone.
const KEPT_MS_MAX: u64 = 2_000;

/// Why a draw waits.
#[derive(Clone, Copy)]
struct Wait {
    ms: u64,
    key: usize,
    dimension: Dimension,
}

/// Decides, in order, which draws fit at `now`, and reserves those in the states.
///
/// The cost is a few comparisons for a draw that fits, and one walk over the ring for one that
/// waits.
pub fn fit(keyed: &mut [Keyed], draws: &[Draw<'_>], policy: &FitPolicy, now: LaneTime) -> Plan {
    for key in keyed.iter_mut() {
        key.state.refresh(now, &key.limit);
    }
    let mut plan = Plan::default();
    let mut claims: usize = 0;
    for draw in draws {
        if claims >= policy.claims_max {
            break;
        }
        let decision = decide(keyed, draw, policy);
        match &decision {
            Decision::Claim { .. } => claims += 1,
            Decision::Wait { fits_in_ms, key, dimension }
                if plan.fits_in_ms.is_none_or(|before| *fits_in_ms < before) =>
            {
                plan.fits_in_ms = Some(*fits_in_ms);
                plan.waiting = Some((*key, *dimension));
            }
            Decision::Wait { .. } | Decision::NeverFits { .. } => {}
        }
        plan.decisions.push(decision);
    }
    plan
}

fn decide(keyed: &mut [Keyed], draw: &Draw<'_>, policy: &FitPolicy) -> Decision {
    if let Some(never) = never_fits(keyed, draw) {
        return never;
    }
    let wait = match kept_for_another(keyed, draw, policy) {
        Some(wait) => Some(wait),
        None => longest_wait(keyed, draw),
    };
    match wait {
        Some(Wait { ms, key, dimension }) => Decision::Wait { fits_in_ms: ms, key, dimension },
        None => Decision::Claim { slots: claim(keyed, draw) },
    }
}

/// The keys of a draw that exist, with their indexes.
fn keys_of<'k>(keyed: &'k [Keyed], draw: &Draw<'k>) -> impl Iterator<Item = (usize, &'k Keyed)> {
    draw.keys.iter().filter_map(|index| Some((*index, keyed.get(*index)?)))
}

/// Judged against what is configured: a limit that was decreased grows back.
fn never_fits(keyed: &[Keyed], draw: &Draw<'_>) -> Option<Decision> {
    for (key, Keyed { limit, .. }) in keys_of(keyed, draw) {
        for dimension in Dimension::ALL {
            let reservation = draw.reservation.of(dimension);
            if let Some(limit) = limit.of(dimension).filter(|limit| reservation > *limit) {
                return Some(Decision::NeverFits { key, dimension, limit, reservation });
            }
        }
    }
    None
}

/// A key of this draw that is kept for another, which was passed for long enough.
fn kept_for_another(keyed: &[Keyed], draw: &Draw<'_>, policy: &FitPolicy) -> Option<Wait> {
    keys_of(keyed, draw)
        .filter_map(|(key, Keyed { state, .. })| {
            let passed = state.pass.as_ref().filter(|pass| {
                is_awaited(pass, state.now())
                    && state.now().since_ms(pass.since) >= policy.pass_ms_max
            });
            // Who waits too long comes before whoever goes first, or shares could starve it.
            let first = state.first.as_ref().filter(|pass| is_awaited(pass, state.now()));
            let pass = passed.or(first).filter(|pass| pass.id != draw.id)?;
            Some(Wait {
                ms: pass.fits_at.since_ms(state.now()).max(1),
                key,
                dimension: pass.dimension,
            })
        })
        .max_by_key(|wait| wait.ms)
}

fn is_awaited(pass: &Pass, now: LaneTime) -> bool {
    now <= pass.fits_at.plus_ms(KEPT_MS_MAX)
}

/// What holds a draw back longest. If it is a guard, the draw is noted as passed on that key; the
/// pace holds all draws back alike, so nobody passes there.
fn longest_wait(keyed: &mut [Keyed], draw: &Draw<'_>) -> Option<Wait> {
    let mut guard: Option<Wait> = None;
    let mut pace: Option<Wait> = None;
    for (key, Keyed { limit, state, .. }) in keys_of(keyed, draw) {
        for dimension in Dimension::ALL {
            let amount = draw.reservation.of(dimension);
            let wait = |ms| Wait { ms, key, dimension };
            let guard_wait = wait(state.guard_wait_ms(limit, dimension, amount));
            guard = longer(guard, guard_wait);
            pace = longer(pace, wait(state.pace_wait_ms(limit, dimension, amount)));
        }
    }
    if let Some(wait) = guard {
        note_passed(keyed, draw, wait);
    }
    match (guard, pace) {
        (Some(guard), Some(pace)) if pace.ms > guard.ms => Some(pace),
        (guard, pace) => guard.or(pace),
    }
}

fn longer(before: Option<Wait>, new: Wait) -> Option<Wait> {
    if new.ms > before.map_or(0, |before| before.ms) { Some(new) } else { before }
}

fn note_passed(keyed: &mut [Keyed], draw: &Draw<'_>, wait: Wait) {
    let Some(Keyed { state, .. }) = keyed.get_mut(wait.key) else {
        return;
    };
    let now = state.now();
    let noted = if draw.first { &mut state.first } else { &mut state.pass };
    let since = match &noted {
        Some(pass) if pass.id == draw.id => pass.since,
        Some(pass) if is_awaited(pass, now) => return,
        _ => now,
    };
    *noted = Some(Pass {
        id: draw.id.to_owned(),
        dimension: wait.dimension,
        since,
        fits_at: now.plus_ms(wait.ms),
    });
}

fn claim(keyed: &mut [Keyed], draw: &Draw<'_>) -> Vec<Slot> {
    let reserve = |index: &usize| match keyed.get_mut(*index) {
        Some(Keyed { state, .. }) => {
            for noted in [&mut state.pass, &mut state.first] {
                if noted.as_ref().is_some_and(|pass| pass.id == draw.id) {
                    *noted = None;
                }
            }
            let expected = state.expected(draw.reservation);
            state.reserve(draw.reservation, expected)
        }
        None => Slot::default(),
    };
    draw.keys.iter().map(reserve).collect()
}
