//! Several processes on one database: real threads, real children, real locks.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::store::{Admitted, Finished, LimitRule, NewJob, ResultsAsk, Store};
use uuid::Uuid;

use crate::world::{
    Engine, World, claim_ask, new_id, new_job, open_at, open_lease, rescue_ask, success,
};

behind_a_pooler_too!(
    many_stores_work_through_one_lane_and_every_job_has_one_result,
    many_stores_together_do_not_exceed_a_limit,
    the_same_jobs_admitted_by_many_stores_at_once_are_admitted_once,
    a_reader_of_results_misses_none_while_many_stores_end_jobs,
);

on_sqlite!(a_killed_process_is_known_dead_at_once_and_its_jobs_run_again);

/// Where the child of a test finds its database.
const CHILD: &str = "QUARRIER_TEST_CHILD_STORE";

/// Not a test of its own: in a child process it claims two jobs, says so, and waits to be killed.
#[test]
fn child_that_claims_and_waits() {
    let Some(path) = std::env::var_os(CHILD).and_then(|path| path.into_string().ok()) else {
        return;
    };
    block_on(async move {
        let store = open_at(Engine::Sqlite, &path, Clock::real()).await.unwrap();
        let lease = open_lease(store.as_ref()).await;
        let claimed = store.claim(claim_ask(lease, 2)).await.unwrap();
        let mut out = std::io::stderr();
        writeln!(out, "claimed {} under {lease}", claimed.jobs.len()).unwrap();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        drop(store);
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn spawn_child(world: &World) -> (Child, Uuid) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child_that_claims_and_waits", "--nocapture"])
        .env(CHILD, world.location())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let said = said.lines().map(Result::unwrap).find(|line| line.contains("claimed")).unwrap();
    let lease = said.rsplit(' ').next().unwrap().parse().unwrap();
    (child, lease)
}

async fn a_killed_process_is_known_dead_at_once_and_its_jobs_run_again(world: World) {
    let ids = world.admit_many(3).await;
    let (mut child, lease) = spawn_child(&world);
    assert_eq!(world.claim(5).await.jobs.len(), 1, "the child has the others");
    let others = world.store.other_leases(world.lease).await.unwrap();
    assert_eq!((others[0].id, others[0].dead), (lease, false), "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
    let others = world.store.other_leases(world.lease).await.unwrap();
    assert_eq!((others[0].id, others[0].dead), (lease, true), "it is dead");
    let rescued = world.store.rescue(&rescue_ask(lease, others[0].beat)).await.unwrap();
    assert_eq!(rescued.ready, 2);
    let again: Vec<Uuid> = world.claim(5).await.jobs.iter().map(|job| job.job_id).collect();
    assert_eq!(again, ids[..2]);
}

const WORKERS: usize = 4;
const JOBS_EACH: usize = 60;

/// Admits, claims and finishes like a process of its own until nothing is left; returns what it
/// claimed.
async fn work(store: &dyn Store) -> Vec<(Uuid, Uuid)> {
    let lease = open_lease(store).await;
    let mut claimed = Vec::new();
    for _ in 0..JOBS_EACH / 10 {
        let jobs = (0..10).map(|_| new_job(Clock::real().now().wall_ms)).collect();
        for admitted in store.admit(jobs).await.unwrap() {
            new_id(admitted);
        }
        work_once(store, lease, &mut claimed).await;
    }
    while work_once(store, lease, &mut claimed).await {}
    store.close_lease(lease).await.unwrap();
    claimed
}

async fn work_once(store: &dyn Store, lease: Uuid, claimed: &mut Vec<(Uuid, Uuid)>) -> bool {
    store.promote(100).await.unwrap();
    let jobs = store.claim(claim_ask(lease, 7)).await.unwrap().jobs;
    store.beat(lease).await.unwrap().unwrap();
    let group: Vec<_> = jobs.iter().map(success).collect();
    for finished in store.finish(&group).await.unwrap() {
        assert_eq!(finished, Finished::Moved(State::Succeeded));
    }
    claimed.extend(jobs.iter().map(|job| (job.job_id, job.fence)));
    !jobs.is_empty()
}

/// Runs `work` on stores of their own, each on a thread of its own.
fn on_threads<T: Send>(world: &World, work: impl AsyncFn(&dyn Store) -> T + Sync) -> Vec<T> {
    let (work, location, engine) = (&work, &world.location(), world.engine);
    let one = || {
        block_on(async {
            let store = open_at(engine, location, Clock::real()).await.unwrap();
            work(store.as_ref()).await
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

async fn many_stores_work_through_one_lane_and_every_job_has_one_result(world: World) {
    let claimed = on_threads(&world, work).concat();
    let jobs: HashSet<Uuid> = claimed.iter().map(|(job, _)| *job).collect();
    assert_eq!(claimed.len(), WORKERS * JOBS_EACH, "no job was claimed twice");
    assert_eq!(jobs.len(), WORKERS * JOBS_EACH, "and every job was claimed");
    let ask = ResultsAsk { after: 0, batch: None, rows_max: 10_000 };
    let results = world.store.results(&ask).await.unwrap();
    let ended: HashSet<Uuid> = results.iter().map(|row| row.job_id).collect();
    assert_eq!((results.len(), &ended), (jobs.len(), &jobs));
    assert!(results.iter().all(|row| row.attempts == 1));
    assert_eq!(world.store.counts(None).await.unwrap().states.len(), 1);
}

async fn many_stores_together_do_not_exceed_a_limit(world: World) {
    let rules = [("total", Some(30), None)];
    world.limit(&rules).await;
    world.admit_many(200).await;
    let claims = on_threads(&world, async |store: &dyn Store| {
        let rules: Vec<LimitRule> = store.limits().await.unwrap();
        assert_eq!(rules.len(), 1);
        let lease = open_lease(store).await;
        let mut claims = 0;
        for _ in 0..40 {
            claims += store.claim(claim_ask(lease, 5)).await.unwrap().jobs.len();
        }
        claims
    });
    let total: usize = claims.iter().sum();
    assert!((1..=30).contains(&total), "{total} calls in well under a minute");
}

async fn the_same_jobs_admitted_by_many_stores_at_once_are_admitted_once(world: World) {
    let named = |index: usize| NewJob {
        external_id: Some(format!("job-{index}")),
        identity: Some(format!("id:job-{index}")),
        // Half of them hold a key as well, which is another way to meet.
        dedupe_key: index.is_multiple_of(2).then(|| format!("key-{index}")),
        ..new_job(Clock::real().now().wall_ms)
    };
    let admitted = on_threads(&world, async |store: &dyn Store| {
        let mut admitted = Vec::new();
        for group in 0..5 {
            let jobs = (0..20).map(|index| named(group * 20 + index)).collect();
            admitted.extend(store.admit(jobs).await.unwrap());
        }
        admitted
    });
    let new = admitted.iter().flatten().filter(|answer| matches!(answer, Admitted::New(_)));
    assert_eq!(new.count(), 100);
    let first: Vec<Uuid> = admitted[0].iter().map(id_of).collect();
    for answers in &admitted {
        assert_eq!(answers.iter().map(id_of).collect::<Vec<_>>(), first, "all name the same jobs");
    }
    assert_eq!(world.store.counts(None).await.unwrap().states, [(State::Ready, 100)]);
}

fn id_of(admitted: &Admitted) -> Uuid {
    match admitted {
        Admitted::New(id)
        | Admitted::Existing(id, _)
        | Admitted::Before(id, _)
        | Admitted::Duplicate(id) => *id,
        Admitted::IdConflict { job_id, .. } => *job_id,
    }
}

/// Whoever reads on from the last number must not pass one that is written late.
async fn a_reader_of_results_misses_none_while_many_stores_end_jobs(world: World) {
    let location = world.location();
    let done = AtomicBool::new(false);
    let read = || {
        block_on(async {
            let store = open_at(world.engine, &location, Clock::real()).await.unwrap();
            let (mut after, mut seen) = (0, HashSet::new());
            loop {
                let last = done.load(Ordering::SeqCst);
                let ask = ResultsAsk { after, batch: None, rows_max: 5 };
                let page = store.results(&ask).await.unwrap();
                after = page.last().map_or(after, |row| row.seq);
                seen.extend(page.iter().map(|row| row.job_id));
                if page.is_empty() && last {
                    return seen;
                }
            }
        })
    };
    let (claimed, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        let claimed = on_threads(&world, work).concat();
        done.store(true, Ordering::SeqCst);
        (claimed, reader.join().unwrap())
    });
    let ended: HashSet<Uuid> = claimed.into_iter().map(|(job, _)| job).collect();
    assert_eq!(seen, ended);
}
