//! Room 1: accepted means durable, and each identity once.

use std::collections::BTreeMap;
use std::sync::Arc;

use quarrier::admit::{Admission, AdmitSettings, Origin, Overrides, ReplyAllow};
use quarrier::catalogue::Catalogue;
use quarrier::check;
use quarrier::completion::Api;
use quarrier::job::{IfOutcomeUnknown, State};
use quarrier::store::{Admitted, Before, NewJob};
use uuid::Uuid;

use crate::world::{World, new_id, success};

on_every_engine!(
    the_same_identity_twice_is_one_job,
    the_same_identity_twice_in_one_call_is_one_job,
    another_document_under_an_identity_is_a_conflict_that_shows_the_stored_one,
    a_conflict_within_one_call_shows_the_document_before_it,
    tenants_do_not_share_identities,
    a_job_without_an_identity_is_always_new,
    a_dedupe_key_is_unique_among_jobs_that_have_not_ended,
    a_dedupe_key_is_unique_within_one_call,
    a_job_of_the_future_is_not_claimable_until_promoted,
    a_rejected_document_ends_failed_with_its_reason,
    rejected_documents_do_not_hold_dedupe_keys,
    a_document_that_is_refused_now_is_the_job_that_it_was_before,
    lines_of_a_batch_find_jobs_that_are_there_already,
    a_batch_opened_again_forgets_its_lines_and_keeps_its_id,
    reopening_finds_everything,
    an_ended_jobs_identity_is_still_known,
    identities_are_forgotten_after_their_time_and_not_before_their_jobs_end,
    submissions_come_oldest_first_and_go_when_admitted,
    a_submission_repeated_by_its_producer_is_one_job,
    five_hundred_jobs_are_admitted_in_one_call,
    a_document_comes_back_byte_for_byte,
    a_job_prepared_by_admission_is_claimed_as_it_was_prepared,
);

on_sqlite!(a_submission_that_is_not_text_does_not_stop_the_others);

async fn the_same_identity_twice_is_one_job(world: World) {
    let id = world.admit(vec![world.named("a")]).await[0];
    let again = world.store.admit(vec![world.named("a")]).await.unwrap();
    assert_eq!(again, [Admitted::Existing(id, Some(State::Ready))]);
    assert_eq!(world.claim(10).await.jobs.len(), 1);
}

async fn the_same_identity_twice_in_one_call_is_one_job(world: World) {
    let admitted = world.store.admit(vec![world.named("a"), world.named("a")]).await.unwrap();
    let id = new_id(admitted[0].clone());
    assert_eq!(admitted[1], Admitted::Existing(id, Some(State::Ready)));
    assert_eq!(world.claim(10).await.jobs.len(), 1);
}

fn other_document(job: NewJob) -> NewJob {
    NewJob {
        document_hash: "other".to_owned(),
        document: r#"{"prompt":"other"}"#.to_owned(),
        ..job
    }
}

async fn another_document_under_an_identity_is_a_conflict_that_shows_the_stored_one(world: World) {
    let first = world.named("a");
    let document = first.document.clone();
    let id = world.admit(vec![first]).await[0];
    world.succeed(&world.claim_one().await).await;
    let admitted = world.store.admit(vec![other_document(world.named("a"))]).await.unwrap();
    let expected = Admitted::IdConflict {
        job_id: id,
        document: Some(document),
        state: Some(State::Succeeded),
    };
    assert_eq!(admitted, [expected]);
    assert_eq!(world.claim(10).await.jobs.len(), 0, "nothing was admitted");
}

async fn a_conflict_within_one_call_shows_the_document_before_it(world: World) {
    let first = world.named("a");
    let document = Some(first.document.clone());
    let jobs = vec![first, other_document(world.named("a"))];
    let admitted = world.store.admit(jobs).await.unwrap();
    let job_id = new_id(admitted[0].clone());
    assert_eq!(admitted[1], Admitted::IdConflict { job_id, document, state: Some(State::Ready) });
}

