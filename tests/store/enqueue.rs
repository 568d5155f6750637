//! The SQL functions by which other programs put jobs in, within their own transaction, and the
//! roles that may call them.
//! Must not know: how a worker admits what they put in.

use std::collections::BTreeSet;

use quarrier::job::State;
use quarrier::store::{NewJob, Submission};
use serde_json::Value;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::cluster::Database;
use crate::world::{Engine, World};

/// The rows of a statement, each as its first column's text.
async fn texts(on: &mut PgConnection, statement: &str) -> Result<Vec<String>, String> {
    let rows = sqlx::query(AssertSqlSafe(statement.to_owned())).persistent(false).fetch_all(on);
    let rows = rows.await.map_err(|error| match error.into_database_error() {
        Some(error) => format!("{} {}", error.code().unwrap_or_default(), error.message()),
        None => "lost".to_owned(),
    })?;
    let text = |row: &sqlx::postgres::PgRow| row.try_get::<Option<String>, _>(0).unwrap();
    Ok(rows.iter().map(|row| text(row).unwrap_or_default()).collect())
}

async fn run(on: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(on).await.unwrap();
}

/// The id that `enqueue` gives for a document, or its words.
async fn enqueue(on: &mut PgConnection, document: &str) -> Result<Uuid, String> {
    let document = document.replace('\'', "''");
    let ids = texts(on, &format!("select quarrier.enqueue('{document}')::text")).await?;
    Ok(ids[0].parse().unwrap())
}

async fn state(on: &mut PgConnection, id: Uuid) -> Vec<String> {
    texts(on, &format!("select state from quarrier.jobs where id = '{id}'")).await.unwrap()
}

/// Admits what waits, as a worker would that finds nothing wrong with it.
async fn admit(world: &World) -> Vec<Submission> {
    let rows = world.store.submissions(1_000).await.unwrap();
    let jobs = rows.iter().map(|row| {
        let document: Value = serde_json::from_str(&row.document).unwrap();
        let id = document["id"].as_str().map(str::to_owned);
        let job = NewJob {
            job_id: row.job_id.unwrap(),
            identity: id.as_ref().map(|id| format!("id:{id}")).or_else(|| row.identity.clone()),
            external_id: id,
            document: row.document.clone(),
            document_hash: row.document.clone(),
            ..world.job()
        };
        (row.id.clone(), job)
    });
    world.store.admit_submissions(jobs.collect()).await.unwrap();
    rows
}

async fn database() -> (Database, PgConnection) {
    let database = Database::with_store().await;
    let connection = PgConnection::connect(&database.url()).await.unwrap();
    (database, connection)
}

