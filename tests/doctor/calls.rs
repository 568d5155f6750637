//! `doctor --live` against the simulator.

use std::net::SocketAddr;

use quarrier::simulator::{Faults, Simulator, SimulatorOptions};

use crate::Scene;
use crate::server::{Answers, Server};

async fn simulator(faults: &str) -> Simulator {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let faults = if faults.is_empty() { Faults::none() } else { faults.parse().unwrap() };
    let options = SimulatorOptions { faults, ..SimulatorOptions::default() };
    Simulator::start(address, options).await.unwrap()
}

const LIVE: [&str; 4] = ["--simulate", "--live", "--max-cost-usd", "0.10"];

#[tokio::test]
async fn each_model_answers_one_text_and_one_schema_call() {
    let scene = Scene::bare();
    let models = ["--models", "claude-haiku-4.5,nova-lite"];
    let found = scene.doctor(&[&LIVE[..], &models].concat()).await;
    assert_eq!(found.code, Some(0), "{:#}", found.json);
    let calls = found.json["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 4);
    for call in calls {
        assert_eq!(call["ok"], true, "{call:#}");
        assert!(call["total_ms"].as_u64().is_some(), "{call:#}");
        assert!(call["first_token_ms"].as_u64() <= call["total_ms"].as_u64(), "{call:#}");
        assert!(call["usage"]["output"].as_u64().unwrap() > 0, "{call:#}");
        assert!(call["cost_usd"].as_f64().unwrap() > 0.0, "{call:#}");
        assert!(call["request_id"].is_string(), "{call:#}");
        assert!(call["error"].is_null(), "{call:#}");
    }
    assert_eq!((&calls[0]["call"], &calls[1]["call"]), (&"text".into(), &"schema".into()));
    let left: Vec<_> = std::fs::read_dir(scene.dir()).unwrap().collect();
    assert!(left.is_empty(), "nothing is left behind: {left:?}");
}

#[tokio::test]
async fn what_could_cost_more_than_the_bound_is_not_sent() {
    let simulator = simulator("").await;
    let url = simulator.endpoint_url();
    let args = ["--simulate", "--endpoint", &url, "--live", "--max-cost-usd", "0.000100"];
    let found = Scene::bare().doctor(&args).await;
    assert_eq!(found.code, Some(1));
    found.says(
        "live",
        "error",
        &["2 calls could cost", "nothing was sent", "raise --max-cost-usd"],
    );
    assert_eq!(simulator.summary().calls, 0);
    simulator.stop().await;
}

#[tokio::test]
async fn a_model_without_a_price_is_not_called() {
    let settings = "[bedrock.families]\n\"vendor.brand-new-v1:0\" = \"llama\"\n";
    let models = ["--models", "vendor.brand-new-v1:0"];
    let found =
        Scene::bare().write("quarrier.toml", settings).doctor(&[&LIVE[..], &models].concat()).await;
    found.says("live", "error", &["its price is not known"]);
    assert_eq!(found.json["calls"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn an_interface_that_a_model_has_not_is_told() {
    let args = [&LIVE[..], &["--models", "deepseek-r1,no-such-model", "--api", "invoke"]].concat();
    let found = Scene::bare().doctor(&args).await;
    let live = found.of("live");
    assert!(live.iter().any(|one| one.contains("no native format")), "{live:?}");
    assert!(live.iter().any(|one| one.contains("no-such-model")), "{live:?}");
}

#[tokio::test]
async fn a_failed_call_says_its_kind_and_where_the_way_out_stands() {
    let simulator = simulator("http_500=1").await;
    let url = simulator.endpoint_url();
    let args = [&LIVE[..], &["--endpoint", &url]].concat();
    let found = Scene::bare().doctor(&args).await;
    assert_eq!(found.code, Some(1));
    let live = found.of("live");
    assert!(live.iter().all(|one| one.starts_with("error: ")), "{live:?}");
    assert!(
        live[0].contains("internal") && live[0].contains("quarrier explain internal"),
        "{live:?}"
    );
    let call = &found.json["calls"][0];
    assert_eq!(call["ok"], false);
    assert_eq!(call["error"]["kind"], "internal");
    assert!(simulator.summary().calls <= 2, "nothing is tried twice");
    simulator.stop().await;
}

#[tokio::test]
async fn a_named_stores_budget_counts_and_its_waiting_models_are_called() {
    let scene = Scene::bare().write("jobs.jsonl", r#"{"prompt":"x","model":"nova-micro"}"#);
    let put = scene.run(&["enqueue", "jobs.jsonl", "--simulate"]).await;
    assert_eq!(put.code, Some(0), "{}", put.err);
    let found = scene.doctor(&LIVE).await;
    assert_eq!(found.code, Some(0), "{:#}", found.json);
    let mut models: Vec<&str> = found.json["calls"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|call| call["model"].as_str())
        .collect();
    models.dedup();
    assert_eq!(models, ["claude-haiku-4.5", "nova-micro"]);
    let listed = scene.run(&["jobs", "list", "--queue", "doctor", "--json"]).await;
    assert_eq!(listed.out.matches("succeeded").count(), 4, "{}", listed.out);
    let waiting = scene.run(&["jobs", "list", "--queue", "default", "--json"]).await;
    assert!(waiting.out.contains("ready"), "only its own calls are made: {}", waiting.out);
}

#[tokio::test]
async fn a_lane_that_is_paused_by_the_first_call_is_not_waited_for() {
    let bedrock = Some("AccessDeniedException");
    let server = Server::start(Answers { bedrock, is_simulator: true, ..Answers::default() }).await;
    let found = Scene::bare().doctor(&[&LIVE[..], &["--endpoint", &server.url]].concat()).await;
    assert_eq!(found.code, Some(1));
    let live = found.of("live");
    assert_eq!(live.len(), 2, "{live:?}");
    assert!(live.iter().all(|one| one.contains("quarrier explain access_denied")), "{live:?}");
}