async fn tenants_do_not_share_identities(world: World) {
    let other = NewJob { tenant: "other".to_owned(), ..other_document(world.named("a")) };
    world.admit(vec![world.named("a"), other]).await;
    assert_eq!(world.claim(10).await.jobs.len(), 2);
}

async fn a_job_without_an_identity_is_always_new(world: World) {
    world.admit(vec![world.job(), world.job()]).await;
    world.admit(vec![world.job()]).await;
    assert_eq!(world.claim(10).await.jobs.len(), 3);
}

fn deduped(job: NewJob) -> NewJob {
    NewJob { dedupe_key: Some("report".to_owned()), ..job }
}

async fn a_dedupe_key_is_unique_among_jobs_that_have_not_ended(world: World) {
    let holder = world.admit(vec![deduped(world.job())]).await[0];
    let answer = world.store.admit(vec![deduped(world.job())]).await.unwrap();
    assert_eq!(answer, [Admitted::Duplicate(holder)]);
    let job = world.claim_one().await;
    let answer = world.store.admit(vec![deduped(world.job())]).await.unwrap();
    assert_eq!(answer, [Admitted::Duplicate(holder)], "while it runs");
    world.succeed(&job).await;
    let next = world.admit(vec![deduped(world.job())]).await[0];
    assert_ne!(next, holder);
    let other = NewJob { tenant: "other".to_owned(), ..deduped(world.job()) };
    world.admit(vec![other]).await;
}

async fn a_dedupe_key_is_unique_within_one_call(world: World) {
    let jobs = vec![deduped(world.job()), deduped(world.job())];
    let admitted = world.store.admit(jobs).await.unwrap();
    let holder = new_id(admitted[0].clone());
    assert_eq!(admitted[1], Admitted::Duplicate(holder));
}

async fn a_job_of_the_future_is_not_claimable_until_promoted(world: World) {
    let run_at = world.now_ms() + 5_000;
    let id = world.admit(vec![NewJob { run_at, ..world.job() }]).await[0];
    assert_eq!(world.claim(10).await.jobs.len(), 0);
    assert!(world.store.ready_lanes().await.unwrap().is_empty());

    world.hand.advance(4_999);
    let promoted = world.store.promote(100).await.unwrap();
    assert_eq!((promoted.due, promoted.next_due_at), (0, Some(run_at)));
    assert_eq!(world.claim(10).await.jobs.len(), 0);

    world.hand.advance(1);
    let promoted = world.store.promote(100).await.unwrap();
    assert_eq!((promoted.due, promoted.next_due_at), (1, None));
    assert_eq!(world.store.ready_lanes().await.unwrap(), [crate::world::LANE]);
    assert_eq!(world.claim_one().await.job_id, id);
}

pub(crate) fn rejected(job: NewJob) -> NewJob {
    let resolved = Err("$.prompt: is empty\0 (it says)".to_owned());
    NewJob { resolved, ..job }
}

async fn a_rejected_document_ends_failed_with_its_reason(world: World) {
    let id = world.admit(vec![rejected(world.named("a"))]).await[0];
    assert_eq!(world.state(id).await, State::Failed);
    assert_eq!(world.claim(10).await.jobs.len(), 0);
    let result = world.result(id).await.unwrap();
    assert_eq!(result.error_kind.as_deref(), Some("rejected"));
    let message = result.error_message.unwrap();
    assert!(message.starts_with("$.prompt: is empty") && message.ends_with("(it says)"));
    assert_eq!(result.attempts, 0);
}

