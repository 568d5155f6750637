//! The form of what is reported: a line for each measurement, the ratios between them, and the
//! table that a person sees.
//! Must not know: how anything is measured, where it is written.

use std::time::Duration;

use serde::Serialize;

use super::meters::Spent;

/// One measurement. What does not apply, or cannot be read here, is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// What was measured: `enqueue_one`, `enqueue_bulk`, `drain`, `latency`, `slow_call`, `held`,
    /// `deep`, `floor_enqueue`, `floor_drain`.
    pub measure: &'static str,
    /// Which repetition, from 1.
    pub run: u32,
    /// `postgres` or `sqlite`.
    pub engine: &'static str,
    /// By which door jobs came in: `function` (SQL), `admission` (this program's own).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub door: Option<&'static str>,
    /// Connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Worker processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether a limit was configured, and every call counted against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<bool>,
    /// Whether the workers reached the server through a pooler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooled: Option<bool>,
    /// Calls in flight at once in each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Jobs that stood ready in the lane before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    /// Jobs.
    pub jobs: u64,
    /// From the beginning to the last job, in seconds.
    pub elapsed_s: f64,
    /// Jobs in a second; none where the pace was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_per_s: Option<f64>,
    /// How long it would take if the queue cost nothing, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ideal_s: Option<f64>,
    /// From acknowledgement to the call's start, or of one claim, in milliseconds: half were faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 95 of 100 were faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// 99 of 100 were faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// As `p50_ms`, of the first tenth of the jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin_p50_ms: Option<f64>,
    /// As `p50_ms`, of the last tenth of the jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_p50_ms: Option<f64>,
    /// Of one core, used by the worker while it has nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_cpu_percent: Option<f64>,
    /// CPU of our processes, in seconds per 10,000 jobs.
    pub cpu_s_per_10k: f64,
    /// CPU of the database server, in seconds per 10,000 jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_s_per_10k: Option<f64>,
    /// CPU used by anybody else, in percent of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_cpu_percent: Option<f64>,
    /// Bytes that the server wrote ahead for a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes_per_job: Option<u64>,
    /// The largest memory of one of our processes, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_mb_max: Option<u64>,
}

/// One figure in terms of another, from the medians of all runs.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// `ratio`.
    pub measure: &'static str,
    /// Of what to what: `drain_to_floor`.
    pub name: &'static str,
    /// The value, 1 where both are equal.
    pub value: f64,
}

impl Line {
    /// A line of so many jobs. `children` is the CPU of worker processes beside this one.
    pub(super) fn new(measure: &'static str, jobs: u64, spent: Spent, children: Duration) -> Self {
        let ours = spent.own + children;
        let server = spent.server.unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let whole = spent.elapsed.as_secs_f64() * number(u64::try_from(cores).unwrap_or(1));
        let others = spent.machine.map(|used| used.saturating_sub(ours + server).as_secs_f64());
        let per_10k = |cpu: Duration| decimals(cpu.as_secs_f64() / number(jobs.max(1)) * 10_000.0);
        let elapsed_s = spent.elapsed.as_secs_f64();
        Self {
            measure,
            jobs,
            elapsed_s: decimals(elapsed_s),
            jobs_per_s: (elapsed_s > 0.0).then(|| (number(jobs) / elapsed_s).round()),
            cpu_s_per_10k: per_10k(ours),
            server_cpu_s_per_10k: spent.server.map(per_10k),
            other_cpu_percent: others
                .filter(|_| whole > 0.0)
                .map(|others| (others / whole * 100.0).min(100.0).round()),
            wal_bytes_per_job: spent.wal_bytes.map(|bytes| bytes / jobs.max(1)),
            ..Self::default()
        }
    }

