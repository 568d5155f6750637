//! How clients end, in order and not.

use std::time::Duration;

use quarrier::client::Ask;
use quarrier::job::State;
use quarrier::simulator::{Fault, Latency, SimulatorOptions};
use quarrier::store::{JobFilter, JobRow, ReadStore as _};
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;
use crate::within;

async fn jobs(scene: &Scene) -> Vec<JobRow> {
    let filter = JobFilter { rows_max: 10, ..JobFilter::default() };
    scene.store().await.jobs(&filter).await.unwrap()
}

#[test]
fn every_future_of_a_client_may_run_on_any_thread() {
    fn is_send(_: &impl Send) {}
    within(async {
        let scene = Scene::calm().await;
        is_send(&scene.builder().open());
        let client = scene.client().await;
        is_send(&client.generate("Hello"));
        is_send(&client.stream("Hello"));
        is_send(&client.generate_structured("Hello", &serde_json::Value::Null));
        is_send(&client.generate_structured_as::<String>("Hello"));
        is_send(&client.close());
    });
}

#[test]
fn a_program_that_dies_in_mid_call_leaves_a_held_job_that_nobody_pays_for_again() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::Hang));
        let builder = scene.builder();
        runtime.spawn(async move { builder.open().await.unwrap().generate("Hello").await });
        scene.simulator.until(|summary| summary.in_flight == 1).await;
        runtime.shutdown_background();
        scene.simulator.until(|summary| summary.client_gone == 1).await;
        scene.fault(None);
        let rooms = scene.worker_rooms().await;
        let (worker, drain) = (rooms.worker(None, None), CancellationToken::new());
        let working = tokio::spawn({
            let drain = drain.clone();
            async move { worker.run(drain, CancellationToken::new()).await }
        });
        while jobs(&scene).await[0].state != State::Held {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drain.cancel();
        working.await.unwrap().unwrap();
        assert_eq!(scene.simulator.summary().calls, 1);
        let page = scene.page(&jobs(&scene).await[0].job_id.to_string()).await;
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("unknown"));
        rooms.close().await;
    });
}

#[test]
fn closing_waits_for_the_call_in_flight_and_its_answer() {
    within(async {
        let latency = Latency { first_token_ms: 200, per_token_us: 0, spread_percent: 0 };
        let scene = Scene::new(SimulatorOptions { latency, ..SimulatorOptions::default() }).await;
        let client = scene.client().await;
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.generate("Hello").await }
        });
        scene.simulator.until(|summary| summary.in_flight == 1).await;
        client.close().await;
        let answer = asking.await.unwrap().unwrap();
        assert_eq!(scene.page(&answer.job_id).await.row.state, State::Succeeded);
    });
}

#[test]
fn an_ask_whose_caller_goes_away_is_aborted_and_recorded() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::Hang));
        let client = scene.client().await;
        tokio::select! {
            answer = client.generate("Hello") => panic!("it hangs: {answer:?}"),
            () = scene.simulator.until(|summary| summary.in_flight == 1) => {}
        }
        client.close().await;
        let jobs = jobs(&scene).await;
        assert_eq!((jobs.len(), jobs[0].state), (1, State::Cancelled));
    });
}

#[test]
fn no_call_begins_after_the_asks_deadline() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let past = jiff::Timestamp::now() - Duration::from_secs(1);
        let error = client.generate(Ask::new("Hello").deadline(past)).await.unwrap_err();
        assert!(error.to_string().contains("deadline"), "{error}");
        assert_eq!(scene.simulator.summary().calls, 0);
    });
}
