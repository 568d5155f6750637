//! An hour of a saturated lane in virtual time, against providers that keep the quota themselves.
//! `cargo test --lib budget::tests::hour -- --nocapture` prints the figures.
//! Must not know: the inner form of the state.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::super::*;
use super::provider::{Kind, Provider};
use super::{key, tokens, tokens_per_minute};
use crate::completion::Usage;

const HOUR_MS: u64 = 3_600_000;
const CLAIM_INTERVAL_MS: u64 = 25;
/// Figures are taken from minute 2 to the last but one.
const MEASURED_MS: std::ops::Range<u64> = 120_000..HOUR_MS - 60_000;

/// What the calls of a lane look like; ranges are uniform, durations logarithmically so.
#[derive(Clone)]
struct Mix {
    name: &'static str,
    limit: Limit,
    /// The provider's own limit, where it differs from ours.
    provider_limit: Limit,
    input: (u64, u64),
    max_tokens: u64,
    /// Output in thousandths of `max_tokens`.
    output_permille: (u64, u64),
    call_ms: (u64, u64),
    burndown: u64,
    /// How far the estimate's upper bound of the input is above what the model counts.
    input_over_percent: u64,
}

#[derive(Clone, Copy)]
struct Call {
    reserved: Charge,
    at_provider: Charge,
    settled: Charge,
    call_ms: u64,
}

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
struct Figures {
    /// Mean of the provider's own sum (in flight and settled, of the last 60 s).
    window: f64,
    /// Settled use per minute.
    settled: f64,
    /// Calls that the provider refused.
    throttled: f64,
    calls: u64,
    /// The largest reservation.
    largest: f64,
}

