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

mod absent;
mod admit;
mod at_hand;
mod at_once;
mod bulk;
mod candidates;
mod claim;
mod claim_new;
mod columns;
mod connect;
mod control;
mod deliver;
mod draws;
mod end;
mod erase;
mod error;
mod finish;
mod health;
mod intake;
mod lease;
mod limits;
mod listen;
mod migrate;
mod pause;
mod place;
mod pool;
mod promote;
mod read;
mod restore;
mod retention;
mod session;
mod settlement;
mod sharing;
mod submissions;
mod submitted;
mod time;
mod warm;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use self::connect::Connector;
pub use self::connect::{Login, LoginAsk, Logins, Transport, has_password};
use self::draws::Trimmed;
use self::error::{Fault, Outcome};
use self::pool::Connections;
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
    /// An address that leads past the pooler, for migrations and for listening. Without one a
    /// pooled store cannot listen, and migrates through the pooler.
    pub direct_url: Option<String>,
    /// Whether to listen for new work ([`crate::store::WorkStore::listen`]).
    pub listen: bool,
    /// A listener that heard nothing for so long asks whether the server is still there.
    pub probe: Duration,
    /// Where passwords come from that are not in the address.
    pub logins: Option<Logins>,
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
            direct_url: None,
            listen: true,
            probe: Duration::from_secs(30),
            logins: None,
            connections_max: 8,
            statement_timeout_ms: 15_000,
            lock_timeout_ms: 5_000,
            simulated,
            time: TimeSource::Database,
        }
    }

    /// The same database, past the pooler where there is a way.
    fn direct(&self) -> Self {
        match &self.direct_url {
            Some(url) if self.pooled => Self { url: url.clone(), pooled: false, ..self.clone() },
            _ => self.clone(),
        }
    }

    /// What a session begins with.
    fn session(&self) -> [(&'static str, u64); 7] {
        [
            ("statement_timeout", self.statement_timeout_ms),
            ("lock_timeout", self.lock_timeout_ms),
            // A process that vanished in the middle must not hold a lane for long.
            ("idle_in_transaction_session_timeout", self.statement_timeout_ms),
            // Every statement goes from a few rows by an index to a few others. A plan that reads
            // a whole table looks cheap while the table is small or its statistics are old, and is
            // kept when it has grown. Zero is off.
            ("enable_seqscan", 0),
            ("enable_hashjoin", 0),
            ("enable_mergejoin", 0),
            ("jit", 0),
        ]
    }

    fn connector(&self) -> Connector {
        let connector = Connector::plain(&self.url, self.logins.clone());
        if self.pooled { connector } else { connector.with_session(&self.session()) }
    }

    /// Makes the connections that must lead to one server session each; none where only the pooler
    /// is known.
    fn direct_connector(&self) -> Option<Connector> {
        let direct = self.direct();
        let is_other = direct.url != self.url;
        (!direct.pooled).then(|| {
            let connector = direct.connector();
            if is_other { connector.fixed() } else { connector }
        })
    }
}

/// The store on one Postgres database.
#[derive(Debug)]
pub struct PostgresStore {
    connections: Connections,
    listener: listen::Listener,
    /// What a transaction begins with. Leaked once a store: sqlx takes static statements.
    begin: &'static str,
    begin_small: &'static str,
    pooled: bool,
    operation_timeout: Duration,
    clock: Clock,
    time: TimeSource,
    reckoning: Reckoning,
    trimmed: Trimmed,
    rules: at_once::LastRules,
    /// Below which place this process has seen no due job, by lane.
    low_water: Mutex<HashMap<String, candidates::LowWater>>,
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
        let store = Self::connect(&options.direct(), Clock::real())?;
        let done = store.within(store.bring_up_to_date()).await;
        store.close().await;
        done.map_err(|error| store.unusable(error))
    }

    /// The migration at which a database stands; none where there is no store in it.
    pub async fn migration_of(options: &PostgresOptions) -> StoreResult<Option<i64>> {
        let store = Self::connect(options, Clock::real())?;
        let found = store.within(store.standing()).await;
        store.close().await;
        found.map_err(|error| store.unusable(error))
    }

    /// What stands between this process and a database's server.
    pub fn transport(options: &PostgresOptions) -> StoreResult<Transport> {
        options.connector().transport()
    }

    /// Every migration as one script for `psql`, in one transaction.
    #[must_use]
    pub fn migrations_as_sql() -> String {
        migrate::as_sql()
    }

    fn connect(options: &PostgresOptions, clock: Clock) -> StoreResult<Self> {
        let connector = options.connector();
        let location = location(&connector.address()?);
        let mut begin = vec!["begin isolation level read committed read write".to_owned()];
        if options.pooled {
            begin.extend(options.session().map(|(name, ms)| format!("; set local {name} = {ms}")));
        }
        let begin = begin.concat();
        let begin_small = format!("{begin}; set local plan_cache_mode = force_generic_plan");
        let statement_timeout = Duration::from_millis(options.statement_timeout_ms);
        let operation_timeout = statement_timeout.saturating_mul(2) + REACH;
        let listener = listen::Listener::new(
            options.direct_connector().filter(|_| options.listen),
            options.probe,
        );
        // Half an operation's time, so that it says itself why there is no connection.
        let connections = Connections::new(
            connector,
            (options.connections_max, !options.pooled),
            (statement_timeout, statement_timeout + REACH),
        )?;
        Ok(Self {
            connections,
            listener,
            begin: Box::leak(begin.into_boxed_str()),
            begin_small: Box::leak(begin_small.into_boxed_str()),
            pooled: options.pooled,
            operation_timeout,
            clock,
            time: options.time,
            reckoning: Reckoning::default(),
            trimmed: Trimmed::default(),
            rules: at_once::LastRules::default(),
            low_water: Mutex::default(),
            location,
        })
    }

    /// Where the store is, without a password.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Closes the connections; what was committed stays. One that is half-open would never say
    /// goodbye, and the process's end closes it too.
    pub async fn close(&self) {
        if tokio::time::timeout(REACH, self.connections.close()).await.is_err() {
            tracing::warn!("connections to {} do not close, left as they are", self.location);
        }
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
        self.connections.acquire().await?.begin(self.begin).await
    }

    /// Begins a transaction of a few rows, for which somebody waits. Its statements keep the plans
    /// that they were first given on this connection: to make one for the arguments at hand, as the
    /// server else does the first times and for lists each time, takes longer than to run it, and
    /// every plan here goes by the same indexes.
    async fn begin_small(&self) -> Outcome<Tx> {
        self.connections.acquire().await?.begin(self.begin_small).await
    }

    /// A connection to read on. Behind a pooler that is a transaction too, because a statement and
    /// its arguments could else reach two servers.
    async fn look(&self) -> Outcome<Tx> {
        if self.pooled {
            return self.begin().await;
        }
        Ok(self.connections.acquire().await?.plain())
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

/// How much longer than a statement may run its answer is waited for, and an operation may take to
/// reach the server.
const REACH: Duration = Duration::from_secs(5);

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
