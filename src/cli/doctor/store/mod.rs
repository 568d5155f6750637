//! The store: that it opens, what it is, what it does for durability, and what waits in it.
//! Must not know: SQL. It looks through the port, and never brings a store up to date.

mod files;
mod keeping;
mod room;
#[cfg(test)]
mod tests;

use std::path::Path;

use uuid::Uuid;

use super::Subject;
use super::report::Report;
use super::words::{counted, moment};
use crate::cli::rooms::{self, StorePlace};
use crate::cli::table::{one_line, span};
use crate::job::State;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    About, Health, Integrity, OtherLease, Pause, PausedLane, Store, StoreResult, WaitingJobs,
};

const STORE: &str = "store";

/// How long the pages are read, in milliseconds.
const CHECK_MS_MAX: u64 = 5_000;

/// A time that is further ahead than this was not written by our clock, in milliseconds.
const AHEAD_MS_MAX: i64 = 60_000;

/// How many lanes and models are told one by one.
const SHOWN_MAX: usize = 10;

/// Looks at the configured store. Hands on the jobs that have not ended.
pub(super) async fn check(subject: &Subject<'_>, report: &mut Report) -> Vec<WaitingJobs> {
    let path = match rooms::store_path(&subject.settings.store.url) {
        Ok(StorePlace::File(path)) => path,
        Ok(place) => return server(subject, &place, report).await,
        Err(error) => {
            report.error(
                STORE,
                format!("{error:#}"),
                "set store.url to a file, or name one with --store",
            );
            return Vec::new();
        }
    };
    files::disk(&path, report);
    files::spool(subject.settings, &path, report);
    // An empty file is what becomes a store.
    if path.metadata().is_ok_and(|found| found.len() == 0) || !path.exists() {
        report.note(
            STORE,
            format!("{} is not there yet", path.display()),
            "nothing: the first command that works makes it; or name another with --store",
        );
        return Vec::new();
    }
    files::wal(&path, report);
    if !is_current(&path, report).await {
        return Vec::new();
    }
    let opened =
        rooms::open_store(subject.settings, &path.clone().into(), None, subject.clock.clone())
            .await;
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            report.error(
                STORE,
                format!("{error:#}"),
                "give this user the file and its folder to write, or name another with --store",
            );
            return Vec::new();
        }
    };
    let looked = look(subject, &*store, report).await;
    store.close().await;
    looked.unwrap_or_else(|error| {
        report.error(
            STORE,
            format!("{} cannot be read: {error}", path.display()),
            "restore it from a copy, or name another with --store",
        );
        Vec::new()
    })
}

