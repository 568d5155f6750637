//! What must hold after every fault on the way of messages, from the queues, the store's tables and
//! the simulator's log; and the line of the table. Must not know: which fault it was.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use serde::Deserialize;

use crate::exchange::{Exchange, Mode, asks};
use crate::queues::Letter;
use crate::scene::REQUESTS_PER_MINUTE;

/// What was found after all messages had been answered.
#[derive(Debug)]
pub(crate) struct Tally {
    fault: &'static str,
    mode: Mode,
    messages: u64,
    /// Good documents that did not come to a result.
    lost: u64,
    duplicate_results: u64,
    /// Calls beyond one a job.
    duplicate_calls: u64,
    /// Attempts that were running when their worker was struck.
    in_flight: u64,
    /// Answers beyond one a job.
    duplicate_replies: u64,
    duplicate_replies_max: u64,
    recovered: Duration,
    /// The dead-letter queue.
    pub(crate) dead: Vec<Letter>,
    /// Answers of messages that came to no job.
    pub(crate) refusals: Vec<Answer>,
}

/// What an answer says of its job.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answer {
    pub(crate) job_id: String,
    state: String,
    metadata: Option<Metadata>,
}

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    number: Option<u64>,
}

impl Exchange {
    /// Waits until every message is answered and gone, stops the workers, counts, checks what no
    /// fault excuses and writes the line of the table.
    pub(crate) async fn judge(&mut self, fault: &'static str, recovered: Duration) -> Tally {
        self.until_done().await;
        for worker in &mut self.workers {
            let status = worker.drain(self.size.patience()).await;
            assert!(status.is_some_and(|it| it.success()), "a drained worker ended so: {status:?}");
            assert_eq!(worker.spooled(), 0, "answers were left in the spool");
        }
        assert_eq!(self.queues.left().await.all(), 0, "messages are left");
        let tally = self.tally(fault, recovered).await;
        tally.show();
        tally
    }

    /// Waits until everything is done, and then until nothing is left of the messages.
    pub(crate) async fn until_done(&self) {
        self.until_stored(self.sent + self.bad).await;
        let all_of = |from: &'static str| async move || self.kept.count(from).await == 0;
        self.until("every job ends", all_of("quarrier.job where ended_at is null")).await;
        let due = "quarrier.delivery where state = 'due'";
        self.until("every answer is sent", all_of(due)).await;
        let is_empty = async || self.queues.left().await.all() == 0;
        self.until("every message is gone", is_empty).await;
        self.until("no message is noted as held", all_of("quarrier.intake")).await;
    }

    async fn tally(&self, fault: &'static str, recovered: Duration) -> Tally {
        let jobs = self.kept.count("quarrier.job").await;
        assert_eq!(jobs, self.sent + self.bad, "a job for each document and each bad message");
        let states = self.states().await;
        let results = self.kept.count("quarrier.result").await;
        let open = self.kept.count("quarrier.attempt where outcome is null").await;
        assert_eq!(open, 0, "no attempt is left open");
        let succeeded =
            u64::try_from(states.values().filter(|state| state.as_str() == "succeeded").count());
        let calls = self.judge_calls().await;
        let (replies, refusals) = self.judge_answers(&states).await;
        Tally {
            fault,
            mode: self.mode,
            messages: self.messages(),
            lost: self.sent - succeeded.unwrap(),
            duplicate_results: results - jobs,
            duplicate_calls: calls - self.sent.min(calls),
            in_flight: u64::try_from(self.struck.len()).unwrap(),
            duplicate_replies: replies,
            duplicate_replies_max: self.replies_again_max().await,
            recovered,
            dead: self.queues.read_dead().await,
            refusals,
        }
    }

    /// How each job has ended, by its id.
    async fn states(&self) -> HashMap<String, String> {
        let query = "select cast(job_id as text), state from quarrier.result";
        let rows = self.kept.rows(query).await.into_iter();
        rows.map(|row| (row[0].clone(), row[1].clone())).collect()
    }

