//! `quarrier simulate`: the Bedrock simulator as a server of its own. Must not know: stores, jobs,
//! what an answer is made from.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tokio_util::sync::CancellationToken;

use crate::simulator::{
    FAULTS, Faults, Fixtures, QuotaMode, QuotaScope, SCENARIOS, Scenario, Simulator,
    SimulatorOptions, Summary,
};

/// Serve Bedrock's Converse, InvokeModel, their streams and CountTokens with made-up answers, a
/// quota and faults.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8788")]
    pub listen: SocketAddr,
    /// Requests admitted in 60 s (unlimited if absent).
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<u64>,
    /// Quota tokens admitted in 60 s (unlimited if absent).
    #[arg(long, value_name = "N")]
    pub tokens_per_minute: Option<u64>,
    /// How the quota is enforced: over a rolling window, or as a bucket that refills continuously.
    #[arg(long, value_name = "MODE", value_parser = ["window", "bucket"])]
    pub quota_mode: Option<String>,
    /// Who shares the quota: all models in total, or each model for itself as in a real account.
    #[arg(long, value_name = "SCOPE", value_parser = ["total", "model"])]
    pub quota_scope: Option<String>,
    /// Refuse current Claude models by their base ids, as the provider does: they are called through
    /// inference profiles (`us.`, `global.`).
    #[arg(long)]
    pub require_profiles: bool,
    /// The base ids of the models that there are; others are answered 404 (every model if absent).
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Milliseconds from a request to the first byte of its answer.
    #[arg(long, value_name = "N")]
    pub latency_ms: Option<u64>,
    /// Microseconds for each output token after that.
    #[arg(long, value_name = "N")]
    pub token_us: Option<u64>,
    /// How far latencies may lie above or below these figures, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub latency_spread: Option<u64>,
    /// Which faults strike what share of calls; `--list` names them all.
    #[arg(long, value_name = "NAME=RATE,...")]
    pub faults: Option<Faults>,
    /// What happens over time and call by call: a scenario that ships, or a TOML file. The flags
    /// above stand in place of what it says of the same.
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// How many times as fast phases and latencies pass; the quota's 60 seconds stay.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub scenario_speed: u64,
    /// Which calls are answered exactly how: one fixture a line.
    #[arg(long, value_name = "FILE.jsonl")]
    pub fixtures: Option<PathBuf>,
    /// Only print the faults and the scenarios that ship.
    #[arg(long)]
    pub list: bool,
    /// Same seed and same request: same answer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Calls kept for `GET /calls`.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub call_log_max: usize,
}

impl SimulateArgs {
    /// The simulator's options, from the flags and the files that they name.
    pub fn options(&self) -> anyhow::Result<SimulatorOptions> {
        let mut options = SimulatorOptions {
            seed: self.seed,
            call_log_max: self.call_log_max,
            scenario_speed: self.scenario_speed,
            require_profiles: self.require_profiles,
            models: self.models.clone(),
            ..SimulatorOptions::default()
        };
        if let Some(named) = &self.scenario {
            options.take_scenario(scenario(named)?);
        }
        if let Some(file) = &self.fixtures {
            options.fixtures = fixtures(file)?;
        }
        let limit = |flag: Option<u64>, other: Option<u64>| flag.or(other);
        options.requests_per_minute = limit(self.requests_per_minute, options.requests_per_minute);
        options.tokens_per_minute = limit(self.tokens_per_minute, options.tokens_per_minute);
        match self.quota_mode.as_deref() {
            Some("bucket") => options.quota_mode = QuotaMode::Bucket,
            Some(_) => options.quota_mode = QuotaMode::Window,
            None => {}
        }
        match self.quota_scope.as_deref() {
            Some("model") => options.quota_scope = QuotaScope::Model,
            Some(_) => options.quota_scope = QuotaScope::Total,
            None => {}
        }
        let latency = &mut options.latency;
        latency.first_token_ms = self.latency_ms.unwrap_or(latency.first_token_ms);
        latency.per_token_us = self.token_us.unwrap_or(latency.per_token_us);
        latency.spread_percent = self.latency_spread.unwrap_or(latency.spread_percent);
        if let Some(faults) = &self.faults {
            options.faults = faults.clone();
        }
        Ok(options)
    }
}

