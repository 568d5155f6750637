//! Tests of what calls meet: phases by time, scripts in order, fixtures. Must not know: the wire.

use super::super::request::Operation;
use super::*;

fn rules(scenario: &str, fixtures: &str) -> Rules {
    let mut options =
        SimulatorOptions { fixtures: fixtures.parse().unwrap(), ..SimulatorOptions::default() };
    options.take_scenario(scenario.parse().unwrap());
    Rules::new(&options)
}

fn call(job_id: &str, attempt: &str) -> Facts {
    let mut facts = Facts::unread("amazon.nova-lite-v1:0".to_owned(), Operation::Converse);
    facts.metadata.insert("job_id".to_owned(), job_id.to_owned());
    facts.metadata.insert("attempt".to_owned(), attempt.to_owned());
    facts
}

fn met(rules: &mut Rules, job_id: &str, now_ms: u64) -> String {
    let chosen = rules.choose(&call(job_id, "1"), "", now_ms, |faults| faults.draw(1, 1));
    chosen.fault.map_or("ok".to_owned(), |fault| fault.to_string())
}

#[test]
fn a_script_runs_in_order_and_ends_as_it_says() {
    for (after, expected) in [
        ("ok", ["throttle_day", "ok", "hang", "ok", "ok", "ok", "ok"]),
        ("repeat_last", ["throttle_day", "ok", "hang", "hang", "hang", "hang", "hang"]),
        (
            "start_over",
            ["throttle_day", "ok", "hang", "throttle_day", "ok", "hang", "throttle_day"],
        ),
    ] {
        let script =
            format!("[[script]]\nthen = ['throttle_day', 'ok', 'hang']\nafter = '{after}'");
        let mut rules = rules(&script, "");
        assert_eq!(expected.map(|_| met(&mut rules, "a", 0)), expected, "{after}");
    }
}

#[test]
fn a_script_per_job_counts_each_job_for_itself() {
    let mut rules =
        rules("[[script]]\nthen = ['http_500', 'ok', 'cut_stream']\ncount = 'per_job'", "");
    let got = ["a", "b", "a", "a", "b", "b", "a"].map(|job| met(&mut rules, job, 0));
    assert_eq!(got, ["http_500", "http_500", "ok", "cut_stream", "ok", "cut_stream", "ok"]);
}

#[test]
fn rates_apply_where_no_script_does_and_not_where_one_says_ok() {
    let mut rules = rules(
        "[faults]\nhang = 1.0\n[[script]]\nmatch = { job_id = 'a' }\nthen = ['ok', 'empty']",
        "",
    );
    let got = ["b", "a", "a", "a"].map(|job| met(&mut rules, job, 0));
    assert_eq!(got, ["hang", "ok", "empty", "hang"]);
}

#[test]
fn phases_count_from_the_first_call_and_the_later_has_the_last_word() {
    let text = "
        quota = { requests_per_minute = 10 }
        faults = { empty = 1.0 }
        other_callers = { tokens_per_minute = 7 }
        [[phase]]
        name = 'first'
        from_s = 10
        to_s = 20
        faults = { hang = 1.0 }
        quota = { requests_per_minute = 3, tokens_per_minute = 100 }
        [[phase]]
        from_s = 15
        latency = { first_token_ms = 9 }
        quota = { requests_per_minute = 0 }
        other_callers = { requests_per_minute = 4 }
        ";
    let mut rules = rules(text, "");
    let mut at = |seconds: u64| {
        let now_ms = 500 + seconds * 1_000;
        rules.choose(&call("a", "1"), "", now_ms, |faults| faults.draw(1, 1))
    };
    let limits =
        |chosen: &Chosen| (chosen.limits.requests_per_minute, chosen.limits.tokens_per_minute);
    let base = at(0);
    assert_eq!((base.fault, base.phase.as_deref()), (Some(Fault::Empty), None));
    assert_eq!((limits(&base), base.others.tokens), ((Some(10), None), 7));
    let first = at(10);
    assert_eq!((first.fault, first.phase.as_deref()), (Some(Fault::Hang), Some("first")));
    assert_eq!(limits(&first), (Some(3), Some(100)));
    let both = at(15);
    assert_eq!((both.fault, both.phase.as_deref()), (Some(Fault::Hang), Some("phase 2")));
    assert_eq!((limits(&both), both.latency.first_token_ms), ((None, Some(100)), 9));
    assert_eq!(both.others, Charges { requests: 4, tokens: 7 });
    let after = at(20);
    assert_eq!((after.fault, limits(&after)), (Some(Fault::Empty), (None, None)));
}

#[test]
fn phases_and_latencies_pass_faster_at_a_higher_speed() {
    let mut options = SimulatorOptions { scenario_speed: 60, ..SimulatorOptions::default() };
    options.take_scenario(
        "latency = { first_token_ms = 600, per_token_us = 300 }
         [[phase]]\nfrom_s = 60\nfaults = { hang = 1.0 }"
            .parse()
            .unwrap(),
    );
    let mut rules = Rules::new(&options);
    let got = [0, 999, 1_000].map(|now_ms| met(&mut rules, "a", now_ms));
    assert_eq!(got, ["ok", "ok", "hang"]);
    let chosen = rules.choose(&call("a", "1"), "", 2_000, |_| None);
    assert_eq!((chosen.latency.first_token_ms, chosen.latency.per_token_us), (10, 5));
}

#[test]
fn the_first_fixture_that_matches_is_taken_until_it_is_used_up() {
    let fixtures = concat!(
        "{\"match\": {\"job_id\": \"a\"}, \"answer\": \"one\", \"times\": 2}\n",
        "{\"match\": {\"attempt\": 1}, \"fault\": \"hang\"}\n",
    );
    let mut rules = rules("", fixtures);
    let mut line = |job: &str| {
        let chosen = rules.choose(&call(job, "1"), "", 0, |_| None);
        (chosen.fixture.map(|fixture| fixture.line), chosen.fault)
    };
    let second = (Some(2), Some(Fault::Hang));
    assert_eq!(
        ["a", "a", "a", "b"].map(&mut line),
        [(Some(1), None), (Some(1), None), second, second]
    );
}

#[test]
fn what_a_call_never_met_can_be_given_back() {
    let mut rules =
        rules("[[script]]\nthen = ['http_500', 'hang']", "{\"answer\": \"x\", \"times\": 1}");
    let chosen = rules.choose(&call("a", "1"), "", 0, |_| None);
    assert_eq!(chosen.rule.as_deref(), Some("fixture line 1; script 1, step 1 of 2"));
    rules.give_back(&chosen);
    let again = rules.choose(&call("a", "1"), "", 0, |_| None);
    assert_eq!((again.fault, again.rule), (Some(Fault::Http500), chosen.rule));
}
