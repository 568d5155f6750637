//! Retention: what is configured, what is over and waits to be deleted, and whether somebody deletes;
//! and whether all workers were configured alike.
//! Must not know: SQL, or how anything is deleted.

use crate::cli::doctor::report::{Level, Report};
use crate::cli::doctor::words::{counted, moment};
use crate::cli::table::one_line;
use crate::store::{
    Health, RetainAsk, RetentionPolicy, RetentionProgress, RetentionStage, Store, StoreResult,
    disagreements, setting_disagreements,
};

/// What is over for longer than this, in days, should have gone: workers look once a minute.
const LATE_DAYS_MAX: u32 = 1;
/// Retention begins with the oldest result each day; where it has not for so long, in milliseconds,
/// nobody deletes.
const RESTART_MS_MAX: i64 = 2 * 86_400_000;
/// At most so many steps are looked at for each stage, each of `store.write_rows_max` rows.
const STEPS_MAX: u32 = 20;
/// How many disagreements are told one by one.
const SHOWN_MAX: usize = 10;

/// How many jobs, and whether there may be more.
#[derive(Clone, Copy, Default)]
struct Count {
    jobs: u64,
    more: bool,
}

impl Count {
    fn words(self, what: &str) -> String {
        format!("{}{}", if self.more { "at least " } else { "" }, counted(self.jobs, what))
    }
}

/// Says what is over, and whether somebody deletes it.
pub(super) async fn retention(
    store: &dyn Store,
    health: &Health,
    (policy, rows_max): (&RetentionPolicy, u32),
    now_ms: i64,
    report: &mut Report,
) -> StoreResult<()> {
    let mut over = [Count::default(); 2];
    let mut late = Count::default();
    for (stage, over) in RetentionStage::ALL.into_iter().zip(&mut over) {
        let progress = health.retention.iter().find(|progress| progress.stage == stage);
        // Who deletes by other days begins with the oldest.
        let goes_on = progress.filter(|progress| progress.policy.as_ref() == Some(policy));
        let after = goes_on.map_or(0, |progress| progress.after);
        *over = look(store, stage, policy.clone(), (after, rows_max)).await?;
        if over.jobs > 0 {
            let found = look(store, stage, later(policy), (after, rows_max)).await?;
            late = Count { jobs: late.jobs + found.jobs, more: late.more || found.more };
        }
    }
    let (level, found, remedy) = judge(policy, &health.retention, (over, late), now_ms);
    match level {
        Level::Ok => report.ok(CHECK, found),
        level => report.add(CHECK, level, found, remedy),
    }
    Ok(())
}

const CHECK: &str = "store.retention";

/// What would go now, deleting nothing.
async fn look(
    store: &dyn Store,
    stage: RetentionStage,
    policy: RetentionPolicy,
    (after, rows_max): (i64, u32),
) -> StoreResult<Count> {
    let mut ask = RetainAsk { stage, policy, rows_max, look_after: Some(after) };
    let mut count = Count { jobs: 0, more: true };
    for _ in 0..STEPS_MAX {
        let found = store.retain(&ask).await?;
        count.jobs += u64::from(found.jobs);
        count.more = found.more;
        if !found.more {
            break;
        }
        ask.look_after = Some(found.after);
    }
    Ok(count)
}

/// The same days, each a little longer: what is over by these is late.
fn later(policy: &RetentionPolicy) -> RetentionPolicy {
    let more = |days: &mut u32| {
        if *days > 0 {
            *days = days.saturating_add(LATE_DAYS_MAX);
        }
    };
    let mut policy = policy.clone();
    more(&mut policy.bodies_days);
    more(&mut policy.jobs_days);
    for own in policy.queues.values_mut().chain(policy.tenants.values_mut()) {
        for days in [&mut own.bodies_days, &mut own.jobs_days].into_iter().flatten() {
            more(days);
        }
    }
    policy
}

fn judge(
    policy: &RetentionPolicy,
    progress: &[RetentionProgress],
    ([bodies, jobs], late): ([Count; 2], Count),
    now_ms: i64,
) -> (Level, String, String) {
    let days = |days: u32| match days {
        0 => "for ever".to_owned(),
        days => format!("for {}", counted(u64::from(days), "day")),
    };
    let own = policy.queues.len().saturating_add(policy.tenants.len());
    let own = match own {
        0 => String::new(),
        own => format!(" ({own} queues and tenants have days of their own)"),
    };
    let begun = progress.iter().filter_map(|stage| stage.restarted_at).max();
    let begun_words = begun.map_or("it has not run here yet".to_owned(), |at| {
        format!("it last began at {}", moment(at))
    });
    let found = format!(
        "content is kept {}, jobs {}{own}; over by now: content of {}, {}; {begun_words}",
        days(policy.bodies_days),
        days(policy.jobs_days),
        bodies.words("job"),
        jobs.words("whole job"),
    );
    let is_over = bodies.jobs > 0 || jobs.jobs > 0;
    let idle = begun.is_none_or(|at| now_ms.saturating_sub(at) > RESTART_MS_MAX);
    if is_over && idle {
        let remedy = "start a worker (`quarrier serve`): it deletes by itself, and begins anew each \
                      day; or run `quarrier retention`. Told where nobody began for 2 days";
        return (Level::Warning, found, remedy.to_owned());
    }
    if late.jobs > 0 {
        let found =
            format!("{found}; {} late by more than a day: it does not keep up", late.words("job"));
        let remedy = "let a worker run for longer, or run `quarrier retention`; see that all have the \
                      same [retention], because each begins anew where another had other days";
        return (Level::Warning, found, remedy.to_owned());
    }
    if *policy == RetentionPolicy::for_ever() {
        let remedy = "set retention.bodies_days and retention.jobs_days, if prompts and answers need \
                      not be kept";
        return (Level::Note, format!("{found}; the store only grows"), remedy.to_owned());
    }
    (Level::Ok, found, String::new())
}

