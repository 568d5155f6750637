//! What `quarrier deliveries` says, and what it does.
//! Must not know: engines.

use super::*;
use crate::cli::testing::Scene;
use crate::store::{AdmitStore as _, DeliverStore as _, Reply, Sent, Tried};
use expect_test::expect;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    deliveries: DeliveriesArgs,
}

/// Runs a command line; the text ends with `exit 1` where something was not done.
async fn shown(scene: &Scene, line: &str) -> String {
    let words = std::iter::once("deliveries").chain(line.split_whitespace());
    let parsed = <Line as clap::Parser>::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    let now = scene.clock.now().wall_ms;
    let clean = run(&parsed.deliveries, &scene.store, now, &mut out).await.unwrap();
    let mut text = String::from_utf8(out).unwrap();
    if !clean {
        text.push_str("exit 1\n");
    }
    text
}

/// Three jobs whose results go to a queue: delivered, given up, to be tried again; and one that
/// has not ended, and one that does not reply.
async fn scene() -> Scene {
    let scene = Scene::new().await;
    let id = Uuid::from_u128;
    for n in 1..=5 {
        let document = format!(r#"{{"id":"job-{n}","prompt":"x"}}"#);
        let (now, given) = (scene.clock.now(), crate::admit::Overrides::default());
        let origin = crate::admit::Origin::default();
        let mut job = scene.admission.prepare(&document, &given, origin, &[], now).unwrap();
        job.job_id = id(n);
        job.reply = (n != 5).then(|| Reply { to: "answers".to_owned(), trace: None });
        if n != 4 {
            job.resolved = Err("no".to_owned());
        }
        scene.store.admit(vec![job]).await.unwrap();
    }
    let taken = scene.store.take_deliveries(10, 60_000).await.unwrap();
    let tried = |n, sent| {
        let due = taken.iter().find(|due| due.result.job_id == id(n)).unwrap();
        Tried { job_id: id(n), seq: due.result.seq, sent }
    };
    let sent = [
        tried(1, Sent::Delivered),
        tried(2, Sent::Undeliverable("there is no such queue".to_owned())),
        tried(3, Sent::Again(30_000, "too many requests".to_owned())),
    ];
    scene.store.settle_deliveries(&sent).await.unwrap();
    scene.hand.advance(10_000);
    scene
}

#[tokio::test]
async fn deliveries_are_listed_with_the_reason_why_they_wait() {
    let scene = scene().await;
    expect![[r#"
        job                                   id     state          tries     age  to       why, or waits
        00000000-0000-0000-0000-000000000003  job-3  due                1  10.0 s  answers  in 20.0 s: too many requests
        00000000-0000-0000-0000-000000000002  job-2  undeliverable      1  10.0 s  answers  there is no such queue
        00000000-0000-0000-0000-000000000001  job-1  delivered          1  10.0 s  answers
    "#]].assert_eq(&shown(&scene, "list").await);
    expect![[r#"
        [
          {
            "seq": 2,
            "job_id": "00000000-0000-0000-0000-000000000002",
            "id": "job-2",
            "tenant": "default",
            "to": "answers",
            "state": "undeliverable",
            "tries": 1,
            "due_at": null,
            "error": "there is no such queue",
            "created_at": "2026-01-01T00:00:00.000Z",
            "ended_at": "2026-01-01T00:00:00.000Z"
          }
        ]
    "#]]
    .assert_eq(&shown(&scene, "list --state undeliverable --json").await);
    expect![[r#"
        no such deliveries
    "#]]
    .assert_eq(&shown(&scene, "list --to elsewhere").await);
    expect![[r#"
        job                                   id     state  tries     age  to       why, or waits
        00000000-0000-0000-0000-000000000003  job-3  due        1  10.0 s  answers  in 20.0 s: too many requests

        the newest 1; there are more: --limit
    "#]].assert_eq(&shown(&scene, "list --limit 1").await);
}

#[tokio::test]
async fn one_is_shown_by_its_jobs_name() {
    let scene = scene().await;
    expect![[r#"
        job     00000000-0000-0000-0000-000000000003
        id      job-3
        tenant  default
        to      answers
        state   due
        tries   1
        made    2026-01-01T00:00:00.000Z
        why     in 20.0 s: too many requests
    "#]]
    .assert_eq(&shown(&scene, "show job-3").await);
    expect![[r#"
        job-4: has not ended; its end makes a delivery where its document has a reply_to
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "show job-4").await);
    expect![[r#"
        job-5: has nothing to deliver: its document has no reply_to, or its tenant was erased
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "show job-5").await);
    expect![[r#"
        nobody: there is no such job
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "show nobody").await);
}

#[tokio::test]
async fn what_was_given_up_is_made_due_again_and_the_rest_is_left_with_the_reason() {
    let scene = scene().await;
    expect![[r#"
        job-1: was delivered; `quarrier results` has the result, and `quarrier jobs retry` does a failed job again
        job-3: is due already; `quarrier deliveries show` says when
        job-4: has not ended; its end makes a delivery where its document has a reply_to
        due again: 1 delivery; left alone: 3
        exit 1
    "#]].assert_eq(&shown(&scene, "retry job-1 job-2 job-3 job-4").await);
    expect![[r#"
        job                                   id     state  tries     age  to       why, or waits
        00000000-0000-0000-0000-000000000003  job-3  due        1  10.0 s  answers  in 20.0 s: too many requests
        00000000-0000-0000-0000-000000000002  job-2  due        0  10.0 s  answers  for a relay to send it
    "#]].assert_eq(&shown(&scene, "list --state due").await);
    expect![[r#"
        {"due":0,"left":[]}
    "#]]
    .assert_eq(&shown(&scene, "retry --all --to answers --json").await);
}

#[test]
fn a_state_that_is_none_is_refused_with_those_that_are() {
    assert_eq!(parse_state("ready").unwrap_err(), "is none of due, delivered, undeliverable");
}
