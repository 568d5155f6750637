//! The simulator as a real AWS SDK client sees it, over HTTP. Must not know: the simulator's inside.

use std::net::SocketAddr;

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::{
    BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig,
};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::converse::{ConverseError, ConverseOutput};
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput as Event,
    InferenceConfiguration, JsonSchemaDefinition, Message, OutputConfig, OutputFormat,
    OutputFormatStructure, OutputFormatType, SpecificToolChoice, StopReason, Tool, ToolChoice,
    ToolConfiguration, ToolInputSchema, ToolSpecification,
};
use aws_smithy_types::Document;
use quarrier::simulator::{Fault, Faults, Latency, Outcome, Simulator, SimulatorOptions};
use serde_json::{Value, json};

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

async fn simulator(options: SimulatorOptions) -> (Simulator, Client) {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let simulator = Simulator::start(address, options).await.unwrap();
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(
            "AKIDSIMULATED",
            "secret",
            None,
            None,
            "test",
        ))
        .endpoint_url(simulator.endpoint_url())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    (simulator, Client::from_conf(config))
}

fn faulty(fault: Fault) -> SimulatorOptions {
    SimulatorOptions {
        faults: Faults::one(fault, 1.0),
        ..SimulatorOptions::default()
    }
}

fn turn(role: ConversationRole, text: &str) -> Message {
    let block = ContentBlock::Text(text.to_owned());
    Message::builder()
        .role(role)
        .content(block)
        .build()
        .unwrap()
}

fn user(text: &str) -> Message {
    turn(ConversationRole::User, text)
}

fn limits(max_tokens: i32) -> InferenceConfiguration {
    InferenceConfiguration::builder()
        .max_tokens(max_tokens)
        .build()
}

fn text_of(output: &ConverseOutput) -> String {
    let message = output.output().unwrap().as_message().unwrap();
    let texts = message
        .content()
        .iter()
        .filter_map(|block| block.as_text().ok());
    texts.cloned().collect()
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "title": { "type": "string", "minLength": 3, "maxLength": 40 },
            "score": { "type": "integer", "minimum": 0, "maximum": 10 },
            "tags": { "type": "array", "items": { "enum": ["a", "b", "c"] }, "minItems": 1, "uniqueItems": true },
            "due": { "type": ["string", "null"], "format": "date" },
            "code": { "type": "string", "pattern": "^[A-Z]{3}-\\d{4}$" }
        },
        "required": ["title", "score", "tags", "code"],
        "additionalProperties": false
    })
}

fn fits(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap();
    jsonschema::is_valid(&schema(), &value)
}

fn prompt_with_schema() -> String {
    format!(
        "Fill this in.\n\nJSON Schema:\n```json\n{:#}\n```\nAnswer with JSON only.",
        schema()
    )
}

/// What a stream brought: its text, its stop reason, its usage (input, output), how it ended.
#[derive(Debug, Default)]
struct Streamed {
    text: String,
    tool_name: Option<String>,
    tool_input: String,
    stop: Option<StopReason>,
    usage: Option<(i32, i32)>,
    error: Option<String>,
}

async fn stream(client: &Client, message: Message) -> Streamed {
    let call = client.converse_stream().model_id(MODEL).messages(message);
    let mut output = call.inference_config(limits(2_000)).send().await.unwrap();
    drain(&mut output.stream).await
}

async fn drain(
    stream: &mut aws_sdk_bedrockruntime::primitives::event_stream::EventReceiver<
        Event,
        aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError,
    >,
) -> Streamed {
    let mut got = Streamed::default();
    loop {
        match stream.recv().await {
            Ok(Some(Event::ContentBlockStart(start))) => {
                let start = start.start.unwrap();
                got.tool_name = start.as_tool_use().ok().map(|tool| tool.name().to_owned());
            }
            Ok(Some(Event::ContentBlockDelta(delta))) => match delta.delta.unwrap() {
                ContentBlockDelta::Text(text) => got.text.push_str(&text),
                ContentBlockDelta::ToolUse(tool) => got.tool_input.push_str(tool.input()),
                other => panic!("unexpected delta {other:?}"),
            },
            Ok(Some(Event::MessageStop(stop))) => got.stop = Some(stop.stop_reason),
            Ok(Some(Event::Metadata(metadata))) => {
                let usage = metadata.usage.unwrap();
                got.usage = Some((usage.input_tokens, usage.output_tokens));
            }
            Ok(Some(_)) => {}
            Ok(None) => return got,
            Err(error) => {
                got.error = Some(format!("{error:?}"));
                return got;
            }
        }
    }
}

