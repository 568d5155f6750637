//! The settings of message queues: how they are reached, and which are received from.
//! Must not know: where a value came from, how a queue is used.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::intake::OnBad;

/// Message queues. What is said of intakes holds for each that says nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Sqs {
    pub region: String,
    pub endpoint: String,
    pub connect_timeout_ms: u64,
    pub timeout_ms: u64,
    pub ack: AckChoice,
    pub on_bad: OnBad,
    pub visibility_s: u32,
    pub held_max: u32,
    pub tenant_from_group: bool,
    pub receive_loops_max: u32,
    pub backlog_max: u32,
    pub intake: Vec<SqsIntake>,
    pub reply_allow: Vec<String>,
    pub bucket: String,
    pub bucket_prefix: String,
}

/// When a message is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckChoice {
    /// As the store's safety allows: `on_finished` with a SQLite file, `on_stored` with a server.
    Auto,
    /// Once its job is committed.
    OnStored,
    /// Once its job has ended and its reply was delivered or given up.
    OnFinished,
}

/// A queue to receive from. What is absent is as `[sqs]` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqsIntake {
    /// The queue's URL, its ARN, or its name.
    pub url: String,
    /// In place of `sqs.ack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<AckChoice>,
    /// In place of `sqs.on_bad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_bad: Option<OnBad>,
    /// In place of `sqs.visibility_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility_s: Option<u32>,
    /// In place of `sqs.held_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_max: Option<u32>,
    /// In place of `sqs.tenant_from_group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_from_group: Option<bool>,
    /// In place of `sqs.receive_loops_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_loops_max: Option<u32>,
}

/// The written form of an intake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    #[serde(default)]
    ack: Option<AckChoice>,
    #[serde(default)]
    on_bad: Option<OnBad>,
    #[serde(default)]
    visibility_s: Option<u32>,
    #[serde(default)]
    held_max: Option<u32>,
    #[serde(default)]
    tenant_from_group: Option<bool>,
    #[serde(default)]
    receive_loops_max: Option<u32>,
}

impl SqsIntake {
    /// A queue of which nothing else is said.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ack: None,
            on_bad: None,
            visibility_s: None,
            held_max: None,
            tenant_from_group: None,
            receive_loops_max: None,
        }
    }
}

impl From<Table> for SqsIntake {
    fn from(table: Table) -> Self {
        let Table {
            url,
            ack,
            on_bad,
            visibility_s,
            held_max,
            tenant_from_group,
            receive_loops_max,
        } = table;
        Self { url, ack, on_bad, visibility_s, held_max, tenant_from_group, receive_loops_max }
    }
}

