//! The catalogue: how old its figures are, and what it says of every model in use.
//! Must not know: stores, networks, how a model is called.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::Subject;
use super::report::Report;
use super::words::counted;
use crate::catalogue::{Catalogue, ResolveError, Resolved};
use crate::store::WaitingJobs;

const CATALOGUE: &str = "catalogue";
const MODEL: &str = "model";
const LANE: &str = "model.lane";

/// Figures older than this are to be compared with the provider's, in days.
const AGE_DAYS_MAX: i32 = 120;
/// A model that ends sooner than this is warned of, in days.
const SOON_DAYS: i32 = 60;

/// A model that work is or will be asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InUse {
    /// As the configuration or the job names it.
    pub(super) name: String,
    /// What it stands for; absent where it can no longer be called.
    pub(super) resolved: Option<Resolved>,
    /// Jobs that wait for it.
    pub(super) jobs: u64,
    /// The configuration names it.
    pub(super) configured: bool,
}

/// Judges the table, and every model that is configured or waited for.
pub(super) fn check(
    subject: &Subject<'_>,
    catalogue: &Catalogue,
    waiting: &[WaitingJobs],
    report: &mut Report,
) -> Vec<InUse> {
    let today = subject.today();
    age(catalogue, today, report);
    lanes(subject, waiting, report);
    let mut jobs: BTreeMap<&str, u64> = BTreeMap::new();
    for one in waiting {
        *jobs.entry(one.model.as_str()).or_default() += one.jobs;
    }
    let configured = subject.settings.job.model.as_str();
    let names: BTreeSet<&str> = jobs.keys().copied().chain([configured]).collect();
    let mut in_use = Vec::new();
    for name in names {
        let jobs = jobs.get(name).copied().unwrap_or_default();
        let whose = whose(subject, name == configured, jobs);
        let mut ask = subject.settings.ask(name, None, today);
        ask.allow_retired = subject.simulate;
        let resolved = match catalogue.resolve(name, &ask) {
            Ok(resolved) => {
                served(catalogue, &resolved, &whose, today, report);
                Some(resolved)
            }
            Err(error) => {
                report.error(
                    MODEL,
                    format!("failed to {error} ({whose})"),
                    remedy(&error, jobs, name),
                );
                None
            }
        };
        in_use.push(InUse {
            name: name.to_owned(),
            resolved,
            jobs,
            configured: name == configured,
        });
    }
    in_use
}

/// `job.model, environment BEDROCK_MODEL_ID and 3 jobs waiting`.
fn whose(subject: &Subject<'_>, configured: bool, jobs: u64) -> String {
    let mut whose = Vec::new();
    if configured {
        whose.push(format!("job.model, {}", subject.origin("job.model")));
    }
    if jobs > 0 {
        whose.push(format!("{} waiting", counted(jobs, "job")));
    }
    whose.join(" and ")
}

fn age(catalogue: &Catalogue, today: Date, report: &mut Report) {
    let head = catalogue.head();
    let days = (today - head.date).get_days();
    let found = format!(
        "table {}, {} models, figures of {}",
        head.version,
        catalogue.models().count(),
        head.date
    );
    if days > AGE_DAYS_MAX {
        report.warning(
            CATALOGUE,
            format!("{found}: {days} days old"),
            "use a newer release, or correct prices and ends of life in catalogue.models_file",
        );
    } else {
        report.ok(CATALOGUE, found);
    }
}

/// What there is to say of a model that can be called.
fn served(catalogue: &Catalogue, found: &Resolved, whose: &str, today: Date, report: &mut Report) {
    let end = catalogue.model(&found.base_id).and_then(|model| {
        let end = model.end_of_life?;
        Some((end, model.successor.clone()))
    });
    let call = if found.model_id == found.base_id {
        found.model_id.clone()
    } else {
        format!("{}, through a profile", found.model_id)
    };
    let shown = format!("{} ({whose}) is called as {call}", found.alias);
    match end {
        Some((end, successor)) if (end - today).get_days() <= SOON_DAYS => {
            let to = successor.map_or_else(
                || "choose another (`quarrier models`)".to_owned(),
                |successor| format!("go over to {successor}"),
            );
            let days = (end - today).get_days();
            if days > 0 {
                report.warning(
                    MODEL,
                    format!("{shown}; it is retired on {end}, in {days} days"),
                    to,
                );
            } else {
                report.note(
                    MODEL,
                    format!(
                        "{shown}; it was retired on {end}, and only the simulator answers for it"
                    ),
                    to,
                );
            }
        }
        _ => report.ok(MODEL, shown),
    }
    if found.prices.is_none() {
        report.note(
            "model.prices",
            format!("the price of {} is not known: its jobs have no cost, and --max-cost-usd cannot bound them", found.alias),
            "add a row with its prices to catalogue.models_file",
        );
    }
}

