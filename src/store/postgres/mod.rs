//! The store on Postgres, in the schema `quarrier` of a database that many processes share.
//!
//! What every operation here keeps to:
//! - One transaction, read committed, with a deadline on the client and on the server.
//! - Locks in one order: jobs by their ids, results, budgets by their keys. Who holds a budget's
//!   lock takes a job only where nobody else holds it.
//! - A job's lock covers its attempts. What is read after the lock, by another statement, stands.
//! - Statements take arrays, so that their cost is shared by the group.
//!
//! Must not know: how a job is checked, called or retried; it applies what it is told.

mod admit;
mod bulk;
mod claim;
mod claim_new;
mod control;
mod draws;
mod end;
mod error;
mod finish;
mod health;
mod lease;
mod migrate;
mod place;
mod promote;
mod read;
mod session;
mod sharing;
mod time;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use self::draws::Trimmed;
use self::error::{Fault, Outcome};
use self::session::Tx;
use self::time::Reckoning;
use crate::clock::Clock;
use crate::store::{StoreError, StoreResult};

/// Which clock times are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The database's, which all processes share.
    Database,
    /// The process's own: for tests that move it by hand.
    Process,
}

/// How a Postgres store is opened.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// The address leads to a pooler in transaction mode (PgBouncer): statements are then sent
    /// without names, and time-outs with each transaction.
    pub pooled: bool,
    /// How many connections this process holds at most.
    pub connections_max: u32,
    /// How long one statement may run on the server, in milliseconds. A whole operation has twice
    /// as long, and a little more to reach the server.
    pub statement_timeout_ms: u64,
    /// How long a statement waits for a lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// Whether the work to be done is simulated; none = only look.
    pub simulated: Option<bool>,
    /// Which clock times are taken from.
    pub time: TimeSource,
}

impl PostgresOptions {
    /// The options for a database, with waits that suit a worker.
    #[must_use]
    pub fn new(url: &str, simulated: Option<bool>) -> Self {
        Self {
            url: url.to_owned(),
            pooled: false,
            connections_max: 8,
            statement_timeout_ms: 15_000,
            lock_timeout_ms: 5_000,
            simulated,
            time: TimeSource::Database,
        }
    }
}

/// The store on one Postgres database.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// What a transaction begins with. Leaked once a store: sqlx takes static statements.
    begin: &'static str,
    pooled: bool,
    operation_timeout: Duration,
    clock: Clock,
    time: TimeSource,
    reckoning: Reckoning,
    trimmed: Trimmed,
    /// Below which place this process has seen no due job, by lane.
    low_water: Mutex<HashMap<String, claim::LowWater>>,
    location: String,
}

impl PostgresStore {
    /// Opens a store that [`PostgresStore::migrate`] has made, and checks that it holds work of this
    /// kind.
    pub async fn open(options: &PostgresOptions, clock: Clock) -> StoreResult<Self> {
        let store = Self::connect(options, clock)?;
        let opened = store.within(store.check(options.simulated)).await;
        opened.map_err(|error| store.unusable(error))?;
        Ok(store)
    }

    /// Brings the database's tables up to date and says at which migration they stood before; none
    /// where there was no store. Safe from several processes at once.
    pub async fn migrate(options: &PostgresOptions) -> StoreResult<Option<i64>> {
        let store = Self::connect(options, Clock::real())?;
        let done = store.within(store.bring_up_to_date()).await;
        store.pool.close().await;
        done.map_err(|error| store.unusable(error))
    }

    /// The migration at which a database stands; none where there is no store in it.
    pub async fn migration_of(options: &PostgresOptions) -> StoreResult<Option<i64>> {
        let store = Self::connect(options, Clock::real())?;
        let found = store.within(store.standing()).await;
        store.pool.close().await;
        found.map_err(|error| store.unusable(error))
    }

    /// Every migration as one script for `psql`, in one transaction.
    #[must_use]
    pub fn migrations_as_sql() -> String {
        migrate::as_sql()
    }

