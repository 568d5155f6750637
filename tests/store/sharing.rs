//! Sharing one lane and one quota: turns by queue and tenant, weights, reserved shares, caps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::store::{ClaimNewAsk, ClaimedNew, NewJob, QueueShare, Shares, Store, TenantShare};
use uuid::Uuid;

use crate::world::{World, claim_ask, ids, key, new_job, open_at, open_lease, success};

behind_a_pooler_too!(
    many_stores_together_never_run_more_of_a_queue_than_its_cap,
    a_job_of_another_queue_does_not_stand_behind_the_same_tenants_batch,
    weights_of_tenants_and_queues_divide_the_claims,
    a_queue_within_its_reserved_share_goes_first,
    a_reserved_share_is_measured_in_the_lanes_own_limit_too,
    an_unused_share_is_everybodys,
    smaller_jobs_do_not_pass_one_within_its_share,
    a_capped_queue_runs_no_more_than_its_cap,
    a_full_queue_holds_no_other_back_however_many_of_its_jobs_stand_before,
    a_cap_counts_what_runs_already_and_what_callers_run,
    what_a_capped_queue_gives_back_may_run_again,
    shares_are_replaced_and_read_by_every_store,
    queues_are_listed_with_what_waits_runs_and_is_held,
);

fn of(world: &World, queue: &str, tenant: &str) -> NewJob {
    NewJob { queue: queue.to_owned(), tenant: tenant.to_owned(), ..world.job() }
}

async fn admit(world: &World, queue: &str, count: usize) -> Vec<Uuid> {
    world.admit((0..count).map(|_| of(world, queue, "default")).collect()).await
}

fn reserve(queue: &str, permille: u32) -> QueueShare {
    QueueShare { reserved_permille: permille, ..QueueShare::plain(queue) }
}

fn cap(queue: &str, most: u32) -> QueueShare {
    QueueShare { concurrency_max: Some(most), ..QueueShare::plain(queue) }
}

async fn share(world: &World, queues: Vec<QueueShare>) {
    world.store.seed_shares(&Shares { queues, tenants: Vec::new() }).await.unwrap();
}

/// The queues of the next claim with so many slots, in its order.
async fn claimed_queues(world: &World, slots: usize) -> Vec<String> {
    world.claim(slots).await.jobs.into_iter().map(|job| job.queue).collect()
}

async fn a_job_of_another_queue_does_not_stand_behind_the_same_tenants_batch(world: World) {
    admit(&world, "default", 500).await;
    world.claim(100).await;
    admit(&world, "interactive", 1).await;
    assert!(claimed_queues(&world, 3).await.contains(&"interactive".to_owned()));
}

async fn weights_of_tenants_and_queues_divide_the_claims(world: World) {
    let queues = vec![QueueShare { weight: 3.0, ..QueueShare::plain("fast") }];
    let tenants = vec![TenantShare { name: "acme".to_owned(), weight: 2.0 }];
    world.store.seed_shares(&Shares { queues, tenants }).await.unwrap();
    for (queue, tenant) in [("default", "acme"), ("default", "other"), ("fast", "other")] {
        world.admit((0..60).map(|_| of(&world, queue, tenant)).collect()).await;
    }
    let mut turns: HashMap<(String, String), usize> = HashMap::new();
    for job in world.claim(60).await.jobs {
        *turns.entry((job.queue, job.tenant)).or_default() += 1;
    }
    let count = |queue: &str, tenant: &str| turns[&(queue.to_owned(), tenant.to_owned())];
    assert_eq!(count("default", "acme"), 20);
    assert_eq!(count("default", "other"), 10);
    assert_eq!(count("fast", "other"), 30);
}

async fn a_queue_within_its_reserved_share_goes_first(world: World) {
    // Two calls of 1,200; the pace lets sixty begin at once.
    world.limit(&[("total", Some(1_200), None)]).await;
    share(&world, vec![QueueShare { weight: 0.01, ..reserve("chat", 2) }]).await;
    admit(&world, "default", 300).await;
    // Of so small a weight, all of these stand behind the batch.
    admit(&world, "chat", 5).await;
    let claimed = claimed_queues(&world, 6).await;
    assert_eq!(claimed, ["chat", "chat", "default", "default", "default", "default"]);
    // The share is drawn: what comes now has its turn by its place.
    assert_eq!(claimed_queues(&world, 2).await, ["default", "default"]);
    world.hand.advance(61_000);
    assert_eq!(claimed_queues(&world, 3).await, ["chat", "chat", "default"]);
    // What goes first is no turn: those who come now do not stand behind its far place.
    admit(&world, "new", 1).await;
    assert!(claimed_queues(&world, 3).await.contains(&"new".to_owned()));
}

