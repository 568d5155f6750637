//! The configuration: default < file < environment < flags, every value with its origin. Jobs'
//! own fields come above all of these, at admission.
//! Must not know: secrets. Credentials come from the AWS chain and never pass through here.

mod layers;
mod ranges;
mod settings;
mod sqs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::Dict;
use figment::{Figment, Profile};

use crate::budget::Limit;
use crate::catalogue::{Catalogue, CatalogueError};
use layers::Layer;
pub use ranges::wrong_limit_name;
pub use settings::{
    Bedrock, Budget, CatalogueSettings, Client, Http, JobDefaults, Log, LogLevel, Queue, Relay,
    Settings, Store, Tenant, Worker,
};
pub use sqs::{AckChoice, Sqs, SqsIntake};

/// Every setting with its default and its comment.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");
/// The file that is read where none is named, if it is there.
pub const FILE_NAME: &str = "quarrier.toml";

/// What the configuration is made from. The environment is an argument, so that tests and
/// embedding programs can bring their own.
#[derive(Debug, Clone, Default)]
pub struct LoadArgs {
    /// `--config FILE`. Else `QUARRIER_CONFIG`, else `quarrier.toml` in `dir` if there is one.
    pub file: Option<PathBuf>,
    /// Where `quarrier.toml` is looked for; empty for the present folder.
    pub dir: PathBuf,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What flags say, weakest first.
    pub flags: Vec<Override>,
}

/// A flag that sets a setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The setting: `worker.concurrency`.
    pub key: String,
    /// Its value.
    pub value: serde_json::Value,
    /// The flag as it is written: `--concurrency`.
    pub flag: String,
}

/// One setting as it stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Setting {
    /// `worker.concurrency`.
    pub key: String,
    /// What is in force. A password inside an address is replaced by `***`.
    pub value: serde_json::Value,
    /// `default`, the file's path, `environment AWS_REGION`, or `flag --concurrency`.
    pub origin: String,
}

/// The configuration and where each part of it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is in force.
    pub settings: Settings,
    /// Every setting, ordered by key.
    pub origins: Vec<Setting>,
}

/// Why the configuration is refused. The first mistake is reported.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("read {}: {cause}; name another with {named_by}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// How it is named.
        named_by: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file is not TOML.
    #[error("read {origin}: {reason}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where and why.
        reason: String,
    },
    /// No such setting.
    #[error(
        "read the setting {key} ({origin}): there is no such setting{}; `quarrier config show` lists \
         them",
        nearest.as_ref().map(|near| format!(", did you mean {near}?")).unwrap_or_default()
    )]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A value of the wrong kind, out of its bounds, or in contradiction to another.
    #[error("read the setting {key} ({origin}): it {reason}")]
    Wrong {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// A sentence's rest.
        reason: String,
    },
    /// The table of models is refused.
    #[error("use the models of {}: {cause}", path.display())]
    Models {
        /// The file, or the built-in table.
        path: PathBuf,
        /// Why.
        cause: CatalogueError,
    },
}

/// Reads all layers, checks them, and says where each value comes from.
pub fn load(args: &LoadArgs) -> Result<Loaded, ConfigError> {
    let defaults = parse(DEFAULTS, "default")?;
    let mut layers = Vec::new();
    layers.extend(file_layer(args)?);
    layers.extend(layers::environment(&args.env, &defaults.values)?);
    layers.extend(layers::flags(&args.flags)?);

    let mut figment = Figment::from(defaults.clone());
    for layer in layers {
        layers::check_keys(&layer, &defaults.values)?;
        figment = figment.merge(layer);
    }
    let mut origins = origins(&figment)?;
    check_ranges(&origins)?;
    let mut settings: Settings = figment.extract().map_err(|error| wrong_type(&error))?;
    take_url_file(&mut settings, &mut origins)?;
    check_settings(&settings, &origins)?;
    lift_zero_limits(&mut settings);
    let origins = origins.into_iter().map(Setting::without_password).collect();
    Ok(Loaded { settings, origins })
}

