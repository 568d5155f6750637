//! Two providers that keep a quota in their own ways, and count what is used of it.
//! Must not know: our budget.

use std::collections::{HashMap, VecDeque};

use super::super::{Charge, Dimension, Limit, WINDOW_MS};

/// How the provider refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By the sum of the calls that started in the last 60 s.
    Window,
    /// By a bucket that holds one minute's quota and refills continuously.
    Bucket,
}

/// Reserves input and `max_tokens` while a call runs, and corrects that to its use when it ends.
pub(super) struct Provider {
    kind: Kind,
    limit: Limit,
    /// Calls of the last minute and excesses of longer ones: when, whose, how much.
    window: VecDeque<(u64, u64)>,
    charges: HashMap<u64, Charge>,
    sum: Charge,
    /// In 60,000ths, per dimension; may be negative.
    bucket: [i128; 2],
    refilled_to_ms: u64,
    next_id: u64,
}

impl Provider {
    pub(super) fn new(kind: Kind, limit: Limit) -> Self {
        Self {
            kind,
            limit,
            window: VecDeque::new(),
            charges: HashMap::new(),
            sum: Charge::ZERO,
            bucket: Dimension::ALL.map(|d| full(limit, d)),
            refilled_to_ms: 0,
            next_id: 0,
        }
    }

    /// A call arrives; its id if it is accepted.
    pub(super) fn start(&mut self, now_ms: u64, reserved: Charge) -> Result<u64, Dimension> {
        self.pass(now_ms);
        for (n, dimension) in Dimension::ALL.into_iter().enumerate() {
            let Some(limit) = self.limit.of(dimension) else {
                continue;
            };
            let needed = reserved.of(dimension);
            let fits = match self.kind {
                Kind::Window => self.sum.of(dimension) + needed <= limit,
                Kind::Bucket => self.bucket[n] >= units(needed),
            };
            if !fits {
                return Err(dimension);
            }
        }
        self.draw(reserved, Charge::ZERO);
        Ok(self.remember(now_ms, reserved))
    }

    /// A call ends.
    pub(super) fn end(&mut self, now_ms: u64, id: u64, reserved: Charge, settled: Charge) {
        self.pass(now_ms);
        self.draw(settled, reserved);
        if let Some(charge) = self.charges.get_mut(&id) {
            *charge = settled;
            self.sum = self.sum.plus(settled).minus(reserved);
        } else {
            self.remember(now_ms, settled.minus(reserved));
        }
    }

    /// Reservations in flight and settled use of the last minute.
    pub(super) fn used(&mut self, now_ms: u64) -> Charge {
        self.pass(now_ms);
        self.sum
    }

    fn remember(&mut self, now_ms: u64, charge: Charge) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.window.push_back((now_ms, id));
        self.charges.insert(id, charge);
        self.sum = self.sum.plus(charge);
        id
    }

    fn draw(&mut self, more: Charge, less: Charge) {
        for (n, dimension) in Dimension::ALL.into_iter().enumerate() {
            let level = self.bucket[n] + units(less.of(dimension)) - units(more.of(dimension));
            self.bucket[n] = level.min(full(self.limit, dimension));
        }
    }

    fn pass(&mut self, now_ms: u64) {
        while self.window.front().is_some_and(|(at, _)| at + WINDOW_MS <= now_ms) {
            let (_, id) = self.window.pop_front().unwrap();
            self.sum = self.sum.minus(self.charges.remove(&id).unwrap());
        }
        let elapsed_ms = i128::from(now_ms - self.refilled_to_ms);
        self.refilled_to_ms = now_ms;
        for (n, dimension) in Dimension::ALL.into_iter().enumerate() {
            let refill = elapsed_ms * i128::from(self.limit.of(dimension).unwrap_or(0));
            self.bucket[n] = (self.bucket[n] + refill).min(full(self.limit, dimension));
        }
    }
}

fn units(amount: u64) -> i128 {
    i128::from(amount) * i128::from(WINDOW_MS)
}

fn full(limit: Limit, dimension: Dimension) -> i128 {
    units(limit.of(dimension).unwrap_or(0))
}
