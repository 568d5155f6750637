//! One SDK client, and the address that it reaches, so that an error can name it.
//! Must not know: calls, answers.

use std::sync::{Arc, OnceLock};

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

/// A client with connections of its own.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    address: Address,
}

impl Line {
    /// A client without an HTTP client of its own makes one, so each line has its own pool.
    pub(super) fn new(builder: Builder) -> Self {
        let address = Address::default();
        let client = Client::from_conf(builder.interceptor(address.clone()).build());
        Self { client, address }
    }

    /// Scheme and host of the calls, `https://bedrock-runtime.us-east-1.amazonaws.com`; nothing
    /// before the first call was signed.
    pub(super) fn address(&self) -> Option<&str> {
        self.address.0.get().map(String::as_str)
    }
}

/// The address as the SDK's own rules resolve it from options, environment, profile and region.
#[derive(Debug, Clone, Default)]
struct Address(Arc<OnceLock<String>>);

#[dyn_dispatch_hint]
impl Intercept for Address {
    fn name(&self) -> &'static str {
        "Address"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.get_or_init(|| origin(context.request().uri()).to_owned());
        Ok(())
    }
}

/// A URI up to its path.
fn origin(uri: &str) -> &str {
    let host = uri.find("://").map_or(0, |at| at.saturating_add(3));
    let path = uri.get(host..).and_then(|rest| rest.find('/'));
    path.and_then(|at| uri.get(..host.saturating_add(at))).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_uri_up_to_its_path() {
        let table = [
            ("http://127.0.0.1:9/model/a%2Fb/converse", "http://127.0.0.1:9"),
            (
                "https://bedrock-runtime.us-east-1.amazonaws.com",
                "https://bedrock-runtime.us-east-1.amazonaws.com",
            ),
            ("/model", ""),
        ];
        for (uri, expected) in table {
            assert_eq!(origin(uri), expected, "{uri}");
        }
    }
}
