//! What `quarrier limits` shows, against stores of both kinds of state.
//! Must not know: how a store keeps limits.

use super::*;
use crate::budget::Limit;
use crate::cli::testing::{Scene, again};
use crate::error::ErrorKind;
use crate::store::{
    AdmitStore as _, ControlStore as _, LeaseInfo, PauseAsk, Scope, WorkStore as _,
};
use expect_test::expect;

async fn shown(scene: &Scene, json: bool) -> String {
    let mut out = Vec::new();
    let args = LimitsArgs { store: None, json, command: None };
    run(&args, &scene.store, (scene.clock.now().wall_ms, 12_000), &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

async fn limited() -> Scene {
    let scene = Scene::new().await;
    let rule = |pattern: &str, requests: Option<u64>, tokens: Option<u64>| LimitRule {
        pattern: pattern.to_owned(),
        limit: Limit { requests_per_minute: requests, tokens_per_minute: tokens },
        origin: "configuration".to_owned(),
    };
    let rules = vec![
        rule("total", Some(50), None),
        rule("lane:*haiku*", None, Some(20_000)),
        rule("queue:reports", Some(5), None),
    ];
    scene.store.seed_limits(rules, "here/1").await.unwrap();
    scene
}

#[tokio::test]
async fn before_the_first_call_it_says_that_nothing_has_been_drawn() {
    expect![[r#"
        Nothing has been drawn yet: no call has been claimed on this store.
        No limit is written here: a command that works (`run`, `serve`, `generate`) writes the configured ones.
    "#]]
    .assert_eq(&shown(&Scene::new().await, false).await);
    expect![[r#"
        Nothing has been drawn yet: no call has been claimed on this store.

        Rules that nothing has drawn on yet:
          lane:*haiku* (configuration): 20000 tokens a minute
          queue:reports (configuration): 5 requests a minute
          total (configuration): 50 requests a minute
    "#]]
    .assert_eq(&shown(&limited().await, false).await);
}

#[tokio::test]
async fn every_key_shows_what_is_used_in_flight_and_wasted() {
    let scene = limited().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene.admit(2, r#"{"prompt":"y"}"#).await;
    scene.call(|_| ()).await;
    scene.claim().await;
    expect![[r#"
        key                                                                           limit  effective  used  in flight  wasted  full  rule (origin)
        lane:bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0  requests      -          -     1          1       0        lane:*haiku* (configuration)
        lane:bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0  tokens    20000      20000   150       1019     869   5 %  lane:*haiku* (configuration)
        total                                                               requests     50         50     1          1       0   4 %  total (configuration)
        total                                                               tokens        -          -   150       1019     869        total (configuration)

        Of the last 60 seconds: `in flight` is reserved, `wasted` was reserved and not used.

        Rules that nothing has drawn on yet:
          queue:reports (configuration): 5 requests a minute
    "#]].assert_eq(&shown(&scene, false).await);
    let json: serde_json::Value = serde_json::from_str(&shown(&scene, true).await).unwrap();
    expect![[r#"{"key":"total","rule":"total (configuration)","requests":{"limit":50,"effective":50,"used":1,"in_flight":1,"wasted":0,"percent":4},"tokens":{"limit":null,"effective":null,"used":150,"in_flight":1019,"wasted":869,"percent":null}}"#]].assert_eq(&json["keys"][1].to_string());
    expect![[r#"{"pattern":"total","limit":{"requests_per_minute":50},"origin":"configuration"}"#]]
        .assert_eq(&json["rules"][2].to_string());
}

#[tokio::test]
async fn a_paused_lane_is_shown_with_its_reason_and_what_to_do() {
    let scene = limited().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene
        .call(|finish| {
            again(finish, ErrorKind::Credentials, "expired", 60_000);
            finish.lane.pause_ms = Some(60_000);
        })
        .await;
    let text = shown(&scene, false).await;
    expect!["bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 is paused until 2026-01-01T00:01:03.000Z: credentials; sign in (`aws sso login`), set AWS_PROFILE, or set the clock (`quarrier doctor`)"].assert_eq(text.lines().next().unwrap_or_default());
    let json: Value = serde_json::from_str(&shown(&scene, true).await).unwrap();
    assert_eq!(json["paused"][0]["reason"], "credentials");
}

async fn does(scene: &Scene, line: &str) -> String {
    let words = std::iter::once("limits").chain(line.split_whitespace());
    let args = match <Line as clap::Parser>::try_parse_from(words) {
        Ok(line) => line.limits,
        Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let mut out = Vec::new();
    let done = run(&args, &scene.store, (scene.clock.now().wall_ms, 12_000), &mut out).await;
    let text = String::from_utf8(out).unwrap();
    match done {
        Ok(true) => text,
        Ok(false) => format!("{text}exit 1\n"),
        Err(error) => format!("error: {error:#}\n"),
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    limits: LimitsArgs,
}

#[tokio::test]
async fn a_limit_is_set_and_cleared_and_shown_with_where_it_comes_from() {
    let scene = limited().await;
    expect![[r#"
        total: 80 requests a minute; every worker keeps to it from its next claim on
    "#]]
    .assert_eq(&does(&scene, "set total --rpm 80").await);
    expect![[r#"
        total: 80 requests a minute, 1000 tokens a minute; every worker keeps to it from its next claim on
    "#]]
    .assert_eq(&does(&scene, "set total --tokens-per-minute 1000").await);
    assert!(does(&scene, "").await.contains("total (set): 80 requests"));
    expect![[r#"
        queue:reports: no limit; every worker keeps to it from its next claim on
        note: no queue reports is configured or has jobs that have not ended, nor does any other; the limit holds for what comes
    "#]]
    .assert_eq(&does(&scene, "set queue:reports --rpm 0").await);
    expect![[r#"
        total: 50 requests a minute (configuration); every worker keeps to it from its next claim on
    "#]]
    .assert_eq(&does(&scene, "clear total").await);
    expect![[r#"
        tenant:a: no rule; it was not set at run time (set are: queue:reports)
        exit 1
    "#]]
    .assert_eq(&does(&scene, "clear tenant:a").await);
    expect![[r#"
        error: set the limit Total: it names no limit: use total, "lane:PATTERN", "queue:PATTERN" or "tenant:PATTERN"
    "#]]
    .assert_eq(&does(&scene, "set Total --rpm 1").await);
    expect!["error: the following required arguments were not provided:"]
        .assert_eq(&does(&scene, "set total").await);
    let usage = <Line as clap::Parser>::try_parse_from(["limits", "set", "total"]).err().unwrap();
    let usage = usage.to_string();
    assert!(usage.contains("<--requests-per-minute <N>|--tokens-per-minute <N>>"), "{usage}");
}

#[tokio::test]
async fn what_is_due_shows_how_long_it_takes_and_what_is_paused_is_left_out() {
    let scene = limited().await;
    for n in 1..=25 {
        let queue = if n <= 5 { "held" } else { "default" };
        scene.admit(n, &format!(r#"{{"prompt":"x","queue":"{queue}"}}"#)).await;
    }
    let ask = PauseAsk { scope: Scope::Queue("held".to_owned()), for_ms: None, reason: None };
    scene.store.pause(&ask).await.unwrap();
    let nobody = does(&scene, "").await;
    assert!(nobody.contains(" no worker  lane:"), "{nobody}");
    assert!(nobody.contains("Nobody does them: no worker is at work on this store."), "{nobody}");
    let json: Value = serde_json::from_str(&shown_json(&scene).await).unwrap();
    assert_eq!(
        (&json["workers"], &json["forecast"]["lanes"][0]["done_by"]),
        (&0.into(), &Value::Null)
    );
    let lease =
        LeaseInfo { id: uuid::Uuid::from_u128(99), host: "h".to_owned(), pid: 1, takes_jobs: true };
    scene.store.open_lease(&lease).await.unwrap();
    let text = does(&scene, "").await;
    let shown: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("due")).collect();
    expect![[r#"
        due jobs of                                                    jobs  tokens       take  done by                   limited by
        bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0    20   20380  1 min 1 s  2026-01-01T00:01:01.140Z  lane:bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 tokens

        5 more due jobs wait for a pause's end."#]].assert_eq(&shown.join("\n"));
    let json: Value = serde_json::from_str(&shown_json(&scene).await).unwrap();
    expect![[r#"{"lanes":[{"lane":"bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0","jobs":20,"tokens":20380,"takes_ms":61140,"done_by":"2026-01-01T00:01:01.140Z","limited_by":"lane:bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 tokens"}],"paused_jobs":5,"submitted_jobs":0}"#]].assert_eq(&json["forecast"].to_string());
    expect![[
        r#"[{"scope":"queue:held","since":"2026-01-01T00:00:00.000Z","until":null,"reason":null}]"#
    ]]
    .assert_eq(&json["pauses"].to_string());
}

async fn shown_json(scene: &Scene) -> String {
    shown(scene, true).await
}

#[tokio::test]
async fn workers_that_were_configured_otherwise_are_named() {
    let scene = limited().await;
    let lease = LeaseInfo {
        id: uuid::Uuid::from_u128(9),
        host: "here".to_owned(),
        pid: 1,
        takes_jobs: true,
    };
    scene.store.open_lease(&lease).await.unwrap();
    let total = LimitRule {
        pattern: "total".to_owned(),
        limit: Limit { requests_per_minute: Some(60), tokens_per_minute: None },
        origin: "configuration".to_owned(),
    };
    scene.store.seed_limits(vec![total], "there/2").await.unwrap();
    let text = does(&scene, "").await;
    let shown: Vec<&str> = text.lines().skip_while(|line| !line.contains("disagree")).collect();
    expect![[r#"
        Workers whose configurations disagree; the last to begin is in force:
          here/1 has lane:*haiku*: 20000 tokens a minute; there/2 has lane:*haiku*: no limit
          here/1 has queue:reports: 5 requests a minute; there/2 has queue:reports: no limit
          here/1 has total: 50 requests a minute; there/2 has total: 60 requests a minute
        Give them the same, or say what holds by `quarrier limits set`."#]]
    .assert_eq(&shown.join("\n"));
    let json: Value = serde_json::from_str(&shown_json(&scene).await).unwrap();
    expect![[r#"{"pattern":"total","in_force_of":"there/2","in_force":{"requests_per_minute":60},"seeder":"here/1","configured":{"requests_per_minute":50}}"#]].assert_eq(&json["disagreements"][2].to_string());
}

#[test]
fn percent_needs_a_limit_and_never_divides_by_zero() {
    let level = |effective, used| LevelOf { effective, used, ..LevelOf::default() };
    assert_eq!(percent(&level(None, 5)), None);
    assert_eq!(percent(&level(Some(0), 5)), None);
    assert_eq!(percent(&level(Some(8), 5)), Some(62));
}

#[tokio::test]
async fn what_no_worker_has_admitted_is_no_part_of_the_forecast_and_counted_beside_it() {
    let scene = limited().await;
    scene.submit("a", r#"{"prompt":"x","queue":"reports"}"#).await;
    scene.submit("b", "no JSON").await;
    let text = does(&scene, "").await;
    let says =
        "2 more wait for a worker to admit them (`submitted`); what they take is known then.";
    assert!(text.ends_with(&format!("\n\n{says}\n")), "{text}");
    let json: Value = serde_json::from_str(&shown_json(&scene).await).unwrap();
    assert_eq!(json["forecast"]["submitted_jobs"], 2);
}
