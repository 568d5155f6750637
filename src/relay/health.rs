//! Whether the relay comes round, and what it says of its queues. A queue that fails is no reason to
//! start the process anew, nor to send it no work: it is told, and that is all.
//! Must not know: who asks, or in which form it is told.

use std::sync::{Mutex, PoisonError};

use super::Relay;
use crate::worker::Check;
use crate::worker::pulse::{Beat, Pulse};

/// What the loop leaves for those who ask.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) pulse: Pulse,
    /// How many queues fail, of how many.
    // A std mutex: nothing is awaited while it is held.
    failing: Mutex<(usize, usize)>,
}

impl Shared {
    pub(super) fn note(&self, failing: (usize, usize)) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }
}

impl Relay {
    /// Whether its loop comes round within `stuck_ms_max`: if it does not, only a new process helps.
    #[must_use]
    pub fn alive(&self) -> Check {
        let max_ms = self.sender.options.stuck_ms_max;
        let (failing, known) = *self.shared.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let (ok, age_ms, says) = match self.shared.pulse.now(self.sender.clock.now().mono_ms) {
            Beat::New => (true, None, "has not begun".to_owned()),
            Beat::Ended => (true, None, "has ended".to_owned()),
            Beat::Round { age_ms } if age_ms > max_ms => {
                let says =
                    format!("has not come round for more than {max_ms} ms (worker.stuck_ms_max)");
                (false, Some(age_ms), says)
            }
            Beat::Round { age_ms } | Beat::Rest { age_ms } => {
                let says = match failing {
                    0 => "comes round".to_owned(),
                    _ => format!("comes round; {failing} of {known} queues take no results"),
                };
                (true, Some(age_ms), says)
            }
        };
        Check { name: "relay", ok, age_ms, says }
    }
}
