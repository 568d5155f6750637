//! What other callers of the same account draw from a quota: a steady flow, as much of it as fits.
//! Must not know: clocks (`now_ms` is an argument), our own calls, the wire.

use std::collections::VecDeque;

use super::quota::{Charges, WINDOW_MS};

/// How finely their flow is cut: a charge for each so many milliseconds.
const STEP_MS: u64 = 250;

/// The flow of one quota.
#[derive(Debug, Default)]
pub(crate) struct Others {
    window: VecDeque<(u64, Charges)>,
    sum: Charges,
    /// Up to when their flow has been charged; none before they first drew.
    charged_ms: Option<u64>,
    /// What is left over from steps too short for a whole unit, in 1/60,000 of one.
    left: Charges,
}

impl Others {
    /// Their charges of the last 60 s.
    pub(crate) fn sum(&self) -> Charges {
        self.sum
    }

    /// Lets them draw up to `now_ms` at a rate per minute, into the room that a quota has (absent:
    /// without bound); what does not fit is throttled for them too. Returns what they drew.
    pub(crate) fn draw(&mut self, now_ms: u64, rate: Charges, room: Room) -> Charges {
        self.forget(now_ms);
        let before = self.charged_ms.unwrap_or(now_ms).max(now_ms.saturating_sub(WINDOW_MS));
        let mut drawn = Charges::default();
        let mut at_ms = before;
        while at_ms < now_ms {
            let step = STEP_MS.min(now_ms - at_ms);
            at_ms += step;
            let due = |rate: u64, left: &mut u64| {
                let all = rate.saturating_mul(step).saturating_add(*left);
                *left = all % WINDOW_MS;
                all / WINDOW_MS
            };
            let due = Charges {
                requests: due(rate.requests, &mut self.left.requests),
                tokens: due(rate.tokens, &mut self.left.tokens),
            };
            let fits = |due: u64, room: Option<u64>, drawn: u64| {
                room.map_or(due, |room| due.min(room.saturating_sub(drawn)))
            };
            let charge = Charges {
                requests: fits(due.requests, room.requests, drawn.requests),
                tokens: fits(due.tokens, room.tokens, drawn.tokens),
            };
            if charge != Charges::default() {
                self.window.push_back((at_ms, charge));
                drawn = plus(drawn, charge);
            }
        }
        self.charged_ms = Some(now_ms);
        self.sum = plus(self.sum, drawn);
        drawn
    }

    /// They stop; what they have drawn counts on.
    pub(crate) fn rest(&mut self, now_ms: u64) {
        self.forget(now_ms);
        self.charged_ms = None;
    }

    fn forget(&mut self, now_ms: u64) {
        while let Some((at_ms, charge)) = self.window.front() {
            if at_ms.saturating_add(WINDOW_MS) > now_ms {
                return;
            }
            self.sum.requests = self.sum.requests.saturating_sub(charge.requests);
            self.sum.tokens = self.sum.tokens.saturating_sub(charge.tokens);
            self.window.pop_front();
        }
    }
}

/// What is left of a quota; absent: unlimited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) requests: Option<u64>,
    pub(crate) tokens: Option<u64>,
}

fn plus(left: Charges, right: Charges) -> Charges {
    Charges {
        requests: left.requests.saturating_add(right.requests),
        tokens: left.tokens.saturating_add(right.tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Room = Room { requests: None, tokens: None };

    #[test]
    fn they_draw_their_rate_and_it_counts_for_a_minute() {
        let mut others = Others::default();
        let rate = Charges { requests: 30, tokens: 6_000 };
        for now_ms in (0..=60_000).step_by(77) {
            others.draw(now_ms, rate, FREE);
        }
        assert!((29..=30).contains(&others.sum().requests), "{:?}", others.sum());
        assert!((5_900..=6_000).contains(&others.sum().tokens), "{:?}", others.sum());
        others.rest(130_000);
        assert_eq!(others.sum(), Charges::default());
    }

    #[test]
    fn they_draw_no_more_than_there_is_room_for() {
        let mut others = Others::default();
        let rate = Charges { requests: 600, tokens: 60_000 };
        let room = Room { requests: Some(4), tokens: Some(100) };
        others.draw(0, rate, room);
        let drawn = others.draw(10_000, rate, room);
        assert_eq!(drawn, Charges { requests: 4, tokens: 100 });
    }
}
