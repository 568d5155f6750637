//! What a document becomes that is taken back before a worker has admitted it.
//! Must not know: how rows are read or written.

use serde_json::Value;
use uuid::Uuid;

use crate::job::{self, Wanted};
use crate::store::{NewJob, SubmittedDefaults};

/// The longest `id`, `queue` or `tenant` that a document may have, in characters.
const NAME_CHARS_MAX: usize = 256;

/// Why it has no calls.
pub(in crate::store) const REASON: &str =
    "cancelled by a person before a worker had admitted it; enqueue it again to have it done";

/// The job of a document that nobody has checked, with no place in any lane. It takes no identity,
/// so that the same document may be put in again.
pub(in crate::store) fn job_of(
    job_id: Uuid,
    text: &str,
    tenant: Option<&str>,
    defaults: &SubmittedDefaults,
    now: i64,
) -> NewJob {
    let document: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
    let said = |field: &str| {
        let said = document.as_ref().and_then(|document| document.get(field)?.as_str());
        let fits = |name: &&str| {
            let is_short = name.chars().count() <= NAME_CHARS_MAX;
            is_short && !name.trim().is_empty() && !name.contains('\0')
        };
        said.filter(fits).map(str::to_owned)
    };
    let tenant = tenant.map(str::to_owned).or_else(|| said("tenant"));
    NewJob {
        job_id,
        external_id: said("id"),
        identity: None,
        document_hash: job::digest(text),
        // What is no document is kept as the text that it is.
        document: match document {
            Some(_) => text.to_owned(),
            None => Value::String(text.to_owned()).to_string(),
        },
        resolved: Err(REASON.to_owned()),
        tenant: tenant.unwrap_or_else(|| defaults.tenant.clone()),
        queue: said("queue").unwrap_or_else(|| defaults.queue.clone()),
        lane: String::new(),
        priority: 0,
        run_at: now,
        deadline_at: now,
        max_attempts: None,
        hold: false,
        dedupe_key: None,
        wanted: Wanted { input_tokens_max: 0, max_tokens: 0, burndown: 1 },
        batch: None,
        seen_until: now,
        rerun: false,
        reply: None,
        before: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_the_document_says_and_takes_no_identity() {
        let defaults = SubmittedDefaults {
            queue: "default".to_owned(),
            tenant: "us".to_owned(),
            model: String::new(),
        };
        let of = |text: &str, tenant| job_of(Uuid::nil(), text, tenant, &defaults, 7);
        let job = of(r#"{"id":"a","queue":"q","tenant":"t"}"#, None);
        assert_eq!((job.external_id.as_deref(), &*job.queue, &*job.tenant), (Some("a"), "q", "t"));
        assert_eq!(job.identity, None);
        assert_eq!(job.document, r#"{"id":"a","queue":"q","tenant":"t"}"#);
        for text in ["no JSON", "[]", r#"{"id":" ","queue":7,"tenant":"a\u0000"}"#] {
            let job = of(text, None);
            assert_eq!((job.external_id, &*job.queue, &*job.tenant), (None, "default", "us"));
        }
        assert_eq!(of("no JSON", Some("row")).tenant, "row");
        assert_eq!(of("no JSON", None).document, r#""no JSON""#);
    }
}
