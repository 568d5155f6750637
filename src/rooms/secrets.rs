//! Where the store's password comes from when it is not in its address: a file, AWS Secrets Manager,
//! or a token that stands for the AWS identity of this process.
//! Must not know: how a connection is made.

use std::sync::Arc;

use anyhow::bail;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Mutex, OnceCell};

use super::rds;
use crate::clock::Clock;
use crate::config::Settings;
use crate::store::postgres::{Login, LoginAsk, Logins, has_password};

/// The largest file of a password or an address, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The longest that Secrets Manager may take.
const SECRET: std::time::Duration = std::time::Duration::from_secs(8);

/// A secret that the server refuses is not asked for again sooner, in milliseconds: a wrong password
/// must not become a storm of calls.
const SECRET_AGAIN_MS: u64 = 5_000;

/// The source of the store's password that is configured; none where the address has it.
pub(super) fn logins(
    settings: &Settings,
    url: &str,
    clock: &Clock,
) -> anyhow::Result<Option<Logins>> {
    let store = &settings.store;
    let (file, secret) = (store.password_file.clone(), store.password_secret.clone());
    let names = [
        (!file.is_empty(), "password_file"),
        (!secret.is_empty(), "password_secret"),
        (store.iam, "iam"),
    ];
    if let Some((_, name)) = names.iter().find(|(is_set, _)| *is_set)
        && has_password(url)
    {
        bail!(
            "failed to use the store: its address has a password, and store.{name} is set; leave \
             out one of them"
        );
    }
    let url_file = store.url_file.clone();
    Ok(if !file.is_empty() {
        let way_out = format!("see that {file} (store.password_file) holds the role's password");
        Some(Logins::new(way_out, move |_| {
            let (file, url_file) = (file.clone(), url_file.clone());
            Box::pin(async move {
                let url = url_in(&url_file).await?;
                Ok(Login { url, password: Some(text_of(&file).await?), user: None })
            })
        }))
    } else if !secret.is_empty() {
        Some(of_secret(&secret, url_file, clock.clone()))
    } else if store.iam {
        Some(of_identity(&settings.bedrock.region, url_file, clock.clone()))
    } else if !url_file.is_empty() {
        let way_out = format!("see that {url_file} (store.url_file) holds the right address");
        Some(Logins::new(way_out, move |_| {
            let url_file = url_file.clone();
            Box::pin(async move { Ok(Login { url: url_in(&url_file).await?, ..Login::default() }) })
        }))
    } else {
        None
    })
}

/// What a file holds, without the end of its line.
async fn text_of(file: &str) -> Result<String, String> {
    let wrong = |error: std::io::Error| format!("{file} cannot be read: {error}");
    let opened = tokio::fs::File::open(file).await.map_err(wrong)?;
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(wrong)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("{file} is empty"));
    }
    Ok(text.to_owned())
}

async fn url_in(file: &str) -> Result<Option<String>, String> {
    if file.is_empty() {
        return Ok(None);
    }
    Ok(Some(text_of(file).await?.trim().to_owned()))
}

/// AWS's own configuration, read when it is first needed.
async fn sdk(kept: &OnceCell<SdkConfig>, region: Option<String>) -> &SdkConfig {
    kept.get_or_init(async || {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        loader.load().await
    })
    .await
}

/// What RDS, and the rotation functions of AWS, write into a secret.
#[derive(Deserialize)]
struct Written {
    username: Option<String>,
    password: String,
}

/// A secret, as it was read last.
struct Secret {
    arn: String,
    clock: Clock,
    sdk: OnceCell<SdkConfig>,
    kept: Mutex<Option<(Login, u64)>>,
}

impl Secret {
    fn new(arn: &str, clock: Clock) -> Self {
        Self { arn: arn.to_owned(), clock, sdk: OnceCell::new(), kept: Mutex::default() }
    }

