//! Receiving: what is asked of a queue, and how a message is read.
//! Must not know: what a body means.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as Known};

use super::Asked;
use crate::message_queue::{QueueErrorKind, QueueResult, ReceiveAsk, Received};

/// A request for messages with all that the service says of them.
pub(super) fn request(
    client: &Client,
    asked: Asked<'_>,
    ask: &ReceiveAsk,
) -> QueueResult<ReceiveMessageFluentBuilder> {
    let number = |number: u32| {
        let refused = |_| asked.refused(QueueErrorKind::Refused, &format!("{number} is too much"));
        i32::try_from(number).map_err(refused)
    };
    Ok(client
        .receive_message()
        .queue_url(&ask.url)
        .max_number_of_messages(number(ask.messages_max)?)
        .wait_time_seconds(number(ask.wait_s)?)
        .visibility_timeout(number(ask.visibility_s)?)
        .message_system_attribute_names(Known::All)
        .message_attribute_names("All"))
}

/// Reads one message.
pub(super) fn read(asked: Asked<'_>, message: Message) -> QueueResult<Received> {
    let lacks = |what: &str| {
        let why = format!("a received message has no {what}");
        asked.refused(QueueErrorKind::Unreachable, &why)
    };
    let mut said = message.attributes.unwrap_or_default();
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
    let receives = number(said.remove(&Known::ApproximateReceiveCount));
    Ok(Received {
        message_id: message.message_id.ok_or_else(|| lacks("id"))?,
        receipt: message.receipt_handle.ok_or_else(|| lacks("receipt handle"))?,
        body: message.body.ok_or_else(|| lacks("body"))?,
        group: said.remove(&Known::MessageGroupId),
        // Whoever counts receives must not take a message for new because the count is missing.
        receives: receives.and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1),
        sent_at: number(said.remove(&Known::SentTimestamp)),
        trace: said.remove(&Known::AwsTraceHeader),
        attributes: strings(message.message_attributes),
    })
}

/// The attributes that are text or numbers; bytes are passed over.
fn strings(
    attributes: Option<
        std::collections::HashMap<String, aws_sdk_sqs::types::MessageAttributeValue>,
    >,
) -> BTreeMap<String, String> {
    attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.string_value?)))
        .collect()
}
