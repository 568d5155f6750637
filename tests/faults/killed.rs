//! Workers that die, and workers that only seem to. Must not know: the database's own troubles.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::scene::{Scene, Size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_at_random_repeat_at_most_what_they_had_in_flight() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(250, 9_000));
    scene.start_workers(3).await;
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..size.of(4, 50) {
        scene.until_calls_more(rng.random_range(5..size.of(60, 250))).await;
        let index = rng.random_range(0..scene.workers.len());
        scene.workers[index].kill();
        scene.fault_hit(index).await;
        scene.restart(index);
    }
    let recovered = scene.recovered().await;
    let found = scene.judge("kill -9 of workers at random", recovered).await;
    found.expect_at_most_in_flight();
    assert!(found.unknown <= found.in_flight, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stopped_past_its_lease_sends_nothing_twice_and_records_its_late_answers() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(350, 4_000));
    scene.start_workers(3).await;
    let mut recovered = Duration::ZERO;
    let mut stopped = HashSet::new();
    for _ in 0..size.of(1, 4) {
        scene.until_at_work(0).await;
        scene.until_calls_more(30).await;
        scene.workers[0].freeze();
        scene.fault_hit(0).await;
        stopped.extend(scene.running_of(0).await);
        recovered = recovered.max(scene.recovered().await);
        // A rescued job is called again at once or after a pause; then the first one speaks up.
        tokio::time::sleep(size.lease() / 3).await;
        scene.workers[0].thaw();
    }
    let found = scene.judge("SIGSTOP past the lease, then SIGCONT", recovered).await;
    found.expect_at_most_in_flight();
    let (in_flight, told) = scene.told(&stopped).await;
    assert!(in_flight > 0, "it had calls in flight");
    // One that was stopped between claim and call was never sent, and says so.
    assert_eq!(told, in_flight, "every late answer is on its own attempt: {found:?}");
    assert_eq!(found.unknown, 0, "{found:?}");
}
