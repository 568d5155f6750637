//! `quarrier pause` and `quarrier resume`: a person holds work back for all workers, and lets it go
//! on.
//! Must not know: how workers hear of it, how a pause is kept.

use std::io::Write;

use serde_json::{Value, json};

use super::known;
use super::table::{one_line, parse_span, span};
use crate::clock::rfc3339;
use crate::store::{Pause, PauseAsk, Resumed, Scope, Store};
use crate::worker::paused_words;

/// What to pause or to resume: one of three.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ScopeArgs {
    /// The lanes that match, as `quarrier jobs list --json` names them, with `*` and `?`.
    #[arg(long, value_name = "PATTERN")]
    pub lane: Option<String>,
    /// A named queue.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Everything.
    #[arg(long)]
    pub all: bool,
}

/// What to pause, for how long, and why.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// It goes on by itself after so long: `90s`, `10m`, `2h`, `7d`. Left out, when resumed.
    #[arg(long = "for", value_name = "SPAN", value_parser = for_ms)]
    pub for_ms: Option<u64>,
    /// Why, for those who wonder what their jobs wait for.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The store whose workers are told.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What to resume.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// The store whose workers are told.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

fn for_ms(text: &str) -> Result<u64, String> {
    let ms = parse_span(text).and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    ms.ok_or_else(|| "give a span like 90s, 10m, 2h or 7d".to_owned())
}

impl ScopeArgs {
    fn scope(&self) -> Scope {
        match (&self.lane, &self.queue) {
            (Some(pattern), _) => Scope::Lane(pattern.clone()),
            (None, Some(queue)) => Scope::Queue(queue.clone()),
            (None, None) => Scope::All,
        }
    }
}

/// Pauses, and says what that is.
pub async fn pause(
    args: &PauseArgs,
    store: &dyn Store,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (scope, for_ms) = (args.scope.scope(), args.for_ms);
    let pause = store.pause(&PauseAsk { scope, for_ms, reason: args.reason.clone() }).await?;
    // Once it holds: nothing may keep what is urgent waiting.
    let note = match &pause.scope {
        Scope::All => None,
        Scope::Lane(pattern) => known::lane(pattern, store).await,
        Scope::Queue(queue) => known::queue(queue, store).await,
    };
    if args.json {
        let mut shown = pause_json(&pause);
        if let (Some(note), Some(fields)) = (note, shown.as_object_mut()) {
            fields.insert("note".to_owned(), json!(note));
        }
        writeln!(out, "{shown}")?;
        return Ok(());
    }
    let words = one_line(&paused_words(&pause));
    writeln!(out, "{words}\nNo worker claims of it any more; calls in flight run to their ends.")?;
    if let Some(note) = note {
        writeln!(out, "note: {note}; the pause holds for jobs that come")?;
    }
    Ok(())
}

/// Resumes, and says what goes on and what stays paused. True if anything was paused.
pub async fn resume(
    args: &ResumeArgs,
    store: &dyn Store,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let scope = args.scope.scope();
    let resumed = store.resume(&scope).await?;
    let left = store.pauses().await?;
    let anything = resumed.pause.is_some() || !resumed.lanes.is_empty();
    if args.json {
        let left: Vec<Value> = left.iter().map(pause_json).collect();
        let resumed = json!({
            "pause": resumed.pause.as_ref().map(pause_json),
            "lanes": resumed.lanes,
            "jobs_due": resumed.jobs,
            "still_paused": left,
        });
        writeln!(out, "{resumed}")?;
        return Ok(anything);
    }
    write_resumed(&scope, &resumed, now, out)?;
    for pause in left {
        writeln!(out, "still: {}", one_line(&paused_words(&pause)))?;
    }
    Ok(anything)
}

fn write_resumed(
    scope: &Scope,
    resumed: &Resumed,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let words = one_line(&scope.words());
    match &resumed.pause {
        Some(pause) => {
            let lasted = span(now.saturating_sub(pause.since));
            writeln!(out, "{words} goes on, after {lasted}")?;
        }
        None if *scope == Scope::All && resumed.lanes.is_empty() => {
            writeln!(out, "there was no pause of everything to end")?;
        }
        None if *scope == Scope::All => writeln!(out, "no person had paused everything")?,
        None => writeln!(out, "{words} was not paused by a person")?,
    }
    for lane in &resumed.lanes {
        let lane = one_line(lane);
        writeln!(out, "{lane} was paused by a failure; each worker tries it by one call now")?;
    }
    if resumed.jobs > 0 {
        writeln!(out, "jobs that waited for that and are due now: {}", resumed.jobs)?;
    }
    Ok(())
}

