//! The worker with the Bedrock adapter before the simulator: the whole way, and the quota.

use std::net::SocketAddr;
use std::sync::Arc;

use quarrier::budget::Limit;
use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::provider::Provider;
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::simulator::{FAULTS, Fault, Faults, Simulator, SimulatorOptions};
use quarrier::store::ReadStore as _;
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::within;

pub(crate) async fn simulated(options: SimulatorOptions) -> (Bed, Simulator, Arc<dyn Provider>) {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let simulator = Simulator::start(address, options).await.unwrap();
    let bedrock = BedrockOptions {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(simulator.endpoint_url()),
        simulated_credentials: true,
        ..BedrockOptions::default()
    };
    let provider = Bedrock::connect(&bedrock).await.unwrap();
    let bed = Bed::with(Clock::real(), provider.lane_prefix()).await;
    (bed, simulator, Arc::new(provider))
}

pub(crate) fn structured(number: usize) -> Value {
    json!({
        "id": format!("job-{number}"),
        "prompt": format!("Describe finding {number}."),
        "max_tokens": 300,
        "schema": {
            "type": "object",
            "properties": {
                "title": { "type": "string", "minLength": 3, "maxLength": 40 },
                "score": { "type": "integer", "minimum": 0, "maximum": 10 }
            },
            "required": ["title", "score"],
            "additionalProperties": false
        }
    })
}

#[test]
fn a_hundred_and_twenty_jobs_stay_within_the_providers_own_count() {
    within(async {
        let quota = 600;
        let options = SimulatorOptions {
            requests_per_minute: Some(quota),
            tokens_per_minute: Some(200_000),
            ..SimulatorOptions::default()
        };
        let (bed, simulator, provider) = simulated(options).await;
        let limit = Limit { requests_per_minute: Some(quota), tokens_per_minute: Some(200_000) };
        bed.limit("total", limit).await;
        for number in 0..120 {
            bed.admit(structured(number)).await;
        }
        let mut options = bed.options();
        options.concurrency = 32;
        let running = bed.start_with(provider, options);
        running.ended(120).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.throttled, status.failed), (120, 0, 0));
        let summary = simulator.summary();
        assert_eq!((summary.calls, summary.admitted, summary.throttled), (120, 120, 0));
        assert!(summary.worst_window_requests <= quota);
        assert!(summary.worst_window_tokens_at_admission <= 200_000);
        // What we think we used is what the provider counted.
        let counts = bed.store.counts(None).await.unwrap();
        assert_eq!(counts.states, [(State::Succeeded, 120)]);
        assert_eq!(counts.usage.output, summary.output_tokens);
        assert_eq!(counts.usage.input, summary.input_tokens);
    });
}

#[test]
fn two_workers_on_one_store_share_one_budget() {
    within(async {
        let quota = 60;
        let options =
            SimulatorOptions { requests_per_minute: Some(quota), ..SimulatorOptions::default() };
        let (bed, simulator, provider) = simulated(options).await;
        let limit = Limit { requests_per_minute: Some(quota), tokens_per_minute: None };
        bed.limit("total", limit).await;
        for number in 0..8 {
            bed.admit(structured(number)).await;
        }
        let first = bed.start(Arc::clone(&provider));
        let second = bed.start_on(bed.another_store().await, provider, bed.options());
        crate::until(|| async { first.now().succeeded + second.now().succeeded >= 8 }).await;
        first.drained().await;
        second.drained().await;
        let summary = simulator.summary();
        assert_eq!((summary.calls, summary.throttled), (8, 0));
    });
}

#[test]
fn every_fault_of_the_simulator_ends_in_success_or_an_honest_failure() {
    within(async {
        let faults: Faults = "http_500=0.1,http_503=0.05,cut_stream=0.1,cut_frame=0.05,\
            prose=0.1,malformed_json=0.1,wrong_schema=0.1,empty=0.05,truncated=0.05"
            .parse()
            .unwrap();
        let options = SimulatorOptions { faults, ..SimulatorOptions::default() };
        let (bed, simulator, provider) = simulated(options).await;
        for number in 0..80 {
            bed.admit(structured(number)).await;
        }
        let running = bed.start(provider);
        running.ended(80).await;
        let status = running.drained().await;
        assert_eq!(status.succeeded + status.failed, 80);
        assert!(status.succeeded >= 60, "{status:?}");
        let claimed = status.claimed;
        assert_eq!(simulator.summary().calls, claimed, "one attempt is one call");
        let ask = quarrier::store::ResultsAsk { rows_max: 100, ..Default::default() };
        for row in bed.store.results(&ask).await.unwrap() {
            match row.state {
                State::Succeeded => {
                    let output: Value = serde_json::from_str(&row.output.unwrap()).unwrap();
                    assert!(jsonschema::is_valid(&structured(0)["schema"], &output));
                }
                _ => assert!(row.error_kind.is_some()),
            }
        }
    });
}

