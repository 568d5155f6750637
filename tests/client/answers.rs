//! What comes back for an ask, and what is recorded of it.

use quarrier::client::{Ask, Client, ContextItem, Error, ErrorKind, Message, RetryPolicy, Role};
use quarrier::job::State;
use quarrier::simulator::Fault;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::within;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Finding {
    #[schemars(length(min = 3, max = 40))]
    title: String,
    #[schemars(range(min = 0, max = 10))]
    score: u8,
}

#[test]
fn a_text_is_answered_and_recorded_with_its_cost() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let answer = client.generate("Hello").await.unwrap();
        assert!(answer.text.starts_with("[simulated]"), "{}", answer.text);
        assert!(answer.simulated && answer.request_id.is_some());
        assert_eq!((answer.model.as_str(), answer.calls), ("claude-haiku-4.5", 1));
        assert!(answer.usage.output > 0 && answer.cost_micros > Some(0));
        let page = scene.page(&answer.job_id).await;
        assert_eq!((page.row.state, page.row.queue.as_str()), (State::Succeeded, "direct"));
        let result = page.result.unwrap();
        assert_eq!(result.text.as_deref(), Some(answer.text.as_str()));
        assert_eq!((result.usage, result.cost_micros), (answer.usage, answer.cost_micros));
        client.close().await;
    });
}

#[test]
fn everything_an_ask_says_reaches_the_call() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let turn = |role, text: &str| Message { role, text: text.to_owned() };
        let chat = vec![
            turn(Role::User, "Name a river."),
            turn(Role::Assistant, "The Danube."),
            turn(Role::User, "Another one."),
        ];
        let ask = Ask::chat(chat)
            .system("Be short.")
            .model("nova-lite")
            .max_tokens(40)
            .temperature(0.5)
            .top_p(0.75)
            .stop(["END"])
            .tenant("acme")
            .queue("chat")
            .metadata("ticket", 7);
        let answer = client.generate(ask).await.unwrap();
        assert_eq!(answer.model, "nova-lite");
        let page = scene.page(&answer.job_id).await;
        assert_eq!((page.row.tenant.as_str(), page.row.queue.as_str()), ("acme", "chat"));
        let resolved = page.resolved.unwrap();
        assert_eq!((resolved.max_tokens, resolved.top_p), (40, Some(0.75)));
        let document: Value = serde_json::from_str(&page.document).unwrap();
        assert_eq!(document["metadata"], json!({ "ticket": 7 }));
        assert_eq!(document["messages"].as_array().unwrap().len(), 3);
        assert_eq!(
            (&document["system"], &document["stop"]),
            (&json!("Be short."), &json!(["END"]))
        );
    });
}

#[test]
fn a_schema_brings_a_value_and_a_type_brings_a_value_of_its_own() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let schema = json!({
            "type": "object",
            "properties": { "title": { "type": "string", "minLength": 3 } },
            "required": ["title"],
            "additionalProperties": false
        });
        let answer = client.generate_structured("Name it.", &schema).await.unwrap();
        assert!(answer.output.unwrap()["title"].as_str().unwrap().len() >= 3);
        let found = client.generate_structured_as::<Finding>("Judge it.").await.unwrap();
        assert!(found.value.title.len() >= 3 && found.value.score <= 10);
        assert_eq!(found.answer.provenance, "direct");
    });
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_again_as_often_as_the_policy_says() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::WrongSchema));
        let client = scene.builder().retry(&reasks(2)).open().await.unwrap();
        let error = client.generate_structured_as::<Finding>("Judge it.").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
        let failure = error.failure().unwrap();
        assert_eq!(failure.calls, 3, "one call and two re-asks: {error}");
        assert!(failure.partial_text.is_some() && failure.cost_micros > Some(0));
        // Each is a job of its own; the later ones name the first and show the model its answer.
        let page = scene.page(&failure.job_id).await;
        assert_eq!(page.row.state, State::Failed);
        let document: Value = serde_json::from_str(&page.document).unwrap();
        assert_eq!(document["messages"].as_array().unwrap().len(), 3);
        let first = scene.page(document["labels"]["first_job_id"].as_str().unwrap()).await;
        assert!(first.document.contains("Judge it."));
        // A plain call is one call.
        let ask = Ask::new("Judge it.").schema(schemars::schema_for!(Finding).to_value());
        let error = client.generate(ask).await.unwrap_err();
        assert_eq!(error.failure().unwrap().calls, 1);
    });
}