struct Hour<'a> {
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
    fn new(mix: &'a Mix, kind: Kind) -> Self {
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
        let usage = Usage {
            input,
            output,
            ..Usage::default()
        };
        Call {
            reserved,
            at_provider: tokens(input + mix.max_tokens),
            settled: settled(&usage, mix.burndown),
            call_ms: self.dice.roll_log(mix.call_ms),
        }
    }

    fn run(mut self) -> Figures {
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
                    Ok(id) => self.at(now_ms + call.call_ms, Event::End(id, call, slot)),
                    Err(dimension) => {
                        self.throttled += u64::from(counted);
                        let refused = Call {
                            settled: tokens(0),
                            ..call
                        };
                        let told = Some((claimed_at, dimension));
                        self.at(now_ms + 20, Event::Settle(refused, slot, told));
                    }
                }
            }
            Event::End(id, call, slot) => {
                if counted {
                    self.settled += call.settled.of(self.dimension);
                }
                self.provider
                    .end(now_ms, id, call.at_provider, call.settled);
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
                    self.sums
                        .push(self.provider.used(now_ms).of(self.dimension));
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
            .map(|(id, call)| Draw {
                id,
                reservation: call.reserved,
                keys: &[0],
            })
            .collect();
        let plan = fit(
            &mut self.keyed,
            &draws,
            &FitPolicy::default(),
            LaneTime(now_ms),
        );
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

#[expect(clippy::print_stdout, reason = "the figures are what the test is for")]
fn hour(mix: &Mix, kind: Kind) -> Figures {
    let figures = Hour::new(mix, kind).run();
    println!(
        "{:<44} {kind:?}: window {:6.2} %, settled/min {:6.2} %, throttled {:5.3} % of {} calls, \
         largest reservation {:.2} %",
        mix.name,
        figures.window,
        figures.settled,
        figures.throttled,
        figures.calls,
        figures.largest
    );
    figures
}

fn mix() -> Mix {
    Mix {
        name: "burndown 1, 1 s to 3 min",
        limit: tokens_per_minute(1_000_000),
        provider_limit: tokens_per_minute(1_000_000),
        input: (200, 3_000),
        max_tokens: 4_000,
        output_permille: (50, 1_000),
        call_ms: (1_000, 180_000),
        burndown: 1,
        input_over_percent: 0,
    }
}

fn sized(mix: Mix, limit: u64) -> Mix {
    Mix {
        limit: tokens_per_minute(limit),
        provider_limit: tokens_per_minute(limit),
        ..mix
    }
}

fn five() -> Mix {
    Mix {
        name: "burndown 5, 1 s to 3 min",
        output_permille: (20, 350),
        burndown: 5,
        ..mix()
    }
}

/// Settles to three times what the provider reserves, so our reservation is the expected use.
fn five_long_outputs() -> Mix {
    sized(
        Mix {
            name: "burndown 5, long outputs, 1 s to 3 min",
            output_permille: (200, 1_000),
            ..five()
        },
        2_500_000,
    )
}

fn requests(name: &'static str, limit: u64) -> Mix {
    let limit = Limit {
        requests_per_minute: Some(limit),
        tokens_per_minute: None,
    };
    Mix {
        name,
        limit,
        provider_limit: limit,
        ..mix()
    }
}

const KINDS: [Kind; 2] = [Kind::Window, Kind::Bucket];

#[test]
fn with_burndown_1_98_percent_of_the_provider_s_window_are_used_without_a_throttle() {
    let mixes = [
        mix(),
        Mix {
            name: "burndown 1, short outputs",
            output_permille: (20, 300),
            ..mix()
        },
        Mix {
            name: "burndown 1, 1 to 10 s",
            call_ms: (1_000, 10_000),
            ..mix()
        },
        Mix {
            name: "burndown 1, 70 to 120 s",
            call_ms: (70_000, 120_000),
            ..mix()
        },
        requests("300 requests a minute", 300),
        requests("50 requests a minute", 50),
    ];
    for (mix, kind) in mixes.iter().flat_map(|mix| KINDS.map(|kind| (mix, kind))) {
        let figures = hour(mix, kind);
        assert!(
            figures.window >= 98.0 && figures.window <= 100.0,
            "{figures:?}"
        );
        assert!(figures.throttled <= 0.0, "{figures:?}");
    }
}

#[test]
fn an_input_estimate_a_tenth_too_high_costs_what_it_reserves_in_vain() {
    let over = Mix {
        name: "burndown 1, input estimated 10 % too high",
        input_over_percent: 10,
        ..mix()
    };
    for kind in KINDS {
        let figures = hour(&over, kind);
        assert!(figures.window >= 97.0, "{figures:?}");
        assert!(figures.throttled <= 0.0, "{figures:?}");
    }
}

#[test]
fn with_burndown_5_97_percent_are_used_and_next_to_nothing_is_throttled() {
    let mixes = [
        five(),
        Mix {
            name: "burndown 5, 1 to 10 s",
            call_ms: (1_000, 10_000),
            ..five()
        },
    ];
    for (mix, kind) in mixes.iter().flat_map(|mix| KINDS.map(|kind| (mix, kind))) {
        let figures = hour(mix, kind);
        assert!(figures.window >= 97.0, "{figures:?}");
        assert!(figures.throttled <= 0.6, "{figures:?}");
    }
}

#[test]
fn where_calls_settle_above_what_the_provider_reserved_the_settled_use_fills_the_limit() {
    let mixes = [
        five_long_outputs(),
        Mix {
            name: "burndown 5, long outputs, 1 to 10 s",
            call_ms: (1_000, 10_000),
            ..five_long_outputs()
        },
    ];
    for (mix, kind) in mixes.iter().flat_map(|mix| KINDS.map(|kind| (mix, kind))) {
        let figures = hour(mix, kind);
        assert!(figures.settled >= 97.0, "{figures:?}");
        assert!(figures.throttled <= 0.6, "{figures:?}");
    }
    let longest = Mix {
        name: "burndown 5, long outputs, 70 to 120 s",
        call_ms: (70_000, 120_000),
        ..five_long_outputs()
    };
    for kind in KINDS {
        let figures = hour(&longest, kind);
        assert!(figures.settled >= 90.0, "{figures:?}");
        assert!(figures.throttled <= 0.6, "{figures:?}");
    }
}

#[test]
fn a_provider_with_less_than_our_limit_is_followed() {
    let less = Mix {
        name: "the provider has 70 % of our limit",
        provider_limit: tokens_per_minute(700_000),
        ..mix()
    };
    for kind in KINDS {
        let figures = hour(&less, kind);
        assert!(figures.window >= 96.0, "{figures:?}");
        assert!(figures.throttled <= 1.0, "{figures:?}");
    }
}
