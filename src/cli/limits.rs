//! `quarrier limits`: how full each budget key is, and which rule limits it.
//! Must not know: the budget's arithmetic.

mod change;
mod forecast;

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

pub use change::{ClearArgs, SetArgs};

use self::forecast::{Forecast, forecast};
use super::jobs::waits::{NO_WORKER, why_paused};
use super::pause::pause_json;
use super::table::{one_line, span, table};
use crate::budget::{Dimension, LevelOf};
use crate::clock::rfc3339;
use crate::store::{
    Backlog, Disagreement, KeyLevel, LimitRule, Pause, PausedLane, SHARE_PREFIX, Store,
    disagreements, rule_words,
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
    /// `workers`, `forecast`, `disagreements`.
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
    /// Documents that no worker has admitted yet.
    submitted: u64,
    /// How many processes work.
    workers: u64,
    now: i64,
}

/// Runs `quarrier limits`; a process that was not heard of for `silent_ms` does not work. True if everything that was asked for was done.
pub async fn run(
    args: &LimitsArgs,
    store: &dyn Store,
    (now, silent_ms): (i64, u64),
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    match &args.command {
        Some(LimitsCommand::Set(args)) => change::set(args, store, out).await,
        Some(LimitsCommand::Clear(args)) => change::clear(args, store, out).await,
        None => {
            let shown = look(store, (now, silent_ms)).await?;
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

async fn look(store: &dyn Store, (now, silent_ms): (i64, u64)) -> anyhow::Result<Shown> {
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
        // All are counted, whichever queue they are of.
        submitted: store.submitted_queues("").await?.iter().map(|(_, waiting)| waiting).sum(),
        levels,
        rules,
        paused,
        by_people,
        workers: store.workers(silent_ms).await?,
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
                "done_by": done_by(forecast, shown),
                "limited_by": forecast.limited_by.as_ref().map(|(key, of)| format!("{key} {of}")),
            })
        })
        .collect();
    json!({
        "keys": keys,
        "rules": shown.rules,
        "paused": paused,
        "pauses": by_people,
        "workers": shown.workers,
        "forecast": {
            "lanes": forecasts,
            "paused_jobs": shown.halted_jobs,
            "submitted_jobs": shown.submitted,
        },
        "disagreements": shown.disagreements,
    })
}

/// When these jobs are done at the present limits; never while nobody works.
fn done_by(forecast: &Forecast, shown: &Shown) -> Option<String> {
    let takes_ms = forecast.takes_ms.filter(|_| shown.workers > 0);
    takes_ms.map(|takes_ms| rfc3339(shown.now.saturating_add_unsigned(takes_ms)))
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
        writeln!(out, "  {}", one_line(&one.to_string()))?;
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
                done_by(forecast, shown).unwrap_or_else(|| undone(shown).to_owned()),
                by.unwrap_or_else(|| "no limit: by the calls' own time".to_owned()),
            ]
        });
        let header = ["due jobs of", "jobs", "tokens", "take", "done by", "limited by"];
        write!(out, "\n{}", table(&header, &[1, 2, 3], rows.collect()))?;
        if shown.workers == 0 {
            writeln!(
                out,
                "\nNobody does them: {NO_WORKER}. Start one (`quarrier serve`); what they take counts from then."
            )?;
        }
    }
    if shown.halted_jobs > 0 {
        writeln!(out, "\n{} more due jobs wait for a pause's end.", shown.halted_jobs)?;
    }
    if shown.submitted > 0 {
        writeln!(
            out,
            "\n{} more wait for a worker to admit them (`submitted`); what they take is known then.",
            shown.submitted
        )?;
    }
    Ok(())
}

/// In place of the time at which something is done.
fn undone(shown: &Shown) -> &'static str {
    if shown.workers == 0 { "no worker" } else { "" }
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
mod tests;