/// The scenario of this name that ships, or the file's.
pub fn scenario(named: &str) -> anyhow::Result<Scenario> {
    if let Some(shipped) = Scenario::shipped(named) {
        return Ok(shipped);
    }
    let text = std::fs::read_to_string(named).with_context(|| {
        let known = SCENARIOS.map(|(name, _)| name).join(", ");
        format!(
            "failed to read the scenario {named}: it is no file, and those that ship are {known}"
        )
    })?;
    text.parse().map_err(|error| anyhow!("failed to read the scenario {named}: {error}"))
}

fn fixtures(file: &Path) -> anyhow::Result<Fixtures> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read the fixtures {shown}"))?;
    text.parse().map_err(|error| anyhow!("failed to read the fixtures {shown}: {error}"))
}

/// Serves until `stop` is cancelled, then prints the figures.
pub async fn run(args: SimulateArgs, stop: CancellationToken) -> anyhow::Result<()> {
    run_to(&args, stop, &mut std::io::stdout()).await
}

/// The same, printing elsewhere.
async fn run_to(
    args: &SimulateArgs,
    stop: CancellationToken,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if args.list {
        return Ok(list(out)?);
    }
    let options = args.options()?;
    let told = options.clone();
    let simulator = Simulator::start(args.listen, options)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    writeln!(out, "{}", start_line(&told, &simulator.endpoint_url()))?;
    out.flush()?;
    stop.cancelled().await;
    let summary = simulator.summary();
    simulator.stop().await;
    write!(out, "{}", closing(&summary))?;
    Ok(())
}

/// Every fault by its group, and every scenario that ships.
fn list(out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "Faults, for --faults NAME=RATE,... and scenario files:")?;
    let mut group = "";
    for fault in FAULTS {
        if fault.group() != group {
            group = fault.group();
            writeln!(out, "\n{group}")?;
        }
        writeln!(out, "  {:<28} {}", fault.as_str(), fault.about())?;
    }
    writeln!(out, "\nScenarios, for --scenario NAME:\n")?;
    for scenario in SCENARIOS.iter().filter_map(|(name, _)| Scenario::shipped(name)) {
        writeln!(out, "  {:<28} {}", scenario.name, scenario.about)?;
    }
    Ok(())
}

fn start_line(options: &SimulatorOptions, url: &str) -> String {
    let limit = |limit: Option<u64>, what: &str| {
        limit.map_or_else(
            || format!("unlimited {what}"),
            |limit| format!("{limit} {what} per minute"),
        )
    };
    let mode = match options.quota_mode {
        QuotaMode::Window => "window",
        QuotaMode::Bucket => "bucket",
    };
    let scope = match options.quota_scope {
        QuotaScope::Total => "total",
        QuotaScope::Model => "model",
    };
    let named = |scenario: &Scenario| format!(", scenario: {}", scenario.name);
    format!(
        "Bedrock simulation on {url}: {}, {} ({mode}, {scope}), faults: {}{}, fixtures: {}, \
         seed {}. Answers are made up. Clients: AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}; reports: \
         /calls, /summary.",
        limit(options.requests_per_minute, "requests"),
        limit(options.tokens_per_minute, "tokens"),
        options.faults,
        options.scenario.as_ref().map(named).unwrap_or_default(),
        options.fixtures.len(),
        options.seed,
    )
}

