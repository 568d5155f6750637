//! Opening a client: the configuration, what the program says itself, and the rooms.
//! Must not know: what is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use uuid::Uuid;

use super::error::Error;
use super::{Client, Parts};
use crate::clock::Clock;
use crate::config::{self, LoadArgs, Loaded, Override};
use crate::retry::Policy;
use crate::rooms::{
    Rooms, Simulate, StorePlace, retired_models_override, simulated_limits, store_path,
};

/// What the origin of such a setting is called.
const FLAG: &str = "Client::builder()";

/// What a program says itself, above the configuration files and the environment.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing happens before `open`"]
pub struct ClientBuilder {
    file: Option<PathBuf>,
    env: Option<BTreeMap<String, String>>,
    given: Vec<Override>,
    simulated: bool,
    private: bool,
    cost_micros_max: Option<u64>,
}

impl ClientBuilder {
    /// The configuration file, in place of `QUARRIER_CONFIG` and `./quarrier.toml`.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads these variables in place of the process's own environment. AWS credentials are found
    /// by the AWS chain all the same.
    pub fn env(mut self, variables: BTreeMap<String, String>) -> Self {
        self.env = Some(variables);
        self
    }

    /// The store whose budget is shared, and which keeps every call: a SQLite file (or its
    /// `sqlite:` address), made if it is not there. Without one, here or in the configuration, the
    /// budget is this client's own, and what it records goes with it.
    pub fn store(self, path: impl AsRef<Path>) -> Self {
        self.set("store.url", json!(path.as_ref().to_string_lossy()), "store")
    }

    /// A store of this client's own, even where the configuration names one.
    pub fn private_store(mut self) -> Self {
        self.private = true;
        self
    }

    /// Calls a simulator with made-up answers: one inside this process, or the one that the
    /// endpoint names. A store that has held real work refuses simulated work, and the other way
    /// round.
    pub fn simulated(mut self) -> Self {
        self.simulated = true;
        self
    }

