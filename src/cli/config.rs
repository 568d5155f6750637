//! `quarrier config`: a file to start from, and every setting with its origin.
//! Must not know: what a setting means.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::{self, FILE_NAME, LoadArgs, Loaded};

/// The file that `config init` writes.
const INIT: &str = include_str!("../../config/init.toml");

/// One very long value must not push every origin off the screen.
const WIDTH_MAX: usize = 60;

/// The configuration: a file to start from, and every setting with its origin.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What `quarrier config` can do.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Write a short commented file to edit; an existing one is left alone.
    Init(InitArgs),
    /// Print every setting, its value and where it comes from.
    Show(ShowArgs),
}

/// Where `config init` writes.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The file to write.
    #[arg(default_value = FILE_NAME)]
    pub file: PathBuf,
}

/// How `config show` prints.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Print a JSON array of key, value and origin.
    #[arg(long)]
    pub json: bool,
}

/// Runs `quarrier config`.
pub fn run(args: &ConfigArgs, load: &LoadArgs, out: &mut impl Write) -> anyhow::Result<()> {
    match &args.command {
        ConfigCommand::Init(args) => init(&args.file, out),
        ConfigCommand::Show(args) => show(args, &config::load(load)?, out),
    }
}

fn init(path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let shown = path.display();
    // `create_new` looks and creates in one step: no file that appears meanwhile is lost.
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("write {shown}: the file is already there; name another, or move it away")
        }
        Err(error) => return Err(error).with_context(|| format!("write {shown}")),
    };
    file.write_all(INIT.as_bytes()).with_context(|| format!("write {shown}"))?;
    writeln!(out, "wrote {shown}; `quarrier config show` lists every setting")?;
    Ok(())
}

