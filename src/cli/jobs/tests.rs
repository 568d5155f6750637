//! Tests of `quarrier jobs`, over a real store and a worker played by hand.
//! Must not know: the texts' making; the snapshots hold them.

use expect_test::expect;

use super::*;
use crate::admit::Origin;
use crate::cli::testing::{LANE, Scene, again, failing};
use crate::clock::Now;
use crate::config::{self, LoadArgs};
use crate::error::ErrorKind;
use crate::job::{Outcome, State};
use crate::store::{Admitted, JobFilter, Next, ReadStore as _, WorkStore as _};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    jobs: JobsArgs,
}

/// Runs a command line; the text ends with `exit 1` where something was not done.
pub(super) async fn shown(scene: &Scene, line: &str) -> String {
    let words = std::iter::once("jobs").chain(line.split_whitespace());
    let parsed = <Line as clap::Parser>::try_parse_from(words).unwrap();
    let settings =
        config::load(&LoadArgs { dir: scene.dir.path().to_owned(), ..LoadArgs::default() });
    let settings = settings.unwrap().settings;
    let now: Now = scene.clock.now();
    let mut out = Vec::new();
    let clean = run(&parsed.jobs, &scene.store, &settings, now, &mut out).await;
    let mut text = String::from_utf8(out).unwrap();
    match clean {
        Ok(true) => {}
        Ok(false) => text.push_str("exit 1\n"),
        Err(error) => text = format!("error: {error:#}\n"),
    }
    text.replace(&scene.store.path().display().to_string(), "STORE")
}

pub(super) fn id(n: u128) -> String {
    Uuid::from_u128(n).to_string()
}

/// What is said of a command line that does not parse.
pub(super) fn refused(line: &str) -> String {
    let words = std::iter::once("jobs").chain(line.split_whitespace());
    <Line as clap::Parser>::try_parse_from(words).err().unwrap().to_string()
}

