//! What a client gets: text, JSON that fits, tool calls, whole and streamed. Must not know: faults.

use super::*;

#[tokio::test]
async fn a_text_answer_is_labelled_and_counted() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = client.converse().model_id(MODEL).messages(user("What is a quarry?"));
    let call = call.inference_config(limits(1_000));
    let call = call.request_metadata("job_id", "j-1").request_metadata("attempt", "2");
    let output = call.send().await.unwrap();
    assert!(text_of(&output).starts_with("[simulated] "));
    assert_eq!(output.stop_reason(), &StopReason::EndTurn);
    let label = output.additional_model_response_fields().unwrap();
    assert_eq!(label.as_object().unwrap().get("simulated"), Some(&Document::Bool(true)));
    let usage = output.usage().unwrap();
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!(logged.model_id, MODEL);
    assert_eq!(logged.job_id.as_deref(), Some("j-1"));
    assert_eq!(logged.attempt.as_deref(), Some("2"));
    assert_eq!(logged.outcome, Outcome::Admitted);
    assert_eq!(i32::try_from(logged.input_tokens).unwrap(), usage.input_tokens());
    assert_eq!(logged.reserved, logged.input_tokens + 1_000);
    let output_tokens = logged.output_tokens.unwrap();
    assert_eq!(i32::try_from(output_tokens).unwrap(), usage.output_tokens());
    assert_eq!(logged.settled, Some(logged.input_tokens + 5 * output_tokens));
    assert_eq!(logged.billed, logged.input_tokens + output_tokens);
    assert!(!logged.client_gone);
    simulator.stop().await;
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_whole_or_streamed_and_another_seed_another() {
    let (_one, client) = simulator(SimulatorOptions::default()).await;
    let seeded = SimulatorOptions { seed: 9, ..SimulatorOptions::default() };
    let (_other, other_client) = simulator(seeded).await;
    let ask = |client: &Client| {
        let call = client.converse().model_id(MODEL).messages(user("Say something."));
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
    assert_eq!(u64::try_from(output).unwrap(), logged.output_tokens.unwrap());
    assert!(logged.ended_at_ms.is_some());
}

#[tokio::test]
async fn a_paced_stream_brings_the_same_answer() {
    let latency = Latency { first_token_ms: 5, per_token_us: 50, spread_percent: 20 };
    let (_fast, fast_client) = simulator(SimulatorOptions::default()).await;
    let slow = SimulatorOptions { latency, ..SimulatorOptions::default() };
    let (simulator, client) = simulator(slow).await;
    let slow = stream(&client, user("Tell me of stone.")).await;
    assert_eq!(slow.text, stream(&fast_client, user("Tell me of stone.")).await.text);
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
        .messages(user("The answer does not fit: title is not a string. Answer again."))
        .send();
    assert!(fits(&text_of(&re_ask.await.unwrap())));
}

#[tokio::test]
async fn a_native_schema_is_answered_by_json_that_fits_and_a_broken_one_is_refused() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let config = |schema: String| {
        let schema = JsonSchemaDefinition::builder().schema(schema).build().unwrap();
        let format = OutputFormat::builder()
            .r#type(OutputFormatType::JsonSchema)
            .structure(OutputFormatStructure::JsonSchema(schema))
            .build()
            .unwrap();
        OutputConfig::builder().text_format(format).build()
    };
    let ask = |schema: String| {
        let call = client.converse().model_id(MODEL).messages(user("Fill this in."));
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
    let choice = SpecificToolChoice::builder().name("record").build().unwrap();
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
            let entries = map.iter().map(|(key, value)| (key.clone(), document(value)));
            Document::Object(entries.collect())
        }
    }
}

#[tokio::test]
async fn a_forced_tool_is_called_with_input_that_fits_whole_and_streamed() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = client.converse().model_id(MODEL).messages(user("Record it."));
    let output = call.tool_config(forced_tool()).send().await.unwrap();
    assert_eq!(output.stop_reason(), &StopReason::ToolUse);
    let message = output.output().unwrap().as_message().unwrap();
    let tool = message.content().first().unwrap().as_tool_use().unwrap();
    assert_eq!(tool.name(), "record");
    assert!(tool.input().as_object().unwrap().contains_key("title"));
    let call = client.converse_stream().model_id(MODEL).messages(user("Record it."));
    let mut output = call.tool_config(forced_tool()).send().await.unwrap();
    let got = drain(&mut output.stream).await;
    assert_eq!(got.tool_name.as_deref(), Some("record"));
    assert!(fits(&got.tool_input), "{}", got.tool_input);
    assert_eq!(got.stop, Some(StopReason::ToolUse));
}
