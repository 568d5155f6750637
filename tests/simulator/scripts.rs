//! Scripts, fixtures, scenarios and the control interface as a client meets them. Must not know:
//! how rules are chosen.

use quarrier::simulator::{Fixtures, SCENARIOS, Scenario};

use super::quota::plain;
use super::*;

fn playing(scenario: &str) -> SimulatorOptions {
    let mut options = SimulatorOptions::default();
    options.take_scenario(scenario.parse().unwrap());
    options
}

fn answering(fixtures: &str) -> SimulatorOptions {
    SimulatorOptions { fixtures: fixtures.parse().unwrap(), ..SimulatorOptions::default() }
}

async fn ask(client: &Client, metadata: &[(&str, &str)], text: &str) -> String {
    let mut call = client.converse().model_id(MODEL).messages(user(text));
    for (key, value) in metadata {
        call = call.request_metadata(*key, *value);
    }
    match call.inference_config(limits(500)).send().await {
        Ok(output) => text_of(&output),
        Err(error) => error.into_service_error().message().unwrap_or("no answer").to_owned(),
    }
}

#[tokio::test]
async fn a_script_strikes_its_calls_in_order_and_the_log_says_which_step() {
    let script = r#"
        [[script]]
        name = "start"
        match = { queue = "reports" }
        then = ["throttle_day", "ok", "model_timeout"]
    "#;
    let (simulator, client) = simulator(playing(script)).await;
    let reports = [("queue", "reports")];
    let others = [("queue", "others")];
    assert!(ask(&client, &reports, "Hi").await.starts_with("Too many tokens per day"));
    assert!(ask(&client, &others, "Hi").await.starts_with("[simulated]"));
    assert!(ask(&client, &reports, "Hi").await.starts_with("[simulated]"));
    assert!(ask(&client, &reports, "Hi").await.starts_with("Model has timed out"));
    assert!(ask(&client, &reports, "Hi").await.starts_with("[simulated]"));
    let rules: Vec<Option<String>> = simulator.calls().into_iter().map(|call| call.rule).collect();
    let step = |number: u32| Some(format!("start, step {number} of 3"));
    assert_eq!(rules, [step(1), None, step(2), step(3), None]);
    assert_eq!(simulator.summary().ruled, 3);
}

#[tokio::test]
async fn a_call_that_the_quota_throttles_uses_up_no_step() {
    let script = "
        quota = { requests_per_minute = 1 }
        [[script]]
        then = ['ok', 'throttle_day']
        after = 'repeat_last'
    ";
    let (simulator, client) = simulator(playing(script)).await;
    assert!(ask(&client, &[], "Hi").await.starts_with("[simulated]"));
    // The step needs no quota.
    assert!(ask(&client, &[], "Hi").await.contains("per day"));
    simulator.set_scenario(
        "quota = { requests_per_minute = 1 }\n[[script]]\nthen = ['ok', 'ok', 'empty']"
            .parse()
            .unwrap(),
    );
    for _ in 0..3 {
        assert!(ask(&client, &[], "Hi").await.starts_with("Too many requests"));
    }
    let rules: Vec<Option<String>> =
        simulator.calls().into_iter().skip(2).map(|call| call.rule).collect();
    assert_eq!(rules, vec![Some("script 1, step 1 of 3".to_owned()); 3]);
}

#[tokio::test]
async fn a_fixture_answers_exactly_so_whole_and_streamed() {
    let fixtures = r#"
{"match": {"text": "invoice 7"}, "answer": {"total": 12.50, "n": 12345678901234567890123}, "usage": {"input": 900, "output": 120}}
{"match": {"metadata": {"kind": "probe"}}, "answer": "Half an ans", "stop": "max_tokens", "times": 1}
{"match": {"metadata": {"kind": "probe"}}, "fault": "refusal"}
"#;
    let (simulator, client) = simulator(answering(fixtures)).await;
    let json = r#"{"total": 12.50, "n": 12345678901234567890123}"#;
    assert_eq!(ask(&client, &[], "Fill in invoice 7.").await, json);
    let got = stream(&client, user("Fill in invoice 7.")).await;
    assert_eq!((got.text.as_str(), got.usage), (json, Some((900, 120))));
    let probe = [("kind", "probe")];
    assert_eq!(ask(&client, &probe, "Hi").await, "Half an ans");
    assert!(ask(&client, &probe, "Hi").await.contains("I can't help"));
    assert!(ask(&client, &[], "Hi").await.starts_with("[simulated]"));
    let calls = simulator.calls();
    assert_eq!(calls[0].rule.as_deref(), Some("fixture line 2"));
    assert_eq!((calls[0].input_tokens, calls[0].output_tokens), (900, Some(120)));
    assert_eq!(calls[0].settled, Some(900 + 5 * 120));
    assert_eq!(calls[3].outcome, Outcome::Fault(Fault::Refusal));
}

#[tokio::test]
async fn other_callers_draw_on_the_quota() {
    let script = "
        quota = { requests_per_minute = 100 }
        other_callers = { requests_per_minute = 1_000_000 }
    ";
    let (simulator, client) = simulator(playing(script)).await;
    // They take whatever is left; how soon depends on the machine's speed, not whether.
    while !ask(&client, &[], "Hi").await.starts_with("Too many requests") {}
    let summary = simulator.summary();
    assert!(summary.worst_window_requests < 100, "{summary:?}");
}

