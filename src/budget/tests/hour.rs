//! An hour of a saturated lane, against providers that keep the quota in their own ways.
//! `cargo test --lib budget::tests::hour -- --nocapture` prints the figures.
//! Must not know: how the hour is simulated.

use super::super::Limit;
use super::provider::Kind;
use super::saturated::{Figures, Hour, Mix};
use super::tokens_per_minute;

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

fn sized(mix: &Mix, limit: u64) -> Mix {
    Mix { limit: tokens_per_minute(limit), provider_limit: tokens_per_minute(limit), ..*mix }
}

fn five() -> Mix {
    Mix { name: "burndown 5, 1 s to 3 min", output_permille: (20, 350), burndown: 5, ..mix() }
}

/// Settles to three times what the provider reserves, so our reservation is the expected use.
fn five_long_outputs() -> Mix {
    sized(
        &Mix {
            name: "burndown 5, long outputs, 1 s to 3 min",
            output_permille: (200, 1_000),
            ..five()
        },
        2_500_000,
    )
}

fn requests(name: &'static str, limit: u64) -> Mix {
    let limit = Limit { requests_per_minute: Some(limit), tokens_per_minute: None };
    Mix { name, limit, provider_limit: limit, ..mix() }
}

const KINDS: [Kind; 2] = [Kind::Window, Kind::Bucket];

#[test]
fn with_burndown_1_98_percent_of_the_provider_s_window_are_used_without_a_throttle() {
    let mixes = [
        mix(),
        Mix { name: "burndown 1, short outputs", output_permille: (20, 300), ..mix() },
        Mix { name: "burndown 1, 1 to 10 s", call_ms: (1_000, 10_000), ..mix() },
        Mix { name: "burndown 1, 70 to 120 s", call_ms: (70_000, 120_000), ..mix() },
        requests("300 requests a minute", 300),
        requests("50 requests a minute", 50),
    ];
    for (mix, kind) in mixes.iter().flat_map(|mix| KINDS.map(|kind| (mix, kind))) {
        let figures = hour(mix, kind);
        assert!(figures.window >= 98.0 && figures.window <= 100.0, "{figures:?}");
        assert!(figures.throttled <= 0.0, "{figures:?}");
    }
}

#[test]
fn an_input_estimate_a_tenth_too_high_costs_what_it_reserves_in_vain() {
    let over =
        Mix { name: "burndown 1, input estimated 10 % too high", input_over_percent: 10, ..mix() };
    for kind in KINDS {
        let figures = hour(&over, kind);
        assert!(figures.window >= 97.0, "{figures:?}");
        assert!(figures.throttled <= 0.0, "{figures:?}");
    }
}

#[test]
fn with_burndown_5_97_percent_are_used_and_next_to_nothing_is_throttled() {
    let mixes = [five(), Mix { name: "burndown 5, 1 to 10 s", call_ms: (1_000, 10_000), ..five() }];
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
