//! InvokeModel in every family's form, whole and streamed. Must not know: faults.

use aws_sdk_bedrockruntime::operation::invoke_model::InvokeModelError;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::ResponseStream;

use super::*;

const LLAMA_3: &str = "meta.llama3-1-8b-instruct-v1:0";
const LLAMA_4: &str = "us.meta.llama4-scout-17b-instruct-v1:0";
const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
const LARGE_2407: &str = "mistral.mistral-large-2407-v1:0";
const LARGE_3: &str = "mistral.mistral-large-3-675b-instruct";
const NOVA: &str = "us.amazon.nova-lite-v1:0";
pub(crate) const FAMILIES: [&str; 7] =
    [MODEL, LLAMA_3, LLAMA_4, MIXTRAL, LARGE_2407, LARGE_3, NOVA];

/// The body of one user turn, in the model's own form.
pub(crate) fn body(model: &str, prompt: &str, max_tokens: u32) -> Value {
    let turn = |content: Value| json!([{ "role": "user", "content": content }]);
    let llama = |header: &str, end: &str, eot: &str| {
        format!(
            "<|begin_of_text|><|{header}|>user<|{end}|>\n\n{prompt}<|{eot}|><|{header}|>assistant\
             <|{end}|>\n\n"
        )
    };
    match model {
        LLAMA_3 => {
            json!({ "prompt": llama("start_header_id", "end_header_id", "eot_id"), "max_gen_len": max_tokens })
        }
        LLAMA_4 => {
            json!({ "prompt": llama("header_start", "header_end", "eot"), "max_gen_len": max_tokens })
        }
        MIXTRAL => {
            json!({ "prompt": format!("<s>[INST] {prompt} [/INST]"), "max_tokens": max_tokens })
        }
        LARGE_2407 | LARGE_3 => {
            json!({ "messages": turn(json!(prompt)), "max_tokens": max_tokens })
        }
        NOVA => {
            json!({ "messages": turn(json!([{ "text": prompt }])), "inferenceConfig": { "maxTokens": max_tokens } })
        }
        _ => {
            json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": max_tokens, "messages": turn(json!(prompt)) })
        }
    }
}

/// Text and stop reason of a whole answer.
fn answer(model: &str, body: &Value) -> (String, String) {
    let (text, stop) = match model {
        LLAMA_3 | LLAMA_4 => ("/generation", "/stop_reason"),
        MIXTRAL => ("/outputs/0/text", "/outputs/0/stop_reason"),
        LARGE_2407 => ("/choices/0/message/content", "/choices/0/stop_reason"),
        LARGE_3 => ("/choices/0/message/content", "/choices/0/finish_reason"),
        NOVA => ("/output/message/content/0/text", "/stopReason"),
        _ => ("/content/0/text", "/stop_reason"),
    };
    let at = |place: &str| body.pointer(place).and_then(Value::as_str).unwrap().to_owned();
    (at(text), at(stop))
}

/// Text, or a tool's input, of one chunk.
fn piece(chunk: &Value) -> String {
    let places = [
        "/delta/text",
        "/delta/partial_json",
        "/generation",
        "/outputs/0/text",
        "/choices/0/message/content",
        "/choices/0/delta/content",
        "/contentBlockDelta/delta/text",
    ];
    let found = places.iter().find_map(|place| chunk.pointer(place)?.as_str());
    found.unwrap_or_default().to_owned()
}

