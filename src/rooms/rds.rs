//! The token that RDS takes for a password: a signed address that is good for 15 minutes to begin a
//! connection with.
//! Must not know: where the credentials come from.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;

use crate::store::postgres::LoginAsk;

/// AWS takes no token that is good for longer.
const VALID: Duration = Duration::from_mins(15);

/// The region in the name of an RDS host: NAME.ID.REGION.rds.amazonaws.com.
pub(super) fn region_of(host: &str) -> Option<&str> {
    let (before, after) = host.split_once(".rds.amazonaws.com")?;
    (after.is_empty() || after == ".cn").then_some(())?;
    before.rsplit('.').next()
}

/// Signs that this identity wants to log in as this role at this server.
pub(super) fn token(
    ask: &LoginAsk,
    region: &str,
    credentials: Credentials,
    now_ms: i64,
) -> Result<String, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the login cannot be signed: {error}");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID);
    let identity = credentials.into();
    let since = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(UNIX_EPOCH + since)
        .settings(settings)
        .build()
        .map_err(|error| wrong(&error))?;
    let server = format!("{}:{}", ask.host, ask.port);
    let asked = format!("{server}/?Action=connect&DBUser={}", encoded(&ask.user));
    let url = format!("https://{asked}");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty())
        .map_err(|error| wrong(&error))?;
    let signed = sign(request, &params.into()).map_err(|error| wrong(&error))?;
    let signature = signed.output().params().iter();
    let signature = signature.map(|(name, value)| format!("&{name}={}", encoded(value)));
    Ok(asked + &signature.collect::<String>())
}

/// As signatures want it: all but letters, digits and -._~ by their bytes.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            let halves = [byte >> 4, byte & 15].map(u32::from);
            let digits = halves.into_iter().filter_map(|half| char::from_digit(half, 16));
            out.extend(digits.map(|digit| digit.to_ascii_uppercase()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    fn ask(user: &str) -> LoginAsk {
        let host = "jobs.abc123.eu-west-1.rds.amazonaws.com".to_owned();
        LoginAsk { host, port: 5432, user: user.to_owned(), refused: false }
    }

    const NOW_MS: i64 = 1_795_300_000_000;
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn signed(user: &str, session: Option<&str>) -> String {
        let session = session.map(str::to_owned);
        let credentials = Credentials::new("AKIDEXAMPLE", SECRET, session, None, "test");
        token(&ask(user), "eu-west-1", credentials, NOW_MS).unwrap()
    }

    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(key);
        let pad = |with: u8| block.map(|byte| byte ^ with);
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }

    fn hex(bytes: &[u8]) -> String {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }

    /// AWS's description of version 4, worked through by hand.
    fn signature(query: &str, host: &str, (date, time): (&str, &str)) -> String {
        let nothing = hex(&Sha256::digest(b""));
        let canonical = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{nothing}");
        let scope = format!("{date}/eu-west-1/rds-db/aws4_request");
        let hash = hex(&Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let mut key = format!("AWS4{SECRET}").into_bytes();
        for part in [date, "eu-west-1", "rds-db", "aws4_request"] {
            key = hmac(&key, part);
        }
        hex(&hmac(&key, &text))
    }

    #[test]
    fn a_token_is_signed_as_aws_describes_it() {
        for (user, session) in [("worker", None), ("a+b/c", Some("to/ken==+"))] {
            let token = signed(user, session);
            let (server, query) = token.split_once("/?").unwrap();
            assert_eq!(server, "jobs.abc123.eu-west-1.rds.amazonaws.com:5432");
            let (mut parts, theirs): (Vec<&str>, Vec<&str>) =
                query.split('&').partition(|part| !part.starts_with("X-Amz-Signature="));
            assert!(parts[0] == "Action=connect" && parts[1].starts_with("DBUser="), "{token}");
            assert!(parts.contains(&"X-Amz-Expires=900"), "{token}");
            assert!(parts.contains(&"X-Amz-SignedHeaders=host"), "{token}");
            let time = parts.iter().find_map(|part| part.strip_prefix("X-Amz-Date=")).unwrap();
            parts.sort_unstable();
            let expected = signature(&parts.join("&"), server, (&time[..8], time));
            assert_eq!(theirs, [format!("X-Amz-Signature={expected}")], "{token}");
        }
    }

    #[test]
    fn a_tokens_time_is_the_one_given() {
        let at = |token: &str| token.contains("X-Amz-Date=20261121T222640Z");
        assert!(at(&signed("worker", None)), "{}", signed("worker", None));
    }

    #[test]
    fn the_region_stands_in_the_hosts_name() {
        assert_eq!(region_of("jobs.abc123.eu-west-1.rds.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("a.proxy-x.us-gov-west-1.rds.amazonaws.com"), Some("us-gov-west-1"));
        assert_eq!(region_of("jobs.abc.cn-north-1.rds.amazonaws.com.cn"), Some("cn-north-1"));
        assert_eq!(region_of("db.example"), None);
        assert_eq!(region_of("db.rds.amazonaws.com.example"), None);
    }
}
