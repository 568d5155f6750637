//! The credentials: which of the chain's providers answered, until when they hold, whose they are.
//! Must not know: secrets beyond the moment. An access key is shown by its ends, nothing else ever.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::error::ProvideErrorMetadata as _;

use super::Subject;
use super::report::{Level, Report};
use super::words::{causes, moment};
use crate::cli::table::span;

const CHECK: &str = "credentials";
const IDENTITY: &str = "credentials.identity";

/// Credentials that end sooner than this are worth a word, in milliseconds.
const SOON_MS: i64 = 900_000;

/// How keys begin that hold only together with a session token.
const TEMPORARY_KEY: &str = "ASIA";

/// What can sign calls to services other than Bedrock's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Keys: every service can be asked.
    Keys,
    /// A Bedrock API key alone.
    ApiKey,
    /// Nothing that holds.
    Nothing,
}

/// Asks the chain, and says what answered.
pub(super) async fn check(subject: &Subject<'_>, sdk: &SdkConfig, report: &mut Report) -> Found {
    if subject.simulate {
        report.ok(CHECK, "none are needed: the work is simulated");
        return Found::Nothing;
    }
    let has_key = subject.variable("AWS_BEARER_TOKEN_BEDROCK").is_some();
    if has_key {
        report.ok(
            CHECK,
            "a Bedrock API key, from AWS_BEARER_TOKEN_BEDROCK; it is used before all others, and a \
             running worker keeps the one that it started with",
        );
    }
    for (found, remedy) in half_set(subject.env) {
        report.error(CHECK, found, remedy);
    }
    if subject.offline {
        let set = subject.variable("AWS_ACCESS_KEY_ID").map(masked);
        match set {
            Some(key) => report.ok(CHECK, format!("key {key}, from the environment")),
            None if has_key => {}
            None => report.note(
                CHECK,
                "not looked for: without the environment's keys the chain may ask the network",
                "leave out --offline",
            ),
        }
        return if has_key { Found::ApiKey } else { Found::Nothing };
    }
    let Some(chain) = sdk.credentials_provider() else {
        report.error(CHECK, "the chain is empty", NONE_REMEDY);
        return Found::Nothing;
    };
    match tokio::time::timeout(subject.patience, chain.provide_credentials()).await {
        Ok(Ok(credentials)) => describe(subject, &credentials, report),
        // An API key needs no chain; only the account cannot be told then.
        Ok(Err(_)) | Err(_) if has_key => Found::ApiKey,
        Ok(Err(error)) => {
            let (found, remedy) = missing(&error, subject);
            report.error(CHECK, found, remedy);
            Found::Nothing
        }
        Err(_) => {
            report.error(
                CHECK,
                format!("the chain gave no answer in {} s", subject.patience.as_secs()),
                "look at the profile's credential_process or SSO session; \
                 AWS_EC2_METADATA_DISABLED=true keeps the chain from asking for an instance's role",
            );
            Found::Nothing
        }
    }
}

fn describe(subject: &Subject<'_>, credentials: &Credentials, report: &mut Report) -> Found {
    let whose = source(credentials, &profile(subject.env));
    let key = masked(credentials.access_key_id());
    let now_ms = subject.clock.now().wall_ms;
    let expiry_ms = credentials
        .expiry()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_millis()).ok());
    let Some(expiry_ms) = expiry_ms else {
        report.ok(CHECK, format!("key {key}, from {whose}; no end is known"));
        return Found::Keys;
    };
    let left_ms = expiry_ms.saturating_sub(now_ms);
    let until = moment(expiry_ms);
    if left_ms <= 0 {
        report.error(
            CHECK,
            format!("key {key}, from {whose}, expired at {until}"),
            "sign in again (`aws sso login`), or have the source of the credentials hand out fresh \
             ones; then run this again",
        );
        return Found::Nothing;
    }
    let found = format!("key {key}, from {whose}, until {until} ({} left)", span(left_ms));
    if left_ms < SOON_MS {
        report.note(
            CHECK,
            found,
            "they are renewed if their source can; a session that cannot ends with them",
        );
    } else {
        report.ok(CHECK, found);
    }
    Found::Keys
}

/// Asks whose the credentials are.
pub(super) async fn identity(subject: &Subject<'_>, sdk: &SdkConfig, report: &mut Report) {
    let config =
        aws_sdk_sts::config::Builder::from(sdk).retry_config(RetryConfig::disabled()).build();
    let client = aws_sdk_sts::Client::from_conf(config);
    let asked = client.get_caller_identity().send();
    match tokio::time::timeout(subject.patience, asked).await {
        Ok(Ok(caller)) => report.ok(
            IDENTITY,
            format!(
                "account {}, {}",
                caller.account().unwrap_or("unknown"),
                caller.arn().unwrap_or("no ARN")
            ),
        ),
        Ok(Err(error)) => {
            let code = error.code().unwrap_or("no answer").to_owned();
            let (level, remedy) = refusal(&code);
            let said = error.message().map_or_else(|| causes(&error), str::to_owned);
            report.add(IDENTITY, level, format!("STS GetCallerIdentity: {code}: {said}"), remedy);
        }
        Err(_) => report.note(
            IDENTITY,
            format!("STS did not answer in {} s", subject.patience.as_secs()),
            "nothing, if the network lets only Bedrock through; else look at the proxy",
        ),
    }
}

