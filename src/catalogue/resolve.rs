//! From the name that a job gives to what is invoked, and what may be asked of it.
//! Must not know: jobs, settings, or the time of day.

use jiff::civil::Date;

use super::{Catalogue, Family, Format, Model, Prices, Supports, nearest};
use crate::completion::Api;

/// The window assumed of a model that is not in the catalogue. Large, because the provider's own
/// refusal is better than one that rests on a guess.
pub const UNKNOWN_WINDOW: u64 = 1_000_000;
/// The largest `max_tokens` assumed of a model that is not in the catalogue; large for the same
/// reason.
pub const UNKNOWN_OUTPUT_MAX: u64 = 128_000;
/// The longest name that the provider takes.
const NAME_BYTES_MAX: usize = 2_048;
/// A chain of successors longer than this is a loop.
const SUCCESSORS_MAX: usize = 8;
/// The prefixes that inference profiles are known to have.
const PROFILE_PREFIXES: [&str; 9] =
    ["us", "eu", "apac", "au", "jp", "in", "ca", "us-gov", "global"];

/// What resolving a name depends on besides the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The inference profiles to use where one is required, best first: `jp`, `apac`. None stands
    /// for `global`.
    pub profiles: Vec<String>,
    /// Whose formats the model speaks, for names that the catalogue does not know.
    pub family: Option<Family>,
    /// Accept retired models: for the simulator.
    pub allow_retired: bool,
    /// The day on which the question is asked.
    pub today: Date,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What is invoked: a base id, a profile's id or an ARN.
    pub model_id: String,
    /// The id without a profile's prefix; the name itself where the catalogue does not know it.
    pub base_id: String,
    /// The catalogue's own alias; the name itself where the catalogue does not know it.
    pub alias: String,
    /// Whose formats it speaks.
    pub family: Family,
    /// How its native body is formed, where there is one.
    pub native: Option<Format>,
    /// Which interface carries its calls, where the table says so.
    pub api: Option<Api>,
    /// Input and output together, in tokens.
    pub window: u64,
    /// The largest `max_tokens`.
    pub output_max: u64,
    /// How many tokens of quota one output token costs.
    pub burndown: u64,
    /// The prices of this very id; absent where they are unknown, and then costs are unknown too.
    pub prices: Option<Prices>,
    /// What may be asked of it.
    pub supports: Supports,
}

/// Why a name stands for nothing that can be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No such alias, and not the form of an id.
    #[error(
        "resolve the model {name:?}: no model has this alias{}; `quarrier models` lists them, and a \
         provider's id or ARN is accepted with `family`",
        did_you_mean(nearest)
    )]
    Unknown {
        /// The name.
        name: String,
        /// Names that it may have meant, best first.
        nearest: Vec<String>,
    },
    /// The provider no longer serves it.
    #[error(
        "resolve the model {name:?}: it was retired {}; {}",
        retired_when(*date),
        way_out(successor.as_deref())
    )]
    Retired {
        /// The name.
        name: String,
        /// The first day on which it was refused, where that is known.
        date: Option<Date>,
        /// The alias of the model to use instead.
        successor: Option<String>,
    },
    /// An id or ARN that the catalogue does not know.
    #[error(
        "resolve the model {name:?}: the catalogue does not know this id{}; say which family it is: \
         `family` in the job, `[bedrock.families]` in the configuration, or a row in \
         `catalogue.models_file`",
        did_you_mean(nearest)
    )]
    FamilyNeeded {
        /// The name.
        name: String,
        /// Names that it may have meant, best first.
        nearest: Vec<String>,
    },
    /// The model can be invoked only through a profile, and has none where we are.
    #[error(
        "resolve the model {name:?}: it needs an inference profile and has none for {}, only {}; \
         add one of them to `bedrock.profiles`, or name the model as `{}`",
        wanted.join(", "), profiles.join(", "), example
    )]
    NoProfile {
        /// The name.
        name: String,
        /// The profiles that were asked for.
        wanted: Vec<String>,
        /// The profiles that it has.
        profiles: Vec<String>,
        /// A whole id that would be accepted.
        example: String,
    },
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!(" (nearest: {})", nearest.join(", ")) }
}

fn retired_when(date: Option<Date>) -> String {
    date.map_or_else(|| "by its provider".to_owned(), |date| format!("on {date}"))
}

fn way_out(successor: Option<&str>) -> String {
    successor.map_or_else(
        || "choose another (`quarrier models`)".to_owned(),
        |alias| format!("use {alias:?}, or `allow_retired_models` with the simulator"),
    )
}

/// The parts of a name that the catalogue can be asked about.
pub(super) struct Parsed<'a> {
    /// The name as it was given.
    name: &'a str,
    /// The last part of an ARN that names a model or profile, else the whole name.
    pub(super) id: &'a str,
    /// The name is an ARN of a profile, or of something of the account's own.
    keep_name: bool,
}

impl Catalogue {
    /// What this name stands for: an alias, a base id, a profile's id, or an ARN.
    pub fn resolve(&self, name: &str, ask: &Ask) -> Result<Resolved, ResolveError> {
        // Names come from producers: a long one is compared with nothing and repeated nowhere.
        if name.len() > NAME_BYTES_MAX {
            return self.resolve_unknown(name, ask);
        }
        let parsed = parse(name);
        if let Some(model) = self.model(name).or_else(|| self.model(parsed.id)) {
            return self.resolve_known(model, None, &parsed, ask);
        }
        let profile = split_profile(parsed.id);
        if let Some((prefix, model)) =
            profile.and_then(|(prefix, base)| Some((prefix, self.model_by_id(base)?)))
        {
            // An explicit profile is invoked as written, even one that the table lacks: the
            // provider adds profiles more often than we add rows.
            return self.resolve_known(model, Some(prefix), &parsed, ask);
        }
        self.resolve_unknown(name, ask)
    }

