//! Keeps a prompt template's special tokens out of the texts that it frames, so that no text can
//! end its own turn or begin another's.
//! Must not know: the templates themselves, bodies, roles.
//!
//! Where a format takes one prompt text, the service turns special tokens in it into control
//! tokens wherever they stand: a user who writes `<|eot_id|>` would end the turn. So every special
//! token that a text holds gets one space after its first character: `< |eot_id|>`, `[ INST]`.
//!
//! Why this and not another way:
//! - *Nothing is removed*, so nothing that is left can close up into a new token. No special token
//!   holds a space. One that stood in the changed text would therefore lie between two of the new
//!   spaces, would have stood in the original too, and would have got its own space: there is none,
//!   however tokens are nested.
//! - *Seams are safe.* The templates put a line break or a space before each text, and no special
//!   token begins with the end of a text and ends within what the template puts after it. A folded
//!   system prompt is joined first and changed afterwards.
//! - *It reads the same to a model.* Measured with the models' own vocabularies, Llama's tokens
//!   spelt as plain text take as many tokens with the space as without. Characters without width
//!   or look-alikes would read the same to people only.
//! - *A text without special tokens keeps every byte.* Llama's all read `<|name|>`; the vocabulary
//!   grows with every model, so every `<|` is taken for a beginning, but for those that cannot be
//!   one and that programs are full of: `<| ` and `<|>`. Mistral's have no common form, so they are
//!   listed: the control tokens of the vocabularies that speak this format, and what Llama 2 and
//!   newer Mistral models put around system prompts and tools.

/// The tokens by which one such space may lengthen a text beyond what its bytes suggest. Measured
/// with the vocabularies of Llama 3, Llama 4 and Mistral: at most 2.8 (`[IMG_BREAK]`, `<|eot|>`
/// 2.5), the token's plain spelling included.
const EXTRA_TOKENS: u64 = 3;

/// What Mistral's instruct models take for control. In their first vocabulary `[INST]` is plain
/// text that they have learned to heed, so it is treated alike.
const MISTRAL: &[&str] = &[
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<<SYS>>",
    "<</SYS>>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_CONTENT]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    // Reserved ones, by number.
    "[control_",
];

/// Whose special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// `<|name|>`.
    Llama,
    /// `<s>`, `[INST]` and their like.
    Mistral,
}

/// Appends a text in which no special token is left.
pub(super) fn push_text(out: &mut String, text: &str, marks: Marks) {
    let mut from = 0;
    for at in beginnings(text, marks) {
        // Special tokens begin with one byte of ASCII, so `next` is a character's boundary.
        let next = at.saturating_add(1);
        out.push_str(text.get(from..next).unwrap_or(""));
        out.push(' ');
        from = next;
    }
    out.push_str(text.get(from..).unwrap_or(""));
}

/// An upper bound of the tokens that `push_text` adds to this text.
pub(super) fn extra_tokens_max(text: &str, marks: Marks) -> u64 {
    beginnings(text, marks).fold(0, |sum, _| sum.saturating_add(EXTRA_TOKENS))
}

/// Where special tokens begin.
fn beginnings(text: &str, marks: Marks) -> impl Iterator<Item = usize> {
    let firsts = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'<' | b'['));
    firsts
        .map(|(at, _)| at)
        .filter(move |at| text.get(*at..).is_some_and(|rest| begins(rest, marks)))
}

fn begins(rest: &str, marks: Marks) -> bool {
    match marks {
        Marks::Llama => rest.strip_prefix("<|").is_some_and(|name| {
            // At a text's end the name could only come from what follows it: better apart.
            name.chars().next().is_none_or(|first| !first.is_whitespace() && first != '>')
        }),
        Marks::Mistral => MISTRAL.iter().any(|mark| rest.starts_with(mark)),
    }
}
