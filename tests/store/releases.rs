//! Releases side by side on Postgres: a store of the release before is refused with the way out, and
//! one that a later release has only added to is worked on, by every path of a job.
//! Must not know: what any migration of ours does.

use std::process::Command;

use quarrier::clock::Clock;
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{Finished, Next, ReadStore as _, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::cluster::Database;
use crate::world::{Engine, World, again, cut, failure, success};

/// A migration as a later release may bring it.
const LATER: &str = include_str!("later/9000_later.sql");

/// The numbers of our migrations, in their order.
fn versions() -> Vec<i64> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let number = |name: std::ffi::OsString| name.to_str().unwrap()[..4].parse().unwrap();
    let mut versions: Vec<i64> = names.map(number).collect();
    versions.sort_unstable();
    versions
}

/// A database that was brought to where `versions` of the printed script end, and no further.
async fn migrated_up_to(version: i64) -> Database {
    let database = Database::empty().await;
    let script = PostgresStore::migrations_as_sql();
    let next = versions().into_iter().find(|known| *known > version).unwrap();
    let (first, _) = script.split_once(&format!("-- Migration {next}:")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.sql");
    std::fs::write(&path, format!("{first}commit;\n")).unwrap();
    let mut psql = Command::new("psql");
    let output = psql.args(["-X", "-q", "-f"]).arg(path).arg(database.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    database
}

#[tokio::test]
async fn a_store_of_each_release_before_is_refused_with_the_way_out_and_brought_up_to_date() {
    let versions = versions();
    let (newest, earlier) = versions.split_last().unwrap();
    for version in earlier {
        let database = migrated_up_to(*version).await;
        let options = PostgresOptions::new(&database.url(), Some(false));
        let words = match PostgresStore::open(&options, Clock::real()).await {
            Err(StoreError::Refused(words)) => words,
            other => panic!("not refused: {other:?}"),
        };
        for told in [
            format!("stands at version {version}"),
            format!("needs {newest}"),
            "quarrier migrate".to_owned(),
        ] {
            assert!(words.contains(&told), "{told}: {words}");
        }
        assert_eq!(PostgresStore::migrate(&options).await, Ok(Some(*version)));
        let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
        assert_eq!(store.about().await.unwrap().migration, *newest);
    }
}

/// The command says the same as the library.
#[tokio::test]
async fn a_command_on_a_store_of_the_release_before_names_the_command_that_helps() {
    let versions = versions();
    let database = migrated_up_to(versions[versions.len() - 2]).await;
    let folder = tempfile::tempdir().unwrap();
    let asked = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
        command.args(args).args(["--store", &database.url()]);
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path());
        command.output().unwrap()
    };
    for command in [["jobs", "list"].as_slice(), &["results", "--out", "-"], &["limits"]] {
        let output = asked(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("`quarrier migrate`"), "{said}");
    }
    assert!(asked(&["migrate"]).status.success());
    assert!(asked(&["jobs", "list"]).status.success());
}

/// Applies it as the release that brings it does: the file, and its row.
async fn apply_later(url: &str) {
    let stated = LATER.lines().find_map(|line| line.strip_prefix("-- Compatible from: "));
    let from: i64 = stated.unwrap().split('.').next().unwrap().parse().unwrap();
    let row = format!(
        "insert into quarrier.migration (version, description, checksum, compatible_from)
         values (9000, 'later', '', {from})"
    );
    let mut connection = PgConnection::connect(url).await.unwrap();
    let all = AssertSqlSafe(format!("begin; {LATER}; {row}; commit"));
    sqlx::raw_sql(all).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn every_path_of_a_job_works_on_a_store_that_a_later_release_has_added_to() {
    for engine in [Engine::Postgres, Engine::Pooled] {
        let mut world = World::open(engine).await;
        world.limit(&[("total", Some(60_000), Some(60_000_000))]).await;
        let before = world.admit(vec![world.named("before")]).await[0];
        apply_later(&world.direct_url()).await;
        // This process works on; another one of this release begins.
        let job = world.claim_one().await;
        assert_eq!(job.job_id, before);
        assert_eq!(world.succeed(&job).await, Finished::Moved(State::Succeeded));
        let old_lease = world.lease;
        world.admit_many(6).await;
        let claimed = world.claim(2).await.jobs;
        world.restart().await;
        assert_eq!(world.rescue(old_lease).await.ready, 2, "of {claimed:?}");
        let mut jobs = world.claim(6).await.jobs;
        assert_eq!(jobs.len(), 6);
        let finish = [
            success(&jobs.remove(0)),
            failure(&jobs.remove(0), ErrorKind::ModelError),
            again(&jobs.remove(0), 1_000),
            cut(&jobs.remove(0), Next::Held),
        ];
        assert_eq!(world.store.finish(&finish).await.unwrap().len(), finish.len());
        let keys: Vec<_> = jobs.iter().map(crate::world::key).collect();
        world.store.give_back(&keys).await.unwrap();
        world.hand.advance(2_000);
        world.store.promote(100).await.unwrap();
        assert_eq!(world.store.beat(world.lease).await.unwrap(), Some(Vec::new()));
        while let Some(job) = world.claim(1).await.jobs.pop() {
            world.succeed(&job).await;
        }
        let held = world.store.jobs(&held()).await.unwrap();
        assert_eq!(world.store.cancel(&[held[0].job_id]).await.unwrap(), [held[0].job_id]);
        assert_eq!(world.results().await.len(), 7, "each job ended once");
        let in_flight = world.requests("total").await.in_flight;
        assert_eq!(in_flight, 3, "the two of the dead process, and the one that was cut");
    }
}

fn held() -> quarrier::store::JobFilter {
    quarrier::store::JobFilter { state: Some(State::Held), rows_max: 10, ..Default::default() }
}
