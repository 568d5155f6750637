//! The store port: what the engine asks of a database, in one trait per room that calls it.
//!
//! The contract, for every engine:
//! - What a method returned as done is committed and durable (G1).
//! - A job ends once, and every end goes through one operation (G2).
//! - A claim and its reservation are one transaction; so are a finish and its settlement (G3, G4).
//! - Every method may be called again after an error whose outcome is unknown: admission finds the
//!   job by its identity, a finish finds its own record, a lost claim is found by `beat`.
//! - Times are Unix milliseconds; the lane's own time is the adapter's affair.
//!
//! Must not know: providers, models, how an answer is checked.

mod agreement;
mod control;
mod delivering;
mod health;
mod keeping;
mod shared;
mod sharing;
mod shown;
mod submitted;
mod types;

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use async_trait::async_trait;
use uuid::Uuid;

use crate::budget::Limit;

pub use agreement::*;
pub use control::*;
pub use delivering::*;
pub use health::*;
pub use keeping::*;
pub use sharing::*;
pub use shown::*;
pub use submitted::*;
pub use types::*;

/// Why the store did not do it; named for what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Busy, locked, unreachable, disk full: the same call may succeed later.
    #[error("the store is not reachable: {0}")]
    Transient(String),
    /// This data cannot be stored; other data can.
    #[error("the store refuses the data: {0}")]
    Data(String),
    /// The store is of another kind than asked for, or too new, or not ours: a person must act.
    #[error("{0}")]
    Refused(String),
    /// A defect of this program.
    #[error("a defect in the store room: {0}")]
    Bug(String),
}

/// What a store calls when somebody has put work into it.
pub type Woken<'w> = &'w (dyn Fn() + Send + Sync);

/// The result of every store operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// What admission asks (room 1).
#[async_trait]
pub trait AdmitStore: Send + Sync {
    /// Commits jobs in one transaction, answers in their order. Identities already seen are found,
    /// not doubled.
    async fn admit(&self, jobs: Vec<NewJob>) -> StoreResult<Vec<Admitted>>;

    /// Documents that other programs put into the table `submission`, oldest first.
    async fn submissions(&self, rows_max: u32) -> StoreResult<Vec<Submission>>;

    /// Admits submissions' jobs and deletes their rows, in one transaction. Rejected documents, and
    /// those whose id belongs to another document, become failed jobs; a held `dedupe_key` none.
    /// Returns the keys of the rows that it took; those that another worker admits are left out.
    async fn admit_submissions(&self, jobs: Vec<(String, NewJob)>) -> StoreResult<Vec<String>>;

    /// The rules that limits are judged by, configured ones first.
    async fn limits(&self) -> StoreResult<Vec<LimitRule>>;

    /// Replaces the rules that configuration seeded, and remembers that this process (`host/pid`)
    /// was configured so; rules set at run time stay, and win over seeded ones of their patterns.
    async fn seed_limits(&self, rules: Vec<LimitRule>, seeder: &str) -> StoreResult<()>;

    /// How queues and tenants share lanes.
    async fn shares(&self) -> StoreResult<Shares>;

    /// Replaces how queues and tenants share lanes. Jobs keep the places that they have; a cap
    /// counts the jobs that run already, and a share holds for jobs admitted from now on.
    async fn seed_shares(&self, shares: &Shares) -> StoreResult<()>;
}

/// What the worker asks (rooms 2, 3 and 6, and its lease).
#[async_trait]
pub trait WorkStore: Send + Sync {
    /// Makes jobs whose time has come due, and expires those whose deadline has passed.
    async fn promote(&self, rows_max: u32) -> StoreResult<Promoted>;

    /// The lanes that have due jobs: a look without a lock.
    async fn ready_lanes(&self) -> StoreResult<Vec<String>>;

    /// Claims jobs of one lane and reserves their quota, in one transaction.
    async fn claim(&self, ask: ClaimAsk) -> StoreResult<Claimed>;

    /// Admits one job and claims it with its quota, in one transaction, for a caller that waits for
    /// the answer itself. The job never stands in its lane, so nobody else claims it; if it does
    /// not fit now, nothing of it stays.
    async fn claim_new(&self, job: NewJob, ask: ClaimNewAsk) -> StoreResult<ClaimedNew>;

    /// Admits submissions to one lane and claims them with their quota, in the transaction that
    /// deletes their rows; those that another process is admitting are left out. None where one of
    /// them cannot run now, because of a limit, a pause, a cap, an identity or another job that is
    /// due in their lane: then nothing has happened, and they go the ordinary way, as they always do
    /// where an engine has no shorter one.
    async fn claim_submitted(
        &self,
        _jobs: &[(String, NewJob)],
        _ask: &ClaimSubmittedAsk,
    ) -> StoreResult<Option<Claimed>> {
        Ok(None)
    }

