//! What the behaviours stand on: a store on a throw-away database, a clock that only its hand
//! moves, and helpers that make, claim and finish jobs. Nothing here waits for real time.

use std::sync::Arc;

use quarrier::budget::{LevelOf, Limit};
use quarrier::catalogue::{Family, Prices};
use quarrier::clock::{Clock, ClockHand};
use quarrier::completion::{Api, StopReason, Usage};
use quarrier::error::ErrorKind;
use quarrier::job::{Outcome, Resolved, State, Wanted};
use quarrier::retry::{Counters, Policy};
use quarrier::store::postgres::{PostgresOptions, PostgresStore, TimeSource};
use quarrier::store::sqlite::{SqliteOptions, SqliteStore};
use quarrier::store::{
    Admitted, AttemptKey, ClaimAsk, Claimed, ClaimedJob, Finish, Finished, LaneNews, LeaseInfo,
    LimitRule, NewJob, Next, RescueAsk, Rescued, ResultRow, ResultsAsk, Settlement, Store,
    StoreResult,
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::Database;

/// The one lane of most behaviours.
pub(crate) const LANE: &str = "bedrock/eu-central-1/small";

const DAY_MS: i64 = 86_400_000;

/// A store engine under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    /// Postgres behind a pooler in transaction mode.
    Pooled,
}

impl Engine {
    /// A process that dies is known to be dead at once, by what the system frees then.
    pub(crate) fn knows_the_dead(self) -> bool {
        self == Self::Sqlite
    }
}

/// What holds a world's database, and takes it away with the world.
enum Holder {
    Sqlite(TempDir),
    Postgres(Database),
    Pooled(Database),
}

/// A database, a store on it, and a lease.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) hand: ClockHand,
    pub(crate) lease: Uuid,
    holder: Holder,
}

impl World {
    pub(crate) async fn open(engine: Engine) -> Self {
        let holder = match engine {
            Engine::Sqlite => Holder::Sqlite(tempfile::tempdir().unwrap()),
            Engine::Postgres => Holder::Postgres(Database::with_store().await),
            Engine::Pooled => Holder::Pooled(Database::with_store().await),
        };
        let (clock, hand) = Clock::manual();
        let store = open_at(engine, &holder.location(), clock.clone()).await.unwrap();
        let lease = open_lease(store.as_ref()).await;
        Self { engine, store, clock, hand, lease, holder }
    }

    /// Where the database lives: a file's path, or an address.
    pub(crate) fn location(&self) -> String {
        self.holder.location()
    }

    /// Another process's store on the same database, as far as one process can play two.
    pub(crate) async fn another_store(&self) -> Arc<dyn Store> {
        open_at(self.engine, &self.location(), self.clock.clone()).await.unwrap()
    }

    /// The process ends without a word and a new one begins.
    pub(crate) async fn restart(&mut self) {
        self.store = self.another_store().await;
        self.lease = open_lease(self.store.as_ref()).await;
    }

    /// The machine restarts: its monotonic clock counts from another start.
    pub(crate) async fn restart_machine(&mut self) {
        // On Postgres, lane time does not hang on any machine's start.
        if self.engine == Engine::Sqlite {
            self.run_sql("update lane_clock set boot_id = 'an earlier boot'").await;
        }
        self.restart().await;
    }

    /// What another program does to the tables.
    pub(crate) async fn run_sql(&self, statement: &'static str) {
        match self.engine {
            Engine::Sqlite => {
                let mut other = self.connect_sqlite().await;
                sqlx::query(statement).execute(&mut other).await.unwrap();
                other.close().await.unwrap();
            }
            Engine::Postgres | Engine::Pooled => {
                let mut other = self.connect_postgres().await;
                sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
                other.close().await.unwrap();
            }
        }
    }

    /// The text that another program reads: the first column of the first row.
    pub(crate) async fn text(&self, query: &'static str) -> String {
        match self.engine {
            Engine::Sqlite => {
                let mut other = self.connect_sqlite().await;
                sqlx::query_scalar(query).fetch_one(&mut other).await.unwrap()
            }
            Engine::Postgres | Engine::Pooled => {
                let mut other = self.connect_postgres().await;
                sqlx::query_scalar(query).fetch_one(&mut other).await.unwrap()
            }
        }
    }

