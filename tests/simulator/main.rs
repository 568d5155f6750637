//! The simulator as a real AWS SDK client sees it, over HTTP. Must not know: the simulator's inside.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests stop a test by panicking, as the tests themselves do"
)]

mod answers;
mod every_fault;
mod every_interface;
mod faults;
mod invoke;
mod quota;
mod scripts;
mod tokens;

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
use quarrier::simulator::{FAULTS, Fault, Faults, Latency, Outcome, Simulator, SimulatorOptions};
use serde_json::{Value, json};

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

async fn simulator(options: SimulatorOptions) -> (Simulator, Client) {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let simulator = Simulator::start(address, options).await.unwrap();
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDSIMULATED", "secret", None, None, "test"))
        .endpoint_url(simulator.endpoint_url())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    (simulator, Client::from_conf(config))
}

fn faulty(fault: Fault) -> SimulatorOptions {
    SimulatorOptions { faults: Faults::one(fault, 1.0), ..SimulatorOptions::default() }
}

fn turn(role: ConversationRole, text: &str) -> Message {
    let block = ContentBlock::Text(text.to_owned());
    Message::builder().role(role).content(block).build().unwrap()
}

fn user(text: &str) -> Message {
    turn(ConversationRole::User, text)
}

fn limits(max_tokens: i32) -> InferenceConfiguration {
    InferenceConfiguration::builder().max_tokens(max_tokens).build()
}

fn text_of(output: &ConverseOutput) -> String {
    let message = output.output().unwrap().as_message().unwrap();
    let texts = message.content().iter().filter_map(|block| block.as_text().ok());
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
    format!("Fill this in.\n\nJSON Schema:\n```json\n{:#}\n```\nAnswer with JSON only.", schema())
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
    (status, code, service.message().unwrap_or_default().to_owned())
}
