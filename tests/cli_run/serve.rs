//! `quarrier serve` as a service: set up by its environment alone, asked for its health, stopped by
//! signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use quarrier::simulator::{Latency, Simulator, SimulatorOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Ran, Scene, ids, jobs};

/// A serving process, and where it answers.
struct Served {
    child: Child,
    health_url: String,
    /// The rest of its log, read so that it never waits for a reader.
    log: JoinHandle<String>,
}

/// What a container would be given.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("QUARRIER_STORE__URL", "e.db"),
    // A writer that is locked out says so at once.
    ("QUARRIER_STORE__BUSY_TIMEOUT_MS", "100"),
    ("QUARRIER_WORKER__BEAT_MS", "100"),
    ("QUARRIER_HTTP__LISTEN", "127.0.0.1:0"),
    ("QUARRIER_LIMITS", r#"{"total": {"requests_per_minute": 900}}"#),
    ("QUARRIER_LOG__FORMAT", "json"),
];

fn command(scene: &Scene, args: &[&str]) -> Command {
    let mut command = scene.command(args);
    command.envs(ENVIRONMENT);
    command
}

fn run(scene: &Scene, args: &[&str]) -> Ran {
    Ran::of(&command(scene, args).output().expect("the binary starts"))
}

impl Served {
    fn start(scene: &Scene, args: &[&str]) -> Self {
        let mut command = command(scene, args);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("standard error"));
        let mut text = String::new();
        let health_url = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a line") > 0, "it has ended: {text}");
            text.push_str(&line);
            let found = line.split("\"http.listen\":\"").nth(1);
            if let Some((address, _)) = found.and_then(|rest| rest.split_once('"')) {
                break format!("http://{address}");
            }
        };
        let log = std::thread::spawn(move || {
            log.read_to_string(&mut text).expect("a log");
            text
        });
        Self { child, health_url, log }
    }

    /// What `quarrier health` says, with its exit code.
    fn health(&self, scene: &Scene, ready: bool) -> (Option<i32>, String) {
        let mut args = vec!["health", "--url", &self.health_url];
        args.extend(ready.then_some("--ready"));
        let output = command(scene, &args).output().expect("the binary starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Asks until it is ready, or is not because of this check.
    fn until_ready_is(&mut self, scene: &Scene, failing: Option<&str>) {
        loop {
            let (code, said) = self.health(scene, true);
            let reached = match failing {
                None => code == Some(0),
                Some(check) => code == Some(1) && said.contains(&format!("failing {check}: ")),
            };
            if reached {
                return;
            }
            let ended = self.child.try_wait().expect("a child");
            assert_eq!(ended, None, "it must go on: {said}");
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(sent.success());
    }

    /// Its exit code and its log.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("an end").code();
        (code, self.log.join().expect("a log"))
    }
}

#[test]
fn a_worker_is_set_up_by_its_environment_alone_and_drains_at_sigterm() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(5));
    let shown = run(&scene, &["config", "show"]).ends(0).out;
    for (name, _) in ENVIRONMENT {
        assert!(shown.contains(&format!("environment {name}")), "{name}: {shown}");
    }
    let mut served = Served::start(&scene, &["serve", "--simulate"]);
    served.until_ready_is(&scene, None);
    run(&scene, &["enqueue", "jobs.jsonl", "--simulate"]).ends(0);
    while run(&scene, &["results", "--out", "-"]).out.lines().count() < 5 {}
    served.signal("-TERM");
    let (code, log) = served.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("worker stopped"), "{log}");
    run(&scene, &["results", "--out", "out.jsonl"]).ends(0);
    assert_eq!(ids(&scene.results("out.jsonl")).len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_and_a_drain_make_it_unready_and_a_second_signal_ends_it() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(1));
    let options = SimulatorOptions {
        latency: Latency { first_token_ms: 600_000, per_token_us: 0, spread_percent: 0 },
        ..SimulatorOptions::default()
    };
    let address = "127.0.0.1:0".parse().expect("an address");
    let simulator = Simulator::start(address, options).await.expect("a simulator");
    let endpoint = simulator.endpoint_url();
    let mut served = Served::start(&scene, &["serve", "--simulate", "--endpoint", &endpoint]);
    served.until_ready_is(&scene, None);
    let (code, said) = served.health(&scene, false);
    assert!(code == Some(0) && said.contains("ok      claims: "), "{said}");

    let path = format!("sqlite://{}", scene.path("e.db").display());
    let options: sqlx::sqlite::SqliteConnectOptions = path.parse().expect("an address");
    let mut other = options.connect().await.expect("the store");
    sqlx::query("begin immediate").execute(&mut other).await.expect("the writer's lock");
    served.until_ready_is(&scene, Some("store"));
    assert_eq!(served.health(&scene, false).0, Some(0), "a store that is away is no death");
    sqlx::query("rollback").execute(&mut other).await.expect("the lock's end");
    other.close().await.expect("a close");
    served.until_ready_is(&scene, None);

    run(&scene, &["enqueue", "jobs.jsonl", "--simulate"]).ends(0);
    simulator.until(|summary| summary.calls >= 1).await;
    served.signal("-TERM");
    served.until_ready_is(&scene, Some("drain"));
    assert_eq!(served.health(&scene, false).0, Some(0), "a drain is no death");
    let asked = served.health_url.clone();
    served.signal("-TERM");
    let (code, log) = served.ended();
    assert_eq!(code, Some(1), "{log}");
    assert!(run(&scene, &["jobs", "list"]).ends(0).out.contains("ready"));
    let gone = run(&scene, &["health", "--url", &asked]).ends(1).out;
    assert!(gone.contains("does not answer"), "{gone}");
    simulator.stop().await;
}

#[test]
fn a_port_that_is_taken_or_not_set_is_told_before_anything_begins() {
    let scene = Scene::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let mut serve = command(&scene, &["serve", "--simulate"]);
    let output = serve.env("QUARRIER_HTTP__LISTEN", &address).output().expect("the binary starts");
    Ran::of(&output).ends(2).complains(&["failed to listen on", &address, "http.listen"]);
    assert!(!scene.path("e.db").exists());
    scene.run(&["health"]).ends(2).complains(&["http.listen is not set"]);
}
