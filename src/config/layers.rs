//! The layers of the configuration, each with its origin: default, file, environment, flags.
//! Must not know: what a setting means.

use std::collections::BTreeMap;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::{ConfigError, Override};
use crate::catalogue::nearest;

/// Tables whose keys are the user's own.
pub(super) const OPEN_TABLES: [&str; 6] =
    ["limits", "queues", "tenants", "bedrock.families", "retention.queues", "retention.tenants"];
/// Variables without our prefix, weakest first, and what they set.
const FOREIGN: [(&str, &str); 5] = [
    ("AWS_DEFAULT_REGION", "bedrock.region"),
    ("AWS_REGION", "bedrock.region"),
    ("BEDROCK_MODEL_ID", "job.model"),
    ("BEDROCK_TEMPERATURE", "job.temperature"),
    ("BEDROCK_MAX_TOKENS", "job.max_tokens"),
];
const PREFIX: &str = "QUARRIER_";
/// How the origin of a variable's value begins.
const ENVIRONMENT: &str = "environment ";
/// Names the configuration file itself.
pub(super) const FILE_VARIABLE: &str = "QUARRIER_CONFIG";

/// Some settings and where they come from. Its origin is the name of its figment metadata.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) origin: String,
    pub(super) values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The environment's layers, weakest first: one for each variable, so that each is its own origin.
/// `QUARRIER_SECTION__KEY` sets one key and `QUARRIER_SECTION` a whole table, which is how keys get
/// in that no variable's name can spell; the longer name is the stronger.
pub(super) fn environment(
    env: &BTreeMap<String, String>,
    defaults: &Dict,
) -> Result<Vec<Layer>, ConfigError> {
    let foreign = FOREIGN.iter().filter_map(|(name, key)| {
        let raw = env.get(*name).filter(|raw| !raw.is_empty())?;
        Some((*name, (*key).to_owned(), raw))
    });
    let own = env.iter().filter_map(|(name, raw)| {
        let key = name.strip_prefix(PREFIX)?;
        let ours = name != FILE_VARIABLE && !is_service_link(name, raw);
        ours.then(|| (name.as_str(), key.to_lowercase().replace("__", "."), raw))
    });
    foreign
        .chain(own)
        .map(|(name, key, raw)| {
            let origin = format!("{ENVIRONMENT}{name}");
            let value = value_of(raw, find(defaults, &key)).map_err(|reason| {
                ConfigError::Wrong { key: key.clone(), origin: origin.clone(), reason }
            })?;
            Ok(layer(origin, &key, value))
        })
        .collect()
}

/// One layer for each flag.
pub(super) fn flags(overrides: &[Override]) -> Result<Vec<Layer>, ConfigError> {
    overrides
        .iter()
        .map(|given| {
            let origin = format!("flag {}", given.flag);
            let value = Value::serialize(&given.value).map_err(|error| ConfigError::Wrong {
                key: given.key.clone(),
                origin: origin.clone(),
                reason: error.to_string(),
            })?;
            Ok(layer(origin, &given.key, value))
        })
        .collect()
}

/// Refuses keys that no setting has, and tables in the place of values or the other way round.
pub(super) fn check_keys(layer: &Layer, defaults: &Dict) -> Result<(), ConfigError> {
    check_table(layer, &layer.values, defaults, "", defaults)
}

fn check_table(
    layer: &Layer,
    given: &Dict,
    known: &Dict,
    path: &str,
    defaults: &Dict,
) -> Result<(), ConfigError> {
    for (name, value) in given {
        let key = joined(path, name);
        let wrong = |reason: &str| ConfigError::Wrong {
            key: key.clone(),
            origin: layer.origin.clone(),
            reason: reason.to_owned(),
        };
        match (known.get(name), value.as_dict()) {
            (None, _) => return Err(unknown(&first_leaf(&key, value), &layer.origin, defaults)),
            (Some(Value::Dict(..)), None) => {
                return Err(wrong("is a table of settings, not a value"));
            }
            (Some(_), _) if OPEN_TABLES.contains(&key.as_str()) => {}
            (Some(Value::Dict(_, inner)), Some(value)) => {
                check_table(layer, value, inner, &key, defaults)?;
            }
            (Some(Value::Array(..)), Some(_)) => {
                let reason =
                    format!("is a list, not a table: write [[{key}]] for one of its tables");
                return Err(wrong(&reason));
            }
            (Some(_), Some(_)) => return Err(wrong("is one value, not a table")),
            (Some(_), None) => {}
        }
    }
    Ok(())
}

