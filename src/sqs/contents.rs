//! What a message may hold, checked before it is sent: one that the service refuses would take the
//! others of its batch with it.
//! Must not know: the SDK, requests, batches.

use crate::message_queue::{ATTRIBUTES_MAX, Outgoing, QueueErrorKind, is_legal};

/// The longest name of an attribute, in bytes.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 256;

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
        let (_, value) = value.parts();
        if value.is_empty() {
            return wrong(format!("its attribute {name} is empty"));
        }
        if let Some(c) = value.chars().find(|c| !is_legal(*c)) {
            return wrong(format!("its attribute {name} has the character U+{:04X}", u32::from(c)));
        }
    }
    let bytes = message.bytes();
    (bytes > bytes_max)
        .then(|| (QueueErrorKind::TooLarge, format!("{bytes} bytes are more than {bytes_max}")))
}

fn is_attribute_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= ATTRIBUTE_NAME_BYTES_MAX && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_queue::tests::{message, with};
    use crate::message_queue::{Attribute, QueueErrorKind as Kind};

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
}
