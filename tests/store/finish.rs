//! Room 6: one end, the evidence kept, and every finish may arrive twice, late or never.

use quarrier::completion::{StopReason, Usage};
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::retry::Counters;
use quarrier::store::{ClaimedJob, Finish, Finished, Next};
use uuid::Uuid;

use crate::world::{World, again, cut, failure, ids, key, success};

behind_a_pooler_too!(
    a_success_is_a_result_and_its_evidence,
    a_failure_is_a_result_with_its_kind_and_words,
    an_answer_that_did_not_fit_keeps_its_text_and_errors,
    a_reask_is_handed_to_the_next_claim,
    a_reask_survives_a_throttled_call_in_between,
    a_finish_after_which_the_job_is_held_waits_for_a_person,
    a_replay_is_a_success_and_changes_nothing,
    a_finish_twice_in_one_group_is_recorded_once,
    a_late_answer_of_a_fenced_attempt_ends_the_job,
    a_late_answer_fences_the_attempt_that_runs,
    a_late_failure_that_would_go_on_changes_nothing_but_its_own_attempt,
    a_late_finish_after_the_jobs_end_changes_nothing_but_its_own_attempt,
    two_ends_of_one_job_in_one_group_are_one_end,
    a_finish_that_goes_on_after_an_end_in_the_same_group_is_late,
    a_finish_of_an_unknown_attempt_is_lost,
    a_finish_with_a_wrong_fence_is_lost,
    a_group_of_many_kinds_is_answered_in_its_order,
    an_empty_group_is_nothing,
    sums_over_attempts_stand_in_the_result,
    an_unpriced_call_has_no_cost,
);

async fn page(world: &World, id: Uuid) -> quarrier::store::JobPage {
    world.store.job(&id.to_string()).await.unwrap().unwrap()
}

/// A job whose first attempt is unknown: its worker died, and it was rescued.
async fn rescued(world: &mut World) -> ClaimedJob {
    world.admit_one().await;
    let job = world.claim_one().await;
    let dead = world.lease;
    world.restart().await;
    world.rescue(dead).await;
    job
}

async fn a_success_is_a_result_and_its_evidence(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.hand.advance(900);
    assert_eq!(world.succeed(&job).await, Finished::Moved(State::Succeeded));
    let page = page(&world, id).await;
    assert_eq!(page.row.state, State::Succeeded);
    assert_eq!(page.row.ended_at, Some(world.now_ms()));
    let result = page.result.unwrap();
    assert_eq!((result.state, result.text.as_deref()), (State::Succeeded, Some("done")));
    assert_eq!(result.output, None);
    assert_eq!((result.error_kind, result.error_message), (None, None));
    assert_eq!(result.provenance.as_deref(), Some("native"));
    assert_eq!(result.usage, Usage { input: 200, output: 100, cache_read: 0, cache_write: 0 });
    assert_eq!((result.cost_micros, result.attempts, result.attempts_unknown), (Some(400), 1, 0));
    let attempt = &page.attempts[0];
    assert_eq!(attempt.outcome.as_deref(), Some("completed"));
    assert_eq!(attempt.raw_text.as_deref(), Some("done"));
    assert_eq!(attempt.request_id.as_deref(), Some("request-1"));
    assert_eq!((attempt.first_token_ms, attempt.total_ms), (Some(120), Some(900)));
    assert_eq!(attempt.stop.as_deref(), Some("end_turn"));
    assert_eq!(attempt.finished_at, Some(world.now_ms()));
}

async fn a_failure_is_a_result_with_its_kind_and_words(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    let finished = world.finish(failure(&job, ErrorKind::Truncated)).await;
    assert_eq!(finished, Finished::Moved(State::Failed));
    let page = page(&world, id).await;
    assert_eq!(page.row.reason.as_deref(), Some("truncated"));
    assert_eq!(page.attempts[0].error_kind.as_deref(), Some("truncated"));
    assert_eq!(page.attempts[0].raw_text.as_deref(), Some("done"), "the evidence is kept");
    let result = page.result.unwrap();
    assert_eq!(result.error_kind.as_deref(), Some("truncated"));
    assert_eq!(result.error_message.as_deref(), Some("it was truncated"));
}

