//! Documents that come by a queue and answers that leave by one, while workers die or stand still,
//! the queue service or the store is away, messages come more than once, and bad ones are among the
//! good ones: with both times of acknowledging. Must not know: how queues or tables are read.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::exchange::{Exchange, Mode, visibility_s};
use crate::fleet::Worker;
use crate::queues::Queues;
use crate::tally::Tally;

/// Makes of each scene a test a mode.
macro_rules! in_each_mode {
    ($($name:ident: $scene:ident in $($mode:ident $variant:ident),+;)+) => {$(
        mod $name {
            use crate::exchange::Mode;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $mode() {
                    super::$scene(Mode::$variant).await;
                }
            )+
        }
    )+};
}

in_each_mode! {
    intakes_killed_again_and_again_lose_and_repeat_nothing: killed in
        on_stored Stored, on_finished Finished, on_finished_in_a_file File;
    a_queue_service_that_is_away_costs_no_call: away in
        on_stored Stored, on_finished Finished, on_finished_in_a_file File;
    while_the_store_is_away_nothing_is_received_or_deleted: store_away in
        on_stored Stored, on_finished Finished;
    a_document_delivered_three_times_and_again_is_one_job: delivered_often in
        on_stored Stored, on_finished Finished, on_finished_in_a_file File;
    a_full_queue_is_drained_with_nothing_lost_or_doubled: drained in
        on_stored Stored, on_finished Finished, on_finished_in_a_file File;
    an_intake_that_stood_still_past_its_time_doubles_nothing: stood_still in
        on_stored Stored, on_finished Finished;
    bad_messages_go_once_to_the_dead_letters_with_their_reason: bad_among_good in
        on_stored Stored, on_finished Finished, on_finished_in_a_file File;
}

/// At any moment: while messages are received, stored, held or deleted, called for or answered.
async fn killed(mode: Mode) {
    let mut exchange = Exchange::start(mode).await;
    let size = exchange.size;
    let mut rng = StdRng::seed_from_u64(23);
    for _ in 0..size.of(4, 40) {
        exchange.send(size.of(20, 80)).await;
        let wait = Duration::from_millis(rng.random_range(0..size.of(1_200, 5_000)));
        tokio::time::sleep(wait).await;
        let index = rng.random_range(0..exchange.workers.len());
        exchange.kill(index).await;
        exchange.expect_nothing_gone_too_early().await;
    }
    let recovered = exchange.recovered().await;
    let tally = exchange.judge("kill -9 of workers, again and again", recovered).await;
    tally.expect_at_most_in_flight();
}

/// Stopped without a word: connections stay open, and new ones are never answered.
async fn away(mode: Mode) {
    let mut exchange = Exchange::start(mode).await;
    let size = exchange.size;
    exchange.send(size.of(40, 800)).await;
    exchange.until_calls_more(size.of(10, 200)).await;
    exchange.road.hold();
    exchange.send(size.of(20, 300)).await;
    // Longer than messages stay hidden that cannot be hidden again.
    tokio::time::sleep(Duration::from_secs(size.of(12, 60))).await;
    assert!(exchange.workers.iter_mut().all(Worker::is_alive), "they wait it out");
    exchange.road.release();
    exchange.fault_over();
    exchange.send(size.of(20, 300)).await;
    let recovered = exchange.recovered().await;
    let fault = if size.of(0, 1) == 0 { "SQS away for 12 s" } else { "SQS away for 60 s" };
    let tally = exchange.judge(fault, recovered).await;
    tally.expect_no_calls_again();
}

async fn store_away(mode: Mode) {
    let mut exchange = Exchange::start(mode).await;
    let size = exchange.size;
    exchange.send(size.of(40, 800)).await;
    exchange.until_calls_more(size.of(5, 200)).await;
    exchange.kept.cluster().halt();
    // Long enough for everybody to have noticed: a look at the store is good for a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let meanwhile = size.of(60, 500);
    exchange.send(meanwhile).await;
    tokio::time::sleep(Duration::from_secs(size.of(6, 60))).await;
    // A request that was waiting already may have brought ten messages.
    let processes = u64::try_from(exchange.workers.len()).unwrap();
    let left = exchange.queues.left().await;
    assert!(left.visible + 10 * processes >= meanwhile, "nothing is received: {left:?}");
    // Counted before anybody can go on.
    let gone = exchange.gone().await;
    exchange.workers.iter().for_each(Worker::freeze);
    exchange.kept.cluster().resume();
    let may_be_gone = exchange.may_be_gone().await;
    exchange.replies_hit().await;
    assert!(gone <= may_be_gone, "{gone} messages are gone, and {may_be_gone} may be");
    exchange.workers.iter().for_each(Worker::thaw);
    exchange.fault_over();
    exchange.send(size.of(20, 300)).await;
    let recovered = exchange.recovered().await;
    let tally = exchange.judge("Postgres stopped in immediate mode", recovered).await;
    tally.expect_no_calls_again();
}