/// The built-in catalogue with the configured file's corrections.
pub fn catalogue(settings: &Settings) -> Result<Catalogue, ConfigError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |cause| ConfigError::Models { path, cause }
    };
    let mut catalogue = Catalogue::embedded().map_err(refused(Path::new("the built-in table")))?;
    let file = &settings.catalogue.models_file;
    if !file.is_empty() {
        let path = Path::new(file);
        let text = read(path, "catalogue.models_file")?;
        catalogue.merge(&text).map_err(refused(path))?;
    }
    Ok(catalogue)
}

/// The store's address from its file, unless a flag names another.
fn take_url_file(settings: &mut Settings, origins: &mut [Setting]) -> Result<(), ConfigError> {
    let file = settings.store.url_file.clone();
    if file.is_empty() {
        return Ok(());
    }
    let named = origins.iter().find(|setting| setting.key == "store.url_file").cloned();
    let Some(url) = origins.iter_mut().find(|setting| setting.key == "store.url") else {
        return Ok(());
    };
    if url.origin.starts_with("flag ") {
        settings.store.url_file.clear();
        return Ok(());
    }
    let text = std::fs::read_to_string(&file).map_err(|cause| ConfigError::Wrong {
        key: "store.url_file".to_owned(),
        origin: named.map(|setting| setting.origin).unwrap_or_default(),
        reason: format!("names {file}, which cannot be read: {cause}"),
    })?;
    text.trim().clone_into(&mut settings.store.url);
    url.value = serde_json::Value::String(settings.store.url.clone());
    url.origin = format!("{file} (store.url_file)");
    Ok(())
}

fn file_layer(args: &LoadArgs) -> Result<Option<Layer>, ConfigError> {
    let named = args.env.get(layers::FILE_VARIABLE).filter(|path| !path.is_empty());
    let (path, named_by) = match (&args.file, named) {
        (Some(path), _) => (path.clone(), "--config"),
        (None, Some(path)) => (PathBuf::from(path), layers::FILE_VARIABLE),
        (None, None) => {
            let path = args.dir.join(FILE_NAME);
            return match std::fs::read_to_string(&path) {
                Ok(text) => parse(&text, &path.display().to_string()).map(Some),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(ConfigError::File { path, named_by: "--config", cause }),
            };
        }
    };
    let text = read(&path, named_by)?;
    parse(&text, &path.display().to_string()).map(Some)
}

fn read(path: &Path, named_by: &'static str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::File {
        path: path.to_owned(),
        named_by,
        cause,
    })
}