    pub(crate) async fn connect_sqlite(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}", self.location())).await.unwrap()
    }

    /// The address of a Postgres world's database, past the pooler.
    pub(crate) fn direct_url(&self) -> String {
        match &self.holder {
            Holder::Sqlite(_) => panic!("this world stands on SQLite"),
            Holder::Postgres(database) | Holder::Pooled(database) => database.url(),
        }
    }

    /// A connection that finds the tables without their schema's name.
    pub(crate) async fn connect_postgres(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.direct_url()).await.unwrap();
        sqlx::raw_sql("set search_path = quarrier").execute(&mut connection).await.unwrap();
        connection
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }

    /// A job that may be claimed at once: 1,000 tokens a call at most, of which 600 are its answer.
    pub(crate) fn job(&self) -> NewJob {
        new_job(self.now_ms())
    }

    /// The same with a producer's id, which is its identity.
    pub(crate) fn named(&self, id: &str) -> NewJob {
        NewJob {
            external_id: Some(id.to_owned()),
            identity: Some(format!("id:{id}")),
            ..self.job()
        }
    }

    /// Admits jobs that are all new, and returns their ids.
    pub(crate) async fn admit(&self, jobs: Vec<NewJob>) -> Vec<Uuid> {
        let admitted = self.store.admit(jobs).await.unwrap();
        admitted.into_iter().map(new_id).collect()
    }

    pub(crate) async fn admit_one(&self) -> Uuid {
        self.admit(vec![self.job()]).await[0]
    }

    pub(crate) async fn admit_many(&self, count: usize) -> Vec<Uuid> {
        self.admit((0..count).map(|_| self.job()).collect()).await
    }

    /// The request of a claim with so many free slots.
    pub(crate) fn ask(&self, slots: usize) -> ClaimAsk {
        claim_ask(self.lease, slots)
    }

    pub(crate) async fn claim(&self, slots: usize) -> Claimed {
        self.store.claim(self.ask(slots)).await.unwrap()
    }

    /// Claims exactly one.
    pub(crate) async fn claim_one(&self) -> ClaimedJob {
        let mut claimed = self.claim(1).await;
        assert_eq!(claimed.jobs.len(), 1, "one job is claimable: {claimed:?}");
        claimed.jobs.remove(0)
    }

    pub(crate) async fn finish(&self, finish: Finish) -> Finished {
        self.store.finish(&[finish]).await.unwrap()[0]
    }

    pub(crate) async fn succeed(&self, job: &ClaimedJob) -> Finished {
        self.finish(success(job)).await
    }

    /// Ends a lease whose process is dead.
    pub(crate) async fn rescue(&self, lease: Uuid) -> Rescued {
        let others = self.store.other_leases(Uuid::now_v7()).await.unwrap();
        let beat = others.iter().find(|other| other.id == lease).unwrap().beat;
        self.store.rescue(&rescue_ask(lease, beat)).await.unwrap()
    }

    pub(crate) async fn state(&self, id: Uuid) -> State {
        self.store.job(&id.to_string()).await.unwrap().unwrap().row.state
    }

    pub(crate) async fn results(&self) -> Vec<ResultRow> {
        let ask = ResultsAsk { after: 0, batch: None, rows_max: 10_000 };
        self.store.results(&ask).await.unwrap()
    }

    pub(crate) async fn result(&self, id: Uuid) -> Option<ResultRow> {
        self.store.job(&id.to_string()).await.unwrap().unwrap().result
    }

    /// Replaces all configured limits.
    pub(crate) async fn limit(&self, rules: &[(&str, Option<u64>, Option<u64>)]) {
        let rule = |(pattern, requests, tokens): &(&str, Option<u64>, Option<u64>)| LimitRule {
            pattern: (*pattern).to_owned(),
            limit: Limit { requests_per_minute: *requests, tokens_per_minute: *tokens },
            origin: "configuration".to_owned(),
        };
        self.store.seed_limits(rules.iter().map(rule).collect(), "here/1").await.unwrap();
    }

    /// How full the requests of a key are.
    pub(crate) async fn requests(&self, key: &str) -> LevelOf {
        let levels = self.store.levels().await.unwrap();
        levels.iter().find(|level| level.key == key).unwrap().level.requests
    }

    /// How full the tokens of a key are.
    pub(crate) async fn tokens(&self, key: &str) -> LevelOf {
        let levels = self.store.levels().await.unwrap();
        levels.iter().find(|level| level.key == key).unwrap().level.tokens
    }
}

impl Holder {
    fn location(&self) -> String {
        match self {
            Self::Sqlite(dir) => dir.path().join("store").display().to_string(),
            Self::Postgres(database) => database.url(),
            Self::Pooled(database) => database.pooled_url(),
        }
    }
}

/// Opens a store for real work.
pub(crate) async fn open_at(
    engine: Engine,
    location: &str,
    clock: Clock,
) -> StoreResult<Arc<dyn Store>> {
    match engine {
        Engine::Sqlite => {
            let options = SqliteOptions {
                path: location.into(),
                busy_timeout_ms: 10_000,
                simulated: Some(false),
            };
            Ok(Arc::new(SqliteStore::open(&options, clock).await?))
        }
        Engine::Postgres | Engine::Pooled => {
            let options = PostgresOptions {
                pooled: engine == Engine::Pooled,
                time: TimeSource::Process,
                ..PostgresOptions::new(location, Some(false))
            };
            Ok(Arc::new(PostgresStore::open(&options, clock).await?))
        }
    }
}

pub(crate) async fn open_lease(store: &dyn Store) -> Uuid {
    let lease = LeaseInfo {
        id: Uuid::now_v7(),
        host: "here".to_owned(),
        pid: std::process::id(),
        takes_jobs: true,
    };
    store.open_lease(&lease).await.unwrap();
    lease.id
}

