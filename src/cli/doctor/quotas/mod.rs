//! The account's quotas against the configured limits, for every model in use.
//! Must not know: how quotas are named, beyond what `names` reads.

mod names;

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_servicequotas::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_servicequotas::types::ServiceQuota;

use super::Subject;
use super::catalogue::InUse;
use super::credentials::Found;
use super::report::Report;
use super::words::{causes, shortened};
use crate::catalogue::Resolved;
use crate::cli::rooms;
use crate::store::{LimitRule, rule_for};
use names::{Counts, Way};

const CHECK: &str = "quotas";

/// Bedrock's own name among the services.
const SERVICE: &str = "bedrock";
/// How many pages of a hundred are read.
const PAGES_MAX: usize = 50;
/// How much longer than one question the whole list may take.
const LIST_TIMES: u32 = 3;

/// A limit below this share of the quota, in percent, wastes it.
const FAR_BELOW_PERCENT: u64 = 50;

/// One of the account's quotas that a call can meet.
#[derive(Debug, Clone, PartialEq)]
struct Quota {
    name: String,
    code: String,
    named: names::Named,
    value: u64,
}

/// Compares, where the account may be asked.
pub(super) async fn check(
    subject: &Subject<'_>,
    sdk: &SdkConfig,
    found: &Found,
    in_use: &[InUse],
    report: &mut Report,
) {
    if subject.simulate {
        return;
    }
    let (why, remedy) = match (subject.offline, found) {
        (true, _) => ("not asked", "leave out --offline"),
        (false, Found::ApiKey) => (
            "not asked: a Bedrock API key opens nothing but Bedrock",
            "run it once with ordinary credentials, or compare by hand: Service Quotas, Amazon Bedrock",
        ),
        (false, Found::Nothing) => ("not asked: there are no credentials", "see credentials"),
        (false, Found::Keys) => {
            match list(subject, sdk).await {
                Ok(quotas) => compare(subject, &quotas, in_use, report),
                Err((why, remedy)) => report.note(CHECK, why, remedy),
            }
            return;
        }
    };
    report.note(CHECK, why, remedy);
}

/// The account's quotas for models, or why they cannot be read and what to do.
async fn list(subject: &Subject<'_>, sdk: &SdkConfig) -> Result<Vec<Quota>, (String, String)> {
    let client = aws_sdk_servicequotas::Client::new(sdk);
    let mut pages = client.list_service_quotas().service_code(SERVICE).into_paginator().send();
    let mut quotas = Vec::new();
    let all = async {
        for _ in 0..PAGES_MAX {
            let Some(page) = pages.next().await else { break };
            let page = page.map_err(|error| refusal(&error))?;
            quotas.extend(page.quotas().iter().filter_map(quota));
        }
        Ok(())
    };
    let patience: Duration = subject.patience.saturating_mul(LIST_TIMES);
    match tokio::time::timeout(patience, all).await {
        Ok(Ok(())) => Ok(quotas),
        Ok(Err(why)) => Err(why),
        Err(_) => Err((
            format!("Service Quotas did not answer in {} s", patience.as_secs()),
            "nothing, if the network lets only Bedrock through: compare by hand".to_owned(),
        )),
    }
}

fn quota(found: &ServiceQuota) -> Option<Quota> {
    let name = found.quota_name()?;
    let named = names::read(name)?;
    // Quotas are whole numbers; the interface sends them with a fraction.
    let value = Duration::try_from_secs_f64(found.value()?).ok()?.as_secs();
    let code = found.quota_code().unwrap_or("no code").to_owned();
    Some(Quota { name: name.to_owned(), code, named, value })
}

fn refusal<E, R>(error: &SdkError<E, R>) -> (String, String)
where
    E: std::error::Error + aws_sdk_servicequotas::error::ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    let by_hand = "compare by hand: AWS console, Service Quotas, Amazon Bedrock";
    match error.code() {
        Some(code @ ("AccessDeniedException" | "AccessDenied")) => (
            format!("may not be read ({code})"),
            format!("allow the action servicequotas:ListServiceQuotas; or {by_hand}"),
        ),
        Some(code) => (
            format!(
                "could not be read: {code}: {}",
                shortened(error.message().unwrap_or_default())
            ),
            by_hand.to_owned(),
        ),
        None => (format!("could not be read: {}", causes(error)), by_hand.to_owned()),
    }
}

