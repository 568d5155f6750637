//! OUT follows the store: result by result, in the order of their ends.
//! Must not know: who works on the jobs.

use std::collections::BTreeMap;

use anyhow::Context as _;
use uuid::Uuid;

use super::out::Out;
use crate::job::State;
use crate::result_line::result_line;
use crate::store::{ReadStore, ResultsAsk};

/// How far OUT has followed.
#[derive(Debug)]
pub(super) struct Follow {
    out: Out,
    batch: Uuid,
    simulated: bool,
    rows_max: u32,
    after: i64,
    /// Results written.
    pub(super) ended: u64,
    /// Those that are no success.
    pub(super) failed: u64,
    /// Why they are none, by kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// Whether OUT is in its place: from then on every result is seen at once.
    pub(super) in_place: bool,
}

impl Follow {
    pub(super) fn new(out: Out, batch: Uuid, simulated: bool, rows_max: u32) -> Self {
        let kinds = BTreeMap::new();
        let (after, ended, failed) = (0, 0, 0);
        Self { out, batch, simulated, rows_max, after, ended, failed, kinds, in_place: false }
    }

    /// Writes what has ended since; one write a page.
    pub(super) async fn catch_up(&mut self, store: &dyn ReadStore) -> anyhow::Result<()> {
        loop {
            let ask =
                ResultsAsk { after: self.after, batch: Some(self.batch), rows_max: self.rows_max };
            let rows = store.results(&ask).await.context("failed to read results")?;
            let mut lines = String::new();
            for row in &rows {
                lines.push_str(&result_line(row, self.simulated));
                lines.push('\n');
                self.after = self.after.max(row.seq);
                self.ended = self.ended.saturating_add(1);
                let is_failure = row.state != State::Succeeded;
                self.failed = self.failed.saturating_add(u64::from(is_failure));
                if let Some(kind) = row.error_kind.as_ref().filter(|_| is_failure) {
                    let jobs = self.kinds.entry(kind.clone()).or_default();
                    *jobs = jobs.saturating_add(1);
                }
            }
            if !lines.is_empty() {
                tokio::task::block_in_place(|| self.out.append(&lines))?;
            }
            if rows.len() < usize::try_from(self.rows_max).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }

    /// Once every line is admitted: OUT is written anew and put in its place.
    pub(super) async fn put_in_place(&mut self, store: &dyn ReadStore) -> anyhow::Result<()> {
        self.catch_up(store).await?;
        tokio::task::block_in_place(|| self.out.put_in_place())?;
        self.in_place = true;
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> anyhow::Result<()> {
        if self.in_place { tokio::task::block_in_place(|| self.out.sync()) } else { Ok(()) }
    }
}
