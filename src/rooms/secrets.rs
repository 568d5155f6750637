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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex as Kept;

    use aws_sdk_secretsmanager::config::{Credentials, SharedCredentialsProvider};
    use axum::extract::State;
    use axum::http::HeaderMap;
    use axum::{Json, Router, routing::post};
    use serde_json::{Value, json};

    use crate::config::{LoadArgs, load};

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-1-AbCdEf";

    /// Secrets Manager as far as one call goes: what it says, and how often it was asked.
    #[derive(Clone, Default)]
    struct Service(Arc<Kept<(Value, u32)>>);

    impl Service {
        fn says(&self, text: &str) {
            self.0.lock().unwrap().0 = json!(text);
        }

        fn asked(&self) -> u32 {
            self.0.lock().unwrap().1
        }

        #[expect(
            clippy::needless_pass_by_value,
            reason = "axum hands over what it has taken apart"
        )]
        fn answer(
            State(Self(kept)): State<Self>,
            headers: HeaderMap,
            body: String,
        ) -> std::future::Ready<Json<Value>> {
            assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
            assert!(
                headers["authorization"].to_str().unwrap().contains("/eu-west-1/"),
                "its region"
            );
            let asked: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(asked["SecretId"], ARN);
            let mut kept = kept.lock().unwrap();
            kept.1 += 1;
            std::future::ready(Json(json!({ "ARN": ARN, "SecretString": kept.0 })))
        }

        /// A secret that is kept here.
        async fn serve(&self, clock: Clock) -> Secret {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let router = Router::new().route("/", post(Self::answer)).with_state(self.clone());
            tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
            let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
            let sdk = SdkConfig::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(Region::new("eu-west-1"))
                .credentials_provider(SharedCredentialsProvider::new(keys))
                .endpoint_url(endpoint)
                .build();
            let secret = Secret::new(ARN, clock);
            secret.sdk.set(sdk).unwrap();
            secret
        }
    }

    fn shown(login: Result<Login, String>) -> (String, String) {
        let login = login.unwrap();
        (login.user.unwrap_or_default(), login.password.unwrap_or_default())
    }

    fn pair(user: &str, password: &str) -> (String, String) {
        (user.to_owned(), password.to_owned())
    }

    #[tokio::test]
    async fn a_secret_is_read_once_and_again_when_the_server_refuses_it() {
        let (clock, hand) = Clock::manual();
        let service = Service::default();
        service.says(r#"{"engine":"postgres","username":"app","password":"one","port":5432}"#);
        let secret = service.serve(clock).await;
        hand.advance(60_000);
        assert_eq!(shown(secret.login(false).await), pair("app", "one"));
        service.says(r#"{"username":"app_clone","password":"two"}"#);
        hand.advance(60_000);
        assert_eq!(shown(secret.login(false).await), pair("app", "one"));
        assert_eq!(shown(secret.login(true).await), pair("app_clone", "two"));
        assert_eq!(service.asked(), 2);
        assert_eq!(shown(secret.login(true).await), pair("app_clone", "two"));
        assert_eq!(service.asked(), 2, "a password that is wrong for good makes no storm of calls");
    }

    #[tokio::test]
    async fn a_secret_may_be_the_password_alone_and_anything_else_is_refused_without_showing_it() {
        let service = Service::default();
        let secret = service.serve(Clock::real()).await;
        service.says("one\n");
        assert_eq!(shown(secret.login(true).await), pair("", "one"));
        let secret = service.serve(Clock::real()).await;
        service.says(r#"{"pass":"hidden"}"#);
        let error = secret.login(true).await.err().unwrap();
        assert!(error.contains("without `password`") && !error.contains("hidden"), "{error}");
    }

    fn settings(file: &str) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("quarrier.toml"), file).unwrap();
        load(&LoadArgs { dir: dir.path().to_owned(), ..LoadArgs::default() }).unwrap().settings
    }

    #[test]
    fn an_address_with_a_password_and_another_source_contradict_each_other() {
        let of = |file: &str, url: &str| logins(&settings(file), url, &Clock::real());
        let error =
            of("[store]\niam = true", "postgres://me:secret@db/jobs").unwrap_err().to_string();
        assert!(error.contains("store.iam") && !error.contains("secret@"), "{error}");
        assert!(of("[store]\niam = true", "postgres://me@db/jobs").unwrap().is_some());
        assert!(of("", "postgres://me:secret@db/jobs").unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_is_read_without_the_end_of_its_line_and_must_hold_something() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        let text = async || text_of(&file.display().to_string()).await;
        assert!(text().await.unwrap_err().contains("cannot be read"));
        std::fs::write(&file, "two words \r\n").unwrap();
        assert_eq!(text().await.unwrap(), "two words ");
        std::fs::write(&file, "\n").unwrap();
        assert!(text().await.unwrap_err().ends_with("is empty"));
    }
}