/// What STS's refusal says of the credentials themselves.
fn refusal(code: &str) -> (Level, &'static str) {
    match code {
        "ExpiredToken" | "ExpiredTokenException" => (
            Level::Error,
            "the session has expired: sign in again (`aws sso login`), or set fresh keys",
        ),
        "InvalidClientTokenId" | "UnrecognizedClientException" => (
            Level::Error,
            "AWS does not know this access key: it was deleted or deactivated, or belongs to another \
             partition; set another one",
        ),
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => (
            Level::Error,
            "the secret key does not belong to the access key, or the clock is off: copy both again, \
             and look at endpoint.clock",
        ),
        _ => (
            Level::Note,
            "nothing: calls do not need STS; it only tells whose credentials they are",
        ),
    }
}

const NONE_REMEDY: &str = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a \
                           Bedrock API key in AWS_BEARER_TOKEN_BEDROCK; `aws sso login` for a \
                           profile with SSO; or try without: --simulate";

/// Why the chain has none, and what to do.
fn missing(error: &CredentialsError, subject: &Subject<'_>) -> (String, String) {
    let said = causes(error);
    let profile = profile(subject.env);
    match error {
        CredentialsError::CredentialsNotLoaded(_) if subject.variable("AWS_PROFILE").is_some() => (
            format!(
                "none found: AWS_PROFILE names the profile {profile}, which is not in ~/.aws/config \
                 and ~/.aws/credentials, or holds none"
            ),
            format!("`aws configure list-profiles` shows them; else: {NONE_REMEDY}"),
        ),
        CredentialsError::CredentialsNotLoaded(_) => (
            "none found: not in the environment, nor in a profile, a web identity, a container or \
             an instance"
                .to_owned(),
            NONE_REMEDY.to_owned(),
        ),
        CredentialsError::InvalidConfiguration(_) => (
            format!("profile {profile} cannot be used: {said}"),
            format!(
                "mend [{profile}] in ~/.aws/config, or name another with AWS_PROFILE; with SSO: \
                 `aws sso login --profile {profile}`"
            ),
        ),
        _ => (
            format!("the source of the credentials failed: {said}"),
            format!(
                "with SSO: `aws sso login --profile {profile}`; with credential_process: run its \
                 command by hand; with a role: look at its trust policy"
            ),
        ),
    }
}

/// Keys that are there by half, with what to do.
fn half_set(env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let get = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let key = get("AWS_ACCESS_KEY_ID");
    let secret = get("AWS_SECRET_ACCESS_KEY");
    let mut found = Vec::new();
    if key.is_some() != secret.is_some() {
        let (there, absent) = if key.is_some() {
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        } else {
            ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
        };
        found.push((
            format!("{there} is set and {absent} is not: the environment's keys are not used"),
            format!("set {absent} too, or unset {there}"),
        ));
    }
    let temporary = key.is_some_and(|key| key.starts_with(TEMPORARY_KEY));
    if temporary && secret.is_some() && get("AWS_SESSION_TOKEN").is_none() {
        found.push((
            "AWS_ACCESS_KEY_ID is a temporary key, and AWS_SESSION_TOKEN is not set: every call will \
             be refused"
                .to_owned(),
            "set AWS_SESSION_TOKEN, which was handed out together with the key".to_owned(),
        ));
    }
    found
}

fn profile(env: &BTreeMap<String, String>) -> String {
    env.get("AWS_PROFILE")
        .filter(|name| !name.is_empty())
        .map_or("default", String::as_str)
        .to_owned()
}

