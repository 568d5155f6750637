//! What `enqueue` says of a file: at once what was refused, at the end the counts, as text or as
//! one JSON object.
//! Must not know: where the lines go.

use std::io::Write;

use serde_json::json;

use crate::cli::table::one_line;
use crate::job::Problem;

/// Counts, and says at once what was refused: nothing is kept, however many lines there are.
pub(super) struct Report<'w, O, E> {
    out: &'w mut O,
    err: &'w mut E,
    json: bool,
    name: String,
    /// Lines that are in the store, or on the queue, now.
    pub(super) accepted: u64,
    /// Those of them that have no `id`.
    pub(super) without_id: u64,
    /// Lines whose job was there before.
    pub(super) existing: u64,
    /// Lines whose `dedupe_key` is held.
    duplicates: u64,
    /// Lines that were refused.
    pub(super) refused: u64,
    /// Lines without an `id` that were sent again after an answer that never came.
    pub(super) resent: u64,
}

impl<'w, O: Write, E: Write> Report<'w, O, E> {
    pub(super) fn new(out: &'w mut O, err: &'w mut E) -> Self {
        Self {
            out,
            err,
            json: false,
            name: String::new(),
            accepted: 0,
            without_id: 0,
            existing: 0,
            duplicates: 0,
            refused: 0,
            resent: 0,
        }
    }

    pub(super) fn begin(&mut self, json: bool, name: &str) -> std::io::Result<()> {
        self.json = json;
        name.clone_into(&mut self.name);
        // The list comes first, because it is written while the file is read.
        if json { write!(self.out, "{{\"refused\":[") } else { Ok(()) }
    }

    pub(super) fn refuse(&mut self, line: u64, problems: &[Problem]) -> std::io::Result<()> {
        if self.json {
            let comma = if self.refused == 0 { "" } else { "," };
            write!(self.out, "{comma}\n{}", json!({ "line": line, "problems": problems }))?;
        } else {
            for problem in problems {
                let problem = one_line(&problem.to_string());
                writeln!(self.err, "{}:{line}: {problem}", self.name)?;
            }
        }
        self.refused += 1;
        Ok(())
    }

    pub(super) fn duplicate(&mut self, line: u64, job_id: &str) -> std::io::Result<()> {
        self.duplicates += 1;
        if self.json {
            return Ok(());
        }
        writeln!(
            self.err,
            "{}:{line}: $.dedupe_key: the job {job_id} has it and has not ended; not admitted again",
            self.name
        )
    }

    /// The last words of a file that went into a store.
    pub(super) fn stored(&mut self, location: &str) -> std::io::Result<()> {
        let Self { accepted, existing, duplicates, refused, .. } = self;
        if self.json {
            return writeln!(
                self.out,
                "],\"admitted\":{accepted},\"existing\":{existing},\"duplicate\":{duplicates}}}"
            );
        }
        writeln!(
            self.out,
            "admitted {accepted}, existing {existing}, duplicate {duplicates}, refused {refused}; the store is {location}"
        )?;
        self.unnamed("enqueueing")
    }

    /// The last words of a file that went to a queue.
    pub(super) fn sent(&mut self, url: &str) -> std::io::Result<()> {
        let Self { accepted, refused, resent, .. } = self;
        if self.json {
            let (accepted, resent) = (*accepted, *resent);
            let end =
                json!({ "sent": accepted, "perhaps_twice": resent, "queue": url }).to_string();
            return writeln!(self.out, "],{}", end.strip_prefix('{').unwrap_or_default());
        }
        writeln!(self.out, "sent {accepted}, refused {refused}; the queue is {url}")?;
        if *resent > 0 {
            let lines = lines(*resent);
            writeln!(
                self.out,
                "{lines} without an `id` may be on the queue twice: the answer to a request was lost"
            )?;
        }
        self.unnamed("sending")
    }

    fn unnamed(&mut self, doing: &str) -> std::io::Result<()> {
        if self.without_id == 0 {
            return Ok(());
        }
        let have = if self.without_id == 1 { "has" } else { "have" };
        let lines = lines(self.without_id);
        writeln!(
            self.out,
            "{lines} {have} no `id`: {doing} the file again would do that work again"
        )
    }
}

fn lines(count: u64) -> String {
    format!("{count} line{}", if count == 1 { "" } else { "s" })
}
