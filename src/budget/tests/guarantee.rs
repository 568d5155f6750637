//! Guarantee G4 against a reference that remembers every call: several processes interleaved,
//! crashes, calls longer than the window, late sends, clock steps of up to an hour.
//! Must not know: the inner form of the state.

use proptest::prelude::*;

use super::super::*;
use super::{ask, key, tokens, tokens_per_minute};

const SEND_LATE_MS_MAX: u64 = 500;
const PROCESSES: usize = 3;

/// How a claimed call ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Uses(u64),
    Unknown,
    NotSent,
    Throttled,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Pass {
        ms: u64,
    },
    Claim {
        process: usize,
        lane: usize,
        amount: u64,
        late_ms: u64,
        call_ms: u64,
        end: End,
        /// If it does not fit, whether the process waits for exactly as long as it is told.
        patient: bool,
    },
    Crash {
        process: usize,
    },
    /// The shared wall clock steps, and one process sees it.
    Step {
        by_ms: i64,
        process: usize,
    },
    /// Lane time itself jumps, as after a restart of the machine that keeps it.
    Jump {
        ms: u64,
    },
    Rewrite,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => (1..400_u64).prop_map(End::Uses),
        2 => (400..3_000_u64).prop_map(End::Uses),
        1 => Just(End::Unknown),
        1 => Just(End::NotSent),
        1 => Just(End::Throttled),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let claim =
        (
            0..PROCESSES,
            0..2_usize,
            1..400_u64,
            0..=SEND_LATE_MS_MAX,
            prop_oneof![1_000..20_000_u64, 20_000..180_000_u64],
            (end(), any::<bool>()),
        )
            .prop_map(|(process, lane, amount, late_ms, call_ms, (end, patient))| {
                Event::Claim { process, lane, amount, late_ms, call_ms, end, patient }
            });
    prop_oneof![
        20 => claim,
        4 => (0..3_000_u64).prop_map(|ms| Event::Pass { ms }),
        1 => (0..90_000_u64).prop_map(|ms| Event::Pass { ms }),
        1 => (0..PROCESSES).prop_map(|process| Event::Crash { process }),
        1 => (-3_600_000..=3_600_000_i64, 0..PROCESSES)
            .prop_map(|(by_ms, process)| Event::Step { by_ms, process }),
        1 => (0..3_600_000_u64).prop_map(|ms| Event::Jump { ms }),
        1 => Just(Event::Rewrite),
    ]
}

/// One call, as the reference remembers it.
#[derive(Debug, Clone)]
struct Call {
    process: usize,
    keys: [usize; 2],
    slots: Vec<Slot>,
    claimed_at: Vec<LaneTime>,
    /// Real time at which the provider sees it.
    arrives_ms: u64,
    ends_ms: u64,
    reserved: Charge,
    /// What counts of it: the reservation, then the settled use.
    charge: Charge,
    end: Option<End>,
}

struct World {
    real_ms: u64,
    /// How far the wall clock is from real time.
    wall_ahead_ms: u64,
    clock: LaneClock,
    /// How far lane time has jumped.
    jumped_ms: u64,
    keyed: Vec<Keyed>,
    last: [Option<Contact>; PROCESSES],
    calls: Vec<Call>,
}

impl World {
    fn new() -> Self {
        let total = Limit { requests_per_minute: Some(12), tokens_per_minute: Some(1_000) };
        Self {
            real_ms: 1,
            wall_ahead_ms: 1_000_000_000,
            clock: LaneClock::default(),
            jumped_ms: 0,
            keyed: vec![
                key("total", total),
                key("lane:a", tokens_per_minute(600)),
                key("lane:b", Limit::default()),
            ],
            last: [None; PROCESSES],
            calls: Vec::new(),
        }
    }

