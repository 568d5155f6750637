//! Golden answers and streams of every shape. Must not know: the wire.

use serde_json::{Value, json};

use super::*;
use crate::simulator::answer::{Answer, Content};

const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const LLAMA_3: &str = "meta.llama3-1-8b-instruct-v1:0";
const LLAMA_4: &str = "us.meta.llama4-scout-17b-instruct-v1:0";
const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
const LARGE_2407: &str = "mistral.mistral-large-2407-v1:0";
const LARGE_3: &str = "mistral.mistral-large-3-675b-instruct";
const NOVA: &str = "us.amazon.nova-lite-v1:0";

fn answer(content: Content, stop: &'static str) -> Answer {
    Answer {
        content,
        stop,
        stopped_by: None,
        output_tokens: 7,
        input_tokens: None,
        note: None,
        struck: true,
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn tool(input: &str) -> Content {
    Content::Tool { name: "t".to_owned(), input: input.to_owned() }
}

fn said<'a>(model_id: &'a str, answer: &'a Answer) -> Said<'a> {
    Said {
        answer,
        model_id,
        input_tokens: 5,
        latency_ms: 30,
        first_ms: 10,
        seq: 1,
        chunk_tokens: 2,
    }
}

fn whole(model_id: &str, answer: &Answer) -> String {
    let shape = Shape::of(true, model_id, b"{}").unwrap();
    match shape.spell(&said(model_id, answer), false) {
        Spelt::Whole(body) => body,
        Spelt::Stream(_) => panic!("a stream"),
    }
}

/// The chunks of a stream, decoded from their frames.
fn chunks(model_id: &str, answer: &Answer) -> Vec<String> {
    let shape = Shape::of(true, model_id, b"{}").unwrap();
    let Spelt::Stream(events) = shape.spell(&said(model_id, answer), true) else {
        panic!("no stream");
    };
    let (mut bytes, ends) = events.into_parts();
    let mut chunks = Vec::new();
    let mut before = 0;
    for event in ends {
        let mut frame = bytes.split_to(event.end - before);
        before = event.end;
        let message = aws_smithy_eventstream::frame::read_message_from(&mut frame).unwrap();
        let kinds: Vec<&str> = message
            .headers()
            .iter()
            .map(|header| header.value().as_string().unwrap().as_str())
            .collect();
        assert_eq!(kinds, ["chunk", "application/json", "event"]);
        let payload: Value = serde_json::from_slice(message.payload()).unwrap();
        let decoded = aws_smithy_types::base64::decode(payload["bytes"].as_str().unwrap());
        chunks.push(String::from_utf8(decoded.unwrap()).unwrap());
    }
    chunks
}

const METRICS: &str = r#""amazon-bedrock-invocationMetrics":{"inputTokenCount":5,"outputTokenCount":7,"invocationLatency":30,"firstByteLatency":10}"#;

#[test]
fn whole_answers_are_spelt_to_the_byte() {
    let hi = answer(text("Hi \"you\"."), "end_turn");
    let cut = answer(text("Hi"), "max_tokens");
    let called = answer(tool(r#"{"a": 1}"#), "tool_use");
    let cut_call = answer(tool(r#"{"a": "#), "max_tokens");
    let usage = r#""usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":7}"#;
    let claude = |content: &str, stop: &str| {
        format!(
            r#"{{"id":"msg_bdrk_simulated_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":{content},"stop_reason":"{stop}","stop_sequence":null,{usage}}}"#
        )
    };
    let nova_usage = r#""usage":{"inputTokens":5,"outputTokens":7,"totalTokens":12,"cacheReadInputTokenCount":0,"cacheWriteInputTokenCount":0}"#;
    let open = r#""usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}"#;
    for (id, answer, expected) in [
        (SONNET, &hi, claude(r#"[{"type":"text","text":"Hi \"you\"."}]"#, "end_turn")),
        (SONNET, &cut, claude(r#"[{"type":"text","text":"Hi"}]"#, "max_tokens")),
        (SONNET, &called, claude(r#"[{"type":"tool_use","id":"toolu_bdrk_simulated_1","name":"t","input":{"a": 1}}]"#, "tool_use")),
        (SONNET, &cut_call, claude(r#"[{"type":"tool_use","id":"toolu_bdrk_simulated_1","name":"t","input":{}}]"#, "max_tokens")),
        (SONNET, &answer(Content::Nothing, "end_turn"), claude("[]", "end_turn")),
        (SONNET, &answer(text("No."), "refusal"), claude(r#"[{"type":"text","text":"No."}]"#, "refusal")),
        (LLAMA_3, &hi, r#"{"generation":"Hi \"you\".","prompt_token_count":5,"generation_token_count":7,"stop_reason":"stop"}"#.to_owned()),
        (LLAMA_4, &cut, r#"{"generation":"Hi","prompt_token_count":5,"generation_token_count":7,"stop_reason":"length"}"#.to_owned()),
        (MIXTRAL, &hi, r#"{"outputs":[{"text":"Hi \"you\".","stop_reason":"stop"}]}"#.to_owned()),
        (MIXTRAL, &cut, r#"{"outputs":[{"text":"Hi","stop_reason":"length"}]}"#.to_owned()),
        (LARGE_2407, &cut, r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"stop_reason":"length"}]}"#.to_owned()),
        (LARGE_2407, &called, r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"","tool_calls":[{"id":"call_simulated_1","type":"function","function":{"name":"t","arguments":"{\"a\": 1}"}}]},"stop_reason":"tool_calls"}]}"#.to_owned()),
        (LARGE_3, &hi, format!(r#"{{"id":"chatcmpl-simulated-1","object":"chat.completion","model":"{LARGE_3}","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hi \"you\"."}},"finish_reason":"stop"}}],{open}}}"#)),
        (NOVA, &hi, format!(r#"{{"output":{{"message":{{"content":[{{"text":"Hi \"you\"."}}],"role":"assistant"}}}},"stopReason":"end_turn",{nova_usage}}}"#)),
        (NOVA, &called, format!(r#"{{"output":{{"message":{{"content":[{{"toolUse":{{"toolUseId":"tooluse_simulated_1","name":"t","input":{{"a":1}}}}}}],"role":"assistant"}}}},"stopReason":"tool_use",{nova_usage}}}"#)),
    ] {
        assert_eq!(whole(id, answer), expected, "{id}");
    }
}

#[test]
fn claudes_streams_are_spelt_to_the_byte() {
    let hi = answer(text("Hello there."), "end_turn");
    let begun = r#"{"type":"message_start","message":{"id":"msg_bdrk_simulated_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}"#;
    let stop = format!(r#"{{"type":"message_stop",{METRICS}}}"#);
    let ended = |reason: &str| {
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":7}}}}"#
        )
    };
    let block_stop = r#"{"type":"content_block_stop","index":0}"#;
    assert_eq!(
        chunks(SONNET, &hi),
        [
            begun,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello th"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ere."}}"#,
            block_stop,
            &ended("end_turn"),
            &stop,
        ]
    );
    assert_eq!(
        chunks(SONNET, &answer(tool("{\"a\":1}"), "tool_use")),
        [
            begun,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_bdrk_simulated_1","name":"t","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#,
            block_stop,
            &ended("tool_use"),
            &stop,
        ]
    );
}

#[test]
fn streams_without_blocks_are_spelt_to_the_byte() {
    assert_eq!(
        chunks(LLAMA_3, &answer(text("Hello there."), "max_tokens")),
        [
            r#"{"generation":"Hello th","prompt_token_count":5,"generation_token_count":2,"stop_reason":null}"#.to_owned(),
            r#"{"generation":"ere.","prompt_token_count":null,"generation_token_count":3,"stop_reason":null}"#.to_owned(),
            format!(r#"{{"generation":"","prompt_token_count":null,"generation_token_count":7,"stop_reason":"length",{METRICS}}}"#),
        ]
    );
    assert_eq!(
        chunks(MIXTRAL, &answer(Content::Nothing, "end_turn")),
        [format!(r#"{{"outputs":[{{"text":"","stop_reason":"stop"}}],{METRICS}}}"#)]
    );
    assert_eq!(
        chunks(MIXTRAL, &answer(text("Hi"), "stop_sequence"))[0],
        r#"{"outputs":[{"text":"Hi","stop_reason":null}]}"#
    );
    assert_eq!(
        chunks(LARGE_2407, &answer(text("Hi"), "end_turn")),
        [
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"stop_reason":null}]}"#.to_owned(),
            format!(r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":""}},"stop_reason":"stop"}}],{METRICS}}}"#),
        ]
    );
    assert_eq!(
        chunks(LARGE_3, &answer(text("Hi"), "end_turn"))[0],
        format!(
            r#"{{"id":"chatcmpl-simulated-1","object":"chat.completion.chunk","model":"{LARGE_3}","choices":[{{"index":0,"delta":{{"role":"assistant","content":"Hi"}},"finish_reason":null}}]}}"#
        )
    );
    assert_eq!(
        chunks(NOVA, &answer(text("Hi"), "end_turn")),
        [
            r#"{"messageStart":{"role":"assistant"}}"#.to_owned(),
            r#"{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"Hi"}}}"#.to_owned(),
            r#"{"contentBlockStop":{"contentBlockIndex":0}}"#.to_owned(),
            r#"{"messageStop":{"stopReason":"end_turn"}}"#.to_owned(),
            format!(
                r#"{{"metadata":{{"usage":{{"inputTokens":5,"outputTokens":7,"totalTokens":12,"cacheReadInputTokenCount":0,"cacheWriteInputTokenCount":0}},"metrics":{{}},"trace":{{}}}},{METRICS}}}"#
            ),
        ]
    );
}

#[test]
fn a_stop_sequence_is_named_and_a_guardrail_is_told_where_a_shape_has_a_place_for_it() {
    let mut stopped = answer(text("Hi"), "stop_sequence");
    stopped.stopped_by = Some("END".to_owned());
    let body: Value = serde_json::from_str(&whole(SONNET, &stopped)).unwrap();
    assert_eq!(
        (&body["stop_reason"], &body["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    let guarded = answer(text("No."), "guardrail_intervened");
    for id in [SONNET, LLAMA_3, MIXTRAL, LARGE_2407, LARGE_3, NOVA] {
        let body: Value = serde_json::from_str(&whole(id, &guarded)).unwrap();
        assert_eq!(body["amazon-bedrock-guardrailAction"], "INTERVENED", "{id}");
        let last = chunks(id, &guarded).pop().unwrap();
        assert!(last.contains(r#""amazon-bedrock-guardrailAction":"INTERVENED""#), "{id}: {last}");
    }
}

#[test]
fn a_nul_and_half_a_character_reach_the_wire_as_json_escapes() {
    let odd = format!("a\0b{}c", crate::simulator::spelt::LONE_SURROGATE);
    for id in [SONNET, LLAMA_3, LLAMA_4, MIXTRAL, LARGE_2407, LARGE_3, NOVA] {
        let odd = answer(text(&odd), "end_turn");
        assert!(whole(id, &odd).contains(r"a\u0000b\ud800c"), "{id}");
        assert!(chunks(id, &odd).concat().contains(r"a\u0000b\ud800c"), "{id}");
    }
}

#[test]
fn a_stream_of_a_very_long_answer_has_a_bounded_number_of_chunks() {
    let long = answer(text(&"x".repeat(1_000_000)), "end_turn");
    assert!(chunks(LLAMA_3, &long).len() < 4_100);
}
