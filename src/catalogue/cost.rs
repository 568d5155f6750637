//! What a call costs, in whole micro-dollars.
//! Must not know: which model it was, or who pays.

use super::Prices;
use crate::completion::Usage;

/// Prices are per this many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What this usage costs, in micro-dollars. The four classes are summed exactly and the sum is
/// rounded up once, so that a call never costs less than its share and a thousand small calls are
/// at most a thousand micro-dollars dearer than their sum. A cache class without a price of its own
/// is priced as input.
#[must_use]
pub fn cost_micros(prices: &Prices, usage: &Usage) -> u64 {
    let cache_read = prices.cache_read.unwrap_or(prices.input);
    let cache_write = prices.cache_write.unwrap_or(prices.input);
    let parts = [
        (usage.input, prices.input),
        (usage.output, prices.output),
        (usage.cache_read, cache_read),
        (usage.cache_write, cache_write),
    ];
    let sum = parts.iter().fold(0_u128, |sum, (tokens, price)| {
        sum.saturating_add(u128::from(*tokens).saturating_mul(u128::from(*price)))
    });

    let input_all = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
    let percent = match prices.long_input {
        Some(long) if input_all > long.tokens_above => u128::from(long.percent),
        _ => 100,
    };
    let micros = sum.saturating_mul(percent).div_ceil(TOKENS_PER_PRICE * 100);
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// The most that a call may cost, in micro-dollars: all of `input_max` read and all of `max_tokens`
/// written. Calls ask for no prompt cache, so no input is dearer than the plain one.
#[must_use]
pub fn cost_micros_max(prices: &Prices, input_max: u64, max_tokens: u64) -> u64 {
    let usage = Usage { input: input_max, output: max_tokens, ..Usage::default() };
    cost_micros(prices, &usage)
}