async fn a_document_that_is_refused_now_is_the_job_that_it_was_before(world: World) {
    let refused = |name: &str, hash: &str| NewJob {
        identity: Some(format!("message:{name}")),
        document_hash: "of its text".to_owned(),
        before: Some(Before { identity: format!("id:{name}"), document_hash: hash.to_owned() }),
        ..rejected(world.job())
    };
    let admitted = world.store.admit(vec![world.named("a"), refused("a", "hash")]).await.unwrap();
    let id = new_id(admitted[0].clone());
    assert_eq!(admitted[1], Admitted::Before(id, Some(State::Ready)), "within one call");
    world.succeed(&world.claim_one().await).await;
    let again = world.store.admit(vec![refused("a", "hash")]).await.unwrap();
    assert_eq!(again, [Admitted::Before(id, Some(State::Succeeded))]);
    assert_eq!(world.results().await.len(), 1, "nothing is rejected anew");
    // Another document, another tenant's, and one that was never admitted are rejected.
    let others =
        vec![NewJob { tenant: "other".to_owned(), ..refused("a", "hash") }, refused("b", "hash")];
    let mut ids = world.admit(others).await;
    ids.extend(world.admit(vec![refused("a", "other")]).await);
    for id in ids {
        assert_eq!(world.state(id).await, State::Failed);
    }
    let again = world.store.admit(vec![refused("b", "hash")]).await.unwrap();
    assert!(matches!(again[0], Admitted::Existing(_, Some(State::Failed))), "and found as that");
}

async fn rejected_documents_do_not_hold_dedupe_keys(world: World) {
    let jobs =
        vec![rejected(deduped(world.job())), rejected(deduped(world.job())), deduped(world.job())];
    let ids = world.admit(jobs).await;
    assert_eq!(world.state(ids[1]).await, State::Failed);
    assert_eq!(world.claim_one().await.job_id, ids[2]);
}

async fn lines_of_a_batch_find_jobs_that_are_there_already(world: World) {
    let there = world.admit(vec![world.named("a")]).await[0];
    let batch = world.store.open_batch("file").await.unwrap();
    let line = |job: NewJob, line| NewJob { batch: Some((batch, line)), ..job };
    let jobs =
        vec![line(world.named("a"), 1), line(world.named("b"), 2), line(world.named("b"), 3)];
    let admitted = world.store.admit(jobs).await.unwrap();
    assert_eq!(admitted[0], Admitted::Existing(there, Some(State::Ready)));
    let counts = world.store.counts(Some(batch)).await.unwrap();
    assert_eq!(counts.states, [(State::Ready, 2)], "two lines name one job");
    world.admit_one().await;
    let counts = world.store.counts(Some(batch)).await.unwrap();
    assert_eq!(counts.states, [(State::Ready, 2)], "a job of no batch is not counted");
}

async fn a_batch_opened_again_forgets_its_lines_and_keeps_its_id(world: World) {
    let batch = world.store.open_batch("file").await.unwrap();
    let other = world.store.open_batch("other").await.unwrap();
    let line = |batch, name: &str| NewJob { batch: Some((batch, 1)), ..world.named(name) };
    world.admit(vec![line(batch, "a"), line(other, "b")]).await;
    assert_eq!(world.store.open_batch("file").await.unwrap(), batch);
    assert!(world.store.counts(Some(batch)).await.unwrap().states.is_empty());
    assert_eq!(world.store.counts(Some(other)).await.unwrap().states, [(State::Ready, 1)]);
    let admitted = world.store.admit(vec![line(batch, "a")]).await.unwrap();
    assert!(matches!(admitted[0], Admitted::Existing(..)), "its jobs are not gone");
    assert_eq!(world.store.counts(Some(batch)).await.unwrap().states, [(State::Ready, 1)]);
}

async fn reopening_finds_everything(mut world: World) {
    let named = NewJob { queue: "reports".to_owned(), ..world.named("a") };
    let ids = world.admit(vec![named, world.job(), world.job()]).await;
    let running = world.claim_one().await;
    assert_eq!(running.job_id, ids[0]);
    world.succeed(&world.claim_one().await).await;
    let about = world.store.about().await.unwrap();

    world.restart().await;
    let page = world.store.job("a").await.unwrap().unwrap();
    assert_eq!(page.row.state, State::Running);
    assert_eq!(page.row.queue, "reports");
    assert_eq!(page.resolved, Some(running.resolved.clone()));
    assert_eq!(world.results().await[0].text.as_deref(), Some("done"));
    assert_eq!(world.claim_one().await.job_id, ids[2]);
    let again = world.store.admit(vec![world.named("a")]).await.unwrap();
    assert_eq!(again, [Admitted::Existing(ids[0], Some(State::Running))]);
    assert_eq!(world.store.about().await.unwrap().migration, about.migration);
}

