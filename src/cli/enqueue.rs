//! `quarrier enqueue`: a JSONL file of job documents into the store, or onto a queue, in chunks. One
//! bad line never stops the others.
//! Must not know: how a document is judged (`admit` does), or who will work on it.

pub mod messages;
mod report;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::Context as _;

use self::report::Report;
use super::jsonl::{JsonLine, JsonLines};
use crate::admit::{Admission, Origin, Overrides};
use crate::clock::Clock;
use crate::job::{self, Problem};
use crate::store::{Admitted, LimitRule, NewJob, Store};

/// How many bytes of documents one chunk holds at most, so that large documents do not fill the
/// memory before the number of lines does.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Put the jobs of a JSONL file into the store, or onto a queue, for workers to do.
#[derive(Debug, clap::Args)]
pub struct EnqueueArgs {
    /// One job document a line; `-` reads standard input.
    pub file: PathBuf,
    /// The store to put them into.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Send them to this SQS queue in place of a store: its URL, its ARN, or its name in the region
    /// that is configured. What no line says is then settled by the worker that receives it.
    #[arg(long, value_name = "URL", conflicts_with = "store")]
    pub sqs: Option<String>,
    /// The model of documents that name none: an alias, an id or an ARN.
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// The store is one for simulated work.
    #[arg(long)]
    pub simulate: bool,
    /// Print a JSON object: `admitted`, `existing`, `duplicate`, and `refused` line by line; with
    /// --sqs `sent`, `perhaps_twice`, `queue`, and `refused`.
    #[arg(long)]
    pub json: bool,
}

/// What enqueueing works with.
#[derive(Clone, Copy)]
pub struct EnqueueRoom<'r> {
    /// Where the jobs go.
    pub store: &'r dyn Store,
    /// What makes jobs of documents.
    pub admission: &'r Admission,
    /// What the time is.
    pub clock: &'r Clock,
    /// The longest line: `job.document_bytes_max`.
    pub line_bytes_max: usize,
    /// How many jobs one transaction takes: `store.write_rows_max`.
    pub rows_max: u32,
}

/// Enqueues a file. True if no line was refused.
pub async fn run(
    args: &EnqueueArgs,
    room: EnqueueRoom<'_>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<bool> {
    let (name, lines) = open(args, room.line_bytes_max)?;
    let location = room.store.about().await?.location;
    let mut report = Report::new(out, err);
    report.begin(args.json, &name)?;
    let stored = enqueue(args, &name, lines, room, &mut report).await;
    if stored.is_ok() || args.json {
        // Also what broke off half-way is one JSON object.
        report.stored(&location)?;
    }
    stored?;
    Ok(report.refused == 0)
}

/// The file's name for people, and its lines.
fn open(
    args: &EnqueueArgs,
    line_bytes_max: usize,
) -> anyhow::Result<(String, JsonLines<Box<dyn BufRead>>)> {
    let name = args.file.display().to_string();
    let (name, reader): (_, Box<dyn BufRead>) = if name == "-" {
        ("standard input".to_owned(), Box::new(std::io::stdin().lock()))
    } else {
        let file = File::open(&args.file).with_context(|| format!("open {name}"))?;
        (name, Box::new(BufReader::new(file)))
    };
    Ok((name, JsonLines::new(reader, line_bytes_max)))
}

/// Lines that are ready to be stored together.
#[derive(Default)]
struct Chunk {
    lines: Vec<Pending>,
    bytes: usize,
}

struct Pending {
    line: u64,
    job: NewJob,
}

async fn enqueue<R: BufRead, O: Write, E: Write>(
    args: &EnqueueArgs,
    name: &str,
    mut lines: JsonLines<R>,
    room: EnqueueRoom<'_>,
    report: &mut Report<'_, O, E>,
) -> anyhow::Result<()> {
    let limits = room.store.limits().await?;
    let overrides = Overrides { model: args.model.clone() };
    let rows_max = usize::try_from(room.rows_max.max(1)).unwrap_or(usize::MAX);
    let mut chunk = Chunk::default();
    while let Some(line) = lines.next_line().with_context(|| format!("read {name}"))? {
        let number = line.number;
        match prepare(line, room, &overrides, &limits) {
            Ok(job) => {
                chunk.bytes = chunk.bytes.saturating_add(job.document.len());
                chunk.lines.push(Pending { line: number, job });
            }
            Err(problems) => report.refuse(number, &problems)?,
        }
        if chunk.lines.len() >= rows_max || chunk.bytes >= CHUNK_BYTES_MAX {
            store(std::mem::take(&mut chunk), room, report).await?;
        }
    }
    store(chunk, room, report).await
}

