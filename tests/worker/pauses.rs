//! A lane that is out of order: paused with one line, tried by one call, and no job fails for it.
//! Must not know: when a lane is out of order; `retry::Lane`'s own tests do.

use std::sync::{Arc, Mutex};

use quarrier::budget::{Dimension, Limit};
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::provider::CallError;
use quarrier::provider::FailedCharge::{None as Free, NotSent, Unknown};
use quarrier::retry::Policy;
use quarrier::store::{KeyLevel, ReadStore as _};
use quarrier::worker::{Status, WaitingFor, WorkerOptions};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::subscriber::DefaultGuard;

use crate::bed::{Bed, policy};
use crate::scripted::{Scripted, Step, answer, fail, failure};
use crate::{LONGEST, within};

/// What is logged on this thread at `info` and above.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::INFO)
            .with_writer({
                let lines = Arc::clone(&lines);
                move || Shared(Arc::clone(&lines))
            })
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The events of this level.
    fn of(&self, level: &str) -> Vec<Value> {
        let text = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["level"] == level).collect()
    }
}

/// Runs a test's body on this thread alone, which hears all of its log.
fn heard_within<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONGEST, body).await.expect("took too long") })
}

fn is_about_a_pause(event: &Value) -> bool {
    event["target"] == "quarrier::lanes"
}

#[test]
fn a_thousand_jobs_without_credentials_wait_with_one_line_a_pause() {
    let log = Log::listen();
    heard_within(async {
        let bed = Bed::new().await;
        let jobs = 1_000;
        for _ in 0..jobs {
            bed.job().await;
        }
        let (slots, failing) = (16, 21);
        // The first burst fails together, as calls in flight do; then one probe after the other.
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |number, _| match number {
                _ if number <= slots => {
                    Step::Wait(Arc::clone(&gate), Box::new(fail(ErrorKind::Credentials, NotSent)))
                }
                _ if number <= failing => fail(ErrorKind::Credentials, NotSent),
                _ => answer("Signed in."),
            }
        });
        let mut options = bed.options();
        options.concurrency = u32::try_from(slots).unwrap();
        options.retry = Policy { paused_ms: 20, ..policy() };
        let running = bed.start_with(provider.clone(), options);
        provider.begun(slots).await;
        gate.add_permits(slots);
        running.ended(jobs).await;
        let status = running.drained().await;

        assert_eq!((status.succeeded, status.failed, status.retried), (jobs, 0, 0));
        assert_eq!(provider.seen().begun, 1_000 + failing, "a job that waits is called once more");
        // One pause for the first burst, and one for each probe that failed.
        let pauses = 1 + failing - slots;
        assert_eq!(status.pauses, u64::try_from(pauses).unwrap());
        assert_eq!(bed.number("select max(failures) from job").await, 0);
        let warnings = log.of("WARN");
        assert_eq!(warnings.iter().filter(|event| is_about_a_pause(event)).count(), pauses);
        let quiet = |event: &&Value| event["target"] != "quarrier::waiting";
        assert_eq!(warnings.iter().filter(quiet).count(), pauses, "{warnings:#?}");
        assert_eq!(log.of("ERROR").len(), 0);
        let told = warnings.iter().find(|event| is_about_a_pause(event)).unwrap();
        let line = told["message"].as_str().unwrap();
        assert_eq!(
            line,
            "scripted/us.anthropic.claude-haiku-4-5-20251001-v1:0 is paused: credentials: scripted \
             credentials. To do: sign in (`aws sso login`), set AWS_PROFILE, or set the clock \
             (`quarrier doctor`). One call tries it again in 1 s, then it goes on by itself; no job fails meanwhile \
             (`quarrier explain credentials`)."
        );
        assert_eq!(status.told.first().map(String::as_str), Some(line));
        let again = "scripted/us.anthropic.claude-haiku-4-5-20251001-v1:0 is still paused: \
                     credentials. One call tries it again in 1 s.";
        assert!(status.told[1..].iter().all(|line| line == again), "{:?}", status.told);
        let back = log.of("INFO").into_iter().filter(is_about_a_pause).count();
        assert_eq!(back, 1, "and one that it works again");
    });
}

