//! A job's place: the one number that orders its lane, fixed when it becomes due.
//! Must not know: where the last places are kept.

use std::collections::{HashMap, HashSet};

/// How many places one step of priority is worth: a job of priority 1 passes those that were due
/// up to so many places before it, and no more, so low priorities age.
const PRIORITY_STEP: f64 = 100.0;

/// A job that becomes due.
pub(in crate::store) struct Arrival<'a> {
    pub(in crate::store) lane: &'a str,
    pub(in crate::store) queue: &'a str,
    pub(in crate::store) tenant: &'a str,
    pub(in crate::store) priority: i32,
}

/// Whose turns are reckoned together: the jobs of one queue of one tenant in one lane. A tenant's
/// queues have turns of their own, so that a job for which somebody waits does not stand behind the
/// same tenant's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) struct Flow<'a> {
    pub(in crate::store) lane: &'a str,
    pub(in crate::store) queue: &'a str,
    pub(in crate::store) tenant: &'a str,
}

impl<'a> Arrival<'a> {
    fn flow(&self) -> Flow<'a> {
        Flow { lane: self.lane, queue: self.queue, tenant: self.tenant }
    }
}

/// Where one flow stands.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Turn {
    /// Of the last job claimed in the lane.
    pub(in crate::store) lane_place: f64,
    /// The last one given to the flow.
    pub(in crate::store) place: f64,
    /// How many turns it has for one of another's: its queue's weight times its tenant's.
    pub(in crate::store) weight: f64,
}

impl Default for Turn {
    fn default() -> Self {
        Self { lane_place: 0.0, place: 0.0, weight: 1.0 }
    }
}

/// The turns of one admission.
pub(in crate::store) type Turns<'a> = HashMap<Flow<'a>, Turn>;

/// The flows whose turns are needed, each once.
pub(in crate::store) fn wanted<'a>(arrivals: &[Arrival<'a>]) -> Vec<Flow<'a>> {
    let mut first = HashSet::new();
    arrivals.iter().map(Arrival::flow).filter(|flow| first.insert(*flow)).collect()
}

/// Gives each arrival its place, in order, and moves the turns on. A flow that has been away starts
/// at the lane's present place, so it can neither save up turns nor be kept waiting behind another's
/// long backlog.
pub(in crate::store) fn give<'a>(arrivals: &[Arrival<'a>], turns: &mut Turns<'a>) -> Vec<f64> {
    let place = |arrival: &Arrival<'a>| {
        let turn = turns.entry(arrival.flow()).or_default();
        turn.place = turn.lane_place.max(turn.place) + 1.0 / turn.weight.max(0.001);
        turn.place - f64::from(arrival.priority) * PRIORITY_STEP
    };
    arrivals.iter().map(place).collect()
}
