//! Tests of `quarrier explain`: the texts' shape, and that what they name exists.
//! Must not know: the texts' making.

use clap::Parser as _;
use expect_test::expect;

use super::*;
use crate::cli::Cli;
use crate::cli::testing::{Scene, again, failing};
use crate::config;
use crate::store::{ControlStore as _, PauseAsk, Scope};

fn args(what: &str) -> ExplainArgs {
    ExplainArgs { what: Some(what.to_owned()), list: false, store: None, json: false }
}

fn of_kind(args: &ExplainArgs) -> String {
    let mut out = Vec::new();
    kinds(args, &Policy::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

async fn of_job(scene: &Scene, args: &ExplainArgs) -> String {
    let mut out = Vec::new();
    let id = args.what.clone().unwrap();
    let settings = config::load(&config::LoadArgs::default()).unwrap().settings;
    match job(args, &id, (&scene.store, &settings), &mut out).await {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(error) => format!("failed to {error:#}\n"),
    }
    .replace(&scene.store.path().display().to_string(), "STORE")
}

#[test]
fn a_kind_is_explained_in_three_paragraphs() {
    expect![[r#"
        credentials

        What it is
          There are no AWS credentials, or they have expired, are malformed, or the machine's clock is
          so wrong that signatures are refused.

        What we do
          No failure is counted and no job fails. The whole lane is paused for 1 min
          (`retry.paused_ms`), with one line in the log; other lanes go on. When the pause is over, one
          call tries the lane before the others go on, and if it fails in the same way the lane is
          paused again. The call is known to cost nothing.

        What you can do
          Sign in again (`aws sso login`), or set `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` with its secret, or
          `AWS_BEARER_TOKEN_BEDROCK`. `quarrier doctor` says which of them is used. New files and
          sign-ins are picked up by a running worker; new environment variables need a restart. The lane
          goes on by itself, and no job was lost.
    "#]].assert_eq(&of_kind(&args("credentials")));
    expect![[r#"
        schema_mismatch

        What it is
          The answer is JSON and does not fit the job's schema; the message names the paths.

        What we do
          The model is shown its own answer and what is wrong with it, at most 2 times
          (`retry.reasks_max`), each time in a new call. After that the job ends `failed`. The answer,
          its tokens and its cost are kept on the attempt.

        What you can do
          Compare the answer with the schema (`quarrier jobs show ID --full`). Describe the fields in
          the schema, loosen what the prompt cannot know (patterns, lengths, enums), allow more re-asks
          (`retry.reasks_max`), or use a stronger model.
    "#]].assert_eq(&of_kind(&args("schema_mismatch")));
}

#[test]
fn a_kind_is_explained_to_programs() {
    let one: Value =
        serde_json::from_str(&of_kind(&ExplainArgs { json: true, ..args("refused") })).unwrap();
    let names: Vec<&String> = one.as_object().unwrap().keys().collect();
    assert_eq!(names, ["kind", "what", "we_do", "way_out"]);
    let list = ExplainArgs { what: None, list: true, store: None, json: true };
    let all: Vec<Value> = serde_json::from_str(&of_kind(&list)).unwrap();
    assert_eq!(all.len(), ErrorKind::ALL.len());
}

#[test]
fn the_list_has_a_line_for_each_kind() {
    let text = of_kind(&ExplainArgs { what: None, list: true, store: None, json: false });
    assert_eq!(text.lines().count(), ErrorKind::ALL.len() + 1);
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_jobs_error_is_explained_with_its_own_words_and_calls() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"report-1","prompt":"x"}"#).await;
    scene.call(|finish| again(finish, ErrorKind::Internal, "try later", 0)).await;
    scene.call(|finish| failing(finish, ErrorKind::Truncated, "cut at max_tokens 1000")).await;
    expect![[r#"
        job 00000000-0000-0000-0000-000000000001 (report-1), failed: truncated
          cut at max_tokens 1000

        Its calls
          1  refused in 3.0 s; internal: try later
          2  completed in 3.0 s, 120 tokens in, 30 out, $0.00027; truncated: cut at max_tokens 1000

        What it is
          The answer was cut at `max_tokens`. A cut answer is never repaired into a wrong one.

        What we do
          The job ends `failed` at once, because a second call would end the same way. The answer, its
          tokens and its cost are kept on the attempt.

        What you can do
          Raise the job's `max_tokens` (or `job.max_tokens`), or ask for less: fewer items, shorter
          texts, `maxItems` and `maxLength` in the schema.
    "#]].assert_eq(&of_job(&scene, &args("report-1")).await);
    let json = of_job(&scene, &ExplainArgs { json: true, ..args("report-1") }).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kind"], "truncated");
    assert_eq!(json["explained"]["kind"], "truncated");
    scene.admit(2, r#"{"id":"fine","prompt":"x"}"#).await;
    scene.call(|_| ()).await;
    let text = of_job(&scene, &args("fine")).await;
    assert!(
        text.starts_with(
            "job 00000000-0000-0000-0000-000000000002 (fine), succeeded, and nothing went wrong\n"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn a_name_that_is_nothing_gets_the_nearest_kinds() {
    let scene = Scene::new().await;
    expect![[r#"
        failed to explain schema-missmatch: no kind of error has this name (nearest: schema_mismatch), and STORE holds no job with this id; `quarrier explain --list` lists the kinds, and --store names another store
    "#]].assert_eq(&of_job(&scene, &args("schema-missmatch")).await);
}

/// What stands between backticks in the texts of all kinds, with its kind.
fn quoted() -> Vec<(ErrorKind, String)> {
    let texts = ErrorKind::ALL.map(|kind| {
        let Explained { what, we_do, way_out, .. } = explained(kind, &Policy::default());
        let hint = error::explain(kind).hint.unwrap_or_default();
        let all = format!("{what} {we_do} {way_out} {hint}");
        let quoted = all.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        quoted.into_iter().map(move |text| (kind, text))
    });
    texts.into_iter().flatten().collect()
}

#[test]
fn every_setting_that_is_named_exists() {
    let defaults: toml::Table = include_str!("../../../config/default.toml").parse().unwrap();
    let mut named = 0;
    for (kind, text) in quoted() {
        let Some((section, key)) = text.split_once('.') else { continue };
        let Some(section) = defaults.get(section).and_then(toml::Value::as_table) else { continue };
        assert!(section.contains_key(key), "{kind}: there is no setting {text}");
        named += 1;
    }
    assert!(named > 40, "{named} settings found: are they still between backticks?");
}

#[test]
fn every_command_that_is_named_exists() {
    let mut named = 0;
    for (kind, text) in quoted().into_iter().filter(|(_, text)| text.starts_with("quarrier ")) {
        let parsed = Cli::try_parse_from(text.split(' '));
        // Comes with the command that checks everything.
        assert!(parsed.is_ok() || text == "quarrier doctor", "{kind}: {text}: {parsed:?}");
        named += 1;
    }
    assert!(named > 20, "{named} commands found: are they still between backticks?");
}

#[test]
fn every_kind_that_can_pause_a_lane_has_a_hint_and_no_other() {
    for kind in ErrorKind::ALL {
        assert_eq!(error::explain(kind).hint.is_some(), retry::pauses(kind), "{kind}");
    }
}

#[tokio::test]
async fn a_job_that_a_person_holds_back_says_so_and_one_that_nobody_has_admitted_too() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"id":"a","prompt":"x","queue":"reports"}"#).await;
    scene.submit("b", r#"{"prompt":"x"}"#).await;
    let scope = Scope::Queue("reports".to_owned());
    scene.store.pause(&PauseAsk { scope, for_ms: None, reason: None }).await.unwrap();
    expect![[r#"
        job 00000000-0000-0000-0000-000000000001 (a), ready, and nothing went wrong
          it waits: queue reports is paused by a person since 2026-01-01T00:00:00.000Z; `quarrier resume --queue reports`
    "#]]
    .assert_eq(&of_job(&scene, &args("a")).await);
    expect![[r#"
        job b, submitted: no worker has admitted it yet
    "#]]
    .assert_eq(&of_job(&scene, &args("b")).await);
}
