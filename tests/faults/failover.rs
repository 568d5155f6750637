//! A standby that lags is promoted: commits that the first server had confirmed are gone. Must not
//! know: what the workers make of it.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::scene::{Scene, Size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_standby_that_is_promoted_loses_no_job() {
    let size = Size::asked();
    let mut scene = Scene::new(size, size.of(250, 6_000));
    let replication = Proxy::start(scene.cluster.folder()).await;
    let standby = Cluster::standby_of(&replication.conninfo());
    let proxy = Proxy::start(scene.cluster.folder()).await;
    scene.reach_by(proxy.url());
    scene.start_workers(3).await;
    scene.until_calls_more(size.of(60, 2_000)).await;
    // From here on the standby hears nothing.
    let before = scene.simulated.summary().await.calls;
    scene.fault_hits().await;
    replication.hold();
    tokio::time::sleep(Duration::from_secs(size.of(2, 10))).await;
    scene.fault_hits().await;
    scene.cluster.halt();
    proxy.refuse(true);
    proxy.close_all();
    replication.close_all();
    standby.promote();
    scene.cluster = standby;
    proxy.switch_to(scene.cluster.folder());
    proxy.refuse(false);
    scene.fault_over();
    let within_the_lag = scene.simulated.summary().await.calls - before;
    let recovered = scene.recovered().await;
    let found = scene.judge("a lagging standby promoted", recovered).await;
    assert_eq!((found.lost, found.duplicate_results), (0, 0), "{found:?}");
    // A test's output is shown with --nocapture.
    eprintln!("calls in the lag: {within_the_lag}; {found:?}");
    // Only what the lost commits told may be done again.
    let lost_calls = found.in_flight + within_the_lag;
    assert_eq!(found.calls_unheard, 0, "each call is recorded and charged: {found:?}");
    assert!(found.duplicate_calls <= lost_calls, "{lost_calls} in the lag, {found:?}");
}
