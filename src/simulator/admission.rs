//! An admitted call from its admission to its end: what it holds of the quota, what it is charged
//! and billed. Must not know: the wire, what it meets.

use std::sync::Arc;

use super::fault::Fault;
use super::log::Outcome;
use super::quota::Ticket;
use super::state::Shared;

/// An admitted call. It must be ended; where it is dropped before, its caller has gone away and the
/// reservation stays charged.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) shared: Arc<Shared>,
    pub(super) scope: String,
    pub(super) ticket: Ticket,
    pub(super) seq: u64,
    /// The simulator's resets when it was admitted.
    pub(super) epoch: u64,
    pub(super) reserved: u64,
    pub(super) input_tokens: u64,
    pub(super) ended: bool,
    /// What the answer would have been; billed where the caller goes away.
    pub(crate) expected_output: u64,
}

/// How an admitted call ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It generated this many output tokens.
    Completed { output_tokens: u64, burndown: u64 },
    /// It failed before it generated anything, with this error code.
    Failed(&'static str),
    /// It broke off with this error code after this many output tokens.
    BrokenOff { error: &'static str, output_tokens: u64, burndown: u64 },
    /// Its caller went away, or it never came to an end.
    Gone { client: bool },
}

impl Admission {
    /// The call's number.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Adds a remark to the call's line.
    pub(crate) fn note(&self, note: String) {
        let mut state = self.shared.lock();
        if state.epoch == self.epoch
            && let Some(call) = state.log.get_mut(self.seq)
        {
            call.note = Some(note);
        }
    }

    /// Sets what the answer reports as its input.
    pub(crate) fn set_input_tokens(&mut self, input_tokens: u64) {
        self.input_tokens = input_tokens;
        let mut state = self.shared.lock();
        if state.epoch != self.epoch {
            return;
        }
        let before = state
            .log
            .get_mut(self.seq)
            .map_or(input_tokens, |call| std::mem::replace(&mut call.input_tokens, input_tokens));
        let counted = &mut state.counts.input_tokens;
        *counted = counted.saturating_sub(before).saturating_add(input_tokens);
    }

    /// Marks that the fault drawn had nothing to strike: a plain admitted call after all.
    pub(crate) fn spared(&self, fault: Fault) {
        let mut state = self.shared.lock();
        if state.epoch != self.epoch {
            return;
        }
        let outcomes = &mut state.counts.outcomes;
        if let Some(count) = outcomes.get_mut(fault.as_str()) {
            *count = count.saturating_sub(1);
        }
        *outcomes.entry(Outcome::Admitted.as_str()).or_default() += 1;
        if let Some(call) = state.log.get_mut(self.seq) {
            call.outcome = Outcome::Admitted;
        }
    }

    /// Settles the quota and closes the call's line.
    pub(crate) fn end(mut self, end: End) {
        self.close(end);
    }

    fn close(&mut self, end: End) {
        if self.ended {
            return;
        }
        self.ended = true;
        let (settled, output, billed) = match end {
            End::Completed { output_tokens, burndown }
            | End::BrokenOff { output_tokens, burndown, .. } => (
                self.input_tokens.saturating_add(output_tokens.saturating_mul(burndown)),
                Some(output_tokens),
                self.input_tokens.saturating_add(output_tokens),
            ),
            End::Failed(_) => (0, None, 0),
            End::Gone { .. } => (
                self.reserved,
                Some(self.expected_output),
                self.input_tokens.saturating_add(self.expected_output),
            ),
        };
        let mut state = self.shared.lock();
        if state.epoch != self.epoch {
            return;
        }
        let now_ms = self.shared.now_ms();
        if let Some(quota) = state.quotas.get_mut(&self.scope) {
            quota.settle(now_ms, self.ticket, settled);
        }
        let client_gone = matches!(end, End::Gone { client: true });
        state.counts.ended += 1;
        state.counts.client_gone += u64::from(client_gone);
        state.counts.output_tokens += output.unwrap_or(0);
        state.counts.billed += billed;
        self.shared.changed.notify_waiters();
        if let Some(call) = state.log.get_mut(self.seq) {
            call.settled = Some(settled);
            call.output_tokens = output;
            call.billed = billed;
            call.ended_at_ms = Some(now_ms);
            call.client_gone = client_gone;
            if let End::Failed(error) | End::BrokenOff { error, .. } = end {
                call.error = Some(error);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.close(End::Gone { client: true });
    }
}
