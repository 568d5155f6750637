//! Connections that are half-open: they stand, and nothing answers on them any more.

use std::path::PathBuf;

use quarrier::clock::Clock;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{StoreError, WorkStore as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::cluster::Database;
use crate::world::open_lease;

/// Carries connections to a server's socket. Those that are there when it is deafened stay open and
/// are never answered again; new ones work.
struct Proxy {
    port: u16,
    deafened: watch::Sender<u64>,
}

impl Proxy {
    async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let deafened = watch::Sender::new(0);
        let heard = deafened.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = UnixStream::connect(&socket).await.unwrap();
                let mut heard = heard.subscribe();
                tokio::spawn(async move {
                    let deaf = tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => false,
                        changed = heard.changed() => changed.is_ok(),
                    };
                    drop(server);
                    if deaf {
                        // The client's side stays open until its test is over.
                        while heard.changed().await.is_ok() {}
                    }
                    drop(client);
                });
            }
        });
        Self { port, deafened }
    }
}

#[tokio::test]
async fn after_one_statement_without_an_answer_no_other_dead_connection_is_tried() {
    let database = Database::with_store().await;
    let proxy = Proxy::start(database.socket()).await;
    let (port, name) = (proxy.port, database.name());
    let url = format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable");
    let options = PostgresOptions {
        statement_timeout_ms: 300,
        listen: false,
        ..PostgresOptions::new(&url, Some(false))
    };
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    let lease = open_lease(&store).await;
    // Many at once, so that several connections wait afterwards.
    let one = || async { store.other_leases(Uuid::now_v7()).await.map(drop) };
    for answer in futures_util::future::join_all((0..6).map(|_| one())).await {
        answer.unwrap();
    }
    proxy.deafened.send_modify(|times| *times += 1);
    let error = store.beat(lease).await.unwrap_err();
    assert!(matches!(&error, StoreError::Transient(_)), "{error}");
    // Without closing the others, each of these would meet a dead connection.
    for _ in 0..6 {
        store.beat(lease).await.unwrap();
    }
    store.close().await;
}
