//! Keeps the published documents true. The job document's schema is what the types say, accepts the
//! examples, and refuses what the parser refuses, as far as JSON Schema can say it; the table of
//! models is what the catalogue says, and the page of errors what `quarrier explain` says.
//! Must not know: stores, calls.

#![expect(clippy::expect_used, reason = "a test stops at the first thing that it cannot read")]

#[path = "documents/deploy.rs"]
mod deploy;
#[path = "documents/models.rs"]
mod models;

use std::path::PathBuf;

use quarrier::job::{JobDocument, parse};
use serde_json::{Value, json};

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether the documents are to be written anew.
#[expect(clippy::disallowed_methods, reason = "this is no setting of the program")]
fn is_update() -> bool {
    std::env::var("UPDATE_DOCS").is_ok()
}

fn schema() -> Value {
    schemars::schema_for!(JobDocument).into()
}

/// Whether the schema accepts it, and whether the parser does.
fn accepted(document: &Value) -> (bool, bool) {
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema())
        .expect("the document's schema compiles");
    (validator.is_valid(document), parse(&document.to_string()).is_ok())
}

/// Holds a document to what it is made of, or writes it anew where that is asked for.
#[track_caller]
fn is_made_of(name: &str, wanted: &str) {
    let path = file(name);
    if is_update() {
        std::fs::write(&path, wanted).expect("the document is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{name} is not what it is made of; run\n\
         UPDATE_DOCS=1 cargo test --test documents\nand look at the difference"
    );
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    is_made_of("docs/job.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_page_of_errors_is_what_explain_says() {
    is_made_of("docs/errors.md", &quarrier::cli::explain::page());
}

#[test]
fn every_field_of_the_schema_is_described() {
    let schema = schema();
    let nested = schema["$defs"].as_object().unwrap().values();
    for object in nested.chain([&schema]) {
        assert!(object["description"].is_string(), "{object:#}");
        for (name, field) in object["properties"].as_object().into_iter().flatten() {
            assert!(field["description"].is_string(), "{name} has no description");
        }
        if object["type"] == "object" {
            assert_eq!(object["additionalProperties"], false, "{object:#}");
        }
    }
}

#[test]
fn every_line_of_the_example_is_accepted() {
    let text = std::fs::read_to_string(file("examples/certification.jsonl")).unwrap();
    for (number, line) in (1..).zip(text.lines()) {
        let document: Value = serde_json::from_str(line).unwrap();
        assert_eq!(accepted(&document), (true, true), "line {number}");
    }
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    for document in [
        json!({ "prompt": "x" }),
        json!({ "prompt": "x", "messages": null, "attachments": null, "id": null, "schema": null }),
        json!({ "messages": [{ "role": "user", "text": "x" }] }),
        json!({ "prompt": "x", "version": 1, "id": "a b", "temperature": 0, "top_p": 1.0 }),
        json!({ "prompt": "x", "priority": -100, "max_attempts": 100, "max_tokens": 10_000_000 }),
        json!({ "prompt": "x", "schema": true, "stop": ["END"], "labels": { "a": "b" } }),
        json!({ "prompt": "x", "run_at": "2026-01-31T06:00:00+01:00", "metadata": { "a": [1] } }),
        json!({ "prompt": "x", "reply_to": "https://sqs.eu-west-1.amazonaws.com/1/answers" }),
        json!({ "prompt": "x", "context": [{ "text": "t", "title": "u", "source": null }] }),
    ] {
        assert_eq!(accepted(&document), (true, true), "{document}");
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let long = "x".repeat(257);
    for document in [
        json!([]),
        json!("prompt"),
        json!({}),
        json!({ "prompt": "x", "promt": "y" }),
        json!({ "prompt": null }),
        json!({ "prompt": " \n" }),
        json!({ "prompt": "x", "messages": [{ "role": "user", "text": "x" }] }),
        json!({ "messages": [] }),
        json!({ "messages": ["x"] }),
        json!({ "messages": [["user", "x"]] }),
        json!({ "messages": [{ "role": "system", "text": "x" }] }),
        json!({ "messages": [{ "role": "user", "text": "" }] }),
        json!({ "messages": [{ "role": "user", "content": "x" }] }),
        json!({ "prompt": "x", "context": [{ "title": "t" }] }),
        json!({ "prompt": "x", "context": [{ "text": " " }] }),
        json!({ "prompt": "x", "version": 2 }),
        json!({ "prompt": "x", "id": 7 }),
        json!({ "prompt": "x", "id": "" }),
        json!({ "prompt": "x", "id": " " }),
        json!({ "prompt": "x", "id": "a\nb" }),
        json!({ "prompt": "x", "id": "a\u{85}" }),
        json!({ "prompt": "x", "id": long }),
        json!({ "prompt": "x", "queue": "" }),
        json!({ "prompt": "x", "tenant": long }),
        json!({ "prompt": "x", "dedupe_key": "" }),
        json!({ "prompt": "x", "model": "\u{7f}" }),
        json!({ "prompt": "x", "family": "gpt" }),
        json!({ "prompt": "x", "temperature": 1.1 }),
        json!({ "prompt": "x", "temperature": -0.1 }),
        json!({ "prompt": "x", "top_p": 2 }),
        json!({ "prompt": "x", "max_tokens": 0 }),
        json!({ "prompt": "x", "max_tokens": 10_000_001 }),
        json!({ "prompt": "x", "max_tokens": "100" }),
        json!({ "prompt": "x", "max_attempts": 0 }),
        json!({ "prompt": "x", "max_attempts": 101 }),
        json!({ "prompt": "x", "priority": 101 }),
        json!({ "prompt": "x", "stop": [""] }),
        json!({ "prompt": "x", "stop": vec!["a"; 17] }),
        json!({ "prompt": "x", "run_at": "tomorrow" }),
        json!({ "prompt": "x", "deadline": "2026-01-31T06:00:00" }),
        json!({ "prompt": "x", "metadata": [] }),
        json!({ "prompt": "x", "reply_to": "" }),
        json!({ "prompt": "x", "reply_to": "two words" }),
        json!({ "prompt": "x", "reply_to": "x".repeat(513) }),
        json!({ "prompt": "x", "labels": { "a": 1 } }),
        json!({ "prompt": "x", "labels": { "a": "" } }),
        json!({ "prompt": "x", "labels": { "a": long } }),
        json!({ "prompt": "x", "labels": { long.as_str(): "a" } }),
        json!({ "prompt": "x", "if_outcome_unknown": "ask" }),
        json!({ "prompt": "x", "attachments": [] }),
    ] {
        assert_eq!(accepted(&document), (false, false), "{document}");
    }
}
