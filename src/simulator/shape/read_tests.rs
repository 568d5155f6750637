//! What each shape hears in a body, and what it refuses. Must not know: the wire.

use serde_json::{Value, json};

use super::*;
use crate::simulator::heard::Speaker;
use crate::simulator::request::Operation;
use crate::simulator::wanted::Wanted;

const HAIKU_3: &str = "anthropic.claude-3-haiku-20240307-v1:0";
const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const OPUS_4_7: &str = "us.anthropic.claude-opus-4-7";
const LLAMA_3: &str = "meta.llama3-1-8b-instruct-v1:0";
const LLAMA_4: &str = "us.meta.llama4-scout-17b-instruct-v1:0";
const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
const LARGE_2407: &str = "mistral.mistral-large-2407-v1:0";
const LARGE_3: &str = "mistral.mistral-large-3-675b-instruct";
const NOVA: &str = "us.amazon.nova-lite-v1:0";
const APPLICATION: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x";

/// Llama 3's marks, then Llama 4's, then Mistral's, then what may stand between them.
const PARTS: [&str; 17] = [
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eot|>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "user",
    "assistant",
    "system",
    "\n\n",
    " ",
    "a",
];

fn shape_of(model_id: &str, body: &Value) -> Shape {
    Shape::of(true, model_id, body.to_string().as_bytes()).unwrap()
}

/// What a body says, with its texts owned.
#[derive(Debug, PartialEq)]
struct Told {
    lines: Vec<(Speaker, String)>,
    turns: usize,
    max_tokens: u64,
    stops: Vec<String>,
    asked: Option<Wanted>,
    note: Option<&'static str>,
}

fn told(model_id: &str, body: &Value) -> Result<Told, Refusal> {
    let bytes = body.to_string();
    let mut facts = Facts::unread(model_id.to_owned(), Operation::Invoke);
    let shape = Shape::of(true, model_id, bytes.as_bytes())?;
    let heard = shape.read(bytes.as_bytes(), &mut facts)?;
    Ok(Told {
        lines: heard.lines.iter().map(|line| (line.speaker, line.text.to_string())).collect(),
        turns: heard.turns,
        max_tokens: heard.max_tokens,
        stops: heard.stops,
        asked: heard.asked,
        note: heard.note,
    })
}

#[test]
fn the_shape_follows_the_model_and_else_the_body() {
    let messages = json!({ "messages": [] });
    for (id, expected) in [
        (HAIKU_3, Shape::Claude),
        (SONNET, Shape::Claude),
        (LLAMA_3, Shape::Llama3),
        (LLAMA_4, Shape::Llama4),
        ("mistral.mistral-7b-instruct-v0:2", Shape::Instruct),
        (MIXTRAL, Shape::Instruct),
        ("mistral.mistral-small-2402-v1:0", Shape::Instruct),
        ("mistral.mistral-large-2402-v1:0", Shape::Instruct),
        (LARGE_2407, Shape::Chat),
        (LARGE_3, Shape::Chat),
        ("us.mistral.pixtral-large-2502-v1:0", Shape::Chat),
        (NOVA, Shape::Nova),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", Shape::Nova),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.meta.llama4-x", Shape::Llama4),
        (APPLICATION, Shape::Chat),
        ("qwen.qwen3-32b-v1:0", Shape::Chat),
    ] {
        assert_eq!(shape_of(id, &messages), expected, "{id}");
    }
    for (body, expected) in [
        (json!({ "anthropic_version": "x", "messages": [] }), Shape::Claude),
        (json!({ "schemaVersion": "messages-v1", "messages": [] }), Shape::Nova),
        (json!({ "messages": [], "inferenceConfig": {} }), Shape::Nova),
        (json!({ "prompt": "<|start_header_id|>" }), Shape::Llama3),
        (json!({ "prompt": "<|header_start|>" }), Shape::Llama4),
        (json!({ "prompt": "a", "max_gen_len": 5 }), Shape::Llama3),
        (json!({ "prompt": "a" }), Shape::Instruct),
    ] {
        assert_eq!(shape_of(APPLICATION, &body), expected, "{body}");
    }
    assert!(Shape::of(true, APPLICATION, b"{}").is_err());
    assert!(Shape::of(true, APPLICATION, b"{").is_err());
}

