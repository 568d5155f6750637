//! The guard's memory: what the calls of the last window are charged with, slot by slot.
//! Must not know: limits, the pace, or which calls a charge stands for.

use std::collections::VecDeque;

use serde::de::Deserializer;
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use super::charge::{Charge, Dimension, LaneTime, Slot};
use super::{GUARD_MS, SLOT_MS, WINDOW_MS};

/// How many slots are remembered: the present one and all that are not wholly older than window
/// and guard time.
const SLOTS: u64 = (WINDOW_MS + GUARD_MS).div_ceil(SLOT_MS) + 1;

/// What the calls claimed in one slot are charged with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: u64,
    /// Reservations in flight and settled use.
    pub(super) charge: Charge,
    /// The part of `charge` that is in flight.
    pub(super) open: Charge,
    /// Tokens that were reserved and not used.
    pub(super) wasted: u64,
}

impl Entry {
    fn absorb(&mut self, other: &Self) {
        self.charge = self.charge.plus(other.charge);
        self.open = self.open.plus(other.open);
        self.wasted = self.wasted.saturating_add(other.wasted);
    }
}

/// The remembered slots, oldest first, and their sum. Slots without a charge are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    sum: Charge,
}

/// The first slot that is still remembered in `present`.
pub(super) fn horizon(present: Slot) -> Slot {
    Slot(present.0.saturating_sub(SLOTS - 1))
}

/// When a slot is forgotten.
fn forgotten_at(slot: u64) -> LaneTime {
    LaneTime(slot.saturating_add(SLOTS).saturating_mul(SLOT_MS))
}

impl Ring {
    /// All charges, in flight and settled.
    pub(super) fn sum(&self) -> Charge {
        self.sum
    }

    /// The remembered slots, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets what is too old in `present`.
    pub(super) fn forget(&mut self, present: Slot) {
        let first = horizon(present).0;
        let mut forgotten = false;
        while self.entries.front().is_some_and(|entry| entry.slot < first) {
            self.entries.pop_front();
            forgotten = true;
        }
        if forgotten {
            // Added up anew: a subtraction from a sum that was saturated would lose charges.
            self.sum = self.added_up();
        }
    }

    fn added_up(&self) -> Charge {
        self.entries.iter().fold(Charge::ZERO, |sum, entry| sum.plus(entry.charge))
    }

    /// Moves everything into `present`, which is not earlier than any remembered slot.
    pub(super) fn gather(&mut self, present: Slot) {
        if self.entries.is_empty() {
            return;
        }
        let mut gathered = Entry { slot: present.0, ..Entry::default() };
        for entry in &self.entries {
            gathered.absorb(entry);
        }
        self.entries.clear();
        self.entries.push_back(gathered);
    }

    /// Charges `charge` to `present`; `open` is the part of it that is in flight.
    pub(super) fn charge(&mut self, present: Slot, charge: Charge, open: Charge) {
        if charge == Charge::ZERO {
            return;
        }
        let added = Entry { slot: present.0, charge, open, wasted: 0 };
        match self.entries.back_mut() {
            // A slot later than the present one cannot be; if a damaged state holds one, the
            // charge joins it rather than being lost.
            Some(last) if last.slot >= present.0 => last.absorb(&added),
            _ => self.entries.push_back(added),
        }
        self.sum = self.sum.plus(charge);
    }

    /// The same for an earlier slot, which is remembered.
    pub(super) fn charge_at(&mut self, slot: Slot, charge: Charge, open: Charge) {
        let added = Entry { slot: slot.0, charge, open, wasted: 0 };
        match self.entries.binary_search_by_key(&slot.0, |entry| entry.slot) {
            Ok(index) => {
                if let Some(entry) = self.entries.get_mut(index) {
                    entry.absorb(&added);
                }
            }
            Err(index) => self.entries.insert(index, added),
        }
        self.sum = self.sum.plus(charge);
    }

    /// Replaces a reservation by what the call used. False if the slot is not remembered.
    pub(super) fn settle(&mut self, slot: Slot, reserved: Charge, settled: Charge) -> bool {
        let Ok(index) = self.entries.binary_search_by_key(&slot.0, |entry| entry.slot) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return false;
        };
        debug_assert!(
            entry.charge.covers(reserved) && entry.open.covers(reserved),
            "a reservation is settled in the slot that holds it, once"
        );
        let before = entry.charge;
        entry.charge = entry.charge.minus(reserved).plus(settled);
        entry.open = entry.open.minus(reserved);
        if settled.tokens > 0 {
            // A call that used nothing was refused or never sent; it wasted nothing.
            let unused = reserved.tokens.saturating_sub(settled.tokens);
            entry.wasted = entry.wasted.saturating_add(unused);
        }
        self.sum = self.sum.minus(before).plus(entry.charge);
        true
    }

    /// When nothing of this dimension is left if nothing is added.
    pub(super) fn empty_at(&self, dimension: Dimension) -> LaneTime {
        let last = self.entries.iter().rev();
        last.map(|entry| (entry.slot, entry.charge.of(dimension)))
            .find(|(_, charge)| *charge > 0)
            .map_or(LaneTime::default(), |(slot, _)| forgotten_at(slot))
    }

    /// The earliest time from `now` on at which `amount` more is allowed. `reached` says when the
    /// limit is at least a given sum, or never.
    pub(super) fn fits_at(
        &self,
        now: LaneTime,
        dimension: Dimension,
        amount: u64,
        reached: impl Fn(u64) -> Option<LaneTime>,
    ) -> LaneTime {
        let mut from = now;
        let mut left = self.sum.of(dimension);
        for entry in &self.entries {
            let until = forgotten_at(entry.slot);
            if left == 0 {
                return from;
            }
            let fits = reached(left.saturating_add(amount)).map(|at| at.max(from));
            if let Some(at) = fits.filter(|at| *at < until) {
                return at;
            }
            left = left.saturating_sub(entry.charge.of(dimension));
            from = from.max(until);
        }
        from
    }
}

/// A slot is written as `[gap, requests, tokens, wasted, open requests, open tokens]`, where the
/// gap is the distance to the slot before, and zeros at the end are left out.
impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.entries.len()))?;
        let mut before = 0;
        for entry in &self.entries {
            let row = [
                entry.slot.saturating_sub(before),
                entry.charge.requests,
                entry.charge.tokens,
                entry.wasted,
                entry.open.requests,
                entry.open.tokens,
            ];
            let length = row.iter().rposition(|n| *n != 0).map_or(0, |last| last + 1);
            list.serialize_element(row.get(..length).unwrap_or_default())?;
            before = entry.slot;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Ring {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<Vec<u64>>::deserialize(deserializer)?;
        let mut ring = Self::default();
        let mut slot: u64 = 0;
        for row in rows {
            let at = |index: usize| row.get(index).copied().unwrap_or(0);
            slot = slot.saturating_add(at(0));
            let entry = Entry {
                slot,
                charge: Charge { requests: at(1), tokens: at(2) },
                wasted: at(3),
                open: Charge { requests: at(4), tokens: at(5) },
            };
            match ring.entries.back_mut() {
                Some(last) if last.slot == slot => last.absorb(&entry),
                _ => ring.entries.push_back(entry),
            }
        }
        ring.sum = ring.added_up();
        Ok(ring)
    }
}
