//! Tests of finding values in text.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(find: fn(&str) -> Found<'_>, text: &str, expected: &Expect) {
    let found = find(text);
    let broken = if found.broken_after.is_some() { " then broken" } else { "" };
    expected.assert_eq(&format!("{}{broken}", found.values.join(" | ")));
}

#[test]
fn a_fenced_value_is_found_with_or_without_a_word() {
    check(fenced, "Here:\n```json\n{\"a\":1}\n```\nDone.", &expect![[r#"{"a":1}"#]]);
    check(fenced, "```\n[1]\n``` and ```JSON5 {\"b\":2}```", &expect![[r#"[1] | {"b":2}"#]]);
    check(
        fenced,
        "~~~\n1\n~~~ ```json\n42\n``` ```\n\"text\"\n``` ```true```",
        &expect![[r#"42 | "text""#]],
    );
}

#[test]
fn a_fence_inside_a_string_does_not_end_the_block() {
    check(
        fenced,
        "```json\n{\"code\":\"```rust\\nx\\n```\"}\n```",
        &expect![[r#"{"code":"```rust\nx\n```"}"#]],
    );
}

#[test]
fn a_block_closed_by_the_end_of_the_text_counts() {
    check(fenced, "```json\n{\"a\":1}\n", &expect![[r#"{"a":1}"#]]);
}

#[test]
fn a_block_of_another_language_is_passed_over() {
    check(fenced, "```python\nx = {1}\n```\n\n```json\n{\"a\":1}\n```", &expect![[r#"{"a":1}"#]]);
}

#[test]
fn a_broken_block_after_a_sound_one_is_noticed() {
    check(
        fenced,
        "```json\n{\"a\":1}\n```\n```json\n{\"a\":2,}\n```",
        &expect![[r#"{"a":1} then broken"#]],
    );
    check(
        fenced,
        "```json\n{\"a\":1}\n```\n```json\n{\"a\":2",
        &expect![[r#"{"a":1} then broken"#]],
    );
    check(fenced, "```json\n{\"a\":2,}\n```\n```json\n{\"a\":1}\n```", &expect![[r#"{"a":1}"#]]);
    check(
        fenced,
        "```json\n{\"a\":1}\n```\n```json\n{\"a\":2} // no\n```",
        &expect![[r#"{"a":1} then broken"#]],
    );
}

#[test]
fn outermost_values_are_found_in_prose() {
    check(
        in_prose,
        "The answer is {\"a\":{\"b\":[1]}}, see [1].",
        &expect![[r#"{"a":{"b":[1]}} | [1]"#]],
    );
    check(in_prose, "Of {x, y} take {\"a\":\"}\"} :-[ or not", &expect![[r#"{"a":"}"}"#]]);
}

#[test]
fn pieces_of_broken_or_cut_values_are_not_found() {
    check(in_prose, "{\"a\": {\"b\":1}, oops} {\"c\":3}", &expect![[r#"{"c":3}"#]]);
    check(in_prose, "{\"c\":3} {\"a\": {\"b\":1}, oops}", &expect![[r#"{"c":3} then broken"#]]);
    check(in_prose, "{\"c\":3} {\"a\": {\"b\":1}, \"d", &expect![[r#"{"c":3} then broken"#]]);
    check(in_prose, "[{\"b\":1}, {\"b\":2}", &expect![" then broken"]);
}

#[test]
fn a_lone_bracket_of_prose_hides_nothing() {
    check(in_prose, "a [half open interval: {\"a\":1}", &expect![[r#"{"a":1}"#]]);
    check(in_prose, "pages [1-3] {\"a\":1} pages [4-5]", &expect![[r#"{"a":1}"#]]);
}

#[test]
fn white_space_and_byte_order_marks_are_trimmed() {
    assert_eq!(trim("\u{feff}\u{a0}\n {} \u{feff}\n"), "{}");
}

/// Anything quadratic would take many minutes here.
#[test]
fn hostile_texts_are_searched_in_linear_time() {
    const LENGTH: usize = 1 << 18;
    let pieces = [
        "{",
        "[",
        "{\"a\":",
        "[1,",
        "{ a",
        "[ b",
        "```",
        "```[",
        "```json\n[1,",
        "\"{",
        "[\"",
        "{}",
        "[]",
        "```1```",
        "{ \n",
        "[\"\\\"",
    ];
    for piece in pieces {
        let mut text = piece.repeat(LENGTH / piece.len());
        text.push_str(&" ".repeat(LENGTH));
        for find in [fenced, in_prose] {
            let found = find(&text);
            assert!(found.values.len() <= LENGTH);
        }
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_search(text in "[\\[\\]{}\",:`a1 \\\\\n\u{e9}]{0,200}") {
        for find in [fenced, in_prose] {
            for value in find(&text).values {
                prop_assert!(text.contains(value) && !value.is_empty());
            }
        }
    }

    #[test]
    fn the_reader_counts_no_more_bytes_than_there_are(text in "[\\[\\]{}\",:a1 \n\u{e9}]{0,200}") {
        let mut fuel = Fuel(usize::MAX);
        let _reading = read_value(&text, &mut fuel);
        prop_assert!(usize::MAX - fuel.0 <= text.len() + 1);
    }
}
