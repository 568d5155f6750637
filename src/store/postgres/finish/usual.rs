//! The usual group of finishes: each of the attempt that its job is running, and it ends the job. One
//! statement looks, locks and writes, where any other group is looked at first. What the calls took is
//! left for whoever next holds their keys' locks: this group takes none of them.
//! Must not know: what the call is charged.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::record::{Bodies, Columns};
use crate::store::postgres::end::{self, End};
use crate::store::postgres::error::Outcome;
use crate::store::postgres::session::Tx;
use crate::store::postgres::settlement::{Charged, Settlements};
use crate::store::postgres::{PostgresStore, bulk};
use crate::store::{Finish, Finished, Next, Settlement};

/// An attempt that has ended its job, as it stood before.
struct Noted {
    fence: Uuid,
    slot: i64,
    /// As one text.
    keys: String,
    reserved_tokens: i64,
    /// Those jobs of the whole group that reply; with one of its rows.
    replies: Option<Vec<Uuid>>,
    now: i64,
}

impl PostgresStore {
    /// Ends the jobs of these finishes, and leaves what they took to be settled. False where one of
    /// them is not its job's own any more: then the transaction has done a part, and is to be rolled
    /// back.
    pub(super) async fn end_usual(&self, tx: &mut Tx, ends: &[&Finish]) -> Outcome<bool> {
        let noted = self.write_usual(tx, ends).await?;
        let Some(now) = noted.first().map(|noted| noted.now).filter(|_| noted.len() == ends.len())
        else {
            return Ok(false);
        };
        let replies: Vec<Uuid> =
            noted.iter().filter_map(|noted| noted.replies.as_deref()).flatten().copied().collect();
        let took: HashMap<Uuid, Settlement> =
            ends.iter().map(|finish| (finish.key.fence, finish.settlement)).collect();
        let charged = noted.iter().filter_map(|noted| {
            let (slot, reserved_tokens) =
                (bulk::uint(noted.slot), bulk::uint(noted.reserved_tokens));
            let charged = Charged { keys: &noted.keys, slot, reserved_tokens };
            Some((charged, *took.get(&noted.fence)?))
        });
        let settlements = Settlements::of(charged, self.lane_time(now))?;
        let done: Vec<End<'_>> = ends.iter().filter_map(|finish| End::of(finish)).collect();
        let done: Vec<&End<'_>> = done.iter().collect();
        end::insert_results(tx, &done, &replies, &settlements, now).await?;
        Ok(true)
    }

    /// The attempts whose jobs have ended by this; none unless all of them have.
    async fn write_usual(&self, tx: &mut Tx, ends: &[&Finish]) -> Outcome<Vec<Noted>> {
        let all = || ends.iter().copied();
        let of = Columns::of(ends)?;
        let fences: Vec<Uuid> = all().map(|finish| finish.key.fence).collect();
        let done = || all().filter_map(End::of);
        let states: Vec<&str> = done().map(|end| end.state.as_str()).collect();
        let said = Bodies::of(ends);
        let noted = sqlx::query_file_as!(
            Noted,
            "src/store/postgres/finish_usual.sql",
            &of.ids,
            &of.numbers,
            &fences,
            &states as _,
            &bulk::sparse(done().map(|end| end.kind())) as _,
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
        Ok(noted)
    }
}

/// What became of each finish of a usual group, once its transaction is committed.
pub(super) fn answers(group: &[Finish]) -> Vec<Finished> {
    group.iter().filter_map(End::of).map(|end| Finished::Moved(end.state)).collect()
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
