//! What every queue takes, as SQS has it: sizes, characters, names. Facts of the service, with which
//! each caller can tell beforehand what a queue would refuse.
//! Must not know: requests, one queue's own limits.

use super::{Attribute, Outgoing};
use crate::job;

/// The largest message and the largest batch that any queue takes, in bytes.
pub const MESSAGE_BYTES_MAX: u64 = 1_048_576;
/// The most messages or receipts of one request.
pub const BATCH_MESSAGES_MAX: usize = 10;
/// The most attributes of one message.
pub const ATTRIBUTES_MAX: usize = 10;
/// The longest group or deduplication id, in characters.
const ID_CHARS_MAX: usize = 128;

impl Attribute {
    /// Its type and its value, as the service has them.
    #[must_use]
    pub fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Text(text) => ("String", text.clone()),
            Self::Number(number) => ("Number", number.to_string()),
        }
    }
}

impl Outgoing {
    /// The size that counts: the body, and each attribute's name, type and value. The trace does not.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let attribute = |(name, value): (&String, &Attribute)| {
            let (kind, value) = value.parts();
            name.len() + kind.len() + value.len()
        };
        let bytes = self.body.len() + self.attributes.iter().map(attribute).sum::<usize>();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Whether a queue keeps an order within groups: its name, which ends its URL and its ARN, says so.
#[must_use]
pub fn is_fifo(name: &str) -> bool {
    const SUFFIX: &str = ".fifo";
    name.ends_with(SUFFIX)
}

/// Whether a body or an attribute may have this character: those of XML 1.0.
#[must_use]
pub fn is_legal(letter: char) -> bool {
    matches!(
        letter,
        '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{1_0000}'..
    )
}

/// JSON text without the two characters that XML, and so a queue, has no word for and JSON does not
/// spell out by itself: they can only stand within strings, where they may be spelt so.
#[must_use]
pub fn spelt_out(json: String) -> String {
    if !json.contains(['\u{FFFE}', '\u{FFFF}']) {
        return json;
    }
    json.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
}

/// Whether a queue takes this for a group or a deduplication id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A group or deduplication id that a queue takes. What is none is stood for by its hash: the same
/// text always by the same.
#[must_use]
pub fn id_of(text: &str) -> String {
    if is_id(text) { text.to_owned() } else { job::digest(text) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message(body: &str) -> Outgoing {
        Outgoing { body: body.to_owned(), ..Outgoing::default() }
    }

    /// A message with one attribute.
    pub(crate) fn with(name: &str, value: Attribute) -> Outgoing {
        let attributes = [(name.to_owned(), value)].into();
        Outgoing { attributes, ..message("x") }
    }

    #[test]
    fn attributes_count_with_their_names_and_types() {
        assert_eq!(message("äb").bytes(), 3);
        assert_eq!(with("size", Attribute::Number(100)).bytes(), 1 + 4 + 6 + 3);
        assert_eq!(with("why", Attribute::Text("no".to_owned())).bytes(), 1 + 3 + 6 + 2);
        let traced = Outgoing { trace: Some("Root=1-2-3".to_owned()), ..message("x") };
        assert_eq!(traced.bytes(), 1);
    }

    #[test]
    fn ids_that_the_service_takes_stay_and_others_become_their_hash() {
        assert_eq!(id_of("team-7/eu"), "team-7/eu");
        for other in ["Müller & Co", "two words", "", &"x".repeat(129)] {
            let hashed = id_of(other);
            assert_eq!(hashed.len(), 64, "{other}");
            assert_eq!(hashed, id_of(other));
        }
        assert_ne!(id_of("Müller"), id_of("Muller "));
    }
}
