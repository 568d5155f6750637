//! Being told of new work: on Postgres, where somebody waits, and never needed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quarrier::clock::Clock;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{AdmitStore as _, ReadStore as _, WorkStore as _};
use sqlx::postgres::PgListener;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::cluster::Database;
use crate::world::{new_job, open_lease};

/// A store that listens, and how often it was woken.
struct Listening {
    store: Arc<PostgresStore>,
    woken: Arc<Semaphore>,
    heard: JoinHandle<()>,
}

impl Listening {
    async fn start(options: PostgresOptions) -> Self {
        let store = Arc::new(PostgresStore::open(&options, Clock::real()).await.unwrap());
        let woken = Arc::new(Semaphore::new(0));
        let (listens, counts) = (Arc::clone(&store), Arc::clone(&woken));
        let heard = tokio::spawn(async move { listens.listen(&|| counts.add_permits(1)).await });
        Self { store, woken, heard }
    }

    async fn is_woken(&self) {
        self.woken.acquire().await.unwrap().forget();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.heard.abort();
    }
}

async fn admit(database: &Database) {
    let options = PostgresOptions::new(&database.url(), None);
    let producer = PostgresStore::open(&options, Clock::real()).await.unwrap();
    producer.admit(vec![new_job(Clock::real().now().wall_ms)]).await.unwrap();
    producer.close().await;
}

/// What is told while `work` runs, by somebody who hears everything.
async fn told(database: &Database, work: impl AsyncFnOnce()) -> usize {
    let mut all = PgListener::connect(&database.url()).await.unwrap();
    all.listen("quarrier_wake").await.unwrap();
    work().await;
    let last = "select pg_notify('quarrier_wake', 'last')";
    let mut connection = database.connect().await;
    sqlx::raw_sql(last).execute(&mut connection).await.unwrap();
    let mut told = 0;
    while all.recv().await.unwrap().payload() != "last" {
        told += 1;
    }
    told
}

#[tokio::test]
async fn a_process_that_waits_is_told_of_new_work_and_nobody_is_told_otherwise() {
    let database = Database::with_store().await;
    let waiting = Listening::start(PostgresOptions::new(&database.url(), Some(false))).await;
    let store = &waiting.store;
    waiting.is_woken().await;
    assert!(store.hears(), "it is woken once as it begins to listen");
    let lease = open_lease(store.as_ref()).await;

    assert_eq!(told(&database, async || admit(&database).await).await, 0, "nobody waits");
    waiting.is_woken().await;
    store.want_wake(lease, true).await.unwrap();
    let two = told(&database, async || {
        admit(&database).await;
        admit(&database).await;
    });
    assert_eq!(two.await, 2, "one a commit");
    waiting.is_woken().await;
    store.want_wake(lease, false).await.unwrap();
    assert_eq!(told(&database, async || admit(&database).await).await, 0, "it works again");
}

#[tokio::test]
async fn a_wish_that_stands_already_is_not_written_again() {
    let database = Database::with_store().await;
    let options = PostgresOptions::new(&database.url(), Some(false));
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    let lease = open_lease(&store).await;
    let mut connection = database.connect().await;
    let mut version = async || -> String {
        let row = "select ctid::text from quarrier.lease";
        sqlx::query_scalar(row).fetch_one(&mut connection).await.unwrap()
    };
    store.want_wake(lease, true).await.unwrap();
    let written = version().await;
    store.want_wake(lease, true).await.unwrap();
    assert_eq!(version().await, written);
    store.want_wake(lease, false).await.unwrap();
    assert_ne!(version().await, written);
}

#[tokio::test]
async fn a_listener_that_is_cut_off_listens_again_and_looks_once() {
    let database = Database::with_store().await;
    let waiting = Listening::start(PostgresOptions::new(&database.url(), Some(false))).await;
    let mut connection = database.connect().await;
    for _ in 0..2 {
        waiting.is_woken().await;
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and application_name = 'quarrier listen'";
        sqlx::raw_sql(cut).execute(&mut connection).await.unwrap();
    }
    waiting.is_woken().await;
}

/// Carries connections to a server's socket until they are frozen: then nothing comes through, and
/// nobody is told that the way is gone.
struct Way {
    frozen: Arc<Notify>,
}

impl Way {
    fn open(socket: &Path, server: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let frozen = Arc::new(Notify::new());
        let (server, ice) = (server.to_owned(), Arc::clone(&frozen));
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (server, ice) = (server.clone(), Arc::clone(&ice));
                tokio::spawn(async move {
                    let mut far = UnixStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        () = ice.notified() => std::future::pending().await,
                    }
                });
            }
        });
        Self { frozen }
    }

    /// Every connection that is open now hangs for ever.
    fn freeze(&self) {
        self.frozen.notify_waiters();
    }
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_and_replaced() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join(".s.PGSQL.5432");
    let way = Way::open(&socket, &database.socket());
    let name = database.name();
    let url = format!("postgres://postgres@localhost/{name}?host={}", folder.path().display());
    let waiting = Listening::start(PostgresOptions {
        probe: Duration::from_millis(100),
        ..PostgresOptions::new(&format!("{url}&port=5432"), Some(false))
    })
    .await;
    waiting.is_woken().await;
    way.freeze();
    waiting.is_woken().await;
}

#[tokio::test]
async fn behind_a_pooler_one_listens_past_it_or_not_at_all() {
    let database = Database::with_store().await;
    let pooled = PostgresOptions {
        pooled: true,
        ..PostgresOptions::new(&database.pooled_url(), Some(false))
    };
    let deaf = Listening::start(pooled.clone()).await;
    let direct_url = Some(database.url());
    let waiting = Listening::start(PostgresOptions { direct_url, ..pooled }).await;
    waiting.is_woken().await;
    assert!(waiting.store.hears() && !deaf.store.hears());
    let lease = open_lease(waiting.store.as_ref()).await;
    waiting.store.want_wake(lease, true).await.unwrap();
    waiting.store.admit(vec![new_job(Clock::real().now().wall_ms)]).await.unwrap();
    waiting.is_woken().await;
    assert_eq!(waiting.store.counts(None).await.unwrap().states.len(), 1);
}
