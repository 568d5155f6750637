//! What a model's id tells: whose model it is, its generation, whether an inference profile stands
//! before it. Must not know: bodies, quotas, prices.

/// Who stands first in a base id; what stands before them is a profile's prefix (`us.`, `global.`).
const VENDORS: [&str; 16] = [
    "ai21",
    "amazon",
    "anthropic",
    "cohere",
    "deepseek",
    "google",
    "luma",
    "meta",
    "minimax",
    "mistral",
    "moonshot",
    "nvidia",
    "openai",
    "qwen",
    "stability",
    "writer",
];

/// A model as an id names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    /// The base id, without a profile's prefix and without an ARN around it.
    pub(crate) base: &'a str,
    /// Whether it is reached through an inference profile.
    pub(crate) profile: bool,
}

/// The model that an id names, or nothing: the ARNs of application profiles, provisioned throughput
/// and imported models do not say what stands behind them.
pub(crate) fn named(model_id: &str) -> Option<Named<'_>> {
    if !model_id.starts_with("arn:") {
        return Some(without_prefix(model_id));
    }
    let (kind, id) = model_id.splitn(6, ':').nth(5)?.split_once('/')?;
    match kind {
        "foundation-model" => Some(Named { base: id, profile: false }),
        "inference-profile" => Some(Named { profile: true, ..without_prefix(id) }),
        _ => None,
    }
}

fn without_prefix(id: &str) -> Named<'_> {
    let vendor = |rest: &str| rest.split('.').next().is_some_and(|v| VENDORS.contains(&v));
    match id.split_once('.') {
        Some((_, rest)) if rest.contains('.') && vendor(rest) && !vendor(id) => {
            Named { base: rest, profile: true }
        }
        _ => Named { base: id, profile: false },
    }
}

/// Whether this may be a model's id, an inference profile's id or an ARN of either.
pub(crate) fn plausible(id: &str) -> bool {
    if let Some(arn) = id.strip_prefix("arn:aws") {
        return arn.contains(":bedrock:") && !id.ends_with(['/', ':']);
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let mut parts = id.split('.');
    id.len() <= 256
        && id.chars().all(known)
        && parts.next().is_some_and(|vendor| !vendor.is_empty())
        && parts.next().is_some_and(|name| !name.is_empty())
}

/// The generation of a Claude model, such as (4, 5); nothing for other models.
pub(crate) fn claude_version(model_id: &str) -> Option<(u64, u64)> {
    let (_, name) = model_id.rsplit_once("anthropic.claude-")?;
    // Both orders occur: `claude-3-7-sonnet-2025…` and `claude-sonnet-4-5-2025…`. Numbers longer
    // than two digits are dates.
    let mut version = name
        .split(['-', '.', ':'])
        .filter(|part| part.len() <= 2)
        .filter_map(|part| part.parse::<u64>().ok());
    Some((version.next().unwrap_or(0), version.next().unwrap_or(0)))
}

/// Whether the model takes no `temperature`, `top_p` and `top_k`: Claude from 4.7 on.
pub(crate) fn refuses_sampling(model_id: &str) -> bool {
    claude_version(model_id).is_some_and(|version| version >= (4, 7))
}

/// Whether the model refuses to go on from an assistant's turn: Claude from 4.6 on.
pub(crate) fn refuses_prefill(model_id: &str) -> bool {
    claude_version(model_id).is_some_and(|version| version >= (4, 6))
}

/// Whether the model is served through inference profiles alone: Claude from 3.7 on.
pub(crate) fn needs_profile(model_id: &str) -> bool {
    claude_version(model_id).is_some_and(|version| version >= (3, 7))
}

/// Whether `CountTokens` knows the model: Claude 3 to 4.6. Which of the Claude 3 models it knows is
/// not published; all are taken.
pub(crate) fn counts_tokens(model_id: &str) -> bool {
    claude_version(model_id).is_some_and(|version| ((3, 0)..=(4, 6)).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_model_and_whether_a_profile_stands_before_it() {
        let haiku = "anthropic.claude-haiku-4-5-20251001-v1:0";
        let account = "arn:aws:bedrock:us-east-1:123456789012:";
        for (id, expected) in [
            (haiku.to_owned(), Some((haiku, false))),
            (format!("us.{haiku}"), Some((haiku, true))),
            (format!("us-gov.{haiku}"), Some((haiku, true))),
            (format!("arn:aws:bedrock:us-east-1::foundation-model/{haiku}"), Some((haiku, false))),
            (format!("{account}inference-profile/global.{haiku}"), Some((haiku, true))),
            (format!("{account}application-inference-profile/abc123"), None),
            (format!("{account}provisioned-model/abc123"), None),
            (format!("{account}imported-model/abc123"), None),
            ("qwen.qwen3-32b-v1:0".to_owned(), Some(("qwen.qwen3-32b-v1:0", false))),
        ] {
            let found = named(&id).map(|named| (named.base, named.profile));
            assert_eq!(found, expected, "{id}");
        }
    }

    #[test]
    fn a_generation_tells_what_a_claude_refuses() {
        for (id, sampling, prefill, profile, counts) in [
            ("anthropic.claude-3-haiku-20240307-v1:0", false, false, false, true),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", false, false, true, true),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", false, false, true, true),
            ("us.anthropic.claude-sonnet-4-6", false, true, true, true),
            ("us.anthropic.claude-opus-4-7", true, true, true, false),
            ("us.anthropic.claude-haiku-5-5", true, true, true, false),
            ("anthropic.claude-v2:1", false, false, false, false),
            ("meta.llama4-scout-17b-instruct-v1:0", false, false, false, false),
        ] {
            assert_eq!(refuses_sampling(id), sampling, "{id}");
            assert_eq!(refuses_prefill(id), prefill, "{id}");
            assert_eq!(needs_profile(id), profile, "{id}");
            assert_eq!(counts_tokens(id), counts, "{id}");
        }
    }
}