    /// What sets it apart from others of its measure, in words.
    fn how(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.door.map(|door| format!("by the {door}")));
        let many = |count: u32, one: &str, more: &str| {
            if count == 1 { format!("1 {one}") } else { format!("{count} {more}") }
        };
        words.extend(self.connections.map(|it| many(it, "connection", "connections")));
        words.extend(self.processes.map(|it| many(it, "process", "processes")));
        words.extend(self.concurrency.map(|it| format!("{it} calls at once")));
        words.extend(
            self.budget.map(|it| if it { "with a budget" } else { "no budget" }.to_owned()),
        );
        words.extend(self.ready.map(|ready| format!("{ready} jobs ready")));
        words.extend(self.pooled.filter(|it| *it).map(|_| "through a pooler".to_owned()));
        words.join(", ")
    }

    /// Its figure that matters most, with its unit.
    fn figure(&self) -> String {
        if let (Some(begin), Some(end), Some(ideal)) =
            (self.begin_p50_ms, self.end_p50_ms, self.ideal_s)
        {
            let elapsed = self.elapsed_s;
            return format!("{elapsed} s of {ideal} s, p50 {begin} ms, at the end {end} ms");
        }
        match (self.p50_ms, self.p99_ms, self.ideal_s, self.jobs_per_s) {
            (Some(p50), Some(p99), _, _) => format!("p50 {p50} ms, p99 {p99} ms"),
            (_, _, Some(ideal), _) => format!("{} s of {ideal} s", self.elapsed_s),
            (_, _, _, Some(rate)) => format!("{rate}/s"),
            _ => format!("{} s", self.elapsed_s),
        }
    }
}

/// What the columns of [`rows`] are called.
pub const HEADER: [&str; 9] = [
    "measure",
    "run",
    "how",
    "jobs",
    "figure",
    "CPU s/10k",
    "server's",
    "WAL B/job",
    "others' CPU",
];

/// The columns that hold figures alone.
pub const RIGHT: [usize; 7] = [1, 3, 4, 5, 6, 7, 8];

/// The lines as rows of a table.
#[must_use]
pub fn rows(lines: &[Line]) -> Vec<Vec<String>> {
    let shown = |figure: Option<f64>, unit: &str| {
        figure.map_or_else(String::new, |figure| format!("{figure}{unit}"))
    };
    lines
        .iter()
        .map(|line| {
            vec![
                line.measure.to_owned(),
                line.run.to_string(),
                line.how(),
                line.jobs.to_string(),
                line.figure(),
                line.cpu_s_per_10k.to_string(),
                shown(line.server_cpu_s_per_10k, ""),
                line.wal_bytes_per_job.map_or_else(String::new, |bytes| bytes.to_string()),
                shown(line.other_cpu_percent, " %"),
            ]
        })
        .collect()
}

/// The ratios that these lines give; those whose parts were not measured are left out.
#[must_use]
pub fn ratios(lines: &[Line]) -> Vec<Ratio> {
    let rate = |chosen: &dyn Fn(&Line) -> bool| {
        median(lines.iter().filter(|line| chosen(line)).filter_map(|line| line.jobs_per_s))
    };
    let drain = |processes_are: &dyn Fn(u32) -> bool, budget: bool| {
        rate(&|line| {
            line.measure == "drain"
                && line.processes.is_some_and(processes_are)
                && line.budget == Some(budget)
        })
    };
    let one = drain(&|processes| processes == 1, false);
    let floor_of = |connections: u32| {
        rate(&|line| line.measure == "floor_drain" && line.connections == Some(connections))
    };
    // The floor is the better of the two: what this machine can do at best.
    let floor = floor_of(1).into_iter().chain(floor_of(2)).max_by(f64::total_cmp);
    let enqueue = rate(&|line| line.measure == "enqueue_one" && line.connections == Some(10));
    let plain = rate(&|line| line.measure == "floor_enqueue");
    let slow = lines.iter().filter(|line| line.measure == "slow_call");
    let ideal = median(slow.filter_map(|line| Some(line.ideal_s? / line.elapsed_s)));
    let held = lines.iter().filter(|line| line.measure == "held");
    let kept = median(held.filter_map(|line| Some(line.ideal_s? / line.elapsed_s)));
    let claims = || lines.iter().filter(|line| line.measure == "deep");
    let depths = || claims().filter_map(|line| line.ready);
    let claim = |depth: Option<u64>| {
        median(claims().filter(|line| line.ready == depth).filter_map(|line| line.p50_ms))
    };
    let parts = [
        ("drain_to_floor", one, floor),
        ("drain_with_budget_to_without", drain(&|processes| processes == 1, true), one),
        ("drain_by_many_to_one", drain(&|processes| processes > 1, false), one),
        ("enqueue_one_to_floor", enqueue, plain),
        ("slow_call_ideal_to_measured", ideal, Some(1.0)),
        ("held_throughput_kept", kept, Some(1.0)),
        ("claim_deep_to_shallow", claim(depths().max()), claim(depths().min())),
    ];
    parts
        .into_iter()
        .filter_map(|(name, part, whole)| {
            let (part, whole) = part.zip(whole)?;
            Some(Ratio { measure: "ratio", name, value: decimals(part / whole) })
        })
        .filter(|ratio| ratio.value.is_finite())
        .collect()
}