/// A job in every state.
async fn all_states() -> Scene {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"done","prompt":"x"}"#).await;
    scene.call(|_| ()).await;
    scene.admit(2, r#"{"prompt":"x","queue":"reports"}"#).await;
    scene.call(|finish| failing(finish, ErrorKind::Truncated, "cut at max_tokens 1000")).await;
    scene.admit(3, r#"{"prompt":"x"}"#).await;
    scene
        .call(|finish| {
            finish.outcome = Outcome::Cut;
            finish.cost_micros = None;
            finish.next = Next::Held;
        })
        .await;
    scene.admit(4, r#"{"prompt":"x"}"#).await;
    scene.call(|finish| again(finish, ErrorKind::Internal, "try later", 60_000)).await;
    scene.admit(5, r#"{"prompt":"x","priority":5}"#).await;
    scene.claim().await;
    scene.admit(6, r#"{"prompt":"x","run_at":"2026-01-02T00:00:00Z"}"#).await;
    scene.admit(7, r#"{"prompt":"x","deadline":"2026-01-01T00:01:00Z"}"#).await;
    scene.admit(8, r#"{"promt":"x"}"#).await;
    scene.admit(9, r#"{"id":"ready","prompt":"x","tenant":"acme"}"#).await;
    scene.hand.advance(20_000);
    scene
}

#[tokio::test]
async fn the_list_says_where_each_job_stands_and_why_it_waits() {
    let scene = all_states().await;
    expect![[r#"
        job                                   id     state      queue    tenant   model             calls     age  why, or waits
        00000000-0000-0000-0000-000000000009  ready  ready      default  acme     claude-haiku-4.5      0  20.0 s  for its turn
        00000000-0000-0000-0000-000000000008         failed     default  default                        0  20.0 s  rejected
        00000000-0000-0000-0000-000000000007         ready      default  default  claude-haiku-4.5      0  20.0 s  for its turn
        00000000-0000-0000-0000-000000000006         ready      default  default  claude-haiku-4.5      0  20.0 s  until 2026-01-02T00:00:00.000Z, in 23 h 59 min: its run_at
        00000000-0000-0000-0000-000000000005         running    default  default  claude-haiku-4.5      1  20.0 s  in flight
        00000000-0000-0000-0000-000000000004         ready      default  default  claude-haiku-4.5      1  23.0 s  until 2026-01-01T00:01:12.000Z, in 40.0 s: internal
        00000000-0000-0000-0000-000000000003         held       default  default  claude-haiku-4.5      1  26.0 s  held: the outcome of call 1 is unknown; retry or cancel it
        00000000-0000-0000-0000-000000000002         failed     reports  default  claude-haiku-4.5      1  29.0 s  truncated
        00000000-0000-0000-0000-000000000001  done   succeeded  default  default  claude-haiku-4.5      1  32.0 s
    "#]].assert_eq(&shown(&scene, "list").await);
    scene.hand.advance(40_000);
    scene.store.promote(10).await.unwrap();
    expect![[r#"
        job                                   id  state    queue    tenant   model             calls    age  why, or waits
        00000000-0000-0000-0000-000000000007      expired  default  default  claude-haiku-4.5      0  1 min  deadline_exceeded
    "#]].assert_eq(&shown(&scene, "list --state expired").await);
}

#[tokio::test]
async fn the_list_is_filtered_and_cut() {
    let scene = all_states().await;
    expect![[r#"
        job                                   id     state  queue    tenant  model             calls     age  why, or waits
        00000000-0000-0000-0000-000000000009  ready  ready  default  acme    claude-haiku-4.5      0  20.0 s  for its turn

        the newest 1; there are more: --limit
    "#]].assert_eq(&shown(&scene, "list --limit 1").await);
    expect![[r#"
        job                                   id  state   queue    tenant   model             calls     age  why, or waits
        00000000-0000-0000-0000-000000000002      failed  reports  default  claude-haiku-4.5      1  29.0 s  truncated
    "#]].assert_eq(&shown(&scene, "list --queue reports").await);
    expect![[r#"
        job                                   id  state  queue    tenant   model             calls     age  why, or waits
        00000000-0000-0000-0000-000000000004      ready  default  default  claude-haiku-4.5      1  23.0 s  until 2026-01-01T00:01:12.000Z, in 40.0 s: internal
    "#]].assert_eq(&shown(&scene, "list --error internal --since 2h").await);
    expect![[r#"
        no such jobs
    "#]]
    .assert_eq(&shown(&scene, "list --tenant nobody").await);
    expect![[r#"
        [
          {
            "job_id": "00000000-0000-0000-0000-000000000009",
            "id": "ready",
            "state": "ready",
            "queue": "default",
            "tenant": "acme",
            "model": "claude-haiku-4.5",
            "lane": "bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "priority": 0,
            "calls": 0,
            "counters": {
              "failures": 0,
              "reasks": 0,
              "crashes": 0,
              "throttles": 0
            },
            "created_at": "2026-01-01T00:00:12.000Z",
            "run_at": "2026-01-01T00:00:12.000Z",
            "deadline_at": "2026-01-08T00:00:12.000Z",
            "ended_at": null,
            "reason": null,
            "waits": "for its turn"
          }
        ]
    "#]]
    .assert_eq(&shown(&scene, "list --tenant acme --json").await);
    expect![[r#"
        error: read --since yesterday: give an RFC 3339 time, or a span like 90s, 30m, 2h or 7d: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y
    "#]].assert_eq(&shown(&scene, "list --since yesterday").await);
}

#[tokio::test]
async fn a_paused_lane_is_why_its_jobs_wait() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene.admit(2, r#"{"prompt":"x"}"#).await;
    scene
        .call(|finish| {
            again(finish, ErrorKind::AccessDenied, "no permission", 30_000);
            finish.lane.pause_ms = Some(30_000);
        })
        .await;
    expect![[r#"
        job                                   id  state  queue    tenant   model             calls    age  why, or waits
        00000000-0000-0000-0000-000000000002      ready  default  default  claude-haiku-4.5      0  3.0 s  its lane is paused until 2026-01-01T00:00:33.000Z, in 30.0 s: access_denied
        00000000-0000-0000-0000-000000000001      ready  default  default  claude-haiku-4.5      1  3.0 s  until 2026-01-01T00:00:33.000Z, in 30.0 s: access_denied

        bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 is paused: access_denied; allow bedrock:InvokeModel for this model, or do what the message asks for
    "#]].assert_eq(&shown(&scene, "list").await);
}

#[tokio::test]
async fn one_page_tells_what_happened_to_a_job() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"report-1","prompt":"How many?","system":"Be brief."}"#).await;
    scene.call(|finish| again(finish, ErrorKind::Internal, "the service\nfailed", 5_000)).await;
    expect![[r#"
        job       00000000-0000-0000-0000-000000000001
        id        report-1
        state     ready
        waits     until 2026-01-01T00:00:08.000Z, in 5.0 s: internal
        queue     default, tenant default, priority 0
        model     claude-haiku-4.5
        lane      bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0
        deadline  2026-01-08T00:00:00.000Z
        counted   calls 1, failures 1, re-asks 0, crashes 0, throttles 0
        cost      $0.00

        timeline
          2026-01-01T00:00:00.000Z  admitted
          2026-01-01T00:00:00.000Z  call 1 claimed after 0 ms
          2026-01-01T00:00:03.000Z  call 1 refused in 3.0 s; internal: the service␊failed
          2026-01-01T00:00:08.000Z  due
    "#]]
    .assert_eq(&shown(&scene, "show report-1").await);
    scene.hand.advance(5_000);
    scene.store.promote(10).await.unwrap();
    scene
        .call(|finish| {
            finish.next = Next::End {
                state: State::Succeeded,
                output: Some("{\n \"n\": 1e2\n}".to_owned()),
                text: None,
                provenance: Some("direct".to_owned()),
            };
        })
        .await;
    let done = shown(&scene, &format!("show {}", Uuid::from_u128(1).simple())).await;
    expect![[r#"
        job       00000000-0000-0000-0000-000000000001
        id        report-1
        state     succeeded
        queue     default, tenant default, priority 0
        model     claude-haiku-4.5
        lane      bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0
        deadline  2026-01-08T00:00:00.000Z
        counted   calls 2, failures 1, re-asks 0, crashes 0, throttles 0
        cost      $0.00027

        timeline
          2026-01-01T00:00:00.000Z  admitted
          2026-01-01T00:00:00.000Z  call 1 claimed after 0 ms
          2026-01-01T00:00:03.000Z  call 1 refused in 3.0 s; internal: the service␊failed
          2026-01-01T00:00:08.000Z  call 2 claimed after 5.0 s
          2026-01-01T00:00:11.000Z  call 2 completed in 3.0 s, 120 tokens in, 30 out, $0.00027
          2026-01-01T00:00:11.000Z  succeeded

        result
          direct
        {
         "n": 1e2
        }
    "#]]
    .assert_eq(&done);
}

/// A job that is to be asked again.
async fn to_be_asked_again() -> Scene {
    let scene = Scene::new().await;
    let document = r#"{"id":"a","prompt":"How many?","schema":{"type":"object"},"stop":["END"]}"#;
    scene.admit(1, document).await;
    scene
        .call(|finish| {
            finish.raw_text = Some("Well, \u{1b}[31mten".to_owned());
            finish.schema_errors = Some(r#"[{"pointer":"","message":"is no object"}]"#.to_owned());
            finish.error = Some((ErrorKind::InvalidJson, "no JSON value".to_owned()));
            finish.next = Next::Again {
                after_ms: 0,
                counters: crate::retry::Counters { reasks: 1, ..Default::default() },
                reask: Some(
                    r#"[{"role":"assistant","text":"Well, ten"},{"role":"user","text":"Again."}]"#
                        .to_owned(),
                ),
                input_tokens_max: 200,
            };
        })
        .await;
    scene
}

#[tokio::test]
async fn full_shows_the_prompt_the_body_and_what_the_model_wrote() {
    let scene = to_be_asked_again().await;
    let text = shown(&scene, "show a --full").await;
    let (page, rest) = text.split_once("--- body of the next call\n").unwrap();
    let (body, attempt) = rest.split_once("\n--- attempt 1\n").unwrap();
    expect![[r#"
        job       00000000-0000-0000-0000-000000000001
        id        a
        state     ready
        waits     no worker is at work on this store
        queue     default, tenant default, priority 0
        model     claude-haiku-4.5
        lane      bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0
        deadline  2026-01-08T00:00:00.000Z
        counted   calls 1, failures 0, re-asks 1, crashes 0, throttles 0
        cost      $0.00027

        timeline
          2026-01-01T00:00:00.000Z  admitted
          2026-01-01T00:00:00.000Z  call 1 claimed after 0 ms
          2026-01-01T00:00:03.000Z  call 1 completed in 3.0 s, 120 tokens in, 30 out, $0.00027; invalid_json: no JSON value

        --- document
        {
          "id": "a",
          "prompt": "How many?",
          "schema": {
            "type": "object"
          },
          "stop": [
            "END"
          ]
        }

        --- user
        How many?

        Answer with exactly one JSON value that fits the JSON Schema below. Write nothing before it and nothing after it: no explanation and no code fence.

        JSON Schema:
        ```json
        {"type":"object"}
        ```

        --- assistant
        Well, ten

        --- user
        Again.

    "#]]
    .assert_eq(page);
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["inferenceConfig"]["stopSequences"][0], "END");
    assert_eq!(body["messages"][2]["content"][0]["text"], "Again.");
    expect![[r#"
        quota     reserved 1110, settled 150
        request   req-1
        stop      end_turn
        error     no JSON value
        schema    [{"pointer":"","message":"is no object"}]
        the model wrote:
        Well, ␛[31mten
    "#]]
    .assert_eq(attempt);
}

#[tokio::test]
async fn json_holds_the_same_and_the_models_text_only_in_full() {
    let scene = to_be_asked_again().await;
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let short = json(shown(&scene, "show a --json").await);
    assert_eq!(short["waits"], "no worker is at work on this store");
    assert_eq!(short["attempts"][0]["error"]["kind"], "invalid_json");
    assert_eq!(short["attempts"][0]["raw_text"], serde_json::Value::Null);
    assert_eq!(short.get("document"), None);
    let full = json(shown(&scene, "show a --full --json").await);
    assert_eq!(full["attempts"][0]["raw_text"], "Well, \u{1b}[31mten");
    assert_eq!(full["attempts"][0]["schema_errors"][0]["message"], "is no object");
    assert_eq!(full["document"]["id"], "a");
    assert_eq!(full["messages"].as_array().unwrap().len(), 3);
    assert_eq!(full["wire_body"]["requestMetadata"]["attempt"], "2");
    scene.call(|_| ()).await;
    let done = json(shown(&scene, "show a --full --json").await);
    assert_eq!(done["result"]["state"], "succeeded");
    assert_eq!(done["wire_body"]["requestMetadata"]["attempt"], "2");
}

#[tokio::test]
async fn a_rejected_document_is_shown_as_it_was() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"promt":"x"}"#).await;
    expect![[r#"
        job       00000000-0000-0000-0000-000000000001
        state     failed, rejected
        queue     default, tenant default, priority 0
        model     none
        lane      bedrock/us-east-1
        deadline  2026-01-08T00:00:00.000Z
        counted   calls 0, failures 0, re-asks 0, crashes 0, throttles 0
        cost      $0.00

        timeline
          2026-01-01T00:00:00.000Z  admitted
          2026-01-01T00:00:00.000Z  failed

        result
          $.promt: is not a field here; did you mean `prompt`?
          what to do: `quarrier explain rejected`

        --- document
        {"promt":"x"}
    "#]]
    .assert_eq(&shown(&scene, &format!("show {} --full", id(1))).await);
}

#[tokio::test]
async fn a_job_that_is_not_there_is_an_error() {
    let scene = Scene::new().await;
    expect![[r#"
        error: show nothing: there is no such job in STORE
    "#]]
    .assert_eq(&shown(&scene, "show nothing").await);
}

#[tokio::test]
async fn cancelling_says_which_jobs_had_ended() {
    let scene = all_states().await;
    let line = format!("cancel done {} ready nothing ready", id(5));
    expect![[r#"
        nothing: there is no such job
        done: has already ended: succeeded
        cancelled: 2 jobs; left alone: 2
        exit 1
    "#]]
    .assert_eq(&shown(&scene, &line).await);
    expect![[r#"
        {"moved":[],"left":[{"id":"ready","reason":"has already ended: cancelled"}]}
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "cancel ready --json").await);
    assert_eq!(scene.store.job(&id(5)).await.unwrap().unwrap().row.state, State::Cancelled);
}

#[tokio::test]
async fn retrying_says_which_jobs_could_not_move_and_why() {
    let scene = all_states().await;
    let line = format!("retry done {} {} {} {} ready nothing", id(2), id(3), id(5), id(8));
    expect![[r#"
        nothing: there is no such job
        done: has succeeded; to do it once more, enqueue it again under another id
        00000000-0000-0000-0000-000000000005: is in flight
        00000000-0000-0000-0000-000000000008: was rejected; correct its document and enqueue it again
        ready: waits already; `quarrier jobs show` says for what
        put back: 2 jobs; left alone: 5
        exit 1
    "#]].assert_eq(&shown(&scene, &line).await);
    let row = scene.store.job(&id(2)).await.unwrap().unwrap().row;
    assert_eq!((row.state, row.counters.failures), (State::Ready, 0));
    assert_eq!(row.deadline_at, scene.clock.now().wall_ms + 604_800_000);
    assert_eq!(row.lane, LANE);
}

#[tokio::test]
async fn a_live_job_with_the_same_dedupe_key_keeps_a_job_from_being_put_back() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x","dedupe_key":"k"}"#).await;
    scene.store.cancel(&[Uuid::from_u128(1)]).await.unwrap();
    let admitted = scene.admit(2, r#"{"prompt":"y","dedupe_key":"k"}"#).await;
    assert_eq!(admitted, Admitted::New(Uuid::from_u128(2)));
    expect![[r#"
        00000000-0000-0000-0000-000000000001: a job that has not ended holds its dedupe_key
        put back: 0 jobs; left alone: 1
        exit 1
    "#]]
    .assert_eq(&shown(&scene, &format!("retry {}", id(1))).await);
}

#[tokio::test]
async fn all_failed_jobs_of_a_queue_are_put_back_page_by_page() {
    let scene = Scene::new().await;
    for n in 0..3 {
        scene.admit(1 + n, r#"{"prompt":"x","queue":"reports"}"#).await;
    }
    scene.admit(4, r#"{"prompt":"x"}"#).await;
    for _ in 0..4 {
        scene.call(|finish| failing(finish, ErrorKind::Truncated, "cut")).await;
    }
    scene.admit(5, r#"{"promt":"x"}"#).await;
    expect![[r#"
        put back: 3 jobs; left alone: 0
    "#]]
    .assert_eq(&shown(&scene, "retry --failed --queue reports").await);
    expect![[r#"
        {"moved":["00000000-0000-0000-0000-000000000004"],"left":[{"id":"00000000-0000-0000-0000-000000000005","reason":"was rejected; correct its document and enqueue it again"}]}
        exit 1
    "#]].assert_eq(&shown(&scene, "retry --failed --json").await);
    expect![[r#"
        put back: 0 jobs; left alone: 0
    "#]]
    .assert_eq(&shown(&scene, "retry --failed --queue none").await);
}

#[tokio::test]
async fn pages_of_the_list_follow_each_other_without_gap_or_repetition() {
    let scene = all_states().await;
    let mut filter = JobFilter { rows_max: 2, ..JobFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = scene.store.jobs(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.job_id);
        seen.extend(page.iter().map(|row| row.job_id.as_u128()));
    }
    assert_eq!(seen, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_job_put_back_starts_afresh_without_its_old_re_ask() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"a","prompt":"x","schema":{"type":"object"}}"#).await;
    scene
        .call(|finish| {
            again(finish, ErrorKind::InvalidJson, "no JSON", 0);
            let Next::Again { reask, .. } = &mut finish.next else { return };
            *reask = Some(r#"[{"role":"assistant","text":"old"}]"#.to_owned());
        })
        .await;
    scene.call(|finish| failing(finish, ErrorKind::InvalidJson, "no JSON")).await;
    assert!(scene.store.job("a").await.unwrap().unwrap().reask.is_some());
    shown(&scene, "retry a").await;
    assert_eq!(scene.store.job("a").await.unwrap().unwrap().reask, None);
}

#[tokio::test]
async fn a_job_cancelled_in_flight_has_no_known_cost() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"a","prompt":"x"}"#).await;
    scene.call(|finish| again(finish, ErrorKind::Internal, "try later", 0)).await;
    scene.claim().await;
    shown(&scene, "cancel a").await;
    let result = scene.store.job("a").await.unwrap().unwrap().result.unwrap();
    assert_eq!(result.attempts_unknown, 1);
}

#[test]
fn retry_needs_ids_or_failed_and_not_both() {
    let parse = |line: &str| {
        let words = std::iter::once("jobs").chain(line.split_whitespace());
        <Line as clap::Parser>::try_parse_from(words).is_ok()
    };
    assert!(parse("retry a b"));
    assert!(parse("retry --failed --queue q"));
    assert!(!parse("retry"));
    assert!(!parse("retry --failed a"));
    assert!(!parse("retry a --queue q"));
    assert!(!parse("cancel"));
}

#[tokio::test]
async fn cancelling_all_that_match_is_counted_first_and_done_with_yes() {
    let scene = all_states().await;
    expect![[r#"
        6 jobs match (4 ready, 1 held, 1 running); nothing is cancelled yet: add --yes
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "cancel --queue default").await);
    expect![[r#"
        {"matching":{"ready":1},"moved":[],"note":null}
        exit 1
    "#]]
    .assert_eq(&shown(&scene, "cancel --state ready --tenant acme --json").await);
    expect![[r#"
        cancelled: 1 job; left alone: 0
    "#]]
    .assert_eq(&shown(&scene, "cancel --tenant acme --yes").await);
    expect![[r#"
        cancelled: 5 jobs; left alone: 0
    "#]]
    .assert_eq(&shown(&scene, "cancel --queue default --yes").await);
    expect![[r#"
        cancelled: 0 jobs; left alone: 0
        note: no queue default is configured or has jobs that have not ended, nor does any other
    "#]]
    .assert_eq(&shown(&scene, "cancel --queue default --yes").await);
    expect![[r#"
        error: cancel the batch nightly: there is none of this name
    "#]]
    .assert_eq(&shown(&scene, "cancel --batch nightly").await);
    let parse =
        |line: &str| <Line as clap::Parser>::try_parse_from(format!("jobs {line}").split(' '));
    assert!(parse("cancel a --queue b").is_err() && parse("cancel --yes").is_err());
    assert!(parse("cancel --state failed").is_err());
}

#[tokio::test]
async fn a_batch_is_cancelled_by_its_name() {
    let scene = Scene::new().await;
    let batch = scene.store.open_batch("nightly").await.unwrap();
    let line = Origin { batch: Some((batch, 1)), ..Origin::default() };
    scene.admit_from(1, r#"{"prompt":"x"}"#, line).await;
    scene.admit(2, r#"{"prompt":"x"}"#).await;
    assert!(shown(&scene, "cancel --batch nightly --yes").await.starts_with("cancelled: 1 job;"));
    assert_eq!(scene.store.job(&id(2)).await.unwrap().unwrap().row.state, State::Ready);
}
