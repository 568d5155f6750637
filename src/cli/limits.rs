//! `quarrier limits`: how full each budget key is, and which rule limits it.
//! Must not know: the budget's arithmetic.

use std::io::Write;

use serde_json::{Value, json};

use super::jobs::waits::why_paused;
use super::table::table;
use crate::budget::{Dimension, LevelOf};
use crate::clock::rfc3339;
use crate::store::{KeyLevel, LimitRule, PausedLane, SHARE_PREFIX, Store};

/// How full the rates are, and which lanes are paused: what the calls of the last minute have
/// drawn, and what is allowed.
#[derive(Debug, clap::Args)]
pub struct LimitsArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `keys` with their levels, `rules`, and `paused` lanes.
    #[arg(long)]
    pub json: bool,
}

/// Prints the levels as they stand now.
pub async fn run(args: &LimitsArgs, store: &dyn Store, out: &mut impl Write) -> anyhow::Result<()> {
    let mut levels = store.levels().await?;
    // They measure a queue's use of its reserved share, and nothing is limited by them.
    levels.retain(|level| !level.key.starts_with(SHARE_PREFIX));
    let rules = store.limits().await?;
    if args.json {
        let keys: Vec<Value> = levels.iter().map(key_json).collect();
        let paused: Vec<Value> = store.paused_lanes().await?.iter().map(paused_json).collect();
        let all = json!({ "keys": keys, "rules": rules, "paused": paused });
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    let paused = store.paused_lanes().await?;
    for lane in &paused {
        let until = rfc3339(lane.until);
        writeln!(out, "{} is paused until {until}{}", lane.lane, why_paused(lane))?;
    }
    if !paused.is_empty() {
        writeln!(out)?;
    }
    if levels.is_empty() {
        writeln!(out, "Nothing has been drawn yet: no call has been claimed on this store.")?;
    } else {
        write!(out, "{}", as_table(&levels))?;
        writeln!(
            out,
            "\nOf the last 60 seconds: `in flight` is reserved, `wasted` was reserved and not used."
        )?;
    }
    write_unused(&levels, &rules, out)
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
            let rates: Vec<String> = Dimension::ALL
                .iter()
                .filter_map(|one| Some(format!("{} {one} a minute", rule.limit.of(*one)?)))
                .collect();
            let rates = if rates.is_empty() { "no limit".to_owned() } else { rates.join(", ") };
            writeln!(out, "  {}: {rates}", named(rule))?;
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
    use crate::store::AdmitStore as _;
    use expect_test::expect;

    async fn shown(scene: &Scene, json: bool) -> String {
        let mut out = Vec::new();
        run(&LimitsArgs { store: None, json }, &scene.store, &mut out).await.unwrap();
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
        scene.store.seed_limits(rules).await.unwrap();
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

    #[test]
    fn percent_needs_a_limit_and_never_divides_by_zero() {
        let level = |effective, used| LevelOf { effective, used, ..LevelOf::default() };
        assert_eq!(percent(&level(None, 5)), None);
        assert_eq!(percent(&level(Some(0), 5)), None);
        assert_eq!(percent(&level(Some(8), 5)), Some(62));
    }
}
