//! What names a queue: a URL, an ARN or a name, and the region that it says.
//! Must not know: the SDK, requests.

/// The service's own address of the first region, from before regions were in it.
const OLD_HOST: &str = "queue.amazonaws.com";
const OLD_REGION: &str = "us-east-1";

/// The longest name of a queue, in characters.
const NAME_CHARS_MAX: usize = 80;

/// How the name of a queue that keeps an order ends.
const FIFO: &str = ".fifo";

/// How a queue is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// By its URL.
    Url,
    /// By its ARN, taken apart.
    Arn {
        /// Its region.
        region: &'a str,
        /// The account that has it.
        account: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// By its name, in the own region and account.
    Bare,
}

/// Reads what names a queue; or why it names none.
pub(super) fn read(text: &str) -> Result<Name<'_>, &'static str> {
    if text.contains("://") {
        let no_address = "its URL must begin with https:// or http:// and a host";
        return if is_http(text) { Ok(Name::Url) } else { Err(no_address) };
    }
    if text.starts_with("arn:") {
        let parts: Vec<&str> = text.split(':').collect();
        let [_, _, "sqs", region, account, name] = parts.as_slice() else {
            return Err("its ARN must be arn:aws:sqs:REGION:ACCOUNT:NAME");
        };
        if !is_region(region) || account.is_empty() || !is_name(name) {
            return Err("its ARN must be arn:aws:sqs:REGION:ACCOUNT:NAME");
        }
        return Ok(Name::Arn { region, account, name });
    }
    if is_name(text) {
        Ok(Name::Bare)
    } else {
        Err("a queue's name has 1 to 80 letters, digits, hyphens and underscores, and may end in \
             .fifo; else give its URL or its ARN")
    }
}

/// Whether this is an address that HTTP can ask.
pub(super) fn is_http(url: &str) -> bool {
    host_of(url).is_some()
}

/// Whether the queue keeps an order.
pub(super) fn is_fifo(url: &str) -> bool {
    url.strip_suffix(FIFO).is_some()
}

/// The region that a queue's URL says: the service's own hosts have it, emulators' do not.
pub(super) fn region_of(url: &str) -> Option<&str> {
    let host = host_of(url)?;
    if host == OLD_HOST {
        return Some(OLD_REGION);
    }
    let labels: Vec<&str> = host.split('.').collect();
    let service = labels.iter().position(|label| matches!(*label, "sqs" | "sqs-fips" | "queue"))?;
    // `REGION.queue.amazonaws.com` is the older form of `sqs.REGION.amazonaws.com`.
    let at = if labels.get(service) == Some(&"queue") {
        service.checked_sub(1)?
    } else {
        service.checked_add(1)?
    };
    labels.get(at).copied().filter(|label| is_region(label))
}

/// The host of an address, without its port.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    (!host.is_empty() && url.chars().all(is_plain)).then_some(host)
}

/// `eu-central-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let ends_in_number = text.ends_with(|c: char| c.is_ascii_digit());
    parts.len() >= 3 && parts.iter().all(is_word) && ends_in_number
}

fn is_name(text: &str) -> bool {
    let stem = text.strip_suffix(FIFO).unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !stem.is_empty() && text.len() <= NAME_CHARS_MAX && stem.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_its_url_its_arn_or_its_name() {
        assert_eq!(read("https://sqs.eu-west-1.amazonaws.com/1234/jobs"), Ok(Name::Url));
        assert_eq!(read("http://127.0.0.1:4566/000000000000/jobs.fifo"), Ok(Name::Url));
        assert_eq!(read("jobs"), Ok(Name::Bare));
        assert_eq!(read("jobs_2-x.fifo"), Ok(Name::Bare));
        let arn = Name::Arn { region: "us-gov-west-1", account: "123456789012", name: "jobs" };
        assert_eq!(read("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:jobs"), Ok(arn));
    }

    #[test]
    fn what_names_no_queue_is_refused_with_the_way_out() {
        for url in ["ftp://host/q", "https://", "https:///q", "http://a b/q", "http://me@host/q"] {
            assert!(read(url).unwrap_err().contains("https://"), "{url}");
        }
        let arns = [
            "arn:aws:sqs:eu-west-1:1234",
            "arn:aws:sns:eu-west-1:1234:jobs",
            "arn:aws:sqs::1234:jobs",
            "arn:aws:sqs:eu-west-1::jobs",
            "arn:aws:sqs:eu-west-1:1234:jobs:more",
        ];
        for arn in arns {
            assert!(read(arn).unwrap_err().contains("ARN"), "{arn}");
        }
        let long = "q".repeat(81);
        for name in ["", " ", "my jobs", "jobs.txt", ".fifo", "jöbs", long.as_str()] {
            assert!(read(name).unwrap_err().contains("1 to 80"), "{name}");
        }
    }

    #[test]
    fn the_services_own_urls_say_their_region_and_an_emulators_do_not() {
        let table = [
            ("https://sqs.eu-central-1.amazonaws.com/1/q", Some("eu-central-1")),
            ("https://sqs-fips.us-east-2.amazonaws.com/1/q", Some("us-east-2")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", Some("cn-north-1")),
            ("https://sqs.eu-west-1.api.aws/1/q", Some("eu-west-1")),
            ("https://vpce-1-2.sqs.us-east-1.vpce.amazonaws.com/1/q", Some("us-east-1")),
            ("https://eu-west-1.queue.amazonaws.com/1/q", Some("eu-west-1")),
            ("https://queue.amazonaws.com/1/q", Some("us-east-1")),
            ("http://sqs.us-east-1.localhost.localstack.cloud:4566/0/q", Some("us-east-1")),
            ("http://127.0.0.1:5000/123456789012/q", None),
            ("http://localhost:4566/queue/us-east-1/0/q", None),
            ("http://queue:9324/q", None),
            ("https://sqs.example.com/q", None),
            ("jobs", None),
        ];
        for (url, region) in table {
            assert_eq!(region_of(url), region, "{url}");
        }
    }
}
