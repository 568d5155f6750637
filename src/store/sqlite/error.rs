//! What the database's errors mean to the caller.
//! Must not know: which operation failed.

use crate::store::StoreError;

/// SQLite's primary result code; extended codes carry it in their low byte.
fn code(database: &dyn sqlx::error::DatabaseError) -> i32 {
    database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xFF
}

/// Another process holds the lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    // BUSY, LOCKED
    matches!(error, sqlx::Error::Database(database) if matches!(code(database.as_ref()), 5 | 6))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(database) => {
                match code(database.as_ref()) {
                    // CONSTRAINT, MISMATCH, TOOBIG
                    18..=20 => Self::Data(text),
                    // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
                    5..=7 | 9 | 10 | 13..=15 => Self::Transient(text),
                    // PERM, READONLY, CORRUPT, AUTH, NOTADB
                    3 | 8 | 11 | 23 | 26 => Self::Refused(text),
                    _ => Self::Bug(text),
                }
            }
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_) => Self::Transient(text),
            _ => Self::Bug(text),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Bug(format!("a row that is not what was written: {error}"))
    }
}
