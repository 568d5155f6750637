//! Calls of this process that the store has forgotten, because a failover lost their commits: each
//! is brought back, so that it is charged, and neither made again nor thrown away (G5).
//! Must not know: how a store loses commits, or what is charged.

use super::Bench;
use crate::job::Outcome;
use crate::store::{AttemptKey, Finish, Finished, LostAttempt, Restored, StoreResult};

/// Calls in flight that the store does not count as running under the present lease.
pub(super) async fn in_flight(bench: &Bench, missing: &[AttemptKey]) -> StoreResult<()> {
    let lost = bench.flight.lost(missing, bench.clock.now().mono_ms);
    let restored = restore(bench, &lost).await?;
    for (lost, restored) in lost.iter().zip(&restored) {
        let key = match restored {
            Restored::Known(key) | Restored::Running(key) | Restored::Beside(key) => *key,
            Restored::Gone => lost.key,
        };
        bench.flight.asserted(key);
    }
    let count = |is: fn(&Restored) -> bool| restored.iter().filter(|it| is(it)).count();
    let running = count(|restored| matches!(restored, Restored::Running(_)));
    let beside = count(|restored| matches!(restored, Restored::Beside(_)));
    if running + beside > 0 {
        tracing::warn!(
            running,
            beside,
            "the store has lost calls in flight: they are recorded and charged again, and the jobs \
             of {beside} have ended or are called elsewhere too"
        );
    }
    Ok(())
}

/// Hands in again what the store confirmed a moment ago and may have lost since.
pub(super) async fn finished(bench: &Bench, finishes: &[Finish]) -> StoreResult<()> {
    let mut again = 0;
    for group in finishes.chunks(bench.options.finish_rows_max.max(1)) {
        let mut outcomes = bench.store.finish(group).await?;
        lost(bench, group, &mut outcomes).await?;
        let known = |outcome: &&Finished| matches!(outcome, Finished::Replayed | Finished::Lost);
        again += outcomes.len() - outcomes.iter().filter(known).count();
    }
    if again > 0 {
        tracing::warn!(answers = again, "the store has lost answers, they are recorded again");
    }
    Ok(())
}

/// Of finishes whose attempts the store does not know, those that were called are restored and
/// recorded after all; their outcomes are put in the place of the first.
pub(super) async fn lost(
    bench: &Bench,
    group: &[Finish],
    outcomes: &mut [Finished],
) -> StoreResult<()> {
    // What was never sent is nobody's loss.
    let is_lost = |finish: &Finish, outcome: Finished| {
        outcome == Finished::Lost && finish.outcome != Outcome::NotSent
    };
    let both = group.iter().zip(&*outcomes);
    let finishes: Vec<&Finish> =
        both.filter(|(finish, outcome)| is_lost(finish, **outcome)).map(|(it, _)| it).collect();
    if finishes.is_empty() {
        return Ok(());
    }
    let keys: Vec<AttemptKey> = finishes.iter().map(|finish| finish.key).collect();
    // Until it is recorded the row is ours, whoever made the call.
    bench.flight.adopt(&keys);
    // After an error too: what was restored may be ours now, and the next try records it.
    let mut recorded = record(bench, &finishes).await?.into_iter();
    let fences: Vec<_> = keys.iter().map(|key| key.fence).collect();
    bench.flight.forget_asked(&fences);
    for (finish, outcome) in group.iter().zip(outcomes) {
        if is_lost(finish, *outcome) {
            *outcome = recorded.next().unwrap_or(Finished::Lost);
        }
    }
    Ok(())
}

/// Restores the attempts of these finishes and hands in those that are there again.
async fn record(bench: &Bench, finishes: &[&Finish]) -> StoreResult<Vec<Finished>> {
    let keys: Vec<AttemptKey> = finishes.iter().map(|finish| finish.key).collect();
    let lost = bench.flight.lost_at_their_end(&keys, bench.clock.now().mono_ms);
    let restored = restore(bench, &lost).await?;
    let mut again = Vec::with_capacity(finishes.len());
    for (finish, restored) in finishes.iter().zip(&restored) {
        match restored {
            Restored::Known(key) | Restored::Running(key) | Restored::Beside(key) => {
                again.push(Finish { key: *key, ..(*finish).clone() });
            }
            Restored::Gone => {}
        }
    }
    let mut recorded = bench.store.finish(&again).await?.into_iter();
    let outcome = |restored: &Restored| match restored {
        Restored::Gone => Finished::Lost,
        _ => recorded.next().unwrap_or(Finished::Lost),
    };
    Ok(restored.iter().map(outcome).collect())
}

async fn restore(bench: &Bench, lost: &[LostAttempt]) -> StoreResult<Vec<Restored>> {
    let rows_max = usize::try_from(bench.options.write_rows_max.max(1)).unwrap_or(1);
    let mut restored = Vec::with_capacity(lost.len());
    for some in lost.chunks(rows_max) {
        restored.extend(bench.store.restore(bench.lease_id(), some).await?);
    }
    Ok(restored)
}
