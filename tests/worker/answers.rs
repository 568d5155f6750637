//! What becomes of an answer: text, JSON, JSON in prose, the wrong JSON, too much, nothing.

use quarrier::completion::{Role, StopReason};
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::provider::FailedCharge;

use crate::bed::Bed;
use crate::scripted::{Scripted, Step, answer, completion, fail};
use crate::within;

const RIGHT: &str = "{ \"title\" : \"caf\\u00e9 1e2\" }";
const WRONG: &str = "{\"title\": \"x\", \"odd\": 1}";

/// Works through one structured job with these answers, and returns its page.
async fn structured(answers: &'static [&'static str]) -> (quarrier::store::JobPage, Vec<Said>) {
    let bed = Bed::new().await;
    let id = bed.structured().await;
    let provider = Scripted::new(move |number, _| {
        answer(answers.get(number - 1).expect("no more calls than answers"))
    });
    let running = bed.start(provider.clone());
    running.ended(1).await;
    running.drained().await;
    let said = provider.requests().into_iter().map(|request| {
        request.messages.into_iter().map(|message| (message.role, message.text)).collect()
    });
    (bed.page(id).await, said.collect())
}

type Said = Vec<(Role, String)>;

#[test]
fn a_plain_answer_succeeds_with_its_text() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let running = bed.start(Scripted::saying("Something."));
        running.ended(1).await;
        let status = running.drained().await;
        assert_eq!((status.succeeded, status.claimed, status.in_flight), (1, 1, 0));

        let page = bed.page(id).await;
        assert_eq!(page.row.state, State::Succeeded);
        let result = page.result.unwrap();
        assert_eq!(result.text.as_deref(), Some("Something."));
        assert_eq!(result.output, None);
        assert_eq!((result.usage.input, result.usage.output), (20, 5));
        assert_eq!(result.provenance.as_deref(), Some("direct"));
        let [attempt] = page.attempts.as_slice() else { panic!("one attempt") };
        assert_eq!(attempt.outcome.as_deref(), Some("completed"));
        assert_eq!(attempt.raw_text.as_deref(), Some("Something."));
        assert_eq!(attempt.request_id.as_deref(), Some("scripted-1"));
        assert_eq!(attempt.cost_micros, result.cost_micros);
        assert!(result.cost_micros.unwrap() > 0);
    });
}

#[test]
fn an_answer_that_fits_its_schema_is_stored_byte_for_byte() {
    within(async {
        let (page, _) = structured(&[RIGHT]).await;
        let result = page.result.unwrap();
        assert_eq!(result.state, State::Succeeded);
        assert_eq!(result.output.as_deref(), Some(RIGHT));
        assert_eq!(result.provenance.as_deref(), Some("direct"));
    });
}

#[test]
fn json_within_prose_is_extracted() {
    within(async {
        let (page, _) =
            structured(&["Here it is:\n```json\n{\"title\": \"abc\"}\n```\nAnything else?"]).await;
        let result = page.result.unwrap();
        assert_eq!(result.output.as_deref(), Some("{\"title\": \"abc\"}"));
        assert_eq!(result.provenance.as_deref(), Some("extracted"));
    });
}

#[test]
fn a_wrong_answer_is_shown_to_the_model_with_its_errors() {
    within(async {
        let (page, said) = structured(&[WRONG, RIGHT]).await;
        let result = page.result.unwrap();
        assert_eq!(result.output.as_deref(), Some(RIGHT));
        assert_eq!(result.provenance.as_deref(), Some("direct+reasked:1"));
        let [first, second] = said.as_slice() else { panic!("two calls: {said:?}") };
        assert_eq!(first.len(), 1);
        let [question, own, complaint] = second.as_slice() else { panic!("three turns") };
        assert_eq!(question, &first[0]);
        assert_eq!(own, &(Role::Assistant, WRONG.to_owned()));
        assert_eq!(complaint.0, Role::User);
        assert!(complaint.1.contains("/title"), "{}", complaint.1);
        assert!(complaint.1.contains("odd"), "{}", complaint.1);
        // Both calls are paid for, both are kept.
        assert_eq!(result.usage.output, 10);
        let raw: Vec<_> = page.attempts.iter().map(|a| a.raw_text.as_deref()).collect();
        assert_eq!(raw, [Some(WRONG), Some(RIGHT)]);
    });
}

#[test]
fn re_asks_are_bounded_and_end_with_the_evidence() {
    within(async {
        let (page, said) = structured(&[WRONG, "no JSON at all", WRONG]).await;
        let result = page.result.unwrap();
        assert_eq!(result.state, State::Failed);
        assert_eq!(result.error_kind.as_deref(), Some("schema_mismatch"));
        assert_eq!(said.len(), 3, "one call and reasks_max re-asks");
        assert_eq!(page.row.counters.failures, 0);
        let last = page.attempts.last().unwrap();
        assert_eq!(last.raw_text.as_deref(), Some(WRONG));
        assert!(last.schema_errors.as_deref().unwrap().contains("/title"));
        assert_eq!(page.attempts[1].error_kind.as_deref(), Some("invalid_json"));
    });
}

