//! The configuration's behaviours.
//! Must not know: the process's own environment or folder.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::date;
use serde_json::json;

use super::*;
use crate::catalogue::Family;

/// What a configuration is made of, in an empty folder of its own.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, serde_json::Value, &'a str)],
}

fn load_given(given: &Given<'_>) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    if !given.file.is_empty() {
        std::fs::write(dir.path().join(FILE_NAME), given.file).unwrap();
    }
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flag = |(key, value, flag): &(&str, serde_json::Value, &str)| Override {
        key: (*key).to_owned(),
        value: value.clone(),
        flag: (*flag).to_owned(),
    };
    let loaded = load(&LoadArgs {
        file: None,
        dir: dir.path().to_owned(),
        env: given.env.iter().map(pair).collect(),
        flags: given.flags.iter().map(flag).collect(),
    });
    // The folder's name is chance; what users see is the file's name.
    let short = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    match loaded {
        Ok(mut loaded) => {
            for setting in &mut loaded.origins {
                setting.origin = short(std::mem::take(&mut setting.origin));
            }
            Ok(loaded)
        }
        Err(ConfigError::Wrong { key, origin, reason }) => {
            Err(ConfigError::Wrong { key, origin: short(origin), reason })
        }
        Err(ConfigError::Unknown { key, origin, nearest }) => {
            Err(ConfigError::Unknown { key, origin: short(origin), nearest })
        }
        Err(error) => Err(error),
    }
}

fn loaded(given: &Given<'_>) -> Loaded {
    load_given(given).unwrap()
}

fn refused(given: &Given<'_>) -> String {
    load_given(given).unwrap_err().to_string()
}

fn refused_file(file: &str) -> String {
    refused(&Given { file, ..Given::default() })
}

fn origin<'a>(loaded: &'a Loaded, key: &str) -> &'a str {
    &loaded.origins.iter().find(|setting| setting.key == key).unwrap().origin
}