/// Looks at a store that a server keeps.
async fn server(
    subject: &Subject<'_>,
    place: &StorePlace,
    report: &mut Report,
) -> Vec<WaitingJobs> {
    if place.is_unverified(subject.settings).unwrap_or(false) {
        report.warning(
            "store.tls",
            format!("nobody checks that it is {place} that answers"),
            "add ?sslmode=verify-full to store.url, and &sslrootcert=FILE where its authority is not a \
             public one (RDS: the bundle of its region)",
        );
    }
    let opened = rooms::open_store(subject.settings, place, None, subject.clock.clone()).await;
    let looked = match opened {
        Ok(store) => {
            let looked = look(subject, &*store, report).await;
            store.close().await;
            looked.map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    looked.unwrap_or_else(|error| {
        report.error(
            STORE,
            format!("{error:#}"),
            "see that the server runs and lets this user in; a new database needs `quarrier migrate`",
        );
        Vec::new()
    })
}

/// Whether the file is a store of this version. Opening it would change one that is older.
async fn is_current(path: &Path, report: &mut Report) -> bool {
    let newest = SqliteStore::newest_migration();
    let shown = path.display();
    match SqliteStore::migration_at(path).await {
        Ok(Some(found)) if found == newest => return true,
        Ok(Some(found)) if found < newest => report.note(
            "store.version",
            format!(
                "{shown} stands at migration {found}, this version at {newest}; not looked into"
            ),
            "run `quarrier migrate`; every command that works does the same",
        ),
        Ok(Some(found)) => report.error(
            "store.version",
            format!("{shown} stands at migration {found}, and this version knows only {newest}"),
            "use the release that wrote it, or a newer one",
        ),
        Ok(None) => report.error(
            "store.version",
            format!("{shown} is no store: it has no migrations"),
            "it is another program's database: name another file with --store",
        ),
        Err(error) => report.error(
            "store.version",
            format!("{shown} cannot be read: {error}"),
            "name another file with --store, or restore this one from a copy",
        ),
    }
    false
}

async fn look(
    subject: &Subject<'_>,
    store: &dyn Store,
    report: &mut Report,
) -> StoreResult<Vec<WaitingJobs>> {
    let patience_ms = u64::try_from(subject.patience.as_millis()).unwrap_or(CHECK_MS_MAX);
    let about = store.about().await?;
    let health = store.health(patience_ms.min(CHECK_MS_MAX)).await?;
    let leases = store.other_leases(Uuid::nil()).await?;
    let at_work = store.workers(subject.settings.worker.lease_ms).await?;
    let (paused, pauses_by_people) = (store.paused_lanes().await?, store.pauses().await?);
    let now_ms = subject.clock.now().wall_ms;
    kind(&about, subject.simulate, report);
    durability(&health, &about.engine, report);
    integrity(&health.integrity, report);
    clock(health.latest_at, now_ms, report);
    let is_served = workers((at_work, &leases), &health, report);
    lanes(&paused, now_ms, report);
    pauses(&pauses_by_people, report);
    waiting(&health, is_served, report);
    room::check(&health, report);
    let (policy, rows_max) = (&subject.settings.retention, subject.settings.store.write_rows_max);
    keeping::retention(store, &health, (policy, rows_max), now_ms, report).await?;
    keeping::agreement(store, report).await?;
    Ok(health.waiting)
}

fn kind(about: &About, simulate: bool, report: &mut Report) {
    let holds = match about.simulated {
        None => "no work yet",
        Some(true) => "simulated work",
        Some(false) => "real work",
    };
    let found = format!(
        "{} {}, migration {}, holds {holds}",
        about.engine, about.location, about.migration
    );
    match about.simulated {
        Some(true) if !simulate => {
            report.warning(
                STORE,
                found,
                "real work needs another store: name it with --store, or add --simulate",
            );
        }
        Some(false) if simulate => {
            report.warning(
                STORE,
                found,
                "simulated work needs another store: name it with --store",
            );
        }
        _ => report.ok(STORE, found),
    }
}

fn durability(health: &Health, engine: &str, report: &mut Report) {
    const CHECK: &str = "store.durability";
    let mut safe = Vec::new();
    for one in &health.durability {
        let found = format!("{} is {}", one.setting, one.found);
        if one.safe {
            safe.push(found);
        } else {
            report.error(
                CHECK,
                format!("{found}: a power cut can lose what was committed"),
                match engine {
                    "postgres" => format!(
                        "it must be {}: change it in postgresql.conf, or for the role that workers use",
                        one.wanted
                    ),
                    _ => format!(
                        "it must be {}: put the store on a local file system that allows it",
                        one.wanted
                    ),
                },
            );
        }
    }
    if safe.len() == health.durability.len() {
        report.ok(CHECK, safe.join(", "));
    }
}

fn integrity(integrity: &Integrity, report: &mut Report) {
    const CHECK: &str = "store.integrity";
    match integrity {
        Integrity::Sound => report.ok(CHECK, "every page is sound (quick_check)"),
        Integrity::NotRead => {}
        Integrity::Unfinished => report.note(
            CHECK,
            "the file is too large to be checked in the time given",
            "run `sqlite3 FILE 'pragma quick_check'` when there is time",
        ),
        Integrity::Broken(lines) => report.error(
            CHECK,
            format!("the file is damaged: {}", lines.join("; ")),
            "stop the workers, keep a copy, and save what can be read: `sqlite3 FILE .recover | sqlite3 NEW`",
        ),
    }
}

/// A row of the future means that a clock was or is wrong.
fn clock(latest_at: Option<i64>, now_ms: i64, report: &mut Report) {
    const CHECK: &str = "store.clock";
    let Some(latest_at) = latest_at else { return };
    let ahead_ms = latest_at.saturating_sub(now_ms);
    if ahead_ms > AHEAD_MS_MAX {
        report.warning(
            CHECK,
            format!("its newest row is of {}, {} from now", moment(latest_at), span(ahead_ms)),
            "the clock was ahead when it was written, or is behind now: deadlines count from it; set \
             it by NTP",
        );
    } else {
        report.ok(CHECK, format!("its newest row is of {}", moment(latest_at)));
    }
}

/// Who works on it. True if somebody does.
fn workers((at_work, leases): (u64, &[OtherLease]), health: &Health, report: &mut Report) -> bool {
    const CHECK: &str = "store.workers";
    let dead = leases.iter().filter(|lease| lease.dead).count();
    let running = in_state(health, State::Running);
    let found =
        format!("{} at work, {} running", counted(at_work, "worker"), counted(running, "job"));
    if dead == 0 && (at_work > 0 || running == 0) {
        report.ok(CHECK, found);
    } else if dead == 0 {
        // A server cannot tell a dead process's lease from one that is not heard of.
        report.note(
            CHECK,
            found,
            "nothing, if they are calls of a library's client; else their worker is gone: start one \
             (`quarrier serve`), it puts them back first",
        );
    } else {
        let found = format!(
            "{found}; {} of dead processes",
            counted(u64::try_from(dead).unwrap_or(u64::MAX), "lease")
        );
        if at_work > 0 {
            report.note(CHECK, found, "nothing: a worker puts their jobs back within seconds");
        } else {
            report.warning(
                CHECK,
                found,
                "start a worker (`quarrier serve`): it puts their jobs back first",
            );
        }
    }
    at_work > 0
}

fn lanes(paused: &[PausedLane], now_ms: i64, report: &mut Report) {
    for lane in paused.iter().take(SHOWN_MAX) {
        let reason = lane.reason.as_deref().unwrap_or("unknown");
        let left = span(lane.until.saturating_sub(now_ms));
        report.warning(
            "store.lanes",
            format!("{} is paused for {left} more, because of {reason}", lane.lane),
            format!("`quarrier explain {reason}` says what to do; it goes on by itself then"),
        );
    }
    let more = paused.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        report.warning("store.lanes", format!("{more} more lanes are paused"), "the same");
    }
}

fn pauses(pauses: &[Pause], report: &mut Report) {
    for pause in pauses.iter().take(SHOWN_MAX) {
        let reason = pause.reason.as_ref().map(|reason| format!(": {}", one_line(reason)));
        let scope = one_line(&pause.scope.words());
        report.note(
            "store.lanes",
            format!("{scope} is paused by a person{}", reason.unwrap_or_default()),
            format!("`quarrier resume {}` lets it go on", pause.scope.flag()),
        );
    }
}

fn waiting(health: &Health, is_served: bool, report: &mut Report) {
    const CHECK: &str = "store.jobs";
    let (ready, held) = (in_state(health, State::Ready), in_state(health, State::Held));
    let found = format!("{} ready", counted(ready, "job"));
    if ready > 0 && !is_served {
        report.note(CHECK, format!("{found}, and no worker runs"), "start one: `quarrier serve`");
    } else {
        report.ok(CHECK, found);
    }
    if held > 0 {
        report.warning(
            CHECK,
            format!("{} held: nobody knows whether their call was answered", counted(held, "job")),
            "look at them (`quarrier jobs list --state held`), then `quarrier jobs retry` or `cancel`",
        );
    }
    if health.submissions > 0 {
        let found = format!("{} admitted by nobody yet", counted(health.submissions, "submission"));
        if is_served {
            report.ok("store.submissions", found);
        } else {
            report.note("store.submissions", found, "start a worker: `quarrier serve`");
        }
    }
}

fn in_state(health: &Health, state: State) -> u64 {
    health.waiting.iter().filter(|one| one.state == state).map(|one| one.jobs).sum()
}