/// Sent three times at once; and each message again, because its deletion is lost for longer than it
/// stays hidden, or, where it is held, because somebody shows it.
async fn delivered_often(mode: Mode) {
    let mut exchange = Exchange::new(mode).await;
    let size = exchange.size;
    let held_long = Duration::from_secs(visibility_s(size) + 3);
    exchange.road.lose_deletes(mode == Mode::Stored);
    // While deletions are lost, fewer than may wait for theirs: beyond that nothing is received.
    exchange.send_repeatedly(size.of(40, 300), 3).await;
    exchange.start_workers();
    exchange.until_stored(exchange.sent).await;
    if mode == Mode::Stored {
        tokio::time::sleep(held_long).await;
        exchange.road.lose_deletes(false);
    } else {
        for _ in 0..size.of(3, 10) {
            let receipts = exchange.kept.texts("select receipt from quarrier.intake").await;
            let receipts: Vec<String> = receipts.into_iter().collect();
            exchange.queues.show(&receipts).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    exchange.fault_over();
    let recovered = exchange.recovered().await;
    let tally = exchange.judge("each message sent three times and delivered again", recovered);
    tally.await.expect_no_duplicates();
}

/// With the settings that ship.
async fn drained(mode: Mode) {
    let mut exchange = Exchange::new(mode).await;
    let size = exchange.size;
    exchange.settings.retain(|(name, _)| *name != "QUARRIER_SQS__VISIBILITY_S");
    exchange.send(size.of(300, 10_000)).await;
    exchange.fault_over();
    exchange.start_workers();
    exchange.until_done().await;
    let took = exchange.since_fault();
    let tally = exchange.judge("none: a queue is drained", took).await;
    tally.expect_no_duplicates();
}

/// SIGSTOP until its messages have been delivered to another, then SIGCONT: both have them.
async fn stood_still(mode: Mode) {
    let mut exchange = Exchange::start(mode).await;
    let size = exchange.size;
    let past = Duration::from_secs(visibility_s(size) + 4).max(size.lease() * 2);
    for _ in 0..size.of(1, 4) {
        let before = exchange.sent;
        exchange.send(size.of(50, 200)).await;
        exchange.until_stored(before + 10).await;
        exchange.workers[0].freeze();
        exchange.fault_hit(0).await;
        exchange.send(size.of(20, 100)).await;
        if mode == Mode::Finished && exchange.workers.len() < 3 {
            // As a supervisor would: another in the place of one that does not answer.
            exchange.start_worker(true);
        }
        tokio::time::sleep(past).await;
        exchange.workers[0].thaw();
        exchange.fault_over();
    }
    let recovered = exchange.recovered().await;
    let tally = exchange.judge("SIGSTOP past the visibility, then SIGCONT", recovered).await;
    tally.expect_at_most_in_flight();
}

/// A message that can come to no job, and what is said of it.
struct Bad {
    body: String,
    reason: &'static str,
    asks: bool,
}

fn bad(body: &impl ToString, reason: &'static str, asks: bool) -> Bad {
    Bad { body: body.to_string(), reason, asks }
}

/// Of each kind one, different from those of every other round.
fn bad_messages(round: u64, queues: &Queues) -> Vec<Bad> {
    let to = &queues.answers;
    let prompt = format!("Grade site {round}.");
    vec![
        bad(&format!("grade site {round}, please"), "JSON", false),
        bad(&json!([prompt]), "$", false),
        bad(&json!({ "reply_to": to, "labels": { "round": round.to_string() } }), "prompt", true),
        bad(
            &json!({ "prompt": prompt, "reply_to": to, "no_such_field": 1 }),
            "no_such_field",
            true,
        ),
        bad(&json!({ "prompt": prompt, "reply_to": to, "version": 99 }), "version", true),
        bad(&json!({ "prompt": round, "reply_to": to }), "prompt", true),
        bad(&json!({ "prompt": prompt, "reply_to": to, "model": "no-such" }), "no-such", true),
        bad(&json!({ "prompt": prompt, "reply_to": format!("{to}-not") }), "reply_to", false),
        bad(&format!("eyJwcm9tcHQiOiAiR3JhZGUgc2l0ZSB7{round}fQ=="), "base64", false),
        bad(
            &json!(["software.amazon.payloadoffloading.PayloadS3Pointer", { "s3Key": prompt }]),
            "S3",
            false,
        ),
    ]
}

async fn bad_among_good(mode: Mode) {
    let mut exchange = Exchange::new(mode).await;
    exchange.start_workers();
    let size = exchange.size;
    let mut sent = Vec::new();
    for round in 0..size.of(2, 25) {
        exchange.send(size.of(12, 40)).await;
        let bad = bad_messages(round, &exchange.queues);
        let bodies: Vec<String> = bad.iter().map(|bad| bad.body.clone()).collect();
        exchange.send_bad(&bodies).await;
        sent.extend(bad);
    }
    // The id of a job that is there, with another document.
    exchange.until_stored(exchange.sent + exchange.bad).await;
    let to = exchange.queues.answers.clone();
    let other = json!({ "id": "job-1", "prompt": "Something else.", "reply_to": to });
    exchange.send_bad(&[other.to_string()]).await;
    sent.push(bad(&other, "belongs to the job", true));
    exchange.fault_over();
    let recovered = exchange.recovered().await;
    let tally = exchange.judge("bad messages among good ones", recovered).await;
    tally.expect_no_duplicates();
    judge_bad(&sent, &tally);
}

/// Each is once in the dead-letter queue, with its reason, and answered once where it asks.
fn judge_bad(sent: &[Bad], tally: &Tally) {
    for bad in sent {
        let found: Vec<_> = tally.dead.iter().filter(|letter| letter.body == bad.body).collect();
        assert_eq!(found.len(), 1, "{} is once in the dead-letter queue", bad.body);
        let reason = found[0].attributes.get("quarrier.reason").map_or("", String::as_str);
        assert!(reason.contains(bad.reason), "{}: {reason}", bad.body);
        let job = &found[0].attributes["quarrier.job_id"];
        let answers = tally.refusals.iter().filter(|answer| answer.job_id == *job).count();
        assert_eq!(answers, usize::from(bad.asks), "answers to {}", bad.body);
    }
    assert_eq!(tally.dead.len(), sent.len(), "nothing else is in the dead-letter queue");
    let asked = sent.iter().filter(|bad| bad.asks).count();
    assert_eq!(tally.refusals.len(), asked, "{:?}", tally.refusals);
}
