//! How a run is shown: a bar on a terminal, plain lines elsewhere; and how figures are written.
//! Must not know: how a run comes by its figures.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::job::Problem;
use crate::store::KeyLevel;
use crate::worker::{Status, WaitingFor};

/// Between two plain lines, in milliseconds, unless the reason to wait changes.
const PLAIN_LINE_MS: u64 = 5_000;

/// Waits shorter than this are no news, in milliseconds.
const WAIT_TOLD_MS: u64 = 1_000;

/// How many refused lines are told one by one.
const REFUSED_SHOWN_MAX: u64 = 20;

/// Over how much of the last time the speed is measured, in milliseconds.
const SPEED_MS: u64 = 60_000;

/// A run at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Jobs of the file that are in the store.
    pub(super) jobs: u64,
    /// Lines are still being read.
    pub(super) feeding: bool,
    /// Jobs that have ended.
    pub(super) ended: u64,
    /// Those of them that did not succeed.
    pub(super) failed: u64,
    /// What the worker has done.
    pub(super) status: Status,
    /// How much of the quota is used: `57/60 requests a minute`.
    pub(super) rate: Option<String>,
    /// How long it takes at the present speed.
    pub(super) left_ms: Option<u64>,
    /// The work is simulated.
    pub(super) simulated: bool,
    /// The present time on the clock's `mono_ms`.
    pub(super) mono_ms: u64,
}

impl View {
    /// What is waited for, if it takes long.
    fn long_wait(&self) -> Option<&WaitingFor> {
        self.status.waiting.as_ref().filter(|waiting| match waiting {
            WaitingFor::Limit { until_mono_ms, .. } => {
                until_mono_ms.saturating_sub(self.mono_ms) >= WAIT_TOLD_MS
            }
            WaitingFor::Pause { .. }
            | WaitingFor::Person(_)
            | WaitingFor::Money
            | WaitingFor::Store => true,
        })
    }

    /// Everything but the count of ended jobs.
    fn figures(&self) -> String {
        let status = &self.status;
        let tokens = status.usage.input.saturating_add(status.usage.output);
        let mut parts = vec![
            format!("{} failed", self.failed),
            format!("{} re-asked", status.reasked),
            format!("{} tokens", short(tokens)),
            cost(status.cost_micros, self.simulated),
        ];
        parts.extend(self.rate.clone());
        if self.feeding {
            parts.push("reading".to_owned());
        }
        match self.long_wait() {
            Some(waiting) => parts.push(waiting_text(waiting, self.mono_ms)),
            None => parts.push(format!("{} in flight", status.in_flight)),
        }
        parts.extend(self.left_ms.map(|ms| format!("{} left", duration(ms))));
        parts.join(", ")
    }
}

/// Where progress goes: standard error, so that standard output stays for results.
#[derive(Debug)]
pub(super) enum Show {
    /// A bar that is drawn again and again.
    Bar(ProgressBar),
    /// Lines, some seconds apart.
    Plain {
        /// When the last one was written, on the clock's `mono_ms`.
        written_ms: Option<u64>,
        /// What it said of the reason to wait.
        waiting: Option<String>,
    },
}

impl Show {
    /// A bar where standard error is a terminal.
    pub(super) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Plain { written_ms: None, waiting: None };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} done, {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self::Bar(bar)
    }

    /// Shows the run as it stands.
    pub(super) fn update(&mut self, view: &View) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(view.jobs);
                bar.set_position(view.ended);
                bar.set_message(view.figures());
            }
            Self::Plain { written_ms, waiting } => {
                // Short waits come and go with every claim; only a long one is news.
                let reason = view.long_wait().map(WaitingFor::reason).or_else(|| waiting.clone());
                let is_due =
                    written_ms.is_none_or(|at| view.mono_ms.saturating_sub(at) >= PLAIN_LINE_MS);
                if is_due || *waiting != reason {
                    eprintln!("{}/{} done, {}", view.ended, view.jobs, view.figures());
                    *written_ms = Some(view.mono_ms);
                    *waiting = reason;
                }
            }
        }
    }

    /// Says something that stays.
    pub(super) fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Self::Plain { .. } => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Lines that were refused: the first are told, the rest counted.
#[derive(Debug)]
pub(super) struct Refusals {
    file: String,
    lines: u64,
}

impl Refusals {
    /// Nothing refused yet of this file.
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.display().to_string(), lines: 0 }
    }

    /// How many lines were refused.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Tells a line, unless many were told before.
    pub(super) fn add(&mut self, number: u64, problems: &[Problem], say: impl Fn(&str)) {
        self.lines = self.lines.saturating_add(1);
        if self.lines <= REFUSED_SHOWN_MAX {
            for problem in problems {
                say(&format!("{}:{number}: {problem}", self.file));
            }
        }
    }

    /// Tells how many were not told.
    pub(super) fn end(&self, say: impl Fn(&str)) {
        let more = self.lines.saturating_sub(REFUSED_SHOWN_MAX);
        if more > 0 {
            say(&format!("{}: {more} more lines are refused", self.file));
        }
    }
}

/// `waiting: requests, total, 12 s`.
pub(in crate::cli) fn waiting_text(waiting: &WaitingFor, mono_ms: u64) -> String {
    let reason = waiting.reason();
    match waiting {
        WaitingFor::Pause { until_mono_ms, .. } if *until_mono_ms <= mono_ms => {
            format!("waiting: {reason}, one call tries it")
        }
        WaitingFor::Limit { until_mono_ms, .. } | WaitingFor::Pause { until_mono_ms, .. } => {
            format!("waiting: {reason}, {}", duration(until_mono_ms.saturating_sub(mono_ms)))
        }
        WaitingFor::Person(_) | WaitingFor::Money | WaitingFor::Store => {
            format!("waiting: {reason}")
        }
    }
}

