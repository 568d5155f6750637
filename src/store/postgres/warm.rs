//! The shorter way from a submission to its call, walked with no job at all before the first one
//! comes: a server parses and plans each statement at its first use on a connection, and for these
//! that takes longer than the way itself.
//! Must not know: who waits for a job.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::PostgresStore;
use super::at_once::{self, Runs};
use super::error::Outcome;
use super::session::Tx;
use super::submissions::take_with_keys;

/// So many connections at most, and no more than half of those that this process may have: the one
/// used last is used next, but each gives way to another after some seconds.
const CONNECTIONS_MAX: u32 = 4;

impl PostgresStore {
    /// Readies connections; nothing is changed. A pooler in transaction mode would not keep it.
    pub(super) async fn warm_up(&self, lease: Uuid) -> Outcome<()> {
        if self.pooled {
            return Ok(());
        }
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS_MAX.min(self.connections.most() / 2) {
            open.push(self.begin_small().await?);
        }
        for mut tx in open {
            self.walk(&mut tx, lease).await?;
            tx.rollback().await?;
        }
        Ok(())
    }

    async fn walk(&self, tx: &mut Tx, lease: Uuid) -> Outcome<()> {
        let none = BTreeSet::new();
        take_with_keys(tx, &none, &[]).await?;
        let draws = self.ground(tx, &[], lease, &none).await?.draws(self)?;
        let runs = Runs { jobs: &[], taken: &[], lease, placed: true };
        at_once::write(self, tx, &runs, &draws).await?;
        Ok(())
    }
}
