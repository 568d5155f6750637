//! Lets in what other programs have put before the store: looks when told, and else at each poll.
//! Must not know: who put it there, or how it is claimed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::finisher::FinisherRef;
use super::{Bench, at_once};
use crate::admit::{Origin, Overrides};
use crate::clock::Now;
use crate::job::Problem;
use crate::store::{LimitRule, NewJob, StoreError, StoreResult, Submission};

/// Limits are read anew after this. A document that fits no limit any more is found by its claim.
const LIMITS_MS: u64 = 1_000;

/// The limits that documents are held to, and when they were read.
#[derive(Default)]
struct Limits {
    rules: Vec<LimitRule>,
    read_mono_ms: Option<u64>,
}

impl Limits {
    /// Reads them where they were read so long ago, in ms.
    async fn refresh(&mut self, bench: &Bench, age_ms: u64) -> StoreResult<()> {
        let now_ms = bench.clock.now().mono_ms;
        if self.read_mono_ms.is_none_or(|read_ms| now_ms.saturating_sub(read_ms) >= age_ms) {
            self.rules = bench.store.limits().await?;
            self.read_mono_ms = Some(now_ms);
        }
        Ok(())
    }
}

/// What one look found.
#[derive(Default)]
struct Look {
    seen: usize,
    /// How many run already.
    started: usize,
}

/// Lets in until `done`.
pub(super) async fn keep(bench: Arc<Bench>, finisher: FinisherRef, done: CancellationToken) {
    let mut limits = Limits::default();
    let rows_max = usize::try_from(bench.options.write_rows_max).unwrap_or(usize::MAX);
    let period = Duration::from_millis(bench.options.poll_ms.max(1));
    let mut told = false;
    loop {
        let look = match admit(&bench, &finisher, &mut limits).await {
            Ok(look) => look,
            Err(error) => {
                tracing::warn!(%error, "submissions not admitted");
                Look::default()
            }
        };
        if done.is_cancelled() {
            return;
        }
        if look.started > 0 || look.seen >= rows_max.max(1) {
            // Another look, which also prepares for what comes next while the calls run. What this was
            // told of may have been a job as well.
            if told {
                bench.wake.notify_one();
            }
            told = false;
            continue;
        }
        if told {
            // What this was told of is a job, or another worker lets it in.
            bench.wake.notify_one();
        }
        told = tokio::select! {
            () = done.cancelled() => return,
            () = bench.submitted.notified() => true,
            () = tokio::time::sleep(period) => false,
        };
    }
}

/// Lets in the oldest submissions.
async fn admit(
    bench: &Arc<Bench>,
    finisher: &FinisherRef,
    limits: &mut Limits,
) -> StoreResult<Look> {
    let submissions = bench.store.submissions(bench.options.write_rows_max).await?;
    if submissions.is_empty() {
        // Early, so that the next submission need not wait for it.
        limits.refresh(bench, LIMITS_MS / 2).await?;
        return Ok(Look::default());
    }
    limits.refresh(bench, LIMITS_MS).await?;
    let seen = submissions.len();
    let now = bench.clock.now();
    let jobs = submissions.into_iter().map(|row| prepared(bench, row, &limits.rules, now));
    let (due, mut jobs): (Vec<_>, Vec<_>) =
        jobs.partition(|(_, job)| job.resolved.is_ok() && job.run_at <= now.wall_ms);
    let (left, started) = at_once::start_submitted(bench, finisher, due).await;
    jobs.extend(left);
    if jobs.is_empty() {
        return Ok(Look { seen, started });
    }
    match bench.store.admit_submissions(jobs.clone()).await {
        // One that cannot be stored must not keep the others waiting.
        Err(StoreError::Data(_)) => admit_apart(bench, jobs).await?,
        admitted => log_rejected(&jobs, &admitted?),
    }
    bench.wake.notify_one();
    Ok(Look { seen, started })
}

/// The job of a submission, with the row's key; a failed one where it cannot be admitted.
fn prepared(bench: &Bench, row: Submission, limits: &[LimitRule], now: Now) -> (String, NewJob) {
    // With it a second admission after a lost commit finds the first.
    let origin = Origin { identity: row.identity, ..Origin::default() };
    let text = &row.document;
    let prepared = bench.admission.prepare(text, &Overrides::default(), origin, limits, now);
    // A rejected one leaves the row's key free for the corrected document.
    let mut job = prepared.unwrap_or_else(|problems| {
        bench.admission.rejected(text, &problems, Origin::default(), now)
    });
    job.job_id = row.job_id.unwrap_or(job.job_id);
    (row.id, job)
}

/// Of several workers that look at a submission, the one that took it says that it is rejected.
fn log_rejected(jobs: &[(String, NewJob)], taken: &[String]) {
    for (id, job) in jobs.iter().filter(|(id, _)| taken.contains(id)) {
        if let Err(reasons) = &job.resolved {
            tracing::warn!(submission.id = id, "submission rejected: {reasons}");
        }
    }
}

async fn admit_apart(bench: &Bench, jobs: Vec<(String, NewJob)>) -> StoreResult<()> {
    let mut stays = Ok(());
    for (id, job) in jobs {
        let (own_id, document, reply) = (job.job_id, job.document.clone(), job.reply.clone());
        let alone = [(id.clone(), job)];
        let refusal = match bench.store.admit_submissions(alone.to_vec()).await {
            Err(StoreError::Data(refusal)) => refusal,
            admitted => {
                log_rejected(&alone, &admitted?);
                continue;
            }
        };
        tracing::warn!(submission.id = id, "submission cannot be stored: {refusal}");
        let problems = [Problem::new("$", format!("cannot be stored: {refusal}"))];
        let (origin, now) = (Origin::default(), bench.clock.now());
        let fresh = NewJob { reply, ..bench.admission.rejected(&document, &problems, origin, now) };
        let rejected = NewJob { job_id: own_id, ..fresh.clone() };
        if bench.store.admit_submissions(vec![(id.clone(), rejected)]).await.is_ok() {
            continue;
        }
        // Its id may be what cannot be stored: a program that inserts by itself can give any.
        if let Err(error) = bench.store.admit_submissions(vec![(id.clone(), fresh)]).await {
            tracing::error!(submission.id = id, %error, "submission stays where it is");
            stays = Err(error);
        }
    }
    stays
}