    /// Every call is an attempt that the store has, and none was made twice. Returns how many.
    async fn judge_calls(&self) -> u64 {
        let query = "select cast(job_id as text), cast(number as text), outcome \
                     from quarrier.attempt where outcome is not null";
        let rows = self.kept.rows(query).await.into_iter();
        let attempts: HashMap<(String, String), String> =
            rows.map(|row| ((row[0].clone(), row[1].clone()), row[2].clone())).collect();
        let mut called = HashSet::new();
        for call in self.simulated.calls().await {
            let key = (call.job_id, call.attempt);
            let outcome = attempts.get(&key).map(String::as_str);
            assert!(outcome.is_some(), "the store has no attempt of the call {key:?}");
            assert_ne!(outcome, Some("not_sent"), "{key:?} was called, and stands as never sent");
            assert!(called.insert(key.clone()), "{key:?} was called twice");
        }
        let summary = self.simulated.summary().await;
        assert_eq!(summary.throttled, 0, "the quota was kept");
        assert!(summary.worst_window_requests <= REQUESTS_PER_MINUTE, "{summary:?}");
        u64::try_from(called.len()).unwrap()
    }

    /// Every job that asks has an answer which says what the store says, and no other has one.
    /// Returns how many there are beyond one a job, and those of bad messages.
    async fn judge_answers(&self, states: &HashMap<String, String>) -> (u64, Vec<Answer>) {
        let undelivered = self.kept.count("quarrier.delivery where state <> 'delivered'").await;
        assert_eq!(undelivered, 0, "every answer is delivered");
        let asked = self.kept.texts("select cast(job_id as text) from quarrier.delivery").await;
        let letters = self.queues.read_answers().await;
        let (mut answered, mut numbers) = (HashSet::new(), HashSet::new());
        let (mut refusals, mut duplicates) = (Vec::new(), 0);
        for letter in &letters {
            let answer: Answer = serde_json::from_str(&letter.body).unwrap();
            assert_eq!(states.get(&answer.job_id), Some(&answer.state), "{}", letter.body);
            let number = answer.metadata.as_ref().and_then(|metadata| metadata.number);
            numbers.extend(number);
            if !answered.insert(answer.job_id.clone()) {
                duplicates += 1;
            } else if number.is_none() {
                refusals.push(answer);
            }
        }
        assert_eq!(answered, asked, "an answer for each job that asks");
        let expected: HashSet<u64> = (0..self.sent).filter(|number| asks(*number)).collect();
        assert_eq!(numbers, expected, "an answer to each document that asks");
        (duplicates, refusals)
    }
}

impl Tally {
    /// What holds after every fault: no more calls were made again than were in flight, and no more
    /// answers were sent again than had an unknown end.
    pub(crate) fn expect_at_most_in_flight(&self) {
        assert_eq!((self.lost, self.duplicate_results), (0, 0), "{self:?}");
        assert!(self.duplicate_calls <= self.in_flight, "{self:?}");
        assert!(self.duplicate_replies <= self.duplicate_replies_max, "{self:?}");
    }

    /// The same where nobody dies: no call is made again.
    pub(crate) fn expect_no_calls_again(&self) {
        self.expect_at_most_in_flight();
        assert_eq!(self.duplicate_calls, 0, "{self:?}");
    }

    /// The same where nothing breaks that an answer meets on its way.
    pub(crate) fn expect_no_duplicates(&self) {
        self.expect_no_calls_again();
        assert_eq!(self.duplicate_replies, 0, "{self:?}");
    }

    fn cells(&self) -> [String; 9] {
        [
            self.fault.to_owned(),
            self.mode.words().to_owned(),
            self.messages.to_string(),
            self.lost.to_string(),
            self.duplicate_results.to_string(),
            self.duplicate_calls.to_string(),
            self.in_flight.to_string(),
            self.duplicate_replies.to_string(),
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
        if let Some(path) = std::env::var_os("FAULTS_MESSAGES_TABLE") {
            let mut table = File::options().create(true).append(true).open(path).unwrap();
            table.write_all(line.as_bytes()).unwrap();
        }
    }
}
