//! Reads JSON that a service sent, also where single characters in it are broken.
//! Must not know: which format is read.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::Unreadable;

/// What stands for a character that cannot be read.
const REPLACEMENT: &str = "\u{fffd}";

/// Reads a JSON object. Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD: an
/// answer is paid for, and one broken character is no reason to lose the rest of it.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    // Derived readers would also take a list of a form's values, which nobody means.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(form("it is no JSON object"));
    }
    serde_json::from_slice(bytes)
        .or_else(|error| match mended(bytes) {
            Some(text) => serde_json::from_str(&text),
            None => Err(error),
        })
        .map_err(|error| form(&error.to_string()))
}

/// The error of a body that is not of its format; such texts may repeat what was read, so they
/// are cut.
pub(super) fn form(text: &str) -> Unreadable {
    const CHARS_MAX: usize = 500;
    let mut shown: String = text.chars().take(CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Unreadable::Form(shown)
}

/// The text with its broken characters replaced; none if there are none.
fn mended(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let is_new = matches!(text, Cow::Owned(_));
    let mut out = String::with_capacity(text.len());
    let mut replaced = false;
    let mut rest: &str = &text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let (kept, after) = escape_at(escape);
        if let Some(kept) = kept {
            out.push('\\');
            out.push_str(kept);
        } else {
            out.push_str(REPLACEMENT);
            replaced = true;
        }
        rest = after;
    }
    out.push_str(rest);
    (is_new || replaced).then_some(out)
}

/// Splits what follows a backslash into the rest of the escape, none for half a surrogate pair,
/// and what comes after it.
fn escape_at(text: &str) -> (Option<&str>, &str) {
    let cut = |at: usize| (text.get(..at), text.get(at..).unwrap_or(""));
    let Some(unit) = unit(text) else {
        // One character, such as `\n` or `\\`; a broken escape is for the reader to refuse.
        return cut(text.chars().next().map_or(0, char::len_utf8));
    };
    let (_, after) = cut(5);
    match unit {
        0xD800..=0xDBFF => {
            let second = after.strip_prefix('\\').and_then(self::unit);
            if second.is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit)) {
                cut(11)
            } else {
                (None, after)
            }
        }
        0xDC00..=0xDFFF => (None, after),
        _ => cut(5),
    }
}

/// The code unit of `uXXXX`.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}