/// The key `total` as it is used in this minute, in its tighter dimension.
pub(super) fn rate(levels: &[KeyLevel]) -> Option<String> {
    let level = &levels.iter().find(|level| level.key == "total")?.level;
    [(level.requests, "requests"), (level.tokens, "tokens")]
        .into_iter()
        .filter_map(|(of, what)| {
            let limit = of.effective.or(of.limit)?;
            let used = of.used.saturating_add(of.in_flight);
            let percent = used.saturating_mul(100).checked_div(limit)?;
            Some((percent, format!("{}/{} {what} a minute", short(used), short(limit))))
        })
        .max_by_key(|(percent, _)| *percent)
        .map(|(_, text)| text)
}

/// How fast jobs end.
#[derive(Debug, Default)]
pub(super) struct Speed {
    seen: VecDeque<(u64, u64)>,
}

impl Speed {
    /// Notes how many have ended by now; at most once a second is kept.
    pub(super) fn note(&mut self, mono_ms: u64, ended: u64) {
        if self.seen.back().is_some_and(|(at, _)| mono_ms.saturating_sub(*at) < 1_000) {
            return;
        }
        self.seen.push_back((mono_ms, ended));
        while self.seen.front().is_some_and(|(at, _)| mono_ms.saturating_sub(*at) > SPEED_MS) {
            self.seen.pop_front();
        }
    }

    /// How long so many more take at this speed; unknown while nothing has ended.
    pub(super) fn left_ms(&self, remaining: u64) -> Option<u64> {
        let ((from, before), (to, after)) = (self.seen.front()?, self.seen.back()?);
        let ms = u128::from(to.saturating_sub(*from)).saturating_mul(u128::from(remaining));
        let left = ms.checked_div(u128::from(after.saturating_sub(*before)))?;
        (remaining > 0).then_some(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

/// `950`, `12.3k`, `4.56M`.
pub(in crate::cli) fn short(number: u64) -> String {
    let scaled = |unit: u64, name: &str| {
        let hundredths = number.saturating_mul(100) / unit;
        let (whole, part) = (hundredths / 100, hundredths % 100);
        if whole < 10 {
            format!("{whole}.{part:02}{name}")
        } else {
            format!("{whole}.{}{name}", part / 10)
        }
    };
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => scaled(1_000, "k"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "M"),
        _ => scaled(1_000_000_000, "G"),
    }
}

/// Micro-dollars as `$1.23`, with more digits where it is little; rounded up.
pub(in crate::cli) fn cost(micros: u64, simulated: bool) -> String {
    let label = if simulated { " simulated" } else { "" };
    let (unit, digits) = if micros < 1_000_000 { (100, 4) } else { (10_000, 2) };
    let parts = micros.div_ceil(unit);
    let whole = 1_000_000 / unit;
    format!("${}.{:0digits$}{label}", parts / whole, parts % whole)
}

/// `12 s`, `3 min 5 s`, `2 h 10 min`; a started second counts.
pub(in crate::cli) fn duration(ms: u64) -> String {
    let seconds = Duration::from_millis(ms.saturating_add(999)).as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Dimension;
    use crate::error::ErrorKind;

    #[test]
    fn figures_are_short() {
        let shorts = [950, 12_345, 123_456, 4_567_000, 12_000_000_000].map(short);
        assert_eq!(shorts, ["950", "12.3k", "123.4k", "4.56M", "12.0G"]);
        let costs = [0, 1, 12_345, 999_999, 1_230_001].map(|micros| cost(micros, false));
        assert_eq!(costs, ["$0.0000", "$0.0001", "$0.0124", "$1.0000", "$1.24"]);
        assert_eq!(cost(10_000, true), "$0.0100 simulated");
        let durations = [0, 1, 12_000, 185_000, 7_800_000].map(duration);
        assert_eq!(durations, ["0 s", "1 s", "12 s", "3 min 5 s", "2 h 10 min"]);
    }

    #[test]
    fn waiting_names_the_dimension_the_key_and_the_time() {
        let waiting = WaitingFor::Limit {
            dimension: Dimension::Requests,
            key: "total".to_owned(),
            until_mono_ms: 20_000,
        };
        assert_eq!(waiting_text(&waiting, 8_000), "waiting: requests, total, 12 s");
        let waiting = WaitingFor::Pause {
            lane: "bedrock/eu-west-1/nova".to_owned(),
            until_mono_ms: 20_000,
            kind: Some(ErrorKind::Credentials),
        };
        let paused = "waiting: bedrock/eu-west-1/nova is paused: credentials";
        assert_eq!(waiting_text(&waiting, 8_000), format!("{paused}, 12 s"));
        assert_eq!(waiting_text(&waiting, 20_000), format!("{paused}, one call tries it"));
    }

    #[test]
    fn the_time_left_follows_the_speed_of_the_last_minute() {
        let mut speed = Speed::default();
        assert_eq!(speed.left_ms(10), None);
        speed.note(0, 0);
        assert_eq!(speed.left_ms(10), None);
        speed.note(10_000, 5);
        assert_eq!(speed.left_ms(10), Some(20_000));
        speed.note(100_000, 5);
        assert_eq!(speed.left_ms(10), None);
    }
}
