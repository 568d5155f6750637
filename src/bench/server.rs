//! A Postgres server as ground: whose database it may take, how its store is emptied, and the
//! scratch schema that has the store's own shapes without its logic.
//! Must not know: what is measured.

use std::str::FromStr as _;

use anyhow::{Context as _, anyhow, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};

use crate::config::Settings;
use crate::rooms::StorePlace;

/// What is said of schemas that were made here, so that those an interrupted run left are known.
const MARK: &str = "made by quarrier bench, which removes it when it ends";

/// Who uses a store, in words; null where nobody does.
const USED: &str = "select case
    when exists (select from quarrier.job) then 'holds jobs'
    when exists (select from quarrier.submission) then 'holds submissions'
    when exists (select from quarrier.seen) then 'remembers jobs'
    when exists (select from quarrier.batch) then 'holds batches'
    when exists (select from quarrier.lease) then 'has a worker'
    when exists (select from quarrier.limit_rule) then 'has limits'
    when exists (select from quarrier.meta where key = 'simulated' and value <> 'true')
        then 'is kept for real work'
end as used";

const SCRATCH: &str = "create schema quarrier_bench";

/// Tables of the store's own shapes, with its indexes and settings.
const SHAPES: &str = "do $$
declare
    shape record;
begin
    for shape in
        select relname as name, array_to_string(reloptions, ', ') as settings
        from pg_class
        where relnamespace = 'quarrier'::regnamespace and relkind = 'r'
            and relname in ('submission', 'job', 'job_spec', 'attempt', 'attempt_body', 'result', 'budget',
                'settlement')
    loop
        execute format('create table quarrier_bench.%I (like quarrier.%1$I including all)', shape.name);
        if shape.settings is not null then
            execute format('alter table quarrier_bench.%I set (%s)', shape.name, shape.settings);
        end if;
    end loop;
end
$$";

/// A server, and what of its database is ours for now.
pub(super) struct Server {
    options: PgConnectOptions,
    /// The schema was made here, and goes.
    made: bool,
    /// The tables that had no row when it was taken, as SQL names them.
    empty: Vec<String>,
}

impl Server {
    /// Takes a database whose store nobody uses, or that has none: then one is made.
    pub(super) async fn take(
        settings: &Settings,
        url: &str,
        place: &StorePlace,
    ) -> anyhow::Result<Self> {
        // The error's words could quote the address, and with it the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| anyhow!("read the store's address: it is none of Postgres"))?
            .application_name("quarrier bench")
            .disable_statement_logging();
        let mut server = Self { options, made: false, empty: Vec::new() };
        let mut connection = server.connect().await?;
        let remark = schema(&mut connection, "quarrier").await?;
        if remark.is_some() && place.migration(settings).await?.is_none() {
            bail!(
                "measure in {place}: its schema quarrier holds no store of this program; name an \
                 empty database with --store (`createdb NAME` makes one)"
            );
        }
        if remark.is_some() {
            let used: Option<String> =
                sqlx::query(USED).fetch_one(&mut connection).await?.try_get("used")?;
            if let Some(used) = used {
                let left = if remark.flatten().as_deref() == Some(MARK) {
                    "; a bench that was cut off has left it, so `drop schema quarrier cascade` \
                     frees the database, or"
                } else {
                    ", and bench empties the store that it uses;"
                };
                bail!(
                    "measure in {place}: its store {used}{left} name an empty database with \
                     --store (`createdb NAME` makes one)"
                );
            }
        } else {
            place.migrate(settings).await?;
            server.made = true;
            mark(&mut connection, "quarrier").await?;
        }
        if let Err(error) = server.begin(&mut connection).await {
            if server.made {
                drop_store(&mut connection).await?;
            }
            return Err(error);
        }
        connection.close().await?;
        Ok(server)
    }

    /// Makes the scratch schema and remembers what is empty now.
    async fn begin(&mut self, connection: &mut PgConnection) -> anyhow::Result<()> {
        match schema(connection, "quarrier_bench").await? {
            None => {}
            Some(remark) if remark.as_deref() == Some(MARK) => drop_scratch(connection).await?,
            Some(_) => bail!(
                "make the schema quarrier_bench: there is one that bench has not made; name \
                 another database with --store"
            ),
        }
        sqlx::raw_sql(SCRATCH).execute(&mut *connection).await?;
        mark(connection, "quarrier_bench").await?;
        sqlx::raw_sql(SHAPES).execute(&mut *connection).await?;
        let tables = sqlx::query(
            "select format('%I.%I', schemaname, tablename) as name from pg_tables \
             where schemaname in ('quarrier', 'quarrier_bench') order by 1",
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in tables {
            let name: String = row.try_get("name")?;
            // The name is quoted by the server.
            let look = AssertSqlSafe(format!("select exists (select from {name}) as used"));
            if !sqlx::query(look).fetch_one(&mut *connection).await?.try_get::<bool, _>("used")? {
                self.empty.push(name);
            }
        }
        Ok(())
    }

    /// A connection of its own.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        self.options.connect().await.context("reach the database server")
    }

    /// Empties what was empty.
    pub(super) async fn empty(&self) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        let tables = self.empty.join(", ");
        let truncate = AssertSqlSafe(format!("truncate {tables} restart identity"));
        sqlx::raw_sql(truncate).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// Brings statistics and the disk up to date.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        let tables = self.empty.join(", ");
        sqlx::raw_sql(AssertSqlSafe(format!("analyze {tables}"))).execute(&mut connection).await?;
        // Not everybody may; then the server's own comes when it comes.
        if let Err(error) = sqlx::raw_sql("checkpoint").execute(&mut connection).await {
            tracing::debug!(%error, "no checkpoint before the measurement");
        }
        connection.close().await?;
        Ok(())
    }

    /// Leaves the database as it was found.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        if !self.made {
            self.empty().await?;
        }
        let mut connection = self.connect().await?;
        drop_scratch(&mut connection).await?;
        if self.made {
            drop_store(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }
}

/// Whether there is such a schema, and what is said of it.
async fn schema(
    connection: &mut PgConnection,
    name: &str,
) -> anyhow::Result<Option<Option<String>>> {
    let found = sqlx::query(
        "select obj_description(oid, 'pg_namespace') as remark from pg_namespace \
         where nspname = $1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|row| row.try_get("remark")).transpose()?)
}

async fn mark(connection: &mut PgConnection, name: &'static str) -> anyhow::Result<()> {
    let remark = AssertSqlSafe(format!("comment on schema {name} is '{MARK}'"));
    sqlx::raw_sql(remark).execute(connection).await?;
    Ok(())
}

async fn drop_scratch(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql("drop schema if exists quarrier_bench cascade").execute(connection).await?;
    Ok(())
}

async fn drop_store(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql("drop schema quarrier cascade").execute(connection).await?;
    Ok(())
}
