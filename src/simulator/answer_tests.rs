//! Tests of answers and their content faults. Must not know: the wire.

use serde_json::{Value, json};

use super::*;
use crate::simulator::shape::Shape;

fn ask(wanted: Wanted, content: u64) -> Ask {
    let topic = "What is a quarry?".to_owned();
    Ask { shape: Shape::Converse, content, wanted, stops: Vec::new(), topic, note: None }
}

fn json_ask(content: u64) -> Ask {
    let schema = json!({"type": "object", "required": ["title", "n"], "properties": {
        "title": {"type": "string"}, "n": {"type": "integer"}}});
    let schema = schema.to_string();
    ask(Wanted::Json { schema, native: true }, content)
}

fn answered(ask: &Ask, max_tokens: u64, fault: Option<Fault>) -> Answer {
    let plan = Plan::new(&ask.wanted, &SchemaCache::default()).unwrap();
    make(ask, &plan, max_tokens, fault, None)
}

fn text(answer: &Answer) -> &str {
    match &answer.content {
        Content::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

#[test]
fn free_text_is_labelled_and_ends_by_itself() {
    for content in 0..200 {
        for max_tokens in [4, 20, 30, 60, 300, 4_000] {
            let answer = answered(&ask(Wanted::Text, content), max_tokens, None);
            assert!(text(&answer).starts_with(LABEL));
            assert_eq!(answer.stop, "end_turn", "{max_tokens} {}", text(&answer));
            assert!(answer.output_tokens <= max_tokens);
        }
    }
}

#[test]
fn an_answer_stops_before_a_stop_string() {
    let mut ask = ask(Wanted::Text, 1);
    ask.stops = vec!["answer".to_owned(), "model".to_owned()];
    let answer = answered(&ask, 1_000, None);
    assert_eq!(text(&answer), "[simulated] This stands for a ");
    assert_eq!(answer.stop, "stop_sequence");
}

#[test]
fn malformed_json_never_parses_and_prose_holds_the_json() {
    for content in 0..200 {
        let ask = json_ask(content);
        let good = answered(&ask, 1_000, None);
        assert!(serde_json::from_str::<Value>(text(&good)).is_ok());
        let malformed = answered(&ask, 1_000, Some(Fault::MalformedJson));
        assert!(serde_json::from_str::<Value>(text(&malformed)).is_err());
        let prose = answered(&ask, 1_000, Some(Fault::Prose));
        assert!(serde_json::from_str::<Value>(text(&prose)).is_err());
        assert!(text(&prose).contains(text(&good)));
        let wrong = answered(&ask, 1_000, Some(Fault::WrongSchema));
        assert!(serde_json::from_str::<Value>(text(&wrong)).is_ok());
        assert!(wrong.struck);
    }
}

#[test]
fn faults_of_json_spare_free_text() {
    for fault in [Fault::Prose, Fault::MalformedJson, Fault::WrongSchema] {
        assert!(!answered(&ask(Wanted::Text, 1), 1_000, Some(fault)).struck);
    }
    for fault in [Fault::Truncated, Fault::Empty, Fault::HangStream] {
        assert!(answered(&ask(Wanted::Text, 1), 1_000, Some(fault)).struck);
    }
}

#[test]
fn a_cut_answer_has_used_all_its_tokens() {
    let cut = answered(&json_ask(1), 3, None);
    assert_eq!((cut.stop, cut.output_tokens), ("max_tokens", 3));
    let cut = answered(&json_ask(1), 500, Some(Fault::Truncated));
    assert_eq!((cut.stop, cut.output_tokens), ("max_tokens", 500));
    assert!(serde_json::from_str::<Value>(text(&cut)).is_err());
}

#[test]
fn a_broken_schema_is_refused_where_it_binds_and_is_text_in_a_prompt() {
    let broken = |native| Wanted::Json { schema: "{\"type\":12}".to_owned(), native };
    assert!(Plan::new(&broken(true), &SchemaCache::default()).is_err());
    let answer = answered(&ask(broken(false), 1), 1_000, None);
    assert!(text(&answer).starts_with(LABEL));
    assert!(answer.note.unwrap().contains("does not compile"));
}
