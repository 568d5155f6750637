//! Finishes that the store has confirmed a moment ago, kept for a while: a failover to a standby
//! that lags may lose their commits, while the attempts that they end survive.
//! Must not know: the store, or how such a loss is noticed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::store::Finish;

/// A standby that lags by more than this is not made up for.
const KEEP_MS: u64 = 30_000;

/// The most of them.
const FINISHES_MAX: usize = 1_000;

/// The most bytes of answers that they hold together.
const BYTES_MAX: usize = 16 << 20;

/// The youngest finishes. A std mutex: nothing is awaited while it is held.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    /// Oldest first, each with its bytes and when it was confirmed.
    finishes: VecDeque<(Finish, usize, u64)>,
    bytes: usize,
}

impl Shelf {
    fn drop_old(&mut self, mono_ms: u64) {
        while let Some((_, bytes, since_ms)) = self.finishes.front() {
            let is_old = mono_ms.saturating_sub(*since_ms) > KEEP_MS;
            if !is_old && self.finishes.len() <= FINISHES_MAX && self.bytes <= BYTES_MAX {
                return;
            }
            self.bytes = self.bytes.saturating_sub(*bytes);
            self.finishes.pop_front();
        }
    }
}

impl Kept {
    /// The store has just confirmed these; `size` says how many bytes one holds.
    pub(super) fn keep(
        &self,
        finishes: Vec<Finish>,
        size: impl Fn(&Finish) -> usize,
        mono_ms: u64,
    ) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for finish in finishes {
            let bytes = size(&finish);
            rows.bytes = rows.bytes.saturating_add(bytes);
            rows.finishes.push_back((finish, bytes, mono_ms));
        }
        rows.drop_old(mono_ms);
    }

    /// All of them, oldest first.
    pub(super) fn all(&self, mono_ms: u64) -> Vec<Finish> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.drop_old(mono_ms);
        rows.finishes.iter().map(|(finish, _, _)| finish.clone()).collect()
    }

    /// What is kept of these attempts.
    pub(super) fn of(&self, fences: &HashSet<Uuid>, mono_ms: u64) -> Vec<Finish> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.drop_old(mono_ms);
        let kept = rows.finishes.iter().map(|(finish, _, _)| finish);
        kept.filter(|finish| fences.contains(&finish.key.fence)).cloned().collect()
    }
}
