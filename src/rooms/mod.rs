//! The wiring: settings become a store, an admission room, a provider and a worker, for the
//! commands and for the library's client.
//! Must not know: flags, or what is done in the rooms.

mod endpoint;
mod messages;
mod place;
#[cfg(feature = "postgres")]
mod rds;
mod replies;
#[cfg(feature = "postgres")]
mod secrets;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use uuid::Uuid;

use crate::admit::{Admission, AdmitSettings, QueueDefaults, ReplyAllow};
use crate::budget::{Dimension, Limit};
use crate::clock::Clock;
use crate::config::{self, Loaded, Override, Settings};
use crate::error::first_line;
use crate::provider::bedrock::{Bedrock, BedrockOptions};
use crate::provider::{Clocks, Provider};
use crate::simulator::{Latency, Scenario, Simulator, SimulatorOptions};
use crate::store::{
    LimitRule, QueueShare, SeededSettings, Shares, Store, StoreResult, TenantShare, disagreements,
    setting_disagreements,
};
use crate::worker::{Direct, Worker, WorkerError, WorkerOptions, process_name};
pub use messages::{intake_options, message_queue};
pub use place::{StorePlace, open_store, store_path};

/// What the simulator of this process allows in a minute where no flag says otherwise.
const SIMULATED_REQUESTS_PER_MINUTE: u64 = 600;

/// How long its answers take: long enough to be seen, short enough for a try.
const SIMULATED_LATENCY: Latency =
    Latency { first_token_ms: 150, per_token_us: 2_000, spread_percent: 30 };

/// How origins name what simulating sets.
const SIMULATE_FLAG: &str = "--simulate";

/// How many calls one connection carries at once, on the far side's usual settings.
const CALLS_PER_POOL: u32 = 100;

/// Whether the work is simulated, and where.
#[derive(Debug, Clone, PartialEq)]
pub enum Simulate {
    /// Real work.
    No,
    /// At a simulator inside this process, with this scenario's quota, latency and faults.
    Here(Option<Box<Scenario>>),
    /// At the simulator that the configured endpoint names.
    There,
}

/// What simulating sets wherever it is said: the simulator answers for retired models too.
#[must_use]
pub fn retired_models_override() -> Override {
    let key = "catalogue.allow_retired_models".to_owned();
    Override { key, value: json!(true), flag: SIMULATE_FLAG.to_owned() }
}

/// The limits of a simulator inside this process, where nothing stronger says otherwise.
#[must_use]
pub fn simulated_limits(tokens_are_limited: bool) -> [Override; 2] {
    let requests = if tokens_are_limited { 0 } else { SIMULATED_REQUESTS_PER_MINUTE };
    let set = |dimension: &str, rate: u64| Override {
        key: format!("limits.total.{dimension}"),
        value: json!(rate),
        flag: SIMULATE_FLAG.to_owned(),
    };
    [set("requests_per_minute", requests), set("tokens_per_minute", 0)]
}

/// The rooms of a command that makes calls.
pub struct Rooms {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where it is kept.
    pub place: StorePlace,
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// What lets jobs in.
    pub admission: Arc<Admission>,
    /// Time.
    pub clock: Clock,
    /// What is in force.
    pub settings: Settings,
    /// The rules that admission judges by, as the store holds them.
    pub limits: Vec<LimitRule>,
    /// Whether the work is simulated.
    pub simulated: bool,
    /// The simulator of this process.
    pub simulator: Option<Simulator>,
}

impl Rooms {
    /// Opens everything, cheapest refusals first.
    pub async fn wire(
        loaded: &Loaded,
        simulate: Simulate,
        place: &StorePlace,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Self::wire_with(loaded, simulate, place, clock, |_| true).await
    }

    /// The same, with a word on whether the configured limits replace those that the store has.
    pub async fn wire_with(
        loaded: &Loaded,
        simulate: Simulate,
        place: &StorePlace,
        clock: Clock,
        seeds: impl FnOnce(&[LimitRule]) -> bool,
    ) -> anyhow::Result<Self> {
        let settings = loaded.settings.clone();
        let simulated = simulate != Simulate::No;
        let simulator = match simulate {
            Simulate::Here(scenario) => Some(simulator(&settings, scenario).await?),
            _ => None,
        };
        let endpoint = simulator.as_ref().map(Simulator::endpoint_url);
        let provider = provider(&settings, simulated, endpoint).await?;
        let admission = admission(&settings, provider.lane_prefix())?;
        let store = open_store(&settings, place, Some(simulated), clock.clone()).await?;
        let there = store.limits().await.context("failed to read the limits")?;
        let is_seeded = seeds(&there);
        if is_seeded {
            seed(&*store, loaded, &settings).await?;
        }
        let limits = store.limits().await.context("failed to read the limits")?;
        Ok(Self {
            store,
            place: place.clone(),
            provider: Arc::new(provider),
            admission: Arc::new(admission),
            clock,
            settings,
            limits,
            simulated,
            simulator,
        })
    }

