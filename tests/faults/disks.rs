//! A full disk under the spool while the database is away (G5). Must not know: the spool's files.

use std::time::Duration;

use crate::scene::{Scene, Size};

/// The answers stay in memory, and nothing more is claimed until they are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_neither_store_nor_disk_takes_are_kept_until_one_does() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(200, 5_000));
    scene.start_workers(1).await;
    scene.start_confined_worker().await;
    let confined = 1;
    for takes_the_disk in [false, true] {
        scene.until_at_work(confined).await;
        scene.until_calls_more(size.of(40, 800)).await;
        scene.fault_hits().await;
        scene.cluster.halt();
        tokio::time::sleep(Duration::from_secs(size.of(5, 45))).await;
        let worker = &mut scene.workers[confined];
        assert!(worker.is_alive(), "a full disk stops no worker");
        assert_eq!(worker.spooled(), 0, "the disk is full");
        if takes_the_disk {
            worker.free_the_disk();
            let worker = &scene.workers[confined];
            scene.until("the spool takes them", async || worker.spooled() > 0).await;
        }
        scene.cluster.resume();
        scene.fault_over();
    }
    let recovered = scene.recovered().await;
    let found = scene.judge("disk full for the spool while Postgres is away", recovered).await;
    found.expect_no_duplicates();
}
