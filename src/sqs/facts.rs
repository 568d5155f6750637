//! What a queue says of itself.
//! Must not know: what its messages are for.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesOutput;
use aws_sdk_sqs::operation::get_queue_attributes::builders::GetQueueAttributesFluentBuilder;
use aws_sdk_sqs::types::QueueAttributeName as Known;
use serde_json::Value;

use super::Asked;
use crate::message_queue::{
    ByGroup, DeadLetters, MESSAGE_BYTES_MAX, QueueErrorKind, QueueFacts, QueueResult,
};

/// What the service uses where nothing was set, in seconds.
const VISIBILITY_S: u32 = 30;
const RETENTION_S: u64 = 345_600;
/// How often a message is received before it goes to the other queue, where nothing was set.
const RECEIVES_MAX: u32 = 10;
/// The key that the service itself keeps for the account.
const OWN_KEY: &str = "alias/aws/sqs";

/// A request for all of a queue's attributes.
pub(super) fn request(client: &Client, url: &str) -> GetQueueAttributesFluentBuilder {
    client.get_queue_attributes().queue_url(url).attribute_names(Known::All)
}

/// Reads the answer.
pub(super) fn read(asked: Asked<'_>, answer: &GetQueueAttributesOutput) -> QueueResult<QueueFacts> {
    let said = |name: Known| answer.attributes().and_then(|all| all.get(&name)).map(String::as_str);
    let is = |name| said(name) == Some("true");
    let count = |name| said(name).and_then(|text| text.parse().ok());
    let Some(arn) = said(Known::QueueArn) else {
        return Err(asked.refused(QueueErrorKind::Unreachable, "the answer has no ARN"));
    };
    let visibility_s = count(Known::VisibilityTimeout).and_then(|s: u64| u32::try_from(s).ok());
    Ok(QueueFacts {
        arn: arn.to_owned(),
        fifo: is(Known::FifoQueue),
        content_deduplication: is(Known::ContentBasedDeduplication),
        by_group: ByGroup {
            deduplication: said(Known::DeduplicationScope) == Some("messageGroup"),
            limit: said(Known::FifoThroughputLimit) == Some("perMessageGroupId"),
        },
        visibility_s: visibility_s.unwrap_or(VISIBILITY_S),
        message_bytes_max: count(Known::MaximumMessageSize).unwrap_or(MESSAGE_BYTES_MAX),
        retention_s: count(Known::MessageRetentionPeriod).unwrap_or(RETENTION_S),
        dead_letters: said(Known::RedrivePolicy).and_then(dead_letters),
        encrypted_by_key: said(Known::KmsMasterKeyId)
            .is_some_and(|key| !key.is_empty() && key != OWN_KEY),
        waiting: count(Known::ApproximateNumberOfMessages).unwrap_or(0),
        in_flight: count(Known::ApproximateNumberOfMessagesNotVisible).unwrap_or(0),
    })
}

/// Reads a redrive policy. Its number is written as a number by some and as text by others.
fn dead_letters(policy: &str) -> Option<DeadLetters> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let arn = policy.get("deadLetterTargetArn")?.as_str()?.to_owned();
    let number = policy.get("maxReceiveCount");
    let number = number.and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()));
    let receives_max = number.and_then(|n| u32::try_from(n).ok()).unwrap_or(RECEIVES_MAX);
    Some(DeadLetters { arn, receives_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'static> = Asked { verb: "read the attributes of", what: "the queue" };

    fn of(attributes: &[(Known, &str)]) -> QueueResult<QueueFacts> {
        let mut answer = GetQueueAttributesOutput::builder();
        for (name, value) in attributes {
            answer = answer.attributes(name.clone(), *value);
        }
        read(ASKED, &answer.build())
    }

    #[test]
    fn what_a_queue_does_not_say_is_what_the_service_uses() {
        let facts = of(&[(Known::QueueArn, "arn:aws:sqs:eu-west-1:1:q")]).unwrap();
        let expected = QueueFacts {
            arn: "arn:aws:sqs:eu-west-1:1:q".to_owned(),
            fifo: false,
            content_deduplication: false,
            by_group: ByGroup::default(),
            visibility_s: 30,
            message_bytes_max: 1_048_576,
            retention_s: 345_600,
            dead_letters: None,
            encrypted_by_key: false,
            waiting: 0,
            in_flight: 0,
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn a_queue_that_does_not_say_who_it_is_is_no_panic() {
        let error = of(&[]).unwrap_err();
        assert_eq!(error.message, "read the attributes of the queue: the answer has no ARN");
    }

    #[test]
    fn a_redrive_policy_has_its_number_as_number_or_text_and_may_be_unreadable() {
        let with = |policy| dead_letters(policy).map(|letters| letters.receives_max);
        assert_eq!(with(r#"{"deadLetterTargetArn":"a","maxReceiveCount":20}"#), Some(20));
        assert_eq!(with(r#"{"deadLetterTargetArn":"a","maxReceiveCount":"5"}"#), Some(5));
        assert_eq!(with(r#"{"deadLetterTargetArn":"a"}"#), Some(10));
        assert_eq!(with(r#"{"maxReceiveCount":5}"#), None);
        assert_eq!(with("?"), None);
    }

    #[test]
    fn what_a_fifo_queue_does_by_group_is_read_from_both_of_its_attributes() {
        let with = |scope, limit| {
            let arn = (Known::QueueArn, "arn");
            let facts =
                of(&[arn, (Known::DeduplicationScope, scope), (Known::FifoThroughputLimit, limit)]);
            let by_group = facts.unwrap().by_group;
            (by_group.deduplication, by_group.limit)
        };
        assert_eq!(with("queue", "perQueue"), (false, false));
        assert_eq!(with("messageGroup", "perQueue"), (true, false));
        assert_eq!(with("queue", "perMessageGroupId"), (false, true));
        assert_eq!(with("messageGroup", "perMessageGroupId"), (true, true));
    }

    #[test]
    fn the_services_own_key_is_not_the_users() {
        let with = |key| {
            let facts = of(&[(Known::QueueArn, "arn"), (Known::KmsMasterKeyId, key)]);
            facts.unwrap().encrypted_by_key
        };
        assert!(with("alias/mine"));
        assert!(!with("alias/aws/sqs"));
        assert!(!with(""));
    }
}
