//! Admission's behaviours: what a document becomes, and every reason for which it is refused.
//! Must not know: stores, doors.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::budget::Limit;

/// 1 January 2026, 00:00 UTC.
const NOW: Now = Now { wall_ms: 1_767_225_600_000, mono_ms: 0 };
const DAY_MS: i64 = 86_400_000;

fn settings() -> AdmitSettings {
    AdmitSettings {
        model: "claude-haiku-4.5".to_owned(),
        temperature: 0.7,
        temperature_structured: 0.2,
        max_tokens: 4_096,
        deadline_ms: 7 * DAY_MS,
        queue: "default".to_owned(),
        tenant: "default".to_owned(),
        if_outcome_unknown: IfOutcomeUnknown::Retry,
        document_bytes_max: 100_000,
        check: check::Limits::default(),
        api: Api::Converse,
        lane_prefix: "bedrock/us-east-1".to_owned(),
        seen_ms: 30 * DAY_MS,
        profiles: vec!["us".to_owned()],
        families: BTreeMap::new(),
        queues: BTreeMap::new(),
        reply_allow: ReplyAllow::default(),
        allow_retired: false,
    }
}

fn room(settings: AdmitSettings) -> Admission {
    Admission::new(settings, Arc::new(Catalogue::embedded().unwrap()))
}

/// The room that other rooms' tests prepare their jobs in.
pub(crate) fn room_of_defaults() -> Admission {
    room(settings())
}

fn prepare(document: &Value) -> Result<NewJob, Vec<Problem>> {
    let text = document.to_string();
    room(settings()).prepare(&text, &Overrides::default(), Origin::default(), &[], NOW)
}

fn admitted(document: &Value) -> (NewJob, Resolved) {
    let job = prepare(document).unwrap();
    let resolved = job.resolved.clone().unwrap();
    (job, resolved)
}

