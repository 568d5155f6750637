//! `quarrier results`: every terminal job as a line of a JSONL file, and the file itself.
//! Must not know: how jobs come to their end, or what a line holds (`result_line` does).

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;
use uuid::Uuid;

use super::jsonl::JsonLines;
use crate::result_line::{is_result_line, result_line};
use crate::store::{ResultRow, ResultsAsk, Store};

/// The longest first line that is read to recognise a file; longer ones are none of ours.
const FIRST_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Write the results of all jobs that have ended, in the order of their ends.
#[derive(Debug, clap::Args)]
pub struct ResultsArgs {
    /// The store to read.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The file to write, one JSON object a line; `-` writes to standard output.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Add only jobs that ended after this one, the `last_seq` of the last time, to what OUT holds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub since_seq: i64,
    /// Print the summary as a JSON object: `results`, `last_seq`, `out`.
    #[arg(long)]
    pub json: bool,
}

/// Writes the results, `page_rows` at a time. The summary goes to `out`, or to `err` where the
/// results themselves go to `out`.
pub async fn run(
    args: &ResultsArgs,
    store: &dyn Store,
    page_rows: u32,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<()> {
    let simulated = store.about().await?.simulated.unwrap_or(false);
    let mut pages = Pages { store, page_rows, simulated, results: 0, last_seq: args.since_seq };
    if args.out.as_os_str() == "-" {
        pages.write(out).await?;
        out.flush().context("write to standard output")?;
        return summary(args, &pages, err);
    }
    let mut file = ResultsFile::create(&args.out, simulated)?;
    if args.since_seq > 0 {
        // What follows is added to what is there.
        match std::fs::File::open(&args.out) {
            Ok(mut before) => drop(std::io::copy(&mut before, &mut file)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("read the results that are there"),
        }
    }
    pages.write(&mut file).await?;
    file.finish()?;
    summary(args, &pages, out)
}

struct Pages<'s> {
    store: &'s dyn Store,
    page_rows: u32,
    simulated: bool,
    results: u64,
    last_seq: i64,
}

impl Pages<'_> {
    async fn write(&mut self, to: &mut impl Write) -> anyhow::Result<()> {
        loop {
            let rows_max = self.page_rows.max(1);
            let ask = ResultsAsk { after: self.last_seq, batch: None, rows_max };
            let page: Vec<ResultRow> = self.store.results(&ask).await?;
            let Some(last) = page.last() else { return Ok(()) };
            self.last_seq = last.seq;
            for row in &page {
                writeln!(to, "{}", result_line(row, self.simulated)).context("write a result")?;
                self.results += 1;
            }
        }
    }
}

fn summary(args: &ResultsArgs, pages: &Pages<'_>, to: &mut impl Write) -> anyhow::Result<()> {
    let (results, last_seq, out) = (pages.results, pages.last_seq, args.out.display());
    if args.json {
        let summary = json!({ "results": results, "last_seq": last_seq, "out": out.to_string() });
        writeln!(to, "{summary}")?;
    } else {
        let results =
            if results == 1 { "1 result".to_owned() } else { format!("{results} results") };
        let out = if args.out.as_os_str() == "-" {
            "standard output".to_owned()
        } else {
            out.to_string()
        };
        writeln!(to, "wrote {results} to {out}; what ends from now on: --since-seq {last_seq}")?;
    }
    Ok(())
}

/// A file of results in the making. It is written beside its place and moved there when it is
/// whole: whoever reads the file never sees half of it, and a failure leaves the old one alone.
#[derive(Debug)]
pub struct ResultsFile {
    writer: BufWriter<File>,
    part: Part,
    path: PathBuf,
}

