//! Why a job waits, in words.
//! Must not know: where the facts come from.

use crate::budget::{Dimension, LevelOf};
use crate::cli::table::span;
use crate::clock::rfc3339;
use crate::error::{ErrorKind, explain};
use crate::job::State;
use crate::store::{JobRow, KeyLevel, Pause, PausedLane, Store, StoreResult};
use crate::worker::paused_words;

/// Said where nobody would take a job.
pub(in crate::cli) const NO_WORKER: &str = "no worker is at work on this store";

/// What may keep jobs waiting: read once for all that are shown.
#[derive(Default)]
pub(in crate::cli) struct Facts {
    /// Lanes that failures have paused.
    pub(in crate::cli) paused: Vec<PausedLane>,
    /// What people have paused.
    pub(in crate::cli) by_people: Vec<Pause>,
    /// How many processes work; none where it was not asked.
    workers: Option<u64>,
    /// Queues that run as many jobs as they may, with their caps.
    full: Vec<(String, u32)>,
    levels: Vec<KeyLevel>,
}

impl Facts {
    /// Reads them, as far as these jobs and `submitted` documents ask for them. A process that was
    /// not heard of for `silent_ms` does not work.
    pub(in crate::cli) async fn read(
        rows: &[JobRow],
        submitted: bool,
        store: &dyn Store,
        (now, silent_ms): (i64, u64),
    ) -> StoreResult<Self> {
        let is_due = |row: &JobRow| row.state == State::Ready && row.run_at <= now;
        let any_due = rows.iter().any(is_due);
        let mut facts = Self {
            paused: store.paused_lanes().await?,
            by_people: store.pauses().await?,
            ..Self::default()
        };
        let any_runs = rows.iter().any(|row| row.state == State::Running);
        if any_due || any_runs || submitted {
            facts.workers = Some(store.workers(silent_ms).await?);
        }
        if any_due {
            facts.full = store.full_queues().await?;
            facts.levels = store.levels().await?;
        }
        Ok(facts)
    }

    /// No process works on the store.
    pub(in crate::cli) fn nobody_works(&self) -> bool {
        self.workers == Some(0)
    }
}

/// Why a job has not ended yet; none if it has. One short line.
pub(super) fn why(row: &JobRow, facts: &Facts, now: i64) -> Option<String> {
    let text = match row.state {
        // A client of the library may make its own call.
        State::Running if facts.nobody_works() => {
            format!("in flight, or its worker is gone: {NO_WORKER} that would put it back")
        }
        State::Running => "in flight".to_owned(),
        State::Held => {
            format!("held: the outcome of call {} is unknown; retry or cancel it", row.calls)
        }
        State::Ready if row.deadline_at <= now && facts.nobody_works() => {
            format!("its deadline has passed, and {NO_WORKER} that would end it")
        }
        State::Ready if row.deadline_at <= now => {
            "its deadline has passed: a worker's next look ends it".to_owned()
        }
        State::Ready if row.run_at > now => {
            let until = format!("until {}, in {}", rfc3339(row.run_at), span(row.run_at - now));
            match &row.reason {
                Some(reason) => format!("{until}: {reason}"),
                None => format!("{until}: its run_at"),
            }
        }
        State::Ready => {
            let pause = halted_by(row, &facts.by_people);
            let lane = facts.paused.iter().find(|lane| lane.lane == row.lane);
            match (pause, lane) {
                (Some(pause), _) => format!("{} is paused by a person", pause.scope.words()),
                (None, Some(lane)) => lane_words(lane, now),
                (None, None) => {
                    let first = holds_back(row, facts).into_iter().next();
                    first.unwrap_or_else(|| "for its turn".to_owned())
                }
            }
        }
        State::Succeeded | State::Failed | State::Cancelled | State::Expired => return None,
    };
    Some(text)
}

