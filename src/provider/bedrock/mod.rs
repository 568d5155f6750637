//! The Bedrock adapter: one SDK client per process, one wire call per `generate`.
//! Must not know: stores, jobs' states, budgets, retries.

mod answer;
mod call;
mod clocks;
mod converse;
mod fault;
mod invoke;
mod kinds;
mod line;
mod wire;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::config::{
    Builder, Credentials, ProvideCredentials as _, Region, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};

use self::clocks::Running;
use self::line::Line;
use super::{Api, CallError, FailedCharge, GenerateRequest, Heard, Provider};
use crate::completion::Completion;
use crate::error::ErrorKind;

/// The region that simulated work is filed under when none is named.
const SIMULATED_REGION: &str = "us-east-1";

/// How to reach Bedrock.
#[derive(Debug, Clone)]
pub struct BedrockOptions {
    /// Overrides the standard chain (`AWS_REGION`, the profile, the instance's metadata).
    pub region: Option<String>,
    /// Overrides the service's own address, and `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`.
    pub endpoint: Option<String>,
    /// How long a connection may take to open, name resolution and TLS included.
    pub connect_timeout_ms: u64,
    /// Use fixed credentials that open nothing, and read none of the real ones. Needs `endpoint`.
    pub simulated_credentials: bool,
    /// Over how many connection pools the calls are spread, at least 1. One HTTP/2 connection
    /// carries only as many calls at once as the far side allows (100 and 128 are usual), and
    /// the pool opens one connection; beyond that number calls would wait unseen inside it.
    pub pools: usize,
}

impl Default for BedrockOptions {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            connect_timeout_ms: 3_000,
            simulated_credentials: false,
            pools: 1,
        }
    }
}

/// Why no client could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody said which region.
    #[error("no AWS region: set `AWS_REGION`, or `region` in the configuration or the profile")]
    NoRegion,
    /// Fixed credentials must never travel to the real service.
    #[error("simulated credentials need an endpoint: name the simulator's address")]
    SimulatedWithoutEndpoint,
}

/// Bedrock through the AWS SDK, with the SDK's own retries and stall protection off: the retry
/// room decides, and the clocks of each call bound it.
#[derive(Debug)]
pub struct Bedrock {
    lines: Box<[Line]>,
    next: AtomicUsize,
    credentials: Option<SharedCredentialsProvider>,
    lane_prefix: String,
}

impl Bedrock {
    /// Makes the client. Sends nothing to Bedrock; may ask the instance's metadata for a region.
    pub async fn connect(options: &BedrockOptions) -> Result<Self, ConnectError> {
        if options.simulated_credentials {
            return Self::simulated(options);
        }
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Self::with_sdk_config(&loader.load().await, options)
    }

    /// Makes the client on a configuration that is loaded already.
    pub fn with_sdk_config(
        sdk: &SdkConfig,
        options: &BedrockOptions,
    ) -> Result<Self, ConnectError> {
        let region = sdk.region().ok_or(ConnectError::NoRegion)?.to_string();
        let mut made = Self::with_builder(&Builder::from(sdk), options, &region);
        made.credentials = sdk.credentials_provider();
        Ok(made)
    }

    fn simulated(options: &BedrockOptions) -> Result<Self, ConnectError> {
        if options.endpoint.is_none() {
            return Err(ConnectError::SimulatedWithoutEndpoint);
        }
        let region = options.region.as_deref().unwrap_or(SIMULATED_REGION);
        let fixed = Credentials::new("simulated", "simulated", None, None, "simulated");
        let builder = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .credentials_provider(fixed);
        Ok(Self::with_builder(&builder, options, region))
    }

    fn with_builder(builder: &Builder, options: &BedrockOptions, region: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .build();
        let mut builder = builder
            .clone()
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let lines = (0..options.pools.max(1)).map(|_| Line::new(builder.clone())).collect();
        Self {
            lines,
            next: AtomicUsize::new(0),
            credentials: None,
            lane_prefix: format!("bedrock/{region}"),
        }
    }

    /// Asks the credential chain once, so that a program can refuse to start without. An API key
    /// (`AWS_BEARER_TOKEN_BEDROCK`) or simulated credentials need no chain and always pass.
    pub async fn check_credentials(&self) -> Result<(), CallError> {
        let key_is_set = std::env::var_os("AWS_BEARER_TOKEN_BEDROCK").is_some();
        match &self.credentials {
            Some(chain) if !key_is_set => match chain.provide_credentials().await {
                Ok(_) => Ok(()),
                Err(error) => Err(fault::not_sent(ErrorKind::Credentials, &error)),
            },
            _ => Ok(()),
        }
    }

    fn line(&self) -> Option<&Line> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.lines.get(turn.checked_rem(self.lines.len())?)
    }

    async fn call(
        &self,
        request: &GenerateRequest,
        streamed: bool,
        heard: &Heard,
    ) -> Result<Completion, CallError> {
        let Some(line) = self.line() else {
            return Err(refused(ErrorKind::Bug, "no client was made"));
        };
        let running = Running::start(request.clocks, streamed);
        match request.api {
            Api::Converse => {
                let beginning = Box::pin(converse::begin(line, request, streamed));
                call::make(beginning, &running, heard).await
            }
            Api::Invoke => {
                let beginning = Box::pin(invoke::begin(line, request, streamed));
                call::make(beginning, &running, heard).await
            }
        }
    }
}

#[async_trait]
impl Provider for Bedrock {
    async fn generate(&self, request: &GenerateRequest) -> Result<Completion, CallError> {
        self.call(request, request.stream, &|_| {}).await
    }

    async fn stream(
        &self,
        request: &GenerateRequest,
        heard: &Heard,
    ) -> Result<Completion, CallError> {
        self.call(request, true, heard).await
    }

    fn lane_prefix(&self) -> &str {
        &self.lane_prefix
    }

    fn wire_body(&self, request: &GenerateRequest) -> serde_json::Value {
        wire_body(request)
    }
}

/// The body that a call would send, as JSON. Needs no client and no credentials.
#[must_use]
pub fn wire_body(request: &GenerateRequest) -> serde_json::Value {
    wire::body(request)
}

/// A call that never left this process.
fn refused(kind: ErrorKind, message: &str) -> CallError {
    fault::failed(kind, message, FailedCharge::NotSent)
}
