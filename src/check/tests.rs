//! Tests of the whole room: completions in, verdicts out.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "the tool that updates expected texts writes them so"
)]

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::completion::Usage;

fn completion(text: &str, stop: StopReason) -> Completion {
    Completion {
        text: text.to_owned(),
        stop,
        usage: Usage::default(),
        request_id: None,
        first_token_ms: None,
        total_ms: 0,
    }
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
        "additionalProperties": false,
    })
}

fn verdict(text: &str, schema: &Value) -> Verdict {
    let limits = Limits::default();
    let schema = compile(schema, &limits).unwrap();
    super::check(&completion(text, StopReason::EndTurn), Some(&schema), &limits)
}

fn shown(verdict: Verdict) -> String {
    match verdict {
        Ok(checked) => {
            format!("{}: {}", checked.provenance, checked.output.unwrap_or("(text)".to_owned()))
        }
        Err(failed) => {
            let mut out = format!("{failed}{}", if failed.reask { " (re-ask)" } else { "" });
            for error in failed.errors {
                write!(out, "\n  \"{}\" {}", error.pointer, error.message).unwrap();
            }
            out
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    check_against(&person(), text, expected);
}

#[track_caller]
fn check_against(schema: &Value, text: &str, expected: &Expect) {
    expected.assert_eq(&shown(verdict(text, schema)));
}

#[test]
fn a_plain_answer_passes_directly() {
    check(r#"{"name":"Ann","age":3}"#, &expect![[r#"direct: {"name":"Ann","age":3}"#]]);
    check(
        "\u{feff}\n {\"name\": \"Ann\", \"age\": 3}\n\n",
        &expect![[r#"direct: {"name": "Ann", "age": 3}"#]],
    );
}

#[test]
fn a_wrapped_answer_is_extracted() {
    check(
        "Sure!\n```json\n{\"name\":\"Ann\",\"age\":3}\n```\nAnything else?",
        &expect![[r#"extracted: {"name":"Ann","age":3}"#]],
    );
    check(
        "The person is {\"name\":\"Ann\",\"age\":3}, as [1] says.",
        &expect![[r#"extracted: {"name":"Ann","age":3}"#]],
    );
}

#[test]
fn the_last_value_that_fits_wins() {
    check(
        "Draft: {\"name\":\"Bob\",\"age\":1}. Final: {\"name\":\"Ann\",\"age\":3}. See {\"x\":[1]}.",
        &expect![[r#"extracted: {"name":"Ann","age":3}"#]],
    );
}

#[test]
fn a_fenced_value_goes_before_prose() {
    check(
        "```json\n{\"name\":\"Ann\",\"age\":3}\n```\nNot {\"name\":\"Bob\",\"age\":1}.",
        &expect![[r#"extracted: {"name":"Ann","age":3}"#]],
    );
}

#[test]
fn an_earlier_draft_does_not_pass_for_a_broken_conclusion() {
    check(
        "{\"name\":\"Bob\",\"age\":1} no: {\"name\":\"Ann\",\"age\":3",
        &expect![
            "invalid_json: the last JSON value in the answer is broken: EOF while parsing an object at line 1 column 21 (re-ask)"
        ],
    );
    check(
        "```json\n{\"name\":\"Bob\",\"age\":1}\n```\n```json\n{\"name\":\"Ann\" \"age\":3}\n```",
        &expect![
            "invalid_json: the last JSON value in the answer is broken: expected `,` or `}` at line 1 column 15 (re-ask)"
        ],
    );
}

#[test]
fn a_sound_piece_of_an_answer_does_not_pass_for_the_whole() {
    check(
        r#"{"people": [{"name":"Ann","age":3}], "count": }"#,
        &expect![
            "invalid_json: the last JSON value in the answer is broken: expected value at line 1 column 47 (re-ask)"
        ],
    );
    check(
        r#"{"people": [{"name":"Ann","age":3}], "count": 1}"#,
        &expect![[r#"
            schema_mismatch: the answer does not fit the schema (re-ask)
              "" "name" is a required property
              "" "age" is a required property
              "" Additional properties are not allowed ('people', 'count' were unexpected)"#]],
    );
}

#[test]
fn every_mismatch_is_listed_with_its_place() {
    check(
        r#"{"name":7,"age":-1,"extra":null}"#,
        &expect![[r#"
        schema_mismatch: the answer does not fit the schema (re-ask)
          "/name" 7 is not of type "string"
          "/age" -1 is less than the minimum of 0
          "" Additional properties are not allowed ('extra' was unexpected)"#]],
    );
    check(
        "Here you go: [1, 2]",
        &expect![[r#"
        schema_mismatch: the answer does not fit the schema (re-ask)
          "" [1,2] is not of type "object""#]],
    );
}

#[test]
fn an_error_list_is_bounded() {
    let schema = json!({"type": "array", "items": {"type": "string"}});
    let answer = Value::from(vec![1; 100]).to_string();
    let failed = verdict(&answer, &schema).unwrap_err();
    assert_eq!(failed.errors.len(), 10);
    let long = Value::from("é".repeat(10_000)).to_string();
    let failed = verdict(&long, &json!({"type": "integer"})).unwrap_err();
    assert!(failed.errors[0].message.len() <= 300 + '…'.len_utf8());
}

#[test]
fn no_json_at_all_is_said_so() {
    check(
        "I would rather not.",
        &expect![
            "invalid_json: no JSON value could be read from the answer: expected value at line 1 column 1 (re-ask)"
        ],
    );
    check(
        "{\"name\": 'Ann'}",
        &expect![
            "invalid_json: the last JSON value in the answer is broken: expected value at line 1 column 10 (re-ask)"
        ],
    );
}

#[test]
fn a_stop_before_the_end_is_an_outcome_whatever_the_text() {
    let limits = Limits::default();
    let schema = compile(&person(), &limits).unwrap();
    let mut out = String::new();
    for stop in [
        StopReason::MaxTokens,
        StopReason::Refusal,
        StopReason::ContentFiltered,
        StopReason::GuardrailIntervened,
        StopReason::Malformed,
        StopReason::StopSequence,
        StopReason::ToolUse,
        StopReason::Other,
    ] {
        let answer = completion(r#"{"name":"Ann","age":3}"#, stop);
        let with_schema = shown(super::check(&answer, Some(&schema), &limits));
        let without = shown(super::check(&answer, None, &limits)).replace("(text)", "...");
        writeln!(out, "{stop:?}: {with_schema}").unwrap();
        assert_eq!(with_schema.split(':').next(), without.split(':').next());
    }
    expect![[r#"
        MaxTokens: truncated: the answer was cut at max_tokens or at the end of the model's window; raise max_tokens or ask for less
        Refusal: refused: the model declined to answer
        ContentFiltered: filtered: a content filter stopped the answer
        GuardrailIntervened: guardrail: a guardrail stopped the answer
        Malformed: invalid_json: the provider could not read the model's own output (re-ask)
        StopSequence: direct: {"name":"Ann","age":3}
        ToolUse: direct: {"name":"Ann","age":3}
        Other: direct: {"name":"Ann","age":3}
    "#]].assert_eq(&out);
}

#[test]
fn text_without_a_schema_is_taken_as_it_is_unless_it_is_blank() {
    let limits = Limits::default();
    let plain = |text| super::check(&completion(text, StopReason::EndTurn), None, &limits);
    assert_eq!(plain(" Hello.\0 ").unwrap().text, " Hello.\0 ");
    assert_eq!(plain("Hello.").unwrap().output, None);
    for blank in ["", " \n", "\u{feff}"] {
        let failed = plain(blank).unwrap_err();
        assert_eq!((failed.kind, failed.reask), (ErrorKind::Empty, true));
    }
}

#[test]
fn an_answer_longer_than_the_limit_is_not_looked_at() {
    let limits = Limits { answer_bytes_max: 10, ..Limits::default() };
    let answer = completion("12345678901", StopReason::EndTurn);
    let failed = super::check(&answer, None, &limits).unwrap_err();
    assert_eq!((failed.kind, failed.reask), (ErrorKind::AnswerTooLarge, false));
    assert!(failed.message.contains("answer_bytes_max (10)"));
}

#[test]
fn odd_json_is_kept_byte_for_byte_or_refused() {
    let anything = json!(true);
    // Numbers and duplicate keys as the model wrote them.
    check_against(
        &anything,
        r#"{"a":1e2,"a":1.50,"b":123456789012345678901234567890}"#,
        &expect![[r#"direct: {"a":1e2,"a":1.50,"b":123456789012345678901234567890}"#]],
    );
    check_against(
        &json!({"properties": {"a": {"const": 2}}}),
        r#"{"a":1,"a":2}"#,
        &expect![[r#"direct: {"a":1,"a":2}"#]],
    );
    // An escaped NUL is JSON; a raw one is not.
    check_against(&anything, r#"{"a":"\u0000"}"#, &expect![[r#"direct: {"a":"\u0000"}"#]]);
    check_against(
        &anything,
        "{\"a\":\"\0\"}",
        &expect![[
            r#"invalid_json: the last JSON value in the answer is broken: control character (\u0000-\u001F) found while parsing a string at line 1 column 6 (re-ask)"#
        ]],
    );
    check_against(&anything, "\0\0{\"a\":1}", &expect![[r#"extracted: {"a":1}"#]]);
    // Half a surrogate pair, a number beyond all floats, and scalars.
    check_against(
        &anything,
        r#"{"a":"\ud800"}"#,
        &expect![
            "invalid_json: no JSON value could be read from the answer: unexpected end of hex escape at line 1 column 13 (re-ask)"
        ],
    );
    check_against(
        &anything,
        r#"{"a":"\ud83d\ude00"}"#,
        &expect![[r#"direct: {"a":"\ud83d\ude00"}"#]],
    );
    check_against(
        &anything,
        "[1e999]",
        &expect![
            "invalid_json: no JSON value could be read from the answer: number out of range at line 1 column 6 (re-ask)"
        ],
    );
    check_against(&anything, "\"text\"", &expect![[r#"direct: "text""#]]);
    check_against(&anything, "null", &expect!["direct: null"]);
    check_against(
        &anything,
        "NaN",
        &expect![
            "invalid_json: no JSON value could be read from the answer: expected value at line 1 column 1 (re-ask)"
        ],
    );
}

#[test]
fn json_nested_deeper_than_the_parser_allows_is_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(verdict(&deep(127), &json!(true)).is_ok());
    for levels in [128, 1_000, 200_000] {
        let failed = verdict(&deep(levels), &json!(true)).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::InvalidJson);
        let prose = format!("Answer: {}", deep(levels));
        assert_eq!(verdict(&prose, &json!(true)).unwrap_err().kind, ErrorKind::InvalidJson);
    }
}

#[test]
fn a_provenance_is_written_as_text() {
    let mut provenance = Provenance::new(Source::Extracted);
    assert_eq!(provenance.to_string(), "extracted");
    provenance.repairs = vec!["trailing_comma".to_owned(), "quotes".to_owned()];
    let provenance = provenance.reasked(2);
    let expected = "\"extracted+repaired:[trailing_comma,quotes]+reasked:2\"";
    assert_eq!(serde_json::to_string(&provenance).unwrap(), expected);
    for (source, text) in [(Source::Native, "native"), (Source::Tool, "tool")] {
        assert_eq!(Provenance::new(source).to_string(), text);
    }
}

#[test]
fn a_re_ask_shows_the_answer_and_the_errors() {
    let answer = r#"{"name":7,"age":-1}"#;
    let failed = verdict(answer, &person()).unwrap_err();
    let messages = reask_messages(answer, &failed, &Limits::default());
    let shown: Vec<_> = messages.iter().map(|m| format!("[{:?}]\n{}", m.role, m.text)).collect();
    expect![[r#"
        [Assistant]
        {"name":7,"age":-1}
        [User]
        This answer cannot be used: the answer does not fit the schema.
        - /name: 7 is not of type "string"
        - /age: -1 is less than the minimum of 0

        Write the whole answer again, corrected: exactly one JSON value that fits the JSON Schema, with nothing before it and nothing after it."#]].assert_eq(&shown.join("\n"));
}

#[test]
fn a_re_ask_is_bounded_and_never_empty() {
    let failed = Failed::reask(ErrorKind::Empty, "the model returned nothing");
    let limits = Limits { reask_answer_bytes_max: 8, ..Limits::default() };
    let first = |answer: &str| reask_messages(answer, &failed, &limits)[0].text.clone();
    assert_eq!(first(" \n"), "(no answer)");
    assert_eq!(first("12345678"), "12345678");
    assert_eq!(first("1234ééé5678"), "1234\n[... 6 bytes left out ...]\n5678");
}

/// Any JSON value, as text in varied spacing.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| json!(f).to_string()),
        ".{0,20}".prop_map(|text| json!(text).to_string()),
        "[`{}\\[\\]\"\\\\\n]{0,10}".prop_map(|text| json!(text).to_string()),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[ {} ]", items.join(" ,\n"))),
            proptest::collection::vec((".{0,8}", inner), 0..5).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("{}: {value}", json!(key))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn output_of(text: &str, schema: &Value) -> Option<String> {
    verdict(text, schema).unwrap().output
}

/// Listing the errors of every one of them would take minutes.
#[test]
fn many_small_values_that_do_not_fit_are_passed_over_quickly() {
    let text = format!("x {}", "{\"name\":1} ".repeat(100_000));
    assert_eq!(verdict(&text, &person()).unwrap_err().errors.len(), 2);
}

proptest! {
    #[test]
    fn any_json_comes_back_byte_for_byte(
        value in any_json(), before in "[a-zA-Z0-9 .,:!\n]{0,40}", after in "[a-zA-Z .,!\n]{0,40}",
    ) {
        prop_assert_eq!(output_of(&value, &json!(true)), Some(value.clone()));
        let fenced = format!("{before}\n```json\n{value}\n```\n{after}");
        prop_assert_eq!(output_of(&fenced, &json!(true)), Some(value.clone()));
        if value.starts_with(['{', '[']) {
            // A letter keeps the whole text from being JSON itself.
            let prose = format!("{before}x {value} {after}");
            prop_assert_eq!(output_of(&prose, &json!(true)), Some(value.clone()));
        }
    }

    #[test]
    fn no_bytes_break_the_room(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(verdict(&String::from_utf8_lossy(&bytes), &person()));
    }

    #[test]
    fn no_near_json_breaks_the_room(text in "[\\[\\]{}\",:`a1e.\\\\\n\u{feff}\0-]{0,300}") {
        drop(verdict(&text, &person()));
        drop(verdict(&text, &json!(true)));
    }

    #[test]
    fn what_passes_fits(text in "(x )?[\\[{]\"?[a-z1-9\":,{}\\[\\]]{0,40}[}\\]]") {
        if let Ok(checked) = verdict(&text, &json!({"type": ["object", "array"]})) {
            let output = checked.output.unwrap();
            prop_assert!(text.contains(&output));
            prop_assert!(serde_json::from_str::<Value>(&output).is_ok());
        }
    }
}