fn remedy(error: &ResolveError, jobs: u64, name: &str) -> String {
    let change = match error {
        ResolveError::Retired { successor: Some(successor), .. } => {
            format!("set job.model (or BEDROCK_MODEL_ID) to {successor}")
        }
        ResolveError::Retired { .. } => "choose another model (`quarrier models`)".to_owned(),
        ResolveError::NoProfile { profiles, .. } => format!(
            "add one of {} to bedrock.profiles, or choose a model that the region has",
            profiles.join(", ")
        ),
        ResolveError::FamilyNeeded { .. } => {
            format!("say its family in [bedrock.families]: \"{name}\" = \"claude\"")
        }
        ResolveError::Unknown { nearest, .. } => nearest.first().map_or_else(
            || "choose one of `quarrier models`".to_owned(),
            |near| format!("did you mean {near}? `quarrier models` lists all"),
        ),
    };
    if jobs == 0 {
        return change;
    }
    format!(
        "{change}; what waits was admitted for the old one and will fail: `quarrier jobs list --model \
         {name}`, cancel it, and put it in again for another model"
    )
}

/// Jobs keep the region for which they were admitted in their lane's name, and are called in ours.
fn lanes(subject: &Subject<'_>, waiting: &[WaitingJobs], report: &mut Report) {
    let prefix = crate::cli::rooms::lane_prefix(subject.settings);
    let mut elsewhere: BTreeMap<String, u64> = BTreeMap::new();
    for one in waiting {
        let theirs: Vec<&str> = one.lane.splitn(3, '/').take(2).collect();
        let theirs = theirs.join("/");
        if theirs != prefix {
            *elsewhere.entry(theirs).or_default() += one.jobs;
        }
    }
    for (lane, jobs) in elsewhere {
        report.warning(
            LANE,
            format!("{} waiting were admitted for {lane}, and workers with this configuration call {prefix}", counted(jobs, "job")),
            "start the worker with the region of its jobs (AWS_REGION), or cancel them and put them in again",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Ask;
    use expect_test::expect;
    use jiff::civil::date;

    fn resolved(catalogue: &Catalogue, name: &str, today: Date) -> Resolved {
        let profiles = vec!["us".to_owned()];
        let ask = Ask { profiles, family: None, allow_retired: true, today };
        catalogue.resolve(name, &ask).unwrap()
    }

    #[test]
    fn figures_grow_old() {
        let catalogue = Catalogue::embedded().unwrap();
        let mut report = Report::default();
        age(&catalogue, date(2027, 3, 22), &mut report);
        age(&catalogue, date(2027, 3, 23), &mut report);
        expect![[r#"
            ok       catalogue  table 2026-11-22, 47 models, figures of 2026-11-22
            warning  catalogue  table 2026-11-22, 47 models, figures of 2026-11-22: 121 days old
                                -> use a newer release, or correct prices and ends of life in catalogue.models_file
        "#]].assert_eq(&report.text());
    }

    #[test]
    fn a_models_end_is_told_two_months_before() {
        let catalogue = Catalogue::embedded().unwrap();
        let mut report = Report::default();
        for today in [date(2026, 7, 11), date(2026, 7, 12), date(2026, 9, 10)] {
            let found = resolved(&catalogue, "claude-3-haiku", today);
            served(&catalogue, &found, "job.model, default", today, &mut report);
        }
        expect![[r#"
            ok       model  claude-3-haiku (job.model, default) is called as anthropic.claude-3-haiku-20240307-v1:0
            warning  model  claude-3-haiku (job.model, default) is called as anthropic.claude-3-haiku-20240307-v1:0; it is retired on 2026-09-10, in 60 days
                            -> go over to claude-haiku-4.5
            note     model  claude-3-haiku (job.model, default) is called as anthropic.claude-3-haiku-20240307-v1:0; it was retired on 2026-09-10, and only the simulator answers for it
                            -> go over to claude-haiku-4.5
        "#]].assert_eq(&report.text());
    }
}
