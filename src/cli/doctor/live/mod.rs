//! `doctor --live`: one text and one schema call to each model, as jobs through the same rooms as all
//! others, within a bound of cost that is reckoned before anything is sent.
//! Must not know: how a call is made, checked or recorded.

mod called;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue::InUse;
use super::report::Report;
use super::words::shortened;
use super::{DoctorArgs, Subject};
use crate::admit::{Origin, Overrides};
use crate::cli::rooms::{self, Rooms, StorePlace};
use crate::cli::run::show::cost;
use crate::cli::stop::Stop;
use crate::completion::Api;
use crate::config::Loaded;
use crate::job::{JobDocument, State};
use crate::store::NewJob;
use crate::store::sqlite::SqliteStore;
pub(super) use called::table;
use called::{Called, api_name, remedy};

const LIVE: &str = "live";

/// The queue that these jobs stand in, so that they can be told from all others.
const QUEUE: &str = "doctor";
/// Before all others: somebody is waiting for them.
const PRIORITY: i32 = 100;
/// The longest answer, in tokens: enough for a sentence, and for a model that thinks before it.
const MAX_TOKENS: u32 = 300;
/// How long all calls together may take, in milliseconds.
const WAIT_MS_MAX: u64 = 180_000;
/// How often the answers are looked for.
const LOOK: Duration = Duration::from_millis(100);

const TEXT_PROMPT: &str = "In one short sentence: what is a torque wrench for?";
const SCHEMA_PROMPT: &str =
    "Grade this finding of an audit: a torque wrench is in use with an expired label.";

/// What is to be called: a job that can be admitted, and what it may cost.
struct Planned {
    model: String,
    kind: &'static str,
    job: NewJob,
    worst_micros: u64,
}

/// Plans the calls, refuses what could cost too much, makes them, and says how each came out.
pub(super) async fn check(
    args: &DoctorArgs,
    subject: &Subject<'_>,
    in_use: &[InUse],
    report: &mut Report,
) {
    report.calls = Some(Vec::new());
    let bound = args.max_cost_usd.unwrap_or_default();
    let store = named_store(args, subject).await;
    // A worker of somebody else's may take a job of a shared store, and follow its own re-asks.
    let calls_each = match &store {
        Some(_) => u64::from(subject.settings.retry.reasks_max).saturating_add(1),
        None => 1,
    };
    let Some(planned) = plan(args, subject, in_use, report) else { return };
    let worst = planned.iter().map(|one| one.worst_micros.saturating_mul(calls_each)).sum::<u64>();
    if worst > bound {
        report.error(
            LIVE,
            format!(
                "{} calls could cost {} at worst, and --max-cost-usd allows {}: nothing was sent",
                planned.len(),
                cost(worst, subject.simulate),
                cost(bound, subject.simulate)
            ),
            "raise --max-cost-usd, or name fewer models with --models",
        );
        return;
    }
    if planned.is_empty() {
        return;
    }
    let place = match Place::choose(store) {
        Ok(place) => place,
        Err(error) => {
            report.error(
                LIVE,
                format!("failed to make a folder: {error}"),
                "set TMPDIR to one that can be written",
            );
            return;
        }
    };
    match call(args, subject, &place, planned, bound).await {
        Ok(calls) => judge(&calls, subject.simulate, report),
        Err(error) => report.error(
            LIVE,
            shortened(&format!("{error:#}")),
            "mend what the lines above say of credentials, endpoint and store",
        ),
    }
}

/// The configured store, where it is there and holds work of this kind: then its budget counts.
async fn named_store(args: &DoctorArgs, subject: &Subject<'_>) -> Option<StorePlace> {
    let path = rooms::store_path(&subject.settings.store.url).ok()?;
    if path.file().is_some() {
        // Opening a file would change one that is older.
        let newest = SqliteStore::newest_migration();
        if path.migration(subject.settings).await.ok()? != Some(newest) {
            return None;
        }
    }
    if args.work.store.is_some() {
        return Some(path);
    }
    let store =
        rooms::open_store(subject.settings, &path, None, subject.clock.clone()).await.ok()?;
    let about = store.about().await.ok();
    store.close().await;
    let is_kind = about?.simulated.is_none_or(|simulated| simulated == subject.simulate);
    is_kind.then_some(path)
}

