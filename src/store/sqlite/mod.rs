//! The store on one SQLite file: WAL, durable commits, one writer connection a process.
//! Rows move in bulk: a statement takes a JSON list, so that its cost is shared by the group.
//! Must not know: how a job is checked, called or retried; it applies what it is told.

mod admit;
mod bulk;
mod claim;
mod claim_new;
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
mod pause;
mod place;
mod promote;
mod read;
mod restore;
mod retention;
mod sharing;
mod submitted;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use uuid::Uuid;

use crate::budget::LaneTime;
use crate::clock::{Clock, Now};
use crate::store::{StoreError, StoreResult};

/// How many connections read beside the one that writes.
const READERS: u32 = 3;

/// How many rows of a query may be on their way from the connection's thread.
const ROW_BUFFER: usize = 1_024;

/// How a SQLite store is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; made if it is not there.
    pub path: PathBuf,
    /// How long a statement waits for another process's write, in milliseconds.
    pub busy_timeout_ms: u64,
    /// Whether the work to be done is simulated; none = only look.
    pub simulated: Option<bool>,
}

/// The store on one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    reader: SqlitePool,
    clock: Clock,
    boot_id: String,
    path: PathBuf,
    /// The locks that tell other processes that this one lives. A std mutex: nothing is awaited
    /// while it is held.
    locks: Mutex<HashMap<Uuid, File>>,
}

type Tx = Transaction<'static, Sqlite>;

