//! Opening a SQLite store: which kind of work it holds, and what it says where it cannot be one.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use quarrier::clock::Clock;
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{ReadStore as _, StoreError};
use sqlx::{Connection as _, SqliteConnection};

async fn open(path: &Path, simulated: Option<bool>) -> Result<SqliteStore, StoreError> {
    let options = SqliteOptions { path: path.to_owned(), busy_timeout_ms: 10_000, simulated };
    SqliteStore::open(&options, Clock::real()).await
}

/// The words with which it is refused.
async fn refused(path: &Path, simulated: Option<bool>) -> String {
    match open(path, simulated).await {
        Err(StoreError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

fn dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

#[tokio::test]
async fn simulated_and_real_work_refuse_to_mix_and_name_both() {
    for (first, second) in [(true, false), (false, true)] {
        let (_dir, path) = dir();
        open(&path, Some(first)).await.unwrap();
        open(&path, Some(first)).await.unwrap();
        let text = refused(&path, Some(second)).await;
        assert!(text.contains("simulated") && text.contains("real"), "{text}");
        assert!(text.contains(&path.display().to_string()), "{text}");
        let looking = open(&path, None).await.unwrap();
        assert_eq!(looking.about().await.unwrap().simulated, Some(first));
    }
}

#[tokio::test]
async fn looking_at_a_new_store_does_not_make_it_of_a_kind() {
    let (_dir, path) = dir();
    let looking = open(&path, None).await.unwrap();
    assert_eq!(looking.about().await.unwrap().simulated, None);
    open(&path, Some(true)).await.unwrap();
    assert_eq!(looking.about().await.unwrap().simulated, Some(true));
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused_and_left_alone() {
    let (_dir, path) = dir();
    let text = "a letter, long enough to have room for a header of a database ".repeat(100);
    fs::write(&path, &text).unwrap();
    let words = refused(&path, Some(false)).await;
    assert!(words.contains(&path.display().to_string()), "{words}");
    assert!(words.contains("not a database"), "{words}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let (_dir, path) = dir();
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut theirs = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("create table job (id integer primary key, what text)")
        .execute(&mut theirs)
        .await
        .unwrap();
    let words = refused(&path, Some(false)).await;
    assert!(words.contains(&path.display().to_string()), "{words}");
    let tables: Vec<String> =
        sqlx::query_scalar("select name from sqlite_schema").fetch_all(&mut theirs).await.unwrap();
    assert_eq!(tables, ["job"], "nothing of ours was left in it");
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let (_dir, path) = dir();
    open(&path, Some(false)).await.unwrap().close().await;
    let url = format!("sqlite://{}", path.display());
    let mut later = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'later', true, x'00', 0)",
    )
    .execute(&mut later)
    .await
    .unwrap();
    let words = refused(&path, Some(false)).await;
    assert!(words.contains("9999") && words.contains("release"), "{words}");
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let (dir, _) = dir();
    let folder = dir.path().join("absent");
    let words = refused(&folder.join("store"), Some(false)).await;
    assert!(words.contains(&folder.display().to_string()), "{words}");
}

#[tokio::test]
async fn a_folder_in_place_of_the_file_is_refused() {
    let (dir, _) = dir();
    let words = refused(dir.path(), Some(false)).await;
    assert!(words.contains(&dir.path().display().to_string()), "{words}");
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    let (_dir, path) = dir();
    open(&path, None).await.unwrap().close().await;
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    if OpenOptions::new().write(true).open(&path).is_ok() {
        // Whoever runs this may write every file, so there is nothing to refuse.
        open(&path, Some(false)).await.unwrap();
        return;
    }
    let words = refused(&path, Some(false)).await;
    assert!(words.contains(&path.display().to_string()), "{words}");
}

#[test]
fn a_new_store_may_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let (_dir, path) = dir();
        let open_one = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let store = open(&path, Some(true)).await.unwrap();
                assert_eq!(store.about().await.unwrap().migration, SqliteStore::newest_migration());
            });
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(open_one);
            }
        });
    }
}
