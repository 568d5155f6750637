//! `quarrier migrate`: brings a store up to date and says so.
//! Must not know: how an engine migrates; opening a store does it.

use std::io::Write;

use serde_json::json;

use crate::store::Store;

/// Bring a store's tables up to date. Every command that opens a file does the same; a Postgres store
/// is made and migrated by this command alone, under a lock.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// The store; made if it is not there.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `before`, `after` and what the store is.
    #[arg(long)]
    pub json: bool,
    /// Print the migrations of a Postgres store as one SQL script, and change nothing.
    #[arg(long, conflicts_with_all = ["json", "store"])]
    pub print: bool,
}

/// Prints the migrations, for those who let no program change their tables.
#[cfg(feature = "postgres")]
pub fn print(out: &mut impl Write) -> anyhow::Result<()> {
    out.write_all(crate::store::postgres::PostgresStore::migrations_as_sql().as_bytes())?;
    Ok(())
}

/// Prints the migrations, for those who let no program change their tables.
#[cfg(not(feature = "postgres"))]
pub fn print(_: &mut impl Write) -> anyhow::Result<()> {
    anyhow::bail!("this program was built without Postgres")
}

/// Says what opening the store has changed. `before` is the migration at which it stood before it
/// was opened; none where it was not there.
pub async fn run(
    args: &MigrateArgs,
    store: &dyn Store,
    before: Option<i64>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let about = store.about().await?;
    let after = about.migration;
    if args.json {
        writeln!(out, "{}", json!({ "before": before, "after": after, "store": about }))?;
        return Ok(());
    }
    let location = &about.location;
    match before {
        None => writeln!(out, "made {location} at version {after}")?,
        Some(before) if before == after => {
            writeln!(out, "{location} stands at version {after}")?;
        }
        Some(before) => writeln!(out, "migrated {location} from version {before} to {after}")?,
    }
    writeln!(out, "it is up to date")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;
    use crate::store::sqlite::SqliteStore;
    use expect_test::expect;

    #[tokio::test]
    async fn it_says_what_was_there_and_what_is_there_now() {
        let scene = Scene::new().await;
        let newest = SqliteStore::newest_migration();
        let shown = async |before, json| {
            let mut out = Vec::new();
            run(&MigrateArgs { store: None, json, print: false }, &scene.store, before, &mut out)
                .await
                .unwrap();
            let text = String::from_utf8(out).unwrap();
            text.replace(&scene.store.path().display().to_string(), "STORE")
                .replace(&newest.to_string(), "N")
        };
        expect![[r#"
            made STORE at version N
            it is up to date
        "#]]
        .assert_eq(&shown(None, false).await);
        expect![[r#"
            STORE stands at version N
            it is up to date
        "#]]
        .assert_eq(&shown(Some(newest), false).await);
        expect![[r#"
            migrated STORE from version 1 to N
            it is up to date
        "#]]
        .assert_eq(&shown(Some(1), false).await);
        expect![[r#"
            {"before":null,"after":N,"store":{"engine":"sqlite","location":"STORE","migration":N,"simulated":false}}
        "#]].assert_eq(&shown(None, true).await);
    }

    #[tokio::test]
    async fn the_version_before_is_read_without_changing_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.db");
        assert_eq!(SqliteStore::migration_of(&path).await, Ok(None));
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        assert_eq!(SqliteStore::migration_of(&path).await, Ok(None));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        let scene = Scene::new().await;
        let newest = SqliteStore::newest_migration();
        assert_eq!(SqliteStore::migration_of(scene.store.path()).await, Ok(Some(newest)));
        scene.store.close().await;
        assert_eq!(SqliteStore::migration_of(scene.store.path()).await, Ok(Some(newest)));
    }
}
