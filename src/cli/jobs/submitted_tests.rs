//! Tests of what `quarrier jobs` says of documents that no worker has admitted yet, and of why jobs
//! wait where nobody works or something is full.
//! Must not know: how either comes about in a store.

use expect_test::expect;

use super::tests::{id, shown};
use super::*;
use crate::budget::Limit;
use crate::cli::testing::Scene;
use crate::job::State;
use crate::store::{
    AdmitStore as _, KeepStore as _, LeaseInfo, LimitRule, QueueShare, ReadStore as _, Shares,
    WorkStore as _,
};

async fn submitted() -> Scene {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"job","prompt":"x"}"#).await;
    scene.submit("row-1", r#"{"id":"first","prompt":"x","queue":"reports","tenant":"acme"}"#).await;
    scene.submit("row-2", r#"{"prompt":"x","model":"nova-lite"}"#).await;
    scene.submit("row-3", "no JSON").await;
    scene
}

/// The first cells of each line of a table.
fn heads(text: &str) -> Vec<String> {
    let head = |line: &str| line.split_whitespace().take(2).collect::<Vec<&str>>().join(" ");
    text.lines().skip(1).take_while(|line| !line.is_empty()).map(head).collect()
}

#[tokio::test]
async fn what_no_worker_has_admitted_is_listed_first_and_filtered_by_what_it_says() {
    let scene = submitted().await;
    expect![[r#"
        job                                   id     state      queue    tenant   model             calls   age  why, or waits
        row-3                                        submitted  default  default  claude-haiku-4.5      0        for a worker to admit it, and none is at work on this store
        row-2                                        submitted  default  default  nova-lite             0        for a worker to admit it, and none is at work on this store
        row-1                                 first  submitted  reports  acme     claude-haiku-4.5      0        for a worker to admit it, and none is at work on this store
        00000000-0000-0000-0000-000000000001  job    ready      default  default  claude-haiku-4.5      0  0 ms  no worker is at work on this store
    "#]].assert_eq(&shown(&scene, "list").await);
    let only = heads(&shown(&scene, "list --state submitted").await);
    assert_eq!(only, ["row-3 submitted", "row-2 submitted", "row-1 first"]);
    assert_eq!(heads(&shown(&scene, "list --state ready").await).len(), 1);
    assert_eq!(heads(&shown(&scene, "list --queue reports").await), ["row-1 first"]);
    assert_eq!(heads(&shown(&scene, "list --tenant acme").await), ["row-1 first"]);
    assert_eq!(heads(&shown(&scene, "list --model nova-lite").await), ["row-2 submitted"]);
    assert_eq!(shown(&scene, "list --error rejected").await, "no such jobs\n");
    let cut = shown(&scene, "list --limit 2").await;
    assert_eq!(heads(&cut), ["row-3 submitted", "row-2 submitted"]);
    assert!(cut.contains("there are more"), "{cut}");
    expect![[r#"
        [
          {
            "job_id": null,
            "submission": "row-1",
            "id": "first",
            "state": "submitted",
            "queue": "reports",
            "tenant": "acme",
            "model": "claude-haiku-4.5",
            "lane": null,
            "priority": null,
            "calls": 0,
            "counters": {
              "failures": 0,
              "reasks": 0,
              "crashes": 0,
              "throttles": 0
            },
            "created_at": null,
            "run_at": null,
            "deadline_at": null,
            "ended_at": null,
            "reason": null,
            "waits": "for a worker to admit it, and none is at work on this store"
          }
        ]
    "#]]
    .assert_eq(&shown(&scene, "list --queue reports --json").await);
}

#[tokio::test]
async fn one_that_no_worker_has_admitted_is_shown_by_its_own_id_and_by_its_rows_key() {
    let scene = submitted().await;
    expect![[r#"
        job       row-1
        id        first
        state     submitted
        waits     for a worker to admit it, and none is at work on this store
        queue     reports, tenant acme
        model     claude-haiku-4.5

        --- document
        {
          "id": "first",
          "prompt": "x",
          "queue": "reports",
          "tenant": "acme"
        }
    "#]]
    .assert_eq(&shown(&scene, "show first --full").await);
    assert!(shown(&scene, "show row-3 --full").await.ends_with("--- document\nno JSON\n"));
    let lease =
        LeaseInfo { id: Uuid::from_u128(99), host: "h".to_owned(), pid: 1, takes_jobs: true };
    scene.store.open_lease(&lease).await.unwrap();
    let page: serde_json::Value =
        serde_json::from_str(&shown(&scene, "show row-2 --json").await).unwrap();
    assert_eq!(page["state"], "submitted");
    assert_eq!(page["waits"], "for a worker to admit it");
    assert_eq!(page["model"], "nova-lite");
}

#[tokio::test]
async fn what_no_worker_has_admitted_is_cancelled_and_stays_as_a_job_that_is() {
    let scene = submitted().await;
    expect![[r#"
        cancelled: 2 jobs (1 before any worker had admitted it); left alone: 0
    "#]]
    .assert_eq(&shown(&scene, "cancel first job").await);
    let page = scene.store.job("first").await.unwrap().unwrap();
    assert_eq!(page.row.state, State::Cancelled);
    assert_eq!((page.row.queue.as_str(), page.row.tenant.as_str()), ("reports", "acme"));
    assert_eq!(page.result.unwrap().state, State::Cancelled);
    expect![[r#"
        row-2: waits for a worker to admit it
        first: was cancelled before a worker had admitted it; enqueue it again
        put back: 0 jobs; left alone: 2
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "retry first row-2").await);
    expect![[r#"
        2 jobs match (2 submitted); nothing is cancelled yet: add --yes
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "cancel --state submitted").await);
    expect![[r#"
        cancelled: 2 jobs (2 before any worker had admitted them); left alone: 0
    "#]]
    .assert_eq(&shown(&scene, "cancel --queue default --yes").await);
    assert!(scene.store.submissions(10).await.unwrap().is_empty());
    assert_eq!(heads(&shown(&scene, "list --state cancelled").await).len(), 4);
    expect![[r#"
        cancelled: 0 jobs; left alone: 0
        note: no queue defualt is configured or has jobs that have not ended, nor does any other
    "#]]
    .assert_eq(&shown(&scene, "cancel --queue defualt --yes").await);
    expect![[r#"
        no job matches; no tenant acme is configured or has jobs that are due, nor does any other
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "cancel --tenant acme").await);
}

#[tokio::test]
async fn a_due_job_says_that_its_queue_is_full_or_its_budget_is() {
    let scene = Scene::new().await;
    let reports = QueueShare { concurrency_max: Some(1), ..QueueShare::plain("reports") };
    let shares = Shares { queues: vec![reports], tenants: Vec::new() };
    scene.store.seed_shares(&shares).await.unwrap();
    let limit = Limit { requests_per_minute: Some(1), tokens_per_minute: None };
    let rule = LimitRule { pattern: "total".to_owned(), limit, origin: "set".to_owned() };
    scene.store.seed_limits(vec![rule], "here/1").await.unwrap();
    scene.admit(1, r#"{"prompt":"x","queue":"reports"}"#).await;
    scene.admit(2, r#"{"prompt":"x","queue":"reports"}"#).await;
    scene.admit(3, r#"{"prompt":"x"}"#).await;
    scene.claim().await;
    let text = shown(&scene, "list --queue reports --state ready").await;
    assert!(text.contains("its queue is full: reports runs 1 at once"), "{text}");
    let text = shown(&scene, "list --queue default").await;
    assert!(text.contains("total has 1 of 1 requests of this minute drawn"), "{text}");
    let page = shown(&scene, &format!("show {}", id(2))).await;
    assert!(page.contains("its queue is full") && page.contains("total has 1 of 1"), "{page}");
}

#[tokio::test]
async fn a_page_says_that_the_content_was_deleted() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"a","prompt":"x","tenant":"acme"}"#).await;
    scene.call(|_| ()).await;
    let ask = crate::store::EraseAsk {
        tenant: "acme".to_owned(),
        asked_by: "ada".to_owned(),
        tenant_default: "default".to_owned(),
        rows_max: 10,
    };
    while scene.store.erase(&ask).await.unwrap().done_at.is_none() {}
    let page = shown(&scene, &format!("show {}", id(1))).await;
    assert!(page.contains("its content was deleted at 2026-"), "{page}");
    assert!(page.contains("by erasure"), "{page}");
}

#[test]
fn the_usage_says_what_a_cancel_needs() {
    let error = super::tests::refused("cancel");
    assert!(
        error.contains("<ID>...") && error.contains("--queue <NAME>|--tenant <NAME>"),
        "{error}"
    );
    let error = super::tests::refused("cancel --state failed");
    assert!(error.contains("has ended already: name one of submitted, ready"), "{error}");
}
