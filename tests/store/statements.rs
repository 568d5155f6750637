//! How each engine finds the rows of each statement: none that a claim, a finish or a look needs may
//! read a whole table.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::world::{Engine, World};

/// Statements for people, who may wait: a list or a sum over everything.
const SLOW: [&str; 18] = [
    "submission_find",
    "submission_queues",
    "backlog",
    "count_states",
    "count_usage",
    "delivery_again",
    "delivery_list",
    "drop_batch",
    "erase_submission",
    "erasure_list",
    "health_latest",
    "health_retention",
    "health_server",
    "health_sizes",
    "health_snapshot",
    "health_submissions",
    "job_list",
    "queue_counts",
];

/// What a step may walk through: tables that stay small, and walks that stop early.
const ALLOWED: [&str; 16] = [
    "SCAN queue",
    "SCAN tenant",
    "SCAN lane",
    "SCAN limit_rule",
    "SCAN limit_seed",
    "SCAN pause",
    "SCAN lease",
    "SCAN budget",
    "SCAN CONSTANT ROW",
    // The recursion of `ready_lanes`, one row a lane.
    "SCAN lanes",
    // In the order of arrival, as many as are wanted.
    "SCAN submission",
    // In the order of deadlines, to the first that does not run.
    "SCAN job USING INDEX job_deadline",
    // Of those that have not ended, as many as are asked for.
    "SCAN job USING COVERING INDEX job_deadline",
    "SCAN (subquery-1)",
    // That index holds the running jobs alone.
    "SCAN job USING COVERING INDEX job_running",
    "SCAN job USING INDEX job_running",
];

