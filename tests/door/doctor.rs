//! `quarrier doctor` on queues: what it says of good ones and of bad ones.

use aws_sdk_sqs::types::QueueAttributeName as Known;
use serde_json::Value;

use crate::{Queue, Scene};

/// The findings about queues: `check level: found -> remedy`.
pub(crate) fn findings(scene: &Scene, config: &str) -> Vec<String> {
    findings_with(scene, config, &[])
}

/// The same with these flags.
fn findings_with(scene: &Scene, config: &str, flags: &[&str]) -> Vec<String> {
    scene.write("quarrier.toml", config);
    let args: Vec<&str> =
        ["doctor", "--json", "--timeout-s", "30"].iter().chain(flags).copied().collect();
    let ran = scene.run(&args);
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
    let all = report["findings"].as_array().unwrap().iter();
    let sqs = all.filter(|one| one["check"].as_str().unwrap().starts_with("sqs"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    sqs.map(|one| {
        let [check, level, found, remedy] =
            ["check", "level", "found", "remedy"].map(|name| text(&one[name]));
        format!("{check} {level}: {found} -> {remedy}")
    })
    .collect()
}

#[track_caller]
pub(crate) fn says(findings: &[String], start: &str, word: &str) {
    let is_it = |one: &&String| one.starts_with(start) && one.contains(word);
    assert!(findings.iter().any(|one| is_it(&one)), "{start} .. {word}: {findings:#?}");
}

#[tokio::test]
async fn a_queue_as_it_should_be_is_well_and_loses_no_message() {
    let dead = Queue::with("", &[(Known::MessageRetentionPeriod, "1209600")]).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{}\",\"maxReceiveCount\":50}}", dead.arn);
    let attributes = [(Known::RedrivePolicy, policy.as_str())];
    let (jobs, answers) = (Queue::with("", &attributes).await, Queue::new().await);
    jobs.send("{\"prompt\":\"x\"}").await;
    let found = findings(
        &Scene::new(),
        &format!(
            "[[sqs.intake]]\nurl = \"{}\"\n[sqs]\nreply_allow = [\"{}\", \"other-*\"]\n",
            jobs.arn, answers.url
        ),
    );
    assert!(found.iter().all(|one| one.contains(" ok: ")), "{found:#?}");
    says(&found, "sqs.intake ok", "ack on_finished (by the store's engine); about 1 waiting");
    says(&found, "sqs.permissions ok", "deleting and hiding");
    says(&found, "sqs.redrive ok", &dead.arn);
    says(&found, "sqs.reply ok", &answers.arn);
    assert_eq!(jobs.attribute(Known::ApproximateNumberOfMessages).await, "1", "nothing was moved");
}

#[tokio::test]
async fn each_thing_that_is_wrong_with_a_queue_is_told_with_the_way_out() {
    let attributes =
        [(Known::MaximumMessageSize, "262144"), (Known::MessageRetentionPeriod, "600")];
    let small = Queue::with("", &attributes).await;
    let fifo = Queue::with(".fifo", &[(Known::FifoQueue, "true")]).await;
    let found = findings(
        &Scene::new(),
        &format!(
            "[[sqs.intake]]\nurl = \"{0}\"\n[[sqs.intake]]\nurl = \"{1}\"\n\
             [[sqs.intake]]\nurl = \"no-such-queue\"\n\
             [sqs]\nreply_allow = [\"{0}\", \"nowhere\"]\n",
            small.url, fifo.url
        ),
    );
    says(&found, "sqs.redrive warning", "has no dead-letter queue");
    says(&found, "sqs.size note", "MaximumMessageSize to 1048576");
    says(&found, "sqs.retention warning", "10 min");
    says(&found, "sqs.fifo warning", "on_stored");
    says(&found, "sqs.intake error: no-such-queue", "create it");
    says(&found, "sqs.reply error", "would come back as a bad job");
    says(&found, "sqs.reply error: nowhere", "create it");
}

#[tokio::test]
async fn the_flags_of_serve_name_queues_in_place_of_those_of_the_file() {
    let (jobs, more, answers) = (Queue::new().await, Queue::new().await, Queue::new().await);
    let config = "[[sqs.intake]]\nurl = \"not-in-use\"\n[sqs]\nreply_allow = [\"nor-in-use\"]\n";
    let flags = ["--sqs-intake", &jobs.url, "--sqs-intake", &more.arn];
    let replies = ["--sqs-reply-allow", &answers.url, "--sqs-reply-allow", "any-*"];
    let found = findings_with(&Scene::new(), config, &[flags, replies].concat());
    says(&found, "sqs.intake ok", &jobs.arn);
    says(&found, "sqs.intake ok", &more.arn);
    says(&found, "sqs.reply ok", &answers.arn);
    assert!(!found.iter().any(|one| one.contains("in-use")), "{found:#?}");
    let found = findings_with(&Scene::new(), config, &flags);
    says(&found, "sqs.reply error: nor-in-use", "create it");
}

#[tokio::test]
async fn a_fifo_queue_says_whether_it_is_in_high_throughput_mode() {
    let with = |scope, limit| async move {
        let attributes = [
            (Known::FifoQueue, "true"),
            (Known::DeduplicationScope, scope),
            (Known::FifoThroughputLimit, limit),
        ];
        Queue::with(".fifo", &attributes).await
    };
    let usual = with("queue", "perQueue").await;
    let high = with("messageGroup", "perMessageGroupId").await;
    let half = with("messageGroup", "perQueue").await;
    let flags = ["--sqs-intake", &usual.url, "--sqs-intake", &half.url];
    let replies = ["--sqs-reply-allow", &high.url];
    let found = findings_with(&Scene::new(), "", &[&flags[..], &replies].concat());
    says(&found, &format!("sqs.fifo note: {} is not", usual.url), "300 requests a second");
    says(&found, &format!("sqs.fifo warning: {}", half.url), "set its FifoThroughputLimit");
    says(&found, &format!("sqs.fifo ok: {} is in", high.url), "up to 70,000");
}
