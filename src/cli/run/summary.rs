//! The last words of a run: what became of the jobs, what it took, what is left to do.
//! Must not know: how a run is watched.

use std::collections::BTreeMap;
use std::path::Path;

use super::RunArgs;
use super::show::{cost, duration, short};
use super::watch::{End, Ended};
use crate::job::State;
use crate::simulator;
use crate::store::Counts;

/// Everything that a summary tells of.
pub(super) struct Summary<'r> {
    pub(super) args: &'r RunArgs,
    pub(super) counts: &'r Counts,
    pub(super) ended: &'r Ended,
    pub(super) took_ms: u64,
    pub(super) simulated: bool,
    pub(super) simulator: Option<&'r simulator::Summary>,
    pub(super) store: &'r str,
    /// Results that are still to be sent to queues.
    pub(super) replies_waiting: usize,
}

impl Summary<'_> {
    /// Whether every line has become a job that succeeded.
    pub(super) fn is_all_well(&self) -> bool {
        let all_succeeded =
            self.counts.states.iter().all(|(state, jobs)| *state == State::Succeeded || *jobs == 0);
        let fed = &self.ended.fed;
        all_succeeded && self.ended.fed_whole && self.ended.refused == 0 && fed.forgotten == 0
    }

    /// The summary, a few lines.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![self.jobs(), self.this_run()];
        lines.extend(self.all_runs());
        lines.extend(self.simulator.map(simulation));
        lines.push(format!(
            "Results: {}; store: {}.",
            self.args.out.as_deref().unwrap_or(Path::new("none")).display(),
            self.store
        ));
        lines.extend(self.what_is_left());
        lines.join("\n") + "\n"
    }

    fn of(&self, state: State) -> u64 {
        let found = self.counts.states.iter().find(|(is, _)| *is == state);
        found.map_or(0, |(_, jobs)| *jobs)
    }

    fn jobs(&self) -> String {
        let all: u64 = self.counts.states.iter().map(|(_, jobs)| jobs).sum();
        let states: Vec<String> = State::ALL
            .into_iter()
            .filter(|state| self.of(*state) > 0)
            .map(|state| format!("{} {}", self.of(state), state.as_str()))
            .collect();
        let mut text = plural(all, "job");
        if !states.is_empty() {
            text = format!("{text}: {}", states.join(", "));
        }
        let fed = &self.ended.fed;
        let refused = (self.ended.refused, "refused line");
        let more = [refused, (fed.duplicates, "duplicate line"), (fed.forgotten, "deleted job")];
        for (number, what) in more.into_iter().filter(|(number, _)| *number > 0) {
            text = format!("{text}; {}", plural(number, what));
        }
        text + "."
    }

    fn this_run(&self) -> String {
        let status = &self.ended.status;
        format!(
            "This run: {}, {}, {} after failures, {} throttled, {} with unknown outcome; {} tokens \
             in, {} out; {}; {}.",
            plural(status.claimed, "call"),
            plural(status.reasked, "re-ask"),
            status.retried,
            status.throttled,
            status.unknown,
            short(status.usage.input),
            short(status.usage.output),
            cost(status.cost_micros, self.simulated),
            duration(self.took_ms),
        )
    }

    /// What earlier runs of the file add, where there were any.
    fn all_runs(&self) -> Option<String> {
        let Counts { usage, cost_micros, attempts_unknown, .. } = self.counts;
        let is_more = *cost_micros != self.ended.status.cost_micros || *attempts_unknown > 0;
        let unknown = match attempts_unknown {
            0 => String::new(),
            calls => format!(" and {} of unknown cost", plural(*calls, "call")),
        };
        is_more.then(|| {
            format!(
                "All runs: {} tokens in, {} out; {}{unknown}.",
                short(usage.input),
                short(usage.output),
                cost(*cost_micros, self.simulated),
            )
        })
    }

    fn what_is_left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let waiting = self.of(State::Ready).saturating_add(self.of(State::Running));
        let why = match self.ended.why {
            End::Money => "The money of --max-cost-usd does not cover another call.",
            End::Failed => "Stopped by --stop-if-failed.",
            End::Stopped => "Stopped.",
            End::Done | End::Worker => "",
        };
        if !why.is_empty() {
            left.push(format!("{why} {} left; the same command goes on.", plural(waiting, "job")));
        }
        if !self.ended.fed_whole {
            left.push("The file was not read to its end, so OUT is as it was before.".to_owned());
        }
        if self.of(State::Held) > 0 {
            left.push(format!(
                "{} held: an outcome is unknown and the job says hold; `quarrier jobs list --state \
                 held`, then retry or cancel.",
                plural(self.of(State::Held), "job")
            ));
        }
        match self.replies_waiting {
            0 => {}
            1 => left.push("1 reply waits: `quarrier serve` sends it.".to_owned()),
            many => left.push(format!("{many} replies wait: `quarrier serve` sends them.")),
        }
        let failed = self.of(State::Failed).saturating_add(self.of(State::Expired));
        if failed > 0 {
            let kinds = kinds(&self.ended.kinds);
            left.push(format!(
                "{} failed{kinds}; --retry-failed tries again.",
                plural(failed, "job")
            ));
        }
        left
    }
}

/// `: 3 schema_mismatch, 1 refused (quarrier explain KIND)`, the most frequent first.
fn kinds(kinds: &BTreeMap<String, u64>) -> String {
    let mut kinds: Vec<(&String, &u64)> = kinds.iter().collect();
    kinds.sort_by_key(|(_, jobs)| std::cmp::Reverse(**jobs));
    let told: Vec<String> = kinds.iter().map(|(kind, jobs)| format!("{jobs} {kind}")).collect();
    match kinds.as_slice() {
        [] => String::new(),
        [(kind, _)] => format!(": {kind} (`quarrier explain {kind}`)"),
        _ => format!(": {} (`quarrier explain KIND`)", told.join(", ")),
    }
}

fn simulation(summary: &simulator::Summary) -> String {
    let mut text = format!(
        "Simulator: {} calls, {} throttled by its quota; worst 60 s: {} requests, {} quota tokens",
        summary.calls,
        summary.throttled,
        summary.worst_window_requests,
        short(summary.worst_window_tokens_at_admission),
    );
    let averages =
        [(summary.average_requests_percent, "request"), (summary.average_tokens_percent, "token")];
    for (percent, what) in averages {
        if let Some(percent) = percent {
            text = format!("{text}; {percent:.1} % of the {what} quota used");
        }
    }
    text + "."
}

fn plural(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}
