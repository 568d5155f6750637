//! What a message says: the job of its document, or why it has none; and what makes it the same
//! message at its next delivery.
//! Must not know: queues, stores, how a document is judged.

use uuid::Uuid;

use super::{Bench, Place};
use crate::admit::{Origin, Overrides, trace_form};
use crate::clock::Now;
use crate::job::Problem;
use crate::message_queue::Received;
use crate::store::{LimitRule, NewJob};

/// The attribute by which producers hand a trace over, as the web's standard names it.
const TRACEPARENT: &str = "traceparent";
/// How the bodies of clients begin that keep the real body elsewhere.
const POINTERS: [&str; 2] = [
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
];
/// How `{"` and `{` with a blank or a line's end begin in base64.
const BASE64_OBJECTS: [&str; 4] = ["eyJ", "ewo", "eyA", "ew0"];

/// A message and what is to be admitted for it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) message: Received,
    pub(super) job: NewJob,
    /// Why its document cannot be admitted; then the job ends at once.
    pub(super) bad: Option<String>,
}

/// What makes a message the same at each delivery, where its document has no `id`.
pub(super) fn identity(arn: &str, message_id: &str) -> String {
    let queue = Uuid::new_v5(&Uuid::NAMESPACE_URL, arn.as_bytes());
    format!("message:{}", Uuid::new_v5(&queue, message_id.as_bytes()))
}

/// Reads a message.
pub(super) fn read(
    bench: &Bench,
    place: &Place,
    message: Received,
    limits: &[LimitRule],
) -> Candidate {
    let now = bench.clock.now();
    let origin = origin(bench, place, &message);
    let prepared = match elsewhere(&message.body) {
        Some(problem) => Err(vec![problem]),
        None => bench.doors.admission.prepare(
            &message.body,
            &Overrides::default(),
            origin.clone(),
            limits,
            now,
        ),
    };
    match prepared {
        Ok(job) => Candidate { message, job, bad: None },
        Err(mut problems) => {
            if let (Some(first), Some(hint)) = (problems.first_mut(), hint(&message.body)) {
                first.reason.push_str(hint);
            }
            let text = message.body.clone();
            let job = rejected(bench, &text, &problems, origin, now);
            bad(message, job)
        }
    }
}

/// The same message, refused for this reason, with as much of its body as `text` says.
pub(super) fn refuse(
    bench: &Bench,
    place: &Place,
    message: Received,
    text: &str,
    problem: Problem,
) -> Candidate {
    let origin = origin(bench, place, &message);
    let job = rejected(bench, text, &[problem], origin, bench.clock.now());
    bad(message, job)
}

fn bad(message: Received, job: NewJob) -> Candidate {
    let reason = job.resolved.as_ref().err().cloned();
    Candidate { message, job, bad: Some(reason.unwrap_or_default()) }
}

fn rejected(bench: &Bench, text: &str, problems: &[Problem], origin: Origin, now: Now) -> NewJob {
    bench.doors.admission.rejected(text, problems, origin, now)
}

fn origin(bench: &Bench, place: &Place, message: &Received) -> Origin {
    // On a queue with an order the group is what is kept in order, and says nothing of whose it is.
    let of_group = bench.options.tenant_from_group && !place.fifo;
    Origin {
        identity: Some(identity(&place.arn, &message.message_id)),
        tenant: message.group.clone().filter(|_| of_group),
        trace: trace(message),
        batch: None,
        may_be_late: true,
    }
}

/// The producer's trace, in a form that a reply can carry: what it has put on the message itself
/// first.
fn trace(message: &Received) -> Option<String> {
    let is_known = |trace: &&String| trace_form(trace).is_some();
    let own = message.attributes.get(TRACEPARENT).filter(is_known);
    own.or_else(|| message.trace.as_ref().filter(is_known)).cloned()
}

/// The body is elsewhere: a pointer of a client for large messages.
fn elsewhere(body: &str) -> Option<Problem> {
    let start = body.trim_start().strip_prefix('[')?.trim_start().strip_prefix('"')?;
    POINTERS.iter().any(|pointer| start.starts_with(pointer)).then(|| {
        let reason = "is an extended client's pointer to a body in S3, which is not fetched; send the \
                      document itself, or put one that is too large for a message in by SQL or by \
                      `quarrier enqueue`";
        Problem::new("$", reason)
    })
}

/// What else a person should hear of a body that was refused.
fn hint(body: &str) -> Option<&'static str> {
    let body = body.trim_start();
    BASE64_OBJECTS
        .iter()
        .any(|start| body.starts_with(start))
        .then_some("; it looks like base64: send the JSON text itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_message_has_the_same_identity_and_another_queues_has_not() {
        let one = identity("arn:aws:sqs:us-east-1:1:jobs", "m-1");
        assert_eq!(one, identity("arn:aws:sqs:us-east-1:1:jobs", "m-1"));
        assert_ne!(one, identity("arn:aws:sqs:us-east-1:1:other", "m-1"));
        assert_ne!(one, identity("arn:aws:sqs:us-east-1:1:jobs", "m-2"));
        assert!(one.starts_with("message:"));
    }

    #[test]
    fn a_pointer_is_told_from_a_document_by_its_first_words() {
        for body in [
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b"}]"#,
            r#" [ "com.amazon.sqs.javamessaging.MessageS3Pointer", {}]"#,
        ] {
            assert!(elsewhere(body).unwrap().to_string().contains("body in S3"), "{body}");
        }
        for body in ["", "[", r#"{"prompt":"x"}"#, r#"["prompt"]"#] {
            assert!(elsewhere(body).is_none(), "{body}");
        }
        assert!(hint("eyJwcm9tcHQiOiJ4In0=").is_some());
        assert!(hint(r#"{"prompt":"x"}"#).is_none());
    }
}
