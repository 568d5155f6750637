//! What Postgres alone has to keep to: opening, migrations, views, connections that break off, and
//! many processes at once.

use quarrier::budget::Limit;
use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::store::postgres::{PostgresOptions, PostgresStore};
use quarrier::store::{
    AdmitStore as _, ClaimAsk, Finish, LimitRule, NewJob, Next, ReadStore as _, ResultsAsk, Store,
    StoreError, WorkStore as _,
};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::cluster::Database;
use crate::world::{Engine, World, claim_ask, new_job, open_lease, success};

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

/// The newest migration: they are numbered from 1 on.
fn newest() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let number = |name: std::ffi::OsString| name.to_str().unwrap()[..4].parse().unwrap();
    names.map(number).max().unwrap()
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
    assert_eq!(PostgresStore::migrate(&options).await, Ok(Some(newest())));
    assert_eq!(PostgresStore::migration_of(&options).await, Ok(Some(newest())));
    let store = open(&database, Some(true)).await.unwrap();
    assert_eq!(store.about().await.unwrap().migration, newest());
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

#[tokio::test]
async fn many_may_migrate_at_once() {
    let database = Database::empty().await;
    let options = PostgresOptions::new(&database.url(), None);
    let all = (0..4).map(|_| PostgresStore::migrate(&options));
    let before = futures_util::future::join_all(all).await;
    let made = before.iter().filter(|before| **before == Ok(None)).count();
    let found = before.iter().filter(|before| **before == Ok(Some(newest()))).count();
    assert_eq!((made, found), (1, 3), "{before:?}");
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let world = World::open(Engine::Postgres).await;
    world
        .run_sql(
            "insert into migration (version, description, checksum) values (9999, 'later', '')",
        )
        .await;
    let options = PostgresOptions::new(&world.location(), Some(false));
    let error = PostgresStore::open(&options, Clock::real()).await.unwrap_err().to_string();
    assert!(error.contains("9999") && error.contains("release"), "{error}");
    let error = PostgresStore::migrate(&options).await.unwrap_err().to_string();
    assert!(error.contains("9999"), "{error}");
}

#[tokio::test]
async fn the_printed_script_makes_the_same_store() {
    let database = Database::empty().await;
    for _ in 0..2 {
        run_script(&database, &PostgresStore::migrations_as_sql());
        let store = open(&database, Some(false)).await.unwrap();
        assert_eq!(store.about().await.unwrap().migration, newest());
    }
    let options = PostgresOptions::new(&database.url(), None);
    assert_eq!(PostgresStore::migrate(&options).await, Ok(Some(newest())), "nothing is left to do");
}

#[tokio::test]
async fn the_printed_script_brings_an_old_store_up_to_date() {
    let database = Database::empty().await;
    let script = PostgresStore::migrations_as_sql();
    let (first, _) = script.split_once("-- Migration 2").unwrap();
    run_script(&database, &format!("{first}commit;"));
    let words = refused(&database, Some(false)).await;
    assert!(words.contains("version 1") && words.contains("quarrier migrate"), "{words}");
    run_script(&database, &script);
    open(&database, Some(false)).await.unwrap();
}

