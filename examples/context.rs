//! Asks about documents. Arguments that are files become documents; without any, two are made up.
//!
//! `cargo run --example context -- --simulate README.md` needs no AWS account.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use quarrier::{Ask, Client, ContextItem, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    run(flags.iter().any(|flag| flag == "--simulate"), &files).await
}

async fn run(simulated: bool, files: &[String]) -> Result<(), Error> {
    let builder = Client::builder();
    let builder = if simulated { builder.simulated() } else { builder };
    let client = builder.open().await?;
    let sources = if files.is_empty() { made_up() } else { read(files) };
    let ask = Ask::new("What do these documents say about labels? Quote the document's number.")
        .max_tokens(300);
    let answer = client.generate_with_context(ask, sources).await?;
    println!("{}", answer.text);
    client.close().await;
    Ok(())
}

fn read(files: &[String]) -> Vec<ContextItem> {
    let item = |path: &String| match std::fs::read_to_string(path) {
        Ok(text) => Some(ContextItem { title: None, text, source: Some(path.clone()) }),
        Err(error) => {
            println!("left out {path}: {error}");
            None
        }
    };
    files.iter().filter_map(item).collect()
}

fn made_up() -> Vec<ContextItem> {
    let item = |title: &str, text: &str| ContextItem {
        title: Some(title.to_owned()),
        text: text.to_owned(),
        source: None,
    };
    vec![
        item("Procedure 12", "Labels are renewed every twelve months, after calibration."),
        item("Audit 2025", "Torque wrench TW-112 was in use with an expired label."),
    ]
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs_without_aws() {
        super::run(true, &[]).await.unwrap();
    }
}