async fn invoke(
    client: &Client,
    model: &str,
    body: &Value,
) -> Result<Value, (u16, String, String)> {
    let call = client.invoke_model().model_id(model).content_type("application/json");
    match call.body(Blob::new(body.to_string())).send().await {
        Ok(output) => {
            assert_eq!(output.content_type(), "application/json");
            Ok(serde_json::from_slice(output.body().as_ref()).unwrap())
        }
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: SdkError<InvokeModelError>) -> (u16, String, String) {
    let status = error.raw_response().unwrap().status().as_u16();
    let service = error.into_service_error();
    let code = service.code().unwrap_or_default().to_owned();
    (status, code, service.message().unwrap_or_default().to_owned())
}

async fn chunks(client: &Client, model: &str, body: &Value) -> Vec<Value> {
    let call = client.invoke_model_with_response_stream().model_id(model);
    let call = call.content_type("application/json").body(Blob::new(body.to_string()));
    let mut output = call.send().await.unwrap();
    assert_eq!(output.content_type(), "application/json");
    let mut chunks = Vec::new();
    while let Some(event) = output.body.recv().await.unwrap() {
        let ResponseStream::Chunk(part) = event else {
            panic!("unexpected event");
        };
        chunks.push(serde_json::from_slice(part.bytes().unwrap().as_ref()).unwrap());
    }
    chunks
}

#[tokio::test]
async fn every_family_answers_in_its_own_form_whole_and_streamed_alike() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    for model in FAMILIES {
        let ask = body(model, "What is a quarry?", 1_000);
        let whole = invoke(&client, model, &ask).await.unwrap();
        let (text, stop) = answer(model, &whole);
        assert!(text.starts_with("[simulated] "), "{model}: {text}");
        assert!(text.contains("\"What is a quarry?\""), "{model}: {text}");
        assert!(["end_turn", "stop"].contains(&stop.as_str()), "{model}: {stop}");
        let chunks = chunks(&client, model, &ask).await;
        let streamed: String = chunks.iter().map(piece).collect();
        assert_eq!(streamed, text, "{model}");
        let metrics = &chunks.last().unwrap()["amazon-bedrock-invocationMetrics"];
        let calls = simulator.calls();
        let (whole, streamed) = (&calls[calls.len() - 2], &calls[calls.len() - 1]);
        assert_eq!((whole.api.as_str(), whole.stream), ("invoke", false));
        assert_eq!(streamed.api, "invoke-with-response-stream");
        assert!(streamed.stream && streamed.note.is_none() && whole.note.is_none());
        assert_eq!(metrics["inputTokenCount"], streamed.input_tokens);
        assert_eq!(metrics["outputTokenCount"], streamed.output_tokens.unwrap());
        assert_eq!(whole.output_tokens, streamed.output_tokens);
        assert_eq!(whole.reserved, whole.input_tokens + 1_000);
    }
}

#[tokio::test]
async fn every_family_says_that_an_answer_was_cut() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    for (model, stop) in FAMILIES.into_iter().zip([
        "max_tokens",
        "length",
        "length",
        "length",
        "length",
        "length",
        "max_tokens",
    ]) {
        let cut = invoke(&client, model, &body(model, &prompt_with_schema(), 3)).await.unwrap();
        assert_eq!(answer(model, &cut).1, stop, "{model}");
    }
}

#[tokio::test]
async fn every_family_answers_a_schema_in_the_prompt_by_json_that_fits() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    for model in FAMILIES {
        let ask = body(model, &prompt_with_schema(), 1_000);
        let whole = invoke(&client, model, &ask).await.unwrap();
        assert!(fits(&answer(model, &whole).0), "{model}");
    }
    // The same conversation counts the same, however it is spelt.
    let counts: Vec<u64> = simulator.calls().iter().map(|call| call.input_tokens).collect();
    let call = client.converse().model_id(NOVA).messages(user(&prompt_with_schema()));
    let converse = call.send().await.unwrap().usage().unwrap().input_tokens();
    assert!(counts.iter().all(|count| i32::try_from(*count) == Ok(converse)), "{counts:?}");
}

#[tokio::test]
async fn claude_answers_a_native_schema_and_a_forced_tool() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let mut ask = body(MODEL, "Fill this in.", 1_000);
    ask["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema() } });
    let native = invoke(&client, MODEL, &ask).await.unwrap();
    assert!(fits(&answer(MODEL, &native).0));
    let mut ask = body(MODEL, "Record it.", 1_000);
    ask["tools"] = json!([{ "name": "record", "input_schema": schema() }]);
    ask["tool_choice"] = json!({ "type": "tool", "name": "record" });
    let called = invoke(&client, MODEL, &ask).await.unwrap();
    assert_eq!(
        (&called["stop_reason"], &called["content"][0]["name"]),
        (&json!("tool_use"), &json!("record"))
    );
    let input = &called["content"][0]["input"];
    assert!(jsonschema::is_valid(&schema(), input));
    let streamed: String = chunks(&client, MODEL, &ask).await.iter().map(piece).collect();
    assert_eq!(&serde_json::from_str::<Value>(&streamed).unwrap(), input);
}

#[tokio::test]
async fn metadata_comes_in_a_header_and_a_stray_prompt_is_noted() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let call = client.invoke_model().model_id(LLAMA_3).content_type("application/json");
    let call = call.request_metadata(r#"{"job_id":"j-1","attempt":"2","tenant":"t"}"#);
    let ask = json!({ "prompt": "Hello.", "max_gen_len": 40 });
    call.body(Blob::new(ask.to_string())).send().await.unwrap();
    let calls = simulator.calls();
    let logged = calls.first().unwrap();
    assert_eq!(logged.job_id.as_deref(), Some("j-1"));
    assert_eq!((logged.attempt.as_deref(), logged.tenant.as_deref()), (Some("2"), Some("t")));
    assert_eq!(logged.note.as_deref(), Some("the prompt is not in the model's template"));
}

