//! Tests of reading and checking a Converse body. Must not know: the wire.

use serde_json::{Value, json};

use super::*;

const MODEL: &str = "anthropic.claude-3-haiku-20240307-v1:0";

fn read_as(model_id: &str, body: &Value) -> (Facts, Result<Ask, Refusal>) {
    let mut facts = Facts::unread(model_id.to_owned(), Operation::Converse);
    let options = SimulatorOptions { input_tokens_max: 10_000, ..SimulatorOptions::default() };
    let ask = read(body.to_string().as_bytes(), &mut facts, &options);
    (facts, ask)
}

fn conversation(text: &str) -> Value {
    json!([{ "role": "user", "content": [{ "text": text }] }])
}

fn wanted_by(body: &Value) -> Wanted {
    read_as(MODEL, body).1.unwrap().wanted
}

/// The body must be refused with a text that contains this.
fn check_refused(body: &Value, expected: &str) {
    let refusal = read_as(MODEL, body).1.unwrap_err();
    assert_eq!(refusal.status, 400);
    assert!(refusal.message.contains(expected), "{}", refusal.message);
}

#[test]
fn facts_are_read_from_the_body() {
    let (facts, ask) = read_as(
        MODEL,
        &json!({
            "messages": conversation("12345678"),
            "system": [{ "text": "1234" }],
            "inferenceConfig": { "maxTokens": 77, "stopSequences": ["END"] },
            "requestMetadata": { "job_id": "j", "attempt": "1", "tenant": "t" },
        }),
    );
    assert_eq!((facts.input_tokens, facts.max_tokens), (3 + 4 + 3, 77));
    assert_eq!(facts.job_id.as_deref(), Some("j"));
    assert_eq!(facts.attempt.as_deref(), Some("1"));
    assert_eq!(facts.tenant.as_deref(), Some("t"));
    let ask = ask.unwrap();
    assert_eq!(ask.stops, ["END"]);
    assert_eq!(ask.wanted, Wanted::Text);
}

#[test]
fn metadata_does_not_change_the_content_and_texts_do() {
    let content = |body: Value| read_as(MODEL, &body).1.unwrap().content;
    let plain = content(json!({ "messages": conversation("a") }));
    let tagged = json!({ "messages": conversation("a"), "requestMetadata": { "attempt": "2" } });
    assert_eq!(plain, content(tagged));
    assert_ne!(plain, content(json!({ "messages": conversation("b") })));
}

#[test]
fn wrong_bodies_are_refused_in_the_services_words() {
    let turns = conversation("a");
    let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!(""))).collect();
    for (body, expected) in [
        (json!({}), "must start with a user message"),
        (json!({ "messages": [] }), "must start with a user message"),
        (json!({ "messages": [{ "role": "user", "content": [] }] }), "messages.0 is empty"),
        (json!({ "messages": conversation("\n") }), "messages.0.content.0 is blank"),
        (json!({ "messages": turns, "inferenceConfig": { "maxTokens": 0 } }), "Value '0'"),
        (json!({ "messages": turns, "inferenceConfig": { "maxTokens": -5 } }), "Value '-5'"),
        (json!({ "messages": turns, "inferenceConfig": { "temperature": 1.5 } }), "temperature"),
        (json!({ "messages": turns, "inferenceConfig": { "topP": -0.5 } }), "topP"),
        (json!({ "messages": turns, "requestMetadata": { "a": "ü" } }), "requestMetadata"),
        (json!({ "messages": turns, "requestMetadata": many }), "requestMetadata"),
        (json!({ "messages": [{ "role": "robot", "content": [] }] }), "must start with"),
        (json!({ "messages": 3 }), "could not be read"),
        (json!({ "messages": conversation(&"long ".repeat(10_000)) }), "Input is too long"),
    ] {
        check_refused(&body, expected);
    }
}

#[test]
fn roles_must_alternate() {
    let turn = |role: &str| json!({ "role": role, "content": [{ "text": "a" }] });
    check_refused(&json!({ "messages": [turn("assistant")] }), "must start with a user");
    check_refused(&json!({ "messages": [turn("user"), turn("user")] }), "must alternate");
    let fine = json!({ "messages": [turn("user"), turn("assistant"), turn("user")] });
    assert!(read_as(MODEL, &fine).1.is_ok());
}

#[test]
fn model_ids_are_taken_where_they_are_plausible() {
    let body = json!({ "messages": conversation("a") });
    for id in [
        MODEL,
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
        "arn:aws-us-gov:bedrock:us-gov-west-1:1:imported-model/abc",
    ] {
        assert!(read_as(id, &body).1.is_ok(), "{id}");
    }
    for id in ["gpt", "", ".", "a b.c", "arn:aws:s3:::bucket", "anthropic."] {
        let refusal = read_as(id, &body).1.unwrap_err();
        assert_eq!(refusal.message, "The provided model identifier is invalid.", "{id}");
    }
}

#[test]
fn the_schema_is_found_in_each_of_its_places() {
    let native = json!({ "messages": conversation("a"), "outputConfig": { "textFormat": {
        "type": "json_schema", "structure": { "jsonSchema": { "schema": "{\"type\":\"null\"}" } } } } });
    let expected = Wanted::Json { schema: "{\"type\":\"null\"}".to_owned(), native: true };
    assert_eq!(wanted_by(&native), expected);
    let tools = |choice: Value| {
        json!({ "messages": conversation("a"), "toolConfig": { "toolChoice": choice, "tools": [
            { "toolSpec": { "name": "t", "inputSchema": { "json": { "type": "object" } } } } ] } })
    };
    let forced = Wanted::Tool { name: "t".to_owned(), schema: "{\"type\":\"object\"}".to_owned() };
    assert_eq!(wanted_by(&tools(json!({ "tool": { "name": "t" } }))), forced);
    assert_eq!(wanted_by(&tools(json!({ "any": {} }))), forced);
    assert_eq!(wanted_by(&tools(json!({ "auto": {} }))), Wanted::Text);
    check_refused(&tools(json!({ "tool": { "name": "u" } })), "not among the tools");
}

#[test]
fn a_prompts_schema_is_the_fence_after_the_last_marker_line() {
    let prompt = "See:\n```json\n{\"no\":1}\n```\nJSON Schema: is meant below.\nJSON Schema:\r\n\
                  ```json\n{\"type\": \"null\"}\n```\nAnd:\n```json\n{\"no\":2}\n```";
    let expected = Wanted::Json { schema: "{\"type\": \"null\"}".to_owned(), native: false };
    assert_eq!(wanted_by(&json!({ "messages": conversation(prompt) })), expected);
    let re_ask = json!({ "messages": [
        { "role": "user", "content": [{ "text": prompt }] },
        { "role": "assistant", "content": [{ "text": "{}" }] },
        { "role": "user", "content": [{ "text": "Wrong:\n```json\n{}\n```" }] },
    ] });
    assert_eq!(wanted_by(&re_ask), expected);
    let unfinished = json!({ "messages": conversation("JSON Schema:\n```json\n{") });
    assert_eq!(wanted_by(&unfinished), Wanted::Text);
}
