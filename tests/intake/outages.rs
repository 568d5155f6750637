//! Stores and queues that are away: nothing is lost, nothing is doubled, nothing is deleted too soon.

use std::collections::HashSet;
use std::time::Duration;

use quarrier::intake::Ack;
use quarrier::message_queue::QueueErrorKind;
use rand::RngExt as _;

use crate::bed::{Bed, plain};
use crate::{until, within};

#[test]
fn nothing_is_received_while_the_store_is_away() {
    within(async {
        let bed = Bed::default();
        bed.store.go_away(true);
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| running.intake.ready().says.contains("the store does not answer")).await;
        assert!(!running.intake.ready().ok);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((bed.queue.calls("receive"), bed.queue.calls("delete")), (0, 0));
        bed.store.go_away(false);
        until(|| bed.queue.is_empty()).await;
        assert!(running.intake.ready().ok);
        running.ended().await;
    });
}

#[test]
fn messages_in_hand_wait_for_a_store_that_comes_back_and_cost_no_delivery() {
    within(async {
        let bed = Bed::default();
        let running = bed.start();
        until(|| bed.queue.calls("receive") == 1).await;
        bed.store.go_away(true);
        bed.queue.put(&plain("x"));
        until(|| running.intake.counts().received == 1).await;
        until(|| !running.intake.ready().ok).await;
        assert_eq!(bed.queue.calls("delete"), 0);
        bed.store.go_away(false);
        until(|| bed.store.jobs().len() == 1).await;
        assert_eq!(bed.queue.messages().first().map_or(1, |message| message.receives), 1);
        until(|| bed.queue.is_empty()).await;
        assert_eq!(running.intake.counts().left, 0);
        running.ended().await;
    });
}

#[test]
fn an_outage_longer_than_a_messages_time_leaves_it_to_its_next_delivery() {
    within(async {
        let bed = Bed::default();
        let running = bed.start();
        until(|| bed.queue.calls("receive") == 1).await;
        bed.store.go_away(true);
        bed.queue.put(&plain("x"));
        until(|| running.intake.counts().received == 1).await;
        bed.hand.advance(120_000);
        until(|| running.intake.counts().left == 1).await;
        assert_eq!((bed.queue.calls("delete"), bed.queue.calls("hide")), (0, 0));
        assert!(bed.store.jobs().is_empty());
        bed.store.go_away(false);
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        running.ended().await;
    });
}

#[test]
fn an_admission_whose_answer_is_lost_is_found_by_the_next_try() {
    within(async {
        let bed = Bed::default();
        bed.store.lose(2);
        bed.queue.put(&plain("x"));
        let running = bed.start();
        until(|| bed.queue.is_empty()).await;
        bed.store.job();
        running.ended().await;
    });
}

#[test]
fn a_drain_does_not_wait_for_a_store_that_is_away() {
    within(async {
        let bed = Bed::default();
        let running = bed.start();
        until(|| bed.queue.calls("receive") == 1).await;
        bed.store.go_away(true);
        bed.queue.put(&plain("x"));
        until(|| running.intake.counts().received == 1).await;
        running.drain.cancel();
        running.over().await;
        assert_eq!(bed.queue.messages().len(), 1);
    });
}

#[test]
fn a_queue_that_is_gone_or_forbidden_is_told_of_and_received_from_again_when_it_is_back() {
    within(async {
        for kind in [QueueErrorKind::Gone, QueueErrorKind::Denied, QueueErrorKind::Unreachable] {
            let bed = Bed::default();
            bed.queue.fail("receive", kind);
            bed.queue.put(&plain("x"));
            let running = bed.start();
            until(|| running.intake.ready().says.contains("cannot be received from")).await;
            let check = running.intake.ready();
            assert!(!check.ok && check.says.contains("tried again by itself"), "{}", check.says);
            until(|| bed.queue.calls("receive") == 3).await;
            bed.queue.heal("receive");
            until(|| bed.queue.is_empty()).await;
            assert!(running.intake.ready().ok);
            running.ended().await;
        }
    });
}

#[test]
fn a_queue_that_cannot_be_found_at_the_start_is_looked_for_until_a_drain() {
    within(async {
        let bed = Bed::default();
        bed.queue.fail("url", QueueErrorKind::Gone);
        let running = bed.start();
        until(|| bed.queue.calls("url") == 2).await;
        assert!(running.intake.ready().says.contains("create it"));
        running.drain.cancel();
        running.over().await;
    });
}

const MESSAGES: usize = 200;

/// Every failure at once, for a while: all messages come to one job each, and all are deleted.
#[test]
fn whatever_fails_no_message_is_lost_or_doubled() {
    within(async {
        for ack in [Ack::OnStored, Ack::OnFinished] {
            let mut bed = Bed::default();
            bed.options.ack = ack;
            for number in 0..MESSAGES {
                bed.queue.put(&plain(&number.to_string()));
            }
            let running = bed.start();
            let mut number = 0;
            while bed.store.jobs().len() < MESSAGES * 9 / 10 {
                number += 1;
                bed.store.lose(u32::from(number % 7 == 0));
                bed.store.go_away(number % 11 == 0);
                // Seldom enough that no wait grows long.
                match number % 20 {
                    0 => bed.queue.fail("receive", QueueErrorKind::Unreachable),
                    5 => {
                        bed.queue.fail_deletes(&[QueueErrorKind::Throttled, QueueErrorKind::Stale]);
                    }
                    10 => bed.queue.fail("hide", QueueErrorKind::Throttled),
                    _ => ["receive", "hide"].iter().for_each(|method| bed.queue.heal(method)),
                }
                let messages = bed.queue.messages();
                if !messages.is_empty() {
                    let chosen = rand::rng().random_range(0..messages.len());
                    bed.queue.show_if_there(&messages[chosen].id);
                }
                bed.store.end_all();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for method in ["receive", "hide"] {
                bed.queue.heal(method);
            }
            bed.store.go_away(false);
            while !bed.queue.is_empty() {
                bed.store.end_all();
                // What was left comes again when its time is over; slowly enough for what is on its way.
                bed.hand.advance(1_000);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let jobs = bed.store.jobs();
            let identities: HashSet<_> = jobs.iter().map(|job| job.identity.clone()).collect();
            assert_eq!((jobs.len(), identities.len()), (MESSAGES, MESSAGES), "{ack:?}");
            assert!(bed.queue.dead().is_empty());
            running.ended().await;
        }
    });
}