fn show(args: &ShowArgs, loaded: &Loaded, out: &mut impl Write) -> anyhow::Result<()> {
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &loaded.origins)?;
        writeln!(out)?;
        return Ok(());
    }
    let lines: Vec<(String, &str)> = loaded
        .origins
        .iter()
        .map(|setting| (format!("{} = {}", setting.key, setting.value), setting.origin.as_str()))
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|w| *w <= WIDTH_MAX);
    let width = width.max().unwrap_or_default();
    for (line, origin) in lines {
        writeln!(out, "{line:width$}  {origin}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Override;
    use expect_test::expect;

    fn shown(json: bool, load: &LoadArgs) -> String {
        let args = ConfigArgs { command: ConfigCommand::Show(ShowArgs { json }) };
        let mut out = Vec::new();
        run(&args, load, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn load_args(dir: &Path) -> LoadArgs {
        LoadArgs {
            dir: dir.to_owned(),
            env: [("AWS_REGION".to_owned(), "eu-west-1".to_owned())].into(),
            flags: vec![Override {
                key: "worker.concurrency".to_owned(),
                value: 8.into(),
                flag: "--concurrency".to_owned(),
            }],
            ..LoadArgs::default()
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one for each setting")]
    fn show_lists_every_setting_with_its_origin() {
        let dir = tempfile::tempdir().unwrap();
        let text = shown(false, &load_args(dir.path()));
        expect![[r#"
            bedrock.api = "converse"                 default
            bedrock.call_timeout_ms_base = 60000     default
            bedrock.call_timeout_ms_max = 3600000    default
            bedrock.call_timeout_ms_per_token = 100  default
            bedrock.connect_timeout_ms = 3000        default
            bedrock.endpoint = ""                    default
            bedrock.families = {}                    default
            bedrock.first_token_timeout_ms = 60000   default
            bedrock.idle_timeout_ms = 60000          default
            bedrock.profiles = []                    default
            bedrock.region = "eu-west-1"             environment AWS_REGION
            bedrock.stream = true                    default
            budget.quota_share = 1.0                 default
            catalogue.allow_retired_models = false   default
            catalogue.models_file = ""               default
            check.answer_bytes_max = 2097152         default
            check.error_bytes_max = 300              default
            check.errors_shown_max = 10              default
            check.reask_answer_bytes_max = 16384     default
            check.schema_bytes_max = 262144          default
            check.schema_depth_max = 64              default
            check.schema_unfolded_max = 200000       default
            check.validation_steps_max = 1000000000  default
            client.wait_ms_max = 90000               default
            http.listen = ""                         default
            job.deadline_s = 604800                  default
            job.document_bytes_max = 1048576         default
            job.if_outcome_unknown = "retry"         default
            job.max_tokens = 4096                    default
            job.model = "claude-haiku-4.5"           default
            job.queue = "default"                    default
            job.temperature = 0.7                    default
            job.temperature_structured = 0.2         default
            job.tenant = "default"                   default
            limits.total.requests_per_minute = 50    default
            log.bodies = false                       default
            log.format = "auto"                      default
            log.level = "info"                       default
            queues = {}                              default
            relay.absent_ms_base = 10000             default
            relay.absent_ms_max = 900000             default
            relay.age_s_max = 604800                 default
            relay.batches_max = 4                    default
            relay.bytes_max = 33554432               default
            relay.drain_s = 20                       default
            relay.facts_s = 300                      default
            relay.hold_ms = 60000                    default
            relay.poll_ms = 1000                     default
            relay.retry_ms_base = 500                default
            relay.retry_ms_max = 300000              default
            relay.rows_max = 200                     default
            relay.targets_max = 8                    default
            relay.tries_max = 10000                  default
            retention.bodies_days = 30               default
            retention.jobs_days = 90                 default
            retention.queues = {}                    default
            retention.tenants = {}                   default
            retry.backoff_base_ms = 1000             default
            retry.backoff_factor = 2                 default
            retry.backoff_ms_max = 60000             default
            retry.crashes_max = 3                    default
            retry.failures_max = 4                   default
            retry.model_not_ready_ms_min = 5000      default
            retry.outage_calls = 3                   default
            retry.outage_ms_base = 1000              default
            retry.outage_ms_max = 60000              default
            retry.paused_ms = 60000                  default
            retry.reasks_max = 2                     default
            retry.retry_after_ms_max = 86400000      default
            retry.throttle_base_ms = 2000            default
            retry.throttled_day_ms = 3600000         default
            retry.throttles_max = 10000              default
            retry.unavailable_base_ms = 250          default
            sqs.ack = "auto"                         default
            sqs.backlog_max = 100000                 default
            sqs.bucket = ""                          default
            sqs.bucket_prefix = "quarrier/"          default
            sqs.connect_timeout_ms = 3000            default
            sqs.endpoint = ""                        default
            sqs.held_max = 1000                      default
            sqs.intake = []                          default
            sqs.on_bad = "dead_letter"               default
            sqs.receive_loops_max = 2                default
            sqs.region = ""                          default
            sqs.reply_allow = []                     default
            sqs.tenant_from_group = true             default
            sqs.timeout_ms = 10000                   default
            sqs.visibility_s = 120                   default
            store.busy_timeout_ms = 10000            default
            store.connections_max = 8                default
            store.direct_url = ""                    default
            store.iam = false                        default
            store.listen = true                      default
            store.lock_timeout_ms = 5000             default
            store.password_file = ""                 default
            store.password_secret = ""               default
            store.pooled = false                     default
            store.results_page_rows = 500            default
            store.seen_days = 30                     default
            store.statement_timeout_ms = 15000       default
            store.url = "quarrier.db"                default
            store.url_file = ""                      default
            store.write_ms_max = 50                  default
            store.write_rows_max = 500               default
            tenants = {}                             default
            worker.beat_ms = 3000                    default
            worker.claim_interval_ms = 25            default
            worker.claim_rows_max = 500              default
            worker.claim_scan_max = 640              default
            worker.concurrency = 8                   flag --concurrency
            worker.drain_hard_s = 10                 default
            worker.drain_soft_s = 120                default
            worker.finish_bytes_max = 33554432       default
            worker.finish_rows_max = 500             default
            worker.lease_ms = 12000                  default
            worker.pass_ms_max = 30000               default
            worker.poll_ms = 500                     default
            worker.send_late_ms_max = 400            default
            worker.spool_bytes_max = 1073741824      default
            worker.spool_dir = ""                    default
            worker.stuck_ms_max = 120000             default
            worker.unsaved_bytes_max = 67108864      default
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn show_as_json_is_an_array_of_key_value_and_origin() {
        let dir = tempfile::tempdir().unwrap();
        let text = shown(true, &load_args(dir.path()));
        let settings: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let concurrency = settings.iter().find(|one| one["key"] == "worker.concurrency");
        expect![[r#"{"key":"worker.concurrency","value":8,"origin":"flag --concurrency"}"#]]
            .assert_eq(&concurrency.unwrap().to_string());
    }

    #[test]
    fn init_writes_a_file_that_loads_and_never_overwrites_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        let args = ConfigArgs { command: ConfigCommand::Init(InitArgs { file: file.clone() }) };
        let load = LoadArgs { dir: dir.path().to_owned(), ..LoadArgs::default() };
        let mut out = Vec::new();
        run(&args, &load, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with("wrote "));
        config::load(&load).unwrap();
        let error = run(&args, &load, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("is already there"), "{error}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), INIT);
    }

    #[test]
    fn every_suggestion_in_the_written_file_would_load() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<&str> = INIT
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .collect();
        assert_ne!(all.join("\n"), INIT.trim_end());
        std::fs::write(dir.path().join(FILE_NAME), all.join("\n")).unwrap();
        let load = LoadArgs { dir: dir.path().to_owned(), ..LoadArgs::default() };
        assert_eq!(config::load(&load).unwrap().settings.limits.len(), 3);
    }
}
