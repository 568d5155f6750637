//! What the database's errors mean to the caller.
//! Must not know: which operation failed.

use crate::store::StoreError;

/// Why an operation stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// What the port says of it.
    Store(StoreError),
    /// Another transaction took the same identity or dedupe key meanwhile, or changed the rules by
    /// which keys were locked: read again, and judge again.
    Overtaken,
}

/// The result of everything within this adapter.
pub(super) type Outcome<T> = Result<T, Fault>;

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => error,
            Fault::Overtaken => {
                Self::Transient("others admit the same jobs at this moment".to_owned())
            }
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(StoreError::Bug(format!("a row that is not what was written: {error}")))
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        Self::Store(match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if code == UNIQUE && database.constraint() == Some("job_dedupe") {
                    return Self::Overtaken;
                }
                of_code(&code, database.message().to_owned())
            }
            // The pool tries again while the server refuses, and says only that it gave up.
            sqlx::Error::PoolTimedOut => StoreError::Transient(
                "no connection in time: the server is not there, refuses, or has none free \
                 (see the address, max_connections of the server, and store.connections_max)"
                    .to_owned(),
            ),
            sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            // The stream of bytes broke off in the middle.
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Io(_) => StoreError::Transient(text),
            sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => StoreError::Refused(text),
            _ => StoreError::Bug(text),
        })
    }
}

const UNIQUE: &str = "23505";

/// By the code's class, as Postgres documents them; the class is the first two characters.
fn of_code(code: &str, text: String) -> StoreError {
    match code.get(..2).unwrap_or_default() {
        // Data that a column cannot hold, a constraint, a value too large.
        "22" | "23" | "54" => StoreError::Data(text),
        // Connection lost, serialization or deadlock, no resources, lock or statement time-out,
        // shutdown, the system's own errors.
        "08" | "40" | "53" | "55" | "57" | "58" => StoreError::Transient(text),
        // A transaction left idle too long, or one on a standby after a failover.
        "25" if matches!(code, "25P03" | "25006") => StoreError::Transient(text),
        "3D" => StoreError::Refused(format!("{text}; make it first, as by `createdb NAME`")),
        // Wrong password, no such schema, not permitted.
        "28" | "3F" => StoreError::Refused(text),
        _ if code == "42501" => StoreError::Refused(format!(
            "{text}; docs/store.md says which rights a worker, a producer and a reader need, and \
             migrating needs those of the schema's owner"
        )),
        _ => StoreError::Bug(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do_next() {
        let kind = |code: &str| match of_code(code, String::new()) {
            StoreError::Transient(_) => "transient",
            StoreError::Data(_) => "data",
            StoreError::Refused(_) => "refused",
            StoreError::Bug(_) => "bug",
        };
        let transient =
            ["40001", "40P01", "53300", "53100", "55P03", "57014", "57P01", "57P03", "08006"];
        assert!(transient.iter().all(|code| kind(code) == "transient"));
        assert!(["25P03", "25006"].iter().all(|code| kind(code) == "transient"));
        assert!(["22021", "22003", "23505", "54000"].iter().all(|code| kind(code) == "data"));
        assert!(["28P01", "3D000", "42501"].iter().all(|code| kind(code) == "refused"));
        assert!(["42P01", "25001", "", "é"].iter().all(|code| kind(code) == "bug"));
    }
}
