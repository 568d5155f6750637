//! What Postgres alone has to keep to: opening, migrations, views, connections that break off, and
//! many processes at once.

use quarrier::clock::Clock;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{ReadStore as _, StoreError};

use crate::cluster::Database;

async fn open(database: &Database, simulated: Option<bool>) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(&PostgresOptions::new(&database.url(), simulated), Clock::real()).await
}

/// The words with which it is refused.
async fn refused(database: &Database, simulated: Option<bool>) -> String {
    match open(database, simulated).await {
        Err(StoreError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_database_without_a_store_is_refused_and_left_alone() {
    let database = Database::empty().await;
    let words = refused(&database, Some(false)).await;
    assert!(words.contains("quarrier migrate"), "{words}");
    let options = PostgresOptions::new(&database.url(), None);
    assert_eq!(PostgresStore::migration_of(&options).await, Ok(None));
}

#[tokio::test]
async fn migrating_makes_a_store_once() {
    let database = Database::empty().await;
    let options = PostgresOptions::new(&database.url(), None);
    assert_eq!(PostgresStore::migrate(&options).await, Ok(None));
    assert_eq!(PostgresStore::migrate(&options).await, Ok(Some(1)));
    assert_eq!(PostgresStore::migration_of(&options).await, Ok(Some(1)));
    let store = open(&database, Some(true)).await.unwrap();
    assert_eq!(store.about().await.unwrap().migration, 1);
}

#[tokio::test]
async fn simulated_and_real_work_refuse_to_mix_and_name_both() {
    for (first, second) in [(true, false), (false, true)] {
        let database = Database::with_store().await;
        open(&database, Some(first)).await.unwrap();
        open(&database, Some(first)).await.unwrap();
        let text = refused(&database, Some(second)).await;
        assert!(text.contains("simulated") && text.contains("real"), "{text}");
        let looking = open(&database, None).await.unwrap();
        assert_eq!(looking.about().await.unwrap().simulated, Some(first));
    }
}
