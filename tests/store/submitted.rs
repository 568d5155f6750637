//! What people see and do of documents that no worker has admitted yet: lists, one, how many, taking
//! back; and how many processes there are to admit them.
//! Must not know: how a document is admitted.

use quarrier::job::State;
use quarrier::store::{
    LeaseInfo, QueueShare, Shares, Submitted, SubmittedDefaults, SubmittedFilter,
};
use uuid::Uuid;

use crate::world::{Engine, World, open_lease};

fn defaults() -> SubmittedDefaults {
    SubmittedDefaults {
        queue: "default".to_owned(),
        tenant: "us".to_owned(),
        model: "small".to_owned(),
    }
}

fn all() -> SubmittedFilter {
    SubmittedFilter { defaults: defaults(), rows_max: 100, ..SubmittedFilter::default() }
}

async fn listed(world: &World, filter: &SubmittedFilter) -> Vec<String> {
    world.store.submitted(filter).await.unwrap().into_iter().map(|one| one.key).collect()
}

async fn found(world: &World, name: &str) -> Option<Submitted> {
    world.store.submitted_as(name, &defaults()).await.unwrap()
}

async fn put_in(world: &World) {
    world
        .run_sql(
            r#"insert into submission (id, document) values
             ('a', '{"id":"one","prompt":"x","queue":"reports","tenant":"acme","model":"big"}'),
             ('b', '{"prompt":"x","id":7}'), ('c', 'no JSON'), ('d', '[1]'),
             ('e', '{"prompt":"x","queue":"reports"}')"#,
        )
        .await;
}