#[track_caller]
fn check_refused(found: Result<NewJob, Vec<Problem>>, expected: &Expect) {
    let problems = found.expect_err("the document is refused");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

fn rule(pattern: &str, tokens_per_minute: u64) -> LimitRule {
    LimitRule {
        pattern: pattern.to_owned(),
        limit: Limit { requests_per_minute: None, tokens_per_minute: Some(tokens_per_minute) },
        origin: "configuration".to_owned(),
    }
}

// ---- Defaults

#[test]
fn an_absent_field_takes_its_default() {
    let (job, resolved) = admitted(&json!({ "prompt": "hi" }));
    assert_eq!((job.queue.as_str(), job.tenant.as_str()), ("default", "default"));
    assert_eq!((job.priority, job.hold, job.max_attempts), (0, false, None));
    assert_eq!((job.external_id, job.identity, job.dedupe_key), (None, None, None));
    assert_eq!(job.run_at, NOW.wall_ms);
    assert_eq!(job.deadline_at, NOW.wall_ms + 7 * DAY_MS);
    assert_eq!(job.seen_until, job.deadline_at + 30 * DAY_MS);
    assert_eq!(job.lane, "bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0");
    assert_eq!(resolved.model, "claude-haiku-4.5");
    assert_eq!((resolved.temperature, resolved.top_p), (Some(0.7), None));
    assert_eq!((resolved.max_tokens, resolved.burndown), (4_096, 5));
    assert_eq!((job.wanted.max_tokens, job.wanted.burndown), (4_096, 5));
}

#[test]
fn what_the_document_says_wins() {
    let (job, resolved) = admitted(&json!({
        "prompt": "hi", "id": "a", "queue": "reports", "tenant": "north", "priority": -7,
        "model": "llama3-8b", "temperature": 0.5, "top_p": 0.9, "max_tokens": 200,
        "max_attempts": 2, "dedupe_key": "k", "if_outcome_unknown": "hold",
        "run_at": "2026-01-02T00:00:00Z", "deadline": "2026-01-03T01:00:00+01:00"
    }));
    assert_eq!((job.queue.as_str(), job.tenant.as_str()), ("reports", "north"));
    assert_eq!((job.priority, job.hold, job.max_attempts), (-7, true, Some(2)));
    assert_eq!(job.external_id.as_deref(), Some("a"));
    assert_eq!(job.dedupe_key.as_deref(), Some("k"));
    assert_eq!(job.run_at, NOW.wall_ms + DAY_MS);
    assert_eq!(job.deadline_at, NOW.wall_ms + 2 * DAY_MS);
    assert_eq!(job.lane, "bedrock/us-east-1/meta.llama3-8b-instruct-v1:0");
    assert_eq!((resolved.temperature, resolved.top_p), (Some(0.5), Some(0.9)));
    assert_eq!(resolved.max_tokens, 200);
}

#[test]
fn a_job_for_later_has_its_whole_deadline_from_then_on() {
    let (job, _) = admitted(&json!({ "prompt": "hi", "run_at": "2026-01-11T00:00:00Z" }));
    assert_eq!(job.deadline_at, NOW.wall_ms + 17 * DAY_MS);
}

#[test]
fn an_answer_that_must_fit_a_schema_is_sampled_cooler() {
    let schema = json!({ "type": "object" });
    let (_, cooler) = admitted(&json!({ "prompt": "hi", "schema": schema }));
    assert_eq!(cooler.temperature, Some(0.2));
    let (_, told) = admitted(&json!({ "prompt": "hi", "schema": schema, "temperature": 0.9 }));
    assert_eq!(told.temperature, Some(0.9));
}

#[test]
fn a_model_without_sampling_gets_no_sampling_parameters() {
    let document = json!({
        "prompt": "hi", "model": "claude-opus-4.7", "temperature": 0.5, "top_p": 0.9
    });
    let (_, resolved) = admitted(&document);
    assert_eq!((resolved.temperature, resolved.top_p), (None, None));
}

#[test]
fn a_default_above_the_models_longest_answer_is_lowered_and_a_written_number_is_not() {
    let settings = AdmitSettings { max_tokens: 100_000, ..settings() };
    let text = json!({ "prompt": "hi", "model": "llama3.1-8b" }).to_string();
    let job = room(settings).prepare(&text, &Overrides::default(), Origin::default(), &[], NOW);
    assert_eq!(job.unwrap().wanted.max_tokens, 4_096);
    check_refused(
        prepare(&json!({ "prompt": "hi", "model": "llama3.1-8b", "max_tokens": 5_000 })),
        &expect![
            "$.max_tokens: 5000 is more than the 4096 tokens that llama3.1-8b can answer; lower it, or choose another model"
        ],
    );
}

// ---- Models

#[test]
fn the_command_lines_model_is_for_documents_that_name_none() {
    let overrides = Overrides { model: Some("llama3-8b".to_owned()) };
    let prepared = |document: Value| {
        let text = document.to_string();
        room(settings()).prepare(&text, &overrides, Origin::default(), &[], NOW).unwrap()
    };
    let silent = prepared(json!({ "prompt": "hi" }));
    assert_eq!(silent.resolved.unwrap().model, "llama3-8b");
    assert_eq!(silent.document, r#"{"model":"llama3-8b","prompt":"hi"}"#);
    let named = prepared(json!({ "prompt": "hi", "model": "claude-sonnet-4.6" }));
    assert_eq!(named.resolved.unwrap().model, "claude-sonnet-4.6");
}

#[test]
fn a_retired_model_is_refused_with_its_date_and_its_successor() {
    let prepared = |allow_retired| {
        let settings = AdmitSettings { allow_retired, ..settings() };
        // The day after the end of Claude 3 Sonnet.
        let now = Now { wall_ms: 1_785_456_000_000, mono_ms: 0 };
        let text = json!({ "prompt": "hi", "model": "claude-3-sonnet" }).to_string();
        room(settings).prepare(&text, &Overrides::default(), Origin::default(), &[], now)
    };
    check_refused(
        prepared(false),
        &expect![[
            r#"$.model: resolve the model "claude-3-sonnet": it was retired on 2026-07-30; use "claude-sonnet-4.6", or `allow_retired_models` with the simulator"#
        ]],
    );
    assert!(prepared(true).is_ok());
}

#[test]
fn an_unknown_model_is_refused_with_the_nearest_names_and_an_id_needs_its_family() {
    check_refused(
        prepare(&json!({ "prompt": "hi", "model": "claude-haiku-4-6" })),
        &expect![[
            r#"$.model: resolve the model "claude-haiku-4-6": no model has this alias (nearest: claude-haiku-4-5, claude-haiku-4.5, claude-haiku-5-5); `quarrier models` lists them, and a provider's id or ARN is accepted with `family`"#
        ]],
    );
    let id = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc";
    check_refused(
        prepare(&json!({ "prompt": "hi", "model": id })),
        &expect![[
            r#"$.model: resolve the model "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc": the catalogue does not know this id; say which family it is: `family` in the job, `[bedrock.families]` in the configuration, or a row in `catalogue.models_file`"#
        ]],
    );
    let (job, resolved) = admitted(&json!({ "prompt": "hi", "model": id, "family": "llama" }));
    assert_eq!((resolved.model.as_str(), resolved.prices.is_none()), (id, true));
    assert_eq!(job.lane, format!("bedrock/us-east-1/{id}"));
    let settings = AdmitSettings {
        families: BTreeMap::from([(id.to_owned(), Family::Mistral)]),
        ..settings()
    };
    let text = json!({ "prompt": "hi", "model": id }).to_string();
    let job = room(settings).prepare(&text, &Overrides::default(), Origin::default(), &[], NOW);
    assert_eq!(job.unwrap().resolved.unwrap().family, Family::Mistral);
}

#[test]
fn a_profile_is_never_widened_to_global() {
    let settings = AdmitSettings { profiles: vec!["ca".to_owned()], ..settings() };
    let text = json!({ "prompt": "hi" }).to_string();
    let found = room(settings).prepare(&text, &Overrides::default(), Origin::default(), &[], NOW);
    check_refused(
        found,
        &expect![[
            r#"$.model: resolve the model "claude-haiku-4.5": it needs an inference profile and has none for ca, only us, eu, apac, au, jp, global; add one of them to `bedrock.profiles`, or name the model as `global.anthropic.claude-haiku-4-5-20251001-v1:0`"#
        ]],
    );
}

// ---- Sizes

#[test]
fn what_the_window_cannot_hold_is_refused() {
    let prompt = "word ".repeat(5_000);
    check_refused(
        prepare(&json!({ "prompt": prompt, "model": "llama3-8b", "max_tokens": 2_000 })),
        &expect![
            "$: up to 9193 input tokens and max_tokens 2000 are more than the window of llama3-8b, 8192; shorten the input, lower max_tokens, or choose a model with a larger window"
        ],
    );
}

#[test]
fn what_one_minutes_limit_cannot_hold_is_refused_with_the_limit_that_says_so() {
    let document = json!({ "prompt": "hi", "max_tokens": 4_000, "queue": "reports" });
    let with = |rules: &[LimitRule]| {
        let text = document.to_string();
        room(settings()).prepare(&text, &Overrides::default(), Origin::default(), rules, NOW)
    };
    assert!(with(&[rule("total", 5_000)]).is_ok());
    check_refused(
        with(&[rule("total", 4_000)]),
        &expect![
            "$.max_tokens: one call reserves 4019 tokens (19 input at most + max_tokens 4000) and the limit total allows 4000 a minute; lower max_tokens, shorten the input, or raise the limit"
        ],
    );
    check_refused(
        with(&[rule("total", 5_000), rule("lane:*claude-haiku*", 3_000)]),
        &expect![
            "$.max_tokens: one call reserves 4019 tokens (19 input at most + max_tokens 4000) and the limit lane:*claude-haiku* allows 3000 a minute; lower max_tokens, shorten the input, or raise the limit"
        ],
    );
    check_refused(
        with(&[rule("queue:re*", 2_000)]),
        &expect![
            "$.max_tokens: one call reserves 4019 tokens (19 input at most + max_tokens 4000) and the limit queue:re* allows 2000 a minute; lower max_tokens, shorten the input, or raise the limit"
        ],
    );
    // The most specific rule of a key counts, not the smallest.
    assert!(with(&[rule("queue:*", 2_000), rule("queue:reports", 9_000)]).is_ok());
}

#[test]
fn a_document_that_is_too_large_is_not_even_read() {
    let settings = AdmitSettings { document_bytes_max: 20, ..settings() };
    let found =
        room(settings).prepare(&"x".repeat(21), &Overrides::default(), Origin::default(), &[], NOW);
    check_refused(
        found,
        &expect![
            "$: the document has 21 bytes and job.document_bytes_max is 20; shorten it or raise the setting"
        ],
    );
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_place() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "strang" } } });
    check_refused(
        prepare(&json!({ "prompt": "hi", "schema": schema })),
        &expect![[
            r#"$.schema: schema at "/properties/a/type": "strang" is not valid under any of the schemas listed in the 'anyOf' keyword"#
        ]],
    );
    check_refused(
        prepare(&json!({ "prompt": "hi", "schema": "object" })),
        &expect!["$.schema: schema: must be a JSON object or a boolean, not a string"],
    );
}

