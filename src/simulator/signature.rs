//! Whether a call is signed, in the service's words where it is not. The signature's value is not
//! verified: the simulator knows no secret. Must not know: models, bodies.

use axum::http::{HeaderMap, header};

use super::request::Refusal;

/// The service that a signature's scope must name.
const SERVICE: &str = "bedrock";

/// Takes a bearer token that is not empty, or a well-formed AWS signature for this service.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::AUTHORIZATION).filter(|value| !value.is_empty());
    let Some(given) = given else {
        return refuse(
            403,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token".to_owned(),
        );
    };
    let given = given.to_str().unwrap_or_default().trim();
    let (scheme, rest) = given.split_once(' ').unwrap_or((given, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        if !rest.trim().is_empty() {
            return Ok(());
        }
        return refuse(
            403,
            "AccessDeniedException",
            "Authentication failed: Please make sure your API Key is valid.".to_owned(),
        );
    }
    let parts = Parts::of(scheme, rest);
    let date = header_text(headers, "x-amz-date");
    let flaws = parts.flaws(date.is_some() || headers.contains_key(header::DATE));
    if !flaws.is_empty() {
        return refuse(400, "IncompleteSignatureException", flaws);
    }
    let flaws = parts.scope_flaws(date);
    if flaws.is_empty() {
        return Ok(());
    }
    refuse(403, "InvalidSignatureException", flaws)
}

fn refuse(status: u16, code: &'static str, message: String) -> Result<(), Refusal> {
    Err(Refusal { status, code, message })
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The parts of an `Authorization` header: `ALGORITHM Credential=…, SignedHeaders=…, Signature=…`.
#[derive(Debug, Default)]
struct Parts<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
    signature: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(scheme: &str, rest: &'a str) -> Self {
        let mut parts = Self::default();
        if !scheme.starts_with("AWS4-") {
            return parts;
        }
        for part in rest.split(',') {
            match part.trim().split_once('=') {
                Some(("Credential", value)) => parts.credential = Some(value),
                Some(("SignedHeaders", value)) => parts.signed_headers = Some(value),
                Some(("Signature", value)) => parts.signature = Some(value),
                _ => {}
            }
        }
        parts
    }

    /// What is missing, one sentence each.
    fn flaws(&self, dated: bool) -> String {
        let mut flaws = Vec::new();
        for (name, part) in [
            ("Credential", self.credential),
            ("Signature", self.signature),
            ("SignedHeaders", self.signed_headers),
        ] {
            if part.is_none_or(str::is_empty) {
                flaws.push(format!("Authorization header requires '{name}' parameter."));
            }
        }
        if !dated {
            flaws.push(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
                 header."
                    .to_owned(),
            );
        }
        let credential = self.credential.unwrap_or_default();
        if flaws.is_empty() && credential.split('/').count() < 5 {
            flaws.push(format!(
                "Credential must have at least 5 slash-separated elements, e.g. \
                 keyid/date/region/service/term, got '{credential}'"
            ));
        }
        flaws.join(" ")
    }

    /// What is wrong with the scope, one sentence each.
    fn scope_flaws(&self, date: Option<&str>) -> String {
        let mut flaws = Vec::new();
        // A key's id may hold slashes; the scope is the last four parts.
        let mut scope = self.credential.unwrap_or_default().rsplit('/');
        let (term, service) = (scope.next().unwrap_or_default(), scope.next().unwrap_or_default());
        let (region, day) = (scope.next().unwrap_or_default(), scope.next().unwrap_or_default());
        if region.is_empty() {
            flaws.push("Credential should be scoped to a valid region.".to_owned());
        }
        if service != SERVICE {
            flaws.push(format!("Credential should be scoped to correct service: '{SERVICE}'."));
        }
        if term != "aws4_request" {
            flaws.push(format!(
                "Credential should be scoped with a valid terminator: 'aws4_request', not '{term}'."
            ));
        }
        if let Some(date) = date.filter(|date| date.get(..8) != Some(day)) {
            flaws.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{day}' != '{}', from '{date}'.",
                date.get(..8).unwrap_or(date)
            ));
        }
        let signed = self.signed_headers.unwrap_or_default();
        if !signed.split(';').any(|name| matches!(name, "host" | ":authority")) {
            flaws.push(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
                    .to_owned(),
            );
        }
        flaws.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AKID/20261122/us-east-1/bedrock/aws4_request, \
                        SignedHeaders=content-type;host;x-amz-date, Signature=0f";

    fn refused(authorization: Option<&str>, date: Option<&str>) -> Option<(u16, String, String)> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        if let Some(value) = date {
            headers.insert("x-amz-date", value.parse().unwrap());
        }
        check(&headers).err().map(|it| (it.status, it.code.to_owned(), it.message))
    }

    #[test]
    fn a_signature_or_a_bearer_token_is_taken() {
        assert_eq!(refused(Some(GOOD), Some("20261122T101112Z")), None);
        assert_eq!(refused(Some("Bearer key-1"), None), None);
    }

    #[test]
    fn what_is_not_signed_is_refused_in_the_services_words() {
        let dated = Some("20261122T101112Z");
        let changed = |from: &str, to: &str| Some(GOOD.replace(from, to));
        for (authorization, date, status, code, text) in [
            (None, dated, 403, "MissingAuthenticationTokenException", "Missing Authentication"),
            (Some("Bearer ".to_owned()), dated, 403, "AccessDeniedException", "API Key"),
            (Some("Basic YTpi".to_owned()), dated, 400, "IncompleteSignature", "'Credential'"),
            (Some(GOOD.to_owned()), None, 400, "IncompleteSignature", "'X-Amz-Date'"),
            (changed("Signature=0f", ""), dated, 400, "IncompleteSignature", "'Signature'"),
            (changed("/aws4_request", ""), dated, 400, "IncompleteSignature", "at least 5"),
            (changed("/bedrock/", "/s3/"), dated, 403, "InvalidSignature", "service: 'bedrock'"),
            (changed("aws4_request", "x"), dated, 403, "InvalidSignature", "not 'x'"),
            (changed("20261122", "20261121"), dated, 403, "InvalidSignature", "!= '20261122'"),
            (changed("host;", ""), dated, 403, "InvalidSignature", "'Host'"),
        ] {
            let (got_status, got_code, got_text) =
                refused(authorization.as_deref(), date).expect(text);
            assert_eq!(got_status, status, "{text}");
            assert!(got_code.starts_with(code), "{got_code} {text}");
            assert!(got_text.contains(text), "{got_text}");
        }
    }
}
