//! `quarrier models`: the catalogue as a table.
//! Must not know: jobs or calls.

use std::io::Write;

use comfy_table::{CellAlignment, Table};
use jiff::civil::Date;
use serde_json::json;

use super::table::dollars;
use crate::catalogue::{Catalogue, Format, Model, Prices};
use crate::completion::Api;

/// Which models there are, what they cost, and which are retired.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    /// Only models whose alias, id or family contains this.
    pub filter: Option<String>,
    /// Print a JSON object: `table` with the figures' version and source, and `models`.
    #[arg(long)]
    pub json: bool,
}

/// Prints the catalogue as it stands on this day.
pub fn run(
    args: &ModelsArgs,
    catalogue: &Catalogue,
    today: Date,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let models: Vec<&Model> =
        catalogue.models().filter(|model| is_wanted(model, args.filter.as_deref())).collect();
    if args.json {
        let models: Vec<_> = models.iter().map(|model| as_json(model, today)).collect();
        let all = json!({ "table": catalogue.head(), "models": models });
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    for line in as_table(&models, today).lines() {
        writeln!(out, "{}", line.trim())?;
    }
    writeln!(
        out,
        "\nPrices are dollars per million tokens, table {}; --json has all of them.\n\
         * a profile other than `global` costs more    ! long inputs cost more    + called by its native body",
        catalogue.head().version
    )?;
    Ok(())
}

fn is_wanted(model: &Model, filter: Option<&str>) -> bool {
    filter.is_none_or(|part| {
        let part = part.to_lowercase();
        [model.alias.as_str(), model.id.as_str(), model.family.as_str()]
            .iter()
            .chain(&model.aliases.iter().map(String::as_str).collect::<Vec<_>>())
            .any(|name| name.to_lowercase().contains(&part))
    })
}

fn as_table(models: &[&Model], today: Date) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "alias", "family", "native", "window", "output", "in", "out", "", "burndown", "status",
        "id",
    ]);
    for model in models {
        let price = |of: fn(&Prices) -> u64| {
            model.prices.as_ref().map_or_else(|| "?".to_owned(), |prices| dollars(of(prices)))
        };
        let regional = if model.profile_price_percent > 100 { "*" } else { "" };
        let long = model.prices.and_then(|prices| prices.long_input).map_or("", |_| "!");
        table.add_row([
            model.alias.clone(),
            model.family.to_string(),
            native(model),
            model.window.to_string(),
            model.output_max.to_string(),
            price(|prices| prices.input),
            price(|prices| prices.output),
            format!("{regional}{long}"),
            model.burndown.to_string(),
            status(model, today),
            model.id.clone(),
        ]);
    }
    for position in [3, 4, 5, 6, 8] {
        if let Some(column) = table.column_mut(position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// How the body of its native interface is formed; a mark where its calls take that one unasked.
fn native(model: &Model) -> String {
    let format = model.native.map_or("-", Format::as_str);
    let mark = if model.api == Some(Api::Invoke) { "+" } else { "" };
    format!("{format}{mark}")
}

fn status(model: &Model, today: Date) -> String {
    let successor = model.successor.as_ref().map(|alias| format!(", use {alias}"));
    match (model.is_retired(today), model.end_of_life) {
        (true, Some(date)) => format!("retired {date}{}", successor.unwrap_or_default()),
        (true, None) => format!("retired{}", successor.unwrap_or_default()),
        (false, Some(date)) => format!("until {date}"),
        (false, None) => String::new(),
    }
}

fn as_json(model: &Model, today: Date) -> serde_json::Value {
    let number = |micros: u64| dollars(micros).parse::<f64>().ok();
    json!({
        "alias": model.alias,
        "aliases": model.aliases,
        "id": model.id,
        "family": model.family,
        "native": model.native,
        "api": model.api,
        "profiles": model.profiles,
        "requires_profile": model.requires_profile,
        "profile_price_percent": model.profile_price_percent,
        "window": model.window,
        "output_max": model.output_max,
        "burndown": model.burndown,
        "dollars_per_million": model.prices.map(|prices| json!({
            "input": number(prices.input),
            "output": number(prices.output),
            "cache_read": prices.cache_read.and_then(number),
            "cache_write": prices.cache_write.and_then(number),
            "cache_write_1h": prices.cache_write_1h.and_then(number),
            "batch_input": prices.batch_input.and_then(number),
            "batch_output": prices.batch_output.and_then(number),
            "long_input": prices.long_input,
        })),
        "cache_tokens_min": model.cache_tokens_min,
        "supports": model.supports,
        "retired": model.is_retired(today),
        "end_of_life": model.end_of_life,
        "successor": model.successor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use jiff::civil::date;

    fn shown(filter: &str, json: bool) -> String {
        let args = ModelsArgs { filter: Some(filter.to_owned()), json };
        let mut out = Vec::new();
        run(&args, &Catalogue::embedded().unwrap(), date(2026, 11, 22), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    #[expect(clippy::needless_raw_string_hashes, reason = "snapshots are rewritten with them")]
    fn the_table_shows_limits_prices_and_what_is_retired() {
        expect![[r#"
            alias             family  native   window  output    in   out      burndown  status                                    id
            claude-3-haiku    claude  claude   200000    4096  0.25  1.25             1  retired 2026-09-10, use claude-haiku-4.5  anthropic.claude-3-haiku-20240307-v1:0
            claude-3.5-haiku  claude  claude   200000    8192  0.80  4.00             1  retired 2026-06-19, use claude-haiku-4.5  anthropic.claude-3-5-haiku-20241022-v1:0
            claude-haiku-4.5  claude  claude   200000   64000  1.00  5.00  *          5                                            anthropic.claude-haiku-4-5-20251001-v1:0
            claude-haiku-5.5  claude  claude  1000000  128000  0.10  0.50  *!         5                                            anthropic.claude-haiku-5-5

            Prices are dollars per million tokens, table 2026-11-22; --json has all of them.
            * a profile other than `global` costs more    ! long inputs cost more    + called by its native body
        "#]].assert_eq(&shown("haiku", false));
        expect![[r#"
            alias         family  native   window  output     in    out     burndown  status                            id
            nova-micro    nova    nova     128000   10000  0.035   0.14            1                                    amazon.nova-micro-v1:0
            nova-lite     nova    nova     300000   10000   0.06   0.24            1                                    amazon.nova-lite-v1:0
            nova-pro      nova    nova     300000   10000   0.80   3.20            1                                    amazon.nova-pro-v1:0
            nova-premier  nova    nova    1000000   10000   2.50  12.50            1  retired 2026-09-14, use nova-pro  amazon.nova-premier-v1:0
            nova-2-lite   nova    nova    1000000   64000   0.30   2.50  *         1                                    amazon.nova-2-lite-v1:0

            Prices are dollars per million tokens, table 2026-11-22; --json has all of them.
            * a profile other than `global` costs more    ! long inputs cost more    + called by its native body
        "#]].assert_eq(&shown("nova", false));
    }

    #[test]
    fn json_has_every_figure_of_a_model() {
        expect![[r#"
            {
              "table": {
                "version": "2026-11-22",
                "date": "2026-11-22",
                "source": "price and limit figures from litellm 1.109.1 (MIT) and, for models it no longer lists, 1.89.7; end-of-life dates and batch prices of Claude 4.5+ from awslabs/startups (Apache-2.0, 2026-08-20); features from the Bedrock user guide"
              },
              "models": [
                {
                  "alias": "nova-micro",
                  "aliases": [],
                  "id": "amazon.nova-micro-v1:0",
                  "family": "nova",
                  "native": "nova",
                  "api": null,
                  "profiles": [
                    "us",
                    "eu",
                    "apac"
                  ],
                  "requires_profile": false,
                  "profile_price_percent": 100,
                  "window": 128000,
                  "output_max": 10000,
                  "burndown": 1,
                  "dollars_per_million": {
                    "input": 0.035,
                    "output": 0.14,
                    "cache_read": 0.00875,
                    "cache_write": null,
                    "cache_write_1h": null,
                    "batch_input": 0.0175,
                    "batch_output": 0.07,
                    "long_input": null
                  },
                  "cache_tokens_min": null,
                  "supports": {
                    "converse": true,
                    "system": true,
                    "tools": true,
                    "streaming_tools": true,
                    "structured_output": false,
                    "sampling": true
                  },
                  "retired": false,
                  "end_of_life": null,
                  "successor": null
                }
              ]
            }
        "#]].assert_eq(&shown("nova-micro", true));
    }

    #[test]
    fn without_a_filter_every_model_is_listed() {
        assert_eq!(shown("", false).lines().count(), 47 + 4);
    }
}
