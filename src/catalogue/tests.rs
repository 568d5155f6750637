//! The catalogue's behaviours, on the table that is built in.
//! Must not know: anything outside the catalogue.

use jiff::civil::{Date, date};

use super::*;
use crate::completion::Usage;

const TODAY: Date = date(2026, 11, 22);

fn embedded() -> Catalogue {
    Catalogue::embedded().unwrap()
}

fn ask() -> Ask {
    Ask { profiles: vec!["us".to_owned()], family: None, allow_retired: false, today: TODAY }
}

/// What is invoked for a name, or the error's text.
fn invoked(name: &str, ask: &Ask) -> String {
    match embedded().resolve(name, ask) {
        Ok(resolved) => resolved.model_id,
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_row_of_the_table_is_there() {
    let catalogue = embedded();
    assert_eq!(catalogue.models().count(), 47);
    let of = |family| catalogue.models().filter(|model| model.family == family).count();
    assert_eq!(Family::ALL.map(of), [22, 10, 6, 5, 1, 2, 1]);
    assert_eq!(catalogue.head().version, "2026-11-22");
    assert!(catalogue.models().all(|model| model.prices.is_some()));
}

#[test]
fn prices_are_exact_to_the_last_digit_of_the_table() {
    let catalogue = embedded();
    let prices = |alias| catalogue.model(alias).unwrap().prices.unwrap();
    let micro = prices("nova-micro");
    assert_eq!((micro.input, micro.output), (35_000, 140_000));
    assert_eq!((micro.cache_read, micro.batch_input), (Some(8_750), Some(17_500)));
    let llama = prices("llama3-70b");
    assert_eq!((llama.input, llama.output, llama.cache_read), (2_650_000, 3_500_000, None));
    let haiku = prices("claude-haiku-4.5");
    assert_eq!((haiku.input, haiku.output), (1_000_000, 5_000_000));
    assert_eq!((haiku.cache_write, haiku.cache_write_1h), (Some(1_250_000), Some(2_000_000)));
    assert_eq!(prices("llama4-maverick").batch_output, Some(485_000));
}

#[test]
fn figures_and_features_are_those_of_the_table() {
    let catalogue = embedded();
    let model = |alias| catalogue.model(alias).unwrap();
    assert_eq!(model("claude-opus-4.6").window, 1_000_000);
    assert_eq!(model("claude-opus-4.6").output_max, 128_000);
    assert_eq!(model("claude-haiku-4.5").cache_tokens_min, Some(4096));
    assert!(!model("mixtral-8x7b").supports.system && !model("mixtral-8x7b").supports.tools);
    assert!(model("qwen3-32b").supports.structured_output);
    assert!(!model("claude-sonnet-5").supports.structured_output);
    assert_eq!(model("llama3-8b").end_of_life, Some(date(2027, 3, 30)));
    let refusing: Vec<&str> = catalogue
        .models()
        .filter(|model| !model.supports.sampling)
        .map(|model| model.alias.as_str())
        .collect();
    assert_eq!(
        refusing,
        [
            "claude-opus-4.7",
            "claude-opus-4.8",
            "claude-opus-5",
            "claude-sonnet-5",
            "claude-opus-5.5",
            "claude-sonnet-5.5",
            "claude-haiku-5.5"
        ]
    );
}

#[test]
fn output_of_claude_3_7_and_4_and_newer_burns_five_tokens_of_quota() {
    for model in embedded().models() {
        let old = ["claude-3-", "claude-3.5-"].iter().any(|old| model.alias.starts_with(old));
        let five = model.family == Family::Claude && !old;
        assert_eq!(model.burndown, if five { 5 } else { 1 }, "{}", model.alias);
    }
}

#[test]
fn every_successor_is_known_and_still_served() {
    let catalogue = embedded();
    for model in catalogue.models() {
        if let Some(alias) = &model.successor {
            let successor = catalogue.model(alias).unwrap();
            assert_eq!(&successor.alias, alias);
            assert!(!successor.is_retired(TODAY), "{} -> {alias}", model.alias);
        }
        assert!(model.end_of_life.is_none() || model.successor.is_some(), "{}", model.alias);
    }
}

#[test]
fn dashed_aliases_stand_beside_dotted_ones() {
    let catalogue = embedded();
    for model in catalogue.models().filter(|model| model.alias.contains('.')) {
        let dashed = model.alias.replace('.', "-");
        assert_eq!(catalogue.model(&dashed).map(|found| &found.id), Some(&model.id));
    }
}

#[test]
fn an_alias_a_base_id_and_a_profile_id_lead_to_one_row() {
    let id = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
    for name in [
        "claude-haiku-4.5",
        "claude-haiku-4-5",
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
    ] {
        let resolved = embedded().resolve(name, &ask()).unwrap();
        assert_eq!(resolved.model_id, id, "{name}");
        assert_eq!(resolved.alias, "claude-haiku-4.5");
        assert_eq!(resolved.base_id, "anthropic.claude-haiku-4-5-20251001-v1:0");
        assert_eq!((resolved.window, resolved.output_max, resolved.burndown), (200_000, 64_000, 5));
    }
}

#[test]
fn a_model_that_takes_its_bare_id_is_invoked_by_it() {
    assert_eq!(invoked("nova-lite", &ask()), "amazon.nova-lite-v1:0");
    assert_eq!(invoked("us.amazon.nova-lite-v1:0", &ask()), "us.amazon.nova-lite-v1:0");
    assert_eq!(invoked("mixtral-8x7b", &ask()), "mistral.mixtral-8x7b-instruct-v0:1");
}

#[test]
fn only_the_profiles_asked_for_are_used_best_first() {
    let at = |profiles: &[&str]| Ask {
        profiles: profiles.iter().map(ToString::to_string).collect(),
        ..ask()
    };
    let sonnet = |profiles: &[&str]| invoked("claude-sonnet-4.5", &at(profiles));
    assert!(sonnet(&["jp", "apac"]).starts_with("jp.anthropic."));
    assert!(sonnet(&["apac", "au"]).starts_with("au.anthropic."));
    assert!(sonnet(&[]).starts_with("global.anthropic."));
    assert_eq!(
        invoked("llama3.3-70b", &at(&["eu", "global"])),
        "resolve the model \"llama3.3-70b\": it needs an inference profile and has none for eu, \
         global, only us; add one of them to `bedrock.profiles`, or name the model as \
         `us.meta.llama3-3-70b-instruct-v1:0`"
    );
}

#[test]
fn regional_profiles_of_new_models_cost_a_tenth_more_and_the_global_one_does_not() {
    let input = |name| embedded().resolve(name, &ask()).unwrap().prices.unwrap().input;
    assert_eq!(input("claude-haiku-4.5"), 1_100_000);
    assert_eq!(input("global.anthropic.claude-haiku-4-5-20251001-v1:0"), 1_000_000);
    assert_eq!(input("us.amazon.nova-lite-v1:0"), 60_000);
    assert_eq!(input("nova-2-lite"), 330_000);
}

#[test]
fn an_inference_profiles_arn_is_invoked_as_written_and_finds_its_row() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/\
               eu.anthropic.claude-sonnet-4-6";
    let resolved = embedded().resolve(arn, &ask()).unwrap();
    assert_eq!(resolved.model_id, arn);
    assert_eq!(resolved.alias, "claude-sonnet-4.6");
    assert_eq!(resolved.prices.unwrap().input, 3_300_000);
}

#[test]
fn an_unknown_id_or_arn_is_accepted_with_its_family_and_has_no_price() {
    for name in [
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/xyz",
        "us.anthropic.claude-next-v1:0",
    ] {
        let refused = embedded().resolve(name, &ask()).unwrap_err();
        assert!(matches!(refused, ResolveError::FamilyNeeded { .. }), "{name}");
        let with = Ask { family: Some(Family::Claude), ..ask() };
        let resolved = embedded().resolve(name, &with).unwrap();
        assert_eq!((resolved.model_id.as_str(), resolved.prices), (name, None));
        assert_eq!((resolved.family, resolved.burndown), (Family::Claude, 5));
    }
}

#[test]
fn an_unknown_alias_is_refused_with_the_nearest_ones_whatever_family_it_names() {
    let with = Ask { family: Some(Family::Claude), ..ask() };
    let text = invoked("claude-hiaku-4.5", &with);
    assert!(text.contains("(nearest: claude-haiku-4.5, claude-haiku-4-5"), "{text}");
    let long = "x".repeat(1_000_000);
    assert!(invoked(&long, &with).len() < 1_000);
    let arn = format!("arn:{long}:foundation-model/anthropic.claude-3-haiku-20240307-v1:0");
    assert!(invoked(&arn, &with).len() < 1_000);
    assert!(invoked("a.b\nc", &with).contains("no model has this alias"));
    assert!(invoked("", &with).contains("no model has this alias"));
}

#[test]
fn a_retired_model_is_refused_with_its_date_and_successor_unless_allowed() {
    assert_eq!(
        invoked("claude-3-haiku", &ask()),
        "resolve the model \"claude-3-haiku\": it was retired on 2026-09-10; use \
         \"claude-haiku-4.5\", or `allow_retired_models` with the simulator"
    );
    assert!(invoked("claude-3-opus", &ask()).contains("retired by its provider"));
    assert!(invoked("eu.anthropic.claude-3-haiku-20240307-v1:0", &ask()).contains("retired"));
    let allowed = Ask { allow_retired: true, ..ask() };
    assert_eq!(invoked("claude-3-haiku", &allowed), "anthropic.claude-3-haiku-20240307-v1:0");
    let before = Ask { today: date(2026, 9, 9), ..ask() };
    assert_eq!(invoked("claude-3-haiku", &before), "anthropic.claude-3-haiku-20240307-v1:0");
}

#[test]
fn the_successor_named_is_one_that_is_still_served() {
    let later = Ask { today: date(2027, 4, 1), ..ask() };
    let refused = embedded().resolve("llama3-70b", &later).unwrap_err();
    let ResolveError::Retired { successor, .. } = refused else { panic!("{refused}") };
    assert_eq!(successor.as_deref(), Some("gpt-oss-120b"));
}

#[test]
fn a_file_corrects_a_price_and_adds_a_model() {
    let mut catalogue = embedded();
    let text = r#"
        [[model]]
        id = "anthropic.claude-sonnet-5"
        prices = { input = 3_000_000 }

        [[model]]
        id = "acme.large-v1:0"
        alias = "acme-large"
        family = "openai"
        window = 32_000
        output_max = 4_000
        burndown = 1
    "#;
    assert_eq!(catalogue.merge(text), Ok(2));
    let prices = catalogue.model("claude-sonnet-5").unwrap().prices.unwrap();
    assert_eq!((prices.input, prices.output), (3_000_000, 10_000_000));
    assert_eq!(catalogue.resolve("acme-large", &ask()).unwrap().prices, None);
    assert_eq!(catalogue.models().count(), 48);
    assert_eq!(catalogue.head().version, "2026-11-22+local");
}

#[test]
fn a_wrong_file_changes_nothing_and_says_which_row_is_wrong() {
    let mut catalogue = embedded();
    let mut refused = |text: &str| catalogue.merge(text).unwrap_err().to_string();
    assert!(refused("[[model]]\nalias = 'x'").contains("model \"number 1\": `id` is missing"));
    let unknown = refused("[[model]]\nid = 'amazon.nova-lite-v1:0'\nwindw = 3");
    assert!(unknown.contains("\"amazon.nova-lite-v1:0\": unknown field `windw`"), "{unknown}");
    let taken = "[[model]]\nid = 'a.b'\nalias = 'nova-lite'\nfamily = 'nova'\nwindow = 9\n\
                 output_max = 9\nburndown = 1";
    assert!(refused(taken).contains("is already \"amazon.nova-lite-v1:0\""));
    assert!(refused(&taken.replace("output_max = 9", "output_max = 10")).contains("output_max"));
    assert!(refused("[[model").contains("read the table of models"));
    assert_eq!(catalogue.models().count(), 47);
    assert_eq!(catalogue.head().version, "2026-11-22");
}

fn flat() -> Prices {
    embedded().model("claude-haiku-4.5").unwrap().prices.unwrap()
}

#[test]
fn costs_are_exact_and_rounded_up_once() {
    let usage = Usage { input: 1_000, output: 200, cache_read: 10_000, cache_write: 400 };
    assert_eq!(cost_micros(&flat(), &usage), 1_000 + 1_000 + 1_000 + 500);
    let one = Usage { cache_read: 1, ..Usage::default() };
    assert_eq!(cost_micros(&flat(), &one), 1);
    assert_eq!(cost_micros(&flat(), &Usage::default()), 0);
    assert_eq!(cost_micros_max(&flat(), 1_000, 4_096), 1_000 + 20_480);
    let all = u64::MAX;
    let absurd = Usage { input: all, output: all, cache_read: all, cache_write: all };
    assert_eq!(cost_micros(&flat(), &absurd), u64::MAX);
}

#[test]
fn a_long_input_pays_its_surcharge_on_the_whole_call() {
    let prices = embedded().model("claude-haiku-5.5").unwrap().prices.unwrap();
    let usage = |input| Usage { input, output: 1_000, ..Usage::default() };
    assert_eq!(cost_micros(&prices, &usage(100_000)), 10_000 + 500);
    assert_eq!(cost_micros(&prices, &usage(200_000)), (20_000 + 500) * 5);
}

#[test]
fn a_family_is_written_in_one_way() {
    for family in Family::ALL {
        let written = serde_json::to_value(family).unwrap();
        assert_eq!(written, serde_json::Value::from(family.as_str()));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_name_resolves_or_is_refused_in_a_short_sentence(name in "(arn:)?.{0,300}", named: bool) {
        let family = named.then_some(Family::Llama);
        if let Err(error) = embedded().resolve(&name, &Ask { family, ..ask() }) {
            assert!(error.to_string().chars().count() < 3_000);
        }
    }
}