async fn an_ended_jobs_identity_is_still_known(world: World) {
    let id = world.admit(vec![world.named("a")]).await[0];
    world.succeed(&world.claim_one().await).await;
    let again = world.store.admit(vec![world.named("a")]).await.unwrap();
    assert_eq!(again, [Admitted::Existing(id, Some(State::Succeeded))]);
}

async fn identities_are_forgotten_after_their_time_and_not_before_their_jobs_end(world: World) {
    let until = |name: &str, ms: i64| NewJob {
        seen_until: world.now_ms() + ms,
        deadline_at: world.now_ms() + 1_000_000,
        ..world.named(name)
    };
    let jobs = vec![until("ended", 1_000), until("waits", 1_000), until("young", 5_000)];
    let ids = world.admit(jobs.clone()).await;
    world.succeed(&world.claim_one().await).await;
    assert_eq!(world.store.forget_seen(100).await.unwrap(), 0, "no time is over");
    world.hand.advance(1_000);
    assert_eq!(world.store.forget_seen(100).await.unwrap(), 1);
    let fresh = |job: &NewJob| NewJob { job_id: Uuid::now_v7(), ..job.clone() };
    let admitted = world.store.admit(jobs.iter().map(fresh).collect()).await.unwrap();
    assert!(matches!(admitted[0], Admitted::New(id) if id != ids[0]), "it is a new job now");
    assert_eq!(admitted[1], Admitted::Existing(ids[1], Some(State::Ready)));
    assert_eq!(admitted[2], Admitted::Existing(ids[2], Some(State::Ready)));
}

async fn submissions_come_oldest_first_and_go_when_admitted(world: World) {
    world.run_sql("insert into submission (id, document) values ('z', 'one'), ('b', 'two')").await;
    world.run_sql("insert into submission (id, document) values ('a', 'three')").await;
    let rows = world.store.submissions(2).await.unwrap();
    let seen: Vec<&str> = rows.iter().map(|row| row.document.as_str()).collect();
    assert_eq!(seen, ["one", "two"]);
    let jobs =
        vec![("z".to_owned(), world.named("z")), ("b".to_owned(), rejected(world.named("b")))];
    world.store.admit_submissions(jobs).await.unwrap();
    let rows = world.store.submissions(10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].id, "a");
    assert_eq!(world.store.job("z").await.unwrap().unwrap().row.state, State::Ready);
    assert_eq!(world.store.job("b").await.unwrap().unwrap().row.state, State::Failed);
}

async fn a_submission_repeated_by_its_producer_is_one_job(world: World) {
    for _ in 0..2 {
        world.run_sql("insert into submission (id, document) values ('x', '{}')").await;
        let jobs = vec![("x".to_owned(), world.named("x"))];
        world.store.admit_submissions(jobs).await.unwrap();
    }
    assert!(world.store.submissions(10).await.unwrap().is_empty());
    assert_eq!(world.claim(10).await.jobs.len(), 1);
}

/// A Python program that passes `bytes` inserts a blob, and one in C may insert anything. Postgres
/// itself refuses what is not text.
async fn a_submission_that_is_not_text_does_not_stop_the_others(world: World) {
    world
        .run_sql(
            "insert into submission (id, document) values
             ('blob', x'7b7d'), ('latin1', cast(x'e4' as text)), ('text', '{}')",
        )
        .await;
    let rows = world.store.submissions(10).await.unwrap();
    let seen: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(seen, ["blob", "latin1", "text"]);
    assert_eq!(rows[0].document, "{}");
    assert!(serde_json::from_str::<serde_json::Value>(&rows[1].document).is_err());
    let jobs = rows.iter().map(|row| (row.id.clone(), rejected(world.job()))).collect();
    world.store.admit_submissions(jobs).await.unwrap();
    assert!(world.store.submissions(10).await.unwrap().is_empty());
}