/// A pause as JSON shows it.
pub(super) fn pause_json(pause: &Pause) -> Value {
    json!({
        "scope": pause.scope.name(),
        "since": rfc3339(pause.since),
        "until": pause.until.map(rfc3339),
        "reason": pause.reason,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::cli::testing::{Scene, again};
    use crate::error::ErrorKind;

    #[derive(clap::Parser)]
    enum Line {
        Pause(PauseArgs),
        Resume(ResumeArgs),
    }

    async fn shown(scene: &Scene, words: &[&str]) -> String {
        let words = std::iter::once("quarrier").chain(words.iter().copied());
        let line = match <Line as clap::Parser>::try_parse_from(words) {
            Ok(line) => line,
            Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let (mut out, now) = (Vec::new(), scene.clock.now().wall_ms);
        let done = match line {
            Line::Pause(args) => pause(&args, &scene.store, &mut out).await.map(|()| true),
            Line::Resume(args) => resume(&args, &scene.store, now, &mut out).await,
        };
        let mut text = String::from_utf8(out).unwrap();
        if !done.unwrap() {
            text.push_str("exit 1\n");
        }
        text
    }

    #[tokio::test]
    async fn a_pause_says_what_it_holds_back_and_a_resume_what_goes_on() {
        let scene = Scene::new().await;
        let words =
            ["pause", "--queue", "reports", "--reason", "the prompt is wrong", "--for", "10m"];
        expect![[r#"
            queue reports is paused by a person since 2026-01-01T00:00:00.000Z until 2026-01-01T00:10:00.000Z: the prompt is wrong; `quarrier resume --queue reports`
            No worker claims of it any more; calls in flight run to their ends.
            note: no queue reports is configured or has jobs that have not ended, nor does any other; the pause holds for jobs that come
        "#]]
        .assert_eq(&shown(&scene, &words).await);
        expect![[r#"
            {"scope":"lane:bedrock/*","since":"2026-01-01T00:00:00.000Z","until":null,"reason":null,"note":"no lane bedrock/* has due jobs or calls, nor does any other"}
        "#]]
        .assert_eq(&shown(&scene, &["pause", "--lane", "bedrock/*", "--json"]).await);
        scene.hand.advance(90_000);
        expect![[r#"
            queue reports goes on, after 1 min 30 s
            still: lane bedrock/* is paused by a person since 2026-01-01T00:00:00.000Z; `quarrier resume --lane 'bedrock/*'`
        "#]]
        .assert_eq(&shown(&scene, &["resume", "--queue", "reports"]).await);
        expect![[r#"
            there was no pause of everything to end
            still: lane bedrock/* is paused by a person since 2026-01-01T00:00:00.000Z; `quarrier resume --lane 'bedrock/*'`
            exit 1
        "#]]
        .assert_eq(&shown(&scene, &["resume", "--all"]).await);
    }

    #[tokio::test]
    async fn a_resume_ends_a_failures_pause_and_its_jobs_wait_no_longer() {
        let scene = Scene::new().await;
        scene.admit(1, r#"{"prompt":"x"}"#).await;
        scene
            .call(|finish| {
                again(finish, ErrorKind::ThrottledDay, "used up", 3_600_000);
                finish.lane.pause_ms = Some(3_600_000);
            })
            .await;
        expect![[r#"
            lane bedrock/* was not paused by a person
            bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 was paused by a failure; each worker tries it by one call now
            jobs that waited for that and are due now: 1
        "#]]
        .assert_eq(&shown(&scene, &["resume", "--lane", "bedrock/*"]).await);
    }

    #[tokio::test]
    async fn one_scope_is_named_and_a_span_has_a_length() {
        let scene = Scene::new().await;
        expect!["error: the following required arguments were not provided:"]
            .assert_eq(&shown(&scene, &["pause"]).await);
        expect!["error: the argument '--queue <NAME>' cannot be used with '--all'"]
            .assert_eq(&shown(&scene, &["resume", "--queue", "a", "--all"]).await);
        expect![
            "error: invalid value '0s' for '--for <SPAN>': give a span like 90s, 10m, 2h or 7d"
        ]
        .assert_eq(&shown(&scene, &["pause", "--all", "--for", "0s"]).await);
    }
}
