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
