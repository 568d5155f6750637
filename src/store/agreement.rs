//! Whether the processes of one store were configured alike, but for their limits (`control` has
//! those): queues, tenants, for how many days things are kept, and where results may go. And every
//! such disagreement in words, the same wherever it is told.
//! Must not know: SQL, engines, where any of it is printed.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::control::{Disagreement, LimitSeed};
use super::keeping::{OwnDays, RetentionPolicy};
use super::sharing::{QueueShare, Shares, TenantShare};
use crate::budget::{Dimension, Limit};

/// What a process was configured with besides its limits, where all processes should be alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeededSettings {
    /// Queues and tenants. In force is what was written last, by whoever has any.
    pub shares: Shares,
    /// For how long things are kept. Each process deletes by its own.
    pub retention: RetentionPolicy,
    /// The queues that may get results. Each process admits jobs and sends results by its own. An
    /// earlier release does not say.
    #[serde(default)]
    pub reply_allow: Option<BTreeSet<String>>,
}

/// A setting that a process which works has otherwise than another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingDisagreement {
    /// `queue NAME`, `tenant NAME`, `retention`, `sqs.reply_allow`.
    pub setting: String,
    /// Who was configured otherwise.
    pub seeder: String,
    /// With what, in words.
    pub configured: String,
    /// Whose configuration is in force: that of the process that began last. Of the days of
    /// retention and of the reply queues, where each goes by its own, the other one of the two.
    pub in_force_of: String,
    /// What it says, in words.
    pub in_force: String,
}

/// `a/1 has queue chat: weight 2; b/2 has weight 1`.
impl fmt::Display for SettingDisagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, seeder, configured, in_force_of, in_force } = self;
        write!(f, "{seeder} has {setting}: {configured}; {in_force_of} has {in_force}")
    }
}

/// `a/1 has total: 50 requests a minute; b/2 has total: no limit`.
impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |limit: &Option<Limit>| rule_words(&self.pattern, limit.as_ref());
        let (configured, in_force) = (words(&self.configured), words(&self.in_force));
        write!(f, "{} has {configured}; {} has {in_force}", self.seeder, self.in_force_of)
    }
}

/// `total: 50 requests a minute`; a pattern without a limit has none.
#[must_use]
pub fn rule_words(pattern: &str, limit: Option<&Limit>) -> String {
    let of = |one: &Dimension| Some(format!("{} {one} a minute", limit?.of(*one)?));
    let rates: Vec<String> = Dimension::ALL.iter().filter_map(of).collect();
    let rates = if rates.is_empty() { "no limit".to_owned() } else { rates.join(", ") };
    format!("{pattern}: {rates}")
}

/// Where processes that work were configured with other queues and tenants than those in force, or
/// keep things for other days, or allow other reply queues, than the one that began last. `seeds` in
/// the order in which they were written. A process without any queue and tenant takes those that are
/// there, and agrees.
#[must_use]
pub fn setting_disagreements(seeds: &[LimitSeed], in_force: &Shares) -> Vec<SettingDisagreement> {
    let told = |seed: &LimitSeed| Some((seed.seeder.clone(), seed.settings.clone()?));
    let all: Vec<(String, SeededSettings)> = seeds.iter().filter_map(told).collect();
    let alive: Vec<(String, SeededSettings)> =
        seeds.iter().filter(|seed| seed.alive).filter_map(told).collect();
    let last_of_shares = all.iter().rev().find(|(_, own)| own.shares == *in_force);
    let last_of_shares = last_of_shares.map_or("the store", |(seeder, _)| seeder.as_str());
    let last_of_days = alive.last();
    let mut found = Vec::new();
    for (seeder, own) in &alive {
        let mut differs = |setting: String, configured: String, (of, in_force): (&str, String)| {
            if configured != in_force {
                let (seeder, in_force_of) = (seeder.clone(), of.to_owned());
                found.push(SettingDisagreement {
                    setting,
                    seeder,
                    configured,
                    in_force_of,
                    in_force,
                });
            }
        };
        if !own.shares.is_empty() {
            for name in names(own.shares.queues.iter().chain(&in_force.queues).map(|one| &one.name))
            {
                let words = |shares: &Shares| queue_words(shares, name);
                let holds = (last_of_shares, words(in_force));
                differs(format!("queue {name}"), words(&own.shares), holds);
            }
            let tenants = own.shares.tenants.iter().chain(&in_force.tenants);
            for name in names(tenants.map(|one| &one.name)) {
                let words = |shares: &Shares| tenant_words(shares, name);
                let holds = (last_of_shares, words(in_force));
                differs(format!("tenant {name}"), words(&own.shares), holds);
            }
        }
        if let Some((last, other)) = last_of_days {
            let holds = (last.as_str(), days_words(&other.retention));
            differs("retention".to_owned(), days_words(&own.retention), holds);
            if let (Some(mine), Some(others)) = (&own.reply_allow, &other.reply_allow) {
                let holds = (last.as_str(), allow_words(others));
                differs("sqs.reply_allow".to_owned(), allow_words(mine), holds);
            }
        }
    }
    found
}

fn names<'n>(all: impl Iterator<Item = &'n String>) -> BTreeSet<&'n str> {
    all.map(String::as_str).collect()
}