#[tokio::test]
async fn the_control_interface_sets_the_stage() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let post = async |path: &str, body: &str| {
        let (head, body) = plain(&simulator, &format!("POST {path}"), body).await;
        let status = head.split(' ').nth(1).unwrap().to_owned();
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let good = ("200".to_owned(), json!({"simulated": true, "status": "ok"}));
    assert_eq!(post("/faults", r#"{"throttle_day": 1}"#).await, good);
    assert!(ask(&client, &[], "Hi").await.contains("per day"));
    assert_eq!(post("/faults", "expired_token=1").await, good);
    assert!(ask(&client, &[], "Hi").await.contains("expired"));
    assert_eq!(post("/scenario", "calm\n").await, good);
    assert_eq!(simulator.summary().scenario.as_deref(), Some("calm"));
    assert_eq!(post("/scenario", "[[script]]\nthen = ['access_denied']").await, good);
    assert!(ask(&client, &[], "Hi").await.contains("don't have access"));
    assert_eq!(post("/fixtures", r#"{"answer": "Exactly this."}"#).await, good);
    assert_eq!(ask(&client, &[], "Hi").await, "Exactly this.");
    for (path, body, expected) in [
        ("/faults", "hong=1", "no fault is named `hong`"),
        ("/faults", r#"{"hang": 3}"#, "from 0 to 1"),
        ("/scenario", "sunny", "those that ship are calm, monday-morning, bad-day"),
        ("/scenario", "\nx = 1", "line 2: unknown field `x`"),
        ("/fixtures", "{}", "line 1: it says neither"),
        ("/reset", r#"{"hard": true}"#, "unknown field `hard`"),
    ] {
        let (status, body) = post(path, body).await;
        assert_eq!(status, "400");
        assert!(body["error"]["message"].as_str().unwrap().contains(expected), "{body}");
    }
    assert_eq!(ask(&client, &[], "Hi").await, "Exactly this.");
    assert_eq!(post("/reset", "").await, good);
    assert_eq!(simulator.summary().calls, 0);
    assert!(ask(&client, &[], "Hi").await.starts_with("[simulated]"));
    assert_eq!(simulator.calls()[0].seq, 1);
}

#[tokio::test]
async fn a_call_in_flight_at_a_reset_ends_unseen() {
    let (simulator, client) = simulator(faulty(Fault::HangStream)).await;
    let open = || client.converse_stream().model_id(MODEL).messages(user("Hello.")).send();
    let before = open().await.unwrap();
    simulator.reset();
    let _held = open().await.unwrap();
    drop(before);
    simulator.reset();
    let summary = simulator.summary();
    assert_eq!((summary.calls, summary.in_flight, summary.client_gone), (0, 0, 0));
}

#[tokio::test]
async fn the_same_run_meets_the_same_faults_again() {
    let run = async || {
        let mut options = playing("");
        options.take_scenario(Scenario::shipped("bad-day").unwrap());
        let quick =
            SimulatorOptions { latency: Latency::default(), hang_ms_max: 1, drip_ms: 0, ..options };
        let (simulator, client) = simulator(quick).await;
        for number in 0..60 {
            ask(&client, &[], &format!("Say {number}.")).await;
        }
        let outcomes: Vec<Outcome> = simulator.calls().iter().map(|call| call.outcome).collect();
        outcomes
    };
    let first = run().await;
    assert_eq!(first.len(), 60);
    assert!(first.iter().any(|outcome| *outcome != Outcome::Admitted));
    assert_eq!(first, run().await);
}

/// Ten callers with two jobs each, who try again until they have an answer, while an hour of the
/// scenario passes in seconds.
#[tokio::test]
async fn jobs_get_through_every_scenario_that_ships() {
    for (name, _) in SCENARIOS {
        let mut options = SimulatorOptions {
            scenario_speed: 1_000,
            hang_ms_max: 10,
            drip_ms: 0,
            ..SimulatorOptions::default()
        };
        options.take_scenario(Scenario::shipped(name).unwrap());
        let (simulator, client) = simulator(options).await;
        let callers = (0..10).map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for job in 0..2 {
                    let prompt = format!("Job {job} of caller {caller}.");
                    while !ask(&client, &[], &prompt).await.starts_with("[simulated] This stands") {
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let summary = simulator.summary();
        assert_eq!(summary.scenario.as_deref(), Some(name));
        assert!(summary.calls >= 20);
        assert!(name != "calm" || summary.calls == 20, "{summary:?}");
    }
}

#[test]
fn the_scenarios_that_ship_are_files_too() {
    for (name, text) in SCENARIOS {
        let path = format!("{}/examples/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
}

#[test]
fn the_examples_of_the_documentation_are_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulator.md");
    let page = std::fs::read_to_string(path).unwrap();
    let fenced = |word: &str| {
        let (_, after) = page.split_once(&format!("```{word}\n")).unwrap();
        after.split_once("```").unwrap().0.to_owned()
    };
    let scenario: Scenario = fenced("toml").parse().unwrap();
    assert_eq!((scenario.phase.len(), scenario.script.len()), (1, 2));
    let fixtures: Fixtures = fenced("json").parse().unwrap();
    assert_eq!(fixtures.len(), 4);
}
