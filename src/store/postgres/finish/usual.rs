//! The usual group of finishes: each of the attempt that its job is running, and it ends the job. One
//! statement looks, locks and writes, where any other group is looked at first. What the calls took is
//! left for whoever next holds their keys' locks: this group takes none of them.
//! Must not know: what the call is charged.

use std::collections::HashSet;

use uuid::Uuid;

use super::Recorded;
use super::record::{Bodies, Columns};
use crate::store::postgres::end::{self, End};
use crate::store::postgres::error::Outcome;
use crate::store::postgres::session::Tx;
use crate::store::postgres::settlement::Settlements;
use crate::store::postgres::{PostgresStore, bulk};
use crate::store::shared::settling::{Record, Records};
use crate::store::{Finish, Next};

impl PostgresStore {
    /// Ends the jobs of these finishes, and leaves what they took to be settled. None where one of
    /// them is not its job's own any more: then the transaction has done a part, and is to be rolled
    /// back.
    pub(super) async fn end_usual(
        &self,
        tx: &mut Tx,
        ends: &[&Finish],
    ) -> Outcome<Option<Recorded>> {
        let (records, replies, now) = self.write_usual(tx, ends).await?;
        if records.len() < ends.len() {
            return Ok(None);
        }
        let done: Vec<End<'_>> = ends.iter().filter_map(|finish| End::of(finish)).collect();
        let winners: Vec<&End<'_>> = done.iter().collect();
        let settlements = Settlements::of(ends, &records, self.lane_time(now))?;
        end::insert_results(tx, &winners, &replies, &settlements, now).await?;
        let ended: HashSet<Uuid> = done.iter().map(|end| end.job).collect();
        Ok(Some(Recorded { records, ended }))
    }

    /// The attempts whose jobs have ended by this, as they stood before; those of the jobs that
    /// reply; and when.
    async fn write_usual(
        &self,
        tx: &mut Tx,
        ends: &[&Finish],
    ) -> Outcome<(Records, Vec<Uuid>, i64)> {
        let all = || ends.iter().copied();
        let of = Columns::of(ends)?;
        let fences: Vec<Uuid> = all().map(|finish| finish.key.fence).collect();
        let (states, reasons): (Vec<&str>, Vec<Option<&str>>) =
            all().filter_map(End::of).map(|end| (end.state.as_str(), end.kind())).unzip();
        let said = Bodies::of(ends);
        let rows = sqlx::query_file!(
            "src/store/postgres/finish_usual.sql",
            &of.ids,
            &of.numbers,
            &fences,
            &states as _,
            &reasons as _,
            &of.outcomes as _,
            &of.settled as _,
            &of.kinds as _,
            &of.messages as _,
            &of.inputs as _,
            &of.outputs as _,
            &of.reads as _,
            &of.writes as _,
            &of.costs as _,
            &of.requests as _,
            &of.firsts as _,
            &of.totals as _,
            &of.stops as _,
            &said.texts as _,
            &said.exact as _,
            &said.errors as _,
            self.now_of_process()
        )
        .fetch_all(tx.on())
        .await?;
        let now = rows.first().map_or(0, |row| row.now);
        let replies = rows.iter().filter(|row| row.reply).map(|row| row.job_id).collect();
        let records = rows.into_iter().map(|row| Record {
            fence: row.fence,
            slot: bulk::uint(row.slot),
            keys: row.keys,
            reserved_tokens: bulk::uint(row.reserved_tokens),
            outcome: None,
            lane: row.lane,
            current: true,
            gone: false,
        });
        Ok((records.map(|record| (record.fence, record)).collect(), replies, now))
    }
}

/// All of them, in the order of their jobs, which is that of locks; none unless each ends its job, a
/// job of its own, and says nothing of its lane.
pub(super) fn usual(group: &[Finish]) -> Option<Vec<&Finish>> {
    let mut jobs = HashSet::with_capacity(group.len());
    let is_usual = |finish: &Finish| {
        matches!(finish.next, Next::End { .. })
            && !finish.lane.throttled
            && finish.lane.pause_ms.is_none()
            && jobs.insert(finish.key.job_id)
    };
    if !group.iter().all(is_usual) {
        return None;
    }
    let mut usual: Vec<&Finish> = group.iter().collect();
    usual.sort_unstable_by_key(|finish| finish.key.job_id);
    Some(usual)
}
