//! The binary itself, run on files: what a person or a script sees of `quarrier run` and `generate`.
//! Must not know: the crate's inside.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that is not as it should be"
)]

#[cfg(unix)]
#[path = "cli_run/serve.rs"]
mod serve;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/certification.jsonl");

/// A folder of its own, and the binary within it.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// The command, with nothing of this process's environment that could be a setting.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
        command
            .args(args)
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .current_dir(self.dir.path());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().expect("the binary starts"))
    }

    fn results(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).expect("OUT is there");
        assert!(text.is_empty() || text.ends_with('\n'), "OUT ends in the middle of a line");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// What a command has left behind.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn complains(self, of: &[&str]) -> Self {
        for part in of {
            assert!(self.err.contains(part), "`{part}` is not in:\n{}", self.err);
        }
        self
    }
}

/// So many jobs, with ids from 0.
fn jobs(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let job = json!({ "id": format!("job-{number}"), "prompt": format!("Say {number}."),
            "max_tokens": 64, "model": "nova-micro" });
        writeln!(text, "{job}").expect("a String takes everything");
        text
    })
}

fn ids(results: &[Value]) -> BTreeSet<&str> {
    results.iter().filter_map(|line| line["id"].as_str()).collect()
}

/// Waits until a growing file has so many lines.
fn until_lines(path: &Path, lines: usize, child: &mut Child) {
    loop {
        let now = fs::read_to_string(path).unwrap_or_default().lines().count();
        if now >= lines {
            return;
        }
        if let Some(status) = child.try_wait().expect("a child") {
            panic!("it ended with {status} after {now} lines");
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_example_is_worked_through_and_every_job_has_a_result() {
    let scene = Scene::new();
    let ran = scene.run(&["run", EXAMPLE, "--out", "out.jsonl", "--simulate"]).ends(0);
    assert!(ran.out.contains("40 jobs: 40 succeeded."), "{}", ran.out);
    assert!(ran.out.contains("Simulator: "), "{}", ran.out);
    let results = scene.results("out.jsonl");
    assert_eq!(results.len(), 40);
    assert!(results.iter().all(|line| line["simulated"] == true && line["state"] == "succeeded"));
    let again = scene.run(&["run", EXAMPLE, "--out", "out.jsonl", "--simulate"]).ends(0);
    assert!(again.out.contains("This run: 0 calls"), "{}", again.out);
    assert_eq!(scene.results("out.jsonl").len(), 40);
}

#[test]
fn a_run_that_is_killed_goes_on_and_gives_each_job_one_line() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(60));
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate", "--concurrency", "4"];
    let mut child = scene.command(&args).stderr(Stdio::null()).spawn().expect("the binary starts");
    until_lines(&scene.path("out.jsonl"), 5, &mut child);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    scene.run(&args).ends(0);
    let results = scene.results("out.jsonl");
    assert_eq!(results.len(), 60);
    assert_eq!(ids(&results).len(), 60);
}

#[cfg(unix)]
#[test]
fn a_stop_signal_lets_calls_in_flight_end_and_the_next_run_goes_on() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(60));
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate", "--concurrency", "4"];
    let mut command = scene.command(&args);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    until_lines(&scene.path("out.jsonl"), 5, &mut child);
    let pid = child.id().to_string();
    let signalled = Command::new("kill").args(["-INT", &pid]).status().expect("kill");
    assert!(signalled.success());
    let ran =
        Ran::of(&child.wait_with_output().expect("an end")).ends(1).complains(&["draining: "]);
    assert!(ran.out.contains("0 with unknown outcome"), "{}", ran.out);
    assert!(ran.out.contains("the same command goes on"), "{}", ran.out);
    let before = scene.results("out.jsonl").len();
    assert!((5..60).contains(&before), "{before}");
    scene.run(&args).ends(0);
    assert_eq!(ids(&scene.results("out.jsonl")).len(), 60);
}

#[test]
fn bad_lines_are_refused_by_number_and_the_others_succeed() {
    let scene = Scene::new();
    let text = format!(
        "{{\"prompt\":\"one\"}}\n\n{{\"promt\":\"two\"}}\nno json\n{{\"prompt\":\"three\",\"temperature\":3}}\n\
         {{\"prompt\":\"{}\"}}\n{{\"prompt\":\"one\"}}\n{{\"prompt\":\"four\"}}",
        "x".repeat(1_100_000)
    );
    scene.write("jobs.jsonl", &text);
    let ran =
        scene.run(&["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"]).ends(1).complains(&[
            "jobs.jsonl:3: $.promt: is not a field here",
            "jobs.jsonl:4: $",
            "jobs.jsonl:5: $.temperature: 3 is outside 0 to 1",
            "jobs.jsonl:6: $: the line has 1100013 bytes",
        ]);
    assert!(ran.out.contains("3 jobs: 3 succeeded; 4 refused lines."), "{}", ran.out);
    assert_eq!(scene.results("out.jsonl").len(), 3, "equal lines are jobs of their own");
}

