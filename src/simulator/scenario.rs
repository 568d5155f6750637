//! Scenarios: what a simulator does over time and call by call, as a TOML file says it. Must not
//! know: the wire, how a scenario is carried out.

use serde::{Deserialize, Deserializer, de};

use super::fault::Fault;
use super::faults::Faults;
use super::matching::Match;
use super::options::{Latency, QuotaScope};
use super::quota::QuotaMode;

/// The longest scenario file, in bytes.
pub(crate) const SCENARIO_BYTES_MAX: usize = 1_048_576;

/// The scenarios that ship: name and text.
pub const SCENARIOS: [(&str, &str); 3] = [
    ("calm", include_str!("../../examples/scenarios/calm.toml")),
    ("monday-morning", include_str!("../../examples/scenarios/monday-morning.toml")),
    ("bad-day", include_str!("../../examples/scenarios/bad-day.toml")),
];

/// A scenario, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// The account's quota.
    pub quota: Quota,
    /// How long answers take.
    pub latency: LatencyPart,
    /// Which faults strike what share of calls.
    pub faults: Faults,
    /// What other callers of the account draw from its quota.
    pub other_callers: Rates,
    /// Times at which something is otherwise.
    pub phase: Vec<Phase>,
    /// What happens to certain calls, one after the other.
    pub script: Vec<Script>,
}

/// A quota; an absent rate, or 0, is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Requests in 60 s.
    pub requests_per_minute: Option<u64>,
    /// Quota tokens in 60 s.
    pub tokens_per_minute: Option<u64>,
    /// How both are enforced.
    pub mode: QuotaMode,
    /// Whose calls share them.
    pub scope: QuotaScope,
}

/// Rates of a phase's quota, or of other callers; in a phase an absent one stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Requests in 60 s.
    pub requests_per_minute: Option<u64>,
    /// Quota tokens in 60 s.
    pub tokens_per_minute: Option<u64>,
}

/// How long answers take; in a phase an absent figure stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyPart {
    /// From the request to the first byte of the answer, in milliseconds.
    pub first_token_ms: Option<u64>,
    /// For each output token after that, in microseconds.
    pub per_token_us: Option<u64>,
    /// How far a call may lie above or below, in percent: 0 to 100.
    pub spread_percent: Option<u64>,
}

impl LatencyPart {
    /// These figures over others.
    pub(crate) fn over(self, base: Latency) -> Latency {
        Latency {
            first_token_ms: self.first_token_ms.unwrap_or(base.first_token_ms),
            per_token_us: self.per_token_us.unwrap_or(base.per_token_us),
            spread_percent: self.spread_percent.unwrap_or(base.spread_percent),
        }
    }
}

/// A time at which something is otherwise. Where phases overlap, the later one in the file has the
/// last word on what it sets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What reports call it.
    #[serde(default)]
    pub name: String,
    /// When it begins, in seconds since the first call.
    pub from_s: u64,
    /// When it ends; absent: never.
    pub to_s: Option<u64>,
    /// Another quota.
    #[serde(default)]
    pub quota: Rates,
    /// Other latencies.
    #[serde(default)]
    pub latency: LatencyPart,
    /// Other faults, in place of the scenario's.
    pub faults: Option<Faults>,
    /// Other callers, in place of the scenario's.
    pub other_callers: Option<Rates>,
}

/// What happens to certain calls, one after the other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What reports call it.
    #[serde(default)]
    pub name: String,
    /// Which calls it is for.
    #[serde(default, rename = "match")]
    pub wanted: Match,
    /// What the first such call meets, the second, and so on.
    pub then: Vec<Step>,
    /// Whose calls are counted together.
    #[serde(default)]
    pub count: Count,
    /// What happens when the list is used up.
    #[serde(default)]
    pub after: After,
}

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The call meets no fault.
    Ok,
    /// The call meets this one.
    Fault(Fault),
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "ok" {
            return Ok(Self::Ok);
        }
        Fault::named(&name).map(Self::Fault).ok_or_else(|| {
            de::Error::custom(format!(
                "`{name}` is no step; a step is `ok` or one of the faults {}",
                Fault::names()
            ))
        })
    }
}

/// Whose calls go through a script's list together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// All calls that match.
    #[default]
    Together,
    /// Each job's calls for themselves, by the metadata's `job_id`.
    PerJob,
}

/// What happens when a script's list is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Calls meet no fault of this script, and the rates apply again.
    #[default]
    Ok,
    /// The last step goes on.
    RepeatLast,
    /// The list begins anew.
    StartOver,
}

/// Why a scenario was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The text is no scenario; the message holds the line.
    #[error("{0}")]
    Form(String),
    /// It reads, and cannot be meant so.
    #[error("{0}")]
    Sense(String),
}

impl Scenario {
    /// The scenario of this name that ships.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Self> {
        let (_, text) = SCENARIOS.iter().find(|(known, _)| *known == name)?;
        let read = text.parse();
        debug_assert!(read.is_ok(), "{read:?}");
        read.ok()
    }

    /// Whether some script needs the request's text.
    pub(crate) fn reads_text(&self) -> bool {
        self.script.iter().any(|script| script.wanted.reads_text())
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let sense = |text: String| Err(ScenarioError::Sense(text));
        for (index, phase) in self.phase.iter().enumerate() {
            let number = index + 1;
            if phase.to_s.is_some_and(|to_s| to_s <= phase.from_s) {
                return sense(format!("phase {number}: `to_s` must be later than `from_s`"));
            }
        }
        for (index, script) in self.script.iter().enumerate() {
            if script.then.is_empty() {
                return sense(format!("script {}: `then` is empty; name a step", index + 1));
            }
        }
        let latencies = self.phase.iter().map(|phase| phase.latency).chain([self.latency]);
        if latencies.filter_map(|latency| latency.spread_percent).any(|spread| spread > 100) {
            return sense("`spread_percent` must be from 0 to 100".to_owned());
        }
        Ok(())
    }
}

impl std::str::FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > SCENARIO_BYTES_MAX {
            let reason = format!("a scenario may have {SCENARIO_BYTES_MAX} bytes at most");
            return Err(ScenarioError::Sense(reason));
        }
        let read: Result<Self, toml::de::Error> = toml::from_str(text);
        let scenario = read.map_err(|error| {
            let line = error.span().and_then(|span| text.get(..span.start)).map(line_of);
            let place = line.map_or_else(String::new, |line| format!("line {line}: "));
            ScenarioError::Form(format!("{place}{}", error.message()))
        })?;
        scenario.check()?;
        Ok(scenario)
    }
}

fn line_of(before: &str) -> usize {
    before.matches('\n').count() + 1
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
