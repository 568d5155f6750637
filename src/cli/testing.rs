//! What the commands' tests share: a store in a folder of its own, jobs with known ids, and a
//! worker's part played by hand.
//! Must not know: any command.

use std::sync::Arc;

use tempfile::TempDir;
use uuid::Uuid;

use crate::admit::{Admission, AdmitSettings, Origin, Overrides, ReplyAllow};
use crate::catalogue::Catalogue;
use crate::check;
use crate::clock::{Clock, ClockHand};
use crate::completion::{Api, StopReason, Usage};
use crate::error::ErrorKind;
use crate::job::{IfOutcomeUnknown, Outcome, State};
use crate::retry::Counters;
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{
    AdmitStore, Admitted, AttemptKey, ClaimAsk, ClaimedJob, Finish, LaneNews, LeaseInfo, Next,
    Settlement, WorkStore,
};

/// A store with everything around it. Its clock stands still until the hand moves it.
pub(super) struct Scene {
    pub(super) dir: TempDir,
    pub(super) store: SqliteStore,
    pub(super) admission: Admission,
    pub(super) clock: Clock,
    pub(super) hand: ClockHand,
}

/// The lane of the model that jobs get.
pub(super) const LANE: &str = "bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0";

impl Scene {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual();
        let options = SqliteOptions {
            path: dir.path().join("quarrier.db"),
            busy_timeout_ms: 5_000,
            simulated: Some(false),
        };
        let store = SqliteStore::open(&options, clock.clone()).await.unwrap();
        let settings = AdmitSettings {
            model: "claude-haiku-4.5".to_owned(),
            temperature: 0.7,
            temperature_structured: 0.2,
            max_tokens: 1_000,
            deadline_ms: 604_800_000,
            queue: "default".to_owned(),
            tenant: "default".to_owned(),
            if_outcome_unknown: IfOutcomeUnknown::Retry,
            document_bytes_max: 10_000,
            check: check::Limits::default(),
            api: Api::Converse,
            lane_prefix: "bedrock/us-east-1".to_owned(),
            seen_ms: 2_592_000_000,
            profiles: vec!["us".to_owned()],
            families: std::collections::BTreeMap::new(),
            allow_retired: false,
            queues: std::collections::BTreeMap::new(),
            reply_allow: ReplyAllow::default(),
        };
        let admission = Admission::new(settings, Arc::new(Catalogue::embedded().unwrap()));
        Self { dir, store, admission, clock, hand }
    }

    /// Admits a document under the id `n`.
    pub(super) async fn admit(&self, n: u128, document: &str) -> Admitted {
        self.admit_from(n, document, Origin::default()).await
    }

    /// The same, from a line of a batch for instance.
    pub(super) async fn admit_from(&self, n: u128, document: &str, origin: Origin) -> Admitted {
        let (now, overrides) = (self.clock.now(), Overrides::default());
        let mut job = match self.admission.prepare(document, &overrides, origin, &[], now) {
            Ok(job) => job,
            Err(problems) => self.admission.rejected(document, &problems, Origin::default(), now),
        };
        job.job_id = Uuid::from_u128(n);
        self.store.admit(vec![job]).await.unwrap().remove(0)
    }

    /// What another program puts in: no worker has admitted it yet.
    pub(super) async fn submit(&self, key: &str, document: &str) {
        let url = format!("sqlite://{}", self.store.path().display());
        let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
        sqlx::query("insert into submission (id, document) values (?, ?)")
            .bind(key)
            .bind(document)
            .execute(&mut other)
            .await
            .unwrap();
        sqlx::Connection::close(other).await.unwrap();
    }

    /// Claims the next job of the lane, under a lease of its own.
    pub(super) async fn claim(&self) -> ClaimedJob {
        self.claim_under(Uuid::now_v7()).await
    }

    async fn claim_under(&self, lease: Uuid) -> ClaimedJob {
        let info = LeaseInfo { id: lease, host: "here".to_owned(), pid: std::process::id() };
        self.store.open_lease(&info).await.unwrap();
        let ask = ClaimAsk {
            lane: LANE.to_owned(),
            lease,
            fences: vec![Uuid::now_v7()],
            scan_max: 10,
            pass_ms_max: 30_000,
            money_micros_max: None,
            batch: None,
        };
        self.store.claim(ask).await.unwrap().jobs.remove(0)
    }

    /// Claims the next job and, after three seconds, records how its call came out.
    pub(super) async fn call(&self, change: impl FnOnce(&mut Finish)) {
        let lease = Uuid::now_v7();
        let mut finish = finish(&self.claim_under(lease).await);
        change(&mut finish);
        self.hand.advance(3_000);
        self.store.finish(&[finish]).await.unwrap();
        self.store.close_lease(lease).await.unwrap();
    }
}

/// A call that succeeded with a text.
pub(super) fn finish(job: &ClaimedJob) -> Finish {
    Finish {
        key: AttemptKey { job_id: job.job_id, number: job.number, fence: job.fence },
        outcome: Outcome::Completed,
        settlement: Settlement::Used(150),
        usage: Some(Usage { input: 120, output: 30, cache_read: 0, cache_write: 0 }),
        cost_micros: Some(270),
        raw_text: Some("Yes.".to_owned()),
        stop: Some(StopReason::EndTurn),
        request_id: Some("req-1".to_owned()),
        first_token_ms: Some(400),
        total_ms: Some(3_000),
        error: None,
        schema_errors: None,
        next: Next::End {
            state: State::Succeeded,
            output: None,
            text: Some("Yes.".to_owned()),
            provenance: None,
        },
        lane: LaneNews::default(),
    }
}

/// Makes it a call that ended its job as failed.
pub(super) fn failing(finish: &mut Finish, kind: ErrorKind, message: &str) {
    finish.error = Some((kind, message.to_owned()));
    finish.next = Next::End { state: State::Failed, output: None, text: None, provenance: None };
}

/// Makes it a call that will be made again.
pub(super) fn again(finish: &mut Finish, kind: ErrorKind, message: &str, after_ms: u64) {
    finish.outcome = Outcome::Refused;
    finish.settlement = Settlement::Nothing;
    finish.usage = None;
    finish.cost_micros = Some(0);
    finish.raw_text = None;
    finish.stop = None;
    finish.error = Some((kind, message.to_owned()));
    finish.next = Next::Again {
        after_ms,
        counters: Counters { failures: 1, ..Counters::default() },
        reask: None,
        input_tokens_max: 100,
    };
}
