//! A tenant's content goes at its word, wherever its jobs stand; money and a receipt stay.

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{Admitted, EraseAsk, Erasure, Finish, Finished, NewJob, Next, Reply};
use sqlx::{AssertSqlSafe, Column as _, Row as _};
use uuid::Uuid;

use crate::world::{Engine, World, failure, success};

behind_a_pooler_too!(
    no_table_holds_a_word_of_an_erased_tenant,
    waiting_jobs_are_cancelled_and_running_ones_fenced,
    a_late_answer_is_paid_for_and_not_kept,
    other_tenants_keep_everything,
    an_erasure_goes_step_by_step_and_is_resumed,
    what_comes_after_the_erasure_is_new,
    erasing_again_finds_nothing,
    submissions_that_name_no_tenant_are_the_default_tenants,
);

on_sqlite!(nothing_of_it_stays_in_the_files);

const WORD: &str = "Xyzzy-plugh-42";

fn ask(tenant: &str, rows_max: u32) -> EraseAsk {
    EraseAsk {
        tenant: tenant.to_owned(),
        asked_by: "ada".to_owned(),
        tenant_default: "default".to_owned(),
        rows_max,
    }
}

/// Erases to the end; the receipt, and how many steps it took.
async fn erase(world: &World, ask: &EraseAsk) -> (Erasure, u32) {
    for steps in 1..1_000 {
        let receipt = world.store.erase(ask).await.unwrap();
        if receipt.done_at.is_some() {
            return (receipt, steps);
        }
    }
    panic!("it does not end");
}

/// A job of the tenant `acme` that says the word.
fn telling(world: &World) -> NewJob {
    NewJob {
        tenant: "acme".to_owned(),
        // Longer than a page, so that it has pages of its own.
        document: format!(
            r#"{{"prompt":"{}","tenant":"acme","metadata":{{"of":"{WORD}"}}}}"#,
            WORD.repeat(500)
        ),
        reply: Some(Reply { to: "answers".to_owned(), trace: Some(WORD.to_owned()) }),
        ..world.job()
    }
}

fn saying(finish: Finish) -> Finish {
    let word = || Some(WORD.to_owned());
    let next = match finish.next {
        Next::End { state: State::Succeeded, .. } => {
            Next::End { state: State::Succeeded, output: word(), text: word(), provenance: None }
        }
        Next::Again { after_ms, counters, input_tokens_max, .. } => {
            Next::Again { after_ms, counters, input_tokens_max, reask: word() }
        }
        next => next,
    };
    Finish {
        raw_text: word(),
        schema_errors: word(),
        error: finish.error.map(|(kind, _)| (kind, format!("it said {WORD}"))),
        next,
        ..finish
    }
}

/// Submissions come in by the server's clock, which may be ahead of the one that a test's hand moves.
async fn submitted_before(world: &World) {
    if world.engine != Engine::Sqlite {
        world.run_sql("update submission set submitted_at = to_timestamp(0)").await;
    }
}

/// A store in which the tenant has jobs in every state, and a submission.
async fn fill(world: &World) -> Vec<Uuid> {
    let mut ids = world.admit((0..5).map(|_| telling(world)).collect()).await;
    let jobs = world.claim(4).await.jobs;
    world.finish(saying(success(&jobs[0]))).await;
    world.finish(saying(failure(&jobs[1], ErrorKind::InvalidJson))).await;
    world.finish(saying(crate::world::again(&jobs[2], 60_000))).await;
    let rejected = NewJob { resolved: Err(WORD.to_owned()), ..telling(world) };
    ids.extend(world.admit(vec![rejected]).await);
    world
        .run_sql(
            "insert into submission (id, document) values
                ('s', '{\"tenant\":\"acme\",\"prompt\":\"Xyzzy-plugh-42\"}')",
        )
        .await;
    submitted_before(world).await;
    ids
}

/// Every text of every table, as one.
async fn all_texts(world: &World) -> String {
    let mut all = String::new();
    for table in [
        "job",
        "job_spec",
        "attempt",
        "attempt_body",
        "result",
        "submission",
        "seen",
        "batch",
        "lane",
        "budget",
        "erasure",
        "delivery",
    ] {
        match world.engine {
            Engine::Sqlite => {
                let mut other = world.connect_sqlite().await;
                let select = AssertSqlSafe(format!("select * from {table}"));
                for row in sqlx::query(select).fetch_all(&mut other).await.unwrap() {
                    for column in row.columns() {
                        let text = row.try_get_unchecked::<Option<String>, _>(column.ordinal());
                        all.push_str(&text.ok().flatten().unwrap_or_default());
                    }
                }
            }
            Engine::Postgres | Engine::Pooled => {
                let mut other = world.connect_postgres().await;
                let select =
                    AssertSqlSafe(format!("select row_to_json(t)::text from {table} as t"));
                for row in sqlx::query(select).fetch_all(&mut other).await.unwrap() {
                    all.push_str(&row.get::<String, _>(0));
                }
            }
        }
    }
    all
}

