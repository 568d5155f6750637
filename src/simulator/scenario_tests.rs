//! Tests of reading scenarios. Must not know: how they are carried out.

use super::*;

#[test]
fn the_scenarios_that_ship_are_read_and_named_after_their_files() {
    for (name, _) in SCENARIOS {
        let scenario = Scenario::shipped(name).unwrap();
        assert_eq!(scenario.name, name);
        assert!(!scenario.about.is_empty());
        let unnamed = scenario.phase.iter().any(|phase| phase.name.is_empty());
        assert!(!unnamed, "a phase of {name} has no name");
    }
    assert_eq!(Scenario::shipped("sunny"), None);
}

#[test]
fn the_bad_day_holds_every_fault_of_transport_and_content() {
    let (_, text) = SCENARIOS.iter().find(|(name, _)| *name == "bad-day").unwrap();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let of_it = |fault: &&Fault| ["transport", "content"].contains(&fault.group());
    for fault in super::super::fault::FAULTS.iter().filter(of_it) {
        assert!(words.contains(&fault.as_str()), "{fault}");
    }
}

#[test]
fn a_mistake_is_refused_with_its_line() {
    for (text, expected) in [
        ("name = 'x'\nquata = 1\n", "line 2: unknown field `quata`"),
        ("[quota]\nrequests_per_hour = 1\n", "line 2: unknown field `requests_per_hour`"),
        ("[faults]\nhang = 0.1\nhong = 0.1\n", "line 3: no fault is named `hong`"),
        ("[faults]\nhang = 1.5\n", "from 0 to 1"),
        ("[[phase]]\nname = 'x'\n", "missing field `from_s`"),
        ("[[phase]]\nfrom_s = 9\nto_s = 9\n", "phase 1: `to_s` must be later"),
        ("[[script]]\nthen = []\n", "script 1: `then` is empty"),
        ("\n[[script]]\nthen = ['ok', 'explode']\n", "line 3: `explode` is no step"),
        (
            "[[script]]\nthen = ['ok']\nmatch = { colour = 'red' }\n",
            "line 3: unknown field `colour`",
        ),
        ("[latency]\nspread_percent = 101\n", "from 0 to 100"),
        ("[quota\n", "line 1"),
    ] {
        let error = text.parse::<Scenario>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn every_field_is_read() {
    let scenario: Scenario = r#"
        name = "all"
        about = "Every field."
        [quota]
        requests_per_minute = 10
        tokens_per_minute = 20
        mode = "bucket"
        scope = "model"
        [latency]
        first_token_ms = 1
        per_token_us = 2
        spread_percent = 3
        [faults]
        hang = 0.5
        [other_callers]
        requests_per_minute = 4
        tokens_per_minute = 5
        [[phase]]
        name = "later"
        from_s = 60
        to_s = 120
        quota = { requests_per_minute = 0 }
        latency = { first_token_ms = 9 }
        faults = { throttle = 1.0 }
        other_callers = { requests_per_minute = 6 }
        [[script]]
        name = "one job"
        match = { job_id = "a", queue = "b", template = "c", tenant = "d", attempt = 2, model = "*", text = "e", metadata = { f = "g" } }
        then = ["throttle_tokens", "ok", "cut_stream"]
        count = "per_job"
        after = "repeat_last"
    "#
    .parse()
    .unwrap();
    assert_eq!(scenario.quota.mode, QuotaMode::Bucket);
    assert_eq!(scenario.quota.scope, QuotaScope::Model);
    let phase = scenario.phase.first().unwrap();
    assert_eq!(phase.quota.requests_per_minute, Some(0));
    assert_eq!(phase.faults.as_ref().unwrap().to_string(), "throttle=1");
    let script = scenario.script.first().unwrap();
    assert_eq!((script.count, script.after), (Count::PerJob, After::RepeatLast));
    assert_eq!(
        script.then,
        [Step::Fault(Fault::ThrottleTokens), Step::Ok, Step::Fault(Fault::CutStream)]
    );
    assert!(scenario.reads_text());
}
