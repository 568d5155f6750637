//! From a result to the message that carries it: its line, its attributes, its size, and what stands
//! for a line that is too long.
//! Must not know: which queue service, or what becomes of the message.

use std::collections::BTreeMap;

use crate::admit::{TraceForm, trace_form};
use crate::message_queue::{Attribute, Outgoing, id_of, spelt_out};
use crate::result_line::{notice_lines, result_line};
use crate::store::DueDelivery;

/// The attributes of every result.
const STATE: &str = "quarrier.state";
const JOB_ID: &str = "quarrier.job_id";
const TRACEPARENT: &str = "traceparent";
/// What the extended client libraries know a pointer by, and the name of its class in its body.
const POINTER_SIZE: &str = "ExtendedPayloadSize";
const POINTER_CLASS: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";

/// What is the same for all messages to one queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The results are simulated ones.
    pub(super) simulated: bool,
    /// The queue keeps an order within groups.
    pub(super) fifo: bool,
}

/// The message with the whole result.
pub(super) fn whole(delivery: &DueDelivery, form: Form) -> Outgoing {
    message(delivery, spelt_out(result_line(&delivery.result, form.simulated)), form)
}

/// The message that says where the whole result was put.
pub(super) fn pointer(
    delivery: &DueDelivery,
    form: Form,
    whole: &Outgoing,
    bucket: &str,
    key: &str,
) -> Outgoing {
    let place = serde_json::json!([POINTER_CLASS, { "s3BucketName": bucket, "s3Key": key }]);
    let mut message = message(delivery, place.to_string(), form);
    let bytes = u64::try_from(whole.body.len()).unwrap_or(u64::MAX);
    message.attributes.insert(POINTER_SIZE.to_owned(), Attribute::Number(bytes));
    message
}

/// The messages that stand for a result too large for a queue that takes so many bytes, the fullest
/// first.
pub(super) fn notices(
    delivery: &DueDelivery,
    form: Form,
    whole: &Outgoing,
    bytes_max: u64,
) -> [Outgoing; 2] {
    let notice = format!(
        "the result has {} bytes and this queue takes {bytes_max}; it stands in the store: `quarrier \
         jobs show {} --json`, or the row of this job_id in the table result",
        whole.bytes(),
        delivery.result.job_id
    );
    notice_lines(&delivery.result, form.simulated, &notice)
        .map(|line| message(delivery, spelt_out(line), form))
}

