//! `quarrier generate`: one prompt, through the same rooms as every job, answered now.
//! Must not know: how a job is called, checked or stored.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use uuid::Uuid;

use super::rooms::{self, Rooms, StorePlace, WorkFlags};
use super::run::show::waiting_text;
use super::stop::Stop;
use crate::admit::{Origin, Overrides};
use crate::clock::Clock;
use crate::config::{Loaded, Override};
use crate::error::{ErrorKind, explain};
use crate::job::{JobDocument, Problem, State};
use crate::result_line::result_line;
use crate::store::JobPage;
use crate::worker::{StatusHandle, WaitingFor};

/// Before all others: somebody is waiting for it.
const PRIORITY: i32 = 100;
/// How often the answer is looked for when nothing is heard of it, in milliseconds.
const LOOK_MS: u64 = 200;
/// Waits shorter than this are not told, in milliseconds.
const WAIT_TOLD_MS: u64 = 1_000;

/// Answer one prompt now, and print the text, or the JSON that fits a schema.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// The prompt.
    pub prompt: String,
    /// The JSON Schema that the answer must fit: a file, or the schema itself.
    #[arg(long, value_name = "FILE|JSON")]
    pub schema: Option<String>,
    /// The model: an alias, an id or an ARN.
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// The system prompt.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The longest answer, in tokens.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature, 0 to 1.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Print the whole result as one JSON line.
    #[arg(long)]
    pub json: bool,
    /// Flags of every command that makes calls. With --store it shares that store's budget.
    #[command(flatten)]
    pub work: WorkFlags,
}

impl GenerateArgs {
    /// The settings that the flags set, weakest first.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let mut given = self.work.overrides();
        given.extend(rooms::model_override(self.model.as_ref()));
        given
    }

    fn document(&self) -> anyhow::Result<JobDocument> {
        Ok(JobDocument {
            prompt: Some(self.prompt.clone()),
            schema: self.schema.as_deref().map(schema).transpose()?,
            system: self.system.clone(),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            priority: Some(PRIORITY),
            ..JobDocument::default()
        })
    }
}

/// Runs `quarrier generate`.
pub async fn run(args: &GenerateArgs, loaded: &Loaded, clock: Clock) -> anyhow::Result<ExitCode> {
    let document = args.document()?;
    let place = Place::choose(args.work.store.as_deref())?;
    let stop = Stop::on_signals()?;
    let rooms = tokio::select! {
        rooms = Box::pin(Rooms::open(loaded, &args.work, place.store(), clock)) => rooms?,
        () = stop.drain.cancelled() => bail!("stopped before it began; nothing was called"),
    };
    let answered = Box::pin(answer(&rooms, &document, args.model.clone(), &stop)).await;
    let simulated = rooms.simulated;
    rooms.close().await;
    tell(&answered?, args.json, simulated)
}

/// Admits the job, works on it, and waits for its end.
async fn answer(
    rooms: &Rooms,
    document: &JobDocument,
    model: Option<String>,
    stop: &Stop,
) -> anyhow::Result<JobPage> {
    let name = format!("generate {}", Uuid::now_v7());
    let batch = rooms.store.open_batch(&name).await.context("failed to open a batch")?;
    let text = serde_json::to_string(document).context("failed to write the document")?;
    let origin = Origin { batch: Some((batch, 1)), ..Origin::default() };
    let (overrides, now) = (Overrides { model }, rooms.clock.now());
    let job = rooms
        .admission
        .prepare(&text, &overrides, origin, &rooms.limits, now)
        .map_err(|problems| refused(&problems))?;
    let job_id = job.job_id;
    rooms.store.admit(vec![job]).await.context("failed to admit the prompt")?;
    let worker = rooms.worker(Some(batch), None);
    let (status, drain) = (worker.status(), stop.drain.child_token());
    let (draining, now) = (drain.clone(), stop.now.clone());
    let mut working = tokio::spawn(async move { worker.run(draining, now).await });
    let page = tokio::select! {
        page = wait_for(rooms, job_id, &status) => page.map_err(super::midway),
        ended = &mut working => match ended {
            Ok(Err(error)) => return Err(anyhow!("failed to {error}")),
            _ => last_look(rooms, job_id).await.map_err(super::midway),
        },
    };
    drain.cancel();
    if !working.is_finished() {
        // What it says has been said: the answer is in the store, or the error is at hand.
        drop(working.await);
    }
    page
}