#[test]
fn the_providers_words_are_shortened_in_the_line_and_kept_on_the_attempt() {
    let log = Log::listen();
    heard_within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let words = format!("{}\nx-amz-security-token: secret", "very long ".repeat(40));
        let said = words.clone();
        let provider = Scripted::new(move |_, _| {
            let error = failure(ErrorKind::Credentials, NotSent);
            Step::Fail(CallError { message: said.clone(), ..error })
        });
        let mut options = bed.options();
        options.retry = Policy { paused_ms: 600_000, ..policy() };
        let running = bed.start_with(provider, options);
        running.until(|status| status.pauses == 1).await;
        running.drained().await;
        let warnings = log.of("WARN");
        let line = warnings.iter().find(|event| is_about_a_pause(event)).unwrap();
        let line = line["message"].as_str().unwrap();
        assert!(line.contains('…') && !line.contains("secret") && line.len() < 600, "{line}");
        let kept = bed.page(id).await.attempts[0].error_message.clone().unwrap();
        assert_eq!(kept, words);
    });
}

#[test]
fn whoever_waits_is_told_which_lane_and_why() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..20 {
            bed.job().await;
        }
        let provider = Scripted::new(|_, _| fail(ErrorKind::AccessDenied, Free));
        let mut options = bed.options();
        options.retry = Policy { paused_ms: 600_000, ..policy() };
        let running = bed.start_with(provider, options.clone());
        let waits = |status: &Status| {
            matches!(
                &status.waiting,
                Some(WaitingFor::Pause { kind: Some(ErrorKind::AccessDenied), .. })
            )
        };
        running.until(waits).await;
        let reason = running.now().waiting.unwrap().reason();
        assert!(reason.ends_with("is paused: access_denied"), "{reason}");
        running.drained().await;
        // A worker that had no part in it learns it from the store.
        let other = Scripted::saying("Never.");
        let running = bed.start_on(bed.another_store().await, other.clone(), options);
        running.until(waits).await;
        assert_eq!(running.drained().await.pauses, 0, "it is told once");
        assert_eq!(other.seen().begun, 0, "nobody calls");
    });
}

#[test]
fn the_pause_of_another_worker_ends_with_one_call_here_too() {
    within(async {
        let bed = Bed::new().await;
        for _ in 0..20 {
            bed.job().await;
        }
        let mut options = bed.options();
        options.retry = Policy { paused_ms: 300, ..policy() };
        let poor = Scripted::new(|_, _| fail(ErrorKind::Credentials, NotSent));
        let running = bed.start_with(poor, options.clone());
        running.until(|status| status.pauses >= 1).await;
        let gate = Arc::new(Semaphore::new(0));
        let provider = Scripted::new({
            let gate = Arc::clone(&gate);
            move |_, _| crate::scripted::gated(&gate, "Fine.")
        });
        let other = bed.start_on(bed.another_store().await, provider.clone(), options);
        other.until(|status| status.waiting.is_some()).await;
        running.drained().await;
        provider.begun(1).await;
        // The claim loop has come round again, and found the lane being tried.
        let clock = bed.clock.clone();
        let tried = |status: &Status| {
            matches!(&status.waiting, Some(WaitingFor::Pause { until_mono_ms, .. })
                if *until_mono_ms <= clock.now().mono_ms)
        };
        other.until(tried).await;
        assert_eq!(provider.seen().begun, 1, "one tries, the others wait for it");
        gate.add_permits(20);
        other.ended(20).await;
        assert_eq!(other.drained().await.succeeded, 20);
    });
}

#[test]
fn an_outage_fails_no_job_and_most_of_its_calls_are_probes() {
    within(async {
        let kinds = [
            (ErrorKind::ConnectFailed, NotSent),
            (ErrorKind::Unavailable, Free),
            (ErrorKind::Overloaded, Free),
            (ErrorKind::Internal, Free),
            (ErrorKind::FirstTokenTimeout, Unknown),
        ];
        for (kind, charge) in kinds {
            let bed = Bed::new().await;
            for _ in 0..40 {
                bed.job().await;
            }
            // Many times more than the tries of all the slots that saw its beginning.
            let provider =
                Scripted::new(
                    move |number, _| {
                        if number <= 40 { fail(kind, charge) } else { answer("At last.") }
                    },
                );
            let running = bed.start(provider.clone());
            running.ended(40).await;
            let status = running.drained().await;
            assert_eq!((status.succeeded, status.failed), (40, 0), "{kind}");
            assert!(status.pauses > 20, "{kind}: most calls were probes, {}", status.pauses);
            assert_eq!(provider.seen().begun, 80, "{kind}");
            assert!(bed.number("select max(failures) from job").await < 4, "{kind}");
        }
    });
}

