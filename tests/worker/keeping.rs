//! What a worker does to content whose time is over, and to answers that come after an erasure.

use std::sync::Arc;

use quarrier::clock::Clock;
use quarrier::job::State;
use quarrier::store::{EraseAsk, KeepStore as _, RetentionPolicy};

use crate::bed::Bed;
use crate::scripted::Scripted;
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

const DAY_MS: u64 = 86_400_000;

#[test]
fn a_worker_deletes_by_itself_what_has_been_kept_long_enough() {
    within(async {
        let (clock, hand) = Clock::manual();
        let bed = Bed::with(clock, "scripted").await;
        let id = bed.job().await;
        let running = bed.start(Scripted::saying("Paid for."));
        until(|| async { bed.state(id).await == State::Succeeded }).await;
        running.drained().await;
        hand.advance(40 * DAY_MS);

        let mut options = bed.options();
        let policy = RetentionPolicy::for_ever();
        options.retention = RetentionPolicy { bodies_days: 30, jobs_days: 90, ..policy };
        let start = || bed.start_on(bed.store.clone(), Scripted::saying("Never."), options.clone());
        let running = start();
        let bodies = "select count(*) from attempt_body";
        until(|| async { bed.number(bodies).await == 0 }).await;
        let page = bed.page(id).await;
        assert_eq!(page.result.unwrap().deleted.unwrap().by, "retention");
        running.drained().await;

        hand.advance(50 * DAY_MS);
        let running = start();
        until(|| async { bed.number("select count(*) from job").await == 0 }).await;
        running.drained().await;
        assert_eq!(bed.number("select sum(calls) from spent").await, 1);
    });
}

#[test]
fn a_spool_that_is_replayed_after_an_erasure_stores_no_words_and_all_of_the_bill() {
    within(async {
        let bed = Bed::new().await;
        let id = bed.job().await;
        let provider = Scripted::saying("A secret.");
        let store = Troubled::new(&bed.store);
        store.tell("finish", Trouble::Away);
        let running = bed.start_on(store.clone(), provider.clone(), bed.options());
        store.fails("finish", 1).await;
        running.stopped().await;
        assert_eq!(bed.spooled().len(), 1);

        let ask = EraseAsk {
            tenant: "default".to_owned(),
            asked_by: "ada".to_owned(),
            tenant_default: "default".to_owned(),
            rows_max: 10,
        };
        let receipt = bed.store.erase(&ask).await.unwrap();
        assert_eq!((receipt.counts.jobs, receipt.counts.fenced), (1, 1));

        let next = bed.start(provider.clone());
        until(|| async { bed.spooled().is_empty() }).await;
        next.drained().await;
        let page = bed.page(id).await;
        let attempt = &page.attempts[0];
        assert_eq!((page.row.state, &attempt.raw_text), (State::Cancelled, &None));
        assert!(attempt.usage.is_some() && attempt.cost_micros.is_some(), "{attempt:?}");
        assert_eq!(bed.number("select count(*) from attempt_body").await, 0);
        assert_eq!(Arc::clone(&provider).seen().begun, 1, "nobody calls it again");
    });
}
