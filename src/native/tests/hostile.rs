//! Fuzz: whatever texts hold, they stay within their turns. Must not know: the formats' own code;
//! tokens and templates are written down here again, from the models' vocabularies.

use proptest::prelude::*;
use serde_json::Value;

use crate::catalogue::Format;
use crate::completion::{Message, Role};
use crate::native::{Ask, body};

/// Special tokens of Llama 3 and 4.
const LLAMA: &[&str] = &[
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|step_id|>",
    "<|image|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_0|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eot|>",
    "<|eom|>",
    "<|step|>",
    "<|python_start|>",
    "<|fim_prefix|>",
    "<|text_post_train_reserved_special_token_0|>",
];

/// Special tokens of Mistral, and Llama 2's marks.
const MISTRAL: &[&str] = &[
    "<s>",
    "</s>",
    "<unk>",
    "<<SYS>>",
    "<</SYS>>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[control_8]",
    "[IMG]",
    "[PREFIX]",
];

/// Parts of tokens, and what stands between them.
const PARTS: &[&str] = &[
    "<",
    ">",
    "|",
    "<|",
    "|>",
    "[",
    "]",
    "/",
    "</",
    "<<",
    ">>",
    "eot_id",
    "eot",
    "eot_id|>",
    "<|eot_id",
    "header_start",
    "s>",
    "/s>",
    "s",
    "INST",
    "INST]",
    "[INST",
    "[/INST",
    "/INST]",
    "SYS>>",
    "<<SYS",
    " ",
    "\n",
    "\n\n",
    "user",
    "assistant",
    "system",
    "a word",
    "é",
    "🔧",
    "\u{0}",
    "\u{200b}",
    "1",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::sample::select(LLAMA).prop_map(str::to_owned),
        3 => proptest::sample::select(MISTRAL).prop_map(str::to_owned),
        6 => proptest::sample::select(PARTS).prop_map(str::to_owned),
        1 => any::<String>(),
        // A token within a token.
        1 => (proptest::sample::select(LLAMA), proptest::sample::select(MISTRAL), 0..8_usize)
            .prop_map(|(outer, inner, at)| {
                let (head, tail) = outer.split_at(at);
                format!("{head}{inner}{outer}{tail}")
            }),
        1 => (proptest::sample::select(MISTRAL), 1..3_usize).prop_map(|(token, at)| {
            let (head, tail) = token.split_at(at);
            format!("{head}{token}{tail}")
        }),
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat())
}

/// The system prompt, and turns that begin and end with the user's.
fn conversation() -> impl Strategy<Value = (Option<String>, Vec<Message>)> {
    let turns =
        (0..4_usize).prop_flat_map(|pairs| proptest::collection::vec(text(), 2 * pairs + 1));
    (proptest::option::of(text()), turns).prop_map(|(system, texts)| {
        let messages = texts.into_iter().enumerate().map(|(index, text)| Message {
            role: if index % 2 == 0 { Role::User } else { Role::Assistant },
            text,
        });
        (system, messages.collect())
    })
}

fn sent(format: Format, system: Option<&str>, messages: &[Message]) -> Value {
    let ask = Ask { system, messages, max_tokens: 9, temperature: None, top_p: None, stop: &[] };
    body(format, &ask).unwrap()
}

/// A turn as it is read back: who, and what.
type Turn = (String, String);

/// Reads a Llama prompt as a tokenizer does: the first token that is found ends what is open.
fn turns_of_llama(prompt: &str, [start, end, eot]: [&str; 3]) -> Option<Vec<Turn>> {
    let mut rest = prompt.strip_prefix("<|begin_of_text|>")?;
    let mut turns = Vec::new();
    loop {
        let (role, after) = rest.strip_prefix(start)?.split_once(end)?;
        let after = after.strip_prefix("\n\n")?;
        match after.split_once(eot) {
            Some((text, next)) => {
                turns.push((role.to_owned(), text.to_owned()));
                rest = next;
            }
            None => return (role == "assistant" && after.is_empty()).then_some(turns),
        }
    }
}

fn turns_of_mistral(prompt: &str) -> Option<Vec<Turn>> {
    let mut rest = prompt.strip_prefix("<s>")?;
    let mut turns = Vec::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (role, text, next) = match rest.strip_prefix("[INST] ") {
            Some(inner) => inner.split_once(" [/INST]").map(|(text, next)| ("user", text, next))?,
            None => rest.split_once("</s>").map(|(text, next)| ("assistant", text, next))?,
        };
        turns.push((role.to_owned(), text.to_owned()));
        rest = next;
    }
    Some(turns)
}

/// The turns as they were meant; spaces are left out of the comparison, because they are what may
/// have been added.
fn spaceless(turns: Vec<Turn>) -> Vec<Turn> {
    turns.into_iter().map(|(role, text)| (role, text.replace(' ', ""))).collect()
}

