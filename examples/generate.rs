//! Asks one question, with and without options, and prints what it cost.
//!
//! `cargo run --example generate -- --simulate` needs no AWS account.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use quarrier::{Ask, Client, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(std::env::args().any(|argument| argument == "--simulate")).await
}

async fn run(simulated: bool) -> Result<(), Error> {
    let builder = Client::builder();
    let builder = if simulated { builder.simulated() } else { builder };
    let client = builder.open().await?;

    let answer = client.generate("What is a torque wrench for? One sentence.").await?;
    println!("{}", answer.text);

    let ask = Ask::new("And how often is it calibrated?")
        .system("You are a calibration engineer. Answer in one sentence.")
        .max_tokens(120)
        .temperature(0.2)
        .metadata("ticket", "T-4711");
    let answer = client.generate_with_retry(ask).await?;
    println!("{}", answer.text);
    println!(
        "{}: {} tokens in, {} out, {:?} $, {} ms",
        answer.model,
        answer.usage.input,
        answer.usage.output,
        answer.cost_usd(),
        answer.timings.total_ms
    );
    client.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs_without_aws() {
        super::run(true).await.unwrap();
    }
}
