//! Every finding about queues, provoked by facts.

use expect_test::{Expect, expect};

use super::*;
use crate::message_queue::{ByGroup, DeadLetters};

fn wanted(held: bool) -> Wanted<'static> {
    Wanted {
        queue: "jobs",
        held,
        by_store: true,
        visibility_s: 120,
        document_bytes_max: 1_048_576,
        seen_days: 30,
        held_messages: Some(7),
        alive: Some(1),
    }
}

fn facts() -> QueueFacts {
    QueueFacts {
        arn: "arn:aws:sqs:eu-west-1:111122223333:jobs".to_owned(),
        fifo: false,
        content_deduplication: false,
        by_group: ByGroup::default(),
        visibility_s: 30,
        message_bytes_max: 1_048_576,
        retention_s: 345_600,
        dead_letters: Some(DeadLetters { arn: "arn:bad".to_owned(), receives_max: 50 }),
        encrypted_by_key: false,
        waiting: 1_200,
        in_flight: 9,
    }
}

fn error(kind: QueueErrorKind) -> QueueError {
    QueueError { kind, message: format!("it said {kind:?}") }
}

#[track_caller]
fn check(look: impl FnOnce(&mut Report), expected: &Expect) {
    let mut report = Report::default();
    look(&mut report);
    expected.assert_eq(&report.text());
}