#[tokio::test]
async fn a_body_of_another_kind_or_form_is_refused() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let ask = Blob::new(body(MODEL, "Hello.", 9).to_string());
    // The SDK says `application/octet-stream` where it is told nothing.
    let error = client.invoke_model().model_id(MODEL).body(ask).send().await.unwrap_err();
    let (status, code, message) = refused(error);
    assert_eq!((status, code.as_str()), (400, "ValidationException"));
    assert_eq!(message, "The provided Content Type is invalid or not supported for this model");
    for (model, form) in [(MODEL, LLAMA_3), (LLAMA_3, MODEL), (NOVA, MIXTRAL), (MIXTRAL, NOVA)] {
        let ask = body(form, "Hello.", 9);
        let (status, code, message) = invoke(&client, model, &ask).await.unwrap_err();
        assert_eq!((status, code.as_str()), (400, "ValidationException"), "{model}: {message}");
    }
    assert!(simulator.calls().iter().all(|call| call.outcome == Outcome::Refused));
    assert_eq!(simulator.summary().admitted, 0);
}

#[tokio::test]
async fn arns_reach_their_models_and_opaque_ones_are_answered_by_the_bodys_form() {
    let (simulator, client) = simulator(SimulatorOptions::default()).await;
    let account = "arn:aws:bedrock:us-east-1:123456789012:";
    for (arn, model) in [
        (format!("arn:aws:bedrock:us-east-1::foundation-model/{LLAMA_3}"), LLAMA_3),
        (format!("{account}inference-profile/{MODEL}"), MODEL),
        (format!("{account}application-inference-profile/abc"), MODEL),
        (format!("{account}application-inference-profile/abc"), NOVA),
        (format!("{account}provisioned-model/abc"), LLAMA_4),
        (format!("{account}imported-model/abc"), MIXTRAL),
        (format!("{account}application-inference-profile/abc"), LARGE_3),
    ] {
        let whole = invoke(&client, &arn, &body(model, "Hello.", 200)).await.unwrap();
        assert!(answer(model, &whole).0.starts_with("[simulated] "), "{arn}");
        assert_eq!(simulator.calls().last().unwrap().model_id, arn);
    }
}

#[tokio::test]
async fn profiles_and_known_models_are_asked_for_only_on_demand() {
    let base = MODEL.strip_prefix("us.").unwrap();
    let strict = SimulatorOptions {
        require_profiles: true,
        models: vec![base.to_owned()],
        ..SimulatorOptions::default()
    };
    let (_lenient, lenient) = simulator(SimulatorOptions::default()).await;
    let (_strict, strict) = simulator(strict).await;
    let ask = body(MODEL, "Hello.", 200);
    for client in [&lenient, &strict] {
        assert!(invoke(client, MODEL, &ask).await.is_ok());
    }
    assert!(invoke(&lenient, base, &ask).await.is_ok());
    let (status, _, message) = invoke(&strict, base, &ask).await.unwrap_err();
    assert_eq!(status, 400);
    assert_eq!(
        message,
        format!(
            "Invocation of model ID {base} with on-demand throughput isn\u{2019}t supported. \
             Retry your request with the ID or ARN of an inference profile that contains this \
             model."
        )
    );
    let ask = body(NOVA, "Hello.", 200);
    let (status, code, _) = invoke(&strict, NOVA, &ask).await.unwrap_err();
    assert_eq!((status, code.as_str()), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn newer_claude_models_refuse_sampling_and_prefill_by_both_interfaces() {
    let (_simulator, client) = simulator(SimulatorOptions::default()).await;
    let model = "us.anthropic.claude-opus-4-8";
    let call = client.converse().model_id(model).messages(user("Hello."));
    let warm = InferenceConfiguration::builder().temperature(0.5).build();
    let (_, _, message) = refusal(call.inference_config(warm).send().await);
    let flaw = "`temperature` is deprecated for this model.";
    assert_eq!(message, format!("The model returned the following errors: {flaw}"));
    let mut ask = body(model, "Hello.", 9);
    ask["temperature"] = json!(0.5);
    assert_eq!(invoke(&client, model, &ask).await.unwrap_err().2, flaw);
    let call = client.converse().model_id(model).messages(user("Hello."));
    let call = call.messages(turn(ConversationRole::Assistant, "{"));
    let (_, _, message) = refusal(call.send().await);
    assert!(message.contains("does not support assistant message prefill"), "{message}");
}
