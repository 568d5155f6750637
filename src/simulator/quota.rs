//! The provider's quota arithmetic, pure: reserve at the start, settle at the end, over a rolling
//! window of 60 s. Written apart from the budget room on purpose: it is the other side of the
//! argument. Must not know: clocks (`now_ms` is an argument), the wire, models.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::others::{Others, Room};

/// How long a charge counts.
pub(crate) const WINDOW_MS: u64 = 60_000;
/// Whole minutes kept for the utilisation figures: one week.
const MINUTES_MAX: usize = 7 * 24 * 60;

/// How the quota is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaMode {
    /// The charges of the calls started in the last 60 s never exceed the quota at admission.
    #[default]
    Window,
    /// A bucket as large as one minute's quota, refilled continuously; settlement may bring debt.
    Bucket,
}

/// The limits of one quota; an absent one is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QuotaLimits {
    /// Requests in 60 s.
    pub requests_per_minute: Option<u64>,
    /// Quota tokens in 60 s.
    pub tokens_per_minute: Option<u64>,
    /// How both are enforced.
    pub mode: QuotaMode,
}

/// Which limit refused a call. A refused call is charged nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The requests are used up.
    Requests,
    /// The tokens left are fewer than the reservation.
    Tokens,
}

/// What an admitted call holds until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    number: u64,
    start_ms: u64,
    reserved: u64,
}

/// Requests and tokens charged to something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Charges {
    /// Calls.
    pub requests: u64,
    /// Quota tokens: reservations in flight, settled use after.
    pub tokens: u64,
}

#[derive(Debug, Clone, Copy)]
struct Charge {
    start_ms: u64,
    requests: u64,
    tokens: u64,
}

/// One quota: the charges of its last 60 s, its bucket, and what it has seen.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: QuotaLimits,
    window: VecDeque<Charge>,
    /// The number of the window's oldest charge; numbers are consecutive.
    oldest: u64,
    sum: Charges,
    bucket: Bucket,
    worst: Charges,
    worst_at_admission: Charges,
    first_ms: Option<u64>,
    minutes: Vec<Charges>,
    others: Others,
}

impl Quota {
    /// An unused quota.
    pub(crate) fn new(limits: QuotaLimits) -> Self {
        Self {
            limits,
            window: VecDeque::new(),
            oldest: 0,
            sum: Charges::default(),
            bucket: Bucket::full(limits),
            worst: Charges::default(),
            worst_at_admission: Charges::default(),
            first_ms: None,
            minutes: Vec::new(),
            others: Others::default(),
        }
    }

    /// Other limits from now on. What has been charged stays charged.
    pub(crate) fn set_limits(&mut self, now_ms: u64, limits: QuotaLimits) {
        if self.limits != limits {
            self.bucket.set_limits(now_ms, limits);
            self.limits = limits;
        }
    }

    /// Lets other callers of the account draw up to `now_ms`, at a rate per minute, whatever is left
    /// of the limits. Their charges take room and stand in no figure of ours.
    pub(crate) fn others_draw(&mut self, now_ms: u64, rate: Charges) {
        if rate == Charges::default() {
            self.others.rest(now_ms);
            return;
        }
        self.forget(now_ms);
        self.bucket.refill(now_ms);
        let room = match self.limits.mode {
            QuotaMode::Window => {
                let used = plus(self.sum, self.others.sum());
                Room {
                    requests: left(self.limits.requests_per_minute, used.requests),
                    tokens: left(self.limits.tokens_per_minute, used.tokens),
                }
            }
            QuotaMode::Bucket => self.bucket.room(),
        };
        let drawn = self.others.draw(now_ms, rate, room);
        self.bucket.take(drawn.requests, drawn.tokens);
    }