async fn an_answer_that_did_not_fit_keeps_its_text_and_errors(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    let errors = r#"[{"path":"$.a","reason":"is not \"b\""}]"#;
    let finish = Finish {
        raw_text: Some("{\"a\":1}".to_owned()),
        schema_errors: Some(errors.to_owned()),
        stop: Some(StopReason::MaxTokens),
        ..failure(&job, ErrorKind::SchemaMismatch)
    };
    world.finish(finish).await;
    let page = page(&world, id).await;
    assert_eq!(page.attempts[0].schema_errors.as_deref(), Some(errors));
    assert_eq!(page.attempts[0].raw_text.as_deref(), Some("{\"a\":1}"));
}

/// A completed call whose answer is shown to the model again.
fn reasked(job: &ClaimedJob, reask: &str) -> Finish {
    Finish {
        error: Some((ErrorKind::InvalidJson, "no JSON".to_owned())),
        next: Next::Again {
            after_ms: 0,
            counters: Counters { reasks: job.counters.reasks + 1, ..job.counters },
            reask: Some(reask.to_owned()),
            input_tokens_max: 1_400,
        },
        ..success(job)
    }
}

async fn a_reask_is_handed_to_the_next_claim(world: World) {
    let ids = world.admit_many(3).await;
    let job = world.claim_one().await;
    assert_eq!(job.reask, None);
    let reask = r#"{"answer":"no \u0000 json","errors":["x"]}"#;
    assert_eq!(world.finish(reasked(&job, reask)).await, Finished::Moved(State::Ready));
    assert_eq!(page(&world, ids[0]).await.reask.as_deref(), Some(reask));
    let next = world.claim_one().await;
    assert_eq!(next.job_id, ids[0], "at the head of its lane");
    assert_eq!(next.reask.as_deref(), Some(reask));
    assert_eq!(next.counters.reasks, 1);
    assert_eq!((next.number, next.wanted.input_tokens_max), (2, 1_400));
    assert_eq!(next.reserved_tokens, 2_000);
}

async fn a_reask_survives_a_throttled_call_in_between(world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(reasked(&job, "{}")).await;
    let job = world.claim_one().await;
    world.finish(again(&job, 0)).await;
    let job = world.claim_one().await;
    assert_eq!(job.reask.as_deref(), Some("{}"));
    assert_eq!((job.counters.reasks, job.counters.failures), (1, 1));
}

async fn a_finish_after_which_the_job_is_held_waits_for_a_person(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    let finished = world.finish(cut(&job, Next::Held)).await;
    assert_eq!(finished, Finished::Moved(State::Held));
    assert_eq!(world.state(id).await, State::Held);
    assert!(world.claim(1).await.jobs.is_empty());
    assert!(world.results().await.is_empty());
}

async fn a_replay_is_a_success_and_changes_nothing(world: World) {
    world.admit_many(2).await;
    let ended = world.claim_one().await;
    world.succeed(&ended).await;
    let other = Finish { raw_text: Some("other".to_owned()), ..failure(&ended, ErrorKind::Empty) };
    world.hand.advance(1_000);
    assert_eq!(world.finish(other).await, Finished::Replayed);
    let after = page(&world, ended.job_id).await;
    assert_eq!(after.row.state, State::Succeeded);
    assert_eq!(after.attempts[0].raw_text.as_deref(), Some("done"));
    assert_eq!(after.attempts[0].finished_at, Some(world.now_ms() - 1_000));
    assert_eq!(world.results().await.len(), 1);

    let job = world.claim_one().await;
    world.finish(again(&job, 0)).await;
    assert_eq!(world.finish(again(&job, 0)).await, Finished::Replayed);
    let next = world.claim_one().await;
    assert_eq!(world.finish(again(&job, 0)).await, Finished::Replayed, "the job runs again");
    assert_eq!(world.succeed(&next).await, Finished::Moved(State::Succeeded));
}

