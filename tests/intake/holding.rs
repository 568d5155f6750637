//! Messages that are held until their jobs have ended.

use quarrier::message_queue::QueueErrorKind;

use crate::bed::{Bed, plain};
use crate::queue::ARN;
use crate::{until, within};

const HALF_A_DAY_MS: u64 = 11 * 3_600_000 + 1_800_000;

#[test]
fn a_held_message_is_noted_hidden_again_and_deleted_when_its_job_has_ended() {
    within(async {
        let bed = Bed::holding();
        let id = bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        let held = &bed.store.held()[0];
        assert_eq!((held.queue.as_str(), held.message_id.as_str()), (ARN, id.as_str()));
        assert_eq!(held.job_id, bed.store.job().job_id);
        for times in 1..=3 {
            bed.hand.advance(40_000);
            until(|| bed.queue.hidden().len() >= times).await;
        }
        assert_eq!(bed.queue.messages()[0].receives, 1, "nobody else has seen it");
        assert!(bed.queue.deleted().is_empty());
        bed.store.end_all();
        until(|| bed.queue.is_empty()).await;
        until(|| bed.store.held().is_empty()).await;
        running.ended().await;
    });
}

#[test]
fn a_queue_that_did_not_hide_is_ready_again_once_nothing_is_left_to_hide() {
    within(async {
        for kind in [QueueErrorKind::Unreachable, QueueErrorKind::Denied] {
            let bed = Bed::holding();
            bed.queue.put(&plain("x"));
            let running = bed.start();
            until(|| bed.store.held().len() == 1).await;
            bed.queue.fail("hide", kind);
            bed.hand.advance(40_000);
            until(|| running.intake.ready().says.contains("be hidden again")).await;
            assert!(!running.intake.ready().ok);
            bed.store.end_all();
            until(|| bed.queue.is_empty()).await;
            until(|| running.intake.ready().ok).await;
            running.ended().await;
        }
    });
}

#[test]
fn no_more_messages_are_received_than_may_be_held() {
    within(async {
        let mut bed = Bed::holding();
        bed.options.held_max = 13;
        (0..40).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        let running = bed.start();
        until(|| bed.store.held().len() == 13).await;
        until(|| running.intake.ready().says.contains("13 messages are held")).await;
        assert!(running.intake.ready().ok);
        let received = bed.queue.messages().iter().filter(|one| one.receives > 0).count();
        assert_eq!((received, bed.store.jobs().len()), (13, 13));
        while !bed.queue.is_empty() {
            bed.store.end_all();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            assert!(bed.store.held().len() <= 13);
        }
        assert_eq!(bed.store.jobs().len(), 40);
        running.ended().await;
    });
}

#[test]
fn a_job_that_has_ended_already_lets_its_message_go_and_a_deleted_one_too() {
    within(async {
        let bed = Bed::holding();
        let body = r#"{"id":"mine","prompt":"Hi"}"#;
        bed.queue.put(body);
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        bed.store.end_all();
        until(|| bed.queue.is_empty()).await;
        bed.comes_again_after_the_end_and_the_deletion(body).await;
        running.ended().await;
    });
}

#[test]
fn a_message_that_somebody_else_has_received_is_forgotten_and_its_next_delivery_finds_its_job() {
    within(async {
        let bed = Bed::holding();
        let id = bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        bed.queue.steal(&id);
        bed.hand.advance(40_000);
        until(|| bed.store.held().is_empty()).await;
        bed.queue.show(&id);
        until(|| bed.store.held().len() == 1).await;
        bed.store.end_all();
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        running.ended().await;
    });
}

#[test]
fn near_twelve_hours_the_message_goes_and_the_job_stays() {
    within(async {
        let bed = Bed::holding();
        let id = bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        bed.queue.keep_hidden(&id);
        bed.hand.advance(HALF_A_DAY_MS);
        until(|| bed.queue.is_empty() && bed.store.held().is_empty()).await;
        assert!(bed.queue.hidden().is_empty());
        bed.store.job();
        running.ended().await;
    });
}

#[test]
fn a_queue_that_hides_it_no_longer_lets_it_go_too() {
    within(async {
        let bed = Bed::holding();
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        bed.queue.fail("hide", QueueErrorKind::Ceiling);
        bed.hand.advance(40_000);
        until(|| bed.queue.is_empty() && bed.store.held().is_empty()).await;
        running.ended().await;
    });
}

#[test]
fn the_next_process_goes_on_with_what_is_held() {
    within(async {
        let bed = Bed::holding();
        (0..3).for_each(|number| drop(bed.queue.put(&plain(&number.to_string()))));
        let first = bed.start();
        until(|| bed.store.held().len() == 3).await;
        first.killed().await;
        bed.queue.steal("m-1");
        let second = bed.start();
        // At once, because nobody knows when the first one did it last.
        until(|| bed.queue.hidden().len() == 2).await;
        until(|| bed.store.held().len() == 2).await;
        bed.store.end_all();
        until(|| bed.queue.deleted().len() == 2).await;
        bed.queue.show("m-1");
        until(|| bed.queue.is_empty()).await;
        assert_eq!(bed.store.jobs().len(), 3);
        second.ended().await;
    });
}

#[test]
fn a_process_that_holds_nothing_deletes_what_an_earlier_one_has_held() {
    within(async {
        let mut bed = Bed::holding();
        bed.queue.put(&plain("x"));
        let first = bed.start();
        until(|| bed.store.held().len() == 1).await;
        first.killed().await;
        bed.options.ack = quarrier::intake::Ack::OnStored;
        let second = bed.start();
        until(|| bed.queue.is_empty() && bed.store.held().is_empty()).await;
        bed.store.job();
        second.ended().await;
    });
}

#[test]
fn after_a_drain_held_messages_go_on_until_everything_is_done_and_the_rest_stays_noted() {
    within(async {
        let bed = Bed::holding();
        let first = bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        running.drain.cancel();
        bed.hand.advance(40_000);
        until(|| bed.queue.hidden().len() == 1).await;
        bed.queue.put(&plain("late"));
        bed.store.end_all();
        until(|| bed.queue.deleted() == [first.clone()]).await;
        assert_eq!(bed.store.jobs().len(), 1, "nothing is received after a drain");
        running.ended().await;

        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        running.ended().await;
        assert_eq!(bed.store.held().len(), 1);
        assert_eq!(bed.queue.messages().len(), 1);
    });
}

#[test]
fn a_job_that_ends_with_the_process_has_its_message_deleted_by_the_last_look() {
    within(async {
        let bed = Bed::holding();
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        running.drain.cancel();
        bed.store.end_all();
        running.ended().await;
        assert!(bed.queue.is_empty() && bed.store.held().is_empty());
    });
}

#[test]
fn while_the_store_is_away_held_messages_stay_hidden() {
    within(async {
        let bed = Bed::holding();
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.store.held().len() == 1).await;
        bed.store.go_away(true);
        for times in 1..=4 {
            bed.hand.advance(40_000);
            until(|| bed.queue.hidden().len() >= times).await;
        }
        bed.store.end_all();
        assert!(bed.queue.deleted().is_empty());
        bed.store.go_away(false);
        until(|| bed.queue.is_empty()).await;
        running.ended().await;
    });
}