fn message(delivery: &DueDelivery, body: String, form: Form) -> Outgoing {
    let row = &delivery.result;
    let mut attributes = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        attributes.insert(name.to_owned(), Attribute::Text(value));
    };
    set(STATE, row.state.as_str().to_owned());
    set(JOB_ID, row.job_id.to_string());
    let mut header = None;
    if let Some(trace) = &delivery.reply.trace {
        match trace_form(trace) {
            Some(TraceForm::Traceparent) => set(TRACEPARENT, trace.clone()),
            Some(TraceForm::AwsHeader) => header = Some(trace.clone()),
            None => {}
        }
    }
    Outgoing {
        body,
        attributes,
        group: form.fifo.then(|| id_of(&delivery.tenant)),
        // With the end's number, because a job that is retried by a person ends anew, and the queue
        // would take the second result for the first.
        deduplication: form.fifo.then(|| format!("{}:{}", row.job_id, row.seq)),
        trace: header,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::completion::Usage;
    use crate::job::State;
    use crate::store::{Reply, ResultRow};
    use expect_test::expect;
    use proptest::prelude::*;
    use uuid::Uuid;

    pub(in crate::relay) fn delivery(text: &str) -> DueDelivery {
        DueDelivery {
            reply: Reply { to: "answers".to_owned(), trace: None },
            tries: 0,
            since: 0,
            tenant: "north".to_owned(),
            result: ResultRow {
                seq: 7,
                job_id: Uuid::nil(),
                external_id: Some("report-1".to_owned()),
                state: State::Succeeded,
                output: None,
                text: Some(text.to_owned()),
                error_kind: None,
                error_message: None,
                queue: "default".to_owned(),
                model: "claude-haiku-4.5".to_owned(),
                usage: Usage::default(),
                cost_micros: Some(270),
                attempts: 1,
                attempts_unknown: 0,
                provenance: None,
                metadata: None,
                deleted: None,
            },
        }
    }

    const PLAIN: Form = Form { simulated: false, fifo: false };
    const FIFO: Form = Form { simulated: false, fifo: true };

    fn text(value: &str) -> Attribute {
        Attribute::Text(value.to_owned())
    }

    #[test]
    fn a_message_is_the_result_line_with_state_and_job() {
        let message = whole(&delivery("Yes."), PLAIN);
        assert_eq!(message.body, result_line(&delivery("Yes.").result, false));
        assert_eq!(message.attributes[STATE], text("succeeded"));
        assert_eq!(message.attributes[JOB_ID], text("00000000-0000-0000-0000-000000000000"));
        assert_eq!(message.attributes.len(), 2);
        assert_eq!((message.group, message.deduplication, message.trace), (None, None, None));
    }

    #[test]
    fn a_trace_goes_on_in_the_form_in_which_it_came() {
        let with = |trace: &str| {
            let mut delivery = delivery("Yes.");
            delivery.reply.trace = Some(trace.to_owned());
            whole(&delivery, PLAIN)
        };
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let message = with(parent);
        assert_eq!((&message.attributes[TRACEPARENT], message.trace), (&text(parent), None));
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
        let message = with(header);
        assert_eq!(message.trace.as_deref(), Some(header));
        assert!(!message.attributes.contains_key(TRACEPARENT));
    }

    #[test]
    fn a_fifo_queue_gets_the_tenant_as_group_and_each_end_of_a_job_once() {
        let mut one = delivery("Yes.");
        let message = whole(&one, FIFO);
        assert_eq!(message.group.as_deref(), Some("north"));
        assert_eq!(
            message.deduplication.as_deref(),
            Some("00000000-0000-0000-0000-000000000000:7")
        );
        for odd in ["two words", "é", &"x".repeat(129)] {
            one.tenant = odd.to_owned();
            assert_eq!(whole(&one, FIFO).group.unwrap().len(), 64, "{odd}");
        }
    }

    #[test]
    fn what_xml_forbids_is_spelt_out_and_means_the_same() {
        let odd = "a\u{FFFE}b\u{FFFF}c\u{7F}\u{1}\0\\\u{FFFF}";
        let message = whole(&delivery(odd), PLAIN);
        assert!(!message.body.contains(['\u{FFFE}', '\u{FFFF}', '\u{1}', '\0']));
        let back: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(back["text"], odd);
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_body_that_a_queue_refuses(odd in any::<String>()) {
            let message = whole(&delivery(&odd), PLAIN);
            let is_allowed = |letter: char| {
                matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
            };
            prop_assert!(message.body.chars().all(is_allowed));
            let back: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            prop_assert_eq!(back["text"].as_str(), Some(odd.as_str()));
        }
    }

    #[test]
    fn a_pointer_is_the_extended_clients() {
        let (delivery, body) = (delivery("Yes."), "x".repeat(300));
        let whole = Outgoing { body, ..whole(&delivery, PLAIN) };
        let message = pointer(&delivery, PLAIN, &whole, "results", "quarrier/a.json");
        expect![[r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"results","s3Key":"quarrier/a.json"}]"#]]
            .assert_eq(&message.body);
        assert_eq!(message.attributes[POINTER_SIZE], Attribute::Number(300));
        assert_eq!(message.attributes[STATE], text("succeeded"));
    }

    #[test]
    fn a_notice_says_how_large_the_result_is_and_where_it_stands() {
        let delivery = delivery(&"x".repeat(2_000));
        let whole = whole(&delivery, PLAIN);
        let [full, _] = notices(&delivery, PLAIN, &whole, 1_024);
        let line: serde_json::Value = serde_json::from_str(&full.body).unwrap();
        assert!(line["text"].is_null() && line["id"] == "report-1");
        let notice = line["notice"].as_str().unwrap();
        assert!(notice.starts_with(&format!("the result has {} bytes", whole.bytes())), "{notice}");
        assert!(full.bytes() < 1_024, "{}", full.bytes());
    }

    #[test]
    fn attributes_count_as_the_queue_counts_them() {
        let mut message = whole(&delivery("Yes."), PLAIN);
        message.body = "12345".to_owned();
        message.attributes = BTreeMap::from([
            ("a".to_owned(), text("bc")),
            ("n".to_owned(), Attribute::Number(123)),
        ]);
        assert_eq!(message.bytes(), 5 + (1 + 6 + 2) + (1 + 6 + 3));
    }
}
