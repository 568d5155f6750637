//! What every test stands on: a store with jobs that have ended and want a reply, and a relay whose
//! clock the test moves. Must not know: what the tests are about.

use std::sync::Arc;

use quarrier::admit::{Admission, AdmitSettings, Origin, ReplyAllow};
use quarrier::catalogue::Catalogue;
use quarrier::check;
use quarrier::clock::{Clock, ClockHand};
use quarrier::completion::Api;
use quarrier::job::{IfOutcomeUnknown, Problem};
use quarrier::message_queue::{LargeBodies, MessageQueue};
use quarrier::relay::{Relay, RelayOptions};
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{
    AdmitStore as _, Admitted, DeliverStore as _, DeliveryFilter, DeliveryRow, DeliveryState,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::LONGEST;

pub(crate) struct Scene {
    _folder: TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: Clock,
    pub(crate) hand: ClockHand,
    admission: Admission,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual();
        let path = folder.path().join("store.db");
        let options = SqliteOptions { path, busy_timeout_ms: 10_000, simulated: Some(false) };
        let store = Arc::new(SqliteStore::open(&options, clock.clone()).await.unwrap());
        let admission = Admission::new(settings(), Arc::new(Catalogue::embedded().unwrap()));
        Self { _folder: folder, store, clock, hand, admission }
    }

    /// A job that has ended as rejected, for this reason, and wants a reply there.
    pub(crate) async fn ended_saying(&self, to: &str, reason: &str) -> Uuid {
        let text = serde_json::json!({ "reply_to": to, "tenant": "north" }).to_string();
        let problems = [Problem::new("$", reason)];
        let trace = Some("Root=1-5759e988-bd862e3fe1be46a994272793".to_owned());
        let origin = Origin { trace, ..Origin::default() };
        let job = self.admission.rejected(&text, &problems, origin, self.clock.now());
        match self.store.admit(vec![job]).await.unwrap().as_slice() {
            [Admitted::New(id)] => *id,
            other => panic!("not admitted: {other:?}"),
        }
    }

    pub(crate) async fn ended(&self, to: &str) -> Uuid {
        self.ended_saying(to, "no prompt").await
    }

    /// So many of them.
    pub(crate) async fn many(&self, to: &str, jobs: usize) {
        for _ in 0..jobs {
            self.ended(to).await;
        }
    }

    pub(crate) fn relay(&self, queues: &Arc<impl MessageQueue + 'static>) -> Relay {
        self.relay_with(queues, None, options())
    }

    pub(crate) fn relay_with(
        &self,
        queues: &Arc<impl MessageQueue + 'static>,
        bodies: Option<Arc<dyn LargeBodies>>,
        options: RelayOptions,
    ) -> Relay {
        let store = Arc::clone(&self.store);
        Relay::new(store, Arc::clone(queues) as _, bodies, self.clock.clone(), options)
    }

    /// Lets a relay send everything that is due by the clock as it stands.
    pub(crate) async fn send(&self, relay: &Relay) {
        relay.flush(LONGEST).await;
    }

    pub(crate) async fn deliveries(&self) -> Vec<DeliveryRow> {
        let filter = DeliveryFilter { rows_max: 1_000, ..DeliveryFilter::default() };
        self.store.deliveries(&filter).await.unwrap()
    }

    pub(crate) async fn delivery(&self, job_id: Uuid) -> DeliveryRow {
        let all = self.deliveries().await;
        all.into_iter().find(|row| row.job_id == job_id).expect("the job has a delivery")
    }

    /// How many deliveries stand so.
    pub(crate) async fn count(&self, state: DeliveryState) -> usize {
        self.deliveries().await.iter().filter(|row| row.state == state).count()
    }
}

/// Everything is allowed, and no wait is long.
pub(crate) fn options() -> RelayOptions {
    RelayOptions {
        allow: ReplyAllow::new(vec!["*".to_owned()]),
        bucket_prefix: "quarrier/".to_owned(),
        simulated: false,
        poll_ms: 10,
        rows_max: 100,
        bytes_max: 8 << 20,
        hold_ms: 60_000,
        targets_max: 4,
        batches_max: 2,
        retry_ms_base: 1_000,
        retry_ms_max: 1_000,
        absent_ms_base: 10_000,
        absent_ms_max: 10_000,
        tries_max: 100,
        age_ms_max: 86_400_000,
        facts_ms: 60_000,
        stuck_ms_max: 60_000,
    }
}

fn settings() -> AdmitSettings {
    AdmitSettings {
        model: "claude-haiku-4.5".to_owned(),
        temperature: 0.7,
        temperature_structured: 0.2,
        max_tokens: 1_000,
        deadline_ms: 3_600_000,
        queue: "default".to_owned(),
        tenant: "default".to_owned(),
        if_outcome_unknown: IfOutcomeUnknown::Retry,
        document_bytes_max: 4 << 20,
        check: check::Limits::default(),
        api: Api::Converse,
        lane_prefix: "scripted".to_owned(),
        seen_ms: 86_400_000,
        profiles: vec!["us".to_owned()],
        families: std::collections::BTreeMap::new(),
        allow_retired: false,
        queues: std::collections::BTreeMap::new(),
        reply_allow: ReplyAllow::new(vec!["*".to_owned()]),
    }
}
