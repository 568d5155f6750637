//! From a document's text to the document, or to every reason why not, in words for its producer.
//! Must not know: models, stores, the clock.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;

use super::document::{JobDocument, Problem};
use crate::catalogue::nearest;

/// Reads a document and checks everything that needs no catalogue and no clock.
///
/// # Errors
/// Every problem found, each with its JSON path. A document that is not JSON, or has an unknown
/// field or a wrong type, gives the first such problem alone.
pub fn parse(text: &str) -> Result<JobDocument, Vec<Problem>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read: Result<Object<JobDocument>, _> = serde_path_to_error::deserialize(&mut reader);
    let Object(document) = read.map_err(|error| {
        let path = error.path().to_string();
        vec![problem(&path, &error.into_inner())]
    })?;
    reader.end().map_err(|_| {
        let reason = "more text follows the document; in JSONL each document has a line of its own";
        vec![Problem::new("$", reason)]
    })?;
    let problems = document.problems();
    if problems.is_empty() { Ok(document) } else { Err(problems) }
}

/// A reader's error in the producer's terms.
fn problem(path: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let shown = error.to_string();
    let message = shown.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&shown);
    if error.classify() != Category::Data {
        // A document is mostly a line of a file, whose number the reader of the file knows.
        let place = if line > 1 { format!("line {line}, ") } else { String::new() };
        let reason = format!("is not JSON: {message} ({place}column {column})");
        return Problem::new("$", reason);
    }
    let path = if path == "." { "$".to_owned() } else { format!("$.{}", shortened(path)) };
    let reason = unknown_field(message).unwrap_or_else(|| in_json_terms(&shortened(message)));
    Problem::new(path, reason)
}

/// The reader names Rust's types of numbers.
fn in_json_terms(message: &str) -> String {
    message
        .replace("expected u32", "expected a whole number, 0 or more")
        .replace("expected i32", "expected a whole number")
        .replace("expected f32", "expected a number")
}

/// Names and values come from producers: an error does not repeat a megabyte of one.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let mut shown: String = text.chars().take(CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Words for a field that does not exist, from the reader's, which list all those that do.
fn unknown_field(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let unknown = names.next()?;
    let known: Vec<&str> = names.filter(|name| *name != "attachments").collect();
    let near = nearest(unknown, known.iter().copied());
    let shown = |names: &[&str]| format!("`{}`", names.join("`, `"));
    Some(if near.is_empty() {
        format!("is not a field here; the fields are {}", shown(&known))
    } else {
        format!("is not a field here; did you mean {}?", shown(&near))
    })
}

/// Reads an instant.
pub(super) fn time<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(reader)? else { return Ok(None) };
    let time = text.parse().map_err(|_| {
        D::Error::custom("is not a time in RFC 3339 with an offset, such as 2026-01-31T06:00:00Z")
    })?;
    Ok(Some(time))
}

/// Reads a list of objects.
pub(super) fn list_of_objects<'de, D, T>(reader: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<Vec<Object<T>>> = Option::deserialize(reader)?;
    Ok(list.map(|list| list.into_iter().map(|Object(item)| item).collect()))
}

