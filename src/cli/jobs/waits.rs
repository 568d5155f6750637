//! Why a job waits, in words.
//! Must not know: where the facts come from.

use crate::budget::{Dimension, LevelOf};
use crate::cli::table::span;
use crate::clock::rfc3339;
use crate::error::{ErrorKind, explain};
use crate::job::State;
use crate::store::{JobRow, KeyLevel, Pause, PausedLane};
use crate::worker::paused_words;

/// Why a job has not ended yet; none if it has. One short line.
pub(super) fn why(
    row: &JobRow,
    (paused, by_people): (&[PausedLane], &[Pause]),
    now: i64,
) -> Option<String> {
    let text = match row.state {
        State::Running => "in flight".to_owned(),
        State::Held => {
            format!("held: the outcome of call {} is unknown; retry or cancel it", row.calls)
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
            let lane = paused.iter().find(|lane| lane.lane == row.lane);
            match (halted_by(row, by_people), lane) {
                (Some(pause), _) => format!("{} is paused by a person", pause.scope.words()),
                (None, Some(lane)) => lane_words(lane, now),
                (None, None) => "for its turn".to_owned(),
            }
        }
        State::Succeeded | State::Failed | State::Cancelled | State::Expired => return None,
    };
    Some(text)
}

/// The pause by which a person holds a waiting job back.
pub(super) fn halted_by<'p>(row: &JobRow, pauses: &'p [Pause]) -> Option<&'p Pause> {
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

/// What holds back a due job, more than its turn: full budget keys, and that nobody works.
pub(super) fn holds_back(row: &JobRow, levels: &[KeyLevel], workers: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    if workers == 0 {
        reasons.push("no worker is at work on this store".to_owned());
    }
    let keys = [
        "total".to_owned(),
        format!("lane:{}", row.lane),
        format!("queue:{}", row.queue),
        format!("tenant:{}", row.tenant),
    ];
    for level in levels.iter().filter(|level| keys.contains(&level.key)) {
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
