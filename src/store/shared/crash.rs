//! What becomes of a job whose worker died in the middle of its call.
//! Must not know: leases, rows.

use uuid::Uuid;

use crate::error::ErrorKind;
use crate::job::State;
use crate::retry::{self, Counters, EndState, Policy, Timing, Verdict};

/// A running job of a dead process.
pub(in crate::store) struct Orphan {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) hold: bool,
    pub(in crate::store) deadline_at: i64,
    pub(in crate::store) counters: Counters,
}

/// Where a crash leaves a job.
pub(in crate::store) enum After {
    /// It ends.
    End { state: State, kind: ErrorKind, message: String },
    /// It is ready again after so many ms, or held.
    Again { state: State, after_ms: u64, crashes: u32 },
}

/// Decides one job; `now` in Unix ms.
pub(in crate::store) fn after_crash(orphan: &Orphan, policy: &Policy, now: i64) -> After {
    let deadline_in_ms = orphan.deadline_at.saturating_sub(now);
    let timing = Timing { retry_after_ms: None, deadline_in_ms, lane_out_ms: None };
    let crashes = orphan.counters.crashes.saturating_add(1);
    let again = |state, after_ms| After::Again { state, after_ms, crashes };
    let kind = ErrorKind::Crashed;
    match retry::decide(kind, &orphan.counters, policy, timing, &mut rand::rng()) {
        Verdict::End { state, kind } => {
            let state = match state {
                EndState::Failed => State::Failed,
                EndState::Expired => State::Expired,
                EndState::Cancelled => State::Cancelled,
            };
            let died = if crashes == 1 { "once".to_owned() } else { format!("{crashes} times") };
            let message = if state == State::Expired {
                format!("its deadline passed while it ran; its worker had died ({died})")
            } else {
                format!(
                    "its worker died {died} in the middle of its calls; look at the document, then `quarrier jobs retry`"
                )
            };
            After::End { state, kind, message }
        }
        _ if orphan.hold => again(State::Held, 0),
        Verdict::Retry { after_ms } | Verdict::Snooze { after_ms, .. } => {
            again(State::Ready, after_ms)
        }
        Verdict::Reask => again(State::Ready, 0),
    }
}
