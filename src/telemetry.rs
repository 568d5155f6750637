//! Logging to standard error: text on a terminal, JSON lines elsewhere.
//! Must not know: what is logged.
//!
//! The rule for every line:
//!
//! - `error`: a person must act, or work stands still.
//! - `warn`: something went wrong and was dealt with (a limit waits, a call is retried).
//! - `info`: a role starts or stops, and one line for each finished job.
//! - `debug`: token counts and the figures of single calls.
//! - `trace`: nothing of our own.
//!
//! Prompts and answers are never logged unless `log_bodies` says so; credentials never.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text where standard error is a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries that would drown our own lines, and at their finest level show bodies. They open
/// only to a `RUST_LOG` that names them: a level for everything does not reach them.
const QUIET: &str = "aws_config=error,aws_credential_types=warn,aws_runtime=warn,\
    aws_sdk_bedrockruntime=warn,aws_sdk_sso=warn,aws_sdk_ssooidc=warn,aws_sdk_sts=warn,\
    aws_sigv4=warn,aws_smithy_eventstream=warn,aws_smithy_http=warn,aws_smithy_http_client=warn,\
    aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,h2=warn,hyper=warn,hyper_util=warn,\
    rustls=warn,sqlx=warn,tower=warn";

/// Starts logging for this process. `default_level` is a level (`info`) and holds where
/// `rust_log`, the content of `RUST_LOG`, is absent or empty.
///
/// Fails where the filter cannot be read, or logging was started before.
pub fn init(format: LogFormat, default_level: &str, rust_log: Option<&str>) -> anyhow::Result<()> {
    let filter = filter(default_level, rust_log)?;
    let on_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .with_ansi(on_terminal);
    let as_json = match format {
        LogFormat::Auto => !on_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let started =
        if as_json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    started.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}

fn filter(default_level: &str, rust_log: Option<&str>) -> anyhow::Result<EnvFilter> {
    let wanted = rust_log.filter(|text| !text.trim().is_empty()).unwrap_or(default_level);
    EnvFilter::builder().parse(format!("{QUIET},{wanted}")).with_context(|| {
        format!("the log filter `{wanted}` is not a level or a list such as `info,sqlx=debug`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rust_log: Option<&str>) -> String {
        filter("info", rust_log).unwrap().to_string()
    }

    #[test]
    fn the_default_level_holds_where_rust_log_is_absent_or_empty() {
        assert!(shown(None).contains(",info") || shown(None).ends_with("info"));
        assert_eq!(shown(None), shown(Some(" ")));
    }

    #[test]
    fn a_level_for_everything_leaves_the_libraries_quiet() {
        let filter = shown(Some("debug"));
        assert!(filter.contains("aws_smithy_runtime=warn"), "{filter}");
        assert!(filter.contains("debug"), "{filter}");
    }

    #[test]
    fn a_library_opens_when_it_is_named() {
        let filter = shown(Some("info,aws_config=trace"));
        assert!(filter.contains("aws_config=trace"), "{filter}");
        assert!(!filter.contains("aws_config=warn"), "{filter}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(filter("info", Some("quarrier=loud")).is_err());
    }
}