    /// The store, as the port that it is.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// A worker in these rooms: on one batch alone where named, up to a cost where named.
    #[must_use]
    pub fn worker(&self, batch: Option<Uuid>, cost_micros_max: Option<u64>) -> Worker {
        let options = worker_options(&self.settings, &self.place);
        Worker::new(
            self.store(),
            Arc::clone(&self.provider),
            Arc::clone(&self.admission),
            self.clock.clone(),
            WorkerOptions { batch, cost_micros_max, ..options },
        )
    }

    /// A worker in these rooms that takes nothing from lanes and calls for this process alone.
    pub async fn direct(&self, cost_micros_max: Option<u64>) -> Result<Direct, WorkerError> {
        let options = worker_options(&self.settings, &self.place);
        Direct::open(
            self.store(),
            Arc::clone(&self.provider),
            Arc::clone(&self.admission),
            self.clock.clone(),
            WorkerOptions { cost_micros_max, ..options },
        )
        .await
    }

    /// Closes what must be closed. Hands out the simulator's last figures.
    pub async fn close(self) -> Option<crate::simulator::Summary> {
        let summary = self.simulator.as_ref().map(Simulator::summary);
        if let Some(simulator) = self.simulator {
            simulator.stop().await;
        }
        self.store.close().await;
        summary
    }
}

/// The admission room for lanes that begin so: `bedrock/us-east-1`.
pub fn admission(settings: &Settings, lane_prefix: &str) -> anyhow::Result<Admission> {
    let catalogue = config::catalogue(settings).map_err(|error| anyhow!("failed to {error}"))?;
    let job = &settings.job;
    let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let admit = AdmitSettings {
        model: job.model.clone(),
        temperature: job.temperature,
        temperature_structured: job.temperature_structured,
        max_tokens: job.max_tokens,
        deadline_ms: ms(job.deadline_s),
        queue: job.queue.clone(),
        tenant: job.tenant.clone(),
        if_outcome_unknown: job.if_outcome_unknown,
        document_bytes_max: job.document_bytes_max,
        check: settings.check.clone(),
        api: settings.bedrock.api,
        lane_prefix: lane_prefix.to_owned(),
        seen_ms: ms(u64::from(settings.store.seen_days).saturating_mul(86_400)),
        profiles: settings.bedrock.profiles_wanted(),
        families: settings.bedrock.families.clone(),
        allow_retired: settings.catalogue.allow_retired_models,
        queues: settings
            .queues
            .iter()
            .map(|(name, queue)| {
                let deadline_ms = queue.deadline_s.map(ms);
                (name.clone(), QueueDefaults { deadline_ms, priority: queue.priority })
            })
            .collect(),
        reply_allow: ReplyAllow::new(settings.sqs.reply_allow.clone()),
    };
    Ok(Admission::new(admit, Arc::new(catalogue)))
}

/// The first part of every lane's name, without a provider.
#[must_use]
pub fn lane_prefix(settings: &Settings) -> String {
    format!("bedrock/{}", settings.bedrock.region)
}

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
async fn seed(store: &dyn Store, loaded: &Loaded, settings: &Settings) -> anyhow::Result<()> {
    let (rules, seeder) = (limit_rules(loaded), process_name());
    store.seed_limits(rules, &seeder).await.context("failed to write the limits")?;
    let shares = shares(settings);
    if !shares.is_empty() {
        store.seed_shares(&shares).await.context("failed to write the queues' shares")?;
    }
    let own = SeededSettings { shares, retention: settings.retention.clone() };
    store.seed_settings(&own, &seeder).await.context("failed to write the settings")?;
    tell_disagreements(store, &seeder).await.context("failed to read the limits")?;
    tell_other_settings(store, &seeder).await.context("failed to read the settings")
}

/// Queues and tenants are the same for all, and each process deletes by its own days: workers that
/// were configured otherwise are told of.
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
            "the worker {} was configured with {}: {}, and {} with {}; give both the same \
             configuration: of queues and tenants the last to begin is in force for all, and each \
             deletes by its own days",
            one.seeder,
            one.setting,
            one.configured,
            one.in_force_of,
            one.in_force
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
            "the worker {} was configured with {}, this process with {}, which is in force now for \
             all; give both the same configuration, or say what holds by `quarrier limits set`",
            one.seeder,
            rule_words(&one.pattern, one.configured.as_ref()),
            rule_words(&one.pattern, one.in_force.as_ref())
        );
    }
    Ok(())
}

