//! Jobs that come through the table `submission` while a worker is at work.

use quarrier::job::State;
use quarrier::store::{AdmitStore as _, JobFilter, JobRow, ReadStore as _};

use crate::bed::Bed;
use crate::scripted::Scripted;
use crate::trouble::{Trouble, Troubled};
use crate::{until, within};

async fn rows(bed: &Bed) -> Vec<JobRow> {
    bed.store.jobs(&JobFilter { rows_max: 1_000, ..JobFilter::default() }).await.unwrap()
}

#[test]
fn a_document_inserted_by_sql_is_admitted_and_done() {
    within(async {
        let bed = Bed::new().await;
        let running = bed.start(Scripted::saying("Done."));
        bed.sql("insert into submission values ('s1', '{\"id\":\"mine\",\"prompt\":\"Hi\"}')")
            .await;
        running.ended(1).await;
        running.drained().await;
        let page = bed.store.job("mine").await.unwrap().unwrap();
        assert_eq!(page.row.state, State::Succeeded);
        assert_eq!(page.result.unwrap().text.as_deref(), Some("Done."));
        assert_eq!(bed.number("select count(*) from submission").await, 0);
    });
}

#[test]
fn a_bad_document_ends_as_rejected_with_its_reasons_and_keeps_no_other_waiting() {
    within(async {
        let bed = Bed::new().await;
        let bad = [
            "not JSON at all",
            "{\"prompt\":\"Hi\",\"colour\":1}",
            "{\"prompt\":\"\"}",
            "{\"prompt\":\"Hi\",\"model\":\"no-such-model\"}",
            "[]",
        ];
        for (number, document) in bad.iter().enumerate() {
            bed.sql(&format!("insert into submission values ('bad-{number}', '{document}')")).await;
        }
        bed.sql("insert into submission values ('nul', '{\"prompt\":\"a' || char(0) || 'b\"}')")
            .await;
        bed.sql("insert into submission values ('good', '{\"id\":\"good\",\"prompt\":\"Hi\"}')")
            .await;
        let provider = Scripted::saying("Done.");
        let running = bed.start(provider.clone());
        until(|| async { bed.number("select count(*) from submission").await == 0 }).await;
        running.until(|status| status.succeeded == 1).await;
        running.drained().await;
        assert_eq!(provider.seen().begun, 1);
        let rows = rows(&bed).await;
        assert_eq!(rows.len(), 7);
        for row in rows {
            if row.external_id.as_deref() == Some("good") {
                assert_eq!(row.state, State::Succeeded);
                continue;
            }
            let result = bed.page(row.job_id).await.result.unwrap();
            assert_eq!(result.state, State::Failed);
            assert_eq!(result.error_kind.as_deref(), Some("rejected"));
            assert!(!result.error_message.unwrap().is_empty());
        }
    });
}

#[test]
fn a_submission_whose_admission_was_not_heard_of_is_one_job() {
    within(async {
        let bed = Bed::new().await;
        let store = Troubled::new(&bed.store);
        store.tell("admit_submissions", Trouble::Lost);
        let running = bed.start_on(store.clone(), Scripted::saying("Done."), bed.options());
        bed.sql("insert into submission values ('s1', '{\"prompt\":\"Hi\"}')").await;
        store.fails("admit_submissions", 1).await;
        store.back();
        running.ended(1).await;
        bed.sql("insert into submission values ('s1', '{\"prompt\":\"Hi\"}')").await;
        until(|| async { bed.number("select count(*) from submission").await == 0 }).await;
        running.drained().await;
        assert_eq!(rows(&bed).await.len(), 1);
    });
}

#[test]
fn a_submission_that_cannot_be_stored_is_rejected_alone() {
    within(async {
        let bed = Bed::new().await;
        for prompt in ["one", "poison", "two"] {
            let document = format!("{{\"prompt\":\"{prompt}\"}}");
            bed.sql(&format!("insert into submission values ('{prompt}', '{document}')")).await;
        }
        let store = Troubled::new(&bed.store);
        let running = bed.start_on(store, Scripted::saying("Done."), bed.options());
        running.ended(2).await;
        until(|| async { bed.number("select count(*) from submission").await == 0 }).await;
        let status = running.drained().await;
        assert_eq!(status.succeeded, 2);
        let mut ends: Vec<_> = rows(&bed).await.into_iter().map(|row| row.state).collect();
        ends.sort_by_key(|state| state.as_str());
        assert_eq!(ends, [State::Failed, State::Succeeded, State::Succeeded]);
    });
}

#[test]
fn a_submission_that_can_never_fit_is_rejected() {
    within(async {
        let bed = Bed::new().await;
        let limit =
            quarrier::budget::Limit { requests_per_minute: None, tokens_per_minute: Some(100) };
        bed.limit("total", limit).await;
        assert_eq!(bed.store.limits().await.unwrap().len(), 1);
        bed.sql("insert into submission values ('s1', '{\"prompt\":\"Hi\",\"max_tokens\":5000}')")
            .await;
        let running = bed.start(Scripted::saying("Done."));
        until(|| async { !rows(&bed).await.is_empty() }).await;
        running.drained().await;
        let row = rows(&bed).await.pop().unwrap();
        let result = bed.page(row.job_id).await.result.unwrap();
        assert_eq!(result.error_kind.as_deref(), Some("rejected"));
        assert!(result.error_message.unwrap().contains("max_tokens"));
    });
}
