//! `quarrier limits`: how full each budget key is, and which rule limits it.
//! Must not know: the budget's arithmetic.

mod change;
mod forecast;

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

pub use change::{ClearArgs, SetArgs};

use self::forecast::{Forecast, forecast};
use super::jobs::waits::why_paused;
use super::pause::pause_json;
use super::table::{one_line, span, table};
use crate::budget::{Dimension, LevelOf};
use crate::clock::rfc3339;
use crate::rooms::rule_words;
use crate::store::{
    Backlog, Disagreement, KeyLevel, LimitRule, Pause, PausedLane, SHARE_PREFIX, Store,
    disagreements,
};
use crate::worker::paused_words;

/// How full the rates are, what is paused, and how long what is due takes: what the calls of the
/// last minute have drawn, and what is allowed.
#[derive(Debug, clap::Args)]
pub struct LimitsArgs {
    /// The store to look at.
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `keys` with their levels, `rules`, `paused` lanes, `pauses` by people,
    /// `forecast`, `disagreements`.
    #[arg(long)]
    pub json: bool,
    /// What to do; left out, look.
    #[command(subcommand)]
    pub command: Option<LimitsCommand>,
}

/// What `quarrier limits` can do besides looking.
#[derive(Debug, clap::Subcommand)]
pub enum LimitsCommand {
    /// Set a limit for all workers from their next claim on, until it is cleared.
    Set(SetArgs),
    /// Clear a limit that was set; the pattern's configured one, if there is one, holds again.
    Clear(ClearArgs),
}

/// How many groups of due jobs (by lane, queue and tenant) the forecast looks at, the largest.
const GROUPS_MAX: u32 = 10_000;

/// Everything that is shown.
struct Shown {
    levels: Vec<KeyLevel>,
    rules: Vec<LimitRule>,
    paused: Vec<PausedLane>,
    by_people: Vec<Pause>,
    disagreements: Vec<Disagreement>,
    /// By lane, and `all` where there are several.
    forecasts: Vec<(String, Forecast)>,
    /// Due jobs that something has paused.
    halted_jobs: u64,
    now: i64,
}

/// Runs `quarrier limits`. True if everything that was asked for was done.
pub async fn run(
    args: &LimitsArgs,
    store: &dyn Store,
    now: i64,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    match &args.command {
        Some(LimitsCommand::Set(args)) => change::set(args, store, out).await,
        Some(LimitsCommand::Clear(args)) => change::clear(args, store, out).await,
        None => {
            let shown = look(store, now).await?;
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &as_json(&shown))?;
                writeln!(out)?;
            } else {
                write_text(&shown, out)?;
            }
            Ok(true)
        }
    }
}

async fn look(store: &dyn Store, now: i64) -> anyhow::Result<Shown> {
    let (mut levels, rules) = (store.levels().await?, store.limits().await?);
    // They measure a queue's use of its reserved share, and nothing is limited by them.
    levels.retain(|level| !level.key.starts_with(SHARE_PREFIX));
    let (paused, by_people) = (store.paused_lanes().await?, store.pauses().await?);
    let backlog = store.backlog(GROUPS_MAX).await?;
    let is_halted = |one: &Backlog| {
        by_people.iter().any(|pause| pause.scope.covers(&one.lane, &one.queue))
            || paused.iter().any(|lane| lane.lane == one.lane)
    };
    let (halted, free): (Vec<&Backlog>, Vec<&Backlog>) =
        backlog.iter().partition(|one| is_halted(one));
    let lanes: BTreeSet<&str> = free.iter().map(|one| one.lane.as_str()).collect();
    let mut forecasts: Vec<(String, Forecast)> = Vec::new();
    for lane in &lanes {
        let own: Vec<&Backlog> = free.iter().filter(|one| one.lane == *lane).copied().collect();
        forecasts.push(((*lane).to_owned(), forecast(&own, &levels, &rules)));
    }
    if lanes.len() > 1 {
        forecasts.push(("all".to_owned(), forecast(&free, &levels, &rules)));
    }
    Ok(Shown {
        disagreements: disagreements(&store.limit_seeds().await?, &rules),
        forecasts,
        halted_jobs: halted.iter().map(|one| one.jobs).sum(),
        levels,
        rules,
        paused,
        by_people,
        now,
    })
}