async fn no_table_holds_a_word_of_an_erased_tenant(world: World) {
    let ids = fill(&world).await;
    assert!(all_texts(&world).await.contains(WORD));
    let (receipt, _) = erase(&world, &ask("acme", 100)).await;
    let texts = all_texts(&world).await;
    assert!(!texts.contains(WORD), "{texts}");
    let counts = receipt.counts;
    assert_eq!((counts.jobs, counts.cancelled, counts.fenced), (6, 2, 1));
    assert_eq!((counts.bodies, counts.submissions, counts.identities), (3, 1, 0));
    assert_eq!((receipt.tenant.as_str(), receipt.asked_by.as_str()), ("acme", "ada"));
    let mut receipts = world.store.erasures().await.unwrap();
    receipts[0].remains.clone_from(&receipt.remains);
    assert_eq!(receipts, [receipt], "it is kept");
    // The money stays.
    let page = world.store.job(&ids[0].to_string()).await.unwrap().unwrap();
    assert_eq!(page.attempts[0].cost_micros, Some(400));
    assert_eq!(page.attempts[0].request_id.as_deref(), Some("request-1"));
    let result = page.result.unwrap();
    assert_eq!((result.state, result.text), (State::Succeeded, None));
    assert_eq!(result.deleted.unwrap().by, "erasure");
}

async fn waiting_jobs_are_cancelled_and_running_ones_fenced(world: World) {
    let ids = world.admit(vec![telling(&world), telling(&world)]).await;
    world.claim_one().await;
    erase(&world, &ask("acme", 100)).await;
    for id in ids {
        assert_eq!(world.state(id).await, State::Cancelled);
    }
    assert!(world.claim(5).await.jobs.is_empty());
    let believed = world.store.beat(world.lease).await.unwrap().unwrap();
    assert!(believed.is_empty(), "its worker aborts the call");
}

async fn a_late_answer_is_paid_for_and_not_kept(world: World) {
    world.limit(&[("total", Some(10), Some(10_000))]).await;
    let id = world.admit(vec![telling(&world)]).await[0];
    let job = world.claim_one().await;
    erase(&world, &ask("acme", 100)).await;
    // As it comes back from a call, or from the spool of a machine that was away.
    let spooled = serde_json::to_string(&saying(success(&job))).unwrap();
    assert_eq!(world.finish(serde_json::from_str(&spooled).unwrap()).await, Finished::Late);
    assert!(!all_texts(&world).await.contains(WORD));
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!((page.row.state, page.attempts[0].cost_micros), (State::Cancelled, Some(400)));
    assert_eq!(page.attempts[0].usage.map(|usage| usage.output), Some(100));
    assert_eq!(world.tokens("total").await.used, 300, "and its quota is settled");
}

async fn other_tenants_keep_everything(world: World) {
    let other = NewJob { tenant: "zeta".to_owned(), ..telling(&world) };
    world.admit(vec![other, telling(&world)]).await;
    for job in world.claim(2).await.jobs {
        world.finish(saying(success(&job))).await;
    }
    let (receipt, _) = erase(&world, &ask("acme", 100)).await;
    assert_eq!(receipt.counts.jobs, 1);
    let kept: Vec<bool> = world.results().await.iter().map(|one| one.text.is_some()).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 1);
}

async fn an_erasure_goes_step_by_step_and_is_resumed(world: World) {
    world.admit((0..5).map(|_| telling(&world)).collect()).await;
    let first = world.store.erase(&ask("acme", 2)).await.unwrap();
    assert_eq!((first.counts.jobs, first.done_at), (2, None));
    world.hand.advance(1_000);
    let late = EraseAsk { asked_by: "bob".to_owned(), ..ask("acme", 2) };
    let (receipt, steps) = erase(&world, &late).await;
    assert_eq!((receipt.id, receipt.started_at, steps), (first.id, first.started_at, 2));
    assert_eq!((receipt.asked_by.as_str(), receipt.counts.jobs), ("ada", 5));
    assert_eq!(world.store.erasures().await.unwrap().len(), 1);
}

async fn what_comes_after_the_erasure_is_new(world: World) {
    let job = || NewJob { tenant: "acme".to_owned(), ..world.named("a") };
    let old = world.admit(vec![job()]).await[0];
    let (receipt, _) = erase(&world, &ask("acme", 100)).await;
    assert_eq!(receipt.counts.identities, 1);
    world.hand.advance(1);
    let answer = world.store.admit(vec![job()]).await.unwrap();
    assert!(matches!(answer[..], [Admitted::New(id)] if id != old), "{answer:?}");
    world.succeed(&world.claim_one().await).await;
    assert_eq!(world.results().await[1].text.as_deref(), Some("done"));
}

async fn erasing_again_finds_nothing(world: World) {
    fill(&world).await;
    erase(&world, &ask("acme", 100)).await;
    let (again, _) = erase(&world, &ask("acme", 100)).await;
    assert_eq!(again.counts, quarrier::store::ErasureCounts::default());
    assert_eq!(world.store.erasures().await.unwrap().len(), 2);
}

async fn submissions_that_name_no_tenant_are_the_default_tenants(world: World) {
    world
        .run_sql(
            "insert into submission (id, document) values
                ('a', '{\"prompt\":\"x\"}'), ('b', '{\"tenant\":\"acme\"}'), ('c', 'no json')",
        )
        .await;
    submitted_before(&world).await;
    let (receipt, _) = erase(&world, &ask("default", 1)).await;
    assert_eq!(receipt.counts.submissions, 2);
    let left = world.store.submissions(10).await.unwrap();
    assert_eq!(left.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["b"]);
}

async fn nothing_of_it_stays_in_the_files(world: World) {
    fill(&world).await;
    let holds = |suffix: &str| {
        let bytes = std::fs::read(format!("{}{suffix}", world.location())).unwrap_or_default();
        bytes.windows(WORD.len()).any(|window| window == WORD.as_bytes())
    };
    assert!(holds("") || holds("-wal"));
    erase(&world, &ask("acme", 2)).await;
    assert!(!holds("-wal"), "the log is emptied");
    assert!(!holds(""), "and what was deleted is overwritten");
}
