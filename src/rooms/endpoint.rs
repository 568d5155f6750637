//! What stands behind an endpoint that somebody named: a simulator, or not. Simulated work goes to
//! simulators alone, and real work never to one, so a prompt leaves only after this is known.
//! Must not know: what is called there.

use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Body;
use axum::http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::simulator::SIMULATED_HEADER;

/// A simulator answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Refuses an address that is none, and one of the other kind.
pub(super) async fn check(endpoint: &str, simulated: bool) -> anyhow::Result<()> {
    let is_plain = endpoint.starts_with("http://");
    if !is_plain && !endpoint.starts_with("https://") {
        bail!(
            "failed to use the endpoint `{endpoint}` (--endpoint, bedrock.endpoint): it must begin \
             with http:// or https://"
        );
    }
    // The simulator speaks plain HTTP only, so nothing behind TLS is one.
    let found = if is_plain { is_simulator(endpoint).await } else { Ok(false) };
    match (simulated, found) {
        (true, Ok(true)) | (false, Ok(false)) => Ok(()),
        (true, Ok(false)) => bail!(
            "failed to simulate at {endpoint}: no simulator answers there; start one with \
             `quarrier simulate`, or leave --endpoint out to have one in this process"
        ),
        (true, Err(error)) => Err(error).with_context(|| {
            format!(
                "failed to simulate at {endpoint}: nothing answers there; start `quarrier simulate`, \
                 or leave --endpoint out to have one in this process"
            )
        }),
        (false, Ok(true)) => bail!(
            "failed to work at {endpoint}: a simulator answers there, and its answers are made up; \
             add --simulate, or name another endpoint"
        ),
        // What does not answer may come up; the calls say so if it does not.
        (false, Err(error)) => {
            tracing::debug!(endpoint, %error, "the endpoint does not answer yet");
            Ok(())
        }
    }
}

async fn is_simulator(endpoint: &str) -> anyhow::Result<bool> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let address = format!("{}/healthz", endpoint.trim_end_matches('/'));
    let request = Request::get(&address).body(Body::empty()).context("read the address")?;
    let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
    let answer = answer.context("no answer in 3 s")?.context("ask who is there")?;
    Ok(answer.headers().contains_key(SIMULATED_HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::{Simulator, SimulatorOptions};

    async fn refusal(endpoint: &str, simulated: bool) -> String {
        check(endpoint, simulated).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn simulated_work_goes_to_simulators_alone_and_real_work_to_none() {
        let address = "127.0.0.1:0".parse().unwrap();
        let simulator = Simulator::start(address, SimulatorOptions::default()).await.unwrap();
        let here = simulator.endpoint_url();
        check(&here, true).await.unwrap();
        assert!(refusal(&here, false).await.contains("add --simulate"));
        simulator.stop().await;
        assert!(refusal(&here, true).await.contains("nothing answers there"));
        check(&here, false).await.unwrap();
        assert!(refusal("https://bedrock.example", true).await.contains("no simulator"));
        check("https://bedrock.example", false).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_without_a_scheme_is_refused_by_its_setting() {
        assert!(refusal("localhost:8788", true).await.contains("--endpoint, bedrock.endpoint"));
    }
}
