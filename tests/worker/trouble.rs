//! A store in front of the real one that can be told to fail, method by method.
//! Must not know: SQL, the worker.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use quarrier::budget::Limit;
use quarrier::error::ErrorKind;
use quarrier::store::sqlite::SqliteStore;
use quarrier::store::{
    About, AdmitStore, Admitted, AttemptKey, Backlog, ClaimAsk, ClaimNewAsk, Claimed, ClaimedNew,
    ControlStore, Counts, DeliverStore, DeliveryFilter, DeliveryRow, DueDelivery, EraseAsk,
    Erasure, Finish, Finished, Health, HeldMessage, IntakeStore, JobFilter, JobPage, JobRow,
    KeepStore, KeyLevel, LeaseInfo, LimitRule, LimitSeed, LostAttempt, NewJob, OtherLease, Pause,
    PauseAsk, PausedLane, Promoted, QueueRow, ReadStore, RescueAsk, Rescued, Restored, ResultRow,
    ResultsAsk, Resumed, RetainAsk, Retained, RunningAttempt, Scope, SeededSettings, Shares,
    StoreError, StoreResult, Submission, Submitted, SubmittedDefaults, SubmittedFilter, TakenBack,
    Tried, WorkStore,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How a method fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not done.
    Away,
    /// It is done, but nobody hears of it.
    Lost,
    /// It is not done, and not refused, until the store is back.
    Hangs,
}

#[derive(Default)]
struct Told {
    troubles: HashMap<&'static str, Trouble>,
    /// Finishes of these jobs are refused as data until they say `unstorable`.
    poison: HashSet<Uuid>,
    /// Finishes of these jobs are refused whatever they say.
    poison_for_ever: HashSet<Uuid>,
    failed: HashMap<&'static str, u64>,
}

