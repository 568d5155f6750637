//! What has been kept long enough goes: content first, later the jobs, never what has not ended.

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{
    Admitted, Finished, NewJob, OwnDays, RetainAsk, Retained, RetentionPolicy, RetentionStage,
};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::world::{Engine, World, failure, success};

behind_a_pooler_too!(
    content_goes_after_its_days_and_the_rest_stays,
    what_has_not_ended_is_never_touched,
    jobs_go_after_their_days_and_what_they_cost_stays,
    queues_and_tenants_may_have_days_of_their_own,
    zero_days_keep_for_ever,
    a_step_takes_so_many_and_says_whether_there_is_more,
    looking_deletes_nothing,
    shorter_days_reach_what_was_passed_before,
    a_job_without_content_is_not_put_back,
    an_identity_outlives_the_content_of_its_job,
    a_late_answer_to_a_job_without_content_is_paid_for_and_not_kept,
    a_batch_goes_with_its_last_line,
    the_views_say_when_and_why_content_is_not_there,
);

const DAY_MS: u64 = 86_400_000;

fn policy(bodies_days: u32, jobs_days: u32) -> RetentionPolicy {
    RetentionPolicy { bodies_days, jobs_days, ..RetentionPolicy::for_ever() }
}

fn ask(stage: RetentionStage, policy: RetentionPolicy) -> RetainAsk {
    RetainAsk { stage, policy, rows_max: 100, look_after: None }
}

async fn retain(world: &World, stage: RetentionStage, policy: RetentionPolicy) -> Retained {
    world.store.retain(&ask(stage, policy)).await.unwrap()
}

/// A job with a content of its own, that ended now.
async fn ended(world: &World, job: NewJob) -> Uuid {
    let id = world.admit(vec![job]).await[0];
    world.succeed(&world.claim_one().await).await;
    id
}

async fn number(world: &World, statement: &'static str) -> i64 {
    match world.engine {
        Engine::Sqlite => {
            let mut other = world.connect_sqlite().await;
            sqlx::query(statement).fetch_one(&mut other).await.unwrap().get(0)
        }
        Engine::Postgres | Engine::Pooled => {
            let mut other = world.connect_postgres().await;
            sqlx::query(statement).fetch_one(&mut other).await.unwrap().get(0)
        }
    }
}

async fn content_goes_after_its_days_and_the_rest_stays(world: World) {
    let id = ended(&world, world.job()).await;
    world.hand.advance(30 * DAY_MS - 1);
    let bodies = || retain(&world, RetentionStage::Bodies, policy(30, 90));
    assert_eq!(bodies().await.jobs, 0);
    world.hand.advance(1);
    assert_eq!(bodies().await.jobs, 1);
    assert_eq!(bodies().await.jobs, 0, "nothing goes twice");

    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!((page.document.as_str(), page.reask), ("null", None));
    assert!(page.resolved.is_none());
    assert_eq!(page.attempts.len(), 1);
    assert_eq!(
        (page.attempts[0].raw_text.as_ref(), page.attempts[0].cost_micros),
        (None, Some(400))
    );
    let result = world.results().await.remove(0);
    assert_eq!(
        (result.state, result.text, result.cost_micros),
        (State::Succeeded, None, Some(400))
    );
    let deleted = result.deleted.unwrap();
    assert_eq!((deleted.by.as_str(), deleted.at), ("retention", world.now_ms()));
    assert_eq!(number(&world, "select count(*) from attempt_body").await, 0);
}

