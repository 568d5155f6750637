//! What a message may hold, checked before it is sent: one that the service refuses would take the
//! others of its batch with it.
//! Must not know: the SDK, requests, batches.

use sha2::{Digest as _, Sha256};

use crate::message_queue::{Attribute, Outgoing, QueueErrorKind};

/// The most attributes of one message.
const ATTRIBUTES_MAX: usize = 10;
/// The longest name of an attribute, in bytes.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 256;
/// The longest group or deduplication id, in characters.
const ID_CHARS_MAX: usize = 128;

/// The size that counts: the body, and each attribute's name, type and value. The trace does not.
pub(super) fn bytes(message: &Outgoing) -> u64 {
    let attribute = |(name, value): (&String, &Attribute)| {
        let (kind, value) = parts(value);
        name.len() + kind.len() + value.len()
    };
    let bytes = message.body.len() + message.attributes.iter().map(attribute).sum::<usize>();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// An attribute's type and value, as the service has them.
pub(super) fn parts(attribute: &Attribute) -> (&'static str, String) {
    match attribute {
        Attribute::Text(text) => ("String", text.clone()),
        Attribute::Number(number) => ("Number", number.to_string()),
    }
}

/// Why this message cannot be sent to a queue that takes so many bytes.
pub(super) fn refused(message: &Outgoing, bytes_max: u64) -> Option<(QueueErrorKind, String)> {
    let wrong = |why: String| Some((QueueErrorKind::Contents, why));
    if message.body.is_empty() {
        return wrong("its body is empty".to_owned());
    }
    if let Some(c) = message.body.chars().find(|c| !is_legal(*c)) {
        return wrong(format!("its body has the character U+{:04X}", u32::from(c)));
    }
    let number = message.attributes.len();
    if number > ATTRIBUTES_MAX {
        return wrong(format!("{number} attributes are more than {ATTRIBUTES_MAX}"));
    }
    for (name, value) in &message.attributes {
        if !is_attribute_name(name) {
            return wrong(format!("{name:?} is no attribute's name"));
        }
        let (_, value) = parts(value);
        if value.is_empty() {
            return wrong(format!("its attribute {name} is empty"));
        }
        if let Some(c) = value.chars().find(|c| !is_legal(*c)) {
            return wrong(format!("its attribute {name} has the character U+{:04X}", u32::from(c)));
        }
    }
    let bytes = bytes(message);
    (bytes > bytes_max)
        .then(|| (QueueErrorKind::TooLarge, format!("{bytes} bytes are more than {bytes_max}")))
}

/// A group or deduplication id in the characters that the service takes. One that has others, or is
/// longer, is stood for by its hash: the same id always by the same.
pub(super) fn id(text: &str) -> String {
    let length = text.chars().count();
    let plain = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_punctuation();
    if (1..=ID_CHARS_MAX).contains(&length) && text.chars().all(plain) {
        return text.to_owned();
    }
    let digits: Vec<String> =
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Whether a body may have this character: those of XML 1.0.
fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{1_0000}'..)
}

fn is_attribute_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= ATTRIBUTE_NAME_BYTES_MAX && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_queue::QueueErrorKind as Kind;

    fn message(body: &str) -> Outgoing {
        Outgoing {
            body: body.to_owned(),
            attributes: std::collections::BTreeMap::default(),
            group: None,
            deduplication: None,
            trace: None,
        }
    }

    fn with(name: &str, value: Attribute) -> Outgoing {
        let mut message = message("x");
        message.attributes.insert(name.to_owned(), value);
        message
    }

    #[test]
    fn attributes_count_with_their_names_and_types() {
        assert_eq!(bytes(&message("äb")), 3);
        assert_eq!(bytes(&with("size", Attribute::Number(100))), 1 + 4 + 6 + 3);
        assert_eq!(bytes(&with("why", Attribute::Text("no".to_owned()))), 1 + 3 + 6 + 2);
        let traced = Outgoing { trace: Some("Root=1-2-3".to_owned()), ..message("x") };
        assert_eq!(bytes(&traced), 1);
    }

    #[test]
    fn a_message_larger_than_its_queue_takes_is_not_sent() {
        assert_eq!(refused(&message("12345"), 5), None);
        let (kind, why) = refused(&message("123456"), 5).unwrap();
        assert_eq!((kind, why.as_str()), (Kind::TooLarge, "6 bytes are more than 5"));
    }

    #[test]
    fn a_message_that_the_service_would_refuse_is_not_sent() {
        let mut many = message("x");
        for n in 0..11 {
            many.attributes.insert(format!("a{n}"), Attribute::Number(n));
        }
        let table = [
            (message(""), "empty"),
            (message("a\u{0}b"), "U+0000"),
            (message("a\u{FFFE}"), "U+FFFE"),
            (many, "11 attributes"),
            (with("why", Attribute::Text(String::new())), "why is empty"),
            (with("why", Attribute::Text("\u{8}".to_owned())), "U+0008"),
            (with("a b", Attribute::Number(1)), "no attribute's name"),
        ];
        for (message, said) in table {
            let (kind, why) = refused(&message, 1_000).unwrap();
            assert_eq!(kind, Kind::Contents, "{why}");
            assert!(why.contains(said), "{why}");
        }
        assert_eq!(refused(&message("tab\t, line\r\n, é, 漢, 😀, \u{FFFD}"), 1_000), None);
    }

    #[test]
    fn ids_that_the_service_takes_stay_and_others_become_their_hash() {
        assert_eq!(id("team-7/eu"), "team-7/eu");
        for other in ["Müller & Co", "two words", "", &"x".repeat(129)] {
            let hashed = id(other);
            assert_eq!(hashed.len(), 64, "{other}");
            assert_eq!(hashed, id(other));
        }
        assert_ne!(id("Müller"), id("Muller "));
    }
}