/// Waits for the job's end, and says why it takes so long.
async fn wait_for(rooms: &Rooms, job_id: Uuid, status: &StatusHandle) -> anyhow::Result<JobPage> {
    let id = job_id.to_string();
    let mut told = None;
    loop {
        let page = rooms.store.job(&id).await.context("failed to read the job")?;
        let page = page.context("failed to find the job: it was deleted")?;
        if page.row.state.is_terminal() {
            return Ok(page);
        }
        if page.row.state == State::Held {
            bail!("the outcome of the call is unknown, and the job waits for a person");
        }
        let now = rooms.clock.now();
        if page.lane_paused_until.is_some_and(|until| until > now.wall_ms) {
            // Nobody wants to wait at a prompt until somebody has given permissions.
            rooms.store.cancel(&[job_id]).await.context("failed to cancel the job")?;
            return Err(paused(&page));
        }
        if let Some(waiting) = status.now().waiting {
            let mono_ms = now.mono_ms;
            let is_long = match &waiting {
                WaitingFor::Limit { until_mono_ms, .. } => {
                    until_mono_ms.saturating_sub(mono_ms) >= WAIT_TOLD_MS
                }
                _ => true,
            };
            // A pause of this very lane has ended the wait above.
            if is_long && told.as_ref() != Some(&waiting.reason()) {
                eprintln!("{}", waiting_text(&waiting, mono_ms));
                told = Some(waiting.reason());
            }
        }
        tokio::select! {
            () = status.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(LOOK_MS)) => {}
        }
    }
}

/// The worker was stopped: either the answer came in time, or the job goes no further.
async fn last_look(rooms: &Rooms, job_id: Uuid) -> anyhow::Result<JobPage> {
    let page = rooms.store.job(&job_id.to_string()).await.context("failed to read the job")?;
    match page {
        Some(page) if page.row.state.is_terminal() => Ok(page),
        _ => {
            rooms.store.cancel(&[job_id]).await.context("failed to cancel the job")?;
            bail!("stopped before the answer came")
        }
    }
}

/// Prints the answer, or its error; the exit code tells which.
fn tell(page: &JobPage, json: bool, simulated: bool) -> anyhow::Result<ExitCode> {
    let Some(result) = &page.result else {
        return Err(super::midway(anyhow!(
            "the job ended {} without a result",
            page.row.state.as_str()
        )));
    };
    if json {
        super::print(&(result_line(result, simulated) + "\n"))?;
    }
    if result.state != State::Succeeded {
        let kind = result.error_kind.as_deref().unwrap_or(result.state.as_str());
        let message = result.error_message.as_deref().unwrap_or("no reason is known");
        let message = message.trim_end_matches('.');
        eprintln!("quarrier: {kind}: {message}. More: `quarrier explain {kind}`");
        return Ok(ExitCode::FAILURE);
    }
    if !json {
        let text = result.output.as_deref().or(result.text.as_deref()).unwrap_or_default();
        super::print(&format!("{}\n", text.trim_end_matches('\n')))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn paused(page: &JobPage) -> anyhow::Error {
    let failed = page.attempts.iter().rev().find(|attempt| attempt.error_kind.is_some());
    match failed {
        Some(attempt) => {
            let name = attempt.error_kind.as_deref().unwrap_or_default();
            let message = attempt.error_message.as_deref().unwrap_or_default();
            let message = message.trim_end_matches('.');
            let hint = ErrorKind::from_name(name).and_then(|kind| explain(kind).hint);
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            anyhow!("{name}: {message}{hint}. More: `quarrier explain {name}`")
        }
        None => anyhow!("the lane {} is paused; `quarrier jobs list` says why", page.row.lane),
    }
}

fn refused(problems: &[Problem]) -> anyhow::Error {
    let reasons: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow!("failed to admit the prompt: {}", reasons.join("; "))
}

/// A schema given in place, or in a file.
fn schema(given: &str) -> anyhow::Result<serde_json::Value> {
    let in_place = given.trim_start().starts_with('{');
    let text = if in_place {
        given.to_owned()
    } else {
        std::fs::read_to_string(given)
            .with_context(|| format!("failed to read the schema {given}"))?
    };
    serde_json::from_str(&text).context("failed to read the schema: it is no JSON")
}

/// Where the job is kept.
enum Place {
    /// In a store that stays.
    Named(StorePlace),
    /// In a folder that goes with this command.
    Passing(PathBuf, StorePlace),
}

impl Place {
    fn choose(url: Option<&str>) -> anyhow::Result<Self> {
        if let Some(url) = url {
            return Ok(Self::Named(rooms::store_path(url)?));
        }
        let folder = std::env::temp_dir().join(format!("quarrier-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder)
            .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        let file = folder.join("generate.db");
        Ok(Self::Passing(folder, file.into()))
    }

    fn store(&self) -> &StorePlace {
        match self {
            Self::Named(store) | Self::Passing(_, store) => store,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Passing(folder, _) = self {
            // What cannot be deleted is the system's to clear.
            drop(std::fs::remove_dir_all(folder));
        }
    }
}
