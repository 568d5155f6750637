//! Every fault in every family's own form, whole and streamed: InvokeModel behaves as Converse does.
//! Must not know: how faults are drawn.

use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::ResponseStream;

use super::every_fault::{exception_type, group, told};
use super::invoke::{FAMILIES, body};
use super::*;

const SOUND: &str = "sound";

/// A whole answer: sound, spoilt, or the error that it is.
async fn whole(client: &Client, model: &str, body: &Value) -> String {
    let call = client.invoke_model().model_id(model).content_type("application/json");
    match call.body(Blob::new(body.to_string())).send().await {
        Ok(output) => {
            let sound = serde_json::from_slice::<Value>(output.body().as_ref()).is_ok();
            if sound { SOUND } else { "spoilt" }.to_owned()
        }
        Err(error) => told(&error),
    }
}

/// A stream: sound if it ends cleanly, every chunk can be read, and the last one has the counts.
async fn streamed(client: &Client, model: &str, body: &Value) -> String {
    let call = client.invoke_model_with_response_stream().model_id(model);
    let call = call.content_type("application/json").body(Blob::new(body.to_string()));
    let mut output = match call.send().await {
        Ok(output) => output,
        Err(error) => return told(&error),
    };
    let (mut counted, mut readable) = (false, true);
    loop {
        match output.body.recv().await {
            Ok(Some(ResponseStream::Chunk(part))) => {
                let chunk = serde_json::from_slice::<Value>(part.bytes().unwrap().as_ref());
                readable &= chunk.is_ok();
                counted |= chunk.is_ok_and(|c| c.get("amazon-bedrock-invocationMetrics").is_some());
            }
            Ok(Some(_)) => {}
            Ok(None) => return if readable && counted { SOUND } else { "spoilt" }.to_owned(),
            Err(SdkError::ServiceError(error)) => return exception_type(error.raw()),
            Err(_) => return "broken".to_owned(),
        }
    }
}

/// A simulator whose hangs and drips are short.
async fn short_hangs() -> (Simulator, Client) {
    simulator(SimulatorOptions { hang_ms_max: 20, drip_ms: 0, ..SimulatorOptions::default() }).await
}

#[tokio::test]
async fn every_error_and_exception_arrives_by_its_name_in_every_family() {
    let (simulator, client) = short_hangs().await;
    for model in FAMILIES {
        let ask = body(model, "Hello.", 500);
        for fault in group("before the answer").into_iter().chain(group("in a stream")) {
            simulator.set_faults(Faults::one(fault, 1.0));
            let (status, code) = fault.error().unwrap();
            let name = if code.is_empty() { "without a name" } else { code };
            let refused = format!("{status} {name}");
            assert_eq!(whole(&client, model, &ask).await, refused, "{model} {fault}");
            let expected = if fault.group() == "in a stream" {
                let (first, rest) = code.split_at(1);
                first.to_ascii_lowercase() + rest
            } else {
                refused
            };
            assert_eq!(streamed(&client, model, &ask).await, expected, "{model} {fault}");
        }
    }
}

#[tokio::test]
async fn no_fault_of_transport_leaves_a_sound_answer_in_any_family() {
    let (simulator, client) = short_hangs().await;
    for model in FAMILIES {
        let ask = body(model, "Hello.", 500);
        for fault in group("transport") {
            simulator.set_faults(Faults::one(fault, 1.0));
            let (whole, streamed) =
                (whole(&client, model, &ask).await, streamed(&client, model, &ask).await);
            let harmless = fault == Fault::UnknownEvent;
            assert_eq!(whole == SOUND, harmless, "{model} {fault}: {whole}");
            assert_eq!(streamed == SOUND, harmless, "{model} {fault}: {streamed}");
        }
    }
}

#[tokio::test]
async fn faults_of_content_and_json_come_in_sound_answers_in_every_family() {
    let (simulator, client) = short_hangs().await;
    for model in FAMILIES {
        let ask = body(model, &prompt_with_schema(), 500);
        for fault in group("content").into_iter().chain(group("JSON")) {
            simulator.set_faults(Faults::one(fault, 1.0));
            assert_eq!(whole(&client, model, &ask).await, SOUND, "{model} {fault}");
            assert_eq!(streamed(&client, model, &ask).await, SOUND, "{model} {fault}");
            let last = simulator.calls().pop().unwrap();
            assert_eq!(last.outcome, Outcome::Fault(fault), "{model}");
        }
    }
}

#[tokio::test]
async fn a_fixture_and_a_script_match_what_invoke_model_carries_in_its_head_and_body() {
    let options = SimulatorOptions {
        fixtures: r#"{"match": {"queue": "q", "text": "quarry"}, "answer": "Exactly this."}"#
            .parse()
            .unwrap(),
        ..SimulatorOptions::default()
    };
    let (simulator, client) = simulator(options).await;
    for model in FAMILIES {
        let ask = body(model, "What is a quarry?", 500).to_string();
        let call = client.invoke_model().model_id(model).content_type("application/json");
        let call = call.request_metadata(r#"{"queue":"q"}"#).body(Blob::new(ask));
        let output = call.send().await.unwrap();
        let text = String::from_utf8(output.body().as_ref().to_vec()).unwrap();
        assert!(text.contains("Exactly this."), "{model}: {text}");
        let last = simulator.calls().pop().unwrap();
        assert_eq!(last.rule.as_deref(), Some("fixture line 1"));
    }
}