async fn a_finish_twice_in_one_group_is_recorded_once(world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    let group = [success(&job), success(&job)];
    let finished = world.store.finish(&group).await.unwrap();
    assert_eq!(finished, [Finished::Moved(State::Succeeded), Finished::Replayed]);
    assert_eq!(world.results().await.len(), 1);
}

async fn a_late_answer_of_a_fenced_attempt_ends_the_job(mut world: World) {
    let job = rescued(&mut world).await;
    assert_eq!(world.state(job.job_id).await, State::Ready);
    assert_eq!(world.succeed(&job).await, Finished::Moved(State::Succeeded));
    let page = page(&world, job.job_id).await;
    assert_eq!(page.attempts[0].outcome.as_deref(), Some("completed"));
    assert_eq!(page.result.unwrap().attempts_unknown, 0, "it is known now");
    assert!(world.claim(1).await.jobs.is_empty(), "it is not called again");
    assert_eq!(world.succeed(&job).await, Finished::Replayed);
}

async fn a_late_answer_fences_the_attempt_that_runs(mut world: World) {
    let late = rescued(&mut world).await;
    let running = world.claim_one().await;
    assert_eq!((running.job_id, running.number), (late.job_id, 2));
    assert_eq!(world.succeed(&late).await, Finished::Moved(State::Succeeded));
    let beat = world.store.beat(world.lease).await.unwrap().unwrap();
    assert!(beat.is_empty(), "the second call's worker learns that it is fenced");
    let waste = Finish { raw_text: Some("waste".to_owned()), ..success(&running) };
    assert_eq!(world.finish(waste).await, Finished::Late);
    let page = page(&world, late.job_id).await;
    assert_eq!(page.attempts[1].raw_text.as_deref(), Some("waste"), "it is paid for, and kept");
    let result = page.result.unwrap();
    assert_eq!((result.text.as_deref(), result.attempts), (Some("done"), 2));
    assert_eq!(result.cost_micros, Some(800), "both are counted");
    assert_eq!(world.results().await.len(), 1);
}

async fn a_late_failure_that_would_go_on_changes_nothing_but_its_own_attempt(mut world: World) {
    let late = rescued(&mut world).await;
    let running = world.claim_one().await;
    assert_eq!(world.finish(again(&late, 0)).await, Finished::Late);
    assert_eq!(world.state(late.job_id).await, State::Running);
    let page = page(&world, late.job_id).await;
    assert_eq!(page.attempts[0].outcome.as_deref(), Some("refused"));
    assert_eq!(page.attempts[1].outcome, None);
    assert_eq!(page.row.counters, Counters { crashes: 1, ..Counters::default() });
    assert_eq!(world.succeed(&running).await, Finished::Moved(State::Succeeded));
}

async fn a_late_finish_after_the_jobs_end_changes_nothing_but_its_own_attempt(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    assert_eq!(world.store.cancel(&[id]).await.unwrap(), [id]);
    let before = world.results().await;
    world.hand.advance(1_000);
    assert_eq!(world.succeed(&job).await, Finished::Late);
    let after = page(&world, id).await;
    assert_eq!(after.row.state, State::Cancelled);
    assert_eq!(after.row.ended_at, Some(world.now_ms() - 1_000));
    assert_eq!(after.attempts[0].outcome.as_deref(), Some("completed"));
    assert_eq!(after.attempts[0].raw_text.as_deref(), Some("done"));
    let results = world.results().await;
    assert_eq!(results.len(), 1);
    assert_eq!((results[0].seq, results[0].state), (before[0].seq, State::Cancelled));
    assert_eq!(results[0].text, None);
    assert_eq!(results[0].cost_micros, Some(400), "but what it cost is shown");
}

async fn two_ends_of_one_job_in_one_group_are_one_end(mut world: World) {
    let late = rescued(&mut world).await;
    let running = world.claim_one().await;
    let first = success(&late);
    let second = failure(&running, ErrorKind::Refused);
    let finished = world.store.finish(&[first, second]).await.unwrap();
    assert_eq!(finished, [Finished::Moved(State::Succeeded), Finished::Late]);
    let results = world.results().await;
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].state, State::Succeeded, "the first end wins");
    assert_eq!(results[0].text.as_deref(), Some("done"));
    let page = page(&world, late.job_id).await;
    assert_eq!(page.attempts[1].error_kind.as_deref(), Some("refused"));
}

