//! One connection for one operation: how it begins, how statements run on it, and what becomes of
//! it when the operation stops half-way.
//! Must not know: tables.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Execute, Executor, Postgres, SqlStr};
use tokio::time::{Instant, Sleep};

use super::error::Outcome;
use super::pool::Idle;

/// A statement that was given up after so long without an answer speaks against the connections
/// that wait, too: they may be as dead.
const SUSPICIOUS: Duration = Duration::from_secs(3);

/// How long a statement is waited for, and what is closed when that was in vain.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// The server ends a statement before this, and says so.
    pub(super) longest: Duration,
    pub(super) idle: Idle,
}

impl Patience {
    /// Waits for what a statement answers.
    async fn wait<T>(&self, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let mut waiting = Waiting::begin(self);
        let answered = tokio::time::timeout(self.longest, answer).await;
        waiting.over |= answered.is_ok();
        answered.unwrap_or_else(|_| Err(no_answer(self.longest)))
    }
}

/// A statement under way. One that is given up has met a server too busy to say so, or a connection
/// that is half-open: its other end has gone without a word, as behind a router that has forgotten
/// it. The others of that time are then closed at once; tried one after another, each would cost
/// the same wait.
struct Waiting {
    since: Instant,
    idle: Idle,
    over: bool,
}

impl Waiting {
    fn begin(patience: &Patience) -> Self {
        Self { since: Instant::now(), idle: patience.idle.clone(), over: false }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over && self.since.elapsed() >= SUSPICIOUS {
            self.idle.close();
        }
    }
}

fn no_answer(longest: Duration) -> sqlx::Error {
    let words = format!("no answer within {} ms, the connection is given up", longest.as_millis());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, words))
}

/// A connection, with a transaction open on it or without one.
#[derive(Debug)]
pub(super) struct Tx {
    connection: PoolConnection<Postgres>,
    /// When it left the pool.
    left: Instant,
    patience: Patience,
    /// Statements are prepared once and kept by name. Behind a pooler they are not: the next
    /// transaction may run on another server connection, where the name means nothing.
    named: bool,
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Each statement commits by itself.
    Nothing,
    Transaction,
    /// Committed or rolled back, or nothing has begun: the connection may be used again.
    Ended,
}

impl Tx {
    /// A connection that has just left the pool.
    pub(super) fn new(
        connection: PoolConnection<Postgres>,
        named: bool,
        patience: Patience,
    ) -> Self {
        Self { connection, left: Instant::now(), patience, named, open: Open::Ended }
    }

    /// Begins a transaction by these statements.
    pub(super) async fn begin(mut self, statements: &'static str) -> Outcome<Self> {
        // Before anything is sent: what is cut off here must not be used again.
        self.open = Open::Transaction;
        self.run(statements).await?;
        Ok(self)
    }

    /// Statements that commit by themselves.
    pub(super) fn plain(mut self) -> Self {
        self.open = Open::Nothing;
        self
    }

    /// Where the next statement runs.
    pub(super) fn on(&mut self) -> On<'_> {
        On { connection: &mut self.connection, patience: &self.patience, named: self.named }
    }

    /// A statement of the transaction itself.
    async fn run(&mut self, statement: &'static str) -> Outcome<()> {
        let run = sqlx::raw_sql(statement).execute(&mut *self.connection);
        self.patience.wait(run).await?;
        Ok(())
    }

    pub(super) async fn commit(mut self) -> Outcome<()> {
        if self.open == Open::Transaction {
            self.run("commit").await?;
        }
        self.end();
        Ok(())
    }

    /// Ends what changed nothing.
    pub(super) async fn rollback(mut self) -> Outcome<()> {
        if self.open == Open::Transaction {
            self.run("rollback").await?;
        }
        self.end();
        Ok(())
    }

    fn end(mut self) {
        self.open = Open::Ended;
        let (idle, left) = (self.patience.idle.clone(), self.left);
        idle.keep(self, left);
    }

    /// Closes the connection.
    pub(super) fn close(mut self) {
        self.open = Open::Nothing;
    }
}

impl Drop for Tx {
    /// What stopped half-way is closed, not given back: its connection may be in the middle of an
    /// answer, or half-open, and then a rollback on it would wait for ever. The server rolls back.
    fn drop(&mut self) {
        if self.open != Open::Ended {
            self.connection.close_on_drop();
        }
    }
}

/// Runs statements on a connection, prepared by name or not.
#[derive(Debug)]
pub(super) struct On<'c> {
    connection: &'c mut PgConnection,
    patience: &'c Patience,
    named: bool,
}

/// The rows of a statement, as far as they come in its time.
struct Rows<S> {
    stream: S,
    waiting: Waiting,
    end: Pin<Box<Sleep>>,
    longest: Duration,
}

impl<S, T> Stream for Rows<S>
where
    S: Stream<Item = sqlx::Result<T>> + Unpin,
{
    type Item = sqlx::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.stream.poll_next_unpin(context);
        // Whoever needs no more rows drops the rest: it was not waited for.
        self.waiting.over = next.is_ready();
        if next.is_pending() && self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(no_answer(self.longest))));
        }
        next
    }
}

/// A statement whose name, if it has one, is decided by where it runs.
struct Statement<Q> {
    query: Q,
    named: bool,
}

impl<'q, Q: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<Q> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.named && self.query.persistent()
    }
}

impl<'c> Executor<'c> for On<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let patience = self.patience;
        let rows = Rows {
            stream: self.connection.fetch_many(Statement { query, named: self.named }),
            waiting: Waiting::begin(patience),
            end: Box::pin(tokio::time::sleep(patience.longest)),
            longest: patience.longest,
        };
        rows.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let patience = self.patience;
        let row = self.connection.fetch_optional(Statement { query, named: self.named });
        Box::pin(patience.wait(row))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }

    /// Asked for by the trait; only the macros, while compiling, call it.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.connection.describe(sql)
    }
}
