//! `quarrier enqueue --sqs` against a queue that answers as it is told.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use expect_test::expect;

use super::*;
use crate::cli::testing::Scene;
use crate::message_queue::{ByGroup, QueueFacts, QueueResult, ReceiveAsk, Received};

const URL: &str = "https://sqs.us-east-1.amazonaws.com/111122223333/jobs";

/// A queue that keeps what it is sent.
struct Scripted {
    url: String,
    facts: QueueResult<QueueFacts>,
    /// What the next messages are answered with; after these each is taken.
    answers: Mutex<VecDeque<QueueErrorKind>>,
    taken: Mutex<Vec<Outgoing>>,
    calls: Mutex<u32>,
}

fn error(kind: QueueErrorKind) -> QueueError {
    QueueError { kind, message: format!("it said {kind:?}") }
}

impl Scripted {
    fn standard() -> Self {
        Self::of(URL, false)
    }

    fn fifo() -> Self {
        Self::of(&format!("{URL}.fifo"), true)
    }

    fn of(url: &str, fifo: bool) -> Self {
        let facts = QueueFacts {
            arn: "arn:aws:sqs:us-east-1:111122223333:jobs".to_owned(),
            fifo,
            content_deduplication: false,
            by_group: ByGroup::default(),
            visibility_s: 30,
            message_bytes_max: 150,
            retention_s: 345_600,
            dead_letters: None,
            encrypted_by_key: false,
            waiting: 0,
            in_flight: 0,
        };
        Self {
            url: url.to_owned(),
            facts: Ok(facts),
            answers: Mutex::default(),
            taken: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    fn answering(self, kinds: &[QueueErrorKind]) -> Self {
        self.answers.lock().unwrap().extend(kinds);
        self
    }

    fn taken(&self) -> Vec<Outgoing> {
        self.taken.lock().unwrap().clone()
    }
}

#[async_trait]
impl MessageQueue for Scripted {
    async fn url(&self, name: &str) -> QueueResult<String> {
        if self.url.ends_with(name) {
            Ok(self.url.clone())
        } else {
            Err(error(QueueErrorKind::Gone))
        }
    }

    async fn facts(&self, _: &str) -> QueueResult<QueueFacts> {
        self.facts.clone()
    }

    async fn receive(&self, _: &ReceiveAsk) -> QueueResult<Vec<Received>> {
        unreachable!("nothing is received")
    }

    async fn delete(&self, _: &str, _: &[String]) -> Vec<QueueResult<()>> {
        unreachable!("nothing is deleted")
    }

    async fn hide(&self, _: &str, _: &[String], _: u32) -> Vec<QueueResult<()>> {
        unreachable!("nothing is hidden")
    }

    async fn send(&self, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>> {
        assert_eq!(url, self.url);
        *self.calls.lock().unwrap() += 1;
        let mut answers = self.answers.lock().unwrap();
        let mut taken = self.taken.lock().unwrap();
        let answer = |message: &Outgoing| {
            if let Some(kind) = answers.pop_front() {
                return Err(error(kind));
            }
            taken.push(message.clone());
            Ok(taken.len().to_string())
        };
        messages.iter().map(answer).collect()
    }
}

/// What a file of these lines comes to: whether all is well, and what is shown.
async fn sent(queue: &Scripted, text: &str, json: bool) -> (anyhow::Result<bool>, String) {
    let scene = Scene::new().await;
    let file = scene.dir.path().join("jobs.jsonl");
    std::fs::write(&file, text).unwrap();
    let model = Some("nova-lite".to_owned());
    let args = EnqueueArgs { file, store: None, sqs: None, model, simulate: false, json };
    let room = SendRoom {
        queue,
        admission: &scene.admission,
        clock: &scene.clock,
        line_bytes_max: 1_000,
        pause_ms: 0,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = run(&args, &queue.url, room, &mut out, &mut err).await;
    err.extend_from_slice(&out);
    let text = String::from_utf8(err).unwrap();
    (ended, text.replace(&format!("{}/", scene.dir.path().display()), ""))
}

fn lines(count: usize) -> String {
    let line = |n: usize| format!("{{\"id\":\"{n}\",\"prompt\":\"x\"}}\n");
    (1..=count).map(line).collect::<Vec<String>>().concat()
}

#[tokio::test]
async fn every_good_line_is_a_message_and_a_bad_one_is_named() {
    let queue = Scripted::standard();
    let long = "x".repeat(150);
    let text = format!(
        "{{\"id\":\"a\",\"prompt\":\"one\",\"tenant\":\"acme\"}}\n{{\"promt\":1}}\n\
         {{\"prompt\":\"{long}\"}}\n{{ \"prompt\": \"two \u{FFFE}\", \"model\": \"nova-micro\" }}\n"
    );
    let (ended, shown) = sent(&queue, &text, false).await;
    assert!(!ended.unwrap());
    expect![[r#"
        jobs.jsonl:2: $.promt: is not a field here; did you mean `prompt`?
        jobs.jsonl:3: $: the message has 183 bytes and the queue takes 150; shorten it, raise the queue's MaximumMessageSize (1 MiB at most), or enqueue it into the store itself
        sent 2, refused 2; the queue is https://sqs.us-east-1.amazonaws.com/111122223333/jobs
        1 line has no `id`: sending the file again would do that work again
    "#]].assert_eq(&shown);
    let taken = queue.taken();
    let bodies: Vec<&str> = taken.iter().map(|message| message.body.as_str()).collect();
    expect![[r#"
        [
            "{\"id\":\"a\",\"model\":\"nova-lite\",\"prompt\":\"one\",\"tenant\":\"acme\"}",
            "{\"model\":\"nova-micro\",\"prompt\":\"two \\ufffe\"}",
        ]
    "#]]
    .assert_debug_eq(&bodies);
    assert_eq!(taken[0].group.as_deref(), Some("acme"), "fair shares");
    assert_eq!((taken[1].group.as_deref(), taken[1].deduplication.as_deref()), (None, None));
    for body in bodies {
        job::parse(body).unwrap();
    }
}

#[tokio::test]
async fn a_fifo_queue_keeps_tenants_in_order_and_takes_a_file_once_within_its_five_minutes() {
    let text = "{\"id\":\"a\",\"prompt\":\"x\",\"tenant\":\"acme\"}\n{\"prompt\":\"x\"}\n\
                {\"prompt\":\"x\"}\n{\"prompt\":\"x\",\"tenant\":\"a b\"}\n";
    let queue = Scripted::fifo();
    assert!(sent(&queue, text, false).await.0.unwrap());
    assert!(sent(&queue, text, false).await.0.unwrap());
    let taken = queue.taken();
    let groups: Vec<&str> = taken.iter().filter_map(|message| message.group.as_deref()).collect();
    assert_eq!(groups[..3], ["acme", "default", "default"]);
    assert_eq!(groups[3].len(), 64, "what is no group is hashed");
    let ids: Vec<&String> = taken.iter().filter_map(|one| one.deduplication.as_ref()).collect();
    assert_eq!(ids[..4], ids[4..]);
    let different: std::collections::BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(different.len(), 4, "equal lines are two jobs");
}

#[tokio::test]
async fn what_is_throttled_or_unanswered_is_sent_again_and_told_where_it_may_be_there_twice() {
    use QueueErrorKind::{Contents, Throttled, Unreachable};
    let queue = Scripted::standard().answering(&[Throttled, Unreachable, Contents, Throttled]);
    let text = format!("{}{{\"prompt\":\"x\"}}\n{{\"prompt\":\"y\"}}\n", lines(1));
    let (ended, shown) = sent(&queue, &text, false).await;
    assert!(!ended.unwrap());
    expect![[r#"
        jobs.jsonl:3: $: it said Contents
        sent 2, refused 1; the queue is https://sqs.us-east-1.amazonaws.com/111122223333/jobs
        1 line without an `id` may be on the queue twice: the answer to a request was lost
        1 line has no `id`: sending the file again would do that work again
    "#]]
    .assert_eq(&shown);
    assert_eq!(*queue.calls.lock().unwrap(), 3);
}

#[tokio::test]
async fn what_stays_away_ends_the_command_with_the_line_from_which_on_to_send() {
    let queue = Scripted::standard().answering(&[QueueErrorKind::Unreachable; 600]);
    let (ended, _) = sent(&queue, &lines(130), false).await;
    let said = format!("{:#}", ended.unwrap_err());
    assert_eq!(
        said,
        "send the lines from 1 on: it said Unreachable; 0 lines were sent, and sending the file \
         again doubles no line that has an `id`"
    );
    let queue = Scripted::standard().answering(&[QueueErrorKind::Denied]);
    assert!(sent(&queue, &lines(1), false).await.0.is_err(), "no second try helps");
    assert_eq!(*queue.calls.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_told_before_the_first_line_and_one_may_send_without_looking()
{
    let mut queue = Scripted::standard();
    queue.facts = Err(error(QueueErrorKind::Gone));
    let said = format!("{:#}", sent(&queue, &lines(1), false).await.0.unwrap_err());
    assert_eq!(
        said,
        "it said Gone; create it, or correct its name, its account, or the region in which names are \
         looked for (sqs.region, AWS_REGION)"
    );
    let mut queue = Scripted::fifo();
    queue.facts = Err(error(QueueErrorKind::Denied));
    assert!(sent(&queue, &lines(250), false).await.0.unwrap());
    assert_eq!(queue.taken().len(), 250);
    assert_eq!(*queue.calls.lock().unwrap(), 3, "in chunks");
    assert!(queue.taken()[0].group.is_some(), "its name says that it is a FIFO queue");
}

#[tokio::test]
async fn json_is_one_object() {
    let (ended, shown) = sent(&Scripted::standard(), "{}\n{\"prompt\":\"x\"}", true).await;
    assert!(!ended.unwrap());
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&value["sent"], &value["perhaps_twice"]), (&1.into(), &0.into()));
    assert_eq!((value["refused"][0]["line"].as_u64(), &value["queue"]), (Some(1), &URL.into()));
}

#[tokio::test]
async fn json_of_a_file_that_broke_off_is_one_object() {
    let queue = Scripted::standard();
    queue.answers.lock().unwrap().push_back(QueueErrorKind::Gone);
    let (ended, shown) = sent(&queue, &lines(3), true).await;
    ended.unwrap_err();
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&value["sent"], &value["queue"]), (&2.into(), &URL.into()));
}