/// A job for each model, interface and kind of call; `None` where no admission is possible.
fn plan(
    args: &DoctorArgs,
    subject: &Subject<'_>,
    in_use: &[InUse],
    report: &mut Report,
) -> Option<Vec<Planned>> {
    let settings = subject.settings;
    let admission = match rooms::admission(settings, &rooms::lane_prefix(settings)) {
        Ok(admission) => admission,
        Err(error) => {
            report.error(LIVE, format!("{error:#}"), "see catalogue");
            return None;
        }
    };
    let limits = rooms::limit_rules(subject.loaded);
    let models: Vec<String> = if args.models.is_empty() {
        in_use.iter().filter(|one| one.resolved.is_some()).map(|one| one.name.clone()).collect()
    } else {
        args.models.clone()
    };
    let apis: Vec<Option<Api>> =
        if args.api.is_empty() { vec![None] } else { args.api.iter().copied().map(Some).collect() };
    let mut planned = Vec::new();
    for model in &models {
        for api in &apis {
            for (kind, schema) in [("text", None), ("schema", Some(schema()))] {
                let document = document(model, *api, schema);
                let text = serde_json::to_string(&document).unwrap_or_default();
                let now = subject.clock.now();
                let made = admission.prepare(
                    &text,
                    &Overrides::default(),
                    Origin::default(),
                    &limits,
                    now,
                );
                match made {
                    Ok(job) => match worst(&job) {
                        Some(worst_micros) => {
                            planned.push(Planned { model: model.clone(), kind, job, worst_micros });
                        }
                        None => report.error(
                            LIVE,
                            format!("{model}: its price is not known, so --max-cost-usd cannot bound its calls"),
                            "add a row with its prices to catalogue.models_file",
                        ),
                    },
                    Err(problems) => {
                        let reasons: Vec<String> = problems.iter().map(ToString::to_string).collect();
                        report.error(
                            LIVE,
                            format!("{model}: {}", reasons.join("; ")),
                            "name models that can be called with --models, or leave --api out",
                        );
                    }
                }
                // What is wrong with a model is wrong with both of its calls, and told once.
                if planned.last().is_none_or(|last| last.model != *model) {
                    break;
                }
            }
        }
    }
    Some(planned)
}

fn document(model: &str, api: Option<Api>, schema: Option<Value>) -> JobDocument {
    let prompt = if schema.is_some() { SCHEMA_PROMPT } else { TEXT_PROMPT };
    JobDocument {
        prompt: Some(prompt.to_owned()),
        model: Some(model.to_owned()),
        api,
        schema,
        queue: Some(QUEUE.to_owned()),
        max_tokens: Some(MAX_TOKENS),
        max_attempts: Some(1),
        priority: Some(PRIORITY),
        ..JobDocument::default()
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["grade", "reason"],
        "properties": {
            "grade": { "enum": ["major", "minor", "observation"] },
            "reason": { "type": "string", "minLength": 1, "maxLength": 300 },
        },
    })
}

/// What one call of a job may cost at most, in micro-dollars.
fn worst(job: &NewJob) -> Option<u64> {
    job.resolved.as_ref().ok()?.cost_micros_max(&job.wanted)
}

/// Admits the jobs as one batch, works on them alone, and waits for their ends.
async fn call(
    args: &DoctorArgs,
    subject: &Subject<'_>,
    place: &Place,
    planned: Vec<Planned>,
    bound: u64,
) -> anyhow::Result<Vec<Called>> {
    let mut loaded: Loaded = subject.loaded.clone();
    // What goes wrong is the finding: nothing is tried twice.
    loaded.settings.retry.failures_max = 1;
    loaded.settings.retry.reasks_max = 0;
    let stop = Stop::on_signals()?;
    let rooms =
        Box::pin(Rooms::open(&loaded, &args.work, place.store(), subject.clock.clone())).await?;
    let called = Box::pin(work(&rooms, planned, bound, &stop)).await;
    rooms.close().await;
    called
}

