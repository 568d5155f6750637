//! The state of one key's budget, and the operations on it.
//! Must not know: where it is stored, which key it belongs to, how draws are ordered.

use serde::{Deserialize, Serialize};

use super::charge::{Charge, Dimension, LaneTime, Limit, Slot};
use super::effective::Cut;
use super::excess::Excess;
use super::late::Dropped;
use super::pace::Pace;
use super::ring::{Ring, horizon};
use super::{SLOT_MS, WINDOW_MS};

/// A ring younger than this is taken to be this old when its rate is asked for: a burst of its
/// first moment is no rate.
const YOUNG_MS: u64 = 6_000;

/// What the calls of the last minute have drawn on one key. New fields of later versions are
/// ignored when read, absent ones are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetState {
    /// The last time seen.
    now: LaneTime,
    #[serde(skip_serializing_if = "Ring::is_empty")]
    ring: Ring,
    #[serde(skip_serializing_if = "Pace::is_new")]
    pace: Pace,
    /// The last rebase: whatever was charged to a slot from the first to the second now stands in
    /// the second. One is enough, because a later rebase moves that slot again, and everything
    /// between the two with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<(Slot, Slot)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_requests: Option<Cut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_tokens: Option<Cut>,
    #[serde(skip_serializing_if = "Dropped::is_none")]
    dropped: Dropped,
    #[serde(skip_serializing_if = "Excess::is_none")]
    excess: Excess,
    /// Who is passed by smaller ones on this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<Pass>,
    /// Who waits on this key and is passed by nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Pass>,
}

/// A draw that did not fit on a key and may be passed by smaller ones, but not for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The draw's id.
    pub id: String,
    /// What it waits for.
    pub dimension: Dimension,
    /// Since when it waits.
    pub since: LaneTime,
    /// When it fits if nothing else is claimed.
    pub fits_at: LaneTime,
}

/// How full one key is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Level {
    /// Calls.
    pub requests: LevelOf,
    /// Model tokens.
    pub tokens: LevelOf,
}

/// How full one dimension of a key is. `used + in_flight` is what counts against the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LevelOf {
    /// The configured limit per minute.
    pub limit: Option<u64>,
    /// The limit that holds now: lower than the configured one after throttles.
    pub effective: Option<u64>,
    /// Settled use of calls claimed in the window.
    pub used: u64,
    /// Reservations of calls claimed in the window that have not settled.
    pub in_flight: u64,
    /// What calls claimed in the window had reserved and did not use.
    pub wasted: u64,
}

impl BudgetState {
    /// Moves on to `now` and forgets what is too old. An earlier time than the last seen is taken
    /// as the last seen.
    pub fn advance(&mut self, now: LaneTime) {
        self.now = self.now.max(now);
        let present = self.now.slot();
        self.ring.forget(present);
        self.moved = self.moved.filter(|(_, to)| *to >= horizon(present));
        for cut in [&mut self.cut_requests, &mut self.cut_tokens] {
            *cut = cut.filter(|cut| !cut.is_over(self.now));
        }
    }

    /// A clock step was seen, and lane time stands where it stood: every live charge moves to the
    /// present slot.
    pub fn rebase(&mut self) {
        self.step(self.now);
    }

    /// A clock step was seen, and lane time goes on from `now`: every charge that was live at the
    /// last time seen moves to the slot of `now`.
    pub fn step(&mut self, now: LaneTime) {
        let live_from = horizon(self.now.slot());
        self.now = self.now.max(now);
        let present = self.now.slot();
        self.ring.gather(present);
        let from = match self.moved {
            Some((from, to)) if to >= live_from => from.min(live_from),
            _ => live_from,
        };
        self.moved = Some((from, present));
        self.advance(self.now);
    }

    /// The last time seen.
    #[must_use]
    pub fn now(&self) -> LaneTime {
        self.now
    }

    /// Charges a call that is claimed now, and is expected to use `expected`, to the present slot.
    pub fn reserve(&mut self, reservation: Charge, expected: Charge) -> Slot {
        let present = self.now.slot();
        self.ring.charge(present, reservation, reservation);
        self.pace.spend(expected);
        present
    }