fn parse(text: &str, origin: &str) -> Result<Layer, ConfigError> {
    let values = Toml::from_str::<Dict>(text).map_err(|error| ConfigError::Syntax {
        origin: origin.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Layer { origin: origin.to_owned(), values })
}

fn origins(figment: &Figment) -> Result<Vec<Setting>, ConfigError> {
    let merged = figment::Provider::data(figment).map_err(|error| wrong_type(&error))?;
    let mut origins = Vec::new();
    let empty = Dict::new();
    let values = merged.get(&Profile::Default).unwrap_or(&empty);
    layers::leaves(values, "", &mut |key, value| {
        let origin = figment.get_metadata(value.tag()).map(|metadata| metadata.name.to_string());
        origins.push(Setting {
            key: key.to_owned(),
            value: serde_json::to_value(value).unwrap_or_default(),
            origin: origin.unwrap_or_default(),
        });
    });
    Ok(origins)
}

fn check_ranges(origins: &[Setting]) -> Result<(), ConfigError> {
    for setting in origins {
        let Some(range) = ranges::of(&setting.key) else {
            continue;
        };
        let bounds = format!("must be {} to {}", range.min, range.max);
        let Some(number) = setting.value.as_f64() else {
            return Err(setting.wrong(format!("{bounds}, and is {}", setting.value)));
        };
        // Bounds are small enough to be exact as floating-point numbers.
        let bound = |bound: u64| serde_json::Number::from(bound).as_f64().unwrap_or(f64::NAN);
        if !(bound(range.min)..=bound(range.max)).contains(&number) {
            let why = range.why;
            return Err(setting.wrong(format!("{bounds}, and is {}: {why}", setting.value)));
        }
    }
    Ok(())
}

fn check_settings(settings: &Settings, origins: &[Setting]) -> Result<(), ConfigError> {
    let at = |key: &str, reason: String| {
        // A list is one setting, and its entries are not.
        let whole = key.split('[').next().unwrap_or(key);
        let origin = origins.iter().find(|setting| setting.key.starts_with(whole));
        ConfigError::Wrong {
            key: key.to_owned(),
            origin: origin.map(|setting| setting.origin.clone()).unwrap_or_default(),
            reason,
        }
    };
    if let Some((key, reason)) = ranges::contradiction(settings) {
        return Err(at(key, reason));
    }
    let listen = &settings.http.listen;
    if !listen.is_empty() && settings.http.address().is_none() {
        let reason = format!(
            "must be an IP address and a port, such as 127.0.0.1:8787 or 0.0.0.0:8787, or \"\" for \
             none, and is {listen:?}"
        );
        return Err(at("http.listen", reason));
    }
    for name in settings.limits.keys() {
        if let Some(reason) = ranges::wrong_limit_name(name) {
            return Err(at(&format!("limits.{name}"), reason));
        }
    }
    let wrong = ranges::wrong_sharing(settings).or_else(|| ranges::wrong_intake(settings));
    if let Some((key, reason)) = wrong {
        return Err(at(&key, reason));
    }
    for (key, value) in [
        ("job.model", &settings.job.model),
        ("job.queue", &settings.job.queue),
        ("job.tenant", &settings.job.tenant),
        ("bedrock.region", &settings.bedrock.region),
        ("store.url", &settings.store.url),
    ] {
        if value.trim().is_empty() {
            return Err(at(key, "must not be empty; leave it out for the default".to_owned()));
        }
    }
    Ok(())
}

/// A file cannot take away what the default says, so 0 says it.
fn lift_zero_limits(settings: &mut Settings) {
    for limit in settings.limits.values_mut() {
        limit.requests_per_minute = limit.requests_per_minute.filter(|rate| *rate > 0);
        limit.tokens_per_minute = limit.tokens_per_minute.filter(|rate| *rate > 0);
    }
    settings.limits.retain(|_, limit| *limit != Limit::default());
}

fn wrong_type(error: &figment::Error) -> ConfigError {
    use figment::error::Kind;
    let quoted = |names: &[&str]| {
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        quoted.join(", ")
    };
    let reason = match &error.kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            // The deserializer names Rust's types, which are nobody's words but ours.
            let whole = ["u32", "u64", "usize"].contains(&expected.as_str());
            let expected = if whole { "a whole number" } else { expected };
            format!("must be {expected}, and is {found}")
        }
        Kind::UnknownVariant(found, names) => {
            format!("must be one of {}, and is {found:?}", quoted(names))
        }
        Kind::UnknownField(found, names) => {
            format!("has no field {found:?}, only {}", quoted(names))
        }
        Kind::MissingField(name) => format!("needs the field `{name}`"),
        other => format!("is refused: {other}"),
    };
    ConfigError::Wrong {
        key: key_of(&error.path),
        origin: error.metadata.as_ref().map(|found| found.name.to_string()).unwrap_or_default(),
        reason,
    }
}

/// `sqs.intake[0].ack`, from its parts.
fn key_of(path: &[String]) -> String {
    let mut key = String::new();
    for part in path {
        let is_place = !key.is_empty() && part.parse::<usize>().is_ok();
        let joined = match (is_place, key.is_empty()) {
            (true, _) => format!("[{part}]"),
            (false, true) => part.clone(),
            (false, false) => format!(".{part}"),
        };
        key.push_str(&joined);
    }
    key
}

impl Setting {
    fn wrong(&self, reason: String) -> ConfigError {
        ConfigError::Wrong { key: self.key.clone(), origin: self.origin.clone(), reason }
    }

    /// Addresses may carry a password: `scheme://user:password@host`.
    fn without_password(mut self) -> Self {
        let hidden = self.value.as_str().and_then(|text| {
            let (scheme, rest) = text.split_once("://")?;
            let (user, host) = rest.rsplit_once('@')?;
            let (name, _) = user.split_once(':')?;
            Some(format!("{scheme}://{name}:***@{host}"))
        });
        if let Some(hidden) = hidden {
            self.value = serde_json::Value::String(hidden);
        }
        self
    }
}