/// A value that is written as a JSON object. Derived readers would also take a list of its fields'
/// values, which nobody means.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: &Expect) {
        let shown = match parse(text) {
            Ok(document) => document.canonical(),
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n")
            }
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_minimal_document_is_a_prompt() {
        check(r#"{"prompt":"hi"}"#, &expect![[r#"{"prompt":"hi"}"#]]);
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_name() {
        check(
            r#"{"prompt":"hi","promt":1}"#,
            &expect!["$.promt: is not a field here; did you mean `prompt`?"],
        );
        check(
            r#"{"prompt":"hi","streaming":true}"#,
            &expect![
                "$.streaming: is not a field here; the fields are `version`, `id`, `queue`, `model`, `family`, `api`, `system`, `prompt`, `messages`, `context`, `schema`, `temperature`, `top_p`, `max_tokens`, `stop`, `priority`, `run_at`, `deadline`, `max_attempts`, `dedupe_key`, `tenant`, `metadata`, `labels`, `reply_to`, `if_outcome_unknown`"
            ],
        );
        check(
            r#"{"messages":[{"role":"user","content":"hi"}]}"#,
            &expect!["$.messages[0].content: is not a field here; the fields are `role`, `text`"],
        );
    }

    #[test]
    fn a_wrong_type_is_refused_with_its_path() {
        check(
            r#"{"messages":[{"role":"user","text":7}]}"#,
            &expect!["$.messages[0].text: invalid type: integer `7`, expected a string"],
        );
        check(
            r#"{"messages":[{"role":"system","text":"x"}]}"#,
            &expect![
                "$.messages[0].role: unknown variant `system`, expected `user` or `assistant`"
            ],
        );
        check(
            r#"{"prompt":"x","run_at":"tomorrow"}"#,
            &expect![
                "$.run_at: is not a time in RFC 3339 with an offset, such as 2026-01-31T06:00:00Z"
            ],
        );
        check(
            r#"{"prompt":"x","deadline":"2026-01-31T06:00:00"}"#,
            &expect![
                "$.deadline: is not a time in RFC 3339 with an offset, such as 2026-01-31T06:00:00Z"
            ],
        );
        check(
            r#"{"prompt":"x","max_tokens":1.5}"#,
            &expect![
                "$.max_tokens: invalid type: floating point `1.5`, expected a whole number, 0 or more"
            ],
        );
        check(
            r#"{"prompt":"x","max_tokens":-1}"#,
            &expect![
                "$.max_tokens: invalid value: integer `-1`, expected a whole number, 0 or more"
            ],
        );
        check(
            r#"{"prompt":"x","if_outcome_unknown":"ask"}"#,
            &expect!["$.if_outcome_unknown: unknown variant `ask`, expected `retry` or `hold`"],
        );
        check(
            r#"{"messages":["hi"]}"#,
            &expect![[r#"$.messages[0]: invalid type: string "hi", expected a JSON object"#]],
        );
        check(
            r#"{"messages":[["user","hi"]]}"#,
            &expect!["$.messages[0]: invalid type: sequence, expected a JSON object"],
        );
        check(
            r#"{"prompt":"x","context":[{"title":"t"}]}"#,
            &expect!["$.context[0]: missing field `text`"],
        );
        check(r#"{"prompt":"x","prompt":"y"}"#, &expect!["$: duplicate field `prompt`"]);
    }

    #[test]
    fn every_impossible_value_is_named_at_once() {
        check(
            r#"{"prompt":"x","messages":[],"temperature":1.5,"max_tokens":0,"id":"","priority":1000,
                "stop":[""],"attachments":[],"version":2,"labels":{"a":""}}"#,
            &expect![[r#"
                $.version: version 2 is not known; the only version is 1
                $.attachments: is reserved and not there yet; put the text into `context` or the prompt
                $.id: is empty; leave the field out instead
                $.labels.a: is empty; leave the field out instead
                $.messages: `prompt` and `messages` exclude each other; give exactly one of them
                $.temperature: 1.5 is outside 0 to 1
                $.max_tokens: 0 is outside 1 to 10000000
                $.priority: 1000 is outside -100 to 100
                $.stop[0]: is empty"#]],
        );
    }

    #[test]
    fn turns_alternate_from_user_to_user() {
        check(
            r#"{"messages":[{"role":"assistant","text":"x"}]}"#,
            &expect!["$.messages[0].role: turns must alternate and begin with `user`"],
        );
        let two = r#"{"messages":[{"role":"user","text":"x"},{"role":"assistant","text":"y"}]}"#;
        check(
            two,
            &expect![
                "$.messages[1].role: the last turn must be the user's: newer models refuse a prefilled answer"
            ],
        );
    }

    #[test]
    fn what_is_not_a_document_is_refused() {
        check("", &expect!["$: is not JSON: EOF while parsing a value (column 0)"]);
        check(r#"{"prompt":"#, &expect!["$: is not JSON: EOF while parsing a value (column 10)"]);
        check(
            "{\n'prompt': 1}",
            &expect!["$: is not JSON: key must be a string (line 2, column 1)"],
        );
        check("[1]", &expect!["$: invalid type: sequence, expected a JSON object"]);
        check(
            r#"{"prompt":"x"} {"prompt":"y"}"#,
            &expect![
                "$: more text follows the document; in JSONL each document has a line of its own"
            ],
        );
        check(r#"{"model":"m"}"#, &expect!["$: one of `prompt` and `messages` is required"]);
    }

    #[test]
    fn numbers_stay_as_short_as_they_were_written() {
        check(
            r#"{"top_p":0.9,"temperature":0.7,"prompt":"x"}"#,
            &expect![[r#"{"prompt":"x","temperature":0.7,"top_p":0.9}"#]],
        );
        check(
            r#"{"prompt":"x","temperature":1.1}"#,
            &expect!["$.temperature: 1.1 is outside 0 to 1"],
        );
    }

    #[test]
    fn a_long_name_or_value_is_not_repeated_whole() {
        for text in [
            format!(r#"{{"{}":1}}"#, "x".repeat(100_000)),
            format!(r#"{{"max_tokens":"{}"}}"#, "é".repeat(100_000)),
        ] {
            let problems = parse(&text).unwrap_err();
            assert!(problems[0].to_string().len() < 2_000);
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        check(
            r#"{"prompt":"x","messages":null,"attachments":null,"run_at":null}"#,
            &expect![[r#"{"prompt":"x"}"#]],
        );
    }

    #[test]
    fn changed_fields_are_named() {
        let one = parse(r#"{"prompt":"a","queue":"q"}"#).unwrap();
        let two = parse(r#"{"prompt":"b","queue":"q","model":"m"}"#).unwrap();
        assert_eq!(one.changed_fields(&two), ["model", "prompt"]);
    }
}
