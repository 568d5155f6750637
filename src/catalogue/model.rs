//! One row of the catalogue, as it stands in `config/models.toml`.
//! Must not know: how names are resolved, or what a call used.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Family, Format};
use crate::completion::Api;

/// A model: one row of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name that jobs use and results show.
    pub alias: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The provider's id, without a profile's prefix; an ARN is as good.
    pub id: String,
    /// Whose formats it speaks.
    pub family: Family,
    /// How its native body is formed; absent where it is called through the uniform interface
    /// alone.
    pub native: Option<Format>,
    /// Which interface carries its calls, where that differs from the configured one.
    pub api: Option<Api>,
    /// The prefixes of its inference profiles (`us`, `eu`, `global`).
    #[serde(default)]
    pub profiles: Vec<String>,
    /// The bare id is refused: it can be invoked only through a profile.
    #[serde(default)]
    pub requires_profile: bool,
    /// What a profile other than `global` costs, in percent of `prices`.
    #[serde(default = "one_hundred")]
    pub profile_price_percent: u64,
    /// The context window: input and output together, in tokens.
    pub window: u64,
    /// The largest `max_tokens` it takes.
    pub output_max: u64,
    /// How many tokens of quota one output token costs when a call settles.
    pub burndown: u64,
    /// What it costs; absent where nobody said.
    pub prices: Option<Prices>,
    /// The shortest prefix that a prompt cache keeps, in tokens.
    pub cache_tokens_min: Option<u64>,
    /// What it can do.
    #[serde(default)]
    pub supports: Supports,
    /// The first day on which the provider refuses it.
    pub end_of_life: Option<Date>,
    /// Retired on a date that was not published.
    #[serde(default)]
    pub gone: bool,
    /// The alias of the model to use once this one is retired.
    pub successor: Option<String>,
}

fn one_hundred() -> u64 {
    100
}

impl Model {
    /// Whether the provider refuses the model on this day.
    #[must_use]
    pub fn is_retired(&self, today: Date) -> bool {
        self.gone || self.end_of_life.is_some_and(|date| date <= today)
    }

    /// The prices of calls made through this profile (`None` is the bare id).
    #[must_use]
    pub fn prices_through(&self, profile: Option<&str>) -> Option<Prices> {
        let percent = match profile {
            None | Some("global") => 100,
            Some(_) => self.profile_price_percent,
        };
        self.prices.map(|prices| prices.at_percent(percent))
    }
}

/// What one model costs: whole micro-dollars per million tokens, so `250_000` is 0.25 dollars per
/// million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Tokens read from the request.
    pub input: u64,
    /// Tokens written by the model.
    pub output: u64,
    /// Tokens read from a prompt cache; priced as input where absent.
    pub cache_read: Option<u64>,
    /// Tokens written to a prompt cache for five minutes; priced as input where absent.
    pub cache_write: Option<u64>,
    /// Tokens written to a prompt cache for one hour. Kept for reference: calls ask for no such.
    pub cache_write_1h: Option<u64>,
    /// Input of the provider's own batch interface. Kept for reference.
    pub batch_input: Option<u64>,
    /// Output of the provider's own batch interface. Kept for reference.
    pub batch_output: Option<u64>,
    /// The surcharge on long inputs, where there is one.
    pub long_input: Option<LongInput>,
}

/// A surcharge on the whole call when its input, caches included, is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongInput {
    /// Inputs of more tokens than this pay it.
    pub tokens_above: u64,
    /// What they pay, in percent of the prices.
    pub percent: u64,
}

impl Prices {
    /// The same prices, each at so many percent, rounded up to a whole micro-dollar.
    #[must_use]
    pub fn at_percent(self, percent: u64) -> Self {
        let scaled = |price: u64| price.saturating_mul(percent).div_ceil(100);
        Self {
            input: scaled(self.input),
            output: scaled(self.output),
            cache_read: self.cache_read.map(scaled),
            cache_write: self.cache_write.map(scaled),
            cache_write_1h: self.cache_write_1h.map(scaled),
            batch_input: self.batch_input.map(scaled),
            batch_output: self.batch_output.map(scaled),
            long_input: self.long_input,
        }
    }
}

/// What a model can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "six independent facts of one table row; no state machine hides in them"
)]
pub struct Supports {
    /// It is served by the uniform conversation interface.
    pub converse: bool,
    /// It takes a system prompt there; elsewhere admission folds it into the first turn.
    pub system: bool,
    /// It can be told to call a tool.
    pub tools: bool,
    /// It can do so while streaming.
    pub streaming_tools: bool,
    /// It keeps to a JSON schema by itself.
    pub structured_output: bool,
    /// It takes `temperature` and `top_p`; the others refuse a call that has them.
    pub sampling: bool,
}

impl Supports {
    /// What to expect of a model that the catalogue does not know: what most of its family do.
    /// Features whose absence fails a call are expected only where the whole family has them.
    #[must_use]
    pub fn of_unknown(family: Family) -> Self {
        let tools = matches!(family, Family::Claude | Family::Nova);
        Self {
            converse: true,
            system: family != Family::Mistral,
            tools,
            streaming_tools: tools,
            structured_output: false,
            sampling: true,
        }
    }
}
