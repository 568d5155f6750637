//! The figures over all calls: counts, worst windows, use of the quota by the minute. Must not know:
//! the wire, how a call is carried out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::log::Outcome;
use super::quota::{Charges, Quota, QuotaLimits};

/// Figures of one whole minute, counted from the first call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Minute {
    /// Which minute, from 1.
    pub minute: usize,
    /// Calls started in it.
    pub requests: u64,
    /// Quota tokens of these calls.
    pub tokens: u64,
    /// Percent of the request quota; absent where there is none.
    pub requests_percent: Option<f64>,
    /// Percent of the token quota; absent where there is none.
    pub tokens_percent: Option<f64>,
}

/// Figures over all calls so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Always true: these are figures of a simulation.
    pub simulated: bool,
    /// All calls of a model.
    pub calls: u64,
    /// Calls of `CountTokens`, refused ones included: in no other figure here.
    pub token_counts: u64,
    /// Calls that the quota was charged for.
    pub admitted: u64,
    /// Calls that the quota refused (not the injected throttles).
    pub throttled: u64,
    /// Calls whose caller went away before the end.
    pub client_gone: u64,
    /// Calls in flight now.
    pub in_flight: u64,
    /// Calls by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// The scenario in force.
    pub scenario: Option<String>,
    /// Calls by the scenario's phase, where it has any.
    pub phases: BTreeMap<String, u64>,
    /// Calls that a script or a fixture applied to.
    pub ruled: u64,
    /// The most requests in any 60 s.
    pub worst_window_requests: u64,
    /// The most quota tokens in any 60 s, reservations in flight and settled use after. Settlement
    /// may raise it above the quota.
    pub worst_window_tokens: u64,
    /// The same, looked at only when a call was admitted: never above an enforced quota, and a
    /// measure of the caller's own budget where none is enforced.
    pub worst_window_tokens_at_admission: u64,
    /// Each minute since the first call, the running one included.
    pub minutes: Vec<Minute>,
    /// Average percent of the request quota over the minutes 2 to n-1.
    pub average_requests_percent: Option<f64>,
    /// Average percent of the token quota over the minutes 2 to n-1.
    pub average_tokens_percent: Option<f64>,
    /// Input tokens of admitted calls.
    pub input_tokens: u64,
    /// Output tokens generated.
    pub output_tokens: u64,
    /// Tokens billed.
    pub billed: u64,
}

/// A share in percent, to two decimals.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    let hundredths = part.saturating_mul(10_000) / whole.max(1);
    f64::from(u32::try_from(hundredths).unwrap_or(u32::MAX)) / 100.0
}

/// What is counted as calls begin and end.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// Calls of `CountTokens`.
    pub(crate) counted: u64,
    pub(crate) phases: BTreeMap<String, u64>,
    pub(crate) ruled: u64,
    pub(crate) admitted: u64,
    pub(crate) ended: u64,
    pub(crate) client_gone: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) billed: u64,
}

impl Summary {
    /// The figures of all calls: their number, their counts, their quotas.
    pub(crate) fn of<'a>(
        calls: u64,
        counts: &Counts,
        quotas: impl Iterator<Item = &'a Quota>,
        limits: QuotaLimits,
    ) -> Self {
        let count = |outcome: Outcome| counts.outcomes.get(outcome.as_str()).copied().unwrap_or(0);
        let mut summary = Summary {
            simulated: true,
            calls,
            token_counts: counts.counted,
            admitted: counts.admitted,
            throttled: count(Outcome::ThrottledRequests) + count(Outcome::ThrottledTokens),
            client_gone: counts.client_gone,
            in_flight: counts.admitted.saturating_sub(counts.ended),
            outcomes: counts.outcomes.clone(),
            scenario: None,
            phases: counts.phases.clone(),
            ruled: counts.ruled,
            worst_window_requests: 0,
            worst_window_tokens: 0,
            worst_window_tokens_at_admission: 0,
            minutes: Vec::new(),
            average_requests_percent: None,
            average_tokens_percent: None,
            input_tokens: counts.input_tokens,
            output_tokens: counts.output_tokens,
            billed: counts.billed,
        };
        let mut minutes: Vec<Charges> = Vec::new();
        for quota in quotas {
            let (worst, at_admission) = quota.worst();
            summary.worst_window_requests = summary.worst_window_requests.max(worst.requests);
            summary.worst_window_tokens = summary.worst_window_tokens.max(worst.tokens);
            summary.worst_window_tokens_at_admission =
                summary.worst_window_tokens_at_admission.max(at_admission.tokens);
            // With a quota for each model, the minutes are those of the busiest model.
            let tokens = |minutes: &[Charges]| minutes.iter().map(|m| m.tokens).sum::<u64>();
            if minutes.is_empty() || tokens(quota.minutes()) > tokens(&minutes) {
                minutes = quota.minutes().to_vec();
            }
        }
        summary.fill_minutes(&minutes, limits);
        summary
    }

    fn fill_minutes(&mut self, minutes: &[Charges], limits: QuotaLimits) {
        let (requests_limit, tokens_limit) = (limits.requests_per_minute, limits.tokens_per_minute);
        self.minutes = minutes
            .iter()
            .enumerate()
            .map(|(index, charges)| Minute {
                minute: index + 1,
                requests: charges.requests,
                tokens: charges.tokens,
                requests_percent: requests_limit.map(|limit| percent(charges.requests, limit)),
                tokens_percent: tokens_limit.map(|limit| percent(charges.tokens, limit)),
            })
            .collect();
        let Some(whole) = minutes
            .len()
            .checked_sub(1)
            .and_then(|last| minutes.get(1..last))
            .filter(|whole| !whole.is_empty())
        else {
            return;
        };
        let length = u64::try_from(whole.len()).unwrap_or(u64::MAX);
        let average = |sum: u64, limit: u64| percent(sum, limit.saturating_mul(length));
        self.average_requests_percent =
            requests_limit.map(|limit| average(whole.iter().map(|m| m.requests).sum(), limit));
        self.average_tokens_percent =
            tokens_limit.map(|limit| average(whole.iter().map(|m| m.tokens).sum(), limit));
    }
}
