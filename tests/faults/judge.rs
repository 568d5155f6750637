//! What must hold after every fault, from the store's tables and the simulator's log, and the line
//! of the fault table. Must not know: which fault it was.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::scene::{REQUESTS_PER_MINUTE, Scene};

/// What was found after all jobs had ended.
#[derive(Debug)]
pub(crate) struct Found {
    fault: &'static str,
    pub(crate) jobs: u64,
    /// Jobs that did not come to a result.
    pub(crate) lost: u64,
    pub(crate) duplicate_results: u64,
    /// Calls beyond one a job.
    pub(crate) duplicate_calls: u64,
    /// Attempts that were running when a fault struck.
    pub(crate) in_flight: u64,
    /// Calls whose attempt the store does not have.
    pub(crate) calls_unheard: u64,
    /// Calls whose attempt the store has as never sent.
    pub(crate) calls_denied: u64,
    /// Calls of one attempt beyond the first.
    pub(crate) attempts_called_twice: u64,
    /// Attempts whose outcome stayed unknown.
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) throttled: u64,
    pub(crate) worst_window: u64,
    recovered: Duration,
}

impl Scene {
    /// Waits until every job has ended, stops the workers, counts, checks what no fault excuses and
    /// writes the line of the table.
    pub(crate) async fn judge(&mut self, fault: &'static str, recovered: Duration) -> Found {
        self.until_all_ended().await;
        for worker in &mut self.workers {
            let status = worker.drain(self.size.patience()).await;
            assert!(status.is_some_and(|it| it.success()), "a drained worker ended so: {status:?}");
            assert_eq!(worker.spooled(), 0, "answers were left in the spool");
        }
        let found = self.count(fault, recovered).await;
        found.show();
        found
    }

    /// Of these attempts: how many there are, and of how many it is known that they were answered,
    /// or never sent.
    pub(crate) async fn told(&self, fences: &HashSet<Uuid>) -> (u64, u64) {
        let fences: Vec<Uuid> = fences.iter().copied().collect();
        let query = "select count(*), count(*) filter (where outcome in ('completed', 'not_sent')) \
                     from quarrier.attempt where fence = any($1)";
        let (all, told): (i64, i64) = sqlx::query_as(query)
            .bind(fences)
            .fetch_one(&mut self.cluster.connect().await)
            .await
            .unwrap();
        (u64::try_from(all).unwrap(), u64::try_from(told).unwrap())
    }

    async fn until_all_ended(&self) {
        let ended = async || {
            let query = "select count(*) from quarrier.job where ended_at is null";
            let left: i64 = sqlx::query_scalar(query)
                .fetch_one(&mut self.cluster.connect().await)
                .await
                .unwrap();
            left == 0
        };
        self.until("every job ends", ended).await;
    }

    async fn count(&self, fault: &'static str, recovered: Duration) -> Found {
        let mut store = self.cluster.connect().await;
        let query = "select \
             (select count(*) from quarrier.job) as jobs, \
             (select count(*) from quarrier.job where state = 'succeeded') as succeeded, \
             (select count(*) from quarrier.result) as results, \
             (select count(distinct job_id) from quarrier.result where state = 'succeeded') as jobs_with_result, \
             (select count(*) from quarrier.attempt where outcome is null) as open, \
             (select count(*) from quarrier.attempt where outcome = 'unknown') as unknown, \
             (select count(*) from quarrier.attempt where outcome = 'not_sent') as not_sent";
        let row = sqlx::query(query).fetch_one(&mut store).await.unwrap();
        let number = |name: &str| u64::try_from(row.get::<i64, _>(name)).unwrap();
        assert_eq!(number("jobs"), self.jobs, "jobs in the store");
        assert_eq!(number("succeeded"), number("jobs_with_result"), "a result for each end");
        assert_eq!(number("open"), 0, "no attempt is left open");
        let attempts = attempts(&mut store).await;
        let mut called = HashSet::new();
        let (mut calls, mut calls_unheard, mut calls_denied) = (0, 0, 0);
        let mut attempts_called_twice = 0;
        for call in self.simulated.calls().await {
            let key = (call.job_id, call.attempt);
            calls += 1;
            match attempts.get(&key).map(String::as_str) {
                None => calls_unheard += 1,
                Some("not_sent") => calls_denied += 1,
                Some(_) => {}
            }
            attempts_called_twice += u64::from(!called.insert(key));
        }
        let summary = self.simulated.summary().await;
        Found {
            fault,
            jobs: self.jobs,
            lost: self.jobs - number("succeeded"),
            duplicate_results: number("results") - number("jobs_with_result"),
            duplicate_calls: calls - self.jobs.min(calls),
            in_flight: u64::try_from(self.struck.len()).unwrap(),
            calls_unheard,
            calls_denied,
            attempts_called_twice,
            unknown: number("unknown"),
            not_sent: number("not_sent"),
            throttled: summary.throttled,
            worst_window: summary.worst_window_requests,
            recovered,
        }
    }
}

/// The outcome of every attempt, by its job and number.
async fn attempts(store: &mut PgConnection) -> HashMap<(String, String), String> {
    let query = "select job_id, number, outcome from quarrier.attempt";
    let rows = sqlx::query_as::<_, (Uuid, i32, String)>(query).fetch_all(store).await.unwrap();
    rows.into_iter()
        .map(|(job, number, outcome)| ((job.to_string(), number.to_string()), outcome))
        .collect()
}

impl Found {
    /// What holds after every fault, with at most the calls in flight made again.
    pub(crate) fn expect_at_most_in_flight(&self) {
        assert_eq!((self.lost, self.duplicate_results), (0, 0), "{self:?}");
        assert_eq!((self.calls_unheard, self.calls_denied), (0, 0), "{self:?}");
        assert_eq!(self.attempts_called_twice, 0, "{self:?}");
        assert!(self.duplicate_calls <= self.in_flight, "{self:?}");
        assert_eq!(self.throttled, 0, "{self:?}");
        assert!(self.worst_window <= REQUESTS_PER_MINUTE, "{self:?}");
    }

    /// The same where no fault is one to make a call's outcome unknown.
    pub(crate) fn expect_no_duplicates(&self) {
        self.expect_at_most_in_flight();
        assert_eq!((self.duplicate_calls, self.unknown), (0, 0), "{self:?}");
    }

    fn cells(&self) -> [String; 12] {
        [
            self.fault.to_owned(),
            self.jobs.to_string(),
            self.lost.to_string(),
            self.duplicate_results.to_string(),
            self.duplicate_calls.to_string(),
            self.in_flight.to_string(),
            self.unknown.to_string(),
            self.not_sent.to_string(),
            (self.calls_unheard + self.calls_denied).to_string(),
            format!("{} of {REQUESTS_PER_MINUTE}", self.worst_window),
            self.throttled.to_string(),
            format!("{:.1}", self.recovered.as_secs_f64()),
        ]
    }

    /// One line of the table, to the screen and to the file that `scripts/faults` names.
    fn show(&self) {
        let mut line = String::new();
        for cell in self.cells() {
            write!(line, "| {cell} ").unwrap();
        }
        line.push_str("|\n");
        eprint!("{line}");
        if let Some(path) = std::env::var_os("FAULTS_TABLE") {
            let mut table = File::options().create(true).append(true).open(path).unwrap();
            table.write_all(line.as_bytes()).unwrap();
        }
    }
}
