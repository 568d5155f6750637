//! Admission of a file: its lines become jobs, chunk by chunk, while others work already.
//! Must not know: how progress is shown, how jobs are worked on.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sample::{self, Sample};
use crate::admit::{Admission, Origin, Overrides};
use crate::cli::jsonl::{JsonLine, JsonLines};
use crate::clock::Clock;
use crate::job::{self, Problem, State};
use crate::store::{Admitted, LimitRule, NewJob, Store};

/// The most bytes of lines that one chunk holds; a single longer line goes alone.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// A line that was refused, and every reason.
#[derive(Debug)]
pub(super) struct RefusedLine {
    /// Its number in the file.
    pub(super) number: u64,
    /// Why.
    pub(super) problems: Vec<Problem>,
}

/// What a stretch of the file came to.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Lines read.
    pub(super) lines: u64,
    /// Jobs that are new.
    pub(super) new: u64,
    /// Jobs of an earlier run that have not ended.
    pub(super) open: u64,
    /// Jobs of an earlier run that have ended.
    pub(super) ended: u64,
    /// Failed jobs of an earlier run that are tried again.
    pub(super) retried: u64,
    /// Jobs that ended long ago and were deleted; their results are gone.
    pub(super) forgotten: u64,
    /// Lines whose `dedupe_key` a job holds that has not ended.
    pub(super) duplicates: u64,
    /// Lines that were refused.
    pub(super) refused: Vec<RefusedLine>,
}

/// Everything that a chunk needs of its command.
#[derive(Debug, Clone)]
pub(super) struct FeedOptions {
    /// The file.
    pub(super) file: PathBuf,
    /// The most rows of one chunk.
    pub(super) rows_max: usize,
    /// The longest line, in bytes.
    pub(super) bytes_max: usize,
    /// What the command line says of every line.
    pub(super) overrides: Overrides,
    /// Only so many lines.
    pub(super) sample: Option<u64>,
    /// Failed jobs are tried again.
    pub(super) retry_failed: bool,
    /// Changed lines take over the ids of ended jobs.
    pub(super) rerun_changed: bool,
}

/// A file being read.
#[derive(Debug)]
pub(super) struct Feed {
    lines: JsonLines<BufReader<File>>,
    sample: Option<Sample>,
    /// How often each line without an `id` has come so far, by the first half of its digest.
    ordinals: HashMap<[u8; 16], u32>,
    options: Arc<FeedOptions>,
}

/// Lines read and prepared.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) jobs: Vec<(u64, NewJob)>,
    pub(super) refused: Vec<RefusedLine>,
    pub(super) lines: u64,
}

impl Feed {
    /// Opens the file, and counts its lines first where a sample is wanted.
    pub(super) fn open(options: Arc<FeedOptions>) -> anyhow::Result<Self> {
        let path = &options.file;
        let sample = match options.sample {
            Some(wanted) => {
                let lines = sample::count(open(path)?, options.bytes_max)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                Some(Sample::draw(lines, wanted))
            }
            None => None,
        };
        let lines = JsonLines::new(open(path)?, options.bytes_max);
        Ok(Self { lines, sample, ordinals: HashMap::new(), options })
    }