async fn what_has_not_ended_is_never_touched(world: World) {
    let deadline_at = world.now_ms() + 1_000_000 * 86_400_000;
    let long = || NewJob { deadline_at, ..world.job() };
    let ids = world.admit(vec![long(), long()]).await;
    let running = world.claim_one().await;
    world.hand.advance(400 * DAY_MS);
    for stage in RetentionStage::ALL {
        assert_eq!(retain(&world, stage, policy(1, 1)).await.jobs, 0);
    }
    for id in ids {
        let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
        assert_eq!(page.document, r#"{"prompt":"hi"}"#);
    }
    assert_eq!(world.succeed(&running).await, Finished::Moved(State::Succeeded));
    assert_eq!(world.results().await[0].text.as_deref(), Some("done"), "it ended only now");
}

async fn jobs_go_after_their_days_and_what_they_cost_stays(world: World) {
    let id = ended(&world, world.job()).await;
    world.hand.advance(DAY_MS);
    let young = ended(&world, world.job()).await;
    world.hand.advance(89 * DAY_MS);
    assert_eq!(retain(&world, RetentionStage::Jobs, policy(30, 90)).await.jobs, 1);
    assert!(world.store.job(&id.to_string()).await.unwrap().is_none());
    assert!(world.store.job(&young.to_string()).await.unwrap().is_some());
    assert_eq!(world.results().await.len(), 1);
    for table in [
        "select count(*) from job",
        "select count(*) from job_spec",
        "select count(*) from attempt",
        "select count(*) from attempt_body",
    ] {
        assert_eq!(number(&world, table).await, 1, "{table}");
    }
    world.hand.advance(DAY_MS);
    assert_eq!(retain(&world, RetentionStage::Jobs, policy(30, 90)).await.jobs, 1);
    assert_eq!(number(&world, "select count(*) from spent").await, 2, "a row each day");
    let sum = "select cast(sum(calls * 1000000 + cost_micros * 1000 + output_tokens) as bigint) \
               from spent";
    assert_eq!(number(&world, sum).await, 2_800_200);
}

async fn queues_and_tenants_may_have_days_of_their_own(world: World) {
    let job = |queue: &str, tenant: &str| NewJob {
        queue: queue.to_owned(),
        tenant: tenant.to_owned(),
        ..world.job()
    };
    let mut ids = Vec::new();
    for (queue, tenant) in [("long", "t"), ("q", "short"), ("long", "short"), ("q", "t")] {
        ids.push(ended(&world, job(queue, tenant)).await);
    }
    let mut policy = policy(30, 0);
    let own = |days| OwnDays { bodies_days: Some(days), jobs_days: None };
    policy.queues.insert("long".to_owned(), own(365));
    policy.tenants.insert("short".to_owned(), own(1));
    let gone = async || {
        retain(&world, RetentionStage::Bodies, policy.clone()).await;
        let results = world.results().await;
        let gone = results.iter().filter(|result| result.deleted.is_some());
        gone.map(|result| ids.iter().position(|id| *id == result.job_id).unwrap()).collect()
    };
    let at = async |days| -> Vec<usize> {
        world.hand.advance(days * DAY_MS);
        gone().await
    };
    assert_eq!(at(1).await, [1, 2], "a tenant's days are stronger than its queue's");
    assert_eq!(at(29).await, [1, 2, 3]);
    assert_eq!(at(335).await, [0, 1, 2, 3], "what was passed is looked at again");
}

async fn zero_days_keep_for_ever(world: World) {
    ended(&world, world.job()).await;
    world.hand.advance(36_500 * DAY_MS);
    for stage in RetentionStage::ALL {
        assert_eq!(retain(&world, stage, RetentionPolicy::for_ever()).await.jobs, 0);
    }
}

async fn a_step_takes_so_many_and_says_whether_there_is_more(world: World) {
    for _ in 0..5 {
        ended(&world, world.job()).await;
    }
    world.hand.advance(2 * DAY_MS);
    for stage in RetentionStage::ALL {
        let ask = RetainAsk { rows_max: 2, ..ask(stage, policy(1, 1)) };
        let mut steps = Vec::new();
        loop {
            let step = world.store.retain(&ask).await.unwrap();
            steps.push(step.jobs);
            if !step.more {
                break;
            }
        }
        assert_eq!(steps, [2, 2, 1], "{stage:?}");
    }
    assert_eq!(number(&world, "select count(*) from job").await, 0);
}

async fn looking_deletes_nothing(world: World) {
    for _ in 0..3 {
        ended(&world, world.job()).await;
    }
    world.hand.advance(2 * DAY_MS);
    let look = |after| RetainAsk {
        rows_max: 2,
        look_after: Some(after),
        ..ask(RetentionStage::Jobs, policy(1, 1))
    };
    let first = world.store.retain(&look(0)).await.unwrap();
    assert_eq!((first.jobs, first.more), (2, true));
    let rest = world.store.retain(&look(first.after)).await.unwrap();
    assert_eq!((rest.jobs, rest.more), (1, false));
    assert_eq!(world.results().await.len(), 3);
}

async fn shorter_days_reach_what_was_passed_before(world: World) {
    let mut long = policy(10, 0);
    let own = OwnDays { bodies_days: Some(100), jobs_days: None };
    long.queues.insert("default".to_owned(), own);
    ended(&world, world.job()).await;
    world.hand.advance(20 * DAY_MS);
    assert_eq!(retain(&world, RetentionStage::Bodies, long).await.jobs, 0);
    assert_eq!(retain(&world, RetentionStage::Bodies, policy(10, 0)).await.jobs, 1);
}

async fn a_job_without_content_is_not_put_back(world: World) {
    let id = world.admit_one().await;
    world.finish(failure(&world.claim_one().await, ErrorKind::Refused)).await;
    world.hand.advance(2 * DAY_MS);
    retain(&world, RetentionStage::Bodies, policy(1, 0)).await;
    assert!(world.store.retry(&[id], world.now_ms() + 1_000).await.unwrap().is_empty());
    assert_eq!(world.state(id).await, State::Failed);
}

async fn an_identity_outlives_the_content_of_its_job(world: World) {
    let job = NewJob { seen_until: world.now_ms() + 40 * 86_400_000, ..world.named("a") };
    let id = ended(&world, job.clone()).await;
    world.hand.advance(2 * DAY_MS);
    retain(&world, RetentionStage::Bodies, policy(1, 0)).await;
    let again = || NewJob { job_id: Uuid::now_v7(), ..job.clone() };
    let answer = world.store.admit(vec![again()]).await.unwrap();
    assert_eq!(answer, [Admitted::Existing(id, Some(State::Succeeded))]);
    retain(&world, RetentionStage::Jobs, policy(1, 1)).await;
    let answer = world.store.admit(vec![again()]).await.unwrap();
    assert_eq!(answer, [Admitted::Existing(id, None)]);
}

async fn a_late_answer_to_a_job_without_content_is_paid_for_and_not_kept(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.store.cancel(&[id]).await.unwrap();
    world.hand.advance(2 * DAY_MS);
    retain(&world, RetentionStage::Bodies, policy(1, 0)).await;
    assert_eq!(world.finish(success(&job)).await, Finished::Late);
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(
        (page.attempts[0].raw_text.as_ref(), page.attempts[0].cost_micros),
        (None, Some(400))
    );
    assert_eq!(number(&world, "select count(*) from attempt_body").await, 0);
}

async fn a_batch_goes_with_its_last_line(world: World) {
    let batch = world.store.open_batch("file").await.unwrap();
    ended(&world, NewJob { batch: Some((batch, 1)), ..world.job() }).await;
    world.hand.advance(2 * DAY_MS);
    let fresh = world.store.open_batch("fresh").await.unwrap();
    retain(&world, RetentionStage::Jobs, policy(1, 1)).await;
    retain(&world, RetentionStage::Jobs, policy(1, 1)).await;
    assert_eq!(number(&world, "select count(*) from batch_line").await, 0);
    assert_ne!(world.store.open_batch("file").await.unwrap(), batch, "it is another one");
    assert_eq!(world.store.open_batch("fresh").await.unwrap(), fresh);
}

async fn the_views_say_when_and_why_content_is_not_there(world: World) {
    ended(&world, world.named("a")).await;
    world.hand.advance(10 * DAY_MS);
    ended(&world, world.named("b")).await;
    assert_eq!(retain(&world, RetentionStage::Bodies, policy(5, 0)).await.jobs, 1);
    let schema = if world.engine == Engine::Sqlite { "" } else { "quarrier." };
    for view in ["jobs", "results"] {
        let content = if view == "jobs" { "document" } else { "text" };
        let at = if world.engine == Engine::Sqlite { "" } else { "quarrier.ms" };
        let deleted = format!(
            "select {at}(deleted_at) from {schema}{view} \
             where external_id = 'a' and deleted_by = 'retention'"
        );
        assert_eq!(counted(&world, &deleted).await, world.now_ms(), "{view}");
        let kept = format!(
            "select count(*) from {schema}{view} where deleted_at is null and deleted_by is null \
             and external_id = 'b' and {content} is not null"
        );
        assert_eq!(counted(&world, &kept).await, 1, "{view}");
    }
    let sums = format!(
        "select cast(sum(input_tokens + output_tokens + cost_micros + attempts * 10000 \
         + attempts_unknown) as bigint) from {schema}results where external_id = 'a'"
    );
    assert_eq!(counted(&world, &sums).await, 10_700, "what it took stays");
}

async fn counted(world: &World, query: &str) -> i64 {
    let query = AssertSqlSafe(query.to_owned());
    if world.engine == Engine::Sqlite {
        let mut other = world.connect_sqlite().await;
        return sqlx::query(query).fetch_one(&mut other).await.unwrap().get(0);
    }
    let mut other = world.connect_postgres().await;
    let row = sqlx::query(query).fetch_one(&mut other).await.unwrap();
    row.get(0)
}