fn prepare(
    line: JsonLine,
    room: EnqueueRoom<'_>,
    overrides: &Overrides,
    limits: &[LimitRule],
) -> Result<NewJob, Vec<Problem>> {
    let text = line.text.map_err(|problem| vec![problem])?;
    room.admission.prepare(&text, overrides, Origin::default(), limits, room.clock.now())
}

async fn store<O: Write, E: Write>(
    chunk: Chunk,
    room: EnqueueRoom<'_>,
    report: &mut Report<'_, O, E>,
) -> anyhow::Result<()> {
    if chunk.lines.is_empty() {
        return Ok(());
    }
    // Kept beside the jobs, to name what differs where an id is taken.
    let told: Vec<(u64, Option<String>)> = chunk
        .lines
        .iter()
        .map(|Pending { line, job }| (*line, job.identity.as_ref().map(|_| job.document.clone())))
        .collect();
    let jobs = chunk.lines.into_iter().map(|pending| pending.job).collect();
    let admitted = room.store.admit(jobs).await.with_context(|| {
        format!(
            "store the lines from {} on; {} lines before them are stored, and enqueueing the file \
             again doubles no line that has an `id`",
            told.first().map_or(0, |(line, _)| *line),
            report.accepted,
        )
    })?;
    for ((line, document), answer) in told.iter().zip(admitted) {
        match answer {
            Admitted::New(_) => {
                report.accepted += 1;
                report.without_id += u64::from(document.is_none());
            }
            Admitted::Existing(..) | Admitted::Before(..) => report.existing += 1,
            Admitted::Duplicate(job_id) => report.duplicate(*line, &job_id.to_string())?,
            Admitted::IdConflict { job_id, document: stored, state } => {
                let state = state.map_or("deleted", job::State::as_str);
                let changed = changed_fields(stored.as_deref(), document.as_deref());
                let reason = format!(
                    "belongs to the job {job_id} ({state}) with another document{changed}; \
                     give another id, or send the same document"
                );
                report.refuse(*line, &[Problem::new("$.id", reason)])?;
            }
        }
    }
    Ok(())
}

