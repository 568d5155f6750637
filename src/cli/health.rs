//! `quarrier health`: asks a process of this program how it is, for container health checks and
//! people. It brings its own client, because small images have none.
//! Must not know: how health is judged.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::config::Settings;
use crate::http::{HEALTHZ, READYZ};

/// The longest wait for the whole answer: a process that is well answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 65_536;

/// Ask a worker of this machine how it is. Exit codes: 0 it is well, 1 it is not or does not
/// answer, 2 there is nothing to ask.
#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Where to ask, such as `http://127.0.0.1:8787`; else the setting `http.listen`. An address
    /// with a path is asked as it stands.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Ask whether it takes work and gets it done (/readyz), not only whether it must be started
    /// anew (/healthz).
    #[arg(long)]
    pub ready: bool,
}

/// What is read of an answer; a simulator's has no checks.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    checks: Vec<Checked>,
}

#[derive(Debug, Deserialize)]
struct Checked {
    name: String,
    ok: bool,
    age_ms: Option<u64>,
    says: String,
}

/// Runs `quarrier health`; true if all is well.
pub async fn run(
    args: &HealthArgs,
    settings: &Settings,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let url = url(args, settings.http.address())?;
    let (code, body) = match tokio::time::timeout(PATIENCE, ask(&url)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => {
            writeln!(out, "{url} does not answer: {error:#}")?;
            return Ok(false);
        }
        Err(_) => {
            writeln!(out, "{url} does not answer within {} s", PATIENCE.as_secs())?;
            return Ok(false);
        }
    };
    let well = code == StatusCode::OK;
    writeln!(out, "{url}: {} ({})", if well { "ok" } else { "failing" }, code.as_u16())?;
    // Another server's answer is shown by its code alone.
    let answer = serde_json::from_slice(&body).unwrap_or(Answer { checks: Vec::new() });
    for check in answer.checks {
        let mark = if check.ok { "ok     " } else { "failing" };
        let age = check.age_ms.map(|ms| format!(" ({ms} ms ago)")).unwrap_or_default();
        writeln!(out, "  {mark} {}: {}{age}", check.name, check.says)?;
    }
    Ok(well)
}

fn url(args: &HealthArgs, listen: Option<SocketAddr>) -> anyhow::Result<String> {
    let path = if args.ready { READYZ } else { HEALTHZ };
    let Some(given) = &args.url else {
        let Some(listen) = listen else {
            bail!(
                "find whom to ask: http.listen is not set, so `quarrier serve` answers nowhere; set \
                 it (QUARRIER_HTTP__LISTEN=127.0.0.1:8787), or name an address with --url"
            );
        };
        return Ok(format!("http://{}{path}", from_here(listen)));
    };
    let Some(rest) = given.strip_prefix("http://") else {
        bail!("ask {given}: it must begin with http://");
    };
    let has_path = rest.split_once('/').is_some_and(|(_, path)| !path.is_empty());
    Ok(if has_path { given.clone() } else { format!("{}{path}", given.trim_end_matches('/')) })
}

/// "Every address of this machine" is where to listen, and nowhere to ask.
fn from_here(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

async fn ask(url: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::get(url).body(Body::empty()).context("read the address")?;
    let answer = client.request(request).await.context("ask")?;
    let code = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
    Ok((code, body.context("read the answer")?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(given: Option<&str>, ready: bool, listen: &str) -> String {
        let args = HealthArgs { url: given.map(str::to_owned), ready };
        url(&args, listen.parse().ok()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn it_asks_the_configured_address_from_this_machine_unless_told_another() {
        assert_eq!(asked(None, false, "0.0.0.0:8787"), "http://127.0.0.1:8787/healthz");
        assert_eq!(asked(None, true, "[::]:8787"), "http://[::1]:8787/readyz");
        assert_eq!(asked(None, false, "10.0.0.7:1"), "http://10.0.0.7:1/healthz");
        assert_eq!(asked(Some("http://sim:8788/"), false, ""), "http://sim:8788/healthz");
        assert_eq!(asked(Some("http://sim:8788/x"), true, ""), "http://sim:8788/x");
        assert!(asked(None, false, "").contains("QUARRIER_HTTP__LISTEN"));
        assert!(asked(Some("sim:8788"), false, "").contains("must begin with http://"));
    }
}
