//! Gets a value of a type of one's own, and JSON by a schema that is data.
//!
//! `cargo run --example structured -- --simulate` needs no AWS account.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use quarrier::{Ask, Client, Error};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// What the model shall say of a finding. The comments are part of the schema that it reads.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Graded {
    grade: Grade,
    /// The clause of the standard, such as 7.1.5.
    #[schemars(regex(pattern = r"^[0-9.]+$"), length(max = 8))]
    clause: String,
    /// From 0 (a remark) to 10 (a danger).
    #[schemars(range(min = 0, max = 10))]
    severity: u8,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Grade {
    Major,
    Minor,
    Observation,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(std::env::args().any(|argument| argument == "--simulate")).await
}

async fn run(simulated: bool) -> Result<(), Error> {
    let builder = Client::builder();
    let builder = if simulated { builder.simulated() } else { builder };
    let client = builder.open().await?;

    let ask = Ask::new("Grade this finding: torque wrench TW-112 is in use with an expired label.")
        .max_tokens(200);
    let graded = client.generate_structured_as::<Graded>(ask).await?;
    let Graded { grade, clause, severity } = graded.value;
    println!("{grade:?}, clause {clause}, severity {severity} ({})", graded.answer.provenance);

    let schema = json!({ "type": "array", "items": { "type": "string" }, "maxItems": 3 });
    let answer = client.generate_structured("Name three torque wrenches.", &schema).await?;
    println!("{}", answer.output.unwrap_or_default());
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
