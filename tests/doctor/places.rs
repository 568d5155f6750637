//! The endpoint and its clock, the store, the models in use.

use std::net::SocketAddr;

use quarrier::simulator::{Simulator, SimulatorOptions};

use crate::Scene;
use crate::server::{Answers, Server};

/// A `Date` so many seconds from now.
fn date_in(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn the_far_clock_is_compared_with_ours() {
    for (seconds, level, word) in [
        (0, "ok", "agrees"),
        (-30, "ok", "ahead of"),
        (120, "warning", "behind the far one"),
        (-120, "warning", "ahead of the far one"),
        (900, "error", "refuses signatures"),
        (-900, "error", "NTP"),
    ] {
        let date = (seconds != 0).then(|| date_in(seconds));
        let server = Server::start(Answers { date, ..Answers::default() }).await;
        let found = Scene::at(&server).doctor(&[]).await;
        found.says("endpoint.clock", level, &[word]);
        found.says(
            "endpoint",
            "ok",
            &[&server.url, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "answered in"],
        );
    }
}

#[tokio::test]
async fn an_answer_without_a_readable_date_leaves_the_clock_unknown() {
    let date = Some("yesterday".to_owned());
    let server = Server::start(Answers { date, ..Answers::default() }).await;
    Scene::at(&server).doctor(&[]).await.says("endpoint.clock", "note", &["no date"]);
}

#[tokio::test]
async fn each_step_towards_the_endpoint_that_fails_is_named() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}");
    let found = Scene::bare().doctor(&["--endpoint", &nobody, "--timeout-s", "3"]).await;
    found.says("endpoint", "error", &["cannot connect", "look at the port"]);
    let nameless = "https://bedrock.quarrier.invalid";
    let found = Scene::bare().doctor(&["--endpoint", nameless, "--timeout-s", "3"]).await;
    found.says("endpoint", "error", &["cannot be resolved", "DNS"]);
    // Something listens, and speaks no TLS.
    let server = Server::start(Answers::default()).await;
    let tls = server.url.replace("http://", "https://");
    let found = Scene::bare().doctor(&["--endpoint", &tls, "--timeout-s", "3"]).await;
    found.says("endpoint", "error", &["http or https"]);
}

#[tokio::test]
async fn a_simulator_is_known_and_has_to_be_meant() {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let simulator = Simulator::start(address, SimulatorOptions::default()).await.unwrap();
    let url = simulator.endpoint_url();
    let found = Scene::bare().doctor(&["--endpoint", &url]).await;
    found.says("endpoint", "error", &["it is a simulator, and the work is real", "add --simulate"]);
    let found = Scene::bare().doctor(&["--endpoint", &url, "--simulate"]).await;
    found.says("endpoint", "ok", &["it is a simulator"]);
    assert_eq!(found.code, Some(0), "{:#}", found.json);
    let server = Server::start(Answers::default()).await;
    let found = Scene::bare().doctor(&["--endpoint", &server.url, "--simulate"]).await;
    found.says("endpoint", "error", &["it is no simulator"]);
    simulator.stop().await;
}

#[tokio::test]
async fn a_region_that_is_none_is_an_error_and_an_unnamed_one_a_note() {
    let found = Scene::bare().with("AWS_REGION", "us-east").doctor(&["--offline"]).await;
    found.says("region", "error", &["eu-central-1"]);
    let scene = Scene::bare().with("AWS_REGION", "");
    scene.doctor(&["--offline"]).await.says(
        "region",
        "note",
        &["us-east-1 (default)", "set AWS_REGION"],
    );
    let scene = Scene::bare().with("AWS_REGION", "eu-west-1");
    let words = ["eu-west-1 (environment AWS_REGION)", "inference profiles: eu"];
    scene.doctor(&["--offline"]).await.says("region", "ok", &words);
}