async fn a_reserved_share_is_measured_in_the_lanes_own_limit_too(world: World) {
    world.limit(&[("total", Some(100_000), None), ("lane:*", Some(1_200), None)]).await;
    share(&world, vec![QueueShare { weight: 0.01, ..reserve("chat", 2) }]).await;
    admit(&world, "default", 300).await;
    admit(&world, "chat", 5).await;
    assert_eq!(claimed_queues(&world, 3).await, ["chat", "chat", "default"]);
}

async fn an_unused_share_is_everybodys(world: World) {
    world.limit(&[("total", Some(1_200), None)]).await;
    share(&world, vec![reserve("chat", 500)]).await;
    admit(&world, "default", 1_300).await;
    let mut claimed = 0;
    for _ in 0..60 {
        claimed += world.claim(60).await.jobs.len();
        world.hand.advance(1_000);
    }
    assert!((1_190..=1_200).contains(&claimed), "{claimed} of 1,200 in a minute");
}

async fn smaller_jobs_do_not_pass_one_within_its_share(world: World) {
    world.limit(&[("total", None, Some(10_000))]).await;
    share(&world, vec![reserve("chat", 300)]).await;
    admit(&world, "default", 40).await;
    for _ in 0..9 {
        world.claim_one().await;
        world.hand.advance(6_000);
    }
    let large = quarrier::job::Wanted { input_tokens_max: 400, max_tokens: 2_000, burndown: 1 };
    world.admit(vec![NewJob { wanted: large, ..of(&world, "chat", "default") }]).await;
    // A small one would fit, and would take the room for which the large one waits.
    let claimed = world.claim(5).await;
    assert!(claimed.jobs.is_empty(), "{claimed:?}");
    // In a moment's turn, whoever asks.
    let other = NewJob { lane: "another".to_owned(), ..world.job() };
    world.admit(vec![other]).await;
    let ask = quarrier::store::ClaimAsk { lane: "another".to_owned(), ..world.ask(1) };
    assert!(world.store.claim(ask).await.unwrap().jobs.is_empty());
    world.hand.advance(claimed.fits_in_ms.unwrap());
    assert_eq!(claimed_queues(&world, 1).await, ["chat"]);
}

async fn a_capped_queue_runs_no_more_than_its_cap(world: World) {
    share(&world, vec![cap("reports", 3)]).await;
    admit(&world, "reports", 10).await;
    let first = world.claim(8).await.jobs;
    assert_eq!(first.len(), 3);
    assert!(world.claim(8).await.jobs.is_empty());
    world.succeed(&first[0]).await;
    assert_eq!(world.claim(8).await.jobs.len(), 1);
    world.store.give_back(&[key(&first[1])]).await.unwrap();
    assert_eq!(ids(&world.claim(8).await), [first[1].job_id]);
}

async fn a_full_queue_holds_no_other_back_however_many_of_its_jobs_stand_before(world: World) {
    share(&world, vec![cap("reports", 2)]).await;
    admit(&world, "reports", 200).await;
    let others: Vec<NewJob> = (0..4).map(|_| NewJob { priority: -5, ..world.job() }).collect();
    let others = world.admit(others).await;
    // More of the capped queue stand before them than a claim reads.
    let ask = quarrier::store::ClaimAsk { scan_max: 30, ..world.ask(5) };
    let claimed = world.store.claim(ask.clone()).await.unwrap();
    assert_eq!(claimed.jobs.len(), 5, "two of the capped, three of the others");
    let ask = quarrier::store::ClaimAsk { fences: vec![Uuid::now_v7()], ..ask };
    assert_eq!(ids(&world.store.claim(ask).await.unwrap()), others[3..]);
}

