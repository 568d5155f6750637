//! The region and the address that calls go to: where each comes from, whether somebody answers,
//! who that is, and whether its clock agrees with ours.
//! Must not know: credentials. The question is signed with a key that opens nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_bedrockruntime::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::{
    Builder, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use aws_sdk_bedrockruntime::error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use jiff::fmt::rfc2822::DateTimeParser;

use super::Subject;
use super::report::Report;
use super::words::causes;
use crate::cli::table::span;
use crate::simulator::SIMULATED_HEADER;

const REGION: &str = "region";
const ENDPOINT: &str = "endpoint";
const CLOCK: &str = "endpoint.clock";

/// A difference of the clocks that is worth a warning, in milliseconds.
const SKEW_WARNING_MS: i64 = 60_000;
/// A difference at which AWS refuses every signature, in milliseconds.
const SKEW_ERROR_MS: i64 = 300_000;

/// Says which region, and whether somebody named it.
pub(super) async fn region(subject: &Subject<'_>, report: &mut Report) {
    let region = &subject.settings.bedrock.region;
    let origin = subject.origin("bedrock.region");
    if !has_form_of_region(region) {
        report.error(
            REGION,
            format!("{region:?} ({origin}) has not the form of a region"),
            "set AWS_REGION or bedrock.region to one such as us-east-1 or eu-central-1",
        );
        return;
    }
    let profiles = subject.settings.bedrock.profiles_wanted().join(", ");
    let found = format!("{region} ({origin}); inference profiles: {profiles}");
    if origin == "default" && !subject.simulate {
        report.note(REGION, found, "nobody named a region: set AWS_REGION or bedrock.region");
    } else {
        report.ok(REGION, found);
    }
    let by_profile = aws_config::profile::region::ProfileFileRegionProvider::new();
    let theirs = aws_config::meta::region::ProvideRegion::region(&by_profile).await;
    if let Some(theirs) = theirs.map(|region| region.to_string()).filter(|theirs| theirs != region)
    {
        report.note(
            REGION,
            format!("the AWS profile's region is {theirs}, and is not used"),
            format!("set AWS_REGION={theirs} if that is the one you mean"),
        );
    }
}

/// `us-east-1`, `us-gov-west-1`.
fn has_form_of_region(region: &str) -> bool {
    let parts: Vec<&str> = region.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) => {
            words.len() >= 2
                && words.iter().all(word)
                && !number.is_empty()
                && number.chars().all(|c| c.is_ascii_digit())
        }
        None => false,
    }
}

/// What was sent where, and what came back.
#[derive(Debug, Default)]
struct Heard {
    address: Option<String>,
    status: Option<u16>,
    date: Option<String>,
    is_simulator: bool,
    sent_ms: Option<i64>,
    answered_ms: Option<i64>,
}

/// Listens to one call.
#[derive(Debug, Clone)]
struct Listener {
    heard: Arc<Mutex<Heard>>,
    clock: crate::clock::Clock,
}

