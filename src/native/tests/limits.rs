//! An answer's largest size, and what stays when it is passed. Must not know: fixtures.

use serde_json::json;

use crate::catalogue::Format;
use crate::native::{Counted, Gather, Unreadable};

fn llama(text: &str) -> Vec<u8> {
    json!({ "generation": text, "stop_reason": "stop" }).to_string().into_bytes()
}

#[test]
fn an_answer_of_exactly_the_bytes_allowed_is_taken() {
    let mut gather = Gather::new(Format::Llama3, 4);
    assert_eq!(gather.chunk(&llama("ab")), Ok("ab"));
    assert_eq!(gather.chunk(&llama("cd")), Ok("cd"));
    let counted = Counted { input: Some(1), output: Some(2) };
    assert_eq!(gather.finish(counted).unwrap().text, "abcd");
}

#[test]
fn a_longer_answer_keeps_what_fits_in_whole_characters() {
    for whole in [true, false] {
        let mut gather = Gather::new(Format::Llama3, 4);
        let text = llama("abcé");
        let end = if whole { gather.whole(&text) } else { gather.chunk(&text).map(drop) };
        assert_eq!(end, Err(Unreadable::TooLarge));
        assert_eq!(gather.partial().as_deref(), Some("abc"));
    }
}

#[test]
fn text_and_tool_share_the_bytes_allowed() {
    let body = json!({ "stop_reason": "tool_use", "content": [
        { "type": "text", "text": "abc" },
        { "type": "tool_use", "input": { "a": 1 } },
    ]});
    let mut gather = Gather::new(Format::Claude, 9);
    assert_eq!(gather.whole(body.to_string().as_bytes()), Err(Unreadable::TooLarge));
    assert_eq!(gather.partial().as_deref(), Some("abc"));
    let mut gather = Gather::new(Format::Claude, 10);
    assert_eq!(gather.whole(body.to_string().as_bytes()), Ok(()));
}

#[test]
fn a_long_error_is_cut() {
    let body = json!({ "error": "é".repeat(100_000) }).to_string();
    for format in Format::ALL {
        let error = Gather::new(format, 10).whole(body.as_bytes()).unwrap_err();
        assert!(error.to_string().len() < 2_000, "{format}");
    }
}
