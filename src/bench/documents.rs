//! The documents that are put in: all of one size, each with its number.
//! Must not know: by which door.

/// The size of each document in bytes.
pub(super) const BYTES: usize = 1_024;

/// A document whose prompt begins with its number. With an identity it has an `id` of its own, as
/// documents of a file have. It is made while the measurement runs, so it is made cheaply.
pub(super) fn document(number: u64, has_id: bool) -> String {
    const END: &str = "\",\"max_tokens\":100}";
    let id = if has_id { format!("\"id\":\"bench-{number}\",") } else { String::new() };
    let mut text = String::with_capacity(BYTES);
    text.push('{');
    text.push_str(&id);
    text.push_str("\"prompt\":\"");
    text.push_str(&number.to_string());
    text.push_str(" Summarise this in one sentence. ");
    let pad = BYTES.saturating_sub(text.len().saturating_add(END.len()));
    text.push_str(&"x".repeat(pad));
    text.push_str(END);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_documents_are_of_one_size_and_are_admitted() {
        for (number, has_id) in [(0, false), (7, true), (4_000_000_000, true)] {
            let text = document(number, has_id);
            assert_eq!(text.len(), BYTES);
            let read = crate::job::parse(&text).unwrap();
            assert!(read.prompt.unwrap().starts_with(&format!("{number} ")));
        }
    }
}