/// Why a document has not been admitted yet.
pub(super) fn why_submitted(facts: &Facts) -> String {
    let nobody = if facts.nobody_works() { ", and none is at work on this store" } else { "" };
    format!("for a worker to admit it{nobody}")
}

/// The pause by which a person holds a waiting job back.
pub(in crate::cli) fn halted_by<'p>(row: &JobRow, pauses: &'p [Pause]) -> Option<&'p Pause> {
    let covers = |pause: &&Pause| pause.scope.covers(&row.lane, &row.queue);
    pauses.iter().filter(|_| row.state == State::Ready).find(covers)
}

fn lane_words(lane: &PausedLane, now: i64) -> String {
    let reason = lane.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (until, left) = (rfc3339(lane.until), span(lane.until.saturating_sub(now)));
    format!("its lane is paused until {until}, in {left}{reason}")
}

/// The pauses that keep some of these jobs waiting, in a line each with the way out.
pub(super) fn pauses_of(
    rows: &[JobRow],
    paused: &[PausedLane],
    by_people: &[Pause],
) -> Vec<String> {
    let holds = |pause: &&Pause| rows.iter().any(|row| halted_by(row, by_people) == Some(*pause));
    let waits = |lane: &&PausedLane| {
        rows.iter().any(|row| row.state == State::Ready && row.lane == lane.lane)
    };
    let lane_line = |lane: &PausedLane| format!("{} is paused{}", lane.lane, why_paused(lane));
    let held = by_people.iter().filter(holds).map(paused_words);
    held.chain(paused.iter().filter(waits).map(lane_line)).collect()
}

/// What a person can do so that a job whose lane is paused waits no longer.
pub(super) fn hint(row: &JobRow, paused: &[PausedLane]) -> Option<&'static str> {
    let lane = paused.iter().find(|lane| lane.lane == row.lane && row.state == State::Ready)?;
    ErrorKind::from_name(lane.reason.as_deref()?).and_then(|kind| explain(kind).hint)
}

/// `: credentials; sign in ...`: why a lane is paused, and what to do.
pub(in crate::cli) fn why_paused(lane: &PausedLane) -> String {
    let Some(reason) = lane.reason.as_deref() else { return String::new() };
    let hint = ErrorKind::from_name(reason).and_then(|kind| explain(kind).hint);
    hint.map_or_else(|| format!(": {reason}"), |hint| format!(": {reason}; {hint}"))
}

/// What holds back a due job, besides pauses and more than its turn: that nobody works, its full
/// queue, and full budget keys.
pub(super) fn holds_back(row: &JobRow, facts: &Facts) -> Vec<String> {
    let mut reasons = Vec::new();
    if facts.nobody_works() {
        reasons.push(NO_WORKER.to_owned());
    }
    if let Some((queue, most)) = facts.full.iter().find(|(queue, _)| *queue == row.queue) {
        reasons
            .push(format!("its queue is full: {queue} runs {most} at once, and may run no more"));
    }
    let keys = [
        "total".to_owned(),
        format!("lane:{}", row.lane),
        format!("queue:{}", row.queue),
        format!("tenant:{}", row.tenant),
    ];
    for level in facts.levels.iter().filter(|level| keys.contains(&level.key)) {
        let dimensions =
            [(Dimension::Requests, level.level.requests), (Dimension::Tokens, level.level.tokens)];
        for (dimension, of) in dimensions {
            if let Some(limit) = of.effective.filter(|limit| is_nearly_full(&of, *limit)) {
                let (key, drawn) = (&level.key, of.used.saturating_add(of.in_flight));
                reasons
                    .push(format!("{key} has {drawn} of {limit} {dimension} of this minute drawn"));
            }
        }
    }
    reasons
}

/// From nine tenths on the next call may well not fit; how much it needs is known only at its
/// claim.
fn is_nearly_full(level: &LevelOf, limit: u64) -> bool {
    level.used.saturating_add(level.in_flight).saturating_mul(10) >= limit.saturating_mul(9)
}
