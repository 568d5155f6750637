//! What the next call meets: its phase, its script's next step, its fixture, its draw of the rates.
//! Must not know: the wire, quotas' arithmetic, what an answer looks like.

use std::collections::HashMap;
use std::sync::Arc;

use super::fault::Fault;
use super::faults::Faults;
use super::fixtures::{Fixture, Fixtures};
use super::options::{Latency, QuotaScope, SimulatorOptions};
use super::quota::{Charges, QuotaLimits};
use super::request::Facts;
use super::scenario::{After, Count, Rates, Scenario, Script, Step};

/// Jobs that one script counts apart; all further ones are counted together.
const SCRIPT_JOBS_MAX: usize = 100_000;

/// What holds where nothing else is said.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) limits: QuotaLimits,
    pub(crate) scope: QuotaScope,
    pub(crate) latency: Latency,
    pub(crate) faults: Faults,
    pub(crate) others: Charges,
}

/// What a call meets.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) fault: Option<Fault>,
    pub(crate) fixture: Option<Arc<Fixture>>,
    pub(crate) limits: QuotaLimits,
    pub(crate) latency: Latency,
    pub(crate) others: Charges,
    /// The phase's name, for the log.
    pub(crate) phase: Option<String>,
    /// The script's step and the fixture's line, for the log.
    pub(crate) rule: Option<String>,
    uses: Uses,
}

/// What a call has used up, so that it can be given back.
#[derive(Debug, Clone, Default)]
struct Uses {
    script: Option<(usize, String)>,
    fixture: Option<usize>,
}

/// The rules in force and how far they have come.
#[derive(Debug)]
pub(crate) struct Rules {
    base: Setting,
    scenario: Arc<Scenario>,
    /// How many times as fast the scenario passes: its phases and its latencies.
    speed: u64,
    fixtures: Vec<Arc<Fixture>>,
    /// When the first call came.
    first_ms: Option<u64>,
    /// How many calls each script has counted, by job where it says so.
    script_uses: Vec<HashMap<String, u64>>,
    fixture_uses: Vec<u64>,
}

impl Rules {
    pub(crate) fn new(options: &SimulatorOptions) -> Self {
        let scenario = Arc::new(options.scenario.clone().unwrap_or_default());
        let mut rules = Self {
            base: Setting {
                limits: options.limits(),
                scope: options.quota_scope,
                latency: options.latency,
                faults: options.faults.clone(),
                others: charges(scenario.other_callers, Charges::default()),
            },
            scenario,
            speed: options.scenario_speed.max(1),
            fixtures: Vec::new(),
            first_ms: None,
            script_uses: Vec::new(),
            fixture_uses: Vec::new(),
        };
        rules.set_fixtures(&options.fixtures);
        rules.restart();
        rules
    }

    /// Whether some rule needs the request's text.
    pub(crate) fn reads_text(&self) -> bool {
        self.scenario.reads_text()
            || self.fixtures.iter().any(|fixture| fixture.wanted.reads_text())
    }

    pub(crate) fn base(&self) -> &Setting {
        &self.base
    }

    pub(crate) fn scenario_name(&self) -> Option<String> {
        let scenario = &self.scenario;
        let is_any = **scenario != Scenario::default();
        is_any.then(|| named(&scenario.name, || "unnamed".to_owned()))
    }

    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.base.faults = faults;
    }

    /// Another scenario in place of everything that was set before.
    pub(crate) fn set_scenario(&mut self, scenario: Scenario) {
        let mut options = SimulatorOptions::default();
        options.take_scenario(scenario);
        let fresh = Self { speed: self.speed, ..Self::new(&options) };
        let old = std::mem::replace(self, fresh);
        (self.fixtures, self.fixture_uses) = (old.fixtures, old.fixture_uses);
    }

    pub(crate) fn set_fixtures(&mut self, fixtures: &Fixtures) {
        self.fixtures = fixtures.list.iter().cloned().map(Arc::new).collect();
        self.fixture_uses = vec![0; self.fixtures.len()];
    }

    /// Everything begins anew at the next call.
    fn restart(&mut self) {
        self.first_ms = None;
        self.script_uses = vec![HashMap::new(); self.scenario.script.len()];
        self.fixture_uses = vec![0; self.fixtures.len()];
    }

    /// Decides what this call meets, and counts it. `draw` draws from the rates, where they apply.
    pub(crate) fn choose(
        &mut self,
        facts: &Facts,
        text: &str,
        now_ms: u64,
        draw: impl FnOnce(&Faults) -> Option<Fault>,
    ) -> Chosen {
        let since_first = now_ms.saturating_sub(*self.first_ms.get_or_insert(now_ms));
        let seconds = since_first.saturating_mul(self.speed) / 1_000;
        let mut chosen = Chosen {
            fault: None,
            fixture: None,
            limits: self.base.limits,
            latency: self.base.latency,
            others: self.base.others,
            phase: None,
            rule: None,
            uses: Uses::default(),
        };
        self.fixture(facts, text, &mut chosen);
        let faults = phases(&self.base, &self.scenario, seconds, &mut chosen);
        chosen.latency.first_token_ms /= self.speed;
        chosen.latency.per_token_us /= self.speed;
        if chosen.fault.is_some() {
            return chosen;
        }
        match step(&self.scenario, &mut self.script_uses, facts, text, &mut chosen) {
            Some(Step::Fault(fault)) => chosen.fault = Some(fault),
            Some(Step::Ok) => {}
            None => chosen.fault = draw(faults),
        }
        chosen
    }

    /// Gives back what a call has used up of scripts and fixtures: it never met them.
    pub(crate) fn give_back(&mut self, chosen: &Chosen) {
        if let Some((script, key)) = &chosen.uses.script
            && let Some(uses) = self.script_uses.get_mut(*script).and_then(|u| u.get_mut(key))
        {
            *uses = uses.saturating_sub(1);
        }
        if let Some(uses) = chosen.uses.fixture.and_then(|index| self.fixture_uses.get_mut(index)) {
            *uses = uses.saturating_sub(1);
        }
    }

    fn fixture(&mut self, facts: &Facts, text: &str, chosen: &mut Chosen) {
        let free = |(fixture, uses): (&Arc<Fixture>, &u64)| {
            fixture.times.is_none_or(|times| *uses < times) && fixture.wanted.fits(facts, text)
        };
        let mut pairs = self.fixtures.iter().zip(&self.fixture_uses);
        let Some(index) = pairs.position(free) else {
            return;
        };
        if let Some(uses) = self.fixture_uses.get_mut(index) {
            *uses += 1;
        }
        if let Some(fixture) = self.fixtures.get(index) {
            chosen.uses.fixture = Some(index);
            chosen.rule = Some(format!("fixture line {}", fixture.line));
            chosen.fault = fixture.fault;
            chosen.fixture = Some(Arc::clone(fixture));
        }
    }
}