#[test]
fn a_queue_as_it_should_be_has_no_remedies() {
    for held in [false, true] {
        let mut report = Report::default();
        intake(&wanted(held), &facts(), &mut report);
        permissions(
            &wanted(held),
            (&Err(error(QueueErrorKind::Stale)), &Err(error(QueueErrorKind::Stale))),
            &mut report,
        );
        assert!(report.findings.iter().all(|one| one.remedy.is_none()), "{}", report.text());
    }
    check(
        |report| intake(&wanted(true), &facts(), report),
        &expect![[r#"
            ok       sqs.intake     jobs: arn:aws:sqs:eu-west-1:111122223333:jobs, standard, ack on_finished (by the store's engine); about 1200 waiting and 9 in flight; hidden for 120 s at a time
            ok       sqs.redrive    jobs: after 50 receives to arn:bad
            ok       sqs.retention  jobs keeps messages for 4 d, and the store knows a job again for longer
        "#]],
    );
}

#[test]
fn a_redrive_policy_must_be_there_and_patient_enough_for_how_messages_are_held() {
    let with = |receives_max| {
        let dead_letters = Some(DeadLetters { arn: "arn:bad".to_owned(), receives_max });
        QueueFacts { dead_letters, ..facts() }
    };
    check(
        |report| {
            redrive(&wanted(true), &with(19), report);
            redrive(&wanted(true), &with(20), report);
            redrive(&wanted(false), &with(2), report);
            redrive(&wanted(false), &with(3), report);
            let none = QueueFacts { dead_letters: None, ..facts() };
            redrive(&wanted(false), &none, report);
            redrive(&wanted(true), &none, report);
        },
        &expect![[r#"
            warning  sqs.redrive  jobs: maxReceiveCount is 19, fewer than the 20 that ack on_finished (by the store's engine) needs: each start of an intake and each message that is not hidden in time is a receive, and with on_finished jobs that wait would go to the dead-letter queue
                                  -> set its maxReceiveCount to 20 or more
            ok       sqs.redrive  jobs: after 20 receives to arn:bad
            warning  sqs.redrive  jobs: maxReceiveCount is 2, fewer than the 3 that ack on_stored (by the store's engine) needs: a message that is received while the store is away comes again, and soon it would not
                                  -> set its maxReceiveCount to 3 or more
            ok       sqs.redrive  jobs: after 3 receives to arn:bad
            warning  sqs.redrive  jobs has no dead-letter queue: a message that is no job is deleted, and stays in the store alone as a failed job
                                  -> give it a redrive policy with a maxReceiveCount of 3 or more (docs/sqs.md)
            warning  sqs.redrive  jobs has no dead-letter queue: a message that is no job is deleted, and stays in the store alone as a failed job
                                  -> give it a redrive policy with a maxReceiveCount of 20 or more (docs/sqs.md)
        "#]],
    );
}

#[test]
fn the_dead_letter_queue_is_there_and_keeps_what_it_gets() {
    let look = |theirs: QueueResult<QueueFacts>, report: &mut Report| {
        dead_letters(&wanted(false), &facts(), &theirs, report);
    };
    check(
        |report| {
            look(Ok(QueueFacts { retention_s: 1_209_600, waiting: 0, ..facts() }), report);
            look(Ok(QueueFacts { retention_s: 1_209_600, waiting: 2, ..facts() }), report);
            look(Ok(facts()), report);
            look(Err(error(QueueErrorKind::Gone)), report);
            look(Err(error(QueueErrorKind::Denied)), report);
        },
        &expect![[r#"
            note     sqs.redrive  2 messages in arn:bad
                                  -> read their attribute quarrier.reason, and send them again when it is mended
            warning  sqs.redrive  the dead-letter queue arn:bad keeps messages for 4 d, jobs for 4 d: of a standard queue's message the age counts from its first sending
                                  -> set its retention to 14 days (1209600 s)
            error    sqs.redrive  the dead-letter queue of jobs is not there: it said Gone
                                  -> create it, or change the redrive policy: what is received too often is lost
            note     sqs.redrive  the dead-letter queue of jobs could not be looked at: it said Denied
                                  -> allow sqs:GetQueueUrl, sqs:GetQueueAttributes and sqs:SendMessage on arn:bad, or set on_bad = "redrive"
        "#]],
    );
}

#[test]
fn old_sizes_keys_fifo_and_short_memories_are_told() {
    let strange = QueueFacts {
        fifo: true,
        message_bytes_max: 262_144,
        encrypted_by_key: true,
        retention_s: 3_600,
        ..facts()
    };
    check(
        |report| {
            intake(&wanted(true), &strange, report);
            let forgetful = Wanted { seen_days: 3, ..wanted(false) };
            kept(&forgetful, &facts(), report);
        },
        &expect![[r#"
            ok       sqs.intake      jobs: arn:aws:sqs:eu-west-1:111122223333:jobs, FIFO, ack on_finished (by the store's engine); about 1200 waiting and 9 in flight; hidden for 120 s at a time
            ok       sqs.redrive     jobs: after 50 receives to arn:bad
            note     sqs.size        jobs takes messages of 262.1 kB, and job.document_bytes_max is 1.0 MB
                                     -> set its MaximumMessageSize to 1048576 (queues from before August 2025 have 262144); larger documents go into the store by another door
            warning  sqs.fifo        jobs is a FIFO queue with ack on_finished (by the store's engine): the next messages of a group come only when the jobs of those before them have ended
                                     -> set ack = "on_stored" for it, unless that is what you want; or use many message groups
            note     sqs.fifo        jobs is not in high-throughput mode: it takes 300 requests a second of each kind (send, receive, delete) for the whole queue, or 3,000 messages in batches of 10; in that mode it takes as many as its region allows (up to 70,000 in the largest ones), spread over many message groups
                                     -> if that is too little, set its DeduplicationScope to messageGroup and its FifoThroughputLimit to perMessageGroupId; doubles are then known within their group alone
            note     sqs.encryption  jobs is encrypted by a key of yours
                                     -> on that key allow kms:Decrypt, and kms:GenerateDataKey where its dead-letter queue has the key too; without it every request is denied
            warning  sqs.retention   jobs keeps messages for 1 h: what nobody receives by then is lost
                                     -> raise its MessageRetentionPeriod to 14 days (1209600 s)
            warning  sqs.retention   jobs keeps messages for 4 d, and store.seen_days is 3: a message that comes again after that is a new job
                                     -> raise store.seen_days (30 is the default)
        "#]],
    );
}

#[test]
fn a_fifo_queue_is_in_high_throughput_mode_or_not_and_half_of_it_is_a_warning() {
    let with = |deduplication, limit| QueueFacts {
        fifo: true,
        by_group: ByGroup { deduplication, limit },
        ..facts()
    };
    check(
        |report| {
            for (deduplication, limit) in
                [(true, true), (false, false), (true, false), (false, true)]
            {
                fifo::intake(&wanted(false), &with(deduplication, limit), report);
            }
            fifo::throughput("answers", &facts(), report);
        },
        &expect![[r#"
            ok       sqs.fifo  jobs is in high-throughput mode: it takes as many as its region allows (up to 70,000 in the largest ones), spread over many message groups
            note     sqs.fifo  jobs is not in high-throughput mode: it takes 300 requests a second of each kind (send, receive, delete) for the whole queue, or 3,000 messages in batches of 10; in that mode it takes as many as its region allows (up to 70,000 in the largest ones), spread over many message groups
                               -> if that is too little, set its DeduplicationScope to messageGroup and its FifoThroughputLimit to perMessageGroupId; doubles are then known within their group alone
            warning  sqs.fifo  jobs has the DeduplicationScope messageGroup without the FifoThroughputLimit perMessageGroupId: it knows doubles within their group alone, and still takes 300 requests a second of each kind (send, receive, delete) for the whole queue, or 3,000 messages in batches of 10
                               -> set its FifoThroughputLimit to perMessageGroupId, or its DeduplicationScope to queue
            warning  sqs.fifo  jobs has the FifoThroughputLimit perMessageGroupId without the DeduplicationScope messageGroup: it still takes 300 requests a second of each kind (send, receive, delete) for the whole queue, or 3,000 messages in batches of 10
                               -> set its DeduplicationScope to messageGroup, or its FifoThroughputLimit to perQueue
        "#]],
    );
}

#[test]
fn somebody_else_at_a_queue_with_on_finished_is_noticed() {
    let busy = QueueFacts { in_flight: 500, ..facts() };
    check(
        |report| {
            alone(&wanted(true), &busy, report);
            alone(&wanted(false), &busy, report);
            alone(&Wanted { held_messages: Some(450), ..wanted(true) }, &busy, report);
            alone(&Wanted { held_messages: None, alive: None, ..wanted(true) }, &busy, report);
            alone(&Wanted { alive: Some(2), ..wanted(true) }, &facts(), report);
        },
        &expect![[r#"
            warning  sqs.alone  about 500 messages of jobs are in flight, and this store holds 7: somebody else receives from it
                                -> let one process read a queue with on_finished: another with a store of its own would do a message's job again; several processes need Postgres and ack = "on_stored"
            warning  sqs.alone  2 processes work on this store, and jobs has ack on_finished, which is for one process a queue
                                -> configure this intake for one of them, or set ack = "on_stored"
        "#]],
    );
}

#[test]
fn what_is_denied_is_an_error_with_the_action_to_allow() {
    use QueueErrorKind::{Denied, Gone, Stale, Throttled};
    let answer = |kind| Err(error(kind));
    check(
        |report| {
            permissions(&wanted(true), (&answer(Denied), &answer(Denied)), report);
            permissions(&wanted(true), (&answer(Throttled), &answer(Stale)), report);
            permissions(&wanted(false), (&answer(Stale), &answer(Denied)), report);
            unseen(INTAKE, "jobs", &error(Gone), report);
            unseen(INTAKE, "jobs", &error(Denied), report);
            unseen(REPLY, "answers", &error(Denied), report);
            unseen(REPLY, "answers", &error(QueueErrorKind::Unreachable), report);
        },
        &expect![[r#"
            error    sqs.permissions  jobs: sqs:DeleteMessage is not allowed: it said Denied
                                      -> allow sqs:DeleteMessage on it (docs/sqs.md has the whole policy of a worker)
            error    sqs.permissions  jobs: sqs:ChangeMessageVisibility is not allowed: it said Denied
                                      -> allow sqs:ChangeMessageVisibility on it (docs/sqs.md has the whole policy of a worker)
            note     sqs.permissions  jobs: sqs:DeleteMessage is not known: it said Throttled
                                      -> run `quarrier doctor` again; docs/sqs.md has the policy that is needed
            ok       sqs.permissions  jobs: reading its attributes and deleting are allowed; receiving and sending were not tried, because that would move messages
            error    sqs.intake       jobs: it said Gone
                                      -> create it, or correct the name; a name without a URL is looked for in the configured region (sqs.region, AWS_REGION)
            error    sqs.intake       jobs: it said Denied
                                      -> allow sqs:GetQueueUrl, GetQueueAttributes, ReceiveMessage, DeleteMessage and ChangeMessageVisibility on it (docs/sqs.md has the policy)
            note     sqs.reply        answers: it said Denied
                                      -> allow sqs:GetQueueAttributes on it, or results over 256 KiB are not sent whole; sqs:SendMessage is needed in any case
            warning  sqs.reply        answers: it said Unreachable
                                      -> see that its address answers from here: network, VPC endpoint, sqs.endpoint, AWS_ENDPOINT_URL_SQS; then run `quarrier doctor` again
        "#]],
    );
}

#[test]
fn a_queue_for_results_says_what_becomes_of_large_ones() {
    let small = QueueFacts { message_bytes_max: 262_144, retention_s: 60, ..facts() };
    check(
        |report| {
            reply("answers", None, &small, report);
            reply(
                "answers",
                Some("large"),
                &QueueFacts { encrypted_by_key: true, ..small },
                report,
            );
            circle("jobs", report);
        },
        &expect![[r#"
            ok       sqs.reply       answers: arn:aws:sqs:eu-west-1:111122223333:jobs, standard; about 1200 waiting; sending was not tried
            note     sqs.size        answers takes messages of 262.1 kB: of larger results only a notice is sent
                                     -> set its MaximumMessageSize to 1048576 (queues from before August 2025 have 262144)
            warning  sqs.retention   answers keeps messages for 1 min: results that nobody fetches by then stay in the store alone
                                     -> raise its MessageRetentionPeriod to 14 days (1209600 s)
            ok       sqs.reply       answers: arn:aws:sqs:eu-west-1:111122223333:jobs, standard; about 1200 waiting; sending was not tried
            note     sqs.size        answers takes messages of 262.1 kB: larger results go to the bucket large
                                     -> set its MaximumMessageSize to 1048576 (queues from before August 2025 have 262144)
            note     sqs.encryption  answers is encrypted by a key of yours
                                     -> on that key allow kms:GenerateDataKey and kms:Decrypt; without it every request is denied
            warning  sqs.retention   answers keeps messages for 1 min: results that nobody fetches by then stay in the store alone
                                     -> raise its MessageRetentionPeriod to 14 days (1209600 s)
            error    sqs.reply       jobs is an intake and may get replies: each result would come back as a bad job
                                     -> take it out of sqs.reply_allow, and use another queue for results
        "#]],
    );
}
