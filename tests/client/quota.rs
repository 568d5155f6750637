//! One budget, whoever asks.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use quarrier::admit::{Origin, Overrides};
use quarrier::client::{Ask, Client, Dimension, Error, ErrorKind};
use quarrier::simulator::{Latency, SimulatorOptions};
use quarrier::store::{AdmitStore as _, ReadStore as _};
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;
use crate::within;

fn limited(requests: u64) -> SimulatorOptions {
    let latency = Latency { first_token_ms: 20, per_token_us: 100, spread_percent: 0 };
    SimulatorOptions { requests_per_minute: Some(requests), latency, ..SimulatorOptions::default() }
}

#[test]
fn fifty_calls_at_once_are_fifty_answers() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let asks = (0..50).map(|number| client.generate(format!("Question {number}")));
        let answers = join_all(asks).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(scene.simulator.summary().admitted, 50);
    });
}

#[test]
fn a_client_and_a_worker_of_one_store_share_one_quota() {
    within(async {
        const QUOTA: u64 = 600;
        let scene = Scene::new(limited(QUOTA)).await;
        let client = scene.builder().requests_per_minute(QUOTA).open().await.unwrap();
        let rooms = scene.worker_rooms().await;
        let jobs = (0..60).map(|number| {
            let text = format!(r#"{{"prompt":"Job {number}","max_tokens":50}}"#);
            let (overrides, now) = (Overrides::default(), rooms.clock.now());
            rooms.admission.prepare(&text, &overrides, Origin::default(), &[], now).unwrap()
        });
        rooms.store.admit(jobs.collect()).await.unwrap();
        let worker = rooms.worker(None, None);
        let (drain, status) = (CancellationToken::new(), worker.status());
        let working = tokio::spawn({
            let drain = drain.clone();
            async move { worker.run(drain, CancellationToken::new()).await }
        });
        let chat = async {
            for number in 0..30 {
                let ask = Ask::new(format!("Question {number}")).max_tokens(50);
                client.generate(ask).await.unwrap();
            }
        };
        let batch = async {
            while status.now().succeeded < 60 {
                status.changed().await;
            }
        };
        tokio::join!(chat, batch);
        drain.cancel();
        working.await.unwrap().unwrap();
        let summary = scene.simulator.summary();
        assert_eq!((summary.admitted, summary.throttled), (90, 0));
        assert!(summary.worst_window_requests <= QUOTA);
        let levels = rooms.store.levels().await.unwrap();
        let total = levels.iter().find(|level| level.key == "total").unwrap();
        assert_eq!(total.level.requests.used, 90, "every call of both drew on the one limit");
    });
}

/// Asks without waiting until the budget is exhausted.
async fn exhaust(client: &Client) -> Error {
    loop {
        if let Err(error) = client.generate(Ask::new("Hello").wait_ms_max(0)).await {
            return error;
        }
    }
}

#[test]
fn an_ask_that_may_not_wait_is_told_at_once_when_it_fits_and_that_is_so() {
    within(async {
        let scene = Scene::new(limited(120)).await;
        let client = scene.builder().requests_per_minute(120).open().await.unwrap();
        let error = exhaust(&client).await;
        let Error::BudgetExhausted { fits_at, limit, dimension } = error else { panic!("{error}") };
        assert_eq!((limit.as_str(), dimension), ("total", Dimension::Requests));
        let before = scene.store().await.counts(None).await.unwrap();
        let refused = client.generate_with_retry(Ask::new("Hello").wait_ms_max(0)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BudgetExhausted);
        let after = scene.store().await.counts(None).await.unwrap();
        assert_eq!(before.states, after.states, "nothing of it is left behind");
        let wait = Duration::try_from(fits_at.duration_since(Timestamp::now())).unwrap_or_default();
        tokio::time::sleep(wait + Duration::from_millis(2)).await;
        client.generate(Ask::new("Hello").wait_ms_max(0)).await.unwrap();
        assert_eq!(scene.simulator.summary().throttled, 0);
    });
}

#[test]
fn an_ask_that_may_wait_waits_and_says_how_long() {
    within(async {
        let scene = Scene::new(limited(120)).await;
        let client = scene.builder().requests_per_minute(120).open().await.unwrap();
        exhaust(&client).await;
        let waiting = join_all((0..4).map(|_| client.generate("Hello"))).await;
        let waited: Vec<u64> =
            waiting.into_iter().map(|answer| answer.unwrap().timings.waited_ms).collect();
        assert!(waited.iter().all(|ms| *ms > 0), "{waited:?}");
        assert_eq!(scene.simulator.summary().throttled, 0);
    });
}

#[test]
fn a_call_larger_than_a_limit_is_refused_for_good() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.builder().tokens_per_minute(1_000).open().await.unwrap();
        let error = client.generate(Ask::new("Hello").max_tokens(2_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains("allows 1000"), "{error}");
    });
}

#[test]
fn a_client_never_spends_more_than_it_may() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.builder().cost_micros_max(2_000).open().await.unwrap();
        let asks = (0..20).map(|_| client.generate(Ask::new("Hello").max_tokens(300)));
        let answers = join_all(asks).await;
        let cost: u64 = answers.iter().flatten().filter_map(|answer| answer.cost_micros).sum();
        assert!(cost <= 2_000, "{cost}");
        assert!(answers.contains(&Err(Error::CostLimit)));
    });
}

#[test]
fn a_client_that_says_no_limit_keeps_the_stores() {
    within(async {
        let scene = Scene::calm().await;
        scene.builder().requests_per_minute(77).open().await.unwrap().close().await;
        let silent = Client::builder()
            .env(std::collections::BTreeMap::new())
            .simulated()
            .endpoint(scene.simulator.endpoint_url())
            .store(scene.path());
        silent.open().await.unwrap().close().await;
        let limits = scene.store().await.limits().await.unwrap();
        assert_eq!(limits[0].limit.requests_per_minute, Some(77));
    });
}

#[test]
fn a_pause_is_waited_for_unless_a_person_must_end_it() {
    within(async {
        let scene = Scene::calm().await;
        let client = scene.client().await;
        let lane = scene.page(&client.generate("Hello").await.unwrap().job_id).await.row.lane;
        scene.pause(&lane, 300, "overloaded").await;
        let answer = client.generate("Hello").await.unwrap();
        assert!(answer.timings.waited_ms > 0);
        scene.pause(&lane, 5_000, "overloaded").await;
        let error = client.generate(Ask::new("Hello").wait_ms_max(1_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        scene.pause(&lane, 6_000, "credentials").await;
        let Error::Paused { kind, until, .. } = client.generate("Hello").await.unwrap_err() else {
            panic!("nobody waits for a person")
        };
        assert_eq!(kind, Some(ErrorKind::Credentials));
        assert!(until > Timestamp::now());
        assert_eq!(scene.simulator.summary().calls, 2);
    });
}
