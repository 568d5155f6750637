//! How long the due jobs take at the present limits.
//! Must not know: where backlogs and levels come from, how they are printed.

use std::collections::BTreeSet;

use crate::budget::{Dimension, Limit};
use crate::store::{Backlog, KeyLevel, LimitRule, rule_for};

/// What the due jobs of one lane, or of all, take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forecast {
    /// How many.
    pub(super) jobs: u64,
    /// What they are expected to use, in quota tokens, as calls before them did.
    pub(super) tokens: u64,
    /// For how long they keep the tightest limit busy, in milliseconds; none = no limit binds them.
    pub(super) takes_ms: Option<u64>,
    /// That limit.
    pub(super) limited_by: Option<(String, Dimension)>,
}

/// The forecast for these jobs, which nothing but limits holds back. Calls that fail and are made
/// again, and the time that a call itself takes, are not counted.
pub(super) fn forecast(backlog: &[&Backlog], levels: &[KeyLevel], rules: &[LimitRule]) -> Forecast {
    let used = |one: &Backlog| expected(one, levels);
    let mut found = Forecast {
        jobs: backlog.iter().map(|one| one.jobs).sum(),
        tokens: backlog.iter().fold(0, |sum, one| sum.saturating_add(used(one))),
        takes_ms: None,
        limited_by: None,
    };
    let mut keys: BTreeSet<String> = backlog.iter().flat_map(|one| one.keys(rules)).collect();
    // The provider may limit a lane that no rule does: its throttles are kept to all the same.
    let is_drawn_on = |level: &&KeyLevel| backlog.iter().any(|one| one.draws_on(&level.key));
    keys.extend(levels.iter().filter(is_drawn_on).map(|level| level.key.clone()));
    for key in keys {
        let drawing = || backlog.iter().filter(|one| one.draws_on(&key));
        for dimension in Dimension::ALL {
            let Some(rate) = rate(&key, dimension, levels, rules) else { continue };
            let drawn = drawing().fold(0_u64, |sum, one| {
                sum.saturating_add(match dimension {
                    Dimension::Requests => one.jobs,
                    Dimension::Tokens => used(one),
                })
            });
            let takes_ms = takes_ms(drawn, rate);
            if found.takes_ms.is_none_or(|most| most < takes_ms) {
                found.takes_ms = Some(takes_ms);
                found.limited_by = Some((key.clone(), dimension));
            }
        }
    }
    found
}

/// What these jobs' next calls use, in quota tokens.
fn expected(one: &Backlog, levels: &[KeyLevel]) -> u64 {
    let own = format!("lane:{}", one.lane);
    let permille =
        levels.iter().find(|level| level.key == own).map_or(1_000, |it| it.used_permille);
    let exact = u128::from(one.reserved_tokens) * u128::from(permille) / 1_000;
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// What a key allows in a minute now.
fn rate(key: &str, dimension: Dimension, levels: &[KeyLevel], rules: &[LimitRule]) -> Option<u64> {
    if let Some(level) = levels.iter().find(|level| level.key == key) {
        let of = match dimension {
            Dimension::Requests => &level.level.requests,
            Dimension::Tokens => &level.level.tokens,
        };
        return of.effective.or(of.limit);
    }
    let limit: Limit = rule_for(rules, key)?.limit;
    limit.of(dimension)
}

fn takes_ms(drawn: u64, per_minute: u64) -> u64 {
    let exact = u128::from(drawn) * 60_000 / u128::from(per_minute.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Level, LevelOf};

    fn backlog(lane: &str, queue: &str, jobs: u64, reserved_tokens: u64) -> Backlog {
        let (lane, queue) = (lane.to_owned(), queue.to_owned());
        Backlog { lane, queue, tenant: "default".to_owned(), jobs, reserved_tokens }
    }

    fn rule(pattern: &str, requests: Option<u64>, tokens: Option<u64>) -> LimitRule {
        let limit = Limit { requests_per_minute: requests, tokens_per_minute: tokens };
        LimitRule { pattern: pattern.to_owned(), limit, origin: "configuration".to_owned() }
    }

    fn check(
        backlog: &[Backlog],
        levels: &[KeyLevel],
        rules: &[LimitRule],
        expected: Option<(u64, &str)>,
    ) {
        let backlog: Vec<&Backlog> = backlog.iter().collect();
        let found = forecast(&backlog, levels, rules);
        let by = found.limited_by.map(|(key, dimension)| format!("{key} {dimension}"));
        assert_eq!(found.takes_ms.zip(by.as_deref()), expected);
    }

    #[test]
    fn the_tightest_limit_says_how_long_it_takes() {
        let jobs = [backlog("a", "x", 600, 60_000), backlog("b", "y", 600, 600_000)];
        check(&jobs, &[], &[], None);
        let total = rule("total", Some(60), None);
        check(&jobs, &[], std::slice::from_ref(&total), Some((1_200_000, "total requests")));
        let lane = rule("lane:b", None, Some(10_000));
        check(&jobs, &[], &[total.clone(), lane], Some((3_600_000, "lane:b tokens")));
        check(
            &jobs,
            &[],
            &[total, rule("queue:x", Some(10), None)],
            Some((3_600_000, "queue:x requests")),
        );
    }

    #[test]
    fn what_calls_used_before_and_what_a_throttled_limit_allows_now_count() {
        let jobs = [backlog("a", "x", 10, 100_000)];
        let tokens = LevelOf { limit: Some(20_000), effective: Some(10_000), ..LevelOf::default() };
        let level = KeyLevel {
            key: "lane:a".to_owned(),
            limit: Limit::default(),
            rule: None,
            level: Level { tokens, ..Level::default() },
            used_permille: 200,
        };
        check(
            &jobs,
            &[level],
            &[rule("lane:*", None, Some(20_000))],
            Some((120_000, "lane:a tokens")),
        );
        let throttled = LevelOf { effective: Some(60), ..LevelOf::default() };
        let level = KeyLevel {
            key: "lane:a".to_owned(),
            limit: Limit::default(),
            rule: None,
            level: Level { requests: throttled, ..Level::default() },
            used_permille: 1_000,
        };
        let total = rule("total", Some(600), None);
        check(&jobs, &[level], &[total], Some((10_000, "lane:a requests")));
    }
}