    /// Records finished attempts, settles their quota and moves their jobs on, in one transaction.
    /// Answers in the group's order. A replay of a finish already recorded is a success.
    async fn finish(&self, group: &[Finish]) -> StoreResult<Vec<Finished>>;

    /// Opens a lease for this process.
    async fn open_lease(&self, lease: &LeaseInfo) -> StoreResult<()>;

    /// Advances the lease's beat and lists its running attempts. `None`: the lease is gone, and
    /// with it every claim made under it.
    async fn beat(&self, lease: Uuid) -> StoreResult<Option<Vec<RunningAttempt>>>;

    /// Those of these attempts whose calls serve nothing any more: their jobs have ended, or a person
    /// cancelled the call.
    async fn unwanted(&self, attempts: &[AttemptKey]) -> StoreResult<Vec<AttemptKey>>;

    /// How often people have ended a pause of each lane that a failure had paused; the lanes where
    /// that never happened are left out.
    async fn resumes(&self) -> StoreResult<Vec<(String, u64)>>;

    /// Puts running attempts back that were never sent: uncounted, everything given back.
    async fn give_back(&self, attempts: &[AttemptKey]) -> StoreResult<()>;

    /// Brings calls of this process back whose attempts the store may have lost, as by a failover to
    /// a standby that lags: an attempt that is not there is inserted again and charged, and its job,
    /// where it is ready, runs it again under this lease. Answers in their order; what is there
    /// stays as it is, but that a job which runs it comes under this lease.
    async fn restore(&self, lease: Uuid, attempts: &[LostAttempt]) -> StoreResult<Vec<Restored>>;

    /// The other processes' leases, with the beat of each and whether its process is known dead.
    async fn other_leases(&self, own: Uuid) -> StoreResult<Vec<OtherLease>>;

    /// Ends a dead process's lease: its attempts become unknown, their jobs ready, held or failed.
    /// Nothing happens where the beat has moved since it was seen.
    async fn rescue(&self, ask: &RescueAsk) -> StoreResult<Rescued>;

    /// Calls `woken` soon after others have put in work, and whenever it may have missed that; runs
    /// until it is dropped. Only an engine that can tell does so, and nothing may depend on it.
    async fn listen(&self, _woken: Woken<'_>) {
        std::future::pending::<()>().await;
    }

    /// Whether [`WorkStore::listen`] would be told now.
    fn hears(&self) -> bool {
        false
    }

    /// Notes on a lease whether its process waits for work and wants to be told: others notify only
    /// while some lease wants it.
    async fn want_wake(&self, _lease: Uuid, _wanted: bool) -> StoreResult<()> {
        Ok(())
    }

    /// Closes this process's own lease, once nothing runs under it.
    async fn close_lease(&self, lease: Uuid) -> StoreResult<()>;

    /// Deletes identities whose time is over; returns how many.
    async fn forget_seen(&self, rows_max: u32) -> StoreResult<u64>;
}

/// What people ask: lists, one job, results, control.
#[async_trait]
pub trait ReadStore: Send + Sync {
    /// Terminal jobs in the order of their ends, after `after`; of one batch where named.
    async fn results(&self, ask: &ResultsAsk) -> StoreResult<Vec<ResultRow>>;

    /// How many jobs stand in each state; of one batch where named.
    async fn counts(&self, batch: Option<Uuid>) -> StoreResult<Counts>;

    /// Jobs that match a filter, newest first.
    async fn jobs(&self, filter: &JobFilter) -> StoreResult<Vec<JobRow>>;

    /// One job by its own id, or by its producer's id.
    async fn job(&self, id: &str) -> StoreResult<Option<JobPage>>;

    /// Ends jobs as cancelled; returns those that were not terminal.
    async fn cancel(&self, ids: &[Uuid]) -> StoreResult<Vec<Uuid>>;

    /// Documents of other programs that no worker has admitted yet, the last first.
    async fn submitted(&self, filter: &SubmittedFilter) -> StoreResult<Vec<Submitted>>;