fn refusal(result: Result<ConverseOutput, SdkError<ConverseError>>) -> (u16, String, String) {
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    let service = error.into_service_error();
    let code = service.code().unwrap_or_default().to_owned();
    (
        status,
        code,
        service.message().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn a_text_answer_is_labelled_and_counted() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = client
        .converse()
        .model_id(MODEL)
        .messages(user("What is a quarry?"));
    let call = call.inference_config(limits(1_000));
    let call = call
        .request_metadata("job_id", "j-1")
        .request_metadata("attempt", "2");
    let output = call.send().await.unwrap();
    assert!(text_of(&output).starts_with("[simulated] "));
    assert_eq!(output.stop_reason(), &StopReason::EndTurn);
    let label = output.additional_model_response_fields().unwrap();
    assert_eq!(
        label.as_object().unwrap().get("simulated"),
        Some(&Document::Bool(true))
    );
    let usage = output.usage().unwrap();
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!(logged.model_id, MODEL);
    assert_eq!(logged.job_id.as_deref(), Some("j-1"));
    assert_eq!(logged.attempt.as_deref(), Some("2"));
    assert_eq!(logged.outcome, Outcome::Admitted);
    assert_eq!(
        i32::try_from(logged.input_tokens).unwrap(),
        usage.input_tokens()
    );
    assert_eq!(logged.reserved, logged.input_tokens + 1_000);
    let output_tokens = logged.output_tokens.unwrap();
    assert_eq!(i32::try_from(output_tokens).unwrap(), usage.output_tokens());
    assert_eq!(
        logged.settled,
        Some(logged.input_tokens + 5 * output_tokens)
    );
    assert_eq!(logged.billed, logged.input_tokens + output_tokens);
    assert!(!logged.client_gone);
    simulator.stop().await;
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_whole_or_streamed_and_another_seed_another() {
    let (_one, client) = simulator(SimulatorOptions::default()).await;
    let seeded = SimulatorOptions {
        seed: 9,
        ..SimulatorOptions::default()
    };
    let (_other, other_client) = simulator(seeded).await;
    let ask = |client: &Client| {
        let call = client
            .converse()
            .model_id(MODEL)
            .messages(user("Say something."));
        call.inference_config(limits(2_000)).send()
    };
    let first = text_of(&ask(&client).await.unwrap());
    assert_eq!(first, text_of(&ask(&client).await.unwrap()));
    assert_eq!(first, stream(&client, user("Say something.")).await.text);
    assert_ne!(first, text_of(&ask(&other_client).await.unwrap()));
}

#[tokio::test]
async fn a_stream_ends_with_its_stop_reason_and_usage() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let got = stream(&client, user("Tell me of stone.")).await;
    assert!(got.text.starts_with("[simulated] "));
    assert_eq!(got.stop, Some(StopReason::EndTurn));
    let (input, output) = got.usage.unwrap();
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert!(logged.stream);
    assert_eq!(u64::try_from(input).unwrap(), logged.input_tokens);
    assert_eq!(
        u64::try_from(output).unwrap(),
        logged.output_tokens.unwrap()
    );
    assert!(logged.ended_at_ms.is_some());
}

#[tokio::test]
async fn a_paced_stream_brings_the_same_answer() {
    let latency = Latency {
        first_token_ms: 5,
        per_token_us: 50,
        spread_percent: 20,
    };
    let (_fast, fast_client) = simulator(SimulatorOptions::default()).await;
    let slow = SimulatorOptions {
        latency,
        ..SimulatorOptions::default()
    };
    let (simulator, client) = simulator(slow).await;
    let slow = stream(&client, user("Tell me of stone.")).await;
    assert_eq!(
        slow.text,
        stream(&fast_client, user("Tell me of stone.")).await.text
    );
    assert!(slow.usage.is_some());
    let summary = simulator.summary();
    assert_eq!((summary.in_flight, summary.client_gone), (0, 0));
}

#[tokio::test]
async fn a_schema_in_the_prompt_is_answered_by_json_that_fits_also_in_a_re_ask() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let asked = stream(&client, user(&prompt_with_schema())).await;
    assert!(fits(&asked.text), "{}", asked.text);
    let re_ask = client
        .converse()
        .model_id(MODEL)
        .messages(user(&prompt_with_schema()))
        .messages(turn(ConversationRole::Assistant, "{\"title\": 3}"))
        .messages(user(
            "The answer does not fit: title is not a string. Answer again.",
        ))
        .send();
    assert!(fits(&text_of(&re_ask.await.unwrap())));
}

