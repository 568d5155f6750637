//! Connections that break exactly at the COMMIT of a claim or of a finish, on either side of the
//! server's commit. Must not know: how the proxy sees it.

use crate::proxy::Kind::{Claim, Finish};
use crate::proxy::When::{After, Before};
use crate::proxy::{Kind, Proxy, When};
use crate::scene::{Scene, Size};

const CASES: [(Kind, When, &str); 4] = [
    (Claim, Before, "cut before the server got a claim's COMMIT"),
    (Claim, After, "cut after the server got a claim's COMMIT"),
    (Finish, Before, "cut before the server got a finish's COMMIT"),
    (Finish, After, "cut after the server got a finish's COMMIT"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_outcome_is_lost_costs_no_call() {
    let size = Size::asked();
    if size == Size::Full {
        for case in CASES {
            run(size, 1_500, &[case], case.2).await;
        }
    } else {
        run(size, 240, &CASES, "cut at the COMMIT of claims and finishes, on either side").await;
    }
}

async fn run(size: Size, jobs: u64, cases: &[(Kind, When, &str)], fault: &'static str) {
    let mut scene = Scene::new(size, jobs);
    let proxy = Proxy::start(scene.cluster.folder()).await;
    scene.reach_by(proxy.url());
    scene.start_workers(2).await;
    let mut given_back = false;
    for (kind, when, _) in cases {
        given_back |= (*kind, *when) == (Claim, After);
        for _ in 0..size.of(3, 30) {
            proxy.cut_at_commit(*kind, *when, 1);
            scene.until("such a COMMIT comes", async || proxy.cuts_left() == 0).await;
            scene.fault_hits().await;
        }
    }
    let recovered = scene.recovered().await;
    let found = scene.judge(fault, recovered).await;
    found.expect_no_duplicates();
    assert!(found.not_sent > 0 || !given_back, "claims with a lost answer go back: {found:?}");
}
