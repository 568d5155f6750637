//! `quarrier bench` by the real binary, at sizes that say nothing about speed: every measurement is
//! made, its line is whole, and nobody's store is touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};

use crate::cluster::Database;

fn bench(dir: &Path, store: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quarrier"))
        .args(["bench", "--store", store])
        .args(more)
        .env_clear()
        .env("TMPDIR", dir)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// The lines that it prints, by what they measure.
fn measured(output: &Output) -> BTreeMap<String, Vec<Value>> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        found.entry(line["measure"].as_str().unwrap().to_owned()).or_default().push(line);
    }
    found
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn connect(database: &Database) -> PgConnection {
    database.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

async fn count(connection: &mut PgConnection, rows: &'static str) -> i64 {
    let query = AssertSqlSafe(format!("select count(*) as rows from {rows}"));
    sqlx::query(query).fetch_one(connection).await.unwrap().try_get("rows").unwrap()
}

/// What every measurement says.
fn is_whole(line: &Value, engine: &str) -> bool {
    let positive = |name: &str| line[name].as_f64().is_some_and(|figure| figure > 0.0);
    line["engine"] == engine
        && line["run"].as_u64().is_some_and(|run| (1..=2).contains(&run))
        && positive("jobs")
        && positive("elapsed_s")
        && (positive("jobs_per_s") || line["measure"] == "latency")
        && line["cpu_s_per_10k"].is_number()
}

#[tokio::test]
async fn a_bench_measures_everything_and_leaves_an_empty_database_empty() {
    let database = Database::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let mut sizes = vec!["--jobs", "40", "--concurrency", "40", "--processes", "2"];
    sizes.extend(["--held-seconds", "1", "--deep-jobs", "300"]);
    let lines = measured(&bench(folder.path(), &database.url(), &sizes));

    let counts: Vec<(&str, usize)> =
        lines.iter().map(|(name, lines)| (name.as_str(), lines.len())).collect();
    let expected = [
        ("deep", 2),
        ("drain", 4),
        ("enqueue_bulk", 3),
        ("enqueue_one", 2),
        ("floor_drain", 2),
        ("floor_enqueue", 1),
        ("held", 1),
        ("latency", 1),
        ("ratio", 7),
        ("slow_call", 1),
    ];
    assert_eq!(counts, expected);
    for line in lines.iter().filter(|(name, _)| *name != "ratio").flat_map(|(_, lines)| lines) {
        assert!(is_whole(line, "postgres"), "{line}");
        assert!(line["wal_bytes_per_job"].as_u64().unwrap() > 500, "{line}");
    }
    for line in lines["drain"].iter().chain(&lines["floor_drain"]) {
        assert_eq!(line["jobs"], 40);
    }
    let kinds: Vec<(&Value, &Value)> =
        lines["drain"].iter().map(|line| (&line["processes"], &line["budget"])).collect();
    let kind = |at: usize| (kinds[at].0.as_u64().unwrap(), kinds[at].1.as_bool().unwrap());
    assert_eq!(
        [kind(0), kind(1), kind(2), kind(3)],
        [(1, false), (1, true), (2, false), (2, true)]
    );
    for ratio in &lines["ratio"] {
        assert!(ratio["value"].as_f64().unwrap() > 0.0, "{ratio}");
    }
    let latency = &lines["latency"][0];
    let at = |name: &str| latency[name].as_f64().unwrap();
    assert!(at("p50_ms") <= at("p95_ms") && at("p95_ms") <= at("p99_ms"), "{latency}");
    assert!(
        lines["slow_call"][0]["elapsed_s"].as_f64() >= lines["slow_call"][0]["ideal_s"].as_f64()
    );

    let held = &lines["held"][0];
    assert_eq!((&held["jobs"], &held["ideal_s"]), (&500.into(), &1.0.into()));
    assert!(held["begin_p50_ms"].is_number() && held["end_p50_ms"].is_number(), "{held}");
    let deep: Vec<&Value> = lines["deep"].iter().map(|line| &line["ready"]).collect();
    assert_eq!(deep, [&300, &300], "the shallow lane is never the deeper one");

    let schemas = "pg_namespace where nspname like 'quarrier%'";
    assert_eq!(count(&mut connect(&database).await, schemas).await, 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
}

#[tokio::test]
async fn a_store_without_jobs_is_used_and_emptied_again() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let sizes = ["--what", "drain,floor", "--jobs", "5", "--runs", "2", "--processes", "1"];
    let lines = measured(&bench(folder.path(), &database.url(), &sizes));
    assert_eq!((lines["drain"].len(), lines["floor_drain"].len()), (4, 4));
    let mut connection = connect(&database).await;
    for rows in ["quarrier.job", "quarrier.result", "quarrier.limit_rule", "quarrier.meta"] {
        assert_eq!(count(&mut connection, rows).await, 0, "{rows}");
    }
    assert_eq!(count(&mut connection, "quarrier.result_order").await, 1);
    assert_eq!(count(&mut connection, "pg_namespace where nspname = 'quarrier_bench'").await, 0);
}

#[tokio::test]
async fn a_store_in_use_is_refused_untouched_and_the_way_out_is_named() {
    let database = Database::with_store().await;
    let folder = tempfile::tempdir().unwrap();
    let mut connection = connect(&database).await;
    let insert = "insert into quarrier.submission (id, document) values ('theirs', '{}')";
    sqlx::raw_sql(insert).execute(&mut connection).await.unwrap();
    let words = refusal(&bench(folder.path(), &database.url(), &["--jobs", "5"]));
    assert!(words.contains("holds submissions") && words.contains("createdb"), "{words}");
    assert_eq!(count(&mut connection, "quarrier.submission").await, 1);
    let real =
        "delete from quarrier.submission; insert into quarrier.meta values ('simulated', 'false')";
    sqlx::raw_sql(real).execute(&mut connection).await.unwrap();
    let words = refusal(&bench(folder.path(), &database.url(), &["--jobs", "5"]));
    assert!(words.contains("is kept for real work"), "{words}");
}

#[tokio::test]
async fn another_schema_of_these_names_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["quarrier", "quarrier_bench"] {
        let database = Database::empty().await;
        let mut connection = connect(&database).await;
        let theirs = format!("create schema {name}; create table {name}.theirs (one integer)");
        sqlx::raw_sql(AssertSqlSafe(theirs)).execute(&mut connection).await.unwrap();
        let words = refusal(&bench(folder.path(), &database.url(), &["--jobs", "5"]));
        assert!(words.contains("another database") || words.contains("empty database"), "{words}");
        let schemas = count(&mut connection, "pg_namespace where nspname like 'quarrier%'").await;
        assert_eq!(schemas, 1, "{name}");
    }
}

#[test]
fn a_bench_makes_a_file_of_its_own_and_removes_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let sizes = ["--jobs", "20", "--concurrency", "20", "--processes", "2"];
    let lines = measured(&bench(dir, "bench.db", &sizes));
    let counts: Vec<(&str, usize)> =
        lines.iter().map(|(name, lines)| (name.as_str(), lines.len())).collect();
    let expected = [
        ("drain", 4),
        ("enqueue_bulk", 1),
        ("floor_drain", 1),
        ("latency", 1),
        ("ratio", 4),
        ("slow_call", 1),
    ];
    assert_eq!(counts, expected);
    for line in lines.iter().filter(|(name, _)| *name != "ratio").flat_map(|(_, lines)| lines) {
        assert!(is_whole(line, "sqlite"), "{line}");
    }
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "no file is left");
    std::fs::write(dir.join("bench.db"), "theirs").unwrap();
    let words = refusal(&bench(dir, "bench.db", &sizes));
    assert!(words.contains("name a file that is not there"), "{words}");
    assert_eq!(std::fs::read_to_string(dir.join("bench.db")).unwrap(), "theirs");
}
