//! How SQLite finds the rows of each statement: none that a claim, a finish or a look needs may
//! read a whole table.

use std::fs;
use std::path::Path;

use sqlx::{AssertSqlSafe, Row as _};

use crate::world::{Engine, World};

/// Statements for people, who may wait: a list or a sum over everything.
const SLOW: [&str; 5] =
    ["count_states", "count_usage", "health_latest", "health_submissions", "job_list"];

/// What a step may walk through: tables that stay small, and walks that stop early.
const ALLOWED: [&str; 9] = [
    "SCAN lane",
    "SCAN limit_rule",
    "SCAN lease",
    "SCAN budget",
    "SCAN CONSTANT ROW",
    // The recursion of `ready_lanes`, one row a lane.
    "SCAN lanes",
    // In the order of arrival, as many as are wanted.
    "SCAN submission",
    // In the order of deadlines, to the first that does not run.
    "SCAN job USING INDEX job_deadline",
    // That index holds the running jobs alone.
    "SCAN job USING COVERING INDEX job_running",
];

async fn plan(world: &World, statement: &str) -> Vec<String> {
    let text = format!("explain query plan {statement}");
    let mut connection = world.connect().await;
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn no_hot_statement_reads_a_whole_table() {
    let world = World::open(Engine::Sqlite).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let mut plans = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|extension| extension == "sql") {
            for step in plan(&world, &fs::read_to_string(&path).unwrap()).await {
                plans.push((name.clone(), step));
            }
        }
    }
    assert!(plans.len() > 50, "the statements were found");
    let scans: Vec<&(String, String)> = plans
        .iter()
        .filter(|(name, step)| {
            let walks = step.starts_with("SCAN ") && !step.contains("VIRTUAL TABLE");
            walks && !ALLOWED.contains(&step.as_str()) && !SLOW.contains(&name.as_str())
        })
        .collect();
    assert!(scans.is_empty(), "{scans:#?}");
}
