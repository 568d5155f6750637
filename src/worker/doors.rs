//! Lets in what other programs have put before the store: looks when told, and else at each poll.
//! Must not know: who put it there, or how it is claimed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Bench;
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
    async fn refresh(&mut self, bench: &Bench) -> StoreResult<()> {
        let now_ms = bench.clock.now().mono_ms;
        if self.read_mono_ms.is_none_or(|read_ms| now_ms.saturating_sub(read_ms) >= LIMITS_MS) {
            self.rules = bench.store.limits().await?;
            self.read_mono_ms = Some(now_ms);
        }
        Ok(())
    }
}

/// Lets in until `done`.
pub(super) async fn keep(bench: Arc<Bench>, done: CancellationToken) {
    let mut limits = Limits::default();
    let rows_max = usize::try_from(bench.options.write_rows_max).unwrap_or(usize::MAX);
    let period = Duration::from_millis(bench.options.poll_ms.max(1));
    loop {
        let more = match admit(&bench, &mut limits).await {
            Ok(admitted) => admitted >= rows_max,
            Err(error) => {
                tracing::warn!(%error, "submissions not admitted");
                false
            }
        };
        if done.is_cancelled() {
            return;
        }
        if more {
            continue;
        }
        tokio::select! {
            () = done.cancelled() => return,
            () = bench.submitted.notified() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
}

/// Admits the oldest submissions; returns how many were seen.
async fn admit(bench: &Bench, limits: &mut Limits) -> StoreResult<usize> {
    let submissions = bench.store.submissions(bench.options.write_rows_max).await?;
    if submissions.is_empty() {
        return Ok(0);
    }
    limits.refresh(bench).await?;
    let seen = submissions.len();
    let now = bench.clock.now();
    let jobs: Vec<(String, NewJob)> =
        submissions.into_iter().map(|row| prepared(bench, row, &limits.rules, now)).collect();
    match bench.store.admit_submissions(jobs.clone()).await {
        // One that cannot be stored must not keep the others waiting.
        Err(StoreError::Data(_)) => admit_apart(bench, jobs).await?,
        admitted => log_rejected(&jobs, &admitted?),
    }
    bench.wake.notify_one();
    Ok(seen)
}

/// The job of a submission, with the row's key; a failed one where it cannot be admitted.
fn prepared(bench: &Bench, row: Submission, limits: &[LimitRule], now: Now) -> (String, NewJob) {
    // With it a second admission after a lost commit finds the first.
    let origin = Origin { identity: row.identity, batch: None };
    let text = &row.document;
    let prepared = bench.admission.prepare(text, &Overrides::default(), origin, limits, now);
    let mut job =
        prepared.unwrap_or_else(|problems| bench.admission.rejected(text, &problems, now));
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
        let (own_id, document) = (job.job_id, job.document.clone());
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
        let fresh = bench.admission.rejected(&document, &problems, bench.clock.now());
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
