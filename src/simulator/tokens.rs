//! How the simulator counts tokens and how fast output burns a quota. Deterministic and cheap, not a
//! tokenizer. Must not know: the wire, quotas.

use super::models;

/// Tokens charged for a request's own framing.
const REQUEST_TOKENS: u64 = 4;
/// Tokens charged for each turn's framing.
const TURN_TOKENS: u64 = 3;

/// Input tokens of a request: a quarter of its UTF-8 bytes (texts, system prompts, tool and output
/// schemas, all together, rounded up once) + 4 + 3 for each turn. That is always below the upper
/// bound that admission works with (a third of the bytes + 10 %, 7 a request, 4 a turn), so a
/// rehearsal never reports more input than was reserved.
pub(crate) fn input_tokens(bytes: usize, turns: usize) -> u64 {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let turns = u64::try_from(turns).unwrap_or(u64::MAX);
    bytes
        .div_ceil(4)
        .saturating_add(REQUEST_TOKENS)
        .saturating_add(turns.saturating_mul(TURN_TOKENS))
}

/// Output tokens of an answer: a quarter of its bytes, rounded up.
pub(crate) fn output_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(4)
}

/// How many bytes of an answer these tokens are, where it is cut.
pub(crate) fn bytes_of(tokens: u64) -> usize {
    usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX)
}

/// How many quota tokens one output token costs: 5 for Claude 3.7 and every Claude from 4 on, 1 for
/// all else. Taken from the model id's own version digits.
pub(crate) fn burndown(model_id: &str) -> u64 {
    match models::claude_version(model_id) {
        Some(version) if version >= (3, 7) => 5,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burndown_follows_the_version_in_the_model_id() {
        for (id, expected) in [
            ("anthropic.claude-3-haiku-20240307-v1:0", 1),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", 1),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", 5),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", 5),
            ("global.anthropic.claude-haiku-4-5-20251001-v1:0", 5),
            ("anthropic.claude-opus-4-6-v1", 5),
            ("anthropic.claude-opus-5-5", 5),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                5,
            ),
            ("anthropic.claude-v2:1", 1),
            ("anthropic.claude-instant-v1", 1),
            ("meta.llama3-1-8b-instruct-v1:0", 1),
            ("amazon.nova-pro-v1:0", 1),
        ] {
            assert_eq!(burndown(id), expected, "{id}");
        }
    }

    #[test]
    fn the_count_stays_below_the_estimators_upper_bound() {
        for bytes in 1..5_000_usize {
            for turns in [1, 2, 9] {
                let bound = (u64::try_from(bytes).unwrap().div_ceil(3) * 11).div_ceil(10)
                    + 7
                    + 4 * u64::try_from(turns).unwrap();
                assert!(input_tokens(bytes, turns) < bound);
            }
        }
    }
}
