//! The binary before an emulator: what a producer sees who asks for a reply.
//! Must not know: the crate's inside.

use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use quarrier::message_queue::{MessageQueue as _, ReceiveAsk, Received};
use quarrier::sqs::{Sqs, SqsOptions};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use uuid::Uuid;

use crate::within;

/// A folder, a queue of the test's own at the emulator, and the binary.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) endpoint: String,
    sqs: Sqs,
    pub(crate) queue: String,
    url: String,
}

impl Scene {
    async fn new() -> Self {
        Self::of_queue(None).await
    }

    /// One whose queue takes messages of so many bytes.
    #[expect(clippy::disallowed_methods, reason = "this is no setting of the program")]
    pub(crate) async fn of_queue(takes: Option<&str>) -> Self {
        let endpoint = std::env::var("TEST_SQS_URL")
            .expect("TEST_SQS_URL names no SQS; run the tests by scripts/test, which starts one");
        let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .build();
        let bare = aws_sdk_sqs::config::Builder::from(&sdk).endpoint_url(&endpoint).build();
        let queue = format!("answers-{}", Uuid::now_v7().simple());
        let mut made = Client::from_conf(bare).create_queue().queue_name(&queue);
        if let Some(takes) = takes {
            made = made.attributes(QueueAttributeName::MaximumMessageSize, takes);
        }
        let made = made.send().await;
        let options = SqsOptions { endpoint: Some(endpoint.clone()), ..SqsOptions::default() };
        Self {
            folder: tempfile::tempdir().unwrap(),
            sqs: Sqs::with_sdk_config(&sdk, &options).unwrap(),
            url: made.unwrap().queue_url.unwrap(),
            endpoint,
            queue,
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
        command
            .args(args)
            .env_clear()
            .envs([
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("QUARRIER_SQS__ENDPOINT", self.endpoint.as_str()),
                ("QUARRIER_SQS__REPLY_ALLOW", r#"["answers-*"]"#),
                ("QUARRIER_RELAY__POLL_MS", "50"),
                ("QUARRIER_LIMITS", r#"{"total": {"requests_per_minute": 900}}"#),
            ])
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .current_dir(self.folder.path());
        command
    }

    /// Everything that comes until there is so much of it.
    pub(crate) async fn received(&self, count: usize) -> Vec<Received> {
        let ask =
            ReceiveAsk { url: self.url.clone(), messages_max: 10, wait_s: 5, visibility_s: 600 };
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.sqs.receive(&ask).await.unwrap());
        }
        all
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub(crate) fn ended(output: &Output, code: i32) -> String {
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn job(number: usize, reply_to: &str) -> String {
    json!({ "id": format!("job-{number}"), "prompt": "Say it.", "max_tokens": 64,
        "model": "nova-micro", "reply_to": reply_to })
    .to_string()
}

#[test]
fn a_run_sends_each_result_line_before_it_ends() {
    within(async {
        let scene = Scene::new().await;
        let lines: Vec<String> = (0..12).map(|number| job(number, &scene.queue)).collect();
        std::fs::write(scene.folder.path().join("jobs.jsonl"), lines.join("\n")).unwrap();
        let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"];
        ended(&scene.command(&args).output().unwrap(), 0);
        let out = std::fs::read_to_string(scene.folder.path().join("out.jsonl")).unwrap();
        let wanted: BTreeSet<&str> = out.lines().collect();
        let messages = scene.received(12).await;
        let sent: BTreeSet<&str> = messages.iter().map(|message| message.body.as_str()).collect();
        assert_eq!(sent, wanted);
        assert!(messages.iter().all(|it| it.attributes["quarrier.state"] == "succeeded"));
    });
}

#[test]
fn a_run_says_which_replies_wait_and_a_queue_that_is_not_allowed_is_refused() {
    within(async {
        let scene = Scene::new().await;
        let lines = [job(0, "answers-of-nobody"), job(1, "others")];
        std::fs::write(scene.folder.path().join("jobs.jsonl"), lines.join("\n")).unwrap();
        let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--simulate"];
        let said = ended(&scene.command(&args).output().unwrap(), 1);
        assert!(said.contains("1 reply waits: `quarrier serve` sends it."), "{said}");
        assert!(said.contains("$.reply_to: no entry of sqs.reply_allow"), "{said}");
    });
}

/// A serving process that does not outlive its test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

#[test]
fn what_another_program_submits_by_sql_is_answered_on_the_queue() {
    within(async {
        let scene = Scene::new().await;
        let mut serve = scene.command(&["serve", "--simulate", "--store", "a.db"]);
        let log = std::fs::File::create(scene.folder.path().join("log")).unwrap();
        let child = serve.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut serving = Serving(child);
        let store = scene.folder.path().join("a.db");
        let options: sqlx::sqlite::SqliteConnectOptions =
            format!("sqlite://{}", store.display()).parse().unwrap();
        // The table is there once the process has begun.
        let insert = async || {
            let mut other = options.clone().connect().await.ok()?;
            for (key, document) in
                [("a", job(7, &scene.queue)), ("b", json!({ "reply_to": scene.queue }).to_string())]
            {
                sqlx::query("insert or ignore into submission (id, document) values (?, ?)")
                    .bind(key)
                    .bind(document)
                    .execute(&mut other)
                    .await
                    .ok()?;
            }
            other.close().await.ok()
        };
        while insert().await.is_none() {
            assert!(serving.0.try_wait().unwrap().is_none(), "it must go on");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut lines: Vec<Value> = scene
            .received(2)
            .await
            .iter()
            .map(|message| serde_json::from_str(&message.body).unwrap())
            .collect();
        lines.sort_by_key(|line| line["state"].to_string());
        assert_eq!(
            (&lines[0]["state"], &lines[0]["error"]["kind"]),
            (&"failed".into(), &"rejected".into())
        );
        assert_eq!((&lines[1]["state"], &lines[1]["id"]), (&"succeeded".into(), &"job-7".into()));

        let pid = serving.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(serving.0.wait().unwrap().success());
    });
}
