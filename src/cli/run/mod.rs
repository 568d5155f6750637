//! `quarrier run`: one file of jobs, worked through to the end, and its results in another file.
//! Must not know: how a job is called, checked or stored.
//!
//! One loop watches: `feed` admits the file's lines while a worker is already at work, `follow`
//! writes OUT from the store, `replies` sends results to queues, `show` tells how it goes, `summary` what came of it.

pub(in crate::cli) mod bounds;
mod feed;
mod follow;
mod out;
mod plan;
mod replies;
mod sample;
pub(in crate::cli) mod show;
mod summary;
mod watch;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use self::bounds::StopIfFailed;
use self::feed::{Feed, FeedOptions, FeedRooms};
use self::out::Out;
use self::plan::Plan;
use self::replies::Replies;
use self::watch::Watch;
use super::jsonl::JsonLines;
use super::rooms::{self, Rooms, WorkFlags};
use super::stop::Stop;
use crate::admit::Overrides;
use crate::clock::Clock;
use crate::config::{Loaded, Override};

/// Work through a file of jobs: admit its lines, call, check, and write a result line for each.
///
/// The same command again goes on where it stopped. A line is known again by its `id`, else by its
/// text.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The file: one job document a line.
    #[arg(value_name = "FILE.jsonl")]
    pub file: PathBuf,
    /// Where the results go, one line a job.
    #[arg(long, value_name = "OUT.jsonl", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,
    /// Flags of every command that makes calls.
    #[command(flatten)]
    pub work: WorkFlags,
    /// The model of lines that name none: an alias, an id or an ARN.
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Only say what would be refused, what it would cost and when it would end.
    #[arg(long)]
    pub dry_run: bool,
    /// Only so many lines, spread evenly over the file; always the same ones of the same file.
    #[arg(long, value_name = "N")]
    pub sample: Option<NonZeroU64>,
    /// Stop before the calls of this run could cost more than this together; the rest stays ready.
    #[arg(long, value_name = "X", value_parser = bounds::dollars)]
    pub max_cost_usd: Option<u64>,
    /// Stop when so many jobs of this run have failed: a number (10), or a share of at least so
    /// many finished ones (20%/50). The rest stays ready.
    #[arg(long, value_name = "N|P%/N")]
    pub stop_if_failed: Option<StopIfFailed>,
    /// Try again what failed or expired in earlier runs.
    #[arg(long)]
    pub retry_failed: bool,
    /// Run lines again whose document has changed under the same id, in place of the old job.
    #[arg(long)]
    pub rerun_changed: bool,
}

impl RunArgs {
    /// The settings that the flags set, weakest first.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let mut given = self.work.overrides();
        given.extend(rooms::model_override(self.model.as_ref()));
        given
    }

    fn feed_options(&self, loaded: &Loaded) -> FeedOptions {
        FeedOptions {
            file: self.file.clone(),
            rows_max: usize::try_from(loaded.settings.store.write_rows_max).unwrap_or(1),
            bytes_max: loaded.settings.job.document_bytes_max,
            overrides: Overrides { model: self.model.clone() },
            sample: self.sample.map(NonZeroU64::get),
            retry_failed: self.retry_failed,
            rerun_changed: self.rerun_changed,
        }
    }
}

