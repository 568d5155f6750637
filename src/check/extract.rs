//! Finds JSON values inside a text that is not JSON as a whole.
//! Must not know: schemas, models.
//!
//! Every search here is linear in the text: a value that was read is skipped, a broken one is
//! skipped to its closing bracket, and the bytes read twice by unlucky starts are held to
//! `REREAD_FACTOR` times the text's length, after which the rung counts as broken.

use serde::de::IgnoredAny;

/// How many times its own length a text may be read while looking for values.
const REREAD_FACTOR: usize = 16;
/// The longest word after an opening fence.
const FENCE_WORD_BYTES_MAX: usize = 32;
const FENCE: &str = "```";

/// The values of one rung.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// The texts of the values, in the order of the answer; grammatical, but not yet parsed.
    pub(super) values: Vec<&'a str>,
    /// What is wrong with something that set out to be JSON after the last of `values`.
    pub(super) broken_after: Option<String>,
}

impl<'a> Found<'a> {
    fn value(&mut self, text: &'a str) {
        self.values.push(text);
        self.broken_after = None;
    }

    /// Notes that `text` cannot be read, if it set out to be JSON at all.
    fn broken(&mut self, text: &str, why: impl std::fmt::Display) -> bool {
        let json = sets_out_to_be_json(text);
        if json {
            self.broken_after = Some(why.to_string());
        }
        json
    }

    fn out_of_fuel(&mut self) {
        self.broken_after = Some("too many brackets are never closed".to_owned());
    }
}

/// The text without surrounding white space and byte order marks.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The values that fill a fenced block, with or without a word after the opening fence. A block
/// that the end of the text closes counts too.
pub(super) fn fenced(text: &str) -> Found<'_> {
    let mut found = Found::default();
    let mut fuel = Fuel::for_text(text);
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(FENCE) {
        rest = after;
        let content = skip_fence_word(after).trim_start();
        match read_value(content, &mut fuel) {
            Reading::Value(value, after_value) => {
                // Not the end too: a long blank tail would be read again for every block.
                let tail = after_value.trim_start();
                if tail.is_empty() || tail.starts_with(FENCE) {
                    found.value(value);
                    rest = tail.strip_prefix(FENCE).unwrap_or(tail);
                } else {
                    found.broken(content, "something follows it in its fenced block");
                }
            }
            Reading::Broken(error) => {
                found.broken(content, error);
            }
            Reading::Nothing => {}
        }
        if fuel.is_empty() {
            found.out_of_fuel();
            break;
        }
    }
    found
}

/// The objects and arrays in prose, outermost only.
pub(super) fn in_prose(text: &str) -> Found<'_> {
    let mut found = Found::default();
    let mut fuel = Fuel::for_text(text);
    let mut rest = text;
    while let Some(start) = rest.find(['{', '[']) {
        let (_, from_opener) = rest.split_at(start);
        match read_value(from_opener, &mut fuel) {
            Reading::Value(value, after) => {
                found.value(value);
                rest = after;
            }
            Reading::Broken(error) => {
                let json = found.broken(from_opener, error);
                match skip_balanced(from_opener, &mut fuel) {
                    Some(after) => rest = after,
                    // Cut: whatever is inside is a piece of an unfinished value.
                    None if json => return found,
                    // A lone bracket of prose: the answer may still follow.
                    None => rest = from_opener.get(1..).unwrap_or(""),
                }
            }
            Reading::Nothing => break,
        }
        if fuel.is_empty() {
            found.out_of_fuel();
            break;
        }
    }
    found
}

/// `json`, `JSON5` and the like, on the fence's own line.
fn skip_fence_word(text: &str) -> &str {
    let word = text
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'.'))
        .count();
    let after = text.get(word..).unwrap_or("");
    // Without a break the word is the value itself, such as ```true```.
    let separated = after.starts_with(char::is_whitespace) || after.starts_with(['{', '[', '"']);
    if word <= FENCE_WORD_BYTES_MAX && separated { after } else { text }
}

/// Whether a bracket looks like the start of JSON and not like prose in brackets.
fn sets_out_to_be_json(text: &str) -> bool {
    let mut chars = text.chars().filter(|c| !c.is_whitespace());
    match (chars.next(), chars.next()) {
        (Some('{'), Some('"')) => true,
        // Digits would take in page ranges such as [1-3].
        (Some('['), Some(second)) => matches!(second, '{' | '[' | '"'),
        _ => false,
    }
}

enum Reading<'a> {
    /// The value's text and what follows it.
    Value(&'a str, &'a str),
    /// Why it cannot be read, with a place counted from its own start.
    Broken(serde_json::Error),
    /// No text is left.
    Nothing,
}

/// Bytes that may still be read.
struct Fuel(usize);

impl Fuel {
    fn for_text(text: &str) -> Self {
        Self(text.len().saturating_mul(REREAD_FACTOR))
    }

    fn burn(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }

    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

/// Reads one JSON value from the start of `text`.
fn read_value<'a>(text: &'a str, fuel: &mut Fuel) -> Reading<'a> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match stream.next() {
        Some(Ok(_)) => {
            let (value, after) = text.split_at_checked(stream.byte_offset()).unwrap_or((text, ""));
            fuel.burn(value.len());
            Reading::Value(value, after)
        }
        Some(Err(error)) => {
            fuel.burn(bytes_before(&error, text));
            Reading::Broken(error)
        }
        None => Reading::Nothing,
    }
}

/// How far the parser got, from the line and column of its error.
fn bytes_before(error: &serde_json::Error, text: &str) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(lines_before).map(str::len).sum();
    before.saturating_add(error.column()).max(1)
}

/// What follows the bracket that closes the one at the start, strings skipped; none if it is
/// never closed.
fn skip_balanced<'a>(text: &'a str, fuel: &mut Fuel) -> Option<&'a str> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth = depth.saturating_add(1),
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let end = index.saturating_add(1);
            fuel.burn(end);
            return text.get(end..);
        }
    }
    fuel.burn(text.len());
    None
}

#[cfg(test)]
mod tests;