async fn five_hundred_jobs_are_admitted_in_one_call(world: World) {
    let jobs: Vec<NewJob> = (0..500).map(|index| world.named(&format!("job-{index}"))).collect();
    let ids = world.admit(jobs).await;
    let claimed = world.claim(500).await;
    let order: Vec<Uuid> = claimed.jobs.iter().map(|job| job.job_id).collect();
    assert_eq!(order, ids, "in the order of their admission");
}

async fn a_document_comes_back_byte_for_byte(world: World) {
    let documents = [
        r#"{"prompt":"a \u0000 NUL, an \"inner\" quote and a \\ backslash"}"#.to_owned(),
        "{\"prompt\":\"grüße, 日本語, 👩‍👩‍👧, \u{2028} and \u{feff}\"}".to_owned(),
        r#"{"metadata":{"n":1e2,"big":12345678901234567890123,"z":0.10}}"#.to_owned(),
        format!("{{\"prompt\":\"{}\"}}", "x".repeat(1 << 20)),
    ];
    let with = |document: &String| NewJob { document: document.clone(), ..world.job() };
    world.admit(documents.iter().map(with).collect()).await;
    let claimed = world.claim(10).await;
    for (job, document) in claimed.jobs.iter().zip(&documents) {
        assert!(
            job.document == *document,
            "{} came back",
            &job.document[..60.min(job.document.len())]
        );
    }
    let job = &claimed.jobs[2];
    world.finish(success(job)).await;
    let metadata = world.result(job.job_id).await.unwrap().metadata.unwrap();
    assert_eq!(metadata, r#"{"n":1e2,"big":12345678901234567890123,"z":0.10}"#);
}

fn admission() -> Admission {
    let settings = AdmitSettings {
        model: "claude-haiku-4.5".to_owned(),
        temperature: 0.7,
        temperature_structured: 0.0,
        max_tokens: 512,
        deadline_ms: 60_000,
        queue: "default".to_owned(),
        tenant: "default".to_owned(),
        if_outcome_unknown: IfOutcomeUnknown::Retry,
        document_bytes_max: 1 << 20,
        check: check::Limits::default(),
        api: Api::Converse,
        lane_prefix: "bedrock/eu-central-1".to_owned(),
        seen_ms: 60_000,
        profiles: vec!["eu".to_owned(), "global".to_owned()],
        families: BTreeMap::new(),
        allow_retired: false,
        queues: BTreeMap::new(),
        reply_allow: ReplyAllow::default(),
    };
    Admission::new(settings, Arc::new(Catalogue::embedded().unwrap()))
}

async fn a_job_prepared_by_admission_is_claimed_as_it_was_prepared(world: World) {
    let document = r#"{"id":"doc-1","prompt":"Say hello.","metadata":{"k":1},"priority":3}"#;
    let now = world.clock.now();
    let (room, limits) = (admission(), world.store.limits().await.unwrap());
    let job =
        room.prepare(document, &Overrides::default(), Origin::default(), &limits, now).unwrap();
    world.admit(vec![job.clone()]).await;
    let lanes = world.store.ready_lanes().await.unwrap();
    assert_eq!(lanes, std::slice::from_ref(&job.lane));
    let ask = quarrier::store::ClaimAsk { lane: job.lane.clone(), ..world.ask(1) };
    let claimed = world.store.claim(ask).await.unwrap().jobs.remove(0);
    assert_eq!(claimed.external_id.as_deref(), Some("doc-1"));
    assert_eq!(claimed.document, job.document);
    assert_eq!(Ok(&claimed.resolved), job.resolved.as_ref());
    assert_eq!(claimed.wanted, job.wanted);
    assert_eq!(claimed.deadline_at, job.deadline_at);
    assert_eq!(claimed.number, 1);

    let problems =
        room.prepare("{}", &Overrides::default(), Origin::default(), &limits, now).unwrap_err();
    let rejected =
        world.admit(vec![room.rejected("{}", &problems, Origin::default(), now)]).await[0];
    assert_eq!(world.result(rejected).await.unwrap().error_kind.as_deref(), Some("rejected"));
}