fn queue_words(shares: &Shares, name: &str) -> String {
    let plain = QueueShare::plain(name);
    let found = shares.queues.iter().find(|one| one.name == name).unwrap_or(&plain);
    if *found == plain {
        return "nothing of its own".to_owned();
    }
    let cap = found.concurrency_max.map(|most| format!("concurrency_max {most}"));
    let reserved = (found.reserved_permille > 0)
        .then(|| format!("reserved_share {} permille", found.reserved_permille));
    let weight = format!("weight {}", found.weight);
    [cap, reserved, Some(weight)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn tenant_words(shares: &Shares, name: &str) -> String {
    let plain = TenantShare { name: name.to_owned(), weight: 1.0 };
    let found = shares.tenants.iter().find(|one| one.name == name).unwrap_or(&plain);
    format!("weight {}", found.weight)
}

fn allow_words(allow: &BTreeSet<String>) -> String {
    let words: Vec<&str> = allow.iter().map(String::as_str).collect();
    if words.is_empty() { "no queue".to_owned() } else { words.join(", ") }
}

/// Every day that is set, as its setting is called.
fn days_words(policy: &RetentionPolicy) -> String {
    let mut words = vec![
        format!("bodies_days {}", policy.bodies_days),
        format!("jobs_days {}", policy.jobs_days),
    ];
    let mut own = |of: &str, name: &str, days: &OwnDays| {
        let each = [("bodies_days", days.bodies_days), ("jobs_days", days.jobs_days)];
        for (key, days) in each {
            words.extend(days.map(|days| format!("{of}.{name}.{key} {days}")));
        }
    };
    for (name, days) in &policy.queues {
        own("queues", name, days);
    }
    for (name, days) in &policy.tenants {
        own("tenants", name, days);
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(cap: Option<u32>) -> Shares {
        let reports = QueueShare { concurrency_max: cap, ..QueueShare::plain("reports") };
        let acme = TenantShare { name: "acme".to_owned(), weight: 2.0 };
        Shares { queues: vec![reports], tenants: vec![acme] }
    }

    fn seed(seeder: &str, alive: bool, shares: Shares, bodies_days: u32) -> LimitSeed {
        let retention = RetentionPolicy { bodies_days, ..RetentionPolicy::for_ever() };
        LimitSeed {
            seeder: seeder.to_owned(),
            seeded_at: 0,
            alive,
            rules: Vec::new(),
            settings: Some(SeededSettings { shares, retention, reply_allow: None }),
        }
    }

    #[test]
    fn who_works_and_has_other_queues_than_those_in_force_or_other_days_is_told() {
        let early = LimitSeed { settings: None, ..seed("early/0", true, shares(None), 1) };
        let seeds = [
            early,
            seed("gone/1", false, shares(Some(1)), 1),
            seed("other/2", true, shares(Some(9)), 30),
            seed("none/3", true, Shares::default(), 7),
            seed("last/4", true, shares(Some(5)), 30),
        ];
        let found = setting_disagreements(&seeds, &shares(Some(5)));
        let told: Vec<(&str, &str)> =
            found.iter().map(|one| (one.setting.as_str(), one.seeder.as_str())).collect();
        assert_eq!(told, [("queue reports", "other/2"), ("retention", "none/3")]);
        assert_eq!(found[0].configured, "concurrency_max 9, weight 1");
        assert_eq!(found[0].in_force, "concurrency_max 5, weight 1");
        assert!(found.iter().all(|one| one.in_force_of == "last/4"));
        assert_eq!(
            found[0].to_string(),
            "other/2 has queue reports: concurrency_max 9, weight 1; last/4 has concurrency_max 5, \
             weight 1"
        );
        assert_eq!(found[1].configured, "bodies_days 7, jobs_days 0");
        assert_eq!(setting_disagreements(&[], &Shares::default()), []);
    }

    #[test]
    fn who_allows_other_reply_queues_is_told_and_their_order_does_not_matter() {
        let allowing = |seeder: &str, queues: &[&str]| {
            let mut seed = seed(seeder, true, Shares::default(), 30);
            let allow = queues.iter().map(|queue| (*queue).to_owned()).collect();
            seed.settings.as_mut().unwrap().reply_allow = Some(allow);
            seed
        };
        let seeds = [
            seed("early/1", true, Shares::default(), 30),
            allowing("none/2", &[]),
            allowing("same/3", &["b", "a"]),
            allowing("last/4", &["a", "b"]),
        ];
        let found = setting_disagreements(&seeds, &Shares::default());
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["none/2 has sqs.reply_allow: no queue; last/4 has a, b"]);
        // What an earlier release wrote can be read.
        let mut written = serde_json::to_value(seeds[3].settings.as_ref().unwrap()).unwrap();
        written.as_object_mut().unwrap().remove("reply_allow");
        let read: SeededSettings = serde_json::from_value(written).unwrap();
        assert_eq!(read.reply_allow, None);
    }

    #[test]
    fn a_queue_that_only_one_of_two_has_is_a_disagreement_and_own_days_are_too() {
        let mut own = seed("own/1", true, shares(None), 30);
        let queues = &mut own.settings.as_mut().unwrap().retention.queues;
        queues.insert("reports".to_owned(), OwnDays { bodies_days: Some(7), jobs_days: None });
        let mut other = shares(None);
        other.tenants.clear();
        other.queues.push(QueueShare { weight: 3.0, ..QueueShare::plain("chat") });
        let seeds = [own, seed("last/2", true, other.clone(), 30)];
        let found = setting_disagreements(&seeds, &other);
        let told: Vec<&str> = found.iter().map(|one| one.setting.as_str()).collect();
        assert_eq!(told, ["queue chat", "tenant acme", "retention"]);
        assert_eq!(found[0].configured, "nothing of its own");
        assert!(found[2].configured.ends_with("queues.reports.bodies_days 7"));
    }
}
