//! The one operation by which every job ends (G2).
//! Must not know: why it ends.

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;

use super::Tx;
use super::bulk::{self, Text};
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::StoreResult;

/// How a job ends.
#[derive(Debug, Serialize)]
pub(super) struct End {
    id: Uuid,
    state: &'static str,
    output: Option<String>,
    text: Text,
    error_kind: Option<&'static str>,
    error_message: Option<String>,
    provenance: Option<String>,
}

impl End {
    pub(super) fn failed(job: Uuid, kind: ErrorKind, message: String) -> Self {
        Self::with_error(job, State::Failed, Some((kind, message)))
    }

    pub(super) fn with_error(job: Uuid, state: State, error: Option<(ErrorKind, String)>) -> Self {
        Self {
            id: job,
            state: state.as_str(),
            output: None,
            text: Text::default(),
            error_kind: error.as_ref().map(|(kind, _)| kind.as_str()),
            // A message may quote a model; the JSON functions end a text at NUL.
            error_message: error.map(|(_, message)| message.replace('\0', "\u{fffd}")),
            provenance: None,
        }
    }

    pub(super) fn with_output(
        mut self,
        output: Option<String>,
        text: Option<&str>,
        provenance: Option<String>,
    ) -> Self {
        self.output = output;
        self.text = Text::of(text);
        self.provenance = provenance;
        self
    }
}

/// Ends those that have not ended, and returns their ids: the first end wins, also among these.
pub(super) async fn end_jobs(tx: &mut Tx, ends: &[End], now: i64) -> StoreResult<HashSet<Uuid>> {
    if ends.is_empty() {
        return Ok(HashSet::new());
    }
    let live = bulk::list(ends)?;
    let live =
        sqlx::query_file!("src/store/sqlite/job_live.sql", live).fetch_one(&mut **tx).await?;
    let replies = live.replies;
    let mut live: HashSet<Uuid> = serde_json::from_str(&live.ids)?;
    let ended = live.clone();
    // Removed as it is taken, so that of two ends of one job in one group the first wins.
    let winners: Vec<&End> = ends.iter().filter(|end| live.remove(&end.id)).collect();
    let rows = bulk::list(&winners)?;
    sqlx::query_file!("src/store/sqlite/job_end.sql", rows, now).execute(&mut **tx).await?;
    sqlx::query_file!("src/store/sqlite/result_insert.sql", rows, now).execute(&mut **tx).await?;
    if replies != "[]" {
        sqlx::query_file!("src/store/sqlite/delivery_make.sql", replies).execute(&mut **tx).await?;
    }
    Ok(ended)
}

/// Marks the open attempts of these jobs (a JSON list of ids) as unknown: whoever makes those calls
/// is dead or fenced. Their reservations stay, and their own finish, if it comes, says what they
/// took after all.
pub(super) async fn unknown_attempts(
    tx: &mut Tx,
    ids: &str,
    kind: ErrorKind,
    now: i64,
) -> StoreResult<()> {
    let kind = kind.as_str();
    sqlx::query_file!("src/store/sqlite/attempt_unknown.sql", ids, now, kind)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