/// The value at this rank of sorted ones, `percent` of 100 of which are not above it.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50)
}

/// Three decimals say enough.
pub(super) fn decimals(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

/// A count to reckon with; more than fits is as good as that.
pub(super) fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn spent(ms: u64) -> Spent {
        Spent {
            elapsed: Duration::from_millis(ms),
            own: Duration::from_millis(ms / 4),
            wal_bytes: Some(1_234_567),
            ..Spent::default()
        }
    }

    fn drain(ms: u64, processes: u32, budget: bool) -> Line {
        let line = Line::new("drain", 1_000, spent(ms), Duration::from_millis(50));
        Line {
            run: 1,
            engine: "postgres",
            processes: Some(processes),
            budget: Some(budget),
            ..line
        }
    }

    #[test]
    fn what_is_held_and_what_is_deep_have_ratios_of_their_own() {
        let line = |ms| Line::new("held", 500, spent(ms), Duration::ZERO);
        let held = Line { ideal_s: Some(1.0), p50_ms: Some(2.0), ..line(1_250) };
        let deep = |ready, p50| Line {
            measure: "deep",
            ready: Some(ready),
            p50_ms: Some(p50),
            ideal_s: None,
            ..held.clone()
        };
        let said = |ratio: Ratio| format!("{} {}", ratio.name, ratio.value);
        let lines = [held.clone(), deep(10, 2.0), deep(1_000, 3.0), deep(10, 2.0)];
        let said: Vec<String> = ratios(&lines).into_iter().map(said).collect();
        assert_eq!(said, ["held_throughput_kept 0.8", "claim_deep_to_shallow 1.5"]);
    }

    fn floor(ms: u64, connections: u32) -> Line {
        let line = Line::new("floor_drain", 1_000, spent(ms), Duration::ZERO);
        Line { run: 1, engine: "postgres", connections: Some(connections), ..line }
    }

    #[test]
    fn a_line_says_what_applies_and_no_more() {
        expect![[r#"{"measure":"drain","run":1,"engine":"postgres","processes":2,"budget":true,"jobs":1000,"elapsed_s":0.1,"jobs_per_s":10000.0,"cpu_s_per_10k":0.75,"wal_bytes_per_job":1234}"#]]
            .assert_eq(&serde_json::to_string(&drain(100, 2, true)).unwrap());
        let row = &rows(&[drain(100, 2, true)])[0];
        expect!["drain | 1 | 2 processes, with a budget | 1000 | 10000/s | 0.75 |  | 1234 | "]
            .assert_eq(&row.join(" | "));
    }

    #[test]
    fn ratios_are_of_medians_and_the_floor_is_the_better_one() {
        let lines = [
            drain(100, 1, false),
            drain(125, 1, false),
            drain(900, 1, false),
            drain(100, 2, false),
            floor(200, 1),
            floor(100, 2),
        ];
        let said = |ratio: Ratio| format!("{} {}", ratio.name, ratio.value);
        let said: Vec<String> = ratios(&lines).into_iter().map(said).collect();
        assert_eq!(said, ["drain_to_floor 0.8", "drain_by_many_to_one 1.25"]);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=200_u32).map(f64::from).collect();
        let of = |percent| percentile(&sorted, percent);
        assert_eq!((of(50), of(95), of(99)), (Some(100.0), Some(190.0), Some(198.0)));
        assert_eq!((percentile(&[], 50), percentile(&[3.0], 99)), (None, Some(3.0)));
    }
}