/// `total: 50 requests a minute`; a pattern without a limit has none.
#[must_use]
pub fn rule_words(pattern: &str, limit: Option<&Limit>) -> String {
    let of = |one: &Dimension| Some(format!("{} {one} a minute", limit?.of(*one)?));
    let rates: Vec<String> = Dimension::ALL.iter().filter_map(of).collect();
    let rates = if rates.is_empty() { "no limit".to_owned() } else { rates.join(", ") };
    format!("{pattern}: {rates}")
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

async fn simulator(
    settings: &Settings,
    scenario: Option<Box<Scenario>>,
) -> anyhow::Result<Simulator> {
    let total = settings.limits.get("total").copied().unwrap_or_default();
    let mut options = SimulatorOptions {
        requests_per_minute: total.requests_per_minute,
        tokens_per_minute: total.tokens_per_minute,
        latency: SIMULATED_LATENCY,
        ..SimulatorOptions::default()
    };
    if let Some(scenario) = scenario {
        // The scenario's quota is the account's, whatever we are told to keep to.
        options.take_scenario(*scenario);
    }
    Simulator::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options)
        .await
        .context("failed to start the simulator")
}

async fn provider(
    settings: &Settings,
    simulated: bool,
    endpoint: Option<String>,
) -> anyhow::Result<Bedrock> {
    let configured = &settings.bedrock.endpoint;
    let configured = (!configured.is_empty()).then(|| configured.clone());
    if let Some(configured) = configured.as_deref().filter(|_| endpoint.is_none()) {
        endpoint::check(configured, simulated).await?;
    }
    let pools = settings.worker.concurrency.div_ceil(CALLS_PER_POOL);
    let options = BedrockOptions {
        region: Some(settings.bedrock.region.clone()),
        endpoint: endpoint.or(configured),
        connect_timeout_ms: settings.bedrock.connect_timeout_ms,
        simulated_credentials: simulated,
        pools: usize::try_from(pools).unwrap_or(1),
    };
    let provider = Bedrock::connect(&options).await.context("failed to reach the provider")?;
    provider.check_credentials().await.map_err(|error| {
        // The chain lists on further lines all that it has tried; `doctor` tells that in order.
        let said = first_line(&error.message);
        anyhow!(
            "failed to find AWS credentials: {}; sign in (`aws sso login`), set AWS_PROFILE or \
             AWS_BEARER_TOKEN_BEDROCK (`quarrier doctor` says what was tried), or try without: \
             --simulate",
            said.trim_end_matches('.')
        )
    })?;
    Ok(provider)
}

fn worker_options(settings: &Settings, place: &StorePlace) -> WorkerOptions {
    let Settings { worker, bedrock, .. } = settings;
    // Beside the file; of a database, where the process was started.
    let beside =
        place.file().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let spool_dir = match worker.spool_dir.as_str() {
        "" => beside.unwrap_or(Path::new(".")).to_owned(),
        named => PathBuf::from(named),
    };
    WorkerOptions {
        concurrency: worker.concurrency,
        claim_scan_max: worker.claim_scan_max,
        claim_rows_max: worker.claim_rows_max,
        claim_interval_ms: worker.claim_interval_ms,
        poll_ms: worker.poll_ms,
        send_late_ms_max: worker.send_late_ms_max,
        pass_ms_max: worker.pass_ms_max,
        lease_ms: worker.lease_ms,
        beat_ms: worker.beat_ms,
        stuck_ms_max: worker.stuck_ms_max,
        drain_soft_ms: worker.drain_soft_s.saturating_mul(1_000),
        drain_hard_ms: worker.drain_hard_s.saturating_mul(1_000),
        finish_rows_max: usize::try_from(worker.finish_rows_max).unwrap_or(usize::MAX),
        finish_bytes_max: worker.finish_bytes_max,
        unsaved_bytes_max: worker.unsaved_bytes_max,
        write_rows_max: settings.store.write_rows_max,
        spool_dir,
        spool_bytes_max: worker.spool_bytes_max,
        stream: bedrock.stream,
        clocks: Clocks {
            first_token_ms: bedrock.first_token_timeout_ms,
            idle_ms: bedrock.idle_timeout_ms,
            total_ms: bedrock.call_timeout_ms_max,
        },
        call_ms_base: bedrock.call_timeout_ms_base,
        call_ms_per_token: bedrock.call_timeout_ms_per_token,
        retention: settings.retention.clone(),
        write_ms_max: settings.store.write_ms_max,
        retry: settings.retry.clone(),
        check: settings.check.clone(),
        batch: None,
        cost_micros_max: None,
        log_bodies: settings.log.bodies,
    }
}
