//! One connection for one operation: how it begins, how statements run on it, and what becomes of
//! it when the operation stops half-way.
//! Must not know: tables.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Execute, Executor, Postgres, SqlStr};

use super::error::Outcome;

/// A connection, with a transaction open on it or without one.
pub(super) struct Tx {
    connection: PoolConnection<Postgres>,
    /// Statements are prepared once and kept by name. Behind a pooler they are not: the next
    /// transaction may run on another server connection, where the name means nothing.
    named: bool,
    open: Open,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Each statement commits by itself.
    Nothing,
    Transaction,
    /// Committed or rolled back: the connection goes back to the pool.
    Ended,
}

impl Tx {
    /// Begins a transaction by these statements.
    pub(super) async fn begin(
        mut connection: PoolConnection<Postgres>,
        statements: &'static str,
        named: bool,
    ) -> Outcome<Self> {
        // Before anything is sent: what is cut off here must not go back to the pool.
        let begun = sqlx::raw_sql(statements).execute(&mut *connection).await;
        let mut tx = Self { connection, named, open: Open::Transaction };
        if let Err(error) = begun {
            tx.connection.close_on_drop();
            return Err(error.into());
        }
        Ok(tx)
    }

    /// Statements that commit by themselves.
    pub(super) fn plain(connection: PoolConnection<Postgres>, named: bool) -> Self {
        Self { connection, named, open: Open::Nothing }
    }

    /// Where the next statement runs.
    pub(super) fn on(&mut self) -> On<'_> {
        On { connection: &mut self.connection, named: self.named }
    }

    pub(super) async fn commit(mut self) -> Outcome<()> {
        if self.open == Open::Transaction {
            sqlx::raw_sql("commit").execute(&mut *self.connection).await?;
        }
        self.open = Open::Ended;
        Ok(())
    }

    /// Ends what changed nothing.
    pub(super) async fn rollback(mut self) -> Outcome<()> {
        if self.open == Open::Transaction {
            sqlx::raw_sql("rollback").execute(&mut *self.connection).await?;
        }
        self.open = Open::Ended;
        Ok(())
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
    named: bool,
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
        self.connection.fetch_many(Statement { query, named: self.named })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.connection.fetch_optional(Statement { query, named: self.named })
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