#[tokio::test]
async fn a_native_schema_is_answered_by_json_that_fits_and_a_broken_one_is_refused() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let config = |schema: String| {
        let schema = JsonSchemaDefinition::builder()
            .schema(schema)
            .build()
            .unwrap();
        let format = OutputFormat::builder()
            .r#type(OutputFormatType::JsonSchema)
            .structure(OutputFormatStructure::JsonSchema(schema))
            .build()
            .unwrap();
        OutputConfig::builder().text_format(format).build()
    };
    let ask = |schema: String| {
        let call = client
            .converse()
            .model_id(MODEL)
            .messages(user("Fill this in."));
        call.output_config(config(schema)).send()
    };
    let answer = ask(schema().to_string()).await.unwrap();
    assert!(fits(&text_of(&answer)));
    let (status, code, _) = refusal(ask("{\"type\": 12}".to_owned()).await);
    assert_eq!((status, code.as_str()), (400, "ValidationException"));
}

fn forced_tool() -> ToolConfiguration {
    let document: Document = document(&schema());
    let spec = ToolSpecification::builder()
        .name("record")
        .input_schema(ToolInputSchema::Json(document))
        .build()
        .unwrap();
    let choice = SpecificToolChoice::builder()
        .name("record")
        .build()
        .unwrap();
    ToolConfiguration::builder()
        .tools(Tool::ToolSpec(spec))
        .tool_choice(ToolChoice::Tool(choice))
        .build()
        .unwrap()
}

fn document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(flag) => Document::Bool(*flag),
        Value::Number(number) => {
            Document::Number(aws_smithy_types::Number::PosInt(number.as_u64().unwrap()))
        }
        Value::String(text) => Document::String(text.clone()),
        Value::Array(items) => Document::Array(items.iter().map(document).collect()),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (key.clone(), document(value)));
            Document::Object(entries.collect())
        }
    }
}

#[tokio::test]
async fn a_forced_tool_is_called_with_input_that_fits_whole_and_streamed() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = client
        .converse()
        .model_id(MODEL)
        .messages(user("Record it."));
    let output = call.tool_config(forced_tool()).send().await.unwrap();
    assert_eq!(output.stop_reason(), &StopReason::ToolUse);
    let message = output.output().unwrap().as_message().unwrap();
    let tool = message.content().first().unwrap().as_tool_use().unwrap();
    assert_eq!(tool.name(), "record");
    assert!(tool.input().as_object().unwrap().contains_key("title"));
    let call = client
        .converse_stream()
        .model_id(MODEL)
        .messages(user("Record it."));
    let mut output = call.tool_config(forced_tool()).send().await.unwrap();
    let got = drain(&mut output.stream).await;
    assert_eq!(got.tool_name.as_deref(), Some("record"));
    assert!(fits(&got.tool_input), "{}", got.tool_input);
    assert_eq!(got.stop, Some(StopReason::ToolUse));
}

