//! Each fault as a client sees it. Must not know: how faults are drawn.

use super::*;

#[tokio::test]
async fn faults_by_status_arrive_as_typed_errors() {
    for (fault, status, code) in [
        (Fault::Throttle, 429, "ThrottlingException"),
        (Fault::Http500, 500, "InternalServerException"),
        (Fault::Http503, 503, "ServiceUnavailableException"),
    ] {
        let (simulator, client) = simulator(faulty(fault)).await;
        let result = client.converse().model_id(MODEL).messages(user("Hello.")).send().await;
        let (got_status, got_code, _) = refusal(result);
        assert_eq!((got_status, got_code.as_str()), (status, code));
        let calls = simulator.calls();
        let logged = calls.first().unwrap();
        assert_eq!(
            (logged.outcome, logged.settled, logged.billed),
            (Outcome::Fault(fault), Some(0), 0)
        );
        simulator.set_faults(Faults::none());
        client.converse().model_id(MODEL).messages(user("Hello.")).send().await.unwrap();
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
    let open = || client.converse_stream().model_id(MODEL).messages(user("Hello.")).send();
    let mut left = open().await.unwrap();
    assert!(matches!(left.stream.recv().await, Ok(Some(Event::MessageStart(_)))));
    drop(left);
    simulator.until(|summary| summary.client_gone == 1).await;
    let mut held = open().await.unwrap();
    assert!(matches!(held.stream.recv().await, Ok(Some(Event::MessageStart(_)))));
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
    let error =
        client.converse().model_id(MODEL).messages(user("Hello.")).send().await.unwrap_err();
    assert!(error.as_service_error().is_none_or(|error| error.code().is_none()), "{error:?}");
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
    let call = client.converse().model_id(MODEL).messages(user(&prompt_with_schema()));
    let output = call.inference_config(limits(3)).send().await.unwrap();
    assert_eq!(output.stop_reason(), &StopReason::MaxTokens);
    assert_eq!(output.usage().unwrap().output_tokens(), 3);
    assert!(text_of(&output).len() <= 12);
}

#[tokio::test]
async fn spoilt_json_is_spoilt_in_the_way_that_was_asked_for() {
    for fault in [Fault::Prose, Fault::MalformedJson, Fault::WrongSchema, Fault::Empty] {
        let (simulator, client) = simulator(faulty(fault)).await;
        let got = stream(&client, user(&prompt_with_schema())).await;
        let parsed: Result<Value, _> = serde_json::from_str(&got.text);
        match fault {
            Fault::WrongSchema => assert!(!fits(&got.text), "{}", got.text),
            Fault::Empty => assert_eq!(got.text, ""),
            _ => assert!(parsed.is_err(), "{}", got.text),
        }
        assert_eq!(got.stop, Some(StopReason::EndTurn));
        assert_eq!(simulator.calls().first().unwrap().outcome, Outcome::Fault(fault));
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
