//! Hands the spool's finishes to the store, when it takes them again.
//! Must not know: how an attempt came out, or why its finish was spooled.

use std::io;
use std::path::Path;

use super::spool::Aside;
use super::{Bench, finisher, report, restore};
use crate::store::{Finish, Finished, StoreError};

/// The store is away: the rest stays where it is.
struct Away;

/// Replays every file, oldest first. One bad line or one finish that the store refuses is put
/// aside and keeps nothing else from being stored.
pub(super) async fn spool(bench: &Bench) {
    let (waited, written) = (bench.spool.waits(), bench.spool.written());
    let files = match bench.spool.files().await {
        Ok(files) => files,
        Err(error) => {
            tracing::error!(%error, "spool not read");
            return;
        }
    };
    for path in files {
        if let Err(Away) = file(bench, &path).await {
            return;
        }
        bench.status.notify();
    }
    bench.spool.replayed(written);
    if waited {
        bench.wake.notify_one();
    }
}

async fn file(bench: &Bench, path: &Path) -> Result<(), Away> {
    let (finishes, unreadable) = match bench.spool.read(path).await {
        Ok(read) => read,
        // Another process that shares the folder was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "spool file not read");
            return Ok(());
        }
    };
    let mut refused = 0;
    for group in finishes.chunks(bench.options.finish_rows_max.max(1)) {
        bench.pulses.upkeep.lap_if_going(bench.clock.now().mono_ms);
        refused += store(bench, group).await?;
    }
    let aside = match (refused, unreadable) {
        (0, 0) => None,
        (0, _) => Some(Aside::Unreadable),
        _ => Some(Aside::Refused),
    };
    let path_shown = path.display();
    tracing::warn!(
        answers = finishes.len() - refused,
        refused,
        unreadable,
        path = %path_shown,
        "answers of the spool are stored"
    );
    match bench.spool.done(path, aside).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %path_shown, %error, "spool file not removed");
        }
        _ => {}
    }
    Ok(())
}

/// Stores a group, one by one where it is refused as a whole; returns how many are refused alone.
async fn store(bench: &Bench, group: &[Finish]) -> Result<usize, Away> {
    match bench.store.finish(group).await {
        Ok(mut outcomes) => {
            restored(bench, group, &mut outcomes).await?;
            report(bench, group, &outcomes);
            return Ok(0);
        }
        Err(StoreError::Data(_) | StoreError::Bug(_)) => {}
        Err(error @ (StoreError::Transient(_) | StoreError::Refused(_))) => {
            tracing::warn!(%error, "spool not replayed yet");
            return Err(Away);
        }
    }
    let mut refused = 0;
    for finish in group {
        refused += usize::from(!store_alone(bench, finish).await?);
    }
    Ok(refused)
}

/// What the store knows no attempt of is brought back, or waits in its file.
async fn restored(bench: &Bench, group: &[Finish], outcomes: &mut [Finished]) -> Result<(), Away> {
    restore::lost(bench, group, outcomes).await.map_err(|error| {
        tracing::warn!(%error, "spool not replayed yet");
        Away
    })
}

/// Stores one finish, in a form that any column holds if need be; false if the store refuses both.
async fn store_alone(bench: &Bench, finish: &Finish) -> Result<bool, Away> {
    let error = match bench.store.finish(std::slice::from_ref(finish)).await {
        Ok(mut outcomes) => {
            restored(bench, std::slice::from_ref(finish), &mut outcomes).await?;
            report(bench, std::slice::from_ref(finish), &outcomes);
            return Ok(true);
        }
        Err(StoreError::Transient(_) | StoreError::Refused(_)) => return Err(Away),
        Err(error) => error,
    };
    let tame = [finisher::unstorable(finish, &error)];
    match bench.store.finish(&tame).await {
        Ok(outcomes) => {
            report(bench, &tame, &outcomes);
            Ok(true)
        }
        Err(StoreError::Transient(_) | StoreError::Refused(_)) => Err(Away),
        Err(error) => {
            tracing::error!(job.id = %finish.key.job_id, %error, "an answer cannot be stored at all");
            Ok(false)
        }
    }
}

fn report(bench: &Bench, group: &[Finish], outcomes: &[Finished]) {
    for (finish, outcome) in group.iter().zip(outcomes) {
        bench.flight.stored(finish.key.fence);
        if *outcome != Finished::Replayed {
            report::count(bench, finish, None, *outcome);
        }
    }
}