    /// Reserves tokens for a call that starts at `now_ms`, or says which limit has no room.
    /// `now_ms` must not go back between calls.
    pub(crate) fn admit(&mut self, now_ms: u64, reserve: u64) -> Result<Ticket, Shortage> {
        self.forget(now_ms);
        self.check(now_ms, reserve)?;
        self.bucket.take(1, reserve);
        let number = self.push(now_ms, 1, reserve);
        self.worst_at_admission = highest(self.worst_at_admission, self.sum);
        let ticket = Ticket { number, start_ms: now_ms, reserved: reserve };
        self.first_ms.get_or_insert(now_ms);
        if let Some(minute) = self.minute(now_ms) {
            minute.requests += 1;
            minute.tokens = minute.tokens.saturating_add(reserve);
        }
        Ok(ticket)
    }

    /// Replaces a call's reservation by its settled use. Where its start has left the window, a
    /// refund has nothing left to refund, and an excess counts from now on.
    pub(crate) fn settle(&mut self, now_ms: u64, ticket: Ticket, settled: u64) {
        self.forget(now_ms);
        self.bucket.refill(now_ms);
        self.bucket.settle(ticket.reserved, settled);
        if let Some(minute) = self.minute(ticket.start_ms) {
            minute.tokens = minute.tokens.saturating_sub(ticket.reserved).saturating_add(settled);
        }
        let position = ticket.number.checked_sub(self.oldest);
        let position = position.and_then(|p| usize::try_from(p).ok());
        if let Some(charge) = position.and_then(|p| self.window.get_mut(p)) {
            charge.tokens = settled;
            self.sum.tokens =
                self.sum.tokens.saturating_sub(ticket.reserved).saturating_add(settled);
            self.worst = highest(self.worst, self.sum);
        } else if settled > ticket.reserved {
            self.push(now_ms, 0, settled - ticket.reserved);
        }
    }

    /// The highest sums over any 60 s so far, and the highest right after an admission (the former
    /// may exceed the quota, because settlement may).
    pub(crate) fn worst(&self) -> (Charges, Charges) {
        (self.worst, self.worst_at_admission)
    }

    /// The charges of each minute since the first call, by the calls' starts.
    pub(crate) fn minutes(&self) -> &[Charges] {
        &self.minutes
    }

    fn check(&mut self, now_ms: u64, reserve: u64) -> Result<(), Shortage> {
        self.bucket.refill(now_ms);
        let used = plus(self.sum, self.others.sum());
        let (requests_fit, tokens_fit) = match self.limits.mode {
            QuotaMode::Window => (
                within(used.requests, 1, self.limits.requests_per_minute),
                within(used.tokens, reserve, self.limits.tokens_per_minute),
            ),
            QuotaMode::Bucket => self.bucket.fits(1, reserve),
        };
        if !requests_fit {
            Err(Shortage::Requests)
        } else if !tokens_fit {
            Err(Shortage::Tokens)
        } else {
            Ok(())
        }
    }

    fn push(&mut self, start_ms: u64, requests: u64, tokens: u64) -> u64 {
        let length = u64::try_from(self.window.len()).unwrap_or(u64::MAX);
        self.window.push_back(Charge { start_ms, requests, tokens });
        self.sum.requests += requests;
        self.sum.tokens = self.sum.tokens.saturating_add(tokens);
        self.worst = highest(self.worst, self.sum);
        self.oldest + length
    }

    fn forget(&mut self, now_ms: u64) {
        while let Some(oldest) = self.window.front() {
            if oldest.start_ms.saturating_add(WINDOW_MS) > now_ms {
                return;
            }
            self.sum.requests = self.sum.requests.saturating_sub(oldest.requests);
            self.sum.tokens = self.sum.tokens.saturating_sub(oldest.tokens);
            self.window.pop_front();
            self.oldest += 1;
        }
    }

    fn minute(&mut self, start_ms: u64) -> Option<&mut Charges> {
        let since_first = start_ms.checked_sub(self.first_ms?)?;
        let index = usize::try_from(since_first / WINDOW_MS).ok()?;
        if index >= MINUTES_MAX {
            return None;
        }
        if index >= self.minutes.len() {
            self.minutes.resize(index + 1, Charges::default());
        }
        self.minutes.get_mut(index)
    }
}

