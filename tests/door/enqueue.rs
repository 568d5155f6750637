//! `quarrier enqueue --sqs`: a file goes to a queue, and from there into a store, once.

use aws_sdk_sqs::types::QueueAttributeName as Known;

use crate::{Queue, Scene};

fn jobs(count: usize) -> String {
    let line = |n: usize| {
        format!(
            "{{\"id\":\"line-{n}\",\"prompt\":\"Say {n}.\",\"max_tokens\":50,\"tenant\":\"t{}\"}}\n",
            n % 3
        )
    };
    (0..count).map(line).collect()
}

/// Sends 25 lines, one of them bad, twice; 24 jobs are done.
async fn is_done_once(queue: &Queue) {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &format!("{}{{\"promt\":1}}\n", jobs(24)));
    let args = ["enqueue", "jobs.jsonl", "--sqs", &queue.url];
    for _ in 0..2 {
        let sent = scene.run(&args);
        assert_eq!(sent.code, Some(1), "a line was refused: {}", sent.err);
        assert!(
            sent.err.starts_with("jobs.jsonl:25: $.promt: is not a field here"),
            "{}",
            sent.err
        );
        assert_eq!(sent.out, format!("sent 24, refused 1; the queue is {}\n", queue.url));
        assert!(!scene.path("quarrier.db").exists(), "it needs no store");
    }
    let worker = scene.serve(queue, None);
    let results = scene.results(24);
    assert!(results.iter().all(|result| result["state"] == "succeeded"), "{results:?}");
    queue.until_empty().await;
    drop(worker);
    assert_eq!(scene.results(24).len(), 24);
    let listed = scene.run(&["jobs", "list", "--store", "jobs.db", "--tenant", "t2", "--json"]);
    assert_eq!(listed.out.matches("line-").count(), 8, "{}", listed.out);
}

#[tokio::test]
async fn a_file_sent_twice_to_a_standard_queue_is_done_once() {
    is_done_once(&Queue::new().await).await;
}

#[tokio::test]
async fn a_file_sent_twice_to_a_fifo_queue_is_done_once() {
    let queue = Queue::with(".fifo", &[(Known::FifoQueue, "true")]).await;
    is_done_once(&queue).await;
}

#[tokio::test]
async fn a_queue_can_be_named_by_its_name_or_its_arn_and_one_that_is_not_there_is_told() {
    let scene = Scene::new();
    scene.write("jobs.jsonl", &jobs(1));
    let queue = Queue::new().await;
    let name = queue.url.rsplit('/').next().unwrap();
    for named in [name, queue.arn.as_str()] {
        let sent = scene.run(&["enqueue", "jobs.jsonl", "--sqs", named]);
        assert_eq!((sent.code, sent.err.as_str()), (Some(0), ""));
    }
    assert_eq!(queue.attribute(Known::ApproximateNumberOfMessages).await, "2");
    let gone = scene.run(&["enqueue", "jobs.jsonl", "--sqs", "no-such-queue"]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.err.contains("failed to find the queue no-such-queue: "), "{}", gone.err);
    let both = scene.run(&["enqueue", "jobs.jsonl", "--sqs", name, "--store", "jobs.db"]);
    assert_eq!(both.code, Some(2), "a store and a queue are two doors");
}
