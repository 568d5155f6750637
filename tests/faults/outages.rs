//! The database away: stopped as by a power cut, every connection cut, one machine's connections
//! half-open, the pooler restarted. Must not know: how workers die.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::scene::{Scene, Size};

/// Also after its process: a worker that dies in the outage finds its answers in the spool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_long_rescues_nobody_and_costs_no_call() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(220, 6_000));
    scene.start_workers(3).await;
    scene.until_calls_more(size.of(60, 1_500)).await;
    scene.fault_hits().await;
    scene.cluster.halt();
    // Past every lease, and long enough for all that is in flight to reach the spool.
    tokio::time::sleep(Duration::from_secs(size.of(6, 90))).await;
    assert!(scene.workers.iter_mut().all(crate::fleet::Worker::is_alive), "they wait it out");
    assert!(scene.workers[0].spooled() > 0, "answers are in the spool");
    scene.workers[0].kill();
    scene.cluster.resume();
    scene.restart(0);
    scene.fault_over();
    let recovered = scene.recovered().await;
    let found =
        scene.judge("Postgres stopped in immediate mode, one worker killed in it", recovered).await;
    found.expect_no_duplicates();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cutting_every_connection_again_and_again_costs_no_call() {
    let size = Size::asked();
    // Enough for calls after each cut: what waited during one comes at once after it.
    let mut scene = Scene::new(size, size.of(700, 12_000));
    let proxy = Proxy::start(scene.cluster.folder()).await;
    scene.reach_by(proxy.url());
    scene.start_workers(3).await;
    for _ in 0..size.of(8, 60) {
        scene.until_calls_more(size.of(20, 80)).await;
        scene.fault_hits().await;
        proxy.close_all();
        scene.fault_over();
    }
    let recovered = scene.recovered().await;
    let found = scene.judge("every connection cut, again and again", recovered).await;
    found.expect_no_duplicates();
}

/// Nobody may take it for dead before its lease is over; then its calls may be made again, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_connections_are_half_open_comes_back() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(350, 6_000));
    let direct = scene.cluster.url();
    let proxy = Proxy::start(scene.cluster.folder()).await;
    scene.reach_by(proxy.url());
    scene.start_workers(1).await;
    scene.reach_by(direct);
    scene.start_workers(2).await;
    scene.until_calls_more(30).await;
    scene.fault_hit(0).await;
    proxy.deafen_all();
    scene.fault_over();
    let recovered = scene.recovered().await;
    let found = scene.judge("one worker's connections half-open", recovered).await;
    found.expect_at_most_in_flight();
    assert_eq!(found.unknown, 0, "its answers came late and are recorded: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_is_restarted_costs_no_call() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(220, 6_000));
    let url = scene.cluster.pool();
    scene.reach_by(url);
    scene.settings.push(("QUARRIER_STORE__POOLED", "true".to_owned()));
    scene.start_workers(3).await;
    for _ in 0..size.of(2, 8) {
        scene.until_calls_more(size.of(60, 500)).await;
        scene.fault_hits().await;
        scene.cluster.unpool();
        tokio::time::sleep(Duration::from_millis(size.of(500, 5_000))).await;
        scene.cluster.pool();
        scene.fault_over();
    }
    let recovered = scene.recovered().await;
    let found = scene.judge("PgBouncer killed and started", recovered).await;
    found.expect_no_duplicates();
}
