//! Whether each loop of a worker comes round: stamps that the loops leave, and what they say.
//! Must not know: what a loop does, or who asks.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// It has not begun.
const NEW: u8 = 0;
/// It is at work, and should come round.
const AT_WORK: u8 = 1;
/// It has nothing to do and waits to be called, for as long as that takes.
const AT_REST: u8 = 2;
/// It is over.
const ENDED: u8 = 3;

/// Every loop's stamps.
#[derive(Debug, Default)]
pub(crate) struct Pulses {
    pub(crate) claims: Pulse,
    pub(crate) finisher: Pulse,
    pub(crate) lease: Pulse,
    pub(crate) upkeep: Pulse,
}

/// One loop's last stamp. The two parts are read apart: a stamp more or less is no difference
/// beside a limit of many seconds.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    state: AtomicU8,
    at_mono_ms: AtomicU64,
}

/// How a loop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It has not begun.
    New,
    /// Its last stamp is so old.
    Round {
        /// Milliseconds since then.
        age_ms: u64,
    },
    /// It has had nothing to do for so long.
    Rest {
        /// Milliseconds since then.
        age_ms: u64,
    },
    /// It is over, by its own end or by a panic.
    Ended,
}

/// Stands for a loop while it goes on: however it ends, that is noticed.
pub(crate) struct Going<'a>(&'a Pulse);

impl Pulse {
    /// The loop begins.
    pub(crate) fn begin(&self, mono_ms: u64) -> Going<'_> {
        self.lap(mono_ms);
        Going(self)
    }

    /// It came round, or one step further.
    pub(crate) fn lap(&self, mono_ms: u64) {
        self.at_mono_ms.store(mono_ms, Ordering::Relaxed);
        self.state.store(AT_WORK, Ordering::Relaxed);
    }

    /// The same, for steps that are also taken before the loop begins.
    pub(crate) fn lap_if_going(&self, mono_ms: u64) {
        if self.state.load(Ordering::Relaxed) == AT_WORK {
            self.at_mono_ms.store(mono_ms, Ordering::Relaxed);
        }
    }

    /// It waits for work that need not come.
    pub(crate) fn rest(&self, mono_ms: u64) {
        self.at_mono_ms.store(mono_ms, Ordering::Relaxed);
        self.state.store(AT_REST, Ordering::Relaxed);
    }

    pub(crate) fn now(&self, mono_ms: u64) -> Beat {
        let age_ms = mono_ms.saturating_sub(self.at_mono_ms.load(Ordering::Relaxed));
        match self.state.load(Ordering::Relaxed) {
            NEW => Beat::New,
            AT_WORK => Beat::Round { age_ms },
            AT_REST => Beat::Rest { age_ms },
            _ => Beat::Ended,
        }
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.0.state.store(ENDED, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_as_old_as_its_last_stamp_and_its_end_is_noticed() {
        let pulse = Pulse::default();
        assert_eq!(pulse.now(5), Beat::New);
        let going = pulse.begin(10);
        assert_eq!(pulse.now(40), Beat::Round { age_ms: 30 });
        pulse.lap(50);
        assert_eq!(pulse.now(60), Beat::Round { age_ms: 10 });
        pulse.rest(70);
        assert_eq!(pulse.now(100), Beat::Rest { age_ms: 30 });
        drop(going);
        assert_eq!(pulse.now(100), Beat::Ended);
    }
}
