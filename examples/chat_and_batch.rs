//! A batch and a chat on one store: both keep to one quota together, and the chat is told at once
//! when there is no room. In earnest the batch is another process, such as
//! `quarrier run jobs.jsonl --store shared.db`.
//!
//! `cargo run --example chat_and_batch` starts a simulator that allows 120 requests a minute and
//! throttles what is more; nothing is throttled.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use futures_util::future::join_all;
use quarrier::simulator::{Latency, Simulator, SimulatorOptions};
use quarrier::{Ask, Client, ClientBuilder, Error};

const REQUESTS_PER_MINUTE: u64 = 120;

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(20).await
}

async fn run(batch_size: usize) -> Result<(), Error> {
    let options = SimulatorOptions {
        requests_per_minute: Some(REQUESTS_PER_MINUTE),
        latency: Latency { first_token_ms: 100, per_token_us: 1_000, spread_percent: 30 },
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .map_err(|error| Error::Setup(error.to_string()))?;
    let store = std::env::temp_dir().join(format!("chat-and-batch-{}.db", std::process::id()));
    let builder = || -> ClientBuilder {
        Client::builder()
            .simulated()
            .endpoint(simulator.endpoint_url())
            .store(&store)
            .requests_per_minute(REQUESTS_PER_MINUTE)
    };
    let (batch, chat) = (builder().open().await?, builder().open().await?);

    let working = async {
        let asks = (0..batch_size).map(|number| {
            let ask = Ask::new(format!("Describe finding {number}.")).queue("nightly");
            batch.generate_with_retry(ask.max_tokens(60).wait_ms_max(600_000))
        });
        let answers = join_all(asks).await;
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        println!("batch: {answered} of {batch_size} answered");
    };
    let chatting = async {
        for number in 0..6 {
            let ask = Ask::new(format!("Question {number}?")).max_tokens(60);
            match chat.generate(ask.clone().wait_ms_max(0)).await {
                Err(Error::BudgetExhausted { fits_at, limit, .. }) => {
                    println!("chat: no room in {limit} until {fits_at}; waiting for it");
                    let answer = chat.generate(ask.wait_ms_max(30_000)).await?;
                    println!("chat: answered after {} ms", answer.timings.waited_ms);
                }
                answer => println!("chat: answered at once: {}", answer?.text),
            }
        }
        Ok::<(), Error>(())
    };
    let ((), chatted) = tokio::join!(working, chatting);
    batch.close().await;
    chat.close().await;
    let summary = simulator.summary();
    println!("simulator: {} calls, {} throttled", summary.calls, summary.throttled);
    for suffix in ["", "-wal", "-shm"] {
        // What is not there need not go.
        drop(std::fs::remove_file(format!("{}{suffix}", store.display())));
    }
    chatted
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs_without_aws() {
        super::run(6).await.unwrap();
    }
}