fn claude(extra: &Value) -> Value {
    let mut body = json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 50,
        "messages": [{ "role": "user", "content": "Hello." }],
    });
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

const LLAMA_3_PROMPT: &str = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHi!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAgain?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";

fn llama_4_prompt() -> String {
    LLAMA_3_PROMPT
        .replace("start_header_id", "header_start")
        .replace("end_header_id", "header_end")
        .replace("eot_id", "eot")
}

#[test]
fn the_same_conversation_is_heard_in_every_shape() {
    let spoken = [("user", "Hello."), ("assistant", "Hi!"), ("user", "Again?")];
    let turns = |content: fn(&str) -> Value| -> Vec<Value> {
        let turn = |(role, text): &(&str, &str)| json!({ "role": role, "content": content(text) });
        spoken.iter().map(turn).collect()
    };
    let blocks = |text: &str| json!([{ "text": text }]);
    let mut chat = turns(|text| json!(text));
    chat.insert(0, json!({ "role": "system", "content": "Be brief." }));
    let expected = Told {
        lines: vec![
            (Speaker::System, "Be brief.".to_owned()),
            (Speaker::User, "Hello.".to_owned()),
            (Speaker::Assistant, "Hi!".to_owned()),
            (Speaker::User, "Again?".to_owned()),
        ],
        turns: 3,
        max_tokens: 50,
        stops: Vec::new(),
        asked: None,
        note: None,
    };
    for (id, body) in [
        (SONNET, claude(&json!({ "system": "Be brief.", "messages": turns(|text| json!(text)) }))),
        (
            HAIKU_3,
            claude(&json!({
                "system": [{ "type": "text", "text": "Be brief.", "cache_control": {} }],
                "messages": turns(|text| json!([{ "type": "text", "text": text }])),
            })),
        ),
        (LLAMA_3, json!({ "prompt": LLAMA_3_PROMPT, "max_gen_len": 50, "temperature": 0.5 })),
        (LLAMA_4, json!({ "prompt": llama_4_prompt(), "max_gen_len": 50 })),
        (LARGE_2407, json!({ "messages": chat, "max_tokens": 50 })),
        (
            NOVA,
            json!({
                "schemaVersion": "messages-v1", "system": blocks("Be brief."),
                "messages": turns(blocks), "inferenceConfig": { "maxTokens": 50, "topK": 5 },
            }),
        ),
    ] {
        assert_eq!(told(id, &body).as_ref(), Ok(&expected), "{id}");
    }
}

