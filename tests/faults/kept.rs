//! The store of one scene with queues: a Postgres of its own, or a file; read with the same words.
//! Must not know: what is looked for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use crate::cluster::Cluster;

pub(crate) enum Kept {
    Postgres(Cluster),
    File(PathBuf),
}

impl Kept {
    pub(crate) fn postgres() -> Self {
        Self::Postgres(Cluster::start())
    }

    pub(crate) fn file_in(folder: &Path) -> Self {
        Self::File(folder.join("store.db"))
    }

    /// What `--store` takes.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Postgres(cluster) => cluster.url(),
            Self::File(path) => path.to_str().unwrap().to_owned(),
        }
    }

    /// The server, which a scene is to stop.
    pub(crate) fn cluster(&self) -> &Cluster {
        match self {
            Self::Postgres(cluster) => cluster,
            Self::File(_) => panic!("a file has no server"),
        }
    }

    /// The rows of a query whose columns are all texts, with tables named as Postgres has them.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Vec<String>> {
        match self {
            Self::Postgres(cluster) => {
                let mut store = cluster.connect().await;
                let query = sqlx::query(AssertSqlSafe(query.to_owned()));
                let rows = query.fetch_all(&mut store).await.unwrap();
                let texts = |row: &sqlx::postgres::PgRow| {
                    (0..row.len()).map(|column| row.get::<String, _>(column)).collect()
                };
                rows.iter().map(texts).collect()
            }
            Self::File(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut store = options.connect().await.unwrap();
                let query = sqlx::query(AssertSqlSafe(query.replace("quarrier.", "")));
                let rows = query.fetch_all(&mut store).await.unwrap();
                let texts = |row: &sqlx::sqlite::SqliteRow| {
                    (0..row.len()).map(|column| row.get::<String, _>(column)).collect()
                };
                let rows = rows.iter().map(texts).collect();
                store.close().await.unwrap();
                rows
            }
        }
    }

    /// The texts of one column.
    pub(crate) async fn texts(&self, query: &str) -> HashSet<String> {
        self.rows(query).await.into_iter().flatten().collect()
    }

    /// How many rows stand behind these words: `quarrier.job where ...`.
    pub(crate) async fn count(&self, from: &str) -> u64 {
        let rows = self.rows(&format!("select cast(count(*) as text) from {from}")).await;
        rows[0][0].parse().unwrap()
    }
}
