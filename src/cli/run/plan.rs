//! `run --dry-run`: what a file would ask, cost and take, without a store and without a call.
//! Must not know: stores, workers.

use std::collections::BTreeMap;

use super::show;
use crate::budget::{self, Dimension, Limit};
use crate::catalogue::cost_micros_max;
use crate::clock;
use crate::completion::Usage;
use crate::store::{LimitRule, NewJob, rule_for};

/// The sums over a file's jobs.
#[derive(Debug, Default)]
pub(super) struct Plan {
    jobs: u64,
    input_tokens_max: u64,
    output_tokens_max: u64,
    cost_low: u64,
    cost_high: u64,
    unpriced: u64,
    /// What each limited key would be asked for.
    keys: BTreeMap<String, Asked>,
}

/// What one key is asked for by all jobs together.
#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    requests: u64,
    /// Quota tokens if every answer is empty.
    tokens_low: u64,
    /// Quota tokens if every answer is as long as it may be.
    tokens_high: u64,
}

impl Plan {
    /// Adds a job.
    pub(super) fn add(&mut self, job: &NewJob) {
        let wanted = job.wanted;
        let used = |output: u64| {
            let usage = Usage { input: wanted.input_tokens_max, output, ..Usage::default() };
            budget::settled(&usage, wanted.burndown)
        };
        self.jobs = self.jobs.saturating_add(1);
        self.input_tokens_max = self.input_tokens_max.saturating_add(wanted.input_tokens_max);
        self.output_tokens_max = self.output_tokens_max.saturating_add(wanted.max_tokens);
        match job.resolved.as_ref().ok().and_then(|resolved| resolved.prices.as_ref()) {
            Some(prices) => {
                let cost = |output| cost_micros_max(prices, wanted.input_tokens_max, output);
                self.cost_low = self.cost_low.saturating_add(cost(0));
                self.cost_high = self.cost_high.saturating_add(cost(wanted.max_tokens));
            }
            None => self.unpriced = self.unpriced.saturating_add(1),
        }
        let (low, high) = (used(0).tokens, used(wanted.max_tokens).tokens);
        let names = [
            "total".to_owned(),
            format!("lane:{}", job.lane),
            format!("queue:{}", job.queue),
            format!("tenant:{}", job.tenant),
        ];
        for name in names {
            let asked = self.keys.entry(name).or_default();
            asked.requests = asked.requests.saturating_add(1);
            asked.tokens_low = asked.tokens_low.saturating_add(low);
            asked.tokens_high = asked.tokens_high.saturating_add(high);
        }
    }

    /// The longest that one of the limits makes all jobs take, in milliseconds, with short answers
    /// and with long ones; and which limit that is.
    fn takes(&self, rules: &[LimitRule]) -> Option<(u64, u64, String)> {
        self.keys
            .iter()
            .filter_map(|(name, asked)| {
                let limit = rule_for(rules, name)?.limit;
                let (low, _) = slowest(limit, asked.requests, asked.tokens_low)?;
                let (high, dimension) = slowest(limit, asked.requests, asked.tokens_high)?;
                Some((low, high, format!("{dimension}, {name}")))
            })
            .max_by_key(|(_, high, _)| *high)
    }

    /// The plan in words.
    pub(super) fn text(
        &self,
        rules: &[LimitRule],
        refused: u64,
        now_ms: i64,
        simulated: bool,
    ) -> String {
        let mut lines = vec![format!(
            "Dry run: {} jobs, {} refused lines; nothing was stored or called.\n\
             Tokens: up to {} in, up to {} out.",
            self.jobs,
            refused,
            show::short(self.input_tokens_max),
            show::short(self.output_tokens_max),
        )];
        let cost = |micros| show::cost(micros, simulated);
        lines.push(format!(
            "Cost: {} if every answer is empty to {} if every answer is as long as it may be; \
             re-asks and retries come on top.",
            cost(self.cost_low),
            cost(self.cost_high),
        ));
        if self.unpriced > 0 {
            lines.push(format!("Without {} jobs whose model has no known price.", self.unpriced));
        }
        lines.push(self.time(rules, now_ms));
        lines.join("\n") + "\n"
    }

    fn time(&self, rules: &[LimitRule], now_ms: i64) -> String {
        let Some((low, high, by)) = self.takes(rules) else {
            return "No limit is set: it ends as soon as the calls do.".to_owned();
        };
        let at = |ms: u64| clock::rfc3339(now_ms.saturating_add_unsigned(ms));
        let (takes, ends) = if low == high {
            (show::duration(low), format!("at {}", at(low)))
        } else {
            let takes = format!("{} to {}", show::duration(low), show::duration(high));
            (takes, format!("between {} and {}", at(low), at(high)))
        };
        format!("At this quota ({by}) it takes {takes}, and ends {ends} if it starts now.")
    }
}

/// How long one limit makes these draws take, in milliseconds: a window's worth passes at once.
fn slowest(limit: Limit, requests: u64, tokens: u64) -> Option<(u64, Dimension)> {
    [(Dimension::Requests, requests), (Dimension::Tokens, tokens)]
        .into_iter()
        .filter_map(|(dimension, asked)| {
            let per_minute = limit.of(dimension)?;
            let ms = u128::from(asked)
                .saturating_mul(u128::from(budget::WINDOW_MS))
                .checked_div(u128::from(per_minute))?;
            Some((u64::try_from(ms).unwrap_or(u64::MAX), dimension))
        })
        .max_by_key(|(ms, _)| *ms)
}