async fn what_waits_to_be_admitted_is_listed_last_first_and_page_by_page(world: World) {
    put_in(&world).await;
    assert_eq!(listed(&world, &all()).await, ["e", "d", "c", "b", "a"]);
    let mut filter = SubmittedFilter { rows_max: 2, ..all() };
    let mut seen = Vec::new();
    loop {
        let page = world.store.submitted(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.seq);
        seen.extend(page.into_iter().map(|one| one.key));
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"]);
    let some = |value: &str| Some(value.to_owned());
    let of = |queue, tenant, model| SubmittedFilter { queue, tenant, model, ..all() };
    assert_eq!(listed(&world, &of(some("reports"), None, None)).await, ["e", "a"]);
    assert_eq!(listed(&world, &of(some("default"), None, None)).await, ["d", "c", "b"]);
    assert_eq!(listed(&world, &of(None, some("acme"), None)).await, ["a"]);
    assert_eq!(listed(&world, &of(None, some("us"), some("small"))).await, ["e", "d", "c", "b"]);
    assert_eq!(listed(&world, &SubmittedFilter { since: Some(0), ..all() }).await.len(), 5);
}

async fn what_waits_to_be_admitted_is_found_by_its_key_and_by_its_own_id(world: World) {
    put_in(&world).await;
    let one = found(&world, "one").await.unwrap();
    assert_eq!((one.key.as_str(), one.external_id.as_deref()), ("a", Some("one")));
    assert_eq!(
        (one.queue.as_str(), one.tenant.as_str(), one.model.as_str()),
        ("reports", "acme", "big")
    );
    assert!(one.document.unwrap().contains(r#""model":"big""#));
    let plain = found(&world, "c").await.unwrap();
    assert_eq!(
        (plain.queue.as_str(), plain.tenant.as_str(), plain.model.as_str()),
        ("default", "us", "small")
    );
    assert_eq!(plain.document.as_deref(), Some("no JSON"));
    if let Some(id) = one.job_id {
        assert_eq!(found(&world, &id.to_string()).await.unwrap().key, "a");
    }
    assert_eq!(found(&world, "nothing").await, None);
    assert_eq!(found(&world, "a\0").await, None);
}

async fn what_waits_to_be_admitted_is_counted_by_queue(world: World) {
    put_in(&world).await;
    let mut counts = world.store.submitted_queues("default").await.unwrap();
    counts.sort();
    assert_eq!(counts, [("default".to_owned(), 3), ("reports".to_owned(), 2)]);
}

async fn what_is_taken_back_is_a_cancelled_job_and_no_worker_admits_it(world: World) {
    put_in(&world).await;
    let seen_before = world.store.submissions(10).await.unwrap();
    let keys = ["a", "c", "nothing"].map(str::to_owned);
    let taken = world.store.take_back(&keys, &defaults()).await.unwrap();
    let mut names: Vec<&str> = taken.iter().map(|one| one.key.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "c"]);
    for one in &taken {
        assert_eq!(world.state(one.job_id).await, State::Cancelled);
    }
    let page = world.store.job("one").await.unwrap().unwrap();
    assert_eq!((page.row.queue.as_str(), page.row.tenant.as_str()), ("reports", "acme"));
    assert_eq!(page.result.unwrap().error_kind.as_deref(), Some("cancelled"));
    assert_eq!(world.results().await.len(), 2, "each has its one result");
    // A worker that had read them before finds them gone.
    let jobs = seen_before.iter().map(|row| (row.id.clone(), world.job())).collect();
    let mut admitted = world.store.admit_submissions(jobs).await.unwrap();
    admitted.sort();
    assert_eq!(admitted, ["b", "d", "e"]);
    assert_eq!(world.claim(10).await.jobs.len(), 3);
    assert!(world.store.take_back(&keys, &defaults()).await.unwrap().is_empty());
}

async fn of_two_workers_one_takes_a_submission_and_knows_it(world: World) {
    put_in(&world).await;
    let another = world.another_store().await;
    let jobs = || vec![("a".to_owned(), crate::admission::rejected(world.job()))];
    assert_eq!(world.store.admit_submissions(jobs()).await.unwrap(), ["a"]);
    assert!(another.admit_submissions(jobs()).await.unwrap().is_empty());
    assert_eq!(world.results().await.len(), 1, "it is rejected once");
}

async fn what_was_taken_back_may_be_put_in_again(world: World) {
    put_in(&world).await;
    world.store.take_back(&["a".to_owned()], &defaults()).await.unwrap();
    world.run_sql(r#"insert into submission (id, document) values ('a', '{"id":"one"}')"#).await;
    let jobs = vec![("a".to_owned(), world.named("one"))];
    assert_eq!(world.store.admit_submissions(jobs).await.unwrap(), ["a"]);
    assert_eq!(world.claim(10).await.jobs.len(), 1);
}

async fn a_queue_at_its_cap_is_known_as_full(world: World) {
    let capped = |most| QueueShare { concurrency_max: Some(most), ..QueueShare::plain("default") };
    let shares = |most| Shares { queues: vec![capped(most)], tenants: Vec::new() };
    world.store.seed_shares(&shares(1)).await.unwrap();
    world.admit_many(2).await;
    assert!(world.store.full_queues().await.unwrap().is_empty());
    world.claim_one().await;
    assert_eq!(world.store.full_queues().await.unwrap(), [("default".to_owned(), 1)]);
    world.store.seed_shares(&shares(2)).await.unwrap();
    assert!(world.store.full_queues().await.unwrap().is_empty());
}

async fn only_processes_that_were_heard_of_are_at_work(world: World) {
    assert_eq!(world.store.workers(60_000).await.unwrap(), 1);
    let other = open_lease(world.store.as_ref()).await;
    assert_eq!(world.store.workers(60_000).await.unwrap(), 2);
    world.store.close_lease(other).await.unwrap();
    assert_eq!(world.store.workers(60_000).await.unwrap(), 1);
    if world.engine == Engine::Postgres {
        world.run_sql("update lease set beat_at = beat_at - interval '1 hour'").await;
        assert_eq!(world.store.workers(60_000).await.unwrap(), 0, "it is silent for too long");
        world.store.beat(world.lease).await.unwrap();
        assert_eq!(world.store.workers(60_000).await.unwrap(), 1);
        world.run_sql("update lease set beat_at = null").await;
        assert_eq!(world.store.workers(60_000).await.unwrap(), 1, "an earlier release's counts");
    }
}

on_every_engine!(
    what_waits_to_be_admitted_is_listed_last_first_and_page_by_page,
    what_waits_to_be_admitted_is_found_by_its_key_and_by_its_own_id,
    what_waits_to_be_admitted_is_counted_by_queue,
    what_is_taken_back_is_a_cancelled_job_and_no_worker_admits_it,
    of_two_workers_one_takes_a_submission_and_knows_it,
    what_was_taken_back_may_be_put_in_again,
    a_queue_at_its_cap_is_known_as_full,
    a_client_of_the_library_holds_a_lease_and_is_no_worker,
    only_processes_that_were_heard_of_are_at_work,
);

async fn a_client_of_the_library_holds_a_lease_and_is_no_worker(world: World) {
    let (id, pid) = (Uuid::now_v7(), std::process::id());
    let client = LeaseInfo { id, host: "here".to_owned(), pid, takes_jobs: false };
    world.store.open_lease(&client).await.unwrap();
    assert_eq!(world.store.workers(60_000).await.unwrap(), 1, "the world's own");
    assert_eq!(world.store.other_leases(world.lease).await.unwrap().len(), 1);
    assert!(world.store.beat(id).await.unwrap().is_some());
}
