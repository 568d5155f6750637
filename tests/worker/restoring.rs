//! A failover to a standby that lags: what the worker still knows is brought back.

use std::sync::Arc;

use quarrier::budget::Limit;
use quarrier::job::State;
use quarrier::store::ReadStore as _;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::bed::{Bed, Running};
use crate::scripted::{Scripted, gated};
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

/// A worker with one call in flight, behind a store that can go away.
struct Scene {
    bed: Bed,
    id: Uuid,
    store: Arc<Troubled>,
    gate: Arc<Semaphore>,
    provider: Arc<Scripted>,
    running: Running,
}

impl Scene {
    async fn new() -> Self {
        let bed = Bed::new().await;
        let limit = Limit { requests_per_minute: Some(100), tokens_per_minute: None };
        bed.limit("total", limit).await;
        let id = bed.job().await;
        let store = Troubled::new(&bed.store);
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| gated(&gate, "Paid for.")
        });
        let running = bed.start_on(store.clone(), provider.clone(), bed.options());
        provider.begun(1).await;
        Self { bed, id, store, gate, provider, running }
    }

    /// The store goes away, as in a failover, and has lost the job's claim and all since.
    async fn fails_over(&self) {
        self.store.away();
        self.store.fails("beat", 2).await;
        for statement in [
            "delete from attempt",
            "delete from result",
            "delete from budget",
            "update job set state = 'ready', ended_at = null, fence = null, lease_id = null, \
             calls = 0",
        ] {
            self.bed.sql(statement).await;
        }
    }

    /// The job has its answer, by one call, which is charged.
    async fn assert_paid_once(self) {
        until(|| async { self.bed.state(self.id).await == State::Succeeded }).await;
        self.running.drained().await;
        let page = self.bed.page(self.id).await;
        assert_eq!((page.attempts.len(), self.provider.seen().begun), (1, 1));
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("completed"));
        assert_eq!(page.result.unwrap().text.as_deref(), Some("Paid for."));
        assert_eq!(self.bed.number("select restored from attempt").await, 1);
        let levels = self.bed.store.levels().await.unwrap();
        let total = levels.iter().find(|level| level.key == "total").unwrap().level.requests;
        assert_eq!((total.used, total.in_flight), (1, 0));
    }
}

#[test]
fn a_call_in_flight_whose_claim_was_lost_is_not_made_again() {
    within(async {
        let scene = Scene::new().await;
        scene.fails_over().await;
        scene.store.back();
        until(|| async { scene.bed.state(scene.id).await == State::Running }).await;
        scene.gate.add_permits(1);
        scene.assert_paid_once().await;
    });
}

#[test]
fn a_call_in_flight_is_not_made_again_where_its_lease_was_lost_too() {
    within(async {
        let scene = Scene::new().await;
        scene.fails_over().await;
        scene.bed.sql("delete from lease").await;
        scene.store.back();
        until(|| async { scene.bed.state(scene.id).await == State::Running }).await;
        assert_eq!(
            scene
                .bed
                .number("select count(*) from job join lease on lease.id = job.lease_id")
                .await,
            1
        );
        scene.gate.add_permits(1);
        scene.assert_paid_once().await;
    });
}

#[test]
fn an_answer_whose_claim_was_lost_is_recorded_and_not_thrown_away() {
    within(async {
        let scene = Scene::new().await;
        scene.fails_over().await;
        scene.gate.add_permits(1);
        scene.store.fails("finish", 1).await;
        // The answer comes before anybody has asked for the lease.
        scene.store.heal("finish");
        until(|| async { scene.bed.state(scene.id).await == State::Succeeded }).await;
        scene.store.back();
        scene.assert_paid_once().await;
    });
}

#[test]
fn an_answer_whose_claim_was_lost_is_recorded_from_the_spool_too() {
    within(async {
        let scene = Scene::new().await;
        scene.fails_over().await;
        scene.gate.add_permits(1);
        until(|| async { !scene.bed.spooled().is_empty() }).await;
        scene.store.heal("promote");
        scene.store.heal("other_leases");
        scene.store.heal("finish");
        until(|| async { scene.bed.state(scene.id).await == State::Succeeded }).await;
        scene.store.back();
        scene.assert_paid_once().await;
    });
}

#[test]
fn an_answer_that_was_recorded_and_lost_with_its_claim_is_recorded_again() {
    within(async {
        let scene = Scene::new().await;
        scene.gate.add_permits(1);
        scene.running.ended(1).await;
        scene.fails_over().await;
        scene.store.back();
        scene.assert_paid_once().await;
    });
}

#[test]
fn a_restore_that_fails_is_tried_again_before_anything_is_claimed() {
    within(async {
        let scene = Scene::new().await;
        scene.fails_over().await;
        scene.store.tell("restore", Trouble::Away);
        let other = scene.bed.job().await;
        for method in ["beat", "claim", "ready_lanes", "promote"] {
            scene.store.heal(method);
        }
        scene.store.fails("restore", 2).await;
        assert_eq!(scene.provider.seen().begun, 1);
        scene.store.back();
        until(|| async { scene.bed.state(scene.id).await == State::Running }).await;
        scene.provider.begun(2).await;
        scene.gate.add_permits(2);
        scene.running.ended(2).await;
        scene.running.drained().await;
        assert_eq!(scene.bed.state(other).await, State::Succeeded);
        assert_eq!(scene.provider.seen().begun, 2);
    });
}