impl Listener {
    fn note(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Intercept for Listener {
    fn name(&self) -> &'static str {
        "doctor"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now_ms = self.clock.now().wall_ms;
        let address = context.request().uri().to_owned();
        self.note(|heard| {
            heard.address = Some(address);
            heard.sent_ms = Some(now_ms);
        });
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now_ms = self.clock.now().wall_ms;
        let answer = context.response();
        let headers = answer.headers();
        self.note(|heard| {
            heard.status = Some(answer.status().as_u16());
            heard.date = headers.get("date").map(str::to_owned);
            heard.is_simulator = headers.get(SIMULATED_HEADER).is_some();
            heard.answered_ms = Some(now_ms);
        });
        Ok(())
    }
}

/// Asks the address for anything at all, and judges who answers.
pub(super) async fn check(subject: &Subject<'_>, sdk: &SdkConfig, report: &mut Report) {
    let configured = &subject.settings.bedrock.endpoint;
    if subject.simulate && configured.is_empty() {
        report.ok(ENDPOINT, "a simulator inside each command");
        return;
    }
    if subject.offline {
        report.note(ENDPOINT, "not asked", "leave out --offline");
        return;
    }
    let listener =
        Listener { heard: Arc::new(Mutex::new(Heard::default())), clock: subject.clock.clone() };
    // The question itself does not matter: any answer, a refusal too, tells all that is looked for.
    let nobody = Credentials::new("AKIAQUARRIERDOCTOR00", "opens nothing", None, None, "doctor");
    let mut builder = Builder::from(sdk)
        .region(Region::new(subject.settings.bedrock.region.clone()))
        .credentials_provider(nobody)
        // An API key of the environment would be sent before it.
        .auth_scheme_preference([AuthSchemeId::new("sigv4")])
        .retry_config(RetryConfig::disabled())
        .interceptor(listener.clone());
    if !configured.is_empty() {
        builder = builder.endpoint_url(configured);
    }
    let client = aws_sdk_bedrockruntime::Client::from_conf(builder.build());
    let began_ms = subject.clock.now().mono_ms;
    let asked = tokio::time::timeout(subject.patience, client.list_async_invokes().send()).await;
    let took_ms = subject.clock.now().mono_ms.saturating_sub(began_ms);
    let heard = std::mem::take(&mut *listener.heard.lock().unwrap_or_else(PoisonError::into_inner));
    let address = heard.address.as_deref().map_or_else(|| configured.clone(), origin_of);
    let origin = address_origin(subject);
    if heard.status.is_some() {
        let took = span(i64::try_from(took_ms).unwrap_or(i64::MAX));
        let found = format!("{address} ({origin}) answered in {took}, connecting included");
        answered(subject, &found, &heard, report);
        return;
    }
    let why = match asked {
        Ok(Err(error)) => causes(&error),
        Ok(Ok(_)) => "an answer without a head".to_owned(),
        Err(_) => format!("no answer in {} s", subject.patience.as_secs()),
    };
    let (found, remedy) = diagnose(subject, &address, &why).await;
    report.error(ENDPOINT, format!("{address} ({origin}): {found}"), remedy);
}

/// Who answered, and by which clock.
fn answered(subject: &Subject<'_>, found: &str, heard: &Heard, report: &mut Report) {
    match (subject.simulate, heard.is_simulator) {
        (false, false) => report.ok(ENDPOINT, found),
        (true, true) => report.ok(ENDPOINT, format!("{found}; it is a simulator")),
        (false, true) => report.error(
            ENDPOINT,
            format!("{found}; it is a simulator, and the work is real"),
            "add --simulate, or clear bedrock.endpoint and AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        ),
        (true, false) => report.error(
            ENDPOINT,
            format!("{found}; it is no simulator, and the work is simulated"),
            "start `quarrier simulate` there, or leave out --endpoint",
        ),
    }
    let date =
        heard.date.as_deref().and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    let (Some(date), Some(sent_ms), Some(heard_ms)) = (date, heard.sent_ms, heard.answered_ms)
    else {
        report.note(CLOCK, "the answer has no date to compare clocks by", "nothing");
        return;
    };
    skew(date.as_millisecond(), sent_ms, heard_ms, report);
}

/// Compares the far clock with ours. It is told in whole seconds, and at some moment between
/// sending and hearing: what that explains is no difference.
fn skew(theirs_ms: i64, sent_ms: i64, heard_ms: i64, report: &mut Report) {
    let (early, late) = (sent_ms.saturating_sub(1_000), heard_ms);
    let skew_ms = if theirs_ms < early {
        theirs_ms.saturating_sub(early)
    } else {
        theirs_ms.saturating_sub(late).max(0)
    };
    let side = if skew_ms < 0 { "ahead of" } else { "behind" };
    let found = format!("our clock is {} {side} the far one", span(skew_ms.saturating_abs()));
    let remedy = "set the clock by NTP (`timedatectl set-ntp true`); in a container, on its host";
    match skew_ms.saturating_abs() {
        0..1_000 => report.ok(CLOCK, "agrees with ours to the second"),
        1_000..=SKEW_WARNING_MS => report.ok(CLOCK, found),
        ..=SKEW_ERROR_MS => report.warning(CLOCK, found, remedy),
        _ => report.error(
            CLOCK,
            format!("{found}: AWS refuses signatures that are more than 5 min off"),
            remedy,
        ),
    }
}

/// Where the address comes from.
fn address_origin(subject: &Subject<'_>) -> String {
    if !subject.settings.bedrock.endpoint.is_empty() {
        return format!("bedrock.endpoint, {}", subject.origin("bedrock.endpoint"));
    }
    let set = ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find(|name| subject.variable(name).is_some());
    set.map_or_else(|| "AWS's own".to_owned(), |name| format!("environment {name}"))
}

/// Which step towards the address fails: its name, its port, or what is spoken there.
async fn diagnose(subject: &Subject<'_>, address: &str, why: &str) -> (String, String) {
    let Some((host, port)) = host_and_port(address) else {
        return (why.to_owned(), "write it as http://HOST:PORT or https://HOST".to_owned());
    };
    let patience = subject.patience.min(Duration::from_secs(3));
    let looked =
        tokio::time::timeout(patience, tokio::net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<_> = match looked {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let Some(first) = addresses.first() else {
        return (
            format!("the name {host} cannot be resolved"),
            "look at the region's spelling, the DNS server, and HTTPS_PROXY; a private network needs \
             a VPC endpoint for bedrock-runtime"
                .to_owned(),
        );
    };
    match tokio::time::timeout(patience, tokio::net::TcpStream::connect(first)).await {
        Ok(Ok(_)) => (
            why.to_owned(),
            "somebody listens there and does not speak as expected: look at http or https, at a proxy \
             that breaks TLS, and at the system's certificates"
                .to_owned(),
        ),
        Ok(Err(error)) => (
            format!("cannot connect to {first}: {error}"),
            "nobody listens there: look at the port, the firewall, and whether the server runs".to_owned(),
        ),
        Err(_) => (
            format!("no connection to {first} in {} s", patience.as_secs()),
            "a firewall or a missing route drops the packets: let port 443 out, or use a VPC endpoint"
                .to_owned(),
        ),
    }
}

/// `https://host` of a whole address.
fn origin_of(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    // An address may carry a password before its host.
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}")
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://")?;
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = rest.split(['/', '?']).next().filter(|host| !host.is_empty())?;
    if let Some((name, port)) = host.rsplit_once(':').filter(|(name, _)| !name.ends_with(':')) {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        return Some((name.to_owned(), port.parse().ok()?));
    }
    Some((host.to_owned(), usual))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Level;

    #[test]
    fn a_region_has_a_form() {
        for good in ["us-east-1", "us-gov-west-1", "ap-northeast-3"] {
            assert!(has_form_of_region(good), "{good}");
        }
        for bad in ["us-east", "useast1", "us-east-1a", "US-EAST-1", "", "us--1"] {
            assert!(!has_form_of_region(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_are_read_and_passwords_are_not_shown() {
        assert_eq!(origin_of("https://user:secret@host:1/async-invoke?x"), "https://host:1");
        assert_eq!(host_and_port("http://127.0.0.1:8788"), Some(("127.0.0.1".to_owned(), 8788)));
        assert_eq!(host_and_port("https://host/x"), Some(("host".to_owned(), 443)));
        assert_eq!(host_and_port("http://[::1]:80"), Some(("::1".to_owned(), 80)));
        assert_eq!(host_and_port("host"), None);
    }

    #[test]
    fn clocks_may_differ_by_a_minute_and_never_by_five() {
        let level = |theirs: i64| {
            let mut report = Report::default();
            skew(theirs, 1_000_000, 1_000_200, &mut report);
            report.findings[0].level
        };
        assert_eq!(level(999_000), Level::Ok, "whole seconds are rounded down");
        assert_eq!(level(1_000_200 + 60_000), Level::Ok);
        assert_eq!(level(1_000_200 + 60_001), Level::Warning);
        assert_eq!(level(999_000 - 60_001), Level::Warning);
        assert_eq!(level(1_000_200 + 300_001), Level::Error);
        assert_eq!(level(999_000 - 300_001), Level::Error);
    }
}
