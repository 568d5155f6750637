//! The documents that are put in: all of one size, each with its number.
//! Must not know: by which door.

use serde_json::json;

/// The size of each document in bytes.
pub(super) const BYTES: usize = 1_024;

/// A document whose prompt begins with its number. With an identity it has an `id` of its own, as
/// documents of a file have.
pub(super) fn document(number: u64, has_id: bool) -> String {
    let text = |pad: usize| {
        let prompt = format!("{number} Summarise this in one sentence. {:x<pad$}", "");
        if has_id {
            json!({ "id": format!("bench-{number}"), "prompt": prompt, "max_tokens": 100 })
        } else {
            json!({ "prompt": prompt, "max_tokens": 100 })
        }
        .to_string()
    };
    text(BYTES.saturating_sub(text(0).len()))
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
