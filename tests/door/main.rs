//! The producers' side of message queues: the binary itself, the examples of `docs/sqs.md`, and an
//! emulator that keeps SQS's rules.
//! Must not know: the crate's inside.

#![cfg(test)]
#![cfg(feature = "sqs")]

mod doctor;
mod enqueue;
mod guide;
mod programs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName as Known;
use uuid::Uuid;

const BINARY: &str = env!("CARGO_BIN_EXE_quarrier");

/// Keys that open nothing: the emulator checks none.
const KEYS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"),
    ("AWS_REGION", "us-east-1"),
    // boto3 reads this one alone.
    ("AWS_DEFAULT_REGION", "us-east-1"),
];

/// What `scripts/test` says: where the emulator is, and which Python has boto3 and hcl2.
pub(crate) fn said(variable: &str) -> String {
    let found = std::env::var_os(variable).and_then(|value| value.into_string().ok());
    found.unwrap_or_else(|| {
        panic!("{variable} is not set; run the tests by scripts/test, which starts an SQS")
    })
}

/// A queue of one test.
pub(crate) struct Queue {
    pub(crate) url: String,
    pub(crate) arn: String,
    client: Client,
}

impl Queue {
    pub(crate) async fn new() -> Self {
        Self::with("", &[]).await
    }

    /// One whose name ends so, with these attributes.
    pub(crate) async fn with(ending: &str, attributes: &[(Known, &str)]) -> Self {
        let [(_, key), (_, secret), (_, region), _] = KEYS;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .endpoint_url(said("TEST_SQS_URL"))
            .build();
        let client = Client::from_conf(config);
        let name = format!("door-{}{ending}", Uuid::now_v7().simple());
        let mut request = client.create_queue().queue_name(&name);
        for (attribute, value) in attributes {
            request = request.attributes(attribute.clone(), *value);
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        let mut queue = Self { url, arn: String::new(), client };
        queue.arn = queue.attribute(Known::QueueArn).await;
        queue
    }

    /// What it says of itself.
    pub(crate) async fn attribute(&self, name: Known) -> String {
        let ask = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = ask.attribute_names(Known::All).send().await.unwrap();
        answer.attributes.unwrap()[&name].clone()
    }

    /// Waits until no message waits or is in flight.
    pub(crate) async fn until_empty(&self) {
        for name in [
            Known::ApproximateNumberOfMessagesNotVisible,
            Known::ApproximateNumberOfMessages,
            Known::ApproximateNumberOfMessagesNotVisible,
        ] {
            while self.attribute(name.clone()).await != "0" {}
        }
    }

    pub(crate) async fn send(&self, body: &str) {
        let request = self.client.send_message().queue_url(&self.url);
        request.message_body(body).send().await.unwrap();
    }
}

/// What a command said.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder of its own, and programs within it, with nothing of this process's environment but what
/// finds the emulator.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // Everything of AWS is the emulator, so that nothing leaves this machine.
            .env("AWS_ENDPOINT_URL", said("TEST_SQS_URL"))
            .envs(KEYS)
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    pub(crate) fn program(&self, program: &Path, args: &[&str]) -> Ran {
        let output = self.command(program).args(args).output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command of the binary.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.program(Path::new(BINARY), args)
    }

    /// A worker on simulated answers that receives from this queue, and may answer to that one.
    pub(crate) fn serve(&self, intake: &Queue, replies: Option<&Queue>) -> Worker {
        let mut args =
            vec!["serve", "--simulate", "--store", "jobs.db", "--sqs-intake", &intake.url];
        args.extend(replies.iter().flat_map(|queue| ["--sqs-reply-allow", &queue.url]));
        let log = File::create(self.path("serve.log")).unwrap();
        let mut command = self.command(Path::new(BINARY));
        // A sixth of the shipped simulator's minute would be a long wait.
        command.args(args).args(["--requests-per-minute", "0"]);
        Worker(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Waits until the store has so many results, and returns their lines.
    pub(crate) fn results(&self, count: usize) -> Vec<serde_json::Value> {
        loop {
            let ran = self.run(&["results", "--store", "jobs.db", "--out", "-"]);
            let lines: Vec<_> =
                ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.len() >= count {
                return lines;
            }
        }
    }
}

/// A worker that ends with its test.
pub(crate) struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