fn closing(summary: &Summary) -> String {
    let mut lines = vec![format!(
        "Simulation ended: {} calls, {} admitted, {} throttled by the quota, {} whose caller left.",
        summary.calls, summary.admitted, summary.throttled, summary.client_gone
    )];
    let outcomes: Vec<String> = summary
        .outcomes
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(outcome, count)| format!("{outcome} {count}"))
        .collect();
    if !outcomes.is_empty() {
        lines.push(format!("Outcomes: {}.", outcomes.join(", ")));
    }
    lines.push(format!(
        "Worst 60 s: {} requests, {} quota tokens. Tokens: {} in, {} out, {} billed (simulated).",
        summary.worst_window_requests,
        summary.worst_window_tokens,
        summary.input_tokens,
        summary.output_tokens,
        summary.billed
    ));
    for (average, what) in
        [(summary.average_requests_percent, "request"), (summary.average_tokens_percent, "token")]
    {
        if let Some(percent) = average {
            lines.push(format!(
                "Average use of the {what} quota over the whole minutes between first and last: \
                 {percent:.1} %."
            ));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(line: &str) -> Result<SimulateArgs, String> {
        let words = line.split_whitespace();
        Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_become_options() {
        let args = parse(
            "x --requests-per-minute 50 --tokens-per-minute 9000 --quota-mode bucket \
             --quota-scope model --latency-ms 200 --token-us 900 --latency-spread 10 \
             --faults throttle=0.1,hang=0.01 --seed 4 --require-profiles --models a.b,c.d",
        )
        .unwrap();
        let options = args.options().unwrap();
        assert_eq!(options.requests_per_minute, Some(50));
        assert_eq!(options.tokens_per_minute, Some(9_000));
        assert_eq!(options.quota_mode, QuotaMode::Bucket);
        assert_eq!(options.quota_scope, QuotaScope::Model);
        assert_eq!(options.latency.first_token_ms, 200);
        assert_eq!(options.latency.per_token_us, 900);
        assert_eq!(options.latency.spread_percent, 10);
        assert_eq!(options.faults.to_string(), "throttle=0.1,hang=0.01");
        assert_eq!(options.seed, 4);
        assert!(options.require_profiles);
        assert_eq!(options.models, ["a.b", "c.d"]);
        assert_eq!(parse("x").unwrap().options().unwrap(), SimulatorOptions::default());
    }

    #[test]
    fn an_unknown_fault_is_refused_with_the_names_of_all() {
        let error = parse("x --faults explode=1").unwrap_err();
        assert!(error.contains("no fault is named `explode`"), "{error}");
        assert!(error.contains("cut_frame"), "{error}");
    }

    #[test]
    fn flags_stand_in_place_of_what_a_scenario_says_of_the_same() {
        let args = parse(
            "x --scenario monday-morning --latency-ms 5 --faults hang=0.5 --scenario-speed 60",
        )
        .unwrap();
        let options = args.options().unwrap();
        assert_eq!((options.requests_per_minute, options.scenario_speed), (Some(200), 60));
        assert_eq!((options.latency.first_token_ms, options.latency.spread_percent), (5, 60));
        assert_eq!(options.faults.to_string(), "hang=0.5");
        let error = parse("x --scenario sunny").unwrap().options().unwrap_err().to_string();
        assert!(error.contains("those that ship are calm, monday-morning, bad-day"), "{error}");
    }

    #[test]
    fn files_with_mistakes_are_refused_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "\nquata = 1").unwrap();
        for (flag, expected) in [("--scenario", "line 2: unknown field"), ("--fixtures", "line 2")]
        {
            let args = parse(&format!("x {flag} {}", file.display())).unwrap();
            let error = args.options().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_list_names_every_fault_and_every_scenario() {
        let mut listed = Vec::new();
        list(&mut listed).unwrap();
        let list = String::from_utf8(listed).unwrap();
        assert!(FAULTS.iter().all(|fault| list.contains(fault.as_str())));
        assert!(SCENARIOS.iter().all(|(name, _)| list.contains(name)));
        assert_eq!(list.matches("\ntransport\n").count(), 1);
    }

    #[tokio::test]
    async fn it_says_that_it_simulates_and_ends_with_a_summary() {
        let args = parse("x --listen 127.0.0.1:0 --requests-per-minute 50").unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let mut out = Vec::new();
        run_to(&args, stop, &mut out).await.unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("Bedrock simulation on http://127.0.0.1:"), "{out}");
        assert!(out.contains("50 requests per minute, unlimited tokens (window, total)"), "{out}");
        assert!(out.contains("Simulation ended: 0 calls"), "{out}");
    }
}
