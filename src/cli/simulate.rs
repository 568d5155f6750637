//! `quarrier simulate`: the Bedrock simulator as a server of its own. Must not know: stores, jobs,
//! what an answer is made from.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::simulator::{
    FAULTS, Fault, Faults, Latency, QuotaMode, QuotaScope, Simulator, SimulatorOptions, Summary,
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
    #[arg(long, value_name = "MODE", default_value = "window", value_parser = ["window", "bucket"])]
    pub quota_mode: String,
    /// Who shares the quota: all models in total, or each model for itself as in a real account.
    #[arg(long, value_name = "SCOPE", default_value = "total", value_parser = ["total", "model"])]
    pub quota_scope: String,
    /// Refuse current Claude models by their base ids, as the provider does: they are called through
    /// inference profiles (`us.`, `global.`).
    #[arg(long)]
    pub require_profiles: bool,
    /// The base ids of the models that there are; others are answered 404 (every model if absent).
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Milliseconds from a request to the first byte of its answer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub latency_ms: u64,
    /// Microseconds for each output token after that.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub token_us: u64,
    /// How far latencies may lie above or below these figures, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub latency_spread: u64,
    /// Which faults strike what share of calls.
    // The help is made from the list, so that it names every fault there is.
    #[arg(
        long,
        value_name = "NAME=RATE,...",
        default_value = "",
        hide_default_value = true,
        help = format!("Which faults strike what share of calls: {}", FAULTS.map(Fault::as_str).join(", "))
    )]
    pub faults: Faults,
    /// Same seed and same request: same answer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Calls kept for `GET /calls`.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub call_log_max: usize,
}

impl SimulateArgs {
    /// The simulator's options.
    #[must_use]
    pub fn options(&self) -> SimulatorOptions {
        SimulatorOptions {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            quota_mode: match self.quota_mode.as_str() {
                "bucket" => QuotaMode::Bucket,
                _ => QuotaMode::Window,
            },
            quota_scope: match self.quota_scope.as_str() {
                "model" => QuotaScope::Model,
                _ => QuotaScope::Total,
            },
            require_profiles: self.require_profiles,
            models: self.models.clone(),
            latency: Latency {
                first_token_ms: self.latency_ms,
                per_token_us: self.token_us,
                spread_percent: self.latency_spread,
            },
            faults: self.faults.clone(),
            seed: self.seed,
            call_log_max: self.call_log_max,
            ..SimulatorOptions::default()
        }
    }
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
    let simulator = Simulator::start(args.listen, args.options())
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    writeln!(out, "{}", start_line(args, &simulator.endpoint_url()))?;
    out.flush()?;
    stop.cancelled().await;
    let summary = simulator.summary();
    simulator.stop().await;
    write!(out, "{}", closing(&summary))?;
    Ok(())
}

fn start_line(args: &SimulateArgs, url: &str) -> String {
    let limit = |limit: Option<u64>, what: &str| {
        limit.map_or_else(
            || format!("unlimited {what}"),
            |limit| format!("{limit} {what} per minute"),
        )
    };
    format!(
        "Bedrock simulation on {url}: {}, {} ({}, {}), faults: {}, seed {}. Answers are made up. \
         Clients: AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}; reports: /calls, /summary.",
        limit(args.requests_per_minute, "requests"),
        limit(args.tokens_per_minute, "tokens"),
        args.quota_mode,
        args.quota_scope,
        args.faults,
        args.seed,
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
        let options = args.options();
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
        assert_eq!(parse("x").unwrap().options(), SimulatorOptions::default());
    }

    #[test]
    fn an_unknown_fault_is_refused_with_the_names_of_all() {
        let error = parse("x --faults explode=1").unwrap_err();
        assert!(error.contains("no fault is named `explode`"), "{error}");
        assert!(error.contains("cut_frame"), "{error}");
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