/// Which provider of the chain answered, by the marks that providers leave; the last one made them.
fn source(credentials: &Credentials, profile: &str) -> String {
    let none = Vec::new();
    let marks = credentials.get_property::<Vec<Feature>>().unwrap_or(&none);
    let has = |wanted: &[Feature]| marks.iter().any(|mark| wanted.contains(mark));
    let ways: [(&[Feature], String); 9] = [
        (&[Feature::CredentialsEnvVars], "the environment".to_owned()),
        (
            &[Feature::CredentialsProfileSso, Feature::CredentialsSso],
            format!("profile {profile}, by SSO"),
        ),
        (
            &[Feature::CredentialsProfileProcess, Feature::CredentialsProcess],
            format!("profile {profile}, by its credential_process"),
        ),
        (
            &[
                Feature::CredentialsEnvVarsStsWebIdToken,
                Feature::CredentialsProfileStsWebIdToken,
                Feature::CredentialsStsAssumeRoleWebId,
            ],
            "a web identity (the service account of a pod)".to_owned(),
        ),
        (
            &[Feature::CredentialsProfileLogin, Feature::CredentialsLogin],
            format!("profile {profile}, by `aws login`"),
        ),
        (&[Feature::CredentialsStsAssumeRole], format!("profile {profile}, by an assumed role")),
        (&[Feature::CredentialsHttp], "the container (ECS task or EKS pod identity)".to_owned()),
        (&[Feature::CredentialsImds], "the instance's role (EC2 metadata)".to_owned()),
        (&[Feature::CredentialsProfile], format!("profile {profile}")),
    ];
    let found = ways.into_iter().find(|(wanted, _)| has(wanted));
    found.map_or_else(|| format!("profile {profile} or another part of the chain"), |(_, way)| way)
}

/// `AKIA…WXYZ`: enough to find it in the console, useless for anything else.
fn masked(key: &str) -> String {
    const ENDS: usize = 4;
    let letters: Vec<char> = key.chars().collect();
    let (Some(first), Some(last)) =
        (letters.get(..ENDS), letters.len().checked_sub(ENDS).and_then(|at| letters.get(at..)))
    else {
        return "…".to_owned();
    };
    // Short ones would be shown whole.
    if letters.len() < ENDS * 3 {
        return "…".to_owned();
    }
    format!("{}…{}", first.iter().collect::<String>(), last.iter().collect::<String>())
}

/// The configuration of every AWS client here, with deadlines.
pub(super) async fn sdk(subject: &Subject<'_>) -> SdkConfig {
    let region = aws_config::Region::new(subject.settings.bedrock.region.clone());
    let timeouts = aws_config::timeout::TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(subject.settings.bedrock.connect_timeout_ms))
        .operation_timeout(subject.patience)
        .build();
    aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
        .region(region)
        .timeout_config(timeouts)
        .load()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_by_its_ends_and_a_short_one_not_at_all() {
        assert_eq!(masked("AKIAIOSFODNN7EXAMPLE"), "AKIA…MPLE");
        assert_eq!(masked("AKIDSHORT"), "…");
        assert_eq!(masked(""), "…");
    }

    #[test]
    fn keys_that_are_there_by_half_are_found() {
        let env = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            half_set(&pairs.iter().map(owned).collect())
        };
        assert_eq!(env(&[]), []);
        assert!(env(&[("AWS_ACCESS_KEY_ID", "AKIA")])[0].1.contains("AWS_SECRET_ACCESS_KEY too"));
        assert!(env(&[("AWS_SECRET_ACCESS_KEY", "s")])[0].1.contains("AWS_ACCESS_KEY_ID too"));
        let temporary = [("AWS_ACCESS_KEY_ID", "ASIA1"), ("AWS_SECRET_ACCESS_KEY", "s")];
        assert!(env(&temporary)[0].0.contains("AWS_SESSION_TOKEN"));
    }

    #[test]
    fn the_provider_is_known_by_its_marks() {
        let with = |marks: &[Feature]| {
            let mut keys = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test");
            keys.set_property(marks.to_vec());
            source(&keys, "work")
        };
        assert_eq!(with(&[Feature::CredentialsEnvVars]), "the environment");
        assert_eq!(with(&[Feature::CredentialsProfile]), "profile work");
        let sso = [Feature::CredentialsProfileSso, Feature::CredentialsSso];
        assert_eq!(with(&sso), "profile work, by SSO");
        let process = [Feature::CredentialsProfileProcess, Feature::CredentialsProcess];
        assert_eq!(with(&process), "profile work, by its credential_process");
        let role = [Feature::CredentialsProfileSourceProfile, Feature::CredentialsStsAssumeRole];
        assert_eq!(with(&role), "profile work, by an assumed role");
        assert!(with(&[Feature::CredentialsStsAssumeRoleWebId]).contains("web identity"));
        assert!(with(&[Feature::CredentialsHttp]).contains("container"));
        assert!(with(&[Feature::CredentialsImds]).contains("instance"));
        assert!(with(&[]).contains("another part of the chain"));
    }

    #[test]
    fn only_a_refusal_of_the_keys_themselves_is_an_error() {
        assert_eq!(refusal("ExpiredToken").0, Level::Error);
        assert_eq!(refusal("InvalidClientTokenId").0, Level::Error);
        assert_eq!(refusal("SignatureDoesNotMatch").0, Level::Error);
        assert_eq!(refusal("AccessDenied").0, Level::Note);
        assert_eq!(refusal("no answer").0, Level::Note);
    }
}
