//! What the tests stand on: a simulator, a folder for a store, clients and workers of it.
//! Must not know: what the tests are about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use quarrier::client::{Client, ClientBuilder, RetryPolicy};
use quarrier::clock::Clock;
use quarrier::config::{self, LoadArgs, Override};
use quarrier::rooms::{Rooms, Simulate};
use quarrier::simulator::{Fault, Faults, Simulator, SimulatorOptions};
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{JobPage, ReadStore as _};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

pub(crate) struct Scene {
    pub(crate) simulator: Simulator,
    folder: TempDir,
}

impl Scene {
    pub(crate) async fn new(options: SimulatorOptions) -> Self {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let simulator = Simulator::start(address, options).await.unwrap();
        Self { simulator, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn calm() -> Self {
        Self::new(SimulatorOptions::default()).await
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    /// A client of the scene's store, without a limit, with short waits.
    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder()
            .env(BTreeMap::new())
            .simulated()
            .endpoint(self.simulator.endpoint_url())
            .store(self.path())
            .requests_per_minute(0)
            .retry(&RetryPolicy {
                backoff_base_ms: 1,
                unavailable_base_ms: 1,
                throttle_base_ms: 1,
                ..RetryPolicy::default()
            })
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().open().await.unwrap()
    }

    /// The rooms of a worker process on the same store. It sets no limit of its own.
    pub(crate) async fn worker_rooms(&self) -> Rooms {
        let set =
            |key: &str, value| Override { key: key.to_owned(), value, flag: "--test".to_owned() };
        let flags = vec![
            set("bedrock.endpoint", json!(self.simulator.endpoint_url())),
            set("worker.poll_ms", json!(20)),
        ];
        let args = LoadArgs { flags, dir: self.folder.path().to_owned(), ..LoadArgs::default() };
        let loaded = config::load(&args).unwrap();
        Rooms::wire_with(&loaded, Simulate::There, &self.path().into(), Clock::real(), |_| false)
            .await
            .unwrap()
    }

    /// The store as somebody who looks at it sees it.
    pub(crate) async fn store(&self) -> SqliteStore {
        let options = SqliteOptions { path: self.path(), busy_timeout_ms: 10_000, simulated: None };
        SqliteStore::open(&options, Clock::real()).await.unwrap()
    }

    pub(crate) async fn page(&self, job_id: &str) -> JobPage {
        self.store().await.job(job_id).await.unwrap().expect("the job is there")
    }

    /// What a worker does that met a failure of this kind.
    pub(crate) async fn pause(&self, lane: &str, for_ms: i64, reason: &str) {
        let path = format!("sqlite://{}", self.path().display());
        let mut connection = SqliteConnection::connect(&path).await.unwrap();
        let until = Clock::real().now().wall_ms + for_ms;
        sqlx::query(
            "insert into lane (key, paused_until, pause_reason) values (?1, ?2, ?3)
             on conflict (key) do update
             set paused_until = excluded.paused_until, pause_reason = excluded.pause_reason",
        )
        .bind(lane)
        .bind(until)
        .bind(reason)
        .execute(&mut connection)
        .await
        .map(|done| assert_eq!(done.rows_affected(), 1))
        .unwrap();
        connection.close().await.unwrap();
    }

    /// Every call from now on meets this fault, or none does.
    pub(crate) fn fault(&self, fault: Option<Fault>) {
        let faults = fault.map_or_else(Faults::none, |fault| Faults::one(fault, 1.0));
        self.simulator.set_faults(faults);
    }
}
