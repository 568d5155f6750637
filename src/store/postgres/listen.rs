//! Hears of new work as soon as it is committed (LISTEN), on a connection of its own. Nothing
//! depends on it: what is not heard is found by the next look.
//! Must not know: what the work is, or what is done about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::PostgresStore;
use super::absent::is_login_refused;
use super::connect::Connector;
use super::error::Outcome;
use super::session::Tx;
use crate::store::{StoreError, Woken};

/// Where the database tells of new work; migrations and statements name it too.
const CHANNEL: &str = "quarrier_wake";

/// The longest wait for a connection, and for the answer to a probe.
const ANSWER: Duration = Duration::from_secs(10);

/// The waits between two tries to connect.
const AGAIN_MIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// The one who listens, if anybody does.
#[derive(Debug)]
pub(super) struct Listener {
    /// None where nothing leads past a pooler, or nobody wants to listen.
    connector: Option<Connector>,
    probe: Duration,
    hears: AtomicBool,
}

/// Nobody hears once the connection is gone, in whatever way it went.
struct Hearing<'l>(&'l AtomicBool);

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Listener {
    pub(super) fn new(connector: Option<Connector>, probe: Duration) -> Self {
        Self { connector, probe, hears: AtomicBool::new(false) }
    }

    /// Whether a notification would be heard now, as far as anybody knows.
    pub(super) fn hears(&self) -> bool {
        self.hears.load(Ordering::Relaxed)
    }

    /// Listens until it is dropped; connects anew, ever more slowly, when the connection is lost.
    pub(super) async fn listen(&self, woken: Woken<'_>) {
        let Some(connector) = &self.connector else { return std::future::pending().await };
        let delays = || {
            ExponentialBuilder::default()
                .with_min_delay(AGAIN_MIN)
                .with_max_delay(AGAIN_MAX)
                .with_jitter()
                .without_max_times()
                .build()
        };
        let mut waits = delays();
        let mut refused = false;
        loop {
            let lost = match self.connect(connector, refused).await {
                Ok(listener) => {
                    waits = delays();
                    self.hear(listener, woken).await
                }
                Err(error) => error,
            };
            refused = is_login_refused(&lost);
            let error = StoreError::from(connector.judge(lost));
            tracing::info!(%error, "not told of new work now, looking for it instead");
            tokio::time::sleep(waits.next().unwrap_or(AGAIN_MAX)).await;
        }
    }

    async fn connect(&self, connector: &Connector, refused: bool) -> sqlx::Result<PgListener> {
        let options = connector.newest(refused).await.map_err(|error| match error {
            StoreError::Transient(text) => sqlx::Error::Io(std::io::Error::other(text)),
            error => sqlx::Error::Configuration(error.into()),
        })?;
        // The listener wants a pool; this one has room for it alone, and ends with it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(ANSWER)
            .connect_lazy_with(options.application_name("quarrier listen"));
        let mut listener = PgListener::connect_with(&pool).await?;
        // Connecting again is done here, with the newest login and a pause before it.
        listener.eager_reconnect(false);
        answered(ANSWER, listener.listen(CHANNEL)).await?;
        Ok(listener)
    }

    /// Hears until the connection is lost; returns why. A connection may be half-open: what says
    /// nothing for long is asked something.
    async fn hear(&self, mut listener: PgListener, woken: Woken<'_>) -> sqlx::Error {
        self.hears.store(true, Ordering::Relaxed);
        let _hearing = Hearing(&self.hears);
        tracing::debug!("told of new work from now on");
        // Something may have come before this listened.
        woken();
        loop {
            match tokio::time::timeout(self.probe, listener.try_recv()).await {
                Ok(Ok(Some(_))) => {
                    // Many at once are one: a look finds all that there is.
                    while listener.next_buffered().is_some() {}
                    woken();
                }
                Ok(Ok(None)) => return lost("the connection was closed"),
                Ok(Err(error)) => return error,
                Err(_) => {
                    let asked = sqlx::raw_sql("select 1").execute(&mut listener);
                    if let Err(error) = answered(ANSWER.min(self.probe), asked).await {
                        return error;
                    }
                }
            }
        }
    }
}

fn lost(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(why.to_owned()))
}

async fn answered<T>(
    within: Duration,
    asked: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let late = |_| lost("the server did not answer");
    tokio::time::timeout(within, asked).await.map_err(late)?
}

impl PostgresStore {
    pub(super) async fn note_wake_wanted(&self, lease: Uuid, wanted: bool) -> Outcome<()> {
        let mut tx = self.begin().await?;
        sqlx::query_file!("src/store/postgres/lease_wake.sql", lease, wanted)
            .execute(tx.on())
            .await?;
        tx.commit().await
    }

    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }
}

/// Tells those who wait, when this transaction commits; nobody where all are busy. A notification
/// takes a lock of the whole database at the commit, so it is sent only where it is wanted, and
/// once a commit.
pub(super) async fn wake(tx: &mut Tx) -> Outcome<()> {
    sqlx::query_file!("src/store/postgres/wake.sql").fetch_one(tx.on()).await?;
    Ok(())
}
