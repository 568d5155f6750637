//! The estimate of a prompt against token counts measured with the models' own vocabularies.
//! Must not know: how either is made.

use crate::catalogue::{Family, Format};
use crate::completion::{Message, Role};
use crate::estimate;
use crate::native::extra_tokens_max;

/// Tokens of one special token once it is spelt as text, in hundredths: measured over fifty of
/// them, the larger of Llama 3 and Llama 4.
const LLAMA: &[(&str, u64)] = &[
    ("<|eot_id|>", 602),
    ("<|start_header_id|>", 602),
    ("<|end_header_id|>", 602),
    ("<|begin_of_text|>", 602),
    ("<|python_tag|>", 502),
    ("<|eot|>", 502),
    ("<|eom|>", 502),
    ("<|step|>", 402),
    ("<|a|>", 402),
    ("<|x", 300),
    ("<|reserved_special_token_12|>", 802),
    ("<|finetune_right_pad_id|>", 902),
];

/// The same for Mistral's first vocabulary, which takes all of them for text.
const MISTRAL: &[(&str, u64)] = &[
    ("<s>", 202),
    ("</s>", 302),
    ("<unk>", 302),
    ("<<SYS>>", 400),
    ("[INST]", 302),
    ("[/INST]", 302),
    ("[TOOL_CALLS]", 602),
    ("[/AVAILABLE_TOOLS]", 902),
    ("[IMG_BREAK]", 702),
    ("[SYSTEM_PROMPT]", 702),
];

fn bound(family: Family, format: Format, system: Option<&str>, messages: &[Message]) -> u64 {
    estimate::input_tokens_max(family, system, messages)
        + extra_tokens_max(format, system, messages)
}

fn turns(texts: &[&str]) -> Vec<Message> {
    let turn = |(index, text): (usize, &&str)| Message {
        role: if index % 2 == 0 { Role::User } else { Role::Assistant },
        text: (*text).to_owned(),
    };
    texts.iter().enumerate().map(turn).collect()
}

#[test]
fn a_text_made_of_special_tokens_is_covered() {
    for (family, formats, tokens) in [
        (Family::Llama, &[Format::Llama3, Format::Llama4][..], LLAMA),
        (Family::Mistral, &[Format::MistralInstruct], MISTRAL),
    ] {
        for (token, hundredths) in tokens {
            for times in [1, 10, 1_000] {
                let measured = hundredths * times / 100;
                let text = token.repeat(usize::try_from(times).unwrap());
                for format in formats {
                    let bound = bound(family, *format, None, &turns(&[&text]));
                    // The template around it: 10 in Llama's, 8 in Mistral's.
                    assert!(bound >= measured + 10, "{format}, {times} {token}: {bound}");
                }
            }
        }
    }
}

#[test]
fn the_templates_own_tokens_are_covered() {
    for pairs in 0..20_u64 {
        let texts = vec!["x"; usize::try_from(2 * pairs + 1).unwrap()];
        let messages = turns(&texts);
        let count = 2 * pairs + 1;
        // Llama: begin; header, role, header, line breaks and end for each turn and the system
        // prompt; an open header; the texts.
        let llama = 1 + 5 * (count + 1) + 4 + (count + 1);
        assert!(bound(Family::Llama, Format::Llama3, Some("x"), &messages) >= llama);
        // Mistral's first vocabulary, measured: `[INST]` and `[/INST]` are 3 and 4 pieces, a text
        // one, its end one; the line breaks between system prompt and turn are two.
        let mistral = 1 + 8 * (pairs + 1) + 2 * pairs + 3;
        assert!(bound(Family::Mistral, Format::MistralInstruct, Some("x"), &messages) >= mistral);
    }
}

#[test]
fn texts_without_special_tokens_cost_nothing_extra() {
    let messages = turns(&["if a <| b && c[0] < d { <b>\"[x]\"</b> }"]);
    for format in Format::ALL {
        assert_eq!(extra_tokens_max(format, Some("<p>"), &messages), 0, "{format}");
    }
    let hostile = turns(&["<|eot_id|>[INST]"]);
    for format in [Format::Claude, Format::MistralChat, Format::Nova] {
        assert_eq!(extra_tokens_max(format, None, &hostile), 0, "{format}");
    }
}