/// As its user does it.
fn run_script(database: &Database, script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.sql");
    std::fs::write(&path, script).unwrap();
    let mut psql = std::process::Command::new("psql");
    let output = psql.args(["-X", "-q", "-f"]).arg(path).arg(database.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_later_store_that_has_only_more_is_worked_on() {
    let world = World::open(Engine::Postgres).await;
    world
        .run_sql(
            "insert into migration (version, description, checksum, compatible_from)
             select version, 'more', '', (select max(version) from migration)
             from unnest('{9998,9999}'::bigint[]) as version",
        )
        .await;
    let options = PostgresOptions::new(&world.location(), Some(false));
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    one_job_through(&store).await;
    assert_eq!(PostgresStore::migrate(&options).await, Ok(Some(9999)), "nothing is done");
    world.run_sql("update migration set compatible_from = 9998 where version = 9998").await;
    let error = PostgresStore::open(&options, Clock::real()).await.unwrap_err().to_string();
    assert!(error.contains("9999") && error.contains("release"), "{error}");
}

/// As on a server where somebody else makes roles.
#[tokio::test]
async fn a_role_that_may_make_no_roles_migrates_too() {
    let database = Database::empty().await;
    let make = "
        do $$ begin create role quarrier_owner login;
        exception when duplicate_object or unique_violation then null; end $$;
        do $$ begin execute format('grant create on database %I to quarrier_owner',
            current_database()); end $$";
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql(make).execute(&mut connection).await.unwrap();
    let url = database.url().replace("postgres://postgres@", "postgres://quarrier_owner@");
    let options = PostgresOptions::new(&url, Some(false));
    assert_eq!(PostgresStore::migrate(&options).await, Ok(None));
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    one_job_through(&store).await;
    let answer: String = sqlx::query_scalar("select quarrier.grant_roles()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(answer.contains("quarrier_producer"), "{answer}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_its_password_is_not() {
    let options = PostgresOptions {
        statement_timeout_ms: 500,
        ..PostgresOptions::new("postgres://me:secret@localhost/x?host=/nowhere&port=1", None)
    };
    let error = PostgresStore::open(&options, Clock::real()).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_pooler_that_was_not_said_to_be_one_is_told_with_the_setting() {
    let database = Database::empty().await;
    let options = PostgresOptions {
        statement_timeout_ms: 500,
        ..PostgresOptions::new(&database.pooled_url(), None)
    };
    let error = PostgresStore::open(&options, Clock::real()).await.unwrap_err().to_string();
    assert!(error.contains("store.pooled = true"), "{error}");
}

/// `\d+` is the documentation.
#[tokio::test]
async fn every_table_and_view_and_each_of_their_columns_has_a_comment() {
    let world = World::open(Engine::Postgres).await;
    let mut connection = world.connect_postgres().await;
    let silent = "
        select class.relname::text || coalesce('.' || attribute.attname::text, '') as name
        from pg_class as class
        left join pg_attribute as attribute
            on attribute.attrelid = class.oid and attribute.attnum >= 0 and not attribute.attisdropped
        where
            class.relnamespace = 'quarrier'::regnamespace and class.relkind in ('r', 'v')
            and (
                obj_description(class.oid, 'pg_class') is null
                or (
                    attribute.attnum > 0
                    and col_description(class.oid, attribute.attnum) is null
                )
            )
        order by 1";
    let rows = sqlx::query(silent).fetch_all(&mut connection).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get("name")).collect();
    assert!(names.is_empty(), "{names:?}");
}

/// What a worker does is done by a role that may not make or change tables.
#[tokio::test]
async fn a_worker_needs_no_right_to_make_tables() {
    let world = World::open(Engine::Postgres).await;
    world
        .run_sql(
            "do $$ begin create role quarrier_worker login; exception when others then null; end $$;
             grant usage on schema quarrier to quarrier_worker;
             grant select, insert, update, delete on all tables in schema quarrier
             to quarrier_worker",
        )
        .await;
    let url = world.location().replace("postgres://postgres@", "postgres://quarrier_worker@");
    let options = PostgresOptions::new(&url, Some(false));
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    one_job_through(&store).await;
    assert_eq!(store.counts(None).await.unwrap().states, [(State::Succeeded, 1)]);
}

async fn one_job_through(store: &dyn Store) {
    let lease = open_lease(store).await;
    store.admit(vec![new_job(Clock::real().now().wall_ms)]).await.unwrap();
    let jobs = store.claim(claim_ask(lease, 1)).await.unwrap().jobs;
    let group: Vec<Finish> = jobs.iter().map(success).collect();
    assert_eq!(store.finish(&group).await.unwrap().len(), 1);
    store.close_lease(lease).await.unwrap();
}

#[tokio::test]
async fn the_views_show_jobs_and_results_and_what_jsonb_cannot_hold_is_null() {
    let world = World::open(Engine::Postgres).await;
    let document = r#"{"metadata":{"row":7},"prompt":"hi"}"#.to_owned();
    world.admit(vec![NewJob { document, ..world.named("a") }, world.named("b")]).await;
    for (job, output) in world.claim(2).await.jobs.iter().zip([r#"{"a":1e2}"#, r#""\u0000""#]) {
        let next = Next::End {
            state: State::Succeeded,
            output: Some(output.to_owned()),
            text: None,
            provenance: None,
        };
        world.finish(Finish { next, ..success(job) }).await;
    }
    let mut connection = world.connect_postgres().await;
    let results = "select external_id, output, output_jsonb::text, metadata::text, cost_micros, \
                   attempts, ended_at::text from results order by seq";
    let rows = sqlx::query(results).fetch_all(&mut connection).await.unwrap();
    let shown = |row: &sqlx::postgres::PgRow| {
        let text = |name| row.get::<Option<String>, _>(name);
        (text("external_id").unwrap(), text("output_jsonb"), text("metadata"))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(shown(&rows[0]), ("a".to_owned(), text(r#"{"a": 100}"#), text(r#"{"row": 7}"#)));
    assert_eq!(shown(&rows[1]), ("b".to_owned(), None, None));
    assert_eq!(rows[1].get::<String, _>("output"), r#""\u0000""#);
    assert_eq!(rows[0].get::<i64, _>("cost_micros"), 400);
    assert!(rows[0].get::<String, _>("ended_at").starts_with("2026-01-01 00:00:00"));
    let jobs = "select state, document ->> 'prompt' as prompt from jobs order by id";
    let rows = sqlx::query(jobs).fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows[0].get::<String, _>("state"), "succeeded");
    assert_eq!(rows[0].get::<String, _>("prompt"), "hi");
}

/// Somebody who holds a lane's lock and does nothing must not hold a worker for ever.
#[tokio::test]
async fn a_wait_for_a_lock_ends() {
    let world = World::open(Engine::Postgres).await;
    world.admit_one().await;
    world.claim_one().await;
    let mut other = world.connect_postgres().await;
    let lock = "begin; select key from budget_key for update";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let options = PostgresOptions {
        lock_timeout_ms: 100,
        ..PostgresOptions::new(&world.location(), Some(false))
    };
    let store = PostgresStore::open(&options, Clock::real()).await.unwrap();
    let denied = store.claim(claim_ask(world.lease, 1)).await;
    assert!(matches!(denied, Err(StoreError::Transient(_))), "{denied:?}");
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    assert!(store.claim(claim_ask(world.lease, 1)).await.is_ok());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let world = World::open(Engine::Postgres).await;
    // It listens, and says nothing.
    let dir = tempfile::tempdir().unwrap();
    let _silent = std::os::unix::net::UnixListener::bind(dir.path().join(".s.PGSQL.5432"));
    let silent = format!("postgres://me@localhost/x?host={}&port=5432", dir.path().display());
    let options =
        PostgresOptions { statement_timeout_ms: 10, ..PostgresOptions::new(&silent, Some(false)) };
    let given_up = PostgresStore::open(&options, world.clock.clone()).await;
    assert!(matches!(given_up, Err(StoreError::Transient(_))), "{given_up:?}");
}

#[tokio::test]
async fn connections_that_are_cut_are_replaced() {
    let world = World::open(Engine::Postgres).await;
    world.admit_many(3).await;
    for _ in 0..3 {
        world
            .run_sql(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .await;
        // Each operation may meet a connection that was cut.
        let claimed = until_sent(|| world.store.claim(world.ask(1))).await;
        let group = claimed.jobs.iter().map(success).collect::<Vec<_>>();
        let outcomes = until_sent(|| world.store.finish(&group)).await;
        assert_eq!(outcomes, [quarrier::store::Finished::Moved(State::Succeeded)]);
    }
}

async fn until_sent<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = quarrier::store::StoreResult<T>>,
{
    for _ in 0..10 {
        match ask().await {
            Ok(answer) => return answer,
            Err(StoreError::Transient(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("every connection was cut");
}

#[tokio::test]
async fn budget_states_that_are_not_the_last_are_deleted_and_settlements_that_it_has() {
    let world = World::open(Engine::Postgres).await;
    world.limit(&[("total", Some(1_000_000), None)]).await;
    for _ in 0..20 {
        world.admit_many(10).await;
        for _ in 0..10 {
            let job = world.claim_one().await;
            world.succeed(&job).await;
        }
        world.hand.advance(5_000);
    }
    let mut connection = world.connect_postgres().await;
    let kept: i64 =
        sqlx::query_scalar("select count(*) from budget").fetch_one(&mut connection).await.unwrap();
    assert!((2..=2 * 64).contains(&kept), "{kept} states of 400 are left");
    let left = "select count(*) from settlement";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut connection).await.unwrap();
    assert!((2..=2 * 65).contains(&left), "{left} settlements of 400 are left");
}

/// With the database's own clock, as in production.
#[tokio::test]
async fn a_limit_holds_by_the_databases_clock() {
    let database = Database::with_store().await;
    let store = open(&database, Some(false)).await.unwrap();
    let limit = Limit { requests_per_minute: Some(3), tokens_per_minute: None };
    let rule = LimitRule { pattern: "total".to_owned(), limit, origin: "configuration".to_owned() };
    store.seed_limits(vec![rule], "here/1").await.unwrap();
    let now = Clock::real().now().wall_ms;
    store.admit((0..5).map(|_| new_job(now)).collect()).await.unwrap();
    let lease = open_lease(&store).await;
    let mut claimed = 0;
    for _ in 0..10 {
        let ask = ClaimAsk { scan_max: 100, ..claim_ask(lease, 5) };
        let answer = store.claim(ask).await.unwrap();
        claimed += answer.jobs.len();
        assert!(answer.fits_in_ms.is_some(), "some wait");
    }
    assert!((1..=3).contains(&claimed), "{claimed}");
    let page = store.jobs(&quarrier::store::JobFilter { rows_max: 10, ..Default::default() }).await;
    assert!(page.unwrap().iter().all(|job| (job.created_at - now).abs() < 600_000));
    assert!(
        store.results(&ResultsAsk { rows_max: 1, ..Default::default() }).await.unwrap().is_empty()
    );
}
