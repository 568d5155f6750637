//! Orders and looks on Postgres that no outcome shows by chance: each test holds one lock itself, so
//! that what would go wrong rarely goes wrong every time.
//! Must not know: statements.

use std::sync::Arc;
use std::time::Duration;

use quarrier::budget::LevelOf;
use quarrier::job::State;
use quarrier::store::{
    ClaimAsk, Finish, Finished, LaneNews, NewJob, RetainAsk, RetentionPolicy, RetentionStage,
    Settlement, Store,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::world::{Engine, LANE, World, success};

const OTHER_LANE: &str = "bedrock/eu-central-1/large";

async fn run(connection: &mut PgConnection, statement: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(connection).await.unwrap();
}

/// How many sessions of this database wait for a lock.
async fn waiting(world: &World) -> i64 {
    let query = "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'";
    let mut connection = world.connect_postgres().await;
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

/// Waits until so many wait for a lock, or one of these has ended; the runner's own limit ends it.
async fn until_waiting<T>(world: &World, sessions: i64, of: &[&JoinHandle<T>]) {
    while waiting(world).await < sessions && !of.iter().any(|one| one.is_finished()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn finishing(store: &Arc<dyn Store>, group: Vec<Finish>) -> JoinHandle<usize> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.finish(&group).await.unwrap().len() })
}

/// Jobs, and with them everything else, are locked in one order, or two groups wait for each other.
/// An index hands rows out in that order by itself; another plan does not.
#[tokio::test]
async fn a_group_locks_its_jobs_in_the_order_of_their_ids_whatever_the_plan() {
    let mut world = World::open(Engine::Postgres).await;
    let mut holder = world.connect_postgres().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert!(first < second);
    // In the table the second stands before the first.
    for job_id in [second, first] {
        world.admit(vec![NewJob { job_id, ..world.job() }]).await;
    }
    let database: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut holder).await.unwrap();
    run(&mut holder, format!("alter database {database} set enable_indexscan = off")).await;
    world.store = world.another_store().await;
    let jobs = world.claim(2).await.jobs;
    assert_eq!(jobs.len(), 2);
    run(&mut holder, format!("begin; select from job where id = '{first}' for update")).await;
    let finish = finishing(&world.store, jobs.iter().map(success).collect());
    until_waiting(&world, 1, &[&finish]).await;
    let mut other = world.connect_postgres().await;
    run(&mut other, format!("select from job where id = '{second}' for update nowait")).await;
    run(&mut holder, "rollback").await;
    assert_eq!(finish.await.unwrap(), 2);
}

/// Who follows results by their numbers would never see one that is committed late.
#[tokio::test]
async fn a_result_is_committed_only_after_every_one_with_a_lower_number() {
    let world = World::open(Engine::Postgres).await;
    world.limit(&[("lane:*", Some(100), None)]).await;
    world.admit(vec![world.job(), NewJob { lane: OTHER_LANE.to_owned(), ..world.job() }]).await;
    let early = world.claim_one().await;
    let ask = ClaimAsk { lane: OTHER_LANE.to_owned(), ..world.ask(1) };
    let late = world.store.claim(ask).await.unwrap().jobs.remove(0);
    let mut holder = world.connect_postgres().await;
    let lock = format!("begin; select from budget_key where key = 'lane:{LANE}' for update");
    run(&mut holder, lock).await;
    // A throttle is told to the lane, under its lock; a number is taken before.
    let told = LaneNews { throttled: true, ..LaneNews::default() };
    let early = finishing(&world.store, vec![Finish { lane: told, ..success(&early) }]);
    until_waiting(&world, 1, &[&early]).await;
    // Nothing of its own holds it: it waits because the other has a number before it.
    let late = finishing(&world.store, vec![success(&late)]);
    until_waiting(&world, 2, &[&early, &late]).await;
    assert_eq!(world.results().await.len(), 0, "neither is there before the first is");
    run(&mut holder, "rollback").await;
    assert_eq!((early.await.unwrap(), late.await.unwrap()), (1, 1));
    let numbers: Vec<i64> = world.results().await.iter().map(|row| row.seq).collect();
    assert!(numbers.len() == 2 && numbers[0] < numbers[1], "{numbers:?}");
}

/// A claim of many jobs holds its keys until its commit is on the disk: an answer is saved meanwhile.
#[tokio::test]
async fn a_finish_waits_for_no_claim_and_the_next_claim_has_what_its_call_took() {
    let world = World::open(Engine::Postgres).await;
    world.limit(&[("total", None, Some(100_000))]).await;
    world.admit_many(3).await;
    let jobs = world.claim(2).await.jobs;
    let mut holder = world.connect_postgres().await;
    run(&mut holder, "begin; select from budget_key for update").await;
    let (taken, key) = (|level: LevelOf| (level.used, level.in_flight), "total");
    assert_eq!(world.succeed(&jobs[0]).await, Finished::Moved(State::Succeeded));
    assert_eq!(taken(world.tokens(key).await), (300, 1_000), "a look sees it");
    run(&mut holder, "rollback").await;
    assert_eq!(world.claim(1).await.jobs.len(), 1);
    assert_eq!(taken(world.tokens(key).await), (300, 2_000), "the claim has booked it, once");
    let excess = Finish { settlement: Settlement::Used(1_200), ..success(&jobs[1]) };
    assert_eq!(world.finish(excess).await, Finished::Moved(State::Succeeded));
    assert_eq!(taken(world.tokens(key).await), (1_500, 1_000));
}

/// Retention chooses by the results that it has read, and a person may put a job back meanwhile.
#[tokio::test]
async fn a_job_that_is_put_back_while_retention_waits_for_it_keeps_everything() {
    for stage in RetentionStage::ALL {
        let world = World::open(Engine::Postgres).await;
        let id = world.admit_one().await;
        world.succeed(&world.claim_one().await).await;
        world.hand.advance(10 * 86_400_000);
        let mut person = world.connect_postgres().await;
        run(
            &mut person,
            format!(
                "begin; update job set state = 'running', ended_at = null where id = '{id}';
                 delete from result where job_id = '{id}'"
            ),
        )
        .await;
        let policy =
            RetentionPolicy { bodies_days: 1, jobs_days: 1, ..RetentionPolicy::for_ever() };
        let ask = RetainAsk { stage, policy, rows_max: 100, look_after: None };
        let store = Arc::clone(&world.store);
        let retained = tokio::spawn(async move { store.retain(&ask).await.unwrap().jobs });
        until_waiting(&world, 1, &[&retained]).await;
        run(&mut person, "commit").await;
        assert_eq!(retained.await.unwrap(), 0);
        let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
        assert_eq!(page.document, r#"{"prompt":"hi"}"#);
        assert!(page.resolved.is_some());
    }
}