#[test]
fn after_twenty_refused_lines_the_rest_is_counted() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &"{}\n".repeat(25));
    let ran = scene.run(&["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"]).ends(1);
    assert_eq!(ran.err.matches("$: one of `prompt`").count(), 20, "{}", ran.err);
    assert!(ran.err.contains("jobs.jsonl: 5 more lines are refused"), "{}", ran.err);
}

#[test]
fn an_edited_line_is_refused_until_a_rerun_is_asked_for() {
    let scene = Scene::new();
    let line = |prompt: &str| {
        format!("{}{{\"id\":\"x\",\"prompt\":\"{prompt}\",\"model\":\"nova-micro\"}}\n", jobs(1))
    };
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"];
    scene.write("jobs.jsonl", &line("first"));
    scene.run(&args).ends(0);
    scene.write("jobs.jsonl", &line("second"));
    let ran = scene.run(&args).ends(1);
    assert!(ran.err.contains("jobs.jsonl:2: $.id: "), "{}", ran.err);
    assert!(ran.err.contains("differs in prompt"), "{}", ran.err);
    assert_eq!(ids(&scene.results("out.jsonl")), BTreeSet::from(["job-0"]));
    scene.run(&[&args[..], &["--rerun-changed"]].concat()).ends(0);
    let results = scene.results("out.jsonl");
    assert_eq!(ids(&results), BTreeSet::from(["job-0", "x"]));
    let text = results.iter().find(|line| line["id"] == "x").expect("a result")["text"].to_string();
    assert!(text.contains("second"), "{text}");
}

#[test]
fn simulated_and_real_work_never_mix() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(1));
    scene.run(&["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"]).ends(0);
    let before = fs::read(scene.path("out.jsonl")).expect("OUT");
    scene
        .run(&["run", "jobs.jsonl", "--out", "out.jsonl"])
        .ends(2)
        .complains(&["out.jsonl: it holds simulated results and this command does real work"]);
    let real = [("AWS_ACCESS_KEY_ID", "none"), ("AWS_SECRET_ACCESS_KEY", "none")];
    let args = ["run", "jobs.jsonl", "--out", "other.jsonl", "--store", "out.jsonl.quarrier.db"];
    let refused = scene.command(&args).envs(real).output().expect("the binary starts");
    Ran::of(&refused).ends(2).complains(&["out.jsonl.quarrier.db holds simulated work"]);
    assert_eq!(fs::read(scene.path("out.jsonl")).expect("OUT"), before);
    assert!(!scene.path("other.jsonl").exists());
}

#[test]
fn a_dry_run_touches_nothing() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &(jobs(3) + "{}\n"));
    let ran = scene
        .run(&["run", "jobs.jsonl", "--dry-run", "--out", "out.jsonl"])
        .ends(1)
        .complains(&["jobs.jsonl:4: $: one of `prompt`"]);
    assert!(ran.out.contains("Dry run: 3 jobs, 1 refused lines"), "{}", ran.out);
    assert!(ran.out.contains("At this quota (requests, total) it takes 4 s"), "{}", ran.out);
    let files = fs::read_dir(scene.dir.path()).expect("the folder").count();
    assert_eq!(files, 1);
}

#[test]
fn a_sample_is_a_part_of_the_file_and_the_whole_follows_without_repeating_it() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(20));
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"];
    let sample = [&args[..], &["--sample", "5"]].concat();
    scene.run(&sample).ends(0);
    assert_eq!(scene.results("out.jsonl").len(), 5);
    let again = scene.run(&sample).ends(0);
    assert!(again.out.contains("This run: 0 calls"), "{}", again.out);
    let whole = scene.run(&args).ends(0);
    assert!(whole.out.contains("This run: 15 calls"), "{}", whole.out);
    assert_eq!(ids(&scene.results("out.jsonl")).len(), 20);
}

#[test]
fn a_run_ends_when_its_money_is_used_up() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(20));
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate", "--concurrency", "1"];
    let ran = scene.run(&[&args[..], &["--max-cost-usd", "0.00003"]].concat()).ends(1);
    assert!(ran.out.contains("The money of --max-cost-usd does not cover"), "{}", ran.out);
    let done = scene.results("out.jsonl").len();
    assert!((1..20).contains(&done), "{done}");
    scene.run(&args).ends(0);
    assert_eq!(scene.results("out.jsonl").len(), 20);
}

