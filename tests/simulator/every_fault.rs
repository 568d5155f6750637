//! Every fault of the table through the real SDK, whole and streamed: what a client is told. Must
//! not know: how faults are drawn.

use aws_smithy_types::event_stream::RawMessage;

use super::*;

/// What a call came to, in a line that a table can hold.
pub(crate) fn told(
    error: &SdkError<impl ProvideErrorMetadata + std::error::Error + 'static>,
) -> String {
    match error {
        SdkError::DispatchFailure(_) => "no answer".to_owned(),
        SdkError::ResponseError(_) => "unreadable answer".to_owned(),
        SdkError::ServiceError(failure) => {
            let status = failure.raw().status().as_u16();
            format!("{status} {}", error.code().unwrap_or("without a name"))
        }
        other => panic!("{other:?}"),
    }
}

/// A simulator whose hangs and drips are short: it gives up itself, and no test waits for a clock.
async fn striking(fault: Fault) -> (Simulator, Client) {
    simulator(SimulatorOptions { hang_ms_max: 20, drip_ms: 0, ..faulty(fault) }).await
}

async fn whole(fault: Fault, prompt: &str) -> String {
    let (_simulator, client) = striking(fault).await;
    let call = client.converse().model_id(MODEL).messages(user(prompt));
    match call.inference_config(limits(2_000)).send().await {
        Ok(output) => output.stop_reason().to_string(),
        Err(error) => told(&error),
    }
}

async fn streamed(fault: Fault, prompt: &str) -> String {
    let (_simulator, client) = striking(fault).await;
    let call = client.converse_stream().model_id(MODEL).messages(user(prompt));
    let mut output = match call.inference_config(limits(2_000)).send().await {
        Ok(output) => output,
        Err(error) => return told(&error),
    };
    let mut got = String::new();
    let mut stop = None;
    loop {
        match output.stream.recv().await {
            Ok(Some(Event::MessageStop(event))) => stop = Some(event.stop_reason.to_string()),
            Ok(Some(Event::Metadata(_))) => got = stop.clone().unwrap_or_default(),
            Ok(Some(_)) => {}
            Ok(None) if got.is_empty() => {
                return format!("clean end, stop {}", stop.unwrap_or("missing".to_owned()));
            }
            Ok(None) => return got,
            Err(SdkError::ServiceError(error)) => {
                return format!("in the stream {}", exception_type(error.raw()));
            }
            Err(SdkError::ResponseError(_)) => return "broken frame".to_owned(),
            Err(SdkError::DispatchFailure(_)) => return "broken connection".to_owned(),
            Err(other) => return format!("{other:?}"),
        }
    }
}

pub(crate) fn exception_type(raw: &RawMessage) -> String {
    let RawMessage::Decoded(message) = raw else { panic!("an exception is decoded") };
    let header = message.headers().iter().find(|one| one.name().as_str() == ":exception-type");
    header.unwrap().value().as_string().unwrap().as_str().to_owned()
}

#[tokio::test]
async fn every_error_before_the_answer_has_its_status_and_name_in_both_operations() {
    for fault in FAULTS.iter().filter(|fault| fault.group() == "before the answer") {
        let (status, code) = fault.error().unwrap();
        let name = if code.is_empty() { "without a name" } else { code };
        let expected = format!("{status} {name}");
        assert_eq!(whole(*fault, "Hello.").await, expected, "{fault}");
        assert_eq!(streamed(*fault, "Hello.").await, expected, "{fault}");
    }
}

#[tokio::test]
async fn every_exception_in_a_stream_arrives_by_its_name_and_whole_calls_get_it_as_a_status() {
    for fault in FAULTS.iter().filter(|fault| fault.group() == "in a stream") {
        let (status, code) = fault.error().unwrap();
        assert_eq!(whole(*fault, "Hello.").await, format!("{status} {code}"), "{fault}");
        // ConverseStream has no event for this one.
        let expected = if *fault == Fault::StreamModelTimeout {
            "408 ModelTimeoutException".to_owned()
        } else {
            let (first, rest) = code.split_at(1);
            format!("in the stream {}{rest}", first.to_ascii_lowercase())
        };
        assert_eq!(streamed(*fault, "Hello.").await, expected, "{fault}");
    }
}

