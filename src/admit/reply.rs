//! Where a result may be sent: the list of queues that jobs may name, and the trace that goes along.
//! Must not know: queue services, who sends.

use serde_json::{Map, Value};
use wildmatch::WildMatchPattern;

use crate::job::{Problem, is_queue_name};
use crate::store::Reply;

/// The longest trace that is passed on, in bytes; a longer one is nobody's that we know.
const TRACE_BYTES_MAX: usize = 256;

/// The queues that jobs may name in `reply_to`: `sqs.reply_allow`. An empty list allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyAllow(Vec<String>);

impl ReplyAllow {
    /// The list of these entries: URLs and names as jobs write them, in which `*` stands for any
    /// text without a `/`; `*` alone allows every queue.
    #[must_use]
    pub fn new(entries: Vec<String>) -> Self {
        Self(entries)
    }

    /// Whether an entry allows this queue, named as the job names it.
    #[must_use]
    pub fn allows(&self, to: &str) -> bool {
        self.0.iter().any(|entry| entry == "*" || entry == to || matches(entry, to))
    }

    /// Why this queue is not allowed, and what to do about it.
    #[must_use]
    pub fn refusal(&self, to: &str) -> Option<String> {
        if self.allows(to) {
            return None;
        }
        let reason = if self.0.is_empty() {
            "no queue may get replies: sqs.reply_allow is empty; add this queue's URL or name to it as \
             it is written here, or leave the field out and read the result in the store"
        } else {
            "no entry of sqs.reply_allow allows this queue; add its URL or name as it is written here, \
             or name a queue that is allowed"
        };
        Some(reason.to_owned())
    }

    /// Where the result of a document goes that asks for it.
    pub(super) fn reply(&self, to: &str, trace: Option<&str>) -> Result<Reply, Problem> {
        match self.refusal(to) {
            Some(reason) => Err(Problem::new("$.reply_to", reason)),
            None => Ok(Reply { to: to.to_owned(), trace: trace.and_then(known_trace) }),
        }
    }

    /// The same for a document that is refused and was read as far as that.
    pub(super) fn reply_of(&self, read: &Map<String, Value>, trace: Option<&str>) -> Option<Reply> {
        let to = read.get("reply_to")?.as_str().filter(|to| is_queue_name(to))?;
        self.reply(to, trace).ok()
    }
}

/// Between two `/` each part matches for itself, so that no `*` reaches into another account or host.
fn matches(entry: &str, to: &str) -> bool {
    let (entry, to) = (entry.split('/'), to.split('/'));
    // The second wildcard, for one character, is none that a queue's name could have.
    let fits =
        |(entry, part): (&str, &str)| WildMatchPattern::<'*', '\0'>::new(entry).matches(part);
    entry.clone().count() == to.clone().count() && entry.zip(to).all(fits)
}

/// The two forms of a trace that a message can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceForm {
    /// W3C's `traceparent`: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
    Traceparent,
    /// `AWSTraceHeader`: `Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1`.
    AwsHeader,
}

/// Which form a trace has; none where it has neither, and may be anything.
#[must_use]
pub fn trace_form(trace: &str) -> Option<TraceForm> {
    let is_plain = trace.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || trace.len() > TRACE_BYTES_MAX {
        return None;
    }
    if trace.split(';').any(|part| part.starts_with("Root=1-")) {
        return Some(TraceForm::AwsHeader);
    }
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = trace.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = parts.len() >= lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && is_hex(part));
    fits.then_some(TraceForm::Traceparent)
}

fn known_trace(trace: &str) -> Option<String> {
    trace_form(trace).map(|_| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(entries: &[&str]) -> ReplyAllow {
        ReplyAllow::new(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    #[test]
    fn a_queue_is_allowed_as_it_is_written_or_by_a_pattern_within_its_parts() {
        let url = "https://sqs.eu-west-1.amazonaws.com/111122223333/answers";
        let check = |entries: &[&str], to: &str| allow(entries).allows(to);
        assert!(!check(&[], "answers"));
        assert!(check(&["answers", "others"], "others"));
        assert!(!check(&["answers"], url), "compared as it is written");
        assert!(check(&["https://sqs.*.amazonaws.com/111122223333/answers*"], url));
        assert!(check(&["answers-*.fifo"], "answers-7.fifo"));
        assert!(!check(&["*s"], url) && !check(&["https://*"], url));
        assert!(check(&["*"], url) && check(&["*"], "any"));
        // A star does not reach past its part: this is another host's.
        let other = "https://sqs.evil.example/x/sqs.amazonaws.com/111122223333/answers";
        assert!(!check(&["https://sqs.*.amazonaws.com/111122223333/answers"], other));
        assert!(!check(&["an?wers"], "answers"), "only `*` is a pattern");
    }

    #[test]
    fn a_refusal_names_the_setting_and_the_way_out() {
        assert!(allow(&[]).refusal("a").unwrap().contains("sqs.reply_allow is empty"));
        assert!(allow(&["b"]).refusal("a").unwrap().contains("no entry of sqs.reply_allow"));
        assert_eq!(allow(&["a"]).refusal("a"), None);
    }

    #[test]
    fn a_trace_of_either_form_is_known_and_nothing_else_is() {
        let w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_form(w3c), Some(TraceForm::Traceparent));
        assert_eq!(trace_form(&format!("{w3c}-more")), Some(TraceForm::Traceparent));
        let aws = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(trace_form(aws), Some(TraceForm::AwsHeader));
        let long = format!("{aws};{}", "x".repeat(300));
        for other in ["", "00", "hello", "00-zz-b7-01", "Root=1-a b", long.as_str()] {
            assert_eq!(trace_form(other), None, "{other}");
        }
    }
}