#[test]
fn a_deadline_that_has_passed_is_refused() {
    let document = json!({ "prompt": "hi", "deadline": "2025-12-31T23:59:59Z" });
    check_refused(prepare(&document), &expect!["$.deadline: has already passed"]);
}

#[test]
fn every_reason_is_named_at_once() {
    let document = json!({
        "prompt": "hi", "model": "llama3.1-8b", "max_tokens": 200_000, "schema": 1,
        "deadline": "2025-12-31T23:59:59Z"
    });
    let text = document.to_string();
    let rules = [rule("total", 1_000)];
    let found =
        room(settings()).prepare(&text, &Overrides::default(), Origin::default(), &rules, NOW);
    check_refused(
        found,
        &expect![[r#"
        $.schema: schema: must be a JSON object or a boolean, not a number
        $.max_tokens: 200000 is more than the 4096 tokens that llama3.1-8b can answer; lower it, or choose another model
        $: up to 84 input tokens and max_tokens 200000 are more than the window of llama3.1-8b, 128000; shorten the input, lower max_tokens, or choose a model with a larger window
        $.max_tokens: one call reserves 200084 tokens (84 input at most + max_tokens 200000) and the limit total allows 1000 a minute; lower max_tokens, shorten the input, or raise the limit
        $.deadline: has already passed"#]],
    );
}

#[test]
fn the_schema_and_the_documents_to_read_count_as_input() {
    let input = |document: Value| admitted(&document).0.wanted.input_tokens_max;
    let plain = input(json!({ "prompt": "hi" }));
    assert!(input(json!({ "prompt": "hi", "schema": { "type": "object" } })) > plain + 50);
    assert!(
        input(json!({ "prompt": "hi", "context": [{ "text": "x".repeat(500) }] })) > plain + 200
    );
}

// ---- Identity

#[test]
fn the_hash_is_of_the_document_and_not_of_how_it_is_written() {
    let hash = |text: &str| {
        let room = room(settings());
        let origin = Origin::default();
        room.prepare(text, &Overrides::default(), origin, &[], NOW).unwrap().document_hash
    };
    let one = hash(r#"{"prompt":"hi","temperature":0.7,"queue":"a"}"#);
    assert_eq!(
        one,
        hash(r#" { "queue" : "a", "id":null, "prompt":"h\u0069", "temperature":0.70 } "#)
    );
    assert_ne!(one, hash(r#"{"prompt":"hi","temperature":0.7,"queue":"b"}"#));
    // The order of a schema's keys reaches the model, so it is part of the document.
    let schema = |text: &str| hash(&format!(r#"{{"prompt":"hi","schema":{text}}}"#));
    assert_ne!(
        schema(r#"{"type":"object","title":"t"}"#),
        schema(r#"{"title":"t","type":"object"}"#)
    );
    // Stored hashes must mean the same to the next version of this program.
    assert_eq!(hash(r#"{"prompt":"hi"}"#), job::digest(r#"{"prompt":"hi"}"#));
}

#[test]
fn an_id_is_the_identity_and_else_what_the_door_says() {
    let identity = |document: Value| {
        let origin = Origin { identity: Some("submission:7".to_owned()), ..Origin::default() };
        let text = document.to_string();
        let room = room(settings());
        room.prepare(&text, &Overrides::default(), origin, &[], NOW).unwrap().identity
    };
    assert_eq!(identity(json!({ "prompt": "hi", "id": "a" })).as_deref(), Some("id:a"));
    assert_eq!(identity(json!({ "prompt": "hi" })).as_deref(), Some("submission:7"));
}

#[test]
fn a_rejected_document_is_kept_under_the_id_that_it_names() {
    let room = room(settings());
    let text = r#"{"id":"a","promt":"hi"}"#;
    let overrides = Overrides::default();
    let problems = room.prepare(text, &overrides, Origin::default(), &[], NOW).unwrap_err();
    let job = room.rejected(text, &problems, Origin::default(), NOW);
    assert_eq!(job.external_id.as_deref(), Some("a"));
    // The id stays free for the corrected document.
    assert_eq!(job.identity, None);
    assert_eq!(serde_json::from_str::<String>(&job.document).unwrap(), text);
    expect!["$.promt: is not a field here; did you mean `prompt`?"]
        .assert_eq(&job.resolved.unwrap_err());
    for text in ["", "{", r#"{"id":7}"#, r#"{"id":" "}"#, "[]"] {
        assert_eq!(room.rejected(text, &[], Origin::default(), NOW).external_id, None, "{text}");
    }
}

// ---- Replies

fn replying(allow: &[&str]) -> Admission {
    let entries = allow.iter().map(|entry| (*entry).to_owned()).collect();
    room(AdmitSettings { reply_allow: ReplyAllow::new(entries), ..settings() })
}

const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";

fn of_message() -> Origin {
    Origin {
        identity: Some("message:7".to_owned()),
        trace: Some(TRACE.to_owned()),
        tenant: Some("north".to_owned()),
        may_be_late: true,
        ..Origin::default()
    }
}

#[test]
fn a_document_that_may_have_come_before_is_refused_with_what_it_was_known_by() {
    let text = json!({ "prompt": "hi", "id": "a", "reply_to": "answers" }).to_string();
    let then = replying(&["answers"]).prepare(&text, &Overrides::default(), of_message(), &[], NOW);
    let then = then.unwrap();
    let now = |text: &str, origin| replying(&[]).rejected(text, &[], origin, NOW);
    let before = now(&text, of_message()).before.unwrap();
    assert_eq!(Some(before.identity), then.identity);
    assert_eq!(before.document_hash, then.document_hash);
    assert_eq!(now(&text, Origin::default()).before, None, "other doors answer at once");
    for other in [r#"{"prompt":"hi"}"#, r#"{"id":"a"}"#, r#"{"id":"a","prompt":"hi","x":1}"#] {
        assert_eq!(now(other, of_message()).before, None, "{other}");
    }
}

#[test]
fn a_message_may_come_after_its_deadline_and_is_still_the_same_job() {
    let text = json!({ "id": "a", "prompt": "hi", "deadline": "2020-01-01T00:00:00Z" }).to_string();
    let room = replying(&[]);
    let prepared = |origin| room.prepare(&text, &Overrides::default(), origin, &[], NOW);
    assert_eq!(prepared(of_message()).unwrap().identity.as_deref(), Some("id:a"));
    check_refused(prepared(Origin::default()), &expect!["$.deadline: has already passed"]);
}

#[test]
fn a_result_goes_only_where_the_configuration_allows_it() {
    let text = json!({ "prompt": "hi", "reply_to": "answers" }).to_string();
    let prepared = |allow: &[&str]| {
        replying(allow).prepare(&text, &Overrides::default(), of_message(), &[], NOW)
    };
    let reply = Reply { to: "answers".to_owned(), trace: Some(TRACE.to_owned()) };
    assert_eq!(prepared(&["ans*"]).unwrap().reply, Some(reply));
    check_refused(
        prepared(&[]),
        &expect![
            "$.reply_to: no queue may get replies: sqs.reply_allow is empty; add this queue's URL or name to it as it is written here, or leave the field out and read the result in the store"
        ],
    );
    check_refused(
        prepared(&["others"]),
        &expect![
            "$.reply_to: no entry of sqs.reply_allow allows this queue; add its URL or name as it is written here, or name a queue that is allowed"
        ],
    );
    check_refused(
        prepare(&json!({ "prompt": "hi", "reply_to": "two words" })),
        &expect!["$.reply_to: contains a blank; no queue's name has one"],
    );
}

#[test]
fn a_messages_group_is_the_tenant_of_a_document_that_names_none_and_no_part_of_it() {
    let room = replying(&[]);
    let prepared =
        |text: &str, origin| room.prepare(text, &Overrides::default(), origin, &[], NOW).unwrap();
    let silent = prepared(r#"{"prompt":"hi"}"#, of_message());
    assert_eq!((&*silent.tenant, silent.identity.as_deref()), ("north", Some("message:7")));
    assert_eq!(silent.document, r#"{"prompt":"hi"}"#);
    assert_eq!(prepared(r#"{"prompt":"hi","tenant":"south"}"#, of_message()).tenant, "south");
    let nameless = Origin { tenant: Some(" ".to_owned()), ..of_message() };
    assert_eq!(prepared(r#"{"prompt":"hi"}"#, nameless).tenant, "default");
}

#[test]
fn a_rejected_message_keeps_its_identity_its_tenant_and_where_its_reply_goes() {
    let room = replying(&["answers"]);
    let rejected = |text: &str| room.rejected(text, &[], of_message(), NOW);
    let job = rejected(r#"{"promt":"hi","id":"a","tenant":"south","reply_to":"answers"}"#);
    assert_eq!((job.identity.as_deref(), &*job.tenant), (Some("message:7"), "south"));
    let reply = Reply { to: "answers".to_owned(), trace: Some(TRACE.to_owned()) };
    assert_eq!((job.external_id.as_deref(), job.reply), (Some("a"), Some(reply)));
    for text in ["", "no JSON", r#"{"reply_to":"others"}"#, r#"{"reply_to":7}"#] {
        let job = rejected(text);
        assert_eq!((&*job.tenant, job.reply), ("north", None), "{text}");
    }
}

// ---- Native formats

fn native(model: &str, more: &Value) -> Value {
    let mut document = json!({ "prompt": "hi", "model": model, "api": "invoke" });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

#[test]
fn what_a_native_format_cannot_say_is_refused_at_the_door() {
    for model in ["llama3-8b", "llama4-scout"] {
        check_refused(
            prepare(&native(model, &json!({ "stop": ["END"] }))),
            &expect![
                "$.stop: Llama's native body has no stop strings; leave `stop` out and cut the answer yourself, or choose a model of another family"
            ],
        );
        assert!(prepare(&native(model, &json!({}))).is_ok());
        let mut uniform = native(model, &json!({ "stop": ["END"] }));
        uniform["api"] = json!("converse");
        assert!(prepare(&uniform).is_ok(), "the uniform interface has the field");
    }
    for model in ["claude-haiku-4.5", "mixtral-8x7b", "mistral-large-2407", "nova-micro"] {
        assert!(prepare(&native(model, &json!({ "stop": ["END"] }))).is_ok(), "{model}");
    }
}

#[test]
fn special_tokens_that_a_native_prompt_spells_out_count_as_input() {
    let prompt = json!({ "prompt": "<|eot|>".repeat(100) });
    let input = |document: &Value| admitted(document).0.wanted.input_tokens_max;
    let mut uniform = native("llama4-scout", &prompt);
    uniform["api"] = json!("converse");
    // Measured: five tokens for each, once it is plain text.
    assert!(input(&native("llama4-scout", &prompt)) >= 500);
    assert_eq!(input(&native("llama4-scout", &prompt)), input(&uniform) + 300);
}