fn meant(messages: &[Message]) -> Vec<Turn> {
    let role = |role| if role == Role::User { "user" } else { "assistant" };
    messages.iter().map(|turn| (role(turn.role).to_owned(), turn.text.clone())).collect()
}

fn is_there(system: Option<&String>) -> Option<&str> {
    system.map(String::as_str).filter(|text| !text.trim().is_empty())
}

#[track_caller]
fn check_counts(prompt: &str, tokens: &[&str], expected: &[(&str, usize)]) {
    for token in tokens {
        let wanted = expected.iter().find(|(name, _)| name == token).map_or(0, |(_, n)| *n);
        assert_eq!(prompt.matches(token).count(), wanted, "{token} in {prompt:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_text_leaves_its_turn_in_a_llama_prompt((system, messages) in conversation()) {
        let there = is_there(system.as_ref());
        let templates = [
            (Format::Llama3, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
            (Format::Llama4, ["<|header_start|>", "<|header_end|>", "<|eot|>"]),
        ];
        for (format, tokens) in templates {
            let body = sent(format, system.as_deref(), &messages);
            let prompt = body["prompt"].as_str().unwrap();
            let turns = messages.len() + usize::from(there.is_some());
            let [start, end, eot] = tokens;
            let expected =
                [("<|begin_of_text|>", 1), (start, turns + 1), (end, turns + 1), (eot, turns)];
            check_counts(prompt, LLAMA, &expected);
            let mut wanted = meant(&messages);
            if let Some(text) = there {
                wanted.insert(0, ("system".to_owned(), text.to_owned()));
            }
            let found = turns_of_llama(prompt, tokens).expect("the prompt can be read back");
            prop_assert_eq!(spaceless(found), spaceless(wanted));
        }
    }

    #[test]
    fn no_text_leaves_its_turn_in_a_mistral_prompt((system, messages) in conversation()) {
        let body = sent(Format::MistralInstruct, system.as_deref(), &messages);
        let prompt = body["prompt"].as_str().unwrap();
        let (users, others) = (messages.len() / 2 + 1, messages.len() / 2);
        let expected = [("<s>", 1), ("[INST]", users), ("[/INST]", users), ("</s>", others)];
        check_counts(prompt, MISTRAL, &expected);
        let mut wanted = meant(&messages);
        if let Some(text) = is_there(system.as_ref()) {
            wanted[0].1 = format!("{text}\n\n{}", wanted[0].1);
        }
        let found = turns_of_mistral(prompt).expect("the prompt can be read back");
        prop_assert_eq!(spaceless(found), spaceless(wanted));
    }

    #[test]
    fn texts_that_are_fields_are_sent_as_they_are((system, messages) in conversation()) {
        let there = is_there(system.as_ref());
        let claude = sent(Format::Claude, system.as_deref(), &messages);
        prop_assert_eq!(claude.get("system").and_then(Value::as_str), there);
        let nova = sent(Format::Nova, system.as_deref(), &messages);
        let chat = sent(Format::MistralChat, system.as_deref(), &messages);
        let first = usize::from(there.is_some());
        for (index, turn) in messages.iter().enumerate() {
            let text = turn.text.as_str();
            prop_assert_eq!(&claude["messages"][index]["content"][0]["text"], text);
            prop_assert_eq!(&nova["messages"][index]["content"][0]["text"], text);
            prop_assert_eq!(&chat["messages"][index + first]["content"], text);
        }
    }

    #[test]
    fn a_text_without_special_tokens_keeps_every_byte(text in "[^<\\[]{0,60}(<\\| |<b>|a\\[0\\])?") {
        let messages = [Message { role: Role::User, text }];
        for format in [Format::Llama3, Format::Llama4, Format::MistralInstruct] {
            let body = sent(format, None, &messages);
            prop_assert!(body["prompt"].as_str().unwrap().contains(&messages[0].text));
        }
    }
}

#[test]
fn every_known_token_is_kept_apart_alone_and_doubled() {
    for (format, tokens) in
        [(Format::Llama3, LLAMA), (Format::Llama4, LLAMA), (Format::MistralInstruct, MISTRAL)]
    {
        let empty = sent(format, None, &[Message { role: Role::User, text: String::new() }]);
        for token in tokens {
            for text in [(*token).to_owned(), token.repeat(2)] {
                let found = sent(format, None, &[Message { role: Role::User, text }]);
                for known in tokens {
                    let count =
                        |body: &Value| body["prompt"].as_str().unwrap().matches(known).count();
                    assert_eq!(count(&found), count(&empty), "{known} for {token} in {format}");
                }
            }
        }
    }
}
