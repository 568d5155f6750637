//! The Bedrock simulator: the service's wire protocol, its quota arithmetic and faults on demand,
//! with answers that are made up and labelled so. It is the other side of the argument and must not
//! know: stores, jobs, the worker's own budget, estimate or provider rooms.
//!
//! One call runs straight down: `serve` (path, signature) → `shape` (the body, in Converse's form or
//! a model family's own) → `request` (what is asked for) → `answer` (plan: which schema) → `state`
//! (fault, quota, log) → `answer` (text or JSON) → `shape` (the body or the frames) → `deliver`
//! (latency, the fault on the wire) → `state` (settle, bill).
//!
//! What it promises:
//! - Same seed and same request: same answer. Faults depend on the call's number too, so that a
//!   repeat can succeed.
//! - Every answer carries the header `x-quarrier-simulated: true`; free text starts with
//!   `[simulated]`, and Converse's JSON answers, which have no room for a label, carry
//!   `additionalModelResponseFields {"simulated": true}`.
//! - The same conversation has the same answer by whichever interface it comes.
//! - A call must be signed: a bearer token, or an AWS signature that is well formed and scoped to
//!   `bedrock`. The signature's value is not verified, because no secret is known here.
//! - A call whose caller goes away stays charged as input + `max_tokens`, and is billed for the
//!   whole answer: nobody can know how much was generated.
//! - Throttled and refused calls are charged nothing, not even a request; a call that fails by 500
//!   or 503 keeps its request and is charged no tokens.
//! - `CountTokens` draws on no quota and meets no fault; it stands in the call log as an operation of
//!   its own, and in the summary in `token_counts` alone.

mod admission;
mod answer;
mod body;
mod call;
mod connection;
mod control;
mod count;
mod damage;
mod deliver;
mod draw;
mod fault;
mod faults;
mod fixtures;
mod frames;
mod heard;
mod log;
mod malformed;
mod matching;
mod models;
mod options;
mod others;
mod pace;
mod quota;
mod reply;
mod request;
mod rules;
mod scenario;
mod schema;
mod serve;
mod shape;
mod signature;
mod spelt;
mod spoil;
mod state;
mod summary;
mod tokens;
mod wanted;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use fault::{FAULTS, Fault};
pub use faults::{Faults, FaultsError};
pub use fixtures::{Fixture, FixtureUsage, Fixtures, FixturesError};
pub use log::{Call, Outcome};
pub use options::{Latency, QuotaScope, SimulatorOptions};
pub use quota::{QuotaLimits, QuotaMode};
pub use reply::SIMULATED_HEADER;
pub use scenario::{SCENARIOS, Scenario, ScenarioError};
use state::Shared;
pub use summary::{Minute, Summary};

/// How long a stop waits for connections to close before it drops them.
const STOP_MS_MAX: u64 = 2_000;

/// A running simulator. It stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Listens and serves until it is stopped or dropped. Port 0 takes a free one.
    pub async fn start(address: SocketAddr, options: SimulatorOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let listener = connection::Levered(listener);
        let stop = shared.stop.clone();
        let router = serve::router(Arc::clone(&shared))
            .into_make_service_with_connect_info::<connection::Lever>();
        let server = tokio::spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the simulator stopped serving");
            }
        });
        Ok(Self { shared, address, server: Some(server) })
    }

    /// The address listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What an SDK client takes as its endpoint URL.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls that the log still keeps, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls(|_| true)
    }

    /// The figures over all calls so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.shared.summary()
    }

    /// Waits until the figures have reached something: `|summary| summary.in_flight == 1`.
    pub async fn until(&self, reached: impl Fn(&Summary) -> bool) {
        self.shared.until(reached).await;
    }

    /// Replaces the rates of faults from the next call on; phases and scripts stay.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.set_faults(faults);
    }

    /// Another scenario begins at the next call, in place of all quotas, latencies, faults, phases
    /// and scripts; fixtures stay.
    pub fn set_scenario(&self, scenario: Scenario) {
        self.shared.set_scenario(scenario);
    }

    /// Replaces the fixtures from the next call on.
    pub fn set_fixtures(&self, fixtures: &Fixtures) {
        self.shared.set_fixtures(fixtures);
    }

    /// Begins anew with the options of the start: an empty quota, log and summary.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Stops: hanging calls and slow streams end, and connections close (within two seconds, or
    /// they are dropped).
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        if let Some(server) = self.server.take() {
            let abort = server.abort_handle();
            let longest = Duration::from_millis(STOP_MS_MAX);
            if tokio::time::timeout(longest, server).await.is_err() {
                abort.abort();
            }
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
