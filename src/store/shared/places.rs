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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A lane as claims see it: what waits, and where it stands.
    #[derive(Default)]
    struct Lane {
        waiting: Vec<(f64, &'static str)>,
        turns: Turns<'static>,
        place: f64,
    }

    impl Lane {
        fn weigh(&mut self, queue: &'static str, weight: f64) {
            let flow = Flow { lane: "l", queue, tenant: "t" };
            self.turns.insert(flow, Turn { weight, ..Turn::default() });
        }

        fn arrive(&mut self, queue: &'static str, priority: i32, count: usize) {
            for turn in self.turns.values_mut() {
                turn.lane_place = self.place;
            }
            let lane_place = self.place;
            let flow = Flow { lane: "l", queue, tenant: "t" };
            self.turns.entry(flow).or_insert(Turn { lane_place, ..Turn::default() });
            let arrival = || Arrival { lane: "l", queue, tenant: "t", priority };
            let arrivals: Vec<Arrival<'_>> = (0..count).map(|_| arrival()).collect();
            let places = give(&arrivals, &mut self.turns);
            self.waiting.extend(places.into_iter().map(|place| (place, queue)));
        }

        fn claim(&mut self) -> &'static str {
            self.waiting.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (place, queue) = self.waiting.remove(0);
            self.place = self.place.max(place);
            queue
        }
    }

    #[test]
    fn a_job_of_another_queue_does_not_stand_behind_the_same_tenants_batch() {
        let mut lane = Lane::default();
        lane.arrive("default", 0, 10_000);
        for _ in 0..700 {
            lane.claim();
        }
        lane.arrive("interactive", 0, 1);
        let next = [lane.claim(), lane.claim()];
        assert!(next.contains(&"interactive"), "{next:?}");
    }

    #[test]
    fn a_low_priority_is_claimed_at_last_while_high_ones_keep_coming() {
        let mut lane = Lane::default();
        lane.arrive("low", -100, 1);
        let mut claims = 0;
        loop {
            lane.arrive("high", 100, 1);
            claims += 1;
            if lane.claim() == "low" {
                break;
            }
            assert!(claims <= 20_001, "two hundred steps of a hundred places are 20,000 jobs");
        }
        assert!(claims > 10_000, "priority is worth something: {claims}");
    }

    const FLOWS: [&str; 4] = ["a", "b", "c", "d"];

    proptest! {
        /// At any moment, flows that all wait have had the same number of turns, give or take one.
        #[test]
        fn flows_of_equal_weight_are_served_alike_within_a_turn(
            counts in prop::collection::vec(20_usize..60, 2..=4),
            claims in 1_usize..40,
        ) {
            let mut lane = Lane::default();
            for (queue, count) in FLOWS.iter().zip(&counts) {
                lane.arrive(queue, 0, *count);
            }
            let mut served = [0_usize; 4];
            for _ in 0..claims {
                let queue = lane.claim();
                served[FLOWS.iter().position(|flow| *flow == queue).unwrap()] += 1;
            }
            let served = &served[..counts.len()];
            let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{served:?}");
        }

        /// Of flows that all wait each has its weight's part of the claims, within a round.
        #[test]
        fn claims_divide_by_weight(weights in prop::collection::vec(1_u32..=8, 2..=4)) {
            let mut lane = Lane::default();
            for (queue, weight) in FLOWS.iter().zip(&weights) {
                lane.weigh(queue, f64::from(*weight));
                lane.arrive(queue, 0, 400);
            }
            let rounds = 20;
            let round: u32 = weights.iter().sum();
            let mut served = [0_u32; 4];
            for _ in 0..rounds * round {
                let queue = lane.claim();
                served[FLOWS.iter().position(|flow| *flow == queue).unwrap()] += 1;
            }
            for (served, weight) in served.iter().zip(&weights) {
                let due = rounds * weight;
                prop_assert!(served.abs_diff(due) <= 4, "{served} of {due}: {weights:?}");
            }
        }
    }
}