    /// What the adapter does at the start of each transaction.
    fn contact(&mut self, process: usize) -> LaneTime {
        // Each process's steady clock has a beginning of its own.
        let steady_ms = self.real_ms + 1_000 * u64::try_from(process).unwrap();
        let wall_ms = self.real_ms + self.wall_ahead_ms;
        let (lane, contact) = self.clock.read(self.last[process], wall_ms, steady_ms);
        self.last[process] = Some(contact);
        lane.plus_ms(self.jumped_ms)
    }

    /// Lets real time pass; calls end on their way.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.real_ms + ms;
        loop {
            let next = (0..self.calls.len())
                .filter(|n| self.calls[*n].end.is_some() && self.calls[*n].ends_ms <= until_ms)
                .min_by_key(|n| self.calls[*n].ends_ms);
            let Some(next) = next else { break };
            self.real_ms = self.real_ms.max(self.calls[next].ends_ms);
            self.finish(next);
        }
        self.real_ms = until_ms;
    }

    fn finish(&mut self, index: usize) {
        let now = self.contact(self.calls[index].process);
        let call = &mut self.calls[index];
        let Some(end) = call.end.take() else { return };
        let request = tokens(0);
        call.charge = match end {
            End::Uses(used) => tokens(used),
            End::Unknown => call.reserved,
            End::NotSent => Charge::ZERO,
            End::Throttled => request,
        };
        for (nth, key) in call.keys.into_iter().enumerate() {
            let Keyed { limit, state, .. } = &mut self.keyed[key];
            state.advance(now);
            match end {
                End::NotSent => state.give_back(call.slots[nth], call.reserved),
                _ => state.settle(call.slots[nth], call.reserved, call.charge),
            }
            if matches!(end, End::Throttled) {
                state.throttled(call.claimed_at[nth], limit, None);
            }
        }
    }

    /// What the reference knows to be charged to a key in the provider's window.
    fn charged(&self, key: usize) -> Charge {
        self.calls
            .iter()
            .filter(|call| call.keys.contains(&key))
            .filter(|call| call.arrives_ms + WINDOW_MS > self.real_ms)
            .fold(Charge::ZERO, |sum, call| sum.plus(call.charge))
    }

    fn take(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Pass { ms } => self.pass(ms),
            Event::Crash { process } => {
                self.last[process] = None;
                for call in self.calls.iter_mut().filter(|call| call.process == process) {
                    call.end = None;
                }
            }
            Event::Step { by_ms, process } => {
                // Up to 2 s are not seen as a step, and are not one here.
                let by_ms = by_ms + 3_000 * by_ms.signum();
                self.wall_ahead_ms = self.wall_ahead_ms.saturating_add_signed(by_ms);
                let sees = |n: &usize| self.last[*n].is_some();
                let one = (process..PROCESSES).chain(0..process).find(sees);
                self.contact(one.unwrap_or(process));
            }
            Event::Jump { ms } => {
                let before = self.contact(0);
                self.jumped_ms += ms;
                for Keyed { state, .. } in &mut self.keyed {
                    state.advance(before);
                    state.step(before.plus_ms(ms));
                }
            }
            Event::Rewrite => {
                for Keyed { state, .. } in &mut self.keyed {
                    let written = serde_json::to_string(&state).unwrap();
                    *state = serde_json::from_str(&written).unwrap();
                }
            }
            Event::Claim { .. } => self.claim(&event)?,
        }
        Ok(())
    }

    fn claim(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let Event::Claim { process, lane, amount, late_ms, call_ms, end, patient } = *event else {
            return Ok(());
        };
        let keys = [0, 1 + lane];
        let reserved = tokens(amount);
        for _ in 0..if patient { 3 } else { 1 } {
            let now = self.contact(process);
            let draw = Draw { id: "x", reservation: reserved, keys: &keys, first: false };
            let plan = fit(&mut self.keyed, &[draw], &FitPolicy::default(), now);
            match plan.decisions.as_slice() {
                [Decision::Claim { slots }] => {
                    self.check(keys, reserved)?;
                    let claimed_at = keys.map(|key| self.keyed[key].state.now()).to_vec();
                    self.calls.push(Call {
                        process,
                        keys,
                        slots: slots.clone(),
                        claimed_at,
                        arrives_ms: self.real_ms + late_ms,
                        ends_ms: self.real_ms + late_ms + call_ms,
                        reserved,
                        charge: reserved,
                        end: Some(end),
                    });
                    return Ok(());
                }
                _ => self.pass(plan.fits_in_ms.unwrap_or(0)),
            }
        }
        Ok(())
    }

    fn check(&self, keys: [usize; 2], reserved: Charge) -> Result<(), TestCaseError> {
        for key in keys {
            let after = self.charged(key).plus(reserved);
            let Keyed { name, limit, .. } = &self.keyed[key];
            for dimension in Dimension::ALL {
                if let Some(limit) = limit.of(dimension) {
                    let charged = after.of(dimension);
                    prop_assert!(
                        charged <= limit,
                        "{name}: {charged} {dimension} admitted at a limit of {limit}, at {} ms",
                        self.real_ms
                    );
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_admitted_beyond_the_limit_whatever_happens(
        events in prop::collection::vec(event(), 1..150)
    ) {
        let mut world = World::new();
        for event in events {
            world.take(event)?;
        }
    }

    #[test]
    fn a_draw_that_waits_fits_when_it_was_told_and_not_before(
        events in prop::collection::vec(event(), 1..80),
        amount in 1..600_u64,
    ) {
        let mut world = World::new();
        for event in events {
            // After a throttle the limit grows while one waits, and the pace gains a little.
            if !matches!(event, Event::Claim { end: End::Throttled, .. }) {
                world.take(event)?;
            }
        }
        let Keyed { limit, mut state, .. } = world.keyed[0].clone();
        state.pass = None;
        let now = state.now().0;
        let at = |ms: u64| {
            let mut keys = [Keyed { state: state.clone(), ..key("total", limit) }];
            ask(&mut keys, "last", amount, now + ms).fits_in_ms
        };
        if let Some(wait_ms) = at(0) {
            prop_assert!(wait_ms <= WINDOW_MS + GUARD_MS + SLOT_MS);
            prop_assert_eq!(at(wait_ms), None, "told to wait for {} ms", wait_ms);
            prop_assert_eq!(at(wait_ms - 1), Some(1));
        }
    }

    #[test]
    fn the_ring_holds_exactly_what_a_list_of_all_live_calls_holds(
        steps in prop::collection::vec((0..6_u8, any::<u64>()), 1..120)
    ) {
        let mut state = BudgetState::default();
        // The slot that a call was given, the one in which it counts, its reservation and charge.
        let mut calls: Vec<(Slot, u64, u64, u64)> = Vec::new();
        for (what, n) in steps {
            let now = state.now();
            match what {
                0 => state.advance(now.plus_ms(n % 30_000)),
                1 | 2 => {
                    let slot = state.reserve(tokens(n % 1_000), tokens(0));
                    calls.push((slot, slot.0, n % 1_000, n % 1_000));
                }
                3 => {
                    if n % 2 == 0 { state.rebase() } else { state.step(now.plus_ms(n % 3_600_000)) }
                    for call in &mut calls {
                        call.1 = state.now().slot().0;
                    }
                }
                _ => {
                    let open = calls.iter_mut().filter(|call| call.2 > 0).last();
                    if let Some((slot, _, reserved, charge)) = open {
                        let used = n % (*reserved + 1);
                        state.settle(*slot, tokens(*reserved), tokens(used));
                        (*reserved, *charge) = (0, used);
                    }
                }
            }
            calls.retain(|call| (call.1 + 1) * SLOT_MS + WINDOW_MS + GUARD_MS > state.now().0);
            let level = state.level(&Limit::default()).tokens;
            let charges: u64 = calls.iter().map(|call| call.3).sum();
            let in_flight: u64 = calls.iter().map(|call| call.2).sum();
            prop_assert_eq!((level.used + level.in_flight, level.in_flight), (charges, in_flight));
        }
    }
}
