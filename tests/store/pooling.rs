//! The connections of one process: how few will do, and what becomes of them at the end.

use std::time::Duration;

use futures_util::future::join_all;
use quarrier::clock::Clock;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{ReadStore as _, WorkStore as _};
use sqlx::Row as _;

use crate::cluster::Database;
use crate::world::open_lease;

async fn open(database: &Database, connections_max: u32) -> PostgresStore {
    let options = PostgresOptions {
        connections_max,
        listen: false,
        ..PostgresOptions::new(&database.url(), Some(false))
    };
    PostgresStore::open(&options, Clock::real()).await.unwrap()
}

/// How many connections there are to this database beside the one that asks.
async fn connections(database: &Database) -> i64 {
    let mut connection = database.connect().await;
    sqlx::query(
        "select count(*) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()
           and backend_type = 'client backend'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
    .get(0)
}

#[tokio::test]
async fn two_connections_do_for_many_operations_at_once_also_where_some_are_cut_off() {
    let database = Database::with_store().await;
    let store = open(&database, 2).await;
    let lease = open_lease(&store).await;
    for round in 0..20 {
        let cut = join_all((0..4).map(|at| {
            let after = Duration::from_micros(100 * (at + round % 5));
            tokio::time::timeout(after, store.beat(lease))
        }));
        let whole = join_all((0..6).map(|_| store.beat(lease)));
        let (_, whole) = tokio::join!(cut, whole);
        for beat in whole {
            assert!(beat.unwrap().is_some());
        }
        assert!(connections(&database).await <= 3, "two, and one that is closing");
    }
    store.close().await;
    let closed = async {
        while connections(&database).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
}

#[test]
fn a_store_may_be_dropped_where_no_runtime_is_entered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(Database::with_store());
    let store = runtime.block_on(async {
        let store = open(&database, 8).await;
        store.about().await.unwrap();
        store
    });
    drop(store);
    runtime.block_on(async { assert!(open(&database, 8).await.about().await.is_ok()) });
}
