//! The commands that put in, take out, look and act, but make no call: each gets the store that it
//! names and nothing else.
//! Must not know: providers, workers, how anything is shown.

use std::io::{Write, stderr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde_json::json;

use super::{
    Command, Given, deliveries, enqueue, explain, health, jobs, limits, migrate, models, pause,
    queues, results, retention, rooms, tenants, user,
};
use crate::clock::Clock;
use crate::config::{Loaded, Override};
use crate::store::{Store, StoreError};

/// Runs one of them. `command` is none of those that make calls.
pub(super) async fn run(
    command: Command,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let all_well = match command {
        Command::Enqueue(args) => enqueue(&args, given, clock, out).await?,
        Command::Results(args) => {
            let (loaded, store) = existing(given, args.store.as_deref(), clock).await?;
            let page_rows = loaded.settings.store.results_page_rows;
            results::run(&args, &*store, page_rows, out, &mut stderr()).await.map_err(failed)?;
            true
        }
        Command::Jobs(args) => {
            let now = clock.now();
            let (loaded, store) = existing(given, args.command.store(), clock).await?;
            jobs::run(&args, &*store, &loaded.settings, now, out).await.map_err(failed)?
        }
        Command::Deliveries(args) => deliveries(&args, given, clock, out).await?,
        Command::Limits(args) => {
            let now = clock.now().wall_ms;
            let (loaded, store) = existing(given, args.store.as_deref(), clock).await?;
            let silent_ms = loaded.settings.worker.lease_ms;
            limits::run(&args, &*store, (now, silent_ms), out).await.map_err(failed)?
        }
        Command::Pause(args) => {
            let (_, store) = existing(given, args.store.as_deref(), clock).await?;
            pause::pause(&args, &*store, out).await.map_err(failed)?;
            true
        }
        Command::Resume(args) => {
            let now = clock.now().wall_ms;
            let (_, store) = existing(given, args.store.as_deref(), clock).await?;
            pause::resume(&args, &*store, now, out).await.map_err(failed)?
        }
        Command::Queues(args) => {
            let (loaded, store) = existing(given, args.store.as_deref(), clock).await?;
            queues::run(&args, &*store, &loaded.settings.job.queue, out).await.map_err(failed)?;
            true
        }
        Command::Retention(args) => {
            retention(&args, given, clock, out).await?;
            true
        }
        Command::Tenants(args) => {
            tenants(&args, given, clock, out).await?;
            true
        }
        Command::Migrate(args) => migrate(&args, given, clock, out).await?,
        Command::Health(args) => {
            let loaded = given.load(Vec::new())?;
            health::run(&args, &loaded.settings, out).await.map_err(failed)?
        }
        Command::Models(args) => {
            models(&args, given, &clock, out)?;
            true
        }
        Command::Explain(args) => explain(&args, given, clock, out).await?,
        Command::Config(args) => {
            super::config::run(&args, &given.load, out).map_err(failed)?;
            true
        }
        Command::Run(_)
        | Command::Generate(_)
        | Command::Serve(_)
        | Command::Bench(_)
        | Command::Doctor(_)
        | Command::Simulate(_) => {
            bail!("failed to find the command: a defect of this program")
        }
    };
    out.flush()?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn models(
    args: &models::ModelsArgs,
    given: &Given,
    clock: &Clock,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let loaded = given.load(Vec::new())?;
    let catalogue = crate::config::catalogue(&loaded.settings);
    let catalogue = catalogue.map_err(|error| anyhow!("failed to {error}"))?;
    models::run(args, &catalogue, today(clock), out).map_err(failed)
}

async fn migrate(
    args: &migrate::MigrateArgs,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if args.print {
        migrate::print(out).map_err(failed)?;
        return Ok(true);
    }
    let (loaded, place) = place(given, args.store.as_deref())?;
    let before = place.migration(&loaded.settings).await.map_err(failed)?;
    place.migrate(&loaded.settings).await.map_err(failed)?;
    let store = rooms::open_store(&loaded.settings, &place, None, clock).await?;
    migrate::run(args, &*store, before, out).await.map_err(failed)?;
    Ok(true)
}

/// A kind needs no store; anything else may be a job's id.
async fn explain(
    args: &explain::ExplainArgs,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let (loaded, path) = place(given, args.store.as_deref())?;
    let policy = &loaded.settings.retry;
    let Some(name) = args.unknown_kind() else {
        explain::kinds(args, policy, out).map_err(failed)?;
        return Ok(true);
    };
    if path.file().is_some_and(|file| !file.exists()) {
        return Err(failed(explain::unknown(name, &path)));
    }
    let store = rooms::open_store(&loaded.settings, &path, None, clock).await?;
    explain::job(args, name, (&*store, &loaded.settings), out).await.map_err(failed)?;
    Ok(true)
}

async fn enqueue(
    args: &enqueue::EnqueueArgs,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut flags = store_flag(args.store.as_deref());
    flags.extend(rooms::model_override(args.model.as_ref()));
    if args.simulate {
        flags.push(rooms::retired_models_override());
    }
    let loaded = given.load(flags)?;
    given.start_log(&loaded, "warn")?;
    let settings = &loaded.settings;
    let path = rooms::store_path(&settings.store.url)?;
    let admission = rooms::admission(settings, &rooms::lane_prefix(settings))?;
    let store = rooms::open_store(settings, &path, Some(args.simulate), clock.clone()).await?;
    let room = enqueue::EnqueueRoom {
        store: &*store,
        admission: &admission,
        clock: &clock,
        line_bytes_max: settings.job.document_bytes_max,
        rows_max: settings.store.write_rows_max,
    };
    let all_well = enqueue::run(args, room, out, &mut stderr()).await.map_err(failed)?;
    store.close().await;
    Ok(all_well)
}

async fn deliveries(
    args: &deliveries::DeliveriesArgs,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let now = clock.now().wall_ms;
    let (_, store) = existing(given, args.command.store(), clock).await?;
    deliveries::run(args, &*store, now, out).await.map_err(failed)
}

async fn retention(
    args: &retention::RetentionArgs,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (loaded, store) = existing(given, args.store.as_deref(), clock).await?;
    retention::run(args, &*store, &loaded.settings, out).await.map_err(failed)
}

async fn tenants(
    args: &tenants::TenantsArgs,
    given: &Given,
    clock: Clock,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (loaded, store) = existing(given, args.command.store(), clock).await?;
    let user = user::name(&given.load.env);
    let asked = tenants::Asked { settings: &loaded.settings, user: &user };
    tenants::run(args, &*store, asked, (out, &mut stderr())).await.map_err(failed)
}

/// The store to look at. One that is not there was mistyped: nothing is made in its place.
async fn existing(
    given: &Given,
    url: Option<&str>,
    clock: Clock,
) -> anyhow::Result<(Loaded, Arc<dyn Store>)> {
    let (loaded, place) = place(given, url)?;
    if place.file().is_some_and(|file| !file.exists()) {
        bail!("failed to open the store {place}: there is no such file; name another with --store");
    }
    let store = rooms::open_store(&loaded.settings, &place, None, clock).await?;
    Ok((loaded, store))
}

fn place(given: &Given, url: Option<&str>) -> anyhow::Result<(Loaded, rooms::StorePlace)> {
    let loaded = given.load(store_flag(url))?;
    given.start_log(&loaded, "warn")?;
    let path = rooms::store_path(&loaded.settings.store.url)?;
    Ok((loaded, path))
}

fn store_flag(url: Option<&str>) -> Vec<Override> {
    let key = "store.url".to_owned();
    let flag = "--store".to_owned();
    url.map(|url| Override { key, value: json!(url), flag }).into_iter().collect()
}

/// The errors of these commands read after "failed to"; those of the store say what they are.
fn failed(error: anyhow::Error) -> anyhow::Error {
    let text = if error.is::<StoreError>() {
        format!("failed to use the store: {error}")
    } else {
        format!("failed to {error:#}")
    };
    if super::is_closed_pipe(&error) { error } else { anyhow!(text) }
}

fn today(clock: &Clock) -> jiff::civil::Date {
    jiff::Timestamp::from_millisecond(clock.now().wall_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
}