async fn work(
    rooms: &Rooms,
    planned: Vec<Planned>,
    bound: u64,
    stop: &Stop,
) -> anyhow::Result<Vec<Called>> {
    let batch = rooms.store.open_batch(&format!("doctor {}", Uuid::now_v7())).await?;
    let mut jobs = Vec::new();
    for (line, one) in (1_i64..).zip(&planned) {
        jobs.push(NewJob { batch: Some((batch, line)), ..one.job.clone() });
    }
    rooms.store.admit(jobs).await?;
    let worker = rooms.worker(Some(batch), Some(bound));
    let (draining, now) = (stop.drain.child_token(), stop.now.clone());
    let drain = draining.clone();
    let working = tokio::spawn(async move { worker.run(draining, now).await });
    let waited = wait(rooms, &planned, stop).await;
    drain.cancel();
    let ended = working.await;
    waited?;
    if let Ok(Err(error)) = ended {
        anyhow::bail!("failed to {error}");
    }
    let paused = rooms.store.paused_lanes().await?;
    let mut called = Vec::new();
    for one in planned {
        let Some(page) = rooms.store.job(&one.job.job_id.to_string()).await? else { continue };
        let Ok(resolved) = one.job.resolved else { continue };
        let lane = paused.iter().find(|lane| lane.lane == page.row.lane);
        called.push(Called {
            paused: lane.and_then(|lane| lane.reason.clone()),
            model: one.model,
            kind: one.kind,
            api: resolved.api,
            model_id: resolved.model_id,
            page,
        });
    }
    Ok(called)
}

/// Waits until every job has ended; what takes too long, or stands in a lane that rests, is cancelled.
async fn wait(rooms: &Rooms, planned: &[Planned], stop: &Stop) -> anyhow::Result<()> {
    let until_ms = rooms.clock.now().mono_ms.saturating_add(WAIT_MS_MAX);
    let mut open: Vec<Uuid> = planned.iter().map(|one| one.job.job_id).collect();
    while !open.is_empty() {
        let now = rooms.clock.now();
        let is_over = now.mono_ms >= until_ms || stop.drain.is_cancelled();
        let mut still = Vec::new();
        let mut given_up = Vec::new();
        for id in open {
            let Some(page) = rooms.store.job(&id.to_string()).await? else { continue };
            let rests = page.lane_paused_until.is_some_and(|until| until > now.wall_ms);
            if page.row.state.is_terminal() || page.row.state == State::Held {
                continue;
            }
            if is_over || (rests && page.row.state == State::Ready) {
                given_up.push(id);
            } else {
                still.push(id);
            }
        }
        if !given_up.is_empty() {
            rooms.store.cancel(&given_up).await?;
        }
        open = still;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.drain.cancelled() => {}
        }
    }
    Ok(())
}

fn judge(calls: &[Called], simulated: bool, report: &mut Report) {
    let mut shown = Vec::new();
    for call in calls {
        let row = call.json();
        let name = format!("{} ({}, {})", call.model, api_name(call.api), call.kind);
        if call.page.row.state == State::Succeeded {
            report.ok(LIVE, format!("{name}: {}", call.figures(simulated)));
        } else {
            let (kind, message) = call.error();
            report.error(LIVE, format!("{name}: {kind}: {}", shortened(&message)), remedy(&kind));
        }
        shown.push(row);
    }
    report.calls = Some(shown);
}

/// Where the jobs are kept.
enum Place {
    /// In a store that stays.
    Named(StorePlace),
    /// In a folder that goes with this command.
    Passing(PathBuf, StorePlace),
}

impl Place {
    fn choose(store: Option<StorePlace>) -> std::io::Result<Self> {
        if let Some(store) = store {
            return Ok(Self::Named(store));
        }
        let folder = std::env::temp_dir().join(format!("quarrier-doctor-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder)?;
        let file = folder.join("doctor.db").into();
        Ok(Self::Passing(folder, file))
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