    fn connect(options: &PostgresOptions, clock: Clock) -> StoreResult<Self> {
        // The error's words could quote the address, and with it the password.
        let connect = PgConnectOptions::from_str(&options.url).map_err(|_| {
            StoreError::Refused(
                "the store's address is none of Postgres; write \
                 postgres://user:password@host:port/database"
                    .to_owned(),
            )
        })?;
        let location = location(&connect);
        // A pooler refuses settings that it does not know when a connection begins.
        let mut connect = connect.application_name("quarrier").extra_float_digits(None);
        let timeouts = [
            ("statement_timeout", options.statement_timeout_ms),
            ("lock_timeout", options.lock_timeout_ms),
            // A process that vanished in the middle must not hold a lane for long.
            ("idle_in_transaction_session_timeout", options.statement_timeout_ms),
        ];
        let mut begin = vec!["begin isolation level read committed read write".to_owned()];
        if options.pooled {
            begin.extend(timeouts.map(|(name, ms)| format!("; set local {name} = {ms}")));
        } else {
            connect = connect.options(timeouts.map(|(name, ms)| (name, ms.to_string())));
        }
        let operation_timeout =
            Duration::from_millis(options.statement_timeout_ms.saturating_mul(2)) + REACH;
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .min_connections(0)
            .acquire_timeout(operation_timeout)
            .idle_timeout(IDLE)
            .max_lifetime(LIFETIME)
            // What breaks off in the middle is closed; a connection that died in the pool shows at
            // its first statement, and the operation is repeated.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        Ok(Self {
            pool,
            begin: Box::leak(begin.concat().into_boxed_str()),
            pooled: options.pooled,
            operation_timeout,
            clock,
            time: options.time,
            reckoning: Reckoning::default(),
            trimmed: Trimmed::default(),
            low_water: Mutex::default(),
            location,
        })
    }

    /// Where the store is, without a password.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Closes the connections; what was committed stays.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn unusable(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Refused(reason) if !reason.contains(&self.location) => {
                StoreError::Refused(format!("cannot use the store {}: {reason}", self.location))
            }
            StoreError::Transient(reason) => {
                StoreError::Transient(format!("{}: {reason}", self.location))
            }
            error => error,
        }
    }

    async fn check(&self, simulated: Option<bool>) -> Outcome<()> {
        self.check_migrations().await?;
        if let Some(simulated) = simulated {
            self.claim_kind(simulated).await?;
        }
        self.keep_lane_time().await
    }

    /// Remembers whether this store is simulated, and refuses the other kind.
    async fn claim_kind(&self, simulated: bool) -> Outcome<()> {
        let mut found = self.kind().await?;
        if found.is_none() {
            let mut tx = self.begin().await?;
            let wanted = simulated.to_string();
            sqlx::query_file!("src/store/postgres/meta_claim_kind.sql", wanted)
                .execute(tx.on())
                .await?;
            tx.commit().await?;
            found = self.kind().await?;
        }
        if found == Some(simulated) {
            return Ok(());
        }
        let (is, wants) = if simulated { ("real", "simulated") } else { ("simulated", "real") };
        Err(Fault::Store(StoreError::Refused(format!(
            "the store {} holds {is} work and this command does {wants} work; \
             name another store with --store, or {} --simulate",
            self.location,
            if simulated { "leave out" } else { "add" },
        ))))
    }

    async fn kind(&self) -> Outcome<Option<bool>> {
        let mut tx = self.look().await?;
        let row =
            sqlx::query_file!("src/store/postgres/meta_kind.sql").fetch_optional(tx.on()).await?;
        tx.commit().await?;
        Ok(row.map(|row| row.value == "true"))
    }

    /// Begins a transaction.
    async fn begin(&self) -> Outcome<Tx> {
        Tx::begin(self.pool.acquire().await?, self.begin, !self.pooled).await
    }

    /// A connection to read on. Behind a pooler that is a transaction too, because a statement and
    /// its arguments could else reach two servers.
    async fn look(&self) -> Outcome<Tx> {
        if self.pooled {
            return self.begin().await;
        }
        Ok(Tx::plain(self.pool.acquire().await?, true))
    }

    /// Runs an operation to its deadline: no lost packet may hold a worker for ever. What is cut
    /// off is rolled back by the server, or was committed and is found again.
    async fn within<T>(&self, operation: impl Future<Output = Outcome<T>>) -> StoreResult<T> {
        match tokio::time::timeout(self.operation_timeout, operation).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(StoreError::Transient(format!(
                "no answer from {} within {} ms",
                self.location,
                self.operation_timeout.as_millis()
            ))),
        }
    }
}

/// How much longer than its statements an operation may take to reach the server.
const REACH: Duration = Duration::from_secs(5);

/// Connections unused for so long are closed; an idle process stays small.
const IDLE: Duration = Duration::from_mins(2);

/// Connections are renewed after so long, so that a failover or a new password spreads.
const LIFETIME: Duration = Duration::from_mins(30);

fn location(connect: &PgConnectOptions) -> String {
    let user = connect.get_username();
    let database = connect.get_database().unwrap_or(user);
    if let Some(socket) = connect.get_socket() {
        return format!("postgres://{user}@{}/{database}", socket.display());
    }
    let (host, port) = (connect.get_host(), connect.get_port());
    format!("postgres://{user}@{host}:{port}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_never_shown() {
        let url = "postgres://me:secret@db.example:6000/jobs?sslmode=disable";
        let store = PostgresStore::connect(&PostgresOptions::new(url, None), Clock::real());
        assert_eq!(store.unwrap().location(), "postgres://me@db.example:6000/jobs");
        let broken = PostgresOptions::new("postgres://me:secret@[/jobs", None);
        let error = PostgresStore::connect(&broken, Clock::real()).unwrap_err().to_string();
        assert!(!error.contains("secret") && error.contains("postgres://"), "{error}");
    }

    #[tokio::test]
    async fn time_outs_come_with_the_connection_or_behind_a_pooler_with_each_transaction() {
        let options = PostgresOptions::new("postgres://me@db.example/jobs", None);
        let store = PostgresStore::connect(&options, Clock::real()).unwrap();
        assert!(!store.begin.contains("set local"));
        let pooled = PostgresOptions { pooled: true, ..options };
        let store = PostgresStore::connect(&pooled, Clock::real()).unwrap();
        assert!(store.begin.contains("set local lock_timeout = 5000"), "{}", store.begin);
    }
}