pub(crate) fn new_job(now_ms: i64) -> NewJob {
    NewJob {
        job_id: Uuid::now_v7(),
        external_id: None,
        identity: None,
        document_hash: "hash".to_owned(),
        document: r#"{"prompt":"hi"}"#.to_owned(),
        resolved: Ok(resolved()),
        tenant: "default".to_owned(),
        queue: "default".to_owned(),
        lane: LANE.to_owned(),
        priority: 0,
        run_at: 0,
        deadline_at: now_ms + DAY_MS,
        max_attempts: None,
        hold: false,
        dedupe_key: None,
        wanted: Wanted { input_tokens_max: 400, max_tokens: 600, burndown: 1 },
        batch: None,
        seen_until: now_ms + 2 * DAY_MS,
        rerun: false,
        reply: None,
        before: None,
    }
}

fn resolved() -> Resolved {
    Resolved {
        model_id: "acme.small-v1:0".to_owned(),
        model: "small".to_owned(),
        family: Family::Claude,
        api: Api::Converse,
        format: None,
        supports_system: true,
        // A dollar per million tokens in, two out: a call costs at worst 400 + 1,200 micro-dollars.
        prices: Some(Prices {
            input: 1_000_000,
            output: 2_000_000,
            cache_read: None,
            cache_write: None,
            cache_write_1h: None,
            batch_input: None,
            batch_output: None,
            long_input: None,
        }),
        temperature: Some(0.0),
        top_p: None,
        max_tokens: 600,
        burndown: 1,
    }
}

pub(crate) fn new_id(admitted: Admitted) -> Uuid {
    match admitted {
        Admitted::New(id) => id,
        other => panic!("not new: {other:?}"),
    }
}

pub(crate) fn claim_ask(lease: Uuid, slots: usize) -> ClaimAsk {
    ClaimAsk {
        lane: LANE.to_owned(),
        lease,
        fences: (0..slots).map(|_| Uuid::now_v7()).collect(),
        scan_max: 1_000,
        pass_ms_max: 30_000,
        money_micros_max: None,
        batch: None,
    }
}

/// A rescue whose jobs, where they go on, are ready at once.
pub(crate) fn rescue_ask(lease: Uuid, beat: i64) -> RescueAsk {
    let policy = Policy { backoff_base_ms: 0, crashes_max: 3, ..Policy::default() };
    RescueAsk { lease, beat, policy, rows_max: 2 }
}

pub(crate) fn key(job: &ClaimedJob) -> AttemptKey {
    AttemptKey { job_id: job.job_id, number: job.number, fence: job.fence }
}

pub(crate) fn ids(claimed: &Claimed) -> Vec<Uuid> {
    claimed.jobs.iter().map(|job| job.job_id).collect()
}

/// A call that answered with the text `done`, using 300 tokens.
pub(crate) fn success(job: &ClaimedJob) -> Finish {
    Finish {
        key: key(job),
        outcome: Outcome::Completed,
        settlement: Settlement::Used(300),
        usage: Some(Usage { input: 200, output: 100, cache_read: 0, cache_write: 0 }),
        cost_micros: Some(400),
        raw_text: Some("done".to_owned()),
        stop: Some(StopReason::EndTurn),
        request_id: Some("request-1".to_owned()),
        first_token_ms: Some(120),
        total_ms: Some(900),
        error: None,
        schema_errors: None,
        next: Next::End {
            state: State::Succeeded,
            output: None,
            text: Some("done".to_owned()),
            provenance: Some("native".to_owned()),
        },
        lane: LaneNews::default(),
    }
}

/// A call after which the job ends failed.
pub(crate) fn failure(job: &ClaimedJob, kind: ErrorKind) -> Finish {
    Finish {
        error: Some((kind, format!("it was {kind}"))),
        next: Next::End { state: State::Failed, output: None, text: None, provenance: None },
        ..success(job)
    }
}

/// A call that the provider refused, after which the job is called again.
pub(crate) fn again(job: &ClaimedJob, after_ms: u64) -> Finish {
    Finish {
        outcome: Outcome::Refused,
        settlement: Settlement::Nothing,
        usage: None,
        cost_micros: None,
        raw_text: None,
        stop: None,
        error: Some((ErrorKind::Unavailable, "503".to_owned())),
        next: Next::Again {
            after_ms,
            counters: Counters { failures: job.counters.failures + 1, ..job.counters },
            reask: None,
            input_tokens_max: job.wanted.input_tokens_max,
        },
        ..success(job)
    }
}

/// A call that broke off: nobody knows what it used.
pub(crate) fn cut(job: &ClaimedJob, next: Next) -> Finish {
    Finish {
        outcome: Outcome::Cut,
        settlement: Settlement::Held,
        usage: None,
        cost_micros: None,
        error: Some((ErrorKind::StreamCut, "the stream broke".to_owned())),
        next,
        ..success(job)
    }
}
