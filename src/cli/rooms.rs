//! The flags of the commands that make calls, and from flags to rooms.
//! Must not know: what a command does with them, how rooms are wired (`crate::rooms` does).

use serde_json::json;

use crate::clock::Clock;
use crate::config::{Loaded, Override};
pub use crate::rooms::{
    Rooms, StorePlace, admission, lane_prefix, limit_rules, open_store, retired_models_override,
    store_path,
};
use crate::rooms::{Simulate, simulated_limits};

/// The flags of every command that makes calls.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WorkFlags {
    /// Where jobs and results are kept: a SQLite file, or a Postgres database by its address
    /// `postgres://user@host/database`, made ready by `quarrier migrate`. `run` keeps them beside
    /// OUT unless told, in OUT.quarrier.db; `generate` keeps nothing.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Another address than AWS's own.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Calls in flight at once.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
    /// Calls started in any 60 seconds, over all lanes; 0 lifts the limit.
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<u64>,
    /// Quota tokens drawn in any 60 seconds, over all lanes; 0 lifts the limit.
    #[arg(long, value_name = "N")]
    pub tokens_per_minute: Option<u64>,
    /// Call a simulator with made-up answers instead of the provider: one inside this process, or
    /// the one that --endpoint names. Its work never mixes with real work.
    #[arg(long)]
    pub simulate: bool,
    /// What happens at the simulator of this process: a scenario that ships (calm, monday-morning,
    /// bad-day), or a TOML file. Needs --simulate; the one that --endpoint names has its own.
    #[arg(long, value_name = "NAME|FILE", requires = "simulate", conflicts_with = "endpoint")]
    pub scenario: Option<String>,
}

impl WorkFlags {
    /// The settings that these flags set, weakest first.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let mut given = Vec::new();
        if self.is_simulator_ours() {
            given.extend(simulated_limits(self.tokens_per_minute.is_some()));
        }
        let mut set = |key: &str, value: Option<serde_json::Value>, flag: &str| {
            let key = key.to_owned();
            given.extend(value.map(|value| Override { key, value, flag: flag.to_owned() }));
        };
        let (requests, tokens) = (self.requests_per_minute, self.tokens_per_minute);
        set("store.url", self.store.as_ref().map(|it| json!(it)), "--store");
        set("bedrock.endpoint", self.endpoint.as_ref().map(|it| json!(it)), "--endpoint");
        set("worker.concurrency", self.concurrency.map(|it| json!(it)), "--concurrency");
        let flag = "--requests-per-minute";
        set("limits.total.requests_per_minute", requests.map(|it| json!(it)), flag);
        let flag = "--tokens-per-minute";
        set("limits.total.tokens_per_minute", tokens.map(|it| json!(it)), flag);
        if self.simulate {
            given.push(retired_models_override());
        }
        given
    }

    /// Whether the work is simulated, and where; reads the scenario that is named.
    pub fn simulate(&self) -> anyhow::Result<Simulate> {
        Ok(match (self.simulate, &self.endpoint) {
            (false, _) => Simulate::No,
            (true, None) => {
                let scenario = self.scenario.as_deref().map(super::simulate::scenario);
                Simulate::Here(scenario.transpose()?.map(Box::new))
            }
            (true, Some(_)) => Simulate::There,
        })
    }

    /// Whether this process brings its own simulator.
    #[must_use]
    pub fn is_simulator_ours(&self) -> bool {
        self.simulate && self.endpoint.is_none()
    }
}

/// The flags of the commands that look at message queues: they replace those of the configuration.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct QueueFlags {
    /// Jobs are received from this SQS queue: its URL, its ARN, or its name in the region. Repeat it
    /// for more queues. Given once it replaces the queues of the configuration.
    #[arg(long, value_name = "URL")]
    pub sqs_intake: Vec<String>,
    /// Jobs may name this queue in `reply_to`, exactly so, or with a * for any text without a slash.
    /// Repeat it for more. Given once it replaces what the configuration allows.
    #[arg(long, value_name = "URL")]
    pub sqs_reply_allow: Vec<String>,
}

impl QueueFlags {
    /// The settings that these flags set.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let lists = [
            ("sqs.intake", &self.sqs_intake, "--sqs-intake"),
            ("sqs.reply_allow", &self.sqs_reply_allow, "--sqs-reply-allow"),
        ];
        let given = lists.into_iter().filter(|(_, urls, _)| !urls.is_empty());
        let set = |(key, urls, flag): (&str, &Vec<String>, &str)| Override {
            key: key.to_owned(),
            value: json!(urls),
            flag: flag.to_owned(),
        };
        given.map(set).collect()
    }
}

/// The flag `--model` of commands whose documents may name none.
#[must_use]
pub fn model_override(model: Option<&String>) -> Option<Override> {
    let model = model?;
    Some(Override { key: "job.model".to_owned(), value: json!(model), flag: "--model".to_owned() })
}

impl Rooms {
    /// Opens everything that these flags ask for, cheapest refusals first.
    pub async fn open(
        loaded: &Loaded,
        flags: &WorkFlags,
        place: &StorePlace,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Self::wire(loaded, flags.simulate()?, place, clock).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Limit;
    use crate::config::{self, LoadArgs};

    fn total(flags: &WorkFlags, env: &[(&str, &str)]) -> Limit {
        let folder = tempfile::tempdir().unwrap();
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let args = LoadArgs {
            file: None,
            dir: folder.path().to_owned(),
            env: env.collect(),
            flags: flags.overrides(),
        };
        let rules = limit_rules(&config::load(&args).unwrap());
        rules.into_iter().find(|rule| rule.pattern == "total").unwrap().limit
    }

    #[test]
    fn a_rate_flag_replaces_the_shipped_limit_but_nothing_that_somebody_configured() {
        let tokens = WorkFlags { tokens_per_minute: Some(9_000), ..WorkFlags::default() };
        let limit =
            |requests, tokens| Limit { requests_per_minute: requests, tokens_per_minute: tokens };
        assert_eq!(total(&WorkFlags::default(), &[]), limit(Some(50), None));
        assert_eq!(total(&tokens, &[]), limit(None, Some(9_000)));
        let configured = [("QUARRIER_LIMITS__TOTAL__REQUESTS_PER_MINUTE", "70")];
        assert_eq!(total(&tokens, &configured), limit(Some(70), Some(9_000)));
        let requests = WorkFlags { requests_per_minute: Some(10), ..WorkFlags::default() };
        assert_eq!(total(&requests, &[]), limit(Some(10), None));
    }
}