/// Says where workers were configured otherwise than what is in force.
pub(super) async fn agreement(store: &dyn Store, report: &mut Report) -> StoreResult<()> {
    const CHECK: &str = "store.agreement";
    let (seeds, rules) = (store.limit_seeds().await?, store.limits().await?);
    let limits: Vec<String> =
        disagreements(&seeds, &rules).iter().map(ToString::to_string).collect();
    let others = setting_disagreements(&seeds, &store.shares().await?);
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    for (found, remedy) in [
        (&limits, "give both the same configuration, or say what holds by `quarrier limits set`"),
        (
            &others,
            "give both the same [queues], [tenants], [retention] and sqs.reply_allow, and start them \
             again: of queues and tenants the last to begin is in force, each deletes by its own days, \
             and gives up the replies that its own list does not allow",
        ),
    ] {
        for one in found.iter().take(SHOWN_MAX) {
            report.warning(CHECK, one_line(one), remedy);
        }
    }
    let alive = seeds.iter().filter(|seed| seed.alive).count();
    if limits.is_empty() && others.is_empty() && alive > 1 {
        report.ok(CHECK, format!("{alive} processes were configured alike"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OwnDays;

    const NOW: i64 = 100 * 86_400_000;

    fn judged(over: u64, late: u64, begun: Option<i64>) -> (Level, String, String) {
        let policy = RetentionPolicy { bodies_days: 30, ..RetentionPolicy::for_ever() };
        let progress = RetentionProgress {
            stage: RetentionStage::Bodies,
            after: 7,
            restarted_at: begun,
            policy: Some(policy.clone()),
        };
        let counts = [Count { jobs: over, more: over > 1_000 }, Count::default()];
        judge(&policy, &[progress], (counts, Count { jobs: late, more: false }), NOW)
    }

    #[test]
    fn what_is_over_is_well_while_somebody_deletes_it() {
        let (level, found, _) = judged(12, 0, Some(NOW - 86_400_000));
        assert_eq!(level, Level::Ok, "{found}");
        assert_eq!(
            found,
            "content is kept for 30 days, jobs for ever; over by now: content of 12 jobs, 0 whole \
             jobs; it last began at 1970-04-10T00:00:00Z"
        );
        assert_eq!(judged(0, 0, None).0, Level::Ok, "a new store");
    }

    #[test]
    fn nobody_who_deletes_and_one_who_does_not_keep_up_are_warned_of() {
        for begun in [None, Some(NOW - 3 * 86_400_000)] {
            let (level, found, remedy) = judged(5_000, 5_000, begun);
            assert_eq!(level, Level::Warning, "{found}");
            assert!(found.contains("content of at least 5000 jobs"), "{found}");
            assert!(remedy.contains("`quarrier serve`") && remedy.contains("2 days"), "{remedy}");
        }
        let (level, found, remedy) = judged(12, 3, Some(NOW));
        assert_eq!(level, Level::Warning, "{found}");
        assert!(found.contains("3 jobs late by more than a day"), "{found}");
        assert!(remedy.contains("[retention]"), "{remedy}");
    }

    #[test]
    fn days_that_are_none_stay_so_when_what_is_late_is_looked_for() {
        let mut policy = RetentionPolicy { bodies_days: 30, ..RetentionPolicy::for_ever() };
        let own = OwnDays { bodies_days: Some(7), jobs_days: Some(0) };
        policy.queues.insert("q".to_owned(), own);
        let later = later(&policy);
        assert_eq!((later.bodies_days, later.jobs_days), (31, 0));
        let own = later.queues.get("q").unwrap();
        assert_eq!((own.bodies_days, own.jobs_days), (Some(8), Some(0)));
        let none = RetentionPolicy::for_ever();
        let (level, found, _) = judge(&none, &[], ([Count::default(); 2], Count::default()), NOW);
        assert_eq!(level, Level::Note, "{found}");
    }
}