#[test]
fn a_job_whose_input_breaks_the_model_still_ends_after_its_tries() {
    within(async {
        let kinds = [
            (ErrorKind::ConnectFailed, Unknown),
            (ErrorKind::Internal, Unknown),
            (ErrorKind::FirstTokenTimeout, Unknown),
        ];
        for (kind, charge) in kinds {
            let bed = Bed::new().await;
            let poison = bed.admit(json!({ "prompt": "Poison", "max_tokens": 5 })).await;
            for _ in 0..30 {
                bed.job().await;
            }
            let provider = Scripted::new(move |_, request| {
                let is_poison = request.messages[0].text.contains("Poison");
                if is_poison { fail(kind, charge) } else { answer("Fine.") }
            });
            let running = bed.start(provider);
            running.ended(31).await;
            let status = running.drained().await;
            assert_eq!((status.succeeded, status.failed, status.pauses), (30, 1, 0), "{kind}");
            let page = bed.page(poison).await;
            assert_eq!((page.row.state, page.attempts.len()), (State::Failed, 4), "{kind}");
        }
    });
}

/// Two lanes, of which the first throttles in this way for so many calls; the levels while it does,
/// and the counts at the end.
async fn throttling(
    kind: ErrorKind,
    times: usize,
    options: impl Fn(&mut WorkerOptions),
) -> (Bed, Vec<KeyLevel>, Status) {
    let bed = Bed::new().await;
    let limit = Limit { requests_per_minute: Some(6_000), tokens_per_minute: Some(6_000_000) };
    bed.limit("lane:*", limit).await;
    for _ in 0..10 {
        bed.job().await;
        bed.admit(json!({ "prompt": "Hi", "max_tokens": 50, "model": "nova-micro" })).await;
    }
    let throttled = std::sync::atomic::AtomicUsize::new(0);
    let provider = Scripted::new(move |_, request| {
        let is_first = request.model_id.contains("haiku");
        let count = || throttled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if is_first && count() < times { fail(kind, Free) } else { answer("Fine.") }
    });
    let mut own = bed.options();
    options(&mut own);
    let running = bed.start_with(provider, own);
    running.until(|status| status.throttled >= 1 && status.succeeded >= 10).await;
    let levels = bed.store.levels().await.unwrap();
    if times < usize::MAX {
        running.ended(20).await;
    }
    let status = running.drained().await;
    (bed, levels, status)
}

fn effective(levels: &[KeyLevel], lane: &str, of: Dimension) -> u64 {
    let level = levels.iter().find(|level| level.key.contains(lane)).unwrap();
    match of {
        Dimension::Requests => level.level.requests.effective.unwrap(),
        Dimension::Tokens => level.level.tokens.effective.unwrap(),
    }
}

#[test]
fn the_three_throttles_lead_to_three_behaviours() {
    within(async {
        let cases = [
            (ErrorKind::ThrottledRequests, Dimension::Requests, Dimension::Tokens),
            (ErrorKind::ThrottledTokens, Dimension::Tokens, Dimension::Requests),
        ];
        for (kind, slowed, free) in cases {
            let (bed, levels, status) = throttling(kind, 3, |_| ()).await;
            assert_eq!((status.succeeded, status.failed, status.pauses), (20, 0, 0), "{kind}");
            assert_eq!(status.throttled, 3);
            let full = |of| if of == Dimension::Requests { 6_000 } else { 6_000_000 };
            assert!(effective(&levels, "haiku", slowed) < full(slowed), "{kind}: {levels:?}");
            assert_eq!(effective(&levels, "haiku", free), full(free), "{kind}");
            assert_eq!(effective(&levels, "nova", slowed), full(slowed), "{kind}: another lane");
            assert_eq!(bed.number("select sum(failures) from job").await, 0);
        }
        // Per day: the lane rests, with one line, and the other lane goes on.
        let kind = ErrorKind::ThrottledDay;
        let (bed, levels, status) = throttling(kind, usize::MAX, |options| {
            options.retry.throttled_day_ms = 3_600_000;
        })
        .await;
        assert_eq!((status.succeeded, status.failed, status.pauses), (10, 0, 1));
        assert!(status.told[0].contains("again in 6"), "about an hour: {}", status.told[0]);
        assert_eq!(effective(&levels, "haiku", Dimension::Tokens), 6_000_000, "not slower");
        assert!(status.throttled <= 8, "only what was in flight");
        let waiting = bed.number("select count(*) from job where state = 'ready'").await;
        assert_eq!(waiting, 10, "its jobs are not failed");
        let paused = bed.store.paused_lanes().await.unwrap();
        assert_eq!(paused.len(), 1);
        assert_eq!(paused[0].reason.as_deref(), Some("throttled_day"));
        assert!(paused[0].until >= bed.clock.now().wall_ms + 3_500_000);
    });
}
