//! A worker that keeps one lane saturated, in virtual time, against a provider of its own mind.
//! Must not know: the inner form of the state, what is asked of the figures.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::super::*;
use super::provider::{Kind, Provider};
use super::{key, tokens};
use crate::completion::Usage;

const HOUR_MS: u64 = 3_600_000;
const CLAIM_INTERVAL_MS: u64 = 25;
/// Figures are taken from minute 2 to the last but one.
const MEASURED_MS: std::ops::Range<u64> = 120_000..HOUR_MS - 60_000;

/// What the calls of a lane look like; ranges are uniform, durations logarithmically so.
#[derive(Clone, Copy)]
pub(super) struct Mix {
    pub(super) name: &'static str,
    pub(super) limit: Limit,
    /// The provider's own limit, where it differs from ours.
    pub(super) provider_limit: Limit,
    pub(super) input: (u64, u64),
    pub(super) max_tokens: u64,
    /// Output in thousandths of `max_tokens`.
    pub(super) output_permille: (u64, u64),
    pub(super) call_ms: (u64, u64),
    pub(super) burndown: u64,
    /// How far the estimate's upper bound of the input is above what the model counts.
    pub(super) input_over_percent: u64,
}

#[derive(Clone, Copy)]
struct Call {
    reserved: Charge,
    at_provider: Charge,
    settled: Charge,
    takes_ms: u64,
}

#[derive(Clone, Copy)]
enum Event {
    Ask,
    Arrive(Call, Slot, LaneTime),
    End(u64, Call, Slot),
    Settle(Call, Slot, Option<(LaneTime, Dimension)>),
    Sample,
}

/// A small generator of even numbers (splitmix), so that every run is the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, (from, to): (u64, u64)) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + (z ^ (z >> 31)) % (to - from + 1)
    }

    /// Even over the logarithm.
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive numbers, in a test"
    )]
    fn roll_log(&mut self, (from, to): (u64, u64)) -> u64 {
        let part = self.roll((0, 1_000_000)) as f64 / 1e6;
        (from as f64 * (to as f64 / from as f64).powf(part)) as u64
    }
}

/// What was measured, in percent.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Mean of the provider's own sum (in flight and settled, of the last 60 s).
    pub(super) window: f64,
    /// Settled use per minute.
    pub(super) settled: f64,
    /// Calls that the provider refused.
    pub(super) throttled: f64,
    pub(super) calls: u64,
    /// The largest reservation.
    pub(super) largest: f64,
}

pub(super) struct Hour<'a> {
    mix: &'a Mix,
    dimension: Dimension,
    keyed: [Keyed; 1],
    provider: Provider,
    dice: Dice,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: std::collections::HashMap<u64, Event>,
    ready: VecDeque<(String, Call)>,
    made: u64,
    next_ask_ms: Option<u64>,
    asked_ms: u64,
    sums: Vec<u64>,
    settled: u64,
    started: u64,
    throttled: u64,
    largest: u64,
}

impl<'a> Hour<'a> {
    pub(super) fn new(mix: &'a Mix, kind: Kind) -> Self {
        let dimension = match mix.limit.tokens_per_minute {
            Some(_) => Dimension::Tokens,
            None => Dimension::Requests,
        };
        Self {
            mix,
            dimension,
            keyed: [key("total", mix.limit)],
            provider: Provider::new(kind, mix.provider_limit),
            dice: Dice(7),
            events: BinaryHeap::new(),
            what: std::collections::HashMap::new(),
            ready: VecDeque::new(),
            made: 0,
            next_ask_ms: None,
            asked_ms: 0,
            sums: Vec::new(),
            settled: 0,
            started: 0,
            throttled: 0,
            largest: 0,
        }
    }

    fn at(&mut self, ms: u64, event: Event) {
        self.made += 1;
        self.events.push(Reverse((ms, self.made)));
        self.what.insert(self.made, event);
    }

    /// Asks again at `ms`, or when the claim interval is over, unless it asks earlier anyway.
    fn ask_at(&mut self, ms: u64) {
        let ms = ms.max(self.asked_ms + CLAIM_INTERVAL_MS);
        if self.next_ask_ms.is_none_or(|next| ms < next) {
            self.next_ask_ms = Some(ms);
            self.at(ms, Event::Ask);
        }
    }

