//! What people decide for all workers at once, as it passes through the store port: pauses, limits
//! set at run time, who was configured with which limits, and the work that waits.
//! Must not know: SQL, engines, clocks, how any of it is printed.

use serde::Serialize;
use wildmatch::WildMatch;

use super::agreement::SeededSettings;
use super::types::{LimitRule, rule_for};
use crate::budget::Limit;

/// What a person pauses or resumes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every job.
    All,
    /// The lanes that match a pattern with `*` and `?`.
    Lane(String),
    /// A named queue.
    Queue(String),
}

impl Scope {
    /// Its name in the store: `all`, `lane:PATTERN`, `queue:NAME`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Lane(pattern) => format!("lane:{pattern}"),
            Self::Queue(queue) => format!("queue:{queue}"),
        }
    }

    /// The scope of this name; none for a name that a newer version may have written.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "all" {
            return Some(Self::All);
        }
        let lane = name.strip_prefix("lane:").map(|pattern| Self::Lane(pattern.to_owned()));
        lane.or_else(|| name.strip_prefix("queue:").map(|queue| Self::Queue(queue.to_owned())))
    }

    /// As a person says it: `everything`, `lane bedrock/*`, `queue reports`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::All => "everything".to_owned(),
            Self::Lane(pattern) => format!("lane {pattern}"),
            Self::Queue(queue) => format!("queue {queue}"),
        }
    }

    /// As the command line takes it: `--all`, `--lane 'bedrock/*'`, `--queue reports`.
    #[must_use]
    pub fn flag(&self) -> String {
        match self {
            Self::All => "--all".to_owned(),
            Self::Lane(pattern) => format!("--lane {}", quoted(pattern)),
            Self::Queue(queue) => format!("--queue {}", quoted(queue)),
        }
    }

    /// Whether all jobs of this lane are within it.
    #[must_use]
    pub fn covers_lane(&self, lane: &str) -> bool {
        match self {
            Self::All => true,
            Self::Lane(pattern) => WildMatch::new(pattern).matches(lane),
            Self::Queue(_) => false,
        }
    }

    /// Whether a job of this lane and queue is within it.
    #[must_use]
    pub fn covers(&self, lane: &str, queue: &str) -> bool {
        match self {
            Self::All | Self::Lane(_) => self.covers_lane(lane),
            Self::Queue(name) => name == queue,
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A pause that a person has made: nothing within its scope is claimed. Calls in flight run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub scope: Scope,
    /// Since when, in Unix ms.
    pub since: i64,
    /// Until when, in Unix ms; none = until somebody resumes it.
    pub until: Option<i64>,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// A request to pause.
#[derive(Debug, Clone)]
pub struct PauseAsk {
    /// What to pause.
    pub scope: Scope,
    /// For how many ms; none = until somebody resumes it.
    pub for_ms: Option<u64>,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// What a resume ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumed {
    /// The pause that a person had made of this very scope.
    pub pause: Option<Pause>,
    /// Lanes within the scope that a failure had paused. Each worker tries them by one call.
    pub lanes: Vec<String>,
    /// Jobs that waited for the end of such a pause and are due now.
    pub jobs: u64,
}

/// What limits a process was configured with when it last wrote them to the store.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitSeed {
    /// The process, `host/pid`.
    pub seeder: String,
    /// When, in Unix ms.
    pub seeded_at: i64,
    /// The process holds a lease: it works.
    pub alive: bool,
    /// Its limits.
    pub rules: Vec<LimitRule>,
    /// What else it was configured with; none of an earlier release.
    pub settings: Option<SeededSettings>,
}

/// A pattern whose configured limit in force is not what a process that works was configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// `total`, `lane:PATTERN`, ...
    pub pattern: String,
    /// Whose configuration is in force: that of the process that began last.
    pub in_force_of: String,
    /// What is in force; none = no limit of this pattern.
    pub in_force: Option<Limit>,
    /// Who was configured otherwise.
    pub seeder: String,
    /// With what; none = no limit of this pattern.
    pub configured: Option<Limit>,
}

