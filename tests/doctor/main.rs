//! `quarrier doctor`, the binary itself, against servers that play AWS: every finding of the network
//! has a test that provokes it.
//! Must not know: the crate's inside, but for the simulator.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop a test by panicking, as the tests themselves do"
)]

mod accounts;
mod calls;
mod places;
mod server;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use server::Server;

/// A key that AWS's documentation made up, and its secret.
pub(crate) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY";

/// A folder of its own, and the binary within it, with nothing of this process's environment.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Scene {
    /// Without credentials, with a region.
    pub(crate) fn bare() -> Self {
        let scene = Self { dir: tempfile::tempdir().expect("a folder"), env: Vec::new() };
        scene.with("AWS_REGION", "us-east-1")
    }

    /// With keys in the environment, and every service at this server.
    pub(crate) fn at(server: &Server) -> Self {
        Self::bare()
            .served_by(server)
            .with("AWS_ACCESS_KEY_ID", KEY)
            .with("AWS_SECRET_ACCESS_KEY", SECRET)
    }

    pub(crate) fn served_by(self, server: &Server) -> Self {
        ["BEDROCK_RUNTIME", "STS", "SERVICE_QUOTAS"]
            .into_iter()
            .fold(self, |scene, name| scene.with(&format!("AWS_ENDPOINT_URL_{name}"), &server.url))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn write(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path(name), text).expect("a file");
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs any command.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_quarrier"))
            .args(args)
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the binary starts");
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a check-up and reads its JSON.
    pub(crate) async fn doctor(&self, args: &[&str]) -> Found {
        let ran = self.run(&[&["doctor", "--json"], args].concat()).await;
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains(SECRET), "a secret was printed: {said}");
        let json = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {said}"));
        Found { code: ran.code, json }
    }
}

/// What a command said.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// What a check-up found.
pub(crate) struct Found {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
}

impl Found {
    /// The findings of one check: `level: found -> remedy`.
    pub(crate) fn of(&self, check: &str) -> Vec<String> {
        let findings = self.json["findings"].as_array().expect("findings");
        let found = findings.iter().filter(|one| one["check"] == check).map(|one| {
            let remedy = one["remedy"].as_str().map(|text| format!(" -> {text}"));
            let (level, found) = (one["level"].as_str(), one["found"].as_str());
            format!(
                "{}: {}{}",
                level.unwrap_or("?"),
                found.unwrap_or("?"),
                remedy.unwrap_or_default()
            )
        });
        found.collect()
    }

    /// The only finding of one check.
    pub(crate) fn one(&self, check: &str) -> String {
        let found = self.of(check);
        assert_eq!(found.len(), 1, "{check}: {:#}", self.json);
        found.concat()
    }

    /// Fails unless the only finding of this check has this level and says all of this.
    pub(crate) fn says(&self, check: &str, level: &str, words: &[&str]) {
        let found = self.one(check);
        assert!(found.starts_with(&format!("{level}: ")), "{found}");
        for word in words {
            assert!(found.contains(word), "{word:?} is not in {found:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_told_apart_from_a_wrong_set_up() {
    let scene = Scene::bare();
    assert_eq!(scene.run(&["doctor", "--live"]).await.code, Some(2), "--live needs a bound");
    assert_eq!(scene.run(&["doctor", "--offline", "--live"]).await.code, Some(2));
    assert_eq!(scene.run(&["doctor", "--api", "grpc"]).await.code, Some(2));
    let scene = scene.with("QUARRIER_WORKER__CONCURRENCY", "many");
    let found = scene.doctor(&["--offline"]).await;
    assert_eq!(found.code, Some(1));
    assert!(
        found.of("configuration")[0].contains("change the variable QUARRIER_WORKER__CONCURRENCY")
    );
}

#[tokio::test]
async fn offline_asks_nobody_and_changes_nothing() {
    let server = Server::start(server::Answers::default()).await;
    let scene = Scene::at(&server);
    let found = scene.doctor(&["--offline"]).await;
    assert_eq!(found.code, Some(0), "{:#}", found.json);
    assert!(server.asked().is_empty());
    assert_eq!(found.json["format_version"], 1);
    assert_eq!(found.json["ok"], true);
    assert_eq!(found.json["counts"]["error"], 0);
    assert!(found.json.get("calls").is_none());
    found.says("credentials", "ok", &["AKIA…MPLE", "the environment"]);
    let left: Vec<_> = std::fs::read_dir(scene.dir()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_text_form_has_a_line_for_each_finding_and_a_sum() {
    let ran = Scene::bare().run(&["doctor", "--offline", "--simulate"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.starts_with("ok       configuration"), "{}", ran.out);
    assert!(ran.out.ends_with(" ok.\n"), "{}", ran.out);
}