#[tokio::test]
async fn every_fault_of_transport_is_seen_as_it_is_documented() {
    // A body that the SDK cannot parse is an error without a name under a status of 200.
    let unparsed = "200 without a name";
    let table = [
        (Fault::Reset, "no answer", "no answer"),
        (Fault::Closed, "no answer", "no answer"),
        (Fault::Hang, "408 ModelTimeoutException", "408 ModelTimeoutException"),
        // The SDK takes an empty body for an answer without anything in it.
        (Fault::HangHead, "no value was set", "clean end, stop missing"),
        (Fault::HangStream, unparsed, "clean end, stop missing"),
        (Fault::Drip, unparsed, "broken frame"),
        (Fault::CutStream, "unreadable answer", "clean end, stop missing"),
        (Fault::CutFrame, "unreadable answer", "broken frame"),
        (Fault::Broken, "unreadable answer", "broken connection"),
        (Fault::NoClosing, unparsed, "clean end, stop missing"),
        (Fault::NoUsage, unparsed, "clean end, stop end_turn"),
        (Fault::LengthLong, "unreadable answer", "broken connection"),
        (Fault::LengthShort, unparsed, "broken frame"),
        (Fault::CorruptFrame, unparsed, "broken frame"),
        (Fault::UnknownEvent, "end_turn", "end_turn"),
        (Fault::LoneSurrogate, unparsed, "broken frame"),
    ];
    assert_eq!(
        table.map(|(fault, ..)| fault).to_vec(),
        group("transport"),
        "each fault of transport has its line"
    );
    for (fault, expected_whole, expected_stream) in table {
        assert_eq!(whole(fault, "Hello.").await, expected_whole, "{fault}");
        assert_eq!(streamed(fault, "Hello.").await, expected_stream, "{fault}");
    }
}

pub(crate) fn group(name: &str) -> Vec<Fault> {
    FAULTS.iter().copied().filter(|fault| fault.group() == name).collect()
}

#[tokio::test]
async fn every_fault_of_content_arrives_in_a_sound_answer_with_its_stop_reason() {
    let table = [
        (Fault::Truncated, "max_tokens"),
        (Fault::ContextWindow, "model_context_window_exceeded"),
        (Fault::Refusal, "refusal"),
        (Fault::ContentFilter, "content_filtered"),
        (Fault::Guardrail, "guardrail_intervened"),
        (Fault::MalformedOutput, "malformed_model_output"),
        (Fault::Empty, "end_turn"),
        (Fault::Blank, "end_turn"),
        (Fault::Huge, "end_turn"),
        (Fault::Nul, "end_turn"),
    ];
    assert_eq!(table.map(|(fault, _)| fault).to_vec(), group("content"));
    for (fault, stop) in table {
        for prompt in ["Hello.".to_owned(), prompt_with_schema()] {
            let (simulator, client) = striking(fault).await;
            let got = stream(&client, user(&prompt)).await;
            assert_eq!(got.stop.map(|stop| stop.to_string()).as_deref(), Some(stop), "{fault}");
            match fault {
                Fault::Empty | Fault::MalformedOutput => assert_eq!(got.text, ""),
                Fault::Blank => assert!(!got.text.is_empty() && got.text.trim().is_empty()),
                Fault::Huge => assert!(got.text.len() >= 10_000_000, "{}", got.text.len()),
                Fault::Nul if prompt == "Hello." => assert!(got.text.ends_with('\0')),
                Fault::Nul => assert!(got.text.contains("\\u0000"), "{}", got.text),
                _ => assert!(!got.text.is_empty()),
            }
            assert_eq!(simulator.calls()[0].outcome, Outcome::Fault(fault));
            assert_eq!(whole(fault, &prompt).await, stop, "{fault}");
        }
    }
}

