//! `quarrier limits set` and `quarrier limits clear`: limits at run time.
//! Must not know: how a limit is judged, how workers hear of it.

use std::io::Write;

use anyhow::bail;

use crate::budget::Limit;
use crate::cli::known;
use crate::cli::table::one_line;
use crate::config::wrong_limit_name;
use crate::store::{LimitRule, ORIGIN_SET, Store, rule_words};

/// Which limit to set, and to what: one of the rates or both.
#[derive(Debug, clap::Args)]
#[command(group(
    clap::ArgGroup::new("rates")
        .required(true)
        .multiple(true)
        .args(["requests_per_minute", "tokens_per_minute"])
))]
pub struct SetArgs {
    /// `total`, `lane:PATTERN`, `queue:PATTERN` or `tenant:PATTERN`, with `*` and `?`.
    pub pattern: String,
    /// Calls started in any 60 seconds; 0 lifts the limit. Left out, it stays as it is.
    #[arg(long, visible_alias = "rpm", value_name = "N")]
    pub requests_per_minute: Option<u64>,
    /// Quota tokens drawn in any 60 seconds; 0 lifts the limit. Left out, it stays as it is.
    #[arg(long, visible_alias = "tpm", value_name = "N")]
    pub tokens_per_minute: Option<u64>,
}

/// Which limit to clear.
#[derive(Debug, clap::Args)]
pub struct ClearArgs {
    /// The pattern, as it was set.
    pub pattern: String,
}

pub(super) async fn set(
    args: &SetArgs,
    store: &dyn Store,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if let Some(problem) = wrong_limit_name(&args.pattern) {
        bail!("set the limit {}: it {problem}", one_line(&args.pattern));
    }
    let before = of(&store.limits().await?, &args.pattern).map_or(Limit::default(), |it| it.limit);
    let rate = |given: Option<u64>, before: Option<u64>| match given {
        Some(0) => None,
        Some(rate) => Some(rate),
        None => before,
    };
    let limit = Limit {
        requests_per_minute: rate(args.requests_per_minute, before.requests_per_minute),
        tokens_per_minute: rate(args.tokens_per_minute, before.tokens_per_minute),
    };
    store.set_limit(&args.pattern, limit).await?;
    let words = rule_words(&args.pattern, Some(&limit));
    writeln!(out, "{words}; every worker keeps to it from its next claim on")?;
    if let Some(note) = known::limit(&args.pattern, store).await {
        writeln!(out, "note: {note}; the limit holds for what comes")?;
    }
    Ok(true)
}

pub(super) async fn clear(
    args: &ClearArgs,
    store: &dyn Store,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let was_set = store.clear_limit(&args.pattern).await?;
    let rules = store.limits().await?;
    let words = match of(&rules, &args.pattern) {
        Some(rule) => format!("{} ({})", rule_words(&rule.pattern, Some(&rule.limit)), rule.origin),
        None => format!("{}: no rule", args.pattern),
    };
    if was_set {
        writeln!(out, "{words}; every worker keeps to it from its next claim on")?;
        return Ok(true);
    }
    let set: Vec<&str> = rules
        .iter()
        .filter(|rule| rule.origin == ORIGIN_SET)
        .map(|rule| rule.pattern.as_str())
        .collect();
    let set = if set.is_empty() { "nothing".to_owned() } else { set.join(", ") };
    writeln!(out, "{words}; it was not set at run time (set are: {set})")?;
    Ok(false)
}

fn of<'r>(rules: &'r [LimitRule], pattern: &str) -> Option<&'r LimitRule> {
    rules.iter().find(|rule| rule.pattern == pattern)
}
