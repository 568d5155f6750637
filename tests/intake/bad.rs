//! Messages that cannot be admitted: rejected once, with the reason, and never for ever.

use quarrier::intake::OnBad;
use quarrier::message_queue::{Attribute, QueueErrorKind};

use crate::bed::{Bed, plain};
use crate::{until, within};

const BAD: [&str; 7] = [
    "not JSON at all",
    "[]",
    r#"{"prompt":"Hi","colour":1}"#,
    r#"{"prompt":"Hi","version":2}"#,
    r#"{"prompt":"Hi","model":"no-such-model"}"#,
    r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]"#,
    "eyJwcm9tcHQiOiJIaSJ9",
];

fn text(attribute: Option<&Attribute>) -> String {
    match attribute {
        Some(Attribute::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_message_goes_to_the_dead_letter_queue_with_its_reason_and_keeps_no_other_waiting() {
    within(async {
        let bed = Bed::default();
        for body in BAD {
            bed.queue.put_with(body, |message| {
                message.attributes.insert("theirs".to_owned(), "kept".to_owned());
            });
        }
        bed.queue.put(&plain("good"));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let jobs = bed.store.jobs();
        assert_eq!(jobs.iter().filter(|job| job.resolved.is_ok()).count(), 1);
        let dead = bed.queue.dead();
        assert_eq!(dead.len(), BAD.len());
        for (letter, job) in dead.iter().zip(&jobs) {
            let reason = job.resolved.clone().unwrap_err();
            assert_eq!(text(letter.attributes.get("quarrier.reason")), reason);
            assert_eq!(text(letter.attributes.get("quarrier.job_id")), job.job_id.to_string());
            assert_eq!(text(letter.attributes.get("theirs")), "kept");
            assert!(job.identity.as_ref().unwrap().starts_with("message:"));
        }
        let reason = |at: usize| text(dead[at].attributes.get("quarrier.reason"));
        assert!(reason(5).contains("pointer to a body in S3"), "{}", reason(5));
        assert!(reason(6).contains("looks like base64"), "{}", reason(6));
        assert_eq!(running.intake.counts().rejected, 7);
        running.ended().await;
    });
}

#[test]
fn a_bad_message_that_names_a_reply_queue_is_answered_there() {
    within(async {
        let bed = Bed::default();
        bed.queue.put(r#"{"prompt":"Hi","colour":1,"reply_to":"answers","tenant":"acme"}"#);
        bed.queue.put(r#"{"prompt":"Hi","reply_to":"https://elsewhere.example/queue"}"#);
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let jobs = bed.store.jobs();
        assert_eq!(jobs[0].reply.as_ref().unwrap().to, "answers");
        assert_eq!(jobs[0].tenant, "acme");
        assert!(jobs[1].resolved.clone().unwrap_err().contains("$.reply_to"));
        assert_eq!(jobs[1].reply, None, "what is not allowed gets no rejection either");
        running.ended().await;
    });
}

#[test]
fn without_a_dead_letter_queue_a_bad_message_is_deleted_because_the_store_has_it() {
    within(async {
        for on_bad in [OnBad::DeadLetter, OnBad::Redrive] {
            let mut bed = Bed::of(false, false);
            bed.options.on_bad = on_bad;
            bed.queue.put("{");
            let running = bed.start();
            until(|| bed.queue.is_empty()).await;
            assert_eq!(bed.store.job().document, "\"{\"");
            running.ended().await;
        }
    });
}

#[test]
fn left_to_the_redrive_policy_it_stays_and_is_one_job_however_often_it_comes() {
    within(async {
        let mut bed = Bed::default();
        bed.options.on_bad = OnBad::Redrive;
        let id = bed.queue.put("{");
        let running = bed.start();
        for times in 1..=3 {
            until(|| running.intake.counts().rejected == times).await;
            bed.queue.show(&id);
        }
        bed.store.job();
        assert!(bed.queue.dead().is_empty() && bed.queue.calls("delete") == 0);
        running.ended().await;
    });
}

#[test]
fn what_was_rejected_and_can_be_admitted_now_is_admitted_at_its_next_delivery() {
    within(async {
        let mut bed = Bed::default();
        bed.options.on_bad = OnBad::Redrive;
        let id = bed.queue.put(&plain("x"));
        bed.store.poison("\"prompt\"");
        let running = bed.start();
        until(|| running.intake.counts().rejected == 1).await;
        bed.store.poison("nothing has this text");
        bed.queue.show(&id);
        until(|| bed.queue.is_empty()).await;
        let jobs = bed.store.jobs();
        assert_eq!(jobs.len(), 2);
        assert!(jobs[0].resolved.is_err() && jobs[1].resolved.is_ok());
        running.ended().await;
    });
}

#[test]
fn an_id_of_another_document_is_refused_and_the_reason_names_the_job() {
    within(async {
        let bed = Bed::default();
        bed.queue.put(r#"{"id":"mine","prompt":"one"}"#);
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let first = bed.store.job().job_id;
        bed.queue.put(r#"{"id":"mine","prompt":"two"}"#);
        until(|| bed.queue.is_empty()).await;
        let reason = bed.store.jobs()[1].resolved.clone().unwrap_err();
        assert!(reason.contains("$.id") && reason.contains(&first.to_string()), "{reason}");
        assert_eq!(bed.queue.dead().len(), 1);
        running.ended().await;
    });
}

#[test]
fn what_the_store_refuses_is_rejected_alone() {
    within(async {
        let bed = Bed::default();
        bed.store.poison("poison");
        (0..4).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        bed.queue.put(&plain("poison"));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        let jobs = bed.store.jobs();
        assert_eq!(jobs.iter().filter(|job| job.resolved.is_ok()).count(), 4);
        assert_eq!((jobs.len(), bed.queue.dead().len()), (5, 1));
        assert!(text(bed.queue.dead()[0].attributes.get("quarrier.reason")).contains("stored"));
        running.ended().await;
    });
}

#[test]
fn a_dead_letter_queue_that_takes_nothing_leaves_the_message_to_its_next_delivery() {
    within(async {
        let bed = Bed::default();
        bed.queue.fail("send", QueueErrorKind::Denied);
        let id = bed.queue.put("{");
        let running = bed.start();
        until(|| bed.queue.calls("send") == 4).await;
        bed.queue.heal("send");
        bed.queue.show(&id);
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        assert_eq!(bed.queue.dead().len(), 1);
        running.ended().await;
    });
}

#[test]
fn a_message_that_has_no_room_for_its_reason_is_left_to_the_redrive_policy() {
    within(async {
        let bed = Bed::default();
        bed.queue.fail("send", QueueErrorKind::TooLarge);
        bed.queue.put("{");
        let running = bed.start();
        until(|| bed.queue.calls("send") == 1).await;
        bed.queue.put(&plain("next"));
        until(|| running.intake.counts().deleted == 1).await;
        assert_eq!(bed.queue.messages().len(), 1);
        running.ended().await;
    });
}
