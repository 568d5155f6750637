//! Claims that come back too late for their calls to be sent, and how many jobs the next one asks
//! for. Must not know: the store, or what a call is.

use std::sync::{Mutex, PoisonError};

/// Late claims in a row from which on the next one asks for fewer jobs: one may have met a machine
/// that slept.
const LATE_MAX: u32 = 2;

/// How claims have come back. A std mutex: nothing is awaited while it is held.
#[derive(Debug, Default)]
pub(super) struct Late(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    in_a_row: u32,
    /// The most jobs that one claim asks for; none while they come in time.
    most: Option<usize>,
}

impl Late {
    /// How many jobs a claim asks for that could take so many.
    pub(super) fn most(&self, wanted: usize) -> usize {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.most.map_or(wanted, |most| most.min(wanted))
    }

    /// A claim has brought so many jobs, so long after their quota was reserved.
    pub(super) fn note(&self, jobs: usize, late_ms: u64, late_ms_max: u64) {
        if jobs == 0 {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if late_ms <= late_ms_max {
            state.in_a_row = 0;
            state.most = state.most.map(|most| most.max(jobs).saturating_mul(2));
            return;
        }
        state.in_a_row += 1;
        if state.in_a_row < LATE_MAX {
            return;
        }
        let most = (jobs / 2).max(1);
        state.most = Some(most);
        drop(state);
        tracing::warn!(
            jobs,
            late_ms,
            late_ms_max,
            "the store needs {late_ms} ms from the reservation of quota to the end of a claim, and \
             worker.send_late_ms_max is {late_ms_max}: {jobs} calls go back unsent, and the next \
             claim asks for {most} at most. Where single jobs come late too, nothing is called \
             until the database commits faster, or worker.send_late_ms_max is raised and \
             budget.quota_share lowered"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_come_late_again_ask_for_fewer_jobs_until_they_come_in_time() {
        let late = Late::default();
        late.note(100, 500, 400);
        assert_eq!(late.most(100), 100, "once is no rule");
        late.note(100, 500, 400);
        assert_eq!(late.most(100), 50);
        late.note(50, 401, 400);
        assert_eq!(late.most(100), 25);
        late.note(0, 9_000, 400);
        assert_eq!(late.most(100), 25, "a claim without jobs says nothing");
        late.note(25, 400, 400);
        assert_eq!(late.most(100), 50);
        late.note(50, 20, 400);
        assert_eq!(late.most(100), 100);
        for _ in 0..9 {
            late.note(1, 500, 400);
        }
        assert_eq!(late.most(100), 1, "never none");
    }

    #[test]
    fn a_claim_in_time_between_two_late_ones_changes_nothing() {
        let late = Late::default();
        for _ in 0..5 {
            late.note(100, 500, 400);
            late.note(100, 5, 400);
        }
        assert_eq!(late.most(100), 100);
    }
}