    /// Reads and prepares the next lines; none at the end of the file.
    pub(super) fn next_chunk(
        &mut self,
        admission: &Admission,
        limits: &[LimitRule],
        clock: &Clock,
        batch: Uuid,
    ) -> anyhow::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        let mut bytes = 0_usize;
        while chunk.jobs.len() < self.options.rows_max && bytes < CHUNK_BYTES_MAX {
            let line = self.lines.next_line();
            let line =
                line.with_context(|| format!("failed to read {}", self.options.file.display()))?;
            let Some(JsonLine { number, text }) = line else { break };
            if self.sample.as_mut().is_some_and(|sample| !sample.takes_next()) {
                continue;
            }
            chunk.lines = chunk.lines.saturating_add(1);
            bytes = bytes.saturating_add(text.as_ref().map_or(0, String::len));
            let prepared = text.map_err(|problem| vec![problem]).and_then(|text| {
                let line = i64::try_from(number).unwrap_or(i64::MAX);
                let origin = Origin { batch: Some((batch, line)), ..Origin::default() };
                let overrides = &self.options.overrides;
                let job = admission.prepare(&text, overrides, origin, limits, clock.now())?;
                Ok(self.identified(job, &text))
            });
            match prepared {
                Ok(job) => chunk.jobs.push((number, job)),
                Err(problems) => chunk.refused.push(RefusedLine { number, problems }),
            }
        }
        Ok((chunk.lines > 0).then_some(chunk))
    }

    /// A job without an `id` is known again by its line, what the command line says, and which of
    /// the equal lines it is.
    fn identified(&mut self, mut job: NewJob, text: &str) -> NewJob {
        job.rerun = self.options.rerun_changed;
        if job.external_id.is_some() {
            return job;
        }
        let model = self.options.overrides.model.as_deref().unwrap_or_default();
        let digest = Sha256::digest([text.trim(), "\n", model].concat());
        let mut key = [0_u8; 16];
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let ordinal = self.ordinals.entry(key).or_default();
        *ordinal = ordinal.saturating_add(1);
        job.identity = Some(format!("line:{:032x}:{ordinal}", u128::from_be_bytes(key)));
        job
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// What admission of a file needs.
#[derive(Clone)]
pub(super) struct FeedRooms {
    pub(super) store: Arc<dyn Store>,
    pub(super) admission: Arc<Admission>,
    pub(super) limits: Arc<[LimitRule]>,
    pub(super) clock: Clock,
    pub(super) batch: Uuid,
}

/// Admits the whole file and tells what each chunk came to, until `stop` is cancelled.
pub(super) async fn admit(
    mut feed: Feed,
    rooms: FeedRooms,
    told: mpsc::Sender<Fed>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let here = rooms.clone();
        // Reading and preparing blocks: a schema takes its time to compile.
        let (back, chunk) = tokio::task::spawn_blocking(move || {
            let chunk = feed.next_chunk(&here.admission, &here.limits, &here.clock, here.batch);
            (feed, chunk)
        })
        .await
        .context("failed to read the file: a defect of this program")?;
        feed = back;
        let Some(chunk) = chunk? else { break };
        let came_to = admit_chunk(&rooms, chunk, &feed.options).await?;
        if told.send(came_to).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn admit_chunk(
    rooms: &FeedRooms,
    chunk: Chunk,
    options: &FeedOptions,
) -> anyhow::Result<Fed> {
    let mut fed = Fed { lines: chunk.lines, refused: chunk.refused, ..Fed::default() };
    // What a refusal or a retry needs of a job, because the job itself moves into the store.
    let kept: Vec<(u64, Option<String>, String, i64)> = chunk
        .jobs
        .iter()
        .map(|(number, job)| {
            (*number, job.external_id.clone(), job.document.clone(), job.deadline_at)
        })
        .collect();
    let jobs: Vec<NewJob> = chunk.jobs.into_iter().map(|(_, job)| job).collect();
    let answers = rooms.store.admit(jobs).await.context("failed to admit jobs")?;
    for (answer, (number, id, document, deadline_at)) in answers.into_iter().zip(kept) {
        match answer {
            Admitted::New(_) => fed.new = fed.new.saturating_add(1),
            Admitted::Existing(job_id, Some(State::Failed | State::Expired))
                if options.retry_failed =>
            {
                let moved = rooms.store.retry(&[job_id], deadline_at).await;
                let moved = moved.context("failed to retry a job")?.len();
                let moved = u64::try_from(moved).unwrap_or(0);
                fed.retried = fed.retried.saturating_add(moved);
                fed.ended = fed.ended.saturating_add(1_u64.saturating_sub(moved));
            }
            Admitted::Existing(_, Some(state)) | Admitted::Before(_, Some(state))
                if state.is_terminal() =>
            {
                fed.ended = fed.ended.saturating_add(1);
            }
            Admitted::Existing(_, Some(_)) | Admitted::Before(_, Some(_)) => {
                fed.open = fed.open.saturating_add(1);
            }
            Admitted::Existing(_, None) | Admitted::Before(_, None) => {
                fed.forgotten = fed.forgotten.saturating_add(1);
            }
            Admitted::Duplicate(_) => fed.duplicates = fed.duplicates.saturating_add(1),
            Admitted::IdConflict { document: stored, .. } => {
                let reason = changed(id.as_deref(), &document, stored.as_deref());
                let problems = vec![Problem::new("$.id", reason)];
                fed.refused.push(RefusedLine { number, problems });
            }
        }
    }
    fed.refused.sort_by_key(|line| line.number);
    Ok(fed)
}

/// Why a line is refused whose id belongs to a job with another document.
fn changed(id: Option<&str>, document: &str, stored: Option<&str>) -> String {
    let id = id.unwrap_or_default();
    let fields = stored.and_then(|stored| {
        let (ours, theirs) = (job::parse(document).ok()?, job::parse(stored).ok()?);
        Some(format!("in {}", ours.changed_fields(&theirs).join(", ")))
    });
    let fields = fields.unwrap_or_else(|| "but its document is deleted".to_owned());
    let way_out = "give the changed line a new id, or add --rerun-changed";
    format!(
        "the job {id:?} was admitted before with another document (it differs {fields}); {way_out}"
    )
}