#[test]
fn a_reask_that_helps_is_seen_in_the_provenance() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::MalformedJson));
        let client = scene.builder().retry(&reasks(20)).open().await.unwrap();
        let asking = client.generate_structured_as::<Finding>("Judge it.");
        let mend = async {
            scene.simulator.until(|summary| summary.calls >= 1).await;
            scene.fault(None);
        };
        let (found, ()) = tokio::join!(asking, mend);
        let answer = found.unwrap().answer;
        assert!(answer.calls >= 2);
        let expected = format!("direct+reasked:{}", answer.calls - 1);
        assert_eq!(answer.provenance, expected);
    });
}

fn reasks(most: u32) -> RetryPolicy {
    RetryPolicy { reasks_max: most, ..RetryPolicy::default() }
}

#[test]
fn failures_that_may_pass_are_retried_only_where_the_caller_says_so() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::Http503));
        let client = scene.client().await;
        let error = client.generate("Hello").await.unwrap_err();
        assert_eq!((error.kind(), error.failure().unwrap().calls), (ErrorKind::Unavailable, 1));
        assert!(error.request_id().is_some());
        let error = client.generate_with_retry("Hello").await.unwrap_err();
        assert_eq!((error.kind(), error.failure().unwrap().calls), (ErrorKind::Unavailable, 4));
        let asking = client.generate_with_retry("Hello");
        scene.fault(Some(Fault::Throttle));
        let mend = async {
            scene.simulator.until(|summary| summary.calls >= 7).await;
            scene.fault(None);
        };
        let (answer, ()) = tokio::join!(asking, mend);
        assert!(answer.unwrap().calls >= 3);
    });
}

#[test]
fn what_can_only_fail_again_is_not_retried() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::Truncated));
        let client = scene.client().await;
        let error = client.generate_with_retry("Hello").await.unwrap_err();
        assert_eq!((error.kind(), error.failure().unwrap().calls), (ErrorKind::Truncated, 1));
        assert!(error.partial_text().is_some());
    });
}

#[test]
fn an_ask_that_cannot_be_called_is_refused_with_every_reason() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let ask = Ask::new("").temperature(3.0);
        let Err(Error::Rejected { problems }) = client.generate(ask).await else {
            panic!("it is refused")
        };
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["$.prompt", "$.temperature"]);
        assert_eq!(scene.simulator.summary().calls, 0);
    });
}

#[test]
fn documents_stand_before_the_question() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let source = ContextItem {
            title: Some("Rivers".to_owned()),
            text: "The Danube is long.".to_owned(),
            source: Some("rivers.txt".to_owned()),
        };
        let answer = client.generate_with_context("Which river?", [source]).await.unwrap();
        let document: Value =
            serde_json::from_str(&scene.page(&answer.job_id).await.document).unwrap();
        assert_eq!(document["context"][0]["title"], "Rivers");
        assert!(answer.usage.input > 20, "the document is part of the call");
    });
}

#[test]
fn the_known_variables_are_defaults_of_a_client() {
    within(async {
        let scene = Scene::calm().await;
        let env = [
            ("BEDROCK_MODEL_ID", "nova-lite"),
            ("BEDROCK_TEMPERATURE", "0.25"),
            ("BEDROCK_MAX_TOKENS", "77"),
            ("AWS_REGION", "eu-central-1"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let client = scene.builder().env(env.into()).open().await.unwrap();
        let answer = client.generate("Hello").await.unwrap();
        let page = scene.page(&answer.job_id).await;
        let resolved = page.resolved.unwrap();
        assert_eq!((resolved.model.as_str(), resolved.max_tokens), ("nova-lite", 77));
        assert_eq!(resolved.temperature, Some(0.25));
        assert!(page.row.lane.starts_with("bedrock/eu-central-1/"), "{}", page.row.lane);
    });
}

#[test]
fn a_client_without_a_store_has_one_of_its_own_until_it_is_closed() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.builder().private_store().open().await.unwrap();
        let answer = client.generate("Hello").await.unwrap();
        assert!(!scene.path().exists());
        let clone: Client = client.clone();
        client.close().await;
        assert_eq!(clone.generate("Hello").await.unwrap_err(), Error::Closed);
        assert!(!answer.job_id.is_empty());
    });
}