    /// Another address than AWS's own, such as `http://127.0.0.1:8788` for a simulator.
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        self.set("bedrock.endpoint", json!(url.into()), "endpoint")
    }

    /// The AWS region.
    pub fn region(self, name: impl Into<String>) -> Self {
        self.set("bedrock.region", json!(name.into()), "region")
    }

    /// The model of asks that name none.
    pub fn model(self, name: impl Into<String>) -> Self {
        self.set("job.model", json!(name.into()), "model")
    }

    /// The longest answer of asks that say nothing, in tokens.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.set("job.max_tokens", json!(tokens), "max_tokens")
    }

    /// Calls started in any 60 seconds, over all models; 0 lifts the limit. It becomes the store's
    /// limit, for everyone who shares it.
    pub fn requests_per_minute(self, rate: u64) -> Self {
        self.set("limits.total.requests_per_minute", json!(rate), "requests_per_minute")
    }

    /// Quota tokens drawn in any 60 seconds, over all models; 0 lifts the limit. It becomes the
    /// store's limit, for everyone who shares it.
    pub fn tokens_per_minute(self, rate: u64) -> Self {
        self.set("limits.total.tokens_per_minute", json!(rate), "tokens_per_minute")
    }

    /// Calls in flight at once.
    pub fn concurrency(self, calls: u32) -> Self {
        self.set("worker.concurrency", json!(calls), "concurrency")
    }

    /// The longest wait for room in the budget, in milliseconds, of asks that say nothing; 0 never
    /// waits.
    pub fn wait_ms_max(self, ms: u64) -> Self {
        self.set("client.wait_ms_max", json!(ms), "wait_ms_max")
    }

    /// How failures are retried, and answers asked for again.
    pub fn retry(self, policy: &Policy) -> Self {
        self.set("retry", json!(policy), "retry")
    }

    /// A TOML file that corrects the catalogue's prices and adds models.
    pub fn models_file(self, path: impl AsRef<Path>) -> Self {
        self.set("catalogue.models_file", json!(path.as_ref().to_string_lossy()), "models_file")
    }

    /// The most that this client's calls may cost together, in micro-dollars, judged before each
    /// call by what it costs at worst. Calls whose cost stays unknown count with their worst.
    pub fn cost_micros_max(mut self, micros: u64) -> Self {
        self.cost_micros_max = Some(micros);
        self
    }

    /// Any other setting of `config/default.toml`, by its key: `bedrock.idle_timeout_ms`.
    pub fn setting(self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.set(key, value.into(), "setting")
    }

    fn set(mut self, key: &str, value: serde_json::Value, method: &str) -> Self {
        let flag = format!("{FLAG}.{method}");
        self.given.push(Override { key: key.to_owned(), value, flag });
        self
    }

    /// Opens the client.
    ///
    /// # Errors
    /// [`Error::Setup`] where the configuration is refused, no credentials are found, or the store
    /// cannot be used.
    pub async fn open(self) -> Result<Client, Error> {
        let loaded = self.load()?;
        let place = self.place(&loaded)?;
        let simulate = self.simulate(&loaded);
        // Limits that nobody has set must not take the place of those that somebody has.
        let says_limits = loaded.origins.iter().any(|setting| {
            setting.key.starts_with("limits.")
                && setting.origin != "default"
                && setting.origin != "flag --simulate"
        });
        let seeds = |there: &[_]| says_limits || there.is_empty();
        let rooms =
            Box::pin(Rooms::wire_with(&loaded, simulate, place.store(), Clock::real(), seeds));
        let rooms = rooms.await.map_err(|error| Error::Setup(format!("{error:#}")))?;
        let direct = rooms.direct(self.cost_micros_max).await;
        let direct = direct.map_err(|error| Error::Setup(format!("failed to {error}")))?;
        Ok(Client::begin(Parts { direct, rooms, place }))
    }

    fn load(&self) -> Result<Loaded, Error> {
        let mut flags = Vec::new();
        if self.simulated {
            flags.push(retired_models_override());
            if !self.says("bedrock.endpoint") {
                flags.extend(simulated_limits(self.says("limits.total.tokens_per_minute")));
            }
        }
        flags.extend(self.given.iter().cloned());
        let env = self.env.clone().unwrap_or_else(environment);
        let args = LoadArgs { file: self.file.clone(), env, flags, ..LoadArgs::default() };
        config::load(&args).map_err(|error| Error::Setup(format!("failed to {error}")))
    }

    fn says(&self, key: &str) -> bool {
        self.given.iter().any(|given| given.key == key)
    }

    fn simulate(&self, loaded: &Loaded) -> Simulate {
        match (self.simulated, loaded.settings.bedrock.endpoint.is_empty()) {
            (false, _) => Simulate::No,
            (true, true) => Simulate::Here(None),
            (true, false) => Simulate::There,
        }
    }

    fn place(&self, loaded: &Loaded) -> Result<Place, Error> {
        let named = loaded.origins.iter().find(|setting| setting.key == "store.url");
        let is_named = named.is_some_and(|setting| setting.origin != "default");
        if is_named && !self.private {
            let path = store_path(&loaded.settings.store.url);
            return path.map(Place::Named).map_err(|error| Error::Setup(format!("{error:#}")));
        }
        let folder = std::env::temp_dir().join(format!("quarrier-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).map_err(|error| {
            Error::Setup(format!("failed to make the folder {}: {error}", folder.display()))
        })?;
        Ok(Place::Private { store: folder.join("client.db").into(), folder })
    }
}

/// The process's own environment. What is not UTF-8 cannot be a setting of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where a client's calls are recorded.
#[derive(Debug)]
pub(super) enum Place {
    /// In a store that stays.
    Named(StorePlace),
    /// In a folder that goes with the client.
    Private {
        /// The store.
        store: StorePlace,
        /// The folder that it is alone in.
        folder: PathBuf,
    },
}

impl Place {
    fn store(&self) -> &StorePlace {
        match self {
            Self::Named(store) | Self::Private { store, .. } => store,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Private { folder, .. } = self {
            // What cannot be deleted is the system's to clear.
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_store_goes_with_its_client() {
        let builder = ClientBuilder::default().env(BTreeMap::new()).private_store();
        let place = builder.place(&builder.load().unwrap()).unwrap();
        let file = place.store().file().unwrap().to_owned();
        let folder = file.parent().unwrap().to_owned();
        std::fs::write(&file, "x").unwrap();
        assert!(folder.exists());
        drop(place);
        assert!(!folder.exists());
    }

    #[test]
    fn a_store_that_the_configuration_names_is_used() {
        let env = [("QUARRIER_STORE__URL".to_owned(), "sqlite:shared.db".to_owned())];
        let builder = ClientBuilder::default().env(env.into());
        let place = builder.place(&builder.load().unwrap()).unwrap();
        assert_eq!(place.store().file().unwrap(), Path::new("shared.db"));
    }

    #[test]
    fn what_the_program_says_stands_above_the_environment() {
        let env = [("BEDROCK_MODEL_ID".to_owned(), "nova-lite".to_owned())];
        let builder = ClientBuilder::default()
            .env(env.into())
            .model("nova-pro")
            .setting("worker.poll_ms", 70);
        let settings = builder.load().unwrap().settings;
        assert_eq!((settings.job.model.as_str(), settings.worker.poll_ms), ("nova-pro", 70));
    }
}