async fn a_cap_counts_what_runs_already_and_what_callers_run(world: World) {
    admit(&world, "reports", 4).await;
    let running = world.claim(2).await.jobs;
    assert_eq!(running.len(), 2);
    share(&world, vec![cap("reports", 3)]).await;
    let ask = |waits| ClaimNewAsk {
        lease: world.lease,
        fence: Uuid::now_v7(),
        pass_ms_max: 30_000,
        waits,
    };
    let job = || of(&world, "reports", "default");
    let claimed = world.store.claim_new(job(), ask(false)).await.unwrap();
    assert!(matches!(claimed, ClaimedNew::Running { .. }), "{claimed:?}");
    assert!(world.claim(5).await.jobs.is_empty());
    let waits = world.store.claim_new(job(), ask(true)).await.unwrap();
    let ClaimedNew::Waits { waiting, .. } = waits else { panic!("{waits:?}") };
    assert_eq!(waiting.key, "queue:reports");
    world.succeed(&running[0]).await;
    assert_eq!(world.claim(5).await.jobs.len(), 1);
}

async fn what_a_capped_queue_gives_back_may_run_again(mut world: World) {
    share(&world, vec![cap("reports", 2)]).await;
    admit(&world, "reports", 3).await;
    assert_eq!(world.claim(5).await.jobs.len(), 2);
    let dead = world.lease;
    world.restart().await;
    assert!(
        world.claim(5).await.jobs.is_empty(),
        "those of a dead process run, as far as is known"
    );
    world.rescue(dead).await;
    assert_eq!(world.claim(5).await.jobs.len(), 2);
}

async fn shares_are_replaced_and_read_by_every_store(world: World) {
    let tenants = vec![TenantShare { name: "acme".to_owned(), weight: 2.5 }];
    let shares = Shares { queues: vec![cap("a", 4), reserve("b", 125)], tenants };
    world.store.seed_shares(&shares).await.unwrap();
    let other = world.another_store().await;
    assert_eq!(other.shares().await.unwrap(), shares);
    let fewer = Shares { queues: vec![reserve("c", 1)], tenants: Vec::new() };
    other.seed_shares(&fewer).await.unwrap();
    assert_eq!(world.store.shares().await.unwrap(), fewer);
}

async fn queues_are_listed_with_what_waits_runs_and_is_held(world: World) {
    share(&world, vec![cap("idle", 4)]).await;
    admit(&world, "reports", 3).await;
    let done = world.claim_one().await;
    world.succeed(&done).await;
    world.claim_one().await;
    let later = world.now_ms() + 1_000;
    world.admit(vec![NewJob { run_at: later, ..of(&world, "later", "default") }]).await;
    let listed: Vec<(String, [u64; 3])> = world
        .store
        .queues()
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.share.name, [row.ready, row.running, row.held]))
        .collect();
    let expected = [("idle", [0, 0, 0]), ("later", [1, 0, 0]), ("reports", [1, 1, 0])]
        .map(|(name, counts)| (name.to_owned(), counts));
    assert_eq!(listed, expected);
}

const CAP: usize = 3;
const WORKERS: usize = 4;
const JOBS: usize = 120;

async fn many_stores_together_never_run_more_of_a_queue_than_its_cap(world: World) {
    share(&world, vec![cap("reports", u32::try_from(CAP).unwrap())]).await;
    let now = Clock::real().now().wall_ms;
    let job = |_| NewJob { queue: "reports".to_owned(), ..new_job(now) };
    world.admit((0..JOBS).map(job).collect()).await;
    let (running, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = AtomicBool::new(false);
    let (location, engine) = (world.location(), world.engine);
    let work = async |store: &dyn Store| {
        let lease = open_lease(store).await;
        while done.load(Ordering::SeqCst) < JOBS && !failed.load(Ordering::SeqCst) {
            let jobs = store.claim(claim_ask(lease, 2)).await.unwrap().jobs;
            let now = running.fetch_add(jobs.len(), Ordering::SeqCst) + jobs.len();
            most.fetch_max(now, Ordering::SeqCst);
            if now > CAP {
                failed.store(true, Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
            for job in &jobs {
                // Counted before the store hears of it, so that the count is never behind.
                running.fetch_sub(1, Ordering::SeqCst);
                store.finish(&[success(job)]).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (work, location) = (&work, &location);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let store = open_at(engine, location, Clock::real()).await.unwrap();
                    work(store.as_ref()).await;
                    store.close().await;
                });
            });
        }
    });
    assert!((1..=CAP).contains(&most.load(Ordering::SeqCst)), "never more than the cap");
    assert_eq!(done.load(Ordering::SeqCst), JOBS);
    let rows = world.store.queues().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.running).sum::<u64>(), 0);
    assert_eq!(
        world.results().await.iter().filter(|row| row.state == State::Succeeded).count(),
        JOBS
    );
}
