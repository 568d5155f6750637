//! What a process is configured with that is the same for all: limits, queues, tenants and days, as
//! the store keeps them; written at its start, and told where others were configured otherwise.
//! Must not know: how limits are kept, or how a claim shares a lane.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;

use crate::budget::Limit;
use crate::config::{self, Loaded, Settings};
use crate::store::{
    LimitRule, QueueShare, SeededSettings, Shares, Store, StoreResult, TenantShare, disagreements,
    setting_disagreements,
};
use crate::worker::process_name;

/// The configured limits as rules. What a flag says holds as it is; of what the configuration says
/// the configured share.
#[must_use]
pub fn limit_rules(loaded: &Loaded) -> Vec<LimitRule> {
    let origin_of = |pattern: &str, dimension: &str| {
        let key = format!("limits.{pattern}.{dimension}");
        let found = loaded.origins.iter().find(|setting| setting.key == key);
        found.map_or("", |setting| setting.origin.as_str())
    };
    let by_flag =
        |pattern: &str, dimension: &str| origin_of(pattern, dimension).starts_with("flag ");
    let share = loaded.settings.budget.quota_share;
    let rule = |(pattern, limit): (&String, &Limit)| {
        let requests_flag = by_flag(pattern, "requests_per_minute");
        let tokens_flag = by_flag(pattern, "tokens_per_minute");
        let shared = |rate: u64, flag: bool| if flag { rate } else { share_of(rate, share) };
        let flags: BTreeSet<&str> = ["requests_per_minute", "tokens_per_minute"]
            .iter()
            .filter_map(|dimension| origin_of(pattern, dimension).strip_prefix("flag "))
            .collect();
        let origin = if flags.is_empty() {
            "configuration".to_owned()
        } else {
            flags.into_iter().collect::<Vec<&str>>().join(", ")
        };
        // A flag replaces the shipped default of the other dimension too; what somebody configured
        // there stays.
        let shipped = origin_of(pattern, "requests_per_minute") == "default";
        let requests = limit.requests_per_minute.filter(|_| !(tokens_flag && shipped));
        LimitRule {
            pattern: pattern.clone(),
            limit: Limit {
                requests_per_minute: requests.map(|rate| shared(rate, requests_flag)),
                tokens_per_minute: limit.tokens_per_minute.map(|rate| shared(rate, tokens_flag)),
            },
            origin,
        }
    };
    loaded.settings.limits.iter().map(rule).collect()
}

/// Writes what is configured for all processes of the store, and tells whose configuration differs.
pub(super) async fn seed(
    store: &dyn Store,
    loaded: &Loaded,
    settings: &Settings,
) -> anyhow::Result<()> {
    let (rules, seeder) = (limit_rules(loaded), process_name());
    store.seed_limits(rules, &seeder).await.context("failed to write the limits")?;
    let shares = shares(settings);
    if !shares.is_empty() {
        store.seed_shares(&shares).await.context("failed to write the queues' shares")?;
    }
    let own = SeededSettings {
        shares,
        retention: settings.retention.clone(),
        reply_allow: Some(settings.sqs.reply_allow.iter().cloned().collect()),
    };
    store.seed_settings(&own, &seeder).await.context("failed to write the settings")?;
    tell_disagreements(store, &seeder).await.context("failed to read the limits")?;
    tell_other_settings(store, &seeder).await.context("failed to read the settings")
}

/// Queues and tenants are the same for all, and each process deletes by its own days and allows its
/// own reply queues: workers that were configured otherwise are told of.
async fn tell_other_settings(store: &dyn Store, seeder: &str) -> StoreResult<()> {
    let (mut seeds, in_force) = (store.limit_seeds().await?, store.shares().await?);
    // It works from now on, and has no lease yet.
    for own in seeds.iter_mut().filter(|seed| seed.seeder == seeder) {
        own.alive = true;
    }
    for one in setting_disagreements(&seeds, &in_force) {
        tracing::warn!(
            setting = one.setting,
            worker = one.seeder,
            "workers were not configured alike: {one}; give both the same configuration: of queues \
             and tenants the last to begin is in force for all, each deletes by its own days, and each \
             admits jobs and sends results by its own sqs.reply_allow"
        );
    }
    Ok(())
}

/// One budget has one set of limits: workers that were configured otherwise are told of, because
/// the last to begin has just replaced theirs.
async fn tell_disagreements(store: &dyn Store, seeder: &str) -> StoreResult<()> {
    let (seeds, rules) = (store.limit_seeds().await?, store.limits().await?);
    for one in disagreements(&seeds, &rules).iter().filter(|one| one.in_force_of == seeder) {
        tracing::warn!(
            pattern = one.pattern,
            worker = one.seeder,
            "workers were not configured alike: {one}, which is in force now for all; give both the \
             same configuration, or say what holds by `quarrier limits set`"
        );
    }
    Ok(())
}

/// How the configured queues and tenants share lanes.
#[must_use]
pub fn shares(settings: &Settings) -> Shares {
    let queue = |(name, queue): (&String, &config::Queue)| QueueShare {
        name: name.clone(),
        concurrency_max: queue.concurrency_max,
        reserved_permille: permille(queue.reserved_share.unwrap_or(0.0)),
        weight: queue.weight.unwrap_or(1.0),
    };
    let tenant = |(name, tenant): (&String, &config::Tenant)| TenantShare {
        name: name.clone(),
        weight: tenant.weight.unwrap_or(1.0),
    };
    Shares {
        queues: settings.queues.iter().map(queue).collect(),
        tenants: settings.tenants.iter().map(tenant).collect(),
    }
}

/// A share in thousandths, rounded; one that is there at least 1.
fn permille(share: f64) -> u32 {
    let micros = Duration::from_secs(1).mul_f64(share.clamp(0.0, 1.0)).as_micros();
    let permille = u32::try_from(micros.saturating_add(500) / 1_000).unwrap_or(1_000);
    if share > 0.0 { permille.max(1) } else { 0 }
}

/// A share of a rate, at least 1. Durations know how to multiply whole numbers by a fraction.
fn share_of(rate: u64, share: f64) -> u64 {
    let micros = Duration::from_secs(rate).mul_f64(share.clamp(0.0, 1.0)).as_micros();
    // A millionth more, because 50 times 0.9 may come out a little below 45.
    u64::try_from(micros.saturating_add(1) / 1_000_000).unwrap_or(rate).max(1)
}