/// Lays the phases of this second over the base; returns the faults that then hold.
fn phases<'a>(
    base: &'a Setting,
    scenario: &'a Scenario,
    seconds: u64,
    chosen: &mut Chosen,
) -> &'a Faults {
    let mut faults = &base.faults;
    for (index, phase) in scenario.phase.iter().enumerate() {
        if seconds < phase.from_s || phase.to_s.is_some_and(|to_s| seconds >= to_s) {
            continue;
        }
        chosen.phase = Some(named(&phase.name, || format!("phase {}", index + 1)));
        chosen.latency = phase.latency.over(chosen.latency);
        if let Some(rate) = phase.quota.requests_per_minute {
            chosen.limits.requests_per_minute = (rate > 0).then_some(rate);
        }
        if let Some(rate) = phase.quota.tokens_per_minute {
            chosen.limits.tokens_per_minute = (rate > 0).then_some(rate);
        }
        if let Some(others) = phase.other_callers {
            chosen.others = charges(others, chosen.others);
        }
        faults = phase.faults.as_ref().unwrap_or(faults);
    }
    faults
}

/// The step of the first script that is meant for this call and has not ended.
fn step(
    scenario: &Scenario,
    script_uses: &mut [HashMap<String, u64>],
    facts: &Facts,
    text: &str,
    chosen: &mut Chosen,
) -> Option<Step> {
    for (index, (script, uses)) in scenario.script.iter().zip(script_uses).enumerate() {
        if !script.wanted.fits(facts, text) {
            continue;
        }
        let mut key = match script.count {
            Count::Together => String::new(),
            Count::PerJob => facts.metadata.get("job_id").cloned().unwrap_or_default(),
        };
        if uses.len() >= SCRIPT_JOBS_MAX && !uses.contains_key(&key) {
            key = String::new();
        }
        let used = uses.entry(key.clone()).or_default();
        let Some((position, step)) = step_at(script, *used) else {
            continue;
        };
        *used += 1;
        let name = named(&script.name, || format!("script {}", index + 1));
        let rule = format!("{name}, step {} of {}", position + 1, script.then.len());
        chosen.rule = Some(match chosen.rule.take() {
            Some(fixture) => format!("{fixture}; {rule}"),
            None => rule,
        });
        chosen.uses.script = Some((index, key));
        return Some(step);
    }
    None
}

/// The step that stands at this count, and its place in the list; none where the list has ended.
fn step_at(script: &Script, used: u64) -> Option<(usize, Step)> {
    let used = usize::try_from(used).unwrap_or(usize::MAX);
    let last = script.then.len().checked_sub(1)?;
    let position = match script.after {
        After::Ok => used,
        After::RepeatLast => used.min(last),
        After::StartOver => used % script.then.len(),
    };
    script.then.get(position).map(|step| (position, *step))
}

fn charges(rates: Rates, base: Charges) -> Charges {
    Charges {
        requests: rates.requests_per_minute.unwrap_or(base.requests),
        tokens: rates.tokens_per_minute.unwrap_or(base.tokens),
    }
}

fn named(name: &str, otherwise: impl FnOnce() -> String) -> String {
    if name.is_empty() { otherwise() } else { name.to_owned() }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