    /// The login in it: from memory, unless that was refused.
    async fn login(&self, refused: bool) -> Result<Login, String> {
        let mut kept = self.kept.lock().await;
        let now_ms = self.clock.now().mono_ms;
        if let Some((login, read_ms)) = &*kept
            && (!refused || now_ms.saturating_sub(*read_ms) < SECRET_AGAIN_MS)
        {
            return Ok(login.clone());
        }
        let login = self.read().await?;
        *kept = Some((login.clone(), now_ms));
        Ok(login)
    }

    async fn read(&self) -> Result<Login, String> {
        // Its region is the fourth part: arn:aws:secretsmanager:REGION:…
        let region = self.arn.split(':').nth(3).filter(|part| !part.is_empty());
        let sdk = sdk(&self.sdk, region.map(str::to_owned)).await;
        let timeouts = TimeoutConfig::builder().operation_timeout(SECRET).build();
        let config = aws_sdk_secretsmanager::config::Builder::from(sdk).timeout_config(timeouts);
        let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
        let read = client.get_secret_value().secret_id(&self.arn).send().await;
        let read = read.map_err(|error| {
            format!("the secret {} cannot be read: {}", self.arn, DisplayErrorContext(error))
        })?;
        let text = read
            .secret_string()
            .ok_or_else(|| format!("the secret {} holds bytes; it must be text", self.arn))?;
        of_text(text).ok_or_else(|| format!("the secret {} is JSON without `password`", self.arn))
    }
}

/// The password itself, or an object with `password` and perhaps `username`.
fn of_text(text: &str) -> Option<Login> {
    if !text.trim_start().starts_with('{') {
        let password = Some(text.trim_end_matches(['\r', '\n']).to_owned());
        return Some(Login { password, ..Login::default() });
    }
    let written: Written = serde_json::from_str(text).ok()?;
    Some(Login { url: None, user: written.username, password: Some(written.password) })
}

fn of_secret(arn: &str, url_file: String, clock: Clock) -> Logins {
    let way_out =
        format!("see that the secret {arn} (store.password_secret) holds the role's password");
    let secret = Arc::new(Secret::new(arn, clock));
    Logins::new(way_out, move |ask: LoginAsk| {
        let (secret, url_file) = (Arc::clone(&secret), url_file.clone());
        Box::pin(async move {
            let url = url_in(&url_file).await?;
            Ok(Login { url, ..secret.login(ask.refused).await? })
        })
    })
}

/// Tokens are made here, without asking anybody but the credential chain.
fn of_identity(region: &str, url_file: String, clock: Clock) -> Logins {
    let way_out = "see that the role may log in by IAM (grant rds_iam to ROLE), and that this \
                   process's identity is allowed rds-db:connect as that role (store.iam)";
    let loaded: Arc<OnceCell<SdkConfig>> = Arc::default();
    let region = region.to_owned();
    let logins = Logins::new(way_out.to_owned(), move |ask: LoginAsk| {
        let (loaded, url_file) = (Arc::clone(&loaded), url_file.clone());
        let (region, now_ms) = (region.clone(), clock.now().wall_ms);
        Box::pin(async move {
            let url = url_in(&url_file).await?;
            let chain = sdk(&loaded, None).await.credentials_provider();
            let credentials = credentials(chain).await?;
            let region = rds::region_of(&ask.host).unwrap_or(&region);
            let token = rds::token(&ask, region, credentials, now_ms)?;
            Ok(Login { url, user: None, password: Some(token) })
        })
    });
    // Who overhears a token may use it for a quarter of an hour.
    logins.verified()
}

async fn credentials(
    chain: Option<SharedCredentialsProvider>,
) -> Result<aws_credential_types::Credentials, String> {
    let chain = chain
        .ok_or("there are no AWS credentials; `quarrier doctor` says where they are looked for")?;
    chain
        .provide_credentials()
        .await
        .map_err(|error| format!("no AWS credentials: {}", DisplayErrorContext(&error)))
}