#[test]
fn a_re_ask_survives_a_new_worker_and_a_failed_call() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.structured().await;
        // The first worker dies after the wrong answer is stored, in the middle of the re-ask.
        let first = Scripted::new(|number, _| if number == 1 { answer(WRONG) } else { Step::Hang });
        let mortal = bed.start_mortal(first.clone(), bed.options()).await;
        first.begun(2).await;
        mortal.kill();

        let second = Scripted::new(|number, _| match number {
            1 => fail(ErrorKind::Internal, FailedCharge::None),
            _ => answer(RIGHT),
        });
        let running = bed.start(second.clone());
        running.ended(1).await;
        running.drained().await;
        let page = bed.page(id).await;
        assert_eq!(page.result.unwrap().provenance.as_deref(), Some("direct+reasked:1"));
        for request in second.requests() {
            assert_eq!(request.messages.len(), 3);
            assert_eq!(request.messages[1].text, WRONG);
        }
    });
}

#[test]
fn truncated_refused_filtered_and_guarded_answers_end_honestly() {
    within(async {
        let stops = [
            (StopReason::MaxTokens, "truncated"),
            (StopReason::Refusal, "refused"),
            (StopReason::ContentFiltered, "filtered"),
            (StopReason::GuardrailIntervened, "guardrail"),
        ];
        for (stop, kind) in stops {
            let bed = Bed::new().await;
            let id = bed.structured().await;
            // Whatever its text holds, a cut answer is not an answer.
            let provider = Scripted::new(move |_, _| Step::Answer(completion(RIGHT, stop)));
            let running = bed.start(provider.clone());
            running.ended(1).await;
            running.drained().await;
            let page = bed.page(id).await;
            let result = page.result.unwrap();
            assert_eq!(result.state, State::Failed, "{kind}");
            assert_eq!(result.error_kind.as_deref(), Some(kind));
            assert_eq!(result.output, None);
            assert_eq!(provider.seen().begun, 1, "{kind} is not tried again");
            assert_eq!(page.attempts[0].raw_text.as_deref(), Some(RIGHT));
            assert!(result.cost_micros.unwrap() > 0);
        }
    });
}

#[test]
fn odd_answers_end_their_job_with_the_evidence_kept() {
    within(async {
        let long = "x".repeat(10 * 1024 * 1024);
        let cases: [(&str, String, State); 6] = [
            ("10 MB", long, State::Failed),
            ("NUL", "a\0b".to_owned(), State::Succeeded),
            ("a lone surrogate's escape", "\"\\ud800\"".to_owned(), State::Succeeded),
            ("nothing", String::new(), State::Failed),
            ("white space", " \n\t".to_owned(), State::Failed),
            ("not characters", "\u{fffd}\u{202e}\u{10ffff}".to_owned(), State::Succeeded),
        ];
        for (name, text, state) in cases {
            let bed = Bed::new().await;
            let id = bed.job().await;
            let running = bed.start(Scripted::saying(&text));
            running.ended(1).await;
            running.drained().await;
            let page = bed.page(id).await;
            assert_eq!(page.row.state, state, "{name}");
            let last = page.attempts.last().unwrap();
            assert!(last.raw_text.as_deref() == Some(text.as_str()), "{name}: kept");
            if state == State::Succeeded {
                assert!(page.result.unwrap().text.as_deref() == Some(text.as_str()), "{name}");
            }
        }
    });
}

#[test]
fn odd_json_ends_its_job_with_the_evidence_kept() {
    within(async {
        let deep = "[".repeat(100_000);
        let wide = format!("{{\"title\": \"{}\"", "\\u0000".repeat(1_000_000));
        let cases = [
            "{\"title\": \"\\ud800\"}".to_owned(),
            "{\"title\": \"a\0bc\"}".to_owned(),
            "{\"title\": \"a\\u0000bc\"}".to_owned(),
            "null".to_owned(),
            deep,
            wide,
        ];
        for text in cases {
            let bed = Bed::new().await;
            let id = bed.structured().await;
            let running = bed.start(Scripted::saying(&text));
            running.ended(1).await;
            running.drained().await;
            let page = bed.page(id).await;
            let shown: String = text.chars().take(40).collect();
            assert!(page.row.state.is_terminal(), "{shown}");
            let last = page.attempts.last().unwrap();
            assert!(last.raw_text.as_deref() == Some(text.as_str()), "{shown}: kept");
            if page.row.state == State::Succeeded {
                assert_eq!(page.result.unwrap().output.as_deref(), Some(text.as_str()));
            }
        }
    });
}

#[test]
fn what_was_paid_for_is_kept_even_where_the_check_breaks() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.structured().await;
        // Nothing of ours stores such a schema; a person with SQL may.
        bed.sql("update job_spec set document = replace(document, '\"object\"', '\"objekt\"')")
            .await;
        let running = bed.start(Scripted::saying(RIGHT));
        running.ended(1).await;
        running.drained().await;
        let page = bed.page(id).await;
        let result = page.result.unwrap();
        assert_eq!(result.state, State::Failed);
        assert_eq!(result.error_kind.as_deref(), Some("bug"));
        let attempt = &page.attempts[0];
        assert_eq!(attempt.raw_text.as_deref(), Some(RIGHT));
        assert_eq!(attempt.outcome.as_deref(), Some("completed"));
        assert!(attempt.cost_micros.unwrap() > 0);
    });
}
