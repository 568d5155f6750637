//! Deleting: what fails is tried again, what is stale is over, and nothing waits for it.

use quarrier::message_queue::QueueErrorKind;

use crate::bed::{Bed, plain};
use crate::{until, within};

const MANY: usize = 1_500;

#[test]
fn an_entry_that_fails_is_deleted_by_another_try_and_the_others_are_not_asked_again() {
    within(async {
        let bed = Bed::default();
        let failures = [QueueErrorKind::Unreachable, QueueErrorKind::Throttled];
        bed.queue.fail_deletes(&failures);
        (0..5).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        assert_eq!(running.intake.counts().deleted, 5);
        assert_eq!(bed.store.jobs().len(), 5);
        running.ended().await;
    });
}

#[test]
fn a_stale_receipt_ends_a_deletion_and_the_next_delivery_finds_the_job() {
    within(async {
        let bed = Bed::default();
        bed.queue.fail_deletes(&[QueueErrorKind::Stale]);
        let id = bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.queue.calls("delete") == 1).await;
        assert_eq!(running.intake.counts().deleted, 0);
        bed.queue.show(&id);
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        running.ended().await;
    });
}

#[test]
fn receiving_goes_on_while_deletes_fail_and_the_right_that_is_missing_is_told() {
    within(async {
        let bed = Bed::default();
        bed.queue.fail("delete", QueueErrorKind::Denied);
        // More than may wait for their deletion at once.
        (0..MANY).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        let running = bed.start();
        until(|| bed.store.jobs().len() == MANY).await;
        let check = running.intake.ready();
        assert!(!check.ok && check.says.contains("does not let messages be deleted"), "{check:?}");
        assert!(check.says.contains("allow them sqs:DeleteMessage"), "{check:?}");
        // Each was tried once; the next try is that of its next delivery.
        until(|| bed.queue.refused() == MANY).await;
        bed.queue.heal("delete");
        assert_eq!(bed.queue.messages().len(), MANY);
        bed.hand.advance(120_000);
        until(|| bed.queue.is_empty()).await;
        assert_eq!(bed.store.jobs().len(), MANY, "each was known");
        until(|| running.intake.ready().ok).await;
        running.ended().await;
    });
}

#[test]
fn a_drain_deletes_what_is_stored_before_it_ends() {
    within(async {
        let bed = Bed::default();
        bed.queue.fail("delete", QueueErrorKind::Throttled);
        (0..10).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        let running = bed.start();
        until(|| bed.queue.calls("delete") == 1).await;
        bed.queue.heal("delete");
        running.drain.cancel();
        // Where messages are deleted once stored, nothing is left to do after a drain.
        running.over().await;
        assert!(bed.queue.is_empty());
    });
}
