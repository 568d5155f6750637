//! Lane time from a wall clock that many processes read and that may step.
//! Must not know: which clock that is, or what lane time is used for.

use serde::{Deserialize, Serialize};

use super::charge::LaneTime;

/// Wall and steady clock may differ by this much since the last contact before it is a step.
const DIFFER_MS_MAX: u64 = 2_000;

/// The clock as it is stored, in one place for all processes. It never goes back and never runs
/// faster than real time: where a step hides how much time has passed, it stands still for that
/// moment. So charges are kept too long rather than too short, and need not be moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneClock {
    /// Lane time at the last contact of any process.
    lane: LaneTime,
    /// The wall clock at that contact.
    wall_ms: u64,
    /// How many steps were seen.
    steps: u64,
}

/// What one process remembers of its own last contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    wall_ms: u64,
    steady_ms: u64,
    steps: u64,
}

impl LaneClock {
    /// Lane time at this contact, and what the process must remember for its next. `wall_ms` is
    /// the shared clock, `steady_ms` the process's own, which does not stop while the machine
    /// sleeps. A process that remembers nothing cannot tell a step, and lets the clock stand.
    pub fn read(
        &mut self,
        last: Option<Contact>,
        wall_ms: u64,
        steady_ms: u64,
    ) -> (LaneTime, Contact) {
        let passed_ms = last.map_or(0, |last| {
            let own_ms = steady_ms.saturating_sub(last.steady_ms);
            let expected_ms = last.wall_ms.saturating_add(own_ms);
            if wall_ms.abs_diff(expected_ms) > DIFFER_MS_MAX {
                self.steps = self.steps.saturating_add(1);
                0
            } else if last.steps == self.steps {
                // Never more than since this process's own last contact, which is the earlier one.
                wall_ms.saturating_sub(self.wall_ms).min(own_ms)
            } else {
                // Another process saw a step: the stored wall time may be from before it or from
                // after it, so the time since is not known.
                0
            }
        });
        self.lane = self.lane.plus_ms(passed_ms);
        self.wall_ms = wall_ms;
        let contact = Contact { wall_ms, steady_ms, steps: self.steps };
        (self.lane, contact)
    }
}
