//! The binary before an emulator's queue that takes small messages: where a result stands that is
//! larger, with a bucket and without. Must not know: the crate's inside.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::binary::{Scene, ended, text};
use crate::within;

/// What the queue takes, in bytes: less than the metadata that the result repeats.
const TAKES: &str = "2048";

/// Runs one job whose result is too large, and returns its line.
fn run(scene: &Scene, variables: &[(&str, &str)]) -> String {
    let large = json!({ "id": "large", "prompt": "Say it.", "max_tokens": 64, "model": "nova-micro",
        "reply_to": scene.queue, "metadata": { "pages": "é".repeat(5_000) } });
    std::fs::write(scene.folder.path().join("jobs.jsonl"), large.to_string()).unwrap();
    let args = ["run", "jobs.jsonl", "--out", "out.jsonl", "--store", "a.db", "--simulate"];
    let mut command = scene.command(&args);
    ended(&command.envs(variables.iter().copied()).output().unwrap(), 0);
    let out = std::fs::read_to_string(scene.folder.path().join("out.jsonl")).unwrap();
    out.trim_end().to_owned()
}

fn s3(endpoint: &str) -> Client {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(keys)
        .endpoint_url(endpoint)
        .force_path_style(true);
    Client::from_conf(config.build())
}

#[test]
fn a_result_larger_than_a_message_is_read_from_the_bucket_by_its_pointer() {
    within(async {
        let scene = Scene::of_queue(Some(TAKES)).await;
        let (s3, bucket) = (s3(&scene.endpoint), format!("results-{}", Uuid::now_v7().simple()));
        s3.create_bucket().bucket(&bucket).send().await.unwrap();
        let variables = [
            ("QUARRIER_SQS__BUCKET", bucket.as_str()),
            ("AWS_ENDPOINT_URL_S3", scene.endpoint.as_str()),
        ];
        let whole = run(&scene, &variables);
        let job_id = serde_json::from_str::<Value>(&whole).unwrap()["job_id"].clone();

        let message = scene.received(1).await.remove(0);
        let key = format!("quarrier/{}.json", job_id.as_str().unwrap());
        let place = json!({ "s3BucketName": bucket, "s3Key": key });
        assert_eq!(
            serde_json::from_str::<Value>(&message.body).unwrap(),
            json!(["software.amazon.payloadoffloading.PayloadS3Pointer", place]),
            "as the extended client reads it"
        );
        assert_eq!(message.attributes["ExtendedPayloadSize"], whole.len().to_string());
        assert_eq!(message.attributes["quarrier.job_id"], job_id.as_str().unwrap());
        let object = s3.get_object().bucket(&bucket).key(&key).send().await.unwrap();
        let body = object.body.collect().await.unwrap().to_vec();
        assert!(text(&body) == whole, "the object is the result line");
    });
}

#[test]
fn without_a_bucket_the_notice_names_the_row_and_the_command_that_shows_it() {
    within(async {
        let scene = Scene::of_queue(Some(TAKES)).await;
        let written = run(&scene, &[]);
        let whole: Value = serde_json::from_str(&written).unwrap();
        let job_id = whole["job_id"].as_str().unwrap();
        let message = scene.received(1).await.remove(0);
        assert!(message.body.len() < 2_048);
        let line: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!((&line["job_id"], &line["state"]), (&whole["job_id"], &"succeeded".into()));
        assert_eq!((&line["text"], &line["metadata"]), (&Value::Null, &Value::Null));
        let notice = line["notice"].as_str().unwrap();
        assert!(notice.contains("this queue takes 2048"), "{notice}");
        assert!(notice.contains(&format!("`quarrier jobs show {job_id} --json`")), "{notice}");
        assert!(notice.contains("the row of this job_id in the table result"), "{notice}");
        let args = ["jobs", "show", job_id, "--json", "--store", "a.db"];
        let shown = ended(&scene.command(&args).output().unwrap(), 0);
        assert!(shown.contains(&written), "the whole result: {written}\n{shown}");
    });
}