#[tokio::test]
async fn used_up_requests_and_tokens_throttle_with_the_services_texts() {
    let few_requests = SimulatorOptions {
        requests_per_minute: Some(1),
        ..SimulatorOptions::default()
    };
    let few_tokens = SimulatorOptions {
        tokens_per_minute: Some(1_100),
        ..SimulatorOptions::default()
    };
    for (options, word) in [(few_requests, "requests"), (few_tokens, "tokens")] {
        let (simulator, client) = simulator(options).await;
        let ask = || {
            let call = client.converse().model_id(MODEL).messages(user("Hello."));
            call.inference_config(limits(1_000)).send()
        };
        ask().await.unwrap();
        let error = ask().await.unwrap_err();
        assert!(error.as_service_error().unwrap().is_throttling_exception());
        let (status, code, text) = refusal(Err(error));
        assert_eq!((status, code.as_str()), (429, "ThrottlingException"));
        assert_eq!(
            text,
            format!("Too many {word}, please wait before trying again.")
        );
        let summary = simulator.summary();
        assert_eq!(
            (summary.calls, summary.admitted, summary.throttled),
            (2, 1, 1)
        );
        assert_eq!(summary.worst_window_requests, 1);
    }
}

#[tokio::test]
async fn a_settled_call_gives_back_what_it_did_not_use() {
    let options = SimulatorOptions {
        tokens_per_minute: Some(20_000),
        ..SimulatorOptions::default()
    };
    let (simulator, client) = simulator(options).await;
    // Each reserves a little more than half the quota, and uses far less.
    for number in 0..5 {
        let call = client
            .converse()
            .model_id(MODEL)
            .messages(user(&format!("Hello {number}")));
        call.inference_config(limits(10_001)).send().await.unwrap();
    }
    let summary = simulator.summary();
    assert_eq!((summary.admitted, summary.throttled), (5, 0));
    assert!(summary.worst_window_tokens_at_admission <= 20_000);
}

#[tokio::test]
async fn requests_that_the_service_refuses_are_refused_in_its_words() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = |message: Message| client.converse().model_id(MODEL).messages(message);
    let assistant = turn(ConversationRole::Assistant, "I begin.");
    for (result, expected) in [
        (
            call(assistant).send().await,
            "A conversation must start with a user message.",
        ),
        (call(user(" ")).send().await, "is blank"),
        (
            call(user("a")).messages(user("b")).send().await,
            "must alternate",
        ),
        (
            call(user("a")).inference_config(limits(0)).send().await,
            "greater than or equal to 1",
        ),
        (
            client
                .converse()
                .model_id("no-such-model")
                .messages(user("a"))
                .send()
                .await,
            "The provided model identifier is invalid.",
        ),
    ] {
        let (status, code, text) = refusal(result);
        assert_eq!((status, code.as_str()), (400, "ValidationException"));
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(simulator.summary().outcomes.get("refused"), Some(&5));
    assert_eq!(simulator.summary().worst_window_requests, 0);
}

#[tokio::test]
async fn an_arn_with_slashes_reaches_its_model() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{MODEL}");
    client
        .converse()
        .model_id(&arn)
        .messages(user("Hello."))
        .send()
        .await
        .unwrap();
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!(logged.model_id, arn);
    let output_tokens = logged.output_tokens.unwrap();
    assert_eq!(
        logged.settled,
        Some(logged.input_tokens + 5 * output_tokens)
    );
}

