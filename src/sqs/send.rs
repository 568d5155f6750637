//! Sending: what cannot be sent is refused here, the rest goes in batches.
//! Must not know: what a body means.

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry,
};

use super::{Asked, BATCHES_AT_ONCE, Sqs, answers, batch, contents, fault, spread};
use crate::message_queue::{Attribute, Outgoing, QueueErrorKind, QueueResult, id_of, is_fifo};

/// Sends all of them and answers for each.
pub(super) async fn all(sqs: &Sqs, url: &str, messages: &[Outgoing]) -> Vec<QueueResult<String>> {
    let asked = Asked { verb: "send to", what: url };
    let bytes_max = sqs.bytes_max(url);
    let mut answers: Vec<Option<QueueResult<String>>> = messages
        .iter()
        .map(|message| contents::refused(message, bytes_max))
        .map(|refused| refused.map(|(kind, why)| Err(asked.refused(kind, &why))))
        .collect();
    let good: Vec<&Outgoing> = messages
        .iter()
        .zip(&answers)
        .filter_map(|(message, answer)| answer.is_none().then_some(message))
        .collect();
    let mut sent = batches(sqs, asked, &good, bytes_max).await.into_iter();
    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
        *answer = sent.next();
    }
    let unasked = || Err(asked.refused(QueueErrorKind::Refused, "not sent"));
    answers.into_iter().map(|answer| answer.unwrap_or_else(unasked)).collect()
}

async fn batches(
    sqs: &Sqs,
    asked: Asked<'_>,
    good: &[&Outgoing],
    bytes_max: u64,
) -> Vec<QueueResult<String>> {
    let sizes: Vec<u64> = good.iter().map(|message| message.bytes()).collect();
    // What a queue keeps in order is sent in order.
    let at_once = if is_fifo(asked.what) { 1 } else { BATCHES_AT_ONCE };
    let client = sqs.client(asked, asked.what);
    spread::over(batch::by_size(&sizes, bytes_max), at_once, |range| {
        let messages = good.get(range).unwrap_or_default();
        let entries: QueueResult<Vec<_>> =
            messages.iter().enumerate().map(|(at, message)| entry(asked, at, message)).collect();
        let client = client.clone();
        async move {
            let entries = entries?;
            let asked_for = entries.len();
            let request = client?.send_message_batch().queue_url(asked.what);
            let answer = sqs.within(asked, request.set_entries(Some(entries)).send()).await?;
            let done = answer.successful.into_iter().map(|entry| (entry.id, entry.message_id));
            Ok(answers::of_batch(asked, asked_for, done, &answer.failed))
        }
    })
    .await
}

fn entry(
    asked: Asked<'_>,
    at: usize,
    message: &Outgoing,
) -> QueueResult<SendMessageBatchRequestEntry> {
    let unmade = |error| fault::unmade(asked, &error);
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(at.to_string())
        .message_body(&message.body)
        .set_message_group_id(message.group.as_deref().map(id_of))
        .set_message_deduplication_id(message.deduplication.as_deref().map(id_of));
    for (name, value) in &message.attributes {
        entry = entry.message_attributes(name, attribute(value).map_err(unmade)?);
    }
    if let Some(trace) = &message.trace {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
        let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
        entry = entry.message_system_attributes(name, value.build().map_err(unmade)?);
    }
    entry.build().map_err(unmade)
}

fn attribute(value: &Attribute) -> Result<MessageAttributeValue, fault::Unmade> {
    let (kind, value) = value.parts();
    MessageAttributeValue::builder().data_type(kind).string_value(value).build()
}