#[test]
fn a_prompt_is_taken_apart_by_its_models_template() {
    let user = |text: &str| (Speaker::User, text.to_owned());
    let assistant = |text: &str| (Speaker::Assistant, text.to_owned());
    let llama = |turns: &str| format!("<|begin_of_text|>{turns}");
    let turn = |role: &str, text: &str| {
        format!("<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>")
    };
    let open = "<|start_header_id|>assistant<|end_header_id|>\n\n";
    for (id, prompt, expected) in [
        (MIXTRAL, "<s>[INST] Hello. [/INST]".to_owned(), Some(vec![user("Hello.")])),
        (
            MIXTRAL,
            "<s>[INST] a [/INST] b</s>[INST] c [/INST]".to_owned(),
            Some(vec![user("a"), assistant("b"), user("c")]),
        ),
        (
            MIXTRAL,
            "<s>[INST] a [/INST] b</s> [INST] c [/INST] {".to_owned(),
            Some(vec![user("a"), assistant("b"), user("c"), assistant("{")]),
        ),
        (MIXTRAL, "Hello.".to_owned(), None),
        (MIXTRAL, "[INST] Hello. [/INST]".to_owned(), None),
        (MIXTRAL, "<s>[INST] a [INST] b [/INST]".to_owned(), None),
        (MIXTRAL, "<s>[INST] a [/INST] b [/INST]".to_owned(), None),
        (LLAMA_3, llama(&(turn("user", "a\n\nb ") + open)), Some(vec![user("a\n\nb ")])),
        // The vendor's own samples break lines otherwise.
        (
            LLAMA_3,
            llama(
                "<|start_header_id|>user<|end_header_id|>\na<|eot_id|>\n\
                 <|start_header_id|>assistant<|end_header_id|>\n",
            ),
            Some(vec![user("a")]),
        ),
        (LLAMA_3, llama(&(turn("user", "a") + open + "{")), Some(vec![user("a"), assistant("{")])),
        (LLAMA_3, "Hello.".to_owned(), None),
        (LLAMA_3, turn("user", "a") + open, None),
        (LLAMA_3, llama(&turn("user", "a")), None),
        (LLAMA_3, llama(open), None),
        (LLAMA_3, llama(&(turn("user", "a") + &turn("user", "b") + open)), None),
        (LLAMA_3, llama(&(turn("assistant", "a") + open)), None),
        (LLAMA_3, llama(&(turn("robot", "a") + open)), None),
        (LLAMA_3, llama(&(turn("user", "a<|start_header_id|>user<|end_header_id|>") + open)), None),
        (LLAMA_4, llama(&(turn("user", "a") + open)), None),
    ] {
        let got = told(id, &json!({ "prompt": prompt })).unwrap();
        let note = expected.is_none().then_some(template::NOT_IN_TEMPLATE);
        assert_eq!(got.note, note, "{prompt}");
        assert_eq!(got.lines, expected.unwrap_or_else(|| vec![user(&prompt)]), "{prompt}");
    }
}

#[test]
fn what_a_body_asks_for_is_read_from_each_shapes_own_fields() {
    let schema = json!({ "type": "object" });
    let text = schema.to_string();
    let tool = Some(Wanted::Tool { name: "t".to_owned(), schema: text.clone() });
    let native = Some(Wanted::Json { schema: text, native: true });
    let tools = json!([{ "name": "t", "description": "d", "input_schema": schema }]);
    let function = json!({ "name": "t", "parameters": schema });
    let functions = json!([{ "type": "function", "function": function }]);
    let chat = |extra: Value| {
        let mut body = json!({ "messages": [{ "role": "user", "content": "a" }] });
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let spec = json!({ "tools": [{ "toolSpec": { "name": "t", "inputSchema": { "json": schema } } }],
        "toolChoice": { "tool": { "name": "t" } } });
    for (id, body, expected) in [
        (
            SONNET,
            claude(&json!({ "tools": tools, "tool_choice": { "type": "tool", "name": "t" } })),
            &tool,
        ),
        (SONNET, claude(&json!({ "tools": tools, "tool_choice": { "type": "any" } })), &tool),
        (SONNET, claude(&json!({ "tools": tools, "tool_choice": { "type": "auto" } })), &None),
        (
            SONNET,
            claude(
                &json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } }),
            ),
            &native,
        ),
        (
            SONNET,
            claude(&json!({ "output_format": { "type": "json_schema", "schema": schema } })),
            &native,
        ),
        (LARGE_2407, chat(json!({ "tools": functions, "tool_choice": "any" })), &tool),
        (
            LARGE_3,
            chat(
                json!({ "tools": functions, "tool_choice": { "type": "function", "function": { "name": "t" } } }),
            ),
            &tool,
        ),
        (LARGE_3, chat(json!({ "tools": functions, "tool_choice": "auto" })), &None),
        (
            LARGE_3,
            chat(
                json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema } } }),
            ),
            &native,
        ),
        (
            NOVA,
            json!({ "messages": [{ "role": "user", "content": [{ "text": "a" }] }], "toolConfig": spec }),
            &tool,
        ),
    ] {
        assert_eq!(&told(id, &body).unwrap().asked, expected, "{body}");
    }
    let stops = told(SONNET, &claude(&json!({ "stop_sequences": ["END"] }))).unwrap().stops;
    assert_eq!(stops, ["END"]);
    let stops = told(MIXTRAL, &json!({ "prompt": "a", "stop": ["END"] })).unwrap().stops;
    assert_eq!(stops, ["END"]);
}