/// The store that can be told to fail.
pub(crate) struct Troubled {
    inner: Arc<SqliteStore>,
    told: Mutex<Told>,
    /// Hears of each method that was done, before its answer is given.
    heard: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl Troubled {
    pub(crate) fn new(inner: &Arc<SqliteStore>) -> Arc<Self> {
        Self::with(inner, |_| {})
    }

    pub(crate) fn with(
        inner: &Arc<SqliteStore>,
        heard: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (inner, heard) = (Arc::clone(inner), Box::new(heard));
        Arc::new(Self { inner, told: Mutex::default(), heard })
    }

    /// Cancels this as soon as the method has been asked for.
    pub(crate) fn cancelling(
        inner: &Arc<SqliteStore>,
        wanted: &'static str,
        token: &CancellationToken,
    ) -> Arc<Self> {
        let token = token.clone();
        Self::with(inner, move |method| {
            if method == wanted {
                token.cancel();
            }
        })
    }

    pub(crate) fn tell(&self, method: &'static str, trouble: Trouble) {
        self.told.lock().unwrap().troubles.insert(method, trouble);
    }

    /// Everything that the worker needs is away.
    pub(crate) fn away(&self) {
        for method in METHODS {
            self.tell(method, Trouble::Away);
        }
    }

    pub(crate) fn heal(&self, method: &'static str) {
        self.told.lock().unwrap().troubles.remove(method);
    }

    pub(crate) fn back(&self) {
        self.told.lock().unwrap().troubles.clear();
    }

    pub(crate) fn poison(&self, job: Uuid) {
        self.told.lock().unwrap().poison.insert(job);
    }

    pub(crate) fn poison_for_ever(&self, job: Uuid) {
        self.told.lock().unwrap().poison_for_ever.insert(job);
    }

    /// How often a method has failed.
    pub(crate) fn failed(&self, method: &'static str) -> u64 {
        self.told.lock().unwrap().failed.get(method).copied().unwrap_or(0)
    }

    /// Waits until a method has failed so often from now on.
    pub(crate) async fn fails(&self, method: &'static str, times: u64) {
        let before = self.failed(method);
        crate::until(|| async { self.failed(method) >= before + times }).await;
    }

    /// Waits while it is told to; that counts as one failure.
    async fn hang(&self, method: &'static str) {
        let is_told = || self.told.lock().unwrap().troubles.get(method) == Some(&Trouble::Hangs);
        if is_told() {
            *self.told.lock().unwrap().failed.entry(method).or_default() += 1;
        }
        crate::until(|| async { !is_told() }).await;
    }

    fn before(&self, method: &'static str) -> StoreResult<()> {
        self.stumble(method, Trouble::Away)
    }

    fn after(&self, method: &'static str) -> StoreResult<()> {
        (self.heard)(method);
        self.stumble(method, Trouble::Lost)
    }

    fn stumble(&self, method: &'static str, at: Trouble) -> StoreResult<()> {
        let mut told = self.told.lock().unwrap();
        if told.troubles.get(method) != Some(&at) {
            return Ok(());
        }
        *told.failed.entry(method).or_default() += 1;
        Err(StoreError::Transient(format!("{method} is told to fail")))
    }

    fn taste(&self, group: &[Finish]) -> StoreResult<()> {
        let told = self.told.lock().unwrap();
        for finish in group {
            let tame = matches!(finish.error, Some((ErrorKind::Unstorable, _)));
            let job = &finish.key.job_id;
            if told.poison_for_ever.contains(job) || (told.poison.contains(job) && !tame) {
                return Err(StoreError::Data("poison".to_owned()));
            }
        }
        Ok(())
    }
}

const METHODS: [&str; 14] = [
    "submissions",
    "admit_submissions",
    "limits",
    "promote",
    "ready_lanes",
    "claim",
    "claim_new",
    "finish",
    "beat",
    "give_back",
    "other_leases",
    "rescue",
    "job",
    "open_lease",
];

/// Each method: fail before, do, fail after.
macro_rules! through {
    ($self:ident, $method:ident ( $($argument:expr),* )) => {{
        $self.hang(stringify!($method)).await;
        $self.before(stringify!($method))?;
        let done = $self.inner.$method($($argument),*).await?;
        $self.after(stringify!($method))?;
        Ok(done)
    }};
}

#[async_trait]
impl AdmitStore for Troubled {
    async fn admit(&self, jobs: Vec<NewJob>) -> StoreResult<Vec<Admitted>> {
        through!(self, admit(jobs))
    }
    async fn submissions(&self, rows_max: u32) -> StoreResult<Vec<Submission>> {
        through!(self, submissions(rows_max))
    }
    async fn admit_submissions(&self, jobs: Vec<(String, NewJob)>) -> StoreResult<Vec<String>> {
        if jobs.iter().any(|(_, job)| job.resolved.is_ok() && job.document.contains("poison")) {
            return Err(StoreError::Data("poison".to_owned()));
        }
        through!(self, admit_submissions(jobs))
    }
    async fn limits(&self) -> StoreResult<Vec<LimitRule>> {
        through!(self, limits())
    }
    async fn seed_limits(&self, rules: Vec<LimitRule>, seeder: &str) -> StoreResult<()> {
        through!(self, seed_limits(rules, seeder))
    }
    async fn shares(&self) -> StoreResult<Shares> {
        through!(self, shares())
    }
    async fn seed_shares(&self, shares: &Shares) -> StoreResult<()> {
        through!(self, seed_shares(shares))
    }
}

#[async_trait]
impl WorkStore for Troubled {
    async fn promote(&self, rows_max: u32) -> StoreResult<Promoted> {
        through!(self, promote(rows_max))
    }
    async fn ready_lanes(&self) -> StoreResult<Vec<String>> {
        through!(self, ready_lanes())
    }
    async fn claim(&self, ask: ClaimAsk) -> StoreResult<Claimed> {
        through!(self, claim(ask))
    }
    async fn claim_new(&self, job: NewJob, ask: ClaimNewAsk) -> StoreResult<ClaimedNew> {
        through!(self, claim_new(job, ask))
    }
    async fn finish(&self, group: &[Finish]) -> StoreResult<Vec<Finished>> {
        self.taste(group)?;
        through!(self, finish(group))
    }
    async fn open_lease(&self, lease: &LeaseInfo) -> StoreResult<()> {
        through!(self, open_lease(lease))
    }
    async fn beat(&self, lease: Uuid) -> StoreResult<Option<Vec<RunningAttempt>>> {
        through!(self, beat(lease))
    }
    async fn unwanted(&self, attempts: &[AttemptKey]) -> StoreResult<Vec<AttemptKey>> {
        through!(self, unwanted(attempts))
    }
    async fn resumes(&self) -> StoreResult<Vec<(String, u64)>> {
        through!(self, resumes())
    }
    async fn give_back(&self, attempts: &[AttemptKey]) -> StoreResult<()> {
        through!(self, give_back(attempts))
    }
    async fn restore(&self, lease: Uuid, lost: &[LostAttempt]) -> StoreResult<Vec<Restored>> {
        through!(self, restore(lease, lost))
    }
    async fn other_leases(&self, own: Uuid) -> StoreResult<Vec<OtherLease>> {
        through!(self, other_leases(own))
    }
    async fn rescue(&self, ask: &RescueAsk) -> StoreResult<Rescued> {
        through!(self, rescue(ask))
    }
    async fn close_lease(&self, lease: Uuid) -> StoreResult<()> {
        through!(self, close_lease(lease))
    }
    async fn forget_seen(&self, rows_max: u32) -> StoreResult<u64> {
        through!(self, forget_seen(rows_max))
    }
}

#[async_trait]
impl KeepStore for Troubled {
    async fn retain(&self, ask: &RetainAsk) -> StoreResult<Retained> {
        through!(self, retain(ask))
    }
    async fn erase(&self, ask: &EraseAsk) -> StoreResult<Erasure> {
        through!(self, erase(ask))
    }
    async fn erasures(&self) -> StoreResult<Vec<Erasure>> {
        through!(self, erasures())
    }
}

#[async_trait]
impl DeliverStore for Troubled {
    async fn take_deliveries(&self, rows_max: u32, hold_ms: u64) -> StoreResult<Vec<DueDelivery>> {
        through!(self, take_deliveries(rows_max, hold_ms))
    }
    async fn settle_deliveries(&self, tried: &[Tried]) -> StoreResult<()> {
        through!(self, settle_deliveries(tried))
    }
    async fn deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<DeliveryRow>> {
        through!(self, deliveries(filter))
    }
    async fn redeliver(&self, filter: &DeliveryFilter) -> StoreResult<u64> {
        through!(self, redeliver(filter))
    }
}

#[async_trait]
impl IntakeStore for Troubled {
    async fn hold_messages(&self, messages: &[HeldMessage]) -> StoreResult<()> {
        through!(self, hold_messages(messages))
    }
    async fn held_messages(
        &self,
        queue: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> StoreResult<Vec<HeldMessage>> {
        through!(self, held_messages(queue, after, rows_max))
    }
    async fn answered_messages(&self, queue: &str, rows_max: u32) -> StoreResult<Vec<HeldMessage>> {
        through!(self, answered_messages(queue, rows_max))
    }
    async fn waiting(&self, jobs_max: u32) -> StoreResult<u32> {
        through!(self, waiting(jobs_max))
    }
    async fn forget_messages(&self, queue: &str, gone: &[(String, String)]) -> StoreResult<()> {
        through!(self, forget_messages(queue, gone))
    }
}

#[async_trait]
impl ReadStore for Troubled {
    async fn queues(&self) -> StoreResult<Vec<QueueRow>> {
        through!(self, queues())
    }
    async fn results(&self, ask: &ResultsAsk) -> StoreResult<Vec<ResultRow>> {
        through!(self, results(ask))
    }
    async fn counts(&self, batch: Option<Uuid>) -> StoreResult<Counts> {
        through!(self, counts(batch))
    }
    async fn jobs(&self, filter: &JobFilter) -> StoreResult<Vec<JobRow>> {
        through!(self, jobs(filter))
    }
    async fn job(&self, id: &str) -> StoreResult<Option<JobPage>> {
        through!(self, job(id))
    }
    async fn cancel(&self, ids: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        through!(self, cancel(ids))
    }
    async fn submitted(&self, filter: &SubmittedFilter) -> StoreResult<Vec<Submitted>> {
        through!(self, submitted(filter))
    }
    async fn submitted_as(
        &self,
        name: &str,
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Option<Submitted>> {
        through!(self, submitted_as(name, defaults))
    }
    async fn submitted_queues(&self, queue_default: &str) -> StoreResult<Vec<(String, u64)>> {
        through!(self, submitted_queues(queue_default))
    }
    async fn take_back(
        &self,
        keys: &[String],
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Vec<TakenBack>> {
        through!(self, take_back(keys, defaults))
    }
    async fn full_queues(&self) -> StoreResult<Vec<(String, u32)>> {
        through!(self, full_queues())
    }
    async fn workers(&self, silent_ms: u64) -> StoreResult<u64> {
        through!(self, workers(silent_ms))
    }
    async fn retry(&self, ids: &[Uuid], deadline_at: i64) -> StoreResult<Vec<Uuid>> {
        through!(self, retry(ids, deadline_at))
    }
    async fn paused_lanes(&self) -> StoreResult<Vec<PausedLane>> {
        through!(self, paused_lanes())
    }
    async fn levels(&self) -> StoreResult<Vec<KeyLevel>> {
        through!(self, levels())
    }
    async fn open_batch(&self, name: &str) -> StoreResult<Uuid> {
        through!(self, open_batch(name))
    }
    async fn about(&self) -> StoreResult<About> {
        through!(self, about())
    }
    async fn health(&self, check_ms: u64) -> StoreResult<Health> {
        through!(self, health(check_ms))
    }
}

#[async_trait]
impl ControlStore for Troubled {
    async fn pause(&self, ask: &PauseAsk) -> StoreResult<Pause> {
        through!(self, pause(ask))
    }
    async fn resume(&self, scope: &Scope) -> StoreResult<Resumed> {
        through!(self, resume(scope))
    }
    async fn pauses(&self) -> StoreResult<Vec<Pause>> {
        through!(self, pauses())
    }
    async fn set_limit(&self, pattern: &str, limit: Limit) -> StoreResult<()> {
        through!(self, set_limit(pattern, limit))
    }
    async fn clear_limit(&self, pattern: &str) -> StoreResult<bool> {
        through!(self, clear_limit(pattern))
    }
    async fn seed_settings(&self, settings: &SeededSettings, seeder: &str) -> StoreResult<()> {
        through!(self, seed_settings(settings, seeder))
    }
    async fn limit_seeds(&self) -> StoreResult<Vec<LimitSeed>> {
        through!(self, limit_seeds())
    }
    async fn backlog(&self, rows_max: u32) -> StoreResult<Vec<Backlog>> {
        through!(self, backlog(rows_max))
    }
    async fn batch_named(&self, name: &str) -> StoreResult<Option<Uuid>> {
        through!(self, batch_named(name))
    }
}