#[tokio::test]
async fn every_fault_of_json_spoils_json_alone() {
    for fault in group("JSON") {
        let (simulator, client) = striking(fault).await;
        let got = stream(&client, user(&prompt_with_schema())).await;
        let parsed: Option<Value> = serde_json::from_str(&got.text).ok();
        let fits = parsed.as_ref().is_some_and(|value| jsonschema::is_valid(&schema(), value));
        // Of duplicate keys a parser takes the last, and that one is sound.
        assert_eq!(fits, fault == Fault::JsonDuplicateKeys, "{fault}: {}", got.text);
        assert_eq!(got.stop, Some(StopReason::EndTurn));
        assert!(stream(&client, user("Hello.")).await.text.starts_with("[simulated]"));
        let outcomes: Vec<Outcome> = simulator.calls().iter().map(|call| call.outcome).collect();
        assert_eq!(outcomes, [Outcome::Fault(fault), Outcome::Admitted]);
    }
}

#[tokio::test]
async fn what_stands_beside_an_error_arrives_too() {
    let (_simulator, client) = striking(Fault::ModelErrorFinal).await;
    let call = client.converse().model_id(MODEL).messages(user("Hello."));
    let error = call.send().await.unwrap_err().into_service_error();
    let ConverseError::ModelErrorException(error) = error else { panic!("{error:?}") };
    assert_eq!(error.original_status_code(), Some(400));
    assert_eq!(error.resource_name(), Some(MODEL));

    let (_simulator, client) = striking(Fault::RetryAfter).await;
    let call = client.converse().model_id(MODEL).messages(user("Hello."));
    let error = call.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().headers().get("x-amz-retry-after"), Some("1000"));

    let (_simulator, client) = striking(Fault::ClockSkew).await;
    let call = client.converse().model_id(MODEL).messages(user("Hello."));
    let error = call.send().await.unwrap_err();
    let date = error.raw_response().unwrap().headers().get("date").unwrap();
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    let ahead = date.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((800..1_000).contains(&ahead), "{ahead}");

    let (_simulator, client) = striking(Fault::Overloaded).await;
    let call = client.converse().model_id(MODEL).messages(user("Hello."));
    let (_, _, text) = refusal(call.send().await);
    assert_eq!(text, format!("Model {MODEL} is currently overloaded. Please try again later."));
}

#[tokio::test]
async fn an_exception_in_a_stream_is_charged_for_what_was_sent_before_it() {
    let (simulator, client) = striking(Fault::StreamModelError).await;
    let got = stream(&client, user("Hello.")).await;
    assert!(!got.text.is_empty() && got.usage.is_none());
    let calls = simulator.calls();
    let call = &calls[0];
    assert_eq!(call.error, Some("ModelStreamErrorException"));
    let sent = u64::try_from(got.text.len()).unwrap().div_ceil(4);
    assert_eq!(call.output_tokens, Some(sent));
    assert_eq!(call.settled, Some(call.input_tokens + 5 * sent));
}

#[test]
fn the_documentation_has_every_fault() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulator.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- faults:", "<!-- end of faults -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (mark, rest) = rest.split_once('\n').unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut group = "";
    for fault in FAULTS {
        if fault.group() != group {
            let gap = if group.is_empty() { "" } else { "\n" };
            group = fault.group();
            lines.push(format!("{gap}**{group}**\n\n| name | what happens |\n| --- | --- |\n"));
        }
        let error = fault.error().filter(|(_, code)| !code.is_empty());
        let code = error.map(|(_, code)| format!(" `{code}`.")).unwrap_or_default();
        lines.push(format!("| `{fault}` | {}{code} |\n", fault.about()));
    }
    let table = lines.concat();
    let wanted = format!("{before}{begin}{mark}\n{table}{end}{after}");
    #[expect(clippy::disallowed_methods, reason = "this is no setting of the program")]
    let update = std::env::var("UPDATE_DOCS").is_ok();
    if update {
        std::fs::write(path, &wanted).unwrap();
    }
    assert!(text == wanted || update, "renew it by UPDATE_DOCS=1 cargo test --test simulator");
}