/// Where processes that work were configured with other limits than those in force. `seeds` in the
/// order in which they were written: the last one's configuration is in force. Patterns that were
/// set at run time (`rules`) hold for all, whoever was configured how.
#[must_use]
pub fn disagreements(seeds: &[LimitSeed], rules: &[LimitRule]) -> Vec<Disagreement> {
    let Some((last, before)) = seeds.split_last() else { return Vec::new() };
    let set = |pattern: &str| {
        rules.iter().any(|rule| rule.origin == ORIGIN_SET && rule.pattern == pattern)
    };
    let of = |seed: &LimitSeed, pattern: &str| {
        seed.rules.iter().find(|rule| rule.pattern == pattern).map(|rule| rule.limit)
    };
    let mut found = Vec::new();
    for seed in before.iter().filter(|seed| seed.alive) {
        let mut patterns: Vec<&str> =
            last.rules.iter().chain(&seed.rules).map(|rule| rule.pattern.as_str()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        for pattern in patterns {
            let (in_force, configured) = (of(last, pattern), of(seed, pattern));
            if in_force != configured && !set(pattern) {
                found.push(Disagreement {
                    pattern: pattern.to_owned(),
                    in_force_of: last.seeder.clone(),
                    in_force,
                    seeder: seed.seeder.clone(),
                    configured,
                });
            }
        }
    }
    found
}

/// The origin of rules that were set at run time.
pub const ORIGIN_SET: &str = "set";

/// Due jobs of one lane, queue and tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Their lane.
    pub lane: String,
    /// Their queue.
    pub queue: String,
    /// Whose they are.
    pub tenant: String,
    /// How many.
    pub jobs: u64,
    /// What their next calls reserve together by themselves, in quota tokens.
    pub reserved_tokens: u64,
}

impl Backlog {
    /// Whether these jobs draw on a budget key.
    #[must_use]
    pub fn draws_on(&self, key: &str) -> bool {
        match key.split_once(':') {
            None => key == "total",
            Some(("lane", lane)) => lane == self.lane,
            Some(("queue", queue)) => queue == self.queue,
            Some(("tenant", tenant)) => tenant == self.tenant,
            Some(_) => false,
        }
    }

    /// The keys on which these jobs draw under these rules.
    #[must_use]
    pub fn keys(&self, rules: &[LimitRule]) -> Vec<String> {
        let names = [
            format!("lane:{}", self.lane),
            format!("queue:{}", self.queue),
            format!("tenant:{}", self.tenant),
            "total".to_owned(),
        ];
        names.into_iter().filter(|name| rule_for(rules, name).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_comes_back_by_its_name_and_is_written_as_the_command_line_takes_it() {
        let cases = [
            (Scope::All, "all", "--all"),
            (Scope::Lane("bedrock/*".to_owned()), "lane:bedrock/*", "--lane 'bedrock/*'"),
            (Scope::Queue("reports".to_owned()), "queue:reports", "--queue reports"),
            (Scope::Queue("it's".to_owned()), "queue:it's", r"--queue 'it'\''s'"),
        ];
        for (scope, name, flag) in cases {
            assert_eq!((scope.name().as_str(), scope.flag().as_str()), (name, flag));
            assert_eq!(Scope::from_name(name), Some(scope));
        }
        assert_eq!(Scope::from_name("tenant:a"), None);
    }

    #[test]
    fn a_scope_covers_what_it_names() {
        let lane = Scope::Lane("bedrock/*/haiku".to_owned());
        assert!(lane.covers("bedrock/us-east-1/haiku", "any"));
        assert!(!lane.covers("bedrock/us-east-1/opus", "any"));
        let queue = Scope::Queue("reports".to_owned());
        assert!(queue.covers("any", "reports") && !queue.covers("any", "report"));
        assert!(!queue.covers_lane("any") && Scope::All.covers_lane("any"));
    }

    fn seed(seeder: &str, alive: bool, total: Option<u64>) -> LimitSeed {
        let rule = |requests| LimitRule {
            pattern: "total".to_owned(),
            limit: Limit { requests_per_minute: Some(requests), tokens_per_minute: None },
            origin: "configuration".to_owned(),
        };
        let rules = total.map(rule).into_iter().collect();
        LimitSeed { seeder: seeder.to_owned(), seeded_at: 0, alive, rules, settings: None }
    }

    #[test]
    fn only_who_works_and_was_configured_otherwise_disagrees() {
        let seeds = [
            seed("gone/1", false, Some(10)),
            seed("same/2", true, Some(60)),
            seed("other/3", true, Some(50)),
            seed("none/4", true, None),
            seed("last/5", false, Some(60)),
        ];
        let found = disagreements(&seeds, &[]);
        let who: Vec<&str> = found.iter().map(|one| one.seeder.as_str()).collect();
        assert_eq!(who, ["other/3", "none/4"]);
        assert!(found.iter().all(|one| one.in_force_of == "last/5" && one.pattern == "total"));
        let mut set = seed("", true, Some(5)).rules;
        set[0].origin = ORIGIN_SET.to_owned();
        assert_eq!(disagreements(&seeds, &set), [], "what was set holds for all");
        assert_eq!(disagreements(&[], &[]), []);
    }
}