#[test]
fn jobs_that_meet_each_fault_of_the_table_once_end_in_success_or_an_honest_failure() {
    within(async {
        let (bed, simulator, provider) = simulated(SimulatorOptions::default()).await;
        // Throttles slow the lane for minutes; they have tests of their own.
        let throttles = |fault: &&Fault| {
            fault.error().is_some_and(|(status, code)| status == 429 || code.contains("Quota"))
        };
        let struck: Vec<&str> =
            FAULTS.iter().filter(|fault| !throttles(fault)).map(|fault| fault.as_str()).collect();
        let scripts: Vec<String> =
            struck.iter().map(|name| format!("[[script]]\nthen = ['{name}']\n")).collect();
        simulator.set_scenario(scripts.concat().parse().unwrap());
        for number in 0..struck.len() {
            bed.admit(structured(number)).await;
        }
        let mut options = bed.options();
        options.clocks.first_token_ms = 500;
        options.clocks.idle_ms = 500;
        let running = bed.start_with(provider, options);
        running.ended(u64::try_from(struck.len()).unwrap()).await;
        let status = running.drained().await;
        let outcomes = simulator.summary().outcomes;
        for name in &struck {
            assert_eq!(outcomes.get(*name), Some(&1), "{name}");
        }
        // Refusals of the request, of the model and of the answer's content are final; how many of
        // the other faults one job meets is chance, and most jobs get past them.
        assert_eq!(status.succeeded + status.failed, u64::try_from(struck.len()).unwrap());
        assert!(status.failed >= 1 && status.succeeded > status.failed, "{status:?}");
    });
}

#[test]
fn a_hanging_call_is_cut_by_its_clock_and_tried_again() {
    within(async {
        let options = SimulatorOptions {
            faults: Faults::one(Fault::Hang, 1.0),
            ..SimulatorOptions::default()
        };
        let (bed, simulator, provider) = simulated(options).await;
        let id = bed.admit(structured(1)).await;
        let mut options = bed.options();
        options.clocks.first_token_ms = 50;
        let running = bed.start_with(provider, options);
        simulator.until(|summary| summary.calls == 1).await;
        simulator.set_faults(Faults::none());
        running.ended(1).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Succeeded);
        assert_eq!(page.attempts[0].error_kind.as_deref(), Some("first_token_timeout"));
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("cut"));
    });
}

#[test]
fn a_provider_that_cannot_be_reached_costs_nothing_and_fails_no_job() {
    within(async {
        let (bed, simulator, provider) = simulated(SimulatorOptions::default()).await;
        let address = simulator.address();
        simulator.stop().await;
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(bed.admit(structured(number)).await);
        }
        let running = bed.start(provider);
        running.until(|status| status.pauses >= 5).await;
        let simulator = Simulator::start(address, SimulatorOptions::default()).await.unwrap();
        running.ended(6).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.failed), (6, 0));
        assert_eq!(simulator.summary().calls, 6, "nothing else was ever sent");
        for id in ids {
            let mut attempts = bed.page(id).await.attempts;
            attempts.pop();
            assert!(attempts.iter().all(|attempt| {
                attempt.error_kind.as_deref() == Some("connect_failed")
                    && attempt.outcome.as_deref() == Some("not_sent")
                    && attempt.cost_micros == Some(0)
            }));
        }
    });
}

#[test]
fn a_simulated_outage_fails_no_job_and_a_throttle_slows_its_lane() {
    within(async {
        let faults = Faults::one(Fault::Http503, 1.0);
        let options = SimulatorOptions { faults, ..SimulatorOptions::default() };
        let (bed, simulator, provider) = simulated(options).await;
        let limit = Limit { requests_per_minute: Some(6_000), tokens_per_minute: None };
        bed.limit("lane:*", limit).await;
        for number in 0..30 {
            bed.admit(structured(number)).await;
        }
        let running = bed.start(Arc::clone(&provider));
        running.until(|status| status.pauses >= 4).await;
        simulator.set_faults(Faults::none());
        running.ended(30).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.failed), (30, 0));
        let counted = bed.number("select max(failures) from job").await;
        assert!(counted < 4, "{counted} failures of one job");

        simulator.set_faults(Faults::one(Fault::Throttle, 1.0));
        let id = bed.admit(structured(31)).await;
        let running = bed.start(provider);
        running.until(|status| status.throttled >= 1).await;
        let status = running.drained().await;
        assert_eq!((status.failed, status.pauses), (0, 0), "a throttle is no outage");
        let levels = bed.store.levels().await.unwrap();
        let lane = levels.iter().find(|level| level.key.starts_with("lane:")).unwrap();
        // The simulator says requests or tokens, and only that is slowed.
        let (requests, tokens) = (lane.level.requests.effective, lane.level.tokens.effective);
        assert_ne!(requests.unwrap() < 6_000, tokens.is_some(), "{:?}", lane.level);
        assert_eq!(bed.state(id).await, State::Ready);
    });
}