/// `: model, prompt differ`, as far as the stored document is still there.
fn changed_fields(stored: Option<&str>, sent: Option<&str>) -> String {
    let parsed = |text: Option<&str>| text.and_then(|text| job::parse(text).ok());
    match (parsed(stored), parsed(sent)) {
        (Some(stored), Some(sent)) => match stored.changed_fields(&sent).as_slice() {
            [] => String::new(),
            [one] => format!(": `{one}` differs"),
            many => format!(": `{}` differ", many.join("`, `")),
        },
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;
    use crate::store::{JobFilter, ReadStore as _};
    use expect_test::expect;

    async fn enqueued(scene: &Scene, text: &str, json: bool) -> (bool, String) {
        let file = scene.dir.path().join("jobs.jsonl");
        std::fs::write(&file, text).unwrap();
        let args = EnqueueArgs { file, store: None, sqs: None, model: None, simulate: false, json };
        let room = EnqueueRoom {
            store: &scene.store,
            admission: &scene.admission,
            clock: &scene.clock,
            line_bytes_max: 200,
            rows_max: 2,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let clean = run(&args, room, &mut out, &mut err).await.unwrap();
        err.extend_from_slice(&out);
        let text = String::from_utf8(err).unwrap();
        (clean, text.replace(&format!("{}/", scene.dir.path().display()), ""))
    }

    #[tokio::test]
    async fn a_bad_line_is_named_and_never_stops_the_others() {
        let scene = Scene::new().await;
        let long = format!("{{\"prompt\":\"{}\"}}", "x".repeat(300));
        let text = format!(
            "{{\"id\":\"a\",\"prompt\":\"one\"}}\n\n{{\"promt\":1}}\n{long}\n{{\n\
             {{\"id\":\"a\",\"prompt\":\"one\"}}\n{{\"prompt\":\"two\",\"model\":\"gpt\\u001b[31m\"}}\n\
             {{\"prompt\":\"three\",\"temperature\":7,\"max_tokens\":0}}\n{{\"prompt\":\"four\"}}"
        );
        let (clean, shown) = enqueued(&scene, &text, false).await;
        assert!(!clean);
        expect![[r#"
            jobs.jsonl:3: $.promt: is not a field here; did you mean `prompt`?
            jobs.jsonl:4: $: the line has 313 bytes and 200 are allowed; shorten it or raise job.document_bytes_max
            jobs.jsonl:5: $: is not JSON: EOF while parsing an object (column 1)
            jobs.jsonl:7: $.model: contains a control character
            jobs.jsonl:8: $.temperature: 7 is outside 0 to 1
            jobs.jsonl:8: $.max_tokens: 0 is outside 1 to 10000000
            admitted 2, existing 1, duplicate 0, refused 5; the store is quarrier.db
            1 line has no `id`: enqueueing the file again would do that work again
        "#]].assert_eq(&shown);
        let jobs = scene.store.jobs(&JobFilter { rows_max: 10, ..JobFilter::default() }).await;
        assert_eq!(jobs.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_file_enqueued_twice_is_found_and_a_changed_document_is_refused_with_its_fields() {
        let scene = Scene::new().await;
        let lines = |prompt: &str| {
            format!(
                "{{\"id\":\"a\",\"prompt\":\"one\"}}\n{{\"id\":\"b\",\"prompt\":\"{prompt}\",\"priority\":{}}}\n\
                 {{\"id\":\"c\",\"prompt\":\"x\",\"dedupe_key\":\"k\"}}\n",
                prompt.len()
            )
        };
        assert!(enqueued(&scene, &lines("two"), false).await.0);
        assert!(enqueued(&scene, &lines("two"), false).await.0);
        let (clean, shown) = enqueued(&scene, &lines("three"), false).await;
        assert!(!clean);
        let job_id = scene.store.job("b").await.unwrap().unwrap().row.job_id.to_string();
        expect![[r#"
            jobs.jsonl:2: $.id: belongs to the job JOB (ready) with another document: `priority`, `prompt` differ; give another id, or send the same document
            admitted 0, existing 2, duplicate 0, refused 1; the store is quarrier.db
        "#]].assert_eq(&shown.replace(&job_id, "JOB"));
    }

    #[tokio::test]
    async fn a_held_dedupe_key_is_reported_and_is_no_refusal() {
        let scene = Scene::new().await;
        let text =
            "{\"prompt\":\"x\",\"dedupe_key\":\"k\"}\n{\"prompt\":\"y\",\"dedupe_key\":\"k\"}\n";
        let (clean, shown) = enqueued(&scene, text, false).await;
        assert!(clean);
        let jobs = scene.store.jobs(&JobFilter { rows_max: 10, ..JobFilter::default() }).await;
        let job_id = jobs.unwrap()[0].job_id.to_string();
        expect![[r#"
            jobs.jsonl:2: $.dedupe_key: the job JOB has it and has not ended; not admitted again
            admitted 1, existing 0, duplicate 1, refused 0; the store is quarrier.db
            1 line has no `id`: enqueueing the file again would do that work again
        "#]]
        .assert_eq(&shown.replace(&job_id, "JOB"));
    }

    #[tokio::test]
    async fn json_is_one_object_with_every_refused_line() {
        let scene = Scene::new().await;
        let text = "{}\n{\"id\":\"a\",\"prompt\":\"one\"}\n[]\n";
        let (clean, shown) = enqueued(&scene, text, true).await;
        assert!(!clean);
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["refused"].as_array().unwrap().len(), 2);
        expect![[r#"
            {"refused":[
            {"line":1,"problems":[{"path":"$","reason":"one of `prompt` and `messages` is required"}]},
            {"line":3,"problems":[{"path":"$","reason":"invalid type: sequence, expected a JSON object"}]}],"admitted":1,"existing":0,"duplicate":0}
        "#]].assert_eq(&shown);
        let (_, none) = enqueued(&scene, "", true).await;
        expect![[r#"
            {"refused":[],"admitted":0,"existing":0,"duplicate":0}
        "#]]
        .assert_eq(&none);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let scene = Scene::new().await;
        let args = EnqueueArgs {
            file: "nowhere.jsonl".into(),
            store: None,
            sqs: None,
            model: None,
            simulate: false,
            json: false,
        };
        let room = EnqueueRoom {
            store: &scene.store,
            admission: &scene.admission,
            clock: &scene.clock,
            line_bytes_max: 200,
            rows_max: 2,
        };
        let error = run(&args, room, &mut Vec::new(), &mut Vec::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "open nowhere.jsonl");
    }
}
