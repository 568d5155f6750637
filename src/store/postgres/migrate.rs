//! Brings a database's tables up to date, in one transaction under a lock of its own, with a table
//! of migrations of its own.
//! Must not know: what the migrations do.

use sqlx::migrate::{Migration, Migrator};
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
alter table quarrier.migration add column if not exists compatible_from bigint;
comment on table quarrier.migration is 'Which migrations this database has seen.';
comment on column quarrier.migration.version is 'Ascending.';
comment on column quarrier.migration.description is 'Of its file''s name.';
comment on column quarrier.migration.checksum is 'SHA-384 of its file.';
comment on column quarrier.migration.applied_at is 'When.';
comment on column quarrier.migration.compatible_from is
    'Releases that know this migration as their last still work here; null = only newer ones.';";

/// How a migration says which releases still work beside it: those that know at least this one.
const COMPATIBLE_FROM: &str = "-- Compatible from: ";

/// Every migration as a script for psql, which applies what is missing.
pub(super) fn as_sql() -> String {
    let mut parts = vec![format!(
        "\\set ON_ERROR_STOP on\nbegin;\n{LOCK};\n\
         select to_regnamespace('quarrier') is null as missing \\gset\n\
         \\if :missing\n{SCHEMA};\n\\endif\n{TABLE}\n"
    )];
    for migration in MIGRATIONS.iter() {
        let (version, description) = (migration.version, &migration.description);
        parts.push(format!(
            "\n-- Migration {version}: {description}\n\n\
             select not exists (select from quarrier.migration where version = {version}) \
             as missing \\gset\n\\if :missing\n"
        ));
        parts.push(migration.sql.as_str().to_owned());
        parts.push(format!(
            "\ninsert into quarrier.migration (version, description, checksum, compatible_from)\n\
             values ({version}, '{}', '\\x{}', {});\n\\endif\n",
            description.replace('\'', "''"),
            hex(&migration.checksum),
            compatible_from(migration),
        ));
    }
    parts.push("\ncommit;\n".to_owned());
    parts.concat()
}

/// The oldest release that still works beside a migration, by the last migration that it knows;
/// the migration's own where it says nothing.
fn compatible_from(migration: &Migration) -> i64 {
    let mut lines = migration.sql.as_str().lines().take_while(|line| line.starts_with("--"));
    let stated = lines.find_map(|line| line.strip_prefix(COMPATIBLE_FROM));
    let number = stated.and_then(|rest| rest.split('.').next()?.parse().ok());
    number.unwrap_or(migration.version)
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl PostgresStore {
    /// Refuses a database whose tables are not those of this release, nor those of a later one that
    /// has only added to them.
    pub(super) async fn check_migrations(&self) -> Outcome<()> {
        let reason = match self.standing().await? {
            Some(found) if found == newest() => return Ok(()),
            None => "there is no store in it; make one with `quarrier migrate --store ADDRESS`"
                .to_owned(),
            Some(found) if found < newest() => format!(
                "it stands at version {found} and this release needs {}; run `quarrier migrate`",
                newest()
            ),
            Some(found) => {
                let mut tx = self.look().await?;
                let is_compatible = later_ones_only_add(&mut tx).await?;
                tx.commit().await?;
                if is_compatible {
                    return Ok(());
                }
                too_new(found)
            }
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
        }
        sqlx::raw_sql(TABLE).execute(tx.on()).await?;
        let applied = applied(&mut tx).await?;
        let later = applied.iter().map(|(version, _)| *version).find(|found| *found > newest());
        if let Some(found) = later
            && !later_ones_only_add(&mut tx).await?
        {
            return Err(Fault::Store(StoreError::Refused(too_new(found))));
        }
        for (version, checksum) in applied.iter().filter(|(version, _)| *version <= newest()) {
            let known = MIGRATIONS.iter().find(|migration| migration.version == *version);
            if known.is_none_or(|migration| *migration.checksum != **checksum) {
                return Err(Fault::Store(StoreError::Refused(format!(
                    "its migration {version} is not the one of this release; it was made by an \
                     unpublished version, so make a new store, or use that version"
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
            let insert = "insert into quarrier.migration \
                          (version, description, checksum, compatible_from) \
                          values ($1, $2, $3, $4)";
            sqlx::query(insert)
                .bind(migration.version)
                .bind(migration.description.as_ref())
                .bind(migration.checksum.as_ref())
                .bind(compatible_from(migration))
                .execute(tx.on())
                .await?;
        }
        tx.commit().await?;
        Ok(applied.last().map(|(version, _)| *version))
    }
}

fn too_new(found: i64) -> String {
    format!(
        "it stands at version {found} and this release knows {} and cannot work beside it; use \
         the release that migrated it, or a later one",
        newest()
    )
}

/// Whether every migration that this release does not know lets it work on. Those of releases that
/// did not say so yet do not.
async fn later_ones_only_add(tx: &mut Tx) -> Outcome<bool> {
    let query = "select bool_and(coalesce(
                     (to_jsonb(migration) ->> 'compatible_from')::bigint <= $1, false
                 )) as \"only_add\"
                 from quarrier.migration where version > $1";
    let row = sqlx::query(query).bind(newest()).fetch_one(tx.on()).await?;
    Ok(row.try_get::<Option<bool>, _>("only_add")?.unwrap_or(true))
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
    fn each_migration_says_its_lock_and_what_may_work_beside_it() {
        let stated: Vec<i64> = MIGRATIONS.iter().map(compatible_from).collect();
        let versions = MIGRATIONS.iter().map(|migration| migration.version);
        assert!(stated.iter().zip(versions).all(|(from, own)| *from <= own), "{stated:?}");
        for migration in MIGRATIONS.iter() {
            let text = migration.sql.as_str();
            assert!(
                text.contains("-- Lock: ") && text.contains("10 million"),
                "{}",
                migration.version
            );
        }
    }

    #[test]
    fn the_script_is_one_transaction_that_names_each_migration() {
        let script = as_sql();
        assert_eq!(
            (script.matches("begin;\n").count(), script.matches("\ncommit;").count()),
            (1, 1)
        );
        assert_eq!(
            script.matches("insert into quarrier.migration").count(),
            MIGRATIONS.iter().count()
        );
        assert!(newest() >= 1);
    }
}