    fn model_by_id(&self, id: &str) -> Option<&Model> {
        self.model(id).filter(|model| model.id == id)
    }

    fn resolve_known(
        &self,
        model: &Model,
        named: Option<&str>,
        parsed: &Parsed<'_>,
        ask: &Ask,
    ) -> Result<Resolved, ResolveError> {
        let &Parsed { name, keep_name, .. } = parsed;
        if model.is_retired(ask.today) && !ask.allow_retired {
            return Err(ResolveError::Retired {
                name: name.to_owned(),
                date: model.end_of_life,
                successor: self.successor_of(model, ask.today),
            });
        }
        let profile = match named {
            Some(prefix) => Some(prefix.to_owned()),
            None if model.requires_profile && !keep_name => Some(choose_profile(model, name, ask)?),
            None => None,
        };
        let model_id = match &profile {
            _ if keep_name => name.to_owned(),
            Some(prefix) => format!("{prefix}.{}", model.id),
            None => model.id.clone(),
        };
        Ok(Resolved {
            model_id,
            base_id: model.id.clone(),
            alias: model.alias.clone(),
            family: model.family,
            native: model.native,
            api: model.api,
            window: model.window,
            output_max: model.output_max,
            burndown: model.burndown,
            prices: model.prices_through(profile.as_deref()),
            supports: model.supports,
        })
    }

    fn resolve_unknown(&self, name: &str, ask: &Ask) -> Result<Resolved, ResolveError> {
        let near = || nearest(name, self.names()).into_iter().map(str::to_owned).collect();
        if !has_form_of_id(name) {
            return Err(ResolveError::Unknown { name: shortened(name), nearest: near() });
        }
        let Some(family) = ask.family else {
            return Err(ResolveError::FamilyNeeded { name: shortened(name), nearest: near() });
        };
        Ok(Resolved {
            model_id: name.to_owned(),
            base_id: name.to_owned(),
            alias: name.to_owned(),
            family,
            native: Format::of_unknown(family),
            api: None,
            window: UNKNOWN_WINDOW,
            output_max: UNKNOWN_OUTPUT_MAX,
            // Today's Claude models all cost five; too high a guess only settles too much.
            burndown: if family == Family::Claude { 5 } else { 1 },
            prices: None,
            supports: Supports::of_unknown(family),
        })
    }

    /// The first model down the chain of successors that is still served.
    pub(super) fn successor_of(&self, model: &Model, today: Date) -> Option<String> {
        let mut current = model;
        for _ in 0..SUCCESSORS_MAX {
            current = self.model(current.successor.as_deref()?)?;
            if !current.is_retired(today) {
                return Some(current.alias.clone());
            }
        }
        None
    }
}

/// The first of the wanted profiles that the model has. Never any other, `global` least of all:
/// where a prompt is computed is the user's decision.
fn choose_profile(model: &Model, name: &str, ask: &Ask) -> Result<String, ResolveError> {
    let global = ["global".to_owned()];
    let wanted = match ask.profiles.as_slice() {
        [] => global.as_slice(),
        some => some,
    };
    let found = wanted.iter().find(|prefix| model.profiles.contains(prefix));
    found.cloned().ok_or_else(|| ResolveError::NoProfile {
        name: name.to_owned(),
        wanted: wanted.to_vec(),
        profiles: model.profiles.clone(),
        example: format!("{}.{}", model.profiles.last().map_or("global", String::as_str), model.id),
    })
}

pub(super) fn parse(name: &str) -> Parsed<'_> {
    let plain = Parsed { name, id: name, keep_name: false };
    if !name.starts_with("arn:") {
        return plain;
    }
    match name.rsplit_once('/') {
        // A foundation model's ARN is refused like its bare id, so the profile may replace it.
        Some((head, tail)) if head.ends_with(":foundation-model") => {
            Parsed { name, id: tail, keep_name: false }
        }
        Some((head, tail)) if head.ends_with(":inference-profile") => {
            Parsed { name, id: tail, keep_name: true }
        }
        _ => Parsed { name, id: name, keep_name: true },
    }
}

pub(super) fn split_profile(id: &str) -> Option<(&str, &str)> {
    id.split_once('.').filter(|(prefix, _)| PROFILE_PREFIXES.contains(prefix))
}

/// Ids read `vendor.model`, and a vendor's name has no hyphen: `claude-haiku-4.7` is a mistyped
/// alias, whatever family comes with it.
fn has_form_of_id(name: &str) -> bool {
    if name.len() > NAME_BYTES_MAX || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if name.starts_with("arn:") {
        return true;
    }
    let base = split_profile(name).map_or(name, |(_, base)| base);
    base.split_once('.').is_some_and(|(vendor, model)| {
        !model.is_empty() && !vendor.is_empty() && vendor.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// Names come from producers: an error does not repeat a megabyte of one.
fn shortened(name: &str) -> String {
    const SHOWN_MAX: usize = 200;
    let mut shown: String = name.chars().take(SHOWN_MAX).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}