    fn call(&mut self) -> Call {
        let mix = self.mix;
        let input = self.dice.roll(mix.input);
        let output = mix.max_tokens * self.dice.roll(mix.output_permille) / 1_000;
        let (least, most) = mix.output_permille;
        let output_expected = mix.max_tokens * (least + most) / 2_000;
        let input_max = input + input * mix.input_over_percent / 100;
        let reserved = reservation(input_max, mix.max_tokens, output_expected, mix.burndown);
        let usage = Usage { input, output, ..Usage::default() };
        Call {
            reserved,
            at_provider: tokens(input + mix.max_tokens),
            settled: settled(&usage, mix.burndown),
            takes_ms: self.dice.roll_log(mix.call_ms),
        }
    }

    pub(super) fn run(mut self) -> Figures {
        self.ask_at(0);
        self.at(0, Event::Sample);
        while let Some(Reverse((now_ms, id))) = self.events.pop() {
            if now_ms >= HOUR_MS {
                break;
            }
            let event = self.what.remove(&id).unwrap();
            self.take(now_ms, event);
        }
        self.figures()
    }

    fn take(&mut self, now_ms: u64, event: Event) {
        let counted = MEASURED_MS.contains(&now_ms);
        match event {
            Event::Ask if self.next_ask_ms == Some(now_ms) => self.ask(now_ms),
            Event::Ask => {}
            Event::Arrive(call, slot, claimed_at) => {
                self.started += u64::from(counted);
                match self.provider.start(now_ms, call.at_provider) {
                    Ok(id) => self.at(now_ms + call.takes_ms, Event::End(id, call, slot)),
                    Err(dimension) => {
                        self.throttled += u64::from(counted);
                        let refused = Call { settled: tokens(0), ..call };
                        let told = Some((claimed_at, dimension));
                        self.at(now_ms + 20, Event::Settle(refused, slot, told));
                    }
                }
            }
            Event::End(id, call, slot) => {
                if counted {
                    self.settled += call.settled.of(self.dimension);
                }
                self.provider.end(now_ms, id, call.at_provider, call.settled);
                let late_ms = self.dice.roll((5, 50));
                self.at(now_ms + late_ms, Event::Settle(call, slot, None));
            }
            Event::Settle(call, slot, throttled) => {
                let Keyed { limit, state, .. } = &mut self.keyed[0];
                state.advance(LaneTime(now_ms));
                state.settle(slot, call.reserved, call.settled);
                if let Some((claimed_at, dimension)) = throttled {
                    state.throttled(claimed_at, limit, Some(dimension));
                }
                self.ask_at(now_ms);
            }
            Event::Sample => {
                if counted {
                    self.sums.push(self.provider.used(now_ms).of(self.dimension));
                }
                self.at(now_ms + 100, Event::Sample);
            }
        }
    }

    fn ask(&mut self, now_ms: u64) {
        self.next_ask_ms = None;
        self.asked_ms = now_ms;
        while self.ready.len() < 8 {
            let call = self.call();
            self.made += 1;
            self.ready.push_back((self.made.to_string(), call));
        }
        let draws: Vec<Draw<'_>> = self
            .ready
            .iter()
            .map(|(id, call)| Draw { id, reservation: call.reserved, keys: &[0], first: false })
            .collect();
        let plan = fit(&mut self.keyed, &draws, &FitPolicy::default(), LaneTime(now_ms));
        for decision in &plan.decisions {
            let (id, call) = self.ready.pop_front().unwrap();
            match decision {
                Decision::Claim { slots } => {
                    self.largest = self.largest.max(call.reserved.of(self.dimension));
                    let late_ms = self.dice.roll((5, 300));
                    let claimed_at = LaneTime(now_ms);
                    self.at(now_ms + late_ms, Event::Arrive(call, slots[0], claimed_at));
                }
                Decision::Wait { .. } => self.ready.push_back((id, call)),
                Decision::NeverFits { .. } => panic!("the mix is too large"),
            }
        }
        self.ask_at(now_ms + plan.fits_in_ms.unwrap_or(0));
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "percentages, in a test"
    )]
    fn figures(&self) -> Figures {
        let limit = self.mix.provider_limit.of(self.dimension).unwrap() as f64;
        let mean = self.sums.iter().sum::<u64>() as f64 / self.sums.len() as f64;
        let minutes = (MEASURED_MS.end - MEASURED_MS.start) as f64 / 60_000.0;
        Figures {
            window: 100.0 * mean / limit,
            settled: 100.0 * self.settled as f64 / minutes / limit,
            throttled: 100.0 * self.throttled as f64 / self.started as f64,
            calls: self.started,
            largest: 100.0 * self.largest as f64 / limit,
        }
    }
}