impl SqliteStore {
    /// Opens the file, brings its tables up to date, and checks that it holds work of this kind.
    pub async fn open(options: &SqliteOptions, clock: Clock) -> StoreResult<Self> {
        refuse_network(&options.path)?;
        let connect = SqliteConnectOptions::new()
            .filename(&options.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(options.busy_timeout_ms))
            // Rows cross a thread one by one; a deep buffer saves most of the hand-overs.
            .row_buffer_size(ROW_BUFFER)
            // Prompts that are deleted must not stay readable in the file's free pages.
            .pragma("secure_delete", "on")
            .pragma("cache_size", "-16000")
            .pragma("temp_store", "memory");
        let acquire = Duration::from_millis(options.busy_timeout_ms.saturating_mul(2));
        let pool = |connections: u32| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(acquire)
                // Opened on first need, closed when unused: an idle process stays small.
                .min_connections(0)
                .test_before_acquire(false)
        };
        let writer = open_writer(|| pool(1).connect_with(connect.clone()), options).await?;
        let unusable = |error| match error {
            StoreError::Refused(reason) if !reason.contains(&*options.path.to_string_lossy()) => {
                let path = options.path.display();
                StoreError::Refused(format!("cannot use the store {path}: {reason}"))
            }
            error => error,
        };
        migrate(&writer, &options.path).await.map_err(unusable)?;
        let store = Self {
            reader: pool(READERS).connect_lazy_with(connect),
            writer,
            boot_id: clock.boot_id(),
            clock,
            path: options.path.clone(),
            locks: Mutex::new(HashMap::new()),
        };
        if let Some(simulated) = options.simulated {
            store.claim_kind(simulated).await.map_err(unusable)?;
        }
        Ok(store)
    }

    /// The migration at which a file stands, before it is opened for work: opening brings it up to
    /// date. None where there is no file, or no store in it.
    pub async fn migration_of(path: &Path) -> StoreResult<Option<i64>> {
        if !path.exists() {
            return Ok(None);
        }
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = options.connect().await?;
        let there: i64 = sqlx::query_scalar(
            "select count(*) from sqlite_master where name = '_sqlx_migrations'",
        )
        .fetch_one(&mut connection)
        .await?;
        let found = if there == 0 {
            None
        } else {
            sqlx::query_scalar("select max(version) from _sqlx_migrations")
                .fetch_one(&mut connection)
                .await?
        };
        connection.close().await?;
        Ok(found)
    }

    /// The migration that this version brings stores to.
    #[must_use]
    pub fn newest_migration() -> i64 {
        let migrations = sqlx::migrate!("migrations/sqlite");
        migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The migration at which a file stands; none where there is no file, or no store in it.
    pub async fn migration_at(path: &Path) -> StoreResult<Option<i64>> {
        if !path.exists() {
            return Ok(None);
        }
        let connect = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(connect).await?;
        let table = "select name from sqlite_master where name = '_sqlx_migrations'";
        let found: Option<String> = sqlx::query_scalar(table).fetch_optional(&pool).await?;
        let migration = match found {
            Some(_) => {
                let newest = "select max(version) from _sqlx_migrations";
                sqlx::query_scalar(newest).fetch_one(&pool).await?
            }
            None => None,
        };
        pool.close().await;
        Ok(migration)
    }

    /// Remembers whether this store is simulated, and refuses the other kind.
    async fn claim_kind(&self, simulated: bool) -> StoreResult<()> {
        let wanted = simulated.to_string();
        sqlx::query_file!("src/store/sqlite/meta_claim_kind.sql", wanted)
            .execute(&self.writer)
            .await?;
        let found = self.kind().await?;
        if found == Some(simulated) {
            return Ok(());
        }
        let (is, wants) = if simulated { ("real", "simulated") } else { ("simulated", "real") };
        Err(StoreError::Refused(format!(
            "the store {} holds {is} work and this command does {wants} work; \
             name another store with --store, or {} --simulate",
            self.path.display(),
            if simulated { "leave out" } else { "add" },
        )))
    }

    async fn kind(&self) -> StoreResult<Option<bool>> {
        let row = sqlx::query_file!("src/store/sqlite/meta_kind.sql").fetch_optional(&self.reader);
        Ok(row.await?.map(|row| row.value == "true"))
    }

    /// Begins a transaction that may write. Immediate, because a transaction that reads first and
    /// then asks for the write lock cannot wait for it.
    async fn begin(&self) -> StoreResult<Tx> {
        Ok(self.writer.begin_with("begin immediate").await?)
    }

    /// Lane time at this moment, kept for the next reader.
    async fn lane_time(&self, tx: &mut Tx, now: Now) -> StoreResult<LaneTime> {
        let kept = sqlx::query_file!("src/store/sqlite/lane_clock_read.sql")
            .fetch_optional(&mut **tx)
            .await?
            .map(|row| (row.at, row.mono_ms, row.boot_id));
        let at = advance_lane_clock(kept, now.mono_ms, &self.boot_id);
        let mono_ms = bulk::int(now.mono_ms);
        let at_int = bulk::int(at.0);
        sqlx::query_file!("src/store/sqlite/lane_clock_write.sql", at_int, mono_ms, self.boot_id)
            .execute(&mut **tx)
            .await?;
        Ok(at)
    }

    /// Lane time at this moment, without a write.
    async fn lane_time_now(&self) -> StoreResult<LaneTime> {
        let kept = sqlx::query_file!("src/store/sqlite/lane_clock_read.sql")
            .fetch_optional(&self.reader)
            .await?
            .map(|row| (row.at, row.mono_ms, row.boot_id));
        Ok(advance_lane_clock(kept, self.clock.now().mono_ms, &self.boot_id))
    }

    /// Closes the connections; what was committed stays.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// How often a new file is tried that another process is making at this moment.
const OPEN_EVERY: Duration = Duration::from_millis(20);

/// Opens the connection that writes. While one process turns a new file to WAL, SQLite tells the
/// others that it is locked without waiting as long as it was told to.
async fn open_writer<F>(open: impl Fn() -> F, options: &SqliteOptions) -> StoreResult<SqlitePool>
where
    F: Future<Output = sqlx::Result<SqlitePool>>,
{
    let mut waited = Duration::ZERO;
    loop {
        match open().await {
            Ok(writer) => return Ok(writer),
            Err(error) if error::is_busy(&error) => {
                if waited >= Duration::from_millis(options.busy_timeout_ms) {
                    return Err(error.into());
                }
                tokio::time::sleep(OPEN_EVERY).await;
                waited += OPEN_EVERY;
            }
            Err(error) => {
                return Err(StoreError::Refused(format!(
                    "cannot open the store {}: {error}",
                    options.path.display()
                )));
            }
        }
    }
}

/// Brings the tables up to date in one transaction that holds the write lock, so that processes
/// which open a new file at once wait for each other, and a file that is refused stays as it was.
async fn migrate(writer: &SqlitePool, path: &Path) -> StoreResult<()> {
    let mut tx = writer.begin_with("begin immediate").await?;
    let tables: Vec<String> =
        sqlx::query_scalar("select name from sqlite_schema where type = 'table'")
            .fetch_all(&mut *tx)
            .await?;
    if !tables.is_empty() && !tables.iter().any(|table| table == "_sqlx_migrations") {
        return Err(StoreError::Refused(format!(
            "{} is another program's database; name another file with --store",
            path.display()
        )));
    }
    // What `run` does inside. Through `run` the compiler does not see that a store may be opened on
    // any thread, which programs that embed it need.
    let migrated = sqlx::migrate!("migrations/sqlite").run_direct(None, &mut *tx, false).await;
    migrated.map_err(|error| {
        StoreError::Refused(format!(
            "{} is not a store of this version: {error}; use the release that wrote it, or another file",
            path.display()
        ))
    })?;
    tx.commit().await?;
    Ok(())
}

/// Where lane time begins, so that nothing reaches back before zero.
const LANE_TIME_START_MS: u64 = 1_000_000;

/// Lane time goes on by what the machine's suspend-aware clock has gone on since it was kept. That
/// clock is one for all processes of a machine and no wall clock's step touches it. After a restart
/// of the machine (or on another one) nobody knows how long it was: lane time stands where it
/// stood, so every live charge stays for a whole window more.
fn advance_lane_clock(kept: Option<(i64, i64, String)>, mono_ms: u64, boot_id: &str) -> LaneTime {
    let Some((at, kept_mono_ms, kept_boot)) = kept else { return LaneTime(LANE_TIME_START_MS) };
    let at = bulk::uint(at);
    let gone_ms =
        if kept_boot == boot_id { mono_ms.saturating_sub(bulk::uint(kept_mono_ms)) } else { 0 };
    LaneTime(at.saturating_add(gone_ms))
}

/// Locks of network file systems cannot be trusted with a database.
#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> StoreResult<()> {
    // Magic numbers of statfs(2): NFS, SMB, CIFS, SMB2, 9P.
    const NETWORK: [u64; 5] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997];
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(found) = rustix::fs::statfs(folder) else {
        let reason = format!(
            "the folder {} of the store cannot be read; make it, or name another with --store",
            folder.display()
        );
        return Err(StoreError::Refused(reason));
    };
    let magic = u64::try_from(found.f_type).unwrap_or_default();
    if NETWORK.contains(&magic) {
        return Err(StoreError::Refused(format!(
            "the store {} is on a network file system, whose locks lose data; use a local disk",
            path.display()
        )));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &Path) -> StoreResult<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_time_follows_the_machines_clock_within_one_boot() {
        let kept = || Some((5_000, 100, "a".to_owned()));
        assert_eq!(advance_lane_clock(kept(), 160, "a"), LaneTime(5_060));
        assert_eq!(advance_lane_clock(kept(), 90, "a"), LaneTime(5_000), "it never goes back");
    }

    #[test]
    fn lane_time_stands_still_over_a_restart_of_the_machine() {
        let kept = Some((5_000, 100, "a".to_owned()));
        assert_eq!(advance_lane_clock(kept, 3_600_000, "b"), LaneTime(5_000));
    }
}