    /// Charges a call to the slot in which it was claimed, because the state that held its charge was
    /// lost; a slot that is forgotten already is the present one.
    pub fn restore(&mut self, slot: Slot, reservation: Charge) {
        let present = self.now.slot();
        let slot = self.found(slot);
        let slot = if slot < horizon(present) { present } else { slot.min(present) };
        self.ring.charge_at(slot, reservation, reservation);
        self.pace.spend(self.pace.expected(reservation));
    }

    /// Replaces a reservation by what the call used. If its slot is forgotten, a refund is
    /// dropped and an excess is charged now.
    pub fn settle(&mut self, slot: Slot, reserved: Charge, settled: Charge) {
        self.pace.correct(self.pace.expected(reserved), settled);
        if settled.tokens > 0 {
            // A call that used nothing was refused: it says nothing of what others will use.
            self.pace.learn(reserved.tokens, settled.tokens);
        }
        self.excess.note(self.now, settled.minus(reserved).tokens);
        let slot = self.found(slot);
        // The provider forgets a call a little before we do, and then counts an excess from now.
        let is_old = slot.0.saturating_mul(SLOT_MS).saturating_add(WINDOW_MS) <= self.now.0;
        let own = if is_old { settled.minus(settled.minus(reserved)) } else { settled };
        let remembered = self.ring.settle(slot, reserved, own);
        let excess = match (remembered, is_old) {
            (true, false) => Charge::ZERO,
            (true, true) => settled.minus(reserved),
            (false, _) => {
                let expected = self.expected(reserved);
                self.dropped.settle(self.now, reserved, settled, expected)
            }
        };
        self.ring.charge(self.now.slot(), excess, Charge::ZERO);
    }

    /// A claimed call was not sent: everything is given back.
    pub fn give_back(&mut self, slot: Slot, reserved: Charge) {
        self.pace.correct(self.pace.expected(reserved), Charge::ZERO);
        self.ring.settle(self.found(slot), reserved, Charge::ZERO);
    }

    /// Where the charges of `slot` stand today.
    fn found(&self, slot: Slot) -> Slot {
        match self.moved {
            Some((from, to)) if (from..=to).contains(&slot) => to,
            _ => slot,
        }
    }

    /// The provider throttled a call claimed at `claimed_at` although this limit had room. What it
    /// had accepted, less 3 %, becomes the effective limit, which grows back with time. Throttles
    /// of calls claimed before the last decrease say nothing new. Without a dimension, all that
    /// are limited are decreased. The throttled call must be settled before.
    pub fn throttled(&mut self, claimed_at: LaneTime, limit: &Limit, dimension: Option<Dimension>) {
        let limited = |dimension: &Dimension| limit.of(*dimension).is_some();
        let any_limited = Dimension::ALL.iter().any(limited);
        for each in Dimension::ALL {
            let meant = match dimension {
                Some(one) => one == each,
                None => !any_limited || limited(&each),
            };
            let answered = self.cut(each).is_some_and(|cut| cut.answers(claimed_at));
            if meant && !answered {
                let cut = Cut::new(
                    self.now,
                    each,
                    self.accepted_per_minute(each),
                    limit.of(each),
                    self.effective(limit, each),
                );
                match each {
                    Dimension::Requests => self.cut_requests = Some(cut),
                    Dimension::Tokens => self.cut_tokens = Some(cut),
                }
            }
        }
    }

    /// What the provider has accepted, as a rate: a lane that began a moment ago has a ring that
    /// says little, and a throttle then would leave it almost nothing for minutes.
    fn accepted_per_minute(&self, dimension: Dimension) -> u64 {
        let accepted = self.ring.sum().of(dimension);
        let Some(oldest) = self.ring.entries().next() else { return accepted };
        let began = LaneTime(oldest.slot.saturating_mul(SLOT_MS));
        let age_ms = self.now.since_ms(began).clamp(YOUNG_MS, WINDOW_MS);
        accepted.saturating_mul(WINDOW_MS) / age_ms
    }

