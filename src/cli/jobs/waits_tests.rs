//! Tests of why a job waits, and of what became of its calls, as `quarrier jobs` says it.
//! Must not know: the texts' making.

use expect_test::expect;
use uuid::Uuid;

use super::tests::{id, shown};
use crate::cli::testing::Scene;
use crate::store::{
    AdmitStore as _, ControlStore as _, LeaseInfo, LimitRule, PauseAsk, Scope, WorkStore as _,
};

#[tokio::test]
async fn a_due_job_says_what_holds_it_back() {
    let scene = Scene::new().await;
    let limit = crate::budget::Limit { requests_per_minute: Some(1), tokens_per_minute: None };
    let rule = LimitRule { pattern: "total".to_owned(), limit, origin: "flag".to_owned() };
    scene.store.seed_limits(vec![rule], "here/1").await.unwrap();
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene.call(|_| ()).await;
    scene.admit(2, r#"{"id":"next","prompt":"x"}"#).await;
    let text = shown(&scene, "show next").await;
    assert!(text.contains("no worker is at work on this store"), "{text}");
    assert!(text.contains("total has 1 of 1 requests of this minute drawn"), "{text}");
    let lease =
        LeaseInfo { id: Uuid::from_u128(99), host: "h".to_owned(), pid: 1, takes_jobs: true };
    scene.store.open_lease(&lease).await.unwrap();
    let text = shown(&scene, "show next").await;
    assert!(!text.contains("no worker"), "{text}");
}

#[tokio::test]
async fn a_job_that_a_person_holds_back_says_so_with_the_way_out() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x","queue":"reports"}"#).await;
    let scope = Scope::Queue("reports".to_owned());
    let reason = Some("the prompt is wrong".to_owned());
    scene.store.pause(&PauseAsk { scope, for_ms: None, reason }).await.unwrap();
    expect![[r#"
        job                                   id  state  queue    tenant   model             calls   age  why, or waits
        00000000-0000-0000-0000-000000000001      ready  reports  default  claude-haiku-4.5      0  0 ms  queue reports is paused by a person

        queue reports is paused by a person since 2026-01-01T00:00:00.000Z: the prompt is wrong; `quarrier resume --queue reports`
    "#]].assert_eq(&shown(&scene, "list").await);
    let text = shown(&scene, &format!("show {}", id(1))).await;
    let waits: Vec<&str> = text.lines().filter(|line| line.contains("paused")).collect();
    assert_eq!(waits.len(), 2, "{text}");
    assert!(waits[1].contains("`quarrier resume --queue reports`"), "{text}");
}

#[tokio::test]
async fn a_call_that_a_failover_lost_is_shown_as_brought_back() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene.call(|_| ()).await;
    let url = format!("sqlite://{}", scene.store.path().display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("update attempt set restored = 1").execute(&mut other).await.unwrap();
    let text = shown(&scene, &format!("show {}", id(1))).await;
    let says = "call 1 claimed after 0 ms; a failover of the database lost it, and its worker brought it back";
    assert!(text.contains(says), "{text}");
    let json = shown(&scene, &format!("show {} --json", id(1))).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["attempts"][0]["restored"], true);
}

#[tokio::test]
async fn a_running_job_without_any_worker_says_that_its_own_may_be_gone() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene.claim().await;
    let text = shown(&scene, "list").await;
    assert!(text.ends_with("  in flight\n"), "{text}");
    let url = format!("sqlite://{}", scene.store.path().display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("delete from lease").execute(&mut other).await.unwrap();
    let text = shown(&scene, "list").await;
    let says = "in flight, or its worker is gone: no worker is at work on this store that would put it back\n";
    assert!(text.ends_with(says), "{text}");
}
