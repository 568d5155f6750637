//! How a store is, for a check-up: what it keeps through a power cut, what waits in it, what it
//! takes, and what its server says of it.
//! Must not know: SQL, engines, what is made of it, or what a person should do.

use super::keeping::{RetentionPolicy, RetentionStage};
use crate::job::State;

/// How a store is.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// What decides whether a commit outlives a power cut.
    pub durability: Vec<Durability>,
    /// Jobs that have not ended, by model, lane and state, most first.
    pub waiting: Vec<WaitingJobs>,
    /// Documents of other programs that no worker has admitted yet.
    pub submissions: u64,
    /// The newest time in the rows written last, in Unix ms.
    pub latest_at: Option<i64>,
    /// Whether its pages are sound.
    pub integrity: Integrity,
    /// How much room it takes.
    pub size: StoreSize,
    /// How far retention has come, by stage.
    pub retention: Vec<RetentionProgress>,
    /// What its server says; none where no server keeps it.
    pub server: Option<ServerHealth>,
}

/// One of the engine's own settings for durability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// `journal_mode`.
    pub setting: String,
    /// What is in force.
    pub found: String,
    /// What keeps every commit.
    pub wanted: String,
    /// What is in force keeps every commit.
    pub safe: bool,
}

/// Jobs that have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingJobs {
    /// The model's alias or id.
    pub model: String,
    /// Their lane.
    pub lane: String,
    /// Where they stand.
    pub state: State,
    /// How many.
    pub jobs: u64,
}

/// What a look at a store's pages came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Integrity {
    /// Every page is sound.
    Sound,
    /// Nobody looked: the engine has no look that a client may take.
    NotRead,
    /// The look took longer than it was given.
    #[default]
    Unfinished,
    /// The engine's own words for what is broken.
    Broken(Vec<String>),
}

/// How much room a store takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// All of it, in bytes.
    pub bytes: u64,
    /// Of that in pages that hold nothing and are used again, where the engine tells.
    pub free_bytes: u64,
    /// Its largest tables, where the engine tells them apart, the largest first.
    pub tables: Vec<TableSize>,
}

/// How much room a table takes, and how many of its rows are dead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Its name, without a schema.
    pub name: String,
    /// Its rows, with those parts that are kept elsewhere, in bytes.
    pub bytes: u64,
    /// Its indexes, in bytes.
    pub index_bytes: u64,
    /// Rows that nobody sees any more and that take room, as the server reckons.
    pub dead_rows: u64,
    /// From how many of them on the server cleans by itself.
    pub dead_rows_max: u64,
    /// When it was last cleaned, in Unix ms.
    pub vacuumed_at: Option<i64>,
}

/// What a store's server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerHealth {
    /// Whether it cleans tables by itself.
    pub autovacuum: bool,
    /// Who holds back the oldest row.
    pub snapshot: Option<Snapshot>,
    /// Sessions on this database of which this role may see nothing.
    pub hidden: u64,
    /// Connections of everybody.
    pub connections: u64,
    /// Those of this program to this store.
    pub connections_own: u64,
    /// How many the server takes, those reserved for administrators left out.
    pub connections_max: u64,
}

/// Somebody who may still look at old rows, so that those which died since cannot be cleaned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `session`, `standby`, `prepared transaction`, `replication slot`.
    pub kind: String,
    /// The server's process for it.
    pub pid: Option<i32>,
    /// The application's, transaction's or slot's name.
    pub name: Option<String>,
    /// The role.
    pub owner: Option<String>,
    /// `active`, `idle in transaction`, ...
    pub state: Option<String>,
    /// How many transactions have begun since.
    pub transactions: u64,
    /// For how long; a slot does not tell.
    pub age_ms: Option<u64>,
}

/// How far a stage of retention has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionProgress {
    /// What goes in it.
    pub stage: RetentionStage,
    /// The number of the last result that it has looked at.
    pub after: i64,
    /// When it last began with the oldest, in Unix ms: each day while somebody deletes.
    pub restarted_at: Option<i64>,
    /// The days by which it looked; none if never, or where a newer version's cannot be read.
    pub policy: Option<RetentionPolicy>,
}

impl RetentionProgress {
    /// What the row of a stage says; none for a stage that a newer version has added.
    pub(in crate::store) fn of_row(
        stage: &str,
        after: i64,
        restarted_at: Option<i64>,
        policy: &str,
    ) -> Option<Self> {
        let stage = RetentionStage::ALL.into_iter().find(|known| known.as_str() == stage)?;
        Some(Self { stage, after, restarted_at, policy: serde_json::from_str(policy).ok() })
    }
}
