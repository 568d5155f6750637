//! Takes a prompt apart by its model's own template, as the model would see it: a prompt that is not
//! in it is one user turn, and the call log says so. Must not know: bodies, how templates are
//! written.

use std::borrow::Cow;
use std::ops::Range;

use crate::simulator::heard::{Heard, Speaker, Text};
use crate::simulator::malformed;
use crate::simulator::request::Refusal;

/// The remark on a prompt that is not in its template.
pub(crate) const NOT_IN_TEMPLATE: &str = "the prompt is not in the model's template";

/// Turns of a prompt: who speaks, and where the text stands.
type Turns = Vec<(Speaker, Range<usize>)>;

/// Takes a prompt apart; nothing where it is not in the template.
pub(crate) type Parse = fn(&str) -> Option<Turns>;

/// Takes in a prompt.
pub(crate) fn hear<'a>(
    heard: &mut Heard<'a>,
    prompt: Text<'a>,
    parse: Parse,
) -> Result<(), Refusal> {
    if prompt.is_empty() {
        return Err(malformed::refusal("#/prompt: expected minLength: 1, actual: 0"));
    }
    let Some(turns) = parse(&prompt).filter(alternate) else {
        heard.note = Some(NOT_IN_TEMPLATE);
        heard.turn(Speaker::User, [prompt]);
        return Ok(());
    };
    for (speaker, range) in turns {
        let text = match &prompt.0 {
            Cow::Borrowed(prompt) => Cow::Borrowed(prompt.get(range).unwrap_or_default()),
            Cow::Owned(prompt) => Cow::Owned(prompt.get(range).unwrap_or_default().to_owned()),
        };
        match speaker {
            Speaker::System => heard.system([Text(text)]),
            _ => heard.turn(speaker, [Text(text)]),
        }
    }
    Ok(())
}

/// Whether at most one system text stands first, and the user and the assistant take turns then.
fn alternate(turns: &Turns) -> bool {
    let system = turns.first().is_some_and(|(speaker, _)| *speaker == Speaker::System);
    let mut expected = Speaker::User;
    let alternate = turns.iter().skip(usize::from(system)).all(|(speaker, _)| {
        let fits = *speaker == expected;
        expected = match expected {
            Speaker::User => Speaker::Assistant,
            _ => Speaker::User,
        };
        fits
    });
    alternate && turns.len() > usize::from(system)
}

/// The marks of a Llama template.
struct Marks {
    header: &'static str,
    header_end: &'static str,
    turn_end: &'static str,
}

const BEGIN: &str = "<|begin_of_text|>";

/// `<|begin_of_text|>`, then `<|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|>` for each
/// turn, and at last the assistant's header, with nothing or the answer's beginning after it.
pub(crate) fn llama3(prompt: &str) -> Option<Turns> {
    llama(
        prompt,
        &Marks {
            header: "<|start_header_id|>",
            header_end: "<|end_header_id|>",
            turn_end: "<|eot_id|>",
        },
    )
}

/// As Llama 3's, with shorter marks.
pub(crate) fn llama4(prompt: &str) -> Option<Turns> {
    llama(
        prompt,
        &Marks { header: "<|header_start|>", header_end: "<|header_end|>", turn_end: "<|eot|>" },
    )
}

fn llama(prompt: &str, marks: &Marks) -> Option<Turns> {
    let mut turns = Turns::new();
    let mut rest = prompt.trim_start().strip_prefix(BEGIN)?;
    loop {
        // A line break between a turn's end and the next header stands in the vendor's samples.
        rest = rest.trim_start().strip_prefix(marks.header)?;
        let (role, after) = rest.split_once(marks.header_end)?;
        let after = after.strip_prefix("\n\n").or_else(|| after.strip_prefix('\n'))?;
        let (text, next) = match after.split_once(marks.turn_end) {
            Some((text, next)) => (text, Some(next)),
            None => (after, None),
        };
        if text.contains(marks.header) || text.contains(marks.header_end) || text.contains(BEGIN) {
            return None;
        }
        let speaker = match role {
            "system" => Speaker::System,
            "user" => Speaker::User,
            "assistant" => Speaker::Assistant,
            _ => return None,
        };
        match next {
            Some(next) => {
                turns.push((speaker, place(prompt, text)));
                rest = next;
            }
            None if speaker == Speaker::Assistant => {
                if !text.is_empty() {
                    turns.push((speaker, place(prompt, text)));
                }
                // The answer comes next, so the user has just spoken.
                let user = |(speaker, _): &(Speaker, Range<usize>)| *speaker == Speaker::User;
                let last = turns.iter().rev().nth(usize::from(!text.is_empty()));
                return last.is_some_and(user).then_some(turns);
            }
            None => return None,
        }
    }
}

/// `<s>[INST] USER [/INST]`, then ` ASSISTANT</s>[INST] USER [/INST]` for each further pair; after
/// the last mark nothing, or the answer's beginning.
pub(crate) fn instruct(prompt: &str) -> Option<Turns> {
    let mut turns = Turns::new();
    let mut rest = prompt.trim_start().strip_prefix("<s>")?;
    loop {
        rest = rest.trim_start().strip_prefix("[INST]")?;
        let (user, after) = rest.split_once("[/INST]")?;
        if ["[INST]", "<s>", "</s>"].iter().any(|mark| user.contains(mark)) {
            return None;
        }
        turns.push((Speaker::User, place(prompt, inner(user))));
        let Some((assistant, next)) = after.split_once("</s>") else {
            if ["[INST]", "[/INST]", "<s>"].iter().any(|mark| after.contains(mark)) {
                return None;
            }
            if !after.trim().is_empty() {
                turns.push((Speaker::Assistant, place(prompt, inner(after))));
            }
            return Some(turns);
        };
        if ["[INST]", "[/INST]", "<s>"].iter().any(|mark| assistant.contains(mark)) {
            return None;
        }
        turns.push((Speaker::Assistant, place(prompt, inner(assistant))));
        rest = next;
    }
}

/// A text without the one space that the template puts on either side.
fn inner(text: &str) -> &str {
    let text = text.strip_prefix(' ').unwrap_or(text);
    text.strip_suffix(' ').unwrap_or(text)
}

/// Where a part stands in its whole.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    start..start.wrapping_add(part.len())
}