#[tokio::test]
async fn faults_by_status_arrive_as_typed_errors() {
    for (fault, status, code) in [
        (Fault::Throttle, 429, "ThrottlingException"),
        (Fault::Http500, 500, "InternalServerException"),
        (Fault::Http503, 503, "ServiceUnavailableException"),
    ] {
        let (simulator, client) = simulator(faulty(fault)).await;
        let result = client
            .converse()
            .model_id(MODEL)
            .messages(user("Hello."))
            .send()
            .await;
        let (got_status, got_code, _) = refusal(result);
        assert_eq!((got_status, got_code.as_str()), (status, code));
        let calls = simulator.calls();
        let logged = calls.first().unwrap();
        assert_eq!(
            (logged.outcome, logged.settled, logged.billed),
            (Outcome::Fault(fault), Some(0), 0)
        );
        simulator.set_faults(Faults::none());
        client
            .converse()
            .model_id(MODEL)
            .messages(user("Hello."))
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_caller_who_leaves_a_hanging_call_stays_charged() {
    let (simulator, client) = simulator(faulty(Fault::Hang)).await;
    let call = client.converse().model_id(MODEL).messages(user("Hello."));
    let call = tokio::spawn(call.inference_config(limits(500)).send());
    simulator.until(|summary| summary.in_flight == 1).await;
    call.abort();
    simulator.until(|summary| summary.client_gone == 1).await;
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!(logged.settled, Some(logged.input_tokens + 500));
    assert!(logged.client_gone && logged.ended_at_ms.is_some());
}

#[tokio::test]
async fn a_caller_who_leaves_a_silent_stream_stays_charged_and_a_stop_ends_it() {
    let (simulator, client) = simulator(faulty(Fault::HangStream)).await;
    let open = || {
        client
            .converse_stream()
            .model_id(MODEL)
            .messages(user("Hello."))
            .send()
    };
    let mut left = open().await.unwrap();
    assert!(matches!(
        left.stream.recv().await,
        Ok(Some(Event::MessageStart(_)))
    ));
    drop(left);
    simulator.until(|summary| summary.client_gone == 1).await;
    let mut held = open().await.unwrap();
    assert!(matches!(
        held.stream.recv().await,
        Ok(Some(Event::MessageStart(_)))
    ));
    simulator.stop().await;
    let got = drain(&mut held.stream).await;
    assert!(got.usage.is_none());
}

#[tokio::test]
async fn a_stream_cut_between_frames_ends_cleanly_without_its_closing_events() {
    let (_simulator, client) = simulator(faulty(Fault::CutStream)).await;
    let got = stream(&client, user("Hello.")).await;
    assert!(!got.text.is_empty());
    assert_eq!((got.stop, got.usage, got.error), (None, None, None));
}

#[tokio::test]
async fn a_stream_cut_inside_a_frame_is_an_error() {
    let (_simulator, client) = simulator(faulty(Fault::CutFrame)).await;
    let got = stream(&client, user("Hello.")).await;
    assert!(!got.text.is_empty() && got.usage.is_none());
    assert!(got.error.is_some());
}

#[tokio::test]
async fn a_whole_answer_that_is_cut_breaks_its_connection() {
    let (_simulator, client) = simulator(faulty(Fault::CutStream)).await;
    let error = client
        .converse()
        .model_id(MODEL)
        .messages(user("Hello."))
        .send()
        .await
        .unwrap_err();
    assert!(
        error
            .as_service_error()
            .is_none_or(|error| error.code().is_none()),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_truncated_answer_says_so_and_has_used_all_its_tokens() {
    let (_simulator, client) = simulator(faulty(Fault::Truncated)).await;
    let got = stream(&client, user(&prompt_with_schema())).await;
    assert_eq!(got.stop, Some(StopReason::MaxTokens));
    assert_eq!(got.usage.unwrap().1, 2_000);
    assert!(serde_json::from_str::<Value>(&got.text).is_err());
}

#[tokio::test]
async fn an_answer_longer_than_its_limit_is_truncated() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = client
        .converse()
        .model_id(MODEL)
        .messages(user(&prompt_with_schema()));
    let output = call.inference_config(limits(3)).send().await.unwrap();
    assert_eq!(output.stop_reason(), &StopReason::MaxTokens);
    assert_eq!(output.usage().unwrap().output_tokens(), 3);
    assert!(text_of(&output).len() <= 12);
}

#[tokio::test]
async fn spoilt_json_is_spoilt_in_the_way_that_was_asked_for() {
    for fault in [
        Fault::Prose,
        Fault::MalformedJson,
        Fault::WrongSchema,
        Fault::Empty,
    ] {
        let (simulator, client) = simulator(faulty(fault)).await;
        let got = stream(&client, user(&prompt_with_schema())).await;
        let parsed: Result<Value, _> = serde_json::from_str(&got.text);
        match fault {
            Fault::WrongSchema => assert!(!fits(&got.text), "{}", got.text),
            Fault::Empty => assert_eq!(got.text, ""),
            _ => assert!(parsed.is_err(), "{}", got.text),
        }
        assert_eq!(got.stop, Some(StopReason::EndTurn));
        assert_eq!(
            simulator.calls().first().unwrap().outcome,
            Outcome::Fault(fault)
        );
        // Free text has no JSON to spoil: such a call counts as admitted.
        let plain = stream(&client, user("Hello.")).await;
        assert_eq!(plain.text.is_empty(), fault == Fault::Empty);
        let outcomes = simulator.summary().outcomes;
        assert_eq!(
            outcomes.get("admitted").copied().unwrap_or(0),
            u64::from(fault != Fault::Empty)
        );
    }
}

/// One plain HTTP request, without the SDK; the status line, the head and the body that came back.
async fn plain(simulator: &Simulator, request: &str, body: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut connection = tokio::net::TcpStream::connect(simulator.address())
        .await
        .unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut got = String::new();
    connection.read_to_string(&mut got).await.unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn an_unsigned_request_is_refused_and_every_answer_is_labelled() {
    let (simulator, _client) = simulator(SimulatorOptions::default()).await;
    let (head, body) = plain(&simulator, &format!("POST /model/{MODEL}/converse"), "{}").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(
        head.contains("x-amzn-errortype: MissingAuthenticationTokenException"),
        "{head}"
    );
    assert!(body.contains("Missing Authentication Token"));
    for request in [
        "POST /model/x/no-such-operation",
        "GET /calls",
        "GET /summary",
        "GET /healthz",
        "GET /",
    ] {
        let (head, _) = plain(&simulator, request, "").await;
        assert!(head.contains("x-quarrier-simulated: true"), "{head}");
        assert!(head.contains("x-amzn-requestid: "), "{head}");
    }
}

#[tokio::test]
async fn the_call_log_can_be_asked_by_job_and_by_number() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    for job in ["a", "b", "a"] {
        let call = client.converse().model_id(MODEL).messages(user("Hello."));
        call.request_metadata("job_id", job).send().await.unwrap();
    }
    let mut counts = Vec::new();
    for query in [
        "",
        "?job_id=a",
        "?since=2",
        "?job_id=a&since=1",
        "?job_id=c",
    ] {
        let (_, body) = plain(&simulator, &format!("GET /calls{query}"), "").await;
        let report: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(report["simulated"], true);
        counts.push(report["calls"].as_array().unwrap().len());
    }
    assert_eq!(counts, [3, 2, 1, 1, 0]);
    let (_, body) = plain(&simulator, "GET /summary", "").await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["calls"], 3);
    assert_eq!(report["outcomes"]["admitted"], 3);
}

#[tokio::test]
async fn the_call_log_is_bounded_and_keeps_the_newest() {
    let small = SimulatorOptions {
        call_log_max: 2,
        ..SimulatorOptions::default()
    };
    let (simulator, client) = simulator(small).await;
    for _ in 0..5 {
        client
            .converse()
            .model_id(MODEL)
            .messages(user("Hello."))
            .send()
            .await
            .unwrap();
    }
    let kept: Vec<u64> = simulator.calls().iter().map(|call| call.seq).collect();
    assert_eq!(kept, [4, 5]);
    assert_eq!(simulator.summary().calls, 5);
}

#[tokio::test]
async fn each_model_may_have_the_quota_for_itself() {
    let options = SimulatorOptions {
        requests_per_minute: Some(1),
        quota_scope: quarrier::simulator::QuotaScope::Model,
        ..SimulatorOptions::default()
    };
    let (simulator, client) = simulator(options).await;
    for model in [MODEL, "amazon.nova-lite-v1:0", MODEL] {
        let call = client.converse().model_id(model).messages(user("Hello."));
        drop(call.send().await);
    }
    let summary = simulator.summary();
    assert_eq!((summary.admitted, summary.throttled), (2, 1));
}
