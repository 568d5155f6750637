//! What people read: results, counts, lists, one job.

use quarrier::completion::Usage;
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{Integrity, JobFilter, NewJob, ResultsAsk, WaitingJobs};
use uuid::Uuid;

use crate::world::{Engine, LANE, NEWEST, World, again, cut, failure, success};

on_every_engine!(
    results_come_in_the_order_of_their_ends,
    results_are_read_page_by_page_while_more_end,
    results_of_a_batch_are_its_own,
    results_bring_back_what_the_producer_knows_them_by,
    counts_add_up_states_usage_and_cost,
    counts_of_an_unknown_batch_are_empty,
    jobs_are_listed_newest_first_by_every_filter,
    a_job_is_found_by_its_own_id_and_by_its_producers,
    a_jobs_own_id_comes_before_a_producers,
    the_newest_job_of_a_producers_id_is_shown,
    an_unknown_job_is_none,
    levels_name_their_rules,
    a_store_says_what_it_is,
    a_stores_health_tells_what_keeps_its_commits_and_what_waits_in_it,
);

async fn results_come_in_the_order_of_their_ends(world: World) {
    let ids = world.admit_many(4).await;
    let jobs = world.claim(3).await.jobs;
    world.store.finish(&[success(&jobs[2]), success(&jobs[0])]).await.unwrap();
    world.store.cancel(&[ids[3]]).await.unwrap();
    world.finish(failure(&jobs[1], ErrorKind::Refused)).await;
    let order: Vec<Uuid> = world.results().await.iter().map(|row| row.job_id).collect();
    assert_eq!(order[2..], [ids[3], ids[1]]);
    assert!(order[..2].contains(&ids[0]) && order[..2].contains(&ids[2]));
}

async fn results_are_read_page_by_page_while_more_end(world: World) {
    world.admit_many(7).await;
    let jobs = world.claim(7).await.jobs;
    let mut seen = Vec::new();
    let mut after = 0;
    for job in &jobs {
        world.succeed(job).await;
        if seen.len() % 2 == 0 {
            let ask = ResultsAsk { after, batch: None, rows_max: 2 };
            let page = world.store.results(&ask).await.unwrap();
            assert!(page.len() <= 2);
            after = page.last().map_or(after, |row| row.seq);
            seen.extend(page.iter().map(|row| row.job_id));
        }
    }
    loop {
        let ask = ResultsAsk { after, batch: None, rows_max: 2 };
        let page = world.store.results(&ask).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        seen.extend(page.iter().map(|row| row.job_id));
    }
    let expected: Vec<Uuid> = jobs.iter().map(|job| job.job_id).collect();
    assert_eq!(seen, expected, "each once, in order");
}

async fn results_of_a_batch_are_its_own(world: World) {
    let batch = world.store.open_batch("file").await.unwrap();
    let line = |line| NewJob { batch: Some((batch, line)), ..world.job() };
    let ids = world.admit(vec![line(1), world.job(), line(2)]).await;
    for job in &world.claim(3).await.jobs {
        world.succeed(job).await;
    }
    let read = async |after, rows_max| {
        let ask = ResultsAsk { after, batch: Some(batch), rows_max };
        world.store.results(&ask).await.unwrap()
    };
    let first = read(0, 1).await;
    assert_eq!(first.len(), 1);
    let rest = read(first[0].seq, 10).await;
    assert_eq!((first[0].job_id, rest[0].job_id, rest.len()), (ids[0], ids[2], 1));
}