fn within(sum: u64, more: u64, limit: Option<u64>) -> bool {
    limit.is_none_or(|limit| sum.saturating_add(more) <= limit)
}

/// What is left of a limit; none where there is no limit.
fn left(limit: Option<u64>, used: u64) -> Option<u64> {
    limit.map(|limit| limit.saturating_sub(used))
}

fn plus(left: Charges, right: Charges) -> Charges {
    Charges {
        requests: left.requests.saturating_add(right.requests),
        tokens: left.tokens.saturating_add(right.tokens),
    }
}

fn highest(left: Charges, right: Charges) -> Charges {
    Charges { requests: left.requests.max(right.requests), tokens: left.tokens.max(right.tokens) }
}

/// Two continuous buckets. A level is kept in 1/60,000 of a unit, so that one millisecond of refill
/// is exactly the limit and nothing is lost to rounding.
#[derive(Debug)]
struct Bucket {
    limits: QuotaLimits,
    requests: i128,
    tokens: i128,
    refilled_ms: u64,
}

const UNIT: i128 = 60_000;

impl Bucket {
    fn full(limits: QuotaLimits) -> Self {
        Self {
            limits,
            requests: capacity(limits.requests_per_minute),
            tokens: capacity(limits.tokens_per_minute),
            refilled_ms: 0,
        }
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed = i128::from(now_ms.saturating_sub(self.refilled_ms));
        self.refilled_ms = self.refilled_ms.max(now_ms);
        for (level, limit) in [
            (&mut self.requests, self.limits.requests_per_minute),
            (&mut self.tokens, self.limits.tokens_per_minute),
        ] {
            let more = elapsed * i128::from(limit.unwrap_or(0));
            *level = capacity(limit).min(*level + more);
        }
    }

    fn fits(&self, requests: u64, tokens: u64) -> (bool, bool) {
        let fits = |level: i128, amount: u64, limit: Option<u64>| {
            limit.is_none() || level >= i128::from(amount) * UNIT
        };
        (
            fits(self.requests, requests, self.limits.requests_per_minute),
            fits(self.tokens, tokens, self.limits.tokens_per_minute),
        )
    }

    /// Fills up at the old limits, then goes on with the new ones. A limit where there was none
    /// begins full.
    fn set_limits(&mut self, now_ms: u64, limits: QuotaLimits) {
        self.refill(now_ms);
        let level = |level: i128, old: Option<u64>, new: Option<u64>| match old {
            Some(_) => level.min(capacity(new)),
            None => capacity(new),
        };
        let old = self.limits;
        self.requests = level(self.requests, old.requests_per_minute, limits.requests_per_minute);
        self.tokens = level(self.tokens, old.tokens_per_minute, limits.tokens_per_minute);
        self.limits = limits;
    }

    /// Whole units that are left.
    fn room(&self) -> Room {
        let whole = |level: i128, limit: Option<u64>| {
            limit.map(|_| u64::try_from(level / UNIT).unwrap_or(0))
        };
        Room {
            requests: whole(self.requests, self.limits.requests_per_minute),
            tokens: whole(self.tokens, self.limits.tokens_per_minute),
        }
    }

    fn take(&mut self, requests: u64, tokens: u64) {
        self.requests -= i128::from(requests) * UNIT;
        self.tokens -= i128::from(tokens) * UNIT;
    }

    fn settle(&mut self, reserved: u64, settled: u64) {
        let back = (i128::from(reserved) - i128::from(settled)) * UNIT;
        self.tokens = capacity(self.limits.tokens_per_minute).min(self.tokens + back);
    }
}

fn capacity(limit: Option<u64>) -> i128 {
    i128::from(limit.unwrap_or(0)) * UNIT
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
