//! `quarrier bench`: what the queue costs here, as lines of JSON or as a table.
//! Must not know: how anything is measured (`crate::bench` does).

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use clap::ValueEnum as _;
use serde_json::json;

use super::stop::Stop;
use super::{midway, rooms, table};
use crate::bench::report::{self, Line, Ratio};
use crate::bench::{self, BenchOptions, Ground, Launch, Told, What, Work};
use crate::config::{LoadArgs, Loaded, Override};
use crate::store::StoreError;

/// The most worker processes: each holds connections of its own.
const PROCESSES_MAX: i64 = 64;

/// Measure what the queue itself costs on this machine: enqueueing, draining, pick-up latency, slow
/// calls, beside the floor of the database. It needs a store that nobody uses and leaves it as it
/// was: a Postgres database without a store or with an empty one, or a SQLite file that is not there.
///
/// Lines of JSON, one a measurement, then the ratios; on a terminal a table. `docs/bench.md` says
/// what each means and what disturbs it.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Where to measure: an empty Postgres database, or a SQLite file to be made.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// What to measure; everything unless said.
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub what: Vec<What>,
    /// Jobs of a drain and of a bulk; the other measurements take a part of them.
    #[arg(long, value_name = "N", default_value_t = 20_000,
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub jobs: u64,
    /// How often everything is repeated; ratios are of medians.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Worker processes of the drains that have more than one.
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=PROCESSES_MAX))]
    pub processes: u32,
    /// Calls in flight at once in each worker of a drain.
    #[arg(long, value_name = "N", default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub concurrency: u32,
    /// For how many seconds a transaction is held open, for `held`.
    #[arg(long, value_name = "S", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub held_seconds: u32,
    /// Ready jobs of the deep lane, for `deep`.
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub deep_jobs: u64,
    /// The same database through a pooler in transaction mode: the workers go that way.
    #[arg(long, value_name = "URL")]
    pub pooler: Option<String>,
    /// Lines of JSON also on a terminal.
    #[arg(long)]
    pub json: bool,
    /// What a worker process of a bench is to do; for bench itself.
    #[arg(long, hide = true, value_name = "JSON")]
    pub worker: Option<String>,
}

impl BenchArgs {
    /// The settings that these flags set.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let (key, flag) = ("store.url".to_owned(), "--store".to_owned());
        let url = self.store.as_ref();
        let store = url.map(|url| Override { key, value: json!(url), flag });
        // The provider inside answers for every model.
        store.into_iter().chain([rooms::retired_models_override()]).collect()
    }

    fn options(&self, load: &LoadArgs, url: &str) -> anyhow::Result<BenchOptions> {
        let what =
            if self.what.is_empty() { What::value_variants().to_vec() } else { self.what.clone() };
        let mut args: Vec<OsString> = Vec::new();
        args.extend(load.file.iter().flat_map(|file| ["--config".into(), file.into()]));
        args.extend(["bench".into(), "--worker".into()]);
        let address = self.pooler.as_deref().unwrap_or(url);
        let mut env = vec![("QUARRIER_STORE__URL".to_owned(), OsString::from(address))];
        if self.pooler.is_some() {
            env.push(("QUARRIER_STORE__POOLED".to_owned(), "true".into()));
            // Nobody can listen through a pooler.
            env.push(("QUARRIER_STORE__DIRECT_URL".to_owned(), url.into()));
        }
        Ok(BenchOptions {
            what,
            jobs: self.jobs,
            runs: self.runs,
            processes: self.processes,
            concurrency: self.concurrency,
            held_s: self.held_seconds,
            deep_jobs: self.deep_jobs,
            pooled: self.pooler.is_some(),
            launch: Launch {
                program: std::env::current_exe().context("failed to find this program")?,
                args,
                env,
            },
        })
    }
}

/// Runs `quarrier bench`.
pub async fn run(args: &BenchArgs, loaded: &Loaded, load: &LoadArgs) -> anyhow::Result<ExitCode> {
    let settings = &loaded.settings;
    let place = rooms::store_path(&settings.store.url)?;
    if let Some(work) = &args.worker {
        let work: Work = serde_json::from_str(work).context("failed to read --worker")?;
        // What ends a bench ends its workers: it closes their standard input.
        let _stop = Stop::on_signals()?;
        bench::work(settings, &place, &work).await.map_err(|error| midway(said(error)))?;
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(
        !settings.store.pooled,
        "failed to measure through a pooler alone: name the server itself with --store, leave \
         store.pooled off, and name the pooler with --pooler"
    );
    ensure!(
        args.pooler.is_none() || place.file().is_none(),
        "failed to measure: --pooler goes with a Postgres store"
    );
    let options = args.options(load, &settings.store.url)?;
    let stop = Stop::on_signals()?;
    let ground = Ground::take(settings, &place).await.map_err(said)?;
    let mut shown =
        Shown { as_json: args.json || !std::io::stdout().is_terminal(), ..Shown::default() };
    let told = &mut |told| shown.take(told);
    let ended = Box::pin(bench::run(settings, ground, &options, &stop.drain, told)).await;
    let ended = ended.map_err(|error| midway(said(error)))?;
    shown.end()?;
    if !ended {
        eprintln!("quarrier: stopped; the store is removed again");
    }
    Ok(if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Its errors read after "failed to"; those of the rooms say so already.
fn said(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.starts_with("failed to") {
        error
    } else if error.is::<StoreError>() || error.is::<sqlx::Error>() {
        anyhow!("failed to use the store: {text}")
    } else {
        anyhow!("failed to {text}")
    }
}

/// What is written: each line as it comes, or a table at the end.
#[derive(Default)]
struct Shown {
    as_json: bool,
    lines: Vec<Line>,
    ratios: Vec<Ratio>,
}

impl Shown {
    fn take(&mut self, told: Told) -> anyhow::Result<()> {
        match told {
            Told::Begins(_) if self.as_json => Ok(()),
            Told::Begins(what) => {
                // Nobody may be looking.
                writeln!(std::io::stderr(), "{what}").ok();
                Ok(())
            }
            Told::Line(line) if self.as_json => super::print(&format!("{}\n", json!(line))),
            Told::Ratio(ratio) if self.as_json => super::print(&format!("{}\n", json!(ratio))),
            Told::Line(line) => {
                self.lines.push(*line);
                Ok(())
            }
            Told::Ratio(ratio) => {
                self.ratios.push(ratio);
                Ok(())
            }
        }
    }

    fn end(&self) -> anyhow::Result<()> {
        if self.as_json {
            return Ok(());
        }
        let mut text = table::table(&report::HEADER, &report::RIGHT, report::rows(&self.lines));
        if !self.ratios.is_empty() {
            let row = |ratio: &Ratio| vec![ratio.name.to_owned(), ratio.value.to_string()];
            let rows = self.ratios.iter().map(row).collect();
            text.push('\n');
            text.push_str(&table::table(&["ratio of medians", "value"], &[1], rows));
        }
        super::print(&text)
    }
}