    /// The newest of them under a name: its job's id, its row's key, or its own `id`.
    async fn submitted_as(
        &self,
        name: &str,
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Option<Submitted>>;

    /// How many of them there are, by queue. Reads all of them.
    async fn submitted_queues(&self, queue_default: &str) -> StoreResult<Vec<(String, u64)>>;

    /// Takes them back, by their rows' keys: each becomes a job that is cancelled, in the transaction
    /// in which its row goes. Those that are not there any more are left out.
    async fn take_back(
        &self,
        keys: &[String],
        defaults: &SubmittedDefaults,
    ) -> StoreResult<Vec<TakenBack>>;

    /// Puts failed, expired, cancelled or held jobs back, with fresh counters and `deadline_at`;
    /// returns those that moved. Their old results are gone, their attempts stay.
    async fn retry(&self, ids: &[Uuid], deadline_at: i64) -> StoreResult<Vec<Uuid>>;

    /// The lanes that nobody calls for now.
    async fn paused_lanes(&self) -> StoreResult<Vec<PausedLane>>;

    /// The capped queues that run as many jobs as they may, by name, with their caps.
    async fn full_queues(&self) -> StoreResult<Vec<(String, u32)>>;

    /// How many processes are at work: those heard of within so many ms, or known to live.
    async fn workers(&self, silent_ms: u64) -> StoreResult<u64>;

    /// Where each queue stands, by name. Reads every job that has not ended.
    async fn queues(&self) -> StoreResult<Vec<QueueRow>>;

    /// The budget's keys with their levels.
    async fn levels(&self) -> StoreResult<Vec<KeyLevel>>;

    /// Opens (or finds again) a batch by its name, and forgets its lines.
    async fn open_batch(&self, name: &str) -> StoreResult<Uuid>;

    /// What this store is: its kind, its version, where it lives.
    async fn about(&self) -> StoreResult<About>;

    /// Closes the connections; what was committed stays.
    async fn close(&self) {}

    /// How this store is: durability, waiting work, and its pages, read for at most so long.
    async fn health(&self, check_ms: u64) -> StoreResult<Health>;
}

/// What people decide for all workers. Every worker reads it in the transaction of its next claim.
#[async_trait]
pub trait ControlStore: Send + Sync {
    /// Pauses a scope; one that is paused already gets this end and this reason. A claim that is
    /// under way at this moment may still start its calls.
    async fn pause(&self, ask: &PauseAsk) -> StoreResult<Pause>;

    /// Ends the pause of this very scope, and those that failures have made of lanes within it.
    /// Other pauses stay, also where they overlap.
    async fn resume(&self, scope: &Scope) -> StoreResult<Resumed>;

    /// The pauses that people have made, by their scopes' names.
    async fn pauses(&self) -> StoreResult<Vec<Pause>>;

    /// Sets a rule at run time, in place of a seeded one of its pattern.
    async fn set_limit(&self, pattern: &str, limit: Limit) -> StoreResult<()>;

    /// Takes a rule away that was set at run time; false if none was. The pattern's rule of the
    /// configuration seeded last, where it has one, holds again.
    async fn clear_limit(&self, pattern: &str) -> StoreResult<bool>;

    /// Who was configured with which limits, in the order in which they were written.
    async fn limit_seeds(&self) -> StoreResult<Vec<LimitSeed>>;

    /// Remembers what this process was configured with besides its limits, once those were written.
    async fn seed_settings(&self, settings: &SeededSettings, seeder: &str) -> StoreResult<()>;

    /// The due jobs by lane, queue and tenant, most jobs first; at most so many groups. Reads every
    /// due job.
    async fn backlog(&self, rows_max: u32) -> StoreResult<Vec<Backlog>>;

    /// The batch of this name.
    async fn batch_named(&self, name: &str) -> StoreResult<Option<Uuid>>;
}

/// What goes when its time is over, or when its tenant asks for it. Neither touches a job that has
/// not ended but by ending it first, and each method is one short transaction.
#[async_trait]
pub trait KeepStore: Send + Sync {
    /// Deletes what is over, a step at a time; of several processes one does it.
    async fn retain(&self, ask: &RetainAsk) -> StoreResult<Retained>;

    /// Deletes a tenant's content, a step at a time: called until the receipt says that it is done.
    /// Jobs that wait or run are cancelled first; rows with usage and cost stay. One that was broken
    /// off is resumed. What is admitted after its beginning is new, and stays.
    async fn erase(&self, ask: &EraseAsk) -> StoreResult<Erasure>;

    /// The receipts, the oldest first.
    async fn erasures(&self) -> StoreResult<Vec<Erasure>>;
}

/// A whole store.
pub trait Store:
    AdmitStore + WorkStore + ReadStore + ControlStore + KeepStore + DeliverStore + IntakeStore
{
}
impl<T> Store for T where
    T: AdmitStore + WorkStore + ReadStore + ControlStore + KeepStore + DeliverStore + IntakeStore
{
}