/// Runs `quarrier run`.
pub async fn run(args: &RunArgs, loaded: &Loaded, clock: Clock) -> anyhow::Result<ExitCode> {
    let batch_name = check_file(&args.file, loaded.settings.job.document_bytes_max)?;
    if args.dry_run {
        return dry_run(args, loaded, &clock);
    }
    let Some(out_path) = &args.out else { bail!("failed to write the results: name --out") };
    if out_path.canonicalize().is_ok_and(|out| out == batch_name) {
        bail!(
            "failed to write {}: it is the file of the jobs; name another with --out",
            out_path.display()
        );
    }
    let store = store_path(loaded, out_path)?;
    out::check_kind(out_path, args.work.simulate)?;
    let stop = Stop::on_signals()?;
    let began_ms = clock.now().mono_ms;
    let rooms = tokio::select! {
        rooms = Box::pin(Rooms::open(loaded, &args.work, &store, clock.clone())) => rooms?,
        () = stop.drain.cancelled() => bail!("stopped before it began; nothing was called"),
    };
    let out = Out::open(out_path, args.work.simulate)?;
    let batch = rooms
        .store
        .open_batch(&batch_name.display().to_string())
        .await
        .context("failed to open the batch")?;
    let feed = Feed::open(Arc::new(args.feed_options(loaded)))?;
    let feed_rooms = FeedRooms {
        store: rooms.store(),
        admission: Arc::clone(&rooms.admission),
        limits: rooms.limits.clone().into(),
        clock,
        batch,
    };
    let replies = Replies::begin(&rooms).await?;
    let watch = Watch::begin(args, &rooms, stop.clone(), batch, out);
    // From here on calls are made: whatever goes wrong is no longer a matter of the command line.
    let ended = Box::pin(watch.run(feed, feed_rooms)).await.map_err(super::midway)?;
    let counts = rooms.store.counts(Some(batch)).await.context("failed to count the jobs");
    let counts = counts.map_err(super::midway)?;
    let replies_waiting = replies.end(&stop).await;
    let took_ms = rooms.clock.now().mono_ms.saturating_sub(began_ms);
    let simulated = rooms.simulated;
    let store = rooms.place.to_string();
    let simulator = rooms.close().await;
    let told = summary::Summary {
        args,
        counts: &counts,
        ended: &ended,
        took_ms,
        simulated,
        simulator: simulator.as_ref(),
        store: &store,
        replies_waiting,
    };
    super::print(&told.text())?;
    Ok(if told.is_all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the jobs are kept: as told, else beside OUT.
fn store_path(loaded: &Loaded, out: &Path) -> anyhow::Result<rooms::StorePlace> {
    let url = loaded.origins.iter().find(|setting| setting.key == "store.url");
    if url.is_some_and(|setting| setting.origin != "default") {
        return rooms::store_path(&loaded.settings.store.url);
    }
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".quarrier.db");
    Ok(out.with_file_name(name).into())
}

/// Looks whether the file can be worked through; returns its one true path, the batch's name.
fn check_file(path: &Path, bytes_max: usize) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    let reading = || format!("failed to read {shown}");
    let found = path.metadata().with_context(reading)?;
    if !found.is_file() {
        bail!(
            "failed to read {shown}: it is no regular file, and a run that stopped must be able to read it again"
        );
    }
    let reader = std::io::BufReader::new(std::fs::File::open(path).with_context(reading)?);
    if JsonLines::new(reader, bytes_max).next_line().with_context(reading)?.is_none() {
        bail!(
            "failed to read {shown}: it holds no jobs, only {} bytes of blank lines",
            found.len()
        );
    }
    path.canonicalize().with_context(reading)
}

/// Reads the whole file and says what it would ask.
fn dry_run(args: &RunArgs, loaded: &Loaded, clock: &Clock) -> anyhow::Result<ExitCode> {
    let admission = rooms::admission(&loaded.settings, &rooms::lane_prefix(&loaded.settings))?;
    let rules = rooms::limit_rules(loaded);
    let mut feed = Feed::open(Arc::new(args.feed_options(loaded)))?;
    let mut plan = Plan::default();
    let mut refusals = show::Refusals::new(&args.file);
    while let Some(chunk) = feed.next_chunk(&admission, &rules, clock, uuid::Uuid::nil())? {
        for line in &chunk.refused {
            refusals.add(line.number, &line.problems, |text| eprintln!("{text}"));
        }
        chunk.jobs.iter().for_each(|(_, job)| plan.add(job));
    }
    refusals.end(|text| eprintln!("{text}"));
    super::print(&plan.text(&rules, refusals.lines(), clock.now().wall_ms, args.work.simulate))?;
    Ok(if refusals.lines() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
