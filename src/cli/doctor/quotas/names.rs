//! Reads the names of Service Quotas: which model, which way of calling it, what is counted. Nothing
//! but these names tells which quota belongs to which model.
//! Must not know: the network, what is configured.

/// How a model is called; each way has quotas of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// By its bare id.
    OnDemand,
    /// Through the inference profile of a part of the world.
    CrossRegion,
    /// Through the `global` profile.
    Global,
}

impl Way {
    /// The way of a call to this id.
    pub(super) fn of(model_id: &str, base_id: &str) -> Self {
        if model_id == base_id {
            Self::OnDemand
        } else if model_id.starts_with("global.") || model_id.contains("/global.") {
            Self::Global
        } else {
            Self::CrossRegion
        }
    }
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counts {
    /// Calls started in a minute.
    RequestsPerMinute,
    /// Quota tokens in a minute.
    TokensPerMinute,
    /// Quota tokens in a day.
    TokensPerDay,
}

/// What a quota's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// How the model is called; absent where the quota holds for every way.
    pub(super) way: Option<Way>,
    /// What is counted.
    pub(super) counts: Counts,
    /// The model, as its words.
    pub(super) words: Vec<String>,
}

/// Reads a quota's name; `None` where it limits something else. The wording is matched without
/// regard to case, hyphens and spaces, because it comes in several.
pub(super) fn read(name: &str) -> Option<Named> {
    let lower = name.to_lowercase().replace('-', " ");
    let (what, model) = lower.split_once(" for ")?;
    let what: Vec<&str> = what.split_whitespace().collect();
    let has = |word: &str| what.contains(&word);
    let counts = match (has("requests"), has("tokens"), has("minute"), has("day")) {
        (true, false, true, _) => Counts::RequestsPerMinute,
        (false, true, true, _) => Counts::TokensPerMinute,
        (false, true, _, true) => Counts::TokensPerDay,
        _ => return None,
    };
    let is_inference = has("inference") || has("invocation");
    if !is_inference || has("batch") || has("optimized") {
        return None;
    }
    let way = match (has("global"), has("cross"), has("demand")) {
        (true, _, _) => Some(Way::Global),
        (false, true, _) => Some(Way::CrossRegion),
        (false, false, true) => Some(Way::OnDemand),
        (false, false, false) => None,
    };
    // What stands in brackets is a remark: "(doubled for cross-region calls)".
    let model = model.split('(').next().unwrap_or(model);
    Some(Named { way, counts, words: words(model) })
}

/// Who makes models, and what every model is called besides its name.
const FILLING: [&str; 11] = [
    "anthropic",
    "meta",
    "amazon",
    "mistral",
    "ai",
    "openai",
    "deepseek",
    "qwen",
    "instruct",
    "v1",
    "v0",
];

/// A model's name or id as the words that tell it from others: `anthropic.claude-3-5-sonnet-20241022-v2:0`
/// and `Anthropic Claude 3.5 Sonnet V2` are both `claude 3.5 sonnet v2`.
pub(super) fn words(name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    let name = lower.split(':').next().unwrap_or(&lower);
    let mut words: Vec<String> = Vec::new();
    for part in name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
        // `anthropic.claude` is two words and `4.5` is one.
        let pieces = if part.starts_with(|c: char| c.is_ascii_digit()) {
            vec![part]
        } else {
            part.split('.').collect()
        };
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            push_piece(piece, &mut words);
        }
    }
    words.retain(|word| !FILLING.contains(&word.as_str()) && !is_date(word));
    words
}

/// `llama3` is two words, and a single digit after a single digit is its minor version.
fn push_piece(piece: &str, words: &mut Vec<String>) {
    let letters: String = piece.chars().take_while(char::is_ascii_alphabetic).collect();
    let rest = piece.get(letters.len()..).unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if letters.len() > 1 && is_number(rest) {
        words.push(letters);
        words.push(rest.to_owned());
        return;
    }
    if let Some(last) = words.last_mut() {
        let both_short = piece.len() == 1 && last.len() == 1;
        if both_short && is_number(piece) && is_number(last) {
            last.push('.');
            last.push_str(piece);
            return;
        }
    }
    words.push(piece.to_owned());
}

/// `20241022`.
fn is_date(word: &str) -> bool {
    word.len() == 8 && word.chars().all(|c| c.is_ascii_digit())
}

/// How well a quota's words name a model: 0 is exactly; more is with a slip or without its edition.
pub(super) fn distance(quota: &[String], model: &[String]) -> Option<u32> {
    if quota == model {
        return Some(0);
    }
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort();
        words
    };
    let (quota, model) = (sorted(quota), sorted(model));
    if quota == model {
        return Some(1);
    }
    if is_near(&quota, &model) {
        return Some(2);
    }
    // `mistral-large-2407` shares the quota of "Mistral Large", and "Llama 4 Scout 17B" that of
    // an id which also counts its experts (`17b-16e`).
    let is_edition = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_month = digits == 4 && word.len() == 4;
        let is_experts = word.ends_with('e') && digits + 1 == word.len();
        is_month || is_experts
    };
    let bare: Vec<String> = model.iter().filter(|word| !is_edition(word)).cloned().collect();
    (bare.len() < model.len() && !bare.is_empty() && bare == quota).then_some(3)
}

/// Equal up to one slip in each longer word: "Mixtral 8X7BB".
fn is_near(quota: &[String], model: &[String]) -> bool {
    quota.len() == model.len()
        && quota.iter().zip(model).all(|(quota, model)| quota == model || is_slip(quota, model))
}

