//! The table of `docs/models.md`, made from the catalogue.
//! Must not know: what is advised; that is written by hand around it.

use std::fmt::Write as _;

use quarrier::catalogue::{Catalogue, Model, cost_micros};
use quarrier::completion::Usage;

const BEGIN: &str =
    "<!-- made from config/models.toml; UPDATE_DOCS=1 cargo test --test documents -->\n";
const END: &str = "<!-- end of what is made -->\n";

/// What people do most: tokens in, tokens out.
const SHORT: (u64, u64) = (400, 100);
const REPORT: (u64, u64) = (1_500, 400);
const LONG: (u64, u64) = (30_000, 1_000);

#[test]
fn the_page_of_models_is_what_the_catalogue_says() {
    let path = super::file("docs/models.md");
    let page = std::fs::read_to_string(&path).expect("docs/models.md can be read");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark of its beginning");
    let (found, after) = rest.split_once(END).expect("the page has the mark of its end");
    let wanted = tables();
    if super::is_update() {
        let page = format!("{before}{BEGIN}{wanted}{END}{after}");
        std::fs::write(&path, page).expect("docs/models.md is written");
        return;
    }
    assert!(
        found == wanted,
        "docs/models.md is not what config/models.toml says; run\n\
         UPDATE_DOCS=1 cargo test --test documents\nand look at the difference"
    );
}

#[test]
fn every_model_that_the_page_advises_is_in_the_catalogue_and_served() {
    let page = std::fs::read_to_string(super::file("docs/models.md")).expect("the page");
    let catalogue = Catalogue::embedded().expect("the catalogue");
    let (advice, rest) = page.split_once(BEGIN).expect("the page has the mark of its beginning");
    let advice = format!("{advice}{}", rest.split_once(END).expect("its end").1);
    let mut advised = 0;
    for name in advice.split('`').skip(1).step_by(2) {
        let is_model =
            ["claude-", "llama", "mistral-", "mixtral-", "nova-", "deepseek-", "gpt-", "qwen"]
                .iter()
                .any(|start| name.starts_with(start) && !name.contains(' '));
        if !is_model {
            continue;
        }
        let model = catalogue.model(name).unwrap_or_else(|| panic!("{name} is in no catalogue"));
        assert!(!model.is_retired(catalogue.head().date), "{name} is retired");
        advised += 1;
    }
    assert!(advised > 10, "only {advised} models were found in the advice");
}

fn tables() -> String {
    let catalogue = Catalogue::embedded().expect("the catalogue");
    let day = catalogue.head().date;
    let mut text = String::from(
        "\n| model | short | report | long | window | longest answer | schema by itself | native body | \
         profiles | retired on |\n| --- | ---: | ---: | ---: | ---: | ---: | --- | --- | --- | --- |\n",
    );
    for model in catalogue.models().filter(|model| !model.is_retired(day)) {
        row(model, &mut text);
    }
    text.push_str("\nRetired (the simulator still answers for them):\n\n| model | since | use |\n| --- | --- | --- |\n");
    for model in catalogue.models().filter(|model| model.is_retired(day)) {
        let since = model.end_of_life.map_or("before then".to_owned(), |date| date.to_string());
        let successor =
            model.successor.as_ref().map_or("-".to_owned(), |alias| format!("`{alias}`"));
        writeln!(text, "| `{}` | {since} | {successor} |", model.alias)
            .expect("a string takes all");
    }
    text.push('\n');
    text
}

fn row(model: &Model, text: &mut String) {
    let cells = [
        format!("`{}`", model.alias),
        dollars(model, SHORT),
        dollars(model, REPORT),
        dollars(model, LONG),
        thousands(model.window),
        thousands(model.output_max),
        if model.supports.structured_output { "yes" } else { "no" }.to_owned(),
        model.native.map_or("-".to_owned(), |format| format.to_string()),
        match (model.requires_profile, model.profiles.as_slice()) {
            (_, []) => "-".to_owned(),
            (true, some) => format!("**needs** {}", some.join(", ")),
            (false, some) => some.join(", "),
        },
        model.end_of_life.map_or("-".to_owned(), |date| date.to_string()),
    ];
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes all");
}

/// What a thousand such jobs cost, in dollars and cents, rounded up; `-` where they do not fit.
fn dollars(model: &Model, (input, output): (u64, u64)) -> String {
    if input + output > model.window || output > model.output_max {
        return "-".to_owned();
    }
    let profile = model.requires_profile.then_some("us");
    let Some(prices) = model.prices_through(profile) else { return "?".to_owned() };
    let one = cost_micros(&prices, &Usage { input, output, ..Usage::default() });
    let cents = (one * 1_000).div_ceil(10_000);
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// `200k`, `1M`, `8.1k`.
fn thousands(tokens: u64) -> String {
    match tokens {
        0..1_000 => tokens.to_string(),
        1_000..1_000_000 if tokens.is_multiple_of(1_000) => format!("{}k", tokens / 1_000),
        1_000..1_000_000 => format!("{}.{}k", tokens / 1_000, tokens % 1_000 / 100),
        _ => format!("{}M", tokens / 1_000_000),
    }
}
