//! From messages to jobs: each message one job, however often it comes.

use std::sync::atomic::Ordering;

use quarrier::admit::{AdmitSettings, ReplyAllow};
use quarrier::store::Reply;

use crate::bed::{Bed, admission_with, plain};
use crate::{until, within};

#[test]
fn a_message_becomes_a_job_and_is_deleted_once_that_is_stored() {
    within(async {
        let bed = Bed::default();
        bed.queue.put(r#"{"id":"mine","prompt":"Hi"}"#);
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let job = bed.store.job();
        assert_eq!(job.identity.as_deref(), Some("id:mine"));
        assert!(job.resolved.is_ok());
        assert_eq!(bed.woken.load(Ordering::SeqCst), 1, "the worker hears of it");
        let counts = running.intake.counts();
        assert_eq!((counts.received, counts.admitted, counts.deleted), (1, 1, 1));
        running.ended().await;
    });
}

#[test]
fn what_one_request_brings_is_one_admission() {
    within(async {
        let bed = Bed::default();
        (0..10).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        assert_eq!((bed.store.jobs().len(), bed.store.admissions()), (10, 1));
        assert!(bed.queue.calls("delete") <= 2, "deletes go in batches");
        running.ended().await;
    });
}

#[test]
fn three_deliveries_of_one_message_at_once_are_one_job() {
    within(async {
        let bed = Bed::default();
        bed.queue.put_copies(&plain("x"), 3);
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        assert!(bed.store.job().identity.unwrap().starts_with("message:"));
        running.ended().await;
    });
}

#[test]
fn a_message_that_comes_again_finds_its_job_also_after_its_end_and_its_deletion() {
    within(async {
        let bed = Bed::default();
        bed.queue.put_with(&plain("x"), |message| message.id = "same".to_owned());
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let again = || {
            bed.queue.put_with(&plain("x"), |message| message.id = "same".to_owned());
        };
        bed.store.end_all();
        again();
        until(|| bed.queue.is_empty() && running.intake.counts().known == 1).await;
        bed.store.delete_all();
        again();
        until(|| bed.queue.is_empty() && running.intake.counts().known == 2).await;
        assert_eq!(bed.store.jobs().len(), 1);
        running.ended().await;
    });
}

#[test]
fn a_message_that_comes_again_is_its_jobs_whatever_is_allowed_by_now() {
    let body = r#"{"id":"mine","prompt":"Hi","model":"claude-3-opus","reply_to":"answers"}"#;
    let changes: [fn(&mut AdmitSettings); 4] = [
        |now| now.allow_retired = false,
        |now| now.reply_allow = ReplyAllow::new(vec!["others".to_owned()]),
        |now| now.document_bytes_max = 10,
        |now| {
            now.allow_retired = false;
            now.reply_allow = ReplyAllow::default();
        },
    ];
    for change in changes {
        within(async {
            let bed = Bed::default();
            let put = || bed.queue.put(body);
            put();
            let running = bed.start_with(admission_with(|then| then.allow_retired = true));
            until(|| bed.queue.is_empty()).await;
            assert!(bed.store.job().resolved.is_ok());
            running.ended().await;

            let running = bed.start_with(admission_with(|now| {
                now.allow_retired = true;
                change(now);
            }));
            put();
            until(|| bed.queue.is_empty()).await;
            bed.comes_again_after_the_end_and_the_deletion(body).await;
            assert!(bed.queue.dead().is_empty());
            until(|| running.intake.counts().deleted == 3).await;
            let counts = running.intake.counts();
            assert_eq!((counts.known, counts.rejected), (3, 0));
            // What was never admitted is rejected as before.
            bed.queue.put(&body.replace("Hi", "Ho"));
            bed.queue.put(&body.replace("mine", "other"));
            until(|| bed.queue.dead().len() == 2).await;
            running.ended().await;
        });
    }
}

#[test]
fn two_messages_with_one_id_and_one_document_are_one_job() {
    within(async {
        let bed = Bed::default();
        bed.queue.put(r#"{"id":"mine","prompt":"Hi"}"#);
        bed.queue.put(r#"{ "prompt": "Hi", "id": "mine" }"#);
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        running.ended().await;
    });
}

#[test]
fn two_messages_with_one_document_and_no_id_are_two_jobs() {
    within(async {
        let bed = Bed::default();
        bed.queue.put(&plain("x"));
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        assert_eq!(bed.store.jobs().len(), 2);
        running.ended().await;
    });
}

#[test]
fn a_held_dedupe_key_lets_no_second_job_in_and_the_message_goes() {
    within(async {
        let bed = Bed::default();
        bed.queue.put(r#"{"prompt":"a","dedupe_key":"k"}"#);
        bed.queue.put(r#"{"prompt":"b","dedupe_key":"k"}"#);
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        assert!(bed.queue.dead().is_empty());
        running.ended().await;
    });
}

#[test]
fn the_group_of_a_queue_without_an_order_is_the_tenant_and_the_trace_goes_with_the_reply() {
    within(async {
        let bed = Bed::default();
        let body = r#"{"prompt":"a","reply_to":"answers"}"#;
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
        bed.queue.put_with(body, |message| {
            message.group = Some("acme".to_owned());
            message.trace = Some(trace.to_owned());
        });
        let named = r#"{"prompt":"a","tenant":"own"}"#;
        bed.queue.put_with(named, |message| message.group = Some("acme".to_owned()));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let jobs = bed.store.jobs();
        assert_eq!((jobs[0].tenant.as_str(), jobs[1].tenant.as_str()), ("acme", "own"));
        let reply = Reply { to: "answers".to_owned(), trace: Some(trace.to_owned()) };
        assert_eq!(jobs[0].reply, Some(reply));
        running.ended().await;
    });
}

#[test]
fn a_group_that_says_only_an_order_is_no_tenant_and_its_order_is_kept() {
    within(async {
        let bed = Bed::of(true, true);
        for number in 0..25 {
            let group = Some(format!("g{}", number % 3));
            bed.queue.put_with(&plain(&number.to_string()), |message| message.group = group);
        }
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let jobs = bed.store.jobs();
        assert!(jobs.len() == 25 && jobs.iter().all(|job| job.tenant == "default"));
        for group in 0..3 {
            let number = |text: &str| text.rsplit('-').next().unwrap().parse::<usize>().unwrap();
            let of_group = |number: &usize| (number - 1) % 3 == group;
            let deleted: Vec<usize> =
                bed.queue.deleted().iter().map(|id| number(id)).filter(of_group).collect();
            assert!(deleted.is_sorted(), "{deleted:?}");
        }
        let prompts: Vec<&str> = jobs.iter().map(|job| job.document.as_str()).collect();
        let place = |number: usize| {
            let text = format!("\"prompt\":\"{number}\"");
            prompts.iter().position(|prompt| prompt.contains(&text)).unwrap()
        };
        assert!((0..22).all(|number| place(number) < place(number + 3)), "{prompts:?}");
        running.ended().await;
    });
}

#[test]
fn a_queue_that_gives_full_answers_is_asked_by_a_second_loop_and_an_idle_one_is_not() {
    within(async {
        let bed = Bed::default();
        let running = bed.start();
        until(|| bed.queue.calls("receive") == 1).await;
        (0..300).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        until(|| bed.queue.is_empty()).await;
        assert_eq!(bed.queue.asks_max(), 2);
        assert_eq!(bed.store.jobs().len(), 300);
        running.ended().await;
    });
}
