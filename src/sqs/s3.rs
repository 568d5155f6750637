//! Bodies that no queue takes, put into a bucket.
//! Must not know: what a body means, what points to it.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Region, StalledStreamProtectionConfig};
use aws_sdk_s3::primitives::ByteStream;

use super::{Asked, ConnectError, SqsOptions, check, within};
use crate::message_queue::{LargeBodies, QueueResult};

/// Another address for S3 alone. What the SDK makes of it does not show in its configuration.
const ADDRESS: &str = "AWS_ENDPOINT_URL_S3";

/// A bucket of S3.
#[derive(Debug)]
pub struct S3Bodies {
    client: Client,
    bucket: String,
    timeout: Duration,
}

impl S3Bodies {
    /// Makes the client of a bucket. Sends nothing to S3; may ask the instance's metadata for a
    /// region. The options are S3's: `endpoint` overrides `AWS_ENDPOINT_URL_S3` and
    /// `AWS_ENDPOINT_URL`; with one the bucket stands in the path and not in the host's name, as
    /// most stores that speak S3 want it.
    pub async fn connect(options: &SqsOptions, bucket: &str) -> Result<Self, ConnectError> {
        check(options.endpoint.as_deref())?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Self::with_sdk_config(&loader.load().await, options, bucket)
    }

    /// Makes the client on a configuration that is loaded already. `options.region` is passed over.
    pub fn with_sdk_config(
        sdk: &SdkConfig,
        options: &SqsOptions,
        bucket: &str,
    ) -> Result<Self, ConnectError> {
        check(options.endpoint.as_deref())?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .build();
        let in_path = options.endpoint.is_some()
            || sdk.endpoint_url().is_some()
            || std::env::var_os(ADDRESS).is_some();
        let mut builder = Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts)
            .force_path_style(in_path);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Ok(Self {
            client: Client::from_conf(builder.build()),
            bucket: bucket.to_owned(),
            timeout: Duration::from_millis(options.timeout_ms),
        })
    }
}

#[async_trait]
impl LargeBodies for S3Bodies {
    async fn put(&self, key: &str, body: &str) -> QueueResult<String> {
        let asked = Asked { verb: "put a body into the bucket", what: &self.bucket };
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type("text/plain; charset=utf-8")
            .body(ByteStream::from(body.as_bytes().to_vec()));
        within(self.timeout, asked, request.send()).await?;
        Ok(self.bucket.clone())
    }
}
