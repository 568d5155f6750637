//! The connections of one process: those that wait, and how it comes by more, never without a
//! deadline.
//! Must not know: tables, or what an address and a login are made of.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::absent::{absent, is_login_refused};
use super::at_hand::{AWAY, AtHand};
use super::connect::Connector;
use super::error::{Fault, Outcome};
use super::session::{Patience, Tx};
use crate::store::{StoreError, StoreResult};

/// Connections unused for so long are closed; an idle process stays small.
const IDLE: Duration = Duration::from_mins(2);

/// Connections are renewed after so long, so that a failover or a new password spreads.
const LIFETIME: Duration = Duration::from_mins(30);

/// Where a server is, a first connection is usually there within so long; after that somebody looks
/// whether one listens at all.
const AT_ONCE: Duration = Duration::from_millis(250);

/// The connections of one process that nobody uses at the moment.
#[derive(Debug, Clone)]
pub(super) struct Idle {
    pool: PgPool,
    /// Weak, because those at hand know this too.
    at_hand: Weak<AtHand<Tx>>,
}

impl Idle {
    /// Keeps one that has been used, which left the pool at this time.
    pub(super) fn keep(&self, ended: Tx, left: Instant) {
        match self.at_hand.upgrade() {
            Some(at_hand) => at_hand.keep(ended, left, Instant::now()),
            None => drop(ended),
        }
    }

    /// Closes them, and waits for none of them: one that is half-open would not hear it.
    pub(super) fn close(&self) {
        let mut closed = 0_u32;
        let at_hand = self.at_hand.upgrade().map(|at_hand| at_hand.clear());
        for ended in at_hand.into_iter().flatten() {
            ended.close();
            closed += 1;
        }
        while let Some(idle) = self.pool.try_acquire() {
            drop(idle.detach());
            closed += 1;
        }
        tracing::warn!(closed, "the server does not answer, closing the connections that wait");
    }
}

/// The connections of one process, and how it comes by more.
#[derive(Debug)]
pub(super) struct Connections {
    pool: PgPool,
    at_hand: Arc<AtHand<Tx>>,
    /// Where a connection goes on its way back to the pool.
    runtime: Handle,
    connector: Connector,
    most: u32,
    /// Statements are prepared once and kept by name.
    named: bool,
    /// How long a statement is waited for.
    longest: Duration,
    /// Held while a login is renewed, so that one asks and the others wait for it.
    renewing: Mutex<()>,
    renewals: AtomicU64,
    /// The server has let this process in once: what it refuses now is waited out.
    opened: AtomicBool,
}

impl Connections {
    pub(super) fn new(
        connector: Connector,
        (connections_max, named): (u32, bool),
        (acquire_timeout, longest): (Duration, Duration),
    ) -> StoreResult<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .min_connections(0)
            .acquire_timeout(acquire_timeout)
            .idle_timeout(IDLE)
            .max_lifetime(LIFETIME)
            // What breaks off in the middle is closed; a connection that died in the pool shows at
            // its first statement, and the operation is repeated.
            .test_before_acquire(false)
            .connect_lazy_with(connector.address()?);
        let at_hand = Arc::default();
        tokio::spawn(send_back(Arc::downgrade(&at_hand)));
        Ok(Self {
            pool,
            at_hand,
            runtime: Handle::current(),
            connector,
            most: connections_max,
            named,
            longest,
            renewing: Mutex::default(),
            renewals: AtomicU64::new(0),
            opened: AtomicBool::new(false),
        })
    }

    /// How many there may be.
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// The connection used last, one that waits, or a new one; no transaction is open on it.
    pub(super) async fn acquire(&self) -> Outcome<Tx> {
        let _wanted = match self.at_hand.take() {
            Ok(ended) => return Ok(ended),
            Err(wanted) => wanted,
        };
        let connection = self.pooled().await?;
        let patience = Patience { longest: self.longest, idle: self.idle() };
        Ok(Tx::new(connection, self.named, patience))
    }

    /// A connection that waits, or a new one with the newest login. The pool itself would go on
    /// with the login that it was made with.
    async fn pooled(&self) -> Outcome<PoolConnection<Postgres>> {
        if let Some(idle) = self.pool.try_acquire() {
            return Ok(idle);
        }
        // Boxed, because every operation would else carry it.
        let acquired = Box::pin(self.connect()).await.map_err(|fault| match fault {
            Fault::Store(StoreError::Refused(told)) if self.opened.load(Ordering::Relaxed) => {
                Fault::Store(StoreError::Transient(told))
            }
            fault => fault,
        })?;
        self.opened.store(true, Ordering::Relaxed);
        Ok(acquired)
    }

    async fn connect(&self) -> Outcome<PoolConnection<Postgres>> {
        let changes = self.connector.changes();
        if changes && self.pool.size() < self.most {
            self.renew(self.renewals.load(Ordering::Acquire), false).await?;
        }
        let before = self.renewals.load(Ordering::Acquire);
        let acquired = match self.reach().await? {
            Err(error) if changes && is_login_refused(&error) => {
                // The login may have changed while this waited for its turn, or what was handed
                // out was remembered too long.
                self.renew(before, true).await?;
                self.pool.acquire().await
            }
            acquired => acquired,
        };
        match acquired {
            // What the network says of an address is said better by a look at it.
            Err(error @ (sqlx::Error::PoolTimedOut | sqlx::Error::Io(_))) => {
                let nobody = absent(&self.pool.connect_options()).await;
                Err(nobody.map_or_else(|| self.connector.judge(error), Fault::Store))
            }
            acquired => acquired.map_err(|error| self.connector.judge(error)),
        }
    }

    /// A connection of the pool. It tries for long where nobody listens, which is right for a process
    /// that works already; one that begins wants to know at once.
    async fn reach(&self) -> Outcome<Result<PoolConnection<Postgres>, sqlx::Error>> {
        let acquired = self.pool.acquire();
        if self.opened.load(Ordering::Relaxed) {
            return Ok(acquired.await);
        }
        tokio::pin!(acquired);
        if let Ok(acquired) = tokio::time::timeout(AT_ONCE, &mut acquired).await {
            return Ok(acquired);
        }
        match absent(&self.pool.connect_options()).await {
            Some(nobody) => Err(Fault::Store(nobody)),
            None => Ok(acquired.await),
        }
    }

    /// Takes the newest login, unless somebody else did so since `before`.
    async fn renew(&self, before: u64, refused: bool) -> Outcome<()> {
        let _one = self.renewing.lock().await;
        if self.renewals.load(Ordering::Acquire) != before {
            return Ok(());
        }
        self.pool.set_connect_options(self.connector.newest(refused).await?);
        self.renewals.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Those that wait.
    fn idle(&self) -> Idle {
        Idle { pool: self.pool.clone(), at_hand: Arc::downgrade(&self.at_hand) }
    }

    pub(super) async fn close(&self) {
        self.at_hand.close();
        self.pool.close().await;
    }
}

impl Drop for Connections {
    /// The store may be dropped where no runtime is entered, and a connection needs one to go back.
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.at_hand.close();
    }
}

/// Sends what was away from the pool for long back there, for as long as there is a store.
async fn send_back(at_hand: Weak<AtHand<Tx>>) {
    loop {
        tokio::time::sleep(AWAY).await;
        let Some(at_hand) = at_hand.upgrade() else { return };
        at_hand.send_back(Instant::now());
    }
}