/// The whole key of a value in an unknown table: what was meant is nearest to that.
fn first_leaf(key: &str, value: &Value) -> String {
    let first = value.as_dict().and_then(|table| table.iter().next());
    first.map_or_else(|| key.to_owned(), |(name, inner)| first_leaf(&joined(key, name), inner))
}

fn unknown(key: &str, origin: &str, defaults: &Dict) -> ConfigError {
    let mut known = Vec::new();
    leaves(defaults, "", &mut |key, _| known.push(key.to_owned()));
    // A key in the wrong section is as common as a mistyped one: compare the last part too.
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let elsewhere = known.iter().find(|other| last(other) == last(key));
    let near = elsewhere.cloned().or_else(|| {
        nearest(key, known.iter().map(String::as_str)).first().map(ToString::to_string)
    });
    // Whoever has mistyped a variable corrects a variable.
    let near = near.map(|near| {
        let is_variable = origin.starts_with(ENVIRONMENT) && near.split('.').all(is_plain);
        let variable = || near.to_uppercase().replace('.', "__");
        if is_variable { format!("{near} ({PREFIX}{})", variable()) } else { near }
    });
    ConfigError::Unknown { key: key.to_owned(), origin: origin.to_owned(), nearest: near }
}

/// Whether a variable's name can spell this part of a key.
fn is_plain(part: &str) -> bool {
    part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Visits every setting with its key; an open table's entries are settings of their own.
pub(super) fn leaves(table: &Dict, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (name, value) in table {
        let key = joined(path, name);
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => leaves(inner, &key, visit),
            _ => visit(&key, value),
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The value at a dotted key.
fn find<'a>(table: &'a Dict, key: &str) -> Option<&'a Value> {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    let value = table.get(first)?;
    match rest {
        None => Some(value),
        Some(rest) => find(value.as_dict()?, rest),
    }
}

/// A layer of one value. An empty part of the key stays, to be refused as unknown.
fn layer(origin: String, key: &str, value: Value) -> Layer {
    let nested = key
        .rsplit('.')
        .fold(value, |inner, part| Value::from(Dict::from([(part.to_owned(), inner)])));
    Layer { origin, values: nested.into_dict().unwrap_or_default() }
}

/// Reads a variable's text as the kind of value that the setting has: a folder named `2026` is
/// text, and a list may be written with commas. What is wrong with a table is said at once: read as
/// anything else it would only be no table.
fn value_of(raw: &str, default: Option<&Value>) -> Result<Value, String> {
    Ok(match default {
        Some(Value::Dict(..)) => return table(raw).map(Value::from),
        Some(Value::String(..)) => Value::from(raw),
        Some(Value::Array(..)) if !raw.trim_start().starts_with('[') => {
            let parts = raw.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::from(parts.map(Value::from).collect::<Vec<Value>>())
        }
        Some(Value::Array(..)) => {
            let list = serde_json::from_str::<Vec<Value>>(raw).ok().map(Value::from);
            list.or_else(|| toml_value(raw)).unwrap_or_else(|| Value::from(raw))
        }
        _ => toml_value(raw).unwrap_or_else(|| Value::from(raw)),
    })
}

/// A whole table in one variable: a JSON object, or TOML's lines or its inline form, with or without
/// its braces.
fn table(raw: &str) -> Result<Dict, String> {
    if let Ok(object) = serde_json::from_str::<Dict>(raw) {
        return Ok(object);
    }
    let text = raw.trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    if inner.is_none()
        && let Ok(lines) = Toml::from_str::<Dict>(text)
    {
        return Ok(lines);
    }
    let inline = toml_value(&format!("{{ {} }}", inner.unwrap_or(text)));
    inline.and_then(Value::into_dict).ok_or_else(|| {
        "must be a table, as JSON ({\"total\": {\"requests_per_minute\": 600}}) or as TOML \
         (total = { requests_per_minute = 600 }), and is neither"
            .to_owned()
    })
}

fn toml_value(raw: &str) -> Option<Value> {
    let mut read: Dict = Toml::from_str(&format!("value = {raw}")).ok()?;
    (read.len() == 1).then(|| read.remove("value"))?
}

/// Container platforms put variables such as `QUARRIER_PORT=tcp://10.0.0.1:80` into every container
/// beside a service named `quarrier`. They are not ours to refuse.
fn is_service_link(name: &str, raw: &str) -> bool {
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
        || (name.ends_with("_PORT") && raw.contains("://"))
}
