//! Brings a database's tables up to date, in one transaction under a lock of its own, with a table
//! of migrations of its own.
//! Must not know: what the migrations do.

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Row as _};

use super::PostgresStore;
use super::error::{Fault, Outcome};
use super::session::Tx;
use crate::store::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The advisory lock under which migrations run: the letters of `quarrier`.
const LOCK: &str = "select pg_advisory_xact_lock(8175547842734679410)";

const SCHEMA: &str = "create schema quarrier";

const TABLE: &str = "create table if not exists quarrier.migration (
    version     bigint primary key,
    description text not null,
    checksum    bytea not null,
    applied_at  timestamptz not null default clock_timestamp()
);
comment on table quarrier.migration is 'Which migrations this database has seen.';
comment on column quarrier.migration.version is 'Ascending.';
comment on column quarrier.migration.description is 'Of its file''s name.';
comment on column quarrier.migration.checksum is 'SHA-384 of its file.';
comment on column quarrier.migration.applied_at is 'When.'";

/// Every migration as a script.
pub(super) fn as_sql() -> String {
    let mut parts = vec![format!("begin;\n{LOCK};\n{SCHEMA};\n{TABLE};\n")];
    for migration in MIGRATIONS.iter() {
        let (version, description) = (migration.version, &migration.description);
        parts.push(format!("\n-- Migration {version}: {description}\n\n"));
        parts.push(migration.sql.as_str().to_owned());
        parts.push(format!(
            "\ninsert into quarrier.migration (version, description, checksum)\n\
             values ({version}, '{}', '\\x{}');\n",
            description.replace('\'', "''"),
            hex(&migration.checksum),
        ));
    }
    parts.push("\ncommit;\n".to_owned());
    parts.concat()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl PostgresStore {
    /// Refuses a database whose tables are not those of this release.
    pub(super) async fn check_migrations(&self) -> Outcome<()> {
        let reason = match self.standing().await? {
            Some(found) if found == newest() => return Ok(()),
            None => "there is no store in it; make one with `quarrier migrate`".to_owned(),
            Some(found) if found < newest() => format!(
                "it stands at version {found} and this release needs {}; run `quarrier migrate`",
                newest()
            ),
            Some(found) => format!(
                "it stands at version {found} and this release knows {}; use the release that \
                 migrated it, or a later one",
                newest()
            ),
        };
        Err(Fault::Store(StoreError::Refused(reason)))
    }

    /// The newest migration that the database has seen; none where there is no store.
    pub(super) async fn standing(&self) -> Outcome<Option<i64>> {
        let mut tx = self.look().await?;
        let found = if has_table(&mut tx).await? {
            applied(&mut tx).await?.last().map(|(version, _)| *version)
        } else {
            None
        };
        tx.commit().await?;
        Ok(found)
    }

    /// Applies what is missing, all of it or nothing.
    pub(super) async fn bring_up_to_date(&self) -> Outcome<Option<i64>> {
        let mut tx = self.begin().await?;
        sqlx::raw_sql(LOCK).execute(tx.on()).await?;
        let is_there = has_table(&mut tx).await?;
        if !is_there {
            let schemas = sqlx::query("select from pg_namespace where nspname = 'quarrier'")
                .fetch_all(tx.on())
                .await?;
            if schemas.is_empty() {
                sqlx::raw_sql(SCHEMA).execute(tx.on()).await?;
            }
            sqlx::raw_sql(TABLE).execute(tx.on()).await?;
        }
        let applied = applied(&mut tx).await?;
        for (version, checksum) in &applied {
            let known = MIGRATIONS.iter().find(|migration| migration.version == *version);
            if known.is_none_or(|migration| *migration.checksum != **checksum) {
                return Err(Fault::Store(StoreError::Refused(format!(
                    "migration {version} is not one of this release; use the release that \
                     migrated it, or a later one"
                ))));
            }
        }
        for migration in MIGRATIONS.iter() {
            if applied.iter().any(|(version, _)| *version == migration.version) {
                continue;
            }
            sqlx::raw_sql(AssertSqlSafe(migration.sql.as_str().to_owned()))
                .execute(tx.on())
                .await?;
            let insert = "insert into quarrier.migration (version, description, checksum) \
                          values ($1, $2, $3)";
            sqlx::query(insert)
                .bind(migration.version)
                .bind(migration.description.as_ref())
                .bind(migration.checksum.as_ref())
                .execute(tx.on())
                .await?;
        }
        tx.commit().await?;
        Ok(applied.last().map(|(version, _)| *version))
    }
}

async fn has_table(tx: &mut Tx) -> Outcome<bool> {
    let row = sqlx::query("select to_regclass('quarrier.migration') is not null as there")
        .fetch_one(tx.on())
        .await?;
    Ok(row.try_get("there")?)
}

async fn applied(tx: &mut Tx) -> Outcome<Vec<(i64, Vec<u8>)>> {
    let rows = sqlx::query("select version, checksum from quarrier.migration order by version")
        .fetch_all(tx.on())
        .await?;
    let mut applied = Vec::with_capacity(rows.len());
    for row in rows {
        applied.push((row.try_get("version")?, row.try_get("checksum")?));
    }
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_transaction_that_names_each_migration() {
        let script = as_sql();
        assert!(script.starts_with("begin;") && script.ends_with("commit;\n"));
        assert_eq!(
            script.matches("insert into quarrier.migration").count(),
            MIGRATIONS.iter().count()
        );
        assert!(newest() >= 1);
    }
}