fn as_json(shown: &Shown) -> Value {
    let keys: Vec<Value> = shown.levels.iter().map(key_json).collect();
    let paused: Vec<Value> = shown.paused.iter().map(paused_json).collect();
    let by_people: Vec<Value> = shown.by_people.iter().map(pause_json).collect();
    let forecasts: Vec<Value> = shown
        .forecasts
        .iter()
        .map(|(lane, forecast)| {
            json!({
                "lane": lane,
                "jobs": forecast.jobs,
                "tokens": forecast.tokens,
                "takes_ms": forecast.takes_ms,
                "done_by": done_by(forecast, shown.now),
                "limited_by": forecast.limited_by.as_ref().map(|(key, of)| format!("{key} {of}")),
            })
        })
        .collect();
    json!({
        "keys": keys,
        "rules": shown.rules,
        "paused": paused,
        "pauses": by_people,
        "forecast": { "lanes": forecasts, "paused_jobs": shown.halted_jobs },
        "disagreements": shown.disagreements,
    })
}

/// When these jobs are done at the present limits.
fn done_by(forecast: &Forecast, now: i64) -> Option<String> {
    forecast.takes_ms.map(|takes_ms| rfc3339(now.saturating_add_unsigned(takes_ms)))
}

fn write_text(shown: &Shown, out: &mut impl Write) -> anyhow::Result<()> {
    let Shown { levels, rules, paused, by_people, .. } = shown;
    for pause in by_people {
        writeln!(out, "{}", one_line(&paused_words(pause)))?;
    }
    for lane in paused {
        let until = rfc3339(lane.until);
        writeln!(out, "{} is paused until {until}{}", lane.lane, why_paused(lane))?;
    }
    if !paused.is_empty() || !by_people.is_empty() {
        writeln!(out)?;
    }
    if levels.is_empty() {
        writeln!(out, "Nothing has been drawn yet: no call has been claimed on this store.")?;
    } else {
        write!(out, "{}", as_table(levels))?;
        writeln!(
            out,
            "\nOf the last 60 seconds: `in flight` is reserved, `wasted` was reserved and not used."
        )?;
    }
    write_unused(levels, rules, out)?;
    write_disagreements(&shown.disagreements, out)?;
    write_forecast(shown, out)
}

fn write_disagreements(found: &[Disagreement], out: &mut impl Write) -> anyhow::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWorkers whose configurations disagree; the last to begin is in force:")?;
    for one in found {
        let configured = rule_words(&one.pattern, one.configured.as_ref());
        let in_force = rule_words(&one.pattern, one.in_force.as_ref());
        let (own, last) = (one_line(&one.seeder), one_line(&one.in_force_of));
        writeln!(out, "  {own} has {configured}; {last} has {in_force}")?;
    }
    writeln!(out, "Give them the same, or say what holds by `quarrier limits set`.")?;
    Ok(())
}

fn write_forecast(shown: &Shown, out: &mut impl Write) -> anyhow::Result<()> {
    if !shown.forecasts.is_empty() {
        let rows = shown.forecasts.iter().map(|(lane, forecast)| {
            let by = forecast.limited_by.as_ref().map(|(key, of)| format!("{key} {of}"));
            let takes = forecast.takes_ms.map(|ms| span(i64::try_from(ms).unwrap_or(i64::MAX)));
            vec![
                lane.clone(),
                forecast.jobs.to_string(),
                forecast.tokens.to_string(),
                takes.unwrap_or_default(),
                done_by(forecast, shown.now).unwrap_or_default(),
                by.unwrap_or_else(|| "no limit: by the calls' own time".to_owned()),
            ]
        });
        let header = ["due jobs of", "jobs", "tokens", "take", "done by", "limited by"];
        write!(out, "\n{}", table(&header, &[1, 2, 3], rows.collect()))?;
    }
    if shown.halted_jobs > 0 {
        writeln!(out, "\n{} more due jobs wait for a pause's end.", shown.halted_jobs)?;
    }
    Ok(())
}