impl ResultsFile {
    /// Begins a file in the place of `path`.
    ///
    /// # Errors
    /// Where something else stands there: a file that is no list of results, results of the other
    /// kind (real in the place of simulated ones, or the other way round), a folder or a pipe.
    pub fn create(path: &Path, simulated: bool) -> anyhow::Result<Self> {
        refuse_to_overwrite(path, simulated)?;
        // A link is followed once, so that its target is replaced and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.part", Uuid::now_v7()));
        let part = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&part);
        let file = file.with_context(|| format!("write to the folder of {}", path.display()))?;
        Ok(Self { writer: BufWriter::new(file), part: Part(Some(part)), path })
    }

    /// Moves the file to its place, once it is safely on the disk.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let shown = self.path.display().to_string();
        self.writer.flush().with_context(|| format!("write {shown}"))?;
        self.writer.get_ref().sync_all().with_context(|| format!("write {shown}"))?;
        if let Some(part) = &self.part.0 {
            fs::rename(part, &self.path).with_context(|| format!("write {shown}"))?;
        }
        self.part.0 = None;
        Ok(())
    }
}

impl Write for ResultsFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// The file beside the place; removed if it never gets there.
#[derive(Debug)]
struct Part(Option<PathBuf>);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(part) = &self.0
            && let Err(error) = fs::remove_file(part)
        {
            tracing::debug!(path = %part.display(), %error, "unfinished results not removed");
        }
    }
}

