//! Answers piece by piece.

use futures_util::StreamExt;
use quarrier::client::ErrorKind;
use quarrier::job::State;
use quarrier::simulator::{Fault, Latency, SimulatorOptions};
use quarrier::store::{JobFilter, ReadStore as _};

use crate::scene::Scene;
use crate::within;

fn slow() -> SimulatorOptions {
    let latency = Latency { first_token_ms: 5, per_token_us: 500, spread_percent: 0 };
    SimulatorOptions { latency, ..SimulatorOptions::default() }
}

#[test]
fn the_pieces_joined_are_the_answer() {
    within(async {
        let scene = Scene::new(slow()).await;
        let client = scene.client().await;
        let mut stream = client.stream("Tell me a story.");
        let mut joined = String::new();
        while let Some(piece) = stream.next().await {
            joined.push_str(&piece.unwrap());
        }
        let answer = stream.answer().await.unwrap();
        assert_eq!(joined, answer.text);
        assert_eq!(scene.page(&answer.job_id).await.row.state, State::Succeeded);
    });
}

#[test]
fn a_stream_is_a_stream_and_need_not_be_read() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let unread = client.stream("Hello").answer().await.unwrap();
        let pieces: Vec<_> = StreamExt::collect(client.stream("Hello")).await;
        let joined: Result<String, _> = pieces.into_iter().collect();
        assert_eq!(joined.unwrap(), unread.text);
    });
}

#[test]
fn an_error_is_the_last_item() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::Http500));
        let client = scene.client().await;
        let mut stream = client.stream("Hello");
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Internal);
        assert!(stream.next().await.is_none());
        assert_eq!(stream.answer().await.unwrap_err().kind(), ErrorKind::Internal);
    });
}

#[test]
fn dropping_a_stream_aborts_its_call_which_is_recorded_as_cut() {
    within(async {
        let scene = Scene::calm().await;
        scene.fault(Some(Fault::Hang));
        let client = scene.client().await;
        let stream = client.stream("Hello");
        scene.simulator.until(|summary| summary.in_flight == 1).await;
        drop(stream);
        scene.simulator.until(|summary| summary.client_gone == 1).await;
        client.close().await;
        let store = scene.store().await;
        let filter = JobFilter { rows_max: 10, ..JobFilter::default() };
        let jobs = store.jobs(&filter).await.unwrap();
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].state, State::Cancelled);
        let page = scene.page(&jobs[0].job_id.to_string()).await;
        assert_eq!(page.attempts[0].outcome.as_deref(), Some("cut"));
        assert_eq!(page.attempts[0].settled_tokens, None, "its reservation stays");
    });
}