#[tokio::test]
async fn a_retired_model_is_an_error_in_the_configuration_and_in_waiting_jobs() {
    let scene = Scene::bare().write("jobs.jsonl", r#"{"prompt":"x","model":"claude-3-haiku"}"#);
    let found = scene.doctor(&["--offline"]).await;
    found.says("model", "ok", &["claude-haiku-4.5", "through a profile"]);
    let put = scene.run(&["enqueue", "jobs.jsonl", "--simulate"]).await;
    assert_eq!(put.code, Some(0), "{}", put.err);
    let found = scene.doctor(&["--offline"]).await;
    assert_eq!(found.code, Some(1));
    found.says("store", "warning", &["holds simulated work", "--simulate"]);
    let models = found.of("model");
    assert!(
        models[0].contains("claude-3-haiku") && models[0].contains("1 job waiting"),
        "{models:?}"
    );
    assert!(
        models[0].starts_with("error: ") && models[0].contains("claude-haiku-4.5"),
        "{models:?}"
    );
    assert!(models[0].contains("quarrier jobs list --model claude-3-haiku"), "{models:?}");
    // The simulator answers for it all the same.
    assert_eq!(scene.doctor(&["--offline", "--simulate"]).await.code, Some(0));

    let scene = Scene::bare().with("BEDROCK_MODEL_ID", "claude-3-haiku");
    let found = scene.doctor(&["--offline"]).await;
    found.says("model", "error", &["environment BEDROCK_MODEL_ID", "set job.model"]);
}

#[tokio::test]
async fn jobs_of_another_region_are_told() {
    let scene = Scene::bare().write("jobs.jsonl", r#"{"prompt":"x"}"#);
    let put = scene.run(&["enqueue", "jobs.jsonl"]).await;
    assert_eq!(put.code, Some(0), "{}", put.err);
    let found = scene.with("AWS_REGION", "eu-west-1").doctor(&["--offline"]).await;
    found.says("model.lane", "warning", &["1 job", "bedrock/us-east-1", "bedrock/eu-west-1"]);
}

#[tokio::test]
async fn models_that_cannot_be_called_here_say_what_to_set() {
    let scene = |model: &str| Scene::bare().with("BEDROCK_MODEL_ID", model);
    let found = scene("claude-hiaku-4.5").doctor(&["--offline"]).await;
    found.says("model", "error", &["did you mean claude-haiku-4.5"]);
    let found = scene("vendor.brand-new-v1:0").doctor(&["--offline"]).await;
    found.says("model", "error", &["[bedrock.families]"]);
    let settings = "[bedrock.families]\n\"vendor.brand-new-v1:0\" = \"llama\"\n";
    let found = scene("vendor.brand-new-v1:0")
        .write("quarrier.toml", settings)
        .doctor(&["--offline"])
        .await;
    found.says("model.prices", "note", &["--max-cost-usd cannot bound", "catalogue.models_file"]);
    let settings = "[bedrock]\nprofiles = [\"nowhere\"]\n";
    let found = Scene::bare().write("quarrier.toml", settings).doctor(&["--offline"]).await;
    found.says("model", "error", &["bedrock.profiles"]);
    let settings = "[catalogue]\nmodels_file = \"absent.toml\"\n";
    let found = Scene::bare().write("quarrier.toml", settings).doctor(&["--offline"]).await;
    found.says("catalogue", "error", &["absent.toml", "catalogue.models_file"]);
}

#[tokio::test]
async fn an_old_table_and_a_model_near_its_end_are_warned_of() {
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 30))
        .strftime("%Y-%m-%d")
        .to_string();
    let models = format!(
        "[[model]]\nid = \"amazon.nova-lite-v1:0\"\nend_of_life = \"{soon}\"\nsuccessor = \"nova-2-lite\"\n"
    );
    let scene = Scene::bare().write("models.toml", &models).write(
        "quarrier.toml",
        "[catalogue]\nmodels_file = \"models.toml\"\n[job]\nmodel = \"nova-lite\"\n",
    );
    let found = scene.doctor(&["--offline"]).await;
    found.says("model", "warning", &[&soon, "go over to nova-2-lite"]);
    assert_eq!(found.code, Some(0));
}