/// The keys of a JSON value, tables of the users' own left whole.
fn keys(value: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(inner) if !layers::OPEN_TABLES.contains(&path) => {
            for (name, value) in inner {
                let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                keys(value, &key, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_default_file_has_every_field_and_no_other() {
    let Loaded { settings, origins } = loaded(&Given::default());
    let mut fields = BTreeSet::new();
    keys(&serde_json::to_value(settings).unwrap(), "", &mut fields);
    let in_file: toml::Table = DEFAULTS.parse().unwrap();
    let mut written = BTreeSet::new();
    keys(&serde_json::to_value(in_file).unwrap(), "", &mut written);
    assert_eq!(fields, written);
    assert!(origins.iter().all(|setting| setting.origin == "default"));
}

#[test]
fn the_rooms_own_defaults_are_those_of_the_file() {
    let settings = loaded(&Given::default()).settings;
    assert_eq!(settings.retry, crate::retry::Policy::default());
    assert_eq!(settings.check, crate::check::Limits::default());
}

#[test]
fn every_key_of_the_default_file_has_exactly_one_comment() {
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    let mut keys = 0;
    for (number, line) in lines.iter().enumerate() {
        let is_setting = !line.starts_with(['#', '[']) && !line.is_empty();
        if is_setting || line.starts_with('[') {
            assert!(lines[number - 1].starts_with("# "), "{line}: no comment above");
            assert!(!line.contains('#'), "{line}: a second comment");
        }
        if is_setting {
            assert!(!lines[number - 2].starts_with('#'), "{line}: a second comment");
            keys += 1;
        }
    }
    assert!(keys > 60);
}

#[test]
fn every_number_has_bounds_and_every_bound_a_number() {
    let numbers: BTreeSet<String> = loaded(&Given::default())
        .origins
        .into_iter()
        .filter(|setting| setting.value.is_number() && !setting.key.starts_with("limits."))
        .map(|setting| setting.key)
        .collect();
    let bounded: BTreeSet<String> =
        ranges::RANGES.iter().map(|range| range.key.to_owned()).collect();
    assert_eq!(numbers, bounded);
}

#[test]
fn a_later_layer_wins_and_every_value_knows_its_origin() {
    let given = Given {
        file: "[worker]\nconcurrency = 10\nbeat_ms = 2000\n[bedrock]\nregion = 'eu-west-1'",
        env: &[("QUARRIER_WORKER__CONCURRENCY", "20"), ("AWS_REGION", "eu-central-1")],
        flags: &[("worker.concurrency", json!(30), "--concurrency")],
    };
    let loaded = loaded(&given);
    assert_eq!(loaded.settings.worker.concurrency, 30);
    assert_eq!(loaded.settings.bedrock.region, "eu-central-1");
    assert_eq!(origin(&loaded, "worker.concurrency"), "flag --concurrency");
    assert_eq!(origin(&loaded, "worker.beat_ms"), "quarrier.toml");
    assert_eq!(origin(&loaded, "bedrock.region"), "environment AWS_REGION");
    assert_eq!(origin(&loaded, "worker.lease_ms"), "default");
}

#[test]
fn our_own_variable_beats_awss_and_aws_region_beats_the_default_region() {
    let region = |env| loaded(&Given { env, ..Given::default() }).settings.bedrock.region;
    let both = [("AWS_DEFAULT_REGION", "us-west-1"), ("AWS_REGION", "us-west-2")];
    assert_eq!(region(&both), "us-west-2");
    assert_eq!(region(&both[..1]), "us-west-1");
    let ours = [("AWS_REGION", "us-west-2"), ("QUARRIER_BEDROCK__REGION", "eu-west-3")];
    assert_eq!(region(&ours), "eu-west-3");
    assert_eq!(region(&[("AWS_REGION", "")]), "us-east-1");
}

#[test]
fn the_three_bedrock_variables_set_what_jobs_get() {
    let env = [
        ("BEDROCK_MODEL_ID", "anthropic.claude-sonnet-4-6"),
        ("BEDROCK_TEMPERATURE", "0.25"),
        ("BEDROCK_MAX_TOKENS", "800"),
    ];
    let job = loaded(&Given { env: &env, ..Given::default() }).settings.job;
    assert_eq!(job.model, "anthropic.claude-sonnet-4-6");
    assert_eq!((job.temperature, job.max_tokens), (0.25, 800));
}

#[test]
fn a_variable_is_read_as_its_settings_kind() {
    let env = [
        ("QUARRIER_STORE__URL", "2026"),
        ("QUARRIER_BEDROCK__PROFILES", "jp, apac"),
        ("QUARRIER_BEDROCK__STREAM", "false"),
        ("QUARRIER_LIMITS__TOTAL__REQUESTS_PER_MINUTE", "75"),
    ];
    let settings = loaded(&Given { env: &env, ..Given::default() }).settings;
    assert_eq!(settings.store.url, "2026");
    assert_eq!(settings.bedrock.profiles, ["jp", "apac"]);
    assert!(!settings.bedrock.stream);
    assert_eq!(settings.limits["total"].requests_per_minute, Some(75));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_key() {
    assert_eq!(
        refused_file("[worker]\nconcurency = 5"),
        "read the setting worker.concurency (quarrier.toml): there is no such setting, did you mean \
         worker.concurrency?; `quarrier config show` lists them"
    );
    assert!(refused_file("region = 'eu-west-1'").contains("did you mean bedrock.region?"));
    assert!(refused_file("[wroker]\npoll_ms = 1").contains("(quarrier.toml): there is no such"));
    let env = [("QUARRIER_WORKER_CONCURRENCY", "5")];
    let text = refused(&Given { env: &env, ..Given::default() });
    assert!(
        text.contains("(environment QUARRIER_WORKER_CONCURRENCY): there is no such setting, did you mean worker.concurrency (QUARRIER_WORKER__CONCURRENCY)?"),
        "{text}"
    );
}

#[test]
fn a_mistyped_section_of_a_variable_is_refused_with_the_nearest_key_and_its_variable() {
    let env = [("QUARRIER_WORKR__CONCURRENCY", "5")];
    let text = refused(&Given { env: &env, ..Given::default() });
    assert_eq!(
        text,
        "read the setting workr.concurrency (environment QUARRIER_WORKR__CONCURRENCY): there is no \
         such setting, did you mean worker.concurrency (QUARRIER_WORKER__CONCURRENCY)?; `quarrier \
         config show` lists them"
    );
}

/// A value that differs from the default and is allowed, as a variable spells it.
fn another(setting: &Setting) -> Option<String> {
    Some(match setting.key.as_str() {
        "bedrock.api" => "invoke".to_owned(),
        "job.if_outcome_unknown" => "hold".to_owned(),
        "log.format" => "json".to_owned(),
        "log.level" => "warn".to_owned(),
        "http.listen" => "[::]:8787".to_owned(),
        "bedrock.profiles" => "jp,apac".to_owned(),
        "sqs.ack" => "on_stored".to_owned(),
        "sqs.on_bad" => "redrive".to_owned(),
        // Tables of the users' own have tests of their own.
        "bedrock.families" | "queues" | "tenants" | "retention.queues" | "retention.tenants" => {
            return None;
        }
        // Read at once, so it would have to be there.
        "store.url_file" => return None,
        key => match &setting.value {
            serde_json::Value::Bool(is_on) => (!is_on).to_string(),
            serde_json::Value::String(_) => "another".to_owned(),
            // One less is allowed wherever the default is no bound itself.
            number if number.is_u64() => {
                let number = number.as_u64().unwrap();
                let is_lowest = ranges::of(key).is_some_and(|range| range.min == number);
                let changed = if is_lowest { number + 1 } else { number - 1 };
                changed.to_string()
            }
            _ => "0.5".to_owned(),
        },
    })
}

#[test]
fn every_setting_can_be_set_by_a_variable_alone() {
    for setting in loaded(&Given::default()).origins {
        let Some(value) = another(&setting) else { continue };
        let name = format!("QUARRIER_{}", setting.key.to_uppercase().replace('.', "__"));
        let env = [(name.as_str(), value.as_str())];
        let loaded = loaded(&Given { env: &env, ..Given::default() });
        assert_eq!(origin(&loaded, &setting.key), format!("environment {name}"));
        let now = loaded.origins.iter().find(|other| other.key == setting.key).unwrap();
        assert_ne!(now.value, setting.value, "{name}={value}");
    }
}

#[test]
fn a_table_with_keys_that_no_variable_can_spell_comes_in_one_variable() {
    for written in [
        r#"{"total": {"requests_per_minute": 600}, "lane:*Haiku*": {"tokens_per_minute": 9}}"#,
        r#"{ total = { requests_per_minute = 600 }, "lane:*Haiku*" = { tokens_per_minute = 9 } }"#,
        r#"total = { requests_per_minute = 600 }, "lane:*Haiku*" = { tokens_per_minute = 9 }"#,
        "total = { requests_per_minute = 600 }\n[\"lane:*Haiku*\"]\ntokens_per_minute = 9\n",
    ] {
        let env = [("QUARRIER_LIMITS", written)];
        let loaded = loaded(&Given { env: &env, ..Given::default() });
        let limits = &loaded.settings.limits;
        assert_eq!(limits["total"].requests_per_minute, Some(600), "{written}");
        assert_eq!(limits["lane:*Haiku*"].tokens_per_minute, Some(9), "{written}");
        let key = "limits.lane:*Haiku*.tokens_per_minute";
        assert_eq!(origin(&loaded, key), "environment QUARRIER_LIMITS");
    }
    let families = [("QUARRIER_BEDROCK__FAMILIES", r#"{"arn:aws:bedrock:x": "llama"}"#)];
    let settings = loaded(&Given { env: &families, ..Given::default() }).settings;
    assert_eq!(settings.bedrock.families["arn:aws:bedrock:x"], Family::Llama);
    let queues = [("QUARRIER_QUEUES", r#"{"reports": {"concurrency_max": 20}}"#)];
    let settings = loaded(&Given { env: &queues, ..Given::default() }).settings;
    assert_eq!(settings.queues["reports"].concurrency_max, Some(20));
    let days = [("QUARRIER_RETENTION__TENANTS", r#"{"Acme & Co": {"bodies_days": 1}}"#)];
    let settings = loaded(&Given { env: &days, ..Given::default() }).settings;
    assert_eq!(settings.retention.tenants["Acme & Co"].bodies_days, Some(1));
}

#[test]
fn a_variable_for_one_key_beats_one_for_its_whole_table() {
    let env = [
        ("QUARRIER_LIMITS", "total = { requests_per_minute = 600, tokens_per_minute = 7 }"),
        ("QUARRIER_LIMITS__TOTAL__REQUESTS_PER_MINUTE", "700"),
    ];
    let limits = loaded(&Given { env: &env, ..Given::default() }).settings.limits;
    let total = Limit { requests_per_minute: Some(700), tokens_per_minute: Some(7) };
    assert_eq!(limits["total"], total);
}

#[test]
fn what_is_wrong_with_a_variable_is_told_with_its_name() {
    for (name, value, said) in [
        ("QUARRIER_LIMITS", "600", "it must be a table, as JSON"),
        ("QUARRIER_LIMITS", r#"{"total": {"requests_per_minute": 600}"#, "must be a table"),
        ("QUARRIER_LIMITS", r#"{"total": {"requests": 600}}"#, "has no field \"requests\""),
        ("QUARRIER_LIMITS", r#"{"sonnet": {"requests_per_minute": 6}}"#, "names no limit"),
        ("QUARRIER_WORKER", "concurency = 4", "did you mean worker.concurrency"),
        ("QUARRIER_WORKER__CONCURRENCY", "many", "it must be 1 to 10000, and is \"many\""),
        ("QUARRIER_WORKER__CONCURRENCY", "", "it must be 1 to 10000, and is \"\""),
        ("QUARRIER_BEDROCK__STREAM", "yes", "it must be a boolean, and is string \"yes\""),
        ("QUARRIER_BEDROCK__PROFILES", "[jp", "sequence"),
        ("QUARRIER_HTTP__LISTEN", "localhost:80", "such as 127.0.0.1:8787"),
        ("QUARRIER_WORKER__STUCK_MS_MAX", "20000", "must be at least 48000, and is 20000"),
    ] {
        let text = refused(&Given { env: &[(name, value)], ..Given::default() });
        assert!(text.contains(&format!("(environment {name})")), "{text}");
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn variables_that_a_platform_puts_there_for_a_service_of_our_name_are_passed_over() {
    let env = [
        ("QUARRIER_SERVICE_HOST", "10.0.0.1"),
        ("QUARRIER_SERVICE_PORT_HTTP", "80"),
        ("QUARRIER_PORT", "tcp://10.0.0.1:80"),
        ("QUARRIER_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    loaded(&Given { env: &env, ..Given::default() });
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_place_and_what_was_expected() {
    assert_eq!(
        refused_file("[worker]\nconcurrency = 'many'"),
        "read the setting worker.concurrency (quarrier.toml): it must be 1 to 10000, and is \"many\""
    );
    assert_eq!(
        refused_file("[bedrock]\napi = 'convers'"),
        "read the setting bedrock.api (quarrier.toml): it must be one of \"converse\", \"invoke\", \
         and is \"convers\""
    );
    assert!(refused_file("[log]\nbodies = 'yes'").contains("it must be a boolean, and is string"));
    assert!(
        refused_file("[worker]\nconcurrency = 2.5")
            .contains("it must be a whole number, and is float")
    );
    assert!(refused_file("worker = 3").contains("worker (quarrier.toml): it is a table"));
    assert!(
        refused_file("[job.model]\nx = 3").contains("job.model (quarrier.toml): it is one value")
    );
    assert!(
        refused_file("[limits]\ntotal = { requests = 3 }")
            .contains("has no field \"requests\", only")
    );
    assert!(refused_file("[limits]\ntotal = 3").contains("limits.total (quarrier.toml)"));
}

#[test]
fn a_number_out_of_its_bounds_is_refused_with_the_bounds_and_the_reason() {
    let flags = [("worker.concurrency", json!(0), "--concurrency")];
    assert_eq!(
        refused(&Given { flags: &flags, ..Given::default() }),
        "read the setting worker.concurrency (flag --concurrency): it must be 1 to 10000, and is 0: \
         start more processes for more calls"
    );
    assert!(refused_file("[job]\ntemperature = 1.5").contains("must be 0 to 1, and is 1.5"));
    assert!(refused_file("[job]\nmax_tokens = -1").contains("must be 1 to 1000000, and is -1"));
    assert!(
        refused_file("[job]\nmodel = ' '")
            .contains("job.model (quarrier.toml): it must not be empty")
    );
    assert!(refused_file("[job]\ntemperature = nan").contains("job.temperature"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert_eq!(
        refused_file("[worker]\nbeat_ms = 5000"),
        "read the setting worker.beat_ms (quarrier.toml): it must be at most a third of \
         worker.lease_ms (4000): two late beats must not lose the lease"
    );
    assert!(
        refused_file("[retry]\nbackoff_base_ms = 70000").contains("retry.backoff_ms_max (60000)")
    );
    assert!(refused_file("[budget]\nquota_share = 0").contains("nothing would ever run"));
}

#[test]
fn limits_are_named_by_pattern_and_zero_lifts_one() {
    let file = "[limits]\ntotal = { requests_per_minute = 0, tokens_per_minute = 9 }\n\
                'lane:bedrock/us-east-1/claude-haiku-4.5' = { requests_per_minute = 5 }";
    let limits = loaded(&Given { file, ..Given::default() }).settings.limits;
    assert_eq!(limits["total"], Limit { requests_per_minute: None, tokens_per_minute: Some(9) });
    assert_eq!(limits["lane:bedrock/us-east-1/claude-haiku-4.5"].requests_per_minute, Some(5));
    let none = "[limits]\ntotal = { requests_per_minute = 0 }";
    assert!(loaded(&Given { file: none, ..Given::default() }).settings.limits.is_empty());
    assert!(
        refused_file("[limits]\nsonnet = { requests_per_minute = 5 }").contains("limits.sonnet")
    );
}

#[test]
fn a_named_file_must_be_there_and_must_be_toml() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.toml");
    let args = |file: Option<&Path>, variable: Option<&Path>| LoadArgs {
        file: file.map(Path::to_owned),
        dir: dir.path().to_owned(),
        env: variable
            .map(|path| ("QUARRIER_CONFIG".to_owned(), path.display().to_string()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        flags: Vec::new(),
    };
    let text = load(&args(None, Some(&path))).unwrap_err().to_string();
    assert!(text.contains("other.toml") && text.ends_with("with QUARRIER_CONFIG"), "{text}");
    std::fs::write(&path, "[job]\nqueue = 'night'").unwrap();
    assert_eq!(load(&args(Some(&path), None)).unwrap().settings.job.queue, "night");
    assert_eq!(load(&args(None, Some(&path))).unwrap().settings.job.queue, "night");
    std::fs::write(&path, "[job\nqueue").unwrap();
    let text = load(&args(Some(&path), None)).unwrap_err().to_string();
    assert!(text.contains("other.toml") && text.contains("line 1"), "{text}");
}

#[test]
fn a_password_inside_an_address_is_not_shown() {
    let file = "[store]\nurl = 'postgres://app:s3cret@db.example/jobs'";
    let loaded = loaded(&Given { file, ..Given::default() });
    assert!(loaded.settings.store.url.contains("s3cret"));
    let shown = loaded.origins.iter().find(|setting| setting.key == "store.url").unwrap();
    assert_eq!(shown.value, json!("postgres://app:***@db.example/jobs"));
}

#[test]
fn the_stores_address_may_stand_in_a_file_and_a_flag_is_stronger() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    std::fs::write(&file, "postgres://app:s3cret@db.example/jobs\n").unwrap();
    let path = file.display().to_string();
    let env = [("QUARRIER_STORE__URL_FILE", path.as_str()), ("QUARRIER_STORE__URL", "other.db")];
    let loaded_from = loaded(&Given { env: &env, ..Given::default() });
    assert_eq!(loaded_from.settings.store.url, "postgres://app:s3cret@db.example/jobs");
    assert_eq!(origin(&loaded_from, "store.url"), format!("{path} (store.url_file)"));
    let shown = loaded_from.origins.iter().find(|setting| setting.key == "store.url").unwrap();
    assert_eq!(shown.value, json!("postgres://app:***@db.example/jobs"));
    let flags = [("store.url", json!("a.db"), "--store")];
    let store = loaded(&Given { env: &env, flags: &flags, ..Given::default() }).settings.store;
    assert_eq!((store.url.as_str(), store.url_file.as_str()), ("a.db", ""));
    std::fs::remove_file(&file).unwrap();
    let text = refused(&Given { env: &env, ..Given::default() });
    assert!(text.contains("(environment QUARRIER_STORE__URL_FILE): it names "), "{text}");
}

#[test]
fn a_password_has_one_source() {
    let text = refused_file("[store]\npassword_file = 'p'\niam = true");
    assert!(text.contains("store.iam") && text.contains("store.password_file"), "{text}");
}

#[test]
fn the_region_decides_the_profiles_unless_they_are_named() {
    let wanted = |region: &str, profiles: &[&str]| {
        let mut bedrock = loaded(&Given::default()).settings.bedrock;
        region.clone_into(&mut bedrock.region);
        bedrock.profiles = profiles.iter().map(ToString::to_string).collect();
        bedrock.profiles_wanted().join(" ")
    };
    assert_eq!(wanted("us-west-2", &[]), "us");
    assert_eq!(wanted("us-gov-west-1", &[]), "us-gov");
    assert_eq!(wanted("eu-central-1", &[]), "eu");
    assert_eq!(wanted("ap-northeast-1", &[]), "jp apac");
    assert_eq!(wanted("ap-southeast-2", &[]), "au apac");
    assert_eq!(wanted("ap-south-1", &[]), "apac");
    assert_eq!(wanted("sa-east-1", &[]), "global");
    assert_eq!(wanted("eu-central-1", &["eu", "global"]), "eu global");
}

#[test]
fn the_default_model_is_invoked_through_the_regions_profile() {
    let settings = loaded(&Given::default()).settings;
    let ask = settings.ask(&settings.job.model, None, date(2026, 11, 22));
    let resolved = catalogue(&settings).unwrap().resolve(&settings.job.model, &ask).unwrap();
    assert_eq!(resolved.model_id, "us.anthropic.claude-haiku-4-5-20251001-v1:0");
}

#[test]
fn the_family_of_an_unknown_id_comes_from_the_job_or_the_configuration() {
    let file = "[bedrock.families]\n'arn:aws:bedrock:us-east-1:1:imported-model/x' = 'llama'";
    let settings = loaded(&Given { file, ..Given::default() }).settings;
    let arn = "arn:aws:bedrock:us-east-1:1:imported-model/x";
    let today = date(2026, 11, 22);
    assert_eq!(settings.ask(arn, None, today).family, Some(Family::Llama));
    assert_eq!(settings.ask(arn, Some(Family::Qwen), today).family, Some(Family::Qwen));
    assert_eq!(settings.ask("other", None, today).family, None);
}

#[test]
fn a_models_file_corrects_the_catalogue_and_a_bad_one_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("models.toml");
    let mut settings = loaded(&Given::default()).settings;
    settings.catalogue.models_file = path.display().to_string();
    let text = catalogue(&settings).unwrap_err().to_string();
    assert!(text.contains("models.toml") && text.ends_with("catalogue.models_file"), "{text}");
    std::fs::write(&path, "[[model]]\nid = 'amazon.nova-lite-v1:0'\nprices = { input = 1 }")
        .unwrap();
    let prices = catalogue(&settings).unwrap().model("nova-lite").unwrap().prices.unwrap();
    assert_eq!((prices.input, prices.output), (1, 240_000));
    std::fs::write(&path, "[[model]]\nid = 'x.y'").unwrap();
    assert!(catalogue(&settings).unwrap_err().to_string().contains("read the model \"x.y\""));
}

#[test]
fn a_calls_clock_grows_with_max_tokens_up_to_its_limit() {
    let bedrock = loaded(&Given::default()).settings.bedrock;
    assert_eq!(bedrock.clocks(1_000).total_ms, 160_000);
    assert_eq!(bedrock.clocks(u32::MAX).total_ms, 3_600_000);
    let short = Bedrock { call_timeout_ms_max: 5_000, ..bedrock };
    assert_eq!(short.clocks(1_000).first_token_ms, 5_000);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_variable_name_flag_or_file_makes_loading_panic(
        name in "[A-Z_]{0,12}", raw in ".{0,12}", key in "[a-z_.]{0,12}", file in "[a-z\\[\\]=.'\n 0-9]{0,40}",
    ) {
        let name = format!("QUARRIER_{name}");
        let env = [(name.as_str(), raw.as_str())];
        let flags = [(key.as_str(), json!(null), "--flag")];
        // Either outcome is right; only a panic is wrong.
        drop(load_given(&Given { env: &env, ..Given::default() }));
        drop(load_given(&Given { flags: &flags, ..Given::default() }));
        drop(load_given(&Given { file: &file, ..Given::default() }));
    }
}

#[test]
fn a_key_with_an_empty_part_is_refused() {
    for name in ["QUARRIER_", "QUARRIER___", "QUARRIER_WORKER__", "QUARRIER___CONCURRENCY"] {
        let env = [(name, "5")];
        let text = refused(&Given { env: &env, ..Given::default() });
        assert!(text.contains(&format!("(environment {name})")), "{text}");
    }
}

#[test]
fn queues_and_tenants_are_tables_of_their_own_and_are_held_to_their_bounds() {
    let file = "[queues.chat]\nreserved_share = 0.2\npriority = 10\n\
                [queues.reports]\nconcurrency_max = 20\ndeadline_s = 60\n[tenants.acme]\nweight = 2.0";
    let settings = loaded(&Given { file, ..Given::default() }).settings;
    assert_eq!(settings.queues["chat"].reserved_share, Some(0.2));
    assert_eq!(settings.queues["chat"].priority, Some(10));
    assert_eq!(settings.queues["reports"].concurrency_max, Some(20));
    assert_eq!(settings.tenants["acme"].weight, Some(2.0));
    let sum = refused_file("[queues.a]\nreserved_share = 0.6\n[queues.b]\nreserved_share = 0.5");
    assert!(sum.contains("queues.b.reserved_share") && sum.contains("together"), "{sum}");
    let tenth = "[queues]\na = { reserved_share = 0.7 }\nb = { reserved_share = 0.2 }\n\
                 c = { reserved_share = 0.1 }";
    assert_eq!(loaded(&Given { file: tenth, ..Given::default() }).settings.queues.len(), 3);
    for (wrong, key) in [
        ("[queues.a]\nconcurrency_max = 0", "queues.a.concurrency_max"),
        ("[queues.a]\nweight = 0.0", "queues.a.weight"),
        ("[queues.a]\npriority = 101", "queues.a.priority"),
        ("[queues.a]\ndeadline_s = 0", "queues.a.deadline_s"),
        ("[tenants.a]\nweight = -1.0", "tenants.a.weight"),
        ("[queues.a]\nreserve = 0.1", "queues.a"),
    ] {
        let said = refused_file(wrong);
        assert!(said.contains(key), "{said}");
    }
}
