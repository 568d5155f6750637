//! `quarrier enqueue --sqs`: the lines of a file as messages of a queue, for the workers that read it.
//! Each line is checked as for a store; what no line says is settled by who receives it.
//! Must not know: stores, or which service keeps the queue.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;

use super::report::Report;
use super::{EnqueueArgs, open};
use crate::admit::{Admission, Origin, Overrides};
use crate::cli::jsonl::{JsonLine, JsonLines};
use crate::clock::Clock;
use crate::job::{self, Problem};
use crate::message_queue::{
    MESSAGE_BYTES_MAX, MessageQueue, Outgoing, QueueError, QueueErrorKind, id_of, is_fifo, is_id,
    spelt_out,
};

/// How many messages are given to the queue at once; ten go in one request.
const CHUNK_LINES_MAX: usize = 100;
/// How many bytes of them, so that large documents do not fill the memory first.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a message is sent before the command gives up.
const TRIES_MAX: u32 = 6;
/// The longest pause before the second try, in milliseconds; each further one may be twice as long.
pub const PAUSE_MS: u64 = 500;
/// The group of documents that name no tenant, on queues that need one.
const GROUP: &str = "default";

/// What sending works with.
#[derive(Clone, Copy)]
pub struct SendRoom<'r> {
    /// Where the messages go.
    pub queue: &'r dyn MessageQueue,
    /// What says whether a document could be admitted.
    pub admission: &'r Admission,
    /// What the time is.
    pub clock: &'r Clock,
    /// The longest line: `job.document_bytes_max`.
    pub line_bytes_max: usize,
    /// The longest pause before a second try: [`PAUSE_MS`].
    pub pause_ms: u64,
}

/// Sends a file to the queue that is named. True if no line was refused.
pub async fn run(
    args: &EnqueueArgs,
    queue: &str,
    room: SendRoom<'_>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<bool> {
    let (name, lines) = open(args, room.line_bytes_max)?;
    // A queue that is not there is told before the first line.
    let target = Target::of(room.queue, queue).await?;
    let mut report = Report::new(out, err);
    report.begin(args.json, &name)?;
    let overrides = Overrides { model: args.model.clone() };
    let sent = send_all((&name, lines), &target, (room, &overrides), &mut report).await;
    if sent.is_ok() || args.json {
        // Also what broke off half-way is one JSON object.
        report.sent(&target.url)?;
    }
    sent?;
    Ok(report.refused == 0)
}

/// The queue, as far as it says what it is.
struct Target {
    url: String,
    fifo: bool,
    message_bytes_max: u64,
}

impl Target {
    async fn of(queue: &dyn MessageQueue, name: &str) -> anyhow::Result<Self> {
        let url = queue.url(name).await.map_err(unfound)?;
        match queue.facts(&url).await {
            Ok(facts) => {
                let message_bytes_max = facts.message_bytes_max;
                Ok(Self { url, fifo: facts.fifo, message_bytes_max })
            }
            // Who may send need not be allowed to look; the name alone tells a FIFO queue.
            Err(error) if error.kind == QueueErrorKind::Denied => {
                let fifo = is_fifo(&url);
                Ok(Self { url, fifo, message_bytes_max: MESSAGE_BYTES_MAX })
            }
            Err(error) => Err(unfound(error)),
        }
    }
}

/// The service's words, and the way out: they do not say in which region a name was looked for.
fn unfound(error: QueueError) -> anyhow::Error {
    if error.kind != QueueErrorKind::Gone {
        return error.into();
    }
    anyhow!(
        "{}; create it, or correct its name, its account, or the region in which names are looked for \
         (sqs.region, AWS_REGION)",
        error.message.trim_end_matches('.')
    )
}

/// A line that is ready to be sent.
struct Pending {
    line: u64,
    has_id: bool,
    /// Whether an answer to it was lost: the queue may have it.
    is_unsure: bool,
    message: Outgoing,
}