/// An intake is a table, or the queue's URL alone: a variable's list of URLs needs no more.
impl<'de> Deserialize<'de> for SqsIntake {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SqsIntake;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a queue's URL, or a table with its `url`")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<SqsIntake, E> {
                Ok(SqsIntake::of(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SqsIntake, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map)).map(SqsIntake::from)
            }
        }
        reader.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use crate::config::{FILE_NAME, LoadArgs, Loaded, Override, load};

    use super::*;

    const URL: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/jobs";

    fn loaded(file: &str, env: &[(&str, &str)], flags: Vec<Override>) -> Result<Loaded, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), file).unwrap();
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env: BTreeMap<String, String> = env.iter().map(pair).collect();
        let args = LoadArgs { file: None, dir: dir.path().to_owned(), env, flags };
        let place = format!("{}/", dir.path().display());
        load(&args).map_err(|error| error.to_string().replace(&place, ""))
    }

    fn intakes(file: &str, env: &[(&str, &str)]) -> Vec<SqsIntake> {
        loaded(file, env, Vec::new()).unwrap().settings.sqs.intake
    }

    fn refused(file: &str, env: &[(&str, &str)]) -> String {
        loaded(file, env, Vec::new()).unwrap_err()
    }

    #[test]
    fn each_queue_is_a_table_and_what_it_does_not_say_stays_open() {
        let file = format!(
            "[[sqs.intake]]\nurl = '{URL}'\nack = 'on_stored'\nheld_max = 5\n\
             [[sqs.intake]]\nurl = 'other'"
        );
        let first =
            SqsIntake { ack: Some(AckChoice::OnStored), held_max: Some(5), ..SqsIntake::of(URL) };
        assert_eq!(intakes(&file, &[]), [first, SqsIntake::of("other")]);
    }

    #[test]
    fn a_variable_gives_urls_a_list_in_toml_or_one_in_json() {
        let of = |value: &str| intakes("", &[("QUARRIER_SQS__INTAKE", value)]);
        let both = [SqsIntake::of("a"), SqsIntake::of("b")];
        assert_eq!(of("a, b"), both);
        assert_eq!(of(r#"["a", "b"]"#), both);
        assert_eq!(of(r#"[{ url = "a" }, { url = "b" }]"#), both);
        assert_eq!(of(r#"[{"url": "a"}, "b"]"#), both);
        let ack = SqsIntake { ack: Some(AckChoice::OnFinished), ..SqsIntake::of("a") };
        assert_eq!(of(r#"[{"url": "a", "ack": "on_finished"}]"#), [ack]);
    }

    #[test]
    fn a_flag_replaces_the_queues_of_the_file() {
        let file = format!("[[sqs.intake]]\nurl = '{URL}'");
        let flag = Override {
            key: "sqs.intake".to_owned(),
            value: json!(["other"]),
            flag: "--sqs-intake".to_owned(),
        };
        let loaded = loaded(&file, &[], vec![flag]).unwrap();
        assert_eq!(loaded.settings.sqs.intake, [SqsIntake::of("other")]);
        let shown = loaded.origins.iter().find(|setting| setting.key == "sqs.intake").unwrap();
        assert_eq!(shown.origin, "flag --sqs-intake");
    }

    #[test]
    fn what_is_wrong_with_a_queue_is_told_with_its_place_in_the_list() {
        let entry =
            |rest: &str| format!("[[sqs.intake]]\nurl = 'a'\n[[sqs.intake]]\nurl = 'b'\n{rest}");
        for (file, said) in [
            (
                entry("ack = 'never'"),
                "sqs.intake[1].ack (quarrier.toml): it must be one of \"auto\"",
            ),
            (entry("akc = 'auto'"), "sqs.intake[1].akc (quarrier.toml): it has no field \"akc\""),
            (
                entry("held_max = 0"),
                "sqs.intake[1].held_max (quarrier.toml): it must be 1 to 100000",
            ),
            (
                entry("visibility_s = 'x'"),
                "sqs.intake[1].visibility_s (quarrier.toml): it must be a",
            ),
            (
                "[[sqs.intake]]\nack = 'auto'".to_owned(),
                "sqs.intake[0] (quarrier.toml): it needs the field `url`",
            ),
            (
                "[[sqs.intake]]\nurl = ' '".to_owned(),
                "sqs.intake[0].url (quarrier.toml): it must be a queue's",
            ),
            (
                "[sqs]\nintake = ['a', 'a']".to_owned(),
                "sqs.intake[1].url (quarrier.toml): it is the queue of sqs.intake[0] too",
            ),
            ("[sqs]\nintake = 3".to_owned(), "sqs.intake (quarrier.toml)"),
            (
                "[sqs.intake]\nurl = 'a'".to_owned(),
                "it is a list, not a table: write [[sqs.intake]]",
            ),
        ] {
            let text = refused(&file, &[]);
            assert!(text.contains(said), "{said}\n{text}");
        }
        let text = refused("", &[("QUARRIER_SQS__INTAKE", "[a")]);
        assert!(text.contains("(environment QUARRIER_SQS__INTAKE)"), "{text}");
    }
}