#[tokio::test]
async fn a_job_has_its_id_from_the_first_moment_and_keeps_it() {
    for engine in [Engine::Postgres, Engine::Pooled] {
        let world = World::open(engine).await;
        let mut producer = world.connect_postgres().await;
        let id = enqueue(&mut producer, r#"{"prompt":"Say hello.","queue":"mail"}"#).await.unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(state(&mut producer, id).await, ["submitted"]);
        let rows = admit(&world).await;
        assert_eq!((rows.len(), rows[0].job_id), (1, Some(id)));
        assert_eq!(state(&mut producer, id).await, ["ready"]);
        let job = world.claim_one().await;
        assert_eq!(job.job_id, id);
        world.succeed(&job).await;
        assert_eq!(state(&mut producer, id).await, ["succeeded"]);
        assert_eq!(world.state(id).await, State::Succeeded);
    }
}

#[tokio::test]
async fn a_transaction_rolled_back_leaves_no_job() {
    let (_database, mut producer) = database().await;
    run(&mut producer, "create table orders (number int primary key, job uuid)").await;
    for end in ["rollback", "commit"] {
        run(
            &mut producer,
            &format!("begin; insert into orders select 1, quarrier.enqueue('{{\"prompt\":\"Hi\"}}'); {end}"),
        )
        .await;
        let both =
            "select (select count(*) from orders) || ' ' || (select count(*) from quarrier.jobs)";
        let expected = if end == "commit" { "1 1" } else { "0 0" };
        assert_eq!(texts(&mut producer, both).await.unwrap(), [expected]);
    }
    let found = "select state from quarrier.jobs join orders on orders.job = jobs.id";
    assert_eq!(texts(&mut producer, found).await.unwrap(), ["submitted"]);
}

#[tokio::test]
async fn what_sql_can_tell_is_refused_in_the_call_with_the_field_and_the_way_out() {
    let (_database, mut producer) = database().await;
    let long = "x".repeat(257);
    let huge = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(1 << 20));
    let bad = [
        ("[]", "$: is no JSON object"),
        ("\"text\"", "$: is no JSON object"),
        ("{}", "$.prompt: is missing"),
        (r#"{"prompt":null,"messages":null}"#, "$.prompt: is missing"),
        (r#"{"prompt":"Hi","messages":[]}"#, "$.prompt: stands beside messages"),
        (r#"{"prompt":7}"#, "$.prompt: is no string"),
        (r#"{"messages":"Hi"}"#, "$.messages: is no list"),
        (r#"{"prompt":"Hi","colour":1}"#, "$.colour: is no field"),
        (r#"{"prompt":"Hi","id":7}"#, "$.id: is no string of 1 to 256"),
        (r#"{"prompt":"Hi","id":""}"#, "$.id: is no string of 1 to 256"),
        (&format!(r#"{{"prompt":"Hi","id":"{long}"}}"#), "$.id: is no string of 1 to 256"),
        (&format!(r#"{{"prompt":"Hi","tenant":"{long}"}}"#), "$.tenant: is no string of 1 to 256"),
        (&huge, "1048576 is the most"),
    ];
    for (document, words) in bad {
        let refused = enqueue(&mut producer, document).await.unwrap_err();
        assert!(refused.starts_with("22023 ") && refused.contains(words), "{words}: {refused}");
        let many = format!(
            "select quarrier.enqueue_many(array['{{\"prompt\":\"Hi\"}}', '{document}']::jsonb[])::text"
        );
        let refused = texts(&mut producer, &many).await.unwrap_err();
        assert!(refused.starts_with("22023 $[1]"), "{words}: {refused}");
    }
    let refused = texts(&mut producer, "select quarrier.enqueue(null)::text").await.unwrap_err();
    assert!(refused.contains("no JSON object"), "{refused}");
    let left = texts(&mut producer, "select count(*)::text from quarrier.jobs").await.unwrap();
    assert_eq!(left, ["0"]);
}

/// The short check only spares the long one: it lets nothing through that the long one refuses.
#[tokio::test]
async fn the_short_check_passes_only_what_the_long_one_passes() {
    let (_database, mut producer) = database().await;
    let long = "x".repeat(257);
    let documents = [
        (r#"{"prompt":"Hi"}"#, "true"),
        (r#"{"messages":[]}"#, "true"),
        (r#"{"prompt":"Hi","tenant":"a","labels":{}}"#, "true"),
        // Refused, or judged by the long check.
        (r#"{"prompt":"Hi","id":"a"}"#, "false"),
        (r#"{"prompt":"Hi","messages":null}"#, "false"),
        (r#"{"prompt":"Hi","messages":[]}"#, "false"),
        (r#"{"prompt":null,"messages":[]}"#, "false"),
        (r#"{"prompt":"Hi","tenant":null}"#, "false"),
        (r#"{"prompt":"Hi","tenant":7}"#, "false"),
        (r#"{"prompt":"Hi","tenant":""}"#, "false"),
        (&format!(r#"{{"prompt":"Hi","tenant":"{long}"}}"#), "false"),
        (r#"{"prompt":"Hi","colour":1}"#, "false"),
        (r#"{"prompt":7}"#, "false"),
        (r#"{"messages":{}}"#, "false"),
        ("{}", "false"),
        (r#"["prompt"]"#, "false"),
        ("\"prompt\"", "false"),
        ("null", "false"),
    ];
    for (document, expected) in documents {
        let usual = format!("select coalesce(quarrier.is_usual('{document}'), false)::text");
        assert_eq!(texts(&mut producer, &usual).await.unwrap(), [expected], "{document}");
        if expected == "true" {
            let refusal = format!("select quarrier.refusal('{document}', 100)");
            assert_eq!(texts(&mut producer, &refusal).await.unwrap(), [""], "{document}");
        }
    }
    let none = "select coalesce(quarrier.is_usual(null), false)::text";
    assert_eq!(texts(&mut producer, none).await.unwrap(), ["false"]);
}

/// Two lists of one thing: this keeps them the same.
#[tokio::test]
async fn the_functions_know_the_fields_of_the_published_schema() {
    let (_database, mut producer) = database().await;
    let text = include_str!("../../docs/job.schema.json");
    let schema: Value = serde_json::from_str(text).unwrap();
    let published: BTreeSet<&str> =
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let source = "select prosrc from pg_proc where proname = 'refusal'";
    let source = texts(&mut producer, source).await.unwrap().remove(0);
    let lists: Vec<BTreeSet<&str>> = source
        .split("array[")
        .skip(1)
        .map(|rest| rest.split(']').next().unwrap().split('\'').skip(1).step_by(2).collect())
        .collect();
    assert_eq!(lists, [published.clone(), published.clone()]);
    // The short check leaves documents with an id to the long one.
    let source = "select prosrc from pg_proc where proname = 'is_usual'";
    let source = texts(&mut producer, source).await.unwrap().remove(0);
    let list = source.split("array[").nth(1).unwrap().split(']').next().unwrap();
    let usual: BTreeSet<&str> = list.split('\'').skip(1).step_by(2).collect();
    assert_eq!(usual, published.iter().copied().filter(|field| *field != "id").collect());
    for field in published.iter().filter(|field| **field != "prompt") {
        enqueue(&mut producer, &format!(r#"{{"prompt":"Hi","{field}":null}}"#)).await.unwrap();
    }
}

#[tokio::test]
async fn many_are_put_in_at_once_in_their_order() {
    for engine in [Engine::Postgres, Engine::Pooled] {
        let world = World::open(engine).await;
        let mut producer = world.connect_postgres().await;
        let many =
            "select quarrier.enqueue_many(array_agg(jsonb_build_object('prompt', number::text)
                    order by number))::text from generate_series(1, 700) as number";
        let ids = texts(&mut producer, many).await.unwrap();
        let shown = "select document ->> 'prompt' from unnest(string_to_array('IDS', ','))
                     with ordinality as given (id, at)
                     join quarrier.jobs on jobs.id = given.id::uuid order by at";
        let shown = texts(&mut producer, &shown.replace("IDS", &ids.join(","))).await.unwrap();
        let expected: Vec<String> = (1..=700).map(|number| number.to_string()).collect();
        assert_eq!(shown, expected);
        assert_eq!(admit(&world).await.len(), 700);
        let claimed: Vec<String> =
            world.claim(700).await.jobs.iter().map(|job| job.job_id.to_string()).collect();
        assert_eq!(claimed, ids, "and they are claimed in it");
        for none in ["'{}'", "null"] {
            let none = format!("select quarrier.enqueue_many({none})::text");
            assert!(texts(&mut producer, &none).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn the_same_id_and_document_is_the_same_job_before_and_after_its_admission() {
    let world = World::open(Engine::Postgres).await;
    let mut producer = world.connect_postgres().await;
    let (first, null) = (r#"{"id":"a","prompt":"Hi"}"#, r#"{"id":"a","model":null,"prompt":"Hi"}"#);
    let many = "select quarrier.enqueue_many(array[
        '{\"prompt\":\"x\"}', '{\"id\":\"a\",\"prompt\":\"Hi\"}', '{\"id\":\"b\",\"prompt\":\"Hi\"}',
        '{\"id\":\"b\",\"prompt\":\"Hi\"}', '{\"prompt\":\"y\"}'
    ]::jsonb[])::text";
    let id = enqueue(&mut producer, first).await.unwrap();
    let mut jobs = 1;
    let mut b = String::new();
    for round in 0..2 {
        assert_eq!(enqueue(&mut producer, first).await, Ok(id));
        assert_eq!(enqueue(&mut producer, null).await, Ok(id));
        let ids = texts(&mut producer, many).await.unwrap();
        assert_eq!((&ids[1], &ids[2]), (&id.to_string(), &ids[3]));
        assert!(round == 0 || ids[2] == b, "known from the round before");
        b.clone_from(&ids[2]);
        jobs += if round == 0 { 3 } else { 2 };
        let shown = "select id::text from quarrier.jobs where document ->> 'prompt' in ('x', 'y')
                     order by id desc limit 2";
        let mut last = texts(&mut producer, shown).await.unwrap();
        last.sort();
        let mut own = [ids[0].clone(), ids[4].clone()];
        own.sort();
        assert_eq!(last, own);
        let count = texts(&mut producer, "select count(*)::text from quarrier.jobs").await.unwrap();
        assert_eq!(count, [jobs.to_string()]);
        // A tenant's ids are its own.
        let theirs = r#"{"id":"a","prompt":"Hi","tenant":"other"}"#;
        assert_ne!(enqueue(&mut producer, theirs).await, Ok(id));
        jobs += usize::from(round == 0);
        if round == 0 {
            let other = enqueue(&mut producer, r#"{"id":"a","prompt":"Ho"}"#).await.unwrap_err();
            assert!(other.contains("$.id: 'a' belongs") && other.contains("another id"), "{other}");
            admit(&world).await;
        }
        // Admitted here under the tenant of the world's jobs, so it is new again.
        run(&mut producer, "delete from submission where tenant = 'other'").await;
        jobs -= usize::from(round == 1);
    }
    // Another document under an id that a job has: a worker says so, by a job that fails.
    let id = enqueue(&mut producer, r#"{"id":"a","prompt":"Ho"}"#).await.unwrap();
    admit(&world).await;
    assert_eq!(state(&mut producer, id).await, ["failed"]);
}

#[tokio::test]
async fn two_producers_of_one_id_at_once_get_one_job() {
    let (database, mut first) = database().await;
    let mut second = PgConnection::connect(&database.url()).await.unwrap();
    run(&mut first, "begin").await;
    let id = enqueue(&mut first, r#"{"id":"a","prompt":"Hi"}"#).await.unwrap();
    let other =
        tokio::spawn(async move { enqueue(&mut second, r#"{"id":"a","prompt":"Hi"}"#).await });
    let waits = "select 'x' from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'";
    while texts(&mut first, waits).await.unwrap().is_empty() {
        run(&mut first, "select pg_stat_clear_snapshot()").await;
    }
    run(&mut first, "commit").await;
    assert_eq!(other.await.unwrap(), Ok(id));
}

#[tokio::test]
async fn what_another_worker_is_admitting_is_left_to_it() {
    let world = World::open(Engine::Postgres).await;
    let mut producer = world.connect_postgres().await;
    let held = enqueue(&mut producer, r#"{"prompt":"held"}"#).await.unwrap();
    let free = enqueue(&mut producer, r#"{"prompt":"free"}"#).await.unwrap();
    let mut other = world.connect_postgres().await;
    run(&mut other, &format!("begin; select from submission where job_id = '{held}' for update"))
        .await;
    admit(&world).await;
    assert_eq!(state(&mut producer, held).await, ["submitted"]);
    assert_eq!(state(&mut producer, free).await, ["ready"]);
    run(&mut other, "rollback").await;
    admit(&world).await;
    assert_eq!(state(&mut producer, held).await, ["ready"]);
}

#[tokio::test]
async fn producers_and_readers_can_do_nothing_else() {
    let (_database, mut connection) = database().await;
    let put_in = r#"select quarrier.enqueue('{"prompt":"Hi"}')::text"#;
    let put_many = r#"select quarrier.enqueue_many('{"{\"prompt\":\"Hi\"}"}')::text"#;
    let (jobs, results) = ("select state from quarrier.jobs", "select state from quarrier.results");
    let never = [
        "select id from quarrier.submission",
        "insert into quarrier.submission (id, document) values ('a', '{}') returning id",
        "delete from quarrier.submission returning id",
        "select state from quarrier.job",
        "select document from quarrier.job_spec",
        "update quarrier.lease set beat = 0 returning host",
        "select value from quarrier.meta",
        "select quarrier.grant_roles()",
        "select quarrier.known_as('{}', '', '', '{}')::text",
        "select quarrier.refuse('', 0)",
        "create table quarrier.mine (id int)",
    ];
    for (role, may, may_not) in [
        ("quarrier_producer", [put_in, put_many], [jobs, results]),
        ("quarrier_reader", [jobs, results], [put_in, put_many]),
    ] {
        run(&mut connection, &format!("set role {role}")).await;
        for statement in may {
            texts(&mut connection, statement).await.unwrap();
        }
        for statement in may_not.iter().chain(&never) {
            let refused = texts(&mut connection, statement).await.unwrap_err();
            assert!(refused.starts_with("42501 "), "{role}: {statement}: {refused}");
        }
        run(&mut connection, "reset role").await;
    }
    assert_eq!(texts(&mut connection, jobs).await.unwrap().len(), 2);
}

/// A producer's search path and temporary tables do not reach into the functions.
#[tokio::test]
async fn a_producer_cannot_lend_the_functions_tables_or_operators_of_its_own() {
    let (_database, mut connection) = database().await;
    run(
        &mut connection,
        "create function public.theirs(jsonb, text) returns text language plpgsql
             as 'begin raise exception ''called''; end';
         create function public.theirs_too(jsonb, text) returns boolean language plpgsql
             as 'begin raise exception ''called''; end';
         create function public.theirs_three(jsonb, text[]) returns jsonb language plpgsql
             as 'begin raise exception ''called''; end';
         create function public.same(text, text) returns boolean language plpgsql
             as 'begin raise exception ''called''; end';
         create function public.less(integer, integer) returns boolean language plpgsql
             as 'begin raise exception ''called''; end';
         create operator public.->> (leftarg = jsonb, rightarg = text, function = public.theirs);
         create operator public.-> (leftarg = jsonb, rightarg = text, function = public.theirs);
         create operator public.? (leftarg = jsonb, rightarg = text, function = public.theirs_too);
         create operator public.- (leftarg = jsonb, rightarg = text[], function = public.theirs_three);
         create operator public.= (leftarg = text, rightarg = text, function = public.same);
         create operator public.<= (leftarg = integer, rightarg = integer, function = public.less);
         create operator public.>= (leftarg = integer, rightarg = integer, function = public.less);
         create function public.length(text) returns int language sql as 'select 0';
         create function public.octet_length(text) returns int language sql as 'select 1/0';
         create function public.jsonb_typeof(jsonb) returns text language sql as 'select 1/0';
         create function public.gen_random_uuid() returns uuid language sql as 'select null::uuid';
         create function public.clock_timestamp() returns timestamptz language sql
             as 'select null::timestamptz';
         create domain public.text as pg_catalog.text check (value is null);
         create domain public.uuid as pg_catalog.uuid check (value is null);
         create temp table submission (id pg_catalog.text);
         create temp table lease (wake_wanted boolean);
         create temp table uuid (one integer); create temp table text (one integer);
         set search_path = pg_temp, public, pg_catalog",
    )
    .await;
    let usual = r#"{"prompt":"Hi","tenant":"a"}"#;
    for document in [usual, r#"{"messages":[]}"#, r#"{"prompt":"Hi","id":"a"}"#] {
        let ask = format!("select pg_catalog.concat(quarrier.enqueue('{document}'))");
        assert_eq!(texts(&mut connection, &ask).await.unwrap()[0].len(), 36);
    }
    let many =
        format!("select pg_catalog.concat(quarrier.enqueue_many(array['{usual}']::jsonb[]))");
    assert_eq!(texts(&mut connection, &many).await.unwrap()[0].len(), 36);
    let count = "select pg_catalog.concat(pg_catalog.count(*)) from quarrier.submission";
    assert_eq!(texts(&mut connection, count).await.unwrap(), ["4"]);
}

#[tokio::test]
async fn a_notification_is_sent_only_where_a_worker_wants_it_and_one_a_commit() {
    let world = World::open(Engine::Postgres).await;
    let mut producer = world.connect_postgres().await;
    let mut listener = PgListener::connect(&world.location()).await.unwrap();
    listener.listen("quarrier_wake").await.unwrap();
    enqueue(&mut producer, r#"{"prompt":"nobody waits"}"#).await.unwrap();
    run(&mut producer, "notify quarrier_wake, 'first'; update lease set wake_wanted = true").await;
    run(
        &mut producer,
        r#"begin; select quarrier.enqueue('{"prompt":"1"}'); select quarrier.enqueue('{"prompt":"2"}');
           select quarrier.enqueue_many(array['{"prompt":"3"}']::jsonb[]); commit;
           notify quarrier_wake, 'last'"#,
    )
    .await;
    for expected in ["first", "", "last"] {
        assert_eq!(listener.recv().await.unwrap().payload(), expected);
    }
}
