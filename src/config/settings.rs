//! The settings, typed. What each means stands in `config/default.toml`, once.
//! Must not know: where a value came from. There are no defaults here, so that the file and the
//! program cannot differ.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::sqs::Sqs;
use crate::budget::Limit;
use crate::catalogue::{Ask, Family};
use crate::check;
use crate::job::IfOutcomeUnknown;
use crate::provider::{Api, Clocks};
use crate::retry;
use crate::store::RetentionPolicy;
use crate::telemetry::LogFormat;

/// Every setting. The documentation of each is its comment in `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What a job gets that does not say otherwise.
    pub job: JobDefaults,
    /// The provider.
    pub bedrock: Bedrock,
    /// Where jobs and results are kept.
    pub store: Store,
    /// How long content is kept.
    pub retention: RetentionPolicy,
    /// One worker process.
    pub worker: Worker,
    /// The library.
    pub client: Client,
    /// Message queues.
    pub sqs: Sqs,
    /// Sending results to queues.
    pub relay: Relay,
    /// What happens after a call that brought no valid answer.
    pub retry: retry::Policy,
    /// Checking answers against schemas.
    pub check: check::Limits,
    /// The quota's arithmetic.
    pub budget: Budget,
    /// Rates by pattern: `total`, `lane:…`, `queue:…`, `tenant:…`.
    pub limits: BTreeMap<String, Limit>,
    /// Named queues with settings of their own.
    pub queues: BTreeMap<String, Queue>,
    /// Tenants with settings of their own.
    pub tenants: BTreeMap<String, Tenant>,
    /// Which models there are.
    pub catalogue: CatalogueSettings,
    /// What the process answers on HTTP.
    pub http: Http,
    /// What the process says about itself.
    pub log: Log,
}

/// What a job gets that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct JobDefaults {
    pub model: String,
    pub temperature: f32,
    pub temperature_structured: f32,
    pub max_tokens: u32,
    pub deadline_s: u64,
    pub queue: String,
    pub tenant: String,
    pub if_outcome_unknown: IfOutcomeUnknown,
    pub document_bytes_max: usize,
}

/// A named queue. What is absent is as without the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Jobs running at once, in all processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_max: Option<u32>,
    /// The part of each rate, 0 to 1, within which its jobs go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_share: Option<f64>,
    /// Turns for one of another queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// In place of `job.deadline_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The priority of jobs that name none, -100 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// A tenant. What is absent is as without the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Turns for one of another tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// The provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Bedrock {
    pub region: String,
    pub profiles: Vec<String>,
    pub endpoint: String,
    pub api: Api,
    pub stream: bool,
    pub connect_timeout_ms: u64,
    pub first_token_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub call_timeout_ms_base: u64,
    pub call_timeout_ms_per_token: u64,
    pub call_timeout_ms_max: u64,
    pub families: BTreeMap<String, Family>,
}

/// Where jobs and results are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Store {
    pub url: String,
    pub url_file: String,
    pub direct_url: String,
    pub password_file: String,
    pub password_secret: String,
    pub iam: bool,
    pub listen: bool,
    pub busy_timeout_ms: u64,
    pub pooled: bool,
    pub connections_max: u32,
    pub statement_timeout_ms: u64,
    pub lock_timeout_ms: u64,
    pub write_rows_max: u32,
    pub write_ms_max: u64,
    pub results_page_rows: u32,
    pub seen_days: u32,
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Worker {
    pub concurrency: u32,
    pub claim_scan_max: u32,
    pub claim_rows_max: u32,
    pub claim_interval_ms: u64,
    pub poll_ms: u64,
    pub send_late_ms_max: u64,
    pub pass_ms_max: u64,
    pub lease_ms: u64,
    pub beat_ms: u64,
    pub stuck_ms_max: u64,
    pub drain_soft_s: u64,
    pub drain_hard_s: u64,
    pub finish_rows_max: u32,
    pub finish_bytes_max: usize,
    pub unsaved_bytes_max: usize,
    pub spool_dir: String,
    pub spool_bytes_max: u64,
}

/// The library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Client {
    pub wait_ms_max: u64,
}

/// Sending results to queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Relay {
    pub poll_ms: u64,
    pub rows_max: u32,
    pub bytes_max: usize,
    pub hold_ms: u64,
    pub targets_max: u32,
    pub batches_max: u32,
    pub retry_ms_base: u64,
    pub retry_ms_max: u64,
    pub absent_ms_base: u64,
    pub absent_ms_max: u64,
    pub tries_max: u32,
    pub age_s_max: u64,
    pub facts_s: u64,
    pub drain_s: u64,
}

/// The quota's arithmetic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Budget {
    pub quota_share: f64,
}

/// Which models there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct CatalogueSettings {
    pub models_file: String,
    pub allow_retired_models: bool,
}

/// What the process answers on HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Http {
    pub listen: String,
}

impl Http {
    /// Where to listen; none where nothing is served. The configuration is refused where this is
    /// no address.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

/// What the process says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented once, in config/default.toml")]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
    pub bodies: bool,
}

/// The least important line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// As a log filter spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Settings {
    /// What the catalogue needs to know to resolve this model for a job of this family.
    #[must_use]
    pub fn ask(&self, model: &str, family: Option<Family>, today: Date) -> Ask {
        Ask {
            profiles: self.bedrock.profiles_wanted(),
            family: family.or_else(|| self.bedrock.families.get(model).copied()),
            allow_retired: self.catalogue.allow_retired_models,
            today,
        }
    }
}

impl Bedrock {
    /// The inference profiles to use, best first: the configured ones, else those of the region.
    #[must_use]
    pub fn profiles_wanted(&self) -> Vec<String> {
        if !self.profiles.is_empty() {
            return self.profiles.clone();
        }
        let derived: &[&str] = match self.region.as_str() {
            region if region.starts_with("us-gov-") => &["us-gov"],
            region if region.starts_with("us-") => &["us"],
            region if region.starts_with("eu-") => &["eu"],
            "ap-northeast-1" | "ap-northeast-3" => &["jp", "apac"],
            "ap-southeast-2" | "ap-southeast-4" => &["au", "apac"],
            region if region.starts_with("ap-") => &["apac"],
            _ => &["global"],
        };
        derived.iter().map(ToString::to_string).collect()
    }

    /// The clocks of a call with this `max_tokens`.
    #[must_use]
    pub fn clocks(&self, max_tokens: u32) -> Clocks {
        let tokens_ms = self.call_timeout_ms_per_token.saturating_mul(u64::from(max_tokens));
        let total_ms =
            self.call_timeout_ms_base.saturating_add(tokens_ms).min(self.call_timeout_ms_max);
        Clocks {
            first_token_ms: self.first_token_timeout_ms.min(total_ms),
            idle_ms: self.idle_timeout_ms.min(total_ms),
            total_ms,
        }
    }
}
