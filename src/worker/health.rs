//! Whether a worker does its work: alive (else start it anew) and ready (else look why).
//! Must not know: who asks, or in which form it is told.
//!
//! The two are apart because they call for different acts. A store that is away makes a worker
//! unready and not dead: started anew it would lose the answers that it holds in memory.

use serde::Serialize;

use super::pulse::{Beat, Pulse};
use super::{Bench, Worker};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `claims`, `store`.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How old what it was judged by is, in milliseconds; none where it is of this moment.
    pub age_ms: Option<u64>,
    /// What was found, for a person.
    pub says: String,
}

impl Check {
    fn new(name: &'static str, ok: bool, age_ms: Option<u64>, says: impl Into<String>) -> Self {
        Self { name, ok, age_ms, says: says.into() }
    }
}

impl Worker {
    /// Whether every loop of the worker comes round within `stuck_ms_max`: if one does not, only a
    /// new process helps. A store that is away fails nothing here, because every call of it has a
    /// shorter deadline of its own.
    #[must_use]
    pub fn alive(&self) -> Vec<Check> {
        let bench = &self.bench;
        let pulses = &bench.pulses;
        [
            ("claims", &pulses.claims),
            ("finisher", &pulses.finisher),
            ("lease_renewal", &pulses.lease),
            ("upkeep", &pulses.upkeep),
        ]
        .map(|(name, pulse)| alive(bench, name, pulse))
        .into()
    }

    /// Whether it takes work and gets it done: the store answers, the lease is held, no answer
    /// waits to be saved, not every lane is paused, and it is not about to end.
    #[must_use]
    pub fn ready(&self) -> Vec<Check> {
        let bench = &self.bench;
        let stuck: Vec<&str> =
            self.alive().iter().filter(|check| !check.ok).map(|check| check.name).collect();
        let loops = match stuck.as_slice() {
            [] => Check::new("loops", true, None, "every loop comes round"),
            _ => Check::new("loops", false, None, format!("stuck or ended: {}", stuck.join(", "))),
        };
        vec![loops, store(bench), lease(bench), drain(bench), spool(bench), lanes(bench)]
    }

    /// Waits until its lease is open and its loops have begun.
    pub async fn started(&self) {
        self.bench.drain.wait().await;
    }
}

fn alive(bench: &Bench, name: &'static str, pulse: &Pulse) -> Check {
    let max_ms = bench.options.stuck_ms_max;
    match pulse.now(bench.clock.now().mono_ms) {
        Beat::New => Check::new(name, true, None, "has not begun"),
        Beat::Rest { age_ms } => Check::new(name, true, Some(age_ms), "has nothing to do"),
        Beat::Round { age_ms } if age_ms <= max_ms => {
            Check::new(name, true, Some(age_ms), "comes round")
        }
        Beat::Round { age_ms } => {
            let says =
                format!("has not come round for more than {max_ms} ms (worker.stuck_ms_max)");
            Check::new(name, false, Some(age_ms), says)
        }
        Beat::Ended if bench.is_ending() => Check::new(name, true, None, "has ended: draining"),
        Beat::Ended => Check::new(name, false, None, "has ended by a defect; the log says more"),
    }
}

fn store(bench: &Bench) -> Check {
    let age_ms = bench.lease.age_ms(bench.clock.now().mono_ms);
    let (ok, says) = if bench.lease.is_answered() {
        (true, "took the last beat")
    } else {
        (false, "did not take the last beat; the log says why")
    };
    Check::new("store", ok, Some(age_ms), says)
}

fn lease(bench: &Bench) -> Check {
    let now_mono_ms = bench.clock.now().mono_ms;
    let age_ms = bench.lease.age_ms(now_mono_ms);
    let (ok, says) = if bench.drain.get().is_none() {
        (false, "is not open yet")
    } else if bench.lease.is_fresh(now_mono_ms) {
        (true, "is held")
    } else {
        (false, "is too old to claim or send under; calls in flight run on")
    };
    Check::new("lease", ok, Some(age_ms), says)
}

fn drain(bench: &Bench) -> Check {
    let says = if bench.is_ending() { "draining: claims nothing more" } else { "takes work" };
    Check::new("drain", !bench.is_ending(), None, says)
}

fn spool(bench: &Bench) -> Check {
    let (ok, says) = if bench.spool.waits() {
        (false, "answers wait in the spool for the store")
    } else if bench.is_unsaved() {
        (false, "answers wait in memory for the store")
    } else {
        (true, "no answer waits to be saved")
    };
    Check::new("spool", ok, None, says)
}

fn lanes(bench: &Bench) -> Check {
    let (paused, known) = bench.lanes.paused();
    let ok = known == 0 || paused < known;
    let says = if known == 0 {
        "none was called yet".to_owned()
    } else {
        format!("{paused} of {known} paused")
    };
    Check::new("lanes", ok, None, says)
}
