//! `quarrier doctor`: looks at everything that work depends on, and says what to change.
//! Must not know: how a single thing is looked at.

mod catalogue;
mod configuration;
mod credentials;
mod endpoint;
mod live;
mod queues;
mod quotas;
mod report;
mod store;
mod words;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use jiff::civil::Date;

use super::rooms::{QueueFlags, WorkFlags};
use super::run::bounds::dollars;
use crate::clock::Clock;
use crate::completion::Api;
use crate::config::{LoadArgs, Loaded, Override, Settings};
use report::Report;

/// Look at everything that work depends on, and say what to change: configuration, credentials,
/// region, endpoint, clock, store, message queues, catalogue, quotas. Exit codes: 0 no error was
/// found, 1 one was, 2 the command line is wrong.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Ask nobody over the network.
    #[arg(long, conflicts_with = "live")]
    pub offline: bool,
    /// The longest wait for one answer of the network, in seconds.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout_s: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Also send one text and one schema call to every model in use. Costs money.
    #[arg(long, requires = "max_cost_usd")]
    pub live: bool,
    /// What these calls may cost at most, in dollars; nothing is sent if they could cost more.
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub max_cost_usd: Option<u64>,
    /// Which models to call, in place of those in use: aliases, ids or ARNs.
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "live")]
    pub models: Vec<String>,
    /// Over which interface to call: converse, invoke, or both; else what the model or the
    /// configuration says.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = api, requires = "live")]
    pub api: Vec<Api>,
    /// Flags of every command that makes calls.
    #[command(flatten)]
    pub work: WorkFlags,
    /// Flags of `serve` that name its queues.
    #[command(flatten)]
    pub queues: QueueFlags,
}

impl DoctorArgs {
    /// The settings that its flags set, weakest first: what `serve` would make of the same flags.
    fn overrides(&self) -> Vec<Override> {
        let mut given = self.work.overrides();
        given.extend(self.queues.overrides());
        given
    }
}

fn api(name: &str) -> Result<Api, String> {
    match name {
        "converse" => Ok(Api::Converse),
        "invoke" => Ok(Api::Invoke),
        _ => Err(format!("{name:?} is no interface; write converse or invoke")),
    }
}

/// What is looked at, and how long for.
struct Subject<'a> {
    loaded: &'a Loaded,
    settings: &'a Settings,
    env: &'a BTreeMap<String, String>,
    clock: &'a Clock,
    simulate: bool,
    offline: bool,
    patience: Duration,
}

impl Subject<'_> {
    /// A variable of the environment that is set to something.
    fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where a setting comes from.
    fn origin(&self, key: &str) -> &str {
        let found = self.loaded.origins.iter().find(|setting| setting.key == key);
        found.map_or("default", |setting| setting.origin.as_str())
    }

    fn today(&self) -> Date {
        jiff::Timestamp::from_millisecond(self.clock.now().wall_ms)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date()
    }
}

/// Runs `quarrier doctor`.
pub(super) async fn run(
    args: &DoctorArgs,
    load: &LoadArgs,
    clock: &Clock,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let load = LoadArgs { flags: args.overrides(), ..load.clone() };
    let mut report = Report::default();
    if let Some(loaded) = configuration::load(&load, &mut report) {
        let subject = Subject {
            loaded: &loaded,
            settings: &loaded.settings,
            env: &load.env,
            clock,
            simulate: args.work.simulate,
            offline: args.offline,
            patience: Duration::from_secs(args.timeout_s),
        };
        Box::pin(examine(args, &subject, &mut report)).await;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report.json())?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.text())?;
        if let Some(calls) = &report.calls {
            write!(out, "{}", live::table(calls))?;
        }
        write!(out, "\n{}", report.summary())?;
    }
    out.flush().context("failed to write the findings")?;
    Ok(if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything that needs a configuration, in the order in which it builds up.
async fn examine(args: &DoctorArgs, subject: &Subject<'_>, report: &mut Report) {
    let sdk = credentials::sdk(subject).await;
    let found = credentials::check(subject, &sdk, report).await;
    if found == credentials::Found::Keys {
        credentials::identity(subject, &sdk, report).await;
    }
    endpoint::region(subject, report).await;
    endpoint::check(subject, &sdk, report).await;
    let waiting = store::check(subject, report).await;
    queues::check(subject, report).await;
    let catalogue = match crate::config::catalogue(subject.settings) {
        Ok(catalogue) => catalogue,
        Err(error) => {
            report.error(
                "catalogue",
                format!("failed to {error}"),
                "mend the file that catalogue.models_file names, or set it to \"\"",
            );
            return;
        }
    };
    let in_use = catalogue::check(subject, &catalogue, &waiting, report);
    quotas::check(subject, &sdk, &found, &in_use, report).await;
    if args.live {
        live::check(args, subject, &in_use, report).await;
    }
}