/// One letter added, left out or replaced in a word that is more than a number.
fn is_slip(left: &str, right: &str) -> bool {
    const LETTERS_MIN: usize = 4;
    let is_word =
        |word: &str| word.len() >= LETTERS_MIN && word.chars().any(|c| c.is_ascii_alphabetic());
    if !is_word(left) || !is_word(right) {
        return false;
    }
    let common = left.chars().zip(right.chars()).take_while(|(a, b)| a == b).count();
    let (left, right): (Vec<char>, Vec<char>) =
        (left.chars().skip(common).collect(), right.chars().skip(common).collect());
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let longest = left.len().max(right.len());
    // A digit that differs is another size or version, not a slip.
    let differs =
        |word: &[char]| word.iter().take(word.len().saturating_sub(tail)).any(char::is_ascii_digit);
    longest.saturating_sub(tail) <= 1 && !differs(&left) && !differs(&right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaced(name: &str) -> String {
        words(name).join(" ")
    }

    #[test]
    fn ids_and_names_come_to_the_same_words() {
        for (id, name, common) in [
            (
                "anthropic.claude-haiku-4-5-20251001-v1:0",
                "Anthropic Claude Haiku 4.5",
                "claude haiku 4.5",
            ),
            (
                "anthropic.claude-3-5-sonnet-20241022-v2:0",
                "Anthropic Claude 3.5 Sonnet V2",
                "claude 3.5 sonnet v2",
            ),
            (
                "anthropic.claude-3-5-sonnet-20240620-v1:0",
                "Anthropic Claude 3.5 Sonnet",
                "claude 3.5 sonnet",
            ),
            ("anthropic.claude-opus-4-6-v1", "Anthropic Claude Opus 4.6 V1", "claude opus 4.6"),
            ("meta.llama3-1-70b-instruct-v1:0", "Meta Llama 3.1 70B Instruct", "llama 3.1 70b"),
            ("meta.llama3-8b-instruct-v1:0", "Meta Llama 3 8B Instruct", "llama 3 8b"),
            ("amazon.nova-2-lite-v1:0", "Amazon Nova 2 Lite", "nova 2 lite"),
            ("mistral.mistral-large-2402-v1:0", "Mistral AI Mistral Large 2402", "large 2402"),
            ("openai.gpt-oss-120b-1:0", "OpenAI gpt-oss-120b-1", "gpt oss 120b 1"),
        ] {
            assert_eq!(spaced(id), common, "{id}");
            assert_eq!(spaced(name), common, "{name}");
        }
    }

    #[test]
    fn a_quotas_name_says_the_way_and_what_is_counted() {
        let cases = [
            (
                "On-demand model inference requests per minute for Amazon Nova Pro",
                Some((Some(Way::OnDemand), Counts::RequestsPerMinute)),
            ),
            (
                "Cross-Region model inference tokens per minute for Anthropic Claude Haiku 4.5",
                Some((Some(Way::CrossRegion), Counts::TokensPerMinute)),
            ),
            (
                "GLOBAL CROSS-REGION MODEL INFERENCE TOKENS PER DAY FOR X",
                Some((Some(Way::Global), Counts::TokensPerDay)),
            ),
            (
                "Model invocation max tokens per day for Amazon Nova Pro (doubled for cross-region calls)",
                Some((None, Counts::TokensPerDay)),
            ),
            (
                "On-demand, latency-optimized model inference requests per minute for Amazon Nova Pro",
                None,
            ),
            ("Batch inference job size (in GB) for Amazon Nova Pro", None),
            ("Agents per account", None),
        ];
        for (name, expected) in cases {
            let found = read(name).map(|named| (named.way, named.counts));
            assert_eq!(found, expected, "{name}");
        }
        let named =
            read("Model invocation max tokens per day for Amazon Nova Pro (doubled)").unwrap();
        assert_eq!(named.words, ["nova", "pro"]);
    }

    #[test]
    fn typos_are_tolerated_and_other_models_are_not_taken() {
        let far = |quota: &str, id: &str| distance(&words(quota), &words(id));
        let mixtral = "mistral.mixtral-8x7b-instruct-v0:1";
        assert_eq!(far("Mistral AI Mixtral 8X7BB Instruct", mixtral), Some(2));
        assert_eq!(far("Mistral AI Mixtral 8X7B Instruct", mixtral), Some(0));
        assert_eq!(far("Mistral Large", "mistral.mistral-large-2407-v1:0"), Some(3));
        let scout = "meta.llama4-scout-17b-16e-instruct-v1:0";
        assert_eq!(far("Meta Llama 4 Scout 17B Instruct", scout), Some(3));
        assert_eq!(
            far("Anthropic Claude 3.7 Sonnet", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
            None
        );
        assert_eq!(far("Meta Llama 3.1 8B Instruct", "meta.llama3-1-70b-instruct-v1:0"), None);
        assert_eq!(far("Meta Llama 3 70B", "meta.llama3-8b-instruct-v1:0"), None);
        let long = "Anthropic Claude Sonnet 4.5 V1 1M Context Length";
        assert_eq!(far(long, "anthropic.claude-sonnet-4-5-20250929-v1:0"), None);
    }

    #[test]
    fn the_way_is_read_from_the_id_that_is_called() {
        let base = "anthropic.claude-haiku-4-5-20251001-v1:0";
        assert_eq!(Way::of(base, base), Way::OnDemand);
        assert_eq!(Way::of(&format!("eu.{base}"), base), Way::CrossRegion);
        assert_eq!(Way::of(&format!("global.{base}"), base), Way::Global);
    }
}