/// Refuses what `path` must not replace. Files that are not there, or empty, pass.
///
/// # Errors
/// As [`ResultsFile::create`] says.
pub fn refuse_to_overwrite(path: &Path, simulated: bool) -> anyhow::Result<()> {
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("look at {shown}")),
    };
    if !found.is_file() {
        bail!("write {shown}: it is no plain file; name another, or use `--out -`");
    }
    let file = File::open(path).with_context(|| format!("look at {shown}"))?;
    let mut lines = JsonLines::new(BufReader::new(file), FIRST_LINE_BYTES_MAX);
    let Some(first) = lines.next_line().with_context(|| format!("look at {shown}"))? else {
        return Ok(());
    };
    match first.text.ok().and_then(|line| is_result_line(&line)) {
        Some(kind) if kind == simulated => Ok(()),
        Some(true) => {
            bail!("write {shown}: it holds simulated results and these are real; name another file")
        }
        Some(false) => {
            bail!("write {shown}: it holds real results and these are simulated; name another file")
        }
        None => bail!(
            "write {shown}: it is there and holds no results; name another file, or move it away"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Scene, failing};
    use crate::error::ErrorKind as Kind;
    use crate::job::State;
    use crate::store::{Next, ReadStore as _};
    use expect_test::expect;

    fn args(out: PathBuf) -> ResultsArgs {
        ResultsArgs { store: None, out, since_seq: 0, json: false }
    }

    /// One that succeeded with an output, one that failed, one that was rejected, one cancelled.
    async fn four_ends() -> Scene {
        let scene = Scene::new().await;
        let document = r#"{"id":"a","prompt":"x","schema":{"type":"object"},"metadata":{"n":1e2}}"#;
        scene.admit(1, document).await;
        scene
            .call(|finish| {
                finish.next = Next::End {
                    state: State::Succeeded,
                    output: Some("{\n  \"n\": 1e2\n}".to_owned()),
                    text: None,
                    provenance: Some("direct".to_owned()),
                };
            })
            .await;
        scene.admit(2, r#"{"prompt":"y"}"#).await;
        scene.call(|finish| failing(finish, Kind::Truncated, "cut at max_tokens\n1000")).await;
        scene.admit(3, r#"{"promt":"z"}"#).await;
        scene.admit(4, r#"{"id":"d","prompt":"w"}"#).await;
        scene.store.cancel(&[Uuid::from_u128(4)]).await.unwrap();
        scene
    }

    #[tokio::test]
    async fn every_terminal_job_is_a_line_in_the_order_of_their_ends() {
        let scene = four_ends().await;
        let path = scene.dir.path().join("out.jsonl");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        run(&args(path.clone()), &scene.store, 3, &mut out, &mut err).await.unwrap();
        expect![[r#"
            {"format_version":1,"id":"a","job_id":"00000000-0000-0000-0000-000000000001","state":"succeeded","output":{"n":1e2},"text":null,"error":null,"queue":"default","model":"claude-haiku-4.5","usage":{"input":120,"output":30,"cache_read":0,"cache_write":0},"cost_usd":0.00027,"attempts":1,"provenance":"direct","simulated":false,"metadata":{"n":100.0}}
            {"format_version":1,"id":null,"job_id":"00000000-0000-0000-0000-000000000002","state":"failed","output":null,"text":null,"error":{"kind":"truncated","message":"cut at max_tokens\n1000"},"queue":"default","model":"claude-haiku-4.5","usage":{"input":120,"output":30,"cache_read":0,"cache_write":0},"cost_usd":0.00027,"attempts":1,"provenance":null,"simulated":false,"metadata":null}
            {"format_version":1,"id":null,"job_id":"00000000-0000-0000-0000-000000000003","state":"failed","output":null,"text":null,"error":{"kind":"rejected","message":"$.promt: is not a field here; did you mean `prompt`?"},"queue":"default","model":null,"usage":{"input":0,"output":0,"cache_read":0,"cache_write":0},"cost_usd":0,"attempts":0,"provenance":null,"simulated":false,"metadata":null}
            {"format_version":1,"id":"d","job_id":"00000000-0000-0000-0000-000000000004","state":"cancelled","output":null,"text":null,"error":{"kind":"cancelled","message":"cancelled by a person"},"queue":"default","model":"claude-haiku-4.5","usage":{"input":0,"output":0,"cache_read":0,"cache_write":0},"cost_usd":0,"attempts":0,"provenance":null,"simulated":false,"metadata":null}
        "#]].assert_eq(&fs::read_to_string(&path).unwrap());
        let said = String::from_utf8(out).unwrap();
        assert!(said.starts_with("wrote 4 results to "), "{said}");
        assert!(said.ends_with("--since-seq 4\n"), "{said}");
        assert!(err.is_empty());
        let names: Vec<_> = fs::read_dir(scene.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("out"))
            .collect();
        assert_eq!(names, ["out.jsonl"]);
    }

    #[tokio::test]
    async fn standard_output_gets_the_lines_alone_and_later_ones_on_demand() {
        let scene = four_ends().await;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ResultsArgs { since_seq: 3, json: true, ..args("-".into()) };
        run(&args, &scene.store, 500, &mut out, &mut err).await.unwrap();
        let lines = String::from_utf8(out).unwrap();
        assert_eq!(lines.lines().count(), 1);
        assert!(lines.contains("\"state\":\"cancelled\""), "{lines}");
        expect![[r#"
            {"results":1,"last_seq":4,"out":"-"}
        "#]]
        .assert_eq(&String::from_utf8(err).unwrap());
    }

    #[tokio::test]
    async fn a_file_of_results_is_replaced_as_a_whole_or_added_to() {
        let scene = four_ends().await;
        let path = scene.dir.path().join("out.jsonl");
        for (since_seq, lines) in [(0, 4), (0, 4), (3, 5)] {
            let args = ResultsArgs { since_seq, ..args(path.clone()) };
            run(&args, &scene.store, 500, &mut Vec::new(), &mut Vec::new()).await.unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), lines);
        }
    }

    #[test]
    fn other_files_and_results_of_the_other_kind_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let refused = |simulated: bool| {
            let error = refuse_to_overwrite(&path, simulated).unwrap_err().to_string();
            error.replace(&path.display().to_string(), "FILE")
        };
        refuse_to_overwrite(&path, false).unwrap();
        fs::write(&path, "\n").unwrap();
        refuse_to_overwrite(&path, false).unwrap();
        fs::write(&path, "{\"prompt\":\"my jobs\"}\n").unwrap();
        expect!["write FILE: it is there and holds no results; name another file, or move it away"]
            .assert_eq(&refused(false));
        let row = r#"{"format_version":1,"job_id":"00000000-0000-0000-0000-000000000000","state":"failed","simulated":true}"#;
        fs::write(&path, row).unwrap();
        refuse_to_overwrite(&path, true).unwrap();
        expect!["write FILE: it holds simulated results and these are real; name another file"]
            .assert_eq(&refused(false));
        fs::write(&path, row.replace("true", "false")).unwrap();
        expect!["write FILE: it holds real results and these are simulated; name another file"]
            .assert_eq(&refused(true));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        expect!["write FILE: it is no plain file; name another, or use `--out -`"]
            .assert_eq(&refused(true));
    }

    #[test]
    fn an_unfinished_file_leaves_the_old_one_alone_and_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        fs::write(&path, "").unwrap();
        let mut file = ResultsFile::create(&path, false).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
