//! A cheap upper bound of a call's input tokens, from bytes alone: what a reservation is made of.
//! Must not know: tokenizers, prices, jobs.
//!
//! # Where the factors come from
//!
//! Measured densities (characters per token of whole texts):
//!
//! | text | Llama 3 | Mixtral | cl100k |
//! | --- | --- | --- | --- |
//! | English prose | 5.00 | 4.44 | 5.00 |
//! | Rust source | 4.53 | 3.31 | 4.53 |
//! | JSON | 3.63 | 2.60 | 3.63 |
//! | German | 3.78 | 3.47 | 3.78 |
//! | Chinese (3 bytes a character) | 1.35 | 1.00 | 1.09 |
//!
//! The divisors below are bytes per token for three classes of bytes, each lower than the worst
//! measured density of that class:
//! - *text* (ASCII without digits): 2.6 for Mistral (its JSON); 3.0 with a tenth of margin for
//!   Llama, Nova, `DeepSeek`, OpenAI and Qwen; 2.2 for Claude, whose tokenizer has no public copy:
//!   cl100k x 1.2 for Claude 3 to 4.6, and up to 1.35 times more from 4.7 on, so 3.63 / 1.62.
//! - *digits*: 1 for Mistral and Claude (a token for each digit is possible), 2 elsewhere (those
//!   vocabularies join up to three, but short numbers stand alone).
//! - *wide* (bytes of characters outside ASCII): 2.6 for Mistral (3.0 measured), 2.7 elsewhere
//!   (3.27), 1.9 for Claude (3.27 / 1.62 = 2.02).
//!
//! It bounds texts, not noise: random bytes in base64 or rare scripts can exceed it. Settlement
//! corrects the budget afterwards, so such a call overdraws once and is never forgotten.

use crate::catalogue::Family;
use crate::completion::Message;

/// Tokens that frame a request: about 7 are seen; 10 leaves room for a family that adds more.
const REQUEST_TOKENS: u64 = 10;
/// Tokens that frame one turn or the system prompt: about 4 are seen.
const TURN_TOKENS: u64 = 8;

/// Thousandths of a token for one byte of each class.
struct Weights {
    text: u64,
    digit: u64,
    wide: u64,
}

fn weights(family: Family) -> Weights {
    match family {
        Family::Claude => Weights { text: 455, digit: 1_000, wide: 527 },
        Family::Mistral => Weights { text: 385, digit: 1_000, wide: 385 },
        Family::Llama | Family::Nova | Family::Deepseek | Family::OpenAi | Family::Qwen => {
            Weights { text: 367, digit: 500, wide: 371 }
        }
    }
}

/// An upper bound of the input tokens of one call, framing included.
#[must_use]
pub fn input_tokens_max(family: Family, system: Option<&str>, messages: &[Message]) -> u64 {
    let texts = system.into_iter().chain(messages.iter().map(|message| message.text.as_str()));
    texts.fold(REQUEST_TOKENS, |sum, text| {
        sum.saturating_add(TURN_TOKENS).saturating_add(text_tokens_max(family, text))
    })
}

/// An upper bound of the tokens of one text, without framing.
#[must_use]
pub fn text_tokens_max(family: Family, text: &str) -> u64 {
    let weights = weights(family);
    let thousandths = text.bytes().fold(0_u64, |sum, byte| {
        let weight = if byte.is_ascii_digit() {
            weights.digit
        } else if byte.is_ascii() {
            weights.text
        } else {
            weights.wide
        };
        sum.saturating_add(weight)
    });
    thousandths.div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Role;

    const FAMILIES: [Family; 7] = [
        Family::Claude,
        Family::Llama,
        Family::Mistral,
        Family::Nova,
        Family::Deepseek,
        Family::OpenAi,
        Family::Qwen,
    ];

    /// The densest measured tokens per thousand characters for a kind of text, with the
    /// unpublished Claude tokenizers taken as cl100k x 1.2 x 1.35.
    fn measured_per_mille(family: Family, others: u64, mistral: u64, cl100k: u64) -> u64 {
        match family {
            Family::Claude => cl100k * 162 / 100,
            Family::Mistral => mistral,
            _ => others.max(cl100k),
        }
    }

    #[track_caller]
    fn check(text: &str, others: u64, mistral: u64, cl100k: u64) {
        let text = text.repeat(50);
        let chars = u64::try_from(text.chars().count()).unwrap();
        for family in FAMILIES {
            let measured = measured_per_mille(family, others, mistral, cl100k) * chars / 1_000;
            let bound = text_tokens_max(family, &text);
            assert!(bound >= measured, "{family:?}: bound {bound} below measured {measured}");
            assert!(bound <= measured * 4, "{family:?}: bound {bound} wastes ({measured})");
        }
    }

    #[test]
    fn english_prose_is_bounded() {
        check("The certificate has to be renewed before the end of the year. ", 200, 225, 200);
    }

    #[test]
    fn json_is_bounded() {
        check(
            r#"{"id":"a-17","name":"Widget","price":12.5,"tags":["new","sale"]},"#,
            276,
            385,
            276,
        );
    }

    #[test]
    fn source_code_is_bounded() {
        check("fn main() {\n    let total = items.iter().sum();\n}\n", 221, 303, 221);
    }

    #[test]
    fn german_is_bounded() {
        check("Die Prüfung muss vor Ablauf des Jahres erneuert werden. ", 265, 289, 265);
    }

    #[test]
    fn chinese_is_bounded() {
        check("证书必须在年底之前更新。", 741, 1_000, 918);
    }

    #[test]
    fn every_turn_and_the_system_prompt_add_framing() {
        let message = |text: &str| Message { role: Role::User, text: text.to_owned() };
        assert_eq!(input_tokens_max(Family::Llama, None, &[]), 10);
        assert_eq!(input_tokens_max(Family::Llama, Some(""), &[message("")]), 26);
        let words = input_tokens_max(Family::Llama, Some("abc"), &[message("abc"), message("d")]);
        assert_eq!(words, 10 + 3 * 8 + 2 + 2 + 1);
    }

    #[test]
    fn the_bound_grows_with_the_text() {
        for family in FAMILIES {
            let short = text_tokens_max(family, "one 2 三");
            assert!(short < text_tokens_max(family, "one 2 三 four"));
        }
    }
}
