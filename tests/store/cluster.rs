//! Databases on the Postgres that `scripts/test` has started: one for each test, copied from a
//! template that is made once, and dropped with its test.
//! Must not know: tables, or what a test does with its database.

use std::path::PathBuf;
use std::str::FromStr as _;

use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use uuid::Uuid;

/// Where the cluster is, and a pooler in transaction mode before it: addresses of the database
/// `postgres`.
const CLUSTER: &str = "TEST_POSTGRES_URL";
const POOLER: &str = "TEST_PGBOUNCER_URL";

const TEMPLATE: &str = "quarrier_template";

/// A database of one test.
pub(crate) struct Database {
    name: String,
}

fn address(variable: &str) -> String {
    let found = std::env::var_os(variable).and_then(|value| value.into_string().ok());
    found.unwrap_or_else(|| {
        panic!("{variable} names no Postgres; run the tests by scripts/test, which starts one")
    })
}

/// The address of a database on the cluster, or through the pooler.
fn url_of(variable: &str, name: &str) -> String {
    let url = address(variable);
    let (server, options) = url.split_once('?').unwrap_or((&url, ""));
    let (server, _) = server.rsplit_once('/').unwrap();
    format!("{server}/{name}?{options}")
}

async fn connect() -> PgConnection {
    let options = PgConnectOptions::from_str(&address(CLUSTER)).unwrap();
    options.connect().await.unwrap()
}

async fn run(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.unwrap();
}

impl Database {
    /// An empty one.
    pub(crate) async fn empty() -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        let mut connection = connect().await;
        run(&mut connection, format!("create database {name}")).await;
        connection.close().await.unwrap();
        Self { name }
    }

    /// One that holds a store.
    pub(crate) async fn with_store() -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        let mut connection = connect().await;
        make_template(&mut connection).await;
        run(&mut connection, format!("create database {name} template {TEMPLATE}")).await;
        connection.close().await.unwrap();
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        url_of(CLUSTER, &self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        let options = PgConnectOptions::from_str(&self.url()).unwrap();
        let folder = options.get_socket().unwrap();
        folder.join(format!(".s.PGSQL.{}", options.get_port()))
    }

    /// A connection of another program.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// Its address through the pooler.
    pub(crate) fn pooled_url(&self) -> String {
        url_of(POOLER, &self.name)
    }
}

/// The first test that needs it makes it, the others wait. It gets its name when it is done, so
/// that a run that was cut off leaves no half of one.
async fn make_template(connection: &mut PgConnection) {
    let found = "select 1 from pg_database where datname = 'quarrier_template'";
    let is_there = async |connection: &mut PgConnection| {
        sqlx::query(found).fetch_optional(connection).await.unwrap().is_some()
    };
    if is_there(connection).await {
        return;
    }
    run(connection, "select pg_advisory_lock(1)".to_owned()).await;
    if !is_there(connection).await {
        let name = format!("template_{}", Uuid::now_v7().simple());
        run(connection, format!("create database {name}")).await;
        PostgresStore::migrate(&PostgresOptions::new(&url_of(CLUSTER, &name), None)).await.unwrap();
        run(connection, format!("alter database {name} rename to {TEMPLATE}")).await;
    }
    run(connection, "select pg_advisory_unlock(1)".to_owned()).await;
}

impl Drop for Database {
    /// On a thread of its own, because the test's runtime is about to end.
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut connection = connect().await;
                run(&mut connection, statement).await;
            });
        });
        // A test that has failed already says so itself.
        drop(dropped.join());
    }
}