async fn send_all<R: BufRead, O: Write, E: Write>(
    (name, mut lines): (&str, JsonLines<R>),
    target: &Target,
    (room, overrides): (SendRoom<'_>, &Overrides),
    report: &mut Report<'_, O, E>,
) -> anyhow::Result<()> {
    let (mut chunk, mut bytes) = (Vec::new(), 0_usize);
    while let Some(line) = lines.next_line().with_context(|| format!("read {name}"))? {
        let number = line.number;
        match message(line, target, room, overrides) {
            Ok(pending) => {
                bytes = bytes.saturating_add(pending.message.body.len());
                chunk.push(pending);
            }
            Err(problems) => report.refuse(number, &problems)?,
        }
        if chunk.len() >= CHUNK_LINES_MAX || bytes >= CHUNK_BYTES_MAX {
            send(std::mem::take(&mut chunk), target, room, report).await?;
            bytes = 0;
        }
    }
    send(chunk, target, room, report).await
}

/// The part of a document that a queue wants to know.
#[derive(Deserialize)]
struct Named {
    id: Option<String>,
    tenant: Option<String>,
}

fn message(
    line: JsonLine,
    target: &Target,
    room: SendRoom<'_>,
    overrides: &Overrides,
) -> Result<Pending, Vec<Problem>> {
    let number = line.number;
    let text = line.text.map_err(|problem| vec![problem])?;
    // The limits that hold are those of the store that it will go into.
    let prepared =
        room.admission.prepare(&text, overrides, Origin::default(), &[], room.clock.now())?;
    let Named { id, tenant } = serde_json::from_str(&prepared.document)
        .map_err(|error| vec![Problem::new("$", error.to_string())])?;
    let deduplication = target.fifo.then(|| match &id {
        Some(_) => job::digest(&prepared.document),
        // Equal lines are meant as two jobs; the same line sent again is not.
        None => job::digest(&format!("{number}\n{}", prepared.document)),
    });
    let body = spelt_out(prepared.document);
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if size > target.message_bytes_max {
        let reason = format!(
            "the message has {size} bytes and the queue takes {}; shorten it, raise the queue's \
             MaximumMessageSize (1 MiB at most), or enqueue it into the store itself",
            target.message_bytes_max
        );
        return Err(vec![Problem::new("$", reason)]);
    }
    let message = Outgoing {
        body,
        attributes: std::collections::BTreeMap::new(),
        group: group(tenant.as_deref(), target.fifo),
        deduplication,
        trace: None,
    };
    Ok(Pending { line: number, has_id: id.is_some(), is_unsure: false, message })
}

/// What keeps the order on a FIFO queue, and fair shares on a standard one.
fn group(tenant: Option<&str>, fifo: bool) -> Option<String> {
    match tenant {
        Some(tenant) if fifo || is_id(tenant) => Some(id_of(tenant)),
        Some(_) => None,
        None => fifo.then(|| GROUP.to_owned()),
    }
}

/// Sends lines until each is on the queue or refused, or gives up.
async fn send<O: Write, E: Write>(
    mut lines: Vec<Pending>,
    target: &Target,
    room: SendRoom<'_>,
    report: &mut Report<'_, O, E>,
) -> anyhow::Result<()> {
    let mut tries = 0_u32;
    while !lines.is_empty() {
        tries += 1;
        let messages: Vec<Outgoing> = lines.iter().map(|line| line.message.clone()).collect();
        let answers = room.queue.send(&target.url, &messages).await;
        let mut again = Vec::new();
        let mut failed = None;
        for (mut line, answer) in lines.into_iter().zip(answers.into_iter().chain(unanswered())) {
            match answer {
                Ok(_) => {
                    report.accepted += 1;
                    report.without_id += u64::from(!line.has_id);
                    report.resent += u64::from(!line.has_id && line.is_unsure && !target.fifo);
                }
                Err(error) if is_the_lines(error.kind) => {
                    report.refuse(line.line, &[Problem::new("$", error.to_string())])?;
                }
                Err(error) => {
                    line.is_unsure |= error.kind == QueueErrorKind::Unreachable;
                    failed = Some(error);
                    again.push(line);
                }
            }
        }
        lines = again;
        let (Some(error), Some(first)) = (failed, lines.first()) else { break };
        if tries >= TRIES_MAX || !is_passing(error.kind) {
            bail!(
                "send the lines from {} on: {error}; {} lines were sent, and sending the file again \
                 doubles no line that has an `id`",
                first.line,
                report.accepted,
            );
        }
        let longest = room.pause_ms << (tries.min(TRIES_MAX) - 1);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..=longest))).await;
    }
    Ok(())
}

/// A batch answers for each of its entries; one that it forgot is sent again.
fn unanswered() -> impl Iterator<Item = Result<String, QueueError>> {
    let message = "the answer does not name this message".to_owned();
    std::iter::repeat(Err(QueueError { kind: QueueErrorKind::Unreachable, message }))
}

/// Whether another line would have been taken.
fn is_the_lines(kind: QueueErrorKind) -> bool {
    use QueueErrorKind as Kind;
    matches!(kind, Kind::Contents | Kind::TooLarge)
}

/// Whether it may work in a moment.
fn is_passing(kind: QueueErrorKind) -> bool {
    use QueueErrorKind as Kind;
    matches!(kind, Kind::Throttled | Kind::Full | Kind::Unreachable)
}

#[cfg(test)]
mod tests;
