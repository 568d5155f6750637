//! What a process answers on HTTP: `/healthz` (alive, else start it anew) and `/readyz` (takes work
//! and gets it done, else look why), each with what was looked at as JSON, 200 or 503.
//! Must not know: how a check is judged (`worker::Check` says), stores, jobs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::worker::{Check, Worker};

/// The path that says whether the process must be started anew.
pub const HEALTHZ: &str = "/healthz";
/// The path that says whether the process takes work and gets it done.
pub const READYZ: &str = "/readyz";

/// Connections served at once; the next ones wait for their turn.
const CONNECTIONS_MAX: usize = 64;
/// A connection is closed after so long, whatever it says or fails to say.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// The pause after a connection that could not be accepted: without it, a process that has no file
/// left to open would do nothing else than fail.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is looked at beside the worker.
pub type Looked = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;

/// What else a process does than its worker's work.
#[derive(Clone)]
pub struct Beside {
    /// Whether it must be started anew.
    pub alive: Looked,
    /// Whether it takes work.
    pub ready: Looked,
}

/// Whom the answers are about.
#[derive(Clone)]
struct Asked {
    worker: Worker,
    beside: Beside,
}

/// A port that is listened on, but not answered yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
}

/// The body of both answers.
#[derive(Debug, Serialize)]
struct Answer {
    /// `ok` or `failing`.
    status: &'static str,
    checks: Vec<Check>,
}

impl Door {
    /// Takes the port.
    pub async fn open(listen: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(listen).await? })
    }

    /// Where it listens; the port is the real one where 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for this worker, and for what else the process does, until `done`.
    pub async fn answer(self, worker: Worker, beside: Beside, done: CancellationToken) {
        let router = router(Asked { worker, beside });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = done.cancelled() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (router, done) = (router.clone(), done.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = done.cancelled() => {}
                            () = connection(stream, router) => {}
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let builder = Builder::new(TokioExecutor::new()).http1_only();
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error, "a connection broke"),
        Err(_) => tracing::debug!("a connection was closed: it took too long"),
    }
}

fn router(asked: Asked) -> Router {
    Router::new()
        .route(HEALTHZ, get(async |State(asked): State<Asked>| answer(asked.alive())))
        .route(READYZ, get(async |State(asked): State<Asked>| answer(asked.ready())))
        .with_state(asked)
}

impl Asked {
    fn alive(&self) -> Vec<Check> {
        let mut checks = self.worker.alive();
        checks.extend((self.beside.alive)());
        checks
    }

    fn ready(&self) -> Vec<Check> {
        let mut checks = self.worker.ready();
        checks.extend((self.beside.ready)());
        checks
    }
}

fn answer(checks: Vec<Check>) -> Response {
    let ok = checks.iter().all(|check| check.ok);
    let (code, status) =
        if ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
    // What was true a moment ago is no answer to the next question.
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (code, headers, Json(Answer { status, checks })).into_response()
}
