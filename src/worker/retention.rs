//! Deletes what has been kept long enough, in short writes with pauses between them.
//! Must not know: which jobs those are (the store decides), or how long anything is kept.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Bench;
use crate::store::{RetainAsk, RetentionStage, StoreResult};

/// How often a worker looks whether something is over. Days are counted, so a minute is soon.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// After each write it waits for so many times as long as the write took: of a store's time,
/// retention takes a fifth at most.
const PAUSE_FACTOR: u32 = 4;

/// The shortest pause between two writes.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The first write takes so few rows; how many the next takes depends on how long it took.
const ROWS_FIRST: u32 = 50;

/// Looks now and then until `done`.
pub(super) async fn keep(bench: Arc<Bench>, done: CancellationToken) {
    let mut rows = ROWS_FIRST;
    // At once the first time: workers that live for less than a minute delete too.
    loop {
        for stage in RetentionStage::ALL {
            if let Err(error) = round(&bench, stage, &mut rows, &done).await {
                tracing::warn!(%error, "retention goes on later");
            }
        }
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Deletes until nothing of this stage is over, or another process is at it.
async fn round(
    bench: &Bench,
    stage: RetentionStage,
    rows: &mut u32,
    done: &CancellationToken,
) -> StoreResult<()> {
    let policy = &bench.options.retention;
    let mut jobs: u64 = 0;
    loop {
        let rows_max = (*rows).clamp(1, bench.options.write_rows_max.max(1));
        let ask = RetainAsk { stage, policy: policy.clone(), rows_max, look_after: None };
        let begun = bench.clock.now().mono_ms;
        let retained = bench.store.retain(&ask).await?;
        let took_ms = bench.clock.now().mono_ms.saturating_sub(begun);
        jobs += u64::from(retained.jobs);
        *rows = rows_next(rows_max, took_ms, bench.options.write_ms_max);
        if !retained.more || retained.busy {
            break;
        }
        let pause = Duration::from_millis(took_ms).saturating_mul(PAUSE_FACTOR).max(PAUSE_MIN);
        tokio::select! {
            () = done.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    if jobs > 0 {
        let what = stage.as_str();
        tracing::info!(jobs, what, "retention deleted what was over");
    }
    Ok(())
}

/// Fewer rows after a write that took too long, more after a quick one.
fn rows_next(rows: u32, took_ms: u64, write_ms_max: u64) -> u32 {
    if took_ms > write_ms_max {
        (rows / 2).max(1)
    } else if took_ms.saturating_mul(2) < write_ms_max {
        rows.saturating_mul(2)
    } else {
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_shrink_when_they_take_too_long_and_grow_when_there_is_time() {
        assert_eq!(rows_next(100, 51, 50), 50);
        assert_eq!(rows_next(1, 51, 50), 1);
        assert_eq!(rows_next(100, 40, 50), 100);
        assert_eq!(rows_next(100, 10, 50), 200);
    }
}
