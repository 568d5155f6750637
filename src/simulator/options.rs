//! What a simulator can be told at its start. Must not know: the wire, how the options are carried
//! out.

use serde::Deserialize;

use super::faults::Faults;
use super::fixtures::Fixtures;
use super::quota::{QuotaLimits, QuotaMode};
use super::scenario::Scenario;

/// How long an answer takes. All zero: as fast as the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// From the request to the first byte of the answer, in milliseconds.
    pub first_token_ms: u64,
    /// For each output token after that, in microseconds.
    pub per_token_us: u64,
    /// How far a call's latency may lie above or below these figures, in percent, drawn by seed.
    pub spread_percent: u64,
}

impl Latency {
    /// Whether no call waits at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.first_token_ms == 0 && self.per_token_us == 0
    }
}

/// Whose calls share one quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaScope {
    /// All models together: what a rehearsal of one limit `total` needs.
    #[default]
    Total,
    /// Each model id has the whole quota for itself, as in a real account and region.
    Model,
}

/// Everything that a simulator can be told. The default has no quota, no latency and no faults.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatorOptions {
    /// Requests in 60 s; absent: unlimited.
    pub requests_per_minute: Option<u64>,
    /// Quota tokens in 60 s; absent: unlimited.
    pub tokens_per_minute: Option<u64>,
    /// How both are enforced.
    pub quota_mode: QuotaMode,
    /// Whose calls share them.
    pub quota_scope: QuotaScope,
    /// How long answers take.
    pub latency: Latency,
    /// Which faults strike, and how often.
    pub faults: Faults,
    /// What happens over time and call by call. Its base tables stand in the fields above already
    /// (`take_scenario` puts them there); its phases and scripts are laid over them.
    pub scenario: Option<Scenario>,
    /// How many times as fast the scenario passes, its phases and all latencies; the quota's 60 s
    /// stay 60 s.
    pub scenario_speed: u64,
    /// Which calls are answered exactly how.
    pub fixtures: Fixtures,
    /// Same seed and same request: same answer.
    pub seed: u64,
    /// How many calls the log keeps; the oldest go first.
    pub call_log_max: usize,
    /// The input that a model's window holds, in tokens; longer input is refused.
    pub input_tokens_max: u64,
    /// The longest time that a hanging call is held, in milliseconds (the provider's own limit is
    /// an hour).
    pub hang_ms_max: u64,
    /// The pause between two bytes of an answer that drips, in milliseconds.
    pub drip_ms: u64,
    /// Output tokens in one event of a stream.
    pub chunk_tokens: u64,
    /// The base ids of the models that there are; others are answered 404. Empty: every model.
    pub models: Vec<String>,
    /// Whether current Claude models are refused by their base ids, as the provider does; they are
    /// then called through inference profiles (`us.`, `global.`).
    pub require_profiles: bool,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            quota_mode: QuotaMode::default(),
            quota_scope: QuotaScope::default(),
            latency: Latency::default(),
            faults: Faults::none(),
            scenario: None,
            scenario_speed: 1,
            fixtures: Fixtures::default(),
            seed: 0,
            call_log_max: 100_000,
            input_tokens_max: 1_000_000,
            hang_ms_max: 3_600_000,
            drip_ms: 200,
            chunk_tokens: 8,
            models: Vec::new(),
            require_profiles: false,
        }
    }
}

impl SimulatorOptions {
    /// Takes over a scenario: its quota, latencies and faults in place of these, and all its rest.
    pub fn take_scenario(&mut self, scenario: Scenario) {
        let limit = |rate: Option<u64>| rate.filter(|rate| *rate > 0);
        self.requests_per_minute = limit(scenario.quota.requests_per_minute);
        self.tokens_per_minute = limit(scenario.quota.tokens_per_minute);
        self.quota_mode = scenario.quota.mode;
        self.quota_scope = scenario.quota.scope;
        self.latency = scenario.latency.over(Latency::default());
        self.faults = scenario.faults.clone();
        self.scenario = Some(scenario);
    }

    /// The limits of each quota.
    #[must_use]
    pub fn limits(&self) -> QuotaLimits {
        QuotaLimits {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            mode: self.quota_mode,
        }
    }
}