async fn plan(world: &World, statement: &str) -> Vec<String> {
    let text = format!("explain query plan {statement}");
    let mut connection = world.connect_sqlite().await;
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn no_hot_statement_reads_a_whole_table_on_sqlite() {
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

/// Where Postgres may walk: tables that stay small, and walks that stop early. Statement, then what
/// is read: a table, and the index by whose order it is read.
const ALLOWED_ON_POSTGRES: [(&str, &str); 41] = [
    ("claim_new_look", "limit_rule"),
    ("claim_new_look", "pause"),
    ("claim_new_look", "pause pause_pkey"),
    ("claim_new_look", "queue"),
    ("claim_new_look", "queue queue_pkey"),
    ("claim_new_look", "tenant tenant_pkey"),
    ("lease_at_work", "lease"),
    ("claim_look", "limit_rule"),
    ("claim_look", "queue"),
    ("job_insert", "queue"),
    ("lane_tenant_place", "queue"),
    ("lane_tenant_place", "queue queue_pkey"),
    ("lane_tenant_place", "tenant"),
    ("lane_tenant_place", "tenant tenant_pkey"),
    // The index holds the running jobs alone.
    ("queue_cap_running", "job job_running"),
    ("queue_clear", "queue"),
    ("queue_read", "queue"),
    ("tenant_clear", "tenant"),
    ("tenant_read", "tenant"),
    ("budget_all", "budget_key budget_key_pkey"),
    // For people, who may wait.
    ("health_waiting", "job"),
    ("claim_look", "pause pause_pkey"),
    ("claim_look", "pause"),
    ("lane_paused", "lane"),
    ("lane_resumes", "lane"),
    // The index holds the running jobs alone.
    ("lease_others", "job job_running"),
    // Of those that wait, as many as are asked for.
    ("intake_waiting", "job job_deadline"),
    ("lease_others", "lease"),
    ("lease_others", "lease lease_pkey"),
    ("limit_clear", "limit_rule"),
    ("limit_read", "limit_rule"),
    ("limit_seed_clear", "lease"),
    ("limit_seed_clear", "limit_seed"),
    ("limit_seed_read", "lease"),
    ("limit_seed_read", "limit_seed"),
    ("pause_forget", "pause"),
    ("pause_read", "pause"),
    // One row each: the first of the index.
    ("promote_look", "job job_waiting"),
    ("ready_lanes", "job job_ready"),
    // In the order of arrival, as many as are wanted.
    ("submission_read", "submission submission_seq"),
    // To the first process that waits.
    ("wake", "lease"),
];

/// Jobs in every state, most of them ended.
const FILL: &str = "
    insert into job (
        id, lane, tenant, queue, model, state, due, place, priority, run_at, deadline_at, hold,
        input_tokens_max, max_tokens, burndown, created_at, ended_at, dedupe_key, external_id,
        lease_id
    )
    select
        ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'lane', 'default', 'default',
        'small', state, n % 3 > 0, n, 0, now(), now(), false, 1, 1, 1, now(),
        case when state = 'succeeded' then now() end, 'key-' || n, 'id-' || n,
        case when state = 'running' then ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid end
    from generate_series(1, 20000) as n
    cross join lateral (
        select case n % 20 when 0 then 'ready' when 1 then 'running' else 'succeeded' end as state
    ) as of;
    insert into job_spec (job_id, document, resolved) select id, '{}', '{}' from job;
    insert into attempt (job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens)
    select id, 1, id, id, now(), 1, '{total}', 1 from job;
    insert into attempt_body (job_id, number, raw_text) select id, 1, 'done' from job;
    insert into result (job_id, state, ended_at)
    select id, 'succeeded', now() from job where state = 'succeeded';
    insert into seen (tenant, identity, job_id, document_hash, expires_at)
    select tenant, external_id, id, 'hash', now() from job;
    insert into batch_line (batch_id, line, job_id)
    select '00000000-0000-7000-8000-000000000000', row_number() over (), id from job;
    insert into delivery (job_id, seq, next_at, due_since, created_at, state, reply_to)
    select
        job_id, seq, case when seq % 10 = 0 then ended_at end, ended_at, ended_at,
        case when seq % 10 = 0 then 'due' else 'delivered' end, 'answers'
    from result;
    insert into intake (queue, message_id, job_id, received_at, receipt)
    select 'queue-' || seq % 2, seq::text, job_id, ended_at, 'receipt' from result;
    insert into lane_tenant (lane, tenant, place)
    select 'lane-' || n % 10, 'tenant-' || n, 0 from generate_series(1, 5000) as n;
    insert into budget (key, place, state)
    select 'key-' || n % 10, 0, '{}' from generate_series(1, 1000) as n;
    insert into settlement (key, calls)
    select 'key-' || n % 10, '[0, []]' from generate_series(1, 1000) as n;
    analyze";

/// Every step of a plan that reads rows without a condition on an index.
fn walks(node: &Value, found: &mut Vec<String>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    let kind = text("Node Type");
    let reads = ["Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"];
    if reads.contains(&kind.as_str()) && node["Index Cond"].is_null() {
        found.push(format!("{} {}", text("Relation Name"), text("Index Name")).trim().to_owned());
    }
    for inner in node["Plans"].as_array().into_iter().flatten() {
        walks(inner, found);
    }
}

/// The plan that serves every argument, where the planner avoids whole tables if it can.
async fn walks_on_postgres(connection: &mut PgConnection, statement: &str) -> Vec<String> {
    let prepare = format!("prepare asked as {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let count = "select cardinality(parameter_types) from pg_prepared_statements \
                 where name = 'asked'";
    let count: i32 = sqlx::query_scalar(count).fetch_one(&mut *connection).await.unwrap();
    let arguments = vec!["null"; usize::try_from(count).unwrap()].join(", ");
    let arguments = if count == 0 { String::new() } else { format!("({arguments})") };
    let explain = format!("explain (format json) execute asked{arguments}");
    let row = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
    let plan: Value = serde_json::from_str(row.try_get_unchecked::<&str, _>(0).unwrap()).unwrap();
    let mut found = Vec::new();
    walks(&plan[0]["Plan"], &mut found);
    sqlx::raw_sql("deallocate asked").execute(&mut *connection).await.unwrap();
    found
}

#[tokio::test]
async fn no_hot_statement_reads_a_whole_table_on_postgres() {
    let world = World::open(Engine::Postgres).await;
    let mut connection = world.connect_postgres().await;
    // Plans follow what is in the tables.
    world.run_sql(FILL).await;
    let settings = "set enable_seqscan = off; set plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let (mut statements, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        statements += 1;
        let text = fs::read_to_string(&path).unwrap();
        for walk in walks_on_postgres(&mut connection, &text).await {
            let allowed = ALLOWED_ON_POSTGRES.contains(&(name.as_str(), walk.as_str()));
            if !allowed && !SLOW.contains(&name.as_str()) {
                wrong.push((name.clone(), walk));
            }
        }
    }
    assert!(statements > 50, "the statements were found");
    wrong.sort();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