/// A simulator of its own that cuts every answer short, and its address.
fn cutting_simulator(scene: &Scene) -> (Child, String) {
    let args = ["simulate", "--listen", "127.0.0.1:0", "--faults", "truncated=1"];
    let mut child = scene.command(&args).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("standard output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let url = line.split("simulation on ").nth(1).and_then(|rest| rest.split(": ").next());
    (child, url.expect("an address").to_owned())
}

#[test]
fn failed_jobs_stop_the_run_where_asked_and_are_tried_again_only_where_asked() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(12));
    let (mut simulator, url) = cutting_simulator(&scene);
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"];
    let refused = [&args[..], &["--endpoint", &url, "--concurrency", "1"]].concat();
    let ran = scene.run(&[&refused[..], &["--stop-if-failed", "50%/3"]].concat()).ends(1);
    assert!(ran.out.contains("Stopped by --stop-if-failed. "), "{}", ran.out);
    let failed = scene.results("out.jsonl");
    assert!((3..12).contains(&failed.len()), "{}", failed.len());
    assert!(failed.iter().all(|line| line["error"]["kind"] == "truncated"), "{failed:?}");
    simulator.kill().expect("a kill");
    simulator.wait().expect("an end");
    let rest = scene.run(&args).ends(1);
    assert!(rest.out.contains("--retry-failed tries again"), "{}", rest.out);
    scene.run(&[&args[..], &["--retry-failed"]].concat()).ends(0);
    let results = scene.results("out.jsonl");
    assert_eq!((results.len(), ids(&results).len()), (12, 12));
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_made() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(1));
    scene.write("empty.jsonl", "");
    scene.write("blank.jsonl", "\n \n");
    scene.write("other.txt", "my only copy\n");
    let refused = |args: &[&str], of: &[&str]| {
        scene.run(args).ends(2).complains(of);
    };
    refused(&["run", "jobs.jsonl"], &["--out"]);
    refused(
        &["run", "none.jsonl", "--out", "out.jsonl", "--simulate"],
        &["failed to read none.jsonl"],
    );
    refused(&["run", "empty.jsonl", "--out", "out.jsonl", "--simulate"], &["it holds no jobs"]);
    refused(&["run", "blank.jsonl", "--out", "out.jsonl", "--simulate"], &["it holds no jobs"]);
    refused(&["run", ".", "--out", "out.jsonl", "--simulate"], &["no regular file"]);
    refused(
        &["run", "jobs.jsonl", "--out", "./jobs.jsonl", "--simulate"],
        &["it is the file of the jobs"],
    );
    refused(
        &["run", "jobs.jsonl", "--out", "other.txt", "--simulate"],
        &["other.txt: its first line is no result of quarrier"],
    );
    refused(&["run", "jobs.jsonl", "--out", "/none/out.jsonl", "--simulate"], &["/none"]);
    refused(
        &["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate", "--concurrency", "0"],
        &["worker.concurrency (flag --concurrency): it must be 1 to 10000"],
    );
    refused(
        &["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate", "--store", "mysql://x/y"],
        &["knows no `mysql://`"],
    );
    refused(&["run", "jobs.jsonl", "--out", "out.jsonl"], &["failed to find AWS credentials"]);
    assert_eq!(fs::read_to_string(scene.path("other.txt")).expect("a file"), "my only copy\n");
    assert!(!scene.path("out.jsonl").exists());
    assert!(!scene.path("out.jsonl.quarrier.db").exists());
}

#[test]
fn generate_prints_the_text_or_json_that_fits_the_schema() {
    let scene = Scene::new();
    let text = scene.run(&["generate", "Say hello.", "--simulate"]).ends(0);
    assert!(text.out.starts_with("[simulated]"), "{}", text.out);
    let schema = json!({ "type": "object", "required": ["city", "people"], "properties": {
        "city": { "type": "string" }, "people": { "type": "integer", "minimum": 1 } } });
    scene.write("schema.json", &schema.to_string());
    for given in ["schema.json".to_owned(), schema.to_string()] {
        let ran = scene.run(&["generate", "A city.", "--schema", &given, "--simulate"]).ends(0);
        let value: Value = serde_json::from_str(&ran.out).expect("JSON");
        assert!(value["city"].is_string() && value["people"].as_u64() >= Some(1), "{value}");
    }
    let line = scene.run(&["generate", "Say hello.", "--simulate", "--json"]).ends(0);
    let line: Value = serde_json::from_str(&line.out).expect("JSON");
    assert_eq!((&line["state"], &line["simulated"]), (&json!("succeeded"), &json!(true)));
    scene.run(&["generate", " ", "--simulate"]).ends(2).complains(&["$.prompt: is empty"]);
    let files = fs::read_dir(scene.dir.path()).expect("the folder").count();
    assert_eq!(files, 1, "nothing but the schema is left");
}

#[test]
fn serve_with_a_simulator_works_on_what_is_enqueued() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(3));
    scene.run(&["enqueue", "jobs.jsonl", "--store", "s.db", "--simulate"]).ends(0);
    let mut command = scene.command(&["serve", "--simulate", "--store", "s.db"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut first = String::new();
    let stdout = child.stdout.take().expect("standard output");
    BufReader::new(stdout).read_line(&mut first).expect("a line");
    assert!(first.starts_with("Bedrock simulation on http://127.0.0.1:"), "{first}");
    loop {
        let listed = scene.run(&["results", "--store", "s.db", "--out", "-"]);
        if listed.out.lines().count() == 3 {
            break;
        }
        assert_eq!(child.try_wait().expect("a child"), None, "it must go on until it is stopped");
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
    scene
        .run(&["jobs", "list", "--store", "none.db"])
        .ends(2)
        .complains(&["there is no such file"]);
    assert!(!scene.path("none.db").exists());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = Scene::new();
    let mut child = scene
        .command(&["models"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    Ran::of(&child.wait_with_output().expect("an end")).ends(0);
}