async fn a_finish_that_goes_on_after_an_end_in_the_same_group_is_late(mut world: World) {
    let late = rescued(&mut world).await;
    let running = world.claim_one().await;
    let group = [success(&late), again(&running, 0)];
    let finished = world.store.finish(&group).await.unwrap();
    assert_eq!(finished, [Finished::Moved(State::Succeeded), Finished::Late]);
    assert_eq!(world.state(late.job_id).await, State::Succeeded);
}

async fn a_finish_of_an_unknown_attempt_is_lost(world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    let stranger = ClaimedJob { job_id: Uuid::now_v7(), ..job.clone() };
    assert_eq!(world.succeed(&stranger).await, Finished::Lost);
    let number = ClaimedJob { number: 7, ..job };
    assert_eq!(world.succeed(&number).await, Finished::Lost);
    assert!(world.results().await.is_empty());
}

async fn a_finish_with_a_wrong_fence_is_lost(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    let wrong = ClaimedJob { fence: Uuid::now_v7(), ..job };
    assert_eq!(world.succeed(&wrong).await, Finished::Lost);
    assert_eq!(world.state(id).await, State::Running);
}

async fn a_group_of_many_kinds_is_answered_in_its_order(world: World) {
    let admitted = world.admit_many(5).await;
    let jobs = world.claim(5).await.jobs;
    world.store.cancel(&[admitted[3]]).await.unwrap();
    let lost = ClaimedJob { fence: Uuid::now_v7(), ..jobs[4].clone() };
    let group = [
        success(&lost),
        again(&jobs[1], 0),
        success(&jobs[3]),
        failure(&jobs[2], ErrorKind::Refused),
        cut(&jobs[4], Next::Held),
        success(&jobs[0]),
    ];
    let finished = world.store.finish(&group).await.unwrap();
    let expected = [
        Finished::Lost,
        Finished::Moved(State::Ready),
        Finished::Late,
        Finished::Moved(State::Failed),
        Finished::Moved(State::Held),
        Finished::Moved(State::Succeeded),
    ];
    assert_eq!(finished, expected);
    assert_eq!(ids(&world.claim(5).await), [admitted[1]]);
}

async fn an_empty_group_is_nothing(world: World) {
    assert!(world.store.finish(&[]).await.unwrap().is_empty());
    world.store.give_back(&[]).await.unwrap();
    assert!(world.store.admit(Vec::new()).await.unwrap().is_empty());
    assert!(world.store.cancel(&[]).await.unwrap().is_empty());
    assert!(world.store.retry(&[], 0).await.unwrap().is_empty());
    world.store.admit_submissions(Vec::new()).await.unwrap();
}

async fn sums_over_attempts_stand_in_the_result(world: World) {
    world.admit_one().await;
    let job = world.claim_one().await;
    world.store.give_back(&[key(&job)]).await.unwrap();
    let job = world.claim_one().await;
    let next = again(&job, 0).next;
    world.finish(cut(&job, next)).await;
    let job = world.claim_one().await;
    let usage = Usage { input: 10, output: 20, cache_read: 30, cache_write: 40 };
    let next = again(&job, 0).next;
    world.finish(Finish { usage: Some(usage), next, ..success(&job) }).await;
    let job = world.claim_one().await;
    world.succeed(&job).await;
    let result = world.result(job.job_id).await.unwrap();
    assert_eq!((result.attempts, result.attempts_unknown), (3, 1), "the unsent is not counted");
    assert_eq!(result.usage, Usage { input: 210, output: 120, cache_read: 30, cache_write: 40 });
    assert_eq!(result.cost_micros, Some(800));
}

async fn an_unpriced_call_has_no_cost(world: World) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    world.finish(Finish { cost_micros: None, ..success(&job) }).await;
    assert_eq!(world.result(id).await.unwrap().cost_micros, None, "unknown is not zero");
    assert_eq!(page(&world, id).await.attempts[0].cost_micros, None);
}
