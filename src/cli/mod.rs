//! The commands, one file each, and what they share: the command line, the configuration, the
//! exit code.
//! Must not know: how the rooms do their work.

pub mod bench;
pub mod config;
pub mod deliveries;
pub mod doctor;
pub mod enqueue;
pub mod explain;
pub mod generate;
pub mod health;
pub mod jobs;
pub mod jsonl;
mod known;
pub mod limits;
mod look;
pub mod migrate;
pub mod models;
mod notify;
pub mod pause;
pub mod queues;
pub mod results;
pub mod retention;
pub mod rooms;
pub mod run;
pub mod serve;
pub mod simulate;
pub mod stop;
mod table;
pub mod tenants;
#[cfg(test)]
mod testing;
mod user;

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{LoadArgs, Loaded, Override};
use crate::telemetry::{self, LogFormat};

/// Gets language-model work done on AWS Bedrock: every job once, inside the quota, with JSON that
/// fits its schema, and with the bill known.
///
/// Exit codes: 0 everything succeeded, 1 something did not, 2 the command line or the configuration
/// is wrong.
#[derive(Debug, Parser)]
#[command(name = "quarrier", version)]
pub struct Cli {
    /// The configuration file; else `QUARRIER_CONFIG`, else ./quarrier.toml if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `quarrier` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work through a file of jobs and write a result line for each.
    Run(Box<run::RunArgs>),
    /// Answer one prompt now.
    Generate(Box<generate::GenerateArgs>),
    /// Work on the store's jobs until stopped.
    Serve(serve::ServeArgs),
    /// Put the jobs of a file into the store, or onto a queue, for workers to do.
    Enqueue(enqueue::EnqueueArgs),
    /// Write the results of all jobs that have ended.
    Results(results::ResultsArgs),
    /// Look at jobs and act on them.
    Jobs(jobs::JobsArgs),
    /// Results that go to a queue: where each stands, and those that were given up sent again.
    Deliveries(deliveries::DeliveriesArgs),
    /// Delete what has been kept long enough, or say what would go.
    Retention(retention::RetentionArgs),
    /// Erase a tenant's content, and show the receipts.
    Tenants(tenants::TenantsArgs),
    /// Ask a worker of this machine how it is, for a container's health check.
    Health(health::HealthArgs),
    /// How full the rates are, how long what waits will take; and limits at run time.
    Limits(limits::LimitsArgs),
    /// Hold back a lane, a queue or everything, on all workers; calls in flight run on.
    Pause(pause::PauseArgs),
    /// Let a lane, a queue or everything go on, also a lane that a failure has paused.
    Resume(pause::ResumeArgs),
    /// Where each named queue stands, and how it shares its lanes.
    Queues(queues::QueuesArgs),
    /// Which models there are, what they cost, and which are retired.
    Models(models::ModelsArgs),
    /// The configuration: a file to start from, and every setting with its origin.
    Config(config::ConfigArgs),
    /// Look at everything that work depends on, and say what to change.
    Doctor(Box<doctor::DoctorArgs>),
    /// What an error kind means, what is done about it, and the way out; or why a job failed.
    Explain(explain::ExplainArgs),
    /// Measure what the queue itself costs on this machine.
    Bench(bench::BenchArgs),
    /// Serve Bedrock's interface with made-up answers, a quota and faults.
    Simulate(simulate::SimulateArgs),
    /// Make a store or bring its tables up to date. A file's are brought up to date by every command.
    Migrate(migrate::MigrateArgs),
}

/// What commands log that show by themselves how they go and what they wait for.
const QUIET_LEVEL: &str = "warn,quarrier::waiting=error,quarrier::lanes=error";

/// What went wrong after the work had begun: no fault of the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Midway(anyhow::Error);

/// Marks an error as one that came after the work had begun.
fn midway(error: anyhow::Error) -> anyhow::Error {
    Midway(error).into()
}

/// What every command is given.
struct Given {
    load: LoadArgs,
    rust_log: Option<String>,
}

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli)),
        Err(error) => Err(anyhow!("failed to start: {error}")),
    };
    outcome.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("quarrier: {error:#}");
        if error.is::<Midway>() { ExitCode::FAILURE } else { ExitCode::from(2) }
    })
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let env = environment();
    let rust_log = env.get("RUST_LOG").cloned();
    let load = LoadArgs { file: cli.config, env, ..LoadArgs::default() };
    let given = Given { load, rust_log };
    let clock = Clock::real();
    match cli.command {
        Command::Run(args) => {
            let loaded = given.load(args.overrides())?;
            // A line of the log would break into the bar, which shows what it would say.
            let bar = std::io::stderr().is_terminal();
            given.start_log(&loaded, if bar { "error" } else { QUIET_LEVEL })?;
            Box::pin(run::run(&args, &loaded, clock)).await
        }
        Command::Generate(args) => {
            let loaded = given.load(args.overrides())?;
            given.start_log(&loaded, QUIET_LEVEL)?;
            Box::pin(generate::run(&args, &loaded, clock)).await
        }
        Command::Serve(args) => {
            let loaded = given.load(args.overrides())?;
            given.start_log(&loaded, "info")?;
            let notify = notify::Notify::of(&given.load.env);
            Box::pin(serve::run(&args, &loaded, clock, notify)).await
        }
        Command::Simulate(args) => {
            let loaded = given.load(Vec::new())?;
            given.start_log(&loaded, "info")?;
            let stop = stop::Stop::on_signals()?;
            simulate::run(args, stop.drain).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(args) => {
            let loaded = given.load(args.overrides())?;
            // On a busy machine a line for each call given back would be measured too.
            given.start_log(&loaded, "error")?;
            Box::pin(bench::run(&args, &loaded, &given.load)).await
        }
        Command::Doctor(args) => {
            // What the rooms and the SDK would log is what it finds out and says.
            telemetry::init(LogFormat::Auto, "off", given.rust_log.as_deref())?;
            Box::pin(doctor::run(&args, &given.load, &clock, &mut std::io::stdout())).await
        }
        command => Box::pin(look::run(command, &given, clock, &mut std::io::stdout())).await,
    }
}

impl Given {
    fn load(&self, flags: Vec<Override>) -> anyhow::Result<Loaded> {
        let load = LoadArgs { flags, ..self.load.clone() };
        crate::config::load(&load).map_err(|error| anyhow!("failed to {error}"))
    }

    /// Starts logging, at this level where nobody says otherwise.
    fn start_log(&self, loaded: &Loaded, level: &str) -> anyhow::Result<()> {
        let said = loaded.origins.iter().find(|setting| setting.key == "log.level");
        let is_said = said.is_some_and(|setting| setting.origin != "default");
        let log = &loaded.settings.log;
        let level = if is_said { log.level.as_str() } else { level };
        telemetry::init(log.format, level, self.rust_log.as_deref())
    }
}

/// The environment. What is not UTF-8 cannot be a setting of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Writes to standard output. Nobody listening any more is no error: the work is done.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to standard output")
        }
        _ => Ok(()),
    }
}

/// `quarrier models | head` closes the pipe early, and nothing is wrong.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let json =
            cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(ErrorKind::BrokenPipe)
    })
}