fn compare(subject: &Subject<'_>, quotas: &[Quota], in_use: &[InUse], report: &mut Report) {
    if quotas.is_empty() {
        report.note(
            CHECK,
            "the list holds no quota for model inference",
            "compare by hand: AWS console, Service Quotas, Amazon Bedrock",
        );
        return;
    }
    let rules = rooms::limit_rules(subject.loaded);
    let prefix = rooms::lane_prefix(subject.settings);
    for model in in_use.iter().filter_map(|one| one.resolved.as_ref()) {
        let lane = format!("lane:{prefix}/{}", model.model_id);
        let way = Way::of(&model.model_id, &model.base_id);
        let mut any = false;
        for counts in [Counts::RequestsPerMinute, Counts::TokensPerMinute, Counts::TokensPerDay] {
            if let Some(quota) = best(quotas, model, way, counts) {
                any = true;
                judge(quota, model, &Limited::of(&rules, &lane, counts), report);
            }
        }
        if !any {
            report.note(
                CHECK,
                format!(
                    "none of {} quotas names {} ({})",
                    quotas.len(),
                    model.alias,
                    model.model_id
                ),
                "compare by hand: AWS console, Service Quotas, Amazon Bedrock",
            );
        }
    }
}

/// The quota that names this model best, for this way of calling it.
fn best<'q>(quotas: &'q [Quota], model: &Resolved, way: Way, counts: Counts) -> Option<&'q Quota> {
    let words = names::words(&model.base_id);
    quotas
        .iter()
        .filter(|quota| quota.named.counts == counts)
        .filter(|quota| quota.named.way.is_none_or(|theirs| theirs == way))
        .filter_map(|quota| Some((names::distance(&quota.named.words, &words)?, quota)))
        .min_by_key(|(far, quota)| (*far, quota.named.way.is_none()))
        .map(|(_, quota)| quota)
}

/// What is configured for one lane in one dimension.
#[derive(Debug, Default)]
struct Limited {
    /// The tightest rate, and the rule that it stands in.
    tightest: Option<(u64, String)>,
}

impl Limited {
    /// A call draws on `total` and on its lane: the tighter of both holds.
    fn of(rules: &[LimitRule], lane: &str, counts: Counts) -> Self {
        let rate = |name: &str| {
            let rule = rule_for(rules, name)?;
            let rate = match counts {
                Counts::RequestsPerMinute => rule.limit.requests_per_minute,
                Counts::TokensPerMinute => rule.limit.tokens_per_minute,
                Counts::TokensPerDay => None,
            };
            Some((rate?, rule.pattern.clone()))
        };
        Self { tightest: [rate("total"), rate(lane)].into_iter().flatten().min() }
    }
}

fn judge(quota: &Quota, model: &Resolved, limited: &Limited, report: &mut Report) {
    let has = format!("{}: the account has {} {}", model.alias, quota.value, unit(quota));
    if quota.value == 0 {
        report.error(
            CHECK,
            format!("{has} ({}, {})", quota.name, quota.code),
            format!(
                "a new account begins so: ask for an increase of {} (Service Quotas, Amazon Bedrock), or \
                 use a model that has quota",
                quota.code
            ),
        );
        return;
    }
    let Some(key) = setting(quota) else {
        report.ok(CHECK, has);
        return;
    };
    let wide = format!("\"lane:*{}\"", model.model_id);
    let Some((rate, pattern)) = &limited.tightest else {
        report.warning(
            CHECK,
            format!("{has}, and no limit is set: calls beyond it are throttled"),
            format!("set limits.{wide}.{key} = {}", quota.value),
        );
        return;
    };
    let found = format!("{has}, and limits.{pattern} leaves {rate}");
    if *rate > quota.value {
        let rule = if pattern == "total" { wide } else { format!("\"{pattern}\"") };
        report.error(
            CHECK,
            format!("{found}: calls beyond the quota are throttled (429)"),
            format!(
                "set limits.{rule}.{key} = {}, or ask for an increase of {}",
                quota.value, quota.code
            ),
        );
    } else if rate.saturating_mul(100) < quota.value.saturating_mul(FAR_BELOW_PERCENT) {
        let rule = if pattern == "total" { pattern.clone() } else { format!("\"{pattern}\"") };
        report.note(
            CHECK,
            format!("{found}: less than half of it is used"),
            format!("set limits.{rule}.{key} = {} unless others share the account", quota.value),
        );
    } else {
        report.ok(CHECK, found);
    }
}

fn unit(quota: &Quota) -> &'static str {
    match quota.named.counts {
        Counts::RequestsPerMinute => "requests a minute",
        Counts::TokensPerMinute => "tokens a minute",
        Counts::TokensPerDay => "tokens a day",
    }
}

/// The setting that limits what this quota counts; there is none for days yet.
fn setting(quota: &Quota) -> Option<&'static str> {
    match quota.named.counts {
        Counts::RequestsPerMinute => Some("requests_per_minute"),
        Counts::TokensPerMinute => Some("tokens_per_minute"),
        Counts::TokensPerDay => None,
    }
}