async fn results_bring_back_what_the_producer_knows_them_by(world: World) {
    let job = NewJob {
        queue: "reports".to_owned(),
        document: r#"{"metadata":{"row":7},"prompt":"hi"}"#.to_owned(),
        ..world.named("row-7")
    };
    world.admit(vec![job]).await;
    world.succeed(&world.claim_one().await).await;
    let result = &world.results().await[0];
    assert_eq!(result.external_id.as_deref(), Some("row-7"));
    assert_eq!((result.queue.as_str(), result.model.as_str()), ("reports", "small"));
    assert_eq!(result.metadata.as_deref(), Some(r#"{"row":7}"#));
    world.admit_one().await;
    world.succeed(&world.claim_one().await).await;
    assert_eq!(world.results().await[1].metadata, None);
}

async fn counts_add_up_states_usage_and_cost(world: World) {
    let batch = world.store.open_batch("file").await.unwrap();
    let line = |line| NewJob { batch: Some((batch, line)), ..world.job() };
    world.admit(vec![line(1), line(2), line(3), world.job(), world.job()]).await;
    let jobs = world.claim(4).await.jobs;
    world.succeed(&jobs[0]).await;
    world.finish(cut(&jobs[1], again(&jobs[1], 60_000).next)).await;
    world.succeed(&jobs[3]).await;
    let all = world.store.counts(None).await.unwrap();
    let mut states = all.states.clone();
    states.sort_by_key(|(state, _)| state.as_str());
    assert_eq!(states, [(State::Ready, 2), (State::Running, 1), (State::Succeeded, 2)]);
    assert_eq!(all.usage, Usage { input: 400, output: 200, cache_read: 0, cache_write: 0 });
    assert_eq!((all.cost_micros, all.attempts_unknown), (800, 1));
    let of_batch = world.store.counts(Some(batch)).await.unwrap();
    assert_eq!(of_batch.states.iter().map(|(_, jobs)| jobs).sum::<u64>(), 3);
    assert_eq!((of_batch.cost_micros, of_batch.attempts_unknown), (400, 1));
}

async fn counts_of_an_unknown_batch_are_empty(world: World) {
    world.admit_one().await;
    let counts = world.store.counts(Some(Uuid::now_v7())).await.unwrap();
    assert!(counts.states.is_empty());
    assert_eq!((counts.usage, counts.cost_micros), (Usage::default(), 0));
}

async fn jobs_are_listed_newest_first_by_every_filter(world: World) {
    let of = |queue: &str, tenant: &str| NewJob {
        queue: queue.to_owned(),
        tenant: tenant.to_owned(),
        ..world.job()
    };
    let early = world.admit(vec![of("a", "x"), of("b", "y")]).await;
    world.hand.advance(1_000);
    let since = world.now_ms();
    let late = world.admit(vec![of("a", "y")]).await;
    let jobs = world.claim(3).await.jobs;
    let first = jobs.iter().find(|job| job.job_id == early[0]).unwrap();
    world.finish(failure(first, ErrorKind::Refused)).await;

    let list = async |filter: JobFilter| -> Vec<Uuid> {
        let rows_max = if filter.rows_max == 0 { 10 } else { filter.rows_max };
        let filter = JobFilter { rows_max, ..filter };
        world.store.jobs(&filter).await.unwrap().iter().map(|row| row.job_id).collect()
    };
    let all = JobFilter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(list(all()).await, [late[0], early[1], early[0]]);
    assert_eq!(list(JobFilter { rows_max: 1, ..all() }).await, [late[0]]);
    assert_eq!(list(JobFilter { queue: text("a"), ..all() }).await, [late[0], early[0]]);
    assert_eq!(list(JobFilter { tenant: text("y"), ..all() }).await, [late[0], early[1]]);
    assert_eq!(list(JobFilter { state: Some(State::Failed), ..all() }).await, [early[0]]);
    assert_eq!(list(JobFilter { error: text("refused"), ..all() }).await, [early[0]]);
    assert_eq!(list(JobFilter { since: Some(since), ..all() }).await, [late[0]]);
    assert_eq!(list(JobFilter { model: text("small"), ..all() }).await.len(), 3);
    assert!(list(JobFilter { model: text("large"), ..all() }).await.is_empty());
    let both = JobFilter { queue: text("a"), tenant: text("y"), ..all() };
    assert_eq!(list(both).await, [late[0]]);
}

async fn a_job_is_found_by_its_own_id_and_by_its_producers(world: World) {
    let id = world.admit(vec![world.named("row-7")]).await[0];
    let by_own = world.store.job(&id.to_string()).await.unwrap().unwrap();
    let by_producers = world.store.job("row-7").await.unwrap().unwrap();
    assert_eq!((by_own.row.job_id, by_producers.row.job_id), (id, id));
    assert_eq!(by_own.row.lane, LANE);
    assert_eq!(by_own.document, world.job().document);
    assert!(by_own.result.is_none() && by_own.attempts.is_empty());
}

async fn a_jobs_own_id_comes_before_a_producers(world: World) {
    let id = world.admit_one().await;
    world.admit(vec![world.named(&id.to_string())]).await;
    let found = world.store.job(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(found.row.job_id, id);
}

async fn the_newest_job_of_a_producers_id_is_shown(world: World) {
    let of = |tenant: &str| NewJob { tenant: tenant.to_owned(), ..world.named("row-7") };
    let ids = world.admit(vec![of("a"), of("b")]).await;
    assert_eq!(world.store.job("row-7").await.unwrap().unwrap().row.job_id, ids[1]);
}

async fn an_unknown_job_is_none(world: World) {
    world.admit_one().await;
    assert!(world.store.job("nobody").await.unwrap().is_none());
    assert!(world.store.job("").await.unwrap().is_none());
    assert!(world.store.job(&Uuid::now_v7().to_string()).await.unwrap().is_none());
}

async fn levels_name_their_rules(world: World) {
    world.limit(&[("total", Some(50), None)]).await;
    world.admit_one().await;
    world.claim_one().await;
    let levels = world.store.levels().await.unwrap();
    let keys: Vec<&str> = levels.iter().map(|level| level.key.as_str()).collect();
    assert_eq!(keys, [format!("lane:{LANE}").as_str(), "total"]);
    assert_eq!(levels[0].rule, None);
    assert_eq!(levels[1].rule.as_deref(), Some("total (configuration)"));
    assert_eq!(levels[1].limit.requests_per_minute, Some(50));
}

async fn a_store_says_what_it_is(world: World) {
    let about = world.store.about().await.unwrap();
    match world.engine {
        Engine::Sqlite => {
            assert_eq!((about.engine.as_str(), about.location), ("sqlite", world.location()));
        }
        Engine::Postgres | Engine::Pooled => {
            assert_eq!(about.engine, "postgres");
            assert!(about.location.starts_with("postgres://postgres@"), "{}", about.location);
        }
    }
    assert_eq!((about.migration, about.simulated), (NEWEST, Some(false)));
}

async fn a_stores_health_tells_what_keeps_its_commits_and_what_waits_in_it(world: World) {
    let empty = world.store.health(10_000).await.unwrap();
    let safe = empty.durability.iter().all(|setting| setting.safe);
    // The tests' Postgres is a throw-away one, which keeps nothing safely, and says so.
    assert_eq!(safe, world.engine == Engine::Sqlite, "{:?}", empty.durability);
    assert!(!empty.durability.is_empty() && empty.waiting.is_empty());
    assert_eq!(empty.submissions, 0);
    assert!(matches!(empty.integrity, Integrity::Sound | Integrity::NotRead));

    world.admit_many(3).await;
    let job = world.claim_one().await;
    world.succeed(&job).await;
    world.claim_one().await;
    let health = world.store.health(10_000).await.unwrap();
    assert_eq!(health.latest_at, Some(world.now_ms()));
    assert_eq!(health.submissions, 0);
    let mut waiting = health.waiting;
    waiting.sort_by_key(|one| one.state.as_str());
    let one = |state| WaitingJobs {
        model: waiting[0].model.clone(),
        lane: LANE.to_owned(),
        state,
        jobs: 1,
    };
    assert_eq!(waiting, [one(State::Ready), one(State::Running)]);
}
