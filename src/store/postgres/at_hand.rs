//! Connections used a moment ago, the last one first: its server process still has the plans, the
//! catalogue and the pages that the next transaction needs. The pool itself hands out the one that
//! has waited longest, and asks the server after each use whether it is still there.
//! Must not know: what a connection is, or how the pool comes by one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// More than a worker uses at once: it claims, finishes, and looks after its lease.
const KEPT_MAX: usize = 3;

/// After so long away from the pool one goes back there, where those too old are renewed, and those
/// that nobody uses are closed.
pub(super) const AWAY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct AtHand<T>(Mutex<Stack<T>>);

#[derive(Debug)]
struct Stack<T> {
    /// Each with when it left the pool.
    kept: Vec<(T, Instant)>,
    /// So many wait for the pool.
    wanted: usize,
    closed: bool,
}

/// Somebody waits for the pool: nothing is kept from it meanwhile.
#[derive(Debug)]
pub(super) struct Wanted<'a, T>(&'a AtHand<T>);

impl<T> Default for AtHand<T> {
    fn default() -> Self {
        Self(Mutex::new(Stack { kept: Vec::new(), wanted: 0, closed: false }))
    }
}

impl<T> AtHand<T> {
    /// The one used last; where there is none, what is to be held while the pool is asked.
    pub(super) fn take(&self) -> Result<T, Wanted<'_, T>> {
        let mut stack = self.stack();
        if let Some((one, _)) = stack.kept.pop() {
            return Ok(one);
        }
        stack.wanted += 1;
        Err(Wanted(self))
    }

    /// Keeps one that left the pool at this time; it goes back there, dropped, if somebody waits for
    /// it or it was away for long.
    pub(super) fn keep(&self, one: T, left: Instant, now: Instant) {
        let mut stack = self.stack();
        let is_room = stack.wanted == 0 && !stack.closed && stack.kept.len() < KEPT_MAX;
        if is_room && !is_away(left, now) {
            stack.kept.push((one, left));
            return;
        }
        // Not under the lock: what it takes to go back is not known here.
        drop(stack);
        drop(one);
    }

    /// Sends those back to the pool that were away for long.
    pub(super) fn send_back(&self, now: Instant) {
        let away: Vec<_> =
            self.stack().kept.extract_if(.., |(_, left)| is_away(*left, now)).collect();
        drop(away);
    }

    /// Gives up all of them.
    pub(super) fn clear(&self) -> Vec<T> {
        let kept = std::mem::take(&mut self.stack().kept);
        kept.into_iter().map(|(one, _)| one).collect()
    }

    /// Sends all of them back, and keeps none from now on.
    pub(super) fn close(&self) {
        self.stack().closed = true;
        drop(self.clear());
    }

    fn stack(&self) -> MutexGuard<'_, Stack<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Wanted<'_, T> {
    fn drop(&mut self) {
        self.0.stack().wanted -= 1;
    }
}

fn is_away(left: Instant, now: Instant) -> bool {
    now.saturating_duration_since(left) >= AWAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_last_is_taken_first_and_no_more_are_kept_than_are_used() {
        let (at_hand, now) = (AtHand::default(), Instant::now());
        for one in 0..5 {
            at_hand.keep(one, now, now);
        }
        let taken: Vec<i32> = std::iter::from_fn(|| at_hand.take().ok()).collect();
        assert_eq!(taken, [2, 1, 0]);
    }

    #[test]
    fn nothing_is_kept_from_somebody_who_waits_for_the_pool() {
        let (at_hand, now) = (AtHand::default(), Instant::now());
        let wanted = at_hand.take().unwrap_err();
        at_hand.keep('a', now, now);
        assert!(at_hand.clear().is_empty());
        drop(wanted);
        at_hand.keep('b', now, now);
        assert_eq!(at_hand.clear(), ['b']);
    }

    #[test]
    fn one_that_was_away_for_long_goes_back_to_the_pool() {
        let (at_hand, left) = (AtHand::default(), Instant::now());
        let later = left + AWAY / 2;
        at_hand.keep("unused", left, left);
        at_hand.keep("used", later, later);
        at_hand.keep("too old", left, left + AWAY);
        at_hand.send_back(left + AWAY);
        assert_eq!(at_hand.clear(), ["used"]);
    }

    #[test]
    fn once_closed_all_go_back() {
        let (at_hand, now) = (AtHand::default(), Instant::now());
        at_hand.keep("before", now, now);
        at_hand.close();
        at_hand.keep("after", now, now);
        assert!(at_hand.clear().is_empty());
    }
}