    fn cut(&self, dimension: Dimension) -> Option<&Cut> {
        match dimension {
            Dimension::Requests => self.cut_requests.as_ref(),
            Dimension::Tokens => self.cut_tokens.as_ref(),
        }
    }

    /// The limit that holds now.
    pub(super) fn effective(&self, limit: &Limit, dimension: Dimension) -> Option<u64> {
        let configured = limit.of(dimension);
        match self.cut(dimension) {
            Some(cut) => cut.limit(self.now, configured),
            None => configured,
        }
    }

    /// What a call with this reservation is expected to use, as calls before it did.
    #[must_use]
    pub fn expected(&self, reservation: Charge) -> Charge {
        self.pace.expected(reservation)
    }

    /// How many of 1,000 tokens reserved the calls before have used.
    #[must_use]
    pub fn used_permille(&self) -> u64 {
        self.pace.expected(Charge { requests: 1, tokens: 1_000 }).tokens
    }

    /// How full the key is at the last time seen.
    #[must_use]
    pub fn level(&self, limit: &Limit) -> Level {
        let mut in_flight = Charge::ZERO;
        let mut wasted: u64 = 0;
        for entry in self.ring.entries() {
            in_flight = in_flight.plus(entry.open);
            wasted = wasted.saturating_add(entry.wasted);
        }
        let used = self.ring.sum().minus(in_flight);
        let of = |dimension: Dimension, wasted: u64| LevelOf {
            limit: limit.of(dimension),
            effective: self.effective(limit, dimension),
            used: used.of(dimension),
            in_flight: in_flight.of(dimension),
            wasted,
        };
        Level { requests: of(Dimension::Requests, 0), tokens: of(Dimension::Tokens, wasted) }
    }

    /// Moves on to `now` and counts the pace's refill.
    pub(super) fn refresh(&mut self, now: LaneTime, limit: &Limit) {
        self.advance(now);
        let limits = Dimension::ALL.map(|dimension| self.effective(limit, dimension));
        let [requests, tokens] = limits;
        self.pace.refill(self.now, |dimension| match dimension {
            Dimension::Requests => requests,
            Dimension::Tokens => tokens,
        });
    }

    /// Milliseconds until the guard allows `amount`, 0 if it does now.
    pub(super) fn guard_wait_ms(&self, limit: &Limit, dimension: Dimension, amount: u64) -> u64 {
        let sum = self.ring.sum().of(dimension);
        let Some(effective) = self.effective(limit, dimension) else {
            return 0;
        };
        // An empty ring admits whatever fits the configured limit, or a limit that was decreased
        // below one call would hold for ever.
        let margin = match dimension {
            Dimension::Requests => 0,
            Dimension::Tokens => self.excess.margin(self.now, effective),
        };
        let configured = limit.of(dimension);
        let most = configured.unwrap_or(u64::MAX).max(amount);
        let with_margin = amount.saturating_add(margin).min(most);
        if amount == 0 || sum == 0 || sum.saturating_add(with_margin) <= effective {
            return 0;
        }
        let fits_at = |amount| {
            self.ring.fits_at(self.now, dimension, amount, |sum| match self.cut(dimension) {
                Some(cut) => cut.reached(sum, configured),
                None => configured.filter(|configured| sum <= *configured).map(|_| self.now),
            })
        };
        let mut at = fits_at(with_margin);
        if margin > 0 {
            // Nothing need be left free by then, while the slots of that time are still counted.
            at = at.min(fits_at(amount).max(self.excess.ends()));
        }
        at.since_ms(self.now).max(1)
    }

    /// Milliseconds until the pace allows a call, 0 if it does now.
    pub(super) fn pace_wait_ms(&self, limit: &Limit, dimension: Dimension, amount: u64) -> u64 {
        match self.effective(limit, dimension) {
            Some(effective) if amount > 0 => match self.pace.wait_ms(dimension, effective) {
                0 => 0,
                // An empty ring admits, whatever the pace says.
                wait_ms => wait_ms.min(self.ring.empty_at(dimension).since_ms(self.now)),
            },
            _ => 0,
        }
    }
}
