//! Prints an answer as the model writes it.
//!
//! `cargo run --example stream -- --simulate` needs no AWS account.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use std::io::Write as _;

use quarrier::{Client, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(std::env::args().any(|argument| argument == "--simulate")).await
}

async fn run(simulated: bool) -> Result<(), Error> {
    let builder = Client::builder();
    let builder = if simulated { builder.simulated() } else { builder };
    let client = builder.open().await?;
    let mut stream = client.stream("Tell me a short story about a torque wrench.");
    let mut out = std::io::stdout();
    while let Some(piece) = stream.next().await {
        print!("{}", piece?);
        // A piece is rarely a line. Nobody watching is no reason to stop.
        drop(out.flush());
    }
    let answer = stream.answer().await?;
    let first_ms = answer.timings.first_token_ms.unwrap_or_default();
    println!("\n{} tokens, the first after {first_ms} ms", answer.usage.output);
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