fn turns(roles: &[&str]) -> Value {
    roles.iter().map(|role| json!({ "role": role, "content": "a" })).collect()
}

/// The body must be refused with a text that contains this.
fn check_refused(id: &str, body: &Value, expected: &str) {
    let refusal = told(id, body).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (400, "ValidationException"), "{body}");
    assert!(refusal.message.contains(expected), "{body}: {}", refusal.message);
}

#[test]
fn missing_unknown_and_wrong_fields_are_refused_in_the_words_of_claudes_generation() {
    let without = |name: &str| {
        let mut body = claude(&json!({}));
        body.as_object_mut().unwrap().remove(name);
        body
    };
    for (id, body, expected) in [
        (
            HAIKU_3,
            without("anthropic_version"),
            "Malformed input request: #: required key [anthropic_version] not found, please reformat your input and try again.",
        ),
        (
            HAIKU_3,
            claude(&json!({ "stream": true, "chat_id": 1 })),
            "Malformed input request: #: extraneous key [stream] is not permitted, #: extraneous key [chat_id] is not permitted, please reformat your input and try again.",
        ),
        (SONNET, without("max_tokens"), "max_tokens: Field required"),
        (SONNET, without("messages"), "messages: Field required"),
        (SONNET, claude(&json!({ "model": "m" })), "model: Extra inputs are not permitted"),
        (
            SONNET,
            claude(&json!({ "max_tokens": 0 })),
            "max_tokens: Input should be greater than or equal to 1",
        ),
        (SONNET, claude(&json!({ "temperature": 1.5 })), "temperature: range: 0..1"),
    ] {
        check_refused(id, &body, expected);
    }
}

#[test]
fn conversations_and_parameters_that_claude_refuses_are_refused_in_its_words() {
    for (id, body, expected) in [
        (SONNET, claude(&json!({ "messages": [] })), "messages: at least one message is required"),
        (
            SONNET,
            claude(&json!({ "messages": turns(&["assistant"]) })),
            "messages: first message must use the \"user\" role",
        ),
        (
            SONNET,
            claude(&json!({ "messages": turns(&["user", "system"]) })),
            "messages: Unexpected role \"system\".",
        ),
        (
            SONNET,
            claude(&json!({ "messages": turns(&["user", "robot"]) })),
            "messages.1.role: Input should be 'user' or 'assistant'",
        ),
        (
            HAIKU_3,
            claude(&json!({ "messages": turns(&["user", "user"]) })),
            "messages: roles must alternate between \"user\" and \"assistant\", but found multiple \"user\" roles in a row",
        ),
        (
            SONNET,
            claude(&json!({ "messages": [{ "role": "user", "content": "" }] })),
            "messages: text content blocks must be non-empty",
        ),
        (
            SONNET,
            claude(&json!({ "messages": "a" })),
            "Malformed input request: #/messages: invalid type: string",
        ),
        (
            SONNET,
            claude(&json!({ "messages": [{ "role": 3, "content": "a" }] })),
            "Malformed input request: #/messages/0/role: invalid type",
        ),
        (
            OPUS_4_7,
            claude(&json!({ "temperature": 0.2 })),
            "`temperature` is deprecated for this model.",
        ),
        (OPUS_4_7, claude(&json!({ "top_k": 5 })), "`top_k` is deprecated for this model."),
        (
            OPUS_4_7,
            claude(&json!({ "messages": turns(&["user", "assistant"]) })),
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ),
    ] {
        check_refused(id, &body, expected);
    }
}