fn as_table(levels: &[KeyLevel]) -> String {
    let mut rows = Vec::new();
    for key in levels {
        for (dimension, level) in dimensions(key) {
            let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
            // A key without a limit and without use has nothing to show.
            if level.limit.is_none() && level.used == 0 && level.in_flight == 0 {
                continue;
            }
            rows.push(vec![
                key.key.clone(),
                dimension.to_string(),
                number(level.limit),
                number(level.effective),
                level.used.to_string(),
                level.in_flight.to_string(),
                level.wasted.to_string(),
                percent(level).map_or(String::new(), |percent| format!("{percent} %")),
                key.rule.clone().unwrap_or_else(|| "no rule".to_owned()),
            ]);
        }
    }
    let header =
        ["key", "", "limit", "effective", "used", "in flight", "wasted", "full", "rule (origin)"];
    table(&header, &[2, 3, 4, 5, 6, 7], rows)
}

fn dimensions(key: &KeyLevel) -> [(Dimension, &LevelOf); 2] {
    [(Dimension::Requests, &key.level.requests), (Dimension::Tokens, &key.level.tokens)]
}

/// What counts against the limit that holds now, in whole percent; none where there is no limit.
fn percent(level: &LevelOf) -> Option<u64> {
    let drawn = level.used.saturating_add(level.in_flight);
    drawn.saturating_mul(100).checked_div(level.effective?)
}

/// The rules that no key above has met: they hold all the same.
fn write_unused(
    levels: &[KeyLevel],
    rules: &[LimitRule],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let named = |rule: &LimitRule| format!("{} ({})", rule.pattern, rule.origin);
    let unused: Vec<&LimitRule> = rules
        .iter()
        .filter(|rule| !levels.iter().any(|key| key.rule.as_ref() == Some(&named(rule))))
        .collect();
    if rules.is_empty() {
        writeln!(
            out,
            "No limit is written here: a command that works (`run`, `serve`, `generate`) writes the configured ones."
        )?;
    } else if !unused.is_empty() {
        writeln!(out, "\nRules that nothing has drawn on yet:")?;
        for rule in unused {
            writeln!(out, "  {}", rule_words(&named(rule), Some(&rule.limit)))?;
        }
    }
    Ok(())
}

fn paused_json(lane: &PausedLane) -> Value {
    json!({ "lane": lane.lane, "until": rfc3339(lane.until), "reason": lane.reason })
}

fn key_json(key: &KeyLevel) -> Value {
    let level = |level: &LevelOf| {
        json!({
            "limit": level.limit,
            "effective": level.effective,
            "used": level.used,
            "in_flight": level.in_flight,
            "wasted": level.wasted,
            "percent": percent(level),
        })
    };
    json!({
        "key": key.key,
        "rule": key.rule,
        "requests": level(&key.level.requests),
        "tokens": level(&key.level.tokens),
    })
}

#[cfg(test)]
mod tests {
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
        run(&args, &scene.store, scene.clock.now().wall_ms, &mut out).await.unwrap();
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
        expect![[
            r#"{"pattern":"total","limit":{"requests_per_minute":50},"origin":"configuration"}"#
        ]]
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
        let done = run(&args, &scene.store, scene.clock.now().wall_ms, &mut out).await;
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
        let text = does(&scene, "").await;
        let shown: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("due")).collect();
        expect![[r#"
            due jobs of                                                    jobs  tokens       take  done by                   limited by
            bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0    20   20380  1 min 1 s  2026-01-01T00:01:01.140Z  lane:bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 tokens

            5 more due jobs wait for a pause's end."#]].assert_eq(&shown.join("\n"));
        let json: Value = serde_json::from_str(&shown_json(&scene).await).unwrap();
        expect![[r#"{"lanes":[{"lane":"bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0","jobs":20,"tokens":20380,"takes_ms":61140,"done_by":"2026-01-01T00:01:01.140Z","limited_by":"lane:bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 tokens"}],"paused_jobs":5}"#]].assert_eq(&json["forecast"].to_string());
        expect![[r#"[{"scope":"queue:held","since":"2026-01-01T00:00:00.000Z","until":null,"reason":null}]"#]].assert_eq(&json["pauses"].to_string());
    }

    async fn shown_json(scene: &Scene) -> String {
        shown(scene, true).await
    }

    #[tokio::test]
    async fn workers_that_were_configured_otherwise_are_named() {
        let scene = limited().await;
        let lease = LeaseInfo { id: uuid::Uuid::from_u128(9), host: "here".to_owned(), pid: 1 };
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
}