#[test]
fn bodies_of_another_form_are_refused_by_every_other_family() {
    let user = turns(&["user"]);
    for (id, body, expected) in [
        (
            LLAMA_3,
            json!({ "messages": user }),
            "Malformed input request: #: required key [prompt] not found, #: extraneous key [messages] is not permitted, please",
        ),
        (
            LLAMA_3,
            json!({ "prompt": "a", "stop": ["b"] }),
            "Malformed input request: #: extraneous key [stop] is not permitted, please",
        ),
        (
            LLAMA_4,
            json!({ "prompt": "a", "temperature": 2 }),
            "Malformed input request: #/temperature: 2 is not less or equal to 1, please",
        ),
        (
            LLAMA_4,
            json!({ "prompt": "a", "max_gen_len": 0 }),
            "Malformed input request: #/max_gen_len: 0 is not greater or equal to 1",
        ),
        (
            LLAMA_3,
            json!({ "prompt": "" }),
            "Malformed input request: #/prompt: expected minLength: 1",
        ),
        (MIXTRAL, json!({ "messages": user }), "#: required key [prompt] not found"),
        (
            MIXTRAL,
            json!({ "prompt": "a", "stop": "b" }),
            "Malformed input request: #/stop: invalid type: string",
        ),
        (
            LARGE_2407,
            json!({ "prompt": "a" }),
            "#: required key [messages] not found, #: extraneous key [prompt]",
        ),
        (
            LARGE_2407,
            json!({ "messages": turns(&["robot"]) }),
            "#/messages/0/role: robot is not a valid enum value",
        ),
        (
            NOVA,
            json!({ "messages": user, "max_tokens": 5 }),
            "Malformed input request: #/messages/0/content: invalid type",
        ),
        (
            NOVA,
            json!({ "max_tokens": 5 }),
            "#: required key [messages] not found, #: extraneous key [max_tokens] is not permitted",
        ),
    ] {
        check_refused(id, &body, expected);
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let mut facts = Facts::unread(SONNET.to_owned(), Operation::Invoke);
    for bytes in [&b"{"[..], b"no", b"{\"messages\":[]} x", b"\xff"] {
        let refusal = Shape::Claude.read(bytes, &mut facts).unwrap_err();
        let expected = "Malformed input request, please reformat your input and try again.";
        assert_eq!(refusal.message, expected);
    }
}

#[test]
fn what_the_service_lets_pass_passes() {
    for (id, body) in [
        (
            SONNET,
            claude(
                &json!({ "messages": turns(&["user", "user"]), "thinking": { "type": "enabled" }, "metadata": {}, "top_k": null }),
            ),
        ),
        (SONNET, claude(&json!({ "messages": turns(&["user", "assistant"]), "temperature": 0.2 }))),
        (OPUS_4_7, claude(&json!({ "temperature": 1 }))),
        (
            SONNET,
            claude(
                &json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": {} }, { "type": "text", "text": "a" }] }] }),
            ),
        ),
        (SONNET, claude(&json!({ "tools": [{ "type": "bash_20250124", "name": "bash" }] }))),
        (
            LARGE_2407,
            json!({ "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": null, "tool_calls": [] },
            { "role": "tool", "tool_call_id": "x", "content": "b" },
        ] }),
        ),
        (
            NOVA,
            json!({ "messages": [{ "role": "user", "content": [{ "text": "a" }] }], "inferenceConfig": { "max_new_tokens": 9, "top_p": 0.5 } }),
        ),
    ] {
        assert!(told(id, &body).is_ok(), "{body}: {:?}", told(id, &body));
    }
}

proptest::proptest! {
    #[test]
    fn no_prompt_whatever_is_taken_apart_into_texts_that_hold_marks(
        parts in proptest::collection::vec(0..PARTS.len(), 0..24),
    ) {
        let text: String = parts.iter().map(|part| PARTS[*part]).collect();
        for id in [LLAMA_3, LLAMA_4, MIXTRAL] {
            let prompt = match id {
                LLAMA_3 => LLAMA_3_PROMPT.replace("Hello.", &text),
                LLAMA_4 => llama_4_prompt().replace("Hello.", &text),
                _ => format!("<s>[INST] {text} [/INST] Hi!</s>[INST] Again? [/INST]"),
            };
            let Ok(got) = told(id, &json!({ "prompt": prompt })) else {
                continue;
            };
            let marks = match id {
                LLAMA_3 => 0..4,
                LLAMA_4 => 3..7,
                _ => 7..11,
            };
            for (_, line) in got.lines.iter().filter(|_| got.note.is_none()) {
                let held = PARTS[marks.clone()].iter().any(|mark| line.contains(mark));
                proptest::prop_assert!(!held, "{prompt}: {line}");
            }
        }
    }
}
